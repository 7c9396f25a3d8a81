//! Verification, of one proof or of many.
//!
//! A proof (A, B, C) holds for public inputs x_1.. under a key if, with S = ic_0 + sum x_j ic_j,
//!
//! ```text
//! e(A, B) = e(alpha, beta) e(S, gamma) e(C, delta)
//! ```
//!
//! 1. A key is *prepared* once: e(alpha, beta), and the lines of the Miller loops over -gamma, -delta and beta.
//! 2. One proof: three Miller loops (two over prepared lines) and one final exponentiation.
//! 3. Many proofs: each equation is raised to a power z_i that nobody could foresee, and all are multiplied. Then a
//!    proof costs one Miller loop and two short multiplications; gamma, delta, beta and the final exponentiation are
//!    paid once for each key or once for all. If any equation fails, the product fails but for a chance of 2^-127.
//! 4. When the product fails, halves are tried, and halves of halves: every bad proof is found and named, at a price of
//!    about log2(n) small batches for each.
//!
//! The powers come from a hash over the caller's randomness and *everything that is verified*: so even predictable
//! randomness leaves no room to choose proofs after the powers are known.

use blake2b_simd::Params as Blake2b;
use cairn_compute::Workers;
use cairn_compute::fr::{Fr, Node, NonCanonicalNode, fr_from_node, fr_to_node};
use rayon::prelude::*;

use super::curve::{G1Affine, G2Affine, Gt, PreparedG2};
use super::proof::Proof;
use super::verifying_key::VerifyingKey;

/// Bytes of a power z_i.
const POWER_BYTES: usize = 16;

/// Pairs in one multi-Miller loop: they share its squarings.
const PAIRS_TOGETHER: usize = 16;

/// A verifying key, ready to verify.
#[derive(Debug, Clone)]
pub struct PreparedVerifyingKey {
    key: VerifyingKey,
    alpha_beta: Gt,
    beta: PreparedG2,
    gamma_negated: PreparedG2,
    delta_negated: PreparedG2,
    fingerprint: [u8; 32],
}

/// A proof that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyRejection {
    /// Public inputs of another circuit.
    #[error("expected {expected} public inputs, got {got}")]
    Inputs {
        /// Inputs of the key's circuit.
        expected: usize,
        /// Inputs given.
        got: usize,
    },
    /// A public input that is no field element.
    #[error("public input {index}: {source}")]
    NonCanonicalInput {
        /// Its position, counting from 0, without ONE.
        index: usize,
        /// The bytes.
        source: NonCanonicalNode,
    },
    /// The equation fails: this proof does not show this statement under this key.
    #[error("expected e(A, B) = e(alpha, beta) e(inputs, gamma) e(C, delta), got unequal sides")]
    Equation,
}

/// One proof of a batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchItem<'a> {
    /// Key of its circuit.
    pub key: &'a PreparedVerifyingKey,
    /// The proof.
    pub proof: &'a Proof,
    /// Its public inputs, without ONE.
    pub inputs: &'a [Node],
}

/// Proofs of a batch that do not hold. All others do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} of {of} proofs do not hold; the first is proof {}: {}", bad.len(), bad[0].0, bad[0].1)]
pub struct BatchRejection {
    /// Their positions in the batch, ascending, and why; never empty.
    pub bad: Vec<(usize, VerifyRejection)>,
    /// Proofs in the batch.
    pub of: usize,
}

impl PreparedVerifyingKey {
    /// Prepares a key: about five pairings' time.
    pub fn new(key: VerifyingKey) -> Self {
        let hash = Blake2b::new().hash_length(32).hash(&key.to_bytes());
        Self {
            alpha_beta: Gt::miller_loops(&[(key.alpha_g1, key.beta_g2)]).final_exponentiation(),
            beta: PreparedG2::new(&key.beta_g2),
            gamma_negated: PreparedG2::new(&key.gamma_g2.neg()),
            delta_negated: PreparedG2::new(&key.delta_g2.neg()),
            fingerprint: hash.as_bytes().try_into().expect("32 bytes were asked for"),
            key,
        }
    }

    /// The key itself.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Verifies one proof. `inputs` do not hold ONE.
    ///
    /// # Errors
    /// [`VerifyRejection`].
    pub fn verify(&self, proof: &Proof, inputs: &[Node]) -> Result<(), VerifyRejection> {
        self.check_inputs(inputs)?;
        let sum = G1Affine::sum_of_products(&self.key.ic[1..], &inputs.concat(), 32).add(&self.key.ic[0]);
        let product = Gt::miller_loops(&[(proof.a, proof.b)])
            .mul(&Gt::miller_loop_prepared(&sum, &self.gamma_negated))
            .mul(&Gt::miller_loop_prepared(&proof.c, &self.delta_negated));
        if product.final_exponentiation() == self.alpha_beta { Ok(()) } else { Err(VerifyRejection::Equation) }
    }

    fn check_inputs(&self, inputs: &[Node]) -> Result<Vec<Fr>, VerifyRejection> {
        let (expected, got) = (self.key.public_inputs(), inputs.len());
        if expected != got {
            return Err(VerifyRejection::Inputs { expected, got });
        }
        let read =
            |(index, node)| fr_from_node(node).map_err(|source| VerifyRejection::NonCanonicalInput { index, source });
        inputs.iter().enumerate().map(read).collect()
    }
}

/// Verifies many proofs, under one key or several. `randomness` should be unpredictable to the provers.
///
/// # Errors
/// [`BatchRejection`] names every proof that does not hold.
pub fn verify_batch(items: &[BatchItem<'_>], randomness: [u8; 32], workers: &Workers) -> Result<(), BatchRejection> {
    let mut bad = vec![];
    let mut sound = vec![];
    let read = workers.run(|| items.par_iter().map(|item| item.key.check_inputs(item.inputs)).collect::<Vec<_>>());
    for (position, (item, inputs)) in items.iter().zip(read).enumerate() {
        match inputs {
            Ok(inputs) => sound.push(Readable { position, item: *item, inputs }),
            Err(rejection) => bad.push((position, rejection)),
        }
    }
    let powers = Powers::new(items, randomness);
    workers.run(|| find_bad(&sound, &powers, &mut bad));
    if bad.is_empty() {
        return Ok(());
    }
    bad.sort_by_key(|(position, _)| *position);
    Err(BatchRejection { bad, of: items.len() })
}

/// A proof of a batch whose inputs are numbers.
struct Readable<'a> {
    position: usize,
    item: BatchItem<'a>,
    inputs: Vec<Fr>,
}

/// Collects the proofs among `items` that do not hold, by trying halves.
fn find_bad(items: &[Readable<'_>], powers: &Powers, bad: &mut Vec<(usize, VerifyRejection)>) {
    match items {
        [] => {}
        [one] => {
            if let Err(rejection) = one.item.key.verify(one.item.proof, one.item.inputs) {
                bad.push((one.position, rejection));
            }
        }
        _ if product_holds(items, powers) => {}
        _ => {
            let (left, right) = items.split_at(items.len() / 2);
            find_bad(left, powers, bad);
            find_bad(right, powers, bad);
        }
    }
}

/// Step 3 of the module: one equation for all.
fn product_holds(items: &[Readable<'_>], powers: &Powers) -> bool {
    let (mut of_proofs, of_keys) = rayon::join(|| proofs_product(items, powers), || keys_product(items, powers));
    of_proofs = of_proofs.mul(&of_keys);
    of_proofs.final_exponentiation() == Gt::one()
}

/// Product of e(z_i A_i, B_i).
fn proofs_product(items: &[Readable<'_>], powers: &Powers) -> Gt {
    let pair = |item: &Readable<'_>| -> (G1Affine, G2Affine) {
        (item.item.proof.a.mul(&powers.of(item.position)), item.item.proof.b)
    };
    items
        .par_chunks(PAIRS_TOGETHER)
        .map(|chunk| Gt::miller_loops(&chunk.iter().map(pair).collect::<Vec<_>>()))
        .reduce(Gt::one, |left, right| left.mul(&right))
}

/// For each key: e(-(sum z_i) alpha, beta) e(sum z_i S_i, -gamma) e(sum z_i C_i, -delta).
fn keys_product(items: &[Readable<'_>], powers: &Powers) -> Gt {
    let mut keys: Vec<&PreparedVerifyingKey> = vec![];
    for item in items {
        if !keys.iter().any(|key| key.fingerprint == item.item.key.fingerprint) {
            keys.push(item.item.key);
        }
    }
    let one_key = |key: &&PreparedVerifyingKey| {
        let of_key: Vec<&Readable<'_>> =
            items.iter().filter(|item| item.item.key.fingerprint == key.fingerprint).collect();
        key_product(key, &of_key, powers)
    };
    keys.par_iter().map(one_key).reduce(Gt::one, |left, right| left.mul(&right))
}

fn key_product(key: &PreparedVerifyingKey, items: &[&Readable<'_>], powers: &Powers) -> Gt {
    let mut scalars = vec![Fr::from(0u64); key.key.ic.len()];
    let (mut commitments, mut short_powers) = (vec![], vec![]);
    for item in items {
        let power = powers.of(item.position);
        let scalar = Fr::from(u128::from_le_bytes(power));
        scalars[0] += scalar;
        for (sum, input) in scalars[1..].iter_mut().zip(&item.inputs) {
            *sum += scalar * input;
        }
        commitments.push(item.item.proof.c);
        short_powers.extend_from_slice(&power);
    }
    let bytes: Vec<u8> = scalars.iter().flat_map(fr_to_node).collect();
    let inputs = G1Affine::sum_of_products(&key.key.ic, &bytes, 32);
    let c = G1Affine::sum_of_products(&commitments, &short_powers, POWER_BYTES);
    let alpha = key.key.alpha_g1.mul(&bytes[..32]).neg();
    Gt::miller_loop_prepared(&alpha, &key.beta)
        .mul(&Gt::miller_loop_prepared(&inputs, &key.gamma_negated))
        .mul(&Gt::miller_loop_prepared(&c, &key.delta_negated))
}

/// The powers z_i: odd numbers below 2^128.
struct Powers {
    seed: [u8; 32],
}

impl Powers {
    fn new(items: &[BatchItem<'_>], randomness: [u8; 32]) -> Self {
        let mut hash = Blake2b::new().hash_length(32).personal(b"cairn batch seed").to_state();
        hash.update(&randomness);
        for item in items {
            hash.update(&item.key.fingerprint).update(&item.proof.to_bytes());
            hash.update(&(item.inputs.len() as u64).to_le_bytes());
            for input in item.inputs {
                hash.update(input);
            }
        }
        Self { seed: hash.finalize().as_bytes().try_into().expect("32 bytes were asked for") }
    }

    fn of(&self, position: usize) -> [u8; POWER_BYTES] {
        let hash = Blake2b::new()
            .hash_length(POWER_BYTES)
            .key(&self.seed)
            .personal(b"cairn batch pow.")
            .hash(&(position as u64).to_le_bytes());
        let mut power: [u8; POWER_BYTES] = hash.as_bytes().try_into().expect("16 bytes were asked for");
        power[0] |= 1;
        power
    }
}
