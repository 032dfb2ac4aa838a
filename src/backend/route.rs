//! Several stores as one: each bucket lives whole in one of them.
//!
//! A bucket stays in the store that has it, whatever routes say by now; routes decide where new ones are made. While a store has
//! not said what it has, a bucket that no other one has may be there: it is neither missing nor made elsewhere. Notes lie in one
//! of the stores, the home.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::timeout;

use super::places::Places;
use super::{
    Attributes, Backend, Body, Buffered, Capabilities, Error, Fetched, Found, FoundOwn, FoundVersion, GetOptions, Kept, KeptPart,
    Place, Published, PutOptions, Result, StoreUpload, Traffic,
};
use crate::model::{Binding, BucketName, Key, ObjectId, Versioning, WriteId, glob};
use crate::tasks::Worker;

/// For a store to say whether it works: less than whoever asks waits for all of them.
const CHECK_PATIENCE: Duration = Duration::from_millis(1_500);

/// A store and what settings call it.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: String,
    pub store: Arc<dyn Backend>,
    /// What buckets with another name here are called there: no bucket is made under such a name anywhere, and one that had it
    /// is not missing.
    pub taken: Vec<BucketName>,
}

/// New buckets of such names are made there.
#[derive(Clone, Debug)]
pub struct Route {
    /// A pattern.
    pub buckets: String,
    /// Only those that belong to this location; none is for every location that no route names.
    pub location: Option<String>,
    /// Name of a store.
    pub store: String,
}

/// A route whose store was found.
#[derive(Debug)]
struct Way {
    buckets: String,
    location: Option<String>,
    /// The place of its store among the stores.
    to: usize,
}

impl Way {
    /// Whether a bucket of that location, or of none that is named, goes this way.
    fn takes(&self, bucket: &BucketName, location: Option<&str>) -> bool {
        self.location.as_deref() == location && glob(&self.buckets, bucket.as_str())
    }
}

/// Stores, and which bucket is where.
#[derive(Debug)]
pub struct Routes {
    stores: Vec<Named>,
    /// First match wins.
    ways: Vec<Way>,
    /// The place in `stores` of the one with the notes.
    home: usize,
    places: Places,
}

/// What stores said.
struct Heard {
    /// What those have that answered.
    buckets: BTreeSet<BucketName>,
    /// Who did not, and why.
    silent: Vec<(usize, Error)>,
}

impl Routes {
    /// Finds out which store has which bucket; one that does not answer is asked again later. Fails where several have the same.
    /// `home` is the name of the store with the notes.
    pub async fn open(stores: Vec<Named>, routes: Vec<Route>, home: &str) -> Result<Self> {
        let at = |name: &str| stores.iter().position(|store| store.name == name);
        let no_store = |what: &str, name: &str| Error::Setup(format!("{what} {name:?}, which is no store"));
        let leads = |Route { buckets, location, store }: Route| {
            let to = at(&store).ok_or_else(|| no_store("a route leads to", &store))?;
            Ok(Way { buckets, location, to })
        };
        let ways = routes.into_iter().map(leads).collect::<Result<Vec<_>>>()?;
        let home = at(home).ok_or_else(|| no_store("the home is", home))?;
        let all = Self { places: Places::unknown(stores.len()), stores, ways, home };
        for (at, err) in all.hear(&all.places.unheard()).await?.silent {
            // No wait mends what it is called there.
            if matches!(err, Error::Setup(_)) {
                return Err(err);
            }
            let store = &all.stores[at].name;
            tracing::warn!(store, error = %err, "a store is away: its buckets cannot be used, and none can be made, until it is there");
        }
        Ok(all)
    }

    /// Asks these stores what they have.
    async fn hear(&self, stores: &[usize]) -> Result<Heard> {
        let before = self.places.all();
        let asked = stores.iter().map(|at| async move { (*at, self.stores[*at].store.list_buckets().await) });
        let mut heard = Heard { buckets: BTreeSet::new(), silent: Vec::new() };
        let mut having: BTreeMap<BucketName, Vec<usize>> = BTreeMap::new();
        let mut answered = Vec::new();
        for (at, told) in join_all(asked).await {
            match told {
                Ok(buckets) => {
                    answered.push(at);
                    buckets.into_iter().for_each(|bucket| having.entry(bucket).or_default().push(at));
                }
                Err(err) => heard.silent.push((at, err)),
            }
        }
        let chosen = having.iter().map(|(bucket, having)| self.choose(bucket, having, &answered));
        let chosen = chosen.collect::<Result<Vec<_>>>()?;
        for (bucket, at) in having.into_keys().zip(chosen) {
            if self.places.see(&bucket, at, before.get(&bucket).copied()) && !self.leads(&bucket, at) {
                let store = &self.stores[at].name;
                tracing::info!(%bucket, store, "the bucket stays in the store that has it, though its route leads elsewhere");
            }
            heard.buckets.insert(bucket);
        }
        answered.into_iter().for_each(|at| self.places.hear(at));
        Ok(heard)
    }

    /// Of several stores that have a bucket, the one that it is known to be in. A route does not tell: it may have changed.
    fn choose(&self, bucket: &BucketName, having: &[usize], asked: &[usize]) -> Result<usize> {
        // What was not asked still has what it had.
        let known = self.places.of(bucket).filter(|at| having.contains(at) || !asked.contains(at));
        let has = |at: &usize| having.contains(at) || Some(*at) == known;
        let names: Vec<_> = (0..self.stores.len()).filter(has).map(|at| self.stores[at].name.as_str()).collect();
        let names = names.join(" and ");
        match (known, having) {
            (Some(at), having) => {
                if having.iter().any(|other| *other != at) {
                    let store = &self.stores[at].name;
                    tracing::error!(%bucket, store, "the bucket is in {names} at once: a start is refused until one of them has it");
                }
                Ok(at)
            }
            (None, [only]) => Ok(*only),
            (None, _) => {
                let remedy = "take it from the sight of the others' credentials, or remove it there";
                Err(Error::Name(format!("the bucket {bucket} is in {names} at once; {remedy}")))
            }
        }
    }

    /// Where a bucket of a location is made. That of no route is taken for none.
    fn routed(&self, bucket: &BucketName, location: Option<&str>) -> Option<usize> {
        let named = location.filter(|location| self.ways.iter().any(|way| way.location.as_deref() == Some(location)));
        self.ways.iter().find(|way| way.takes(bucket, named)).map(|way| way.to)
    }

    /// Whether a bucket of any location may be made in a store.
    fn leads(&self, bucket: &BucketName, at: usize) -> bool {
        self.ways.iter().any(|way| way.to == at && self.routed(bucket, way.location.as_deref()) == Some(at))
    }

    /// The store that has a bucket, or that routes without a location lead it to; `None` where none does. Fails while nobody knows.
    async fn place(&self, bucket: &BucketName) -> Result<Option<usize>> {
        Ok(self.known(bucket).await?.or_else(|| self.routed(bucket, None)))
    }

    /// The store that has a bucket; `None` where none has. Fails while nobody knows.
    async fn known(&self, bucket: &BucketName) -> Result<Option<usize>> {
        let unheard = self.places.unheard();
        match self.places.of(bucket) {
            None if !unheard.is_empty() => {}
            None => return self.nowhere(bucket),
            known => return Ok(known),
        }
        let heard = self.hear(&unheard).await.map_err(|err| Error::Unavailable(err.to_string()))?;
        match (self.places.of(bucket), heard.silent.first()) {
            (Some(at), _) => Ok(Some(at)),
            (None, None) => self.nowhere(bucket),
            (None, Some((at, err))) => {
                let store = &self.stores[*at].name;
                Err(Error::Unavailable(format!("nobody knows whether the bucket {bucket} is in {store}: {err}")))
            }
        }
    }

    /// No store has it. What had it before a route gave its name to another must not be taken for lost.
    fn nowhere(&self, bucket: &BucketName) -> Result<Option<usize>> {
        self.refuse_taken(bucket).map(|()| None)
    }

    /// A name that a route gives away is no bucket's here, in no store.
    fn refuse_taken(&self, bucket: &BucketName) -> Result<()> {
        match self.stores.iter().find(|named| named.taken.contains(bucket)) {
            None => Ok(()),
            Some(named) => {
                Err(Error::Name(format!("a route gives the name {bucket} to another bucket, in the store {}", named.name)))
            }
        }
    }

    async fn of(&self, bucket: &BucketName) -> Result<&dyn Backend> {
        self.place(bucket).await?.map(|at| &*self.stores[at].store).ok_or(Error::NoSuchBucket)
    }

    fn home(&self) -> &dyn Backend {
        &*self.stores[self.home].store
    }

    /// Places by the store that they are in, in any order within each.
    async fn split(&self, places: &[Place]) -> Result<BTreeMap<usize, Vec<Place>>> {
        let mut split: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
        for place in places {
            if let Some(at) = self.place(&place.object.bucket).await? {
                split.entry(at).or_default().push(place.clone());
            }
        }
        Ok(split)
    }

    /// Whether a bucket may be in a store.
    fn may_have(&self, at: usize, bucket: &BucketName) -> bool {
        match self.places.of(bucket) {
            Some(known) => known == at,
            None => !self.places.is_heard(at) || self.leads(bucket, at) || self.stores[at].taken.contains(bucket),
        }
    }
}

/// A store that hangs says nothing of the others.
async fn in_time(check: impl Future<Output = Result<()>>) -> Result<()> {
    let late = |_| Error::Unavailable(format!("no answer within {CHECK_PATIENCE:?}"));
    timeout(CHECK_PATIENCE, check).await.map_err(late)?
}

#[async_trait]
impl Backend for Routes {
    fn capabilities(&self) -> Vec<Capabilities> {
        let of = |named: &Named| {
            let store = named.name.clone();
            named.store.capabilities().into_iter().map(move |found| Capabilities { store: store.clone(), ..found })
        };
        self.stores.iter().flat_map(of).collect()
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
        self.stores.iter().any(|named| named.store.is_buffered(at))
    }

    fn workers(&self) -> Vec<Box<dyn Worker>> {
        self.stores.iter().flat_map(|named| named.store.workers()).collect()
    }

    async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        self.of(&to.bucket).await?.put(to, body, put).await
    }

    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched> {
        self.of(&at.object.bucket).await?.get(at, get).await
    }

    async fn head(&self, at: &Place) -> Result<Found> {
        self.of(&at.object.bucket).await?.head(at).await
    }

    /// Between two stores the bytes come through here.
    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        if self.place(&from.object.bucket).await? == self.place(&to.bucket).await? {
            return self.of(&to.bucket).await?.copy(from, get, to, put).await;
        }
        let fetched = self.get(from, get).await?;
        self.put(to, fetched.body, put).await
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        self.of(&from.object.bucket).await?.publish(from, binding).await
    }

    async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        match self.of(&at.object.bucket).await {
            Err(Error::NoSuchBucket) => Ok(()),
            store => store?.delete(at, only).await,
        }
    }

    async fn harden(&self, moved: &[Place]) -> Result<()> {
        let split = self.split(moved).await?;
        try_join_all(split.iter().map(|(at, places)| self.stores[*at].store.harden(places))).await.map(drop)
    }

    async fn release(&self, staged: &Place) {
        if let Ok(store) = self.of(&staged.object.bucket).await {
            store.release(staged).await;
        }
    }

    /// A store that is not there yet is told everything that may be in it.
    async fn recover(&self, keep: &[Place]) -> Result<()> {
        let all = self.stores.iter().enumerate().map(|(at, named)| async move {
            let keep: Vec<_> = keep.iter().filter(|place| self.may_have(at, &place.object.bucket)).cloned().collect();
            named.store.recover(&keep).await
        });
        try_join_all(all).await.map(drop)
    }

    async fn start_upload(&self, to: &ObjectId, write: WriteId, attributes: Attributes) -> Result<String> {
        self.of(&to.bucket).await?.start_upload(to, write, attributes).await
    }

    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        self.of(&upload.object.bucket).await?.put_part(upload, number, body, put).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
        self.of(&upload.object.bucket).await?.assemble(upload, parts, put).await
    }

    async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        match self.of(&upload.object.bucket).await {
            Err(Error::NoSuchBucket) => Ok(()),
            store => store?.end_upload(upload).await,
        }
    }

    fn list<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<Found>> {
        let (bucket, after) = (bucket.clone(), after.cloned());
        let listing = async move {
            match self.of(&bucket).await {
                Ok(store) => store.list(&bucket, after.as_ref()),
                Err(err) => stream::iter([Err(err)]).boxed(),
            }
        };
        stream::once(listing).flatten().boxed()
    }

    fn list_own<'a>(&'a self, bucket: &BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>> {
        let bucket = bucket.clone();
        let listing = async move {
            match self.of(&bucket).await {
                Ok(store) => store.list_own(&bucket, after),
                Err(err) => stream::iter([Err(err)]).boxed(),
            }
        };
        stream::once(listing).flatten().boxed()
    }

    async fn versioning(&self, bucket: &BucketName) -> Result<Versioning> {
        self.of(bucket).await?.versioning(bucket).await
    }

    fn list_versions<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<FoundVersion>> {
        let (bucket, after) = (bucket.clone(), after.cloned());
        let listing = async move {
            match self.of(&bucket).await {
                Ok(store) => store.list_versions(&bucket, after.as_ref()),
                Err(err) => stream::iter([Err(err)]).boxed(),
            }
        };
        stream::once(listing).flatten().boxed()
    }

    fn versions_of<'a>(&'a self, object: &ObjectId) -> BoxStream<'a, Result<FoundVersion>> {
        let object = object.clone();
        let listing = async move {
            match self.of(&object.bucket).await {
                Ok(store) => store.versions_of(&object),
                Err(err) => stream::iter([Err(err)]).boxed(),
            }
        };
        stream::once(listing).flatten().boxed()
    }

    async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.create_bucket_at(bucket, "").await
    }

    /// One that a store has stays there, whatever its location.
    async fn create_bucket_at(&self, bucket: &BucketName, location: &str) -> Result<()> {
        self.refuse_taken(bucket)?;
        let Some(at) = self.known(bucket).await?.or_else(|| self.routed(bucket, Some(location))) else {
            return Err(Error::Name(format!("no [[route]] leads the bucket {bucket}, of the location {location:?}, to a store")));
        };
        self.stores[at].store.create_bucket(bucket).await?;
        self.places.set(bucket, at);
        Ok(())
    }

    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        let Some(at) = self.place(bucket).await? else { return Ok(()) };
        self.stores[at].store.delete_bucket(bucket).await?;
        self.places.forget(bucket);
        Ok(())
    }

    /// Fails while one of them does not answer: what it has is not known to be nothing.
    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        let all: Vec<_> = (0..self.stores.len()).collect();
        let heard = self.hear(&all).await?;
        match heard.silent.first() {
            None => {
                heard.buckets.iter().try_for_each(|bucket| self.refuse_taken(bucket))?;
                Ok(heard.buckets.into_iter().collect())
            }
            Some((at, err)) => Err(Error::Unavailable(format!("the buckets of {}: {err}", self.stores[*at].name))),
        }
    }

    async fn strangers(&self, bucket: &BucketName) -> Result<u64> {
        self.of(bucket).await?.strangers(bucket).await
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
        let checked = self.check_each().await.into_iter();
        let faults: Vec<_> = checked.filter_map(|(name, checked)| Some(format!("{name}: {}", checked.err()?))).collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::Unavailable(faults.join("; "))) }
    }

    async fn check_each(&self) -> Vec<(String, Result<()>)> {
        join_all(self.stores.iter().map(|named| async move { (named.name.clone(), in_time(named.store.check()).await) })).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::alias::{Aliases, Rule};
    use crate::backend::awaited::tests::Switch;
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
        Named { name: name.to_owned(), store: store.clone(), taken: Vec::new() }
    }

    fn route(buckets: &str, store: &str) -> Route {
        Route { buckets: buckets.to_owned(), location: None, store: store.to_owned() }
    }

    fn at(location: &str, route: Route) -> Route {
        Route { location: Some(location.to_owned()), ..route }
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
            Routes::open(vec![named("disk", &self.disk), named("cloud", &self.cloud)], routes, "disk").await
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
    async fn each_store_tells_its_properties_under_its_name() {
        let (routes, _world) = over_two().await;
        let names: Vec<_> = routes.capabilities().into_iter().map(|found| found.store).collect();
        assert_eq!(names, ["disk", "cloud"]);
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
        assert_eq!(routes.place(&bucket("both")).await.unwrap(), Some(1));
        let refused = world.routes(vec![route("*", "cloud")]).await.unwrap_err().to_string();
        assert!(refused.contains("both is in disk and cloud at once"), "{refused}");
    }

    #[tokio::test]
    async fn a_bucket_without_a_route_is_refused_with_the_reason() {
        let world = World::new();
        let routes = world.routes(vec![route("logs-*", "cloud")]).await.unwrap();
        let refused = routes.create_bucket(&bucket("other")).await.unwrap_err().to_string();
        assert!(refused.contains("no [[route]] leads the bucket other, of"), "{refused}");
        let put = routes.put(&object("other", "a"), Body::empty(), PutOptions::any()).await;
        assert!(matches!(put, Err(Error::NoSuchBucket)), "{put:?}");
        assert!(matches!(world.routes(vec![route("*", "nowhere")]).await, Err(Error::Setup(_))));
    }

    #[tokio::test]
    async fn a_bucket_goes_where_its_location_is_and_one_of_no_routes_location_where_the_others_lead() {
        let world = World::new();
        let routes = vec![at("eu", route("logs-*", "disk")), at("eu", route("*", "cloud")), route("*", "disk")];
        let routes = world.routes(routes).await.unwrap();
        for (name, location) in [("a-bucket", "eu"), ("logs-eu", "eu"), ("b-bucket", "us-east-1"), ("c-bucket", "")] {
            routes.create_bucket_at(&bucket(name), location).await.unwrap();
        }
        assert_eq!(world.cloud.list_buckets().await.unwrap(), [bucket("a-bucket")]);
        assert_eq!(world.disk.list_buckets().await.unwrap(), ["b-bucket", "c-bucket", "logs-eu"].map(bucket));
        routes.create_bucket_at(&bucket("a-bucket"), "us-east-1").await.unwrap();
        assert_eq!(routes.list_buckets().await.unwrap().len(), 4, "what is there is not made again elsewhere");
        let only_logs = world.routes(vec![at("eu", route("logs-*", "cloud")), route("*", "disk")]).await.unwrap();
        let refused = only_logs.create_bucket_at(&bucket("other"), "eu").await.unwrap_err().to_string();
        assert!(refused.contains("of the location \"eu\""), "{refused}");
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

    /// A disk, and a cloud that is away.
    async fn under_rain(world: &World) -> (Routes, Switch) {
        let switch = Switch::off(world.cloud.clone());
        let cloud = Named { name: "cloud".to_owned(), store: Arc::new(switch.awaited()), taken: Vec::new() };
        let routes = vec![route("cloud-*", "cloud"), route("*", "disk")];
        (Routes::open(vec![named("disk", &world.disk), cloud], routes, "disk").await.unwrap(), switch)
    }

    /// Waits for the store as its callers do: they try again.
    async fn until_there(routes: &Routes) {
        while routes.check().await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_store_that_is_away_keeps_nobody_from_the_others() {
        let world = World::new();
        world.disk.create_bucket(&bucket("here")).await.unwrap();
        let (routes, _switch) = under_rain(&world).await;
        let kept = routes.put(&object("here", "a"), Bytes::from("1").into(), PutOptions::any()).await.unwrap();
        let at = Place { object: object("here", "a"), location: kept.location.clone() };
        assert_eq!(routes.publish(&at, &kept.binding).await.unwrap(), Published::Done);
        routes.harden(&[plain(object("here", "a"))]).await.unwrap();
        let faults: Vec<_> = routes.check_each().await.into_iter().map(|(name, checked)| (name, checked.is_ok())).collect();
        assert_eq!(faults, [("disk".to_owned(), true), ("cloud".to_owned(), false)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_told_apart_from_those_that_work() {
        assert!(matches!(in_time(std::future::pending()).await, Err(Error::Unavailable(_))));
        in_time(async { Ok(()) }).await.unwrap();
    }

    #[tokio::test]
    async fn what_may_be_in_a_store_that_is_away_is_neither_missing_nor_made_elsewhere() {
        let world = World::new();
        world.cloud.create_bucket(&bucket("strayed")).await.unwrap();
        let (routes, switch) = under_rain(&world).await;
        let (strayed, at) = (bucket("strayed"), plain(object("strayed", "a")));
        let get = GetOptions { range: None, expect: None };
        let upload = StoreUpload { object: at.object.clone(), write: PutOptions::any().write, token: String::new() };
        let refused = [
            routes.create_bucket(&strayed).await.err(),
            routes.create_bucket(&bucket("cloud-new")).await.err(),
            routes.delete_bucket(&strayed).await.err(),
            routes.list_buckets().await.err(),
            routes.get(&at, get).await.err(),
            routes.head(&at).await.err(),
            routes.delete(&at, &Binding::None).await.err(),
            routes.harden(std::slice::from_ref(&at)).await.err(),
            routes.end_upload(&upload).await.err(),
            routes.list(&strayed, None).next().await.and_then(Result::err),
            routes.list_own(&strayed, None).next().await.and_then(Result::err),
        ];
        assert!(refused.iter().all(|err| matches!(err, Some(Error::Unavailable(_)))), "{refused:?}");
        assert_eq!(world.disk.list_buckets().await.unwrap(), []);
        switch.on();
        until_there(&routes).await;
        routes.create_bucket(&strayed).await.unwrap();
        routes.create_bucket(&bucket("cloud-new")).await.unwrap();
        routes.create_bucket(&bucket("new")).await.unwrap();
        assert_eq!(world.cloud.list_buckets().await.unwrap(), ["cloud-new", "strayed"].map(bucket));
        assert_eq!(world.disk.list_buckets().await.unwrap(), [bucket("new")]);
    }

    #[tokio::test]
    async fn a_store_that_comes_late_keeps_what_a_start_told_to_keep() {
        let disk: Arc<Memory> = Arc::default();
        disk.create_bucket(&bucket("strayed")).await.unwrap();
        let mut staged = Vec::new();
        for key in ["kept", "given-up"] {
            let kept = disk.put(&object("strayed", key), Bytes::from("1").into(), PutOptions::any()).await.unwrap();
            staged.push(Place { object: object("strayed", key), location: kept.location });
        }
        let (routes, switch) = under_rain(&World { disk: Arc::default(), cloud: disk }).await;
        routes.recover(&staged[..1]).await.unwrap();
        switch.on();
        until_there(&routes).await;
        routes.head(&staged[0]).await.unwrap();
        assert!(matches!(routes.head(&staged[1]).await, Err(Error::NotFound)));
    }

    #[tokio::test]
    async fn a_bucket_that_a_late_store_has_too_stays_where_it_was() {
        let world = World::new();
        for store in [&world.disk, &world.cloud] {
            store.create_bucket(&bucket("both")).await.unwrap();
        }
        let (routes, switch) = under_rain(&world).await;
        switch.on();
        until_there(&routes).await;
        routes.create_bucket(&bucket("cloud-new")).await.unwrap();
        assert_eq!(routes.place(&bucket("both")).await.unwrap(), Some(0));
    }

    #[tokio::test]
    async fn a_name_that_a_route_gives_away_is_no_buckets_name_and_what_had_it_is_not_missing() {
        let world = World::new();
        world.cloud.create_bucket(&bucket("corp")).await.unwrap();
        let open = async || {
            let rule = Rule { buckets: "photos".to_owned(), bucket: bucket("corp"), prefix: String::new() };
            let cloud = Arc::new(Aliases::new(world.cloud.clone(), vec![rule]).unwrap());
            let cloud = Named { name: "cloud".to_owned(), store: cloud, taken: vec![bucket("corp")] };
            Routes::open(vec![named("disk", &world.disk), cloud], vec![route("*", "disk")], "disk").await
        };
        let routes = open().await.unwrap();
        assert_eq!(routes.list_buckets().await.unwrap(), [bucket("photos")]);
        let refused = [
            routes.create_bucket(&bucket("corp")).await.err(),
            routes.head(&plain(object("corp", "a"))).await.err(),
            routes.list(&bucket("corp"), None).next().await.and_then(Result::err),
        ];
        assert!(refused.iter().all(|err| matches!(err, Some(Error::Name(_)))), "{refused:?}");
        world.cloud.create_bucket(&bucket("photos")).await.unwrap();
        let refused = open().await.unwrap_err().to_string();
        assert!(refused.contains("has a bucket photos beside corp"), "{refused}");
        world.cloud.delete_bucket(&bucket("photos")).await.unwrap();
        world.disk.create_bucket(&bucket("corp")).await.unwrap();
        let routes = open().await.unwrap();
        let refused = [routes.list_buckets().await.err(), routes.create_bucket(&bucket("corp")).await.err()];
        assert!(refused.iter().all(|err| matches!(err, Some(Error::Name(_)))), "{refused:?}");
    }
}
