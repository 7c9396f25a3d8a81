//! Who may read what from a gateway, and who has paid for it.
//!
//! Nothing here knows sockets: a request's facts and the time come in, an admission or a refusal with its HTTP
//! status goes out. The parts, from the outside in:
//!
//! 1. [`denylist`]: what is served to nobody (410, or 451 for legal reasons).
//! 2. [`grant`]: capability tokens. Whoever holds a key that the gateway's operator trusts signs what a bearer may read:
//!    a dataset, a path prefix, a number of bytes, until a time. No list of users is kept anywhere.
//! 3. [`meter`]: how many bytes a grant has used, across restarts.
//! 4. [`vouchers`]: payment channels of the ledger. A voucher buys bytes; the gateway serves at most a window beyond.
//! 5. [`x402`]: how a price and a payment travel in HTTP headers.
//! 6. [`policy`]: puts them together.
//! 7. [`gate`]: the policy as a gateway's gatekeeper, and the file that an operator writes.
//! 8. [`served`]: a provider's word for the bytes that its gateway sends, and what a client makes of a false one.
//!
//! A generic client takes a 402 for the end of everything, so nobody pays by the range: a payment buys a grant, and the
//! grant is used by as many requests as its bytes allow.

pub mod denylist;
pub mod gate;
pub mod grant;
pub mod meter;
pub mod policy;
pub mod served;
pub mod vouchers;
pub mod x402;

pub use denylist::{Denial, Denylist};
pub use gate::{AccessGate, PaymentPolicy, PolicyError, PolicyFile};
pub use grant::{Grant, GrantId, GrantRejection};
pub use meter::{Meter, MeterError, Reservation};
pub use policy::{Access, AccessOptions, AccessRejection, Admission, Asked, Object};
pub use served::{AskedGroup, ProviderSigner, Word, WordRejection};
pub use vouchers::{ChannelTerms, VoucherBook, VoucherError};

/// Seconds since 1970, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub u64);
