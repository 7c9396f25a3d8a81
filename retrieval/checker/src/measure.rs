//! From tasks to receipts: one range after the other, a few at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_gateway::{DatasetOutline, FetchError, SourceFault, SourceUrl};
use cairn_ledger::ChainId;
use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::scores::quality::Served;
use cairn_ledger::scores::receipts::{CheckFailure, CheckReceipt, CheckResult, SignedCheckReceipt};
use cairn_protocol::ProviderId;
use cid::Cid;
use ed25519_consensus::SigningKey;
use tokio::task::JoinSet;

use crate::ledger::AssignedCheck;

/// How to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasureOptions {
    /// Checks at a time. Each holds at most a few MiB. More measure the checker's own line. Default 2.
    pub parallel: usize,
    /// A gateway that sends nothing for this long has failed the check. Default 20 s.
    pub stall: Duration,
    /// Datasets whose leaves are remembered, 32 bytes for each MiB. Default 64.
    pub outlines_max: usize,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self { parallel: 2, stall: Duration::from_secs(20), outlines_max: 64 }
    }
}

/// Gateways of providers, as the ledger names them. What is no plain HTTP address cannot be reached.
pub(crate) fn endpoints(assigned: &[AssignedCheck]) -> BTreeMap<ProviderId, Option<SourceUrl>> {
    assigned.iter().map(|check| (check.task.provider, check.endpoint.parse().ok())).collect()
}

/// Outlines that were learnt lately; the same from any gateway, because every block is verified.
struct Outlines {
    known: Mutex<VecDeque<Arc<DatasetOutline>>>,
    most: usize,
}

impl Outlines {
    fn get(&self, root: &Cid) -> Option<Arc<DatasetOutline>> {
        self.known.lock().expect("no panic under this lock").iter().find(|outline| outline.root() == *root).cloned()
    }

    fn put(&self, outline: Arc<DatasetOutline>) {
        let mut known = self.known.lock().expect("no panic under this lock");
        if known.iter().all(|other| other.root() != outline.root()) {
            known.push_back(outline);
            while known.len() > self.most {
                known.pop_front();
            }
        }
    }
}

/// Carries out tasks and signs what came of them, in the order of their slots. Tasks that say nothing about the provider
/// (a root that names no dataset, an empty dataset) make no receipt.
pub async fn measure(
    tasks: Vec<CheckTask>,
    endpoints: BTreeMap<ProviderId, Option<SourceUrl>>,
    chain: ChainId,
    key: &SigningKey,
    options: &MeasureOptions,
) -> Vec<SignedCheckReceipt> {
    let receipts = carry_out(tasks, endpoints, options).await;
    receipts.into_iter().map(|receipt| receipt.sign(chain, key)).collect()
}

/// The same, unsigned.
pub(crate) async fn carry_out(
    tasks: Vec<CheckTask>,
    endpoints: BTreeMap<ProviderId, Option<SourceUrl>>,
    options: &MeasureOptions,
) -> Vec<CheckReceipt> {
    let outlines = Arc::new(Outlines { known: Mutex::default(), most: options.outlines_max.max(1) });
    let (mut waiting, mut running, mut done) = (VecDeque::from(tasks), JoinSet::new(), Vec::new());
    loop {
        while running.len() < options.parallel.max(1)
            && let Some(task) = waiting.pop_front()
        {
            let endpoint = endpoints.get(&task.provider).cloned().flatten();
            let (outlines, stall) = (outlines.clone(), options.stall);
            running.spawn(async move {
                let result = check(&task, endpoint, &outlines, stall).await;
                result.map(|result| CheckReceipt { task, result })
            });
        }
        match running.join_next().await {
            None => break,
            Some(Ok(receipt)) => done.extend(receipt),
            // Ours, not the provider's.
            Some(Err(error)) => tracing::error!(%error, "a check was lost"),
        }
    }
    done.sort_by_key(|receipt| receipt.task.slot);
    done
}

/// One check; `None` if it says nothing about the provider.
async fn check(
    task: &CheckTask,
    endpoint: Option<SourceUrl>,
    outlines: &Outlines,
    stall: Duration,
) -> Option<CheckResult> {
    let Some(endpoint) = endpoint else { return Some(CheckResult::Failed(CheckFailure::Unreachable)) };
    let outline = match outlines.get(&task.root) {
        Some(outline) => outline,
        None => match DatasetOutline::fetch(task.root, &endpoint, stall).await {
            Ok(outline) => {
                let outline = Arc::new(outline);
                outlines.put(outline.clone());
                outline
            }
            Err(error) => return outline_failure(&error).map(CheckResult::Failed),
        },
    };
    if outline.bytes() == 0 {
        return None;
    }
    match outline.fetch_range(task.offset(outline.bytes()), task.length, &endpoint, stall).await {
        Ok(range) => {
            let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
            let served = Served { ttfb_ms: ms(range.first_byte), total_ms: ms(range.total), bytes: range.bytes };
            Some(CheckResult::Served { served, content: range.sha256 })
        }
        Err(fault) => {
            tracing::debug!(provider = %task.provider, root = %task.root, %fault, "a check failed");
            Some(CheckResult::Failed(failure(&fault)))
        }
    }
}

/// What a source's fault is called in a receipt.
fn failure(fault: &SourceFault) -> CheckFailure {
    match fault {
        SourceFault::Unreachable { .. } | SourceFault::Broken { .. } => CheckFailure::Unreachable,
        SourceFault::Stalled { .. } => CheckFailure::Stalled,
        SourceFault::Refused { status, .. } | SourceFault::Busy { status, .. } => {
            CheckFailure::Refused(status.as_u16())
        }
        _ => CheckFailure::WrongContent,
    }
}

/// The fault of the one source that was asked; `None` if it is not to blame.
fn outline_failure(error: &FetchError) -> Option<CheckFailure> {
    match error {
        FetchError::NoSourceLeft { failures, .. } => failures.last().map(|last| failure(&last.fault)),
        error => {
            tracing::warn!(%error, "a dataset cannot be checked");
            None
        }
    }
}
