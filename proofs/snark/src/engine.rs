//! Which arithmetic makes the proofs: a value that callers choose, and the command line takes as a word.

use std::fmt;
use std::str::FromStr;

use cairn_compute::msm::{ArkMsm, CpuMsm, Msm};
use cairn_compute::ntt::{ArkNtt, CpuNtt, Ntt};

/// A backend of the prover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Engine {
    /// The fastest that this machine has.
    #[default]
    Auto,
    /// Arkworks: the oracle.
    Ark,
    /// Ours, on the processor's cores.
    Cpu,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Ark, Self::Cpu];

    /// `auto`, `ark`, `cpu`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ark => "ark",
            Self::Cpu => "cpu",
        }
    }

    /// Its multi-scalar multiplication. Without vector arithmetic ours is slower than arkworks', so `auto` takes that.
    pub fn msm(self) -> Box<dyn Msm> {
        match self {
            Self::Auto if CpuMsm::new().is_vectorised() => Box::new(CpuMsm::new()),
            Self::Auto | Self::Ark => Box::new(ArkMsm),
            Self::Cpu => Box::new(CpuMsm::new()),
        }
    }

    /// Its number-theoretic transform.
    pub fn ntt(self) -> Box<dyn Ntt> {
        match self {
            Self::Auto | Self::Cpu => Box::new(CpuNtt::new()),
            Self::Ark => Box::new(ArkNtt),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text given names no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an engine of {}, got {text:?}", Engine::ALL.map(Engine::name).join(", "))]
pub struct ParseEngineError {
    /// What was given.
    pub text: String,
}

impl FromStr for Engine {
    type Err = ParseEngineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|engine| engine.name() == text);
        found.ok_or_else(|| ParseEngineError { text: text.into() })
    }
}
