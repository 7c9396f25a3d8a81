//! Whole requests and answers, without a socket: keys, the gatekeeper, and every operation on what is being written.

use std::sync::Mutex;

use cairn_content::ImportOptions;
use cairn_gateway::{Account, Asked, Library};
use tempfile::TempDir;

use super::*;
use crate::ingest::IngestOptions;
use crate::sigv4;

const TIMESTAMP: &str = "20130524T000000Z";
const NOW: u64 = 1_369_353_600;
const MIB: usize = 1 << 20;

/// An answer, read to its end.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: hyper::HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The text of the first element of this name.
    fn field(&self, name: &str) -> &str {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let start = self.text().find(&open).unwrap_or_else(|| panic!("no {name} in {}", self.text())) + open.len();
        &self.text()[start..start + self.text()[start..].find(&close).unwrap()]
    }

    fn fields(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.text().split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap()).collect()
    }

    fn etag(&self) -> &str {
        self.headers["etag"].to_str().unwrap()
    }

    /// Status and code of a refusal.
    fn refusal(&self) -> (u16, &str) {
        (self.status, self.field("Code"))
    }
}

/// A dataset `letters` beside a folder that is written to.
struct Bench {
    inner: Inner,
    runtime: tokio::runtime::Runtime,
    root: Cid,
    dir: TempDir,
}

const KEYS: &str = "writer s write\nreader s read\nhalf s write letters/in fresh/in\nfew s read bytes=10\n";

impl Bench {
    fn new(keys: &str, gatekeeper: Option<Arc<dyn Gatekeeper>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let letters = dir.path().join("letters");
        std::fs::create_dir_all(letters.join("in")).unwrap();
        std::fs::write(letters.join("a.txt"), "one letter").unwrap();
        std::fs::write(letters.join("in/b.txt"), "another").unwrap();
        let dataset = Arc::new(Dataset::import(&letters, &ImportOptions::default()).unwrap());
        let root = dataset.root();
        let mut library = Library::default();
        library.add_dataset(dataset);
        let ingest = IngestFolder::open(&dir.path().join("ingest"), IngestOptions::default()).unwrap();
        let options = S3Options {
            keys: AccessKeys::parse(keys).unwrap(),
            ingest: Some(Arc::new(ingest)),
            gatekeeper,
            clock: Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)),
            ..S3Options::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let inner = Inner { shelf: Arc::new(library), options, indexes: IndexCache::default() };
        Self { inner, runtime, root, dir }
    }

    /// Answers a request; the empty key signs nothing.
    fn ask(&self, key: &str, method: Method, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
        self.answer(key, method, target, headers, body).0
    }

    fn answer(
        &self,
        key: &str,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (Got, Option<Arc<dyn Account>>) {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut map = hyper::HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map.insert(CONTENT_LENGTH, body.len().into());
        let mut head = RequestHead::new(method.clone(), path, query, map).unwrap();
        if !key.is_empty() {
            let digest = sigv4::canonical::digest(body);
            if !head.headers.contains_key("x-amz-content-sha256") {
                head.headers.insert("x-amz-content-sha256", digest.parse().unwrap());
            }
            sigv4::sign(&mut head, key, "s", TIMESTAMP);
        }
        let mut request = Request::builder().method(method).uri(target).body(()).unwrap();
        *request.headers_mut() = head.headers;
        let (go, _gone) = oneshot::channel();
        let (frames, reader) = mpsc::channel(4);
        frames.try_send(Ok(Some(Bytes::copy_from_slice(body)))).unwrap();
        frames.try_send(Ok(None)).unwrap();
        let mut response = self.inner.respond(request.into_parts().0, &mut BodyReader::new(go, reader), "1");
        let account = response.extensions_mut().remove::<Arc<dyn Account>>();
        let (parts, body) = response.into_parts();
        let body = self.runtime.block_on(body.collect()).unwrap().to_bytes().to_vec();
        (Got { status: parts.status.as_u16(), headers: parts.headers, body }, account)
    }

    fn put(&self, target: &str, body: &[u8]) -> String {
        let got = self.ask("writer", Method::PUT, target, &[], body);
        assert_eq!(got.status, 200, "{got:?}");
        got.etag().to_owned()
    }

    fn get(&self, key: &str, target: &str) -> Got {
        self.ask(key, Method::GET, target, &[], b"")
    }

    fn started(&self, target: &str) -> String {
        self.ask("writer", Method::POST, &format!("{target}?uploads"), &[], b"").field("UploadId").to_owned()
    }
}

#[test]
fn uploads_are_listed_put_together_and_given_up() {
    let bench = Bench::new(KEYS, None);
    bench.ask("writer", Method::PUT, "/fresh", &[], b"");
    let (one, two) = (bench.started("/fresh/in/one"), bench.started("/fresh/two"));
    let (first, second) = (vec![1; 5 * MIB], vec![2; 100]);
    let mut list = String::new();
    for (number, body) in [(1, &first), (2, &second)] {
        let target = format!("/fresh/in/one?partNumber={number}&uploadId={one}");
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", bench.put(&target, body));
    }
    let listed = bench.get("writer", "/fresh?uploads");
    assert_eq!((listed.fields("Key"), listed.fields("UploadId")), (vec!["in/one", "two"], vec![one.as_str(), &two]));
    assert_eq!(bench.get("half", "/fresh?uploads").fields("Key"), ["in/one"], "the others are not open to this key");
    assert_eq!(bench.get("writer", "/fresh?uploads&delimiter=/").field("CommonPrefixes"), "<Prefix>in/</Prefix>");
    let page = bench.get("writer", "/fresh?uploads&max-uploads=1");
    assert_eq!((page.field("IsTruncated"), page.field("NextKeyMarker")), ("true", "in/one"));
    let parts = bench.get("writer", &format!("/fresh/in/one?uploadId={one}"));
    assert_eq!((parts.fields("PartNumber"), parts.fields("Size")), (vec!["1", "2"], vec!["5242880", "100"]));
    let page = bench.get("writer", &format!("/fresh/in/one?uploadId={one}&max-parts=1&part-number-marker=1"));
    assert_eq!((page.fields("PartNumber"), page.field("IsTruncated")), (vec!["2"], "false"));
    assert_eq!(bench.get("writer", &format!("/fresh/two?uploadId={one}")).refusal(), (404, "NoSuchUpload"));

    let complete = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let target = format!("/fresh/in/one?uploadId={one}");
    let ask = |headers: &[(&str, &str)]| bench.ask("writer", Method::POST, &target, headers, complete.as_bytes());
    assert_eq!(ask(&[("x-amz-mp-object-size", "7")]).refusal(), (400, "InvalidRequest"));
    assert_eq!(ask(&[("x-amz-checksum-crc32", "AAAAAA==")]).refusal(), (400, "BadDigest"));
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32IsoHdlc);
    crc.update(&first);
    crc.update(&second);
    let crc = BASE64_STANDARD.encode(&crc.finalize().to_be_bytes()[4..]);
    let headers = [("x-amz-checksum-crc32", crc.as_str()), ("x-amz-checksum-type", "FULL_OBJECT")];
    assert_eq!(ask(&headers).status, 200);
    assert!(bench.get("writer", "/fresh/in/one").body == [first, second].concat());
    assert_eq!(ask(&headers).refusal(), (404, "NoSuchUpload"));
    let ended = bench.ask("writer", Method::DELETE, &format!("/fresh/two?uploadId={two}"), &[], b"");
    assert_eq!(ended.status, 204);
    assert!(bench.get("writer", "/fresh?uploads").fields("Key").is_empty());
    assert_eq!(std::fs::read_dir(bench.dir.path().join("ingest/.staging/uploads")).unwrap().count(), 0);
}

#[test]
fn many_keys_are_deleted_in_one_request() {
    let bench = Bench::new(KEYS, None);
    bench.ask("writer", Method::PUT, "/fresh", &[], b"");
    for key in ["a", "in/b", "in/c&d", "keep"] {
        bench.put(&format!("/fresh/{key}"), b"x");
    }
    let object = |rest: &str| format!("<Object>{rest}</Object>");
    let list = |objects: &[String]| format!("<Delete>{}</Delete>", objects.concat()).into_bytes();
    let ask =
        |key: &str, headers: &[(&str, &str)], body: &[u8]| bench.ask(key, Method::POST, "/fresh?delete", headers, body);
    let both = list(&[object("<Key>in/b</Key>"), object("<Key>keep</Key>")]);
    let got = ask("half", &[], &both);
    assert_eq!(
        (got.status, got.field("Deleted"), got.field("Error").contains("<Key>keep</Key>")),
        (200, "<Key>in/b</Key>", true)
    );
    let odd = list(&[
        object("<Key>keep</Key><VersionId>7</VersionId>"),
        object("<Key>keep</Key><ETag>other</ETag>"),
        object("<Key>keep</Key><Size>1</Size>"),
        object("<Key>in/c&amp;d</Key><VersionId>null</VersionId>"),
        object("<Key>missing</Key>"),
    ]);
    let got = ask("writer", &[], &odd);
    assert_eq!(got.fields("Code"), ["NoSuchVersion", "PreconditionFailed", "NotImplemented"]);
    assert_eq!(got.fields("Deleted"), ["<Key>in/c&amp;d</Key>", "<Key>missing</Key>"]);
    let quiet = b"<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>";
    let unsigned = ("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert_eq!(ask("writer", &[unsigned], quiet).refusal(), (400, "InvalidRequest"));
    let wrong = [unsigned, ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==")];
    assert_eq!(ask("writer", &wrong, quiet).refusal(), (400, "BadDigest"));
    assert!(ask("writer", &[], quiet).fields("Deleted").is_empty());
    assert_eq!(bench.get("writer", "/fresh").fields("Key"), ["keep"]);
    assert_eq!(ask("reader", &[], quiet).refusal(), (403, "AccessDenied"));
    let elsewhere = bench.ask("writer", Method::POST, "/letters?delete", &[], quiet);
    assert_eq!(elsewhere.refusal(), (409, "BucketAlreadyExists"));
}

#[test]
fn objects_are_copied_from_buckets_and_from_datasets() {
    let bench = Bench::new(KEYS, None);
    bench.ask("writer", Method::PUT, "/fresh", &[], b"");
    bench.put("/fresh/in/a%20b", b"0123456789");
    let copy = |key: &str, target: &str, source: &str, more: &[(&str, &str)]| {
        bench.ask(key, Method::PUT, target, &[&[("x-amz-copy-source", source)], more].concat(), b"")
    };
    let copied = copy("writer", "/fresh/copy", "/fresh/in/a%20b", &[]);
    let head = bench.ask("writer", Method::HEAD, "/fresh/copy", &[], b"");
    assert_eq!((copied.status, copied.field("ETag").replace("&quot;", "\"").as_str()), (200, head.etag()));
    assert_eq!(bench.get("writer", "/fresh/copy").body, b"0123456789");
    assert_eq!(copy("writer", "/fresh/in/letter", "letters/a.txt", &[]).status, 200);
    assert_eq!(bench.get("writer", "/fresh/in/letter").body, b"one letter");
    assert_eq!(copy("half", "/fresh/in/x", &format!("{}/a.txt", bench.root), &[]).refusal(), (403, "AccessDenied"));
    assert_eq!(copy("half", "/fresh/in/x", &format!("{}/in/b.txt", bench.root), &[]).status, 200);
    assert_eq!(copy("half", "/fresh/x", "letters/in/b.txt", &[]).refusal(), (403, "AccessDenied"));
    assert_eq!(copy("writer", "/fresh/x", "letters/none", &[]).refusal(), (404, "NoSuchKey"));
    assert_eq!(copy("writer", "/fresh/x", "none/none", &[]).refusal(), (404, "NoSuchBucket"));
    let other = [("x-amz-copy-source-if-match", "other")];
    assert_eq!(copy("writer", "/fresh/x", "letters/a.txt", &other).refusal(), (412, "PreconditionFailed"));
    let absent = [("if-none-match", "*")];
    assert_eq!(copy("writer", "/fresh/copy", "letters/a.txt", &absent).refusal(), (412, "PreconditionFailed"));

    let upload = bench.started("/fresh/joined");
    let part = |number: u32, source: &str, range: &str| {
        let target = format!("/fresh/joined?partNumber={number}&uploadId={upload}");
        copy("writer", &target, source, &[("x-amz-copy-source-range", range)])
    };
    assert_eq!(part(1, "letters/a.txt", "bytes=4-10").refusal(), (416, "InvalidRange"));
    let etag = part(1, "letters/a.txt", "bytes=4-9").field("ETag").to_owned();
    let list = format!("<C><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></C>");
    let done = bench.ask("writer", Method::POST, &format!("/fresh/joined?uploadId={upload}"), &[], list.as_bytes());
    assert_eq!(done.status, 200);
    assert_eq!(bench.get("writer", "/fresh/joined").body, b"letter");
}

#[test]
fn a_key_sees_the_buckets_and_paths_of_its_line() {
    let bench = Bench::new(KEYS, None);
    bench.ask("writer", Method::PUT, "/fresh", &[], b"");
    bench.put("/fresh/in/a", b"");
    bench.put("/fresh/out", b"");
    assert_eq!(bench.get("writer", "/").fields("Name"), ["fresh", "letters"]);
    assert_eq!(bench.get("reader", "/").fields("Name"), ["letters"], "what is being written is not for readers");
    assert_eq!(bench.get("half", "/").fields("Name"), ["fresh", "letters"]);
    assert_eq!(bench.get("half", "/fresh").fields("Key"), ["in/a"]);
    assert_eq!(bench.get("half", "/letters?list-type=2").fields("Key"), ["in/b.txt"]);
    for bucket in ["letters", &bench.root.to_string()] {
        assert_eq!(bench.get("half", &format!("/{bucket}/in/b.txt")).body, b"another");
        assert_eq!(bench.get("half", &format!("/{bucket}/a.txt")).refusal(), (403, "AccessDenied"));
    }
    for (method, target) in
        [(Method::PUT, "/fresh/b"), (Method::DELETE, "/fresh"), (Method::PUT, "/more"), (Method::GET, "/fresh/out")]
    {
        assert_eq!(bench.ask("half", method, target, &[], b"").refusal(), (403, "AccessDenied"), "{target}");
    }
    let cached = |bench: &Bench, key: &str| bench.get(key, "/letters/a.txt").headers["cache-control"].clone();
    assert_eq!(cached(&bench, "reader"), "private, max-age=5", "a cache that others share must not keep it");
    assert_eq!(cached(&Bench::new("anonymous read", None), ""), "public, max-age=5");
}

/// Denies `a.txt`, lets nobody read but keys, counts 10 bytes for those with a limit, and keeps what it hears.
#[derive(Default)]
struct Strict {
    heard: Arc<Mutex<Vec<(String, u64)>>>,
}

struct Heard(String, Arc<Mutex<Vec<(String, u64)>>>);

impl Account for Heard {
    fn more(&self, _: u64) -> Result<(), Refusal> {
        Ok(())
    }

    fn sent(&self, bytes: u64) {
        self.1.lock().unwrap().push((self.0.clone(), bytes));
    }
}

fn refuse(status: StatusCode) -> Refusal {
    let headers = vec![(RETRY_AFTER, HeaderValue::from_static("9"))];
    Refusal { status, code: "no", message: "no".into(), headers }
}

impl Gatekeeper for Strict {
    fn admit(&self, _: &Asked<'_>) -> Result<Leave, Refusal> {
        panic!("S3 asks by key")
    }

    fn admit_key(&self, asked: &AskedByKey<'_>) -> Result<Leave, Refusal> {
        let status = match (asked.path, asked.key) {
            ("a.txt", _) => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            ("gone", _) => StatusCode::GONE,
            (_, None) => StatusCode::UNAUTHORIZED,
            (_, Some(KeyGrant { name: "busy", .. })) => StatusCode::SERVICE_UNAVAILABLE,
            (_, Some(KeyGrant { bytes_max: Some(max), .. })) if asked.bytes > max => StatusCode::FORBIDDEN,
            (_, Some(key)) => {
                let account: Arc<dyn Account> = Arc::new(Heard(key.name.to_owned(), self.heard.clone()));
                return Ok(Leave { headers: vec![], private: true, account: Some(account) });
            }
        };
        Err(refuse(status))
    }

    fn denies(&self, _: &Cid) -> Option<Refusal> {
        None
    }
}

#[test]
fn the_gatekeeper_is_asked_before_anything_is_said_and_hears_of_the_bytes() {
    let gate = Strict::default();
    let heard = gate.heard.clone();
    let bench = Bench::new(
        "anonymous read\nreader s read\nfew s read bytes=6\nbusy s read\nwriter s write",
        Some(Arc::new(gate)),
    );
    assert_eq!(bench.get("reader", "/letters/a.txt").refusal(), (451, "UnavailableForLegalReasons"));
    let unchanged = bench.ask("reader", Method::GET, "/letters/a.txt", &[("if-none-match", "*")], b"");
    assert_eq!(unchanged.status, 451, "before 304");
    let past = bench.ask("reader", Method::GET, "/letters/a.txt", &[("range", "bytes=99-")], b"");
    assert_eq!(past.status, 451, "before 416");
    assert_eq!(bench.get("reader", "/letters?prefix=gone/").refusal(), (410, "Gone"));
    assert_eq!(bench.get("", "/letters/in/b.txt").refusal(), (403, "AccessDenied"));
    assert!(bench.get("", "/").fields("Name").is_empty(), "only what may be read is listed");
    assert_eq!(bench.get("reader", "/").fields("Name"), ["letters"]);
    let busy = bench.get("busy", "/letters/in/b.txt");
    assert_eq!((busy.refusal(), &busy.headers["retry-after"]), ((503, "SlowDown"), &HeaderValue::from_static("9")));
    assert_eq!(bench.get("few", "/letters/in/b.txt").refusal(), (403, "AccessDenied"), "7 bytes of 6");
    let (got, account) = bench.answer("few", Method::GET, "/letters/in/b.txt", &[("range", "bytes=1-3")], b"");
    assert_eq!((got.status, got.body.as_slice()), (206, b"not".as_slice()));
    assert_eq!(got.headers["cache-control"], "private, max-age=5");
    account.unwrap().sent(2);
    assert_eq!(*heard.lock().unwrap(), [("few".to_owned(), 2)]);
    bench.ask("writer", Method::PUT, "/fresh", &[], b"");
    let copy = |source: &str| bench.ask("writer", Method::PUT, "/fresh/x", &[("x-amz-copy-source", source)], b"");
    assert_eq!(copy("letters/a.txt").refusal(), (451, "UnavailableForLegalReasons"), "no way around by a copy");
    assert_eq!(copy("letters/in/b.txt").status, 200);
    assert_eq!(heard.lock().unwrap().last(), Some(&("writer".to_owned(), 7)), "whoever has the copy has the bytes");
}
