//! TLS of a running site: of its listeners, and of its connections to other sites. Files that change are taken over.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use tracing::info;

use super::watch::Watch;
use crate::config::{self, Config, PeerTls};
use crate::peer::Client;
use crate::tasks::Worker;
use crate::tls::{Acceptor, Error, Identity, ListenerFiles, Trust, client};

/// The listeners that speak TLS.
#[derive(Clone, Debug)]
pub struct Listeners {
    pub s3: Option<Acceptor>,
    pub admin: Option<Acceptor>,
    pub feed: Option<Acceptor>,
}

impl Listeners {
    pub fn open(config: &Config) -> Result<Self> {
        let feed = config.feed.tls.as_ref().filter(|_| !config.peers.is_empty());
        Ok(Self {
            s3: acceptor("s3.tls", config.s3.tls.as_ref())?,
            admin: acceptor("admin.tls", config.admin.tls.as_ref())?,
            feed: acceptor("feed.tls", feed)?,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Acceptor> {
        [&self.s3, &self.admin, &self.feed].into_iter().flatten()
    }
}

fn acceptor(setting: &str, files: Option<&ListenerFiles>) -> Result<Option<Acceptor>> {
    let opened = files.cloned().map(Acceptor::open).transpose();
    opened.map_err(|err| config::Error::Beside { setting: setting.into(), reason: err.to_string() }.into())
}

/// The connections to one other site, and the files they are made with.
#[derive(Clone, Debug)]
pub struct ToPeer {
    client: Arc<Client>,
    files: PeerTls,
}

impl ToPeer {
    /// Lets `client`, which speaks TLS, believe and show what the files say.
    pub fn of(client: Arc<Client>, files: &PeerTls) -> Result<Self, Error> {
        let this = Self { client, files: files.clone() };
        this.reload()?;
        Ok(this)
    }

    fn reload(&self) -> Result<(), Error> {
        let trust = self.files.ca.clone().map_or(Trust::System, Trust::Authority);
        let identity = self.files.cert.clone().zip(self.files.key.clone()).map(|(cert, key)| Identity { cert, key });
        self.client.trust(client(&trust, identity.as_ref())?);
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let PeerTls { ca, cert, key } = self.files.clone();
        [ca, cert, key].into_iter().flatten()
    }
}

/// Takes over files that change, each by itself: one with a fault keeps no other from being read. None where there are none.
pub fn watch(listeners: &Listeners, peers: &[ToPeer]) -> Vec<Box<dyn Worker>> {
    let mut watches: Vec<Box<dyn Worker>> = Vec::new();
    for acceptor in listeners.all() {
        let acceptor = acceptor.clone();
        watches.push(watched(acceptor.files(), move || acceptor.reload()));
    }
    for peer in peers.iter().filter(|peer| peer.files().next().is_some()) {
        let peer = peer.clone();
        watches.push(watched(peer.files().collect(), move || peer.reload()));
    }
    watches
}

fn watched(files: Vec<PathBuf>, reload: impl Fn() -> Result<(), Error> + Send + Sync + 'static) -> Box<dyn Worker> {
    let shown = files.first().map(|file| file.display().to_string()).unwrap_or_default();
    Box::new(Watch::new("tls", files, move || {
        reload().map_err(|err| format!("certificates stay as they were: {err}"))?;
        info!(file = shown, "read certificates");
        Ok(())
    }))
}
