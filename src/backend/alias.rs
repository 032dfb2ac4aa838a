//! A store in which some buckets have other names than here.
//!
//! Names go both ways one to one: what a bucket is called there is no bucket's name here, and a bucket that has the name of one of
//! ours there is refused rather than taken for it.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::{
    Backend, Body, Buffered, Capabilities, Error, Fetched, Found, FoundOwn, GetOptions, Kept, KeptPart, Place, Published,
    PutOptions, Result, StoreUpload, Traffic,
};
use crate::model::{Binding, BucketName, Key, ObjectId, WriteId};
use crate::tasks::Worker;

/// A store, and what its buckets are called here.
#[derive(Debug)]
pub struct Aliases {
    store: Arc<dyn Backend>,
    /// By the name here.
    there: HashMap<BucketName, BucketName>,
    /// By the name there.
    here: HashMap<BucketName, BucketName>,
}

impl Aliases {
    /// `there` tells by the name here what a bucket is called in the store. Fails where two of those names meet.
    pub fn new(store: Arc<dyn Backend>, there: HashMap<BucketName, BucketName>) -> Result<Self> {
        let mut here = HashMap::new();
        for (bucket, name) in &there {
            let other = here.insert(name.clone(), bucket.clone()).or_else(|| there.contains_key(name).then(|| name.clone()));
            if let Some(other) = other {
                return Err(Error::Name(format!(
                    "the bucket {bucket} would lie under the name {name}, which is taken by {other}"
                )));
            }
        }
        Ok(Self { store, there, here })
    }

    fn there<'a>(&'a self, bucket: &'a BucketName) -> Result<&'a BucketName> {
        if let Some(other) = self.here.get(bucket) {
            return Err(Error::Name(format!("the bucket {other} has the name {bucket} in the store")));
        }
        Ok(self.there.get(bucket).unwrap_or(bucket))
    }

    fn object(&self, object: &ObjectId) -> Result<ObjectId> {
        Ok(ObjectId { bucket: self.there(&object.bucket)?.clone(), key: object.key.clone() })
    }

    fn place(&self, place: &Place) -> Result<Place> {
        Ok(Place { object: self.object(&place.object)?, location: place.location.clone() })
    }

    fn upload(&self, upload: &StoreUpload) -> Result<StoreUpload> {
        Ok(StoreUpload { object: self.object(&upload.object)?, ..upload.clone() })
    }
}

#[async_trait]
impl Backend for Aliases {
    fn capabilities(&self) -> Capabilities {
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
        self.store.put(&self.object(to)?, body, put).await
    }

    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched> {
        self.store.get(&self.place(at)?, get).await
    }

    async fn head(&self, at: &Place) -> Result<Found> {
        self.store.head(&self.place(at)?).await
    }

    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        self.store.copy(&self.place(from)?, get, &self.object(to)?, put).await
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
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

    async fn start_upload(&self, to: &ObjectId, write: WriteId, label: Option<String>) -> Result<String> {
        self.store.start_upload(&self.object(to)?, write, label).await
    }

    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        self.store.put_part(&self.upload(upload)?, number, body, put).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
        self.store.assemble(&self.upload(upload)?, parts, put).await
    }

    async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        self.store.end_upload(&self.upload(upload)?).await
    }

    fn list<'a>(&'a self, bucket: &'a BucketName, after: Option<&'a Key>) -> BoxStream<'a, Result<Found>> {
        match self.there(bucket) {
            Ok(bucket) => self.store.list(bucket, after),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }

    fn list_own<'a>(&'a self, bucket: &'a BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>> {
        match self.there(bucket) {
            Ok(bucket) => self.store.list_own(bucket, after),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }

    async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.store.create_bucket(self.there(bucket)?).await
    }

    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.store.delete_bucket(self.there(bucket)?).await
    }

    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        let mut buckets = Vec::new();
        for name in self.store.list_buckets().await? {
            if let Some(there) = self.there.get(&name) {
                let remedy = "give that one another name there, or take its `bucket` out of the route";
                return Err(Error::Name(format!(
                    "the store has a bucket {name} beside {there}, which {name} is to be; {remedy}"
                )));
            }
            buckets.push(self.here.get(&name).cloned().unwrap_or(name));
        }
        buckets.sort();
        Ok(buckets)
    }

    async fn strangers(&self, bucket: &BucketName) -> Result<u64> {
        self.store.strangers(self.there(bucket)?).await
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
        self.store.list_notes().await
    }

    async fn remove_note(&self, name: &str) -> Result<()> {
        self.store.remove_note(name).await
    }

    async fn check(&self) -> Result<()> {
        self.store.check().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::memory::Memory;
    use crate::model::Location;

    fn bucket(name: &str) -> BucketName {
        BucketName::new(name).unwrap()
    }

    /// The bucket of the conformance suite lies under another name; one of its others takes that of a neighbour in the order.
    fn over(store: Memory) -> (Arc<Aliases>, Arc<Memory>) {
        let store = Arc::new(store);
        let there = [("bucket", "corp-2019"), ("aaa", "zzz")].map(|(here, there)| (bucket(here), bucket(there)));
        (Arc::new(Aliases::new(store.clone(), there.into()).unwrap()), store)
    }

    mod plain {
        use super::*;

        crate::backend::conformance::passes_conformance!(over(Memory::new()));
    }

    mod naming {
        use super::*;

        crate::backend::conformance::passes_naming_conformance!(over(Memory::naming()));
    }

    #[tokio::test]
    async fn a_bucket_has_its_own_name_here_and_another_there() {
        let (aliases, store) = over(Memory::new());
        store.create_bucket(&bucket("corp-2019")).await.unwrap();
        aliases.create_bucket(&bucket("other")).await.unwrap();
        assert_eq!(aliases.list_buckets().await.unwrap(), ["bucket", "other"].map(bucket));
        let object = ObjectId { bucket: bucket("bucket"), key: Key::new("a").unwrap() };
        let kept = aliases.put(&object, Bytes::from("1").into(), PutOptions::any()).await.unwrap();
        aliases.publish(&Place { object, location: kept.location }, &kept.binding).await.unwrap();
        let there = ObjectId { bucket: bucket("corp-2019"), key: Key::new("a").unwrap() };
        store.head(&Place { object: there, location: Location::Plain }).await.unwrap();
        assert!(matches!(aliases.delete_bucket(&bucket("bucket")).await, Err(Error::NotEmpty(_))));
    }

    #[tokio::test]
    async fn the_name_of_a_bucket_there_is_no_buckets_name_here() {
        let (aliases, store) = over(Memory::new());
        let taken = bucket("corp-2019");
        aliases.create_bucket(&bucket("bucket")).await.unwrap();
        assert!(matches!(aliases.create_bucket(&taken).await, Err(Error::Name(_))));
        assert!(matches!(aliases.delete_bucket(&taken).await, Err(Error::Name(_))));
        assert!(matches!(aliases.list(&taken, None).next().await, Some(Err(Error::Name(_)))));
        assert_eq!(store.list_buckets().await.unwrap(), [taken]);
    }

    #[tokio::test]
    async fn a_bucket_that_has_the_name_of_one_of_ours_there_is_refused() {
        let (aliases, store) = over(Memory::new());
        store.create_bucket(&bucket("bucket")).await.unwrap();
        let refused = aliases.list_buckets().await.unwrap_err().to_string();
        assert!(refused.contains("has a bucket bucket beside corp-2019"), "{refused}");
    }

    #[tokio::test]
    async fn what_was_staged_under_a_name_that_is_taken_now_is_kept() {
        let (aliases, store) = over(Memory::new());
        let taken = ObjectId { bucket: bucket("corp-2019"), key: Key::new("a").unwrap() };
        let kept = store.put(&taken, Bytes::from("1").into(), PutOptions::any()).await.unwrap();
        let place = Place { object: taken, location: kept.location };
        aliases.recover(std::slice::from_ref(&place)).await.unwrap();
        store.head(&place).await.unwrap();
    }

    #[test]
    fn two_buckets_never_have_one_name_there() {
        for there in [[("one", "same"), ("two", "same")], [("one", "two"), ("two", "three")], [("one", "one"), ("two", "three")]]
        {
            let there = there.map(|(here, there)| (bucket(here), bucket(there)));
            assert!(matches!(Aliases::new(Arc::new(Memory::new()), there.into()), Err(Error::Name(_))));
        }
    }
}
