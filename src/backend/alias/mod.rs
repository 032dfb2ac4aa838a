//! A store in which some buckets have other names than here, or lie below a prefix of a bucket that holds several.
//!
//! A bucket there that is called as one of ours that lies elsewhere is refused rather than taken for it, and what a bucket that
//! holds ours is called there is no bucket's name here.

mod names;
mod prefixes;

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::sync::OwnedRwLockReadGuard;

use super::{
    Attributes, Backend, Body, Buffered, Capabilities, Error, Fetched, Found, FoundOwn, FoundVersion, GetOptions, Kept, KeptPart,
    Place, Published, PutOptions, Result, StoreUpload, Traffic,
};
use crate::model::{Binding, BucketName, Key, ObjectId, Versioning, WriteId};
use crate::tasks::Worker;

pub use names::Rule;
use names::{Names, Spot};
use prefixes::Prefixes;
pub use prefixes::{is_note, refuse_any};

/// A store, and where our buckets are in it.
#[derive(Debug)]
pub struct Aliases {
    store: Arc<dyn Backend>,
    names: Names,
    prefixes: Prefixes,
}

impl Aliases {
    /// Of several rules for a bucket the first counts. Fails where two buckets would meet.
    pub fn new(store: Arc<dyn Backend>, rules: Vec<Rule>) -> Result<Self> {
        Ok(Self { store, names: Names::new(rules)?, prefixes: Prefixes::default() })
    }

    /// Where a bucket lies, whether it was made or not: what goes, and what is kept, may be of one that is gone.
    fn object(&self, object: &ObjectId) -> Result<ObjectId> {
        let spot = self.names.there(&object.bucket)?;
        Ok(ObjectId { key: spot.key(&object.key)?, bucket: spot.bucket })
    }

    fn place(&self, place: &Place) -> Result<Place> {
        Ok(Place { object: self.object(&place.object)?, location: place.location.clone() })
    }

    fn upload(&self, upload: &StoreUpload) -> Result<StoreUpload> {
        Ok(StoreUpload { object: self.object(&upload.object)?, ..upload.clone() })
    }

    /// A listing of a bucket: what lies below the prefix of one that was not made yet is there to be taken over by it.
    async fn listing<'a, T: Send + 'static>(
        &'a self,
        bucket: &BucketName,
        listing: BoxStream<'a, Result<T>>,
    ) -> BoxStream<'a, Result<T>> {
        let mut listing = listing.peekable();
        match self.is_made(bucket).await {
            Err(err) => failed(err),
            Ok(false) if Pin::new(&mut listing).peek().await.is_none() => failed(Error::NoSuchBucket),
            Ok(_) => listing.boxed(),
        }
    }

    async fn is_made(&self, bucket: &BucketName) -> Result<bool> {
        let is_whole = self.names.there(bucket)?.is_whole();
        Ok(is_whole || self.prefixes.door(&*self.store, &self.names, bucket).await?.is_some())
    }

    /// The bucket, for somebody who writes to it: it stays until the guard goes. Below a prefix the store would take anything.
    async fn enter(&self, bucket: &BucketName) -> Result<Option<OwnedRwLockReadGuard<()>>> {
        match self.names.there(bucket)?.is_whole() {
            true => Ok(None),
            false => self.prefixes.enter(&*self.store, &self.names, bucket).await.map(Some),
        }
    }

    /// What is at plain names of a bucket, under its keys here. Nothing behind its prefix is read.
    fn list_at(&self, spot: Spot, after: Option<Key>) -> BoxStream<'_, Result<Found>> {
        if spot.is_whole() {
            return self.store.list(&spot.bucket, after.as_ref());
        }
        let listing = self.store.list(&spot.bucket, Some(&spot.before(after.as_ref())));
        let prefix = spot.prefix.clone();
        let is_ours = move |found: &Result<Found>| found.as_ref().map_or(true, |found| found.key.as_str().starts_with(&prefix));
        let ours = move |found: Found| {
            let key = spot.strip(&found.key).filter(|key| after.as_ref().is_none_or(|after| key > after));
            ready(Ok(key.map(|key| Found { key, ..found })))
        };
        listing.take_while(move |found| ready(is_ours(found))).try_filter_map(ours).boxed()
    }

    /// The same of versions that the store issued.
    fn list_versions_at(&self, spot: Spot, after: Option<Key>) -> BoxStream<'_, Result<FoundVersion>> {
        if spot.is_whole() {
            return self.store.list_versions(&spot.bucket, after.as_ref());
        }
        let listing = self.store.list_versions(&spot.bucket, Some(&spot.before(after.as_ref())));
        let prefix = spot.prefix.clone();
        let is_ours =
            move |found: &Result<FoundVersion>| found.as_ref().map_or(true, |found| found.key.as_str().starts_with(&prefix));
        let ours = move |found: FoundVersion| {
            let key = spot.strip(&found.key).filter(|key| after.as_ref().is_none_or(|after| key > after));
            ready(Ok(key.map(|key| FoundVersion { key, ..found })))
        };
        listing.take_while(move |found| ready(is_ours(found))).try_filter_map(ours).boxed()
    }

    /// The same of own names.
    fn list_own_at(&self, spot: Spot, after: Option<(Key, WriteId)>) -> BoxStream<'_, Result<FoundOwn>> {
        if spot.is_whole() {
            return self.store.list_own(&spot.bucket, after);
        }
        let after = match after.map(|(key, write)| Ok((spot.key(&key)?, write))).transpose() {
            Ok(after) => after,
            Err(err) => return failed(err),
        };
        let listing = self.store.list_own_below(&spot.bucket, &spot.prefix, after);
        let ours = move |own: FoundOwn| {
            let key = spot.strip(&own.found.key);
            ready(Ok(key.map(|key| FoundOwn { found: Found { key, ..own.found }, write: own.write })))
        };
        listing.try_filter_map(ours).boxed()
    }

    /// Whatever is in a bucket, under whatever name.
    async fn first_name(&self, spot: &Spot) -> Result<Option<String>> {
        let plain = none_there(self.list_at(spot.clone(), None).next().await.transpose())?;
        if let Some(found) = plain {
            return Ok(Some(found.key.to_string()));
        }
        let own = none_there(self.list_own_at(spot.clone(), None).next().await.transpose())?;
        Ok(own.map(|own| format!("{}@{}", own.found.key, own.write)))
    }
}

/// What holds our buckets may be gone with them.
fn none_there<T>(first: Result<Option<T>>) -> Result<Option<T>> {
    match first {
        Err(Error::NoSuchBucket) => Ok(None),
        first => first,
    }
}

fn failed<'a, T: Send + 'a>(err: Error) -> BoxStream<'a, Result<T>> {
    stream::iter([Err(err)]).boxed()
}

#[async_trait]
impl Backend for Aliases {
    fn capabilities(&self) -> Vec<Capabilities> {
        self.store.capabilities()
    }

    fn traffic(&self) -> Vec<Traffic> {
        self.store.traffic()
    }

    fn buffers(&self) -> Vec<Buffered> {
        self.store.buffers()
    }

    fn is_buffered(&self, at: &Place) -> bool {
        self.place(at).is_ok_and(|at| self.store.is_buffered(&at))
    }

    fn workers(&self) -> Vec<Box<dyn Worker>> {
        self.store.workers()
    }

    async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        let _entered = self.enter(&to.bucket).await?;
        self.store.put(&self.object(to)?, body, put).await
    }

    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched> {
        let Fetched { found, body } = self.store.get(&self.place(at)?, get).await?;
        Ok(Fetched { found: Found { key: at.object.key.clone(), ..found }, body })
    }

    async fn head(&self, at: &Place) -> Result<Found> {
        let found = self.store.head(&self.place(at)?).await?;
        Ok(Found { key: at.object.key.clone(), ..found })
    }

    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        let _entered = self.enter(&to.bucket).await?;
        self.store.copy(&self.place(from)?, get, &self.object(to)?, put).await
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        let _entered = self.enter(&from.object.bucket).await?;
        self.store.publish(&self.place(from)?, binding).await
    }

    async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        self.store.delete(&self.place(at)?, only).await
    }

    async fn harden(&self, moved: &[Place]) -> Result<()> {
        let moved = moved.iter().map(|place| self.place(place)).collect::<Result<Vec<_>>>()?;
        self.store.harden(&moved).await
    }

    async fn release(&self, staged: &Place) {
        if let Ok(staged) = self.place(staged) {
            self.store.release(&staged).await;
        }
    }

    /// What settings take away from sight is kept too: they may be mended.
    async fn recover(&self, keep: &[Place]) -> Result<()> {
        let keep: Vec<_> = keep.iter().map(|place| self.place(place).unwrap_or_else(|_| place.clone())).collect();
        self.store.recover(&keep).await
    }

    async fn start_upload(&self, to: &ObjectId, write: WriteId, attributes: Attributes) -> Result<String> {
        let _entered = self.enter(&to.bucket).await?;
        self.store.start_upload(&self.object(to)?, write, attributes).await
    }

    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        let _entered = self.enter(&upload.object.bucket).await?;
        self.store.put_part(&self.upload(upload)?, number, body, put).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
        let _entered = self.enter(&upload.object.bucket).await?;
        self.store.assemble(&self.upload(upload)?, parts, put).await
    }

    async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        self.store.end_upload(&self.upload(upload)?).await
    }

    fn list<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<Found>> {
        let (bucket, after) = (bucket.clone(), after.cloned());
        let listing = async move {
            match self.names.there(&bucket) {
                Ok(spot) => self.listing(&bucket, self.list_at(spot, after)).await,
                Err(err) => failed(err),
            }
        };
        stream::once(listing).flatten().boxed()
    }

    fn list_own<'a>(&'a self, bucket: &BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>> {
        let bucket = bucket.clone();
        let listing = async move {
            match self.names.there(&bucket) {
                Ok(spot) => self.listing(&bucket, self.list_own_at(spot, after)).await,
                Err(err) => failed(err),
            }
        };
        stream::once(listing).flatten().boxed()
    }

    async fn versioning(&self, bucket: &BucketName) -> Result<Versioning> {
        self.store.versioning(&self.names.there(bucket)?.bucket).await
    }

    fn list_versions<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<FoundVersion>> {
        match self.names.there(bucket) {
            Ok(spot) => self.list_versions_at(spot, after.cloned()),
            Err(err) => failed(err),
        }
    }

    fn versions_of<'a>(&'a self, object: &ObjectId) -> BoxStream<'a, Result<FoundVersion>> {
        let key = object.key.clone();
        let there = self.object(object).map(|object| self.store.versions_of(&object));
        let versions = there.unwrap_or_else(failed);
        versions.map_ok(move |found| FoundVersion { key: key.clone(), ..found }).boxed()
    }

    /// What lies below its prefix already is taken over with it.
    async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        let spot = self.names.there(bucket)?;
        let _change = self.prefixes.change.lock().await;
        self.store.create_bucket(&spot.bucket).await?;
        match spot.bucket == *bucket {
            true => Ok(()),
            false => self.prefixes.add(&*self.store, &self.names, bucket, &spot).await,
        }
    }

    /// What holds several stays: others may lie in it, and nobody of them says so there.
    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        let spot = self.names.there(bucket)?;
        let _change = self.prefixes.change.lock().await;
        if spot.is_whole() {
            self.store.delete_bucket(&spot.bucket).await?;
            return match spot.bucket == *bucket {
                true => Ok(()),
                false => self.prefixes.remove(&*self.store, &self.names, bucket).await,
            };
        }
        let Some(door) = self.prefixes.door(&*self.store, &self.names, bucket).await? else { return Ok(()) };
        let Ok(_closed) = door.try_write() else { return Err(Error::NotEmpty("something is being written to it".to_owned())) };
        match self.first_name(&spot).await? {
            Some(name) => Err(Error::NotEmpty(name)),
            None => self.prefixes.remove(&*self.store, &self.names, bucket).await,
        }
    }

    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        let _change = self.prefixes.change.lock().await;
        let (mut buckets, renamed) = self.prefixes.all(&*self.store, &self.names).await?;
        let there = self.store.list_buckets().await?;
        for bucket in renamed {
            // A crash came between its removal and that of its note.
            if !there.contains(&self.names.there(&bucket)?.bucket) {
                self.prefixes.remove(&*self.store, &self.names, &bucket).await?;
            }
        }
        for name in there {
            if self.names.is_taken(&name) {
                let Some(bucket) = self.names.whole(&name) else { continue };
                self.prefixes.add(&*self.store, &self.names, &bucket, &self.names.there(&bucket)?).await?;
                buckets.push(bucket);
            } else if let Some(place) = self.names.elsewhere(&name) {
                let remedy = "give that one another name there, or take it out of the route";
                return Err(Error::Setup(format!(
                    "the store has a bucket {name} beside {place}, where {name} is to be; {remedy}"
                )));
            } else {
                buckets.push(name);
            }
        }
        buckets.sort();
        Ok(buckets)
    }

    /// Below a prefix those of the whole bucket there: nobody tells whose they are.
    async fn strangers(&self, bucket: &BucketName) -> Result<u64> {
        self.store.strangers(&self.names.there(bucket)?.bucket).await
    }

    async fn tell_strangers(&self) -> Result<()> {
        self.store.tell_strangers().await
    }

    async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.store.write_note(name, bytes).await
    }

    async fn read_note(&self, name: &str) -> Result<Bytes> {
        self.store.read_note(name).await
    }

    async fn list_notes(&self) -> Result<Vec<String>> {
        let mut notes = self.store.list_notes().await?;
        notes.retain(|name| !is_note(name));
        Ok(notes)
    }

    async fn remove_note(&self, name: &str) -> Result<()> {
        self.store.remove_note(name).await
    }

    async fn check(&self) -> Result<()> {
        self.store.check().await
    }
}

#[cfg(test)]
mod tests;
