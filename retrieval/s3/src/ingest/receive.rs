//! From the body of a request to a file, with everything that can be checked checked.
//!
//! 1. Nothing of the body is asked for before the head was accepted ([`BodyReader::next`] gives the word), so a client that
//!    waits for `100 Continue` learns of a refusal first.
//! 2. Bytes pass through a few frames of the connection; nothing grows with the upload.
//! 3. Length, signatures of chunks, SHA-256 of the signature and checksums are compared at the end; only what
//!    [`receive`] accepted may be given a name.

use std::io::Write;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::WriteRequest;
use super::folder::failed;
use crate::checksum::Checksums;
use crate::chunked::{Decoder, Piece};
use crate::error::{ErrorCode, S3Rejection};
use crate::sigv4::{ChunkSigner, PayloadHash, Verified};

/// The body as it comes; `Ok(None)` is its end, a channel that closes without it is a body that was cut.
pub struct BodyReader {
    go: Option<oneshot::Sender<()>>,
    frames: mpsc::Receiver<Result<Option<Bytes>, S3Rejection>>,
}

impl BodyReader {
    /// Reads what a channel brings; `go` is told at the first look.
    pub fn new(go: oneshot::Sender<()>, frames: mpsc::Receiver<Result<Option<Bytes>, S3Rejection>>) -> Self {
        Self { go: Some(go), frames }
    }

    fn next(&mut self) -> Result<Option<Bytes>, S3Rejection> {
        if let Some(go) = self.go.take() {
            // Nobody listens if the connection is gone; the channel says so next.
            let _ = go.send(());
        }
        self.frames.blocking_recv().unwrap_or_else(|| Err(ErrorCode::IncompleteBody.into()))
    }
}

struct Receiver<'a> {
    sink: &'a mut dyn Write,
    checksums: Checksums,
    whole: Option<(Sha256, [u8; 32])>,
    signer: Option<ChunkSigner>,
    chunk: Sha256,
    trailer: Sha256,
    trailer_signed: bool,
    trailer_signature: Option<String>,
    declared: u64,
    taken: u64,
}

impl Receiver<'_> {
    fn data(&mut self, bytes: &[u8]) -> Result<(), S3Rejection> {
        self.taken += bytes.len() as u64;
        if self.taken > self.declared {
            return Err(S3Rejection::new(ErrorCode::InvalidRequest, "the body is longer than it says"));
        }
        if let Some((hash, _)) = &mut self.whole {
            hash.update(bytes);
        }
        if self.signer.is_some() {
            self.chunk.update(bytes);
        }
        self.checksums.update(bytes);
        self.sink.write_all(bytes).map_err(failed)
    }

    fn piece(&mut self, piece: Piece<'_>) -> Result<(), S3Rejection> {
        match piece {
            Piece::Data(bytes) => self.data(bytes),
            Piece::ChunkEnd(signature) => {
                let digest = std::mem::take(&mut self.chunk).finalize().into();
                let Some(signer) = &mut self.signer else { return Ok(()) };
                let held = signature.is_some_and(|signature| signer.verify_chunk(&digest, &signature));
                if held { Ok(()) } else { Err(ErrorCode::SignatureDoesNotMatch.into()) }
            }
            Piece::Trailer(name, value) if name == "x-amz-trailer-signature" => {
                self.trailer_signature = Some(value);
                Ok(())
            }
            Piece::Trailer(name, value) => {
                if self.trailer_signature.is_some() {
                    return Err(ErrorCode::SignatureDoesNotMatch.into());
                }
                self.trailer.update(format!("{name}:{value}\n"));
                self.checksums.trailer(&name, value)
            }
            Piece::End => Ok(()),
        }
    }

    fn finish(mut self) -> Result<u64, S3Rejection> {
        if self.taken != self.declared {
            return Err(ErrorCode::IncompleteBody.into());
        }
        if let (true, Some(signer)) = (self.trailer_signed, &mut self.signer) {
            let digest = std::mem::take(&mut self.trailer).finalize().into();
            let signature = self.trailer_signature.take();
            if !signature.is_some_and(|signature| signer.verify_trailer(&digest, &signature)) {
                return Err(ErrorCode::SignatureDoesNotMatch.into());
            }
        }
        if let Some((hash, expected)) = self.whole.take()
            && <[u8; 32]>::from(hash.finalize()) != expected
        {
            return Err(ErrorCode::XAmzContentSHA256Mismatch.into());
        }
        self.checksums.check()?;
        Ok(self.taken)
    }
}

fn is_chunked(verified: &Verified) -> bool {
    matches!(verified.payload, PayloadHash::SignedChunks { .. } | PayloadHash::UnsignedChunks)
}

/// Bytes of data that a request says it brings.
///
/// # Errors
/// `MissingContentLength`.
pub fn declared_bytes(request: &WriteRequest<'_>) -> Result<u64, S3Rejection> {
    let name = if is_chunked(request.verified) { "x-amz-decoded-content-length" } else { "content-length" };
    let is_number = |text: &&str| text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = request.head.header(name).filter(is_number);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| ErrorCode::MissingContentLength.into())
}

/// Writes a body to `sink`; says how many bytes it had.
///
/// # Errors
/// Whatever does not fit: length, signature, checksum, more than `bytes_max`; or a sink that fails. What was written until
/// then is of no use.
pub fn receive(
    request: &WriteRequest<'_>,
    checksums: Checksums,
    body: &mut BodyReader,
    bytes_max: u64,
    sink: &mut dyn Write,
) -> Result<u64, S3Rejection> {
    let WriteRequest { head, verified, .. } = request;
    let chunked = is_chunked(verified);
    let encoded = head.header("content-encoding").is_some_and(|text| text.contains("aws-chunked"));
    if encoded && !chunked {
        return Err(S3Rejection::new(ErrorCode::InvalidRequest, "aws-chunked needs a STREAMING x-amz-content-sha256"));
    }
    let declared = declared_bytes(request)?;
    if declared > bytes_max {
        return Err(ErrorCode::EntityTooLarge.into());
    }
    let signed = matches!(verified.payload, PayloadHash::SignedChunks { .. });
    let mut receiver = Receiver {
        sink,
        checksums,
        whole: match verified.payload {
            PayloadHash::Sha256(expected) => Some((Sha256::new(), expected)),
            _ => None,
        },
        signer: signed.then(|| verified.chunks.clone()),
        chunk: Sha256::new(),
        trailer: Sha256::new(),
        trailer_signed: verified.payload == PayloadHash::SignedChunks { trailer: true },
        trailer_signature: None,
        declared,
        taken: 0,
    };
    let mut decoder = Decoder::default();
    while let Some(bytes) = body.next()? {
        if chunked {
            decoder.feed(&bytes, &mut |piece| receiver.piece(piece))?;
        } else {
            receiver.data(&bytes)?;
        }
    }
    if chunked && !decoder.is_complete() {
        return Err(ErrorCode::IncompleteBody.into());
    }
    receiver.finish()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hyper::{HeaderMap, Method};

    use super::*;
    use crate::access::Caller;
    use crate::request::RequestHead;

    /// The signed chunks of the documentation of S3: 66,560 bytes of `a` in two chunks.
    #[test]
    fn the_example_of_the_documentation() {
        let head = [
            ("host", "s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("content-length", "66824"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                 SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
                 x-amz-decoded-content-length;x-amz-storage-class,\
                 Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            ),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in head {
            headers.insert(name, value.parse().unwrap());
        }
        let head = RequestHead::new(Method::PUT, "/examplebucket/chunkObject.txt", None, headers).unwrap();
        let secret = crate::sigv4::SecretKey::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into());
        let claim = crate::sigv4::Authorization::read(&head).unwrap().unwrap();
        let verified = claim.verify(&head, &secret, "us-east-1", 1_369_353_600).unwrap();
        let chunk = |size: usize, signature: &str| {
            let head = format!("{size:x};chunk-signature={signature}\r\n");
            [head.into_bytes(), vec![b'a'; size], b"\r\n".to_vec()].concat()
        };
        let good = [
            chunk(65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            chunk(1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            chunk(0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ]
        .concat();
        let run = |body: &[u8]| {
            let (go, _gone) = oneshot::channel();
            let (frames, reader) = mpsc::channel(2000);
            for bytes in body.chunks(100) {
                frames.try_send(Ok(Some(Bytes::copy_from_slice(bytes)))).unwrap();
            }
            frames.try_send(Ok(None)).unwrap();
            let mut out = Vec::new();
            let request = WriteRequest {
                head: &head,
                verified: &verified,
                caller: Caller::nobody(),
                now: SystemTime::UNIX_EPOCH,
                open: &|_| Err(ErrorCode::NoSuchKey.into()),
            };
            let checksums = Checksums::announced(&head).unwrap();
            let got = receive(&request, checksums, &mut BodyReader::new(go, reader), 1 << 20, &mut out);
            got.map_err(|error| error.code)
        };
        assert_eq!(run(&good), Ok(66560));
        let mut bad = good.clone();
        bad[100] = b'b';
        assert_eq!(run(&bad), Err(ErrorCode::SignatureDoesNotMatch));
        assert_eq!(run(&good[..good.len() - 3]), Err(ErrorCode::IncompleteBody));
    }
}
