//! Why a provider may not take an order, and what attributes may not be.

use cairn_protocol::ProviderId;
use serde::{Deserialize, Serialize};

use super::attributes::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::ids::{Address, OrderId};
use crate::scores::Fraction;

/// Attributes that cannot be, or a provider that does not meet an order's requirements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum MarketRejection {
    /// A key or value of the wrong length or with the wrong characters.
    #[error(
        "attribute {key:?}: keys have 1 to {longest} of a-z 0-9 - _ . /, values 1 to {most} printable ASCII without spaces",
        longest = KEY_BYTES_MAX,
        most = VALUE_BYTES_MAX
    )]
    BadAttribute { key: String },
    /// More attributes than may be.
    #[error("{got} attributes, the limit is {limit}")]
    TooManyAttributes { limit: u64, got: u64 },
    /// The sender takes back a signature that it did not give.
    #[error("{auditor} vouches for nothing about {provider}")]
    NothingSigned { provider: ProviderId, auditor: Address },
    /// Auditors are named, but nothing that they should vouch for.
    #[error("auditors are named, but no attribute is required that they could have signed")]
    NothingToSign,
    /// The provider is not trusted enough.
    #[error("{provider} has a reputation of {got}, the order asks for {needed}")]
    ReputationTooLow { provider: ProviderId, needed: Fraction, got: Fraction },
    /// The provider does not say what the order asks for.
    #[error("{provider} has {key} = {got:?}, the order asks for {wanted:?}")]
    AttributeMissing { provider: ProviderId, key: String, wanted: String, got: Option<String> },
    /// The provider names no region.
    #[error("{provider} names no region, the order asks for one")]
    RegionMissing { provider: ProviderId },
    /// An auditor who must have signed has not, or not all of it.
    #[error("{auditor} does not vouch for what the order asks of {provider}")]
    NotSigned { provider: ProviderId, auditor: Address },
    /// None of the auditors of whom one must have signed has.
    #[error("none of the order's auditors vouches for what it asks of {provider}")]
    SignedByNone { provider: ProviderId },
    /// Another copy of the piece is in this region.
    #[error("another copy of the piece of {order} is in the region {region:?} of {provider}")]
    RegionTaken { order: OrderId, provider: ProviderId, region: String },
}
