//! What sealing asks the ledger, and what it hands in.
//!
//! All calls block. Handing in is not being taken: a send returns the transaction's name as soon as the ledger's node
//! has it, and the pipeline looks at the ledger's state to learn what became of it. [`crate::ProviderLedger`] is the
//! implementation over a real ledger; tests bring their own.

use std::time::Duration;

use cairn_ledger::TransactionId;
use cairn_ledger::WindowPostStatement;
use cairn_protocol::{CommR, Epoch, SectorNumber, Seed, Ticket};

use crate::state::{Assignment, Sealed, SectorPiece};

/// The ledger gave no useful answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerClientError {
    /// It cannot be reached, or does not know yet. Trying again helps.
    #[error("the ledger is not available: {detail}")]
    Unavailable {
        /// What happened.
        detail: String,
    },
    /// It does not take this transaction. Trying again does not help unless something else changes.
    #[error("the ledger refuses the {what}: {reason}")]
    Refused {
        /// Which transaction.
        what: &'static str,
        /// Its words.
        reason: String,
    },
}

/// Sealing randomness and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawnTicket {
    /// Epoch of the ticket.
    pub epoch: Epoch,
    /// The ticket.
    pub ticket: Ticket,
}

/// A sector as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerSector {
    /// The number is free.
    Unknown,
    /// Waits for its proof.
    PreCommitted {
        /// The replica announced.
        comm_r: CommR,
        /// Epoch whose beacon is the seed.
        seed_epoch: Epoch,
        /// First epoch that takes no prove-commit.
        expires_at: Epoch,
        /// The seed, once known.
        seed: Option<Seed>,
    },
    /// Counts as stored, or did.
    Proving {
        /// The replica.
        comm_r: CommR,
        /// First epoch of its life.
        activated_at: Epoch,
        /// Where it stands with its proofs.
        health: LedgerHealth,
        /// Whether its challenge is drawn and not answered; its health cannot be declared until it is.
        is_locked: bool,
    },
    /// Over.
    Closed {
        /// The ledger's reason.
        reason: String,
    },
}

/// Where a proving sector stands with its proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerHealth {
    /// Proven, or its first deadline is to come.
    Active,
    /// Earns nothing and is left out of proofs until recovery is declared.
    Faulty,
    /// To be proven at the next deadline.
    Recovering,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionStatus {
    /// Neither in a block nor refused, as far as this node knows: waiting, or lost.
    Pending,
    /// In the block of this epoch, carried out.
    Applied(Epoch),
    /// In a block, without effect; or refused.
    Failed(String),
}

/// One window PoSt that falls due: a partition at one instance of its deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostDuty {
    /// Which of the 48 deadlines.
    pub deadline: u32,
    /// Which partition in it.
    pub partition: u32,
    /// Epoch whose beacon is the challenge.
    pub challenge_epoch: Epoch,
    /// First epoch whose block may no longer hold the proof.
    pub closes_at: Epoch,
    /// Sectors that the proof covers; none if all are faulty.
    pub sectors: Vec<SectorNumber>,
    /// Where the duty stands.
    pub status: DutyStatus,
}

/// Where a duty stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DutyStatus {
    /// The challenge is not drawn; faults may still be declared.
    Upcoming,
    /// The next block may hold the proof of this statement.
    Open(WindowPostStatement),
    /// The ledger has the proof.
    Proven,
}

/// The ledger, as one provider sees it.
pub trait LedgerClient: Send + Sync {
    /// Epoch of the last block.
    ///
    /// # Errors
    /// [`LedgerClientError`], here and below.
    fn head(&self) -> Result<Epoch, LedgerClientError>;

    /// Waits until the head is `epoch` or `timeout` has passed; returns the head.
    ///
    /// # Errors
    /// See [`LedgerClient::head`]. A timeout is no error.
    fn wait_for(&self, epoch: Epoch, timeout: Duration) -> Result<Epoch, LedgerClientError>;

    /// Fresh sealing randomness.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn draw_ticket(&self) -> Result<DrawnTicket, LedgerClientError>;

    /// Whether a pre-commit in the next block may still use a ticket of `epoch`.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn is_ticket_usable(&self, epoch: Epoch) -> Result<bool, LedgerClientError>;

    /// A sector's place on the ledger.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn sector(&self, sector: SectorNumber) -> Result<LedgerSector, LedgerClientError>;

    /// Hands in a pre-commit. The implementation chooses the expiration so that the deals fit.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn send_pre_commit(&self, assignment: &Assignment, sealed: &Sealed) -> Result<TransactionId, LedgerClientError>;

    /// Hands in a proof of replication with the piece manifest.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn send_prove_commit(&self, assignment: &Assignment, proof: Vec<u8>) -> Result<TransactionId, LedgerClientError>;

    /// Hands in new data of a sector, with the replica that holds it and the proof.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn send_update(
        &self,
        sector: SectorNumber,
        pieces: &[SectorPiece],
        comm_r: CommR,
        proof: Vec<u8>,
    ) -> Result<TransactionId, LedgerClientError>;

    /// What became of a transaction.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn submission(&self, transaction: &TransactionId) -> Result<SubmissionStatus, LedgerClientError>;

    /// The next proof of every partition, first to close first.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn post_duties(&self) -> Result<Vec<PostDuty>, LedgerClientError>;

    /// Hands in a window PoSt.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn send_window_post(&self, duty: &PostDuty, proof: Vec<u8>) -> Result<TransactionId, LedgerClientError>;

    /// Takes sectors (ascending) out of the next proofs.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn send_faults(&self, sectors: &[SectorNumber]) -> Result<TransactionId, LedgerClientError>;

    /// Puts repaired sectors (ascending) into the next proofs.
    ///
    /// # Errors
    /// See [`LedgerClient::head`].
    fn send_recovery(&self, sectors: &[SectorNumber]) -> Result<TransactionId, LedgerClientError>;
}
