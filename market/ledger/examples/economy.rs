//! Ten years of the economy as CSV: `cargo run --release -p cairn-ledger --example economy [SEED [DAYS]] > economy.csv`.
//!
//! The totals per strategy and the balance of money go to standard error.

use std::io::{self, Write};

use cairn_ledger::emission::simulation::{EconomyOptions, EconomyRow, simulate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let mut options = EconomyOptions::ten_years(seed);
    if let Some(days) = arguments.next() {
        options.days = days.parse()?;
    }
    eprintln!("seed {seed}, {} days", options.days);
    let mut lines = vec![EconomyRow::CSV_HEADER.to_owned()];
    let summary = simulate(&options, |row| lines.push(row.to_string()))?;
    writeln!(io::stdout().lock(), "{}", lines.join("\n"))?;
    for row in &summary.totals {
        let each = row.profit() / i128::from(row.members.max(1)) / 1_000_000;
        eprintln!("{:>16}: {each} units profit per member", row.strategy.name());
    }
    let units = |amount: u128| amount / 1_000_000;
    let (minted, not_minted) = (units(summary.minted), units(summary.not_minted));
    eprintln!(
        "minted {minted}, not minted {not_minted}, burnt {}, supply {}",
        units(summary.burnt),
        units(summary.supply)
    );
    Ok(())
}
