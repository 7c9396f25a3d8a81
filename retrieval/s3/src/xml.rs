//! The answers of S3, in XML.
//!
//! Text is escaped by `quick-xml`. Keys with control characters cannot stand in XML 1.0 at all; a client that has such keys
//! asks for `encoding-type=url`, and all of the great ones do.

use quick_xml::escape::escape;

use crate::encoding::encode_path;
use crate::error::S3Rejection;
use crate::ingest::folder::Stored;
use crate::ingest::pages::{PartsQuery, UploadsPage, UploadsQuery};
use crate::listing::{self, Page};
use crate::request::{ListQuery, ListVersion};
use crate::time;

/// Whom everything belongs to.
const OWNER: &str = "cairn";
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A document that is being written.
struct Document {
    text: String,
    open: Vec<&'static str>,
}

impl Document {
    fn new(root: &'static str) -> Self {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{NAMESPACE}\">");
        Self { text, open: vec![root] }
    }

    fn open(&mut self, name: &'static str) -> &mut Self {
        self.text.push_str(&format!("<{name}>"));
        self.open.push(name);
        self
    }

    fn close(&mut self) -> &mut Self {
        let name = self.open.pop().expect("an element that was opened");
        self.text.push_str(&format!("</{name}>"));
        self
    }

    fn field(&mut self, name: &'static str, value: impl std::fmt::Display) -> &mut Self {
        let value = value.to_string();
        self.text.push_str(&format!("<{name}>{}</{name}>", escape(value.as_str())));
        self
    }

    fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }
}

/// A refusal.
pub fn error(rejection: &S3Rejection, resource: &str, request_id: &str) -> String {
    // Errors have no namespace in S3, and some clients look for plain names.
    let mut document = Document { text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(), open: Vec::new() };
    document.open("Error").field("Code", rejection.code.text()).field("Message", &rejection.message);
    document.field("Resource", resource).field("RequestId", request_id);
    document.finish()
}

/// ListBuckets: one page of names and seconds since 1970, and whether another one follows.
pub fn buckets<'a>(buckets: impl Iterator<Item = (&'a str, u64)>, prefix: &str, next: Option<&str>) -> String {
    let mut document = Document::new("ListAllMyBucketsResult");
    document.open("Owner").field("ID", OWNER).field("DisplayName", OWNER).close().open("Buckets");
    for (name, created) in buckets {
        document.open("Bucket").field("Name", name).field("CreationDate", time::iso8601(created)).close();
    }
    document.close();
    if !prefix.is_empty() {
        document.field("Prefix", prefix);
    }
    if let Some(next) = next {
        document.field("ContinuationToken", next);
    }
    document.finish()
}

/// GetBucketLocation. The first region of all has the empty name.
pub fn location(region: &str) -> String {
    let mut document = Document::new("LocationConstraint");
    if region != "us-east-1" {
        document.text.push_str(&escape(region));
    }
    document.finish()
}

/// GetBucketVersioning: never configured.
pub fn versioning() -> String {
    Document::new("VersioningConfiguration").finish()
}

/// ListObjects, of both versions.
pub fn objects(bucket: &str, query: &ListQuery, page: &Page) -> String {
    let name = |text: &str| if query.encode_url { encode_path(text) } else { text.to_owned() };
    let mut document = Document::new("ListBucketResult");
    document.field("Name", bucket).field("Prefix", name(&query.prefix)).field("MaxKeys", query.max_keys);
    if let Some(delimiter) = &query.delimiter {
        document.field("Delimiter", name(delimiter));
    }
    if query.encode_url {
        document.field("EncodingType", "url");
    }
    document.field("IsTruncated", page.next_position.is_some());
    match &query.version {
        ListVersion::V1 { marker } => {
            document.field("Marker", name(marker));
            if let (Some(_), Some(last)) = (&page.next_position, &page.last) {
                document.field("NextMarker", name(last));
            }
        }
        ListVersion::V2 { start_after, continuation_token } => {
            document.field("KeyCount", page.contents.len() + page.common_prefixes.len());
            if !start_after.is_empty() {
                document.field("StartAfter", name(start_after));
            }
            if let Some(token) = continuation_token {
                document.field("ContinuationToken", token);
            }
            if let Some(position) = &page.next_position {
                document.field("NextContinuationToken", listing::token(position));
            }
        }
    }
    for listed in &page.contents {
        document.open("Contents").field("Key", name(&listed.key));
        document.field("LastModified", time::iso8601(listed.modified)).field("ETag", format!("\"{}\"", listed.etag));
        document.field("Size", listed.size).field("StorageClass", "STANDARD").close();
    }
    for group in &page.common_prefixes {
        document.open("CommonPrefixes").field("Prefix", name(group)).close();
    }
    document.finish()
}

/// CreateMultipartUpload.
pub fn upload_created(bucket: &str, key: &str, upload: &str) -> String {
    let mut document = Document::new("InitiateMultipartUploadResult");
    document.field("Bucket", bucket).field("Key", key).field("UploadId", upload);
    document.finish()
}

/// CompleteMultipartUpload.
pub fn upload_completed(bucket: &str, key: &str, etag: &str) -> String {
    let mut document = Document::new("CompleteMultipartUploadResult");
    document.field("Location", format!("/{bucket}/{key}")).field("Bucket", bucket).field("Key", key);
    document.field("ETag", format!("\"{etag}\""));
    document.finish()
}

/// ListParts: one page of parts by number, and whether another one follows.
pub fn parts(bucket: &str, key: &str, upload: &str, query: &PartsQuery, parts: &[(u32, Stored)], more: bool) -> String {
    let mut document = Document::new("ListPartsResult");
    document.field("Bucket", bucket).field("Key", query.name(key)).field("UploadId", upload);
    document.field("PartNumberMarker", query.after);
    if let (Some((last, _)), true) = (parts.last(), more) {
        document.field("NextPartNumberMarker", last);
    }
    document.field("MaxParts", query.max_parts).field("IsTruncated", more);
    if query.encode_url {
        document.field("EncodingType", "url");
    }
    for name in ["Initiator", "Owner"] {
        document.open(name).field("ID", OWNER).field("DisplayName", OWNER).close();
    }
    document.field("StorageClass", "STANDARD");
    for (number, part) in parts {
        document.open("Part").field("PartNumber", number).field("LastModified", time::iso8601(part.modified));
        document.field("ETag", format!("\"{}\"", part.etag)).field("Size", part.size).close();
    }
    document.finish()
}

/// ListMultipartUploads: one page.
pub fn uploads(bucket: &str, query: &UploadsQuery, page: &UploadsPage) -> String {
    let mut document = Document::new("ListMultipartUploadsResult");
    let name = |text: &str| query.name(text);
    document.field("Bucket", bucket).field("KeyMarker", name(&query.key_marker));
    document.field("UploadIdMarker", query.upload_marker.as_deref().unwrap_or_default());
    if let Some((key, upload)) = &page.next {
        document.field("NextKeyMarker", name(key)).field("NextUploadIdMarker", upload);
    }
    document.field("Prefix", name(&query.prefix));
    if let Some(delimiter) = &query.delimiter {
        document.field("Delimiter", name(delimiter));
    }
    if query.encode_url {
        document.field("EncodingType", "url");
    }
    document.field("MaxUploads", query.max_uploads).field("IsTruncated", page.next.is_some());
    for (upload_name, upload) in &page.uploads {
        document.open("Upload").field("Key", name(&upload.key)).field("UploadId", upload_name);
        for name in ["Initiator", "Owner"] {
            document.open(name).field("ID", OWNER).field("DisplayName", OWNER).close();
        }
        document.field("StorageClass", "STANDARD").field("Initiated", time::iso8601(upload.started)).close();
    }
    for group in &page.common_prefixes {
        document.open("CommonPrefixes").field("Prefix", name(group)).close();
    }
    document.finish()
}

/// DeleteObjects: what became of each key. Those that are gone are left out of a quiet answer.
pub fn deleted<'a>(results: impl Iterator<Item = (&'a str, &'a Result<(), S3Rejection>)>, quiet: bool) -> String {
    let mut document = Document::new("DeleteResult");
    for (key, result) in results {
        match result {
            Ok(()) if quiet => {}
            Ok(()) => drop(document.open("Deleted").field("Key", key).close()),
            Err(error) => {
                document.open("Error").field("Key", key).field("Code", error.code.text());
                document.field("Message", &error.message).close();
            }
        }
    }
    document.finish()
}

/// CopyObject and UploadPartCopy; `root` says which.
pub fn copied(root: &'static str, stored: &Stored) -> String {
    let mut document = Document::new(root);
    document.field("LastModified", time::iso8601(stored.modified)).field("ETag", format!("\"{}\"", stored.etag));
    document.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::listing::Listed;

    #[test]
    fn text_is_escaped_and_names_are_encoded_on_request() {
        let listed = Listed { key: "a&<b c".into(), size: 7, etag: "bafk".into(), modified: 0 };
        let page = Page {
            contents: vec![listed],
            next_position: Some(vec![0x61]),
            last: Some("a&<b c".into()),
            ..Page::default()
        };
        let version = ListVersion::V1 { marker: String::new() };
        let mut query =
            ListQuery { version, prefix: "a&".into(), delimiter: Some("/".into()), max_keys: 1, encode_url: false };
        let text = objects("b", &query, &page);
        assert!(
            text.contains("<Key>a&amp;&lt;b c</Key>") && text.contains("<NextMarker>a&amp;&lt;b c</NextMarker>"),
            "{text}"
        );
        assert!(text.contains("<ETag>&quot;bafk&quot;</ETag><Size>7</Size>"), "{text}");
        query.encode_url = true;
        query.version = ListVersion::V2 { start_after: String::new(), continuation_token: None };
        let text = objects("b", &query, &page);
        assert!(
            text.contains("<Key>a%26%3Cb%20c</Key>") && text.contains("<EncodingType>url</EncodingType>"),
            "{text}"
        );
        assert!(text.contains("<NextContinuationToken>at-61</NextContinuationToken>"), "{text}");
        let text = error(&ErrorCode::NoSuchKey.into(), "/b/<k>", "1");
        assert!(text.contains("<Code>NoSuchKey</Code>") && text.contains("/b/&lt;k&gt;"), "{text}");
    }
}
