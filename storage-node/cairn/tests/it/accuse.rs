//! `cairn provider accuse` and `cairn gateway --sign-for`: an honest gateway and one that flips a byte, a ledger, and a client that
//! tells them apart.

#[path = "../../../../retrieval/gateway/tests/it/liar.rs"]
mod liar;

use std::fs;
use std::sync::Arc;

use cairn_access::ProviderSigner;
use cairn_content::{HotStore, ImportOptions, Placement};
use cairn_fixtures::labelled_data;
use cairn_gateway::GatewayOptions;
use cairn_ledger::ServingKey;
use cairn_ledger::testing::Network as Story;
use cairn_protocol::{CommP, Epoch, GROUP_BYTES, UnpaddedBytes, piece_cid_v1};
use cairn_rpc::wire::NetworkGrade;

use self::liar::Liar;
use crate::gateway::Running;
use crate::ledger::Place;
use crate::support::text;

/// A store with one piece of two groups.
fn store(place: &Place, name: &str) -> (HotStore, CommP) {
    let data = place.path("data.bin");
    // Written once: a file that changes after it was hashed is not served any more.
    if !data.exists() {
        fs::write(&data, labelled_data("a", GROUP_BYTES as usize + 200_000)).unwrap();
    }
    let store = HotStore::open(&place.path(name)).unwrap();
    let dataset = store.import(&data, None, Placement::Reference, &ImportOptions::default()).unwrap();
    let pieces = store.add_pieces(&dataset.root(), UnpaddedBytes(127 << 14)).unwrap();
    (store, pieces[0].commitment.comm_p)
}

/// Serves on a port of its own until the test ends.
fn serve_liar(store: HotStore, at: usize, signer: ProviderSigner) -> (tokio::runtime::Runtime, String) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let options = GatewayOptions { group_signer: Some(Arc::new(signer)), ..GatewayOptions::default() };
    let source = Arc::new(Liar { store: Arc::new(store), at });
    runtime.spawn(async { cairn_gateway::serve(listener, source, options, std::future::pending()).await });
    (runtime, url)
}

#[test]
fn false_bytes_are_brought_to_the_ledger_and_right_ones_are_not() {
    let place = Place::new(NetworkGrade::Development);
    let provider = place.served.ledger.provider(2);
    let rpc = format!("http://{}", place.served.address);
    let (honest, comm_p) = store(&place, "honest");
    drop(honest);
    let (owner, client) = (text(&place.path("provider")), text(&place.path("client")));
    let dir = text(&place.path("honest"));
    let stranger = ["gateway", "--listen", "127.0.0.1:0", "--store", &dir, "--sign-rpc", &rpc, "--sign-for", "1000"];
    let refused = crate::support::cairn(stranger.iter().copied().chain(["--sign-key", &client]));
    assert!(refused.failure().contains("is owned by"), "{}", refused.stderr);
    let signing = ["--store", &dir, "--sign-for", "1000", "--sign-key", &owner, "--sign-rpc", &rpc];
    let honest = Running::start(&signing, 1);

    let piece = piece_cid_v1(&comm_p).to_string();
    let accuse = |more: &[&str]| {
        let said = [&["provider", "accuse", "1000", "--piece", &piece, "--key", &client][..], more].concat();
        place.ticking(|| place.ask(&said))
    };
    let is_fine = |gateway: &Running| {
        let fine = accuse(&["--gateway", gateway.url(), "--json"]).json();
        assert_eq!((&fine["right"], &fine["group"], &fine["transaction"]), (&true.into(), &0.into(), &().into()));
    };
    is_fine(&honest);

    // Another gateway, on a machine that never had the owner's key.
    let (key, leave) = (text(&place.path("gateway.key")), text(&place.path("gateway.leave")));
    let made = crate::support::cairn(["wallet", "new", "--out", &key, "--json"]).json();
    let to = made["address"].as_str().unwrap();
    let delegate = |owner: &str, epochs: &str, out: &str| {
        place.ask(&["provider", "delegate", "1000", "--to", to, "--epochs", epochs, "--key", owner, "--out", out])
    };
    assert!(delegate(&client, "1000", &leave).failure().contains("is owned by"));
    assert_eq!(delegate(&owner, "1000", &leave).code, Some(0));
    assert!(delegate(&owner, "9", &leave).failure().contains("cannot make"), "a leave is never replaced");
    let serve = ["--store", &dir, "--sign-for", "1000", "--sign-rpc", &rpc];
    let mine = [&serve[..], &["--sign-key", &client, "--sign-leave", &leave]].concat();
    let stolen = crate::support::cairn(["gateway", "--listen", "127.0.0.1:0"].iter().chain(&mine).copied());
    assert!(stolen.failure().contains("--sign-leave: it is for"), "{}", stolen.stderr);
    let by_leave = Running::start(&[&serve[..], &["--sign-key", &key, "--sign-leave", &leave]].concat(), 1);
    is_fine(&by_leave);
    by_leave.stop();

    let (lying, _) = store(&place, "lying");
    // It lies in the owner's name.
    let chain = place.served.ledger.chain();
    let until = Epoch(1 << 30);
    let leave = ServingKey { provider, key: Story::address(9), until }.sign(chain, &Story::key(2));
    let signer = ProviderSigner::by_leave(chain, Story::key(9), leave);
    let at = GROUP_BYTES + 5;
    let (_runtime, liar) = serve_liar(lying, at as usize, signer);
    let at = at.to_string();
    let alone = accuse(&["--gateway", &liar, "--at", &at]);
    assert!(alone.failure().contains("nobody proves what the piece has"), "{}", alone.stderr);
    let before = place.json(&["provider", "show", "1000"])["provider"]["collateral"].as_u64().unwrap();
    let both = accuse(&["--gateway", &liar, "--from", honest.url(), "--at", "0", "--at", &at]).stdout;
    assert!(both.contains("signed for, and right") && both.contains("signed for, and wrong: reported"), "{both}");
    let shown = place.json(&["provider", "show", "1000"]);
    let wrong = &shown["wrong_bytes"][0];
    assert_eq!((&wrong["group"], &wrong["piece"]), (&1.into(), &comm_p.to_string().into()));
    assert_eq!(wrong["taken"].as_u64(), Some(before / 10));
    assert_eq!(shown["provider"]["collateral"].as_u64(), Some(before - before / 10));

    // The client's own copy does as well as another gateway; and nobody pays twice.
    let copy = place.path("copy.bin");
    fs::write(&copy, honest.get(&format!("/piece/{piece}")).1).unwrap();
    let again = accuse(&["--gateway", &liar, "--copy", &text(&copy), "--at", &at]);
    assert!(again.failure().contains("paid for group 1"), "{}", again.stderr);
    honest.stop();
}
