//! Heads of plain requests: the ones that the fast loop answers by itself.
//!
//! The loop in front of the HTTP library understands one kind of request, the one that training jobs send by the million: a
//! GET or HEAD of HTTP/1.1 without a body. Everything else is [`Head::Foreign`] and goes, byte for byte, to the library, which
//! answers it or says what is wrong with it. So nothing is ever refused here, and what is accepted means the same to both.

use std::mem::MaybeUninit;

use hyper::header::{CONNECTION, HOST};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method};

/// Most header lines that are looked at; more is for the library to judge.
const HEADERS_MAX: usize = 64;

/// What the start of a connection's bytes is.
#[derive(Debug)]
pub enum Head {
    /// Not a whole head yet.
    Partial,
    /// Something for the library.
    Foreign,
    /// A plain request.
    Plain(PlainHead),
}

/// A GET or HEAD of HTTP/1.1 without a body, with one `Host`.
#[derive(Debug)]
pub struct PlainHead {
    /// GET or HEAD.
    pub method: Method,
    /// Raw path, which begins with a slash.
    pub path: String,
    /// Raw query.
    pub query: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
    /// Whether the connection ends after the answer.
    pub close: bool,
    /// Bytes of the head; what follows belongs to the next request.
    pub bytes: usize,
}

/// Looks at the bytes that have come.
pub fn parse(bytes: &[u8]) -> Head {
    // Not filled first: most heads have three lines.
    let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut lines) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return Head::Foreign,
    };
    match plain(&request, length) {
        Some(head) => Head::Plain(head),
        None => Head::Foreign,
    }
}

fn plain(request: &httparse::Request<'_, '_>, bytes: usize) -> Option<PlainHead> {
    let method = match request.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        _ => return None,
    };
    let target = request.path?;
    if request.version? != 1 || !target.starts_with('/') || target.contains('#') {
        return None;
    }
    let target = PathAndQuery::try_from(target).ok()?;
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    let mut close = false;
    for line in request.headers.iter() {
        let name = hyper::header::HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        let value = hyper::header::HeaderValue::from_bytes(line.value).ok()?;
        match name.as_str() {
            "content-length" | "transfer-encoding" | "expect" | "upgrade" | "te" | "trailer" => return None,
            "connection" => match line.value.to_ascii_lowercase().as_slice() {
                b"close" => close = true,
                b"keep-alive" => {}
                _ => return None,
            },
            _ => {}
        }
        headers.append(name, value);
    }
    let single = |name| headers.get_all(name).iter().nth(1).is_none();
    if !headers.contains_key(HOST) || !single(HOST) || !single(CONNECTION) {
        return None;
    }
    let (path, query) = (target.path().to_owned(), target.query().map(str::to_owned));
    Some(PlainHead { method, path, query, headers, close, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_plain(text: &str) -> bool {
        matches!(parse(text.as_bytes()), Head::Plain(_))
    }

    #[test]
    fn plain_requests_are_taken_apart() {
        let text = "GET /data/a/b?x=1 HTTP/1.1\r\nHost: h\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\nGET /next";
        let Head::Plain(head) = parse(text.as_bytes()) else { panic!() };
        assert_eq!((head.method, head.path.as_str(), head.query.as_deref()), (Method::GET, "/data/a/b", Some("x=1")));
        assert_eq!((head.headers["range"].as_bytes(), head.close), (&b"bytes=0-9"[..], true));
        assert_eq!(&text[head.bytes..], "GET /next");
        assert!(is_plain("HEAD / HTTP/1.1\r\nhost: h\r\nConnection: Keep-Alive\r\n\r\n"));
    }

    #[test]
    fn everything_else_is_left_to_the_library() {
        for text in [
            "POST / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
            "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /#x HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert!(matches!(parse(text.as_bytes()), Head::Foreign), "{text:?}");
        }
        let many = (0..70).map(|number| format!("X-{number}: 1\r\n")).collect::<String>();
        assert!(!is_plain(&format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n")));
        for text in ["", "GET", "GET / HTTP/1.1\r\nHost: h\r\n"] {
            assert!(matches!(parse(text.as_bytes()), Head::Partial), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_a_head_ends_within_them(bytes: Vec<u8>) {
            let request = [b"GET /".as_slice(), &bytes, b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
            for bytes in [&bytes, &request] {
                if let Head::Plain(head) = parse(bytes) {
                    prop_assert!(head.bytes <= bytes.len() && head.path.starts_with('/'));
                }
            }
        }

        #[test]
        fn a_head_is_the_same_however_it_arrives(at in 0usize..60) {
            let text = b"GET /data/x HTTP/1.1\r\nHost: h\r\nRange: bytes=1-2\r\n\r\n";
            let early = parse(&text[..at.min(text.len() - 1)]);
            prop_assert!(matches!(early, Head::Partial), "{early:?}");
        }
    }
}
