//! Settings of other sites: who they are, how this one reads them, what they may read of it, and what is sent to whom.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use toml::Value;

use super::rules::{Refuse, is_site_name};
use super::section::Section;
use super::value::{Setting, words};
use super::{Config, Secret};
use crate::peer::Address;

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
}

/// What other sites may read of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Off unless there are peers.
    pub listen: SocketAddr,
    /// What a peer without a token of its own must present.
    pub token: Option<Secret>,
}

/// What carries events to other sites, and to programs that listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bus {
    /// Nothing. Peers hear of each other by long polls all the same.
    #[default]
    None,
    /// The same, said aloud.
    Poll,
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
    const ALLOWED: &'static str = "the address of the other site's feed, such as \"http://10.0.0.2:9002\"; TLS is not built yet";

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

words! { Bus, allowed "\"none\" or \"poll\"; \"jetstream\" is not built yet in this version": "none" => Self::None, "poll" => Self::Poll }

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
        let accept = peer.optional("accept");
        Some(Self { site: site?, number: number?, feed: feed?, token: token?, accept })
    }
}

impl Feed {
    pub(super) fn read(feed: &mut Section<'_>, default: SocketAddr) -> Self {
        Self { listen: feed.value("listen", default), token: feed.optional("token") }
    }
}

pub(super) fn read_bus(events: &mut Section<'_>) -> Bus {
    events.not_yet("url");
    events.value("bus", Bus::None)
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
    if peer.accept.is_none() && config.feed.token.is_none() {
        let remedy = "give it `accept`, or all peers [feed].token";
        refuse(&format!("{path}.accept"), format!("is missing: nothing would let {} read this site; {remedy}", peer.site));
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
