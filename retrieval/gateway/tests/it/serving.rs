//! Answers, byte for byte: routes, ranges, conditions, errors.

use std::io::Write;
use std::net::TcpStream;
use std::sync::LazyLock;

use cairn_content::verify_block;
use cairn_gateway::SourceUrl;
use cairn_protocol::{piece_cid_v1, piece_cid_v2};
use cairn_sector::pieces::PieceHasher;
use proptest::prelude::*;

use super::common::*;

/// The fixture is only read in this file.
static SHARED: LazyLock<(Fixture, TestServer)> = LazyLock::new(|| {
    let fixture = Fixture::new();
    let server = fixture.serve();
    (fixture, server)
});

fn big_path(fixture: &Fixture) -> String {
    format!("/data/{}/{BIG}", fixture.dataset.root())
}

#[test]
fn a_file_by_root_and_by_name() {
    let (fixture, server) = &*SHARED;
    let by_root = server.get(&big_path(fixture), &[]);
    assert_eq!(by_root.status, 200);
    assert!(by_root.body == fixture.big());
    let cid = fixture.dataset.file(BIG).unwrap().cid.to_string();
    assert_eq!(by_root.header("etag"), format!("\"{cid}\""));
    assert_eq!(by_root.header("x-content-cid"), cid);
    assert_eq!(by_root.header("content-type"), "application/x-tar");
    assert_eq!(by_root.header("accept-ranges"), "bytes");
    assert_eq!(by_root.header("x-content-type-options"), "nosniff");
    assert_eq!(by_root.header("cache-control"), "public, max-age=29030400, immutable");
    assert!(!by_root.headers.contains_key("content-encoding"));
    let by_name = server.get(&format!("/data/demo/{BIG}"), &[("Accept-Encoding", "gzip, br")]);
    assert!(by_name.body == fixture.big() && !by_name.headers.contains_key("content-encoding"));
    assert_eq!(by_name.header("etag"), by_root.header("etag"));
    assert_eq!(by_name.header("cache-control"), "public, max-age=5");
    let encoded = server.get("/data/demo/table%20%C3%A4.json", &[]);
    assert_eq!((encoded.status, encoded.header("content-type")), (200, "application/json"));
    assert_eq!(encoded.body, fixture.files["table ä.json"]);
    let empty = server.get("/data/demo/empty.txt", &[]);
    assert_eq!((empty.status, empty.header("content-length"), empty.body.len()), (200, "0", 0));
}

#[test]
fn head_says_what_get_says() {
    let (fixture, server) = &*SHARED;
    let root = fixture.dataset.root();
    let piece = piece_cid_v1(&fixture.pieces[0].commitment.comm_p);
    let paths = [
        big_path(fixture),
        format!("/data/{root}"),
        "/data/demo/empty.txt".into(),
        format!("/ipfs/{root}?format=raw"),
        format!("/piece/{piece}"),
        "/data/demo/missing".into(),
        "/nowhere".into(),
    ];
    for path in paths {
        let (mut get, mut head) = (server.get(&path, &[]), server.head(&path, &[]));
        get.headers.remove("date");
        head.headers.remove("date");
        assert_eq!((get.status, &get.headers), (head.status, &head.headers), "{path}");
        assert_eq!(get.header("content-length"), get.body.len().to_string(), "{path}");
    }
    // Range has no meaning for HEAD (RFC 9110 14.2).
    let ranged = server.head(&big_path(fixture), &[("Range", "bytes=0-9")]);
    assert_eq!((ranged.status, ranged.header("content-length")), (200, fixture.big().len().to_string().as_str()));
}

#[test]
fn range_table() {
    let (fixture, server) = &*SHARED;
    let (path, big) = (big_path(fixture), fixture.big());
    let size = big.len();
    let part = |range: &str, first: usize, last: usize| {
        let answer = server.get(&path, &[("Range", range)]);
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/{size}"), "{range}");
        assert_eq!(answer.header("content-length"), (last + 1 - first).to_string(), "{range}");
        assert!(answer.body == big[first..=last], "{range}");
    };
    part("bytes=0-0", 0, 0);
    part("bytes=1000000-3000000", 1_000_000, 3_000_000);
    part("bytes=5000000-", 5_000_000, size - 1);
    part("bytes=-68", size - 68, size - 1);
    part(&format!("bytes={}-{}", size - 5, size + 5_000_000), size - 5, size - 1);
    part("bytes=-99999999999", 0, size - 1);
    part("bytes=7-9, 100-200", 7, 9);
    for range in ["bytes=9-7", "bytes=x", "lines=0-1", "bytes="] {
        let answer = server.get(&path, &[("Range", range)]);
        assert!(answer.status == 200 && answer.body == big, "{range}");
    }
    let twice = server.get(&path, &[("Range", "bytes=0-1"), ("Range", "bytes=2-3")]);
    assert!(twice.status == 200 && twice.body == big);
    for range in [format!("bytes={size}-"), "bytes=-0".into(), "bytes=99999999999999999999999-".into()] {
        let answer = server.get(&path, &[("Range", &range)]);
        assert_eq!(
            (answer.status, answer.header("content-range")),
            (416, format!("bytes */{size}").as_str()),
            "{range}"
        );
        assert_eq!(answer.json()["error"], "range_not_satisfiable");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let empty = server.get("/data/demo/empty.txt", &[("Range", "bytes=0-")]);
    assert_eq!((empty.status, empty.header("content-range")), (416, "bytes */0"));
    assert_eq!(server.get("/data/demo/empty.txt", &[("Range", "bytes=-1")]).status, 200);
}

#[test]
fn conditional_table() {
    let (fixture, server) = &*SHARED;
    let path = big_path(fixture);
    let etag = server.head(&path, &[]).header("etag").to_owned();
    let weak = format!("W/{etag}");
    let list = format!("\"x\", {weak}");
    for value in [&etag, &weak, &list, "*"] {
        let answer = server.get(&path, &[("If-None-Match", value)]);
        assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (304, 0, etag.as_str()), "{value}");
        assert!(answer.header("cache-control").contains("immutable"));
    }
    let range = ("Range", "bytes=0-9");
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("If-None-Match", "\"x\"")], 200),
        (&[("If-Match", &etag), range], 206),
        (&[("If-Match", "*"), range], 206),
        (&[("If-Match", "\"x\""), range], 412),
        (&[("If-Match", &weak)], 412),
        (&[("If-None-Match", &etag), range], 304),
        (&[("If-Range", &etag), range], 206),
        (&[("If-Range", &weak), range], 200),
        (&[("If-Range", "\"x\""), range], 200),
        (&[("If-Range", "Sun, 06 Nov 1994 08:49:37 GMT"), range], 200),
        // There is no date to compare with.
        (&[("If-Modified-Since", "Sun, 06 Nov 2094 08:49:37 GMT")], 200),
        (&[("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")], 200),
    ];
    for (headers, status) in cases {
        assert_eq!(server.get(&path, headers).status, *status, "{headers:?}");
    }
    let failed = server.get(&path, &[("If-Match", "\"x\"")]);
    assert_eq!((failed.json()["error"].as_str(), failed.header("etag")), (Some("precondition_failed"), etag.as_str()));
}

#[test]
fn folders_are_listed_in_pages() {
    let (fixture, server) = &*SHARED;
    let root = fixture.dataset.root().to_string();
    for path in [format!("/data/{root}"), format!("/data/{root}/"), "/data/demo".into()] {
        let answer = server.get(&path, &[]);
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{path}");
        let listing = answer.json();
        assert_eq!((listing["dataset"].as_str(), &listing["next"]), (Some(root.as_str()), &serde_json::Value::Null));
        let names: Vec<_> = listing["entries"].as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
        assert_eq!(names, ["empty.txt", "shards", "table ä.json", "void"]);
        assert_eq!((&listing["entries"][0]["kind"], &listing["entries"][0]["size"]), (&"file".into(), &0.into()));
        assert_eq!(listing["entries"][1]["kind"], "folder");
    }
    let first = server.get("/data/demo?limit=2", &[]).json();
    assert_eq!((first["entries"].as_array().unwrap().len(), first["next"].as_str()), (2, Some("shards")));
    let second = server.get("/data/demo?limit=2&after=shards", &[]).json();
    assert_eq!(
        (second["entries"][0]["name"].as_str(), &second["next"]),
        (Some("table ä.json"), &serde_json::Value::Null)
    );
    let below = server.get("/data/demo/shards/", &[]).json();
    assert_eq!((below["path"].as_str(), below["entries"].as_array().unwrap().len()), (Some("shards"), 2));
    assert_eq!(server.get("/data/demo/void/deep", &[]).json()["entries"], serde_json::json!([]));
    assert_eq!(server.get("/data/demo?limit=0", &[]).status, 400);
    let listed = server.get("/data/demo", &[]);
    assert_eq!(server.get("/data/demo", &[("If-None-Match", listed.header("etag"))]).status, 304);
}

#[test]
fn errors_are_json_and_never_cached() {
    let (fixture, server) = &*SHARED;
    let root = fixture.dataset.root();
    let other = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyka";
    let long = format!("/data/demo/{}", "a".repeat(9000));
    let cases: &[(&str, u16, &str)] = &[
        ("/", 404, "no_such_route"),
        ("/data", 404, "no_such_route"),
        ("/data/", 404, "no_such_route"),
        ("/data/demo/none", 404, "not_found"),
        ("/data/demo/empty.txt/", 404, "not_found"),
        ("/data/demo/empty.txt/x", 404, "not_found"),
        ("/data/none/x", 404, "not_found"),
        (&format!("/data/{other}"), 404, "not_found"),
        ("/data/demo/../demo", 400, "bad_path"),
        ("/data/demo/%2e%2e/x", 400, "bad_path"),
        ("/data/demo/a%2Fb", 400, "bad_path"),
        ("/data/demo//x", 400, "bad_path"),
        ("/data/demo/%zz", 400, "bad_path"),
        ("/data/demo/%ff", 400, "bad_path"),
        ("/data/demo/%00", 400, "bad_path"),
        (&long, 414, "target_too_long"),
        ("/piece/x", 400, "bad_cid"),
        (&format!("/piece/{root}"), 400, "bad_cid"),
        ("/piece/baga6ea4seaqaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 404, "not_found"),
        (&format!("/ipfs/{root}?format=tar"), 406, "format_not_served"),
        (&format!("/ipfs/{root}/x?format=raw"), 404, "not_found"),
        ("/ipfs/x?format=raw", 400, "bad_cid"),
        (&format!("/ipfs/{other}?format=raw"), 404, "not_found"),
    ];
    for (path, status, code) in cases {
        let answer = server.get(path, &[]);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (*status, Some(*code)), "{path}");
        assert!(!answer.json()["message"].as_str().unwrap().is_empty());
        assert_eq!(
            answer.json()["what"].as_str().unwrap(),
            path.split('?').next().unwrap().get(..256).unwrap_or(path.split('?').next().unwrap())
        );
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "TRACE", "PURGE"] {
        let answer = request(server.addr, method, "/data/demo", &[]);
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
    }
    let cached = server.get(&format!("/ipfs/{other}?format=raw"), &[("Cache-Control", "only-if-cached")]);
    assert_eq!(cached.status, 412);
}

#[test]
fn a_page_of_another_origin_may_ask_with_a_token_for_a_range() {
    let (_, server) = &*SHARED;
    let asked = [
        ("Origin", "https://example.org"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization,range"),
    ];
    let answer = request(server.addr, "OPTIONS", "/data/demo/whatever", &asked);
    assert_eq!((answer.status, answer.header("access-control-allow-origin"), answer.body.len()), (204, "*", 0));
    let lists = |header: &str, name: &str| answer.header(header).split(", ").any(|listed| listed == name);
    for (header, name) in [
        ("access-control-allow-methods", "GET"),
        ("access-control-allow-headers", "Authorization"),
        ("access-control-allow-headers", "Range"),
        ("access-control-expose-headers", "Content-Range"),
    ] {
        assert!(lists(header, name), "{header} lists {name}");
    }
    assert_eq!(server.get("/data/demo/whatever", &asked[..1]).header("access-control-allow-origin"), "*");
}

#[test]
fn every_block_is_served_and_verifies() {
    let (fixture, server) = &*SHARED;
    for (id, source) in fixture.dataset.blocks() {
        let cid = id.cid();
        let answer = server.get(&format!("/ipfs/{cid}"), &[("Accept", "application/vnd.ipld.raw")]);
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/vnd.ipld.raw"));
        verify_block(&cid, &answer.body).unwrap();
        assert_eq!(answer.body.len() as u64, source.len());
        assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{cid}.bin\""));
        assert_eq!(answer.header("content-location"), format!("/ipfs/{cid}?format=raw"));
        assert_eq!(
            (answer.header("x-ipfs-path"), answer.header("x-ipfs-roots")),
            (format!("/ipfs/{cid}").as_str(), cid.to_string().as_str())
        );
        assert_eq!(answer.header("etag"), format!("\"{cid}.raw\""));
    }
    let inline = server.get("/ipfs/bafkqaaa?format=raw", &[]);
    assert_eq!((inline.status, inline.body.len()), (200, 0));
}

#[test]
fn pieces_by_both_versions_of_their_cid() {
    let (fixture, server) = &*SHARED;
    assert!(fixture.pieces.len() > 2, "the fixture must make several pieces");
    for piece in &fixture.pieces {
        let commitment = piece.commitment;
        let v1 = server.get(&format!("/piece/{}", piece_cid_v1(&commitment.comm_p)), &[]);
        assert_eq!(v1.status, 200);
        let mut hasher = PieceHasher::new();
        hasher.update(&v1.body);
        assert_eq!(hasher.finish(), commitment);
        let v2_cid = piece_cid_v2(&commitment.comm_p, commitment.payload_bytes, commitment.padded);
        let v2 = server.get(&format!("/piece/{v2_cid}"), &[("Range", "bytes=100-")]);
        assert_eq!(v2.status, 206);
        assert!(v2.body == v1.body[100..]);
        assert_eq!((v1.header("etag"), v2.header("etag")), (format!("\"{v2_cid}\"").as_str(), v1.header("etag")));
        let longer = piece_cid_v2(&commitment.comm_p, commitment.padded.to_unpadded().0, commitment.padded);
        if longer != v2_cid {
            let refused = server.get(&format!("/piece/{longer}"), &[]);
            assert_eq!((refused.status, refused.json()["error"].as_str()), (404, Some("payload_length_differs")));
        }
    }
}

#[test]
fn health_is_json() {
    let (_, server) = &*SHARED;
    let answer = server.get("/health", &[]);
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let health = answer.json();
    assert_eq!((health["status"].as_str(), health["datasets"].as_u64()), (Some("ok"), Some(1)));
}

#[test]
fn one_connection_takes_many_requests_even_pipelined() {
    let (fixture, server) = &*SHARED;
    let mut stream: TcpStream = connect(server.addr);
    let path = big_path(fixture);
    let ask = |method: &str, range: &str| format!("{method} {path} HTTP/1.1\r\nHost: x\r\nRange: {range}\r\n\r\n");
    let all =
        [ask("HEAD", "bytes=0-1"), ask("GET", "bytes=0-2000000"), ask("GET", "bytes=-3"), ask("GET", "bytes=9-9")];
    stream.write_all(all.concat().as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream, true).unwrap().status, 200);
    let big = fixture.big();
    for expected in [&big[..=2_000_000], &big[big.len() - 3..], &big[9..=9]] {
        assert!(read_answer(&mut stream, false).unwrap().body == expected);
    }
}

#[test]
fn malformed_requests_end_with_a_status_or_the_connection() {
    let (_, server) = &*SHARED;
    let many_headers = format!("GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(200));
    let large_header = format!("GET /health HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(64 << 10));
    let cases: &[(&str, u16)] = &[
        ("GET /health HTTP/1.1\r\n\r\n", 400),
        ("GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        ("GET /health HTTP/1.0\r\n\r\n", 200),
        ("GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /he alth HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("\u{1}\u{2}\u{3}\r\n\r\n", 400),
        (&many_headers, 431),
        (&large_header, 431),
    ];
    for (text, status) in cases {
        let mut stream = connect(server.addr);
        _ = stream.write_all(text.as_bytes());
        assert_eq!(read_answer(&mut stream, false).unwrap().status, *status, "{:?}", &text[..text.len().min(60)]);
    }
}

#[test]
fn sources_are_written_as_addresses() {
    let url: SourceUrl = "http://127.0.0.1:1/x/".parse().unwrap();
    assert_eq!(url.to_string(), "http://127.0.0.1:1/x");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_ranges_are_slices(first in 0usize..6_000_000, length in 1usize..700_000, piece: bool) {
        let (fixture, server) = &*SHARED;
        let whole: Vec<u8>;
        let (path, bytes) = if piece {
            let cid = piece_cid_v1(&fixture.pieces[1].commitment.comm_p);
            let mut reader = fixture.pieces[1].layout.reader();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
            whole = content;
            (format!("/piece/{cid}"), whole.as_slice())
        } else {
            (big_path(fixture), fixture.big())
        };
        let answer = server.get(&path, &[("Range", &format!("bytes={first}-{}", first + length - 1))]);
        if first >= bytes.len() {
            prop_assert_eq!(answer.status, 416);
        } else {
            prop_assert_eq!(answer.status, 206);
            prop_assert!(answer.body == bytes[first..bytes.len().min(first + length)]);
        }
    }
}
