//! Reads the sections into their types; what is not set gets its default here.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::section::Section;
use super::sites::{self, Feed, Peer};
use super::stores;
use super::tls;
use super::value::{Setting, words};
use super::{
    Access, Admin, Backend, ByteSize, Config, Events, Lifecycle, Limits, Period, Reconcile, Replication, Route, S3, Secret, Site,
    Sources, Status,
};
use crate::backend::fs;
use crate::site::{Ownership, Rule};
use crate::telemetry;

const DEFAULT_DATA: &str = "./anybucket-data";
const TOKEN: &str = "admin-token";
const OBJECTS: &str = "objects";

/// The data directory, which other defaults lie in.
pub(super) struct Data {
    pub path: PathBuf,
}

impl Data {
    /// A path that is `name` in the data directory by default. Written out as in `config.toml` it still follows `data`:
    /// showing a default must not pin it.
    fn follow(&self, section: &mut Section<'_>, key: &'static str, name: &str) -> PathBuf {
        let path = section.value(key, self.path.join(name));
        if path == Path::new(DEFAULT_DATA).join(name) { self.path.join(name) } else { path }
    }
}

impl Default for Config {
    fn default() -> Self {
        Sources::default().load().expect("the defaults are good, or no test would pass")
    }
}

impl Config {
    /// Reads everything there is to set; the reader's report says what is wrong with it.
    pub(super) fn read(all: &mut Section<'_>) -> Self {
        let data = Data { path: all.value("data", PathBuf::from(DEFAULT_DATA)) };
        all.not_yet("target");
        Self {
            site: all.within("site", Site::read),
            s3: all.within("s3", S3::read),
            admin: all.within("admin", |admin| Admin::read(admin, &data)),
            access: all.within("access", |access| Access { keys_file: data.follow(access, "keys_file", "keys.toml") }),
            backends: read_backends(all, &data),
            routes: all.list("route", Route::read).unwrap_or_else(|| vec![Route::default()]),
            buckets: all.list("bucket", read_bucket).unwrap_or_default().into_iter().flatten().collect(),
            feed: all.within("feed", |feed| Feed::read(feed, loopback(9002))),
            peers: all.list("peer", Peer::read).unwrap_or_default().into_iter().flatten().collect(),
            events: all.within("events", |events| Events { bus: sites::read_bus(events) }),
            replication: all.within("replication", |section| Replication { sites: sites::read_sites(section) }),
            status: all.within("status", Status::read),
            reconcile: all.within("reconcile", |reconcile| Reconcile { every: reconcile.value("every", hours(24)) }),
            lifecycle: all.within("lifecycle", |lifecycle| Lifecycle { day: lifecycle.value("day", hours(24)) }),
            log: all.within("log", read_log),
            data: data.path,
        }
    }

    /// Whether objects outlive the process.
    pub fn is_on_disk(&self) -> bool {
        !self.backends.iter().any(|(_, backend)| matches!(backend, Backend::Memory))
    }
}

impl Site {
    fn read(site: &mut Section<'_>) -> Self {
        Self { name: site.value("name", "local".into()), number: site.value("number", NonZeroU16::MIN) }
    }
}

impl S3 {
    fn read(s3: &mut Section<'_>) -> Self {
        Self {
            listen: s3.value("listen", loopback(9000)),
            tls: tls::read(s3),
            region: s3.value("region", "us-east-1".into()),
            domains: s3.value("domains", Vec::new()),
            vouch_encryption: s3.value("vouch_encryption", false),
            form_signature_v2: s3.value("form_signature_v2", false),
            connections_max: s3.value("connections_max", NonZeroU32::new(4096).expect("4096 is not 0")),
            connections_per_source_max: s3.value("connections_per_source_max", NonZeroU32::new(2048).expect("2048 is not 0")),
            http2_streams_max: s3.value("http2_streams_max", NonZeroU32::new(32).expect("32 is not 0")),
            header_timeout: s3.value("header_timeout", seconds(30)),
            idle_timeout: s3.value("idle_timeout", seconds(60)),
            drain: s3.value("drain", seconds(10)),
            limits: s3.within("limits", Limits::read),
        }
    }
}

impl Limits {
    fn read(limits: &mut Section<'_>) -> Self {
        Self {
            put_bytes_max: limits.value("put_bytes_max", ByteSize(5 << 30)),
            xml_bytes_max: limits.value("xml_bytes_max", ByteSize(8 << 20)),
            form_fields_bytes_max: limits.value("form_fields_bytes_max", ByteSize(20 << 10)),
            header_bytes_max: limits.value("header_bytes_max", ByteSize(32 << 10)),
            held_bytes_max: limits.value("held_bytes_max", ByteSize(256 << 20)),
            body_bytes_per_second_min: limits.value("body_bytes_per_second_min", ByteSize(256)),
            key_requests_per_second_max: limits.optional("key_requests_per_second_max"),
            key_bytes_per_second_max: limits.optional("key_bytes_per_second_max"),
            signed_chunk_bytes_max: limits.value("signed_chunk_bytes_max", ByteSize(1 << 20)),
            clock_skew_max: limits.value("clock_skew_max", seconds(15 * 60)),
            presigned_max: limits.value("presigned_max", hours(7 * 24)),
        }
    }
}

impl Admin {
    fn read(admin: &mut Section<'_>, data: &Data) -> Self {
        let own = Secret::File(data.path.join(TOKEN));
        let token = admin.value("token", own.clone());
        let is_default = token == Secret::File(Path::new(DEFAULT_DATA).join(TOKEN));
        Self {
            listen: admin.value("listen", loopback(9001)),
            tls: tls::read(admin),
            token: if is_default { own } else { token },
            allow_remote: admin.value("allow_remote", false),
            hosts: admin.value("hosts", Vec::new()),
            open_metrics: admin.value("open_metrics", false),
        }
    }
}

fn read_backends(all: &mut Section<'_>, data: &Data) -> Vec<(String, Backend)> {
    let named = all.named("backend", |name, section| {
        // `main` is there without being written down, so a single setting of it can be given.
        Backend::read(section, stores::Named { name, data })
    });
    let named: Vec<_> = named.into_iter().filter_map(|(name, backend)| Some((name, backend?))).collect();
    if named.is_empty() {
        vec![(Route::default().backend, Backend::Fs(fs::Settings::at(data.path.join(OBJECTS))))]
    } else {
        named
    }
}

/// Kinds of stores.
#[derive(Clone, Copy)]
enum Kind {
    Fs,
    Memory,
    S3,
    Azure,
    Gcs,
}

words! { Kind, allowed "\"fs\", \"s3\", \"azure\", \"gcs\" or \"memory\"":
    "fs" => Self::Fs, "memory" => Self::Memory, "s3" => Self::S3, "azure" => Self::Azure, "gcs" => Self::Gcs
}

impl Backend {
    /// `None` where the section was refused.
    fn read(section: &mut Section<'_>, of: stores::Named<'_>) -> Option<Self> {
        // Its directory lies there.
        let data = (of.name == Route::default().backend).then_some(of.data);
        if data.is_none() && !section.has("kind") {
            section.refuse("kind", format!("is missing; allowed: {}", Kind::ALLOWED));
        }
        let kind = section.value("kind", Kind::Fs);
        if data.is_some() && !matches!(kind, Kind::Fs) {
            pass_over_fs_defaults(section);
        }
        match kind {
            Kind::Fs => Some(Self::Fs(read_fs(section, data))),
            Kind::Memory => Some(Self::Memory),
            Kind::S3 => stores::read_s3(section, of).map(Self::S3),
            Kind::Azure => stores::read_azure(section, of).map(Self::Azure),
            Kind::Gcs => stores::read_gcs(section, of).map(|(settings, keys)| Self::Gcs(settings, keys)),
        }
    }
}

/// `config.toml` writes the defaults of a directory out: a variable or flag that only changes `kind` must not trip over them.
fn pass_over_fs_defaults(section: &mut Section<'_>) {
    let default = fs::Settings::at(Path::new(DEFAULT_DATA).join(OBJECTS));
    section.pass_over("path", &default.path);
    section.pass_over("durability", &default.durability);
    section.pass_over("reserved", &default.reserved);
}

words! { fs::Durability, allowed "\"fsync\" or \"os\"": "fsync" => Self::Fsync, "os" => Self::Os }

fn read_fs(section: &mut Section<'_>, data: Option<&Data>) -> fs::Settings {
    if data.is_none() && !section.has("path") {
        section.refuse("path", "is missing; name the directory that holds the buckets".into());
    }
    let default = fs::Settings::default();
    fs::Settings {
        path: match data {
            Some(data) => data.follow(section, "path", OBJECTS),
            None => section.value("path", PathBuf::new()),
        },
        durability: section.value("durability", default.durability),
        reserved: section.value("reserved", default.reserved),
    }
}

impl Route {
    fn read(route: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            buckets: route.value("buckets", default.buckets),
            location: route.optional("location"),
            backend: route.value("backend", default.backend),
            bucket: route.optional("bucket"),
            prefix: route.optional("prefix"),
        }
    }
}

words! { Ownership, allowed "\"auto\", \"exclusive\" or \"shared\"": "auto" => Self::Auto, "exclusive" => Self::Exclusive, "shared" => Self::Shared }

/// `None` where it was refused.
fn read_bucket(bucket: &mut Section<'_>) -> Option<Rule> {
    for key in ["layout", "on_miss", "conditional", "overflow", "publish"] {
        bucket.not_yet(key);
    }
    let buckets = bucket.required("match", "the names of the buckets, such as \"logs-*\"");
    let ownership = bucket.value("ownership", Ownership::default());
    Some(Rule { buckets: buckets?, ownership })
}

impl Default for Route {
    fn default() -> Self {
        Self { buckets: "*".into(), location: None, backend: "main".into(), bucket: None, prefix: None }
    }
}

impl Status {
    fn read(status: &mut Section<'_>) -> Self {
        Self {
            page_cache_bytes: status.value("page_cache_bytes", ByteSize(24 << 20)),
            cached_rows_max: status.value("cached_rows_max", NonZeroU32::new(100_000).expect("100000 is not 0")),
            cached_bytes_max: status.value("cached_bytes_max", ByteSize(16 << 20)),
        }
    }
}

fn read_log(log: &mut Section<'_>) -> telemetry::Settings {
    telemetry::Settings { format: log.value("format", telemetry::Format::Text), level: log.value("level", "info".into()) }
}

words! { telemetry::Format, allowed "\"text\" or \"json\"": "text" => Self::Text, "json" => Self::Json }

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn seconds(count: u64) -> Period {
    Period(Duration::from_secs(count))
}

fn hours(count: u64) -> Period {
    seconds(count * 3600)
}
