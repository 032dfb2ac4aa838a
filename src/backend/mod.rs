//! Stores: where bytes live. About ten verbs; S3's breadth belongs to `s3` and `site`, not here.
//!
//! A backend knows buckets, keys, places and bindings. It knows nothing of stamps, sites, versions or S3 errors.

pub mod alias;
pub mod awaited;
pub mod azure;
mod body;
pub mod conformance;
mod error;
pub mod fs;
pub mod gcs;
pub mod memory;
mod places;
pub mod route;
pub mod s3;
pub mod service;

use std::fmt::Debug;
use std::future::ready;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

pub use body::{Body, BodyError};
pub use error::{Error, Result};

use crate::model::{
    Binding, BucketName, ContentHeaders, Described, ETag, Key, Location, Metadata, ObjectId, Versioning, WriteId,
};
use crate::tasks::Worker;

/// Largest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 << 20;
/// Longest label, in characters of ASCII: with the other metadata, and a key of 1,024 bytes in it, services take 2 KiB.
pub const LABEL_CHARS_MAX: usize = 512;
/// Longest name of a note, in bytes.
const NOTE_NAME_MAX: usize = 128;

/// A name that bytes have, or are to have, in a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub object: ObjectId,
    pub location: Location,
}

impl Place {
    /// The name that the bytes have once they are not staged any more.
    pub fn settled(&self) -> Self {
        Self { object: self.object.clone(), location: self.location.settled() }
    }
}

/// Bytes that a store accepted and made durable: where they are now, and how the store names them.
///
/// A store that stages (fs, memory) answers [`Location::Staged`]; [`Backend::publish`] brings them to the plain name, or
/// to a name of their own where the caller makes [`Location::OwnStaged`] of it. A store that does not answers
/// [`Location::Moving`]: the bytes have a name of their own already, where a version stays; others are brought to the plain
/// name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub location: Location,
    pub binding: Binding,
    /// Bytes.
    pub size: u64,
}

/// What is known before the first byte of a put.
#[derive(Clone, Debug)]
pub struct PutOptions {
    /// The write: unique for ever. A store that does not stage names the bytes after it.
    pub write: WriteId,
    /// Bytes to come, where the client said: lets a store reserve room and refuse early.
    pub size: Option<u64>,
    /// Milliseconds since 1970 to show as the bytes' modification time.
    pub modified_ms: u64,
    pub attributes: Attributes,
}

/// What bytes are stored with, at whatever name they are. A store that stages may forget it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// What the caller wants to hear with the bytes: printable ASCII, [`LABEL_CHARS_MAX`] at the most.
    pub label: Option<String>,
    /// For others who read the store, as far as it takes them.
    pub headers: ContentHeaders,
    /// The same.
    pub metadata: Metadata,
}

#[cfg(test)]
impl PutOptions {
    /// A write that is unlike any other of this process, and of another one with some luck.
    pub fn any() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let incarnation = crate::model::Incarnation(std::process::id());
        Self {
            write: WriteId::new(incarnation, 0, WRITES.fetch_add(1, Ordering::Relaxed)),
            size: None,
            modified_ms: 0,
            attributes: Attributes::default(),
        }
    }
}

/// What to read.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// Bytes wanted; `None` is all. The caller keeps it within the object.
    pub range: Option<Range<u64>>,
    /// The bytes that are meant: any other answers [`Error::Changed`], before or in the middle of the body. `None` is for
    /// stores at rest: what is replaced meanwhile may be answered with what its file is used for next.
    pub expect: Option<Binding>,
}

/// Bytes that were opened.
#[derive(Debug)]
pub struct Fetched {
    pub found: Found,
    /// The range asked for, whole or an error: never a clean end short of it.
    pub body: Body,
}

/// Something a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub key: Key,
    /// In a listing [`Binding::None`], where the store's listings do not tell.
    pub binding: Binding,
    /// Bytes.
    pub size: u64,
    /// Milliseconds since 1970: as the writer said, or in a listing when the store had them.
    pub modified_ms: u64,
    /// When the bytes came to this name, or were touched since, where the store knows: wall time, milliseconds since 1970.
    pub changed_ms: Option<u64>,
    /// What they were stored with. In a listing `None`, where the store's listings do not tell.
    pub label: Option<String>,
    /// What whoever stored them said of them, as far as the store keeps it. In a listing as `label`.
    pub described: Option<Box<Described>>,
    /// Of bytes that others stored in a store that speaks S3: what their ETag is there.
    pub etag: Option<ETag>,
}

/// What S3 services call the version of bytes that came while they issued none.
pub const NULL_VERSION: &str = "null";

/// A version that the store issued itself, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundVersion {
    pub key: Key,
    /// As the store calls it.
    pub version: String,
    pub is_marker: bool,
    pub binding: Binding,
    /// Bytes.
    pub size: u64,
    /// When it came there, milliseconds since 1970, as far as the store tells.
    pub stored_ms: u64,
}

/// Bytes under a name of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundOwn {
    pub found: Found,
    /// Which write's they are.
    pub write: WriteId,
}

/// A part that a store holds for an unfinished multipart upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPart {
    pub number: u16,
    pub kept: Kept,
}

/// An unfinished multipart upload, as a store knows it.
#[derive(Clone, Debug)]
pub struct StoreUpload {
    pub object: ObjectId,
    /// What its parts become: a store that does not stage names the whole after it.
    pub write: WriteId,
    /// What [`Backend::start_upload`] answered.
    pub token: String,
}

/// What [`Backend::publish`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The name holds the bytes now, by this call or by one before it.
    Done,
    /// The store takes no such name: they stay at the one of their own that they have.
    Stays,
    /// They cannot be brought there yet, and are safe at the name of their own meanwhile: ask again.
    Waits,
    /// The staged bytes are neither at their name nor in their staging file.
    Gone,
}

/// What a store does by itself, probed once and shown by `check-config` and `/v1/stores`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// What settings call the store; empty where there is one only.
    pub store: String,
    /// fs, memory, …
    pub kind: &'static str,
    pub properties: Vec<Capability>,
}

/// Calls of a store to its service, since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// What settings call the store; empty where there is one only.
    pub store: String,
    /// Such as `reading an object`.
    pub call: &'static str,
    /// ok, missing, refused, denied, slow, failed, silent or not_tried.
    pub outcome: &'static str,
    pub count: u64,
    /// Their time together.
    pub seconds: f64,
}

/// Writes that wait on a local disk of this machine's until the service of their store takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffered {
    /// What settings call the store.
    pub store: String,
    /// That wait now.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest came, milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// Of those that wait, the ones that the service refuses or that cannot be read: a person has to look.
    pub refused: u64,
    /// Writes that were acknowledged from there, since the start.
    pub taken: u64,
    /// Writes that the service has taken from there, since the start.
    pub carried: u64,
}

/// One property of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capability {
    pub name: &'static str,
    pub support: Support,
    /// The reason, for people.
    pub detail: String,
}

/// Who provides a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum Support {
    /// The store.
    Native,
    /// This process.
    Emulated,
    /// Nobody.
    Refused,
}

impl From<Support> for &'static str {
    fn from(support: Support) -> Self {
        match support {
            Support::Native => "native",
            Support::Emulated => "emulated",
            Support::Refused => "refused",
        }
    }
}

/// A store.
///
/// Whatever a verb acknowledges is durable, but for names: [`Backend::publish`] and [`Backend::delete`] are redone after
/// a crash until [`Backend::harden`] has returned.
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// What this store does by itself, or each one that it is made of.
    fn capabilities(&self) -> Vec<Capabilities>;

    /// What became of the calls that were made so far; empty where a store makes none.
    fn traffic(&self) -> Vec<Traffic> {
        Vec::new()
    }

    /// What waits on local disks for the services of stores; empty where nothing may.
    fn buffers(&self) -> Vec<Buffered> {
        Vec::new()
    }

    /// Whether bytes are on a local disk and not at their service yet. They are read like any others.
    fn is_buffered(&self, _at: &Place) -> bool {
        false
    }

    /// What is to go on beside the requests, from the recovery on.
    fn workers(&self) -> Vec<Box<dyn Worker>> {
        Vec::new()
    }

    /// Stores `body` for `to`, durably, without making it visible at any name where the store stages.
    /// An error in the body stores nothing.
    async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept>;

    /// Opens the bytes at `at`. Staged bytes may be published at any moment: with [`GetOptions::expect`] they are found at
    /// either place.
    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched>;

    /// What is at `at` now.
    async fn head(&self, at: &Place) -> Result<Found>;

    /// Stages a copy of the bytes `expect` at `from`, server-side where the store can.
    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept>;

    /// Brings staged bytes to their name. Repeating it is harmless.
    ///
    /// `from` is where they are staged, `binding` theirs. From [`Location::Staged`] they go to the plain name and replace
    /// what is there; from [`Location::OwnStaged`] to [`Location::Own`], where other bytes are [`Error::Changed`]. From
    /// [`Location::Moving`] they are copied to the plain name, with the same binding.
    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published>;

    /// Removes what is at `at`, if it still has the binding `only`. Nothing there is success.
    ///
    /// At [`Location::Staged`] and [`Location::Moving`] what was published stays; at [`Location::OwnStaged`] it goes too, since
    /// nobody else's bytes ever have that name.
    async fn delete(&self, at: &Place, only: &Binding) -> Result<()>;

    /// Returns once every publish and delete at `moved` that was answered before this call survives a crash. A staged place
    /// means the name that its bytes are on their way to.
    async fn harden(&self, moved: &[Place]) -> Result<()>;

    /// Gives up staged bytes, or the staging file of published and hardened ones. Anything else that is at `staged` stays.
    async fn release(&self, staged: &Place);

    /// Everything staged that `keep` does not name is given up. Called once, before the first request. `keep` also names what
    /// a process before this one may have left a call at: bytes that were moving, and plain names that were to be removed.
    async fn recover(&self, keep: &[Place]) -> Result<()>;

    /// Begins a multipart upload. Answers what the store calls it: nothing, where it keeps parts like any staged bytes.
    /// `attributes` are those of what its parts become, and go with [`Backend::assemble`] again.
    async fn start_upload(&self, _to: &ObjectId, _write: WriteId, _attributes: Attributes) -> Result<String> {
        Ok(String::new())
    }

    /// Stores one part of a multipart upload, durably. At [`Location::Part`] it takes the place of one of the same number.
    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept>;

    /// Stages the concatenation of `parts`, which stay until [`Backend::release`]; those at [`Location::Part`] end with it,
    /// and repeating it finds what it made.
    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept>;

    /// Gives up what is at [`Location::Part`] in an upload, and what was assembled of it. None there is success.
    async fn end_upload(&self, _upload: &StoreUpload) -> Result<()> {
        Ok(())
    }

    /// Everything at plain names in a bucket after the key `after`, in the byte order of keys. A store whose listings know
    /// neither bindings nor what writers say of times leaves them out: [`Backend::head`] tells them.
    fn list<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<Found>>;

    /// Everything at own names in a bucket behind that one, each once, in an order of the store's own.
    fn list_own<'a>(&'a self, bucket: &BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>>;

    /// The same of the keys that begin with a prefix. A store that can reads nothing else.
    fn list_own_below<'a>(
        &'a self,
        bucket: &BucketName,
        prefix: &str,
        after: Option<(Key, WriteId)>,
    ) -> BoxStream<'a, Result<FoundOwn>> {
        let prefix = prefix.to_owned();
        let is_below = move |own: &FoundOwn| own.found.key.as_str().starts_with(&prefix);
        self.list_own(bucket, after).try_filter(move |own| ready(is_below(own))).boxed()
    }

    /// Whether the store itself issues versions in a bucket: it did before the site came, and others read them there.
    async fn versioning(&self, _bucket: &BucketName) -> Result<Versioning> {
        Ok(Versioning::Off)
    }

    /// Versions and delete markers that the store itself issued, behind the key `after`: by key in byte order, the newest of
    /// each first. They are read and removed at [`Location::Native`].
    fn list_versions<'a>(&'a self, _bucket: &BucketName, _after: Option<&Key>) -> BoxStream<'a, Result<FoundVersion>> {
        stream::empty().boxed()
    }

    /// Those of one key.
    fn versions_of<'a>(&'a self, _object: &ObjectId) -> BoxStream<'a, Result<FoundVersion>> {
        stream::empty().boxed()
    }

    /// Makes a bucket; one that exists is success.
    async fn create_bucket(&self, bucket: &BucketName) -> Result<()>;

    /// The same of a bucket that belongs to a location: several stores may have some of their own.
    async fn create_bucket_at(&self, bucket: &BucketName, _location: &str) -> Result<()> {
        self.create_bucket(bucket).await
    }

    /// Removes an empty bucket; [`Error::NotEmpty`] where something is still in it, under whatever name; success where it is
    /// gone.
    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()>;

    /// Every bucket, in byte order.
    async fn list_buckets(&self) -> Result<Vec<BucketName>>;

    /// How many files and folders of a bucket no key can name, so that no listing shows them.
    async fn strangers(&self, _bucket: &BucketName) -> Result<u64> {
        Ok(0)
    }

    /// Logs what lies beside the buckets and is none.
    async fn tell_strangers(&self) -> Result<()> {
        Ok(())
    }

    /// Writes a note: a small file of this program's own, which no bucket shows. Durable, and in place of the one of that
    /// name as a whole. A name is made of a-z, 0-9 and '-'.
    async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()>;

    /// The whole of a note; [`Error::NotFound`] where there is none.
    async fn read_note(&self, name: &str) -> Result<Bytes>;

    /// The names of all notes, in byte order.
    async fn list_notes(&self) -> Result<Vec<String>>;

    /// Removes a note, sooner or later durably; none there is success.
    async fn remove_note(&self, name: &str) -> Result<()>;

    /// Whether the store can take writes now: used by readiness.
    async fn check(&self) -> Result<()>;

    /// The same of each store by itself, where this is several; the names are those of the settings.
    async fn check_each(&self) -> Vec<(String, Result<()>)> {
        vec![(String::new(), self.check().await)]
    }
}

/// Refuses a note that not every store could hold.
fn check_note(name: &str, bytes: usize) -> Result<()> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > NOTE_NAME_MAX || !name.bytes().all(legal) {
        return Err(Error::Name(format!("{name:?} is no name of a note")));
    }
    if bytes > NOTE_BYTES_MAX {
        return Err(Error::Name(format!("the note {name} has {bytes} bytes, more than {NOTE_BYTES_MAX}")));
    }
    Ok(())
}
