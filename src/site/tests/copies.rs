//! Bytes that a store copies to their name, and what comes meanwhile.

use std::sync::Arc;

use futures::stream::TryStreamExt;

use super::{get, keys, settle};
use crate::backend::memory::Memory;
use crate::backend::{Backend, Place};
use crate::model::Location;
use crate::planted::{self, Fault};
use crate::site::testing::{object, open, put, status, with_bucket};
use crate::site::{Error, Site, WriteConditions};
use crate::status::Options;
use crate::tasks::Worker;

struct World {
    site: Site,
    store: Arc<Memory>,
    workers: Vec<Box<dyn Worker>>,
}

async fn world() -> World {
    let store = Arc::new(Memory::naming());
    let (site, workers) = open(store.clone(), status(Options::default())).await;
    World { site: with_bucket(site).await, store, workers }
}

impl World {
    /// What is in the store at plain names and at own ones.
    async fn names(&self) -> (Vec<String>, usize) {
        let bucket = object("-").bucket;
        let plain: Vec<_> = self.store.list(&bucket, None).try_collect().await.unwrap();
        let own: Vec<_> = self.store.list_own(&bucket, None).try_collect().await.unwrap();
        (plain.into_iter().map(|found| found.key.to_string()).collect(), own.len())
    }

    async fn delete(&self, key: &str) {
        self.site.delete(&object(key), WriteConditions::default()).await.unwrap();
    }

    /// Lets a copy of what was written begin, and does something before it is made.
    async fn in_a_copy(mut self, meanwhile: impl AsyncFnOnce(&Self)) -> Self {
        let store = self.store.clone();
        let slow = store.copies.lock().await;
        let mut worker =
            self.workers.iter_mut().position(|worker| worker.name() == "settle-copies").map(|at| self.workers.remove(at));
        let worker = worker.as_mut().expect("a worker settles copies");
        worker.step().await.unwrap();
        meanwhile(&self).await;
        drop(slow);
        worker.step().await.unwrap();
        settle(&mut self.workers).await;
        worker.step().await.unwrap();
        assert_eq!(self.site.unsettled(), 0);
        self
    }
}

async fn what_a_delete_in_a_copy_leaves() -> (Vec<String>, usize) {
    let world = world().await;
    put(&world.site, "a", "1").await;
    let world = world.in_a_copy(async |world| world.delete("a").await).await;
    assert!(keys(&world.site).await.is_empty());
    world.names().await
}

#[test]
fn what_is_deleted_while_it_is_copied_does_not_come_to_its_name() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let left = |fault| planted::with(fault, || runtime().block_on(what_a_delete_in_a_copy_leaves()));
    assert_eq!(left(None), (vec![], 0));
    assert_eq!(left(Some(Fault::RemovedBeforeItCame)), (vec!["a".to_owned()], 0), "the rule is what keeps it away");
}

#[tokio::test(start_paused = true)]
async fn writes_do_not_wait_for_a_copy_and_the_last_one_has_the_name() {
    let world = world().await;
    put(&world.site, "a", "1").await;
    let world = world
        .in_a_copy(async |world| {
            put(&world.site, "a", "2").await;
            assert_eq!(get(&world.site, "a").await.unwrap(), "2");
        })
        .await;
    assert_eq!(get(&world.site, "a").await.unwrap(), "2");
    assert_eq!(world.names().await, (vec!["a".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn bytes_whose_name_the_store_does_not_take_stay_where_they_are() {
    let mut world = world().await;
    world.store.refuse("a");
    put(&world.site, "a", "1").await;
    settle(&mut world.workers).await;
    assert_eq!((world.site.unsettled(), world.names().await), (0, (vec![], 1)));
    let record = world.site.status().unit(&object("a"), crate::model::Slot::Null).await.unwrap().unwrap();
    assert!(matches!(record.row.location, Location::Own(_)), "{record:?}");
    assert_eq!(get(&world.site, "a").await.unwrap(), "1");
    put(&world.site, "a", "2").await;
    settle(&mut world.workers).await;
    assert_eq!((get(&world.site, "a").await.unwrap(), world.names().await), ("2".into(), (vec![], 1)));
    world.delete("a").await;
    settle(&mut world.workers).await;
    assert_eq!((world.site.unsettled(), world.names().await), (0, (vec![], 0)));
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_on_its_way_to_its_name_is_not_what_had_the_name_before() {
    let mut world = world().await;
    put(&world.site, "a", "1").await;
    world = world.in_a_copy(async |_| {}).await;
    put(&world.site, "a", "2").await;
    let record = world.site.status().unit(&object("a"), crate::model::Slot::Null).await.unwrap().unwrap().row.clone();
    let place = Place { object: object("a"), location: record.location };
    world.store.delete(&place, &record.binding).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(get(&world.site, "a").await, Err(Error::Lost)));
        settle(&mut world.workers).await;
    }
}
