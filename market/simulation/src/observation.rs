//! What a checker is shown after a block.

use std::cell::Cell;

use cairn_ledger::testing::HashVerifier;
use cairn_ledger::{
    BlockContext, BlockOutcome, BlockRejection, Event, Outcome, PorepStatement, ProofRejection, ProofVerifier, Receipt,
    SectorUpdateStatement, SignedTransaction, State, StateChange, WindowPostStatement, codec,
};
use cairn_protocol::{CommD, Epoch, PieceInfo, SectorSize};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::world::Offer;

/// A function that applies a block.
pub type Apply =
    fn(&mut State, &BlockContext, &[SignedTransaction], &dyn ProofVerifier) -> Result<BlockOutcome, BlockRejection>;

/// The ledger's functions as checkers call them; [`crate::damage`] puts broken ones in their place.
#[derive(Debug, Clone, Copy)]
pub struct Tools {
    /// Applies a block.
    pub apply: Apply,
    /// Writes a snapshot.
    pub snapshot: fn(&State) -> Vec<u8>,
    /// What to store for the newer state over the older.
    pub changes: fn(&State, &State) -> Vec<StateChange>,
}

impl Default for Tools {
    fn default() -> Self {
        Self {
            apply: crate::world::apply,
            snapshot: codec::encode::<State>,
            changes: |old, new| new.changes_since(old),
        }
    }
}

/// The stand-in verifier, counting how often it is asked.
#[derive(Debug, Default)]
pub struct CountingVerifier {
    /// Proofs looked at.
    pub proofs: Cell<u64>,
}

impl ProofVerifier for CountingVerifier {
    fn comm_d(&self, size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, ProofRejection> {
        HashVerifier.comm_d(size, pieces)
    }

    fn verify_porep(&self, statement: &PorepStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.proofs.set(self.proofs.get() + 1);
        HashVerifier.verify_porep(statement, proof)
    }

    fn verify_sector_update(&self, statement: &SectorUpdateStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.proofs.set(self.proofs.get() + 1);
        HashVerifier.verify_sector_update(statement, proof)
    }

    fn verify_window_post(&self, statement: &WindowPostStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.proofs.set(self.proofs.get() + 1);
        HashVerifier.verify_window_post(statement, proof)
    }
}

/// A block, and what it did.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The state before.
    pub before: State,
    /// The state after.
    pub after: State,
    /// Epoch, time and beacon.
    pub context: BlockContext,
    /// The transactions, and which of them are crimes.
    pub offers: Vec<Offer>,
    /// What the ledger said about it.
    pub outcome: BlockOutcome,
    /// What to store.
    pub changes: Vec<StateChange>,
    /// Proofs that were looked at.
    pub proofs: u64,
    /// Most epochs that due work has been late so far.
    pub lag: u64,
    /// Whether this is a block after which checkers read everything.
    pub full: bool,
    /// The ledger's functions.
    pub tools: Tools,
}

impl Observation {
    /// The block's epoch.
    pub fn now(&self) -> Epoch {
        self.context.epoch
    }

    /// The transactions as they travelled.
    pub fn transactions(&self) -> Vec<SignedTransaction> {
        self.offers.iter().map(|offer| offer.signed.clone()).collect()
    }

    /// Transactions with their receipts.
    pub fn receipts(&self) -> impl Iterator<Item = (&Offer, &Receipt)> {
        self.offers.iter().zip(&self.outcome.receipts)
    }

    /// Those that used a nonce and paid a fee.
    pub fn paying(&self) -> impl Iterator<Item = (&Offer, &Receipt)> {
        self.receipts().filter(|(_, receipt)| !matches!(receipt.outcome, Outcome::Refused(_)))
    }

    /// Events of the due work, which comes first.
    pub fn due_events(&self) -> &[Event] {
        let in_receipts: usize = self.outcome.receipts.iter().map(|receipt| receipt.events.len()).sum();
        &self.outcome.events[..self.outcome.events.len().saturating_sub(in_receipts)]
    }

    /// Keys of a column whose entries changed, and whether they are still there.
    pub fn touched<K: Serialize + DeserializeOwned>(&self, column: u8) -> impl Iterator<Item = (K, bool)> {
        let changes = self.changes.iter().filter(move |change| change.column == column);
        changes.map(|change| {
            let key = codec::decode_strict(&change.key, usize::MAX).expect("the ledger writes keys that it can read");
            (key, change.value.is_some())
        })
    }
}
