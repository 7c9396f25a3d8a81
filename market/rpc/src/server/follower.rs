//! Turns the ledger's blocking wait for blocks into something that any number of tasks can await.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn_consensus::LedgerHandle;
use cairn_protocol::Epoch;
use tokio::sync::watch;

/// Longest time that the thread does not look whether it shall end.
const LOOK: Duration = Duration::from_millis(200);

/// One thread that waits for blocks; it ends soon after this is dropped.
pub struct Follower {
    heights: watch::Receiver<u64>,
    stop: Arc<AtomicBool>,
}

impl Follower {
    /// Begins to wait.
    pub fn start(ledger: LedgerHandle) -> Self {
        let (sender, heights) = watch::channel(ledger.head().height.0);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        tokio::task::spawn_blocking(move || {
            while !stopped.load(Ordering::SeqCst) {
                let next = Epoch(sender.borrow().saturating_add(1));
                match ledger.wait_for_height(next, LOOK) {
                    Ok(header) => drop(sender.send_replace(header.height.0)),
                    // A ledger that has stopped answers at once.
                    Err(_) if ledger.stopped().is_some() => std::thread::sleep(LOOK),
                    Err(_) => {}
                }
            }
        });
        Self { heights, stop }
    }

    /// Heights as they come; always the newest.
    pub fn heights(&self) -> watch::Receiver<u64> {
        self.heights.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
