//! Settings: their names, their defaults, and what is refused at start rather than found out at night.
//!
//! `config.toml` at the top of the repository shows every one of them; a test keeps the two equal.

mod load;
mod rules;
mod secret;
mod section;
mod value;

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use load::{Flag, Sources};
pub use secret::{Secret, SecretError};
pub use section::Problem;
pub use value::{ByteSize, Period};

use section::{NOT_YET, Section};
use value::choice;

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
    pub status: Status,
    pub lifecycle: Lifecycle,
    pub log: Log,
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
    pub region: String,
    /// `bucket.DOMAIN` is understood for these.
    pub domains: Vec<String>,
    /// Open connections; more wait to be accepted.
    pub connections_max: NonZeroU32,
    /// For a request's headers to arrive whole.
    pub header_timeout: Period,
    /// For requests in flight to end, once the process is told to stop.
    pub drain: Period,
}

/// The listener for people and their tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub listen: SocketAddr,
    /// A file that is not there is made with a new token.
    pub token: Secret,
    /// Says aloud that tokens may travel a network unencrypted.
    pub allow_remote: bool,
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
    Fs(FsBackend),
    /// Forgets everything at the end of the process.
    Memory,
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsBackend {
    pub path: PathBuf,
    pub durability: Durability,
    /// Name beside the buckets for staging and the like.
    pub reserved: String,
}

choice! {
    /// When bytes count as stored.
    Durability {
        /// Once the disk has them.
        Fsync = "fsync",
        /// Once the operating system has them.
        Os = "os",
    } allowed "\"fsync\" or \"os\""
}

/// Which buckets live where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub buckets: String,
    pub backend: String,
}

/// Memory of the status store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub page_cache: ByteSize,
    pub cached_rows_max: NonZeroU32,
}

/// Expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// What a day of a lifecycle rule is.
    pub day: Period,
}

/// What is said, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// A level, or directives such as `info,anybucket::site=debug`.
    pub level: String,
}

choice! {
    /// How a log line looks.
    LogFormat {
        Text = "text",
        Json = "json",
    } allowed "\"text\" or \"json\""
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
}

impl Default for Config {
    fn default() -> Self {
        Sources::default().load().expect("the defaults are good, or no test would pass")
    }
}

impl Config {
    fn read(all: &mut Section<'_>) -> Self {
        let data = all.value("data", PathBuf::from("./anybucket-data"));
        refuse_later_stages(all);
        Self {
            site: all.within("site", Site::read),
            s3: all.within("s3", S3::read),
            admin: all.within("admin", |admin| Admin::read(admin, &data)),
            access: all.within("access", |access| Access { keys_file: access.value("keys_file", data.join("keys.toml")) }),
            backends: read_backends(all, &data),
            routes: all.list("route", Route::read).unwrap_or_else(|| vec![Route::default()]),
            status: all.within("status", Status::read),
            lifecycle: all.within("lifecycle", |lifecycle| Lifecycle { day: lifecycle.value("day", hours(24)) }),
            log: all.within("log", Log::read),
            data,
        }
    }

    /// The store behind every bucket: as long as one route is all there can be, there is one.
    pub fn backend(&self) -> &Backend {
        let name = &self.routes[0].backend;
        let found = self.backends.iter().find(|(backend, _)| backend == name);
        &found.expect("a route to no backend was refused").1
    }
}

impl Site {
    fn read(site: &mut Section<'_>) -> Self {
        Self { name: site.value("name", "local".into()), number: site.value("number", NonZeroU16::MIN) }
    }
}

impl S3 {
    fn read(s3: &mut Section<'_>) -> Self {
        s3.not_yet("tls");
        Self {
            listen: s3.value("listen", loopback(9000)),
            region: s3.value("region", "us-east-1".into()),
            domains: s3.value("domains", Vec::new()),
            connections_max: s3.value("connections_max", NonZeroU32::new(4096).expect("4096 is not 0")),
            header_timeout: s3.value("header_timeout", seconds(30)),
            drain: s3.value("drain", seconds(10)),
        }
    }
}

impl Admin {
    fn read(admin: &mut Section<'_>, data: &Path) -> Self {
        Self {
            listen: admin.value("listen", loopback(9001)),
            token: admin.value("token", Secret::File(data.join("admin-token"))),
            allow_remote: admin.value("allow_remote", false),
            open_metrics: admin.value("open_metrics", false),
        }
    }
}

fn read_backends(all: &mut Section<'_>, data: &Path) -> Vec<(String, Backend)> {
    let objects = data.join("objects");
    let named = all.named("backend", |name, section| {
        // `main` is there without being written down, so a single setting of it can be given.
        let default = (name == Route::default().backend).then_some((Kind::Fs, objects.as_path()));
        Backend::read(section, default)
    });
    let named: Vec<_> = named.into_iter().filter_map(|(name, backend)| Some((name, backend?))).collect();
    if named.is_empty() { vec![(Route::default().backend, Backend::Fs(FsBackend::at(&objects)))] } else { named }
}

choice! {
    /// Kinds of stores.
    Kind {
        Fs = "fs",
        Memory = "memory",
        S3 = "s3",
        Azure = "azure",
        Gcs = "gcs",
    } allowed "\"fs\" or \"memory\""
}

impl Backend {
    /// `None` where the section was refused.
    fn read(section: &mut Section<'_>, default: Option<(Kind, &Path)>) -> Option<Self> {
        if default.is_none() && !section.has("kind") {
            section.refuse("kind", "is missing; allowed: \"fs\" or \"memory\"".into());
        }
        let kind = section.value("kind", default.map_or(Kind::Fs, |(kind, _)| kind));
        match kind {
            Kind::Fs => Some(Self::Fs(FsBackend::read(section, default.map(|(_, path)| path)))),
            Kind::Memory => Some(Self::Memory),
            Kind::S3 | Kind::Azure | Kind::Gcs => {
                section.refuse("kind", format!("{NOT_YET}; allowed: \"fs\" or \"memory\""));
                None
            }
        }
    }
}

impl FsBackend {
    fn at(path: &Path) -> Self {
        Self { path: path.into(), durability: Durability::Fsync, reserved: ".anybucket".into() }
    }

    fn read(section: &mut Section<'_>, default: Option<&Path>) -> Self {
        if default.is_none() && !section.has("path") {
            section.refuse("path", "is missing; name the directory that holds the buckets".into());
        }
        let default = Self::at(default.unwrap_or(Path::new("")));
        Self {
            path: section.value("path", default.path),
            durability: section.value("durability", default.durability),
            reserved: section.value("reserved", default.reserved),
        }
    }
}

impl Route {
    fn read(route: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self { buckets: route.value("buckets", default.buckets), backend: route.value("backend", default.backend) }
    }
}

impl Default for Route {
    fn default() -> Self {
        Self { buckets: "*".into(), backend: "main".into() }
    }
}

impl Status {
    fn read(status: &mut Section<'_>) -> Self {
        Self {
            page_cache: status.value("page_cache", ByteSize(32 << 20)),
            cached_rows_max: status.value("cached_rows_max", NonZeroU32::new(16_384).expect("16384 is not 0")),
        }
    }
}

impl Log {
    fn read(log: &mut Section<'_>) -> Self {
        Self { format: log.value("format", LogFormat::Text), level: log.value("level", "info".into()) }
    }
}

choice! {
    /// How events travel.
    Bus { None = "none" } allowed "\"none\"; \"jetstream\" and \"poll\" are not built yet in this version"
}

choice! {
    /// How writes reach other sites.
    Mode { Background = "background" } allowed "\"background\"; \"active\" and \"disabled\" are not built yet in this version"
}

choice! {
    /// How many sites a write waits for.
    Ack { Any = "any" } allowed "\"any\"; \"all\" is not built yet in this version"
}

/// Settings of other sites are known and refused, so that nobody believes in a replica that is not there. Their defaults
/// stand for "no other sites" and are taken.
fn refuse_later_stages(all: &mut Section<'_>) {
    for key in ["peer", "target", "bucket"] {
        all.not_yet(key);
    }
    all.within("feed", |feed| {
        feed.not_yet("token");
        if feed.value("listen", loopback(9002)) != loopback(9002) {
            feed.refuse("listen", format!("{NOT_YET}; there are no peers to listen for, remove it"));
        }
    });
    all.within("events", |events| {
        events.not_yet("url");
        events.value("bus", Bus::None);
    });
    all.within("replication", |replication| {
        replication.value("mode", Mode::Background);
        replication.value("ack", Ack::Any);
        if !replication.value("sites", Vec::<String>::new()).is_empty() {
            replication.refuse("sites", format!("{NOT_YET}; allowed: []"));
        }
    });
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn seconds(count: u64) -> Period {
    Period(Duration::from_secs(count))
}

fn hours(count: u64) -> Period {
    seconds(count * 3600)
}

#[cfg(test)]
mod tests;
