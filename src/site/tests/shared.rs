//! Buckets that others write to as well: what they do is seen by the next request, whichever it is.

use std::sync::Arc;

use super::{if_none_match, keys};
use crate::backend::memory::Memory;
use crate::backend::{Backend, Body, Place, PutOptions};
use crate::model::{Location, Record, Slot, State};
use crate::site::testing::{get, object, open_in, put, status, upload, with_bucket, with_neighbour_in};
use crate::site::{Custody, Error, Ownership, Rule, Selection, Site, WriteConditions};
use crate::status::{ListEntry, ListQuery, Options};
use crate::tasks::Worker;

struct World {
    site: Site,
    workers: Vec<Box<dyn Worker>>,
    store: Arc<Memory>,
}

fn custody() -> Custody {
    Custody { rules: vec![Rule { buckets: "*".into(), ownership: Ownership::Shared }], ..Custody::default() }
}

/// Over a store whose listings know bindings, and over one whose listings do not.
async fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for store in [Arc::new(Memory::new()), Arc::new(Memory::naming())] {
        let (site, workers) = open_in(custody(), store.clone(), status(Options::default())).await;
        worlds.push(World { site: with_bucket(site).await, workers, store });
    }
    worlds
}

impl World {
    /// Stores an object, whose bytes come to their name.
    async fn put(&mut self, key: &str, text: &'static str) {
        put(&self.site, key, text).await;
        for _ in 0..100 {
            if self.row(key).await.location == Location::Plain {
                return;
            }
            for worker in &mut self.workers {
                worker.step().await.unwrap();
            }
        }
        panic!("{key} does not come to its name");
    }

    async fn row(&self, key: &str) -> Record {
        self.site.status().unit(&object(key), Slot::Null).await.unwrap().unwrap().row.clone()
    }
}

/// Puts a file where others put it.
async fn file(store: &Memory, key: &str, bytes: &'static str) {
    let put = PutOptions { modified_ms: 1_500_000_000_000, ..PutOptions::any() };
    let kept = store.put(&object(key), Body::from(bytes::Bytes::from(bytes)), put).await.unwrap();
    store.publish(&Place { object: object(key), location: kept.location }, &kept.binding).await.unwrap();
}

async fn remove(store: &Memory, key: &str) {
    let at = Place { object: object(key), location: Location::Plain };
    let found = store.head(&at).await.unwrap();
    store.delete(&at, &found.binding).await.unwrap();
}

async fn prefixes(site: &Site) -> Vec<String> {
    let (bucket, delimiter) = (object("-").bucket, Some("/".to_owned()));
    let query = ListQuery { bucket, prefix: String::new(), delimiter, after: None, entries_max: 1_000 };
    let page = site.list(query).await.unwrap();
    page.entries.iter().map(ListEntry::text).map(str::to_owned).collect()
}

async fn size(site: &Site, key: &str) -> u64 {
    let seen = site.head(&object(key), None, Selection::All, &Default::default()).await.unwrap();
    seen.record.identity.size
}

#[tokio::test(start_paused = true)]
async fn what_others_put_is_read_listed_and_replaced() {
    for mut world in worlds().await {
        let store = world.store.clone();
        world.put("mine", "mine").await;
        file(&store, "b", "hello").await;
        assert_eq!(get(&world.site, "b").await.unwrap(), "hello");
        file(&store, "a", "hello").await;
        assert_eq!(keys(&world.site).await, ["a", "b", "mine"]);
        file(&store, "c", "hello").await;
        let refused = world.site.put(&object("c"), upload("mine"), Default::default(), if_none_match()).await;
        assert!(matches!(refused, Err(Error::PreconditionFailed { .. })), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_change_is_another_write() {
    for mut world in worlds().await {
        let store = world.store.clone();
        world.put("a", "mine").await;
        let before = world.site.head(&object("a"), None, Selection::All, &Default::default()).await.unwrap();
        assert_eq!(keys(&world.site).await, ["a"]);
        file(&store, "a", "theirs").await;
        assert_eq!(size(&world.site, "a").await, 6);
        let after = world.site.head(&object("a"), None, Selection::All, &Default::default()).await.unwrap();
        assert!(after.record.row.vector.data > before.record.row.vector.data);
        assert_ne!(after.record.row.identity.etag, before.record.row.identity.etag);
        file(&store, "a", "theirs again").await;
        assert_eq!(keys(&world.site).await, ["a"]);
        let row = world.row("a").await;
        assert_eq!(row.identity.size, 12, "a listing looks too");
        assert_eq!(get(&world.site, "a").await.unwrap(), "theirs again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_remove_is_gone_where_nobody_else_has_it() {
    for mut world in worlds().await {
        let store = world.store.clone();
        for key in ["a", "b/1", "b/2", "c"] {
            world.put(key, "mine").await;
        }
        remove(&store, "a").await;
        assert!(matches!(get(&world.site, "a").await, Err(Error::NoSuchKey)));
        remove(&store, "b/1").await;
        assert_eq!(prefixes(&world.site).await, ["b/", "c"]);
        remove(&store, "b/2").await;
        assert_eq!(prefixes(&world.site).await, ["c"]);
        remove(&store, "c").await;
        assert!(keys(&world.site).await.is_empty());
        world.site.delete_bucket(&object("-").bucket).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_to_its_name_is_not_missed_there() {
    for world in worlds().await {
        put(&world.site, "a", "mine").await;
        assert_eq!(keys(&world.site).await, ["a"]);
        assert_eq!(get(&world.site, "a").await.unwrap(), "mine");
        let row = world.row("a").await;
        assert_eq!(row.state, State::Present);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_away_for_a_moment_comes_back() {
    for mut world in worlds().await {
        let store = world.store.clone();
        world.put("a", "mine").await;
        remove(&store, "a").await;
        assert!(keys(&world.site).await.is_empty());
        file(&store, "a", "mine").await;
        assert_eq!(keys(&world.site).await, ["a"]);
        assert_eq!(get(&world.site, "a").await.unwrap(), "mine");
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_put_where_something_was_deleted_is_new() {
    let mut world = worlds().await.swap_remove(0);
    world.put("a", "mine").await;
    world.site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    for worker in &mut world.workers {
        while worker.step().await == Ok(crate::tasks::Step::Worked) {}
    }
    assert!(keys(&world.site).await.is_empty());
    // Written long before the delete, by its own account.
    file(&world.store, "a", "theirs").await;
    assert_eq!(keys(&world.site).await, ["a"]);
    assert_eq!(get(&world.site, "a").await.unwrap(), "theirs");
}

#[tokio::test(start_paused = true)]
async fn what_no_file_brings_back_stays_and_counts_as_lost() {
    let mut world = worlds().await.swap_remove(0);
    world.put("a", "mine").await;
    let tags = crate::site::Register::Tags([("k".to_owned(), "v".to_owned())].into_iter().collect());
    world.site.set_register(&object("a"), None, tags).await.unwrap();
    remove(&world.store, "a").await;
    assert_eq!(keys(&world.site).await, ["a"]);
    assert_eq!(world.row("a").await.state, State::Wanted);
}

#[tokio::test(start_paused = true)]
async fn where_there_are_other_sites_absence_is_no_delete() {
    let store = Arc::new(Memory::new());
    let (site, workers) = with_neighbour_in(custody(), store.clone()).await;
    let mut world = World { site: with_bucket(site).await, workers, store };
    world.put("a", "mine").await;
    remove(&world.store, "a").await;
    assert!(matches!(get(&world.site, "a").await, Err(Error::Unavailable { .. })), "who may have it cannot be asked");
    assert_eq!(world.row("a").await.state, State::Wanted);
}
