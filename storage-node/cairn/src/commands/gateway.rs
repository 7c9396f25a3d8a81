//! `cairn gateway`: serves folders, files, CAR archives and a hot store until it is told to stop.
//!
//! 1. Everything is opened and hashed; one thing that cannot be served stops the command before it listens.
//! 2. The listener is bound, and one line for each thing is printed: programs read the port there.
//! 3. The gateway runs until a signal; running transfers get its grace time.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use cairn_content::{CarArchive, Dataset, DatasetKind, HotStore, ImportOptions};
use cairn_gateway::{GatewayOptions, Library, serve};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::cli::GatewayArguments;
use crate::devnet::ended_by_signal;
use crate::progress::Stage;

/// One line of what is served.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Gateway { url: String },
    Dataset { root: String, url: String, name: String, files: usize, bytes: u64 },
    Car { root: Option<String>, url: Option<String>, path: String, blocks: usize, bytes: u64, left_out: u64 },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway { url } => write!(f, "gateway: {url}"),
            Self::Dataset { root, url, name, files, bytes } => {
                write!(f, "{root}  {url}  {name}: {files} files, {bytes} bytes")
            }
            Self::Car { root, url, path, blocks, bytes, left_out } => {
                let (root, url) = (root.as_deref().unwrap_or("no root"), url.as_deref().unwrap_or("/ipfs/CID"));
                write!(f, "{root}  {url}  {path}: {blocks} blocks, {bytes} bytes")?;
                if *left_out > 0 {
                    write!(f, "; {left_out} blocks left out, they are not named by SHA-256")?;
                }
                Ok(())
            }
        }
    }
}

fn import(path: &Path) -> anyhow::Result<Dataset> {
    let stage = Stage::begin("hash");
    let options = ImportOptions {
        workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        progress: &|done, total| stage.report(done, total),
        ..ImportOptions::default()
    };
    let dataset = Dataset::import(path, &options).with_context(|| format!("--data {}", path.display()))?;
    drop(stage);
    for skipped in dataset.skipped() {
        eprintln!("cairn: note: {} is left out: {:?}", path.join(&skipped.path).display(), skipped.reason);
    }
    Ok(dataset)
}

fn open(arguments: &GatewayArguments) -> anyhow::Result<Library> {
    let GatewayArguments { cars, data, store, .. } = arguments;
    ensure!(
        !(cars.is_empty() && data.is_empty() && store.is_none()),
        "nothing to serve: give --data, --car or --store"
    );
    let mut library = Library::default();
    if let Some(dir) = store {
        ensure!(dir.is_dir(), "--store {}: expected the folder of a hot store", dir.display());
        let store = HotStore::open(dir).with_context(|| format!("--store {}", dir.display()))?;
        for damaged in store.damaged() {
            eprintln!("cairn: note: {} is damaged and not served: {}", damaged.path.display(), damaged.reason);
        }
        library = library.with_store(Arc::new(store));
    }
    for path in data {
        library.add_dataset(Arc::new(import(path)?));
    }
    for path in cars {
        library.add_archive(CarArchive::open(path).context("--car")?);
    }
    Ok(library)
}

/// What is served, for a gateway at `url`.
fn lines(library: &Library, url: String) -> Vec<Line> {
    let mut lines = vec![Line::Gateway { url: url.clone() }];
    for dataset in library.datasets() {
        let root = dataset.root().to_string();
        let slash = if dataset.kind() == DatasetKind::Folder { "/" } else { "" };
        lines.push(Line::Dataset {
            url: format!("{url}/data/{root}{slash}"),
            root,
            name: dataset.name().to_owned(),
            files: dataset.files().len(),
            bytes: dataset.total_bytes(),
        });
    }
    for archive in library.archives() {
        let mut roots: Vec<_> = archive.roots().iter().map(|root| Some(root.to_string())).collect();
        if roots.is_empty() {
            roots.push(None);
        }
        lines.extend(roots.into_iter().map(|root| Line::Car {
            url: root.as_ref().map(|root| format!("{url}/ipfs/{root}")),
            root,
            path: archive.path().display().to_string(),
            blocks: archive.blocks(),
            bytes: archive.file_bytes(),
            left_out: archive.left_out(),
        }));
    }
    lines
}

fn print(lines: &[Line], json: bool) -> anyhow::Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    for line in lines {
        let text = if json { serde_json::to_string(line)? } else { line.to_string() };
        writeln!(stdout, "{text}").context("cannot write to standard output")?;
    }
    stdout.flush().context("cannot write to standard output")
}

/// Runs the command.
pub fn run(arguments: GatewayArguments) -> anyhow::Result<()> {
    let library = open(&arguments)?;
    let options = GatewayOptions {
        connections_max: arguments.connections,
        transfers_max: arguments.transfers,
        ..GatewayOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        let listen = arguments.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| format!("--listen {listen}"))?;
        let url = format!("http://{}", listener.local_addr().context("the listener has no address")?);
        print(&lines(&library, url), arguments.json)?;
        let signal = async {
            if let Err(error) = ended_by_signal().await {
                eprintln!("cairn: note: cannot listen for signals: {error}");
            }
        };
        serve(listener, Arc::new(library), options, signal).await.context("--connections, --transfers")
    })
}
