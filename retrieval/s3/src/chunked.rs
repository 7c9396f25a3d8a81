//! `aws-chunked`: a body in chunks, each with its signature or without, and lines after the last one.
//!
//! ```text
//! body    = *chunk last [trailer] CRLF          chunk = hex-size [";chunk-signature=" 64HEX] CRLF data CRLF
//! last    = "0" [";chunk-signature=" 64HEX] CRLF trailer = 1*(name ":" value CRLF)
//! ```
//!
//! The decoder takes pieces of any length and gives out what they hold; it keeps at most [`LINE_BYTES_MAX`] bytes of a line
//! and never a chunk, so the memory of an upload does not grow with it. Whatever stands after the end is refused.

use crate::error::{ErrorCode, S3Rejection};

/// Most bytes of a line: a size with its signature, or a line of the trailer.
pub const LINE_BYTES_MAX: usize = 1024;
/// Most lines of a trailer.
pub const TRAILER_LINES_MAX: usize = 16;
/// Most bytes of a chunk.
pub const CHUNK_BYTES_MAX: u64 = 5 << 30;

/// What comes out of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Data of a chunk, in order.
    Data(&'a [u8]),
    /// A chunk is complete; the last one has no data. With its signature, if it has one.
    ChunkEnd(Option<String>),
    /// A line of the trailer.
    Trailer(String, String),
    /// The body is complete.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size,
    Data(u64),
    AfterData(u8),
    Trailer,
    Ended,
}

/// The decoder.
#[derive(Debug)]
pub struct Decoder {
    place: Place,
    line: Vec<u8>,
    signature: Option<String>,
    trailer_lines: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { place: Place::Size, line: Vec::new(), signature: None, trailer_lines: 0 }
    }
}

fn refused(what: &str) -> S3Rejection {
    S3Rejection::new(ErrorCode::InvalidRequest, format!("aws-chunked: {what}"))
}

impl Decoder {
    /// Whether the end was seen.
    pub fn is_complete(&self) -> bool {
        self.place == Place::Ended
    }

    /// Takes the next bytes of the body and hands on what they hold.
    ///
    /// # Errors
    /// Bytes that are no such body, or what `take` refuses.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        take: &mut dyn FnMut(Piece<'_>) -> Result<(), S3Rejection>,
    ) -> Result<(), S3Rejection> {
        while let Some(&first) = bytes.first() {
            match self.place {
                Place::Data(left) => {
                    let here = left.min(bytes.len() as u64) as usize;
                    take(Piece::Data(&bytes[..here]))?;
                    bytes = &bytes[here..];
                    let left = left - here as u64;
                    self.place = if left == 0 { Place::AfterData(b'\r') } else { Place::Data(left) };
                }
                Place::AfterData(expected) => {
                    if first != expected {
                        return Err(refused("a chunk does not end where its size says"));
                    }
                    bytes = &bytes[1..];
                    if expected == b'\r' {
                        self.place = Place::AfterData(b'\n');
                    } else {
                        self.place = Place::Size;
                        take(Piece::ChunkEnd(self.signature.take()))?;
                    }
                }
                Place::Ended => return Err(refused("something follows the end")),
                Place::Size | Place::Trailer => {
                    bytes = &bytes[1..];
                    if let Some(line) = self.line_byte(first)? {
                        self.line_done(&line, take)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn line_byte(&mut self, byte: u8) -> Result<Option<String>, S3Rejection> {
        if byte != b'\n' {
            if self.line.len() == LINE_BYTES_MAX {
                return Err(refused("a line is longer than 1024 bytes"));
            }
            self.line.push(byte);
            return Ok(None);
        }
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").ok_or_else(|| refused("a line does not end with CR LF"))?;
        let printable = line.iter().all(|byte| (b' '..=b'~').contains(byte));
        let text = std::str::from_utf8(line).ok().filter(|_| printable);
        text.map(|text| Some(text.to_owned())).ok_or_else(|| refused("a line is not printable ASCII"))
    }

    fn line_done(
        &mut self,
        line: &str,
        take: &mut dyn FnMut(Piece<'_>) -> Result<(), S3Rejection>,
    ) -> Result<(), S3Rejection> {
        if self.place == Place::Size {
            let (size, signature) = chunk_line(line)?;
            if size > 0 {
                self.signature = signature;
                self.place = Place::Data(size);
                return Ok(());
            }
            self.place = Place::Trailer;
            return take(Piece::ChunkEnd(signature));
        }
        if line.is_empty() {
            self.place = Place::Ended;
            return take(Piece::End);
        }
        self.trailer_lines += 1;
        if self.trailer_lines > TRAILER_LINES_MAX {
            return Err(refused("the trailer has more than 16 lines"));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| refused("a line of the trailer has no colon"))?;
        take(Piece::Trailer(name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    }
}

fn chunk_line(line: &str) -> Result<(u64, Option<String>), S3Rejection> {
    let (size, signature) = match line.split_once(';') {
        None => (line, None),
        Some((size, extension)) => {
            let signature = extension.strip_prefix("chunk-signature=");
            (size, Some(signature.ok_or_else(|| refused("a chunk has an extension that is no signature"))?.to_owned()))
        }
    };
    let digits = (1..=16).contains(&size.len()) && size.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = u64::from_str_radix(size, 16).ok().filter(|size| digits && *size <= CHUNK_BYTES_MAX);
    Ok((size.ok_or_else(|| refused("a chunk has no size, or one above 5 GiB"))?, signature))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, the signatures of the chunks, the trailer.
    type Decoded = (Vec<u8>, Vec<Option<String>>, Vec<(String, String)>);

    fn decode(body: &[u8], step: usize) -> Result<Decoded, S3Rejection> {
        let (mut decoder, mut data, mut chunks, mut trailer) = (Decoder::default(), vec![], vec![], vec![]);
        for part in body.chunks(step.max(1)) {
            decoder.feed(part, &mut |piece| {
                match piece {
                    Piece::Data(bytes) => data.extend_from_slice(bytes),
                    Piece::ChunkEnd(signature) => chunks.push(signature),
                    Piece::Trailer(name, value) => trailer.push((name, value)),
                    Piece::End => {}
                }
                Ok(())
            })?;
        }
        if decoder.is_complete() { Ok((data, chunks, trailer)) } else { Err(refused("cut")) }
    }

    #[test]
    fn bodies_with_and_without_signatures() {
        let body = b"5;chunk-signature=ab\r\nhello\r\n0;chunk-signature=cd\r\nX-Amz-Checksum-Crc32: AAAA==\r\n\r\n";
        for step in [1, 2, 3, 7, 1000] {
            let (data, chunks, trailer) = decode(body, step).unwrap();
            assert_eq!(data, b"hello");
            assert_eq!(chunks, [Some("ab".to_owned()), Some("cd".to_owned())]);
            assert_eq!(trailer, [("x-amz-checksum-crc32".to_owned(), "AAAA==".to_owned())]);
        }
        assert_eq!(decode(b"0\r\n\r\n", 1).unwrap(), (vec![], vec![None], vec![]));
    }

    #[test]
    fn what_is_no_such_body_is_refused() {
        for body in [
            &b""[..],
            b"0\r\n",
            b"5\r\nhell\r\n0\r\n\r\n",
            b"5\r\nhelloo\r\n0\r\n\r\n",
            b"-1\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"5;other=1\r\nhello\r\n0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"0\r\n\r\nmore",
            b"0\r\nno colon\r\n\r\n",
            b"ffffffffffffffff\r\n",
        ] {
            assert!(decode(body, 3).is_err(), "{}", body.escape_ascii());
        }
        assert!(decode(&[b'0'; 2000], 10).is_err());
        assert!(decode(&[b"0\r\n".to_vec(), b"a:b\r\n".repeat(17), b"\r\n".to_vec()].concat(), 10).is_err());
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_out(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8), step in 1usize..40) {
            let mut body = vec![];
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            prop_assert_eq!(decode(&body, step).unwrap().0, chunks.concat());
        }

        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..40) {
            let _ = decode(&body, step);
        }
    }
}
