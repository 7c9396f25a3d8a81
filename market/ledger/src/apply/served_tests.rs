//! Providers that signed for wrong bytes, and accusers that are wrong.

use cairn_protocol::{Amount, CommP, Epoch, PaddedBytes, ProviderId};
use proptest::prelude::*;

use crate::economy::NEUTRAL_REPUTATION;
use crate::scores::Fraction;
use crate::testing::{Network, PieceTree};
use crate::*;

const STORER: u8 = 2;
const REPORTER: u8 = 3;
const SERVER: u8 = 9;
const WINDOW: u64 = 20;

fn network() -> (Network, ProviderId) {
    let params = LedgerParams { serving: ServingRules::within(WINDOW), ..LedgerParams::devnet() };
    let mut network = Network::new(params, 4);
    let provider = network.register(STORER);
    (network, provider)
}

fn sign(network: &Network, statement: ServedGroup) -> SignedServedGroup {
    statement.sign(network.state.chain(), &Network::key(STORER))
}

/// The storer's leave for the server's key.
fn leave(network: &Network, provider: ProviderId, until: Epoch) -> SignedServingKey {
    let leave = ServingKey { provider, key: Network::address(SERVER), until };
    leave.sign(network.state.chain(), &Network::key(STORER))
}

fn report(evidence: WrongBytes) -> Command {
    Command::ReportWrongBytes(Box::new(evidence))
}

/// Evidence of a lie about a group, of this moment.
fn lie(network: &Network, tree: &PieceTree, provider: ProviderId, group: u64) -> WrongBytes {
    tree.evidence(sign(network, tree.served_wrong(provider, group, network.state.epoch())))
}

fn refused(network: &mut Network, evidence: WrongBytes) -> WrongBytesRejection {
    match network.rejection(REPORTER, report(evidence)) {
        Rejection::WrongBytes(rejection) => rejection,
        other => panic!("expected evidence to be refused, got {other:?}"),
    }
}

fn collateral(network: &Network, provider: ProviderId) -> u64 {
    network.state.provider(provider).unwrap().collateral.0
}

fn balance(network: &Network, n: u8) -> u64 {
    network.state.account(&Network::address(n)).balance.0
}

#[test]
fn wrong_bytes_cost_a_tenth_and_the_reporter_gets_a_fifth_of_it() {
    let (mut network, provider) = network();
    let tree = PieceTree::new(1, 3);
    let (before, burnt_before) = (collateral(&network, provider), network.state.treasury().burnt.0);
    let (poor, fee) = (balance(&network, REPORTER), network.state.params().transaction_fee.0);
    let evidence = lie(&network, &tree, provider, 5);
    assert_eq!(network.state.check_wrong_bytes(&evidence, network.state.epoch()), Ok(Some(Amount(before / 10))));
    let events = network.command(REPORTER, report(evidence));
    let (burnt, rewarded) = (Amount(before / 10 / 5 * 4), Amount(before / 10 / 5));
    let (reporter, piece) = (Network::address(REPORTER), tree.info().comm_p);
    assert_eq!(events, [Event::WrongBytesServed { provider, reporter, piece, group: 5, burnt, rewarded }]);
    assert_eq!(collateral(&network, provider), before - before / 10);
    assert_eq!(balance(&network, REPORTER), poor - fee + rewarded.0);
    assert_eq!(network.state.treasury().burnt.0, burnt_before + burnt.0 + fee);
    assert_eq!(network.state.reputation_of(provider), Fraction::ZERO);
    let paid: Vec<_> = network.state.paid_groups_from(provider, (CommP([0; 32]), 0)).collect();
    assert!(matches!(paid.as_slice(), [(key, paid)] if *key == (piece, 5) && paid.taken == Amount(before / 10)));
}

#[test]
fn a_group_is_paid_for_once_in_the_time_in_which_statements_count() {
    let (mut network, provider) = network();
    let tree = PieceTree::new(1, 3);
    let first = lie(&network, &tree, provider, 5);
    network.command(REPORTER, report(first.clone()));
    let paid_at = network.state.epoch();
    let piece = tree.info().comm_p;
    let expected = WrongBytesRejection::PaidFor { provider, piece, group: 5, at: paid_at };
    assert_eq!(refused(&mut network, first.clone()), expected, "the same statement");
    let second = lie(&network, &tree, provider, 5);
    assert_ne!(second, first);
    assert_eq!(refused(&mut network, second), expected, "another about the same group");
    let elsewhere = lie(&network, &tree, provider, 4);
    network.command(REPORTER, report(elsewhere));
    // One signed in the last moment in which the group was paid for still counts afterwards; those from before do not.
    network.advance_to(Epoch(paid_at.0 + WINDOW + 1));
    assert_eq!(network.state.paid_groups_from(provider, (CommP([0; 32]), 0)).count(), 1, "the first is forgotten");
    assert!(matches!(refused(&mut network, first), WrongBytesRejection::NotRecent { .. }));
    let again = lie(&network, &tree, provider, 5);
    network.command(REPORTER, report(again));
}

#[test]
fn evidence_that_breaks_one_rule_convicts_nobody() {
    let (mut network, provider) = network();
    let (tree, other) = (PieceTree::new(1, 3), PieceTree::new(2, 3));
    let before = collateral(&network, provider);
    let good = lie(&network, &tree, provider, 5);
    let wrong = good.signed.statement;
    let (chain, owner) = (network.state.chain(), Network::address(STORER));

    // Who signed.
    let not_signed = WrongBytesRejection::NotSigned { provider, owner };
    let forged = tree.evidence(wrong.sign(chain, &Network::key(REPORTER)));
    assert_eq!(refused(&mut network, forged), not_signed);
    let elsewhere = tree.evidence(wrong.sign(ChainId([9; 32]), &Network::key(STORER)));
    assert_eq!(refused(&mut network, elsewhere), not_signed);
    let mut changed = good.clone();
    changed.signed.statement.nonce += 1;
    assert_eq!(refused(&mut network, changed), not_signed);
    let mut added = good.clone();
    added.signed.serving_key = Some(leave(&network, provider, wrong.epoch));
    assert_eq!(refused(&mut network, added), not_signed, "the owner's signature is not that of the key");

    // When.
    let now = network.state.epoch().0;
    let to_come = sign(&network, ServedGroup { epoch: Epoch(now + 2), ..wrong });
    assert!(matches!(refused(&mut network, tree.evidence(to_come)), WrongBytesRejection::NotRecent { .. }));
    network.advance_to(Epoch(WINDOW + now + 2));
    let old = sign(&network, ServedGroup { epoch: Epoch(network.state.epoch().0 - WINDOW), ..wrong });
    assert!(matches!(refused(&mut network, tree.evidence(old)), WrongBytesRejection::NotRecent { .. }));

    // What is there.
    let wrong = ServedGroup { epoch: network.state.epoch(), ..wrong };
    let signed = sign(&network, wrong);
    let with = |proof: Vec<u8>| WrongBytes { signed: signed.clone(), proof };
    for proof in [Vec::new(), vec![0; 40], vec![0; 5_000], other.prove(5, 1)] {
        assert!(matches!(refused(&mut network, with(proof)), WrongBytesRejection::BadProof { .. }));
    }
    for proof in [tree.prove(4, 1), tree.prove(5, 2), tree.prove(4, 2)] {
        assert!(matches!(refused(&mut network, with(proof)), WrongBytesRejection::OtherPlace { group: 5, .. }));
    }
    let mut resized = wrong;
    resized.piece.size = PaddedBytes(tree.info().size.0 * 2);
    let resized = tree.evidence(sign(&network, resized));
    assert!(matches!(refused(&mut network, resized), WrongBytesRejection::OtherPlace { .. }));
    let honest = tree.evidence(sign(&network, tree.served(provider, 5, network.state.epoch())));
    assert_eq!(refused(&mut network, honest), WrongBytesRejection::BytesAreRight { provider });

    // Who.
    let nobody = ProviderId(9_999);
    let stranger = tree.evidence(sign(&network, ServedGroup { provider: nobody, ..wrong }));
    assert_eq!(network.rejection(REPORTER, report(stranger)), Rejection::UnknownProvider { provider: nobody });

    assert_eq!(collateral(&network, provider), before);
    assert_eq!(network.state.reputation_of(provider), NEUTRAL_REPUTATION);
    let good = tree.evidence(sign(&network, ServedGroup { epoch: network.state.epoch(), ..wrong }));
    network.command(REPORTER, report(good));
}

#[test]
fn a_key_with_the_owners_leave_speaks_for_the_owner_and_for_nobody_else() {
    let (mut network, provider) = network();
    let other = network.register(REPORTER);
    let (tree, chain, now) = (PieceTree::new(1, 3), network.state.chain(), network.state.epoch());
    let wrong = tree.served_wrong(provider, 5, now);
    let (key, good) = (Network::key(SERVER), leave(&network, provider, now));
    let not_signed = WrongBytesRejection::NotSigned { provider, owner: Network::address(STORER) };
    let before = collateral(&network, provider);

    let by_stranger = wrong.sign_by_leave(chain, &Network::key(REPORTER), good);
    let without = wrong.sign(chain, &key);
    let own_leave = wrong.sign_by_leave(chain, &key, good.leave.sign(chain, &key));
    let elsewhere = wrong.sign_by_leave(chain, &key, good.leave.sign(ChainId([9; 32]), &Network::key(STORER)));
    let ended = wrong.sign_by_leave(chain, &key, leave(&network, provider, Epoch(now.0 - 1)));
    let of_another = wrong.sign_by_leave(chain, &key, leave(&network, other, now));
    let mut stretched = wrong.sign_by_leave(chain, &key, good);
    stretched.serving_key.as_mut().unwrap().leave.until.0 += 1;
    for signed in [by_stranger, without, own_leave, elsewhere, ended, of_another, stretched] {
        assert_eq!(refused(&mut network, tree.evidence(signed)), not_signed);
    }
    let foreign = ServedGroup { provider: other, ..wrong }.sign_by_leave(chain, &key, good);
    let not_other = WrongBytesRejection::NotSigned { provider: other, owner: Network::address(REPORTER) };
    assert_eq!(refused(&mut network, tree.evidence(foreign)), not_other);
    let honest = tree.served(provider, 5, now).sign_by_leave(chain, &key, good);
    let right = WrongBytesRejection::BytesAreRight { provider };
    assert_eq!(refused(&mut network, tree.evidence(honest)), right);
    assert_eq!(collateral(&network, provider), before);

    network.command(REPORTER, report(tree.evidence(wrong.sign_by_leave(chain, &key, good))));
    assert_eq!(collateral(&network, provider), before - before / 10);
    let again = lie(&network, &tree, provider, 5);
    assert!(matches!(refused(&mut network, again), WrongBytesRejection::PaidFor { .. }), "it was the owner's word");
}

#[test]
fn who_has_nothing_loses_nothing_and_nothing_is_recorded() {
    let (mut network, provider) = network();
    let tree = PieceTree::new(1, 3);
    let amount = network.state.provider(provider).unwrap().collateral;
    network.command(STORER, Command::WithdrawCollateral { provider, amount });
    let evidence = lie(&network, &tree, provider, 5);
    let nothing = WrongBytesRejection::NothingToTake { provider, collateral: Amount::ZERO };
    assert_eq!(refused(&mut network, evidence), nothing);
    assert_eq!(network.state.paid_groups_from(provider, (CommP([0; 32]), 0)).count(), 0);
}

#[test]
fn who_reports_itself_loses_more_than_it_gets() {
    let (mut network, provider) = network();
    let before = collateral(&network, provider) + balance(&network, STORER);
    let evidence = lie(&network, &PieceTree::new(1, 3), provider, 5);
    network.command(STORER, report(evidence));
    let after = collateral(&network, provider) + balance(&network, STORER);
    assert!(before - after > collateral(&network, provider) / 20, "{before} {after}");
}

#[test]
fn small_pieces_are_one_group() {
    let (mut network, provider) = network();
    let tree = PieceTree::new(1, 0);
    let evidence = lie(&network, &tree, provider, 0);
    assert_eq!(evidence.proof.len(), 68);
    network.command(REPORTER, report(evidence));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever an accuser does to an honest statement or to the proof, nobody pays.
    #[test]
    fn the_honest_cannot_be_slashed(
        tag: u8,
        levels in 0u32..5,
        place: u64,
        nonce: u64,
        proven in any::<(u64, u64)>(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        in_proof: bool,
        by_leave: bool,
        other: u8,
    ) {
        let (network, provider) = network();
        let (tree, stranger) = (PieceTree::new(tag, levels), PieceTree::new(other, levels));
        let (groups, now) = (1u64 << levels, network.state.epoch());
        let group = place % groups;
        let signed = |statement: ServedGroup| match by_leave {
            true => {
                let leave = leave(&network, provider, now);
                statement.sign_by_leave(network.state.chain(), &Network::key(SERVER), leave)
            }
            false => sign(&network, statement),
        };
        let honest = signed(ServedGroup { nonce, ..tree.served(provider, group, now) });
        let (first, count) = (proven.0 % groups, 1 + proven.1 % groups);
        let proof = tree.prove(first, count.min(groups - first));
        let convicts = |evidence: &WrongBytes| matches!(network.state.check_wrong_bytes(evidence, now), Ok(Some(_)));
        prop_assert!(!convicts(&tree.evidence(honest.clone())));
        let evidence = WrongBytes { signed: honest.clone(), proof };
        prop_assert!(!convicts(&evidence));
        prop_assert!(!convicts(&stranger.evidence(honest.clone())));
        let (mut statement, mut proof) = (honest.encode(), tree.prove(group, 1));
        let damaged = if in_proof { &mut proof } else { &mut statement };
        let at = at.index(damaged.len());
        damaged[at] ^= flip;
        if let Ok(signed) = SignedServedGroup::decode(&statement) {
            let evidence = WrongBytes { signed, proof };
            prop_assert!(!convicts(&evidence));
        }
        // The same accuser convicts who signed something else.
        let lie = signed(tree.served_wrong(provider, group, now));
        prop_assert!(convicts(&tree.evidence(lie)));
    }

    #[test]
    fn foreign_bytes_are_no_statement(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(signed) = SignedServedGroup::decode(&bytes) {
            prop_assert_eq!(signed.encode(), bytes);
        }
    }
}
