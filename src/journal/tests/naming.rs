//! The same over a store that gives bytes a name of their own at once: what was acknowledged lies there until it is copied.

use bytes::Bytes;

use super::*;
use crate::backend::{Attributes, Body, Place, PutOptions};
use crate::model::{Location, Record, Slot, Versioning, WriteId};
use crate::status::VersionsQuery;

/// A site over such a store.
struct World {
    machine: Machine,
    store: Arc<Memory>,
}

impl World {
    async fn new() -> (Self, Process) {
        let store = Arc::new(Memory::naming());
        let machine = Machine { store: Some(store.clone()), ..Machine::new(LONG_AGO_MS) };
        let process = machine.start().await;
        with_bucket(process.site.clone()).await;
        process.archive.complete_now().await;
        (Self { machine, store }, process)
    }

    /// Kills the site, takes its status store away and starts it again; nothing of it works yet.
    async fn lose(&mut self, process: Process) -> Process {
        drop(process);
        self.machine.lose_status();
        self.machine.start().await
    }

    /// The same, and everything is done that is done sooner or later.
    async fn rebuilt(&mut self, process: Process) -> Process {
        let mut process = self.lose(process).await;
        process.settle_all().await;
        assert!(!process.site.is_rebuilding());
        assert_eq!(process.site.unsettled(), 0);
        process
    }

    /// A later write.
    async fn put(&self, process: &Process, key: &str, bytes: &'static str) {
        self.machine.tick(10);
        put(&process.site, key, bytes).await;
    }

    /// Copies the null version of a key to its name, and leaves it at its own too.
    async fn copy(&self, process: &Process, key: &str) -> WriteId {
        let record = null(process, key).await;
        let Location::Moving(write) = record.location else { panic!("{record:?}") };
        self.store.publish(&Place { object: object(key), location: record.location }, &record.binding).await.unwrap();
        write
    }

    /// Takes away what a write has under its own name.
    async fn release(&self, key: &str, write: WriteId) {
        self.store.release(&Place { object: object(key), location: Location::Moving(write) }).await;
    }
}

impl Process {
    async fn settle_all(&mut self) {
        self.settle().await;
        self.work("settle-copies").await;
    }
}

async fn null(process: &Process, key: &str) -> Record {
    process.site.status().unit(&object(key), Slot::Null).await.unwrap().expect("there is one").row.clone()
}

/// How many versions a key has, the null version too.
async fn versions(process: &Process, key: &str) -> usize {
    let (bucket, prefix) = (object(key).bucket, key.to_owned());
    let keys = ListQuery { bucket, prefix, delimiter: None, after: None, entries_max: 1_000 };
    process.site.list_versions(VersionsQuery { keys, after_version: None }).await.unwrap().entries.len()
}

async fn versioned(process: &Process, versioning: Versioning) {
    process.site.set_versioning(&object("-").bucket, versioning).await.unwrap();
}

#[tokio::test]
async fn what_had_not_come_to_its_keys_name_is_not_lost() {
    let (mut world, mut process) = World::new().await;
    world.put(&process, "a", "archived").await;
    process.settle_all().await;
    process.archive.complete_now().await;
    world.put(&process, "a", "overwritten late").await;
    world.put(&process, "new", "not archived").await;
    described(&process.site, "described").await;
    multipart(&process.site, "parts").await;
    let before = seen(&process.site).await;
    let process = world.rebuilt(process).await;
    let after = seen(&process.site).await;
    assert!(after.keys().eq(before.keys()));
    for (key, (identity, _, bytes)) in &before {
        assert_eq!(after[key].2, bytes, "{key}");
        assert!(after[key].0.etag == identity.etag || key == "parts", "{key}");
    }
    let Identity { headers, metadata, tags, .. } = &after["described"].0;
    assert_eq!(
        (headers, metadata, tags),
        (&before["described"].0.headers, &before["described"].0.metadata, &before["described"].0.tags)
    );
    assert_eq!(world.store.own_names(), 0);
    let again = world.rebuilt(process).await;
    assert_eq!(seen(&again.site).await, after);
}

#[tokio::test]
async fn of_several_writes_of_a_key_the_last_one_counts() {
    let (mut world, process) = World::new().await;
    for body in ["1", "2", "3"] {
        world.put(&process, "lost", body).await;
        world.put(&process, "archived", body).await;
    }
    world.put(&process, "half", "1").await;
    process.archive.complete_now().await;
    for key in ["lost", "half"] {
        world.put(&process, key, "4").await;
    }
    let process = world.rebuilt(process).await;
    for (key, body) in [("lost", "4"), ("archived", "3"), ("half", "4")] {
        assert_eq!(get(&process.site, key).await.unwrap(), body, "{key}");
        assert_eq!(versions(&process, key).await, 1, "{key}");
    }
}

#[tokio::test]
async fn an_upload_counts_from_its_end() {
    let (mut world, process) = World::new().await;
    let mut uploads = Vec::new();
    for key in ["late", "over the archived", "before"] {
        uploads.push((key, started(&process.site, key).await));
    }
    world.put(&process, "over the archived", "1").await;
    process.archive.complete_now().await;
    world.put(&process, "late", "1").await;
    world.machine.tick(10);
    for (key, upload_id) in &uploads {
        complete(&process.site, key, upload_id).await;
    }
    world.put(&process, "before", "1").await;
    let process = world.rebuilt(process).await;
    for (key, size) in [("late", (5 << 20) + 100), ("over the archived", (5 << 20) + 100), ("before", 1)] {
        assert_eq!(get(&process.site, key).await.unwrap().len(), size, "{key}");
    }
}

#[tokio::test]
async fn what_is_archived_last_does_not_give_way_to_what_it_replaced() {
    let (mut world, process) = World::new().await;
    world.put(&process, "a", "1").await;
    let first = world.copy(&process, "a").await;
    world.put(&process, "a", "2").await;
    process.archive.complete_now().await;
    let process = world.rebuilt(process).await;
    assert_eq!(get(&process.site, "a").await.unwrap(), "2");
    assert_eq!(process.site.counters().adopted.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert_eq!(world.store.own_names(), 1, "what nothing names is left to the daily comparison");
    world.release("a", first).await;
}

/// Its row says where to copy it from, and not that it was overwritten since.
#[tokio::test]
async fn a_copy_that_was_left_undone_does_not_come_over_a_later_write() {
    for copies_first in [false, true] {
        let (mut world, process) = World::new().await;
        world.put(&process, "a", "1").await;
        process.archive.complete_now().await;
        world.put(&process, "a", "2").await;
        let second = world.copy(&process, "a").await;
        world.release("a", second).await;
        let mut process = world.lose(process).await;
        if copies_first {
            process.work("settle-copies").await;
        }
        process.settle_all().await;
        assert_eq!(get(&process.site, "a").await.unwrap(), "2", "copies first: {copies_first}");
        assert_eq!((process.site.unsettled(), world.store.own_names()), (0, 0));
    }
}

#[tokio::test]
async fn what_is_left_of_null_versions_is_no_version() {
    let (mut world, process) = World::new().await;
    versioned(&process, Versioning::Enabled).await;
    world.put(&process, "both", "a version").await;
    versioned(&process, Versioning::Suspended).await;
    process.archive.complete_now().await;
    for key in ["moved", "replaced", "unmoved", "both"] {
        world.put(&process, key, "1").await;
    }
    world.copy(&process, "moved").await;
    world.put(&process, "replaced", "2").await;
    world.copy(&process, "replaced").await;
    let process = world.rebuilt(process).await;
    for (key, count, body) in [("moved", 1, "1"), ("replaced", 1, "2"), ("unmoved", 1, "1"), ("both", 2, "1")] {
        assert_eq!(get(&process.site, key).await.unwrap(), body, "{key}");
        assert_eq!(versions(&process, key).await, count, "{key}");
    }
}

#[tokio::test]
async fn versions_come_back_with_what_was_said_of_them() {
    let (mut world, mut process) = World::new().await;
    world.put(&process, "settled", "null").await;
    let left = left_behind(&world, &process, "settled").await;
    process.settle_all().await;
    versioned(&process, Versioning::Enabled).await;
    process.archive.complete_now().await;
    world.store.put(&object("settled"), Body::from(Bytes::from("null")), left).await.unwrap();
    for body in ["1", "2"] {
        world.put(&process, "late", body).await;
    }
    world.machine.tick(10);
    described(&process.site, "late").await;
    let process = world.rebuilt(process).await;
    for (key, count, body) in [("settled", 1, "null"), ("late", 3, "described")] {
        assert_eq!(get(&process.site, key).await.unwrap(), body, "{key}");
        assert_eq!(versions(&process, key).await, count, "{key}");
    }
    assert_eq!(seen(&process.site).await["late"].0.metadata, [("Color".to_owned(), "Red".to_owned())]);
}

/// What stores the same bytes again that a key has under a name of their own.
async fn left_behind(world: &World, process: &Process, key: &str) -> PutOptions {
    let Location::Moving(write) = null(process, key).await.location else { panic!("it was not copied yet") };
    let own = Place { object: object(key), location: Location::Own(write) };
    let found = world.store.head(&own).await.unwrap();
    PutOptions { write, size: None, modified_ms: found.modified_ms, attributes: labelled(found.label) }
}

/// What it writes under names of their own while it looks for what was lost has rows, or will have.
#[tokio::test]
async fn what_is_being_written_meanwhile_is_not_taken() {
    let (mut world, process) = World::new().await;
    versioned(&process, Versioning::Enabled).await;
    process.archive.complete_now().await;
    world.put(&process, "a", "1").await;
    let attributes = labelled(left_label(&world, &process).await);
    let mut process = world.lose(process).await;
    let write = WriteId::new(process.life(), 9, 9);
    world
        .store
        .put(&object("a"), Body::from(Bytes::from("2")), PutOptions { write, size: None, modified_ms: LONG_AGO_MS, attributes })
        .await
        .unwrap();
    process.settle_all().await;
    assert_eq!((get(&process.site, "a").await.unwrap(), versions(&process, "a").await), ("1".into(), 1));
}

fn labelled(label: Option<String>) -> Attributes {
    Attributes { label, ..Attributes::default() }
}

async fn left_label(world: &World, process: &Process) -> Option<String> {
    let record = process.site.head(&object("a"), None, Selection::All, &ReadConditions::default()).await.unwrap().record;
    world.store.head(&Place { object: object("a"), location: record.row.location.clone() }).await.unwrap().label
}
