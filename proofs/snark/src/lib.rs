//! Circuits over a sector's plain proofs, and Groth16 over the circuits.
