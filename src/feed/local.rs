//! A site in the same process, read through the same trait as one elsewhere.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;

use super::Feed;
use crate::backend::Body;
use crate::model::{BucketName, ObjectId, SiteNumber, Stamp, Unit};
use crate::peer::{Digest, DigestAsk, Fetched, Heads, KeyRange, LogAsk, LogPage, Peer, Result, RowsPage};
use crate::site::Site;

/// Another site of this process, as `reader` reads it.
#[derive(Debug)]
pub struct Local {
    feed: Feed,
    reader: SiteNumber,
}

impl Local {
    pub fn new(site: Site, reader: SiteNumber) -> Self {
        Self { feed: Feed::new(site), reader }
    }
}

#[async_trait]
impl Peer for Local {
    async fn heads(&self, mine: Heads, wait: Duration) -> Result<Heads> {
        self.feed.heads(self.reader, mine, wait).await
    }

    async fn log(&self, ask: LogAsk) -> Result<LogPage> {
        self.feed.log(self.reader, ask).await
    }

    async fn fetch(&self, units: &[Unit]) -> Result<Vec<Fetched>> {
        self.feed.fetch(self.reader, units).await
    }

    async fn open(&self, object: &ObjectId, data: Stamp, range: Range<u64>) -> Result<Body> {
        self.feed.open(self.reader, object, data, range).await
    }

    async fn digests(&self, ask: DigestAsk) -> Result<Vec<Digest>> {
        self.feed.digests(self.reader, ask).await
    }

    async fn rows(&self, bucket: &BucketName, range: KeyRange, rows_max: usize) -> Result<RowsPage> {
        self.feed.rows(self.reader, bucket, range, rows_max).await
    }

    async fn buckets(&self) -> Result<Vec<BucketName>> {
        self.feed.buckets(self.reader).await
    }
}
