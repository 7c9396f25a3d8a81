//! The gateway conformance suite's requests over its own archives, row by row.
//!
//! Blocks are named by the ends of their CIDs. Every CAR row is asked twice, by `format=car` and by `Accept`; of every answer
//! each block is checked against its CID, and the list is exact and in order. Names of rows are those of the suite's table:
//! A paths, B block scope, C entity scope, D everything, E byte ranges, F parameters, P precedence, W raw blocks.

use std::sync::{Arc, LazyLock};

use cairn_content::{CarArchive, CarLimits, CarReader, verify_block};
use cairn_fixtures::gateway_car;
use cairn_gateway::{GatewayOptions, Library};
use sha2::{Digest, Sha256};

use super::common::*;

const CAR: &str = "application/vnd.ipld.car";
const RAW: &str = "application/vnd.ipld.raw";

const TWO: &str = "subdir-with-two-single-block-files";
const MIXED: &str = "subdir-with-mixed-block-files";
const CBOR: &str = "dir-with-dag-cbor-with-links";
const DUPLICATES: &str = "dir-with-duplicate-files";
const MISSING: &str = "file-3k-and-3-blocks-missing-block";
const HAMT: &str = "single-layer-hamt-with-multi-block-files";
const RAW_BLOCK: &str = "gateway-raw-block";

const ASCII: &str = "a62mxm";
const HELLO: &str = "devei4";
/// multiblock.txt: 1,026 bytes in leaves of 256, the last of 2.
const MULTI: &str = "gmt2sa";
const LEAVES: [&str; 5] = ["psscm", "t7cq", "cpue", "2fhe", "paqm"];
const MULTI_CID: &str = "bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa";

static SERVER: LazyLock<TestServer> = LazyLock::new(|| {
    let mut library = Library::default();
    for name in [TWO, MIXED, CBOR, DUPLICATES, MISSING, HAMT, RAW_BLOCK] {
        library.add_archive(CarArchive::open(&gateway_car(name)).unwrap());
    }
    TestServer::start(Arc::new(library), GatewayOptions::default())
});

/// Root and blocks of a fixture, in their order there.
fn fixture(name: &str) -> (String, Vec<(String, Vec<u8>)>) {
    let bytes = std::fs::read(gateway_car(name)).unwrap();
    let mut reader = CarReader::new(&bytes[..], CarLimits::default()).unwrap();
    let root = reader.roots()[0].to_string();
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_foreign().unwrap() {
        blocks.push((block.cid.to_string(), block.data.to_vec()));
    }
    (root, blocks)
}

fn root(name: &str) -> String {
    fixture(name).0
}

/// CIDs of an archive's blocks, each checked.
fn cids(archive: &[u8]) -> Vec<String> {
    let mut reader = CarReader::new(archive, CarLimits::default()).unwrap();
    let mut cids = Vec::new();
    while let Some(block) = reader.next_foreign().unwrap() {
        match block.cid.version() {
            cid::Version::V0 => assert_eq!(block.cid.hash().digest(), &Sha256::digest(&block.data)[..]),
            cid::Version::V1 => verify_block(&block.cid, &block.data).unwrap(),
        }
        cids.push(block.cid.to_string());
    }
    cids
}

fn check_headers(answer: &Answer) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("accept-ranges"), "none");
    assert!(answer.header("content-type").contains(CAR));
    let disposition = answer.header("content-disposition");
    assert!(disposition.starts_with("attachment; filename=\"") && disposition.ends_with(".car\""), "{disposition}");
    assert!(!answer.header("etag").is_empty());
}

/// One row, both ways of asking; gives the CIDs, which must end as expected.
fn row(path: &str, query: &str, expected: &[&str]) {
    let joined =
        |more: &str| [more, query].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("&");
    let by_format = SERVER.get(&format!("/ipfs/{path}?{}", joined("format=car")), &[]);
    let by_accept = SERVER.get(&format!("/ipfs/{path}?{}", joined("")), &[("Accept", CAR)]);
    for answer in [by_format, by_accept] {
        check_headers(&answer);
        assert!(answer.complete, "{path}?{query}");
        let cids = cids(&answer.body);
        let matches = cids.len() == expected.len() && cids.iter().zip(expected).all(|(cid, end)| cid.ends_with(end));
        assert!(matches, "{path}?{query}: expected {expected:#?}, got {cids:#?}");
    }
}

/// Expected blocks: some, then those of multiblock.txt.
fn and_file<'a>(before: &[&'a str], leaves: &[usize]) -> Vec<&'a str> {
    let file = leaves.iter().map(|leaf| LEAVES[*leaf]);
    before.iter().copied().chain([MULTI]).chain(file).collect()
}

const ALL: [usize; 5] = [0, 1, 2, 3, 4];

/// The shards of the HAMT fixture in depth-first order.
fn shards() -> Vec<String> {
    let (_, blocks) = fixture(HAMT);
    // The fixture lists its shards so, with the file between them where it is first linked.
    let leaf = |cid: &str| cid.ends_with(MULTI) || LEAVES.iter().any(|leaf| cid.ends_with(leaf));
    blocks.into_iter().map(|(cid, _)| cid).filter(|cid| !leaf(cid)).collect()
}

#[test]
fn a_paths() {
    let (two, hamt, cbor) = (fixture(TWO).1, root(HAMT), fixture(CBOR).1);
    let subdir = two[1].0.as_str();
    row(&format!("{}/subdir/ascii.txt", two[0].0), "", &[&two[0].0, subdir, ASCII]);
    // The shard that holds 685.txt, by the suite's table.
    let answer = SERVER.get(&format!("/ipfs/{hamt}/685.txt?format=car"), &[]);
    let shard = cids(&answer.body)[1].clone();
    assert!(shards().contains(&shard));
    row(&format!("{hamt}/685.txt"), "", &and_file(&[&hamt, &shard], &ALL));
    row(&format!("{}/files/single", cbor[1].0), "", &[&cbor[1].0, HELLO]);
    let nowhere = SERVER.get(&format!("/ipfs/{}/subdir/i-do-not-exist?format=car", two[0].0), &[]);
    assert_eq!((nowhere.status, nowhere.header("cache-control")), (404, "no-store"));
}

#[test]
fn b_block_scope() {
    let two = fixture(TWO).1;
    row(&format!("{}/subdir", two[0].0), "dag-scope=block", &[&two[0].0, &two[1].0]);
    row(&format!("{}/subdir/ascii.txt", two[0].0), "dag-scope=block", &[&two[0].0, &two[1].0, ASCII]);
    let hamt = root(HAMT);
    row(&format!("{hamt}/1.txt"), "dag-scope=block", &[&hamt, "kmhctxlxy", MULTI]);
}

#[test]
fn c_entity_scope() {
    let two = root(TWO);
    row(&two, "dag-scope=entity", &[&two]);
    let shards = shards();
    assert_eq!(shards.len(), 237);
    row(&root(HAMT), "dag-scope=entity", &shards.iter().map(String::as_str).collect::<Vec<_>>());
    let (mixed, cbor) = (fixture(MIXED).1, fixture(CBOR).1);
    let path = [mixed[0].0.as_str(), mixed[1].0.as_str()];
    row(&format!("{}/subdir/ascii.txt", path[0]), "dag-scope=entity", &[path[0], path[1], ASCII]);
    row(&format!("{}/subdir/multiblock.txt", path[0]), "dag-scope=entity", &and_file(&path, &ALL));
    row(&format!("{}/document", cbor[0].0), "dag-scope=entity", &[&cbor[0].0, &cbor[1].0]);
}

#[test]
fn d_everything() {
    let mixed = fixture(MIXED).1;
    let path = [mixed[0].0.as_str(), mixed[1].0.as_str()];
    row(&format!("{}/subdir", path[0]), "dag-scope=all", &and_file(&[path[0], path[1], ASCII, HELLO], &ALL));
    row(&format!("{}/subdir/multiblock.txt", path[0]), "dag-scope=all", &and_file(&path, &ALL));
}

#[test]
fn e_byte_ranges() {
    let missing = fixture(MISSING).1;
    let (file, first, last) = (missing[0].0.as_str(), missing[1].0.as_str(), missing[2].0.as_str());
    assert!(last.ends_with("tzTavV") && first.ends_with("PCE9rF"), "{first} {last}");
    row(file, "dag-scope=entity&entity-bytes=0:1000", &[file, first]);
    row(file, "dag-scope=entity&entity-bytes=2200:*", &[file, last]);
    let mixed = fixture(MIXED).1;
    let path = [mixed[0].0.as_str(), mixed[1].0.as_str()];
    row(&format!("{}/subdir/multiblock.txt", path[0]), "dag-scope=entity&entity-bytes=0:*", &and_file(&path, &ALL));
    let shards = shards();
    let shards: Vec<_> = shards.iter().map(String::as_str).collect();
    row(&root(HAMT), "dag-scope=entity&entity-bytes=0:*", &shards);
    for (range, leaves) in [
        ("512:*", &[2, 3, 4][..]),
        ("512:1023", &[2, 3]),
        ("512:-256", &[2, 3]),
        ("-5:*", &[3, 4]),
        ("-9999:*", &ALL),
        ("-9999:-3", &[0, 1, 2, 3]),
        ("0:0", &[0]),
    ] {
        row(MULTI_CID, &format!("dag-scope=entity&entity-bytes={range}"), &and_file(&[], leaves));
        row(MULTI_CID, &format!("entity-bytes={range}"), &and_file(&[], leaves));
    }
    let outside = SERVER.get(&format!("/ipfs/{MULTI_CID}?format=car&entity-bytes=1026:*"), &[]);
    assert_eq!((outside.status, outside.json()["error"].as_str()), (400, Some("bad_query")));
}

#[test]
fn f_parameters() {
    let (root, blocks) = fixture(DUPLICATES);
    let get = |query: &str, accept: &str| SERVER.get(&format!("/ipfs/{root}{query}"), &[("Accept", accept)]);
    let ascii = |answer: &Answer| cids(&answer.body).iter().filter(|cid| cid.ends_with(ASCII)).count();
    for (dups, count) in [("y", 2), ("n", 1)] {
        let answer = get("", &format!("{CAR}; version=1; order=dfs; dups={dups}"));
        check_headers(&answer);
        assert_eq!(answer.header("content-type"), format!("{CAR}; version=1; order=dfs; dups={dups}"));
        assert_eq!(ascii(&answer), count, "dups={dups}");
        let by_format = get("?format=car", &format!("{CAR}; dups={dups}"));
        assert_eq!(ascii(&by_format), count, "the parameters of Accept count beside format");
    }
    let unknown = get("", &format!("{CAR}; version=1; order=unk"));
    assert!(unknown.header("content-type").contains("order="));
    assert_eq!(cids(&unknown.body).len(), blocks.len());
    let order = get("?format=car&car-order=dfs", &format!("{CAR}; order=unk"));
    assert!(order.header("content-type").contains("order=dfs"));
    let dups = get("?format=car&car-dups=y", &format!("{CAR}; order=dfs; dups=n"));
    assert!(dups.header("content-type").contains("dups=y") && ascii(&dups) == 2);
    let accept = [("Accept", "application/vnd.ipld.car; version=1; order=dfs; dups=y")];
    let identity = SERVER.get("/ipfs/bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa", &accept);
    check_headers(&identity);
    assert!(cids(&identity.body).is_empty());
    let tags = ["?format=car", "?format=car&car-dups=y", "?format=car&dag-scope=block", "?format=raw", ""]
        .map(|query| SERVER.get(&format!("/ipfs/{MULTI_CID}{query}"), &[]).header("etag").to_owned());
    let distinct: std::collections::BTreeSet<_> = tags.iter().collect();
    assert_eq!(distinct.len(), tags.len(), "{tags:?}");
}

#[test]
fn p_precedence() {
    let root = root(RAW_BLOCK);
    let car = SERVER.get(&format!("/ipfs/{root}?format=car"), &[("Accept", RAW)]);
    assert!(car.header("content-type").starts_with(CAR));
    let raw = SERVER.get(&format!("/ipfs/{root}?format=raw"), &[("Accept", CAR)]);
    assert_eq!((raw.status, raw.header("content-type")), (200, RAW));
}

#[test]
fn w_raw_blocks() {
    let (root, blocks) = fixture(RAW_BLOCK);
    let (cid, bytes) = &blocks[2];
    let path = format!("/ipfs/{root}/dir/ascii.txt");
    for answer in [
        SERVER.get(&format!("/ipfs/{cid}?format=raw"), &[]),
        SERVER.get(&format!("{path}?format=raw"), &[]),
        SERVER.get(&path, &[("Accept", RAW)]),
    ] {
        assert_eq!((answer.status, answer.header("content-type")), (200, RAW));
        assert!(answer.body == *bytes && answer.header("content-length") == "31");
        assert!(answer.header("content-disposition").starts_with("attachment; filename="));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(!answer.header("etag").is_empty());
        assert!(answer.header("x-ipfs-path").starts_with("/ipfs/"));
        assert!(answer.header("x-ipfs-roots").ends_with(cid.as_str()));
        assert_eq!(answer.header("cache-control"), "public, max-age=29030400, immutable");
    }
    let named = SERVER.get(&format!("{path}?format=raw&filename=foobar.bin"), &[]);
    assert_eq!(named.header("content-disposition"), "attachment; filename=\"foobar.bin\"");
    let ranged = SERVER.get(&format!("{path}?format=raw"), &[("Range", "bytes=6-16")]);
    assert_eq!((ranged.status, ranged.header("content-range")), (206, "bytes 6-16/31"));
    assert_eq!(ranged.body, bytes[6..17]);
    let several = SERVER.get(&format!("{path}?format=raw"), &[("Range", "bytes=0-2,5-7")]);
    assert_eq!((several.status, several.header("content-range")), (206, "bytes 0-2/31"), "the first one");
}

#[test]
fn files_of_foreign_graphs_are_read_by_ranges() {
    let (mixed, missing) = (root(MIXED), root(MISSING));
    let path = format!("/ipfs/{mixed}/subdir/multiblock.txt");
    let leaves: Vec<u8> = fixture(MIXED).1[5..].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let whole = SERVER.get(&path, &[]);
    assert_eq!((whole.status, whole.header("accept-ranges"), whole.body.len()), (200, "bytes", 1026));
    assert!(whole.body == leaves && whole.header("content-type").starts_with("text/plain"));
    assert_eq!(whole.header("etag"), format!("\"{MULTI_CID}\""));
    for (range, first, last) in [("bytes=250-260", 250, 260), ("bytes=-3", 1023, 1025), ("bytes=1024-", 1024, 1025)] {
        let part = SERVER.get(&path, &[("Range", range)]);
        assert_eq!((part.status, part.header("content-range")), (206, format!("bytes {first}-{last}/1026").as_str()));
        assert!(part.body == leaves[first..=last]);
    }
    // A missing block matters only to who wants it.
    for range in ["bytes=997-1000", "bytes=2200-2201"] {
        assert_eq!(SERVER.get(&format!("/ipfs/{missing}"), &[("Range", range)]).status, 206, "{range}");
    }
    assert_eq!(SERVER.get(&format!("/ipfs/{missing}"), &[("Range", "bytes=1024-1030")]).status, 500);
    for tag in [format!("\"{MULTI_CID}\""), format!("W/\"{MULTI_CID}\""), "*".into()] {
        assert_eq!(SERVER.get(&path, &[("If-None-Match", &tag)]).status, 304, "{tag}");
    }
    let by_data = SERVER.get(&format!("/data/{mixed}/subdir/multiblock.txt"), &[]);
    assert!(by_data.status == 200 && by_data.body == leaves);
    let listing = SERVER.get(&format!("/data/{mixed}/subdir"), &[]).json();
    assert_eq!(listing["entries"][2]["name"], "multiblock.txt");
    assert_eq!(listing["entries"][2]["size"], 1026);
    let sharded = SERVER.get(&format!("/ipfs/{}/999.txt", root(HAMT)), &[]);
    assert!(sharded.status == 200 && sharded.body == leaves);
}

#[test]
fn what_is_missing_or_impossible_says_so() {
    let (missing, cbor) = (root(MISSING), fixture(CBOR).1);
    // In the middle of an archive it cuts the connection: nothing looks whole that is not.
    let cut = SERVER.get(&format!("/ipfs/{missing}?format=car"), &[]);
    assert_eq!((cut.status, cut.complete), (200, false));
    let absent = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    for query in ["?format=car", "?format=raw", ""] {
        assert_eq!(SERVER.get(&format!("/ipfs/{absent}{query}"), &[]).status, 404, "{query}");
        let cached = SERVER.get(&format!("/ipfs/{absent}{query}"), &[("Cache-Control", "only-if-cached")]);
        assert_eq!(cached.status, 412, "{query}");
    }
    let document = SERVER.get(&format!("/ipfs/{}", cbor[1].0), &[]);
    assert_eq!((document.status, document.header("content-type")), (200, "application/vnd.ipld.dag-cbor"));
    assert_eq!(SERVER.get(&format!("/ipfs/{}/cats", cbor[1].0), &[]).status, 404);
    for accept in ["application/vnd.ipld.dag-json", "application/vnd.ipfs.ipns-record"] {
        assert_eq!(SERVER.get(&format!("/ipfs/{MULTI_CID}"), &[("Accept", accept)]).status, 406, "{accept}");
    }
    for query in ["dag-scope=some", "entity-bytes=x", "car-version=2", "car-dups=maybe"] {
        assert_eq!(SERVER.get(&format!("/ipfs/{MULTI_CID}?format=car&{query}"), &[]).status, 400, "{query}");
    }
    let probe = SERVER.get("/ipfs/bafkqaaa?format=raw", &[]);
    assert_eq!((probe.status, probe.header("content-length")), (200, "0"));
    let head = SERVER.head(&format!("/ipfs/{missing}?format=car"), &[]);
    assert_eq!((head.status, head.header("accept-ranges")), (200, "none"));
}
