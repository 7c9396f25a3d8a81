//! Checksums that a client sends with a body, in headers or after it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::error::{ErrorCode, S3Rejection};
use crate::request::RequestHead;

const HEADER: &str = "x-amz-checksum-";

enum Hasher {
    Crc(Box<Crc>, usize),
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
            "sha256" => Self::Sha256(Box::default()),
            _ => return None,
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(crc, _) => crc.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Md5(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(crc, length) => crc.finalize().to_be_bytes()[8 - length..].to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Md5(hash) => hash.finalize().to_vec(),
        }
    }
}

/// The checksums of one body.
#[derive(Default)]
pub struct Checksums {
    wanted: Vec<(String, Hasher, Option<String>)>,
}

impl Checksums {
    /// What the head of a request announces.
    ///
    /// # Errors
    /// A checksum of a kind that is not computed here, or more than one.
    pub fn announced(head: &RequestHead) -> Result<Self, S3Rejection> {
        let mut wanted = Vec::new();
        if head.headers.contains_key("content-md5") {
            let refused = || S3Rejection::new(ErrorCode::InvalidArgument, "Content-MD5 is not one header of ASCII");
            let expected = head.header("content-md5").ok_or_else(refused)?;
            wanted.push(("content-md5".to_owned(), Hasher::Md5(Box::default()), Some(expected.to_owned())));
        }
        let mut named = Vec::new();
        for name in head.headers.keys().map(|name| name.as_str()) {
            let Some(kind) = name.strip_prefix(HEADER) else { continue };
            if !matches!(kind, "algorithm" | "mode" | "type") {
                named.push((name.to_owned(), head.header(name).map(str::to_owned)));
            }
        }
        if let Some(trailer) = head.header("x-amz-trailer") {
            named.push((trailer.trim().to_ascii_lowercase(), None));
        }
        if named.len() > 1 {
            return Err(S3Rejection::new(ErrorCode::InvalidRequest, "expected at most one x-amz-checksum"));
        }
        for (name, expected) in named {
            let hasher = name.strip_prefix(HEADER).and_then(Hasher::new).ok_or_else(|| {
                let message = format!("{name:?} is not computed here; crc32, crc32c, crc64nvme and sha256 are");
                S3Rejection::new(ErrorCode::NotImplemented, message)
            })?;
            wanted.push((name, hasher, expected));
        }
        Ok(Self { wanted })
    }

    /// Takes bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        for (_, hasher, _) in &mut self.wanted {
            hasher.update(bytes);
        }
    }

    /// Takes a line of the trailer.
    ///
    /// # Errors
    /// One that was not announced, or comes again.
    pub fn trailer(&mut self, name: &str, value: String) -> Result<(), S3Rejection> {
        match self.wanted.iter_mut().find(|(wanted, _, expected)| wanted == name && expected.is_none()) {
            Some((_, _, expected)) => *expected = Some(value),
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
        for (name, hasher, expected) in self.wanted {
            let expected = expected.ok_or_else(|| {
                S3Rejection::new(ErrorCode::InvalidRequest, format!("the announced trailer {name:?} did not come"))
            })?;
            let got = BASE64_STANDARD.encode(hasher.finish());
            if got != expected {
                let message = format!("{name}: expected {expected:?}, the body has {got:?}");
                return Err(S3Rejection::new(ErrorCode::BadDigest, message));
            }
        }
        Ok(())
    }
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
        assert_eq!(check("x-amz-checksum-sha1", "AAAA"), Err(ErrorCode::NotImplemented));
    }
}
