//! Rails, rewards, scores and checkers are told as the ledger has them.

use cairn_ledger::scores::Fraction;
use cairn_ledger::scores::ballot::Phase;
use cairn_ledger::scores::receipts::SignedCheckReceipt;
use cairn_ledger::testing::{Network as Story, PieceTree};
use cairn_ledger::{Attributes, CheckCommand, Command, Event, MarketCommand, RailCommand, RailEvent, RailTarget, Salt};
use cairn_protocol::{Amount, Epoch, ProviderId};
use cairn_rpc::client::{ClientError, RailFilter};
use cairn_rpc::wire::{AuditState, BallotState, Digest, RailState, Refutation, RoundPhase};
use cairn_rpc::{RpcClient, ServerOptions};

use crate::support::{Ledger, Served};

fn collect<T>(pages: impl Iterator<Item = Result<T, ClientError>>) -> Vec<T> {
    pages.collect::<Result<_, _>>().unwrap()
}

fn open_rail(ledger: &Ledger, payer: u8, payee: u8) -> u64 {
    let command = RailCommand::Open {
        payee: Story::address(payee),
        rate: Amount(10),
        lockup_period: 5,
        lockup_fixed: Amount(100),
        target: RailTarget::Nothing,
    };
    match ledger.command(payer, Command::Rail(command)).1.as_slice() {
        [Event::Rail(RailEvent::Opened { rail, .. })] => rail.0,
        other => panic!("expected a rail, got {other:?}"),
    }
}

#[test]
fn rails_are_told_with_what_is_settled_and_funded() {
    let served = Served::new(Ledger::new(1_000), ServerOptions { page_max: 1, ..ServerOptions::default() });
    let (ledger, client) = (&served.ledger, served.client());
    let (payer, payee) = (Story::address(1), Story::address(3));
    assert_eq!(client.rail_account(&payer).unwrap().funded_until, None);
    ledger.command(1, Command::Rail(RailCommand::Deposit { account: payer, amount: Amount(1_000) }));
    let rail = open_rail(ledger, 1, 3);
    let opened = ledger.handle().head().height;
    // 850 are free, for ten an epoch.
    let told = client.rail(rail).unwrap().unwrap();
    assert_eq!((told.state, told.settled_until, told.unsettled), (RailState::Streaming, opened, Amount(0)));
    assert_eq!((told.funded_until, told.ends_at), (Some(Epoch(opened.0 + 85)), None));
    ledger.blocks_until(Epoch(opened.0 + 3));
    assert_eq!(client.rail(rail).unwrap().unwrap().unsettled, Amount(30));
    let account = client.rail_account(&payer).unwrap();
    assert_eq!((account.funds, account.lockup, account.free), (Amount(1_000), Amount(180), Amount(820)));
    assert_eq!(account.funded_until, told.funded_until, "no touch and no block moves it");

    let settle = RailCommand::Settle { rail: cairn_ledger::payments::RailId(rail) };
    ledger.command(4, Command::Rail(settle));
    let told = client.rail(rail).unwrap().unwrap();
    assert_eq!((told.settled_until, told.unsettled), (Epoch(opened.0 + 4), Amount(0)));
    assert_eq!(client.rail_account(&payee).unwrap().funds, Amount(40));

    ledger.command(2, Command::Rail(RailCommand::Deposit { account: Story::address(2), amount: Amount(1_000) }));
    let second = open_rail(ledger, 2, 3);
    ledger.command(2, Command::Rail(RailCommand::Terminate { rail: cairn_ledger::payments::RailId(second) }));
    let ids = |filter: RailFilter| collect(client.rails(&filter)).iter().map(|rail| rail.id.0).collect::<Vec<_>>();
    assert_eq!(ids(RailFilter::default()), [rail, second]);
    assert_eq!(ids(RailFilter { payer: Some(Story::address(2)), payee: None }), [second]);
    assert_eq!(ids(RailFilter { payer: None, payee: Some(payee) }), [rail, second]);
    assert_eq!(ids(RailFilter { payer: None, payee: Some(payer) }), [0u64; 0]);
    let told = client.rail(second).unwrap().unwrap();
    assert_eq!((told.state, told.funded_until), (RailState::Ending, None));
    ledger.blocks_until(Epoch(told.ends_at.unwrap().0 + 1));
    assert_eq!(client.rail(second).unwrap(), None, "what is over is forgotten");
}

#[test]
fn wrong_bytes_are_told_group_by_group() {
    let served = Served::new(Ledger::new(1_000), ServerOptions { page_max: 1, ..ServerOptions::default() });
    let (ledger, client) = (&served.ledger, served.client());
    let (provider, tree) = (ledger.provider(2), PieceTree::new(1, 2));
    assert!(collect(client.wrong_bytes(provider)).is_empty());
    let before = client.provider(provider).unwrap().unwrap().collateral;
    for group in [2, 0] {
        let said = tree.served_wrong(provider, group, ledger.handle().head().height);
        let evidence = tree.evidence(said.sign(ledger.chain(), &Story::key(2)));
        ledger.command(3, Command::ReportWrongBytes(Box::new(evidence)));
    }
    let told = collect(client.wrong_bytes(provider));
    let (piece, reporter) = (tree.info().comm_p, Story::address(3));
    assert_eq!(told.iter().map(|entry| (entry.piece, entry.group)).collect::<Vec<_>>(), [(piece, 0), (piece, 2)]);
    assert!(told.iter().all(|entry| entry.reporter == reporter) && told[1].taken == Amount(before.0 / 10));
    let after = client.provider(provider).unwrap().unwrap();
    assert_eq!(after.collateral.0, before.0 - told[0].taken.0 - told[1].taken.0);
    assert_eq!(after.reputation, Fraction::ZERO);
    assert!(client.wrong_bytes(ProviderId(9)).next().unwrap().is_err());
}

/// Lets account 3 say of the last round what it measured, and gives its receipts.
fn vote(ledger: &Ledger, between: impl FnOnce()) -> Vec<SignedCheckReceipt> {
    let rounds = ledger.handle().state().params().economy.rounds;
    let (receipts, opinions) = ledger.measured(3);
    ledger.blocks_until(rounds.first_epoch(opinions.round + 1).unwrap());
    let (salt, address) = (Salt([7; 32]), Story::address(3));
    let commitment = opinions.commitment(ledger.chain(), address, &salt);
    ledger.command(3, Command::Check(CheckCommand::Commit { commitment }));
    between();
    while rounds.phase_at(Epoch(ledger.handle().head().height.0 + 1)) != Phase::Reveal {
        ledger.block();
    }
    ledger.command(3, Command::Check(CheckCommand::Reveal { opinions, salt }));
    receipts
}

/// Goes to the audit of what account 3 said, lets it open `receipts`, and account 4 say something else.
fn audit(ledger: &Ledger, client: &RpcClient, receipts: &[SignedCheckReceipt]) {
    let (address, round) = (Story::address(3), receipts[0].receipt.task.round);
    assert!(collect(client.audits(round)).is_empty() && client.checker(&address).unwrap().unwrap().audit.is_none());
    while ledger.handle().state().audit(round, address).is_none() {
        ledger.block();
    }
    assert_eq!(client.round().unwrap().phase, RoundPhase::Open);
    let told = client.checker(&address).unwrap().unwrap().audit.unwrap();
    let provider = receipts[0].receipt.task.provider;
    assert_eq!((told.round, told.checker, told.provider), (round, address, provider));
    assert_eq!((told.state, told.to_receipt(), told.refutations.len()), (AuditState::Waiting, None, 0));
    assert_eq!(collect(client.audits(round)), [told]);
    ledger.command(3, Command::Check(Ledger::opened(receipts)));
    let told = collect(client.audits(round)).remove(0);
    let exhibit = told.to_receipt().expect("all of them were served");
    assert_eq!(told.state, AuditState::Opened);
    assert!(receipts.iter().any(|signed| signed.receipt == exhibit));
    assert_eq!(Some(told.endpoint), ledger.handle().state().provider(provider).map(|record| record.endpoint.clone()));

    // Half of the stake is not more than half.
    let stake = ledger.handle().state().checker(&address).unwrap().stake;
    ledger.command(4, Command::Check(CheckCommand::Stake { amount: stake }));
    let content = [9; 32];
    ledger.command(4, Command::Check(CheckCommand::Refute { round, checker: address, content }));
    let told = collect(client.audits(round)).remove(0);
    assert_eq!(told.state, AuditState::Opened);
    assert_eq!(told.refutations, [Refutation { by: Story::address(4), content: Digest(content) }]);
    ledger.command(4, Command::Check(CheckCommand::Unstake { amount: stake }));
    assert!(collect(client.audits(round + 1)).is_empty());
}

#[test]
fn a_round_is_told_from_its_tasks_to_the_reputation() {
    let ledger = Ledger::of(&Ledger::genesis_of_short_rounds(), 1_000);
    // Pages of three, so that tasks come in many.
    let served = Served::new(ledger, ServerOptions { page_max: 3, ..ServerOptions::default() });
    let (ledger, client) = (&served.ledger, served.client());
    let provider = ledger.provider(2);
    let address = Story::address(3);
    let half = Fraction::of(1, 2);
    let told = client.provider(provider).unwrap().unwrap();
    assert_eq!((told.reputation, told.scored_round), (half, None));
    let score = client.score(provider).unwrap().unwrap();
    assert_eq!((score.reputation, score.quality, score.opinions.len()), (half, None, 0));
    assert!(collect(client.scores()).is_empty() && client.score(ProviderId(1)).unwrap().is_none());
    assert_eq!(client.checker(&address).unwrap(), None);
    assert!(collect(client.check_tasks(&address)).is_empty(), "no stake, no tasks");

    ledger.active_deal(2, provider);
    let stake = ledger.handle().state().params().economy.checkers.stake_min;
    ledger.command(3, Command::Check(CheckCommand::Stake { amount: stake }));
    assert!(collect(client.check_tasks(&address)).is_empty(), "it came after the round began");
    ledger.blocks_until(client.round().unwrap().ends_at);
    let state = ledger.handle().state();
    let tasks: Vec<_> = collect(client.check_tasks(&address)).iter().map(|task| task.to_task(address)).collect();
    assert_eq!(tasks, state.check_tasks(address));
    assert_eq!(tasks.len(), state.params().economy.checks.slots() as usize);
    let endpoint = collect(client.check_tasks(&address)).remove(0).endpoint;
    assert_eq!(endpoint, state.provider(provider).unwrap().endpoint);

    let receipts = vote(ledger, || {
        let ballot = client.checker(&address).unwrap().unwrap().ballot.unwrap();
        assert_eq!((ballot.state, ballot.opinions.len()), (BallotState::Committed, 0));
        assert!(ballot.commitment.is_some());
    });
    let round = client.round().unwrap();
    let checker = collect(client.checkers()).remove(0);
    let silent = ledger.handle().state().checker(&address).unwrap().silent_rounds;
    assert_eq!((checker.address, checker.stake, checker.silent_rounds), (address, stake, silent));
    let ballot = checker.ballot.unwrap();
    assert_eq!(
        (ballot.round + 1, ballot.state, ballot.opinions[0].level),
        (round.round, BallotState::Revealed, u16::MAX)
    );
    audit(ledger, &client, &receipts);
    while client.score(provider).unwrap().unwrap().round != Some(ballot.round) {
        assert!(ledger.block() < round.ends_at, "the round is scored before it ends");
    }
    let told = client.score(provider).unwrap().unwrap();
    assert_eq!((told.round, told.quality), (Some(ballot.round), Some(Fraction::ONE)));
    assert!(told.reputation > half);
    assert_eq!((told.opinions.len(), told.opinions[0].level), (1, Some(u16::MAX)));
    assert_eq!(collect(client.scores())[0].reputation, told.reputation);
    let view = client.provider(provider).unwrap().unwrap();
    assert_eq!((view.reputation, view.scored_round), (told.reputation, told.round));

    ledger.blocks_until(round.ends_at);
    let now = client.round().unwrap();
    assert_eq!((now.round, now.phase, now.scoring), (round.round + 1, RoundPhase::Commit, None));
    let rounds = collect(client.rounds());
    let state = ledger.handle().state();
    let paid = rounds.iter().find(|told| told.round == ballot.round).unwrap();
    assert!(paid.scored && paid.checkers.left < paid.checkers.amount, "{paid:?}");
    assert_eq!((now.minted, now.not_minted), state.emitted());
    let rewards = client.rewards(&address).unwrap();
    assert_eq!((rewards.locked, rewards.vested), (state.vesting(&address).locked(), state.vested(&address)));
    assert!(rewards.locked.0 > 0);
    let waiting = client.provider_rewards(provider).unwrap().unwrap();
    assert_eq!((waiting.space_round, waiting.space), state.provider_rewards(provider).space);
    ledger.command(3, Command::Check(CheckCommand::Unstake { amount: stake }));
    let left = client.checker(&address).unwrap().unwrap();
    assert_eq!((left.stake, left.leaving[0].amount), (Amount(0), stake));
    assert!(collect(client.checkers()).is_empty());
}

#[test]
fn attributes_are_told_with_who_vouches_for_them() {
    let served = Served::new(Ledger::new(1_000), ServerOptions { page_max: 1, ..ServerOptions::default() });
    let (ledger, client) = (&served.ledger, served.client());
    let provider = ledger.provider(2);
    assert!(client.provider(provider).unwrap().unwrap().attributes.is_empty());
    let attributes = Attributes::new([("region", "eu-west"), ("disk", "nvme")]);
    let set = MarketCommand::SetAttributes { provider, attributes: attributes.clone() };
    ledger.command(2, Command::Market(set));
    let signed = Attributes::new([("region", "eu-west")]);
    for auditor in [3, 4] {
        let sign = MarketCommand::SignAttributes { provider, attributes: signed.clone() };
        ledger.command(auditor, Command::Market(sign));
    }
    assert_eq!(client.provider(provider).unwrap().unwrap().attributes, attributes);
    let told = collect(client.attestations(provider));
    let mut auditors = [Story::address(3), Story::address(4)];
    auditors.sort();
    assert_eq!(told.iter().map(|entry| entry.auditor).collect::<Vec<_>>(), auditors);
    assert!(told.iter().all(|entry| entry.attributes == signed));
    assert!(served.get("/v1/providers/1/attestations").starts_with("HTTP/1.1 404 "));
}
