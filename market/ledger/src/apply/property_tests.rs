//! Random lives: whatever is asked, money is conserved, promises hold, and a replay gives the same roots.
//!
//! `Network::block` checks the invariants and the stored changes after every block.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::{Amount, CommD, Epoch, PieceInfo, ProviderId, SectorNumber, SectorSize};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::Checking;
use crate::economy::CheckerParams;
use crate::emission::EmissionParams;
use crate::payments::VestingRule;
use crate::scores::ballot::{Opinions, Phase, RoundCalendar};
use crate::testing::{Action, HashVerifier, Network, SALT, arb_action, owner_account};
use crate::*;

/// Everything runs out quickly, and the queue is tight enough to fall behind.
fn params() -> LedgerParams {
    LedgerParams {
        epochs_per_deadline: 1,
        post_challenge_lead: 6,
        prove_commit_window: 30,
        ticket_age_max: 60,
        beacon_window: 100,
        bid_window: 3,
        activation_window: 60,
        record_retention: 40,
        channel_settle_delay: 20,
        deal_epochs_min: 48,
        fault_periods_max: 3,
        queue_weight_per_block: 4,
        stake: StakeParams { unbonding_epochs: 48, slash_permille: 50 },
        economy: economy(),
        serving: ServingRules::within(25),
        jobs: JobParams { bid_window: 2, attempts_max: 2, bids_max: 3, ..JobParams::devnet() },
        ..LedgerParams::devnet()
    }
}

/// Rounds of a few epochs, groups of two providers, fewer seats than accounts.
fn economy() -> EconomyParams {
    let checkers = CheckerParams { checkers_max: 3, exit_epochs: 10, ..EconomyParams::devnet().checkers };
    EconomyParams {
        rounds: RoundCalendar { round_epochs: 9, commit_epochs: 2, reveal_epochs: 3, open_epochs: 2 },
        emission: EmissionParams { settlement_burn_bp: 200, service_match_bp: 200, ..EconomyParams::devnet().emission },
        vesting: VestingRule { free_bp: 2_500, duration_epochs: 30, bucket_epochs: 7 },
        checkers: CheckerParams { stake_min: Amount(1), ..checkers },
        group_providers: 2,
        reward_rounds_kept: 3,
        sector_rails_max: 2,
        ..EconomyParams::devnet()
    }
}

/// What account `n` hands in next: it always says the same of everybody.
fn vote(network: &Network, n: u8) -> Option<CheckCommand> {
    let (next, rounds) = (Epoch(network.state.epoch().0 + 1), network.state.params().economy.rounds);
    let levels = network.state.providers().map(|(provider, _)| (provider, u16::from(n) * 10_000)).take(8).collect();
    let opinions =
        Opinions { round: rounds.round_at(next).checked_sub(1)?, levels, receipts_root: [0; 32], receipts: 0 };
    match rounds.phase_at(next) {
        Phase::Commit => {
            let commitment = opinions.commitment(network.state.chain(), Network::address(n), &SALT);
            Some(CheckCommand::Commit { commitment })
        }
        Phase::Reveal => Some(CheckCommand::Reveal { opinions, salt: SALT }),
        Phase::Open | Phase::Quiet => None,
    }
}

/// The transactions of an action; those that need what is not there become nothing.
fn transactions(network: &Network, action: &Action) -> Vec<SignedTransaction> {
    match action {
        Action::Command(n, command) => vec![network.transaction(*n, 0, command.clone())],
        Action::Bid(provider, price, sealed) => {
            let open: Vec<OrderId> = network.state.open_orders().map(|(order, _)| order).collect();
            bids(network, *provider, &open, |order| {
                let bid = SealedBid { order, provider: *provider, price_per_epoch: *price };
                let owner = Network::address(owner_account(*provider));
                let commitment = bid.commitment(network.state.chain(), owner, &SALT);
                match sealed {
                    true => Command::CommitBid { provider: *provider, order, commitment },
                    false => Command::PlaceBid { provider: *provider, order, price_per_epoch: *price },
                }
            })
        }
        Action::Reveal(provider, price) => {
            let sealed = |order: &OrderId| {
                network.state.bid(*order, *provider).is_some_and(|bid| matches!(bid.status, BidStatus::Sealed { .. }))
            };
            let open: Vec<OrderId> = network.state.open_orders().map(|(order, _)| order).filter(sealed).collect();
            let (provider, price_per_epoch, salt) = (*provider, *price, SALT);
            bids(network, provider, &open, |order| Command::RevealBid { provider, order, price_per_epoch, salt })
        }
        Action::PreCommit(n, provider, sector) if network.state.provider(*provider).is_some() => {
            let size = network.state.provider(*provider).map(|p| p.sector_size.bytes()).unwrap_or(0);
            let mut room = size;
            let waiting = network.state.deals_of(*provider).filter(|(_, deal)| {
                let fits = matches!(deal.status, DealStatus::Assigned { .. }) && deal.piece.piece.size.0 <= room;
                room -= if fits { deal.piece.piece.size.0 } else { 0 };
                fits
            });
            let deals: Vec<DealId> = waiting.map(|(id, _)| id).collect();
            let pre_commit = network.pre_commit(*provider, *sector, &deals);
            vec![network.transaction(*n, 0, Command::PreCommit(pre_commit))]
        }
        Action::ProveCommit(n, provider, sector) => {
            match network.state.porep_statement(*provider, SectorNumber(*sector)) {
                Some(_) => {
                    let deals = network.state.sector(*provider, SectorNumber(*sector)).unwrap().deals.clone();
                    vec![network.transaction(*n, 0, network.prove_commit(*provider, *sector, &deals))]
                }
                None => Vec::new(),
            }
        }
        Action::Prove(n, provider) => all_of(network, *n, network.open_posts(*provider, &[])),
        Action::ProveWithout(provider, sector) => {
            all_of(network, owner_account(*provider), network.open_posts(*provider, &[SectorNumber(*sector)]))
        }
        Action::Work(provider, _, price) => chores(network, *provider, *price),
        Action::WorkAll(_) => {
            let all = network.state.providers().map(|(provider, _)| provider);
            all.flat_map(|provider| chores(network, provider, 1 + provider.0 % 3)).collect()
        }
        Action::DropDeals(provider) => {
            let holding =
                network.state.sectors_of(*provider).find(|(_, s)| s.proving().is_some() && !s.deals.is_empty());
            let drop =
                |(sector, _)| Command::Sector(SectorCommand::Terminate { provider: *provider, sectors: vec![sector] });
            all_of(network, owner_account(*provider), holding.map(drop).into_iter().collect())
        }
        Action::CancelNewest => {
            let newest = network.state.open_orders().last().map(|(order, _)| Command::CancelOrder { order });
            all_of(network, 1, newest.into_iter().collect())
        }
        Action::Stream(n, provider, rate) => {
            let Some(owner) = network.state.provider(*provider).map(|found| found.owner) else { return Vec::new() };
            let mut live = network.state.sectors_of(*provider).filter(|(_, sector)| sector.proving().is_some());
            let sector = live.next().map(|(sector, _)| RailTarget::Sector { provider: *provider, sector });
            let (target, account) = (sector.unwrap_or(RailTarget::Nothing), Network::address(*n));
            let amount = rate.checked_mul(60).expect("small");
            let (rate, lockup_period, lockup_fixed) = (*rate, 20, Amount(7));
            let open = RailCommand::Open { payee: owner, rate, lockup_period, lockup_fixed, target };
            let commands = [RailCommand::Deposit { account, amount }, open].into_iter().map(Command::Rail);
            commands.zip(0..).map(|(command, ahead)| network.transaction(*n, ahead, command)).collect()
        }
        Action::Vote(n) => {
            let command = vote(network, *n).map(Command::Check);
            command.map(|command| network.transaction(*n, 0, command)).into_iter().collect()
        }
        Action::Job(n, action) => {
            let commands = action.commands(network, *n).into_iter().enumerate();
            commands.map(|(ahead, command)| network.transaction(*n, ahead as u64, command)).collect()
        }
        Action::PreCommit(..) | Action::Wait(_) => Vec::new(),
    }
}

/// One transaction of account `n` for each command.
fn all_of(network: &Network, n: u8, commands: Vec<Command>) -> Vec<SignedTransaction> {
    let numbered = commands.into_iter().enumerate();
    numbered.map(|(ahead, command)| network.transaction(n, ahead as u64, command)).collect()
}

/// What a diligent owner does; nothing if it has no key of the network's start, or owns a provider before this one.
fn chores(network: &Network, provider: ProviderId, price: u64) -> Vec<SignedTransaction> {
    let owner = owner_account(provider);
    match network.state.provider(provider) {
        Some(record) if record.owner == Network::address(owner) => {
            all_of(network, owner, network.chores(provider, price))
        }
        _ => Vec::new(),
    }
}

/// One transaction of the provider's owner for each of the orders.
fn bids(
    network: &Network,
    provider: ProviderId,
    orders: &[OrderId],
    command: impl Fn(OrderId) -> Command,
) -> Vec<SignedTransaction> {
    let owner = owner_account(provider);
    let commands = orders.iter().map(|order| command(*order)).enumerate();
    commands.map(|(ahead, command)| network.transaction(owner, ahead as u64, command)).collect()
}

/// Accounts 2 to 4 are providers, there is an order with a bid, and account 1 orders.
fn started() -> Network {
    let mut network = Network::new(params(), 4);
    for n in 2..5 {
        network.register(n);
    }
    network
}

/// A verifier that counts how it is asked.
#[derive(Default)]
struct Counting {
    alone: Cell<usize>,
    together: Cell<usize>,
}

impl ProofVerifier for Counting {
    fn comm_d(&self, size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, ProofRejection> {
        HashVerifier.comm_d(size, pieces)
    }

    fn verify_porep(&self, statement: &PorepStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.alone.set(self.alone.get() + 1);
        HashVerifier.verify_porep(statement, proof)
    }

    fn verify_window_post(&self, statement: &WindowPostStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.alone.set(self.alone.get() + 1);
        HashVerifier.verify_window_post(statement, proof)
    }

    fn verify_sector_update(&self, statement: &SectorUpdateStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.alone.set(self.alone.get() + 1);
        HashVerifier.verify_sector_update(statement, proof)
    }

    fn verify_batch(&self, claims: &[ProofClaim<'_>]) -> Vec<Result<(), ProofRejection>> {
        self.together.set(self.together.get() + claims.len());
        HashVerifier.verify_batch(claims)
    }
}

/// The action with the provider's owner as its sender: proofs of strangers are not looked at.
fn by_owner(action: &Action) -> Action {
    let owner = |provider: &ProviderId| (provider.0 - 1_000) as u8 + 2;
    match action.clone() {
        Action::PreCommit(_, provider, sector) => Action::PreCommit(owner(&provider), provider, sector),
        Action::ProveCommit(_, provider, sector) => Action::ProveCommit(owner(&provider), provider, sector),
        Action::Prove(_, provider) => Action::Prove(owner(&provider), provider),
        other => other,
    }
}

/// What each account asks in one block, nonces in order, a byte of every `flaw`-th proof flipped.
fn crowded_block(network: &Network, actions: &[Action], flaw: usize) -> Vec<SignedTransaction> {
    let mut sent: BTreeMap<Address, (u8, u64)> = BTreeMap::new();
    let mut proofs = 0;
    let asked = actions.iter().flat_map(|action| transactions(network, &by_owner(action))).map(|signed| {
        let n = (1..6).find(|n| Network::address(*n) == signed.transaction.sender).expect("one of five accounts");
        let ahead = &mut sent.entry(signed.transaction.sender).or_insert((n, 0)).1;
        let mut command = signed.transaction.command;
        if let Command::ProveCommit { proof, .. }
        | Command::SubmitWindowPost { proof, .. }
        | Command::Sector(SectorCommand::Update(SectorUpdate { proof, .. }))
        | Command::Job(JobCommand::Submit { proof, .. }) = &mut command
        {
            proofs += 1;
            if let (0, Some(byte)) = (proofs % flaw, proof.first_mut()) {
                *byte ^= 1;
            }
        }
        *ahead += 1;
        network.transaction(n, *ahead - 1, command)
    });
    asked.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Blocks in which proofs, wrong proofs, second proofs, declarations and terminations meet do the same whether the
    /// proofs are checked together or each at its turn.
    #[test]
    fn proofs_checked_together_are_proofs_checked_one_by_one(
        blocks in prop::collection::vec((prop::collection::vec(arb_action(&params()), 0..12), 2usize..6, 0u8..12), 1..20),
    ) {
        let mut network = started();
        for (actions, flaw, pause) in &blocks {
            let block = crowded_block(&network, actions, *flaw);
            let context = network.next_context();
            let mut one_by_one = network.state.clone();
            let expected = one_by_one.apply_checking(&context, &block, &HashVerifier, Checking::OneByOne).unwrap();
            let got = network.block(&block);
            prop_assert_eq!(got, expected);
            for _ in 0..*pause {
                network.block(&[]);
            }
        }
    }

}

/// A life, block by block: contexts, transactions and roots.
type Blocks = Vec<(BlockContext, Vec<SignedTransaction>, StateRoot)>;

fn live(network: &mut Network, actions: &[Action]) -> Blocks {
    let mut blocks = Blocks::new();
    for action in actions {
        let count = match action {
            Action::Wait(epochs) | Action::Work(_, epochs, _) | Action::WorkAll(epochs) => *epochs,
            _ => 1,
        };
        for _ in 0..count {
            let (context, transactions) = (network.next_context(), transactions(network, action));
            let outcome = network.block(&transactions);
            blocks.push((context, transactions, outcome.state_root));
        }
    }
    blocks
}

/// The same blocks give the same roots, also to one who goes on from what a store or a snapshot holds.
fn replay(mut state: State, blocks: &Blocks) {
    for (index, (context, transactions, root)) in blocks.iter().enumerate() {
        if index == blocks.len() / 2 {
            state = codec::decode_strict(&codec::encode(&state), usize::MAX).unwrap();
        }
        let outcome = state.apply_block(context, transactions, &HashVerifier).unwrap();
        assert_eq!(outcome.state_root, *root);
    }
}

/// Nobody does anything any more, but that payers close their channels. Everything ends, and every deposit is back.
fn everything_returns(mut network: Network) {
    let payers: Vec<(u8, Command)> = network
        .state
        .channels()
        .filter_map(|(channel, record)| {
            let payer = (1..6).find(|n| Network::address(*n) == record.parties().0)?;
            Some((payer, Command::StartCloseChannel { channel }))
        })
        .collect();
    for (payer, close) in payers {
        network.try_command(payer, close);
    }
    for _ in 0..20_000 {
        if network.state.queue.is_empty() {
            break;
        }
        network.state.apply_block(&network.next_context(), &[], &HashVerifier).unwrap();
    }
    network.state.check_invariants().unwrap();
    assert!(network.state.queue.is_empty(), "something never ends: {:?}", network.state.queue.first());
    let held = network.state.treasury();
    let pots = [held.escrow, held.bid_deposits, held.sector_deposits, held.channels];
    assert_eq!(pots, [Amount::ZERO; 4], "escrow, bid deposits, sector deposits, channels");
    let open: u64 = network.state.providers().map(|(_, provider)| provider.obligations).sum();
    assert_eq!(open, 0, "with nothing open, owners may take their collateral");
    let tables = (network.state.orders.len(), network.state.deals.len(), network.state.sectors.len());
    assert_eq!(
        (tables, network.state.bids.len(), network.state.partitions.len()),
        ((0, 0, 0), 0, 0),
        "all is forgotten"
    );
}

/// What an event is called, with the code if it ends something.
fn kind_of(event: &Event) -> String {
    let text = format!("{event:?}");
    let end = |text: &str| text.find([' ', '{']).unwrap_or(text.len());
    let name = match text.split_once('(') {
        // Of an event with an area of its own, what happened there.
        Some((area, rest)) if !area.contains(' ') => format!("{area}::{}", &rest[..end(rest)]),
        _ => text[..end(&text)].to_owned(),
    };
    match text.find("closure: Closure { code: ") {
        Some(at) => format!("{name} {}", &text[at + 25..at + 28]),
        None => name,
    }
}

/// Everything that can happen to an order, a bid, a deal or a sector, and in how many of the lives it must at least. What
/// is printed is several times as much.
const REACHED: [(&str, u32); 29] = [
    ("BidPlaced", 10),
    ("BidSealed", 1),
    ("BidRevealed", 1),
    ("BidWon", 10),
    ("BidClosed 201", 4),
    ("BidClosed 203", 6),
    ("BidClosed 204", 3),
    ("OrderPlaced", 12),
    ("OrderMatched", 10),
    ("OrderClosed 101", 7),
    ("DealAssigned", 10),
    ("DealActivated", 6),
    ("DealSettled", 3),
    ("DealReplaced", 3),
    ("DealClosed 301", 3),
    ("DealClosed 302", 3),
    ("SectorPreCommitted", 20),
    ("SectorActivated", 20),
    ("WindowPostAccepted", 20),
    ("SectorFaulted", 12),
    ("RecoveryDeclared", 12),
    ("SectorRecovered", 10),
    ("SectorClosed 402", 3),
    ("SectorClosed 403", 1),
    ("SectorClosed 405", 1),
    ("Sector::Extended", 2),
    ("Sector::Updated", 6),
    ("Market::AttributesSet", 10),
    ("CollateralChanged", 1),
];
/// Lives in one run.
const LIVES: u32 = 40;

/// Random lives, and how often they reach what there is to reach: a promise that is never put to the test is none. The same
/// ones every time, because rare things are counted; other lives are lived by the properties above.
#[test]
fn random_lives_keep_every_promise_and_reach_every_state() {
    let reached: RefCell<BTreeMap<String, u32>> = RefCell::default();
    let blocks = Cell::new(0);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::with_cases(LIVES), rng);
    let life = |actions: Vec<Action>| {
        let mut network = started();
        let genesis = network.state.clone();
        let lived = live(&mut network, &actions);
        replay(genesis, &lived);
        let kinds: BTreeSet<String> = network.events.iter().map(kind_of).collect();
        kinds.into_iter().for_each(|kind| *reached.borrow_mut().entry(kind).or_default() += 1);
        blocks.set(blocks.get() + lived.len());
        everything_returns(network);
        Ok(())
    };
    runner.run(&prop::collection::vec(arb_action(&params()), 1..90), life).unwrap();
    println!("{LIVES} lives of {} blocks in all reached:", blocks.get());
    let reached = reached.into_inner();
    reached.iter().for_each(|(kind, lives)| println!("{lives:5}  {kind}"));
    let rare = REACHED.iter().filter(|(kind, least)| reached.get(*kind).copied().unwrap_or(0) < *least);
    assert_eq!(rare.collect::<Vec<_>>(), [] as [&(&str, u32); 0], "reached in fewer lives than these");
}

/// A life in which everything works most of the time: two providers that order, seal, prove, fail and recover.
#[test]
fn a_busy_year_keeps_every_promise() {
    let mut network = started();
    let providers: Vec<ProviderId> = network.state.providers().map(|(id, _)| id).collect();
    let mut next_sector = [10u64; 3];
    for round in 0u64..250 {
        let mut block = Vec::new();
        if round % 9 == 0 {
            let mut terms =
                testing::order_terms(network.state.params(), vec![testing::piece(round as u8, 1 << 20)], 500);
            terms.copies = 1 + (round % 3) as u32;
            block.push(network.transaction(1, 0, Command::PlaceOrder(terms)));
        }
        for (index, &provider) in providers.iter().enumerate() {
            let n = index as u8 + 2;
            let mut ahead = 0;
            let mut push = |network: &Network, command| {
                block.push(network.transaction(n, ahead, command));
                ahead += 1;
            };
            // The first provider sleeps now and then, misses deadlines, and declares recovery when it wakes.
            let asleep = index == 0 && round % 80 > 40;
            if asleep {
                continue;
            }
            for (order, _) in network.state.open_orders() {
                let price_per_epoch = Amount(100 + index as u64);
                push(&network, Command::PlaceBid { provider, order, price_per_epoch });
            }
            let waiting: Vec<DealId> = network
                .state
                .deals_of(provider)
                .filter(|(_, deal)| matches!(deal.status, DealStatus::Assigned { .. }))
                .map(|(id, _)| id)
                .take(8)
                .collect();
            if !waiting.is_empty() {
                next_sector[index] += 1;
                push(&network, Command::PreCommit(network.pre_commit(provider, next_sector[index], &waiting)));
            }
            for (number, sector) in network.state.sectors_of(provider) {
                if matches!(sector.status, SectorStatus::PreCommitted { .. })
                    && sector.seed_epoch <= network.state.epoch()
                {
                    push(&network, network.prove_commit(provider, number.0, &sector.deals));
                }
            }
            let faulty: Vec<SectorNumber> = network.state.faulty_sectors(provider).collect();
            if !faulty.is_empty() {
                push(&network, Command::DeclareRecovery { provider, sectors: faulty });
            }
            let next = Epoch(network.state.epoch().0 + 1);
            for duty in network.state.post_duties(provider) {
                if duty.deadline.is_open_at(next) && !duty.proven && !duty.sectors.is_empty() {
                    push(&network, network.window_post(provider, &duty));
                }
            }
        }
        network.block(&block);
    }
    let count = |wanted: fn(&Event) -> bool| network.events.iter().filter(|event| wanted(event)).count();
    assert!(count(|e| matches!(e, Event::DealActivated { .. })) > 20);
    assert!(count(|e| matches!(e, Event::DealClosed { closure, .. } if closure.reason == CloseReason::Completed)) > 10);
    assert!(count(|e| matches!(e, Event::SectorFaulted { .. })) > 3);
    assert!(count(|e| matches!(e, Event::SectorRecovered { .. })) > 0);
    assert!(count(|e| matches!(e, Event::SectorClosed { .. })) > 3);
}

/// Sealed sectors and open deadlines, proven in one block each: nothing is checked alone but what a transaction before
/// it made another statement, and a second proof of the same is not looked at.
#[test]
fn the_proofs_of_a_block_are_one_batch() {
    let mut network = started();
    let providers: Vec<ProviderId> = network.state.providers().map(|(id, _)| id).take(2).collect();
    let commits: Vec<_> = providers
        .iter()
        .zip(2..)
        .map(|(provider, n)| {
            let pre_commit = network.pre_commit(*provider, 1, &[]);
            network.transaction(n, 0, Command::PreCommit(pre_commit))
        })
        .collect();
    network.block(&commits);
    let seed_epoch = network.state.sector(providers[0], SectorNumber(1)).unwrap().seed_epoch;
    network.advance_to(seed_epoch);
    let prove = |n: u8, ahead| network.transaction(n, ahead, network.prove_commit(providers[n as usize - 2], 1, &[]));
    let block = [prove(2, 0), prove(3, 0), prove(2, 1)];

    let verifier = Counting::default();
    let mut state = network.state.clone();
    let outcome = state.apply_block(&network.next_context(), &block, &verifier).unwrap();
    assert_eq!((verifier.together.get(), verifier.alone.get()), (2, 0));
    assert_eq!([&outcome.receipts[0].outcome, &outcome.receipts[1].outcome], [&Outcome::Applied; 2]);
    assert!(matches!(&outcome.receipts[2].outcome, Outcome::Failed(Rejection::NotPreCommitted { .. })));

    // A stranger's copy of a proof costs no check, and does not stand in the way of the owner's.
    let stranger = network.transaction(4, 0, network.prove_commit(providers[0], 1, &[]));
    let verifier = Counting::default();
    let mut state = network.state.clone();
    let outcome = state.apply_block(&network.next_context(), &[stranger, prove(2, 0)], &verifier).unwrap();
    assert_eq!((verifier.together.get(), verifier.alone.get()), (1, 0));
    assert!(matches!(&outcome.receipts[0].outcome, Outcome::Failed(Rejection::NotOwner { .. })));
    assert_eq!(outcome.receipts[1].outcome, Outcome::Applied);

    // The first of two is wrong: the second is checked at its turn.
    let Command::ProveCommit { provider, sector, pieces, .. } = network.prove_commit(providers[0], 1, &[]) else {
        unreachable!("a prove-commit")
    };
    let wrong = network.transaction(2, 0, Command::ProveCommit { provider, sector, pieces, proof: vec![1] });
    let verifier = Counting::default();
    let outcome = network.state.clone().apply_block(&network.next_context(), &[wrong, prove(2, 1)], &verifier).unwrap();
    assert_eq!((verifier.together.get(), verifier.alone.get()), (1, 1));
    assert!(matches!(&outcome.receipts[0].outcome, Outcome::Failed(Rejection::Proof(_))));
    assert_eq!(outcome.receipts[1].outcome, Outcome::Applied);
}
