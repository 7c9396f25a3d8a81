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
    /// Bid: better ones took the order.
    Outbid,
    /// Bid: the order was cancelled.
    OrderCancelled,
    /// Bid: all its deals are active; the deposit is back.
    DealsActive,
    /// Bid: a deal won by it was not activated in time; the deposit is burnt.
    DealNotActivated,
    /// Bid: sealed, and not revealed in time; the deposit is burnt.
    NotRevealed,
    /// Bid: its provider does not meet the order's requirements any more.
    RequirementsNotMet,
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
    /// Sector: faulty for too many deadlines in a row; the fee for an early end is burnt.
    FaultyTooLong,
    /// Sector: the provider's collateral could not pay a fault fee; that and the fee for an early end are burnt.
    CollateralExhausted,
    /// Sector: its owner ended it before its time, for a fee.
    TerminatedByOwner,
    /// Channel: its payee needs it no more; the rest is back.
    ClosedByPayee,
    /// Channel: its payer asked, and the delay is over; the rest is back.
    ClosedByPayer,
    /// Rail: payer or payee ended it.
    RailTerminated,
    /// Rail: its payer ran dry.
    RailUnfunded,
    /// Rail: its sector left.
    RailSectorClosed,
    /// Rail: its deal ended.
    RailDealEnded,
    /// Proof job: its poster took it back before anybody worked on it.
    JobCancelled,
    /// Proof job: nobody bid, or nobody proved, while there was time.
    JobExpired,
    /// Proof job: as many workers as it may have failed it.
    JobFailed,
}

impl CloseReason {
    /// A stable number: 1xx orders, 2xx bids, 3xx deals, 4xx sectors, 5xx channels, 6xx proof jobs, 8xx rails.
    pub const fn code(self) -> u16 {
        match self {
            Self::NoBids => 101,
            Self::CancelledByClient => 102,
            Self::Outbid => 201,
            Self::OrderCancelled => 202,
            Self::DealsActive => 203,
            Self::DealNotActivated => 204,
            Self::NotRevealed => 205,
            Self::RequirementsNotMet => 206,
            Self::NotActivated => 301,
            Self::Completed => 302,
            Self::SectorTerminated => 303,
            Self::PreCommitExpired => 401,
            Self::SectorExpired => 402,
            Self::FaultyTooLong => 403,
            Self::CollateralExhausted => 404,
            Self::TerminatedByOwner => 405,
            Self::ClosedByPayee => 501,
            Self::ClosedByPayer => 502,
            Self::RailTerminated => 801,
            Self::RailUnfunded => 802,
            Self::RailSectorClosed => 803,
            Self::RailDealEnded => 804,
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
            Self::Outbid => "better bids took the order; the bid deposit is returned",
            Self::OrderCancelled => "the client cancelled the order; the bid deposit is returned",
            Self::DealsActive => "all deals of this bid are active; the bid deposit is returned",
            Self::DealNotActivated => "a deal of this bid was not activated in time; the bid deposit is burnt",
            Self::NotRevealed => "the sealed bid was not revealed in time; the bid deposit is burnt",
            Self::RequirementsNotMet => {
                "the bidder no longer meets the order's requirements; the bid deposit is returned"
            }
            Self::NotActivated => {
                "the deal was not activated in time; the escrow pays a replacement order or returns to the client"
            }
            Self::Completed => "the deal ran to its end; escrow of unproven epochs is returned to the client",
            Self::SectorTerminated => {
                "the deal's sector was terminated; the remaining escrow pays a replacement order or returns to the client"
            }
            Self::PreCommitExpired => "the sector was not proven in time; the sector deposit is burnt",
            Self::SectorExpired => "the sector reached its expiration; the sector deposit is returned",
            Self::FaultyTooLong => {
                "the sector missed too many deadlines in a row; the fee is burnt, the rest of the deposit is returned"
            }
            Self::CollateralExhausted => {
                "collateral could not pay a fault fee; the fee for the end is burnt, the rest of the deposit is returned"
            }
            Self::TerminatedByOwner => {
                "the owner ended the sector before its time; the fee is burnt, the rest of the deposit is returned"
            }
            Self::ClosedByPayee => "the payee closed the channel; what is not redeemed is returned",
            Self::RailTerminated => "payer or payee ended the rail; its lockup period is paid as far as it is proven",
            Self::RailUnfunded => "the payer ran dry; the rail's lockup period is paid as far as it is proven",
            Self::RailSectorClosed => "the rail's sector left; what was proven is paid, the lockup is returned",
            Self::RailDealEnded => "the rail's deal ended; what was proven is paid, the lockup is returned",
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
