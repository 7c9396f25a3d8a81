//! The published examples of AWS ("Authenticating Requests: Using the Authorization Header", "Using Query Parameters",
//! "Transferring Payload in Multiple Chunks"), as facts: the key, the requests and the signatures are theirs.

use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const NOW: u64 = 1_369_353_600;

fn secret() -> SecretKey {
    SecretKey::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into())
}

fn head(method: Method, path: &str, query: &str, headers: &[(&str, &str)]) -> RequestHead {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    RequestHead::new(method, path, Some(query), map).unwrap()
}

fn check(head: &RequestHead, region: &str, now: u64) -> Result<Verified, ErrorCode> {
    let claim = Authorization::read(head).map_err(|error| error.code)?.expect("a claim");
    assert_eq!(claim.access_key, "AKIAIOSFODNN7EXAMPLE");
    claim.verify(head, &secret(), region, now).map_err(|error| error.code)
}

fn authorization(signed: &str, signature: &str) -> String {
    let credential = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
    format!("AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={signed},Signature={signature}")
}

fn get_object() -> RequestHead {
    let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    let authorization = authorization("host;range;x-amz-content-sha256;x-amz-date", signature);
    let headers = [
        ("host", "examplebucket.s3.amazonaws.com"),
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", EMPTY),
        ("x-amz-date", "20130524T000000Z"),
        ("authorization", &authorization),
    ];
    head(Method::GET, "/test.txt", "", &headers)
}

const PRESIGNED: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F\
    aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&\
    X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

fn presigned() -> RequestHead {
    head(Method::GET, "/test.txt", PRESIGNED, &[("host", "examplebucket.s3.amazonaws.com")])
}

#[test]
fn published_example_get_object() {
    assert_eq!(check(&get_object(), "us-east-1", NOW).unwrap().payload, PayloadHash::read(EMPTY).unwrap());
}

#[test]
fn published_example_put_object() {
    let signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd";
    let signed = "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class";
    let authorization = authorization(signed, signature);
    let headers = [
        ("host", "examplebucket.s3.amazonaws.com"),
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        ("authorization", &authorization),
    ];
    check(&head(Method::PUT, "/test$file.text", "", &headers), "us-east-1", NOW).unwrap();
}

#[test]
fn published_examples_with_a_query() {
    let cases = [
        ("lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ("prefix=J&max-keys=2", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ];
    for (query, signature) in cases {
        let authorization = authorization("host;x-amz-content-sha256;x-amz-date", signature);
        let headers = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
            ("authorization", &authorization),
        ];
        check(&head(Method::GET, "/", query, &headers), "us-east-1", NOW).unwrap();
    }
}

#[test]
fn published_example_presigned() {
    assert_eq!(check(&presigned(), "us-east-1", NOW + 86_400).unwrap().payload, PayloadHash::Unsigned);
}

#[test]
fn published_example_signed_chunks() {
    let signature = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    let signed = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
                  x-amz-storage-class";
    let authorization = authorization(signed, signature);
    let headers = [
        ("host", "s3.amazonaws.com"),
        ("content-encoding", "aws-chunked"),
        ("content-length", "66824"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-decoded-content-length", "66560"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("authorization", &authorization),
    ];
    let head = head(Method::PUT, "/examplebucket/chunkObject.txt", "", &headers);
    let mut verified = check(&head, "us-east-1", NOW).unwrap();
    assert_eq!(verified.payload, PayloadHash::SignedChunks { trailer: false });
    let chunks = [
        (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ];
    for (bytes, signature) in chunks {
        let data: [u8; 32] = Sha256::digest(vec![b'a'; bytes]).into();
        assert!(!verified.chunks.clone().verify_chunk(&data, &signature.replace('a', "b")));
        assert!(verified.chunks.verify_chunk(&data, signature), "chunk of {bytes}");
    }
}

#[test]
fn every_part_of_a_signed_request_counts() {
    let code = |head: &RequestHead| check(head, "us-east-1", NOW).unwrap_err();
    let mut other = get_object();
    other.path.push('x');
    assert_eq!(code(&other), ErrorCode::SignatureDoesNotMatch);
    let mut other = get_object();
    other.method = Method::HEAD;
    assert_eq!(code(&other), ErrorCode::SignatureDoesNotMatch);
    let mut other = get_object();
    other.query.push(("acl".into(), String::new()));
    assert_eq!(code(&other), ErrorCode::SignatureDoesNotMatch);
    let mut other = get_object();
    other.headers.insert("range", HeaderValue::from_static("bytes=0-10"));
    assert_eq!(code(&other), ErrorCode::SignatureDoesNotMatch);
    let mut other = get_object();
    other.headers.remove("range");
    assert_eq!(code(&other), ErrorCode::SignatureDoesNotMatch);
    let mut other = get_object();
    other.headers.insert("x-amz-copy-source", HeaderValue::from_static("/b/k"));
    assert_eq!(code(&other), ErrorCode::AccessDenied);
    let claim = Authorization::read(&get_object()).unwrap().unwrap();
    let other = SecretKey::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEz".into());
    let refused = claim.verify(&get_object(), &other, "us-east-1", NOW).unwrap_err();
    assert_eq!(refused.code, ErrorCode::SignatureDoesNotMatch);
}

#[test]
fn scope_and_time_are_checked() {
    let code = |head: &RequestHead, region, now| check(head, region, now).unwrap_err();
    assert_eq!(code(&get_object(), "eu-west-1", NOW), ErrorCode::AuthorizationHeaderMalformed);
    assert_eq!(code(&presigned(), "eu-west-1", NOW), ErrorCode::AuthorizationQueryParametersError);
    check(&get_object(), "us-east-1", NOW + SKEW_SECONDS).unwrap();
    check(&get_object(), "us-east-1", NOW - SKEW_SECONDS).unwrap();
    assert_eq!(code(&get_object(), "us-east-1", NOW + SKEW_SECONDS + 1), ErrorCode::RequestTimeTooSkewed);
    assert_eq!(code(&get_object(), "us-east-1", NOW - SKEW_SECONDS - 1), ErrorCode::RequestTimeTooSkewed);
    assert_eq!(code(&presigned(), "us-east-1", NOW + 86_401), ErrorCode::AccessDenied);
    assert_eq!(code(&presigned(), "us-east-1", NOW - SKEW_SECONDS - 1), ErrorCode::AccessDenied);
    let replaced =
        |from: &str, to: &str| head(Method::GET, "/test.txt", &PRESIGNED.replace(from, to), &[("host", "x")]);
    for (from, to) in [
        ("20130524T", "20130525T"),
        ("Expires=86400", "Expires=0"),
        ("Expires=86400", "Expires=604801"),
        ("SignedHeaders=host", "SignedHeaders=range"),
        ("%2Fs3%2F", "%2Fec2%2F"),
        ("X-Amz-Date=", "X-Amz-Day="),
        ("Signature=ae", "Signature=xx"),
    ] {
        assert_eq!(code(&replaced(from, to), "us-east-1", NOW), ErrorCode::AuthorizationQueryParametersError, "{to}");
    }
}

#[test]
fn other_ways_to_sign_are_refused_and_none_is_anonymous() {
    let code = |head: &RequestHead| Authorization::read(head).unwrap_err().code;
    let plain = |query: &str, headers: &[(&str, &str)]| head(Method::GET, "/b/k", query, headers);
    assert_eq!(Authorization::read(&plain("list-type=2", &[])).unwrap(), None);
    assert_eq!(code(&plain("AWSAccessKeyId=a&Expires=1&Signature=s", &[])), ErrorCode::InvalidRequest);
    assert_eq!(code(&plain("", &[("authorization", "AWS a:b")])), ErrorCode::InvalidRequest);
    assert_eq!(code(&plain("", &[("authorization", "AWS4-HMAC-SHA256 x")])), ErrorCode::AuthorizationHeaderMalformed);
    assert_eq!(code(&plain(PRESIGNED, &[("authorization", "AWS4-HMAC-SHA256 x")])), ErrorCode::InvalidArgument);
    let twice = format!("{PRESIGNED}&X-Amz-Expires=1");
    assert_eq!(code(&plain(&twice, &[])), ErrorCode::AuthorizationQueryParametersError);
}

proptest! {
    #[test]
    fn foreign_claims_never_panic(header in "(AWS4-HMAC-SHA256 )?[ -~]{0,80}", query in "[ -$&-~]{0,80}", date in "[0-9TZ]{0,16}") {
        let headers = [("authorization", header.as_str()), ("x-amz-date", &date), ("x-amz-content-sha256", EMPTY)];
        let head = head(Method::GET, "/b/k", &query, &headers);
        if let Ok(Some(claim)) = Authorization::read(&head) {
            prop_assert!(claim.verify(&head, &secret(), "us-east-1", NOW).is_err());
        }
    }
}
