//! Encryption of datasets by the client, so that gateways and providers never hold a key.
//!
//! A dataset is encrypted as a folder: every file becomes one of the same name, made of frames, and `cairn-keys.json` is
//! added at the top. The result is an ordinary folder: it is imported, sealed, served, ranged over and proven like any
//! other, for leaves and piece commitments are over the encrypted bytes.
//!
//! # Bytes of an encrypted file, version 1
//!
//! ```text
//! offset  bytes
//!      0     15  "cairn-encrypted"
//!     15      1  version: 1
//!     16     16  id of the dataset key
//!     32     32  salt: random, new for every file and every time it is encrypted
//!     64      -  frames, one after the other: 1 MiB of plain bytes, encrypted, and a tag of 16 bytes; the last is shorter
//! ```
//!
//! 1. The file key is `HKDF-SHA256(key: dataset key, salt: the 64 bytes of the header, info: "cairn-encryption v1 file")`.
//!    So a frame opens under its own header alone: not in another file, not in another version of it.
//! 2. Frame `i` is ChaCha20-Poly1305 under the file key with the nonce `i` (11 bytes, big-endian) and a flag (1 byte): 1 for
//!    the last frame, otherwise 0. This is the STREAM construction that age uses too, with larger frames.
//! 3. Every frame but the last is full; the last is empty only in an empty file. Both lengths follow from each other:
//!    `encrypted = 64 + plain + 16 * max(1, ceil(plain / 1 MiB))`.
//! 4. The id of a dataset key is `HKDF-SHA256(key: dataset key, info: "cairn-encryption v1 key id")`, 16 bytes: a wrong key
//!    is told before anything is decrypted.
//!
//! Frames that are moved, doubled, left out, cut or taken from another file do not open. A reader of a range opens only
//! the frames that it touches; that nothing is missing behind them follows from the file's length, which the dataset's
//! root fixes. Reading the last frame proves the length without a root.
//!
//! Deviation from a design with random nonces per frame: a key that is never used twice needs none, costs no bytes, and binds
//! the place.
//!
//! # What is not hidden
//! Names of files and folders, and their lengths. Whole files may be renamed within the folder: their frames bind no name; the
//! root does. Who was granted a key once can keep it: to take access away is to encrypt again.

#![forbid(unsafe_code)]

mod folder;
mod frames;
mod keys;
mod rejection;

pub use folder::{KEY_FILE, decrypt_file, decrypt_folder, encrypt_folder};
pub use frames::{FRAME_BYTES, FileHeader, FrameCipher, FrameReader, HEADER_BYTES, Layout, Salt, TAG_BYTES, encrypt};
pub use keys::{DatasetKey, Grant, Identities, KEY_FILE_BYTES_MAX, KeyFile, KeyId, Recipient, new_identity};
pub use rejection::{EncryptionError, EncryptionRejection};
