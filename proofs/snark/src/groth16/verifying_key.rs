//! The verifying key and its file, `.vk`, which is also how a `.params` file begins.
//!
//! ```text
//! alpha_g1 | beta_g1 | beta_g2 | gamma_g2 | delta_g1 | delta_g2 | number of ic points, u32 big-endian | ic, one G1 each
//! 96         96        192       192        96         192        4                                     96 each
//! ```
//! Points are uncompressed ([`points`](super::points)); ic\[0\] belongs to ONE, the others to the public inputs.

use std::io::Read;
use std::path::Path;

use cairn_compute::Workers;

use super::curve::{G1Affine, G2Affine};
use super::error::{KeyFileError, KeyFileRejection, KeyIo};
use super::params::Source;
use super::points::{Point, PointChecks};

/// Most public inputs that a key may have; the largest circuit, window PoSt at 32 GiB, has 25,840.
pub const MAX_IC: u64 = 1 << 20;

/// What it takes to verify proofs of one circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// alpha in the first group.
    pub alpha_g1: G1Affine,
    /// beta in the first group; only provers use it.
    pub beta_g1: G1Affine,
    /// beta in the second group.
    pub beta_g2: G2Affine,
    /// gamma in the second group.
    pub gamma_g2: G2Affine,
    /// delta in the first group; only provers use it.
    pub delta_g1: G1Affine,
    /// delta in the second group.
    pub delta_g2: G2Affine,
    /// One point for ONE and for every public input.
    pub ic: Vec<G1Affine>,
}

impl VerifyingKey {
    /// Public inputs of a proof, not counting ONE.
    pub fn public_inputs(&self) -> usize {
        self.ic.len() - 1
    }

    /// The content of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::file_bytes(self.ic.len() as u64) as usize);
        self.alpha_g1.write_uncompressed(&mut out);
        self.beta_g1.write_uncompressed(&mut out);
        self.beta_g2.write_uncompressed(&mut out);
        self.gamma_g2.write_uncompressed(&mut out);
        self.delta_g1.write_uncompressed(&mut out);
        self.delta_g2.write_uncompressed(&mut out);
        let count = u32::try_from(self.ic.len()).expect("fewer than 2^32 public inputs");
        out.extend_from_slice(&count.to_be_bytes());
        self.ic.iter().for_each(|point| point.write_uncompressed(&mut out));
        out
    }

    /// Reads the content of `file` (its name is for messages), with all checks.
    ///
    /// # Errors
    /// [`KeyFileError::Rejected`] with what is wrong and where.
    pub fn from_bytes(bytes: &[u8], file: &Path, workers: &Workers) -> Result<Self, KeyFileError> {
        let mut source = Source::new(bytes, file, PointChecks::Full, workers);
        let key = Self::read_from(&mut source)?;
        source.end("ic")?;
        Ok(key)
    }

    /// Reads a whole file, with all checks but the one of whether to trust it: see [`KeyStore`](super::KeyStore).
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn read(file: &Path, workers: &Workers) -> Result<Self, KeyFileError> {
        let most = Self::file_bytes(MAX_IC);
        let mut bytes = vec![];
        let reader = std::fs::File::open(file).at("open", file)?;
        reader.take(most + 1).read_to_end(&mut bytes).at("read", file)?;
        Self::from_bytes(&bytes, file, workers)
    }

    /// Bytes of a key with so many inputs, ONE among them: six points and a number, then a point for each input.
    pub const fn file_bytes(inputs: u64) -> u64 {
        868 + 96 * inputs
    }

    pub(super) fn read_from<R: Read>(source: &mut Source<'_, R>) -> Result<Self, KeyFileError> {
        let alpha_g1 = source.point("alpha_g1")?;
        let beta_g1 = source.point("beta_g1")?;
        let beta_g2 = source.point("beta_g2")?;
        let gamma_g2 = source.point("gamma_g2")?;
        let delta_g1 = source.point("delta_g1")?;
        let delta_g2 = source.point("delta_g2")?;
        let offset = source.offset();
        let count = u64::from(source.count("ic")?);
        if !(1..=MAX_IC).contains(&count) {
            return Err(KeyFileRejection::Value {
                offset,
                what: "number of points in ic".into(),
                expected: format!("1 to {MAX_IC}"),
                got: count.to_string(),
            }
            .of(source.file()));
        }
        let mut ic = vec![];
        source.points("ic", count, &mut |_, chunk| {
            ic.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(Self { alpha_g1, beta_g1, beta_g2, gamma_g2, delta_g1, delta_g2, ic })
    }
}
