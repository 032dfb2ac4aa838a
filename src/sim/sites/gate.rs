//! A site's store as one of its processes reaches it: every call is a step of that process, and may fail, done or not.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::life::{Life, StoreFault};
use crate::backend::memory::Memory;
use crate::backend::{
    Attributes, Backend, Body, Capabilities, Error, Fetched, Found, FoundOwn, FoundVersion, GetOptions, Kept, KeptPart, Place,
    Published, PutOptions, Result, StoreUpload,
};
use crate::model::{Binding, BucketName, Key, ObjectId, Versioning, WriteId};
use crate::status::redb::Pace;

/// The store behind the steps of a process.
#[derive(Debug)]
pub struct Gate {
    store: Arc<Memory>,
    life: Arc<Life>,
}

impl Gate {
    pub fn new(store: Arc<Memory>, life: Arc<Life>) -> Self {
        Self { store, life }
    }

    /// A call that changes something.
    async fn change<T: Send>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.life.step().await;
        let outcome = match self.life.store_fault() {
            StoreFault::Nothing => call.await,
            StoreFault::Fails => Err(Error::Unavailable("as the seed wanted".into())),
            StoreFault::Lies => {
                call.await?;
                Err(Error::Unavailable("no answer, and yet it was done".into()))
            }
        };
        self.life.step().await;
        outcome
    }

    async fn look<T: Send>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.life.step().await;
        match self.life.store_fault() {
            StoreFault::Nothing => call.await,
            _ => Err(Error::Unavailable("as the seed wanted".into())),
        }
    }
}

#[async_trait]
impl Backend for Gate {
    fn capabilities(&self) -> Vec<Capabilities> {
        self.store.capabilities()
    }

    async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        self.change(self.store.put(to, body, put)).await
    }

    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched> {
        self.look(self.store.get(at, get)).await
    }

    async fn head(&self, at: &Place) -> Result<Found> {
        self.look(self.store.head(at)).await
    }

    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        self.change(self.store.copy(from, get, to, put)).await
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        self.change(self.store.publish(from, binding)).await
    }

    async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        self.change(self.store.delete(at, only)).await
    }

    async fn harden(&self, moved: &[Place]) -> Result<()> {
        self.change(self.store.harden(moved)).await
    }

    async fn release(&self, staged: &Place) {
        self.life.step().await;
        self.store.release(staged).await;
    }

    async fn recover(&self, keep: &[Place]) -> Result<()> {
        self.life.step().await;
        self.store.recover(keep).await
    }

    async fn start_upload(&self, to: &ObjectId, write: WriteId, attributes: Attributes) -> Result<String> {
        self.change(self.store.start_upload(to, write, attributes)).await
    }

    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        self.change(self.store.put_part(upload, number, body, put)).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
        self.change(self.store.assemble(upload, parts, put)).await
    }

    async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        self.change(self.store.end_upload(upload)).await
    }

    fn list<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<Found>> {
        self.store.list(bucket, after)
    }

    fn list_own<'a>(&'a self, bucket: &BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>> {
        self.store.list_own(bucket, after)
    }

    async fn versioning(&self, bucket: &BucketName) -> Result<Versioning> {
        self.store.versioning(bucket).await
    }

    fn list_versions<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<FoundVersion>> {
        self.store.list_versions(bucket, after)
    }

    fn versions_of<'a>(&'a self, object: &ObjectId) -> BoxStream<'a, Result<FoundVersion>> {
        self.store.versions_of(object)
    }

    async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.change(self.store.create_bucket(bucket)).await
    }

    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.change(self.store.delete_bucket(bucket)).await
    }

    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        self.look(self.store.list_buckets()).await
    }

    async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.change(self.store.write_note(name, bytes)).await
    }

    async fn read_note(&self, name: &str) -> Result<Bytes> {
        self.look(self.store.read_note(name)).await
    }

    async fn list_notes(&self) -> Result<Vec<String>> {
        self.look(self.store.list_notes()).await
    }

    async fn remove_note(&self, name: &str) -> Result<()> {
        self.change(self.store.remove_note(name)).await
    }

    async fn check(&self) -> Result<()> {
        self.look(self.store.check()).await
    }
}
