//! `cairn validator init|key|genesis`: what a network of validators needs before it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use cairn_consensus::{Allocation, BeaconConfig, DrandNetwork, Genesis, GenesisValidator, Network, system_clock};
use cairn_ledger::{Address, ChainId, LedgerParams, VerifyingKeys, address_of};
use cairn_protocol::Amount;
use rand::Rng;
use serde::Serialize;

use super::folder::{Folder, KeyGrade, Place, Settings, write_whole};
use super::verifying_keys;
use crate::cli::{Share, ValidatorGenesisArguments, ValidatorInitArguments, ValidatorKeyArguments};
use crate::output::Output;

#[derive(Serialize)]
struct Made {
    chain: ChainId,
    name: String,
    validators: Vec<MadeValidator>,
}

#[derive(Serialize)]
struct MadeValidator {
    dir: PathBuf,
    address: Address,
    listen: SocketAddr,
    snapshots: SocketAddr,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "chain {} ({})", self.chain, self.name)?;
        for made in &self.validators {
            writeln!(f, "cairn validator run --dir {}   # {} on {}", made.dir.display(), made.address, made.listen)?;
        }
        Ok(())
    }
}

/// `cairn validator init`.
pub fn init(arguments: &ValidatorInitArguments) -> anyhow::Result<()> {
    let count = arguments.validators as usize;
    let hosts = &arguments.host;
    ensure!(hosts.is_empty() || hosts.len() == count, "--host: expected {count}, one for each, got {}", hosts.len());
    let addresses = addresses(arguments)?;
    let keys = verifying_keys(&arguments.proofs, Network::Development)?;
    let folders: Vec<_> = (0..count).map(|number| arguments.dir.join(format!("validator-{number}"))).collect();
    if let Some(there) = folders.iter().find(|folder| folder.exists()) {
        anyhow::bail!("{} is there: --dir names a folder for a new network", there.display());
    }
    let mut validators = Vec::new();
    for dir in &folders {
        let key = Folder::new(dir).make_key(KeyGrade::Development)?;
        validators.push(Share { address: address_of(&key), units: arguments.stake });
    }
    let genesis = genesis_of(&arguments.name, Network::Development, &validators, &arguments.allocation, keys)?;
    let others_of = |own: usize| {
        let others = addresses.iter().enumerate().filter(|(number, _)| *number != own);
        others.map(|(_, place)| *place).collect::<Vec<_>>()
    };
    let mut made = Vec::new();
    for (number, dir) in folders.into_iter().enumerate() {
        let Place { listen, snapshots } = addresses[number];
        Folder::new(&dir).write(&Settings::new(addresses[number], &others_of(number)), &genesis)?;
        made.push(MadeValidator { dir, address: validators[number].address, listen, snapshots });
    }
    let made = Made { chain: genesis.chain(), name: genesis.name, validators: made };
    Output::from_flag(arguments.json).print(&made)
}

fn addresses(arguments: &ValidatorInitArguments) -> anyhow::Result<Vec<Place>> {
    let count = arguments.validators as usize;
    if arguments.port == 0 {
        ensure!(arguments.host.is_empty(), "--port: free ports are known on this machine alone; --host needs a number");
        // All are held until all are known, so that no two are the same.
        let listeners: Vec<TcpListener> = (0..count * 2)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback"))
            .collect::<Result<_, _>>()?;
        let ports: Vec<SocketAddr> = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        return Ok(ports.chunks(2).map(|pair| Place { listen: pair[0], snapshots: pair[1] }).collect());
    }
    let mut next: BTreeMap<IpAddr, u16> = BTreeMap::new();
    let mut take = |host: IpAddr| -> anyhow::Result<SocketAddr> {
        let port = next.entry(host).or_insert(arguments.port);
        let address = SocketAddr::new(host, *port);
        *port = port.checked_add(1).context("--port: the ports of this many validators do not fit")?;
        Ok(address)
    };
    let host_of = |number: usize| arguments.host.get(number).copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
    let mut place_of = |number: usize| -> anyhow::Result<Place> {
        Ok(Place { listen: take(host_of(number))?, snapshots: take(host_of(number))? })
    };
    (0..count).map(&mut place_of).collect()
}

#[derive(Serialize)]
struct MadeKey {
    address: Address,
}

impl fmt::Display for MadeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// `cairn validator key`.
pub fn key(arguments: &ValidatorKeyArguments) -> anyhow::Result<()> {
    let key = Folder::new(&arguments.dir).make_key(KeyGrade::Operator)?;
    Output::from_flag(arguments.json).print(&MadeKey { address: address_of(&key) })
}

#[derive(Serialize)]
struct MadeGenesis {
    chain: ChainId,
    file: PathBuf,
}

impl fmt::Display for MadeGenesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: chain {}", self.file.display(), self.chain)
    }
}

/// `cairn validator genesis`.
pub fn genesis(arguments: &ValidatorGenesisArguments) -> anyhow::Result<()> {
    let (file, network) = (&arguments.out, arguments.network);
    ensure!(!file.exists(), "{} is there: it is not replaced", file.display());
    let keys = verifying_keys(&arguments.proofs, network)?;
    let made = genesis_of(&arguments.name, network, &arguments.validator, &arguments.allocation, keys)?;
    write_whole(file, made.to_json().as_bytes(), 0o644)?;
    Output::from_flag(arguments.json).print(&MadeGenesis { chain: made.chain(), file: file.clone() })
}

fn genesis_of(
    name: &str,
    network: Network,
    validators: &[Share],
    allocations: &[Share],
    verifying_keys: VerifyingKeys,
) -> anyhow::Result<Genesis> {
    let amount = |share: &Share| {
        let fits = Amount::from_units(share.units);
        fits.with_context(|| format!("{} units of {} do not fit", share.units, share.address))
    };
    let mut secret = [0; 32];
    rand::rng().fill_bytes(&mut secret);
    let (params, beacon) = match network {
        Network::Development => (LedgerParams::devnet(), BeaconConfig::DevelopmentHashChain { secret }),
        Network::Production => (LedgerParams::mainnet(), BeaconConfig::Drand(DrandNetwork::quicknet())),
    };
    let genesis = Genesis {
        network,
        name: name.to_owned(),
        time_ms: system_clock(),
        params,
        allocations: allocations
            .iter()
            .map(|share| Ok(Allocation { address: share.address, amount: amount(share)? }))
            .collect::<anyhow::Result<_>>()?,
        validators: validators
            .iter()
            .map(|share| Ok(GenesisValidator { address: share.address, stake: amount(share)? }))
            .collect::<anyhow::Result<_>>()?,
        beacon,
        verifying_keys,
    };
    genesis.state()?;
    Ok(genesis)
}
