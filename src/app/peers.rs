//! The other sites, as settings describe them: how this one reads them, and who may read it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tracing::warn;

use super::server::{self, Server};
use super::tls::ToPeer;
use crate::clock::{SystemClock, WallClock};
use crate::config::{self, Bus, Config, Secret, Sites};
use crate::feed::{self, Feed, Reader, Readers, Served};
use crate::model::{Incarnation, Seq, SiteId, SiteNumber, Token};
use crate::peer::{Client, Heads, PROTOCOL, Peer, SiteState, check_token};
use crate::site::{Neighbours, Scope, Site};
use crate::tasks::Trigger;
use crate::tls::{self, Acceptor};

/// Every site keeps a connection for heartbeats and some for what it fetches. The timeout ends connections that rest, too:
/// the reader must give them up before, or a request meets the end of its connection.
const CONNECTIONS: server::Settings = server::Settings {
    connections_max: 1024,
    per_source_max: 1024,
    streams_max: 32,
    header_timeout: Duration::from_secs(30),
    idle_timeout: Duration::from_secs(60),
    drain: Duration::from_secs(2),
};

/// Everything that settings say of other sites, with its secrets read.
#[derive(Debug)]
pub struct Peers {
    pub neighbours: Neighbours,
    readers: Readers,
    /// Those that are spoken to over TLS.
    pub tls: Vec<ToPeer>,
}

/// What other sites read of this one, while it is served.
#[derive(Debug)]
pub struct FeedServer {
    pub server: Server,
    closing: Trigger,
}

impl Peers {
    pub fn of(config: &Config) -> Result<Self> {
        let own = SiteNumber(config.site.number.get());
        let mut all: Vec<(SiteId, Arc<dyn Peer>)> = Vec::new();
        let mut tls = Vec::new();
        for (at, peer) in config.peers.iter().enumerate() {
            let (client, secured) = client(config, at)?;
            tls.extend(secured);
            all.push((id(peer), client));
        }
        let neighbours = Neighbours::new(all, scope(config), matches!(config.events.bus, Bus::JetStream(_)));
        Ok(Self { neighbours, readers: readers(config, own)?, tls })
    }

    /// Starts to answer other sites.
    pub fn serve(self, site: Site, listener: TcpListener, tls: Option<Acceptor>) -> Result<FeedServer> {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() && tls.is_none() {
            warn!(%address, "other machines reach the feed, which has no tls: what is replicated and its tokens travel unencrypted; set [feed].tls, or use a private network or a tunnel");
        }
        let (closing, shutdown) = Trigger::new();
        let router = feed::router(Served { feed: Feed::new(site), readers: self.readers, closing: shutdown });
        let server = Server::start(listener, tls, TowerToHyperService::new(router), CONNECTIONS)?;
        Ok(FeedServer { server, closing })
    }
}

impl FeedServer {
    /// Ends heartbeats that are held back, then what else is in flight.
    pub async fn stop(self) {
        self.closing.stop();
        self.server.stop().await;
    }
}

fn id(peer: &config::Peer) -> SiteId {
    SiteId { name: peer.site.clone(), number: SiteNumber(peer.number.get()) }
}

/// How a site is read, and what its TLS is made of where it is spoken to over TLS.
fn client(config: &Config, at: usize) -> Result<(Arc<Client>, Option<ToPeer>)> {
    let peer = &config.peers[at];
    let token = secret(&format!("peer[{at}].token"), &peer.token)?;
    let client = Arc::new(Client::new(peer.feed.clone(), &token, SiteNumber(config.site.number.get()))?);
    let secured = peer.feed.tls().then(|| ToPeer::of(client.clone(), &peer.tls)).transpose();
    let refused = |err: tls::Error| config::Error::Beside { setting: format!("peer[{at}].feed"), reason: err.to_string() };
    Ok((client, secured.map_err(refused)?))
}

/// A token, which a site can present.
fn secret(setting: &str, source: &Secret) -> Result<String> {
    let refused = |reason: String| config::Error::Beside { setting: setting.into(), reason };
    let token = source.resolve().map_err(|err| refused(err.to_string()))?;
    check_token(&token).map_err(|err| refused(err.to_string()))?;
    Ok(token)
}

fn readers(config: &Config, own: SiteNumber) -> Result<Readers> {
    let members = config.feed.token.as_ref().map(|token| secret("feed.token", token)).transpose()?;
    let mut taken: Vec<String> = members.iter().cloned().collect();
    let mut all = Vec::new();
    for (at, peer) in config.peers.iter().enumerate() {
        let setting = format!("peer[{at}].accept");
        let accept = peer.accept.as_ref().map(|accept| secret(&setting, accept)).transpose()?;
        if let Some(accept) = &accept {
            let reason = "is another's token too, and would not prove which site presents it; give each its own";
            ensure!(!taken.contains(accept), config::Error::Beside { setting, reason: reason.into() });
            taken.push(accept.clone());
        }
        all.push(Reader { number: id(peer).number, accept: accept.as_deref().map(Token::new) });
    }
    Ok(Readers { own, all, members: members.as_deref().map(Token::new) })
}

/// Who hears of buckets without rules of their own.
fn scope(config: &Config) -> Scope {
    match &config.replication.sites {
        Sites::Nobody => Scope::Nobody,
        Sites::Everybody => Scope::Everybody,
        Sites::Named(names) => {
            let named = config.peers.iter().filter(|peer| names.contains(&peer.site));
            Scope::Only(named.map(|peer| id(peer).number).collect())
        }
    }
}

/// What a peer said when it was asked once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    pub site: String,
    pub address: String,
    /// Its clock less ours, milliseconds; else why it cannot be read.
    pub outcome: Result<i64, String>,
}

/// Asks every peer who it is and what time it has.
pub async fn probe(config: &Config) -> Result<Vec<Probed>> {
    let mut probed = Vec::new();
    for (at, peer) in config.peers.iter().enumerate() {
        let outcome = probe_one(config, &client(config, at)?.0, &id(peer)).await;
        probed.push(Probed { site: peer.site.clone(), address: peer.feed.to_string(), outcome });
    }
    Ok(probed)
}

async fn probe_one(config: &Config, client: &Client, id: &SiteId) -> Result<i64, String> {
    let before_ms = SystemClock.millis();
    let heads = client.heads(hello(config), Duration::ZERO).await.map_err(|err| err.to_string())?;
    heads.check(id).map_err(|err| err.to_string())?;
    let now_ms = before_ms.midpoint(SystemClock.millis());
    Ok(i64::try_from(heads.clock_ms).unwrap_or(i64::MAX) - i64::try_from(now_ms).unwrap_or(i64::MAX))
}

/// What this site says of itself without its status store being open: that it knows nothing and told nothing.
fn hello(config: &Config) -> Heads {
    Heads {
        protocol: PROTOCOL,
        site: SiteNumber(config.site.number.get()),
        name: config.site.name.clone(),
        incarnation: Incarnation(0),
        state: SiteState::Active,
        seq: Seq(0),
        settled: Seq(0),
        clock_ms: SystemClock.millis(),
        stamped: (0, 0),
        received: None,
        tells: false,
        dirty: false,
    }
}
