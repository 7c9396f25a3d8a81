//! Uploads: buckets that are being written, until they are published as datasets.
//!
//! 1. [`WriteAction::read`]: what is asked for.
//! 2. [`receive`](receive::receive): the body, checked, into a file; or [`copy`]: bytes that are here already.
//! 3. [`folder`]: the file gets its name, at once or in [`uploads`], part by part. The bucket is a plain folder;
//!    `cairn order place FOLDER/BUCKET`, `cairn data publish` or `cairn gateway --data` makes a dataset of it.
//!
//! Whoever may write sees what is being written; [`pages`] lists what is not whole yet.

pub mod copy;
pub mod folder;
pub mod pages;
pub mod receive;
pub mod uploads;

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use copy::{CopySource, SourceObject};
use folder::{Conditions, Stored, Temporary, failed};
pub use folder::{IngestError, IngestFolder, IngestOptions};
use hyper::Method;
use pages::{PartsQuery, UploadsQuery};
use receive::{BodyReader, receive};

use crate::access::Caller;
use crate::checksum::Checksums;
use crate::documents::{self, Deletion};
use crate::error::{ErrorCode, S3Rejection};
use crate::request::RequestHead;
use crate::sigv4::{PayloadHash, Verified};
use crate::{time, xml};

/// Most bytes of one request with data: 5 GiB, as in S3.
pub const PUT_BYTES_MAX: u64 = 5 << 30;
/// Most parts of an upload, as in S3.
pub const PARTS_MAX: u32 = 10_000;
/// Least bytes of a part that is not the last, as in S3.
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// Most bytes of a list of parts or of keys.
const LIST_BYTES_MAX: u64 = 4 << 20;

/// What a request asks for that has to do with buckets that are being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteAction {
    /// CreateBucket.
    CreateBucket,
    /// DeleteBucket.
    DeleteBucket,
    /// PutObject.
    PutObject,
    /// CopyObject.
    CopyObject(CopySource),
    /// DeleteObject.
    DeleteObject,
    /// DeleteObjects.
    DeleteObjects,
    /// CreateMultipartUpload.
    CreateUpload,
    /// UploadPart: the upload, the number.
    UploadPart(String, u32),
    /// UploadPartCopy: the upload, the number, the source.
    CopyPart(String, u32, CopySource),
    /// CompleteMultipartUpload.
    CompleteUpload(String),
    /// AbortMultipartUpload.
    AbortUpload(String),
    /// ListMultipartUploads.
    ListUploads(UploadsQuery),
    /// ListParts.
    ListParts(String, PartsQuery),
}

/// Query names of requests that write; any other asks for a part of S3 that is not here.
const KNOWN: [&str; 5] = ["uploads", "uploadId", "partNumber", "delete", "x-id"];

impl WriteAction {
    /// Reads what is asked for; nothing if the request only reads objects or lists them.
    ///
    /// # Errors
    /// A part of S3 that is not here.
    pub fn read(head: &RequestHead, key: &str) -> Result<Option<Self>, S3Rejection> {
        let upload = head.parameter("uploadId").map(str::to_owned);
        let has = |name| head.parameter(name).is_some();
        if matches!(head.method, Method::GET | Method::HEAD) {
            let lists = head.method == Method::GET;
            return match (key.is_empty(), upload) {
                (true, None) if lists && has("uploads") => UploadsQuery::read(head).map(Self::ListUploads).map(Some),
                (false, Some(upload)) if lists => {
                    PartsQuery::read(head).map(|query| Some(Self::ListParts(upload, query)))
                }
                _ => Ok(None),
            };
        }
        let source = CopySource::read(head)?;
        let number = head.parameter("partNumber");
        let other = head.query.iter().find(|(name, _)| !KNOWN.contains(&name.as_str()) && !name.starts_with("X-Amz-"));
        let action = match (head.method.clone(), key.is_empty(), upload, has("uploads"), has("delete")) {
            (Method::PUT, true, None, false, false) => Self::CreateBucket,
            (Method::DELETE, true, None, false, false) => Self::DeleteBucket,
            (Method::POST, true, None, false, true) => Self::DeleteObjects,
            (Method::PUT, false, None, false, false) if number.is_none() => match &source {
                Some(source) => Self::CopyObject(source.clone()),
                None => Self::PutObject,
            },
            (Method::PUT, false, Some(upload), false, false) => match &source {
                Some(source) => Self::CopyPart(upload, part_number(number)?, source.clone()),
                None => Self::UploadPart(upload, part_number(number)?),
            },
            (Method::DELETE, false, Some(upload), false, false) => Self::AbortUpload(upload),
            (Method::DELETE, false, None, false, false) => Self::DeleteObject,
            (Method::POST, false, None, true, false) => Self::CreateUpload,
            (Method::POST, false, Some(upload), false, false) => Self::CompleteUpload(upload),
            _ => return Err(ErrorCode::NotImplemented.into()),
        };
        let copies = matches!(action, Self::CopyObject(_) | Self::CopyPart(..));
        if other.is_some() || (source.is_some() && !copies) {
            return Err(ErrorCode::NotImplemented.into());
        }
        Ok(Some(action))
    }

    /// Whether it only looks: a bucket that is not being written is then none of its business.
    pub fn only_lists(&self) -> bool {
        matches!(self, Self::ListUploads(_) | Self::ListParts(..))
    }
}

fn part_number(text: Option<&str>) -> Result<u32, S3Rejection> {
    let number = text.and_then(|text| text.parse().ok()).filter(|number| (1..=PARTS_MAX).contains(number));
    number.ok_or_else(|| S3Rejection::new(ErrorCode::InvalidArgument, "partNumber is from 1 to 10000"))
}

/// A request that was let in.
pub struct WriteRequest<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// What its signature says.
    pub verified: &'a Verified,
    /// Whose it is.
    pub caller: Caller<'a>,
    /// The time.
    pub now: SystemTime,
    /// Opens what is to be copied, if the caller may read it.
    pub open: &'a dyn Fn(&CopySource) -> Result<SourceObject, S3Rejection>,
}

impl WriteRequest<'_> {
    fn seconds(&self) -> u64 {
        time::seconds(self.now)
    }

    fn conditions(&self) -> Result<Conditions, S3Rejection> {
        let absent = match self.head.header("if-none-match") {
            None => false,
            Some("*") => true,
            Some(_) => return Err(S3Rejection::new(ErrorCode::NotImplemented, "If-None-Match of a write is *")),
        };
        Ok(Conditions { absent, etag: self.head.header("if-match").map(|tag| tag.trim_matches('"').to_owned()) })
    }
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

impl Written {
    fn text(text: String) -> Self {
        Self { text, ..Self::default() }
    }

    fn tagged(stored: Stored) -> Self {
        Self { etag: Some(stored.etag), ..Self::default() }
    }

    fn gone() -> Self {
        Self { no_content: true, ..Self::default() }
    }
}

impl IngestFolder {
    /// Does what a request asks for.
    ///
    /// # Errors
    /// The refusal; nothing of the upload is kept then.
    pub fn write(
        &self,
        action: WriteAction,
        (bucket, key): (&str, &str),
        request: &WriteRequest<'_>,
        body: &mut BodyReader,
    ) -> Result<Written, S3Rejection> {
        self.expire_uploads(request.seconds());
        match action {
            // Of these two each key is looked at by itself.
            WriteAction::DeleteObjects | WriteAction::ListUploads(_) => request.caller.check_bucket(&[bucket])?,
            _ => request.caller.check_key(&[bucket], key)?,
        }
        match action {
            WriteAction::CreateBucket => self.create_bucket(bucket).map(|()| Written::default()),
            WriteAction::DeleteBucket => self.delete_bucket(bucket).map(|()| Written::gone()),
            WriteAction::DeleteObject => self.delete(bucket, key, &request.conditions()?).map(|()| Written::gone()),
            WriteAction::DeleteObjects => self.delete_objects(bucket, request, body).map(Written::text),
            WriteAction::PutObject => self.put_object((bucket, key), request, body),
            WriteAction::CopyObject(source) => {
                self.check_target(bucket, key)?;
                let temporary = self.copied(&source, request)?;
                let stored = self.publish(temporary, bucket, key, &request.conditions()?)?;
                Ok(Written::text(xml::copied("CopyObjectResult", &stored)))
            }
            WriteAction::ListUploads(query) => {
                let state = self.state();
                state.objects(bucket)?;
                let seen = |key: &str| request.caller.check_key(&[bucket], key).is_ok();
                let uploads = state.uploads.iter().filter(|(_, upload)| upload.bucket == bucket && seen(&upload.key));
                Ok(Written::text(xml::uploads(bucket, &query, &query.page(uploads))))
            }
            WriteAction::CreateUpload => {
                let nanoseconds = request.now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
                let upload = self.create_upload(bucket, key, nanoseconds)?;
                Ok(Written::text(xml::upload_created(bucket, key, &upload)))
            }
            WriteAction::UploadPart(ref upload, _)
            | WriteAction::CopyPart(ref upload, ..)
            | WriteAction::AbortUpload(ref upload)
            | WriteAction::CompleteUpload(ref upload)
            | WriteAction::ListParts(ref upload, _) => {
                self.check_upload(bucket, key, upload, request.seconds())?;
                self.in_upload(&action, (bucket, key), request, body)
            }
        }
    }

    fn put_object(
        &self,
        (bucket, key): (&str, &str),
        request: &WriteRequest<'_>,
        body: &mut BodyReader,
    ) -> Result<Written, S3Rejection> {
        let (conditions, checksums) = (request.conditions()?, Checksums::announced(request.head)?);
        if let Some(marker) = key.strip_suffix('/') {
            // What some clients write for a folder: folders are there by their files.
            self.check_folder(bucket, marker)?;
            receive(request, checksums, body, 0, &mut io::sink())?;
            return Ok(Written::default());
        }
        self.check_target(bucket, key)?;
        let temporary = self.temporary()?;
        receive(request, checksums, body, PUT_BYTES_MAX, &mut &temporary.file)?;
        self.publish(temporary, bucket, key, &conditions).map(Written::tagged)
    }

    /// A new file with what is to be copied.
    fn copied(&self, source: &CopySource, request: &WriteRequest<'_>) -> Result<Temporary, S3Rejection> {
        let object = (request.open)(source)?;
        let (first, bytes) = source.select(&object, PUT_BYTES_MAX)?;
        let temporary = self.temporary()?;
        object.bytes.copy(first, bytes, &temporary.file).map_err(failed)?;
        Ok(temporary)
    }

    fn delete_objects(
        &self,
        bucket: &str,
        request: &WriteRequest<'_>,
        body: &mut BodyReader,
    ) -> Result<String, S3Rejection> {
        let checksums = Checksums::announced(request.head)?;
        let unsigned = matches!(request.verified.payload, PayloadHash::Unsigned | PayloadHash::UnsignedChunks);
        if unsigned && checksums.is_empty() {
            let message = "what is to be deleted must be signed, or come with Content-MD5 or an x-amz-checksum";
            return Err(S3Rejection::new(ErrorCode::InvalidRequest, message));
        }
        let mut list = Vec::new();
        receive(request, checksums, body, LIST_BYTES_MAX, &mut list)?;
        let (list, quiet) = documents::deletions(&list)?;
        self.state().objects(bucket)?;
        let refused: Vec<Option<S3Rejection>> = list.iter().map(|one| refusal(one, bucket, request)).collect();
        let wanted: Vec<(String, Conditions)> = list
            .iter()
            .zip(&refused)
            .filter(|(_, refused)| refused.is_none())
            .map(|(one, _)| (one.key.clone(), Conditions { absent: false, etag: one.etag.clone() }))
            .collect();
        let mut removed = self.delete_all(bucket, &wanted).into_iter();
        let results: Vec<Result<(), S3Rejection>> = refused
            .into_iter()
            .map(|refused| refused.map_or_else(|| removed.next().expect("one for each that was wanted"), Err))
            .collect();
        Ok(xml::deleted(list.iter().map(|one| one.key.as_str()).zip(&results), quiet))
    }

    fn in_upload(
        &self,
        action: &WriteAction,
        (bucket, key): (&str, &str),
        request: &WriteRequest<'_>,
        body: &mut BodyReader,
    ) -> Result<Written, S3Rejection> {
        match action {
            WriteAction::UploadPart(upload, number) => {
                let checksums = Checksums::announced(request.head)?;
                self.check_room(receive::declared_bytes(request)?)?;
                let temporary = self.temporary()?;
                receive(request, checksums, body, PUT_BYTES_MAX, &mut &temporary.file)?;
                self.add_part(temporary, upload, *number, request.seconds()).map(Written::tagged)
            }
            WriteAction::CopyPart(upload, number, source) => {
                let temporary = self.copied(source, request)?;
                let stored = self.add_part(temporary, upload, *number, request.seconds())?;
                Ok(Written::text(xml::copied("CopyPartResult", &stored)))
            }
            WriteAction::CompleteUpload(upload) => {
                // Checksums in this head are those of the object.
                let checksums = Checksums::of_object(request.head)?;
                let mut list = Vec::new();
                receive(request, Checksums::default(), body, LIST_BYTES_MAX, &mut list)?;
                let list = documents::parts(&list)?;
                let stored = self.complete(upload, (bucket, key), &list, checksums, request)?;
                Ok(Written::text(xml::upload_completed(bucket, key, &stored.etag)))
            }
            WriteAction::ListParts(upload, query) => {
                let parts = self.parts(upload)?;
                let mut page: Vec<(u32, Stored)> =
                    parts.into_iter().filter(|(number, _)| *number > query.after).collect();
                let more = page.len() > query.max_parts;
                page.truncate(query.max_parts);
                Ok(Written::text(xml::parts(bucket, key, upload, query, &page, more)))
            }
            WriteAction::AbortUpload(upload) => self.end_upload(upload).map(|()| Written::gone()),
            _ => unreachable!("only what belongs to an upload comes here"),
        }
    }

    fn complete(
        &self,
        upload: &str,
        (bucket, key): (&str, &str),
        list: &[(u32, String)],
        mut checksums: Checksums,
        request: &WriteRequest<'_>,
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
        let total: u64 = list.iter().map(|(number, _)| parts[number].size).sum();
        if request.head.header("x-amz-mp-object-size").is_some_and(|text| text.parse() != Ok(total)) {
            let message = format!("x-amz-mp-object-size: the parts have {total} bytes");
            return Err(S3Rejection::new(ErrorCode::InvalidRequest, message));
        }
        let temporary = self.temporary()?;
        for (number, _) in list {
            let mut part = self.part(upload, *number)?;
            let mut target = &temporary.file;
            if checksums.is_empty() {
                // The system copies by itself, and shares the bytes where the file system can.
                io::copy(&mut part, &mut target).map_err(failed)?;
            } else {
                io::copy(&mut part, &mut checksums.beside(&mut target)).map_err(failed)?;
                checksums.end_part();
            }
        }
        checksums.check()?;
        let stored = self.publish(temporary, bucket, key, &request.conditions()?)?;
        // The object is there and stays: parts that cannot be removed now are given up later.
        if let Err(error) = self.end_upload(upload) {
            tracing::warn!(upload, %error, "the parts of a complete upload stay for now");
        }
        Ok(stored)
    }
}

/// Why one key of a list is not deleted, as far as that is known without looking.
fn refusal(deletion: &Deletion, bucket: &str, request: &WriteRequest<'_>) -> Option<S3Rejection> {
    if deletion.version.as_deref().is_some_and(|version| version != "null") {
        return Some(ErrorCode::NoSuchVersion.into());
    }
    if deletion.has_other_condition {
        return Some(S3Rejection::new(ErrorCode::NotImplemented, "the only condition of a deletion is an ETag"));
    }
    request.caller.check_key(&[bucket], &deletion.key).err()
}
