//! The demo's table: stage, seconds, bytes, result.

use std::fmt;

use serde::Serialize;

/// One row.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was done.
    pub stage: String,
    /// How long it took; absent where only the result matters.
    pub seconds: Option<f64>,
    /// How much it moved, hashed or wrote.
    pub bytes: Option<u64>,
    /// What came of it.
    pub result: String,
}

/// Everything the demo has to say.
#[derive(Debug, Clone, Serialize)]
pub struct DemoReport {
    /// The stages in order.
    pub stages: Vec<Row>,
    /// Root CID of the dataset.
    pub dataset: String,
    /// Piece CIDs, version 2.
    pub pieces: Vec<String>,
    /// CIDs of the sealed sectors.
    pub sealed: Vec<String>,
    /// Deals on the ledger.
    pub deals: Vec<String>,
    /// Where the dataset can be read while the network runs.
    pub url: String,
    /// From the first stage to the last.
    pub seconds: f64,
}

impl fmt::Display for DemoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {:>9} {:>12}  result", "stage", "seconds", "bytes")?;
        for Row { stage, seconds, bytes, result } in &self.stages {
            let seconds = seconds.map_or(String::new(), |seconds| format!("{seconds:.3}"));
            let bytes = bytes.map_or(String::new(), |bytes| bytes.to_string());
            writeln!(f, "{stage:<16} {seconds:>9} {bytes:>12}  {result}")?;
        }
        writeln!(f, "{:<16} {:>9.3}", "total", self.seconds)?;
        writeln!(f)?;
        writeln!(f, "dataset  {}", self.dataset)?;
        for (name, values) in [("piece", &self.pieces), ("sealed", &self.sealed), ("deal", &self.deals)] {
            for value in values {
                writeln!(f, "{name:<8} {value}")?;
            }
        }
        write!(f, "url      {}", self.url)
    }
}
