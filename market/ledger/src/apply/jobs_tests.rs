use cairn_protocol::{CommD, CommR, ProviderId, SealProof, SectorNumber, SectorSize, Seed, Ticket};

use super::*;
use crate::jobs::{SectorJob, TierRule};
use crate::proof::{PorepStatement, ProofStatement, ProofVerifier, SectorUpdateStatement, WindowPostStatement};
use crate::sector_rules::{SectorCommand, SectorEvent};
use crate::testing::{FUNDS, HashVerifier, Network, Population, order_terms, piece, populated};
use crate::work::PROOF_WEIGHT;
use crate::{AdmissionRejection, Command, LedgerParams, Outcome, TransactionId};

const POSTER: u8 = 1;
const WORKER: u8 = 2;
const OTHER: u8 = 3;
const PROVE_EPOCHS: u64 = 20;

fn params() -> LedgerParams {
    let mut params = LedgerParams { record_retention: 30, ..LedgerParams::devnet() };
    params.jobs.bid_window = 3;
    params.jobs.attempts_max = 3;
    params
}

fn statement(number: u64) -> PorepStatement {
    PorepStatement {
        sector_size: SectorSize::KIB2,
        seal_proof: SealProof::V1_1,
        prover_id: ProviderId(1_000).prover_id(),
        sector_number: SectorNumber(number),
        ticket: Ticket([1; 32]),
        seed: Seed([2; 32]),
        comm_d: CommD([3; 32]),
        comm_r: CommR([4; 32]),
    }
}

fn terms(network: &Network) -> JobTerms {
    JobTerms {
        statement: ProofStatement::Porep(statement(7)),
        witness: TransactionId([5; 32]).cid(),
        witness_bytes: 100_000,
        source_url: "http://poster.test/".to_owned(),
        price_per_million_max: Amount(1_000),
        prove_epochs: PROVE_EPOCHS,
        deadline: Epoch(network.state.epoch().0 + 200),
        tier_min: 0,
    }
}

fn post(network: &mut Network, change: impl FnOnce(&mut JobTerms)) -> JobId {
    let mut terms = terms(network);
    change(&mut terms);
    match network.command(POSTER, Command::Job(JobCommand::Post(Box::new(terms)))).as_slice() {
        [Event::Job(JobEvent::Posted { job, .. })] => *job,
        other => panic!("expected a job, got {other:?}"),
    }
}

fn bid(n: u8, job: JobId, price: u64) -> (u8, Command) {
    (n, Command::Job(JobCommand::Bid { job, price_per_million: Amount(price) }))
}

/// One block with a transaction of each.
fn block(network: &mut Network, commands: &[(u8, Command)]) {
    let transactions: Vec<_> =
        commands.iter().map(|(n, command)| network.transaction(*n, 0, command.clone())).collect();
    for receipt in network.block(&transactions).receipts {
        assert_eq!(receipt.outcome, Outcome::Applied);
    }
}

/// Bids, and lets the window end; who has the job now.
fn assign(network: &mut Network, job: JobId, bids: &[(u8, u64)]) -> Address {
    let commands: Vec<_> = bids.iter().map(|(n, price)| bid(*n, job, *price)).collect();
    block(network, &commands);
    network.advance_to(Epoch(network.state.epoch().0 + 3));
    match network.state.job(job).unwrap().status {
        JobStatus::Assigned { worker, .. } => worker,
        ref other => panic!("expected an assigned job, got {other:?}"),
    }
}

fn submit(job: JobId, proof: Vec<u8>) -> Command {
    Command::Job(JobCommand::Submit { job, proof })
}

fn good() -> Vec<u8> {
    HashVerifier::proof_of(&statement(7))
}

fn refused(network: &mut Network, n: u8, command: JobCommand) -> JobRejection {
    match network.rejection(n, Command::Job(command)) {
        Rejection::Job(rejection) => rejection,
        other => panic!("expected a rejection about jobs, got {other:?}"),
    }
}

fn balance(network: &Network, n: u8) -> u64 {
    network.state.account(&Network::address(n)).balance.0
}

#[test]
fn the_cheapest_bid_proves_and_is_paid_in_the_step_that_verifies() {
    let mut network = Network::new(params(), 3);
    let fee = network.state.params().transaction_fee.0;
    let job = post(&mut network, |_| {});
    // 2,687,921 constraints at 1,000 for each million, rounded up, and a fee of 1,000 for one partition.
    assert_eq!(network.state.treasury().job_escrow, Amount(2_688 + 1_000));
    let worker = assign(&mut network, job, &[(OTHER, 900), (WORKER, 700)]);
    assert_eq!(worker, Network::address(WORKER));
    assert_eq!(balance(&network, OTHER), FUNDS.0 - fee, "the bond of who lost is back");
    let bond = network.state.treasury().job_bonds.0;
    assert_eq!((bond, balance(&network, WORKER)), (26_880, FUNDS.0 - fee - 26_880));

    let stranger = refused(&mut network, OTHER, JobCommand::Submit { job, proof: good() });
    assert_eq!(stranger, JobRejection::NotAssigned { job, worker: Network::address(OTHER) });
    let events = network.command(WORKER, submit(job, good()));
    let paid = Amount(1_882);
    let worker = Network::address(WORKER);
    let (fee_burnt, refunded) = (Amount(1_000), Amount(2_688 - 1_882));
    assert_eq!(events, [Event::Job(JobEvent::Proven { job, worker, paid, fee: fee_burnt, refunded })]);
    assert_eq!(balance(&network, WORKER), FUNDS.0 - 2 * fee + 1_882);
    assert_eq!(balance(&network, POSTER), FUNDS.0 - fee - 1_882 - 1_000);
    let record = network.state.job(job).unwrap();
    assert!(matches!(&record.status, JobStatus::Proven { proof, .. } if *proof == good()), "the poster can take it");
    let past = network.state.worker(worker);
    assert_eq!((past.proven, past.constraints), (1, 2_687_921));
    assert!(matches!(refused(&mut network, WORKER, JobCommand::GiveUp { job }), JobRejection::NotAssigned { .. }));

    network.advance_to(Epoch(network.state.epoch().0 + 31));
    assert!(network.state.job(job).is_none(), "forgotten, with its proof");
    let treasury = network.state.treasury();
    assert_eq!((treasury.job_escrow, treasury.job_bonds), (Amount::ZERO, Amount::ZERO));
}

#[test]
fn a_wrong_proof_is_slashed_and_the_job_done_by_another() {
    let mut network = Network::new(params(), 3);
    let fee = network.state.params().transaction_fee.0;
    let job = post(&mut network, |_| {});
    assign(&mut network, job, &[(WORKER, 500)]);
    let events = network.command(WORKER, submit(job, vec![1; 192]));
    assert!(
        matches!(
            &events[..],
            [
                Event::Job(JobEvent::WorkerFailed {
                    failure: WorkerFailure::Refused { .. },
                    slashed: Amount(13_440),
                    ..
                }),
                Event::Job(JobEvent::Relisted { attempts: 1, .. }),
            ]
        ),
        "{events:?}"
    );
    assert_eq!(balance(&network, WORKER), FUNDS.0 - 2 * fee - 13_440);
    let again = refused(&mut network, WORKER, JobCommand::Bid { job, price_per_million: Amount(1) });
    assert_eq!(again, JobRejection::FailedBefore { job, worker: Network::address(WORKER) });
    assert_eq!(assign(&mut network, job, &[(OTHER, 1_000)]), Network::address(OTHER));
    network.command(OTHER, submit(job, good()));
    assert_eq!(balance(&network, OTHER), FUNDS.0 - 2 * fee + 2_688);
    assert_eq!(balance(&network, POSTER), FUNDS.0 - fee - 2_688 - 1_000);
    assert_eq!(network.state.worker(Network::address(WORKER)).refused, 1);
}

#[test]
fn who_is_late_or_gives_up_pays_less_and_attempts_end() {
    let mut network = Network::new(params(), 4);
    let fee = network.state.params().transaction_fee.0;
    let job = post(&mut network, |_| {});
    assign(&mut network, job, &[(WORKER, 500)]);
    let due = Epoch(network.state.epoch().0 + PROVE_EPOCHS);
    network.advance_to(Epoch(due.0 - 1));
    assert!(matches!(network.state.job(job).unwrap().status, JobStatus::Assigned { .. }));
    network.advance_to(due);
    assert!(matches!(network.state.job(job).unwrap().status, JobStatus::Open { bids_close_at: None }));
    assert_eq!(balance(&network, WORKER), FUNDS.0 - fee - 6_720);
    assign(&mut network, job, &[(OTHER, 500)]);
    network.command(OTHER, Command::Job(JobCommand::GiveUp { job }));
    assert_eq!(balance(&network, OTHER), FUNDS.0 - 2 * fee - 6_720);
    assign(&mut network, job, &[(4, 500)]);
    network.command(4, submit(job, Vec::new()));
    assert!(matches!(&network.state.job(job).unwrap().status, JobStatus::Closed(closure) if closure.code == 603));
    assert_eq!(balance(&network, POSTER), FUNDS.0 - fee, "everything is back but the transaction's fee");
}

#[test]
fn what_nobody_bids_on_or_what_is_cancelled_returns() {
    let mut network = Network::new(params(), 3);
    let fee = network.state.params().transaction_fee.0;
    let unwanted = post(&mut network, |_| {});
    let bids_until = network.state.job(unwanted).unwrap().bids_until;
    network.advance_to(bids_until);
    assert!(matches!(&network.state.job(unwanted).unwrap().status, JobStatus::Closed(closure) if closure.code == 602));
    assert_eq!(balance(&network, POSTER), FUNDS.0 - fee);

    let job = post(&mut network, |_| {});
    block(&mut network, &[bid(WORKER, job, 5)]);
    assert!(matches!(refused(&mut network, OTHER, JobCommand::Cancel { job }), JobRejection::NotPoster { .. }));
    network.command(POSTER, Command::Job(JobCommand::Cancel { job }));
    assert_eq!((balance(&network, POSTER), balance(&network, WORKER)), (FUNDS.0 - 3 * fee, FUNDS.0 - fee));
    assert!(matches!(refused(&mut network, POSTER, JobCommand::Cancel { job }), JobRejection::NotOpen { .. }));
    // The entry for the end of the bid window finds it closed.
    network.advance_to(Epoch(network.state.epoch().0 + 5));

    let job = post(&mut network, |_| {});
    assign(&mut network, job, &[(WORKER, 5)]);
    assert!(matches!(refused(&mut network, POSTER, JobCommand::Cancel { job }), JobRejection::NotOpen { .. }));
}

#[test]
fn a_job_that_fails_too_late_for_another_worker_closes() {
    let mut network = Network::new(params(), 3);
    let tight = network.state.epoch().0 + 2 + 3 + PROVE_EPOCHS;
    let job = post(&mut network, |terms| terms.deadline = Epoch(tight));
    assign(&mut network, job, &[(WORKER, 5)]);
    network.command(WORKER, submit(job, vec![0]));
    assert!(matches!(&network.state.job(job).unwrap().status, JobStatus::Closed(closure) if closure.code == 602));
}

#[test]
fn jobs_are_refused_by_rule() {
    let mut network = Network::new(params(), 3);
    let mut refuse = |change: &dyn Fn(&mut JobTerms)| {
        let mut terms = terms(&network);
        change(&mut terms);
        network.rejection(POSTER, Command::Job(JobCommand::Post(Box::new(terms))))
    };
    let out_of_range = |rejection: Rejection| matches!(rejection, Rejection::OutOfRange { .. });
    assert!(out_of_range(refuse(&|terms| terms.prove_epochs = 0)));
    assert!(out_of_range(refuse(&|terms| terms.prove_epochs = u64::MAX)));
    assert!(out_of_range(refuse(&|terms| terms.deadline = Epoch(20))));
    assert!(out_of_range(refuse(&|terms| terms.deadline = Epoch(u64::MAX))));
    assert!(out_of_range(refuse(&|terms| terms.witness_bytes = u64::MAX)));
    assert!(out_of_range(refuse(&|terms| terms.tier_min = 4)));
    assert!(matches!(refuse(&|terms| terms.source_url = "ftp://x".to_owned()), Rejection::BadUrl { .. }));
    let dear = refuse(&|terms| terms.price_per_million_max = Amount(u64::MAX));
    assert!(matches!(dear, Rejection::Overflow { .. }), "{dear:?}");
    let dear = refuse(&|terms| terms.price_per_million_max = Amount(FUNDS.0));
    assert!(matches!(dear, Rejection::InsufficientFunds { .. }), "{dear:?}");
    let empty = refuse(&|terms| {
        terms.statement = ProofStatement::WindowPost(crate::WindowPostStatement {
            sector_size: SectorSize::KIB2,
            prover_id: ProviderId(1_000).prover_id(),
            randomness: Default::default(),
            sectors: Vec::new(),
        });
    });
    assert!(matches!(empty, Rejection::Job(JobRejection::Statement { .. })), "{empty:?}");

    let job = post(&mut network, |_| {});
    let price = |price_per_million| JobCommand::Bid { job, price_per_million };
    let unknown = JobCommand::Bid { job: JobId(99), price_per_million: Amount(1) };
    assert_eq!(refused(&mut network, WORKER, unknown), JobRejection::Unknown { job: JobId(99) });
    assert!(matches!(refused(&mut network, WORKER, price(Amount(1_001))), JobRejection::PriceAboveCap { .. }));
    block(&mut network, &[bid(WORKER, job, 1)]);
    assert!(matches!(refused(&mut network, WORKER, price(Amount(1))), JobRejection::DuplicateBid { .. }));
    network.advance_to(Epoch(network.state.epoch().0 + 3));
    assert!(matches!(refused(&mut network, OTHER, price(Amount(1))), JobRejection::NotOpen { .. }));
}

#[test]
fn a_full_job_takes_no_more_bids_and_a_network_without_the_circuit_no_job() {
    let mut params = params();
    params.jobs.bids_max = 1;
    let mut network = Network::new(params.clone(), 3);
    let job = post(&mut network, |_| {});
    block(&mut network, &[bid(WORKER, job, 1)]);
    let full = refused(&mut network, OTHER, JobCommand::Bid { job, price_per_million: Amount(1) });
    assert_eq!(full, JobRejection::TooManyBids { job, limit: 1 });

    params.jobs.work.clear();
    let mut network = Network::new(params, 1);
    let terms = terms(&network);
    assert!(matches!(refused(&mut network, POSTER, JobCommand::Post(Box::new(terms))), JobRejection::NoCircuit { .. }));
}

#[test]
fn a_tier_is_earned_by_proving_for_others() {
    let mut params = params();
    params.jobs.tiers = vec![TierRule { proven_min: 1, failed_permille_max: 400 }];
    let mut network = Network::new(params, 3);
    let tier =
        |network: &Network, n| network.state.worker(Network::address(n)).tier(&network.state.params().jobs.tiers);
    let needy = post(&mut network, |terms| terms.tier_min = 1);
    let low = refused(&mut network, WORKER, JobCommand::Bid { job: needy, price_per_million: Amount(1) });
    assert!(matches!(low, JobRejection::TierTooLow { needed: 1, got: 0, .. }), "{low:?}");
    // For oneself it counts for nothing.
    let own = post(&mut network, |_| {});
    assign(&mut network, own, &[(POSTER, 0)]);
    network.command(POSTER, submit(own, good()));
    assert_eq!(tier(&network, POSTER), 0);
    let job = post(&mut network, |_| {});
    assign(&mut network, job, &[(WORKER, 0)]);
    network.command(WORKER, submit(job, good()));
    assert_eq!(tier(&network, WORKER), 1);
    assert_eq!(assign(&mut network, needy, &[(WORKER, 1)]), Network::address(WORKER));
    network.command(WORKER, submit(needy, vec![]));
    assert_eq!(tier(&network, WORKER), 0, "one failure in two");
}

#[test]
fn equal_bids_are_drawn_by_the_beacon() {
    let mut winners = std::collections::BTreeSet::new();
    let mut network = Network::new(params(), 3);
    for _ in 0..12 {
        let job = post(&mut network, |_| {});
        winners.insert(assign(&mut network, job, &[(WORKER, 5), (OTHER, 5)]));
    }
    assert_eq!(winners.len(), 2);
}

/// A window proof of these sectors, sealed by [`Network::seal`].
fn window(provider: ProviderId, sectors: &[u64]) -> WindowPostStatement {
    WindowPostStatement {
        sector_size: SectorSize::KIB2,
        prover_id: provider.prover_id(),
        randomness: Default::default(),
        sectors: sectors.iter().map(|&number| (SectorNumber(number), CommR([number as u8; 32]))).collect(),
    }
}

fn about(network: &Network, statement: WindowPostStatement) -> JobTerms {
    JobTerms { statement: ProofStatement::WindowPost(statement), ..terms(network) }
}

#[test]
fn sectors_named_by_number_are_completed_once_and_paid_whatever_becomes_of_them() {
    let mut network = Network::new(params(), 3);
    let provider = network.register(POSTER);
    network.seal(POSTER, provider, 1, &[]);
    network.seal(POSTER, provider, 2, &[]);
    let full = about(&network, window(provider, &[1, 2]));
    let asked = SectorJob::of(provider, full.clone()).unwrap();
    let again = JobCommand::PostSectors(Box::new(asked));
    let post = Command::Job(again.clone());
    let weight =
        |network: &Network, n, command: &Command| network.state.weight_of(&network.transaction(n, 0, command.clone()));
    assert_eq!(weight(&network, POSTER, &post), 2);
    let events = network.command(POSTER, post);
    let [Event::Job(JobEvent::Posted { job, .. })] = events[..] else { panic!("{events:?}") };
    assert_eq!(network.state.job(job).unwrap().terms, full, "the statement stands in the job");
    assert_eq!(weight(&network, WORKER, &bid(WORKER, job, 5).1), 2);
    assign(&mut network, job, &[(WORKER, 5)]);

    // One of the sectors is another while the worker proves: that is the poster's affair.
    network.state.sectors.update(&(provider, SectorNumber(2)), |sector| sector.comm_r = CommR([9; 32])).unwrap();
    assert_eq!(refused(&mut network, POSTER, again), JobRejection::StatementChanged { provider });
    let hand_in = submit(job, HashVerifier::proof_of(&window(provider, &[1, 2])));
    assert_eq!(weight(&network, WORKER, &hand_in), PROOF_WEIGHT + 2);
    network.command(WORKER, hand_in);
    assert!(matches!(network.state.job(job).unwrap().status, JobStatus::Proven { .. }));
}

#[test]
fn sectors_that_are_not_what_was_signed_for_are_refused() {
    let mut network = Network::new(params(), 3);
    let provider = network.register(POSTER);
    network.seal(POSTER, provider, 1, &[]);
    network.seal(POSTER, provider, 2, &[]);
    let job_of = |terms: JobTerms| SectorJob::of(provider, terms).unwrap();
    let of = |network: &Network, sectors: &[u64]| job_of(about(network, window(provider, sectors)));
    let post = |job: SectorJob| JobCommand::PostSectors(Box::new(job));
    let good = of(&network, &[1, 2]);

    let stranger = network.rejection(OTHER, Command::Job(post(good.clone())));
    assert!(matches!(stranger, Rejection::NotOwner { .. }), "{stranger:?}");
    let mut other_replica = window(provider, &[1, 2]);
    other_replica.sectors[1].1 = CommR([9; 32]);
    let changed = job_of(about(&network, other_replica));
    assert_eq!(refused(&mut network, POSTER, post(changed)), JobRejection::StatementChanged { provider });

    for sectors in [&[1, 7][..], &[1, 1], &[2, 1], &[1, 2, 3], &[]] {
        let job = of(&network, sectors);
        let why = refused(&mut network, POSTER, post(job));
        assert!(matches!(why, JobRejection::Statement { .. }), "{sectors:?}: {why:?}");
    }
    let twice = SectorJob { terms: about(&network, window(provider, &[1])), ..good.clone() };
    assert!(matches!(refused(&mut network, POSTER, post(twice)), JobRejection::Statement { .. }));
    let porep = SectorJob { terms: terms(&network), ..good.clone() };
    assert!(matches!(refused(&mut network, POSTER, post(porep)), JobRejection::Statement { .. }));
    assert_eq!(network.state.treasury().job_escrow, Amount::ZERO);
    assert!(SectorJob::of(ProviderId(1), about(&network, window(provider, &[1]))).is_none(), "another's");
    assert!(SectorJob::of(provider, terms(&network)).is_none(), "no window proof");
}

#[test]
fn a_full_partition_fits_a_transaction_by_number_alone() {
    let network = Network::new(params(), 1);
    let (provider, limit) = (ProviderId(1_000), network.state.params().transaction_bytes_max);
    let sectors = (0..2_349).map(|number| (SectorNumber(u64::MAX - 2_349 + number), CommR([number as u8; 32])));
    let statement =
        WindowPostStatement { sector_size: SectorSize::GIB32, sectors: sectors.collect(), ..window(provider, &[]) };
    let terms = about(&network, statement);
    let bytes = |command| network.transaction(POSTER, 0, Command::Job(command)).encode().len() as u64;
    assert!(bytes(JobCommand::PostSectors(Box::new(SectorJob::of(provider, terms.clone()).unwrap()))) < limit / 2);
    assert!(bytes(JobCommand::Post(Box::new(terms))) > limit);
}

/// Empty blocks, without the look at every record that [`Network::block`] takes after each.
fn live(network: &mut Network, until: Epoch) {
    while network.state.epoch() < until {
        let context = network.next_context();
        network.state.apply_block(&context, &[], &HashVerifier).unwrap();
    }
}

/// 2,349 sectors of 32 GiB, as the ledger has them, from the challenge to the provider's own window proof.
#[test]
fn a_full_partition_is_proven_by_a_worker_and_counts() {
    const OWNER: u8 = 100;
    let params = LedgerParams { post_challenge_lead: 20, ..params() };
    let population = Population { providers: 1, sectors: 2_349, deals: 1 };
    let state = populated(&params, &population, |_| Network::address(OWNER));
    let provider = state.providers().find(|(_, record)| record.owner == Network::address(OWNER)).unwrap().0;
    let mut network = Network { state, events: Vec::new() };
    let duty = loop {
        let duty = network.state.post_duties(provider).remove(0);
        live(&mut network, if duty.proven { duty.deadline.closes_at } else { duty.deadline.challenge_epoch });
        if !duty.proven {
            break duty;
        }
    };
    let (deadline, partition) = (duty.deadline.deadline, duty.partition);
    let statement = network.state.window_post_statement(provider, deadline, partition).unwrap();
    assert_eq!(statement.sectors.len(), 2_349);

    let terms = about(&network, statement.clone());
    let listed = network.transaction(OWNER, 0, Command::Job(JobCommand::Post(Box::new(terms.clone()))));
    let refused = network.block(&[listed]).receipts.remove(0).outcome;
    assert!(matches!(refused, Outcome::Refused(AdmissionRejection::TooLarge { .. })), "{refused:?}");

    let post = Command::Job(JobCommand::PostSectors(Box::new(SectorJob::of(provider, terms.clone()).unwrap())));
    let posting = network.transaction(OWNER, 0, post.clone());
    assert!((posting.encode().len() as u64) < params.transaction_bytes_max / 2);
    assert_eq!(network.state.weight_of(&posting), 2_349);
    let events = network.command(OWNER, post);
    let [Event::Job(JobEvent::Posted { job, work: 125_279_217, .. })] = events[..] else { panic!("{events:?}") };
    assert_eq!(network.state.job(job).unwrap().terms, terms, "completed from the ledger's own records");

    assign(&mut network, job, &[(WORKER, 500)]);
    let hand_in = submit(job, HashVerifier::proof_of(&statement));
    assert_eq!(network.state.weight_of(&network.transaction(WORKER, 0, hand_in.clone())), PROOF_WEIGHT + 2_349);
    let before = balance(&network, WORKER);
    let events = network.command(WORKER, hand_in);
    let [Event::Job(JobEvent::Proven { paid, .. })] = events[..] else { panic!("{events:?}") };
    assert_eq!(paid, Amount(62_640), "125,279,217 constraints at 500 a million, rounded up");
    let bond = network.state.params().jobs.bond_of(125_279_217);
    let fee = network.state.params().transaction_fee;
    assert_eq!(balance(&network, WORKER), before + bond.0 + paid.0 - fee.0);

    // What the worker made is what the deadline asks for.
    let JobStatus::Proven { proof, .. } = network.state.job(job).unwrap().status.clone() else { unreachable!() };
    let challenge_epoch = duty.deadline.challenge_epoch;
    let own = Command::SubmitWindowPost { provider, deadline, partition, challenge_epoch, proof, skipped: vec![] };
    network.command(OWNER, own);
    assert!(network.state.post_duties(provider)[0].proven);
}

/// A provider with an empty sector and a deal for it, and the job that its update needs.
fn update_of(network: &mut Network) -> (crate::SectorUpdate, SectorUpdateStatement) {
    let provider = network.register(POSTER);
    network.seal(POSTER, provider, 1, &[]);
    network.prove_next(POSTER, provider);
    let order = network.order(OTHER, order_terms(network.state.params(), vec![piece(1, 2 << 20)], 900));
    network.command(POSTER, Command::PlaceBid { provider, order, price_per_epoch: Amount(900) });
    let deals = network.deals_of_order(order);
    let update = network.update(provider, 1, &deals);
    let statement = SectorUpdateStatement {
        sector_size: SectorSize::MIB8,
        comm_r_old: network.state.sector(provider, SectorNumber(1)).unwrap().comm_r,
        comm_d_new: HashVerifier.comm_d(SectorSize::MIB8, &[piece(1, 2 << 20).piece]).unwrap(),
        comm_r_new: update.comm_r,
    };
    (update, statement)
}

#[test]
fn an_update_is_proven_by_a_worker_and_carried_out_by_its_provider() {
    let mut network = Network::new(params(), 3);
    let (update, statement) = update_of(&mut network);
    let job = post(&mut network, |terms| terms.statement = ProofStatement::SectorUpdate(statement.clone()));
    let record = network.state.job(job).unwrap();
    assert_eq!(record.work, 4 * 10_007_503, "four partitions of 8 MiB");
    assert_eq!(record.verification_fee, Amount(4_000));
    assign(&mut network, job, &[(WORKER, 500)]);
    let wrong = network.transaction(WORKER, 0, submit(job, good()));
    assert_eq!(network.state.weight_of(&wrong), 4 * PROOF_WEIGHT);
    let events = network.command(WORKER, submit(job, update.proof.clone()));
    let [Event::Job(JobEvent::Proven { paid, .. })] = events[..] else { panic!("{events:?}") };
    assert_eq!(paid, Amount(20_016));

    let JobStatus::Proven { proof, .. } = network.state.job(job).unwrap().status.clone() else { unreachable!() };
    let events =
        network.command(POSTER, Command::Sector(SectorCommand::Update(crate::SectorUpdate { proof, ..update })));
    assert!(matches!(events[0], Event::Sector(SectorEvent::Updated { .. })), "{events:?}");
}

/// A job speaks of commitments, not of a sector: one that ends meanwhile is the poster's loss, and the worker is paid.
#[test]
fn a_worker_is_paid_for_the_update_of_a_sector_that_is_gone() {
    let mut network = Network::new(params(), 3);
    let (update, statement) = update_of(&mut network);
    let job = post(&mut network, |terms| terms.statement = ProofStatement::SectorUpdate(statement));
    assign(&mut network, job, &[(WORKER, 500)]);
    let (provider, sectors) = (update.provider, vec![update.sector]);
    network.command(POSTER, Command::Sector(SectorCommand::Terminate { provider, sectors }));
    network.command(WORKER, submit(job, update.proof.clone()));
    assert!(matches!(network.state.job(job).unwrap().status, JobStatus::Proven { paid: Amount(20_016), .. }));
    network.rejection(POSTER, Command::Sector(SectorCommand::Update(update)));
}
