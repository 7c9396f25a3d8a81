//! `cairn order`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use cairn_content::HotStore;
use cairn_gateway::{GatewayOptions, serve};
use cairn_ledger::scores::Fraction;
use cairn_ledger::{Address, Command, OrderId, OrderTerms, RegionRule, Requirements};
use cairn_rpc::client::{DealFilter, OrderFilter};
use cairn_rpc::wire::{self, Bid, Deal, DealState, Order, OrderState, Quote};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::deal;
use super::session::{Done, Session, first, more_line};
use super::table::{Table, facts};
use crate::cli::{
    OrderCommand, OrderListArguments, OrderPlaceArguments, OrderQuoteArguments, OrderShowArguments, TermsArguments,
};
use crate::dataset::{self, Imported};
use crate::key_file::KeyFile;
use crate::progress::Stage;

/// How often an order is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long providers may finish what they fetch when the command ends.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Stands for an address while an order is only quoted: as long as any that is likely.
const QUOTED_URL: &str = "http://127.0.0.1:65535";

/// An order with what belongs to it.
#[derive(Serialize)]
struct OrderReport {
    order: Order,
    bids: Vec<Bid>,
    deals: Vec<Deal>,
}

/// A quote and what it is for.
#[derive(Serialize)]
struct QuoteReport {
    root: String,
    payload_bytes: u64,
    pieces: usize,
    /// What is asked of bidders, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<String>,
    quote: Quote,
}

/// What `order place` came to.
#[derive(Serialize)]
struct PlaceReport {
    root: String,
    order: u64,
    /// Whether an earlier order for the dataset was taken up.
    taken_up: bool,
    deals: Vec<Deal>,
}

/// Runs the command.
pub fn run(command: OrderCommand) -> anyhow::Result<()> {
    match command {
        OrderCommand::Quote(arguments) => quote(&arguments),
        OrderCommand::Place(arguments) => place(&arguments),
        OrderCommand::List(arguments) => list(&arguments),
        OrderCommand::Show(arguments) => show(&arguments),
        OrderCommand::Cancel(cancel) => {
            let command = Command::CancelOrder { order: OrderId(cancel.order) };
            let what = format!("order-{} is cancelled; its deposit is free", cancel.order);
            Session::open(&cancel.ledger)?.act_and_tell(&cancel.signer, command, &what)
        }
    }
}

fn import(hot: &HotStore, terms: &TermsArguments) -> anyhow::Result<Imported> {
    let stage = Stage::begin("import");
    dataset::import(hot, &terms.path, terms.sector_size, &|done, total| stage.report(done, total))
}

fn terms_of(imported: &Imported, arguments: &TermsArguments, transfer_url: String) -> OrderTerms {
    OrderTerms {
        root: imported.root,
        pieces: imported.order_pieces(),
        duration_epochs: arguments.duration,
        price_per_epoch_max: arguments.price_max,
        copies: arguments.copies,
        transfer_url,
        requirements: arguments.requirements(),
    }
}

fn quote(arguments: &OrderQuoteArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let payer = match (&arguments.payer, &arguments.key) {
        (Some(payer), _) => *payer,
        (None, Some(path)) => KeyFile::read(path)?.address(),
        (None, None) => return Err(anyhow!("expected --for or --key")),
    };
    let folder = scratch_folder()?;
    let imported = import(&HotStore::open(folder.path())?, &arguments.terms)?;
    let terms = terms_of(&imported, &arguments.terms, QUOTED_URL.to_owned());
    let quote = session.client.quote(&payer, &wire::OrderTerms::of(&terms))?;
    let report = QuoteReport {
        root: imported.root.to_string(),
        payload_bytes: imported.dataset.total_bytes(),
        pieces: imported.pieces.len(),
        asked: asked(&terms.requirements),
        quote,
    };
    session.output.print_as(&report, || describe_quote(&report))
}

fn describe_quote(report: &QuoteReport) -> String {
    let quote = &report.quote;
    let missing = (quote.missing.0 > 0).then(|| format!("{} units: the order cannot be placed", quote.missing));
    facts([
        ("dataset", Some(report.root.clone())),
        ("size", Some(format!("{} bytes in {} piece(s)", report.payload_bytes, report.pieces))),
        ("deposit", Some(format!("{} units; what the bids do not need returns at assignment", quote.deposit))),
        ("fee", Some(format!("{} units", quote.fee))),
        ("total", Some(format!("{} units", quote.total))),
        ("available", Some(format!("{} units", quote.available))),
        ("missing", missing),
        ("asked of bidders", report.asked.clone()),
        ("bids close", Some(format!("epoch {}", quote.bids_close_at))),
        ("active by", Some(format!("epoch {}, or the money is back", quote.active_by))),
        ("paid until", Some(format!("epoch {} at the latest; nothing has to be topped up", quote.paid_until))),
    ])
}

fn place(arguments: &OrderPlaceArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let payer = session.signer(&arguments.signer)?;
    let scratch = scratch_folder()?;
    let folder = if arguments.transfer_url.is_some() { scratch.path() } else { arguments.store.as_path() };
    let hot = Arc::new(HotStore::open(folder).with_context(|| format!("--store {}", folder.display()))?);
    let imported = import(&hot, &arguments.terms)?;
    let earlier = earlier_order(&session, &payer, &imported)?;

    let runtime = Runtime::new().context("cannot start threads")?;
    let (stop, stopping) = watch::channel(false);
    let url = match &arguments.transfer_url {
        Some(url) => url.clone(),
        None => {
            let listen = earlier.as_ref().map_or(Ok(arguments.listen), served_before)?;
            format!("http://{}", serve_dataset(&runtime, listen, hot, stopping)?)
        }
    };
    let (order, taken_up) = match earlier {
        Some(order) => (order.id, true),
        None => {
            let command = Command::PlaceOrder(terms_of(&imported, &arguments.terms, url.clone()));
            let Some(done) = session.act(&arguments.signer, command)? else { return Ok(()) };
            (placed(&done)?, false)
        }
    };
    eprintln!(
        "cairn: note: {order}: the dataset is at {url}; Ctrl-C ends this, and the same command takes it up again"
    );
    let within = Duration::from_secs(arguments.active_within);
    let deals = runtime.block_on(async {
        let waiting =
            tokio::task::spawn_blocking(move || wait_until_active(&session, order, within).map(|d| (session, d)));
        tokio::select! {
            ended = waiting => ended.context("the wait ended early")?,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted; {order} goes on without this command")),
        }
    });
    stop.send_replace(true);
    let grace = if deals.is_ok() { SHUTDOWN_GRACE } else { Duration::ZERO };
    runtime.shutdown_timeout(grace);
    let (session, deals) = deals?;
    let report = PlaceReport { root: imported.root.to_string(), order: order.0, taken_up, deals };
    session.output.print_as(&report, || {
        let how = if report.taken_up { "taken up again" } else { "placed" };
        format!("{order} for {} was {how}; every copy is active\n\n{}", report.root, deal::table(&report.deals))
    })
}

/// A folder that is gone when the command ends.
fn scratch_folder() -> anyhow::Result<Scratch> {
    let name = format!("cairn-order-{}-{:x}", std::process::id(), rand::random::<u64>());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(Scratch(path))
}

struct Scratch(std::path::PathBuf);

impl Scratch {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind in the system's folder for such things does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The payer's order for this dataset that is open or became deals.
fn earlier_order(session: &Session, payer: &Address, imported: &Imported) -> anyhow::Result<Option<Order>> {
    let mut earlier = None;
    for order in session.client.orders(&OrderFilter { client: Some(*payer), state: None }) {
        let order = order?;
        // A replacement is the ledger's own.
        if order.terms.root == imported.root && order.state != OrderState::Closed && order.replaces.is_none() {
            earlier = Some(order);
        }
    }
    Ok(earlier)
}

/// The address that providers know from an earlier order.
fn served_before(order: &Order) -> anyhow::Result<SocketAddr> {
    let url = &order.terms.transfer_url;
    let address = url.strip_prefix("http://").and_then(|rest| rest.trim_end_matches('/').parse().ok());
    address.with_context(|| {
        format!(
            "{} has its dataset fetched from {url}, which this command cannot serve: --transfer-url {url}",
            order.id
        )
    })
}

fn serve_dataset(
    runtime: &Runtime,
    listen: SocketAddr,
    hot: Arc<HotStore>,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind(listen));
    let listener = listener.with_context(|| format!("cannot serve the dataset on {listen}"))?;
    let address = listener.local_addr()?;
    let options = GatewayOptions { shutdown_grace: SHUTDOWN_GRACE, ..GatewayOptions::default() };
    let stopped = async move { drop(stopping.wait_for(|stop| *stop).await) };
    runtime.spawn(async move {
        if let Err(error) = serve(listener, hot, options, stopped).await {
            tracing::error!(%error, "the dataset is not served");
        }
    });
    Ok(address)
}

fn placed(done: &Done) -> anyhow::Result<OrderId> {
    let number = done.receipt.number("OrderPlaced", "order");
    Ok(OrderId(number.context("the ledger took the order but named none")?))
}

/// Waits until every copy of an order is active.
fn wait_until_active(session: &Session, id: OrderId, within: Duration) -> anyhow::Result<Vec<Deal>> {
    let started = Instant::now();
    loop {
        match look(session, id) {
            Ok(Some(deals)) => return Ok(deals),
            Ok(None) => {}
            Err(error) if is_transient(&error) => tracing::warn!("{error:#}"),
            Err(error) => return Err(error),
        }
        ensure!(started.elapsed() < within, "{id}: waited {} s for every copy to be active", within.as_secs());
        std::thread::sleep(LOOK);
    }
}

fn is_transient(error: &anyhow::Error) -> bool {
    error.downcast_ref::<cairn_rpc::ClientError>().is_some_and(cairn_rpc::ClientError::is_transient)
}

/// The deals of an order if all are active.
fn look(session: &Session, id: OrderId) -> anyhow::Result<Option<Vec<Deal>>> {
    let order = session.client.order(id.0)?.with_context(|| format!("the ledger has no {id}, or forgot it"))?;
    if let Some(closure) = &order.closure {
        bail!("{id} is closed: {} {} (epoch {})", closure.code, closure.text, closure.epoch);
    }
    if order.state == OrderState::Open {
        return Ok(None);
    }
    let filter = DealFilter { order: Some(id.0), ..DealFilter::default() };
    let deals = session.client.deals(&filter).collect::<Result<Vec<_>, _>>()?;
    if let Some((deal, closure)) = deals.iter().find_map(|deal| Some((deal, deal.closure.as_ref()?))) {
        bail!("{} is closed: {} {} (epoch {})", deal.id, closure.code, closure.text, closure.epoch);
    }
    ensure!(order.copies_missing == 0, "{id}: nobody bid for {} of the copies", order.copies_missing);
    let active = deals.iter().all(|deal| deal.state == DealState::Active);
    Ok((active && !deals.is_empty()).then_some(deals))
}

fn list(arguments: &OrderListArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let state = arguments.state.as_deref().map(|state| match state {
        "open" => Ok(OrderState::Open),
        "matched" => Ok(OrderState::Matched),
        "closed" => Ok(OrderState::Closed),
        other => Err(anyhow!("--state: {other:?}")),
    });
    let filter = OrderFilter { client: arguments.client, state: state.transpose()? };
    let (orders, more) = first(session.client.orders(&filter), arguments.limit)?;
    session.output.print_as(&orders, || {
        let mut table = Table::new(["order", "state", "copies", "pieces", "bids", "price cap", "deposit", "dataset"]);
        for order in &orders {
            table.row([
                order.id.to_string(),
                state_name(order.state).to_owned(),
                order.terms.copies.to_string(),
                order.terms.pieces.len().to_string(),
                order.bids.to_string(),
                order.terms.price_per_epoch_max.to_string(),
                order.deposit.to_string(),
                order.terms.root.to_string(),
            ]);
        }
        format!("{table}{}", more_line(more))
    })
}

fn state_name(state: OrderState) -> &'static str {
    match state {
        OrderState::Open => "open",
        OrderState::Matched => "matched",
        OrderState::Closed => "closed",
    }
}

fn show(arguments: &OrderShowArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let number = arguments.order;
    let order = session.client.order(number)?;
    let order = order.with_context(|| format!("the ledger has no order-{number}, or forgot it"))?;
    let bids = session.client.bids(number).collect::<Result<Vec<_>, _>>()?;
    let deals = order.deals.iter().filter_map(|id| session.client.deal(id.0).transpose());
    let deals = deals.collect::<Result<Vec<_>, _>>()?;
    let report = OrderReport { order, bids, deals };
    session.output.print_as(&report, || describe(&report))
}

/// Requirements in words; `None` if nothing is asked for.
fn asked(wanted: &Requirements) -> Option<String> {
    let addresses = |auditors: &[Address]| auditors.iter().map(Address::to_string).collect::<Vec<_>>().join(", ");
    let mut parts: Vec<String> = wanted.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !wanted.signed_by_all.is_empty() {
        parts.push(format!("signed by all of {}", addresses(&wanted.signed_by_all)));
    }
    if !wanted.signed_by_any.is_empty() {
        parts.push(format!("signed by one of {}", addresses(&wanted.signed_by_any)));
    }
    if wanted.reputation_min > Fraction::ZERO {
        parts.push(format!("reputation {} or better", wanted.reputation_min));
    }
    match wanted.regions {
        RegionRule::Declared => {}
        RegionRule::Required => parts.push("a region of its own for each copy".to_owned()),
        RegionRule::Any => parts.push("any region".to_owned()),
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn describe(report: &OrderReport) -> String {
    let OrderReport { order, bids, deals } = report;
    let why = order.closure.as_ref();
    let mut text = facts([
        ("order", Some(order.id.to_string())),
        ("state", Some(state_name(order.state).to_owned())),
        ("why", why.map(|closure| format!("{} {} (epoch {})", closure.code, closure.text, closure.epoch))),
        ("client", Some(order.client.to_string())),
        ("dataset", Some(order.terms.root.to_string())),
        ("pieces", Some(order.terms.pieces.len().to_string())),
        ("copies", Some(order.terms.copies.to_string())),
        ("duration", Some(format!("{} epochs", order.terms.duration_epochs))),
        ("price cap", Some(format!("{} units an epoch and copy", order.terms.price_per_epoch_max))),
        ("deposit", Some(format!("{} units", order.deposit))),
        ("bids close", Some(format!("epoch {}", order.bids_close_at))),
        ("reveals close", (order.sealed_bids > 0).then(|| format!("epoch {}", order.reveals_close_at))),
        ("asked of bidders", asked(&order.terms.requirements)),
        ("data at", Some(order.terms.transfer_url.clone())),
        ("replaces", order.replaces.map(|replaced| format!("{} (time {})", replaced.deal, replaced.round))),
    ]);
    if !bids.is_empty() {
        let mut table = Table::new(["bid of", "state", "price"]);
        for bid in bids {
            let price = bid.price_per_epoch.map_or("sealed".to_owned(), |price| price.to_string());
            table.row([bid.provider.0.to_string(), format!("{:?}", bid.state).to_lowercase(), price]);
        }
        text += &format!("\n{table}");
    }
    if !deals.is_empty() {
        text += &format!("\n{}", deal::table(deals));
    }
    text
}
