//! The parameters of the network's proofs: made on first use, kept for every network of the same sector size.
//!
//! 1. One process at a time: a second one waits, and finds what the first has made.
//! 2. Circuits without parameters get some. What that takes is said before, and refused if the disk has no room.
//! 3. The verifying keys are read and checked. They go into a new network's genesis; an old one must have the same.
//! 4. The provers are opened; the first time, the parameters are converted into the form they read.
//!
//! They are development parameters, whoever makes them can forge proofs: [`trust_in`] lets a development network alone
//! have them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use cairn_compute::Workers;
use cairn_consensus::Network;
use cairn_ledger::{KeyDigest, ProofVerifier, VerifyingKeys};
use cairn_protocol::SectorSize;
use cairn_rpc::wire::{self, NetworkGrade};
use cairn_sealing::{CircuitSnarks, Groth16ProofVerifier, NetworkCircuits, SnarkProver};
use cairn_snark::Engine;
use cairn_snark::groth16::Circuit;
use rand::TryRng;
use rand::rngs::SysRng;

use super::console::Console;
use crate::cli::{ProverArguments, TrustArguments};
use crate::commands::keys::Keys;
use crate::commands::params::setup::make_development;

/// Name of the file that a process holds while it makes or converts parameters.
const LOCK_NAME: &str = ".cairn-lock";

/// Keys in use, and what it took to have them.
pub struct Parameters {
    /// The ledger's checks.
    pub verifier: Arc<Groth16ProofVerifier>,
    /// The provider's prover.
    pub prover: Arc<dyn SnarkProver>,
    /// What both are for.
    pub circuits: NetworkCircuits,
    /// Circuits whose parameters were made now, and the bytes of their files.
    pub made: Vec<(String, u64)>,
    /// What all of it took.
    pub seconds: f64,
}

/// Which keys a network may have.
pub fn trust_in(network: Network) -> TrustArguments {
    TrustArguments { published_only: network != Network::Development }
}

impl Parameters {
    /// Steps 1 to 4 of the module, in `dir`. Without `may_make` missing parameters are an error: those that a network
    /// was made with cannot be made a second time.
    ///
    /// # Errors
    /// What is missing, damaged or full.
    pub fn open(
        dir: &Path,
        network: Network,
        circuits: impl Into<NetworkCircuits>,
        may_make: bool,
        threads: usize,
        console: &Console,
    ) -> anyhow::Result<Self> {
        let circuits = circuits.into();
        let started = Instant::now();
        let (trust, workers) = (trust_in(network), Workers::new(threads)?);
        let keys = Keys::new(dir.to_owned(), None, trust);
        let missing = missing(&keys, circuits);
        if let Some(circuit) = missing.first().filter(|_| !may_make) {
            let dir = dir.display();
            bail!("{dir} has no parameters of {circuit}, which the network was made with: --params names their folder");
        }
        fs::create_dir_all(keys.cache()).with_context(|| format!("cannot make {}", keys.cache().display()))?;
        let _lock = lock(dir, console)?;
        let made = make_missing(&keys, circuits, &workers, console)?;
        let verifier = Groth16ProofVerifier::open(keys.store(), circuits, workers.clone())?;
        let options = ProverArguments { cache: None, backend: Engine::Auto, trust, threads };
        let size = circuits.sector_size;
        let open = |circuit| keys.prover(circuit, &options, &workers).map(|(prover, _)| prover);
        let (porep, window_post) = (open(Circuit::Porep(size))?, open(Circuit::WindowPost(size))?);
        let mut prover = CircuitSnarks::new(porep, window_post, Box::new(random));
        if circuits.updates {
            prover = prover.with_updates(open(Circuit::Update(size))?);
        }
        let seconds = started.elapsed().as_secs_f64();
        Ok(Self { verifier: Arc::new(verifier), prover: Arc::new(prover), circuits, made, seconds })
    }

    /// Those that the network of a remote ledger was made with, in `dir` or the user's folder.
    ///
    /// # Errors
    /// What is missing or damaged, or that these are another network's.
    pub fn of_network(
        dir: Option<&Path>,
        rpc: &str,
        network: &wire::Network,
        sector_size: SectorSize,
        threads: usize,
        console: &Console,
    ) -> anyhow::Result<Self> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => default_dir(|name| std::env::var(name).ok())?,
        };
        let grade = match network.grade {
            NetworkGrade::Development => Network::Development,
            NetworkGrade::Production => Network::Production,
        };
        let circuits = circuits_of(sector_size, network, &dir, grade, console);
        let parameters = Self::open(&dir, grade, circuits, false, threads, console)?;
        check_keys(rpc, &network.verifying_keys, &parameters.verifying_keys())
            .with_context(|| dir.display().to_string())?;
        Ok(parameters)
    }

    /// The keys that proofs are checked with.
    pub fn verifying_keys(&self) -> VerifyingKeys {
        self.verifier.verifying_keys()
    }
}

/// Refuses parameters under which the network would refuse every proof, before a bond is at stake.
fn check_keys(rpc: &str, network: &BTreeMap<String, String>, own: &VerifyingKeys) -> anyhow::Result<()> {
    for (circuit, KeyDigest(got)) in own {
        let expected = network.get(circuit).map_or("none", String::as_str);
        ensure!(
            expected == got,
            "the network of {rpc} checks {circuit} proofs with verifying key {expected}, these parameters have {got}: \
             --params names the folder of the network's"
        );
    }
    Ok(())
}

/// What a network takes proofs of: updates only with their parameters, everything else needs its own.
fn circuits_of(
    sector_size: SectorSize,
    network: &wire::Network,
    params: &Path,
    grade: Network,
    console: &Console,
) -> NetworkCircuits {
    let circuits = NetworkCircuits::named(sector_size, network.verifying_keys.keys());
    let keys = Keys::new(params.to_owned(), None, trust_in(grade));
    if circuits.updates && !keys.store().has(Circuit::Update(sector_size)) {
        console.line(format!("no parameters of updates in {}: updates are left to others", params.display()));
        return sector_size.into();
    }
    circuits
}

/// Blinding comes from the operating system.
fn random(bytes: &mut [u8]) {
    SysRng.try_fill_bytes(bytes).expect("the operating system gives randomness once it runs");
}

fn lock(dir: &Path, console: &Console) -> anyhow::Result<File> {
    let path = dir.join(LOCK_NAME);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        console.line(format!("parameters: another process works on {}, waiting for it", dir.display()));
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

fn missing(keys: &Keys, circuits: NetworkCircuits) -> Vec<Circuit> {
    circuits.all().into_iter().filter(|circuit| !keys.store().has(*circuit)).collect()
}

/// Step 2.
fn make_missing(
    keys: &Keys,
    circuits: NetworkCircuits,
    workers: &Workers,
    console: &Console,
) -> anyhow::Result<Vec<(String, u64)>> {
    let mut made = vec![];
    let dir = keys.params().display();
    for circuit in missing(keys, circuits) {
        console.line(format!("parameters: making those of {circuit} for development in {dir}, once for all networks"));
        let started = Instant::now();
        // Twice: the prover converts them.
        let summary = make_development(keys, circuit.id().expect("circuits of the ledger are ours"), 2, workers)?;
        let seconds = started.elapsed().as_secs_f64();
        console.line(format!("parameters: {circuit} made in {seconds:.1} s, {} bytes", summary.bytes));
        made.push((circuit.to_string(), summary.bytes));
    }
    Ok(made)
}

/// The user's folder for what can be made again: `$XDG_CACHE_HOME/cairn/params`, by default `~/.cache/cairn/params`.
///
/// # Errors
/// If the environment names no folder.
pub fn default_dir(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME names a folder: give --params DIR")?.join("cairn/params"))
}

#[cfg(test)]
mod tests {
    use cairn_protocol::SectorSize;

    use super::*;

    #[test]
    fn the_default_folder_is_the_users_cache() {
        let with = |values: &[(&str, &str)]| {
            let values = values.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            let values: std::collections::BTreeMap<_, _> = values.collect();
            default_dir(|name| values.get(name).cloned())
        };
        let home = ("HOME", "/home/ada");
        assert_eq!(with(&[home]).unwrap(), Path::new("/home/ada/.cache/cairn/params"));
        assert_eq!(with(&[home, ("XDG_CACHE_HOME", "/cache")]).unwrap(), Path::new("/cache/cairn/params"));
        // The specification has relative ones ignored.
        assert_eq!(with(&[home, ("XDG_CACHE_HOME", "cache")]).unwrap(), Path::new("/home/ada/.cache/cairn/params"));
        assert!(with(&[]).unwrap_err().to_string().contains("--params"));
    }

    #[test]
    fn development_keys_are_for_development_networks() {
        assert!(!trust_in(Network::Development).published_only);
        assert!(trust_in(Network::Production).published_only);
    }

    #[test]
    fn a_network_that_lost_its_parameters_says_so_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let console = Console::new();
        let params = dir.path().join("params");
        let opened = Parameters::open(&params, Network::Development, SectorSize::MIB8, false, 1, &console);
        let error = opened.err().unwrap().to_string();
        assert!(!params.exists(), "nothing is left behind");
        assert!(error.contains("has no parameters of porep 8MiB") && error.contains("--params"), "{error}");
    }

    #[test]
    fn parameters_of_another_network_are_refused_by_name() {
        let key = |name: &str, digest: &str| (name.to_owned(), KeyDigest(digest.to_owned()));
        let own = VerifyingKeys::from([key("porep 2KiB", "aa"), key("window-post 2KiB", "bb")]);
        let network = |porep: &str| {
            let keys = [("porep 2KiB", porep), ("window-post 2KiB", "bb"), ("update 2KiB", "cc")];
            keys.map(|(name, digest)| (name.to_owned(), digest.to_owned())).into_iter().collect()
        };
        assert!(check_keys("http://here", &network("aa"), &own).is_ok());
        let refused = check_keys("http://here", &network("ff"), &own).unwrap_err().to_string();
        assert!(
            refused.contains("checks porep 2KiB proofs with verifying key ff, these parameters have aa"),
            "{refused}"
        );
        let none = check_keys("http://here", &BTreeMap::new(), &own).unwrap_err().to_string();
        assert!(none.contains("verifying key none"), "{none}");
    }

    #[test]
    fn a_network_without_updates_needs_no_parameters_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::new(dir.path().to_owned(), None, trust_in(Network::Development));
        let sector_size = SectorSize::KIB2;
        let count = |updates| missing(&keys, NetworkCircuits { sector_size, updates }).len();
        assert_eq!((count(false), count(true)), (2, 3));
    }
}
