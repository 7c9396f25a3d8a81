//! What a transaction may ask of rails and of scores.

use cairn_protocol::{Amount, ProviderId, SectorNumber};
use serde::{Deserialize, Serialize};

use crate::ids::{Address, Commitment, DealId, Salt};
use crate::payments::RailId;
use crate::scores::ballot::Opinions;
use crate::scores::receipts::{OpenedReceipt, SignedCheckReceipt};

/// Whose proofs decide which epochs of a rail pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RailTarget {
    /// Nobody's: every epoch pays.
    Nothing,
    /// Those of a live sector, for as long as it lives. The payee must be the provider's owner.
    Sector {
        /// Whose sector.
        provider: ProviderId,
        /// Which.
        sector: SectorNumber,
    },
    /// Those of an active deal's sector, until the deal ends. The payee must be the provider's owner.
    Deal(DealId),
}

/// A request about rails; see [`crate::payments::rails`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RailCommand {
    /// Moves free money into an account for rails. By anyone, for anyone.
    Deposit {
        /// Whose account.
        account: Address,
        /// How much; more than nothing.
        amount: Amount,
    },
    /// Takes money that is not locked out of the sender's account.
    Withdraw {
        /// How much; more than nothing.
        amount: Amount,
    },
    /// Opens a rail from the sender's account. Its number is in [`super::RailEvent::Opened`].
    Open {
        /// Who is paid.
        payee: Address,
        /// For each paid epoch.
        rate: Amount,
        /// Epochs that are paid after termination.
        lockup_period: u64,
        /// Locked for payments at once.
        lockup_fixed: Amount,
        /// Which epochs pay.
        target: RailTarget,
    },
    /// Changes the rate from now on. By the payer.
    ChangeRate {
        /// Which.
        rail: RailId,
        /// For each paid epoch.
        rate: Amount,
    },
    /// Pays at once out of the fixed lockup. By the payer.
    PayOnce {
        /// Which.
        rail: RailId,
        /// How much; more than nothing.
        amount: Amount,
    },
    /// Ends the streaming. By payer or payee.
    Terminate {
        /// Which.
        rail: RailId,
    },
    /// Pays what is owed. By anyone.
    Settle {
        /// Which.
        rail: RailId,
    },
}

/// A request about checking; see [`crate::scores`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum CheckCommand {
    /// Stakes free money of the sender, who is a checker from now on.
    Stake {
        /// How much; the whole stake must reach the least.
        amount: Amount,
    },
    /// Takes stake back: its voice is gone at once, the money is free after `exit_epochs`.
    Unstake {
        /// How much; the rest must be nothing, or reach the least.
        amount: Amount,
    },
    /// Commits to opinions of the round before this one, in its commit phase.
    Commit {
        /// [`Opinions::commitment`].
        commitment: Commitment,
    },
    /// Shows them, in the reveal phase.
    Reveal {
        /// What was committed to.
        opinions: Opinions,
        /// The salt of the commitment.
        salt: Salt,
    },
    /// Opens the receipts behind the opinion that was drawn ([`super::Audit`]), in the phase for it. By who is audited.
    Open {
        /// All receipts about the drawn provider, ascending.
        receipts: Vec<OpenedReceipt>,
    },
    /// Says that the bytes of an opened receipt hash to something else. By another checker; once. When more than half of
    /// the others' stake says the same, the receipt is refuted.
    Refute {
        /// The round of the receipt.
        round: u64,
        /// Whose receipt.
        checker: Address,
        /// SHA-256 of the range that the receipt is about; zeros if the task was never assigned.
        #[serde(with = "serde_bytes")]
        content: [u8; 32],
    },
    /// Shows that a checker signed two different things about one check: it loses all its stake. By anyone.
    ReportContradiction {
        /// One receipt.
        first: Box<SignedCheckReceipt>,
        /// Another of the same checker, round and slot.
        second: Box<SignedCheckReceipt>,
    },
}
