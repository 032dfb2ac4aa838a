//! Several stores as one: each bucket lives whole in one of them.
//!
//! A bucket stays in the store that has it, whatever routes say by now; routes decide where new ones are made. Notes lie in the
//! store of the first route.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use futures::stream::{self, BoxStream, StreamExt};

use super::{
    Backend, Body, Buffered, Capabilities, Error, Fetched, Found, FoundOwn, GetOptions, Kept, KeptPart, Place, Published,
    PutOptions, Result, StoreUpload, Traffic,
};
use crate::model::{Binding, BucketName, Key, ObjectId, WriteId, glob};
use crate::tasks::Worker;

/// A store and what settings call it.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: String,
    pub store: Arc<dyn Backend>,
}

/// New buckets of such names are made there.
#[derive(Clone, Debug)]
pub struct Route {
    /// A pattern.
    pub buckets: String,
    /// Name of a store.
    pub store: String,
}

/// Stores, and which bucket is where.
#[derive(Debug)]
pub struct Routes {
    stores: Vec<Named>,
    /// Pattern, and the place of its store in `stores`. First match wins.
    routes: Vec<(String, usize)>,
    /// Where the buckets are that some store has.
    placed: RwLock<HashMap<BucketName, usize>>,
}

impl Routes {
    /// Finds out which store has which bucket. Fails where several have one.
    pub async fn open(stores: Vec<Named>, routes: Vec<Route>) -> Result<Self> {
        let at = |route: Route| {
            let at = stores.iter().position(|store| store.name == route.store);
            at.map(|at| (route.buckets, at))
                .ok_or_else(|| Error::Name(format!("a route leads to {:?}, which is no store", route.store)))
        };
        let routes = routes.into_iter().map(at).collect::<Result<Vec<_>>>()?;
        if routes.is_empty() {
            return Err(Error::Name("there is no route".to_owned()));
        }
        let all = Self { stores, routes, placed: RwLock::default() };
        all.list_buckets().await?;
        Ok(all)
    }

    fn placed(&self) -> HashMap<BucketName, usize> {
        self.placed.read().expect("nothing panics while it holds the places").clone()
    }

    fn routed(&self, bucket: &BucketName) -> Option<usize> {
        self.routes.iter().find(|(pattern, _)| glob(pattern, bucket.as_str())).map(|(_, at)| *at)
    }

    fn place(&self, bucket: &BucketName) -> Option<usize> {
        let placed = self.placed.read().expect("nothing panics while it holds the places");
        placed.get(bucket).copied().or_else(|| self.routed(bucket))
    }

    /// The store that has a bucket, or that it is to be made in.
    fn of(&self, bucket: &BucketName) -> Result<&dyn Backend> {
        self.place(bucket).map(|at| &*self.stores[at].store).ok_or(Error::NoSuchBucket)
    }

    fn home(&self) -> &dyn Backend {
        &*self.stores[self.routes[0].1].store
    }

    /// Of several stores that have a bucket, the one that it is known to be in. A route does not tell: it may have changed.
    fn choose(&self, bucket: &BucketName, having: &[usize]) -> Result<usize> {
        let placed = self.placed().get(bucket).copied().filter(|at| having.contains(at));
        match (placed, having) {
            (Some(at), _) => Ok(at),
            (None, [only]) => Ok(*only),
            (None, several) => {
                let names: Vec<_> = several.iter().map(|at| self.stores[*at].name.as_str()).collect();
                let remedy = "take it from the sight of the others' credentials, or remove it there";
                Err(Error::Name(format!("the bucket {bucket} is in {} at once; {remedy}", names.join(" and "))))
            }
        }
    }

    /// Places by the store that they are in, in any order within each.
    fn split(&self, places: &[Place]) -> BTreeMap<usize, Vec<Place>> {
        let mut split: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
        for place in places {
            if let Some(at) = self.place(&place.object.bucket) {
                split.entry(at).or_default().push(place.clone());
            }
        }
        split
    }
}

#[async_trait]
impl Backend for Routes {
    fn capabilities(&self) -> Capabilities {
        let lines = self.stores.iter().flat_map(|named| {
            let Capabilities { kind, lines } = named.store.capabilities();
            lines.into_iter().map(move |mut line| {
                line.detail = format!("{} ({kind}): {}", named.name, line.detail);
                line
            })
        });
        Capabilities { kind: "several", lines: lines.collect() }
    }

    fn traffic(&self) -> Vec<Traffic> {
        let traffic = |named: &Named| {
            let store = named.name.clone();
            named.store.traffic().into_iter().map(move |traffic| Traffic { store: store.clone(), ..traffic })
        };
        self.stores.iter().flat_map(traffic).collect()
    }

    fn buffers(&self) -> Vec<Buffered> {
        self.stores.iter().flat_map(|named| named.store.buffers()).collect()
    }

    fn is_buffered(&self, at: &Place) -> bool {
        self.of(&at.object.bucket).is_ok_and(|store| store.is_buffered(at))
    }

    fn workers(&self) -> Vec<Box<dyn Worker>> {
        self.stores.iter().flat_map(|named| named.store.workers()).collect()
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

    /// Between two stores the bytes come through here.
    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        if self.place(&from.object.bucket) == self.place(&to.bucket) {
            return self.of(&to.bucket)?.copy(from, get, to, put).await;
        }
        let fetched = self.get(from, get).await?;
        self.put(to, fetched.body, put).await
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        self.of(&from.object.bucket)?.publish(from, binding).await
    }

    async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        match self.of(&at.object.bucket) {
            Ok(store) => store.delete(at, only).await,
            Err(_) => Ok(()),
        }
    }

    async fn harden(&self, moved: &[Place]) -> Result<()> {
        let split = self.split(moved);
        try_join_all(split.iter().map(|(at, places)| self.stores[*at].store.harden(places))).await.map(drop)
    }

    async fn release(&self, staged: &Place) {
        if let Ok(store) = self.of(&staged.object.bucket) {
            store.release(staged).await;
        }
    }

    async fn recover(&self, keep: &[Place]) -> Result<()> {
        let mut split = self.split(keep);
        let all = self.stores.iter().enumerate().map(|(at, named)| (named, split.remove(&at).unwrap_or_default()));
        let all = all.map(|(named, keep)| async move { named.store.recover(&keep).await });
        try_join_all(all).await.map(drop)
    }

    async fn start_upload(&self, to: &ObjectId, write: WriteId, label: Option<String>) -> Result<String> {
        self.of(&to.bucket)?.start_upload(to, write, label).await
    }

    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        self.of(&upload.object.bucket)?.put_part(upload, number, body, put).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
        self.of(&upload.object.bucket)?.assemble(upload, parts, put).await
    }

    async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        match self.of(&upload.object.bucket) {
            Ok(store) => store.end_upload(upload).await,
            Err(_) => Ok(()),
        }
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
        let Some(at) = self.place(bucket) else {
            return Err(Error::Name(format!("no [[route]] leads the bucket {bucket} to a store")));
        };
        self.stores[at].store.create_bucket(bucket).await?;
        self.placed.write().expect("nothing panics while it holds the places").insert(bucket.clone(), at);
        Ok(())
    }

    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        let Some(at) = self.place(bucket) else { return Ok(()) };
        self.stores[at].store.delete_bucket(bucket).await?;
        self.placed.write().expect("nothing panics while it holds the places").remove(bucket);
        Ok(())
    }

    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        let before = self.placed();
        let lists = try_join_all(self.stores.iter().map(|named| named.store.list_buckets())).await?;
        let mut having: BTreeMap<BucketName, Vec<usize>> = BTreeMap::new();
        for (at, buckets) in lists.into_iter().enumerate() {
            buckets.into_iter().for_each(|bucket| having.entry(bucket).or_default().push(at));
        }
        for (bucket, having) in &having {
            let at = self.choose(bucket, having)?;
            // What was made or removed since knows better.
            if before.get(bucket) == Some(&at) || before.get(bucket) != self.placed().get(bucket) {
                continue;
            }
            if self.routed(bucket) != Some(at) {
                let store = &self.stores[at].name;
                tracing::info!(%bucket, store, "the bucket stays in the store that has it, though its route leads elsewhere");
            }
            self.placed.write().expect("nothing panics while it holds the places").insert(bucket.clone(), at);
        }
        Ok(having.into_keys().collect())
    }

    async fn strangers(&self, bucket: &BucketName) -> Result<u64> {
        self.of(bucket)?.strangers(bucket).await
    }

    async fn tell_strangers(&self) -> Result<()> {
        try_join_all(self.stores.iter().map(|named| named.store.tell_strangers())).await.map(drop)
    }

    async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.home().write_note(name, bytes).await
    }

    async fn read_note(&self, name: &str) -> Result<Bytes> {
        self.home().read_note(name).await
    }

    async fn list_notes(&self) -> Result<Vec<String>> {
        self.home().list_notes().await
    }

    async fn remove_note(&self, name: &str) -> Result<()> {
        self.home().remove_note(name).await
    }

    /// Says which of them cannot.
    async fn check(&self) -> Result<()> {
        let checked = join_all(self.stores.iter().map(|named| async move { (named, named.store.check().await) })).await;
        let faults: Vec<_> =
            checked.into_iter().filter_map(|(named, checked)| Some(format!("{}: {}", named.name, checked.err()?))).collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::Unavailable(faults.join("; "))) }
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

    fn object(bucket: &str, key: &str) -> ObjectId {
        ObjectId::parse(bucket, key).unwrap()
    }

    fn plain(object: ObjectId) -> Place {
        Place { object, location: Location::Plain }
    }

    fn named(name: &str, store: &Arc<Memory>) -> Named {
        Named { name: name.to_owned(), store: store.clone() }
    }

    fn route(buckets: &str, store: &str) -> Route {
        Route { buckets: buckets.to_owned(), store: store.to_owned() }
    }

    struct World {
        disk: Arc<Memory>,
        cloud: Arc<Memory>,
    }

    impl World {
        fn new() -> Self {
            Self { disk: Arc::default(), cloud: Arc::new(Memory::naming()) }
        }

        async fn routes(&self, routes: Vec<Route>) -> Result<Routes> {
            Routes::open(vec![named("disk", &self.disk), named("cloud", &self.cloud)], routes).await
        }
    }

    async fn over_two() -> (Arc<Routes>, World) {
        let world = World::new();
        let routes = world.routes(vec![route("cloud-*", "cloud"), route("*", "disk")]).await.unwrap();
        (Arc::new(routes), world)
    }

    mod conformance {
        use super::*;

        crate::backend::conformance::passes_conformance!(over_two().await);
    }

    #[tokio::test]
    async fn new_buckets_go_where_their_route_leads() {
        let (routes, world) = over_two().await;
        for name in ["a", "cloud-a", "b"].map(|name| format!("{name}-bucket")) {
            routes.create_bucket(&bucket(&name)).await.unwrap();
        }
        assert_eq!(world.disk.list_buckets().await.unwrap(), ["a-bucket", "b-bucket"].map(bucket));
        assert_eq!(world.cloud.list_buckets().await.unwrap(), ["cloud-a-bucket"].map(bucket));
        assert_eq!(routes.list_buckets().await.unwrap(), ["a-bucket", "b-bucket", "cloud-a-bucket"].map(bucket));
    }

    #[tokio::test]
    async fn a_bucket_stays_in_the_store_that_has_it_whatever_routes_say() {
        let world = World::new();
        world.disk.create_bucket(&bucket("cloud-old")).await.unwrap();
        let routes = world.routes(vec![route("*", "cloud")]).await.unwrap();
        let kept = routes.put(&object("cloud-old", "a"), Bytes::from("1").into(), PutOptions::any()).await.unwrap();
        let at = Place { object: object("cloud-old", "a"), location: kept.location.clone() };
        assert_eq!(routes.publish(&at, &kept.binding).await.unwrap(), Published::Done);
        world.disk.head(&plain(object("cloud-old", "a"))).await.unwrap();
        world.disk.delete(&plain(object("cloud-old", "a")), &kept.binding).await.unwrap();
        routes.delete_bucket(&bucket("cloud-old")).await.unwrap();
        routes.create_bucket(&bucket("cloud-old")).await.unwrap();
        assert_eq!(world.cloud.list_buckets().await.unwrap(), [bucket("cloud-old")], "made anew it goes where routes lead");
    }

    #[tokio::test]
    async fn a_bucket_that_two_stores_have_is_refused_at_start_and_stays_where_it_was_afterwards() {
        let world = World::new();
        let routes = world.routes(vec![route("*", "cloud")]).await.unwrap();
        routes.create_bucket(&bucket("both")).await.unwrap();
        world.disk.create_bucket(&bucket("both")).await.unwrap();
        assert_eq!(routes.list_buckets().await.unwrap(), [bucket("both")]);
        assert_eq!(routes.place(&bucket("both")), Some(1));
        let refused = world.routes(vec![route("*", "cloud")]).await.unwrap_err().to_string();
        assert!(refused.contains("both is in disk and cloud at once"), "{refused}");
    }

    #[tokio::test]
    async fn a_bucket_without_a_route_is_refused_with_the_reason() {
        let world = World::new();
        let routes = world.routes(vec![route("logs-*", "cloud")]).await.unwrap();
        let refused = routes.create_bucket(&bucket("other")).await.unwrap_err().to_string();
        assert!(refused.contains("no [[route]] leads the bucket other"), "{refused}");
        let put = routes.put(&object("other", "a"), Body::empty(), PutOptions::any()).await;
        assert!(matches!(put, Err(Error::NoSuchBucket)), "{put:?}");
        assert!(matches!(world.routes(vec![route("*", "nowhere")]).await, Err(Error::Name(_))));
    }

    #[tokio::test]
    async fn a_copy_between_stores_brings_the_bytes_over() {
        let (routes, _world) = over_two().await;
        for name in ["a-bucket", "cloud-a"] {
            routes.create_bucket(&bucket(name)).await.unwrap();
        }
        let kept = routes.put(&object("a-bucket", "k"), Bytes::from("bytes").into(), PutOptions::any()).await.unwrap();
        let from = Place { object: object("a-bucket", "k"), location: kept.location };
        let get = GetOptions { range: Some(1..4), expect: Some(kept.binding) };
        let copied = routes.copy(&from, get, &object("cloud-a", "k"), PutOptions::any()).await.unwrap();
        let at = Place { object: object("cloud-a", "k"), location: copied.location };
        let read = routes.get(&at, GetOptions { range: None, expect: Some(copied.binding) }).await.unwrap();
        assert_eq!(read.body.collect(10).await.unwrap(), "yte");
    }
}
