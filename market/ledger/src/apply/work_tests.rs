//! What a block costs does not depend on what does nothing in it.

use cairn_protocol::{Amount, CommD, CommR, Epoch, ProviderId, SealProof, SectorNumber, SectorSize, Ticket};

use super::tests::{CLIENT, OTHER, STORER, bid, one_piece, story};
use crate::queue::Due;
use crate::table::visits;
use crate::testing::{HashVerifier, Network};
use crate::*;

/// Epoch at which the idle ones have something to do.
const FAR: Epoch = Epoch(1_000_000);
const SECTORS_PER_PROVIDER: u64 = 10;

/// `sectors` sectors of others, each with a deal, none of which is due.
fn add_idle(state: &mut State, sectors: u64) {
    let owner = Address([0xee; 32]);
    for index in 0..sectors {
        let (provider, number) = (ProviderId(50_000 + index / SECTORS_PER_PROVIDER), index % SECTORS_PER_PROVIDER);
        let (sector, deal, order) = (SectorNumber(number), DealId(1_000_000 + index), OrderId(1_000_000 + index));
        if number == 0 {
            add_provider(state, provider, owner);
        }
        let proving = Proving {
            activated_at: Epoch(1),
            deadline: 0,
            partition: (number / 2) as u32,
            health: Health::Active,
            history: ProofHistory::new(Epoch(1)),
            posts_accepted: 0,
        };
        let record = Sector {
            seal_proof: SealProof::V1_1,
            comm_r: CommR([1; 32]),
            comm_d: CommD([2; 32]),
            ticket_epoch: Epoch(0),
            ticket: Ticket([3; 32]),
            pre_committed_at: Epoch(0),
            seed_epoch: Epoch(1),
            expiration: FAR,
            deposit: Amount::ZERO,
            deals: vec![deal],
            status: SectorStatus::Proving(proving),
        };
        state.sectors.insert((provider, sector), record);
        state.deals.insert(deal, idle_deal(order, provider, sector));
        state.schedule(FAR, Due::DealEnd(deal));
    }
}

fn add_provider(state: &mut State, provider: ProviderId, owner: Address) {
    let mut partition_counts = vec![0; DEADLINES as usize];
    partition_counts[0] = SECTORS_PER_PROVIDER as u32 / 2;
    for partition in 0..partition_counts[0] {
        let sectors = [0, 1].map(|n| SectorNumber(u64::from(partition) * 2 + n)).to_vec();
        let members = Partition { sectors, proven_challenge: None, closes_at: FAR };
        state.partitions.insert((provider, 0, partition), members);
        state.schedule(FAR, Due::PartitionClose(provider, 0, partition));
    }
    let (sector_size, endpoint) = (SectorSize::MIB8, "http://idle.test/".to_owned());
    let obligations = 2 * SECTORS_PER_PROVIDER;
    let record = Provider { owner, sector_size, collateral: Amount::ZERO, endpoint, obligations, partition_counts };
    state.providers.insert(provider, record);
    state.attributes.insert(provider, Attributes::new([("region", "eu")]));
}

fn idle_deal(order: OrderId, provider: ProviderId, sector: SectorNumber) -> Deal {
    Deal {
        order,
        group: order,
        piece_index: 0,
        round: 0,
        client: Address([0xdd; 32]),
        provider,
        piece: crate::testing::piece(1, 1 << 20),
        rate: Amount::ZERO,
        duration_epochs: 192,
        escrow: Amount::ZERO,
        paid: Amount::ZERO,
        status: DealStatus::Active { sector, start: Epoch(1), end: FAR, settled_until: Epoch(1) },
    }
}

/// Entries visited by an empty block, and by one in which an order is assigned, a partition proven, a sector ended and
/// prolonged, attributes set and an order placed; among `idle` sectors and deals.
fn visited(idle: u64) -> [u64; 2] {
    let mut network = Network::new(story(), 4);
    let (provider, rival) = (network.register(STORER), network.register(OTHER));
    for number in [1, 2, 3] {
        network.seal(STORER, provider, number, &[]);
    }
    network.seal(OTHER, rival, 1, &[]);
    let duty = network.state.post_duties(provider).remove(0);
    network.advance_to(Epoch(duty.deadline.challenge_epoch.0 - 10));
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms.clone());
    network.command(STORER, bid(provider, order, 700));
    network.command(OTHER, bid(rival, order, 600));
    let closes_at = network.state.order(order).unwrap().bids_close_at;
    network.advance_to(Epoch(closes_at.0 - 1));
    add_idle(&mut network.state, idle);
    network.state.root();

    let count = |network: &Network, block: &[SignedTransaction]| {
        let (mut state, context, before) = (network.state.clone(), network.next_context(), visits::count());
        let outcome = state.apply_block(&context, block, &HashVerifier).unwrap();
        let failed = outcome.receipts.iter().find(|receipt| receipt.outcome != Outcome::Applied);
        assert!(failed.is_none(), "{failed:?}");
        assert!(outcome.events.iter().any(|event| matches!(event, Event::OrderMatched { .. })));
        visits::count() - before
    };
    let region = Attributes::new([("region", "us")]);
    let block = [
        network.transaction(STORER, 0, network.window_post(provider, &duty)),
        network.transaction(STORER, 1, {
            Command::Sector(SectorCommand::Terminate { provider, sectors: vec![SectorNumber(3)] })
        }),
        network.transaction(STORER, 2, {
            let expiration = Epoch(network.state.sector(provider, SectorNumber(1)).unwrap().expiration.0 + 1);
            Command::Sector(SectorCommand::Extend { provider, sectors: vec![SectorNumber(1)], expiration })
        }),
        network.transaction(OTHER, 0, {
            Command::Market(MarketCommand::SetAttributes { provider: rival, attributes: region })
        }),
        network.transaction(CLIENT, 0, Command::PlaceOrder(terms)),
    ];
    [count(&network, &[]), count(&network, &block)]
}

#[test]
fn a_blocks_work_does_not_grow_with_what_is_idle() {
    let idle = [100, 1_000, 10_000];
    let counts = idle.map(visited);
    println!("entries visited by an empty and a busy block among {idle:?} idle sectors and deals: {counts:?}");
    for (step, pair) in counts.windows(2).enumerate() {
        for (kind, (few, many)) in pair[0].into_iter().zip(pair[1]).enumerate() {
            // A tenfold of entries makes paths longer, by log2(10) x 1.4 at most on average, and nothing else.
            assert!(many < few * 7 / 4, "{} to {} idle, kind {kind}: {few} to {many}", idle[step], idle[step + 1]);
        }
    }
}
