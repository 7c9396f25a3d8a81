//! Checksums that a client sends with a body, in headers or after it.

use std::io::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::error::{ErrorCode, S3Rejection};
use crate::request::RequestHead;

const HEADER: &str = "x-amz-checksum-";

enum Hasher {
    Crc(Box<Crc>, usize),
    Sha1(Box<Sha1>),
    Sha256(Box<Sha256>),
    Md5(Box<Md5>),
}

impl Hasher {
    /// By the end of the header's name.
    fn new(name: &str) -> Option<Self> {
        Some(match name {
            "crc32" => Self::Crc(Box::new(Crc::new(CrcAlgorithm::Crc32IsoHdlc)), 4),
            "crc32c" => Self::Crc(Box::new(Crc::new(CrcAlgorithm::Crc32Iscsi)), 4),
            "crc64nvme" => Self::Crc(Box::new(Crc::new(CrcAlgorithm::Crc64Nvme)), 8),
            "sha1" => Self::Sha1(Box::default()),
            "sha256" => Self::Sha256(Box::default()),
            _ => return None,
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(crc, _) => crc.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Md5(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(crc, length) => crc.finalize().to_be_bytes()[8 - length..].to_vec(),
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Md5(hash) => hash.finalize().to_vec(),
        }
    }
}

/// One checksum that is expected.
struct Wanted {
    name: String,
    hasher: Hasher,
    /// In base64; none: it comes in the trailer.
    expected: Option<String>,
    /// Of a composite: the hash over the parts' own, and their number.
    parts: Option<(Hasher, u32)>,
}

/// The checksums of one body, or of an object that is put together.
#[derive(Default)]
pub struct Checksums {
    wanted: Vec<Wanted>,
}

impl Checksums {
    /// What the head of a request announces of its body.
    ///
    /// # Errors
    /// A checksum of a kind that is not computed here, or more than one.
    pub fn announced(head: &RequestHead) -> Result<Self, S3Rejection> {
        let mut all = Self::default();
        if head.headers.contains_key("content-md5") {
            let refused = || S3Rejection::new(ErrorCode::InvalidArgument, "Content-MD5 is not one header of ASCII");
            let expected = Some(head.header("content-md5").ok_or_else(refused)?.to_owned());
            let hasher = Hasher::Md5(Box::default());
            all.wanted.push(Wanted { name: "content-md5".to_owned(), hasher, expected, parts: None });
        }
        let mut named = named(head);
        if let Some(trailer) = head.header("x-amz-trailer") {
            named.push((trailer.trim().to_ascii_lowercase(), None));
        }
        all.add(named)?;
        Ok(all)
    }

    /// What the head of CompleteMultipartUpload says of the object: a checksum of all its bytes, or, with `-` and the number
    /// of parts behind it, one of the parts' checksums.
    ///
    /// # Errors
    /// As in [`Self::announced`].
    pub fn of_object(head: &RequestHead) -> Result<Self, S3Rejection> {
        let mut all = Self::default();
        all.add(named(head))?;
        for wanted in &mut all.wanted {
            if wanted.expected.as_ref().is_some_and(|text| text.contains('-')) {
                wanted.parts = Some((new_hasher(&wanted.name)?, 0));
            }
        }
        Ok(all)
    }

    fn add(&mut self, named: Vec<(String, Option<String>)>) -> Result<(), S3Rejection> {
        if named.len() > 1 {
            return Err(S3Rejection::new(ErrorCode::InvalidRequest, "expected at most one x-amz-checksum"));
        }
        for (name, expected) in named {
            self.wanted.push(Wanted { hasher: new_hasher(&name)?, name, expected, parts: None });
        }
        Ok(())
    }

    /// Whether nothing was announced.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Takes bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        for wanted in &mut self.wanted {
            wanted.hasher.update(bytes);
        }
    }

    /// Notes the end of a part.
    pub fn end_part(&mut self) {
        for wanted in &mut self.wanted {
            let Some((outer, count)) = &mut wanted.parts else { continue };
            let next = new_hasher(&wanted.name).expect("it was made once");
            outer.update(&std::mem::replace(&mut wanted.hasher, next).finish());
            *count += 1;
        }
    }

    /// A writer that takes bytes for the checksums too.
    pub fn beside<'a>(&'a mut self, sink: &'a mut dyn Write) -> impl Write + 'a {
        Beside { checksums: self, sink }
    }

    /// Takes a line of the trailer.
    ///
    /// # Errors
    /// One that was not announced, or comes again.
    pub fn trailer(&mut self, name: &str, value: String) -> Result<(), S3Rejection> {
        match self.wanted.iter_mut().find(|wanted| wanted.name == name && wanted.expected.is_none()) {
            Some(wanted) => wanted.expected = Some(value),
            None => {
                let message = format!("the trailer {name:?} was not announced");
                return Err(S3Rejection::new(ErrorCode::InvalidRequest, message));
            }
        }
        Ok(())
    }

    /// Compares.
    ///
    /// # Errors
    /// `BadDigest`, or an announced trailer that did not come.
    pub fn check(self) -> Result<(), S3Rejection> {
        for Wanted { name, hasher, expected, parts } in self.wanted {
            let expected = expected.ok_or_else(|| {
                S3Rejection::new(ErrorCode::InvalidRequest, format!("the announced trailer {name:?} did not come"))
            })?;
            let got = match parts {
                None => BASE64_STANDARD.encode(hasher.finish()),
                Some((outer, count)) => format!("{}-{count}", BASE64_STANDARD.encode(outer.finish())),
            };
            if got != expected {
                let message = format!("{name}: expected {expected:?}, the body has {got:?}");
                return Err(S3Rejection::new(ErrorCode::BadDigest, message));
            }
        }
        Ok(())
    }
}

struct Beside<'a> {
    checksums: &'a mut Checksums,
    sink: &'a mut dyn Write,
}

impl Write for Beside<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.sink.write(bytes)?;
        self.checksums.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// The checksums in headers, with their values.
fn named(head: &RequestHead) -> Vec<(String, Option<String>)> {
    let names = head.headers.keys().map(|name| name.as_str());
    let kind =
        |name: &str| name.strip_prefix(HEADER).is_some_and(|kind| !matches!(kind, "algorithm" | "mode" | "type"));
    names.filter(|name| kind(name)).map(|name| (name.to_owned(), head.header(name).map(str::to_owned))).collect()
}

fn new_hasher(name: &str) -> Result<Hasher, S3Rejection> {
    name.strip_prefix(HEADER).and_then(Hasher::new).ok_or_else(|| {
        let message = format!("{name:?} is not computed here; crc32, crc32c, crc64nvme, sha1 and sha256 are");
        S3Rejection::new(ErrorCode::NotImplemented, message)
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;
    use hyper::{HeaderMap, Method};

    use super::*;

    fn check(name: &'static str, value: &str) -> Result<(), ErrorCode> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        let head = RequestHead::new(Method::PUT, "/b/k", None, headers).unwrap();
        let mut checksums = Checksums::announced(&head).map_err(|error| error.code)?;
        checksums.update(b"1234");
        checksums.update(b"56789");
        checksums.check().map_err(|error| error.code)
    }

    /// The check values of the catalogue of CRCs, and the digests of the same nine bytes.
    #[test]
    fn the_check_values_hold() {
        assert_eq!(check("x-amz-checksum-crc32", "y/Q5Jg=="), Ok(()));
        assert_eq!(check("x-amz-checksum-crc32c", "4waSgw=="), Ok(()));
        assert_eq!(check("x-amz-checksum-crc64nvme", "rosUhgp5mIg="), Ok(()));
        assert_eq!(check("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="), Ok(()));
        assert_eq!(check("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="), Ok(()));
        assert_eq!(check("x-amz-checksum-crc32", "AAAAAA=="), Err(ErrorCode::BadDigest));
        assert_eq!(check("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="), Ok(()));
        assert_eq!(check("x-amz-checksum-xxhash64", "AAAA"), Err(ErrorCode::NotImplemented));
    }

    #[test]
    fn an_object_of_parts_has_a_checksum_of_its_bytes_or_of_the_parts() {
        let whole = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-checksum-sha256", value.parse().unwrap());
            let head = RequestHead::new(Method::POST, "/b/k", Some("uploadId=u"), headers).unwrap();
            let mut checksums = Checksums::of_object(&head).unwrap();
            for part in ["12345", "6789"] {
                let mut written = Vec::new();
                checksums.beside(&mut written).write_all(part.as_bytes()).unwrap();
                assert_eq!(written, part.as_bytes());
                checksums.end_part();
            }
            checksums.check().map_err(|error| error.code)
        };
        let digest = |bytes: &[u8]| Sha256::digest(bytes).to_vec();
        let composite = digest(&[digest(b"12345"), digest(b"6789")].concat());
        assert_eq!(whole(&BASE64_STANDARD.encode(digest(b"123456789"))), Ok(()));
        assert_eq!(whole(&format!("{}-2", BASE64_STANDARD.encode(&composite))), Ok(()));
        assert_eq!(whole(&format!("{}-3", BASE64_STANDARD.encode(&composite))), Err(ErrorCode::BadDigest));
        assert_eq!(whole(&BASE64_STANDARD.encode(composite)), Err(ErrorCode::BadDigest));
    }
}
