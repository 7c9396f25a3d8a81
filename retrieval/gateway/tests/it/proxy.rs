//! A source that misbehaves: it passes requests on to a gateway and spoils the answers as the test says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_gateway::SourceUrl;

use super::common::{connect, read_head};

/// What to do with one request.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    Pass,
    /// Cut the connection after that many bytes of the body.
    DropAfter(usize),
    /// Invert a bit of this byte of the body.
    Flip(usize),
    /// Send that many bytes of the body, then nothing, and keep the connection.
    StallAfter(usize),
    /// Forget that a range was asked for.
    IgnoreRange,
    /// Answer this status without a body; with `Retry-After` if seconds are given.
    Status(u16, Option<u64>),
    /// Say that the object has one byte more.
    WrongSize,
    /// Claim to have compressed the body.
    Encoded,
}

/// A request as the proxy saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    /// First and last byte of the range asked for.
    pub range: Option<(u64, u64)>,
    /// Number of the request, from 0.
    pub number: usize,
}

impl Seen {
    pub fn is_data(&self) -> bool {
        self.path.contains("/data/") || self.path.contains("/piece/")
    }
}

type Decide = dyn Fn(&Seen) -> Action + Send + Sync;

pub struct Proxy {
    pub addr: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    stopping: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(upstream: SocketAddr, decide: impl Fn(&Seen) -> Action + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stopping = Arc::new(AtomicBool::new(false));
        let decide: Arc<Decide> = Arc::new(decide);
        let (log, stop) = (seen.clone(), stopping.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (decide, log, stop) = (decide.clone(), log.clone(), stop.clone());
                std::thread::spawn(move || client.map(|client| handle(client, upstream, &*decide, &log, &stop)));
            }
        });
        Self { addr, seen, stopping }
    }

    pub fn url(&self) -> SourceUrl {
        format!("http://{}", self.addr).parse().unwrap()
    }

    pub fn data_requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.is_data()).cloned().collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        _ = TcpStream::connect(self.addr);
    }
}

/// One request per connection; errors of either side just end it.
fn handle(
    mut client: TcpStream,
    upstream: SocketAddr,
    decide: &Decide,
    log: &Mutex<Vec<Seen>>,
    stopping: &AtomicBool,
) -> Option<()> {
    let head = read_head(&mut client)?;
    let seen = {
        let mut log = log.lock().unwrap();
        let seen = Seen { path: head.split(' ').nth(1)?.to_owned(), range: range_of(&head), number: log.len() };
        log.push(seen.clone());
        seen
    };
    let action = decide(&seen);
    if let Action::Status(status, retry_after) = action {
        let retry = retry_after.map_or(String::new(), |seconds| format!("retry-after: {seconds}\r\n"));
        let text = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n{retry}\r\n");
        return client.write_all(text.as_bytes()).ok();
    }
    let keep =
        |line: &&str| !(matches!(action, Action::IgnoreRange) && line.to_ascii_lowercase().starts_with("range:"));
    let forwarded: Vec<&str> = head.split("\r\n").filter(keep).collect();
    let mut server = connect(upstream);
    write!(server, "{}\r\nconnection: close\r\n\r\n", forwarded.join("\r\n")).ok()?;
    let mut answer = read_head(&mut server)?;
    match action {
        Action::WrongSize => answer = wrong_size(&answer),
        Action::Encoded => answer.push_str("\r\ncontent-encoding: gzip"),
        _ => {}
    }
    write!(client, "{answer}\r\nconnection: close\r\n\r\n").ok()?;
    pass_body(&mut server, &mut client, action, stopping)
}

fn pass_body(server: &mut TcpStream, client: &mut TcpStream, action: Action, stopping: &AtomicBool) -> Option<()> {
    let mut position = 0;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = server.read(&mut buffer).ok()?;
        if count == 0 {
            return Some(());
        }
        let chunk = &mut buffer[..count];
        match action {
            Action::Flip(at) if (position..position + count).contains(&at) => chunk[at - position] ^= 0x10,
            Action::DropAfter(limit) if position + count >= limit => {
                client.write_all(&chunk[..limit - position]).ok()?;
                return client.shutdown(Shutdown::Both).ok();
            }
            Action::StallAfter(limit) if position + count >= limit => {
                client.write_all(&chunk[..limit - position]).ok()?;
                while !stopping.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return None;
            }
            _ => {}
        }
        client.write_all(chunk).ok()?;
        position += count;
    }
}

fn range_of(head: &str) -> Option<(u64, u64)> {
    let line = head.split("\r\n").find(|line| line.to_ascii_lowercase().starts_with("range:"))?;
    let (first, last) = line.split_once('=')?.1.split_once('-')?;
    Some((first.parse().ok()?, last.parse().unwrap_or(u64::MAX)))
}

fn wrong_size(answer: &str) -> String {
    let grow = |line: &str| match line.strip_prefix("content-range: ").and_then(|range| range.split_once('/')) {
        Some((range, size)) => format!("content-range: {range}/{}", size.parse::<u64>().unwrap() + 1),
        None => line.to_owned(),
    };
    answer.split("\r\n").map(grow).collect::<Vec<_>>().join("\r\n")
}
