//! A side's process, started for one task.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cairn_compare::side::Outcome;
use cairn_snark::{CircuitId, CircuitKind};

use crate::folders::{Keys, Work};

/// Which implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Ours.
    Ours,
    /// The reference.
    Reference,
}

/// Both, in the order in which they are asked.
pub const BOTH: [Who; 2] = [Who::Ours, Who::Reference];

/// The two programs.
pub struct Sides {
    folder: PathBuf,
    parents: PathBuf,
}

impl Who {
    /// The program, and its name in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Reference => "reference",
        }
    }
}

impl Sides {
    /// The programs that were built together with this one.
    pub fn beside_this_program(work: &Work) -> Result<Self> {
        let this = std::env::current_exe().context("find this program")?;
        let folder = this.parent().context("a program lies in a folder")?.to_owned();
        for who in BOTH {
            let program = folder.join(who.name());
            ensure!(program.is_file(), "{} is missing: build all programs of this package", program.display());
        }
        Ok(Self { folder, parents: work.parents() })
    }

    /// Makes parameters.
    pub fn setup(&self, who: Who, work: &Work, keys: Keys, circuit: CircuitKind) -> Result<Outcome> {
        self.ask(who, work, keys, &["setup", "--circuit", circuit.name()])
    }

    /// Does what comes once before the first proof.
    pub fn prepare(&self, who: Who, work: &Work, keys: Keys, circuit: CircuitKind) -> Result<Outcome> {
        self.ask(who, work, keys, &["prepare", "--circuit", circuit.name()])
    }

    /// Proves the golden sector of a circuit.
    pub fn prove(&self, who: Who, work: &Work, keys: Keys, circuit: CircuitKind) -> Result<Outcome> {
        self.ask(who, work, keys, &["prove", "--circuit", circuit.name()])
    }

    /// Computes our witness of the golden proof of replication.
    pub fn witness(&self, work: &Work) -> Result<Outcome> {
        self.ask(Who::Ours, work, Keys::Vectors, &["witness"])
    }

    /// Verifies golden proofs over and over.
    pub fn verify_many(&self, who: Who, work: &Work) -> Result<Outcome> {
        self.ask(who, work, Keys::Vectors, &["verify-many"])
    }

    /// Digests a constraint system.
    pub fn digest(&self, who: Who, work: &Work, id: CircuitId) -> Result<Outcome> {
        let size = id.sector_size.to_string();
        self.ask(who, work, Keys::Vectors, &["digest", "--circuit", id.kind.name(), "--size", &size])
    }

    /// Whether a proof of the golden sector holds; if not, why.
    pub fn verdict(&self, who: Who, work: &Work, keys: Keys, circuit: CircuitKind, proof: &str) -> Result<(), String> {
        let asked = self.ask(who, work, keys, &["verify", "--circuit", circuit.name(), "--proof", proof]);
        asked.map(drop).map_err(|error| format!("{error:#}"))
    }

    fn ask(&self, who: Who, work: &Work, keys: Keys, task: &[&str]) -> Result<Outcome> {
        eprintln!("compare: {} {}", who.name(), task.iter().map(|word| shortened(word)).collect::<Vec<_>>().join(" "));
        let (params, cache) = (work.params(keys), work.cache(keys));
        let output = self
            .command(who, &params)
            .arg("--params")
            .arg(&params)
            .arg("--cache")
            .arg(&cache)
            .args(task)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("start {}", who.name()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{} {}: {}: {}", who.name(), task[0], output.status, said.trim());
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("read what {} {} printed", who.name(), task[0]))
    }

    fn command(&self, who: Who, params: &Path) -> Command {
        let mut command = Command::new(self.folder.join(who.name()));
        // Only the reference looks at these.
        command.env("FIL_PROOFS_PARAMETER_CACHE", params).env("FIL_PROOFS_PARENT_CACHE", &self.parents);
        command
    }
}

/// A proof is long.
fn shortened(word: &str) -> &str {
    if word.len() > 40 { &word[..16] } else { word }
}
