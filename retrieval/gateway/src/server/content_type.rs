//! `Content-Type` of a file in a dataset, by its extension.
//!
//! The table holds what training data consists of; everything else is plain bytes. Nothing is sniffed: a second request
//! for the same file must not read it, and a wrong guess is worse than none.

/// Type for unknown extensions.
const OCTET_STREAM: &str = "application/octet-stream";

/// The media type for a file name.
pub fn by_name(name: &str) -> &'static str {
    let extension = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension.to_ascii_lowercase(),
        _ => return OCTET_STREAM,
    };
    match extension.as_str() {
        "tar" => "application/x-tar",
        "json" | "geojson" => "application/json",
        "jsonl" | "ndjson" => "application/x-ndjson",
        "parquet" => "application/vnd.apache.parquet",
        "arrow" | "feather" => "application/vnd.apache.arrow.file",
        "car" => "application/vnd.ipld.car",
        "csv" => "text/csv; charset=utf-8",
        "tsv" => "text/tab-separated-values; charset=utf-8",
        "txt" | "md" | "cls" | "yaml" | "yml" => "text/plain; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "tif" | "tiff" => "image/tiff",
        "svg" => "image/svg+xml",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        // Compressed files are served as they are, never with a Content-Encoding that a client would undo.
        "gz" | "tgz" => "application/gzip",
        "zst" => "application/zstd",
        "zip" => "application/zip",
        _ => OCTET_STREAM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        assert_eq!(by_name("shard-000.TAR"), "application/x-tar");
        assert_eq!(by_name("a.tar.gz"), "application/gzip");
        for name in ["tar", ".tar", "x.", "x.safetensors", ""] {
            assert_eq!(by_name(name), OCTET_STREAM, "{name:?}");
        }
    }
}
