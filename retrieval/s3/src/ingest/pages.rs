//! Pages of what is being uploaded: open uploads of a bucket, parts of an upload.

use std::collections::BTreeMap;

use super::uploads::Upload;
use crate::encoding::encode_path;
use crate::error::{ErrorCode, S3Rejection};
use crate::request::{PAGE_MAX, RequestHead, number};

/// Which open uploads a listing wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsQuery {
    /// Every key begins with it.
    pub prefix: String,
    /// Keys are grouped up to its first place after the prefix.
    pub delimiter: Option<String>,
    /// Keys after this one; with `upload_marker`, also later uploads of this one.
    pub key_marker: String,
    /// See `key_marker`.
    pub upload_marker: Option<String>,
    /// Uploads and groups on the page.
    pub max_uploads: usize,
    /// Whether keys in the answer are percent-encoded.
    pub encode_url: bool,
}

/// Which parts a listing wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsQuery {
    /// Numbers above this one.
    pub after: u32,
    /// Parts on the page.
    pub max_parts: usize,
    /// Whether keys in the answer are percent-encoded.
    pub encode_url: bool,
}

/// A page of open uploads, by key and then by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UploadsPage {
    /// Names and what is known of them.
    pub uploads: Vec<(String, Upload)>,
    /// Beginnings that stand for groups.
    pub common_prefixes: Vec<String>,
    /// The last key or group of the page and the name of its upload, if more follow.
    pub next: Option<(String, String)>,
}

fn text(head: &RequestHead, name: &str) -> Option<String> {
    head.parameter(name).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn encode_url(head: &RequestHead) -> Result<bool, S3Rejection> {
    match text(head, "encoding-type").as_deref() {
        None => Ok(false),
        Some("url") => Ok(true),
        Some(_) => Err(S3Rejection::new(ErrorCode::InvalidArgument, "encoding-type is url, or absent")),
    }
}

impl UploadsQuery {
    /// Reads it.
    ///
    /// # Errors
    /// A parameter without meaning.
    pub fn read(head: &RequestHead) -> Result<Self, S3Rejection> {
        Ok(Self {
            prefix: text(head, "prefix").unwrap_or_default(),
            delimiter: text(head, "delimiter"),
            key_marker: text(head, "key-marker").unwrap_or_default(),
            upload_marker: text(head, "upload-id-marker"),
            max_uploads: number(head, "max-uploads", PAGE_MAX, 1)?,
            encode_url: encode_url(head)?,
        })
    }

    /// A key as the answer writes it.
    pub fn name(&self, key: &str) -> String {
        if self.encode_url { encode_path(key) } else { key.to_owned() }
    }

    /// The page of those `uploads` that the query is about; there are few enough to look at each.
    pub fn page<'a>(&self, uploads: impl Iterator<Item = (&'a String, &'a Upload)>) -> UploadsPage {
        // By key, or group, and name; a group has none.
        let mut lines: BTreeMap<(&str, &str), Option<&Upload>> = BTreeMap::new();
        for (name, upload) in uploads.filter(|(_, upload)| upload.key.starts_with(&self.prefix)) {
            let rest = &upload.key[self.prefix.len()..];
            let group = self.delimiter.as_ref().and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
            match group {
                Some(end) => lines.insert((&upload.key[..self.prefix.len() + end], ""), None),
                None => lines.insert((&upload.key, name), Some(upload)),
            };
        }
        let is_after = |(key, name): &(&str, &str)| match &self.upload_marker {
            Some(marker) => (*key, *name) > (self.key_marker.as_str(), marker.as_str()),
            None => *key > self.key_marker.as_str(),
        };
        let mut page = UploadsPage::default();
        let mut last: Option<(&str, &str)> = None;
        for (line, upload) in lines.iter().filter(|(line, _)| is_after(line)) {
            if page.uploads.len() + page.common_prefixes.len() == self.max_uploads {
                page.next = last.map(|(key, name)| (key.to_owned(), name.to_owned()));
                break;
            }
            last = Some(*line);
            match upload {
                Some(upload) => page.uploads.push((line.1.to_owned(), (*upload).clone())),
                None => page.common_prefixes.push(line.0.to_owned()),
            }
        }
        page
    }
}

impl PartsQuery {
    /// Reads it.
    ///
    /// # Errors
    /// A parameter without meaning.
    pub fn read(head: &RequestHead) -> Result<Self, S3Rejection> {
        let after = match text(head, "part-number-marker") {
            None => 0,
            Some(_) => number(head, "part-number-marker", super::PARTS_MAX as usize, 0)? as u32,
        };
        Ok(Self { after, max_parts: number(head, "max-parts", PAGE_MAX, 1)?, encode_url: encode_url(head)? })
    }

    /// A key as the answer writes it.
    pub fn name(&self, key: &str) -> String {
        if self.encode_url { encode_path(key) } else { key.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(page: &UploadsPage) -> Vec<&str> {
        let uploads = page.uploads.iter().map(|(name, _)| name.as_str());
        uploads.chain(page.common_prefixes.iter().map(String::as_str)).collect()
    }

    #[test]
    fn uploads_come_by_key_and_name_a_page_at_a_time() {
        let upload = |key: &str| Upload { bucket: "b".into(), key: key.into(), started: 0, touched: 0, bytes: 0 };
        let open: BTreeMap<String, Upload> = [("3", "a"), ("1", "a"), ("2", "b/x"), ("5", "b/y"), ("4", "c")]
            .into_iter()
            .map(|(name, key)| (name.to_owned(), upload(key)))
            .collect();
        let query = |prefix: &str, delimiter: &str, max_uploads| UploadsQuery {
            prefix: prefix.into(),
            delimiter: (!delimiter.is_empty()).then(|| delimiter.into()),
            key_marker: String::new(),
            upload_marker: None,
            max_uploads,
            encode_url: false,
        };
        assert_eq!(names(&query("", "", 10).page(open.iter())), ["1", "3", "2", "5", "4"]);
        assert_eq!(names(&query("b/", "", 10).page(open.iter())), ["2", "5"]);
        assert_eq!(names(&query("", "/", 10).page(open.iter())), ["1", "3", "4", "b/"]);
        for delimiter in ["", "/"] {
            let (mut seen, mut query) = (vec![], query("", delimiter, 1));
            loop {
                let page = query.page(open.iter());
                seen.extend(names(&page).into_iter().map(str::to_owned));
                let Some((key, name)) = page.next else { break };
                (query.key_marker, query.upload_marker) = (key, (!name.is_empty()).then_some(name));
            }
            let expected: &[&str] =
                if delimiter.is_empty() { &["1", "3", "2", "5", "4"] } else { &["1", "3", "b/", "4"] };
            assert_eq!(seen, expected);
        }
    }
}
