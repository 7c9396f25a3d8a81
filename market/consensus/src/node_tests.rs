//! One node in one process: blocks, receipts, events, restarts, bad blocks.

use cairn_ledger::testing::{HashVerifier, Network as Story};
use cairn_ledger::{Beacon, Outcome, Rejection, SlashRejection, StateRoot};
use cairn_protocol::Amount;

use super::*;
use crate::beacon::BeaconRejection;
use crate::block::BlockId;
use crate::chain::InvalidBlock;
use crate::drand::{DrandNetwork, RecordedRounds};
use crate::evidence::tests::double_vote;
use crate::evidence::{Evidence, EvidenceRejection};
use crate::genesis::{Allocation, BeaconConfig, GenesisValidator, development_validator_key};

fn genesis() -> Genesis {
    let allocation = |n| Allocation { address: Story::address(n), amount: Amount(1_000_000_000) };
    Genesis::devnet(1_000, [3; 32], vec![allocation(1), allocation(2)])
}

fn open(dir: &Path, options: NodeOptions) -> LedgerNode {
    LedgerNode::open(dir, &genesis(), options, Arc::new(HashVerifier)).unwrap()
}

fn transfer(amount: u64) -> Command {
    Command::Transfer { to: Story::address(2), amount: Amount(amount) }
}

#[test]
fn a_transaction_becomes_a_receipt_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path(), NodeOptions::default());
    let handle = node.handle();
    let good = handle.submit_command(&Story::key(1), transfer(5)).unwrap();
    let bad = handle.submit_command(&Story::key(1), transfer(u64::MAX)).unwrap();
    assert_eq!((handle.waiting(), handle.receipt(&good).unwrap()), (2, None));
    let header = node.produce_block(2_000).unwrap();
    assert_eq!((header.height, header.time_ms, handle.waiting()), (Epoch(1), 2_000, 0));
    assert_eq!(handle.receipt(&good).unwrap().unwrap().outcome, Outcome::Applied);
    let outcome = handle.receipt(&bad).unwrap().unwrap().outcome;
    assert!(matches!(outcome, Outcome::Failed(Rejection::InsufficientFunds { .. })));
    // A clock that goes back does not take the chain with it.
    assert_eq!(node.produce_block(1_500).unwrap().time_ms, 2_000);
    let head = handle.head();
    drop((node, handle));

    let node = open(dir.path(), NodeOptions::default());
    assert_eq!(node.handle().head(), head);
    assert_eq!(node.handle().receipt(&good).unwrap().unwrap().index, 0);
    assert_eq!(node.handle().next_nonce(&Story::address(1)), 2);
    assert_eq!(node.produce_block(3_000).unwrap().parent, head.id());
}

#[test]
fn a_snapshot_stays_while_the_ledger_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path(), NodeOptions::default());
    let before = node.handle().state();
    node.handle().submit_command(&Story::key(1), transfer(5)).unwrap();
    node.produce_block(2_000).unwrap();
    assert_eq!(before.epoch(), Epoch(0));
    assert_eq!(before.account(&Story::address(2)).balance, Amount(1_000_000_000));
    assert_eq!(node.handle().state().account(&Story::address(2)).balance, Amount(1_000_000_005));
}

#[test]
fn history_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(
        dir.path(),
        NodeOptions { history: History { blocks: 3, ..History::default() }, ..NodeOptions::default() },
    );
    let handle = node.handle();
    let old = handle.submit_command(&Story::key(1), transfer(5)).unwrap();
    for time in 1..=5 {
        node.produce_block(time).unwrap();
    }
    assert_eq!(handle.receipt(&old).unwrap(), None);
    assert!(handle.block(Epoch(2)).unwrap().is_none() && handle.block(Epoch(3)).unwrap().is_some());
    assert!(matches!(handle.events_since(Epoch(0), 10), Err(EventsError::Forgotten { height: Epoch(1) })));
    let heights: Vec<u64> = handle.events_since(Epoch(2), 2).unwrap().iter().map(|block| block.height.0).collect();
    assert_eq!(heights, [3, 4]);
    assert!(handle.events_since(Epoch(5), 10).unwrap().is_empty());
    assert!(handle.events_since(Epoch(u64::MAX), 10).unwrap().is_empty());
    drop((node, handle));
    // A shorter history is caught up with.
    let node = open(
        dir.path(),
        NodeOptions { history: History { blocks: 1, ..History::default() }, ..NodeOptions::default() },
    );
    node.produce_block(6).unwrap();
    assert!(node.handle().block(Epoch(5)).unwrap().is_none() && node.handle().block(Epoch(6)).unwrap().is_some());
}

#[test]
fn blocks_of_others_are_executed_before_they_are_believed() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let chain_in = |dir: &Path| Chain::open(dir, &genesis(), ChainOptions::default(), Arc::new(HashVerifier)).unwrap();
    let (mut proposer, mut validator) = (chain_in(ours.path()), chain_in(theirs.path()));
    let mut pool = Mempool::new(MempoolOptions::default());
    let sign = |nonce, amount| {
        let sender = Story::address(1);
        Transaction { chain: genesis().chain(), sender, nonce, command: transfer(amount) }.sign(&Story::key(1))
    };
    for nonce in 0..3 {
        pool.submit(proposer.state(), sign(nonce, nonce + 1)).unwrap();
    }
    // What cannot be in a block is left out by the proposer.
    let mut transactions = pool.select(proposer.state());
    transactions.push(sign(9, 1));
    let key = genesis().only_development_key().unwrap();
    let us = address_of(&key);
    let candidate = proposer.propose(5_000, us, transactions).unwrap();
    let block = candidate.block().clone();
    assert_eq!(block.transactions.len(), 3);

    let refused = |change: &dyn Fn(&mut Block)| {
        let mut changed = block.clone();
        change(&mut changed);
        validator.validate(changed, Some(5_000)).unwrap_err()
    };
    let field = |invalid: InvalidBlock| match invalid {
        InvalidBlock::WrongHeader { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(field(refused(&|b| b.header.chain.0[0] ^= 1)), "chain");
    assert_eq!(field(refused(&|b| b.header.height = Epoch(2))), "height");
    assert_eq!(field(refused(&|b| b.header.parent = BlockId([1; 32]))), "parent");
    assert_eq!(field(refused(&|b| b.header.beacon = Beacon([1; 32]))), "beacon");
    assert_eq!(field(refused(&|b| b.header.transactions_root[0] ^= 1)), "transactions_root");
    assert_eq!(field(refused(&|b| b.header.receipts_root[0] ^= 1)), "receipts_root");
    assert_eq!(field(refused(&|b| b.header.validators_root[0] ^= 1)), "validators_root");
    assert_eq!(field(refused(&|b| b.header.commit_root[0] ^= 1)), "commit_root");
    assert_eq!(field(refused(&|b| b.header.state_root = StateRoot([1; 32]))), "state_root");
    assert_eq!(field(refused(&|b| drop(b.transactions.pop()))), "transactions_root");
    assert!(matches!(refused(&|b| b.header.time_ms = 1), InvalidBlock::Ledger(_)));
    assert!(matches!(refused(&|b| b.header.time_ms = 20_000), InvalidBlock::FromTheFuture { .. }));
    assert!(matches!(refused(&|b| b.header.proposer = Story::address(1)), InvalidBlock::UnknownProposer { .. }));
    let decision = decide_alone(&key, &block.header);
    assert!(matches!(refused(&|b| b.commit = Some(decision.clone())), InvalidBlock::CommitMisplaced { .. }));

    let accepted = validator.validate(block.clone(), None).unwrap();
    let mut wrong = decision.clone();
    wrong.signatures[0].signature.0[0] ^= 1;
    let refusal = validator.commit(accepted.clone(), wrong).unwrap_err();
    assert!(matches!(refusal, NodeError::Commit(CommitRejection::BadSignature { .. })), "{refusal}");
    validator.commit(accepted, decision.clone()).unwrap();
    proposer.commit(candidate, decision).unwrap();
    assert_eq!(proposer.header(), validator.header());
    // A block that holds what is not admitted, with a header that says so truthfully, is refused all the same.
    let mut forged = validator.propose(6_000, us, vec![sign(3, 1)]).unwrap().block().clone();
    forged.transactions[0].signature.0[0] ^= 1;
    assert!(validator.validate(forged, None).is_err());
    // The second block carries the decision for the first, and no other.
    let next = validator.propose(6_000, us, vec![]).unwrap().block().clone();
    let misplaced = validator.validate(Block { commit: None, ..next.clone() }, None).unwrap_err();
    assert!(matches!(misplaced, InvalidBlock::CommitMisplaced { .. }));
    let mut stolen = next.clone();
    stolen.commit.as_mut().unwrap().signatures.clear();
    assert!(matches!(validator.validate(stolen, None), Err(InvalidBlock::Commit(_))));
    assert!(validator.validate(next, None).is_ok());
}

#[test]
fn waiting_ends_with_the_block_or_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path(), NodeOptions::default());
    let handle = node.handle();
    let timeout = handle.wait_for_height(Epoch(1), Duration::from_millis(1)).unwrap_err();
    assert_eq!(timeout.height, Epoch(0));
    let id = handle.submit_command(&Story::key(1), transfer(5)).unwrap();
    assert_eq!(handle.wait_for_receipt(&id, Duration::from_millis(1)).unwrap(), None);
    let waiter = std::thread::spawn({
        let handle = handle.clone();
        move || handle.wait_for_receipt(&id, Duration::from_secs(60)).unwrap()
    });
    node.produce_block(2_000).unwrap();
    assert_eq!(waiter.join().unwrap().unwrap().epoch, Epoch(1));
    assert!(handle.wait_for_height(Epoch(1), Duration::ZERO).is_ok());
}

#[test]
fn runs_until_told_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions { block_interval: Duration::from_millis(2), ..NodeOptions::default() };
    let node = open(dir.path(), options);
    let handle = node.handle();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(async move {
        node.run(async {
            let _ = stopped.await;
        })
        .await
    });
    handle.wait_for_height(Epoch(3), Duration::from_secs(60)).unwrap();
    let id = handle.submit_command(&Story::key(2), transfer(1)).unwrap();
    assert!(handle.wait_for_receipt(&id, Duration::from_secs(60)).unwrap().is_some());
    stop.send(()).unwrap();
    runtime.block_on(running).unwrap().unwrap();
    assert_eq!(handle.stopped(), None);
}

#[test]
fn a_verifier_that_panics_stops_the_node_and_says_so() {
    struct Panics;
    impl cairn_ledger::ProofVerifier for Panics {
        fn comm_d(
            &self,
            _: cairn_protocol::SectorSize,
            _: &[cairn_protocol::PieceInfo],
        ) -> Result<cairn_protocol::CommD, cairn_ledger::ProofRejection> {
            panic!("comm_d")
        }
        fn verify_porep(&self, _: &cairn_ledger::PorepStatement, _: &[u8]) -> Result<(), cairn_ledger::ProofRejection> {
            panic!("porep")
        }
        fn verify_window_post(
            &self,
            _: &cairn_ledger::WindowPostStatement,
            _: &[u8],
        ) -> Result<(), cairn_ledger::ProofRejection> {
            panic!("post")
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let node = LedgerNode::open(dir.path(), &genesis(), NodeOptions::default(), Arc::new(Panics)).unwrap();
    let handle = node.handle();
    let key = Story::key(1);
    let register = Command::RegisterProvider {
        sector_size: cairn_protocol::SectorSize::KIB2,
        collateral: handle.state().params().collateral_min,
        endpoint: "http://p/".to_owned(),
    };
    handle.submit_command(&key, register).unwrap();
    node.produce_block(1_000).unwrap();
    let (provider, _) = handle.state().providers().next().map(|(id, p)| (id, p.owner)).unwrap();
    let epoch = handle.head().height;
    let life = handle.state().params().sector_epochs_min(1_000);
    handle
        .submit_command(
            &key,
            Command::PreCommit(cairn_ledger::PreCommit {
                provider,
                sector: cairn_protocol::SectorNumber(1),
                seal_proof: cairn_protocol::SealProof::V1_1,
                comm_r: cairn_protocol::CommR([1; 32]),
                comm_d: cairn_protocol::CommD([1; 32]),
                ticket_epoch: epoch,
                expiration: Epoch(epoch.0 + life + 10),
                deals: vec![],
            }),
        )
        .unwrap();
    for time in 0..7 {
        node.produce_block(2_000 + time).unwrap();
    }
    let sector = cairn_protocol::SectorNumber(1);
    handle.submit_command(&key, Command::ProveCommit { provider, sector, pieces: vec![], proof: vec![] }).unwrap();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| node.produce_block(9_000))).is_err());
    assert!(matches!(node.produce_block(9_000), Err(NodeError::Production { .. })));
    assert!(matches!(handle.submit_command(&key, transfer(1)), Err(SubmitRejection::Stopped { .. })));
}

/// A second validator with one vote of eleven, whose key the test has.
fn with_a_liar() -> (Genesis, SigningKey) {
    let liar = Story::key(7);
    let mut genesis = genesis();
    genesis.validators[0].stake = Amount(10_000_000);
    genesis.validators.push(GenesisValidator { address: address_of(&liar), stake: Amount(1_000_000) });
    (genesis, liar)
}

/// Its liar's stake is free after four blocks.
#[test]
fn evidence_waits_on_disk_until_it_is_in_a_block_or_too_old() {
    let (mut genesis, liar) = with_a_liar();
    genesis.params.stake.unbonding_epochs = 4;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open =
        |n: usize| Chain::open(dirs[n].path(), &genesis, ChainOptions::default(), Arc::new(HashVerifier)).unwrap();
    let key = development_validator_key(&[3; 32], 0);
    let made = |maker: &Chain, time_ms| {
        let candidate = maker.propose(time_ms, address_of(&key), vec![]).unwrap();
        let commit = decide_alone(&key, &candidate.block().header);
        (candidate.block().clone(), commit)
    };
    let take = |chain: &mut Chain, (block, commit): (Block, Commit)| {
        chain.commit(chain.validate(block, None).unwrap(), commit).unwrap();
    };
    let waiting = |chain: &Chain| chain.pending_evidence().cloned().collect::<Vec<_>>();
    let evidence = double_vote(&genesis.chain(), &liar, 1);
    let first = made(&open(0), 2_000);
    for n in 0..3 {
        let mut chain = open(n);
        take(&mut chain, first.clone());
        if n > 0 {
            chain.note_evidence([evidence.clone()]).unwrap();
        }
    }
    // One knows nothing and makes the blocks, until the evidence of another is too old.
    let (mut ignorant, mut witness) = (open(0), open(1));
    assert_eq!(waiting(&witness), std::slice::from_ref(&evidence), "it survived");
    for time_ms in 3..7 {
        assert_eq!(waiting(&witness).len(), 1);
        let block = made(&ignorant, time_ms * 1_000);
        take(&mut ignorant, block.clone());
        take(&mut witness, block);
    }
    drop(witness);
    assert!(waiting(&open(1)).is_empty(), "and is gone when it is of no use");
    // A third comes back in time, and names it.
    let mut maker = open(2);
    let block = made(&maker, 3_000);
    assert_eq!(block.0.evidence, [evidence]);
    take(&mut maker, block);
    drop(maker);
    assert!(waiting(&open(2)).is_empty(), "a block has it now");
}

#[test]
fn evidence_slashes_once_and_forged_evidence_makes_a_block_invalid() {
    let (genesis, liar) = with_a_liar();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open = |dir: &Path| Chain::open(dir, &genesis, ChainOptions::default(), Arc::new(HashVerifier)).unwrap();
    let (mut proposer, mut validator) = (open(dirs[0].path()), open(dirs[1].path()));
    let key = development_validator_key(&[3; 32], 0);
    let us = address_of(&key);
    let step = |proposer: &mut Chain, validator: &mut Chain, time_ms| {
        let block = proposer.propose(time_ms, us, vec![]).unwrap();
        let commit = decide_alone(&key, &block.block().header);
        validator.commit(validator.validate(block.block().clone(), None).unwrap(), commit.clone()).unwrap();
        proposer.commit(block.clone(), commit).unwrap();
        block
    };
    step(&mut proposer, &mut validator, 2_000);
    let chain = genesis.chain();
    let (evidence, future) = (double_vote(&chain, &liar, 1), double_vote(&chain, &liar, 9));
    let strange = double_vote(&chain, &Story::key(8), 1);
    proposer.note_evidence([evidence.clone(), future.clone(), strange.clone(), evidence.clone()]).unwrap();
    let honest = proposer.propose(3_000, us, vec![]).unwrap();
    assert_eq!(honest.block().evidence, std::slice::from_ref(&evidence), "what shows something now, once");
    assert!(matches!(honest.outcome().events[0], Event::Slashed { burnt: Amount(50_000), .. }));

    let refused = |evidence: Vec<Evidence>| {
        let mut block = honest.block().clone();
        block.header.evidence_root = crate::evidence::evidence_root(&evidence);
        block.evidence = evidence;
        match validator.validate(block, None).unwrap_err() {
            InvalidBlock::Evidence { rejection, .. } => rejection,
            other => panic!("{other}"),
        }
    };
    let mut forged = evidence.clone();
    if let Evidence::Votes { statements, .. } = &mut forged {
        statements[1].signature.0[3] ^= 1;
    }
    assert!(matches!(refused(vec![forged]), EvidenceRejection::BadSignature { index: 1, .. }));
    assert!(matches!(refused(vec![future]), EvidenceRejection::Slash(SlashRejection::Future { .. })));
    assert!(matches!(refused(vec![strange]), EvidenceRejection::Slash(SlashRejection::NoStake { .. })));
    assert!(matches!(refused(vec![evidence.clone(), evidence.clone()]), EvidenceRejection::NotAscending { .. }));
    let unnamed = Block { evidence: vec![], ..honest.block().clone() };
    let field = validator.validate(unnamed, None).unwrap_err();
    assert!(matches!(field, InvalidBlock::WrongHeader { field: "evidence_root", .. }), "{field}");

    step(&mut proposer, &mut validator, 3_000);
    assert!(proposer.validators().get(&address_of(&liar)).is_none(), "the vote is gone with the next block");
    proposer.note_evidence([evidence.clone()]).unwrap();
    let again = proposer.propose(4_000, us, vec![]).unwrap();
    assert!(again.block().evidence.is_empty());
    let mut repeated = again.block().clone();
    repeated.evidence = vec![evidence];
    let repeated = validator.validate(repeated, None).unwrap_err();
    let slash = |rejection| matches!(rejection, EvidenceRejection::Slash(SlashRejection::Repeated { .. }));
    assert!(matches!(repeated, InvalidBlock::Evidence { rejection, .. } if slash(rejection.clone())));
}

#[test]
fn a_network_with_drand_makes_blocks_of_recorded_rounds_alone() {
    let path = cairn_fixtures::fixtures_dir().join("vectors/published/drand-quicknet.json");
    let rounds = Arc::new(RecordedRounds::from_json(&std::fs::read_to_string(path).unwrap()).unwrap());
    let network = DrandNetwork::quicknet();
    let time_of = |round: u64| (network.genesis_time_s + (round - 1) * network.period_s + crate::drand::LAG_S) * 1_000;

    let key = Story::key(9);
    let mut genesis = genesis();
    genesis.network = crate::genesis::Network::Production;
    genesis.beacon = BeaconConfig::Drand(network.clone());
    genesis.validators[0].address = address_of(&key);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open = |dir: &Path, rounds: Option<Arc<dyn DrandSource>>| {
        let options = ChainOptions { rounds, ..ChainOptions::default() };
        Chain::open(dir, &genesis, options, Arc::new(HashVerifier)).unwrap()
    };
    let mut proposer = open(dirs[0].path(), Some(rounds));
    let validator = open(dirs[1].path(), None);
    let us = address_of(&key);
    let first = proposer.propose(time_of(1_000), us, vec![]).unwrap();
    assert_eq!(first.block().drand.unwrap().round, 1_000);
    // Who has no rounds checks them all the same, and makes no block.
    assert!(validator.validate(first.block().clone(), None).is_ok());
    let none = validator.propose(time_of(1_000), us, vec![]).unwrap_err();
    assert!(matches!(none, ProposeError::Beacon(DrandError::Unavailable { round: 1_000, .. })), "{none}");
    let refused = |change: fn(&mut Block)| {
        let mut block = first.block().clone();
        change(&mut block);
        match validator.validate(block, None).unwrap_err() {
            InvalidBlock::Beacon { rejection, .. } => rejection,
            other => panic!("{other}"),
        }
    };
    assert!(matches!(refused(|block| block.drand = None), BeaconRejection::Misplaced { .. }));
    assert!(matches!(refused(|block| block.header.time_ms += 3_000), BeaconRejection::Drand(_)));
    assert!(matches!(refused(|block| block.drand.as_mut().unwrap().signature[5] ^= 1), BeaconRejection::Drand(_)));
    let commit = decide_alone(&key, &first.block().header);
    proposer.commit(first.clone(), commit).unwrap();
    let second = proposer.propose(time_of(1_001), us, vec![]).unwrap();
    assert_ne!(first.block().header.beacon, second.block().header.beacon);
    assert!(matches!(proposer.propose(time_of(1_003), us, vec![]), Err(ProposeError::Beacon(_))));
}

#[test]
fn who_has_peers_listens_where_they_can_be() {
    let address = |listen: Option<&str>, peers: &[&str]| {
        let parse = |text: &str| text.parse().unwrap();
        let peers = peers.iter().map(|peer| parse(peer)).collect();
        NetworkOptions { listen: listen.map(parse), peers }.listen_address().to_string()
    };
    assert_eq!(address(Some("10.0.0.1:7000"), &["10.0.0.2:7000"]), "10.0.0.1:7000");
    assert_eq!(address(None, &["127.0.0.1:7000", "127.0.0.2:7000"]), "127.0.0.1:0");
    assert_eq!(address(None, &["127.0.0.1:7000", "10.0.0.2:7000"]), "0.0.0.0:0");
    assert_eq!(address(None, &["[::1]:7000"]), "[::1]:0");
    assert_eq!(address(None, &["[2001:db8::1]:7000"]), "[::]:0");
}
