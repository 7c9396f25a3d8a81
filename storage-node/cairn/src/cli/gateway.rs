//! Arguments of `cairn gateway`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::OriginArguments;

/// What `cairn gateway` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cairn gateway --data ~/datasets/photos
  cairn gateway --listen 0.0.0.0:8480 --car archive.car --car another.car
  cairn gateway --listen 127.0.0.1:0 --data photos --json
  cairn gateway --data photos --s3 127.0.0.1:8481 --s3-key keys.txt
  cairn gateway --data photos --access policy.json --metrics 127.0.0.1:8482 --access-log requests.log
  cairn gateway --origin s3://datasets --origin-settings origin.txt --cache-dir cache --cache-mib 100000
  cairn gateway --store hot --sign-for 1000 --sign-key provider.key --sign-rpc http://127.0.0.1:8440
  cairn gateway --data photos --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem

Serves folders, files and CAR archives over HTTP, without a ledger. Everything is hashed once at the start and read where it
lies; a file that changes afterwards is refused, not served. One line for each thing that is served says its root CID and its
URL. Ctrl-C or SIGTERM stops; running transfers get half a minute to end.

--access FILE says who may read, as JSON; paths in it are relative to its folder:
  {\"key\": \"gateway.key\", \"state\": \"gateway-state\", \"issuers\": [\"ADDRESS\"], \"free\": [\"ROOT CID\"],
   \"denylist\": \"denied.txt\", \"open\": false, \"step_bytes\": 67108864}
key and state are needed: a key file (cairn wallet new) and the folder of the counts. issuers are the addresses whose tokens
(cairn grant issue) are taken, beside the gateway's own; free are datasets that everybody may read; open gives everybody all that
is not denied. The denylist is one of IPIP-0383 and read again when it changes. A crash costs the bearer of a token at most
step_bytes. To be paid by channels of a ledger (cairn channel), add
  \"payments\": {\"rpc\": \"http://127.0.0.1:8080\", \"price_per_mib\": 10, \"window_bytes\": 16777216, \"redeem_from\": 1000000}
which asks whoever has no token for vouchers to key's address (402, in x402's headers), lends window_bytes to each channel, keeps the
vouchers in the folder \"vouchers\" and redeems them by itself, each for redeem_from micro-units at least.

--s3-key FILE has a key a line: ACCESS-KEY SECRET-KEY read (or write, which reads too), then, if the key is to be limited,
buckets, each perhaps with a path (photos/train is that object and all below), and bytes=N for what it may read in all, which
needs --access. A line `anonymous read`, perhaps with buckets, lets requests without a signature read. With --access a key opens
what its line names as a token would, but nothing that is denied; what is not signed gets what is free.")]
pub struct GatewayArguments {
    /// Where to listen; port 0 takes a free one, which the first line names
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8480")]
    pub listen: SocketAddr,
    /// A CAR file (version 1 or 2, of any tool); may be given several times
    #[arg(long = "car", value_name = "FILE")]
    pub cars: Vec<PathBuf>,
    /// A file or folder; may be given several times
    #[arg(long, value_name = "PATH")]
    pub data: Vec<PathBuf>,
    /// A hot store, as a provider keeps it; nobody else may have it open
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Datasets that `cairn data publish` brought there; every leaf is checked before it is served.
    #[command(flatten)]
    pub origin: OriginArguments,
    /// Mebibytes of an origin's leaves to keep in memory
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    pub cache_memory_mib: u64,
    /// Folder for more of them; the gateway's own
    #[arg(long, value_name = "DIR", requires = "origin")]
    pub cache_dir: Option<PathBuf>,
    /// Mebibytes of leaves in that folder
    #[arg(long, value_name = "MIB", default_value_t = 16_384, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub cache_mib: u64,
    /// Serve the read side of S3 here too (path style): a dataset is a bucket, by name or root CID; also at /s3 of the gateway
    #[arg(long, value_name = "ADDR:PORT")]
    pub s3: Option<SocketAddr>,
    /// Keys of the S3 interface, as described below; nobody else may be able to read the file. Without one everybody may read
    #[arg(long, value_name = "FILE", requires = "s3")]
    pub s3_key: Option<PathBuf>,
    /// Take uploads by S3 (PutObject, multipart) into this folder: a bucket is a folder in it, and `cairn data publish` or
    /// `cairn order place` makes a dataset of that. Needs a key whose line in --s3-key ends in `write`, which sees all its buckets
    #[arg(long, value_name = "FOLDER", requires = "s3_key")]
    pub s3_ingest: Option<PathBuf>,
    /// Give up a multipart upload of S3 that nobody has gone on with for so many days
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub s3_upload_days: u64,
    /// Most gibibytes of parts of uploads that are not complete
    #[arg(long, value_name = "GIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub s3_upload_gib: u64,
    /// Region that S3's signatures must name
    #[arg(long, value_name = "NAME", default_value = "us-east-1", requires = "s3")]
    pub s3_region: String,
    /// Ask for tokens, and serve nobody what is denied: a policy, as described below. With --s3, a key stands for a token
    #[arg(long, value_name = "FILE")]
    pub access: Option<PathBuf>,
    /// Sign for this provider what is sent to who asks for that (/piece/CID/signed): false bytes then cost its collateral, so every
    /// group is checked against the piece before it is signed for
    #[arg(long, value_name = "N", requires_all = ["sign_key", "sign_rpc"])]
    pub sign_for: Option<u64>,
    /// Key file of that provider's owner, or of a key that has its leave
    #[arg(long, value_name = "FILE", requires = "sign_for")]
    pub sign_key: Option<PathBuf>,
    /// The owner's leave for that key, as `cairn provider delegate` made it; nothing is signed once it has ended
    #[arg(long, value_name = "FILE", requires = "sign_for")]
    pub sign_leave: Option<PathBuf>,
    /// The ledger on which it is; asked once, at the start
    #[arg(long, value_name = "URL", requires = "sign_for")]
    pub sign_rpc: Option<String>,
    /// Answer Prometheus at /metrics of this address
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Append a JSON line for each request, with the bytes that were truly sent; - prints it
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// Certificates in PEM form, the server's own first: speak TLS alone, on every listener
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM form; nobody else may be able to read the file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Most connections at a time; each needs a file descriptor
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub connections: usize,
    /// Most transfers at a time
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub transfers: usize,
    /// Print what is served as JSON, one object a line
    #[arg(long)]
    pub json: bool,
}
