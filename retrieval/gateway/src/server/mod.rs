//! The HTTP/1.1 server: accepts, limits, answers, and stops cleanly.
//!
//! What always holds:
//! - Every answer says its exact length; HEAD says the same one. Nothing is ever compressed.
//! - An answer of bytes is complete or the connection is cut. There is no short 200.
//! - Memory per transfer is constant (three chunks), and transfers, connections, request heads and waiting times are
//!   bounded by [`GatewayOptions`]. Over a limit the answer is 503 with `Retry-After`.
//! - A slow reader lives as long as it takes a byte now and then; a slow writer of a request head does not.
//! - Every request is one `gateway.request` span with the bytes that the socket truly accepted.

mod answer;
mod body;
mod connection;
mod content_type;
mod fast;
mod mount;
mod proofs;
mod rejection;
mod report;
mod routes;
mod signed;
mod socket;
mod trustless;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tracing::Instrument;

use self::answer::{Payload, Prepared, RequestHead, Sending};
use self::body::{GatewayBody, Handed, StreamBody};
pub use self::connection::ServedRequest;
use self::connection::{InFlight, Meter, MeteredStream, head_bytes};
pub use self::content_type::by_name as media_type;
use self::fast::Left;
pub use self::mount::{Mount, MountedAnswer, MountedBody, MountedHandler, range_body};
pub use self::rejection::RequestRejection;
pub use self::report::{AccessLog, Metrics, Reporter, serve_metrics};
pub(crate) use self::signed::X_SERVED_GROUP;
use self::socket::Socket;
use crate::gate::{Account, Gatekeeper, Guarded};
use crate::kernel_tls;
use crate::signing::{GroupSigner, Signing};
use crate::source::{ContentSource, SourceError};
use crate::tls::TlsIdentity;
pub use prometheus_client::collector::Collector;

/// Called once for every finished request, with what it moved. Metrics and payment hang here; it must be quick.
pub type Observer = Arc<dyn Fn(&ServedRequest) + Send + Sync>;

/// Limits of a gateway. The defaults fit a small machine; each field says what it costs.
#[derive(Clone)]
pub struct GatewayOptions {
    /// Connections at a time; each costs a socket and some KiB. Default 1024.
    pub connections_max: usize,
    /// Transfers at a time; each costs three chunks of memory and at times one thread. Default 256.
    pub transfers_max: usize,
    /// Longest wait for a complete request head. Default 30 s.
    pub head_timeout: Duration,
    /// Longest wait for the next request of a connection that has had answers; once the library serves a connection,
    /// [`Self::head_timeout`] counts instead. Default 120 s.
    pub idle_timeout: Duration,
    /// Most bytes of a request head; more gives 431. At least 8 KiB. Default 16 KiB.
    pub head_bytes_max: usize,
    /// Most header lines of a request; more gives 431. Default 64.
    pub headers_max: usize,
    /// Most bytes of path and query; more gives 414. Default 8 KiB.
    pub target_bytes_max: usize,
    /// How long a reader may take no byte at all before it is cut. Below 60 s slow disks of clients suffer. Default 120 s.
    pub write_stall: Duration,
    /// Bytes per read from the store. Smaller costs processor time, larger costs memory. Default 256 KiB.
    pub chunk_bytes: usize,
    /// How long transfers may go on after a shutdown is asked for. Default 30 s.
    pub shutdown_grace: Duration,
    /// What `Retry-After` says over a limit, in whole seconds. Default 2 s.
    pub retry_after: Duration,
    /// Whether the loop in front of the HTTP library answers plain requests for plain files, by `sendfile`. Default yes.
    pub sendfile: bool,
    /// Speak TLS with this certificate, and nothing else. Default none.
    pub tls: Option<TlsIdentity>,
    /// Whether the kernel encrypts, if it offers that: `sendfile` then works over TLS, too. Else this process encrypts, and
    /// everything is copied. Default yes.
    pub kernel_tls: bool,
    /// Handlers of other interfaces, each with its path prefix; the first that takes a path gets it. Default none.
    pub mounts: Vec<Mount>,
    /// Gives leave for every object of the gateway's own routes; a mounted handler asks by itself. Default: everybody has it.
    pub gatekeeper: Option<Arc<dyn Gatekeeper>>,
    /// Signs for a provider what is sent to who asks for it (`/piece/{cid}/signed`). Default: nobody does.
    pub group_signer: Option<Arc<dyn GroupSigner>>,
    /// Counts and logs every finished request; answers then carry `Traceparent` and `Server-Timing`. Default: nobody.
    pub reporter: Option<Reporter>,
    /// Sees every finished request.
    pub observer: Option<Observer>,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            transfers_max: 256,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            head_bytes_max: 16 << 10,
            headers_max: 64,
            target_bytes_max: 8 << 10,
            write_stall: Duration::from_secs(120),
            chunk_bytes: 256 << 10,
            shutdown_grace: Duration::from_secs(30),
            retry_after: Duration::from_secs(2),
            sendfile: true,
            tls: None,
            kernel_tls: true,
            mounts: Vec::new(),
            gatekeeper: None,
            group_signer: None,
            reporter: None,
            observer: None,
        }
    }
}

impl fmt::Debug for GatewayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayOptions")
            .field("connections_max", &self.connections_max)
            .field("transfers_max", &self.transfers_max)
            .field("chunk_bytes", &self.chunk_bytes)
            .finish_non_exhaustive()
    }
}

/// Options that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gateway option {option}: expected {expected}, got {got}")]
pub struct OptionsRejection {
    /// Name of the field.
    pub option: &'static str,
    /// What it must be.
    pub expected: &'static str,
    /// What it is.
    pub got: usize,
}

impl GatewayOptions {
    fn check(&self) -> Result<(), OptionsRejection> {
        let at_least = |option, got: usize, min: usize, expected| {
            if got >= min { Ok(()) } else { Err(OptionsRejection { option, expected, got }) }
        };
        at_least("connections_max", self.connections_max, 1, "at least 1")?;
        at_least("transfers_max", self.transfers_max, 1, "at least 1")?;
        at_least("headers_max", self.headers_max, 1, "at least 1")?;
        at_least("target_bytes_max", self.target_bytes_max, 1024, "at least 1024 bytes")?;
        at_least("head_bytes_max", self.head_bytes_max, 8 << 10, "at least 8192 bytes")?;
        at_least("chunk_bytes", self.chunk_bytes, 4 << 10, "at least 4096 bytes")
    }
}

/// How a connection goes on once it is agreed whether it is encrypted.
enum Agreed {
    /// By the socket alone, which encrypts or has nothing to encrypt.
    Socket(Socket),
    /// Through a session of TLS in this process.
    Session(Box<TlsStream<TcpStream>>),
}

struct Gateway {
    source: Arc<dyn ContentSource>,
    options: GatewayOptions,
    connections: Arc<Semaphore>,
    /// Connections that are only told to come back later; beyond these, a connection is dropped unanswered.
    turned_away: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    /// Whether the kernel goes on with sessions of TLS.
    kernel_tls: bool,
    started: Instant,
}

/// Connections that the system keeps until they are accepted: thousands of workers may begin at once.
const BACKLOG: u32 = 4096;

/// Listens on `address`, with room for many connections that begin at once.
///
/// # Errors
/// The address cannot be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `source` on `listener` until `shutdown` completes, then lets running transfers end within the grace time.
///
/// A failing `accept` (out of file descriptors, for one) is logged and tried again; it does not end the server.
///
/// # Errors
/// [`OptionsRejection`] if a limit cannot work; nothing was served then.
pub async fn serve(
    listener: TcpListener,
    source: Arc<dyn ContentSource>,
    options: GatewayOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), OptionsRejection> {
    options.check()?;
    let grace = options.shutdown_grace;
    let source = match options.group_signer.clone() {
        Some(signer) => Arc::new(Signing { source, signer }),
        None => source,
    };
    let source = match options.gatekeeper.clone() {
        Some(gate) => Arc::new(Guarded { source, gate }),
        None => source,
    };
    let gateway = Arc::new(Gateway {
        source,
        connections: Arc::new(Semaphore::new(options.connections_max)),
        turned_away: Arc::new(Semaphore::new(64)),
        transfers: Arc::new(Semaphore::new(options.transfers_max)),
        kernel_tls: options.tls.is_some() && options.kernel_tls && kernel_tls::is_offered(),
        started: Instant::now(),
        options,
    });
    if gateway.options.tls.is_some() {
        tracing::info!(by_kernel = gateway.kernel_tls, "connections are encrypted");
    }
    let (stop, stopping) = watch::channel(false);
    let mut running = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => gateway.admit(&mut running, stream, peer, &stopping),
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
    let drained = tokio::time::timeout(grace, async { while running.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = running.len(), "transfers were cut at the end of the grace time");
    }
    running.shutdown().await;
    Ok(())
}

impl Gateway {
    fn admit(
        self: &Arc<Self>,
        running: &mut JoinSet<()>,
        stream: TcpStream,
        peer: SocketAddr,
        stopping: &watch::Receiver<bool>,
    ) {
        let (permit, welcome) = match self.connections.clone().try_acquire_owned() {
            Ok(permit) => (permit, true),
            Err(_) => match self.turned_away.clone().try_acquire_owned() {
                Ok(permit) => (permit, false),
                Err(_) => return,
            },
        };
        let gateway = self.clone();
        let stopping = stopping.clone();
        running.spawn(async move {
            let _permit: OwnedSemaphorePermit = permit;
            gateway.run_connection(stream, peer, welcome, stopping).await;
        });
    }

    async fn run_connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        welcome: bool,
        stopping: watch::Receiver<bool>,
    ) {
        // Delays small answers otherwise; failing to set it costs nothing else.
        let _ = stream.set_nodelay(true);
        let _connected = self.options.reporter.as_ref().map(Reporter::connection);
        let meter = Meter::new(self.options.observer.clone(), self.options.reporter.clone(), peer);
        match tokio::time::timeout(self.options.head_timeout, self.agree(stream)).await {
            Ok(Ok(Agreed::Socket(socket))) => self.run_socket(socket, peer, meter, welcome, stopping).await,
            Ok(Ok(Agreed::Session(stream))) => {
                Box::pin(self.run_library(*stream, Vec::new(), peer, meter, welcome, stopping)).await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS was not agreed on"),
            Err(_) => tracing::debug!(%peer, "TLS was not agreed on in time"),
        }
    }

    /// Agrees on TLS, if this gateway speaks it.
    async fn agree(&self, mut stream: TcpStream) -> io::Result<Agreed> {
        match &self.options.tls {
            None => Ok(Agreed::Socket(Socket::plain(stream))),
            Some(tls) if self.kernel_tls => {
                Box::pin(tls.accept_for_kernel(&mut stream)).await?;
                Ok(Agreed::Socket(Socket::encrypting(stream)))
            }
            Some(tls) => Ok(Agreed::Session(Box::new(Box::pin(tls.accept(stream)).await?))),
        }
    }

    /// Serves a socket: by the loop in front of the library as long as it may, then by the library.
    async fn run_socket(
        self: Arc<Self>,
        mut socket: Socket,
        peer: SocketAddr,
        meter: Arc<Meter>,
        welcome: bool,
        stopping: watch::Receiver<bool>,
    ) {
        meter.bound(socket.bytes_max());
        if !welcome || !self.options.sendfile {
            return self.run_library(socket, Vec::new(), peer, meter, welcome, stopping).await;
        }
        match fast::run(&self, &mut socket, &meter, stopping.clone()).await {
            Ok(Left::Ended) => Box::pin(socket.end_session()).await,
            // In a box: a connection that never comes here does not carry the library's state around.
            Ok(Left::HandedOver { unread }) => {
                Box::pin(self.run_library(socket, unread, peer, meter.clone(), welcome, stopping)).await;
            }
            Err(error) => tracing::debug!(%peer, %error, "connection ended with an error"),
        }
        meter.finish();
    }

    /// Serves a connection by the HTTP library; it begins with bytes that were read before.
    async fn run_library<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self: Arc<Self>,
        stream: S,
        unread: Vec<u8>,
        peer: SocketAddr,
        meter: Arc<Meter>,
        welcome: bool,
        mut stopping: watch::Receiver<bool>,
    ) {
        let options = &self.options;
        let io = TokioIo::new(MeteredStream::new(stream, unread, meter.clone(), options.write_stall));
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(if welcome { options.head_timeout } else { options.head_timeout.min(REFUSAL_TIME) })
            .keep_alive(welcome)
            // Whoever has asked all it wants may close its sending side.
            .half_close(true)
            .max_headers(options.headers_max)
            .max_header_size(options.head_bytes_max)
            .max_buf_size(options.chunk_bytes.max(options.head_bytes_max));
        let gateway = self.clone();
        let service_meter = meter.clone();
        let service = service_fn(move |request| {
            let (gateway, meter) = (gateway.clone(), service_meter.clone());
            async move { Ok::<_, Infallible>(gateway.answer(request, &meter, welcome).await) }
        });
        let connection = builder.serve_connection(io, service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = async { _ = stopping.wait_for(|stop| *stop).await } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended with an error");
        }
        meter.finish();
    }

    async fn answer(&self, request: Request<Incoming>, meter: &Meter, welcome: bool) -> Response<GatewayBody> {
        // The answer before this one is complete once the next request is read.
        meter.finish();
        let started = Instant::now();
        let span = request_span(request.method(), request.uri().path());
        let path = shown(request.uri().path()).to_owned();
        let method = request.method().clone();
        let asked_trace = report::asked_trace(request.headers());
        let handed = Arc::new(Handed::default());
        let mut response = match self.mount_of(&request, welcome) {
            Some((mount, permit)) => {
                let answer = mount.handler.answer(request).instrument(span.clone()).await;
                answer.map(|body| GatewayBody::Mounted { body, handed: handed.clone(), _permit: permit })
            }
            None => self.answer_own(request, welcome, &handed).instrument(span.clone()).await,
        };
        span.record("status", response.status().as_u16());
        if !welcome || meter.is_used_up() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let reported = self.options.reporter.is_some();
        let trace = reported.then(|| report::trace(asked_trace.as_ref(), response.headers_mut(), started));
        let account = response.extensions_mut().remove::<Arc<dyn Account>>();
        let bytes_promised =
            if method == Method::HEAD { 0 } else { hyper::body::Body::size_hint(response.body()).lower() };
        if let GatewayBody::Text(Some(text)) = response.body() {
            handed.add(text.len());
        }
        let status = response.status();
        let head_bytes = head_bytes(status, response.headers());
        meter.begin(InFlight {
            span,
            started,
            first_byte: started.elapsed(),
            method,
            path,
            status,
            head_bytes,
            bytes_promised,
            handed,
            account,
            by_system: false,
            trace,
        });
        response
    }

    /// The handler that takes a request, unless a limit stands against it or the request is refused for any handler.
    fn mount_of(&self, request: &Request<Incoming>, welcome: bool) -> Option<(&Mount, OwnedSemaphorePermit)> {
        let mount = self.options.mounts.iter().find(|mount| mount.takes(request.uri().path()))?;
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let fits = target <= self.options.target_bytes_max && check_host(request.headers(), request.version()).is_ok();
        let permit = if welcome && fits { self.transfers.clone().try_acquire_owned().ok() } else { None };
        Some((mount, permit?))
    }

    async fn answer_own(
        &self,
        request: Request<Incoming>,
        welcome: bool,
        handed: &Arc<Handed>,
    ) -> Response<GatewayBody> {
        let version = request.version();
        let (parts, _) = request.into_parts();
        let head = RequestHead {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
        };
        let (prepared, permit) = self.prepare(head, version, welcome).await;
        respond(prepared, permit, handed)
    }

    /// Never fails: a refusal is an answer too. The permit comes with an answer that streams.
    async fn prepare(
        &self,
        head: RequestHead,
        version: Version,
        welcome: bool,
    ) -> (Prepared, Option<OwnedSemaphorePermit>) {
        if let Err(rejection) = self.check_head(&head, version, welcome) {
            return (answer::refused(&head, &rejection), None);
        }
        if head.method == Method::OPTIONS {
            return (answer::preflight(), None);
        }
        let Ok(permit) = self.transfers.clone().try_acquire_owned() else {
            return (answer::refused(&head, &self.busy("transfers", self.options.transfers_max)), None);
        };
        let (source, sending) = (self.source.clone(), Sending::Chunks(self.options.chunk_bytes));
        let gate = self.options.gatekeeper.clone();
        let uptime = self.started.elapsed().as_secs();
        let connections = self.options.connections_max - self.connections.available_permits();
        let requests = self.options.transfers_max - self.transfers.available_permits();
        let span = tracing::Span::current();
        let head = Arc::new(head);
        let asked = head.clone();
        let preparing = tokio::task::spawn_blocking(move || {
            let _entered = span.entered();
            if head.path == "/health" {
                return routes::health(source.as_ref(), &head, uptime, connections, requests);
            }
            let prepared = routes::prepare(&source, &head, sending, gate.as_deref());
            prepared.unwrap_or_else(|rejection| answer::refused(&head, &rejection))
        });
        let prepared = preparing.await.unwrap_or_else(|lost| {
            let lost = SourceError::Damaged { what: "the content store".into(), detail: lost.to_string() };
            answer::refused(&asked, &lost.into())
        });
        let streams = matches!(prepared.payload, Payload::Stream { .. });
        (prepared, streams.then_some(permit))
    }

    fn check_head(&self, head: &RequestHead, version: Version, welcome: bool) -> Result<(), RequestRejection> {
        if !welcome {
            return Err(self.busy("connections", self.options.connections_max));
        }
        // Of a path that belongs to a mounted handler only refusals come here.
        let mounted = self.options.mounts.iter().any(|mount| mount.takes(&head.path));
        if !mounted && ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&head.method) {
            return Err(RequestRejection::Method);
        }
        let (got, max) =
            (head.path.len() + head.query.as_ref().map_or(0, |query| query.len() + 1), self.options.target_bytes_max);
        if got > max {
            return Err(RequestRejection::TargetTooLong { max, got });
        }
        check_host(&head.headers, version)
    }

    fn busy(&self, what: &'static str, limit: usize) -> RequestRejection {
        let retry_after_seconds = self.options.retry_after.as_secs().max(1);
        RequestRejection::Busy { what, limit, retry_after_seconds }
    }
}

/// As much of a path as logs and answers show.
fn shown(path: &str) -> &str {
    &path[..path.floor_char_boundary(256)]
}

/// The span of one request.
fn request_span(method: &Method, path: &str) -> tracing::Span {
    tracing::info_span!(
        "gateway.request",
        %method,
        path = shown(path),
        status = tracing::field::Empty,
        bytes = tracing::field::Empty,
        error = tracing::field::Empty,
    )
}

/// How long a connection that is turned away may take to send its request.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

/// RFC 9112 3.2: exactly one `Host` since HTTP/1.1.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), RequestRejection> {
    let count = headers.get_all(HOST).iter().count();
    if count == 1 || (count == 0 && version < Version::HTTP_11) { Ok(()) } else { Err(RequestRejection::Host) }
}

fn respond(prepared: Prepared, permit: Option<OwnedSemaphorePermit>, handed: &Arc<Handed>) -> Response<GatewayBody> {
    let body = match (prepared.payload, permit) {
        (Payload::Text(text), _) => GatewayBody::Text(Some(text)),
        (Payload::Stream { length, first, source }, Some(permit)) => {
            GatewayBody::Stream(StreamBody::new(length, first, source, handed.clone(), Some(permit)))
        }
        _ => GatewayBody::Empty,
    };
    let mut response = Response::new(body);
    *response.status_mut() = prepared.status;
    *response.headers_mut() = prepared.headers;
    if let Some(account) = prepared.account {
        response.extensions_mut().insert(account);
    }
    response
}
