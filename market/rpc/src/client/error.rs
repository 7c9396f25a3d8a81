//! Why a question has no useful answer.

use std::time::Duration;

use cairn_ledger::{ChainId, TransactionId};

use crate::problem::{Problem, ProblemCode};
use crate::wire::Refusal;

/// An address that is none of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("address of the ledger: expected {expected}, got {got:?}")]
pub struct UrlRejection {
    /// What it must look like.
    pub expected: &'static str,
    /// What it is, shortened.
    pub got: String,
}

/// See the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody answers, or not in time; trying again may help.
    #[error("cannot ask {url}: {detail}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What happened.
        detail: String,
    },
    /// The server says why it does not answer as asked.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// An answer that is none of this interface.
    #[error("{url} answers {status}, which cannot be used: {detail}")]
    BadAnswer {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// What is wrong with it.
        detail: String,
    },
    /// Another network than the caller means.
    #[error("{url} is a ledger of chain {got}, expected {expected}")]
    WrongChain {
        /// The server.
        url: String,
        /// The chain that the caller means.
        expected: ChainId,
        /// The server's.
        got: ChainId,
    },
    /// A transaction is in no block yet. It may still come.
    #[error("transaction {id} is in no block after {waited:?}; it may still come")]
    Timeout {
        /// Which.
        id: TransactionId,
        /// How long.
        waited: Duration,
    },
    /// The ledger did not carry out a command.
    #[error("the ledger refuses transaction {id}: {}", .refusal.text)]
    Failed {
        /// Which.
        id: TransactionId,
        /// Why.
        refusal: Box<Refusal>,
    },
}

impl ClientError {
    /// Whether asking the same again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem(problem) => problem.code.is_transient(),
            _ => false,
        }
    }

    /// Whether a transaction came with a nonce that is not the next one.
    pub fn is_wrong_nonce(&self) -> bool {
        match self {
            Self::Problem(problem) => {
                problem.code == ProblemCode::TransactionRefused && problem.got.as_deref() == Some("WrongNonce")
            }
            _ => false,
        }
    }
}
