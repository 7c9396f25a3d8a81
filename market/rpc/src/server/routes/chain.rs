//! Blocks and transactions.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cairn_consensus::SubmitRejection;
use cairn_consensus::block::ReceiptPath;
use cairn_ledger::{Address, SignedTransaction, TransactionId, codec};
use cairn_protocol::Epoch;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::{PageQuery, Part, blocking, store_problem};
use crate::problem::{Problem, ProblemCode};
use crate::server::extract::{FromBody, FromPath, FromQuery, Number};
use crate::server::{Api, Shared, stopped};
use crate::wire::{
    Block, BlockHeader, BlockSummary, Commit, Digest, LightBlock, Network, Page, Receipt, Refusal, SubmitRequest,
    Submitted, Transaction, TransactionProof, TransactionState, TransactionStatus,
};

/// Most blocks of a page: each is read from the disk.
const BLOCKS_MAX: usize = 50;
/// Longest wait that a request may ask for.
const WAIT_MS_MAX: u32 = 60_000;

/// The network, and how this node sees it
#[utoipa::path(get, path = "/v1/network", tag = "chain", responses((status = 200, body = Network)))]
pub async fn network(State(api): State<Api>) -> Result<Json<Network>, Problem> {
    blocking(move || {
        let head = api.ledger.head();
        let oldest = api.ledger.oldest_block().map_err(store_problem)?;
        Ok(Json(Network {
            chain: head.chain,
            grade: api.options.grade,
            height: head.height,
            oldest_block: oldest.min(head.height),
            waiting: api.ledger.waiting() as u64,
            stopped: api.ledger.stopped(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            verifying_keys: api
                .options
                .verifying_keys
                .iter()
                .map(|(name, key)| (name.clone(), key.0.clone()))
                .collect(),
        }))
    })
    .await
}

/// Which head to wait for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HeadQuery {
    /// Wait for a block of this height or above.
    #[param(value_type = Option<u64>)]
    pub height: Option<Number>,
    /// Wait at most this many milliseconds; the server may wait less. The answer is the head then, whatever its height.
    #[param(maximum = 60000)]
    pub wait_ms: Option<u32>,
}

/// Header of the last block
#[utoipa::path(get, path = "/v1/head", tag = "chain", params(HeadQuery),
    responses((status = 200, body = BlockHeader)))]
pub async fn head(
    State(api): State<Api>,
    FromQuery(query): FromQuery<HeadQuery>,
) -> Result<Json<BlockHeader>, Problem> {
    let height = query.height.map_or(0, |Number(height)| height);
    let wait = wait(&api, query.wait_ms)?;
    if api.ledger.head().height.0 < height {
        let (mut heights, mut stopping) = (api.heights.clone(), api.stopping.clone());
        let reached = async { drop(heights.wait_for(|head| *head >= height).await) };
        tokio::select! {
            () = reached => {}
            () = tokio::time::sleep(wait) => {}
            () = stopped(&mut stopping) => {}
        }
    }
    Ok(Json(BlockHeader::of(&api.ledger.head())))
}

/// How long a request waits.
fn wait(api: &Shared, wait_ms: Option<u32>) -> Result<Duration, Problem> {
    match wait_ms.unwrap_or(0) {
        wait_ms @ 0..=WAIT_MS_MAX => Ok(Duration::from_millis(wait_ms.into()).min(api.options.wait_max)),
        more => Err(Problem::bad_parameter("wait_ms", "at most 60000", more)),
    }
}

/// Blocks, newest first
#[utoipa::path(get, path = "/v1/blocks", tag = "chain", params(PageQuery),
    responses((status = 200, body = Page<BlockSummary>)))]
pub async fn blocks(
    State(api): State<Api>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<BlockSummary>>, Problem> {
    let height = api.ledger.head().height;
    let part = Part::of(&api, "blocks", height.0, query.limit, query.cursor.as_deref())?;
    blocking(move || {
        let (mut items, mut at) = (Vec::new(), part.first.min(height.0));
        while at > 0 && items.len() < part.limit.min(BLOCKS_MAX) {
            let Some(block) = api.ledger.block(Epoch(at)).map_err(store_problem)? else { break };
            let transactions = block.transactions.len() as u64;
            items.push(BlockSummary { header: BlockHeader::of(&block.header), transactions });
            at -= 1;
        }
        let more = at > 0 && api.ledger.oldest_block().map_err(store_problem)?.0 <= at;
        let next = more.then(|| crate::page::cursor(part.list, at));
        Ok(Json(Page { height, items, next }))
    })
    .await
}

/// A block, with the decision for it
#[utoipa::path(get, path = "/v1/blocks/{height}", tag = "chain",
    params(("height" = u64, Path, description = "Its height")), responses((status = 200, body = Block)))]
pub async fn block(State(api): State<Api>, FromPath(Number(height)): FromPath<Number>) -> Result<Json<Block>, Problem> {
    let height = Epoch(height);
    blocking(move || {
        let head = api.ledger.head();
        if height > head.height || height == Epoch(0) {
            let expected = format!("1 to {}", head.height);
            return Err(Problem::not_found(format!("block {height}")).expected(expected));
        }
        let Some(block) = api.ledger.block(height).map_err(store_problem)? else {
            return Err(forgotten(&api, height)?);
        };
        let commit = api.ledger.commit(height).map_err(store_problem)?;
        Ok(Json(Block {
            header: BlockHeader::of(&block.header),
            commit: commit.as_ref().map(Commit::of),
            transactions: block.transactions.iter().map(SignedTransaction::id).collect(),
        }))
    })
    .await
}

/// What shows that a block is final
///
/// Also of some blocks that are forgotten otherwise.
#[utoipa::path(get, path = "/v1/blocks/{height}/light", tag = "chain",
    params(("height" = u64, Path, description = "Its height")), responses((status = 200, body = LightBlock)))]
pub async fn light_block(
    State(api): State<Api>,
    FromPath(Number(height)): FromPath<Number>,
) -> Result<Json<LightBlock>, Problem> {
    let height = Epoch(height);
    blocking(move || {
        let head = api.ledger.head();
        if height > head.height || height == Epoch(0) {
            let expected = format!("1 to {}", head.height);
            return Err(Problem::not_found(format!("block {height}")).expected(expected));
        }
        match api.ledger.store().light(height).map_err(store_problem)? {
            Some(light) => Ok(Json(LightBlock::of(&light, api.ledger.snapshot_every()))),
            None => Err(forgotten(&api, height)?),
        }
    })
    .await
}

/// A block is beyond the history.
pub fn forgotten(api: &Shared, height: Epoch) -> Result<Problem, Problem> {
    let oldest = api.ledger.oldest_block().map_err(store_problem)?;
    let problem = Problem::new(ProblemCode::Forgotten, "this node no longer keeps it").at(format!("block {height}"));
    Ok(problem.expected(format!("{oldest} or later")))
}

/// Hand in a signed transaction
///
/// Handing in one that waits, or is in a block, changes nothing and gets the same answer.
#[utoipa::path(post, path = "/v1/transactions", tag = "chain", request_body = SubmitRequest,
    responses((status = 202, description = "It waits, or is in a block", body = Submitted)))]
pub async fn submit(
    State(api): State<Api>,
    FromBody(request): FromBody<SubmitRequest>,
) -> Result<(StatusCode, Json<Submitted>), Problem> {
    let bytes = hex::decode(&request.transaction).map_err(|error| bad_transaction("hex digits", &error))?;
    let limit = api.ledger.state().params().transaction_bytes_max;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let signed = SignedTransaction::decode(&bytes, limit)
        .map_err(|rejection| bad_transaction("a signed transaction in canonical DAG-CBOR", &rejection))?;
    blocking(move || {
        let id = signed.id();
        if api.ledger.receipt(&id).map_err(store_problem)?.is_none() {
            hand_in(&api, signed)?;
        }
        Ok((StatusCode::ACCEPTED, Json(Submitted { id })))
    })
    .await
}

fn bad_transaction(expected: &str, error: &dyn std::fmt::Display) -> Problem {
    Problem::new(ProblemCode::BadBody, "the transaction cannot be read").at("transaction").expected(expected).got(error)
}

fn hand_in(api: &Shared, signed: SignedTransaction) -> Result<(), Problem> {
    let rejection = match api.ledger.submit(signed) {
        Ok(_) | Err(SubmitRejection::AlreadyWaiting { .. }) => return Ok(()),
        Err(rejection) => rejection,
    };
    let code = match &rejection {
        SubmitRejection::PoolFull { .. } => ProblemCode::PoolFull,
        SubmitRejection::SenderFull { .. } => ProblemCode::SenderFull,
        SubmitRejection::Stopped { .. } => ProblemCode::LedgerStopped,
        _ => ProblemCode::TransactionRefused,
    };
    let problem = Problem::new(code, rejection.to_string());
    Err(match &rejection {
        SubmitRejection::NotAdmitted(reason) => {
            let Refusal { kind, fields, .. } = Refusal::of(reason);
            let expected = fields.get("expected").map(ToString::to_string);
            Problem { expected, ..problem.at("transaction").got(kind) }
        }
        _ => problem,
    })
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Wait this many milliseconds for the transaction to be in a block; the server may wait less.
    #[param(maximum = 60000)]
    pub wait_ms: Option<u32>,
}

/// A transaction and what became of it
#[utoipa::path(get, path = "/v1/transactions/{id}", tag = "chain",
    params(("id" = String, Path, description = "Its CID"), WaitQuery), responses((status = 200, body = TransactionStatus)))]
pub async fn transaction(
    State(api): State<Api>,
    FromPath(id): FromPath<String>,
    FromQuery(query): FromQuery<WaitQuery>,
) -> Result<Json<TransactionStatus>, Problem> {
    let id = transaction_id(&id)?;
    let wait = wait(&api, query.wait_ms)?;
    let until = Instant::now() + wait;
    let (mut heights, mut stopping) = (api.heights.clone(), api.stopping.clone());
    loop {
        heights.borrow_and_update();
        let (shared, found) = (api.clone(), id);
        if let Some(status) = blocking(move || find(&shared, &found)).await? {
            return Ok(Json(status));
        }
        let ended = tokio::select! {
            changed = heights.changed() => changed.is_err(),
            () = tokio::time::sleep_until(until) => true,
            () = stopped(&mut stopping) => true,
        };
        if ended && api.ledger.is_waiting(&id) {
            let state = TransactionState::Waiting;
            return Ok(Json(TransactionStatus { id, state, receipt: None, transaction: None }));
        }
        if ended {
            return Err(Problem::not_found(format!("transaction {id}")));
        }
    }
}

/// A transaction that is in a block.
fn find(api: &Shared, id: &TransactionId) -> Result<Option<TransactionStatus>, Problem> {
    let Some(receipt) = api.ledger.receipt(id).map_err(store_problem)? else { return Ok(None) };
    let block = api.ledger.block(receipt.epoch).map_err(store_problem)?;
    let signed = block.and_then(|block| block.transactions.into_iter().nth(receipt.index as usize));
    Ok(Some(TransactionStatus {
        id: *id,
        state: TransactionState::InBlock,
        receipt: Some(Receipt::of(&receipt)),
        transaction: signed.map(|signed| Transaction::of(&signed.transaction)),
    }))
}

/// An address out of a path.
pub fn address(text: &str) -> Result<Address, Problem> {
    text.parse().map_err(|_| Problem::bad_parameter("address", "64 hex digits", text))
}

/// What shows that a transaction is in a block
#[utoipa::path(get, path = "/v1/transactions/{id}/proof", tag = "chain",
    params(("id" = String, Path, description = "Its CID")), responses((status = 200, body = TransactionProof)))]
pub async fn transaction_proof(
    State(api): State<Api>,
    FromPath(text): FromPath<String>,
) -> Result<Json<TransactionProof>, Problem> {
    let id = transaction_id(&text)?;
    blocking(move || {
        let missing = || Problem::not_found(format!("transaction {id} in a block"));
        let store = api.ledger.store();
        let receipt = api.ledger.receipt(&id).map_err(store_problem)?.ok_or_else(missing)?;
        let effects = store.effects(receipt.epoch).map_err(store_problem)?.ok_or_else(missing)?;
        let block = api.ledger.block(receipt.epoch).map_err(store_problem)?.ok_or_else(missing)?;
        let signed = block.transactions.get(receipt.index as usize).ok_or_else(missing)?;
        let path = ReceiptPath::of(&effects.receipts, receipt.index).ok_or_else(missing)?;
        Ok(Json(TransactionProof {
            id,
            height: receipt.epoch,
            index: path.index,
            count: path.count,
            transaction: hex::encode(signed.encode()),
            receipt: hex::encode(codec::encode(&receipt)),
            path: path.hashes.into_iter().map(Digest).collect(),
        }))
    })
    .await
}

fn transaction_id(text: &str) -> Result<TransactionId, Problem> {
    text.parse().map_err(|_| Problem::bad_parameter("id", "a CIDv1 of DAG-CBOR with SHA-256", text))
}
