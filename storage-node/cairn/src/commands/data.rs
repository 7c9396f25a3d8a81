//! `cairn data`: put a dataset where gateways serve it from; encrypt a dataset before it leaves this machine, decrypt it, grant its key on.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use cairn_content::{HotStore, StoredPiece};
use cairn_encryption::{
    DatasetKey, Identities, KEY_FILE, KEY_FILE_BYTES_MAX, KeyFile, Salt, decrypt_file, decrypt_folder, encrypt_folder,
    new_identity,
};
use cairn_protocol::{piece_cid_v1, piece_cid_v2};
use cairn_sector::pieces::PieceCommitment;
use rand::Rng;
use serde::Serialize;
use zeroize::Zeroizing;

use super::files;
use super::gateway::{import, open_origin};
use crate::cli::{
    DataCommand, DataDecryptArguments, DataEncryptArguments, DataGrantArguments, DataIdentityArguments,
    DataImportArguments, DataPublishArguments,
};
use crate::dataset::{self, Imported};
use crate::output::Output;
use crate::progress::Stage;

const IDENTITY_BYTES_MAX: usize = 64 << 10;

/// What was done with which key.
#[derive(Debug, Serialize)]
struct DataReport {
    key: String,
    /// Plain bytes of all files; nothing where no file was touched.
    plain_bytes: Option<u64>,
    /// Their bytes when encrypted.
    encrypted_bytes: Option<u64>,
    /// Who can unwrap the key.
    recipients: Vec<String>,
}

impl DataReport {
    fn new(keys: &KeyFile, plain_bytes: Option<u64>, encrypted_bytes: Option<u64>) -> Self {
        let recipients = keys.grants().iter().map(|grant| grant.recipient.to_string()).collect();
        Self { key: keys.key_id().to_string(), plain_bytes, encrypted_bytes, recipients }
    }
}

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "key              {}", self.key)?;
        if let Some(bytes) = self.plain_bytes {
            writeln!(f, "plain bytes      {bytes}")?;
        }
        if let Some(bytes) = self.encrypted_bytes {
            writeln!(f, "encrypted bytes  {bytes}")?;
        }
        self.recipients.iter().try_for_each(|recipient| writeln!(f, "granted to       {recipient}"))
    }
}

/// Runs the command.
pub fn run(command: DataCommand) -> anyhow::Result<()> {
    match command {
        DataCommand::Identity(arguments) => identity(&arguments),
        DataCommand::Encrypt(arguments) => encrypt(&arguments),
        DataCommand::Decrypt(arguments) => decrypt(&arguments),
        DataCommand::Grant(arguments) => grant(&arguments),
        DataCommand::Import(arguments) => into_store(&arguments),
        DataCommand::Publish(arguments) => publish(&arguments),
    }
}

/// What is in the store now.
#[derive(Debug, Serialize)]
struct ImportReport {
    root: String,
    name: String,
    files: usize,
    bytes: u64,
    pieces: Vec<PieceReport>,
}

/// A piece, by both of its names.
#[derive(Debug, Serialize)]
struct PieceReport {
    piece_cid_v1: String,
    piece_cid_v2: String,
    payload_bytes: u64,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root, name, files, bytes, pieces } = self;
        writeln!(f, "{root}  {name}: {files} files, {bytes} bytes")?;
        pieces.iter().try_for_each(|piece| writeln!(f, "{}  {} bytes", piece.piece_cid_v2, piece.payload_bytes))
    }
}

fn into_store(arguments: &DataImportArguments) -> anyhow::Result<()> {
    let DataImportArguments { source, store, sector_size, json } = arguments;
    let hot = HotStore::open(store).with_context(|| format!("--store {}", store.display()))?;
    let stage = Stage::begin("import");
    let Imported { root, dataset, pieces } =
        dataset::import(&hot, source, *sector_size, &|done, total| stage.report(done, total))?;
    drop(stage);
    let report = |piece: &StoredPiece| {
        let PieceCommitment { comm_p, payload_bytes, padded } = piece.commitment;
        PieceReport {
            piece_cid_v1: piece_cid_v1(&comm_p).to_string(),
            piece_cid_v2: piece_cid_v2(&comm_p, payload_bytes, padded).to_string(),
            payload_bytes,
        }
    };
    Output::from_flag(*json).print(&ImportReport {
        root: root.to_string(),
        name: dataset.name().to_owned(),
        files: dataset.files().len(),
        bytes: dataset.total_bytes(),
        pieces: pieces.iter().map(report).collect(),
    })
}

/// What publishing did.
#[derive(Debug, Serialize)]
struct PublishReport {
    root: String,
    origin: String,
    copied_files: usize,
    copied_bytes: u64,
    kept_files: usize,
}

impl fmt::Display for PublishReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root, origin, copied_files, copied_bytes, kept_files } = self;
        writeln!(f, "{root}  {origin}: {copied_files} files copied, {copied_bytes} bytes; {kept_files} were there")
    }
}

fn publish(arguments: &DataPublishArguments) -> anyhow::Result<()> {
    let origin = open_origin(&arguments.origin)?.context("--origin: expected where to publish")?;
    let dataset = import(&arguments.source, "")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let done = runtime.block_on(origin.publish(&dataset, arguments.recheck))?;
    Output::from_flag(arguments.json).print(&PublishReport {
        root: dataset.root().to_string(),
        origin: origin.address().to_owned(),
        copied_files: done.copied,
        copied_bytes: done.copied_bytes,
        kept_files: done.kept,
    })
}

fn identity(arguments: &DataIdentityArguments) -> anyhow::Result<()> {
    let (text, recipient) = new_identity();
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&arguments.file)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot make {}", arguments.file.display()))?;
    Output::Text.print_as(&(), || recipient.to_string())
}

fn encrypt(arguments: &DataEncryptArguments) -> anyhow::Result<()> {
    let mut random = rand::rng();
    let mut secret = Zeroizing::new([0; 32]);
    random.fill_bytes(&mut *secret);
    let key = DatasetKey::new(secret);
    let keys = KeyFile::new(&key, &arguments.recipients)?;
    let mut salt = || {
        let mut bytes = [0; 32];
        random.fill_bytes(&mut bytes);
        Salt(bytes)
    };
    let (plain, encrypted) = encrypt_folder(&arguments.folder, &arguments.out, &key, &keys, &mut salt)?;
    Output::from_flag(arguments.json).print(&DataReport::new(&keys, Some(plain), Some(encrypted)))
}

fn decrypt(arguments: &DataDecryptArguments) -> anyhow::Result<()> {
    let folder = arguments.source.is_dir();
    let beside = match (&arguments.keys, folder) {
        (Some(keys), _) => keys.clone(),
        (None, true) => arguments.source.join(KEY_FILE),
        (None, false) => arguments.source.with_file_name(KEY_FILE),
    };
    let keys = read_keys(&beside)?;
    let key = keys.unlock(&read_identities(&arguments.identity)?)?;
    let decrypt = if folder { decrypt_folder } else { decrypt_file };
    let plain = decrypt(&arguments.source, &arguments.out, &key)?;
    Output::from_flag(arguments.json).print(&DataReport::new(&keys, Some(plain), None))
}

fn grant(arguments: &DataGrantArguments) -> anyhow::Result<()> {
    let mut keys = read_keys(&arguments.keys)?;
    let key = keys.unlock(&read_identities(&arguments.identity)?)?;
    arguments.recipients.iter().try_for_each(|recipient| keys.grant(&key, recipient))?;
    files::replace(&arguments.keys, |out| Ok(out.write_all(keys.to_json().as_bytes())?))?;
    Output::from_flag(arguments.json).print(&DataReport::new(&keys, None, None))
}

/// Reads a dataset's key file.
pub fn read_keys(path: &Path) -> anyhow::Result<KeyFile> {
    KeyFile::parse(&read_bounded(path, KEY_FILE_BYTES_MAX)?).with_context(|| path.display().to_string())
}

/// Reads a file of age identities.
pub fn read_identities(path: &Path) -> anyhow::Result<Identities> {
    let bytes = Zeroizing::new(read_bounded(path, IDENTITY_BYTES_MAX)?);
    let text = std::str::from_utf8(&bytes).with_context(|| path.display().to_string())?;
    Identities::parse(text).with_context(|| path.display().to_string())
}

fn read_bounded(path: &Path, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let (file, size) = files::open(path)?;
    let mut bytes = Vec::with_capacity(bytes_max.min(size as usize) + 1);
    let read = file.take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(bytes.len() <= bytes_max, "{}: expected at most {bytes_max} bytes", path.display());
    Ok(bytes)
}
