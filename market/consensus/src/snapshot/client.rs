//! Taking a snapshot: ask, check, keep; and ask somebody else when something does not fit.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_ledger::sync::Download;
use cairn_ledger::{ChainId, State, codec};
use cairn_protocol::Epoch;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::block::{Block, BlockHeader, encoded_bytes_max, transactions_root};
use crate::commit::Commit;
use crate::evidence::evidence_root;
use crate::genesis::Genesis;
use crate::snapshot::trust::{Believed, TrustRejection, check_age, check_light, check_own_head, reach};
use crate::snapshot::wire::{Answer, Ask, Connection, NODES_BYTES, Question, Status, VERSION};
use crate::snapshot::{CaughtUp, Checkpoint, ServerFault, SnapshotError, SnapshotOptions, Trust};
use crate::store::{Head, LightBlock, Store, StoreError};
use crate::validators::Validators;

/// Answers other than blocks and nodes: a light block of the largest set is far below.
const SMALL_ANSWER_MAX: usize = 1 << 20;
/// An answer with nodes: the last one may exceed the usual size.
const NODES_ANSWER_MAX: usize = NODES_BYTES * 4;
/// Blocks that tell how fast they come.
const INTERVALS_MAX: u64 = 100;
/// Light blocks that are looked at on the way to one that is believed.
const LIGHTS_MAX: u32 = 256;

/// Takes a snapshot into the store in `dir` if the servers no longer have the blocks that it needs. Nobody else may have
/// the store open.
///
/// # Errors
/// [`SnapshotError`]; the store is then as it was, or starts from the genesis if writing failed.
pub fn catch_up(dir: &Path, genesis: &Genesis, options: &SnapshotOptions) -> Result<CaughtUp, SnapshotError> {
    let (store, Head { header, state, .. }) = Store::open(dir, genesis, Head::of_genesis(genesis)?)?;
    let (head, next) = (header.height, Epoch(header.height.0 + 1));
    let validators = Validators::after(&state);
    // There is to be room for the other one.
    drop(state);
    let chain = genesis.chain();
    let deadline = Instant::now() + options.timeout;
    let (oldest, faults) = statuses(&options.servers, chain, options.answer_timeout, deadline);
    let Some(oldest) = oldest.iter().copied().max() else { return Err(SnapshotError::Nobody { faults }) };
    if next >= oldest {
        return Ok(CaughtUp::NotNeeded { next, oldest });
    }
    if let Trust::OwnHead { now_ms, block_interval } = options.trust {
        let interval = seen_interval(&store, &header)?.map_or(block_interval, |seen| seen.min(block_interval));
        check_own_head(&header, now_ms, interval, &genesis.params)?;
    }
    let own = Believed { validators, height: head };
    let mut search = Search { genesis, chain, options, deadline, own, taken: None };
    let mut faults = Vec::new();
    for &server in &options.servers {
        match search.take_from(server) {
            Ok((target, state, bytes)) => {
                store.install(genesis, &target.block, &target.light, &state)?;
                drop(store);
                // It speaks of heights below; the engine would find nothing in it.
                let _ = std::fs::remove_file(dir.join(crate::node::VOTES_LOG));
                let height = target.light.header.height;
                info!(%height, bytes, %server, "a snapshot is in place");
                return Ok(CaughtUp::Installed { height, bytes, refused: faults });
            }
            Err(fault) => {
                warn!(%server, %fault, "a server of snapshots is given up");
                faults.push((server, fault));
            }
        }
    }
    Err(SnapshotError::Nobody { faults })
}

/// What each server that answers has as its oldest block, and why the others do not answer.
type Statuses = (Vec<Epoch>, Vec<(SocketAddr, ServerFault)>);

fn statuses(servers: &[SocketAddr], chain: ChainId, answer_timeout: Duration, deadline: Instant) -> Statuses {
    let (mut oldest, mut faults) = (Vec::new(), Vec::new());
    for &server in servers {
        match Talk::open(server, chain, answer_timeout, deadline).and_then(|mut talk| talk.status()) {
            Ok(status) => oldest.push(status.oldest),
            Err(fault) => faults.push((server, fault)),
        }
    }
    (oldest, faults)
}

/// The oldest block that any of these servers has: a node that needs an older one cannot go on block by block. None if
/// nobody answers. What they say is not checked.
pub fn oldest_offered(servers: &[SocketAddr], chain: ChainId, answer_timeout: Duration) -> Option<Epoch> {
    let deadline = Instant::now() + answer_timeout.saturating_mul(servers.len().try_into().unwrap_or(u32::MAX));
    statuses(servers, chain, answer_timeout, deadline).0.into_iter().min()
}

/// The mean time between the last blocks, as far as they are kept.
fn seen_interval(store: &Store, head: &BlockHeader) -> Result<Option<Duration>, StoreError> {
    let first = Epoch(head.height.0.saturating_sub(INTERVALS_MAX)).max(store.oldest()?);
    let intervals = u32::try_from(head.height.0.saturating_sub(first.0)).unwrap_or(u32::MAX);
    let since = store.block(first)?.map(|block| head.time_ms.saturating_sub(block.header.time_ms));
    Ok(since.filter(|_| intervals > 0).map(|since| Duration::from_millis(since) / intervals))
}

/// A block that is believed, and is to be the head.
struct Target {
    light: LightBlock,
    block: Block,
}

struct Search<'a> {
    genesis: &'a Genesis,
    chain: ChainId,
    options: &'a SnapshotOptions,
    deadline: Instant,
    /// Who decides the block after the own head.
    own: Believed,
    /// What earlier servers gave and was checked.
    taken: Option<(Target, Download)>,
}

impl Search<'_> {
    /// Everything from one server, after what others gave.
    fn take_from(&mut self, server: SocketAddr) -> Result<(Target, State, u64), ServerFault> {
        let mut talk = Talk::open(server, self.chain, self.options.answer_timeout, self.deadline)?;
        let status = talk.status()?;
        let begun = self.taken.as_ref().map(|(target, _)| target.light.header.height);
        if begun.is_none_or(|height| !status.snapshots.contains(&height)) {
            self.taken = Some(self.begin(&mut talk, &status)?);
        }
        let (target, download) = self.taken.as_mut().expect("begun above");
        let (height, root) = (target.light.header.height, target.light.header.state_root);
        let in_state = |rejection| ServerFault::State { height, rejection };
        loop {
            let wanted = download.wanted();
            if wanted.is_empty() {
                break;
            }
            let asked = || format!("nodes of the state of block {height}");
            match talk.ask("nodes of the state", Ask::Nodes(root, wanted), NODES_ANSWER_MAX)? {
                Answer::Nodes(Some(nodes)) => download.accept(nodes).map_err(in_state)?,
                Answer::Nodes(None) => return Err(ServerFault::Missing { asked: asked() }),
                _ => return Err(ServerFault::WrongAnswer { asked: "nodes of the state" }),
            }
        }
        let (target, download) = self.taken.take().expect("begun above");
        let bytes = download.bytes();
        let state = download.finish().map_err(in_state)?;
        Ok((target, state, bytes))
    }

    /// The newest snapshot of the server, up to where its nodes begin.
    fn begin(&self, talk: &mut Talk, status: &Status) -> Result<(Target, Download), ServerFault> {
        let newest = status.snapshots.iter().max().filter(|height| **height > self.own.height);
        let height = *newest.ok_or_else(|| ServerFault::Missing { asked: "a snapshot of a later block".to_owned() })?;
        let light = self.believed_light(talk, height, status.every.max(1))?;
        let block = self.block_of(talk, &light)?;
        let root = light.header.state_root;
        let top = match talk.ask("top of the state", Ask::Top(root), SMALL_ANSWER_MAX)? {
            Answer::Top(Some(top)) => top,
            Answer::Top(None) => return Err(ServerFault::Missing { asked: format!("the state of block {height}") }),
            _ => return Err(ServerFault::WrongAnswer { asked: "top of the state" }),
        };
        let download = Download::new(root, top, self.options.state_bytes_max)
            .map_err(|rejection| ServerFault::State { height, rejection })?;
        Ok((Target { light, block }, download))
    }

    /// The light block at `height`, believed because of what is believed already.
    fn believed_light(&self, talk: &mut Talk, height: Epoch, every: u64) -> Result<LightBlock, ServerFault> {
        let mut lights_left = LIGHTS_MAX;
        let target = talk.light(height, &mut lights_left)?;
        let believed = match self.options.trust {
            Trust::OwnHead { .. } => {
                check_age(self.own.height, height, &self.genesis.params)?;
                self.own.clone()
            }
            Trust::Checkpoint(Checkpoint::Validators { root }) => {
                decided_by(talk, &target, root, every, &mut lights_left)?
            }
            Trust::Checkpoint(Checkpoint::Block { height: at, block }) => {
                check_age(at, height, &self.genesis.params)?;
                let light = talk.light(at, &mut lights_left)?;
                let got = light.header.id();
                if got != block {
                    return Err(TrustRejection::OtherCheckpoint { height: at, expected: block, got }.into());
                }
                Believed { validators: light.deciders, height: at }
            }
        };
        reach(believed, &target, every, &mut |height| talk.light(height, &mut lights_left))?;
        Ok(target)
    }

    fn block_of(&self, talk: &mut Talk, light: &LightBlock) -> Result<Block, ServerFault> {
        let height = light.header.height;
        let limit = usize::try_from(encoded_bytes_max(&self.genesis.params)).unwrap_or(usize::MAX);
        // The frame is a little longer than the block in it.
        let bytes = match talk.ask("block", Ask::Block(height), limit + 64)? {
            Answer::Block(Some(bytes)) => bytes,
            Answer::Block(None) => return Err(ServerFault::Missing { asked: format!("block {height}") }),
            _ => return Err(ServerFault::WrongAnswer { asked: "block" }),
        };
        let block: Block = decoded("block", &bytes, limit)?;
        let header = &light.header;
        let parts = [
            ("header", block.header == *header),
            ("commit", block.commit.as_ref().map_or([0; 32], Commit::root) == header.commit_root),
            ("evidence", evidence_root(&block.evidence) == header.evidence_root),
            ("transactions", transactions_root(&block.transactions) == header.transactions_root),
        ];
        match parts.iter().find(|(_, fits)| !fits) {
            None => Ok(block),
            Some(&(part, _)) => Err(ServerFault::WrongBlock { height, part }),
        }
    }
}

/// The set with this root: of the target itself, or of a light block below it.
fn decided_by(
    talk: &mut Talk,
    target: &LightBlock,
    root: [u8; 32],
    every: u64,
    lights_left: &mut u32,
) -> Result<Believed, ServerFault> {
    let found = |light: &LightBlock| {
        let validators: Validators = light.deciders.clone();
        (light.header.validators_root == root).then_some(Believed { validators, height: light.header.height })
    };
    let mut height = target.header.height;
    let unknown = TrustRejection::UnknownValidators { height };
    if let Some(believed) = found(target) {
        return Ok(believed);
    }
    while let Some(below) = (height.0.saturating_sub(1) / every).checked_mul(every).filter(|below| *below > 0) {
        if *lights_left <= LIGHTS_MAX / 2 {
            break;
        }
        height = Epoch(below);
        match talk.light(height, lights_left) {
            Ok(light) => {
                if let Some(believed) = found(&light) {
                    return Ok(believed);
                }
            }
            Err(ServerFault::Missing { .. }) => break,
            Err(fault) => return Err(fault),
        }
    }
    Err(unknown.into())
}

/// A conversation with one server.
struct Talk {
    connection: Connection,
    chain: ChainId,
    deadline: Instant,
}

impl Talk {
    fn open(
        server: SocketAddr,
        chain: ChainId,
        answer_timeout: Duration,
        deadline: Instant,
    ) -> Result<Self, ServerFault> {
        let left = deadline.saturating_duration_since(Instant::now());
        let unreachable = |detail: String| ServerFault::Unreachable { doing: "connect", detail };
        if left.is_zero() {
            return Err(unreachable("there is no time left".to_owned()));
        }
        let opened = Connection::open(server, answer_timeout.min(left));
        let connection = opened.map_err(|error| unreachable(error.to_string()))?;
        Ok(Self { connection, chain, deadline })
    }

    fn ask(&mut self, asked: &'static str, what: Ask, limit: usize) -> Result<Answer, ServerFault> {
        let unreachable = |detail: String| ServerFault::Unreachable { doing: asked, detail };
        if Instant::now() >= self.deadline {
            return Err(unreachable("there is no time left".to_owned()));
        }
        let question = Question { chain: (VERSION, self.chain), what };
        let body = self.connection.ask(&question, limit).map_err(|error| unreachable(error.to_string()))?;
        decoded(asked, &body, limit)
    }

    fn status(&mut self) -> Result<Status, ServerFault> {
        match self.ask("status", Ask::Status, SMALL_ANSWER_MAX)? {
            Answer::Status(status) => Ok(status),
            _ => Err(ServerFault::WrongAnswer { asked: "status" }),
        }
    }

    /// A light block that is right by itself.
    fn light(&mut self, height: Epoch, lights_left: &mut u32) -> Result<LightBlock, ServerFault> {
        let missing = || ServerFault::Missing { asked: format!("the header of block {height}") };
        *lights_left = lights_left.checked_sub(1).ok_or_else(missing)?;
        match self.ask("header", Ask::Light(height), SMALL_ANSWER_MAX)? {
            Answer::Light(Some(light)) => {
                check_light(&light, &self.chain, height)?;
                Ok(*light)
            }
            Answer::Light(None) => Err(missing()),
            _ => Err(ServerFault::WrongAnswer { asked: "header" }),
        }
    }
}

fn decoded<T: Serialize + DeserializeOwned>(asked: &'static str, bytes: &[u8], limit: usize) -> Result<T, ServerFault> {
    codec::decode_strict(bytes, limit).map_err(|rejection| ServerFault::Malformed { asked, rejection })
}
