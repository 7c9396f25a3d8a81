//! An owner's leave for a gateway's key ([`cairn_ledger::serving_key`]) in a file: its encoding as hex digits, on one line.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use cairn_ledger::SignedServingKey;
use cairn_ledger::serving_key::SERVING_KEY_BYTES_MAX;

/// Digits and the end of the line.
const FILE_BYTES_MAX: usize = 2 * SERVING_KEY_BYTES_MAX + 2;

/// Makes the file; never replaces one.
///
/// # Errors
/// A file of that name, or a folder that cannot be written.
pub fn write_new(path: &Path, leave: &SignedServingKey) -> anyhow::Result<()> {
    let write = || {
        let mut file = File::create_new(path)?;
        let written = writeln!(file, "{}", hex::encode(leave.encode())).and_then(|()| file.sync_all());
        // Half a leave is none, and would be in the way of the next try.
        written.inspect_err(|_| _ = fs::remove_file(path))
    };
    write().with_context(|| format!("cannot make {}", path.display()))
}

/// Reads it; whose signature it is is not checked.
///
/// # Errors
/// A file that is not there, or is none of these.
pub fn read(path: &Path) -> anyhow::Result<SignedServingKey> {
    let place = || format!("{}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(place)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).with_context(place)?;
    ensure!(text.len() <= FILE_BYTES_MAX, "{}: expected at most {FILE_BYTES_MAX} bytes", place());
    let bytes = hex::decode(text.trim_end()).with_context(place)?;
    SignedServingKey::decode(&bytes).with_context(|| format!("{}: expected the leave of a provider's owner", place()))
}

#[cfg(test)]
mod tests {
    use cairn_ledger::{Address, ChainId, ServingKey};
    use cairn_protocol::{Epoch, ProviderId};
    use ed25519_consensus::SigningKey;

    use super::*;

    #[test]
    fn a_leave_comes_back_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("leave");
        let leave = ServingKey { provider: ProviderId(u64::MAX), key: Address([0xff; 32]), until: Epoch(u64::MAX) };
        let leave = leave.sign(ChainId([1; 32]), &SigningKey::from([4; 32]));
        write_new(&path, &leave).unwrap();
        assert_eq!(read(&path).unwrap(), leave);
        assert!(write_new(&path, &leave).is_err(), "never replaced");
        let text = fs::read_to_string(&path).unwrap();
        for other in
            [String::new(), "xy".into(), text[..text.len() - 3].into(), format!("00{text}"), "0".repeat(1 << 20)]
        {
            fs::write(&path, &other).unwrap();
            let told = format!("{:#}", read(&path).unwrap_err());
            assert!(told.contains(&*path.to_string_lossy()), "{told}");
        }
    }
}
