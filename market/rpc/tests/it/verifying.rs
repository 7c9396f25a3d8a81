//! A client that knows the genesis believes no lie about blocks and receipts. The lies are told by a server in between.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_ledger::testing::Network as Story;
use cairn_ledger::{Command, KeyDigest};
use cairn_protocol::{Amount, Epoch};
use cairn_rpc::client::verify::{Trust, VerifyError};
use cairn_rpc::wire::Outcome;
use cairn_rpc::{ClientOptions, RpcClient, ServerOptions};
use serde_json::Value;

use crate::support::{Ledger, Served};

/// Changes answers.
type Lie = fn(path: &str, answer: &mut Value);

/// Passes questions on and changes the answers.
struct Liar {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Liar {
    fn new(served: &Served, lie: Lie) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, honest) = (listener.local_addr().unwrap(), served.address);
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                let Some(path) = request.split(' ').nth(1) else { continue };
                let url = format!("http://{honest}{path}");
                let told = ureq::get(&url).call().unwrap().body_mut().read_to_vec().unwrap();
                let mut answer: Value = serde_json::from_slice(&told).unwrap();
                lie(path, &mut answer);
                let body = answer.to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    fn client(&self) -> RpcClient {
        RpcClient::new(&format!("http://{}", self.address), ClientOptions::default()).unwrap()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread up.
        let _ = std::net::TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

#[test]
fn what_validators_signed_is_believed_and_nothing_else() {
    let served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let ledger = &served.ledger;
    let transfer = Command::Transfer { to: Story::address(2), amount: Amount(5) };
    for n in [1, 3, 4] {
        ledger.handle().submit_command(&Story::key(n), transfer.clone()).unwrap();
    }
    let (id, _) = ledger.command(2, Command::Transfer { to: Story::address(1), amount: Amount(7) });
    ledger.block();
    let trust = Trust::new(&Ledger::genesis(), None).unwrap();
    let client = served.client();
    let (block, verified) = client.verified_block(&trust, Epoch(1)).unwrap();
    assert_eq!((verified.votes, verified.of, verified.since, verified.old_by), (1, 1, Epoch(0), None));
    assert_eq!(block.transactions.len(), 4);
    let (transaction, receipt, _) = client.verified_transaction(&trust, &id).unwrap().unwrap();
    assert_eq!((transaction.sender, transaction.kind.as_str()), (Story::address(2), "Transfer"));
    assert_eq!((receipt.outcome, receipt.height), (Outcome::Applied, Epoch(1)));
    assert_eq!(client.transaction(&id, std::time::Duration::ZERO).unwrap().unwrap().receipt, Some(receipt));

    let lies: [(&str, Lie); 6] = [
        ("time", |_, answer| answer["header"]["time_ms"] = 7.into()),
        ("state root", |_, answer| answer["header"]["state_root"] = "00".repeat(32).into()),
        ("signature", |path, answer| {
            if path.ends_with("/light") {
                answer["commit"]["signatures"][0]["signature"] = "00".repeat(64).into();
            }
        }),
        ("validators", |path, answer| {
            if path.ends_with("/light") {
                answer["deciders"][0]["power"] = 9.into();
            }
        }),
        ("transactions", |_, answer| {
            answer["transactions"].as_array_mut().map(Vec::pop);
        }),
        ("header beside the light one", |path, answer| {
            if !path.ends_with("/light") {
                answer["header"]["receipts_root"] = "00".repeat(32).into();
            }
        }),
    ];
    for (what, lie) in lies {
        let refused = Liar::new(&served, lie).client().verified_block(&trust, Epoch(1)).unwrap_err();
        let believed = matches!(refused, VerifyError::Client(_));
        assert!(!believed, "{what}: {refused}");
    }
    let lies: [(&str, Lie); 3] = [
        ("path", |_, answer| {
            if answer["path"].is_array() {
                answer["path"][0] = "00".repeat(32).into();
            }
        }),
        ("receipt", |_, answer| {
            // The outcome is in the last bytes.
            let text = answer["receipt"].as_str().map(|text| text.replacen("4170706c696564", "4170706c696565", 1));
            if let Some(text) = text {
                answer["receipt"] = text.into();
            }
        }),
        ("height", |_, answer| {
            if answer["height"].is_u64() {
                answer["height"] = 2.into();
            }
        }),
    ];
    for (what, lie) in lies {
        let refused = Liar::new(&served, lie).client().verified_transaction(&trust, &id).unwrap_err();
        assert!(!matches!(refused, VerifyError::Client(_)), "{what}: {refused}");
    }
}

#[test]
fn the_network_names_the_keys_of_its_proofs() {
    let key = ("porep 2KiB".to_owned(), KeyDigest("aa".to_owned()));
    let options = ServerOptions { verifying_keys: [key].into(), ..ServerOptions::default() };
    let served = Served::new(Ledger::new(1_000), options);
    let network = served.client().network().unwrap();
    assert_eq!(network.verifying_keys["porep 2KiB"], "aa");
}
