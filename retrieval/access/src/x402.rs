//! How a price and a payment travel: the three headers of x402, version 2.
//!
//! | header | direction | holds, in base64 of JSON |
//! | --- | --- | --- |
//! | `PAYMENT-REQUIRED` | with a 402 | which payments are taken, for which resource |
//! | `PAYMENT-SIGNATURE` | with a request | one of them, accepted and signed |
//! | `PAYMENT-RESPONSE` | with the answer to it | whether it was taken |
//!
//! The one scheme is [`SCHEME`]: a voucher of a payment channel of the ledger. `amount` is what has to be promised in all
//! for the request to be served; how `payload` looks is [`ChannelPayment`]. `network` is a CAIP-2 name with the first 16
//! bytes of the chain's id, as other chains with long ids have it. With a payment that is taken comes a grant
//! ([`crate::grant`]), so that the next requests carry a token and no payment.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_ledger::payments::{ChannelId, SignedVoucher, Voucher};
use cairn_ledger::{Address, ChainId, SignatureBytes};
use cairn_protocol::Amount;
use serde::{Deserialize, Serialize};

use crate::vouchers::ChannelTerms;

/// Header of a 402.
pub const PAYMENT_REQUIRED: &str = "payment-required";
/// Header of a request that pays.
pub const PAYMENT_SIGNATURE: &str = "payment-signature";
/// Header of the answer to it.
pub const PAYMENT_RESPONSE: &str = "payment-response";

/// Cumulative vouchers of a channel.
pub const SCHEME: &str = "cairn-channel";

const VERSION: u32 = 2;
const ASSET: &str = "cairn";
const TIMEOUT_SECONDS: u32 = 60;

/// Longest header that is read, in bytes of base64.
const HEADER_BYTES_MAX: usize = 8_192;

/// Why a payment header is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum PaymentHeaderRejection {
    /// Too long.
    #[error("PAYMENT-SIGNATURE has {got} bytes, at most {HEADER_BYTES_MAX} are read")]
    TooLong { got: usize },
    /// Not base64 of JSON of the right shape.
    #[error("PAYMENT-SIGNATURE: {detail}")]
    Form { detail: String },
    /// Something else was accepted than what is asked for.
    #[error("PAYMENT-SIGNATURE accepts {what} {got:?}, expected {expected:?}")]
    OtherTerms { what: &'static str, expected: String, got: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Requirements {
    scheme: String,
    network: String,
    asset: String,
    amount: String,
    pay_to: String,
    max_timeout_seconds: u32,
    #[serde(default)]
    extra: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentRequired<'a> {
    x402_version: u32,
    error: &'a str,
    resource: Resource<'a>,
    accepts: [Requirements; 1],
}

#[derive(Debug, Serialize)]
struct Resource<'a> {
    url: &'a str,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaymentPayload {
    x402_version: u32,
    accepted: Requirements,
    payload: ChannelPayment,
}

/// What stands in `payload`: a voucher. The signature is the ledger's ([`Voucher::sign`]), in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelPayment {
    /// Number of the channel.
    pub channel: u64,
    /// Promised in all, in micro-units.
    pub cumulative: u64,
    /// 64 bytes in hex.
    pub signature: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SettleResponse<'a> {
    success: bool,
    payer: String,
    /// A voucher is no transaction until it is redeemed; this names it.
    transaction: String,
    network: String,
    amount: String,
    extra: SettleExtra<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SettleExtra<'a> {
    token: &'a str,
    bytes_max: u64,
}

/// Whom to pay, on which ledger, for how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// The ledger.
    pub chain: ChainId,
    /// Who is paid.
    pub payee: Address,
    /// For what.
    pub terms: ChannelTerms,
}

impl Price {
    fn network(&self) -> String {
        format!("cairn:{}", hex::encode(&self.chain.0[..16]))
    }

    /// `PAYMENT-REQUIRED`: `promised` is what a voucher must promise in all.
    pub fn required(&self, url: &str, reason: &str, promised: Amount) -> String {
        let mut extra = serde_json::Map::new();
        extra.insert("pricePerMiB".to_owned(), self.terms.price_per_mib.0.into());
        extra.insert("windowBytes".to_owned(), self.terms.window_bytes.into());
        let requirements = Requirements {
            scheme: SCHEME.to_owned(),
            network: self.network(),
            asset: ASSET.to_owned(),
            amount: promised.0.to_string(),
            pay_to: hex::encode(self.payee.0),
            max_timeout_seconds: TIMEOUT_SECONDS,
            extra,
        };
        let resource = Resource { url };
        encode(&PaymentRequired { x402_version: VERSION, error: reason, resource, accepts: [requirements] })
    }

    /// Reads `PAYMENT-SIGNATURE`. Whether the voucher is good is for [`crate::vouchers::VoucherBook::take`] to say.
    ///
    /// # Errors
    /// [`PaymentHeaderRejection`].
    pub fn read_payment(&self, header: &str) -> Result<SignedVoucher, PaymentHeaderRejection> {
        if header.len() > HEADER_BYTES_MAX {
            return Err(PaymentHeaderRejection::TooLong { got: header.len() });
        }
        let form = |detail: String| PaymentHeaderRejection::Form { detail };
        let json = STANDARD.decode(header).map_err(|error| form(error.to_string()))?;
        let read: PaymentPayload = serde_json::from_slice(&json).map_err(|error| form(error.to_string()))?;
        let accepted = &read.accepted;
        let pay_to = hex::encode(self.payee.0);
        for (what, expected, got) in [
            ("version", VERSION.to_string(), read.x402_version.to_string()),
            ("scheme", SCHEME.to_owned(), accepted.scheme.clone()),
            ("network", self.network(), accepted.network.clone()),
            ("asset", ASSET.to_owned(), accepted.asset.clone()),
            ("payTo", pay_to, accepted.pay_to.clone()),
        ] {
            if expected != got {
                return Err(PaymentHeaderRejection::OtherTerms { what, expected, got });
            }
        }
        let mut signature = [0; 64];
        let expected = "signature: expected 128 hex digits";
        hex::decode_to_slice(&read.payload.signature, &mut signature).map_err(|_| form(expected.to_owned()))?;
        let voucher = Voucher { channel: ChannelId(read.payload.channel), cumulative: Amount(read.payload.cumulative) };
        Ok(SignedVoucher { voucher, signature: SignatureBytes(signature) })
    }

    /// `PAYMENT-SIGNATURE`, for a client.
    pub fn write_payment(&self, signed: &SignedVoucher) -> String {
        let accepted = Requirements {
            scheme: SCHEME.to_owned(),
            network: self.network(),
            asset: ASSET.to_owned(),
            amount: signed.voucher.cumulative.0.to_string(),
            pay_to: hex::encode(self.payee.0),
            max_timeout_seconds: TIMEOUT_SECONDS,
            extra: serde_json::Map::new(),
        };
        let payload = ChannelPayment {
            channel: signed.voucher.channel.0,
            cumulative: signed.voucher.cumulative.0,
            signature: hex::encode(signed.signature.0),
        };
        encode(&PaymentPayload { x402_version: VERSION, accepted, payload })
    }

    /// `PAYMENT-RESPONSE` for a voucher that was taken, with the grant that it buys.
    pub fn settled(&self, payer: Address, voucher: &Voucher, token: &str, bytes_max: u64) -> String {
        encode(&SettleResponse {
            success: true,
            payer: hex::encode(payer.0),
            transaction: format!("{}@{}", voucher.channel, voucher.cumulative.0),
            network: self.network(),
            amount: voucher.cumulative.0.to_string(),
            extra: SettleExtra { token, bytes_max },
        })
    }
}

fn encode(value: &impl Serialize) -> String {
    STANDARD.encode(serde_json::to_vec(value).expect("text and numbers"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vouchers::tests::{CHAIN, TERMS, address, voucher};

    fn price() -> Price {
        Price { chain: CHAIN, payee: address(2), terms: TERMS }
    }

    fn json(header: &str) -> serde_json::Value {
        serde_json::from_slice(&STANDARD.decode(header).unwrap()).unwrap()
    }

    #[test]
    fn a_price_says_what_x402_says() {
        let json = json(&price().required("/data/x", "pay first", Amount(12)));
        assert_eq!(json["x402Version"], 2);
        assert_eq!(json["resource"]["url"], "/data/x");
        let accepts = &json["accepts"][0];
        assert_eq!(accepts["scheme"], "cairn-channel");
        assert_eq!(accepts["network"], "cairn:03030303030303030303030303030303");
        assert_eq!(accepts["amount"], "12");
        assert_eq!(accepts["payTo"], hex::encode(address(2).0));
        assert_eq!(accepts["extra"]["windowBytes"], 1_000);
    }

    #[test]
    fn a_payment_comes_back_and_other_terms_do_not_pass() {
        let header = price().write_payment(&voucher(20));
        assert_eq!(price().read_payment(&header), Ok(voucher(20)));
        let other = Price { payee: address(3), ..price() };
        let refused = other.read_payment(&header).unwrap_err();
        assert!(matches!(refused, PaymentHeaderRejection::OtherTerms { what: "payTo", .. }), "{refused}");
        let other = Price { chain: ChainId([4; 32]), ..price() };
        let refused = other.read_payment(&header).unwrap_err();
        assert!(matches!(refused, PaymentHeaderRejection::OtherTerms { what: "network", .. }), "{refused}");
    }

    proptest! {
        #[test]
        fn foreign_headers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = price().read_payment(&String::from_utf8_lossy(&bytes));
            let _ = price().read_payment(&STANDARD.encode(&bytes));
        }
    }
}
