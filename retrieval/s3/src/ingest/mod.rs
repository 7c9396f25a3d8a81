//! Uploads: buckets that are being written, until they are published as datasets.
//!
//! 1. [`WriteAction::read`]: what is asked for.
//! 2. [`receive`](receive::receive): the body, checked, into a file.
//! 3. [`folder`]: the file gets its name. The bucket is a plain folder; `cairn order place FOLDER/BUCKET`,
//!    `cairn data publish` or `cairn gateway --data` makes a dataset of it.

pub mod folder;
pub mod receive;

use std::io;

use folder::{Conditions, Stored, failed};
pub use folder::{IngestError, IngestFolder};
use hyper::Method;
use receive::{BodyReader, receive};

use crate::error::{ErrorCode, S3Rejection};
use crate::request::RequestHead;
use crate::sigv4::Verified;
use crate::xml;

/// Most bytes of one request with data: 5 GiB, as in S3.
pub const PUT_BYTES_MAX: u64 = 5 << 30;
/// Most parts of an upload, as in S3.
pub const PARTS_MAX: u32 = 10_000;
/// Least bytes of a part that is not the last, as in S3.
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// Most bytes of a list of parts.
const LIST_BYTES_MAX: u64 = 4 << 20;

/// What a request that changes something asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteAction {
    /// CreateBucket.
    CreateBucket,
    /// DeleteBucket.
    DeleteBucket,
    /// PutObject.
    PutObject,
    /// DeleteObject.
    DeleteObject,
    /// CreateMultipartUpload.
    CreateUpload,
    /// UploadPart: the upload, the number.
    UploadPart(String, u32),
    /// CompleteMultipartUpload.
    CompleteUpload(String),
    /// AbortMultipartUpload.
    AbortUpload(String),
}

/// What is answered: a text in XML, perhaps empty, and an entity tag.
#[derive(Debug, Default)]
pub struct Written {
    /// The body.
    pub text: String,
    /// The tag, without quotes.
    pub etag: Option<String>,
    /// Whether there is nothing to say: 204.
    pub no_content: bool,
}

impl WriteAction {
    /// Reads what is asked for; nothing if the request only reads.
    ///
    /// # Errors
    /// A part of S3 that is not here.
    pub fn read(head: &RequestHead, key: &str) -> Result<Option<Self>, S3Rejection> {
        let known = ["uploads", "uploadId", "partNumber", "x-id"];
        let other = head.query.iter().find(|(name, _)| !known.contains(&name.as_str()) && !name.starts_with("X-Amz-"));
        let upload = head.parameter("uploadId").map(str::to_owned);
        let number = head.parameter("partNumber");
        let action = match (head.method.clone(), key.is_empty(), upload, head.parameter("uploads")) {
            (Method::GET | Method::HEAD, ..) => return Ok(None),
            (Method::PUT, true, None, None) => Self::CreateBucket,
            (Method::DELETE, true, None, None) => Self::DeleteBucket,
            (Method::PUT, false, None, None) if number.is_none() => Self::PutObject,
            (Method::PUT, false, Some(upload), None) => {
                let number =
                    number.and_then(|text| text.parse().ok()).filter(|number| (1..=PARTS_MAX).contains(number));
                let refused = || S3Rejection::new(ErrorCode::InvalidArgument, "partNumber is from 1 to 10000");
                Self::UploadPart(upload, number.ok_or_else(refused)?)
            }
            (Method::DELETE, false, Some(upload), None) => Self::AbortUpload(upload),
            (Method::DELETE, false, None, None) => Self::DeleteObject,
            (Method::POST, false, None, Some(_)) => Self::CreateUpload,
            (Method::POST, false, Some(upload), None) => Self::CompleteUpload(upload),
            _ => return Err(ErrorCode::NotImplemented.into()),
        };
        if other.is_some() || head.headers.contains_key("x-amz-copy-source") {
            return Err(ErrorCode::NotImplemented.into());
        }
        Ok(Some(action))
    }
}

fn conditions(head: &RequestHead) -> Result<Conditions, S3Rejection> {
    let absent = match head.header("if-none-match") {
        None => false,
        Some("*") => true,
        Some(_) => return Err(S3Rejection::new(ErrorCode::NotImplemented, "If-None-Match of a write is *")),
    };
    Ok(Conditions { absent, etag: head.header("if-match").map(|tag| tag.trim_matches('"').to_owned()) })
}

impl IngestFolder {
    /// Does what a request asks for. `seed` makes names of uploads that nobody guesses.
    ///
    /// # Errors
    /// The refusal; nothing of the upload is kept then.
    pub fn write(
        &self,
        action: WriteAction,
        (bucket, key): (&str, &str),
        (head, verified): (&RequestHead, &Verified),
        body: &mut BodyReader,
        seed: u64,
    ) -> Result<Written, S3Rejection> {
        let tagged = |stored: Stored| Written { etag: Some(stored.etag), ..Written::default() };
        let gone = Written { no_content: true, ..Written::default() };
        match action {
            WriteAction::CreateBucket => self.create_bucket(bucket).map(|()| Written::default()),
            WriteAction::DeleteBucket => self.delete_bucket(bucket).map(|()| gone),
            WriteAction::DeleteObject => self.delete(bucket, key).map(|()| gone),
            WriteAction::PutObject => {
                let conditions = conditions(head)?;
                if let Some(marker) = key.strip_suffix('/') {
                    // What some clients write for a folder: folders are there by their files.
                    self.check_target(bucket, marker)?;
                    receive(head, verified, body, 0, &mut io::sink())?;
                    return Ok(Written::default());
                }
                self.check_target(bucket, key)?;
                let temporary = self.temporary()?;
                receive(head, verified, body, PUT_BYTES_MAX, &mut &temporary.file)?;
                self.publish(temporary, bucket, key, &conditions).map(tagged)
            }
            WriteAction::CreateUpload => {
                let upload = self.create_upload(bucket, key, seed)?;
                Ok(Written { text: xml::upload_created(bucket, key, &upload), ..Written::default() })
            }
            WriteAction::UploadPart(upload, number) => {
                self.check_upload(bucket, key, &upload)?;
                let temporary = self.temporary()?;
                receive(head, verified, body, PUT_BYTES_MAX, &mut &temporary.file)?;
                self.add_part(temporary, &upload, number).map(tagged)
            }
            WriteAction::AbortUpload(upload) => {
                self.check_upload(bucket, key, &upload)?;
                self.end_upload(&upload).map(|()| gone)
            }
            WriteAction::CompleteUpload(upload) => {
                self.check_upload(bucket, key, &upload)?;
                let mut list = Vec::new();
                receive(head, verified, body, LIST_BYTES_MAX, &mut list)?;
                let stored = self.complete(&upload, (bucket, key), &xml::parts(&list)?, &conditions(head)?)?;
                Ok(Written { text: xml::upload_completed(bucket, key, &stored.etag), ..Written::default() })
            }
        }
    }

    fn complete(
        &self,
        upload: &str,
        (bucket, key): (&str, &str),
        list: &[(u32, String)],
        conditions: &Conditions,
    ) -> Result<Stored, S3Rejection> {
        let parts = self.parts(upload)?;
        if list.is_empty() {
            return Err(ErrorCode::MalformedXML.into());
        }
        if list.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(ErrorCode::InvalidPartOrder.into());
        }
        for (place, (number, etag)) in list.iter().enumerate() {
            let part = parts.get(number).filter(|part| part.etag == *etag).ok_or(ErrorCode::InvalidPart)?;
            if place + 1 < list.len() && part.size < PART_BYTES_MIN {
                return Err(ErrorCode::EntityTooSmall.into());
            }
        }
        let temporary = self.temporary()?;
        for (number, _) in list {
            let mut part = self.part(upload, *number)?;
            io::copy(&mut part, &mut &temporary.file).map_err(failed)?;
        }
        let stored = self.publish(temporary, bucket, key, conditions)?;
        self.end_upload(upload)?;
        Ok(stored)
    }
}
