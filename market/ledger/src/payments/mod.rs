//! Streams of money, vouchers for retrieval, and rewards that vest.
//!
//! Rules and sources: `spec/market.md` 2.5 (Filecoin Pay rails), 4 (Akash's lazy settlement and its defects), 7.2
//! (channels with cumulative vouchers), 2.4 (vesting).
//!
//! - [`rails`]: a payer promises a payee a rate per epoch. Anyone settles, at any time; only proven epochs pay.
//! - [`channels`]: a payer deposits once and signs ever larger cumulative amounts while bytes flow.
//! - [`vesting`]: part of a reward is free at once, the rest comes day by day.
//!
//! These are values with pure steps; `apply::rails`, `apply::channels` and `apply::rewards` bring commands to them and move
//! the money. All amounts are integers and every operation on them is checked; a step that is
//! refused changes nothing.

pub mod channels;
pub mod rails;
pub mod vesting;

pub use channels::{Channel, ChannelId, ChannelRejection, ChannelStatus, ChannelView, SignedVoucher, Voucher};
pub use rails::{
    PayAccount, ProofSpan, ProofTable, Rail, RailBinding, RailBook, RailId, RailQuote, RailRejection, RailTerms,
    Settlement, Verdict,
};
pub use vesting::{VestingAccount, VestingRule};
