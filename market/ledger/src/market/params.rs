//! The numbers of assignment.

use cairn_protocol::Amount;
use serde::{Deserialize, Serialize};

/// How a network weighs bids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketParams {
    /// How much dearer a bid without any reputation counts than the same bid with all of it, in basis points.
    pub reputation_weight_bp: u32,
    /// Deposit of an auditor for each provider that it vouches for: what the ledger keeps is paid for as long as it is
    /// kept.
    pub attestation_deposit: Amount,
}

impl MarketParams {
    /// Largest weight: a hundred times the price.
    pub const REPUTATION_WEIGHT_BP_MAX: u32 = 1_000_000;
}

impl Default for MarketParams {
    /// No reputation at all counts as twice the price; a tenth of a unit for an attestation.
    fn default() -> Self {
        Self { reputation_weight_bp: 10_000, attestation_deposit: Amount(100_000) }
    }
}
