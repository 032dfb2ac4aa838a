//! Between the sites: whoever is reachable is asked directly; what is not answers nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use crate::backend::Body;
use crate::feed::Feed;
use crate::model::{BucketName, ObjectId, SiteNumber, Stamp, Unit};
use crate::peer::{Digest, DigestAsk, Error, Fetched, Heads, KeyRange, LogAsk, LogPage, Peer, Result, RowsPage};
use crate::site::Site;

/// Who runs, and who is cut off from whom.
#[derive(Clone, Debug, Default)]
pub struct Network(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    sites: BTreeMap<SiteNumber, Site>,
    cut: BTreeSet<(SiteNumber, SiteNumber)>,
    /// Requests that were answered.
    requests: u64,
}

impl Network {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A site answers from now on.
    pub fn up(&self, site: Site) {
        self.state().sites.insert(site.id().number, site);
    }

    /// A site answers nobody any more.
    pub fn down(&self, site: SiteNumber) {
        self.state().sites.remove(&site);
    }

    /// Cuts two sites off from each other, or joins them again.
    pub fn cut(&self, one: SiteNumber, other: SiteNumber, cut: bool) {
        let mut state = self.state();
        for pair in [(one, other), (other, one)] {
            let _changed = if cut { state.cut.insert(pair) } else { state.cut.remove(&pair) };
        }
    }

    pub fn join_all(&self) {
        self.state().cut.clear();
    }

    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    /// How `reader` reads `read`.
    pub fn peer(&self, reader: SiteNumber, read: SiteNumber) -> Arc<dyn Peer> {
        Arc::new(Link { network: self.clone(), reader, read })
    }
}

/// One site as another reads it.
#[derive(Debug)]
struct Link {
    network: Network,
    reader: SiteNumber,
    read: SiteNumber,
}

impl Link {
    fn feed(&self) -> Result<Feed> {
        let mut state = self.network.state();
        if state.cut.contains(&(self.reader, self.read)) {
            return Err(Error::Unreachable("cut off".into()));
        }
        let site = state.sites.get(&self.read).cloned().ok_or_else(|| Error::Unreachable("down".into()))?;
        state.requests += 1;
        Ok(Feed::new(site))
    }
}

#[async_trait]
impl Peer for Link {
    async fn heads(&self, mine: Heads, wait: Duration) -> Result<Heads> {
        let heads = self.feed()?.heads(self.reader, mine, wait).await?;
        self.feed()?;
        Ok(heads)
    }

    async fn log(&self, ask: LogAsk) -> Result<LogPage> {
        self.feed()?.log(self.reader, ask).await
    }

    async fn fetch(&self, units: &[Unit]) -> Result<Vec<Fetched>> {
        self.feed()?.fetch(units).await
    }

    async fn open(&self, object: &ObjectId, data: Stamp, range: Range<u64>) -> Result<Body> {
        self.feed()?.open(object, data, range).await
    }

    async fn digests(&self, ask: DigestAsk) -> Result<Vec<Digest>> {
        self.feed()?.digests(ask).await
    }

    async fn rows(&self, bucket: &BucketName, range: KeyRange, rows_max: usize) -> Result<RowsPage> {
        self.feed()?.rows(bucket, range, rows_max).await
    }

    async fn buckets(&self) -> Result<Vec<BucketName>> {
        self.feed()?.buckets().await
    }
}
