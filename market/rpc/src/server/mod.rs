//! The server: accepts, limits, answers, and stops cleanly.
//!
//! What always holds:
//! - Connections, requests at a time, streams at a time, request heads, bodies and waiting times are bounded by
//!   [`ServerOptions`]. Over a limit the answer is 503 with `Retry-After`, or the connection is dropped.
//! - Reading the store happens on threads for blocking work; nothing here waits for a block while holding anything.
//! - A connection whose reader takes nothing for a while is cut.
//! - A handler that panics is a mistake of ours; its request gets a 500 and everybody else goes on.

mod extract;
mod follower;
mod guard;
mod routes;
mod stream;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use cairn_consensus::LedgerHandle;
use cairn_ledger::VerifyingKeys;
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use self::follower::Follower;
use self::guard::StallGuard;
pub use self::routes::openapi_json;
use crate::problem::{Problem, ProblemCode};
use crate::wire::NetworkGrade;

/// Limits of a server. The defaults fit a small machine.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// What the network is for; clients refuse development keys elsewhere.
    pub grade: NetworkGrade,
    /// The keys that the network checks proofs with, as its genesis names them; provers compare theirs. Default none.
    pub verifying_keys: VerifyingKeys,
    /// Connections at a time. Default 256.
    pub connections_max: usize,
    /// Requests at a time, waiting ones included. Default 64.
    pub requests_max: usize,
    /// Event streams at a time. Default 64.
    pub streams_max: usize,
    /// Events that wait for a reader of a stream. Default 64.
    pub stream_queue: usize,
    /// Most bytes of a request body. Default 256 KiB, twice the largest transaction as hex digits.
    pub body_bytes_max: usize,
    /// Most bytes of a request head. Default 16 KiB.
    pub head_bytes_max: usize,
    /// Most header lines of a request. Default 64.
    pub headers_max: usize,
    /// Longest wait for a request head. Default 30 s.
    pub head_timeout: Duration,
    /// Longest time for a request from its head to its answer, beyond what it asks to wait. Default 20 s.
    pub request_timeout: Duration,
    /// Longest that a request may ask to wait. Default 30 s.
    pub wait_max: Duration,
    /// How long a reader may take no byte before it is cut. Default 30 s.
    pub write_stall: Duration,
    /// Silence on a stream after which a comment shows that it lives. Default 10 s.
    pub heartbeat: Duration,
    /// Most items of a page. Default 100.
    pub page_max: usize,
    /// Most entries that a page looks at when it looks for something. Default 10,000.
    pub scan_max: usize,
    /// How long an answer about the invariants is given again before the state is read anew. Default 30 s.
    pub audit_pause: Duration,
    /// How long requests may go on after a shutdown is asked for. Default 5 s.
    pub shutdown_grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            grade: NetworkGrade::Production,
            verifying_keys: VerifyingKeys::new(),
            connections_max: 256,
            requests_max: 64,
            streams_max: 64,
            stream_queue: 64,
            body_bytes_max: 256 << 10,
            head_bytes_max: 16 << 10,
            headers_max: 64,
            head_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(20),
            wait_max: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            page_max: 100,
            scan_max: 10_000,
            audit_pause: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

/// Options that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("server option {option}: expected at least {least}, got {got}")]
pub struct OptionsRejection {
    /// Name of the field.
    pub option: &'static str,
    /// What it must be at least.
    pub least: usize,
    /// What it is.
    pub got: usize,
}

impl ServerOptions {
    fn check(&self) -> Result<(), OptionsRejection> {
        let bounds = [
            ("connections_max", self.connections_max, 1),
            ("requests_max", self.requests_max, 1),
            ("streams_max", self.streams_max, 1),
            ("stream_queue", self.stream_queue, 1),
            ("body_bytes_max", self.body_bytes_max, 1 << 10),
            ("head_bytes_max", self.head_bytes_max, 8 << 10),
            ("headers_max", self.headers_max, 8),
            ("page_max", self.page_max, 1),
            ("scan_max", self.scan_max, self.page_max),
        ];
        match bounds.into_iter().find(|(_, got, least)| got < least) {
            Some((option, got, least)) => Err(OptionsRejection { option, least, got }),
            None => Ok(()),
        }
    }
}

/// What every handler has.
pub(crate) struct Shared {
    ledger: LedgerHandle,
    options: ServerOptions,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    heights: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    audit: routes::Audit,
}

type Api = Arc<Shared>;

/// Answers requests about `ledger` on `listener` until `shutdown` completes, then lets running ones end within the
/// grace time.
///
/// A failing `accept` (out of file descriptors, for one) is logged and tried again; it does not end the server.
///
/// # Errors
/// [`OptionsRejection`] if a limit cannot work; nothing was answered then.
pub async fn serve(
    listener: TcpListener,
    ledger: LedgerHandle,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), OptionsRejection> {
    options.check()?;
    let (stop, stopping) = watch::channel(false);
    let follower = Follower::start(ledger.clone());
    let connections = Arc::new(Semaphore::new(options.connections_max));
    let shared = Arc::new(Shared {
        ledger,
        requests: Arc::new(Semaphore::new(options.requests_max)),
        streams: Arc::new(Semaphore::new(options.streams_max)),
        heights: follower.heights(),
        stopping: stopping.clone(),
        audit: routes::Audit::default(),
        options: options.clone(),
    });
    let router = router(shared);
    let mut running = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Beyond the limit the connection is closed at once, which costs nothing.
                    if let Ok(permit) = connections.clone().try_acquire_owned() {
                        running.spawn(converse(stream, router.clone(), options.clone(), stopping.clone(), permit));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = running.join_next() => {}
        }
    }
    drop(listener);
    stop.send_replace(true);
    let drained = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(options.shutdown_grace, drained).await.is_err() {
        tracing::warn!(connections = running.len(), "requests were cut at the end of the grace time");
    }
    running.shutdown().await;
    drop(follower);
    Ok(())
}

/// Completes when the server shall stop, or is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // What is waited for is looked at here alone: the value must not be kept.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// One connection, to its end.
async fn converse(
    stream: TcpStream,
    router: Router,
    options: ServerOptions,
    mut stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    // Small answers shall not wait for an acknowledgement; a socket that cannot do that works as well.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(StallGuard::new(stream, options.write_stall));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_buf_size(options.head_bytes_max)
        .max_headers(options.headers_max)
        .serve_connection(io, TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn router(shared: Api) -> Router {
    let limit = DefaultBodyLimit::max(shared.options.body_bytes_max);
    let unknown = || async { Problem::new(ProblemCode::UnknownRoute, "there is no such address; see /openapi.json") };
    let other = || async { Problem::new(ProblemCode::MethodNotAllowed, "the address takes other methods") };
    let (router, _) = routes::router().split_for_parts();
    router
        .fallback(unknown)
        .method_not_allowed_fallback(other)
        .layer(limit)
        .layer(middleware::from_fn_with_state(shared.clone(), admit))
        .with_state(shared)
}

/// Bounds what is done at a time and how long, and turns a panic into an answer.
async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Ok(_permit) = api.requests.clone().try_acquire_owned() else {
        return Problem::new(ProblemCode::Busy, "too many requests at a time").into_response();
    };
    let longest = api.options.request_timeout + api.options.wait_max;
    let work = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = match tokio::time::timeout(longest, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("a handler panicked");
            Problem::new(ProblemCode::Internal, "a mistake of the server").into_response()
        }
        Err(_) => Problem::new(ProblemCode::TooSlow, "the request took too long").into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
