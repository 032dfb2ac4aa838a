//! How we read another site. Sites only read each other: there is no remote write and no coordinator.
//!
//! What is exchanged is in `wire`; over HTTP it is spoken by `client` here and by `feed` on the other side. A site in
//! the same process is read through the same trait.

mod address;
mod client;
mod error;
pub mod http;
mod whole;
mod wire;

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;

pub use address::{Address, NotAnAddress};
pub use client::{Client, NotAToken, check_token};
pub use error::{Error, Result};
pub use wire::{
    Digest, DigestAsk, Fetched, Heads, KeyRange, LogAsk, LogPage, PROTOCOL, RangeAsk, RowDigest, RowsPage, SMALL_BYTES_MAX,
    SiteState,
};

use crate::backend::Body;
use crate::model::{BucketName, ObjectId, Stamp, Unit};

/// Another site, as this one reads it. Every call has a deadline of its own and may be repeated.
#[async_trait]
pub trait Peer: Debug + Send + Sync + 'static {
    /// The handshake and the heartbeat: tells how we stand and hears how it stands. It answers at once when it has told
    /// more than `mine.received` says, else after `wait`.
    async fn heads(&self, mine: Heads, wait: Duration) -> Result<Heads>;

    /// What it has told us after a seq, in order; by asking, we say that everything up to there is known here.
    async fn log(&self, ask: LogAsk) -> Result<LogPage>;

    /// The current state of units, one answer for each, in order; small bodies come along.
    async fn fetch(&self, units: &[Unit]) -> Result<Vec<Fetched>>;

    /// Bytes of the object whose data has this stamp; [`Error::Changed`] where that is not current any more.
    async fn open(&self, object: &ObjectId, data: Stamp, range: Range<u64>) -> Result<Body>;

    /// Digests of ranges of a bucket's units.
    async fn digests(&self, ask: DigestAsk) -> Result<Vec<Digest>>;

    /// The units of a range and a hash of each, in key order, `rows_max` at the most.
    async fn rows(&self, bucket: &BucketName, range: KeyRange, rows_max: usize) -> Result<RowsPage>;

    /// Every bucket it knows, deleted ones too.
    async fn buckets(&self) -> Result<Vec<BucketName>>;
}
