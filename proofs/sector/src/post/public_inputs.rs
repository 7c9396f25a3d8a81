//! Public inputs of the PoSt circuit (`spec/proofs.md` 1.14): what a verifier of the SNARK computes for itself.

use cairn_compute::Node;
use cairn_protocol::params::{WINDOW_POST_CHALLENGES, WINNING_POST_CHALLENGES};

use super::challenges::leaf;
use super::rejection::PostRejection;
use super::verify::{check_statement, params};
use super::{PostKind, PostStatement};

/// How the challenges of a circuit's sectors are numbered. The number decides, with sector and randomness, the leaf.
///
/// On the network a window proof numbers within each sector (API version 1.2) and a winning proof across its 66 places
/// (API version 1.0): both give the leaves of the plain proof ([`leaves`](super::challenges::leaves())). The reference can
/// be told to number a winning proof within sectors too; then every place has challenge 0, and the proof says no more
/// than that one leaf is there 66 times. Such a proof must never win a block; its inputs exist here to check the
/// reference's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeNumbering {
    /// From 0 in every sector.
    WithinSector,
    /// On and on over all sectors of the circuit.
    AcrossSectors,
}

impl ChallengeNumbering {
    /// The network's.
    pub const fn of(kind: PostKind) -> Self {
        match kind {
            PostKind::Window => Self::WithinSector,
            PostKind::Winning => Self::AcrossSectors,
        }
    }
}

/// For each sector that the circuit has a place for: CommR, then the leaf of each of its challenges. ONE is not among
/// them. A window circuit has a full partition of places; where there are fewer sectors, the last one is repeated. A
/// winning circuit has one challenge in each of its 66 places, all of them the same sector.
///
/// # Errors
/// [`PostRejection::Statement`] if the statement has no sectors, or more than one proof may have.
pub fn public_inputs(statement: &PostStatement) -> Result<Vec<Node>, PostRejection> {
    public_inputs_numbered(statement, ChallengeNumbering::of(statement.kind))
}

/// As [`public_inputs`], with another numbering than the network's.
///
/// # Errors
/// As [`public_inputs`].
pub fn public_inputs_numbered(
    statement: &PostStatement,
    numbering: ChallengeNumbering,
) -> Result<Vec<Node>, PostRejection> {
    check_statement(statement)?;
    let (places, challenges) = match statement.kind {
        PostKind::Winning => (WINNING_POST_CHALLENGES, 1),
        PostKind::Window => (params(statement).window_sectors_per_partition, WINDOW_POST_CHALLENGES),
    };
    let last = statement.sectors.last().into_iter().cycle();
    let sectors = statement.sectors.iter().chain(last).take(places);
    let mut inputs = Vec::with_capacity(places * (1 + challenges));
    for (place, sector) in sectors.enumerate() {
        let first = match numbering {
            ChallengeNumbering::WithinSector => 0,
            ChallengeNumbering::AcrossSectors => place * challenges,
        };
        inputs.push(sector.comm_r.0);
        for number in first..first + challenges {
            let nodes = statement.sector_size.nodes();
            inputs.push(index_node(leaf(&statement.randomness, sector.sector_number, number as u64, nodes)));
        }
    }
    Ok(inputs)
}

/// An index as a field element.
fn index_node(index: u64) -> Node {
    let mut node = [0u8; 32];
    node[..8].copy_from_slice(&index.to_le_bytes());
    node
}

#[cfg(test)]
mod tests {
    use cairn_protocol::{CommR, PostRandomness, ProverId, SectorNumber, SectorSize};

    use super::super::PostSector;
    use super::super::challenges::leaves;
    use super::*;

    fn statement(kind: PostKind, sectors: u64) -> PostStatement {
        let sector = |number| PostSector { sector_number: SectorNumber(number), comm_r: CommR([number as u8; 32]) };
        PostStatement {
            kind,
            sector_size: SectorSize::KIB2,
            prover_id: ProverId([1; 32]),
            randomness: PostRandomness([2; 32]),
            sectors: (1..=sectors).map(sector).collect(),
        }
    }

    #[test]
    fn a_short_partition_repeats_its_last_sector() {
        let one = public_inputs(&statement(PostKind::Window, 1)).unwrap();
        let two = public_inputs(&statement(PostKind::Window, 2)).unwrap();
        assert_eq!((one.len(), two.len()), (22, 22));
        assert_eq!(one[..11], one[11..]);
        assert_eq!((one[..11] == two[..11], two[11]), (true, [2; 32]));
        assert!(public_inputs(&statement(PostKind::Window, 3)).is_err());
        assert!(public_inputs(&statement(PostKind::Window, 0)).is_err());
    }

    #[test]
    fn a_winning_proof_names_its_sector_before_every_leaf() {
        let inputs = public_inputs(&statement(PostKind::Winning, 1)).unwrap();
        assert_eq!(inputs.len(), 132);
        assert!(inputs.iter().step_by(2).all(|node| *node == [1; 32]));
        assert!(public_inputs(&statement(PostKind::Winning, 2)).is_err());
    }

    /// The network's numbering opens what the plain proof opens; the other one differs.
    #[test]
    fn the_leaves_are_those_of_the_plain_proof() {
        let winning = statement(PostKind::Winning, 1);
        let expected: Vec<Node> = leaves(&winning, SectorNumber(1)).into_iter().map(index_node).collect();
        let got: Vec<Node> = public_inputs(&winning).unwrap().into_iter().skip(1).step_by(2).collect();
        assert_eq!(got, expected);
        let within = public_inputs_numbered(&winning, ChallengeNumbering::WithinSector).unwrap();
        assert!(within.iter().skip(1).step_by(2).all(|leaf| *leaf == expected[0]));

        let window = statement(PostKind::Window, 2);
        let inputs = public_inputs(&window).unwrap();
        for (sector, inputs) in window.sectors.iter().zip(inputs.chunks(11)) {
            let expected: Vec<Node> = leaves(&window, sector.sector_number).into_iter().map(index_node).collect();
            assert_eq!((inputs[0], &inputs[1..]), (sector.comm_r.0, &expected[..]));
        }
        let across = public_inputs_numbered(&window, ChallengeNumbering::AcrossSectors).unwrap();
        assert_eq!((across[..11] == inputs[..11], across[11..] == inputs[11..]), (true, false));
    }
}
