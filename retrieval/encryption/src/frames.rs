//! Frames: the layout, and sealing and opening them. The format is drawn in the crate's documentation.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{DatasetKey, EncryptionRejection, KeyId};

/// Plain bytes of a full frame: as many as a leaf of a dataset holds.
pub const FRAME_BYTES: u64 = 1 << 20;
/// Bytes that each frame adds.
pub const TAG_BYTES: u64 = 16;
/// Bytes before the first frame.
pub const HEADER_BYTES: u64 = 64;

const SEALED_BYTES: u64 = FRAME_BYTES + TAG_BYTES;
const MAGIC: &str = "cairn-encrypted";
const VERSION: u8 = 1;
const FILE_INFO: &[u8] = b"cairn-encryption v1 file";
const _: () = assert!(MAGIC.len() + 1 + 16 + 32 == HEADER_BYTES as usize, "the header is full");

/// Random bytes of one file, never used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

/// How the plain and encrypted bytes of one file lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    plain_bytes: u64,
    frames: u64,
}

impl Layout {
    /// The layout of a file of `plain_bytes`.
    ///
    /// # Errors
    /// [`EncryptionRejection::TooLong`].
    pub fn of_plain(plain_bytes: u64) -> Result<Self, EncryptionRejection> {
        let frames = plain_bytes.div_ceil(FRAME_BYTES).max(1);
        let added = frames * TAG_BYTES + HEADER_BYTES;
        plain_bytes.checked_add(added).ok_or(EncryptionRejection::TooLong { plain_bytes })?;
        Ok(Self { plain_bytes, frames })
    }

    /// The layout of an encrypted file of `encrypted_bytes`; `file` names it in the rejection.
    ///
    /// # Errors
    /// [`EncryptionRejection::Length`] for a length that no encrypted file has.
    pub fn of_encrypted(encrypted_bytes: u64, file: &str) -> Result<Self, EncryptionRejection> {
        let wrong = |why| EncryptionRejection::Length { file: file.to_owned(), got: encrypted_bytes, why };
        let body = encrypted_bytes.checked_sub(HEADER_BYTES).ok_or_else(|| wrong("the header alone has 64"))?;
        let frames = body.div_ceil(SEALED_BYTES).max(1);
        let last = body - (frames - 1) * SEALED_BYTES;
        if last < TAG_BYTES {
            return Err(wrong("the last frame lacks its tag of 16 bytes"));
        }
        if last == TAG_BYTES && frames > 1 {
            return Err(wrong("only an empty file has an empty frame"));
        }
        Ok(Self { plain_bytes: body - frames * TAG_BYTES, frames })
    }

    /// Bytes before encryption.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Bytes after encryption.
    pub fn encrypted_bytes(&self) -> u64 {
        HEADER_BYTES + self.plain_bytes + self.frames * TAG_BYTES
    }

    /// Frames, at least one.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The plain bytes of a frame.
    pub fn plain_of(&self, frame: u64) -> Range<u64> {
        assert!(frame < self.frames, "frame {frame} of {}", self.frames);
        let start = frame * FRAME_BYTES;
        start..self.plain_bytes.min(start + FRAME_BYTES)
    }

    /// The encrypted bytes of a frame, tag included.
    pub fn encrypted_of(&self, frame: u64) -> Range<u64> {
        let plain = self.plain_of(frame);
        let start = HEADER_BYTES + frame * SEALED_BYTES;
        start..start + (plain.end - plain.start) + TAG_BYTES
    }

    /// The frames that hold a range of plain bytes; none for an empty range.
    pub fn frames_of(&self, plain: &Range<u64>) -> Range<u64> {
        if plain.is_empty() { 0..0 } else { plain.start / FRAME_BYTES..plain.end.div_ceil(FRAME_BYTES) }
    }
}

/// The first 64 bytes of an encrypted file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    /// The dataset key that the file's key comes from.
    pub key: KeyId,
    /// The file's own random bytes.
    pub salt: Salt,
}

impl FileHeader {
    /// The bytes, as they stand in the file.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..15].copy_from_slice(MAGIC.as_bytes());
        bytes[15] = VERSION;
        bytes[16..32].copy_from_slice(&self.key.0);
        bytes[32..].copy_from_slice(&self.salt.0);
        bytes
    }

    /// Reads the bytes; `file` names their file in the rejection.
    ///
    /// # Errors
    /// [`EncryptionRejection::NotEncrypted`], [`EncryptionRejection::Version`].
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES as usize], file: &str) -> Result<Self, EncryptionRejection> {
        if bytes[..15] != *MAGIC.as_bytes() {
            let got = String::from_utf8_lossy(&bytes[..15]).into_owned();
            return Err(EncryptionRejection::NotEncrypted { file: file.to_owned(), expected: MAGIC, got });
        }
        if bytes[15] != VERSION {
            let (what, expected) = (file.to_owned(), VERSION.into());
            return Err(EncryptionRejection::Version { what, expected, got: bytes[15].into() });
        }
        let key = KeyId(*bytes[16..].first_chunk().expect("64 bytes"));
        let salt = Salt(*bytes[32..].first_chunk().expect("64 bytes"));
        Ok(Self { key, salt })
    }
}

/// Seals and opens the frames of one file.
pub struct FrameCipher {
    cipher: ChaCha20Poly1305,
    layout: Layout,
    file: String,
}

impl FrameCipher {
    /// The cipher of the file with this header and layout; `file` names it in rejections.
    ///
    /// # Errors
    /// [`EncryptionRejection::WrongKey`].
    pub fn new(key: &DatasetKey, header: &FileHeader, layout: Layout, file: &str) -> Result<Self, EncryptionRejection> {
        if header.key != key.id() {
            let (expected, got) = (header.key, key.id());
            return Err(EncryptionRejection::WrongKey { file: file.to_owned(), expected, got });
        }
        let mut file_key = Zeroizing::new([0; 32]);
        let expansion = Hkdf::<Sha256>::new(Some(&header.to_bytes()), key.expose());
        expansion.expand(FILE_INFO, &mut *file_key).expect("32 bytes are one block of SHA-256");
        let cipher = ChaCha20Poly1305::new((&*file_key).into());
        Ok(Self { cipher, layout, file: file.to_owned() })
    }

    /// The file's layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    fn nonce(&self, frame: u64) -> Nonce {
        let mut nonce = Nonce::default();
        nonce[3..11].copy_from_slice(&frame.to_be_bytes());
        nonce[11] = u8::from(frame + 1 == self.layout.frames);
        nonce
    }

    /// Encrypts the plain bytes of a frame in place and adds its tag.
    pub fn seal(&self, frame: u64, bytes: &mut Vec<u8>) {
        let plain = self.layout.plain_of(frame);
        assert_eq!(bytes.len() as u64, plain.end - plain.start, "frame {frame} has its own length");
        let tag = self.cipher.encrypt_in_place_detached(&self.nonce(frame), &[], bytes);
        bytes.extend(tag.expect("a frame is far below the cipher's 256 GiB"));
    }

    /// Decrypts a frame in place and takes its tag off. What was in `bytes` is cleared if it does not open.
    ///
    /// # Errors
    /// [`EncryptionRejection::Frame`].
    pub fn open(&self, frame: u64, bytes: &mut Vec<u8>) -> Result<(), EncryptionRejection> {
        let plain = self.layout.plain_of(frame);
        let opened = (bytes.len() as u64 == plain.end - plain.start + TAG_BYTES).then(|| {
            let tag = Tag::clone_from_slice(&bytes.split_off(bytes.len() - TAG_BYTES as usize));
            self.cipher.decrypt_in_place_detached(&self.nonce(frame), &[], bytes, &tag)
        });
        if opened.is_some_and(|opened| opened.is_ok()) {
            return Ok(());
        }
        bytes.clear();
        let (file, frames) = (self.file.clone(), self.layout.frames);
        Err(EncryptionRejection::Frame { file, frame, frames, plain })
    }
}

/// Encrypts `plain_bytes` bytes of `source` into `destination`, with one frame in memory.
///
/// # Errors
/// The inner one as [`FrameCipher::new`] and [`Layout::of_plain`]; the outer one of reading, also when `source` ends early
/// or goes on, and of writing.
pub fn encrypt(
    source: &mut dyn Read,
    plain_bytes: u64,
    destination: &mut dyn Write,
    key: &DatasetKey,
    salt: Salt,
) -> io::Result<Result<Layout, EncryptionRejection>> {
    let layout = match Layout::of_plain(plain_bytes) {
        Ok(layout) => layout,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let header = FileHeader { key: key.id(), salt };
    let cipher = FrameCipher::new(key, &header, layout, "file").expect("the header names this key");
    destination.write_all(&header.to_bytes())?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(SEALED_BYTES as usize));
    for frame in 0..layout.frames() {
        let plain = layout.plain_of(frame);
        bytes.resize((plain.end - plain.start) as usize, 0);
        source.read_exact(&mut bytes)?;
        cipher.seal(frame, &mut bytes);
        destination.write_all(&bytes)?;
    }
    if source.read(&mut [0])? != 0 {
        return Err(io::Error::other("it grew while it was encrypted"));
    }
    Ok(Ok(layout))
}

/// Reads plain bytes of an encrypted file: any range, with one frame in memory.
pub struct FrameReader<R> {
    source: R,
    cipher: FrameCipher,
}

impl<R: Read + Seek> FrameReader<R> {
    /// Opens an encrypted file; `file` names it in rejections.
    ///
    /// # Errors
    /// The inner one as [`FileHeader::from_bytes`], [`Layout::of_encrypted`] and [`FrameCipher::new`]; the outer one of
    /// reading.
    pub fn open(mut source: R, key: &DatasetKey, file: &str) -> io::Result<Result<Self, EncryptionRejection>> {
        let encrypted_bytes = source.seek(SeekFrom::End(0))?;
        source.seek(SeekFrom::Start(0))?;
        let mut bytes = [0; HEADER_BYTES as usize];
        // What is shorter than a header has an unlawful length, which the layout tells after the magic was looked at.
        source.read_exact(&mut bytes[..encrypted_bytes.min(HEADER_BYTES) as usize])?;
        let cipher = FileHeader::from_bytes(&bytes, file).and_then(|header| {
            let layout = Layout::of_encrypted(encrypted_bytes, file)?;
            FrameCipher::new(key, &header, layout, file)
        });
        Ok(cipher.map(|cipher| Self { source, cipher }))
    }

    /// The file's layout.
    pub fn layout(&self) -> Layout {
        self.cipher.layout
    }

    /// Writes the plain bytes `range` to `destination`. A frame is written only after it opened.
    ///
    /// # Errors
    /// The inner one [`EncryptionRejection::Range`] or [`EncryptionRejection::Frame`]; the outer one of reading and writing.
    pub fn read_range(
        &mut self,
        range: Range<u64>,
        destination: &mut dyn Write,
    ) -> io::Result<Result<(), EncryptionRejection>> {
        let layout = self.cipher.layout;
        if range.start > range.end || range.end > layout.plain_bytes {
            let (file, size) = (self.cipher.file.clone(), layout.plain_bytes);
            return Ok(Err(EncryptionRejection::Range { file, size, start: range.start, end: range.end }));
        }
        for frame in layout.frames_of(&range) {
            let bytes = match self.frame(frame)? {
                Ok(bytes) => bytes,
                Err(rejection) => return Ok(Err(rejection)),
            };
            let plain = layout.plain_of(frame);
            let wanted = range.start.max(plain.start)..range.end.min(plain.end);
            destination
                .write_all(&bytes[(wanted.start - plain.start) as usize..(wanted.end - plain.start) as usize])?;
        }
        Ok(Ok(()))
    }

    /// Writes all plain bytes. The last frame is opened even where it is empty, so the file is known to be whole.
    ///
    /// # Errors
    /// As [`FrameReader::read_range`].
    pub fn read_all(&mut self, destination: &mut dyn Write) -> io::Result<Result<(), EncryptionRejection>> {
        if self.layout().plain_bytes == 0 {
            return Ok(self.frame(0)?.map(|_| ()));
        }
        self.read_range(0..self.layout().plain_bytes, destination)
    }

    fn frame(&mut self, frame: u64) -> io::Result<Result<Zeroizing<Vec<u8>>, EncryptionRejection>> {
        let range = self.cipher.layout.encrypted_of(frame);
        let mut bytes = Zeroizing::new(vec![0; (range.end - range.start) as usize]);
        self.source.seek(SeekFrom::Start(range.start))?;
        self.source.read_exact(&mut bytes)?;
        Ok(self.cipher.open(frame, &mut bytes).map(|()| bytes))
    }
}

#[cfg(test)]
mod tests;
