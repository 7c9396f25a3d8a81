//! Receipts that were drawn behind opinions, and what became of them.

use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::scores::quality::Served;
use cairn_ledger::scores::receipts::{CheckReceipt, CheckResult};
use cairn_ledger::{Address, State, economy};
use cairn_protocol::ProviderId;
use cid::Cid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::market::cid_text;
use super::{Digest, Hex32};

/// Where an audit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditState {
    /// The checker must show its receipts before the phase for it is over.
    Waiting,
    /// They are shown.
    Opened,
    /// They are shown, and most of the stake says that one is made up.
    Refuted,
}

/// One of the opened receipts, drawn: whoever fetches the same range must see the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exhibit {
    /// Which of the checker's tasks.
    pub slot: u32,
    /// Root CID of the dataset.
    #[serde(with = "cid_text")]
    #[schema(value_type = String)]
    pub root: Cid,
    /// Where the range begins: at byte `point * size / 2^64` of the dataset's files, one after the other.
    pub point: u64,
    /// Number of bytes that were asked for.
    pub length: u64,
    /// Milliseconds to the first byte.
    pub ttfb_ms: u32,
    /// Milliseconds to the last one.
    pub total_ms: u32,
    /// Bytes that came.
    pub bytes: u64,
    /// SHA-256 of them, as the checker signed it.
    #[schema(value_type = Hex32)]
    pub content: Digest,
}

/// What another checker says that the exhibit should say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refutation {
    /// Who.
    #[schema(value_type = Hex32)]
    pub by: Address,
    /// SHA-256 of the bytes that it got; zeros if the dataset was not what was assigned.
    #[schema(value_type = Hex32)]
    pub content: Digest,
}

/// What a checker must account for: its receipts about one provider, drawn when its opinions were shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// The round that was measured.
    pub round: u64,
    /// Whose receipts.
    #[schema(value_type = Hex32)]
    pub checker: Address,
    /// About whom.
    #[schema(value_type = u64)]
    pub provider: ProviderId,
    /// Where that one serves retrievals.
    pub endpoint: String,
    /// Where it stands.
    pub state: AuditState,
    /// What others may refute; absent while nothing is opened, and if no receipt says that anything was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhibit: Option<Exhibit>,
    /// What others found instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refutations: Vec<Refutation>,
}

impl Audit {
    pub(crate) fn of(state: &State, round: u64, checker: Address, audit: &economy::Audit) -> Self {
        let standing = match audit {
            economy::Audit { refuted: true, .. } => AuditState::Refuted,
            economy::Audit { opened: true, .. } => AuditState::Opened,
            _ => AuditState::Waiting,
        };
        let provider = state.provider(audit.provider);
        let said = state.refutations_of(round, checker).filter_map(|(by, content)| {
            let content = Digest(content.try_into().ok()?);
            Some(Refutation { by, content })
        });
        Self {
            round,
            checker,
            provider: audit.provider,
            endpoint: provider.map_or_else(String::new, |provider| provider.endpoint.clone()),
            state: standing,
            exhibit: audit.exhibit.as_ref().and_then(Exhibit::of),
            refutations: said.collect(),
        }
    }

    /// The exhibit as the ledger writes it; `None` if there is none.
    pub fn to_receipt(&self) -> Option<CheckReceipt> {
        let Exhibit { slot, root, point, length, ttfb_ms, total_ms, bytes, content } = self.exhibit.clone()?;
        let (round, checker, provider) = (self.round, self.checker, self.provider);
        let served = Served { ttfb_ms, total_ms, bytes };
        let task = CheckTask { round, checker, slot, provider, root, point, length };
        Some(CheckReceipt { task, result: CheckResult::Served { served, content: content.0 } })
    }
}

impl Exhibit {
    /// `None` for a failure, which is never drawn.
    fn of(receipt: &CheckReceipt) -> Option<Self> {
        let CheckResult::Served { served, content } = receipt.result else { return None };
        let CheckTask { slot, root, point, length, .. } = receipt.task;
        let Served { ttfb_ms, total_ms, bytes } = served;
        Some(Self { slot, root, point, length, ttfb_ms, total_ms, bytes, content: Digest(content) })
    }
}
