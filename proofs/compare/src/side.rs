//! One side's process: read a task, do it, print what it took.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use cairn_snark::CircuitKind;
use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::task::{ConstraintSystemDigest, Folders, Task};

/// An implementation of the protocol. The methods are the [`Task`]s.
pub trait Side {
    /// [`Task::Setup`].
    fn setup(&self, circuit: CircuitKind) -> Result<Work>;
    /// [`Task::Prepare`].
    fn prepare(&self, circuit: CircuitKind) -> Result<Work>;
    /// [`Task::Prove`].
    fn prove(&self, circuit: CircuitKind) -> Result<Work>;
    /// [`Task::Witness`].
    fn witness(&self) -> Result<Work>;
    /// [`Task::Verify`]; an error says why the proof does not hold.
    fn verify(&self, circuit: CircuitKind, proof: &[u8]) -> Result<Work>;
    /// [`Task::VerifyMany`].
    fn verify_many(&self) -> Result<Work>;
    /// [`Task::Digest`].
    fn digest(&self, circuit: CircuitKind, size: cairn_protocol::SectorSize) -> Result<Work>;
}

/// What a task gave.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Work {
    /// The timed part.
    pub seconds: f64,
    /// Parts of it, or more beside it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
    /// A proof, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// A constraint system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<ConstraintSystemDigest>,
}

/// What a side prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// What the task gave.
    #[serde(flatten)]
    pub work: Work,
    /// The most memory that the process had at once.
    pub peak_kb: u64,
    /// Processor seconds of the whole process.
    pub processor_seconds: f64,
}

impl Work {
    /// Work that took the time since `start`.
    pub fn since(start: Instant) -> Self {
        Self { seconds: start.elapsed().as_secs_f64(), ..Self::default() }
    }

    /// With a further figure.
    #[must_use]
    pub fn part(mut self, name: &str, seconds: f64) -> Self {
        self.parts.insert(name.into(), seconds);
        self
    }

    /// With the proof that was made.
    #[must_use]
    pub fn with_proof(self, proof: &[u8]) -> Self {
        Self { proof: Some(hex::encode(proof)), ..self }
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    folders: Folders,
    #[command(subcommand)]
    task: Task,
}

/// The whole `main` of a side.
pub fn run<S: Side>(open: impl FnOnce(Folders) -> Result<S>) -> Result<()> {
    let Cli { folders, task } = Cli::parse();
    let side = open(folders)?;
    let work = match task {
        Task::Setup { of } => side.setup(of.circuit),
        Task::Prepare { of } => side.prepare(of.circuit),
        Task::Prove { of } => side.prove(of.circuit),
        Task::Witness => side.witness(),
        Task::Verify { of, proof } => side.verify(of.circuit, &hex::decode(proof).context("the proof is hex")?),
        Task::VerifyMany => side.verify_many(),
        Task::Digest { circuit, size } => side.digest(circuit, size),
    }?;
    let outcome = Outcome { work, peak_kb: peak_kb()?, processor_seconds: processor_seconds()? };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Runs `work` a number of times and gives the median of its seconds.
///
/// # Errors
/// Those of `work`.
pub fn median_seconds(times: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    ensure!(times > 0, "nothing was measured");
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        let start = Instant::now();
        work()?;
        all.push(start.elapsed().as_secs_f64());
    }
    Ok(median(all))
}

/// The middle one, or the mean of the two in the middle.
///
/// # Panics
/// If there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
    (values[low] + values[high]) / 2.0
}

/// The kernel's high-water mark of this process's resident memory. It starts anew with each program, unlike the one that
/// `wait4` reports, which a child inherits from the process that started it.
fn peak_kb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel reports no VmHWM")?;
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        [number, "kB"] => number.parse().context("VmHWM is a number"),
        _ => bail!("expected VmHWM in kB, got {line:?}"),
    }
}

/// What all threads of this process have computed, in the kernel's steps of 10 ms.
fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("read /proc/self/stat")?;
    // The second field is the program's name in parentheses; user and system time are the 14th and 15th.
    let after_name = stat.rsplit_once(')').context("/proc/self/stat has a name")?.1;
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(ticks as f64 / 100.0)
}
