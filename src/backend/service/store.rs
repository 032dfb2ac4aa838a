//! A service as a backend.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tracing::{Instrument, Span, debug_span};

use super::buffer::{self, Buffer, Carrier};
use super::calls::Calls;
use super::names::Names;
use super::pending::Pending;
use super::probe::Nature;
use super::{Common, Service, Spot};
use crate::backend::{
    Attributes, Backend, Body, Buffered, Capabilities, Fetched, Found, FoundOwn, FoundVersion, GetOptions, Kept, KeptPart, Place,
    Published, PutOptions, Result, StoreUpload, Traffic,
};
use crate::model::{Binding, BucketName, Key, Location, ObjectId, Versioning, WriteId};
use crate::tasks::Worker;

/// Buckets of a service.
#[derive(Debug)]
pub(in crate::backend) struct Store<S>(Arc<Core<S>>);

/// What every call needs.
#[derive(Debug)]
pub(super) struct Core<S> {
    pub calls: Calls<S>,
    pub names: Names,
    /// The bucket of notes.
    pub home: String,
    pub pending: Pending,
    pub nature: Nature,
    /// What to keep on a local disk while the service takes nothing; `None`: nothing.
    pub buffering: Option<buffer::Settings>,
    /// Opened with the recovery: who only tries out the service must not touch it.
    pub buffer: OnceLock<Arc<Buffer>>,
}

impl<S: Service> Store<S> {
    /// Makes the home bucket if it is missing, and tries out what the service can.
    pub(in crate::backend) async fn open(service: S, common: &Common) -> Result<Self> {
        let (names, home, pending) = (Names::new(&common.reserved), common.home.clone(), Pending::default());
        let buffering = common.buffer.clone();
        let calls = Calls::new(service, common);
        let (nature, buffer) = Default::default();
        let mut core = Core { calls, names, home, pending, nature, buffering, buffer };
        core.open_home().await?;
        core.nature = core.probe().await?;
        Ok(Self(Arc::new(core)))
    }

    /// The service itself.
    #[cfg(test)]
    pub(in crate::backend) fn service(&self) -> &S {
        &self.0.calls.service
    }
}

impl<S: Service> Core<S> {
    pub fn buffer(&self) -> Option<&Arc<Buffer>> {
        self.buffer.get()
    }

    async fn open_buffer(&self) -> Result<()> {
        let Some(settings) = self.buffering.clone().filter(|_| self.buffer.get().is_none()) else { return Ok(()) };
        let buffer = Buffer::open(settings, format!("{} {}", self.service.kind(), self.home)).await?;
        self.buffer.get_or_init(|| Arc::new(buffer));
        Ok(())
    }

    /// Whether the bytes of a key may be brought to its plain name.
    pub fn has_plain(&self, key: &Key) -> bool {
        self.names.has_plain(key, |name| self.calls.service.is_odd(name) || self.nature.misplaces(name))
    }

    /// The name that one write's bytes have alone.
    pub fn own(&self, object: &ObjectId, write: WriteId) -> Spot {
        let name = self.names.own(&object.key, write, |name| self.calls.service.is_odd(name));
        Spot::new(object.bucket.to_string(), name)
    }

    /// Where others look for a key.
    pub fn plain(&self, object: &ObjectId) -> Spot {
        Spot::new(object.bucket.to_string(), object.key.to_string())
    }
}

impl<S> Deref for Core<S> {
    type Target = Calls<S>;

    fn deref(&self) -> &Calls<S> {
        &self.calls
    }
}

/// What the calls are about that are made within.
fn about(object: &ObjectId) -> Span {
    debug_span!("object", name = %object)
}

#[async_trait]
impl<S: Service> Backend for Store<S> {
    fn capabilities(&self) -> Vec<Capabilities> {
        vec![self.0.capabilities()]
    }

    fn traffic(&self) -> Vec<Traffic> {
        self.0.tally.read()
    }

    fn buffers(&self) -> Vec<Buffered> {
        self.0.buffer().map(|buffer| buffer.numbers()).into_iter().collect()
    }

    fn is_buffered(&self, at: &Place) -> bool {
        self.0.is_buffered(at)
    }

    fn workers(&self) -> Vec<Box<dyn Worker>> {
        let carrier = |buffer: &Arc<Buffer>| Box::new(Carrier::new(self.0.clone(), buffer.clone())) as Box<dyn Worker>;
        self.0.buffer().map(carrier).into_iter().collect()
    }

    async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        self.0.put(to, body, put).instrument(about(to)).await
    }

    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched> {
        self.0.get(at, get).instrument(about(&at.object)).await
    }

    async fn head(&self, at: &Place) -> Result<Found> {
        self.0.head(at).instrument(about(&at.object)).await
    }

    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        self.0.copy(from, get, to, put).instrument(about(to)).await
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        self.0.publish(from, binding).instrument(about(&from.object)).await
    }

    async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        self.0.delete(at, only).instrument(about(&at.object)).await
    }

    /// What the service acknowledged is durable.
    async fn harden(&self, moved: &[Place]) -> Result<()> {
        if let Some(buffer) = self.0.buffer() {
            buffer.harden().await?;
        }
        self.0.check_settled(moved)
    }

    async fn release(&self, staged: &Place) {
        if let Location::Moving(write) = staged.location {
            self.0.release(staged, write).instrument(about(&staged.object)).await;
        }
    }

    /// What nothing names is not looked for before the first request: that would be a listing of everything.
    async fn recover(&self, keep: &[Place]) -> Result<()> {
        self.0.note_what_may_be_under_way(keep);
        self.0.open_buffer().await
    }

    async fn start_upload(&self, to: &ObjectId, write: WriteId, attributes: Attributes) -> Result<String> {
        self.0.start_upload(to, write, &attributes).instrument(about(to)).await
    }

    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        self.0.put_part(upload, number, body, put).instrument(about(&upload.object)).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
        self.0.assemble(upload, parts, &put.attributes).instrument(about(&upload.object)).await
    }

    async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        self.0.end_upload(upload).instrument(about(&upload.object)).await
    }

    fn list<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<Found>> {
        self.0.list(bucket, after)
    }

    fn list_own<'a>(&'a self, bucket: &BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>> {
        self.0.list_own(bucket, "", after)
    }

    fn list_own_below<'a>(
        &'a self,
        bucket: &BucketName,
        prefix: &str,
        after: Option<(Key, WriteId)>,
    ) -> BoxStream<'a, Result<FoundOwn>> {
        self.0.list_own(bucket, prefix, after)
    }

    async fn versioning(&self, bucket: &BucketName) -> Result<Versioning> {
        self.0.versioning(bucket).await
    }

    fn list_versions<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<FoundVersion>> {
        self.0.list_versions(bucket, after)
    }

    fn versions_of<'a>(&'a self, object: &ObjectId) -> BoxStream<'a, Result<FoundVersion>> {
        self.0.versions_of(object)
    }

    async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.0.create_bucket(bucket).await
    }

    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.0.delete_bucket(bucket).await
    }

    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        self.0.list_buckets().await
    }

    async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.0.write_note(name, bytes).await
    }

    async fn read_note(&self, name: &str) -> Result<Bytes> {
        self.0.read_note(name).await
    }

    async fn list_notes(&self) -> Result<Vec<String>> {
        self.0.list_notes().await
    }

    async fn remove_note(&self, name: &str) -> Result<()> {
        self.0.remove_note(name).await
    }

    async fn check(&self) -> Result<()> {
        self.0.check().await
    }
}
