//! A node joins by snapshot; servers that lie are refused, with what and where, and others are asked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use cairn_ledger::testing::{HashVerifier, Network as Story};
use cairn_ledger::{Command, codec};
use cairn_protocol::Amount;
use tokio::sync::oneshot;

use super::wire::{Answer, frame};
use super::*;
use crate::genesis::{Allocation, Genesis};
use crate::node::{LedgerNode, NodeOptions};
use crate::store::History;

fn genesis() -> Genesis {
    let allocation = |n| Allocation { address: Story::address(n), amount: Amount(1_000_000_000) };
    Genesis::devnet(1_000, [3; 32], (1..=40).map(allocation).collect())
}

fn open(dir: &Path) -> LedgerNode {
    let history = History { blocks: 4, snapshot_every: 8, ..History::default() };
    LedgerNode::open(dir, &genesis(), NodeOptions { history, ..NodeOptions::default() }, Arc::new(HashVerifier))
        .unwrap()
}

/// Makes the block at `height` of the chain that all nodes here have.
fn make(node: &LedgerNode, height: u64) {
    let to = Story::address((height % 40) as u8 + 1);
    node.handle().submit_command(&Story::key(1), Command::Transfer { to, amount: Amount(height) }).unwrap();
    node.produce_block(1_000 + height).unwrap();
}

/// A node whose history is shorter than its chain, and its server of snapshots.
struct Served {
    node: LedgerNode,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Served {
    fn start(blocks: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = open(dir.path());
        (1..=blocks).for_each(|height| make(&node, height));
        let (stop, stopped) = oneshot::channel::<()>();
        let (said, address) = std::sync::mpsc::channel();
        let ledger = node.handle();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                said.send(listener.local_addr().unwrap()).unwrap();
                let stopped = async { drop(stopped.await) };
                serve(listener, ledger, stopped).await.unwrap();
            });
        });
        let address = address.recv().unwrap();
        Self { node, address, stop: Some(stop), thread: Some(thread), _dir: dir }
    }

    fn checkpoint(&self, height: u64) -> Checkpoint {
        let height = Epoch(height);
        let light = self.node.handle().store().light(height).unwrap().expect("a light block");
        Checkpoint::Block { height, block: light.header.id() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(|thread| thread.join());
    }
}

/// Passes everything on, but changes answers.
fn liar(server: SocketAddr, change: fn(&mut Answer)) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || lie(client, server, change));
        }
    });
    address
}

fn lie(mut client: TcpStream, server: SocketAddr, change: fn(&mut Answer)) -> Option<()> {
    let mut server = TcpStream::connect(server).ok()?;
    loop {
        let question = read_frame(&mut client)?;
        server.write_all(&(question.len() as u32).to_be_bytes()).ok()?;
        server.write_all(&question).ok()?;
        let mut answer: Answer = codec::decode_strict(&read_frame(&mut server)?, usize::MAX).unwrap();
        change(&mut answer);
        client.write_all(&frame(&answer)).ok()?;
    }
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn join(dir: &Path, servers: Vec<SocketAddr>, checkpoint: Checkpoint) -> Result<CaughtUp, SnapshotError> {
    let mut options = SnapshotOptions::new(servers, checkpoint);
    options.answer_timeout = Duration::from_secs(5);
    catch_up(dir, &genesis(), &options)
}

#[test]
fn a_late_node_takes_the_newest_snapshot_and_goes_on() {
    let served = Served::start(30);
    assert!(served.node.handle().block(Epoch(26)).unwrap().is_none(), "the blocks before are gone");
    let dir = tempfile::tempdir().unwrap();
    let validators = served.node.handle().store().light(Epoch(24)).unwrap().unwrap().header.validators_root;
    for checkpoint in [served.checkpoint(8), Checkpoint::Validators { root: validators }] {
        let dir = tempfile::tempdir().unwrap();
        let caught = join(dir.path(), vec![served.address], checkpoint).unwrap();
        assert!(matches!(caught, CaughtUp::Installed { height: Epoch(24), .. }), "{caught:?}");
    }
    let refused = join(dir.path(), vec![served.address], served.checkpoint(8)).unwrap();
    let CaughtUp::Installed { height, bytes, refused } = refused else { panic!("{refused:?}") };
    assert!(height == Epoch(24) && bytes > 1_000 && refused.is_empty());
    let node = open(dir.path());
    assert_eq!(node.handle().head().id(), served.node.handle().store().light(height).unwrap().unwrap().header.id());
    // It replays what the server makes from here on, as far as the blocks are still there, and is asked itself.
    let next = node.produce_block(50_000).unwrap();
    assert_eq!(next.height, Epoch(25));
    drop(node);
    let store = open(dir.path());
    assert_eq!(store.handle().head().height, Epoch(25));
    assert_eq!(store.handle().store().oldest().unwrap(), Epoch(24));
    store.handle().state().check_invariants().unwrap();
}

#[test]
fn whoever_is_near_enough_needs_none() {
    let served = Served::start(12);
    let dir = early(8);
    let caught = join(dir.path(), vec![served.address], served.checkpoint(8)).unwrap();
    assert_eq!(caught, CaughtUp::NotNeeded { next: Epoch(9), oldest: Epoch(9) });
}

/// A node that has the first blocks of the chain that is served.
fn early(blocks: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path());
    (1..=blocks).for_each(|height| make(&node, height));
    dir
}

#[test]
fn who_was_away_for_a_while_believes_its_own_head_and_who_was_for_long_does_not() {
    let served = Served::start(30);
    let dir = early(8);
    // Stake is locked for 18,000 blocks, and here they come each millisecond.
    let trust = |now_ms| Trust::OwnHead { now_ms, block_interval: Duration::from_secs(1) };
    let join = |now_ms| catch_up(dir.path(), &genesis(), &SnapshotOptions::new(vec![served.address], trust(now_ms)));
    let limit_ms = genesis().params.stake.unbonding_epochs / 2;
    let refused = join(1_009 + limit_ms).unwrap_err();
    let SnapshotError::OwnHead(OldHead { height: Epoch(8), limit, .. }) = refused else { panic!("{refused}") };
    assert_eq!(limit, Duration::from_millis(limit_ms), "as the blocks came, not as it was told");
    assert_eq!(open(dir.path()).handle().head().height, Epoch(8), "it is as it was");
    assert_eq!(oldest_offered(&[served.address], genesis().chain(), Duration::from_secs(60)), Some(Epoch(27)));
    let caught = join(1_008 + limit_ms).unwrap();
    assert!(matches!(caught, CaughtUp::Installed { height: Epoch(24), .. }), "{caught:?}");
    assert_eq!(open(dir.path()).handle().head().height, Epoch(24));
}

#[test]
fn a_server_that_lies_is_named_with_what_and_where_and_another_is_asked() {
    let served = Served::start(30);
    let flip_value: fn(&mut Answer) = |answer| {
        if let Answer::Nodes(Some(nodes)) = answer
            && let Some(node) = nodes.get_mut(5)
        {
            node.value[0] ^= 1;
        }
    };
    let liar_of_nodes = liar(served.address, flip_value);
    let liar_of_headers = liar(served.address, |answer| {
        if let Answer::Light(Some(light)) = answer {
            light.header.state_root.0[0] ^= 1;
        }
    });
    let liar_of_blocks = liar(served.address, |answer| {
        if let Answer::Block(Some(bytes)) = answer {
            let mut block: crate::Block = codec::decode_strict(bytes, usize::MAX).unwrap();
            block.transactions.clear();
            *bytes = codec::encode(&block).into();
        }
    });
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let gone = silent.local_addr().unwrap();
    drop(silent);
    let servers = vec![gone, liar_of_headers, liar_of_blocks, liar_of_nodes, served.address];
    let dir = tempfile::tempdir().unwrap();
    let caught = join(dir.path(), servers.clone(), served.checkpoint(16)).unwrap();
    let CaughtUp::Installed { height: Epoch(24), refused, .. } = caught else { panic!("{caught:?}") };
    let faults: Vec<(SocketAddr, String)> =
        refused.iter().map(|(server, fault)| (*server, fault.to_string())).collect();
    assert_eq!(faults.iter().map(|(server, _)| *server).collect::<Vec<_>>(), servers[..4]);
    let expected = [
        "connect: ",
        "a commit for block",
        "block 24 does not fit its header: transactions",
        "state of block 24: state column 1, node with key ",
    ];
    for ((server, fault), expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{server}: {fault}");
    }
    assert_eq!(open(dir.path()).handle().head().height, Epoch(24));

    let alone = tempfile::tempdir().unwrap();
    let nobody = join(alone.path(), vec![liar_of_nodes], served.checkpoint(16)).unwrap_err().to_string();
    assert!(nobody.starts_with("no snapshot: 127.0.0.1:") && nobody.contains("its hash is"), "{nobody}");
    assert_eq!(open(alone.path()).handle().head().height, Epoch(0), "nothing of it was believed");
}

#[test]
fn another_checkpoint_is_not_hopped_to() {
    let served = Served::start(30);
    let refused = |checkpoint| {
        let dir = tempfile::tempdir().unwrap();
        match join(dir.path(), vec![served.address], checkpoint).unwrap_err() {
            SnapshotError::Nobody { mut faults } => faults.remove(0).1,
            other => panic!("{other}"),
        }
    };
    let other = Checkpoint::Block { height: Epoch(16), block: BlockId([9; 32]) };
    assert!(matches!(refused(other), ServerFault::Trust(TrustRejection::OtherCheckpoint { .. })));
    let strangers = Checkpoint::Validators { root: [9; 32] };
    assert!(matches!(refused(strangers), ServerFault::Trust(TrustRejection::UnknownValidators { .. })));
    let forgotten = Checkpoint::Block { height: Epoch(9), block: BlockId([9; 32]) };
    assert!(matches!(refused(forgotten), ServerFault::Missing { .. }));
}

#[test]
fn checkpoints_are_written_and_read() {
    for checkpoint in [
        Checkpoint::Block { height: Epoch(7), block: BlockId([0xab; 32]) },
        Checkpoint::Validators { root: [0xcd; 32] },
    ] {
        assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint));
    }
    for text in ["", "7", "x:00", "7:zz", "validators:00"] {
        assert!(text.parse::<Checkpoint>().unwrap_err().starts_with("expected HEIGHT:BLOCK"), "{text}");
    }
}
