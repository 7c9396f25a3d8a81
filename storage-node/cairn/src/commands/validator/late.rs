//! Notices that a node stands still because nobody has the block that it needs, and says what helps.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cairn_consensus::snapshot::{oldest_offered, trust::check_own_head};
use cairn_consensus::{Genesis, LedgerHandle, system_clock};
use cairn_protocol::Epoch;

use crate::devnet::console::Console;

/// A node whose head has not moved for so long, or for ten blocks if that is longer, asks why.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for one server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long before the same is said, or tried, again.
const SAY_AGAIN: Duration = Duration::from_secs(600);
/// Without anybody to ask, a head that stands so long is worth a line.
const STANDS_FOR: Duration = Duration::from_secs(60);

/// See the module.
pub struct Lookout {
    dir: PathBuf,
    genesis: Genesis,
    servers: Vec<SocketAddr>,
    block_interval: Duration,
    quiet_until: Option<Instant>,
}

impl Lookout {
    /// Of the node in `dir`; `servers` are where the others offer snapshots.
    pub fn new(dir: PathBuf, genesis: Genesis, servers: Vec<SocketAddr>, block_interval: Duration) -> Self {
        Self { dir, genesis, servers, block_interval, quiet_until: None }
    }

    /// Says and tries nothing for a while.
    pub fn rest(&mut self) {
        self.quiet_until = Some(Instant::now() + SAY_AGAIN);
    }

    fn is_quiet(&self) -> bool {
        self.quiet_until.is_some_and(|until| Instant::now() < until)
    }

    /// Ready when nobody has the next block any more, and the own head is young enough to take a snapshot on its word.
    pub async fn too_late(&mut self, ledger: &LedgerHandle, console: &Console) {
        let (mut seen, mut since) = (ledger.head().height, Instant::now());
        loop {
            tokio::time::sleep(LOOK_EVERY.max(self.block_interval * 10)).await;
            let head = ledger.head();
            if head.height != seen {
                (seen, since) = (head.height, Instant::now());
                continue;
            }
            let next = Epoch(seen.0 + 1);
            let (servers, chain) = (self.servers.clone(), head.chain);
            let asked = tokio::task::spawn_blocking(move || oldest_offered(&servers, chain, ANSWER_TIMEOUT));
            // A head that moved in the meantime is not late.
            let oldest = asked.await.unwrap_or(None).filter(|_| ledger.head().height == seen);
            if self.is_quiet() {
                continue;
            }
            match oldest {
                Some(oldest) if oldest > next => {
                    console.line(format!("TOO LATE: block {next} is needed, the oldest that anybody has is {oldest}"));
                    let young = check_own_head(&head, system_clock(), self.block_interval, &self.genesis.params);
                    let Err(old) = young else { return };
                    console.line(format!("it cannot judge a snapshot by itself: {old}"));
                    console.line(self.what_helps());
                    self.rest();
                }
                None if since.elapsed() > STANDS_FOR => {
                    console.line(format!(
                        "no block for {} s, and nobody answers who offers snapshots (--snapshot-from): if the others go \
                         on, this node may be too late for their history",
                        since.elapsed().as_secs()
                    ));
                    self.rest();
                }
                _ => {}
            }
        }
    }

    /// For the operator.
    pub fn what_helps(&self) -> String {
        format!(
            "ask somebody you trust for a checkpoint (every validator prints one from time to time), stop this node, and \
             run: cairn validator run --dir {} --checkpoint HEIGHT:BLOCK --snapshot-from IP:PORT",
            self.dir.display()
        )
    }
}
