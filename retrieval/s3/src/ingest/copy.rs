//! CopyObject and UploadPartCopy: where the bytes come from, and under which conditions.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use cairn_gateway::RangeReader;

use crate::encoding::decode_path;
use crate::error::{ErrorCode, S3Rejection};
use crate::request::RequestHead;
use crate::time;

/// Bytes that are moved at a time where the system cannot copy by itself.
const CHUNK_BYTES: usize = 256 << 10;

/// What is copied, as `x-amz-copy-source` and the headers beside it name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopySource {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub key: String,
    /// First and last byte, of a part alone.
    pub range: Option<(u64, u64)>,
    matches: Option<String>,
    matches_not: Option<String>,
    modified_since: Option<u64>,
    unmodified_since: Option<u64>,
}

/// An object that can be copied.
pub struct SourceObject {
    /// Bytes.
    pub size: u64,
    /// Entity tag, without quotes.
    pub etag: String,
    /// Seconds since 1970.
    pub modified: u64,
    /// Where they are.
    pub bytes: SourceBytes,
}

/// Bytes of an object.
pub enum SourceBytes {
    /// In a file from its beginning; the system copies them, or shares them where the file system can.
    File(File),
    /// Anywhere.
    Reader(Box<dyn RangeReader>),
}

impl CopySource {
    /// Reads the headers; nothing if the request copies nothing.
    ///
    /// # Errors
    /// A source that has another form.
    pub fn read(head: &RequestHead) -> Result<Option<Self>, S3Rejection> {
        if !head.headers.contains_key("x-amz-copy-source") {
            return Ok(None);
        }
        let refused =
            |what: &str| S3Rejection::new(ErrorCode::InvalidArgument, format!("x-amz-copy-source: expected {what}"));
        let text = head.header("x-amz-copy-source").ok_or_else(|| refused("one header of ASCII"))?;
        let (path, version) = text.split_once("?versionId=").map_or((text, None), |(path, id)| (path, Some(id)));
        if version.is_some_and(|version| version != "null") {
            return Err(ErrorCode::NoSuchVersion.into());
        }
        let path = decode_path(path).ok_or_else(|| refused("percent-encoded UTF-8"))?;
        let (bucket, key) = path.strip_prefix('/').unwrap_or(&path).split_once('/').unwrap_or_default();
        if bucket.is_empty() || key.is_empty() {
            return Err(refused("BUCKET/KEY"));
        }
        let tag = |name| head.header(name).map(|tag| tag.trim_matches('"').to_owned());
        let date = |name| head.header(name).and_then(time::parse_http_date);
        Ok(Some(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            range: head.header("x-amz-copy-source-range").map(range).transpose()?,
            matches: tag("x-amz-copy-source-if-match"),
            matches_not: tag("x-amz-copy-source-if-none-match"),
            modified_since: date("x-amz-copy-source-if-modified-since"),
            unmodified_since: date("x-amz-copy-source-if-unmodified-since"),
        }))
    }

    fn conditions_hold(&self, object: &SourceObject) -> bool {
        let is_it = |tag: &String| *tag == object.etag || tag == "*";
        // A tag beats a date, on either side.
        let same = self.matches.as_ref().map(is_it);
        let same = same.or(self.unmodified_since.map(|since| object.modified <= since));
        let other = self.matches_not.as_ref().map(|tag| !is_it(tag));
        let other = other.or(self.modified_since.map(|since| object.modified > since));
        same.unwrap_or(true) && other.unwrap_or(true)
    }

    /// The first byte and the number of bytes to copy.
    ///
    /// # Errors
    /// `PreconditionFailed`, `InvalidRange`, or more than `bytes_max`.
    pub fn select(&self, object: &SourceObject, bytes_max: u64) -> Result<(u64, u64), S3Rejection> {
        if !self.conditions_hold(object) {
            return Err(ErrorCode::PreconditionFailed.into());
        }
        let (first, bytes) = match self.range {
            None => (0, object.size),
            Some((first, last)) if last < object.size => (first, last - first + 1),
            Some(_) => return Err(ErrorCode::InvalidRange.into()),
        };
        if bytes > bytes_max { Err(ErrorCode::EntityTooLarge.into()) } else { Ok((first, bytes)) }
    }
}

/// `bytes=FIRST-LAST`: S3 takes no other form here.
fn range(text: &str) -> Result<(u64, u64), S3Rejection> {
    let refused = || S3Rejection::new(ErrorCode::InvalidArgument, "x-amz-copy-source-range: expected bytes=FIRST-LAST");
    let number = |text: &str| {
        let digits = (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits)
    };
    let (first, last) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(refused)?;
    number(first).zip(number(last)).filter(|(first, last)| first <= last).ok_or_else(refused)
}

impl SourceBytes {
    /// Writes so many bytes from `first` on to a file.
    ///
    /// # Errors
    /// Those of either side; `UnexpectedEof` if the source ends early.
    pub fn copy(self, first: u64, bytes: u64, mut target: &File) -> io::Result<()> {
        match self {
            Self::File(mut file) => {
                file.seek(SeekFrom::Start(first))?;
                let copied = io::copy(&mut (&file).take(bytes), &mut target)?;
                if copied == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
            Self::Reader(mut reader) => {
                reader.expect(first..first + bytes);
                let mut buffer = vec![0; CHUNK_BYTES];
                let mut done = 0;
                while done < bytes {
                    let wanted = (bytes - done).min(CHUNK_BYTES as u64) as usize;
                    match reader.read_at(first + done, &mut buffer[..wanted])? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        count => {
                            target.write_all(&buffer[..count])?;
                            done += count as u64;
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;
    use hyper::{HeaderMap, Method};

    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Result<Option<CopySource>, ErrorCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let head = RequestHead::new(Method::PUT, "/b/k", None, map).unwrap();
        CopySource::read(&head).map_err(|error| error.code)
    }

    #[test]
    fn a_source_is_a_bucket_and_a_key() {
        assert_eq!(read(&[]), Ok(None));
        for text in ["/b/a%20c/d", "b/a%20c/d", "b%2Fa%20c/d?versionId=null"] {
            let source = read(&[("x-amz-copy-source", text)]).unwrap().unwrap();
            assert_eq!((source.bucket.as_str(), source.key.as_str()), ("b", "a c/d"), "{text}");
        }
        for text in ["", "/", "b", "/b/", "//k", "%ff/k"] {
            assert_eq!(read(&[("x-amz-copy-source", text)]), Err(ErrorCode::InvalidArgument), "{text}");
        }
        assert_eq!(read(&[("x-amz-copy-source", "b/k?versionId=7")]), Err(ErrorCode::NoSuchVersion));
    }

    #[test]
    fn ranges_and_conditions_decide_what_is_copied() {
        let object = || SourceObject {
            size: 10,
            etag: "t".into(),
            modified: 1_369_353_600,
            bytes: SourceBytes::File(tempfile::tempfile().unwrap()),
        };
        let select = |name: &'static str, value: &str| {
            let source = read(&[("x-amz-copy-source", "b/k"), (name, value)])?.unwrap();
            source.select(&object(), 10).map_err(|error| error.code)
        };
        let failed = Err(ErrorCode::PreconditionFailed);
        assert_eq!(select("x-amz-copy-source-range", "bytes=2-4"), Ok((2, 3)));
        assert_eq!(select("x-amz-copy-source-range", "bytes=9-10"), Err(ErrorCode::InvalidRange));
        for text in ["bytes=2-", "bytes=-2", "bytes=4-2", "bytes=+1-2", "2-4"] {
            assert_eq!(select("x-amz-copy-source-range", text), Err(ErrorCode::InvalidArgument), "{text}");
        }
        assert_eq!(select("x-amz-copy-source-if-match", "\"t\""), Ok((0, 10)));
        assert_eq!(select("x-amz-copy-source-if-match", "other"), failed);
        assert_eq!(select("x-amz-copy-source-if-none-match", "t"), failed);
        assert_eq!(select("x-amz-copy-source-if-unmodified-since", "Thu, 23 May 2013 00:00:00 GMT"), failed);
        assert_eq!(select("x-amz-copy-source-if-modified-since", "Sat, 25 May 2013 00:00:00 GMT"), failed);
        let source = read(&[("x-amz-copy-source", "b/k")]).unwrap().unwrap();
        assert_eq!(source.select(&object(), 9).map_err(|error| error.code), Err(ErrorCode::EntityTooLarge));
    }
}
