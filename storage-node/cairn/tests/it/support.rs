//! Running the real binary and looking at what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cairn_fixtures::{LabelledData, PorepVector};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What a finished command left.
pub struct Ran {
    pub arguments: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The printed JSON of a command that must have succeeded.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "cairn {}: {}", self.arguments, self.stderr);
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("cairn {}: {error}: {}", self.arguments, self.stdout))
    }

    /// The one line of a command that must have failed with exit code 1.
    pub fn failure(&self) -> &str {
        assert_eq!(self.code, Some(1), "cairn {} must fail: {}{}", self.arguments, self.stdout, self.stderr);
        let line = self.stderr.strip_suffix('\n').expect("a line on standard error");
        assert!(line.starts_with("cairn: ") && !line.contains('\n'), "one line, got {line:?}");
        line
    }
}

/// Runs `cairn` with arguments.
pub fn cairn<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.args(arguments);
    let arguments = command.get_args().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { arguments, code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Writes the pieces of a vector as files and gives their paths.
pub fn write_pieces(vector: &PorepVector, folder: &Path) -> Vec<PathBuf> {
    let write = |(index, piece): (usize, &cairn_fixtures::PorepPiece)| {
        let path = folder.join(format!("piece{index}"));
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::copy(&mut LabelledData::new(&piece.label, piece.unpadded_bytes), &mut file).unwrap();
        path
    };
    vector.pieces.iter().enumerate().map(write).collect()
}

/// The command line that seals a vector; the sector number and everything else come from it.
pub fn seal_arguments(vector: &PorepVector, pieces: &[PathBuf], dir: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = ["sector", "seal", "--json", "--size"].map(str::to_owned).to_vec();
    arguments.push(vector.sector_size.to_string());
    arguments.extend(["--seal-proof".to_owned(), vector.proof_variant.clone()]);
    arguments.extend(["--prover-id".to_owned(), hex::encode(vector.prover_id)]);
    arguments.extend(["--sector-number".to_owned(), vector.sector_number.to_string()]);
    arguments.extend(["--ticket".to_owned(), hex::encode(vector.ticket)]);
    for piece in pieces {
        arguments.extend(["--piece".to_owned(), piece.display().to_string()]);
    }
    arguments.extend(["--dir".to_owned(), dir.display().to_string()]);
    arguments
}

/// Seals a vector below `folder` and gives the sector's folder and the printed JSON.
pub fn seal(vector: &PorepVector, folder: &Path) -> (PathBuf, Value) {
    let dir = folder.join("sector");
    let pieces = write_pieces(vector, folder);
    let report = cairn(seal_arguments(vector, &pieces, &dir)).json();
    (dir, report)
}

/// SHA-256 of a file.
pub fn sha256(path: &Path) -> [u8; 32] {
    Sha256::digest(std::fs::read(path).unwrap()).into()
}

/// A path as an argument.
pub fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Makes development parameters of the window PoSt at 2 KiB.
pub fn setup_window(params: &Path, more: &[&str]) -> Ran {
    let what = ["params", "setup", "--json", "--circuit", "window-post", "--sector-size", "2KiB", "--params"];
    cairn(what.into_iter().chain([text(params).as_str()]).chain(more.iter().copied()))
}

/// Changes the last hex digit of a string somewhere in a JSON value.
pub fn flip(value: &mut Value) {
    let text = value.as_str().expect("a hex string");
    let (head, last) = text.split_at(text.len() - 2);
    let byte = u8::from_str_radix(last, 16).unwrap() ^ 1;
    *value = json!(format!("{head}{byte:02x}"));
}
