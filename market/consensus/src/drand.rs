//! drand's quicknet as the network's beacon: randomness that nobody here makes, predicts or biases.
//!
//! Source: `spec/market.md` 3; drand's scheme `bls-unchained-g1-rfc9380`; FIP-0063 for the lag.
//!
//! 1. Round `r` is published at `genesis + (r - 1) * period`. A time uses the newest round that was out `lag` before it
//!    ([`DrandNetwork::round_at`]), so that every honest node has it by then.
//! 2. The round's signature is a BLS signature in G1, 48 bytes, of the message `SHA-256(r as u64 BE)`, hashed to the curve
//!    with the tag [`SIGNATURE_TAG`], under the network's key in G2, 96 bytes. Key and signature are checked to lie in
//!    their subgroups. *Unchained*: the message does not contain the signature before, so any round can be checked alone.
//! 3. The round's randomness is `SHA-256(signature)`. The signature is unique, so whoever asks gets the same.
//! 4. The ledger's beacon is `SHA-256(tag length u8 || tag || chain hash || r u64 BE || randomness)`: our use of the round
//!    shares no value with anybody else's, and another drand network's round of the same number gives another beacon.
//!    Tickets, seeds, challenges and draws are then derived with a domain each (`cairn_ledger::randomness`, `scores`).
//!
//! Verification takes under a millisecond on one core and touches no network: where rounds come from is a
//! [`DrandSource`]: relays over HTTP ([`HttpRounds`]), or recorded rounds ([`RecordedRounds`]).
//!
//! # Where trust remains
//! More than half of the League of Entropy together could compute rounds before their time, and could stop. A proposer
//! can hold a block back; it cannot choose its round, because the block's time fixes it.
//!
//! Not to be mixed up with drand's *fastnet*, which signs in G1 with the tag of G2, nor with the old chained network.

mod http;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use blst::{BLST_ERROR, min_sig};
use cairn_ledger::Beacon;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::beacon::{BeaconGrade, BeaconRejection, BeaconSlot, BeaconSource};

pub use http::{HttpOptions, HttpRounds, HttpRoundsRejection, PUBLIC_RELAYS};

/// Tag of the hash to G1 (RFC 9380).
pub const SIGNATURE_TAG: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";
/// Seconds between a round's publication and the first block time that uses it, as in FIP-0063.
pub const LAG_S: u64 = 30;

const TAG_BEACON: &[u8] = b"cairn/beacon/drand/v1";

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(from)?;
        let bytes = hex::decode(&text).map_err(D::Error::custom)?;
        let got = bytes.len();
        bytes.try_into().map_err(|_| D::Error::custom(format!("expected {N} bytes in hex, got {got}")))
    }
}

/// A drand network with the quicknet scheme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrandNetwork {
    /// Names the network.
    #[serde(with = "hex_bytes")]
    pub chain_hash: [u8; 32],
    /// Its key, a compressed point of G2.
    #[serde(with = "hex_bytes")]
    pub public_key: [u8; 96],
    /// Seconds between rounds.
    pub period_s: u64,
    /// When round 1 was published, in seconds since 1970.
    pub genesis_time_s: u64,
}

/// A round as published.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrandRound {
    /// Its number, from 1.
    pub round: u64,
    /// A compressed point of G1.
    #[serde(with = "hex_bytes")]
    pub signature: [u8; 48],
}

impl fmt::Debug for DrandRound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrandRound({}, {})", self.round, hex::encode(self.signature))
    }
}

/// Why a round, or a network, is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrandRejection {
    /// The network's key is no key.
    #[error("the public key of drand network {network} is no point of G2: {detail}")]
    BadKey {
        /// Its chain hash.
        network: String,
        /// What the decoder said.
        detail: String,
    },
    /// Rounds that take no time.
    #[error("the period of drand network {network} is zero")]
    NoPeriod {
        /// Its chain hash.
        network: String,
    },
    /// Not the round that the time asks for.
    #[error("round {got} at time {time_ms} ms, expected round {expected}")]
    WrongRound {
        /// The block's time, in milliseconds since 1970.
        time_ms: u64,
        /// The round for it.
        expected: u64,
        /// The round given.
        got: u64,
    },
    /// Before the network's first usable round.
    #[error("time {time_ms} ms is before the first round of the drand network")]
    TooEarly {
        /// The block's time, in milliseconds since 1970.
        time_ms: u64,
    },
    /// Not the network's signature of this round.
    #[error("the signature of round {round} does not verify: {detail}")]
    BadSignature {
        /// Which.
        round: u64,
        /// What the verifier said.
        detail: String,
    },
}

/// Why there is no beacon for a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrandError {
    /// The source does not have the round. Asking again later may help; asking another source may too.
    #[error("round {round} is not available: {detail}")]
    Unavailable {
        /// Which.
        round: u64,
        /// Why.
        detail: String,
    },
    /// The source gave something else. Asking it again does not help.
    #[error(transparent)]
    Rejected(#[from] DrandRejection),
}

impl DrandNetwork {
    /// drand's quicknet, on the League of Entropy's mainnet nodes.
    pub fn quicknet() -> Self {
        fn bytes<const N: usize>(text: &str) -> [u8; N] {
            let mut bytes = [0; N];
            hex::decode_to_slice(text, &mut bytes).expect("a constant in hex");
            bytes
        }
        Self {
            chain_hash: bytes("52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"),
            public_key: bytes(concat!(
                "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c",
                "8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb",
                "5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
            )),
            period_s: 3,
            genesis_time_s: 1_692_803_367,
        }
    }

    /// The round that a block of this time uses; `None` before there is one.
    pub fn round_at(&self, time_ms: u64) -> Option<u64> {
        let since = (time_ms / 1_000).checked_sub(LAG_S)?.checked_sub(self.genesis_time_s)?;
        Some(since.checked_div(self.period_s)? + 1)
    }
}

/// Checks rounds of one network; its key is decoded once.
#[derive(Clone)]
pub struct DrandVerifier {
    network: DrandNetwork,
    key: min_sig::PublicKey,
}

impl fmt::Debug for DrandVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DrandVerifier").field(&self.network).finish()
    }
}

impl DrandVerifier {
    /// A verifier for `network`.
    ///
    /// # Errors
    /// [`DrandRejection`] if its key is no point of the right subgroup, or its period is zero.
    pub fn new(network: DrandNetwork) -> Result<Self, DrandRejection> {
        let name = || hex::encode(network.chain_hash);
        if network.period_s == 0 {
            return Err(DrandRejection::NoPeriod { network: name() });
        }
        let key = min_sig::PublicKey::key_validate(&network.public_key)
            .map_err(|error| DrandRejection::BadKey { network: name(), detail: format!("{error:?}") })?;
        Ok(Self { network, key })
    }

    /// The network.
    pub fn network(&self) -> &DrandNetwork {
        &self.network
    }

    /// Checks a round; returns its randomness.
    ///
    /// # Errors
    /// [`DrandRejection::BadSignature`].
    pub fn verify(&self, round: &DrandRound) -> Result<[u8; 32], DrandRejection> {
        let bad = |error: BLST_ERROR| DrandRejection::BadSignature { round: round.round, detail: format!("{error:?}") };
        let signature = min_sig::Signature::sig_validate(&round.signature, true).map_err(bad)?;
        let message = Sha256::digest(round.round.to_be_bytes());
        // Both were checked to be in their subgroups.
        match signature.verify(false, &message, SIGNATURE_TAG, &[], &self.key, false) {
            BLST_ERROR::BLST_SUCCESS => Ok(Sha256::digest(round.signature).into()),
            error => Err(bad(error)),
        }
    }

    /// The ledger's beacon of a verified round's randomness; step 4 of the module.
    fn separated(&self, round: u64, randomness: &[u8; 32]) -> Beacon {
        let mut hash = Sha256::new();
        hash.update([TAG_BEACON.len() as u8]);
        hash.update(TAG_BEACON);
        hash.update(self.network.chain_hash);
        hash.update(round.to_be_bytes());
        hash.update(randomness);
        Beacon(hash.finalize().into())
    }

    /// The beacon of a block whose time is `time_ms`, from the round that its proposer included: what everybody else
    /// checks.
    ///
    /// # Errors
    /// [`DrandRejection`] if it is not the round for that time, or not signed.
    pub fn beacon(&self, time_ms: u64, round: &DrandRound) -> Result<Beacon, DrandRejection> {
        let expected = self.network.round_at(time_ms).ok_or(DrandRejection::TooEarly { time_ms })?;
        if round.round != expected {
            return Err(DrandRejection::WrongRound { time_ms, expected, got: round.round });
        }
        let randomness = self.verify(round)?;
        Ok(self.separated(round.round, &randomness))
    }
}

/// Where rounds come from. Nothing that it says is believed before it is verified.
pub trait DrandSource: Send + Sync {
    /// A round's signature, as published.
    ///
    /// # Errors
    /// Why it is not to be had, in words.
    fn round(&self, round: u64) -> Result<DrandRound, String>;
}

impl DrandSource for Arc<dyn DrandSource> {
    fn round(&self, round: u64) -> Result<DrandRound, String> {
        self.as_ref().round(round)
    }
}

/// No rounds: for nodes that check blocks and make none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRounds;

impl DrandSource for NoRounds {
    fn round(&self, _: u64) -> Result<DrandRound, String> {
        Err("this node has no source of rounds".to_owned())
    }
}

/// Rounds that were recorded, for networks without a way out and for tests.
#[derive(Debug, Clone, Default)]
pub struct RecordedRounds {
    rounds: BTreeMap<u64, DrandRound>,
}

impl RecordedRounds {
    /// These rounds and no others.
    pub fn new(rounds: impl IntoIterator<Item = DrandRound>) -> Self {
        Self { rounds: rounds.into_iter().map(|round| (round.round, round)).collect() }
    }
}

/// A file of rounds; what else is in it is not read.
#[derive(Deserialize)]
struct RecordedFile {
    rounds: Vec<RecordedRound>,
}

#[derive(Deserialize)]
struct RecordedRound {
    round: u64,
    #[serde(with = "hex_bytes")]
    signature: [u8; 48],
}

impl RecordedRounds {
    /// From JSON: an object whose `rounds` are objects with `round` and `signature`, as drand's HTTP interface has them.
    ///
    /// # Errors
    /// What the parser said.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let file: RecordedFile = serde_json::from_str(text)?;
        Ok(Self::new(file.rounds.into_iter().map(|r| DrandRound { round: r.round, signature: r.signature })))
    }
}

impl DrandSource for RecordedRounds {
    fn round(&self, round: u64) -> Result<DrandRound, String> {
        self.rounds.get(&round).copied().ok_or_else(|| "it is not among the recorded ones".to_owned())
    }
}

/// What a proposer uses: fetches the round of a block's time and checks it.
#[derive(Debug, Clone)]
pub struct DrandBeacon<S> {
    verifier: DrandVerifier,
    source: S,
}

impl<S: DrandSource> DrandBeacon<S> {
    /// Rounds of the verifier's network from `source`.
    pub fn new(verifier: DrandVerifier, source: S) -> Self {
        Self { verifier, source }
    }

    /// The round for a block of this time and the beacon that it gives.
    ///
    /// # Errors
    /// [`DrandError`] if the source does not have it, or gives something else.
    pub fn at(&self, time_ms: u64) -> Result<(DrandRound, Beacon), DrandError> {
        let number = self.verifier.network.round_at(time_ms).ok_or(DrandRejection::TooEarly { time_ms })?;
        let unavailable = |detail| DrandError::Unavailable { round: number, detail };
        let round = self.source.round(number).map_err(unavailable)?;
        let beacon = self.verifier.beacon(time_ms, &round)?;
        Ok((round, beacon))
    }
}

impl<S: DrandSource> BeaconSource for DrandBeacon<S> {
    fn grade(&self) -> BeaconGrade {
        BeaconGrade::Production
    }

    fn draw(&self, slot: &BeaconSlot) -> Result<(Beacon, Option<DrandRound>), DrandError> {
        self.at(slot.time_ms).map(|(round, beacon)| (beacon, Some(round)))
    }

    fn check(&self, slot: &BeaconSlot, shown: Option<&DrandRound>) -> Result<Beacon, BeaconRejection> {
        let shown = shown.ok_or(BeaconRejection::Misplaced { expected: "a", got: "none" })?;
        Ok(self.verifier.beacon(slot.time_ms, shown)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Recorded {
        chain_hash: String,
        scheme: String,
        period_s: u64,
        genesis_time_s: u64,
        public_key: String,
        rounds: Vec<RecordedRound>,
    }

    #[derive(Deserialize)]
    struct RecordedRound {
        round: u64,
        signature: String,
        randomness: Option<String>,
    }

    fn recorded() -> Recorded {
        let path = cairn_fixtures::fixtures_dir().join("vectors/published/drand-quicknet.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn rounds() -> Vec<DrandRound> {
        let signature = |text: &str| hex::decode(text).unwrap().try_into().unwrap();
        let round = |r: &RecordedRound| DrandRound { round: r.round, signature: signature(&r.signature) };
        recorded().rounds.iter().map(round).collect()
    }

    fn quicknet() -> DrandVerifier {
        DrandVerifier::new(DrandNetwork::quicknet()).unwrap()
    }

    /// A time, in ms, that uses the round.
    fn time_of(round: u64) -> u64 {
        let network = DrandNetwork::quicknet();
        (network.genesis_time_s + (round - 1) * network.period_s + LAG_S) * 1_000
    }

    #[test]
    fn the_constants_are_the_published_ones() {
        let (recorded, network) = (recorded(), DrandNetwork::quicknet());
        assert_eq!(recorded.scheme, "bls-unchained-g1-rfc9380");
        assert_eq!(recorded.chain_hash, hex::encode(network.chain_hash));
        assert_eq!(recorded.public_key, hex::encode(network.public_key));
        assert_eq!((recorded.period_s, recorded.genesis_time_s), (network.period_s, network.genesis_time_s));
        let text = serde_json::to_string(&network).unwrap();
        assert_eq!(serde_json::from_str::<DrandNetwork>(&text).unwrap(), network);
    }

    #[test]
    fn recorded_rounds_verify_and_give_the_published_randomness() {
        for (recorded, round) in recorded().rounds.iter().zip(rounds()) {
            let randomness = quicknet().verify(&round).unwrap();
            if let Some(published) = &recorded.randomness {
                assert_eq!(&hex::encode(randomness), published, "round {}", round.round);
            }
        }
    }

    #[test]
    fn what_is_not_the_networks_round_is_refused() {
        let (verifier, first, second) = (quicknet(), rounds()[0], rounds()[1]);
        let refused = |round: DrandRound| {
            assert!(matches!(verifier.verify(&round), Err(DrandRejection::BadSignature { .. })), "{round:?}");
        };
        refused(DrandRound { round: first.round + 1, ..first });
        refused(DrandRound { signature: second.signature, ..first });
        refused(DrandRound { signature: [0; 48], ..first });
        for byte in 0..48 {
            let mut flipped = first;
            flipped.signature[byte] ^= 1;
            refused(flipped);
        }
        // The point at infinity, which would verify under a key of zero.
        let mut infinity = [0; 48];
        infinity[0] = 0xc0;
        refused(DrandRound { signature: infinity, ..first });
    }

    #[test]
    fn networks_that_are_none_are_refused() {
        let broken = |change: fn(&mut DrandNetwork)| {
            let mut network = DrandNetwork::quicknet();
            change(&mut network);
            DrandVerifier::new(network).unwrap_err()
        };
        assert!(matches!(broken(|n| n.public_key[5] ^= 1), DrandRejection::BadKey { .. }));
        assert!(matches!(broken(|n| n.public_key = [0; 96]), DrandRejection::BadKey { .. }));
        assert!(matches!(broken(|n| n.period_s = 0), DrandRejection::NoPeriod { .. }));
    }

    #[test]
    fn a_blocks_time_fixes_its_round() {
        let network = DrandNetwork::quicknet();
        assert_eq!(network.round_at(time_of(1)), Some(1));
        assert_eq!(network.round_at(time_of(1) - 1), None);
        assert_eq!(network.round_at(time_of(1_000) + 2_999), Some(1_000));
        assert_eq!(network.round_at(time_of(1_000) + 3_000), Some(1_001));
        assert!(network.round_at(u64::MAX).is_some());
        let (verifier, round) = (quicknet(), rounds()[1]);
        assert!(verifier.beacon(time_of(1_000), &round).is_ok());
        let late = DrandRejection::WrongRound { time_ms: time_of(1_001), expected: 1_001, got: 1_000 };
        assert_eq!(verifier.beacon(time_of(1_001), &round), Err(late));
        assert_eq!(verifier.beacon(5, &round), Err(DrandRejection::TooEarly { time_ms: 5 }));
    }

    #[test]
    fn a_proposer_and_everybody_else_get_the_same_beacon() {
        let beacon = DrandBeacon::new(quicknet(), RecordedRounds::new(rounds()));
        let (round, made) = beacon.at(time_of(1_001)).unwrap();
        assert_eq!(quicknet().beacon(time_of(1_001), &round), Ok(made));
        assert_ne!(made, beacon.at(time_of(1_002)).unwrap().1);
        assert_ne!(made.0, quicknet().verify(&round).unwrap(), "our use of a round is our own");
        assert!(matches!(beacon.at(time_of(1_003)), Err(DrandError::Unavailable { round: 1_003, .. })));
        let lying = DrandBeacon::new(quicknet(), RecordedRounds::new([DrandRound { round: 1_003, ..round }]));
        assert!(matches!(lying.at(time_of(1_003)), Err(DrandError::Rejected(_))));
    }

    #[test]
    fn another_networks_round_gives_another_beacon() {
        let other = DrandNetwork { chain_hash: [7; 32], ..DrandNetwork::quicknet() };
        let round = rounds()[1];
        let mine = quicknet().beacon(time_of(1_000), &round).unwrap();
        assert_ne!(DrandVerifier::new(other).unwrap().beacon(time_of(1_000), &round).unwrap(), mine);
    }
}
