//! The measurements run, small.

use cairn_ledger::emission::simulation::EconomyOptions;
use cairn_simulation::economy;
use cairn_simulation::scale::{Meters, ScaleOptions, measure};

#[test]
fn a_small_state_is_measured() {
    let meters = Meters { clock: &|| 0.0, resident: &|| None, note: &|_| () };
    let options = ScaleOptions { blocks: 3, transactions: 20, ..ScaleOptions::of_sectors(1, 60_000) };
    let row = measure(&options, &meters);
    assert!(row.entries > 66_000 && row.state_bytes > 10_000_000, "{row:?}");
    assert!(row.burst_posts >= 1 && row.burst_sectors >= 1_000, "{row:?}");
    assert!(row.resident_bytes.is_none() && row.to_string().contains('?'));
}

#[test]
fn ten_years_make_a_table_and_a_picture() {
    let run = economy::run(&EconomyOptions::ten_years(1)).unwrap();
    let csv = run.csv();
    assert_eq!(csv.lines().count(), 1 + 122 * 10);
    let png = run.png("ten years").unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.len() > 10_000, "{} bytes", png.len());
}
