//! Settings: their names, their defaults, and what is refused at start rather than found out at night.
//!
//! `config.toml` at the top of the repository shows every one of them; a test keeps the two equal.

mod load;
mod read;
mod rules;
mod secret;
mod section;
mod sites;
mod stores;
mod tls;
mod value;

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

pub use load::{Flag, Sources};
pub use secret::{Secret, SecretError};
pub use section::Problem;
pub use sites::{Bus, Feed, JetStream, Peer, PeerTls, Sites};
pub use stores::{AzureLogin, AzureStore, S3Login, S3Store, buffers_dir};
pub use value::{ByteSize, Period};

use crate::backend::{alias, fs, gcs};
use crate::model::BucketName;
use crate::site::Rule;
use crate::telemetry;
use crate::tls::ListenerFiles;

/// Every setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of everything this process keeps for itself; one process owns it.
    pub data: PathBuf,
    pub site: Site,
    pub s3: S3,
    pub admin: Admin,
    pub access: Access,
    /// By name.
    pub backends: Vec<(String, Backend)>,
    /// First match wins.
    pub routes: Vec<Route>,
    /// First match wins.
    pub buckets: Vec<Rule>,
    pub feed: Feed,
    /// The other sites.
    pub peers: Vec<Peer>,
    pub events: Events,
    pub replication: Replication,
    pub status: Status,
    pub reconcile: Reconcile,
    pub lifecycle: Lifecycle,
    pub log: telemetry::Settings,
}

/// Who this site is among sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Given once, never reused.
    pub name: String,
    /// Unique among the sites that know each other.
    pub number: NonZeroU16,
}

/// The listener that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    pub listen: SocketAddr,
    pub tls: Option<ListenerFiles>,
    pub region: String,
    /// `bucket.DOMAIN` is understood for these.
    pub domains: Vec<String>,
    /// Somebody vouches that the store encrypts what it holds.
    pub vouch_encryption: bool,
    /// Policies of forms may be signed by SigV2.
    pub form_signature_v2: bool,
    /// Open connections; more wait to be accepted.
    pub connections_max: NonZeroU32,
    /// Open connections from one address; more are closed at once.
    pub connections_per_source_max: NonZeroU32,
    /// Requests at once on a connection of HTTP/2.
    pub http2_streams_max: NonZeroU32,
    /// For a request's headers to arrive whole.
    pub header_timeout: Period,
    /// For the next piece of a body, either way.
    pub idle_timeout: Period,
    /// For requests in flight to end, once the process is told to stop.
    pub drain: Period,
    pub limits: Limits,
}

/// Bounds on what one request may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of one PUT or one part.
    pub put_bytes_max: ByteSize,
    /// Largest XML document in a request: it is held in memory.
    pub xml_bytes_max: ByteSize,
    /// Fields of a form before its file, together: they are held in memory.
    pub form_fields_bytes_max: ByteSize,
    /// Request line, names and values of headers together.
    pub header_bytes_max: ByteSize,
    /// What requests that are not answered yet may hold in memory together.
    pub held_bytes_max: ByteSize,
    /// The least a body brings, beyond what `idle_timeout` grants.
    pub body_bytes_per_second_min: ByteSize,
    /// Of each key that says nothing else in the keys file.
    pub key_requests_per_second_max: Option<NonZeroU32>,
    pub key_bytes_per_second_max: Option<ByteSize>,
    /// Largest signed chunk: it is held in memory until its signature is checked.
    pub signed_chunk_bytes_max: ByteSize,
    /// How far a client's clock may be from ours.
    pub clock_skew_max: Period,
    /// Longest life of a presigned URL.
    pub presigned_max: Period,
}

/// The listener for people and their tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub listen: SocketAddr,
    pub tls: Option<ListenerFiles>,
    /// A file that is not there is made with a new token.
    pub token: Secret,
    /// Says aloud that tokens may travel a network unencrypted.
    pub allow_remote: bool,
    /// Names under which it may be asked, beside `localhost` and every IP address.
    pub hosts: Vec<String>,
    /// Metrics need no token.
    pub open_metrics: bool,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Made on first start.
    pub keys_file: PathBuf,
}

/// A store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A directory.
    Fs(fs::Settings),
    /// An S3 service.
    S3(S3Store),
    /// An account of Azure Blob Storage.
    Azure(AzureStore),
    /// Buckets of Google Cloud Storage.
    Gcs(gcs::Settings, gcs::Keys),
    /// Forgets everything at the end of the process.
    Memory,
}

/// Which buckets live where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub buckets: String,
    /// Only those that are asked for with this LocationConstraint; none is for those without one.
    pub location: Option<String>,
    pub backend: String,
    /// What the bucket is called in the store, where that is something else.
    pub bucket: Option<BucketName>,
    /// What keys begin with there, where several buckets lie in that one.
    pub prefix: Option<String>,
}

impl Route {
    /// Where its buckets are in their store, if they are not simply called so there.
    pub fn rule(&self) -> Option<alias::Rule> {
        let (bucket, prefix) = (self.bucket.clone()?, self.prefix.clone().unwrap_or_default());
        Some(alias::Rule { buckets: self.buckets.clone(), bucket, prefix })
    }
}

/// How events travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    pub bus: Bus,
}

/// What is sent to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    pub sites: Sites,
}

/// Memory of the status store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Pages of the file.
    pub page_cache_bytes: ByteSize,
    /// Objects whose rows are kept decoded.
    pub cached_rows_max: NonZeroU32,
    /// Their size together.
    pub cached_bytes_max: ByteSize,
}

/// Comparing with other sites by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconcile {
    /// Between two comparisons that nothing else calls for.
    pub every: Period,
}

/// Expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// What a day of a lifecycle rule is.
    pub day: Period,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path} is not TOML: line {line}: {reason}")]
    Syntax { path: PathBuf, line: usize, reason: String },
    #[error("{origin} names `{path}`, which leads through something that is no section")]
    Override { origin: String, path: String },
    #[error("{name} cannot be used:{}", problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
    Refused { name: String, problems: Vec<Problem> },
    /// What settings point at, or what stands beside them in the environment.
    #[error("{setting}: {reason}")]
    Beside { setting: String, reason: String },
}

#[cfg(test)]
mod tests;
