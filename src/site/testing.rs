//! Sites for tests: the production door on a store and a status store in memory.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Claims, Custody, Description, Neighbours, Parts, Scope, Selection, Site, Upload, WriteConditions, Written};
use crate::backend::memory::Memory;
use crate::backend::{Backend, Body};
use crate::clock::{Clock, SystemClock};
use crate::model::{BucketName, ObjectId, SiteId, SiteNumber, Stamp, Unit};
use crate::peer;
use crate::status::{Options, Status};
use crate::tasks::Worker;

/// A site that nothing else knows; its workers do not run.
pub async fn site() -> Site {
    open(Arc::new(Memory::new()), status(Options::default())).await.0
}

/// A site that tells another, which never answers.
pub async fn site_with_neighbour(name: &str, number: SiteNumber) -> Site {
    let id = SiteId { name: name.into(), number };
    let neighbours = Neighbours::new(vec![(id, Arc::new(Silent))], Scope::Everybody, true);
    open_among(neighbours, Arc::new(Memory::new()), status(Options::default())).await.0
}

/// The same, where files of others are treated so.
pub async fn with_neighbour_in(custody: Custody, backend: Arc<dyn Backend>) -> (Site, Vec<Box<dyn Worker>>) {
    let id = SiteId { name: "there".into(), number: SiteNumber(2) };
    let neighbours = Neighbours::new(vec![(id, Arc::new(Silent))], Scope::Everybody, true);
    open_with(neighbours, custody, backend, status(Options::default())).await
}

/// A status store.
pub fn status(options: Options) -> Status {
    Status::open(options).expect("a store in memory opens")
}

/// A site on this store and status store, with its workers for the test to step.
pub async fn open(backend: Arc<dyn Backend>, status: Status) -> (Site, Vec<Box<dyn Worker>>) {
    open_among(Neighbours::default(), backend, status).await
}

/// The same, where files of others are treated so.
pub async fn open_in(custody: Custody, backend: Arc<dyn Backend>, status: Status) -> (Site, Vec<Box<dyn Worker>>) {
    open_with(Neighbours::default(), custody, backend, status).await
}

async fn open_among(neighbours: Neighbours, backend: Arc<dyn Backend>, status: Status) -> (Site, Vec<Box<dyn Worker>>) {
    open_with(neighbours, Custody::default(), backend, status).await
}

async fn open_with(
    neighbours: Neighbours,
    custody: Custody,
    backend: Arc<dyn Backend>,
    status: Status,
) -> (Site, Vec<Box<dyn Worker>>) {
    let facts = status.facts();
    let number = SiteNumber(1);
    let clock = Clock::new(Arc::new(SystemClock), number, facts.incarnation, facts.clock_ms);
    let id = SiteId { name: "test".into(), number };
    Site::open(Parts { id, backend, status, clock, neighbours, custody }).await.expect("the site opens")
}

/// Drops graves that have served, as a site does every ten minutes.
pub async fn drop_graves(site: &Site) -> super::Result<u64> {
    site.drop_served_graves().await
}

/// An object in the bucket that [`with_bucket`] makes.
pub fn object(key: &str) -> ObjectId {
    ObjectId::parse("bucket", key).expect("a good name")
}

/// Makes the bucket that [`object`] names.
pub async fn with_bucket(site: Site) -> Site {
    let bucket = BucketName::new("bucket").expect("a good name");
    site.create_bucket(&bucket, "owner", "us-east-1").await.expect("a new bucket");
    site
}

/// A body with nothing claimed of it.
pub fn upload(bytes: impl Into<Bytes>) -> Upload {
    Upload { body: Body::from(bytes.into()), claims: Claims::default() }
}

/// Stores bytes under a key, without conditions.
pub async fn put(site: &Site, key: &str, bytes: impl Into<Bytes>) -> Written {
    put_at(site, &object(key), bytes).await
}

/// The same in any bucket.
pub async fn put_at(site: &Site, object: &ObjectId, bytes: impl Into<Bytes>) -> Written {
    let (description, conditions) = (Description::default(), WriteConditions::default());
    site.put(object, upload(bytes), description, conditions).await.expect("a plain PUT succeeds")
}

/// The bytes of a key, as a client gets them.
pub async fn get(site: &Site, key: &str) -> super::Result<Bytes> {
    get_at(site, &object(key)).await
}

/// The same in any bucket.
pub async fn get_at(site: &Site, object: &ObjectId) -> super::Result<Bytes> {
    let opened = site.get(object, None, Selection::All, &Default::default()).await?;
    Ok(opened.body.collect(64 << 20).await.expect("the body is sound"))
}

/// A neighbour that cannot be reached.
#[derive(Debug)]
struct Silent;

fn silence<T>() -> peer::Result<T> {
    Err(peer::Error::Unreachable("it never answers".into()))
}

#[async_trait]
impl peer::Peer for Silent {
    async fn heads(&self, _: peer::Heads, _: Duration) -> peer::Result<peer::Heads> {
        silence()
    }

    async fn log(&self, _: peer::LogAsk) -> peer::Result<peer::LogPage> {
        silence()
    }

    async fn fetch(&self, _: &[Unit]) -> peer::Result<Vec<peer::Fetched>> {
        silence()
    }

    async fn open(&self, _: &ObjectId, _: Stamp, _: Range<u64>) -> peer::Result<Body> {
        silence()
    }

    async fn digests(&self, _: peer::DigestAsk) -> peer::Result<Vec<peer::Digest>> {
        silence()
    }

    async fn rows(&self, _: &BucketName, _: peer::KeyRange, _: usize) -> peer::Result<peer::RowsPage> {
        silence()
    }

    async fn buckets(&self) -> peer::Result<Vec<BucketName>> {
        silence()
    }
}
