//! Another handler behind a prefix: it gets whole requests, the server keeps its limits and its count.

use std::io::{self, Write};
use std::sync::Arc;

use cairn_content::HotStore;
use cairn_gateway::{
    ContentSource, DataEntry, GatewayOptions, Mount, MountedAnswer, MountedBody, MountedHandler, range_body,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::common::*;

/// Sends back what a PUT brings, and ranges of the big file for a GET.
struct Echo(Arc<HotStore>);

impl MountedHandler for Echo {
    fn answer(&self, request: Request<Incoming>) -> MountedAnswer<'_> {
        Box::pin(async move {
            if request.method() == Method::PUT {
                let bytes = request.into_body().collect().await.unwrap().to_bytes();
                let body: MountedBody = Full::new(bytes).map_err(io::Error::other).boxed_unsync();
                return Response::builder().status(StatusCode::CREATED).body(body).unwrap();
            }
            let root = self.0.find("demo").unwrap().root();
            let path: Vec<String> = BIG.split('/').map(str::to_owned).collect();
            let Some(DataEntry::File { resource, .. }) = self.0.data(&root, &path).unwrap() else { panic!() };
            Response::new(range_body(resource.reader, 7, 3 * MIB as u64, 64 << 10))
        })
    }
}

#[test]
fn a_mounted_handler_takes_its_prefix_and_nothing_else() {
    let fixture = Fixture::new();
    let mount = Mount { prefix: "/echo".into(), handler: Arc::new(Echo(fixture.store.clone())) };
    let options = GatewayOptions { mounts: vec![mount], transfers_max: 1, ..GatewayOptions::default() };
    let server = TestServer::start(fixture.store.clone(), options);
    let range = server.get("/echo/anything", &[]);
    assert_eq!((range.status, range.header("content-length")), (200, (3 * MIB).to_string().as_str()));
    assert!(range.body == fixture.big()[7..7 + 3 * MIB]);
    let served = server.wait_for(|request| request.path == "/echo/anything");
    assert_eq!((served.bytes_promised, served.bytes_sent), (3 * MIB as u64, 3 * MIB as u64));
    let mut stream = connect(server.addr);
    let body = noise(3, 300_000);
    write!(stream, "PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(&body).unwrap();
    let put = read_answer(&mut stream, false).unwrap();
    assert_eq!(put.status, 201);
    assert!(put.body == body);
    assert_eq!(server.get("/echoes", &[]).status, 404);
    let elsewhere = request(server.addr, "PUT", "/data/demo/empty.txt", &[("Content-Length", "0")]);
    assert_eq!(elsewhere.status, 405);
}

#[test]
fn limits_hold_for_a_mounted_handler_too() {
    let fixture = Fixture::new();
    let mount = Mount { prefix: "/".into(), handler: Arc::new(Echo(fixture.store.clone())) };
    let options = GatewayOptions { mounts: vec![mount], transfers_max: 1, ..GatewayOptions::default() };
    let server = TestServer::start(fixture.store.clone(), options);
    let long = format!("/{}", "x".repeat(9000));
    assert_eq!(server.get(&long, &[]).status, 414);
    assert_eq!(request(server.addr, "PUT", "/b", &[("Host", "again"), ("Content-Length", "0")]).status, 400);
}
