//! Stores that are services: what all of them have in common, over the calls in which they differ.
//!
//! A write's bytes are sent once, to a name of its own, with a mark that tells whose they are. Versions stay there; what has
//! no versions is copied to the key's plain name afterwards, so that others find it. What a crash leaves is garbage at most.
//! While the service takes nothing a write may wait on a local disk ([`buffer`]), as if it were there.
//!
//! [`Store`] is the backend; a [`Service`] makes single calls and knows nothing of places, bindings, retries or dead peers.

mod attributes;
mod below;
mod body;
mod buckets;
pub mod buffer;
mod calls;
mod common;
mod copy;
mod fault;
mod get;
mod held;
mod http;
#[cfg(test)]
mod late;
mod line;
mod list;
mod mark;
mod names;
mod notes;
mod pace;
mod pending;
mod probe;
mod put;
mod ranges;
mod spelling;
mod store;
mod tally;
mod turns;
mod uploads;
mod versions;

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub(super) use attributes::CONTENT_TYPE;
pub(super) use body::Outgoing;
pub use common::Common;
pub(super) use common::refuse_endpoint;
pub(super) use fault::{Answer, Fault, chain as causes, shortened};
pub(super) use held::Held;
pub use held::ReadKeys;
pub(super) use http::http_client;
#[cfg(test)]
pub(crate) use late::Late;
pub(super) use mark::{Metadata, Told};
pub(super) use names::is_misplaced;
pub(super) use ranges::{first_byte, whole_size};
pub(super) use store::Store;

use super::{Attributes, Capability};
use crate::model::{ContentHeaders, Versioning};

/// Where an object is at a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub bucket: String,
    pub name: String,
    /// Which of the service's own versions; `None` is what is there now.
    pub version: Option<String>,
}

impl Spot {
    pub fn new(bucket: impl Into<String>, name: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), name: name.into(), version: None }
    }
}

/// A version that a service issued itself, or a delete marker.
#[derive(Clone, Debug)]
pub(super) struct ListedVersion {
    pub name: String,
    pub version: String,
    /// `None` of a delete marker.
    pub etag: Option<String>,
    /// Bytes.
    pub size: u64,
    /// When it came there, milliseconds since 1970.
    pub stored_ms: u64,
}

/// Some of a listing of versions.
#[derive(Debug, Default)]
pub(super) struct VersionPage {
    pub listed: Vec<ListedVersion>,
    /// The last one of the page, where more may follow.
    pub next: Option<VersionCursor>,
}

/// Where a page of versions begins: behind this version of this name, or behind all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VersionCursor {
    pub name: String,
    pub version: Option<String>,
}

/// An object that is about to be written: where, and with what.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub spot: Spot,
    /// Ours, and what a service gets of the client's.
    pub metadata: Metadata,
    pub headers: ContentHeaders,
}

impl Target {
    /// Of something that only we read.
    pub fn new(spot: Spot, metadata: Metadata) -> Self {
        Self { spot, metadata, headers: ContentHeaders::default() }
    }

    /// The same for others too, as far as a service takes what the client said.
    pub fn with(mut self, attributes: &Attributes) -> Self {
        attributes.add_metadata(&mut self.metadata);
        Self { headers: attributes.plain_headers(), ..self }
    }
}

/// What has to be at a name for a call to do anything there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Only<'a> {
    /// Whatever is there.
    Any,
    Nothing,
    /// Exactly what was seen there.
    Seen(&'a Told),
}

impl Only<'_> {
    /// For If-Match.
    pub fn etag(&self) -> Option<String> {
        match self {
            Self::Seen(told) => told.etag.clone(),
            Self::Any | Self::Nothing => None,
        }
    }

    /// For If-None-Match.
    pub fn none_match(&self) -> Option<String> {
        matches!(self, Self::Nothing).then(|| "*".to_owned())
    }
}

/// An answer whose body is still to be read.
pub(super) struct Opened {
    pub told: Told,
    /// The first byte of the object that the body brings, as the service says.
    pub first: u64,
    /// Why it broke, for people.
    pub stream: BoxStream<'static, Result<Bytes, String>>,
}

/// What a listing says of an object.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub name: String,
    /// `None` where the listing brings no metadata.
    pub told: Option<Told>,
    /// Bytes.
    pub size: u64,
    /// When it came there, milliseconds since 1970.
    pub stored_ms: Option<u64>,
}

/// Some of a listing.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// May be empty in the middle of a listing, where the service does such things.
    pub listed: Vec<Listed>,
    /// What the service wants to hear for the next page; `None` at the end.
    pub next: Option<String>,
}

/// Where a page begins.
#[derive(Clone, Debug)]
pub(super) enum Cursor {
    Start,
    /// Behind this name, which need not exist.
    Behind(String),
    /// What [`Page::next`] said.
    Next(String),
}

/// An unfinished multipart upload at a service.
#[derive(Clone, Debug)]
pub(super) struct UploadAt {
    /// What it becomes.
    pub target: Target,
    /// As [`Service::start_upload`] answered.
    pub id: String,
}

/// A part that the service holds.
#[derive(Clone, Debug)]
pub(super) struct PartAt {
    /// 1 to 10,000.
    pub number: u16,
    /// As [`Service::put_part`] answered.
    pub tag: String,
}

/// How much goes into one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most that one call stores, in bytes.
    pub put_bytes_max: u64,
}

/// A service that keeps objects under names in buckets. Each call is made once; whoever calls repeats it, bounds how long it
/// takes and stays away from a service that is dead. Every fault of a call that may have been done [is open](Fault::is_open).
#[async_trait]
pub(super) trait Service: Debug + Send + Sync + 'static {
    /// s3, azure, gcs.
    fn kind(&self) -> &'static str;

    fn limits(&self) -> Limits;

    /// Whether no two writes ever have the same ETag, and conditions on copies and removals are kept: a call that comes late
    /// then finds something else than it wants, and does nothing.
    fn is_exact(&self) -> bool;

    /// Whether the time that an object came may be the one at which its upload began.
    fn dates_by_begin(&self) -> bool {
        false
    }

    /// Whether versions that it issued in a bucket are taken over with it.
    fn lists_versions(&self) -> bool {
        false
    }

    /// What to tell people of it, beside what is tried out.
    fn capabilities(&self) -> Vec<Capability>;

    /// Whether the service cannot hold such a name, takes it for another, or lists it elsewhere than in the byte order of names.
    fn is_odd(&self, name: &str) -> bool;

    /// The next call reads the credentials anew: these were refused.
    fn forget_keys(&self);

    /// Stores bytes, whatever was there.
    async fn put(&self, to: &Target, bytes: Bytes) -> Answer<()>;

    /// Stores a body that streams. One that ends badly stores nothing.
    async fn put_streamed(&self, to: &Target, body: Outgoing) -> Answer<()>;

    /// What is there now.
    async fn look(&self, at: &Spot) -> Answer<Told>;

    /// Opens what is there; the range is not empty.
    async fn open(&self, at: &Spot, range: Option<&Range<u64>>) -> Answer<Opened>;

    /// Copies the whole of what was `seen` at `from`, or nothing, to another name of the same bucket or another one, with other
    /// metadata, if what is there is `only`. Takes as long as it takes.
    async fn copy(&self, from: &Spot, seen: &Told, to: &Target, only: Only<'_>) -> Answer<()>;

    /// Copies a part of what was `seen`; `false` where the service does not do that.
    async fn copy_range(&self, _from: &Spot, _seen: &Told, _range: Range<u64>, _to: &Target) -> Answer<bool> {
        Ok(false)
    }

    /// Removes what is there, if it is `only`, which is never [`Only::Nothing`]. Nothing there may be success.
    async fn remove(&self, at: &Spot, only: Only<'_>) -> Answer<()>;

    /// Names under a prefix, in byte order but for [odd](Self::is_odd) ones.
    async fn page(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page>;

    /// The first name behind another, for which a whole page is more than is needed.
    async fn first_behind(&self, bucket: &str, name: &str) -> Answer<Option<String>> {
        let page = self.page(bucket, "", &Cursor::Behind(name.to_owned())).await?;
        Ok(page.listed.into_iter().map(|listed| listed.name).next())
    }

    /// Begins an upload of which nothing is seen until it is completed.
    async fn start_upload(&self, to: &Target) -> Answer<String>;

    /// Stores a part in the place of one of the same number, and answers what it is called from then on.
    async fn put_part(&self, upload: &UploadAt, number: u16, bytes: Bytes) -> Answer<String>;

    /// The same of a body that streams.
    async fn put_part_streamed(&self, upload: &UploadAt, number: u16, body: Outgoing) -> Answer<String>;

    /// Makes one object of exactly these parts, in this order. One that is not there or is another now is a
    /// [bad list](Fault::is_bad_list), an upload that is not there is [missing](Fault::is_missing).
    async fn complete_upload(&self, upload: &UploadAt, parts: &[PartAt]) -> Answer<()>;

    /// Gives up an upload and its parts. None there is success.
    async fn abort_upload(&self, upload: &UploadAt) -> Answer<()>;

    /// Makes a bucket; one that is ours already is success.
    async fn make_bucket(&self, bucket: &str) -> Answer<()>;

    async fn look_at_bucket(&self, bucket: &str) -> Answer<()>;

    /// Removes a bucket in which nothing is; one with something in it stays, and the fault's code is `BucketNotEmpty`.
    async fn remove_bucket(&self, bucket: &str) -> Answer<()>;

    /// Whether the service issues versions of its own in a bucket. One that does knows [`Spot::version`], and lists them.
    async fn versioning(&self, _bucket: &str) -> Answer<Versioning> {
        Ok(Versioning::Off)
    }

    /// Its versions and delete markers under a prefix, by name and then the newest first.
    async fn page_versions(&self, _bucket: &str, _prefix: &str, _from: Option<&VersionCursor>) -> Answer<VersionPage> {
        Ok(VersionPage::default())
    }

    /// The names of all our buckets, in any order.
    async fn buckets(&self) -> Answer<Vec<String>>;
}
