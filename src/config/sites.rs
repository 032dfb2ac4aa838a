//! Settings of other sites: who they are, how this one reads them, what they may read of it, and what is sent to whom.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use super::rules::{Refuse, is_site_name};
use super::section::Section;
use super::value::{Setting, words};
use super::{ByteSize, Config, Period, Secret, tls};
use crate::peer::Address;
use crate::tls::ListenerFiles;

/// Another anybucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub site: String,
    pub number: NonZeroU16,
    /// Where what it lets others read is.
    pub feed: Address,
    /// What this site presents there.
    pub token: Secret,
    /// What it must present here, which proves that it is this site. `None`: [`Feed::token`], and its word.
    pub accept: Option<Secret>,
    /// JetStream domain of its stream, where it is another than that of the server this site connects to.
    pub domain: Option<String>,
    pub tls: PeerTls,
}

/// Whom to believe at another site's feed, and what to show there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerTls {
    /// The authority of its certificate; else the system's.
    pub ca: Option<PathBuf>,
    /// Certificate and key to show, where its [feed].tls.client_ca asks for one.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// What other sites may read of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Off unless there are peers.
    pub listen: SocketAddr,
    pub tls: Option<ListenerFiles>,
    /// What a peer without a token of its own must present.
    pub token: Option<Secret>,
}

/// What carries events to other sites, and to programs that listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bus {
    /// Nothing. Peers hear of each other by long polls all the same.
    #[default]
    None,
    /// The same, said aloud.
    Poll,
    JetStream(Box<JetStream>),
}

/// A NATS with JetStream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JetStream {
    /// One or several, separated by commas.
    pub url: String,
    /// Contents of a `.creds` file.
    pub credentials: Option<Secret>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub token: Option<Secret>,
    /// A certificate authority to trust beside the system's.
    pub tls_ca: Option<PathBuf>,
    /// Certificate and key to show.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// JetStream domain of this site's stream.
    pub domain: Option<String>,
    pub stream_bytes_max: ByteSize,
    pub stream_age_max: Period,
    pub replicas: NonZeroU16,
}

/// Which sites hear of a bucket that has no rules of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sites {
    #[default]
    Nobody,
    Everybody,
    Named(Vec<String>),
}

impl Setting for Address {
    const ALLOWED: &'static str =
        "the address of the other site's feed, such as \"http://10.0.0.2:9002\" or \"https://berlin.example.com:9002\"";

    fn read(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}

impl Setting for Sites {
    const ALLOWED: &'static str = "[], [\"*\"] for every site known, or a list of sites' names, such as [\"berlin\"]";

    fn read(value: &Value) -> Option<Self> {
        let names = value.as_str().map_or_else(|| Vec::read(value), |name| (name == "*").then(|| vec![name.to_owned()]))?;
        match names.as_slice() {
            [] => Some(Self::Nobody),
            [all] if all == "*" => Some(Self::Everybody),
            names if names.iter().any(|name| name == "*") => None,
            _ => Some(Self::Named(names)),
        }
    }
}

/// Which bus, before its settings are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Poll,
    JetStream,
}

words! { Kind, allowed "\"none\", \"poll\" or \"jetstream\"": "none" => Self::None, "poll" => Self::Poll, "jetstream" => Self::JetStream }

/// Settings with one value as yet: when a write is sent to other sites, and for whom its answer waits.
struct Mode;
struct Ack;

words! { Mode, allowed "\"background\"; \"active\" and \"disabled\" are not built yet in this version": "background" => Self }
words! { Ack, allowed "\"any\"; \"all\" is not built yet in this version": "any" => Self }

impl Peer {
    /// `None` where it was refused.
    pub(super) fn read(peer: &mut Section<'_>) -> Option<Self> {
        let site = peer.required("site", "what it calls itself in its [site].name");
        let number = peer.required("number", "its [site].number");
        let feed = peer.required("feed", "where its [feed].listen is reached from here");
        let token = peer.required("token", "what this site presents there, which it takes as [[peer]].accept or [feed].token");
        let (accept, domain) = (peer.optional("accept"), peer.optional("domain"));
        let tls = PeerTls { ca: peer.optional("tls_ca"), cert: peer.optional("tls_cert"), key: peer.optional("tls_key") };
        Some(Self { site: site?, number: number?, feed: feed?, token: token?, accept, domain, tls })
    }
}

impl Feed {
    pub(super) fn read(feed: &mut Section<'_>, default: SocketAddr) -> Self {
        Self { listen: feed.value("listen", default), tls: tls::read(feed), token: feed.optional("token") }
    }
}

/// The settings of a bus are read whatever the bus, so that one that is only switched off can stay written down.
pub(super) fn read_bus(events: &mut Section<'_>) -> Bus {
    let kind = events.value("bus", Kind::None);
    let jetstream = JetStream::read(events);
    match kind {
        Kind::None => Bus::None,
        Kind::Poll => Bus::Poll,
        Kind::JetStream => Bus::JetStream(Box::new(jetstream)),
    }
}

impl JetStream {
    fn read(events: &mut Section<'_>) -> Self {
        Self {
            url: events.value("url", "nats://127.0.0.1:4222".into()),
            credentials: events.optional("credentials"),
            user: events.optional("user"),
            password: events.optional("password"),
            token: events.optional("token"),
            tls_ca: events.optional("tls_ca"),
            tls_cert: events.optional("tls_cert"),
            tls_key: events.optional("tls_key"),
            domain: events.optional("domain"),
            stream_bytes_max: events.value("stream_bytes_max", ByteSize(1 << 30)),
            stream_age_max: events.value("stream_age_max", Period(Duration::from_secs(24 * 3_600))),
            replicas: events.value("replicas", NonZeroU16::MIN),
        }
    }
}

/// A bus that cannot be spoken to as it is written down.
fn check_bus(config: &Config, refuse: &mut Refuse<'_>) {
    let Bus::JetStream(nats) = &config.events.bus else { return };
    let ways = [nats.credentials.is_some(), nats.user.is_some() || nats.password.is_some(), nats.token.is_some()];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        refuse(
            "events.credentials",
            "is one way to log in among several here; keep one of credentials, user with password, token".into(),
        );
    }
    if nats.user.is_some() != nats.password.is_some() {
        refuse("events.password", "belongs to events.user: set both or none".into());
    }
    if nats.tls_cert.is_some() != nats.tls_key.is_some() {
        refuse("events.tls_key", "belongs to events.tls_cert: set both or none".into());
    }
    let is_url = |url: &str| ["nats://", "tls://"].iter().any(|scheme| url.trim().starts_with(scheme));
    if !nats.url.split(',').all(is_url) {
        refuse(
            "events.url",
            format!("found {:?}; allowed: nats://HOST:PORT or tls://HOST:PORT, several separated by commas", nats.url),
        );
    }
}

pub(super) fn read_sites(replication: &mut Section<'_>) -> Sites {
    replication.value("mode", Mode);
    replication.value("ack", Ack);
    replication.value("sites", Sites::Nobody)
}

/// What is wrong with other sites beside this one and beside each other.
pub(super) fn check(config: &Config, refuse: &mut Refuse<'_>) {
    for (at, peer) in config.peers.iter().enumerate() {
        check_peer(config, at, peer, refuse);
    }
    check_sites(config, refuse);
    check_bus(config, refuse);
    let (feed, others) = (config.feed.listen, [("s3.listen", config.s3.listen), ("admin.listen", config.admin.listen)]);
    for (setting, _) in others.iter().filter(|(_, other)| *other == feed && feed.port() != 0 && !config.peers.is_empty()) {
        refuse("feed.listen", format!("found {feed}, which is {setting} too; give each a port of its own"));
    }
}

fn check_peer(config: &Config, at: usize, peer: &Peer, refuse: &mut Refuse<'_>) {
    let (path, before) = (format!("peer[{at}]"), &config.peers[..at]);
    if !is_site_name(&peer.site) {
        refuse(&format!("{path}.site"), format!("found {:?}; allowed: the name of a site", peer.site));
    }
    if peer.site == config.site.name || before.iter().any(|other| other.site == peer.site) {
        refuse(&format!("{path}.site"), format!("found {:?}, which is another site's name too; each has its own", peer.site));
    }
    if peer.number == config.site.number || before.iter().any(|other| other.number == peer.number) {
        refuse(&format!("{path}.number"), format!("found {}, which is another site's number too; each has its own", peer.number));
    }
    check_peer_tls(&path, peer, refuse);
    if peer.accept.is_none() && config.feed.token.is_none() {
        let remedy = "give it `accept`, or all peers [feed].token";
        refuse(&format!("{path}.accept"), format!("is missing: nothing would let {} read this site; {remedy}", peer.site));
    }
}

fn check_peer_tls(path: &str, peer: &Peer, refuse: &mut Refuse<'_>) {
    let PeerTls { ca, cert, key } = &peer.tls;
    if cert.is_some() != key.is_some() {
        refuse(&format!("{path}.tls_key"), "belongs to tls_cert: set both or none".into());
    }
    let without_use = [("tls_ca", ca), ("tls_cert", cert), ("tls_key", key)].into_iter().filter(|(_, file)| file.is_some());
    for (name, _) in without_use.filter(|_| !peer.feed.tls()) {
        refuse(&format!("{path}.{name}"), format!("means nothing beside {}; write https:// where that feed has tls", peer.feed));
    }
}

fn check_sites(config: &Config, refuse: &mut Refuse<'_>) {
    let known: Vec<&str> = config.peers.iter().map(|peer| peer.site.as_str()).collect();
    if known.is_empty() && config.replication.sites != Sites::Nobody {
        refuse("replication.sites", "names other sites, and there are none; add [[peer]], or set []".into());
        return;
    }
    let Sites::Named(names) = &config.replication.sites else { return };
    for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
        refuse("replication.sites", format!("found {name:?}, which is no [[peer]]; allowed: {}, or \"*\"", known.join(", ")));
    }
}
