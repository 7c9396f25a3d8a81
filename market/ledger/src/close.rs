//! Why something ended. Every close carries a code for programs, a sentence for people, and the epoch.

use cairn_protocol::Epoch;
use serde::{Deserialize, Serialize};

/// Why an order, a bid, a deal, a sector, a channel or a proof job is closed. Codes never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CloseReason {
    /// Order: its bid window ended without a bid.
    NoBids,
    /// Order: its client took it back before assignment.
    CancelledByClient,
    /// Bid: cheaper ones took the order.
    Outbid,
    /// Bid: the order was cancelled.
    OrderCancelled,
    /// Bid: all its deals are active; the deposit is back.
    DealsActive,
    /// Bid: a deal won by it was not activated in time; the deposit is burnt.
    DealNotActivated,
    /// Bid: sealed, and not revealed in time; the deposit is burnt.
    NotRevealed,
    /// Deal: not active by the end of the activation window.
    NotActivated,
    /// Deal: ran its whole duration.
    Completed,
    /// Deal: its sector was terminated.
    SectorTerminated,
    /// Sector: not proven within the prove-commit window; the deposit is burnt.
    PreCommitExpired,
    /// Sector: reached its expiration; the deposit is back.
    SectorExpired,
    /// Sector: faulty for too many deadlines in a row; the deposit is burnt.
    FaultyTooLong,
    /// Sector: the provider's collateral could not pay a fault fee; the deposit is burnt.
    CollateralExhausted,
    /// Channel: its payee needs it no more; the rest is back.
    ClosedByPayee,
    /// Channel: its payer asked, and the delay is over; the rest is back.
    ClosedByPayer,
    /// Proof job: its poster took it back before anybody worked on it.
    JobCancelled,
    /// Proof job: nobody bid, or nobody proved, while there was time.
    JobExpired,
    /// Proof job: as many workers as it may have failed it.
    JobFailed,
}

impl CloseReason {
    /// A stable number: 1xx orders, 2xx bids, 3xx deals, 4xx sectors, 5xx channels, 6xx proof jobs.
    pub const fn code(self) -> u16 {
        match self {
            Self::NoBids => 101,
            Self::CancelledByClient => 102,
            Self::Outbid => 201,
            Self::OrderCancelled => 202,
            Self::DealsActive => 203,
            Self::DealNotActivated => 204,
            Self::NotRevealed => 205,
            Self::NotActivated => 301,
            Self::Completed => 302,
            Self::SectorTerminated => 303,
            Self::PreCommitExpired => 401,
            Self::SectorExpired => 402,
            Self::FaultyTooLong => 403,
            Self::CollateralExhausted => 404,
            Self::ClosedByPayee => 501,
            Self::ClosedByPayer => 502,
            Self::JobCancelled => 601,
            Self::JobExpired => 602,
            Self::JobFailed => 603,
        }
    }

    /// The reason in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoBids => "the bid window ended without a bid; the deposit is returned",
            Self::CancelledByClient => "the client cancelled the order; the deposit is returned",
            Self::Outbid => "cheaper bids took the order; the bid deposit is returned",
            Self::OrderCancelled => "the client cancelled the order; the bid deposit is returned",
            Self::DealsActive => "all deals of this bid are active; the bid deposit is returned",
            Self::DealNotActivated => "a deal of this bid was not activated in time; the bid deposit is burnt",
            Self::NotRevealed => "the sealed bid was not revealed in time; the bid deposit is burnt",
            Self::NotActivated => {
                "the deal was not activated in time; the escrow pays a replacement order or returns to the client"
            }
            Self::Completed => "the deal ran to its end; escrow of unproven epochs is returned to the client",
            Self::SectorTerminated => {
                "the deal's sector was terminated; the remaining escrow pays a replacement order or returns to the client"
            }
            Self::PreCommitExpired => "the sector was not proven in time; the sector deposit is burnt",
            Self::SectorExpired => "the sector reached its expiration; the sector deposit is returned",
            Self::FaultyTooLong => "the sector missed too many deadlines in a row; the sector deposit is burnt",
            Self::CollateralExhausted => "collateral could not pay a fault fee; the sector deposit is burnt",
            Self::ClosedByPayee => "the payee closed the channel; what is not redeemed is returned",
            Self::ClosedByPayer => "the payer closed the channel and the delay is over; the rest is returned",
            Self::JobCancelled => "the poster cancelled the job; the escrow is returned",
            Self::JobExpired => "no proof could come in time any more; the escrow is returned",
            Self::JobFailed => "too many workers failed the job; the escrow is returned",
        }
    }
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closure {
    /// [`CloseReason::code`] of the reason.
    pub code: u16,
    /// Why.
    pub reason: CloseReason,
    /// [`CloseReason::text`] of the reason.
    pub text: String,
    /// When.
    pub epoch: Epoch,
}

impl Closure {
    /// A close for `reason` at `epoch`.
    pub fn new(reason: CloseReason, epoch: Epoch) -> Self {
        Self { code: reason.code(), reason, text: reason.text().to_owned(), epoch }
    }
}
