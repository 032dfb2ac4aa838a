//! Any S3 service as a store: AWS, or whatever speaks the same.
//!
//! A write's bytes are sent once, to a name of its own, with a mark that tells whose they are. Versions stay there; what has
//! no versions is copied to the key's plain name afterwards, so that others find it. Nothing here rests on conditions that
//! the service may not know, and what a crash leaves is garbage at most.

mod body;
mod buckets;
mod client;
mod copy;
mod error;
mod get;
mod list;
mod mark;
mod multipart;
mod names;
mod notes;
mod pending;
mod probe;
mod put;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use client::{Keys, ReadKeys};
pub use settings::{Checksums, Settings};

use super::{
    Backend, Body, Capabilities, Fetched, Found, FoundOwn, GetOptions, Kept, KeptPart, Place, Published, PutOptions, Result,
    StoreUpload,
};
use crate::model::{Binding, BucketName, Key, Location, ObjectId, WriteId};
use client::Service;
use names::Names;
use pending::Pending;
use probe::Nature;

/// Buckets of an S3 service.
#[derive(Debug)]
pub struct S3 {
    core: Arc<Core>,
    nature: Nature,
}

/// What every call needs.
#[derive(Debug)]
struct Core {
    settings: Settings,
    service: Service,
    names: Names,
    pending: Pending,
}

impl S3 {
    /// Connects, makes the home bucket if it is missing, and tries out what the service can.
    pub async fn open(settings: Settings, keys: ReadKeys) -> Result<Self> {
        let service = Service::new(&settings, keys);
        service.check_keys()?;
        let names = Names::new(&settings.reserved);
        let core = Arc::new(Core { settings, service, names, pending: Pending::default() });
        core.open_home().await?;
        let nature = core.probe().await?;
        Ok(Self { core, nature })
    }
}

#[async_trait]
impl Backend for S3 {
    fn capabilities(&self) -> Capabilities {
        self.core.capabilities(self.nature)
    }

    async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        self.core.put(to, body, put).await
    }

    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched> {
        self.core.get(at, get).await
    }

    async fn head(&self, at: &Place) -> Result<Found> {
        self.core.head(at).await
    }

    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        self.core.copy(from, get, to, put).await
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        self.core.publish(from, binding).await
    }

    async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        self.core.delete(at, only).await
    }

    /// What the service acknowledged is durable.
    async fn harden(&self, _moved: &[Place]) -> Result<()> {
        Ok(())
    }

    async fn release(&self, staged: &Place) {
        if let Location::Moving(write) = staged.location {
            self.core.release(staged, write).await;
        }
    }

    /// What nothing names is not looked for before the first request: that would be a listing of everything.
    async fn recover(&self, _keep: &[Location]) -> Result<()> {
        Ok(())
    }

    async fn start_upload(&self, to: &ObjectId, write: WriteId) -> Result<String> {
        self.core.start_upload(to, write).await
    }

    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        self.core.put_part(upload, number, body, put).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], _put: PutOptions) -> Result<Kept> {
        self.core.assemble(upload, parts).await
    }

    async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        self.core.end_upload(upload).await
    }

    fn list<'a>(&'a self, bucket: &'a BucketName, after: Option<&'a Key>) -> BoxStream<'a, Result<Found>> {
        self.core.list(bucket, after)
    }

    fn list_own<'a>(&'a self, bucket: &'a BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>> {
        self.core.list_own(bucket, after)
    }

    async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.core.create_bucket(bucket).await
    }

    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.core.delete_bucket(bucket).await
    }

    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        self.core.list_buckets().await
    }

    async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.core.write_note(name, bytes).await
    }

    async fn read_note(&self, name: &str) -> Result<Bytes> {
        self.core.read_note(name).await
    }

    async fn list_notes(&self) -> Result<Vec<String>> {
        self.core.list_notes().await
    }

    async fn remove_note(&self, name: &str) -> Result<()> {
        self.core.remove_note(name).await
    }

    async fn check(&self) -> Result<()> {
        Ok(self.core.look_at_bucket(&self.core.settings.home).await?)
    }
}
