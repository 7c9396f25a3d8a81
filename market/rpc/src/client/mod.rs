//! A ledger that is somewhere else, asked over HTTP. All calls block.
//!
//! The server is not trusted with keys: transactions are signed here, for the chain that the server names, and a caller
//! that knows its chain says so ([`RpcClient::expect_chain`]). It is trusted with what it reports about the state. Blocks,
//! and what became of a transaction, can be checked against the network's genesis or a checkpoint: see [`verify`].

mod error;
mod pages;
mod sse;
mod stream;
pub mod verify;

use std::time::{Duration, Instant};

use cairn_ledger::{Address, ChainId, Command, SignedTransaction, Transaction, TransactionId, address_of};
use cairn_protocol::{Epoch, ProviderId, SectorNumber};
use ed25519_consensus::SigningKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

pub use self::error::{ClientError, UrlRejection};
pub use self::pages::{DealFilter, OrderFilter, Pages, RailFilter};
pub use self::sse::{Frame, SseParser, SseRejection};
pub use self::stream::{EventStream, StreamedEvent};
use crate::problem::{PROBLEM_TYPE, Problem, ProblemCode};
use crate::wire::{
    Account, Attestation, Audit, Bid, Block, BlockHeader, BlockSummary, Channel, CheckTask, Checker, Deal,
    InvariantReport, Job, JobBid, LightBlock, Network, Order, OrderTerms, Outcome, Params, PostDuties, Provider,
    ProviderRewards, Quote, QuoteRequest, Rail, RailAccount, Receipt, RewardRound, Rewards, Round, Score, Sector,
    SubmitRequest, Submitted, Supply, Ticket, TransactionProof, TransactionState, TransactionStatus, Validator, Worker,
    WrongGroup,
};

/// Longest wait that one question asks for; longer ones are asked again.
const WAIT_PIECE: Duration = Duration::from_secs(20);
/// How often a transaction is handed in before its nonce counts as lost to somebody else with the same key.
const NONCE_TRIES: u32 = 4;

/// How a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientOptions {
    /// Longest wait for a connection. Default 5 s.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, beyond what a question asks the server to wait. Default 15 s.
    pub timeout: Duration,
    /// Most bytes of an answer. Default 16 MiB.
    pub answer_bytes_max: u64,
    /// Longest silence of a stream; the server breaks it every 10 s by default. Default 30 s.
    pub stream_silence: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            answer_bytes_max: 16 << 20,
            stream_silence: Duration::from_secs(30),
        }
    }
}

/// See the module. Copies share connections.
#[derive(Debug, Clone)]
pub struct RpcClient {
    base: String,
    agent: Agent,
    options: ClientOptions,
}

impl RpcClient {
    /// A client of the server at `url`, such as `http://127.0.0.1:8080`. Asks nothing yet.
    ///
    /// # Errors
    /// [`UrlRejection`] unless it is an `http` URL without query; there is no TLS here.
    pub fn new(url: &str, options: ClientOptions) -> Result<Self, UrlRejection> {
        let base = url.trim_end_matches('/');
        let bad = |expected| UrlRejection { expected, got: url.chars().take(200).collect() };
        let rest = base.strip_prefix("http://").ok_or_else(|| bad("http://HOST:PORT (TLS is a proxy's work)"))?;
        if rest.is_empty() || rest.contains(['?', '#', '@', ' ']) || rest.starts_with('/') {
            return Err(bad("http://HOST:PORT, without user, query or fragment"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(options.connect_timeout))
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { base: base.to_owned(), agent: config.new_agent(), options })
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        &self.base
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.get_waiting(path, Duration::ZERO)
    }

    /// Asks something that the server may answer late.
    fn get_waiting<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, ClientError> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let request = request.config().timeout_global(Some(self.options.timeout + wait)).build();
        self.read(path, request.call())
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).expect("what travels is JSON");
        let request = self.agent.post(format!("{}{path}", self.base)).content_type("application/json");
        let request = request.config().timeout_global(Some(self.options.timeout)).build();
        self.read(path, request.send(&body[..]))
    }

    fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let mut answer = answer.map_err(|error| self.unreachable(path, &error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.problem(path, answer));
        }
        let body = answer.body_mut().with_config().limit(self.options.answer_bytes_max).read_to_vec();
        let body = body.map_err(|error| self.unreachable(path, &error))?;
        serde_json::from_slice(&body).map_err(|error| self.bad_answer(path, status, error.to_string()))
    }

    fn problem(&self, path: &str, mut answer: Response<ureq::Body>) -> ClientError {
        let status = answer.status();
        let typed = answer.body().mime_type() == Some(PROBLEM_TYPE);
        let body = answer.body_mut().with_config().limit(64 << 10).read_to_vec().unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if typed => ClientError::Problem(Box::new(problem)),
            _ => self.bad_answer(path, status, "the answer is no problem of this interface".to_owned()),
        }
    }

    fn unreachable(&self, path: &str, error: &ureq::Error) -> ClientError {
        ClientError::Unreachable { url: format!("{}{path}", self.base), detail: error.to_string() }
    }

    fn bad_answer(&self, path: &str, status: StatusCode, detail: String) -> ClientError {
        ClientError::BadAnswer { url: format!("{}{path}", self.base), status: status.as_u16(), detail }
    }
}

/// Reading. Each call fails with [`ClientError`].
#[allow(clippy::missing_errors_doc, reason = "said once for all")]
impl RpcClient {
    /// The network, and how the server sees it.
    pub fn network(&self) -> Result<Network, ClientError> {
        self.get("/v1/network")
    }

    /// The network, if it is the one that the caller means.
    pub fn expect_chain(&self, expected: &ChainId) -> Result<Network, ClientError> {
        let network = self.network()?;
        if network.chain == *expected {
            return Ok(network);
        }
        Err(ClientError::WrongChain { url: self.base.clone(), expected: *expected, got: network.chain })
    }

    /// Header of the last block.
    pub fn head(&self) -> Result<BlockHeader, ClientError> {
        self.get("/v1/head")
    }

    /// Waits until the head is at `height` or `timeout` has passed; the head then.
    pub fn wait_for_height(&self, height: Epoch, timeout: Duration) -> Result<BlockHeader, ClientError> {
        let started = Instant::now();
        loop {
            let left = timeout.saturating_sub(started.elapsed());
            let piece = left.min(WAIT_PIECE);
            let path = format!("/v1/head?height={}&wait_ms={}", height.0, piece.as_millis());
            let head: BlockHeader = self.get_waiting(&path, piece)?;
            if head.height >= height || started.elapsed() >= timeout {
                return Ok(head);
            }
        }
    }

    /// A block with the decision for it.
    pub fn block(&self, height: Epoch) -> Result<Block, ClientError> {
        self.get(&format!("/v1/blocks/{}", height.0))
    }

    /// What shows that a block is final; [`RpcClient::verified_light`] checks it.
    pub fn light_block(&self, height: Epoch) -> Result<LightBlock, ClientError> {
        self.get(&format!("/v1/blocks/{}/light", height.0))
    }

    /// What shows that a transaction is in a block; [`RpcClient::verified_transaction`] checks it.
    pub fn transaction_proof(&self, id: &TransactionId) -> Result<Option<TransactionProof>, ClientError> {
        found(self.get(&format!("/v1/transactions/{id}/proof")))
    }

    /// Blocks, newest first.
    pub fn blocks(&self) -> Pages<'_, BlockSummary> {
        self.pages("/v1/blocks".to_owned())
    }

    /// A transaction and what became of it; `None` if the server knows nothing of it after `wait`, 20 s at most.
    pub fn transaction(&self, id: &TransactionId, wait: Duration) -> Result<Option<TransactionStatus>, ClientError> {
        let wait = wait.min(WAIT_PIECE);
        let path = format!("/v1/transactions/{id}?wait_ms={}", wait.as_millis());
        found(self.get_waiting(&path, wait))
    }

    /// Balance and nonces.
    pub fn account(&self, address: &Address) -> Result<Account, ClientError> {
        self.get(&format!("/v1/accounts/{address}"))
    }

    /// A provider.
    pub fn provider(&self, id: ProviderId) -> Result<Option<Provider>, ClientError> {
        found(self.get(&format!("/v1/providers/{}", id.0)))
    }

    /// Providers, of one owner or all.
    pub fn providers(&self, owner: Option<&Address>) -> Pages<'_, Provider> {
        let query = owner.map_or(String::new(), |owner| format!("?owner={owner}"));
        self.pages(format!("/v1/providers{query}"))
    }

    /// Sectors of a provider.
    pub fn sectors(&self, provider: ProviderId) -> Pages<'_, Sector> {
        self.pages(format!("/v1/providers/{}/sectors", provider.0))
    }

    /// A sector.
    pub fn sector(&self, provider: ProviderId, number: SectorNumber) -> Result<Option<Sector>, ClientError> {
        found(self.get(&format!("/v1/providers/{}/sectors/{}", provider.0, number.0)))
    }

    /// The next window PoSts of a provider.
    pub fn duties(&self, provider: ProviderId) -> Result<PostDuties, ClientError> {
        self.get(&format!("/v1/providers/{}/duties", provider.0))
    }

    /// Sealing randomness of an epoch, by default the last; `None` if there is none.
    pub fn ticket(&self, provider: ProviderId, epoch: Option<Epoch>) -> Result<Option<Ticket>, ClientError> {
        let query = epoch.map_or(String::new(), |epoch| format!("?epoch={}", epoch.0));
        found(self.get(&format!("/v1/providers/{}/ticket{query}", provider.0)))
    }

    /// An order.
    pub fn order(&self, id: u64) -> Result<Option<Order>, ClientError> {
        found(self.get(&format!("/v1/orders/{id}")))
    }

    /// Orders.
    pub fn orders(&self, filter: &OrderFilter) -> Pages<'_, Order> {
        self.pages(filter.path())
    }

    /// Bids on an order.
    pub fn bids(&self, order: u64) -> Pages<'_, Bid> {
        self.pages(format!("/v1/orders/{order}/bids"))
    }

    /// What an order would take.
    pub fn quote(&self, client: &Address, terms: &OrderTerms) -> Result<Quote, ClientError> {
        self.post("/v1/quotes", &QuoteRequest { client: *client, terms: terms.clone() })
    }

    /// A deal.
    pub fn deal(&self, id: u64) -> Result<Option<Deal>, ClientError> {
        found(self.get(&format!("/v1/deals/{id}")))
    }

    /// Deals.
    pub fn deals(&self, filter: &DealFilter) -> Pages<'_, Deal> {
        self.pages(filter.path())
    }

    /// A proof job.
    pub fn job(&self, id: u64) -> Result<Option<Job>, ClientError> {
        found(self.get(&format!("/v1/jobs/{id}")))
    }

    /// Proof jobs from the job `from` on; of one poster, live ones alone, or all.
    pub fn jobs(&self, from: u64, live: bool, poster: Option<&Address>) -> Pages<'_, Job> {
        let poster = poster.map_or(String::new(), |poster| format!("&poster={poster}"));
        let at = crate::page::cursor("jobs", from);
        self.pages_from(format!("/v1/jobs?live={live}{poster}"), at)
    }

    /// Bids on an open proof job.
    pub fn job_bids(&self, job: u64) -> Pages<'_, JobBid> {
        self.pages(format!("/v1/jobs/{job}/bids"))
    }

    /// What an account proved for others.
    pub fn worker(&self, address: &Address) -> Result<Worker, ClientError> {
        self.get(&format!("/v1/workers/{address}"))
    }

    /// Payment channels.
    pub fn channels(&self) -> Pages<'_, Channel> {
        self.pages("/v1/channels".to_owned())
    }

    /// A payment channel.
    pub fn channel(&self, id: u64) -> Result<Option<Channel>, ClientError> {
        found(self.get(&format!("/v1/channels/{id}")))
    }

    /// Rails that are not over.
    pub fn rails(&self, filter: &RailFilter) -> Pages<'_, Rail> {
        self.pages(filter.path())
    }

    /// A rail; one that is over is forgotten.
    pub fn rail(&self, id: u64) -> Result<Option<Rail>, ClientError> {
        found(self.get(&format!("/v1/rails/{id}")))
    }

    /// An address's money for rails.
    pub fn rail_account(&self, address: &Address) -> Result<RailAccount, ClientError> {
        self.get(&format!("/v1/accounts/{address}/rails"))
    }

    /// An address's rewards that are not free yet.
    pub fn rewards(&self, address: &Address) -> Result<Rewards, ClientError> {
        self.get(&format!("/v1/accounts/{address}/rewards"))
    }

    /// What a provider was not rewarded for yet.
    pub fn provider_rewards(&self, provider: ProviderId) -> Result<Option<ProviderRewards>, ClientError> {
        found(self.get(&format!("/v1/providers/{}/rewards", provider.0)))
    }

    /// What auditors vouch for about a provider.
    pub fn attestations(&self, provider: ProviderId) -> Pages<'_, Attestation> {
        self.pages(format!("/v1/providers/{}/attestations", provider.0))
    }

    /// Wrong bytes that a provider signed for and paid for, by piece and group.
    pub fn wrong_bytes(&self, provider: ProviderId) -> Pages<'_, WrongGroup> {
        self.pages(format!("/v1/providers/{}/wrong-bytes", provider.0))
    }

    /// The round of now.
    pub fn round(&self) -> Result<Round, ClientError> {
        self.get("/v1/round")
    }

    /// Rounds whose emission can still be paid, oldest first.
    pub fn rounds(&self) -> Pages<'_, RewardRound> {
        self.pages("/v1/rounds".to_owned())
    }

    /// Scores of providers that were ever scored, without the opinions behind them.
    pub fn scores(&self) -> Pages<'_, Score> {
        self.pages("/v1/scores".to_owned())
    }

    /// A provider's score, with the opinions behind it.
    pub fn score(&self, provider: ProviderId) -> Result<Option<Score>, ClientError> {
        found(self.get(&format!("/v1/scores/{}", provider.0)))
    }

    /// Who checks.
    pub fn checkers(&self) -> Pages<'_, Checker> {
        self.pages("/v1/checkers".to_owned())
    }

    /// A checker; `None` if it has no stake, and none that leaves.
    pub fn checker(&self, address: &Address) -> Result<Option<Checker>, ClientError> {
        found(self.get(&format!("/v1/checkers/{address}")))
    }

    /// Receipts that were drawn behind the opinions about a round, by checker.
    pub fn audits(&self, round: u64) -> Pages<'_, Audit> {
        self.pages(format!("/v1/rounds/{round}/audits"))
    }

    /// What a checker shall fetch in the round of now.
    pub fn check_tasks(&self, checker: &Address) -> Pages<'_, CheckTask> {
        self.pages(format!("/v1/checkers/{checker}/tasks"))
    }

    /// Who has stake.
    pub fn validators(&self) -> Pages<'_, Validator> {
        self.pages("/v1/validators".to_owned())
    }

    /// The network's numbers.
    pub fn params(&self) -> Result<Params, ClientError> {
        self.get("/v1/params")
    }

    /// Where all money is.
    pub fn supply(&self) -> Result<Supply, ClientError> {
        self.get("/v1/supply")
    }

    /// What the ledger's audit found.
    pub fn invariants(&self) -> Result<InvariantReport, ClientError> {
        self.get("/v1/invariants")
    }

    /// What happens after `after`, or from the next block on. The stream comes back by itself after an interruption.
    pub fn events(&self, after: Option<crate::EventId>, blocks: bool) -> EventStream {
        EventStream::new(self.clone(), after, blocks)
    }

    fn pages<T: DeserializeOwned>(&self, path: String) -> Pages<'_, T> {
        Pages::new(self, path, None)
    }

    fn pages_from<T: DeserializeOwned>(&self, path: String, at: String) -> Pages<'_, T> {
        Pages::new(self, path, Some(at))
    }
}

/// Acting.
impl RpcClient {
    /// Hands in a signed transaction. Doing so again is no error.
    ///
    /// # Errors
    /// [`ClientError::Problem`] with the ledger's reason.
    pub fn submit(&self, signed: &SignedTransaction) -> Result<TransactionId, ClientError> {
        let request = SubmitRequest { transaction: hex::encode(signed.encode()) };
        let Submitted { id } = self.post("/v1/transactions", &request)?;
        let expected = signed.id();
        if id == expected {
            return Ok(id);
        }
        Err(self.bad_answer("/v1/transactions", StatusCode::ACCEPTED, format!("expected {expected}, got {id}")))
    }

    /// Signs a command with the next nonce of the key, and hands it in. If somebody else with the same key was faster,
    /// it is signed anew.
    ///
    /// # Errors
    /// [`ClientError`], with the ledger's reason if it refuses.
    pub fn submit_command(
        &self,
        chain: ChainId,
        key: &SigningKey,
        command: &Command,
    ) -> Result<TransactionId, ClientError> {
        let sender = address_of(key);
        let mut tries = 1;
        loop {
            let nonce = self.account(&sender)?.next_nonce;
            let signed = Transaction { chain, sender, nonce, command: command.clone() }.sign(key);
            match self.submit(&signed) {
                Err(error) if error.is_wrong_nonce() && tries < NONCE_TRIES => tries += 1,
                done => return done,
            }
        }
    }

    /// Waits until a transaction is in a block.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] if it is not by then. The transaction may still come: ask again by its name.
    pub fn wait_for_receipt(&self, id: &TransactionId, timeout: Duration) -> Result<Receipt, ClientError> {
        let started = Instant::now();
        loop {
            let left = timeout.saturating_sub(started.elapsed());
            let piece = left.min(WAIT_PIECE);
            match self.transaction(id, piece) {
                Ok(Some(TransactionStatus { receipt: Some(receipt), .. })) => return Ok(receipt),
                Ok(Some(TransactionStatus { state: TransactionState::Waiting, .. })) => {}
                Ok(_) => {}
                Err(error) if error.is_transient() => std::thread::sleep(left.min(Duration::from_millis(200))),
                Err(error) => return Err(error),
            }
            if started.elapsed() >= timeout {
                return Err(ClientError::Timeout { id: *id, waited: timeout });
            }
        }
    }

    /// Signs, hands in, waits; the receipt of a command that was carried out.
    ///
    /// # Errors
    /// [`ClientError::Failed`] with the ledger's reason if it was not carried out; otherwise as above.
    pub fn carry_out(
        &self,
        chain: ChainId,
        key: &SigningKey,
        command: &Command,
        timeout: Duration,
    ) -> Result<(TransactionId, Receipt), ClientError> {
        let id = self.submit_command(chain, key, command)?;
        let receipt = self.wait_for_receipt(&id, timeout)?;
        match (receipt.outcome, &receipt.refusal) {
            (Outcome::Applied, _) => Ok((id, receipt)),
            (_, Some(refusal)) => Err(ClientError::Failed { id, refusal: Box::new(refusal.clone()) }),
            (_, None) => {
                Err(self.bad_answer("/v1/transactions", StatusCode::OK, "a failure without a reason".to_owned()))
            }
        }
    }
}

/// Turns "the ledger does not have it" into nothing.
fn found<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(ClientError::Problem(problem)) if problem.code == ProblemCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_is_taken() {
        let client = |url| RpcClient::new(url, ClientOptions::default());
        assert_eq!(client("http://localhost:1/").unwrap().url(), "http://localhost:1");
        for wrong in ["https://x", "localhost:1", "http://", "http://a@b", "http://x?y", ""] {
            assert!(client(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nobody_there_is_said_with_the_address_and_is_transient() {
        // Port 9 of loopback is not in use on any machine that runs tests: discard is long gone.
        let client = RpcClient::new("http://127.0.0.1:9", ClientOptions::default()).unwrap();
        let error = client.head().unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("http://127.0.0.1:9/v1/head"), "{error}");
    }
}
