//! Arguments that every command with a remote ledger takes.

use std::path::PathBuf;

use cairn_ledger::scores::Fraction;
use cairn_ledger::{Address, Attributes};
use cairn_protocol::Amount;
use clap::Args;

/// Where a ledger listens unless somebody says otherwise.
pub const DEFAULT_RPC: &str = "127.0.0.1:8440";

/// Which ledger to ask, and how to print.
#[derive(Debug, Clone, Args)]
pub struct RpcArguments {
    /// The ledger: what `cairn devnet --rpc` serves
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8440")]
    pub rpc: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Who signs, and how.
#[derive(Debug, Clone, Args)]
pub struct SignerArguments {
    /// Key file to sign with; `cairn wallet new` makes one
    #[arg(long, value_name = "FILE", required_unless_present = "unsigned_for", conflicts_with = "unsigned_for")]
    pub key: Option<PathBuf>,
    /// Sign and send nothing: print the transaction of this address for `cairn tx sign` on the machine that has its key
    #[arg(long, value_name = "ADDRESS")]
    pub unsigned_for: Option<Address>,
    /// Longest wait for the transaction to be in a block, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

/// An amount in units with up to six decimals.
pub fn parse_amount(text: &str) -> Result<Amount, String> {
    let expected = || format!("expected units with at most six decimals, such as 2.5, got {text:?}");
    let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(units) || !digits(decimals) || decimals.len() > 6 {
        return Err(expected());
    }
    let units: u64 = units.parse().map_err(|_| expected())?;
    let micro: u64 = format!("{decimals:0<6}").parse().map_err(|_| expected())?;
    let whole = Amount::from_units(units).and_then(|whole| whole.checked_add(Amount(micro)));
    whole.ok_or_else(|| format!("{text} units do not fit 64 bits of micro-units"))
}

/// A number, with or without the name of what it counts before it: `7` or `order-7`.
pub fn parse_number(name: &str, text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix(name).unwrap_or(text);
    let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| format!("expected a number or {name}NUMBER, got {text:?}"))
}

/// An attribute, as `region=eu-west`.
pub fn parse_attribute(text: &str) -> Result<(String, String), String> {
    let expected = || format!("expected KEY=VALUE, such as region=eu-west, got {text:?}");
    let (key, value) = text.split_once('=').ok_or_else(expected)?;
    Attributes::new([(key, value)]).check().map_err(|rejection| format!("{text:?}: {rejection}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A part of one with up to six decimals, such as 0.75.
pub fn parse_fraction(text: &str) -> Result<Fraction, String> {
    let one = Amount::from_units(1).expect("one unit fits");
    match parse_amount(text) {
        Ok(part) if part <= one => Ok(Fraction::of(part.0, one.0)),
        _ => Err(format!("expected 0 to 1 with at most six decimals, such as 0.75, got {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_and_fractions_are_checked_when_they_are_typed() {
        assert_eq!(parse_attribute("region=eu"), Ok(("region".to_owned(), "eu".to_owned())));
        assert_eq!(parse_attribute("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        for wrong in ["region", "=eu", "region=", "Region=eu", "region=e u"] {
            assert!(parse_attribute(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(parse_fraction("0.75").unwrap().to_string(), "0.750000");
        assert_eq!((parse_fraction("1"), parse_fraction("0")), (Ok(Fraction::ONE), Ok(Fraction::ZERO)));
        for wrong in ["1.1", "-1", "", "0.1234567", "x"] {
            assert!(parse_fraction(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn amounts_are_decimal_units() {
        for (text, micro) in [("0", 0), ("1", 1_000_000), ("2.5", 2_500_000), ("0.000001", 1)] {
            assert_eq!(parse_amount(text), Ok(Amount(micro)));
            assert_eq!(parse_amount(&Amount(micro).to_string()), Ok(Amount(micro)));
        }
        for wrong in ["", ".", "1.", ".5", "-1", "1e3", "0.0000001", "18446744073709.551616", "+1", "1 "] {
            assert!(parse_amount(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_may_carry_their_name() {
        assert_eq!((parse_number("order-", "7"), parse_number("order-", "order-7")), (Ok(7), Ok(7)));
        for wrong in ["", "deal-7", "order-", "+7", "-7"] {
            assert!(parse_number("order-", wrong).is_err(), "{wrong:?}");
        }
    }
}
