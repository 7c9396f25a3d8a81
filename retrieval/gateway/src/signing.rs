//! A provider's word for the bytes that its gateway sends.
//!
//! A gateway has no key and knows no ledger. If it has a [`GroupSigner`], it asks it to sign what it is about to send: the root
//! of the tree over a group of a piece, which is a node of the piece's own tree or the bytes are wrong. Before that it compares
//! the root with the one that was kept when the piece came: a disk that rots makes a refusal, never a false word.

use std::sync::Arc;

use cairn_content::PieceGroups;
use cairn_protocol::{CommP, Epoch, PieceInfo};
use cid::Cid;

use crate::source::{ContentSource, DataEntry, PieceResource, Resource, SourceCounts, SourceError};

/// What is said about a group that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupClaim {
    /// Of which piece, and its padded size.
    pub piece: PieceInfo,
    /// Which group of it.
    pub group: u64,
    /// Root of the tree over the bytes that are sent.
    pub root: CommP,
    /// The client's word for when it is.
    pub epoch: Epoch,
    /// The client's own.
    pub nonce: u64,
}

/// Signs for a provider.
pub trait GroupSigner: Send + Sync + 'static {
    /// The signed statement, in its form that travels; `None` while there is nobody to sign for.
    fn sign(&self, claim: &GroupClaim) -> Option<Vec<u8>>;
}

/// A source whose groups are signed for.
pub(crate) struct Signing {
    pub(crate) source: Arc<dyn ContentSource>,
    pub(crate) signer: Arc<dyn GroupSigner>,
}

impl ContentSource for Signing {
    fn piece(&self, comm_p: &CommP) -> Result<Option<PieceResource>, SourceError> {
        self.source.piece(comm_p)
    }

    fn dataset_by_name(&self, name: &str) -> Result<Option<Cid>, SourceError> {
        self.source.dataset_by_name(name)
    }

    fn data(&self, root: &Cid, path: &[String]) -> Result<Option<DataEntry>, SourceError> {
        self.source.data(root, path)
    }

    fn block(&self, cid: &Cid) -> Result<Option<Resource>, SourceError> {
        self.source.block(cid)
    }

    fn piece_groups(&self, comm_p: &CommP) -> Result<Option<PieceGroups>, SourceError> {
        self.source.piece_groups(comm_p)
    }

    fn sign_group(&self, claim: &GroupClaim) -> Option<Vec<u8>> {
        self.signer.sign(claim)
    }

    fn holds(&self, root: &Cid, block: &Cid) -> bool {
        self.source.holds(root, block)
    }

    fn counts(&self) -> SourceCounts {
        self.source.counts()
    }
}
