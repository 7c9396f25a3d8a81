//! What a network starts from. Its hash names the network.

use std::sync::Arc;

use cairn_ledger::validator::POWER_UNIT;
use cairn_ledger::{Address, Beacon, ChainId, KeyDigest, LedgerParams, State, VerifyingKeys, address_of, codec};
use cairn_protocol::Amount;
use cairn_protocol::bytes32::serde32;
use ed25519_consensus::SigningKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::beacon::{BeaconGrade, BeaconSource, DevelopmentBeacon};
use crate::drand::{DrandBeacon, DrandNetwork, DrandRejection, DrandSource, DrandVerifier, NoRounds};

/// What a network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// To try things; predictable randomness is accepted.
    Development,
    /// For real data and money.
    Production,
}

/// Money that somebody has at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocation {
    /// Who.
    pub address: Address,
    /// How much, in micro-units.
    pub amount: Amount,
}

/// One of the first validators. Its stake is money of its own, beside the allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// Its key, which is also the account that its stake goes back to.
    pub address: Address,
    /// At least one vote's worth.
    pub stake: Amount,
}

/// Where randomness comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum BeaconConfig {
    /// See [`DevelopmentBeacon`].
    DevelopmentHashChain {
        /// Start of the chain.
        #[serde(with = "serde32")]
        secret: [u8; 32],
    },
    /// Rounds of a drand network; see [`crate::drand`].
    Drand(DrandNetwork),
}

impl BeaconConfig {
    /// What it is worth.
    pub fn grade(&self) -> BeaconGrade {
        match self {
            Self::DevelopmentHashChain { .. } => BeaconGrade::Development,
            Self::Drand(_) => BeaconGrade::Production,
        }
    }

    /// The source. Who makes blocks on a network with drand needs `rounds`.
    ///
    /// # Errors
    /// [`DrandRejection`] if the drand network cannot be.
    pub fn source(&self, rounds: Option<Arc<dyn DrandSource>>) -> Result<Box<dyn BeaconSource>, DrandRejection> {
        Ok(match self {
            Self::DevelopmentHashChain { secret } => Box::new(DevelopmentBeacon::new(*secret)),
            Self::Drand(network) => {
                let rounds = rounds.unwrap_or_else(|| Arc::new(NoRounds));
                Box::new(DrandBeacon::new(DrandVerifier::new(network.clone())?, rounds))
            }
        })
    }
}

/// The start of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// What the network is for.
    pub network: Network,
    /// A name for people.
    pub name: String,
    /// When it starts, in milliseconds since 1970.
    pub time_ms: u64,
    /// The numbers of the ledger.
    pub params: LedgerParams,
    /// Who has what.
    pub allocations: Vec<Allocation>,
    /// Who decides the first block; at least one.
    pub validators: Vec<GenesisValidator>,
    /// Where randomness comes from.
    pub beacon: BeaconConfig,
    /// The keys that proofs are checked with. Nodes with other keys would disagree about blocks.
    pub verifying_keys: VerifyingKeys,
}

/// Why a genesis starts no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The ledger refuses it.
    #[error(transparent)]
    Ledger(#[from] cairn_ledger::GenesisRejection),
    /// A production network with a beacon that its operator can predict.
    #[error("genesis of {name:?} is for a production network but its beacon is of development grade")]
    DevelopmentBeacon {
        /// Name of the network.
        name: String,
    },
    /// A drand network that cannot be.
    #[error(transparent)]
    Drand(#[from] DrandRejection),
    /// Nobody to decide blocks.
    #[error("genesis of {name:?} has no validators")]
    NoValidators {
        /// Name of the network.
        name: String,
    },
    /// This node checks proofs with another key than the network.
    #[error(
        "the network {name:?} checks {circuit} proofs with verifying key {expected}, this node has {got}: its \
         parameters are not the network's"
    )]
    OtherKey {
        /// Name of the network.
        name: String,
        /// Which circuit.
        circuit: String,
        /// The network's key, or `none`.
        expected: String,
        /// The node's key, or `none`.
        got: String,
    },
    /// Not the JSON of a genesis.
    #[error("genesis is not valid: {detail}")]
    Json {
        /// What the parser said.
        detail: String,
    },
}

/// The key of a validator of a development network: as secret as the genesis is.
pub fn development_validator_key(secret: &[u8; 32], number: u32) -> SigningKey {
    let seed = Sha256::new().chain_update(b"cairn/development-validator/v1").chain_update(secret);
    SigningKey::from(<[u8; 32]>::from(seed.chain_update(number.to_be_bytes()).finalize()))
}

impl Genesis {
    /// A development network with the devnet parameters, whose verifier needs no keys, and one validator.
    pub fn devnet(time_ms: u64, secret: [u8; 32], allocations: Vec<Allocation>) -> Self {
        Self::devnet_of(time_ms, secret, allocations, 1)
    }

    /// A development network with this many validators of one vote each; their keys are [`development_validator_key`].
    pub fn devnet_of(time_ms: u64, secret: [u8; 32], allocations: Vec<Allocation>, validators: u32) -> Self {
        let validator = |number| GenesisValidator {
            address: address_of(&development_validator_key(&secret, number)),
            stake: POWER_UNIT,
        };
        Self {
            network: Network::Development,
            name: "devnet".to_owned(),
            time_ms,
            params: LedgerParams::devnet(),
            allocations,
            validators: (0..validators).map(validator).collect(),
            beacon: BeaconConfig::DevelopmentHashChain { secret },
            verifying_keys: VerifyingKeys::new(),
        }
    }

    /// Checks that a node's verifier has the network's keys, all of them and no other.
    ///
    /// # Errors
    /// [`GenesisError::OtherKey`] names the first circuit with another key.
    pub fn check_keys(&self, got: &VerifyingKeys) -> Result<(), GenesisError> {
        let text = |digest: Option<&KeyDigest>| digest.map_or_else(|| "none".to_owned(), |digest| digest.0.clone());
        let mut circuits = self.verifying_keys.keys().chain(got.keys());
        match circuits.find(|circuit| self.verifying_keys.get(*circuit) != got.get(*circuit)) {
            None => Ok(()),
            Some(circuit) => Err(GenesisError::OtherKey {
                name: self.name.clone(),
                circuit: circuit.clone(),
                expected: text(self.verifying_keys.get(circuit)),
                got: text(got.get(circuit)),
            }),
        }
    }

    /// The network's name for machines: SHA-256 of the genesis in canonical DAG-CBOR.
    pub fn chain(&self) -> ChainId {
        ChainId(Sha256::digest(codec::encode(self)).into())
    }

    /// The key of the only validator of a development network, which anybody who has the genesis can compute.
    pub fn only_development_key(&self) -> Option<SigningKey> {
        let BeaconConfig::DevelopmentHashChain { secret } = &self.beacon else { return None };
        let key = development_validator_key(secret, 0);
        match self.validators.as_slice() {
            [only] if self.network == Network::Development && only.address == address_of(&key) => Some(key),
            _ => None,
        }
    }

    /// The beacon before the first block.
    pub fn first_beacon(&self) -> Beacon {
        Beacon(self.chain().0)
    }

    /// The first state.
    ///
    /// # Errors
    /// [`GenesisError`] if parameters or allocations cannot be, or the beacon is not good enough for the network.
    pub fn state(&self) -> Result<State, GenesisError> {
        if self.network == Network::Production && self.beacon.grade() == BeaconGrade::Development {
            return Err(GenesisError::DevelopmentBeacon { name: self.name.clone() });
        }
        self.beacon.source(None)?;
        if self.validators.is_empty() {
            return Err(GenesisError::NoValidators { name: self.name.clone() });
        }
        let allocations: Vec<_> = self.allocations.iter().map(|a| (a.address, a.amount)).collect();
        let validators: Vec<_> = self.validators.iter().map(|v| (v.address, v.stake)).collect();
        let state = State::genesis(self.chain(), self.params.clone(), self.time_ms, &allocations)?;
        Ok(state.with_validators(&validators)?)
    }

    /// As JSON, for people.
    ///
    /// # Panics
    /// Never: a genesis has no map with other than text keys.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a genesis always serialises")
    }

    /// From JSON.
    ///
    /// # Errors
    /// [`GenesisError::Json`] says where it is wrong.
    pub fn from_json(text: &str) -> Result<Self, GenesisError> {
        serde_json::from_str(text).map_err(|error| GenesisError::Json { detail: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devnet() -> Genesis {
        Genesis::devnet(5, [1; 32], vec![Allocation { address: Address([2; 32]), amount: Amount(7) }])
    }

    #[test]
    fn round_trips_as_json_and_names_the_chain() {
        let genesis = devnet();
        assert_eq!(Genesis::from_json(&genesis.to_json()), Ok(genesis.clone()));
        let mut other = genesis.clone();
        other.time_ms += 1;
        assert_ne!(genesis.chain(), other.chain());
        assert_eq!(genesis.state().unwrap().chain(), genesis.chain());
        assert!(matches!(Genesis::from_json("{}"), Err(GenesisError::Json { .. })));
    }

    #[test]
    fn production_refuses_a_development_beacon() {
        let mut genesis = devnet();
        genesis.network = Network::Production;
        assert!(matches!(genesis.state(), Err(GenesisError::DevelopmentBeacon { .. })));
        genesis.beacon = BeaconConfig::Drand(DrandNetwork::quicknet());
        assert!(genesis.state().is_ok());
        assert_eq!(Genesis::from_json(&genesis.to_json()), Ok(genesis.clone()));
        genesis.beacon = BeaconConfig::Drand(DrandNetwork { public_key: [1; 96], ..DrandNetwork::quicknet() });
        assert!(matches!(genesis.state(), Err(GenesisError::Drand(_))));
    }

    #[test]
    fn development_keys_are_for_lonely_development_networks() {
        let genesis = devnet();
        let key = genesis.only_development_key().unwrap();
        assert_eq!(address_of(&key), genesis.validators[0].address);
        assert!(Genesis { network: Network::Production, ..devnet() }.only_development_key().is_none());
        assert!(Genesis::devnet_of(5, [1; 32], vec![], 2).only_development_key().is_none());
        let nobody = Genesis::devnet_of(5, [1; 32], vec![], 0);
        assert!(matches!(nobody.state(), Err(GenesisError::NoValidators { .. })));
    }

    #[test]
    fn a_node_with_other_keys_is_refused_by_name() {
        let mut genesis = devnet();
        assert_eq!(genesis.check_keys(&VerifyingKeys::new()), Ok(()));
        genesis.verifying_keys.insert("porep 2KiB".to_owned(), KeyDigest("aa".to_owned()));
        assert_ne!(genesis.chain(), devnet().chain());
        assert_eq!(Genesis::from_json(&genesis.to_json()), Ok(genesis.clone()));
        let mut keys = genesis.verifying_keys.clone();
        assert_eq!(genesis.check_keys(&keys), Ok(()));
        let told = |keys: &VerifyingKeys| genesis.check_keys(keys).unwrap_err().to_string();
        keys.insert("window-post 2KiB".to_owned(), KeyDigest("bb".to_owned()));
        assert!(told(&keys).contains("checks window-post 2KiB proofs with verifying key none, this node has bb"));
        keys.insert("porep 2KiB".to_owned(), KeyDigest("cc".to_owned()));
        assert!(told(&keys).contains("checks porep 2KiB proofs with verifying key aa, this node has cc"));
    }

    #[test]
    fn the_ledger_has_its_say() {
        let mut genesis = devnet();
        genesis.allocations.push(genesis.allocations[0]);
        assert!(matches!(genesis.state(), Err(GenesisError::Ledger(_))));
    }
}
