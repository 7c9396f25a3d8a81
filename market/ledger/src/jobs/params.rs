//! The numbers of proof jobs, among them how much work each circuit is.

use cairn_protocol::{Amount, SectorSize};
use serde::{Deserialize, Serialize};

use super::JobCircuit;
use crate::params::ParamsRejection;

/// What a network agrees on about proof jobs. Durations in epochs, amounts in micro-units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobParams {
    /// Epochs from the first bid until the job is assigned.
    pub bid_window: u64,
    /// Most epochs that a job may give its worker.
    pub prove_epochs_max: u64,
    /// Most epochs from posting to the deadline.
    pub life_max: u64,
    /// Most bids on a job at a time.
    pub bids_max: u32,
    /// Workers that may fail a job before it closes.
    pub attempts_max: u32,
    /// Most bytes of a plain proof.
    pub witness_bytes_max: u64,
    /// Bond for each million constraints.
    pub bond_per_million: Amount,
    /// Least bond.
    pub bond_min: Amount,
    /// Part of the bond that a proof which does not hold costs.
    pub slash_refused_percent: u32,
    /// Part of the bond that being late, or giving up, costs.
    pub slash_late_percent: u32,
    /// Burnt for each partition that is verified and holds.
    pub verification_fee: Amount,
    /// What each tier needs, from tier 1 on.
    pub tiers: Vec<TierRule>,
    /// Constraints of each circuit; a job about another one is refused.
    pub work: Vec<CircuitWork>,
}

/// What a worker's record must be like for one more tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierRule {
    /// Least jobs of others proven.
    pub proven_min: u64,
    /// Most failures in a thousand jobs.
    pub failed_permille_max: u32,
}

/// How much one partition of a circuit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitWork {
    /// Which circuit.
    pub circuit: JobCircuit,
    /// Sectors of which size.
    pub sector_size: SectorSize,
    /// Its constraints.
    pub constraints: u64,
}

/// Filecoin's circuits, by sector size: constraints of one partition of a PoRep, a window PoSt and an update.
const CONSTRAINTS: [(SectorSize, u64, u64, u64); 10] = [
    (SectorSize::KIB2, 2_687_921, 21_866, 1_705_039),
    (SectorSize::KIB4, 2_788_733, 28_146, 2_165_109),
    (SectorSize::KIB16, 2_977_173, 32_466, 6_300_021),
    (SectorSize::KIB32, 3_077_985, 38_746, 6_760_091),
    (SectorSize::MIB8, 3_844_929, 64_266, 10_007_503),
    (SectorSize::MIB16, 3_945_741, 70_546, 10_467_573),
    (SectorSize::MIB512, 4_423_433, 85_466, 57_450_479),
    (SectorSize::GIB1, 4_524_245, 91_746, 61_407_081),
    (SectorSize::GIB32, 130_278_541, 125_279_217, 81_049_499),
    (SectorSize::GIB64, 131_185_849, 129_887_900, 85_006_101),
];

impl JobParams {
    /// For a network on one machine, with ten blocks a second: a bid window of a second, a quarter of an hour to prove,
    /// because provider and worker share the machine.
    pub fn devnet() -> Self {
        Self {
            bid_window: 10,
            prove_epochs_max: 36_000,
            life_max: 100_000,
            bids_max: 16,
            attempts_max: 4,
            witness_bytes_max: 512 << 20,
            bond_per_million: Amount(10_000),
            bond_min: Amount(20_000),
            slash_refused_percent: 50,
            slash_late_percent: 25,
            verification_fee: Amount(1_000),
            tiers: default_tiers(),
            work: filecoin_work(),
        }
    }

    /// For a network with an epoch of 30 s: ten minutes to bid, up to a day to prove.
    pub fn mainnet() -> Self {
        Self { bid_window: 20, prove_epochs_max: 2_880, life_max: 30 * 2_880, bids_max: 32, ..Self::devnet() }
    }

    /// Constraints of one partition of a circuit, if the network has it.
    pub fn constraints(&self, circuit: JobCircuit, sector_size: SectorSize) -> Option<u64> {
        let found = self.work.iter().find(|entry| entry.circuit == circuit && entry.sector_size == sector_size);
        found.map(|entry| entry.constraints)
    }

    /// The bond of a job of `work` constraints.
    pub fn bond_of(&self, work: u64) -> Amount {
        super::price_of(self.bond_per_million, work).unwrap_or(Amount(u64::MAX)).max(self.bond_min)
    }

    /// Checks that the numbers fit each other.
    ///
    /// # Errors
    /// [`ParamsRejection`] names the first that does not.
    pub fn validate(&self) -> Result<(), ParamsRejection> {
        const MOST: u64 = 1 << 40;
        let check = |name, got: u64, least: u64, most: u64, rule| {
            if (least..=most).contains(&got) { Ok(()) } else { Err(ParamsRejection { name, got, rule }) }
        };
        let at_least_one = "must be at least 1 and at most 2^40";
        check("jobs.bid_window", self.bid_window, 1, MOST, at_least_one)?;
        check("jobs.prove_epochs_max", self.prove_epochs_max, 1, MOST, at_least_one)?;
        check(
            "jobs.life_max",
            self.life_max,
            self.bid_window + 1,
            MOST,
            "must hold a bid window and an epoch to prove",
        )?;
        check("jobs.bids_max", self.bids_max.into(), 1, 1_000, "must be 1 to 1,000")?;
        check("jobs.attempts_max", self.attempts_max.into(), 1, 100, "must be 1 to 100")?;
        check("jobs.witness_bytes_max", self.witness_bytes_max, 1, MOST, at_least_one)?;
        check("jobs.slash_refused_percent", self.slash_refused_percent.into(), 0, 100, "must be 0 to 100")?;
        check("jobs.slash_late_percent", self.slash_late_percent.into(), 0, 100, "must be 0 to 100")?;
        check("jobs.verification_fee", self.verification_fee.0, 0, MOST, "must be at most 2^40")?;
        check("jobs.tiers", self.tiers.len() as u64, 0, 16, "must be at most 16")?;
        check("jobs.work", self.work.len() as u64, 0, 64, "must be at most 64 circuits")?;
        for entry in &self.work {
            check("jobs.work.constraints", entry.constraints, 1, MOST, at_least_one)?;
        }
        Ok(())
    }
}

fn default_tiers() -> Vec<TierRule> {
    vec![
        TierRule { proven_min: 4, failed_permille_max: 200 },
        TierRule { proven_min: 64, failed_permille_max: 50 },
        TierRule { proven_min: 1_024, failed_permille_max: 10 },
    ]
}

fn filecoin_work() -> Vec<CircuitWork> {
    let of = |(sector_size, porep, window_post, update)| {
        [(JobCircuit::Porep, porep), (JobCircuit::WindowPost, window_post), (JobCircuit::Update, update)]
            .map(|(circuit, constraints)| CircuitWork { circuit, sector_size, constraints })
    };
    CONSTRAINTS.into_iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is what the reference's circuits have.
    #[test]
    fn work_is_counted_in_the_references_constraints() {
        let files = cairn_fixtures::r1cs_vectors().into_iter().map(|file| (file.circuit, file.num_constraints));
        let others = cairn_fixtures::r1cs_other_sizes().into_iter().map(|file| (file.circuit, file.num_constraints));
        let mut compared = 0;
        for (name, constraints) in files.chain(others) {
            let (kind, bytes) = name.rsplit_once('-').unwrap();
            let size = SectorSize::from_bytes(bytes.parse().unwrap()).unwrap();
            let circuit = JobCircuit::ALL.into_iter().find(|circuit| circuit.name() == kind);
            let Some(circuit) = circuit else { continue };
            assert_eq!(JobParams::devnet().constraints(circuit, size), Some(constraints), "{name}");
            compared += 1;
        }
        assert_eq!(compared, 28, "all but the window PoSt of 64 GiB and the update of 1 GiB");
        // The first has a level of arity two more than 32 GiB in each of its sectors, as 4 KiB has beside 2 KiB.
        let of = |size| JobParams::devnet().constraints(JobCircuit::WindowPost, size).unwrap();
        let level = (of(SectorSize::KIB4) - of(SectorSize::KIB2)) / 2;
        assert_eq!(of(SectorSize::GIB64), 2_300 * (of(SectorSize::GIB32) / 2_349 + level));
        // The second has one level more than 512 MiB in each tree of its 86 challenges, as 64 GiB has beside 32 GiB.
        let of = |size| JobParams::devnet().constraints(JobCircuit::Update, size).unwrap();
        assert_eq!(of(SectorSize::GIB1) - of(SectorSize::MIB512), of(SectorSize::GIB64) - of(SectorSize::GIB32));
        assert_eq!(
            (of(SectorSize::GIB1) - of(SectorSize::MIB512)) / 86,
            (of(SectorSize::MIB16) - of(SectorSize::MIB8)) / 10
        );
    }

    #[test]
    fn profiles_are_valid_and_what_is_not_is_named() {
        assert_eq!(JobParams::devnet().validate(), Ok(()));
        assert_eq!(JobParams::mainnet().validate(), Ok(()));
        let broken = |change: fn(&mut JobParams)| {
            let mut params = JobParams::devnet();
            change(&mut params);
            params.validate().unwrap_err().name
        };
        assert_eq!(broken(|p| p.bid_window = 0), "jobs.bid_window");
        assert_eq!(broken(|p| p.life_max = p.bid_window), "jobs.life_max");
        assert_eq!(broken(|p| p.slash_refused_percent = 101), "jobs.slash_refused_percent");
        assert_eq!(broken(|p| p.work[0].constraints = 0), "jobs.work.constraints");
    }
}
