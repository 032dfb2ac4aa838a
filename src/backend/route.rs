//! Several named stores behind one: a bucket lives in the store that the first route matching its name leads to.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use futures::stream::{self, BoxStream, StreamExt};

use super::{
    Backend, Body, Capabilities, Capability, Error, Fetched, Found, FoundOwn, GetOptions, Kept, KeptPart, Place, Published,
    PutOptions, Result, StoreUpload,
};
use crate::model::{Binding, BucketName, Key, Location, ObjectId, WriteId, glob};

/// Where buckets of some names live.
#[derive(Clone, Debug)]
pub struct Route {
    /// With `*` and `?`.
    pub buckets: String,
    pub store: Arc<Named>,
}

/// A store and what the settings call it.
#[derive(Debug)]
pub struct Named {
    pub name: String,
    pub store: Arc<dyn Backend>,
}

/// The stores of a site, by the names of buckets. Notes lie in that of the first route.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    /// Each once, in the order of the routes.
    stores: Vec<Arc<Named>>,
}

impl Routes {
    /// At least one route.
    pub fn new(routes: Vec<Route>) -> Self {
        assert!(!routes.is_empty(), "settings without a route are refused");
        let mut stores: Vec<Arc<Named>> = Vec::new();
        for Route { store, .. } in &routes {
            if !stores.iter().any(|known| Arc::ptr_eq(known, store)) {
                stores.push(store.clone());
            }
        }
        Self { routes, stores }
    }

    fn named(&self, bucket: &BucketName) -> Option<&Named> {
        let route = self.routes.iter().find(|route| glob(&route.buckets, bucket.as_str()));
        route.map(|route| &*route.store)
    }

    fn of(&self, bucket: &BucketName) -> Result<&dyn Backend> {
        let named =
            self.named(bucket).ok_or_else(|| Error::Name(format!("no [[route]] leads from the bucket {bucket} to a store")));
        named.map(|named| &*named.store)
    }

    fn notes(&self) -> &dyn Backend {
        &*self.stores[0].store
    }

    /// What is to be said of buckets that live elsewhere than their route leads: one that was changed under them.
    ///
    /// # Errors
    /// Where a store cannot list its buckets.
    pub async fn strayed(&self, live: &[BucketName]) -> Result<Vec<String>> {
        let mut strayed = Vec::new();
        let mut held = Vec::new();
        for named in &self.stores {
            held.push((named, named.store.list_buckets().await?));
        }
        for bucket in live {
            let Some(route) = self.named(bucket) else {
                strayed.push(format!("no route leads to the bucket {bucket}, which exists"));
                continue;
            };
            let homes = held.iter().filter(|(_, buckets)| buckets.contains(bucket)).map(|(named, _)| named.name.as_str());
            let homes: Vec<&str> = homes.collect();
            if !homes.is_empty() && !homes.contains(&route.name.as_str()) {
                let homes = homes.join(", ");
                strayed.push(format!("the bucket {bucket} lives in {homes}, and its route leads to {}", route.name));
            }
        }
        Ok(strayed)
    }
}

#[async_trait]
impl Backend for Routes {
    fn capabilities(&self) -> Capabilities {
        let of_one = |named: &Arc<Named>| {
            let name = named.name.clone();
            let lines = named.store.capabilities().lines.into_iter();
            lines.map(move |line| Capability { detail: format!("{name}: {}", line.detail), ..line }).collect::<Vec<_>>()
        };
        Capabilities { kind: "several", lines: self.stores.iter().flat_map(of_one).collect() }
    }

    async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        self.of(&to.bucket)?.put(to, body, put).await
    }

    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched> {
        self.of(&at.object.bucket)?.get(at, get).await
    }

    async fn head(&self, at: &Place) -> Result<Found> {
        self.of(&at.object.bucket)?.head(at).await
    }

    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        let (source, target) = (self.of(&from.object.bucket)?, self.of(&to.bucket)?);
        if std::ptr::addr_eq(source, target) {
            return source.copy(from, get, to, put).await;
        }
        let fetched = source.get(from, get).await?;
        let put = PutOptions { size: fetched.body.size, ..put };
        target.put(to, fetched.body, put).await
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        self.of(&from.object.bucket)?.publish(from, binding).await
    }

    async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        self.of(&at.object.bucket)?.delete(at, only).await
    }

    async fn harden(&self, moved: &[Place]) -> Result<()> {
        let mut by_store: Vec<(&dyn Backend, Vec<Place>)> = Vec::new();
        for place in moved {
            let store = self.of(&place.object.bucket)?;
            match by_store.iter_mut().find(|(known, _)| std::ptr::addr_eq(*known, store)) {
                Some((_, places)) => places.push(place.clone()),
                None => by_store.push((store, vec![place.clone()])),
            }
        }
        try_join_all(by_store.iter().map(|(store, places)| store.harden(places))).await?;
        Ok(())
    }

    async fn release(&self, staged: &Place) {
        if let Ok(store) = self.of(&staged.object.bucket) {
            store.release(staged).await;
        }
    }

    /// Each keeps what any of them is to keep: numbers of staging files are not told apart by store.
    async fn recover(&self, keep: &[Location]) -> Result<()> {
        try_join_all(self.stores.iter().map(|named| named.store.recover(keep))).await?;
        Ok(())
    }

    async fn start_upload(&self, to: &ObjectId, write: WriteId) -> Result<String> {
        self.of(&to.bucket)?.start_upload(to, write).await
    }

    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        self.of(&upload.object.bucket)?.put_part(upload, number, body, put).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
        self.of(&upload.object.bucket)?.assemble(upload, parts, put).await
    }

    async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        self.of(&upload.object.bucket)?.end_upload(upload).await
    }

    fn list<'a>(&'a self, bucket: &'a BucketName, after: Option<&'a Key>) -> BoxStream<'a, Result<Found>> {
        match self.of(bucket) {
            Ok(store) => store.list(bucket, after),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }

    fn list_own<'a>(&'a self, bucket: &'a BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>> {
        match self.of(bucket) {
            Ok(store) => store.list_own(bucket, after),
            Err(err) => stream::iter([Err(err)]).boxed(),
        }
    }

    async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.of(bucket)?.create_bucket(bucket).await
    }

    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.of(bucket)?.delete_bucket(bucket).await
    }

    /// Those that a route leads to: what else a store holds is not this site's.
    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        let of_store = |named: Arc<Named>| async move {
            let buckets = named.store.list_buckets().await?;
            let leads_there = |bucket: &BucketName| self.named(bucket).is_some_and(|route| std::ptr::eq(route, &*named));
            Ok::<_, Error>(buckets.into_iter().filter(leads_there).collect::<Vec<_>>())
        };
        let mut all = try_join_all(self.stores.iter().cloned().map(of_store)).await?.concat();
        all.sort();
        Ok(all)
    }

    async fn strangers(&self, bucket: &BucketName) -> Result<u64> {
        self.of(bucket)?.strangers(bucket).await
    }

    async fn tell_strangers(&self) -> Result<()> {
        try_join_all(self.stores.iter().map(|named| named.store.tell_strangers())).await?;
        Ok(())
    }

    async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.notes().write_note(name, bytes).await
    }

    async fn read_note(&self, name: &str) -> Result<Bytes> {
        self.notes().read_note(name).await
    }

    async fn list_notes(&self) -> Result<Vec<String>> {
        self.notes().list_notes().await
    }

    async fn remove_note(&self, name: &str) -> Result<()> {
        self.notes().remove_note(name).await
    }

    async fn check(&self) -> Result<()> {
        let checks = self.stores.iter().map(|named| async move {
            let checked = named.store.check().await;
            checked.map_err(|err| Error::Unavailable(format!("backend.{}: {err}", named.name)))
        });
        try_join_all(checks).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;
    use crate::backend::memory::Memory;

    fn named(name: &str, store: Memory) -> Arc<Named> {
        Arc::new(Named { name: name.into(), store: Arc::new(store) })
    }

    fn route(buckets: &str, store: &Arc<Named>) -> Route {
        Route { buckets: buckets.into(), store: store.clone() }
    }

    fn bucket(name: &str) -> BucketName {
        BucketName::new(name).unwrap()
    }

    /// What begins with b lives in a store without staging files, the rest in one with them.
    fn two() -> (Routes, [Arc<Named>; 2]) {
        let (one, other) = (named("one", Memory::naming()), named("other", Memory::new()));
        (Routes::new(vec![route("b*", &one), route("*", &other)]), [one, other])
    }

    crate::backend::conformance::passes_naming_conformance!((Arc::new(two().0), ()));

    async fn write(store: &Routes, object: &ObjectId, bytes: &'static [u8]) -> Kept {
        let kept = store.put(object, Body::from(Bytes::from_static(bytes)), PutOptions::any()).await.unwrap();
        let from = Place { object: object.clone(), location: kept.location.clone() };
        assert_eq!(store.publish(&from, &kept.binding).await.unwrap(), Published::Done);
        kept
    }

    #[tokio::test]
    async fn a_bucket_lives_where_the_first_matching_route_leads() {
        let (routes, [one, other]) = two();
        for name in ["box", "attic"] {
            routes.create_bucket(&bucket(name)).await.unwrap();
        }
        assert_eq!(one.store.list_buckets().await.unwrap(), [bucket("box")]);
        assert_eq!(other.store.list_buckets().await.unwrap(), [bucket("attic")]);
        // Nothing leads to it.
        other.store.create_bucket(&bucket("barn")).await.unwrap();
        assert_eq!(routes.list_buckets().await.unwrap(), [bucket("attic"), bucket("box")]);
        let (from, to) = (ObjectId { bucket: bucket("box"), key: Key::new("a").unwrap() }, bucket("attic"));
        let kept = write(&routes, &from, b"bytes").await;
        let to = ObjectId { bucket: to, key: from.key.clone() };
        let (at, get) =
            (Place { object: from, location: Location::Plain }, GetOptions { range: Some(1..4), expect: Some(kept.binding) });
        let copy = routes.copy(&at, get, &to, PutOptions::any()).await.unwrap();
        let from = Place { object: to.clone(), location: copy.location };
        routes.publish(&from, &copy.binding).await.unwrap();
        let found: Vec<Found> = other.store.list(&to.bucket, None).try_collect().await.unwrap();
        assert_eq!(found.iter().map(|found| found.size).collect::<Vec<_>>(), [3]);
    }

    #[tokio::test]
    async fn a_bucket_whose_route_was_changed_is_told() {
        let (routes, [one, other]) = two();
        for name in ["box", "attic", "bin"] {
            routes.create_bucket(&bucket(name)).await.unwrap();
        }
        let live = routes.list_buckets().await.unwrap();
        assert_eq!(routes.strayed(&live).await.unwrap(), [""; 0]);
        let changed = Routes::new(vec![route("bo*", &other), route("b*", &one)]);
        let told = changed.strayed(&live).await.unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("no route leads to the bucket attic"), "{told:?}");
        assert!(told[1].contains("the bucket box lives in one, and its route leads to other"), "{told:?}");
        assert!(matches!(changed.create_bucket(&bucket("attic")).await, Err(Error::Name(_))));
    }
}
