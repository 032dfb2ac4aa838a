//! What waits is durable, is read like anything else, comes to the service once, and is never lost on the way.

mod shelf;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, TryStreamExt};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use self::shelf::{Mood, Shelf};
use super::file::Name;
use super::{Settings, When};
use crate::backend::awaited::{Awaited, Opener};
use crate::backend::service::mark::binding_of;
use crate::backend::service::{Common, Store};
use crate::backend::{
    Attributes, Backend, Body, BodyError, Buffered, Error, FoundOwn, GetOptions, Kept, Place, Published, PutOptions, Result,
};
use crate::model::{BucketName, ContentHeaders, Described, Incarnation, Key, Location, ObjectId, WriteId};
use crate::tasks::Step;

struct World {
    shelf: Shelf,
    dir: TempDir,
    when: When,
    bytes_max: u64,
}

impl World {
    /// With a bucket.
    fn new(when: When) -> Self {
        let (shelf, dir) = (Shelf::default(), tempfile::tempdir().unwrap());
        shelf.world().buckets.entry("bucket".to_owned()).or_default();
        Self { shelf, dir, when, bytes_max: 64 << 20 }
    }

    fn common(&self) -> Common {
        let settings = Settings::at(self.dir.path(), "main");
        let settings = Settings { when: self.when, bytes_max: self.bytes_max, free_bytes_min: 0, ..settings };
        Common { buffer: Some(settings), ..Common::at("home") }
    }

    /// A process over what is there. The one before it may have ended in any way.
    async fn open(&self) -> Store<Shelf> {
        let mood = self.shelf.world().mood;
        // A start needs the service.
        self.shelf.feels(Mood::Well);
        let store = Store::open(self.shelf.clone(), &self.common()).await.unwrap();
        store.recover(&[]).await.unwrap();
        self.shelf.feels(mood);
        store
    }

    /// Another site over the same service.
    async fn open_other(&self) -> (Store<Shelf>, World) {
        let dir = tempfile::tempdir().unwrap();
        let other = World { shelf: self.shelf.clone(), dir, when: self.when, bytes_max: self.bytes_max };
        (other.open().await, other)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("main")
    }

    /// But for its mark.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = super::files(&self.path()).unwrap();
        files.retain(|file| !file.ends_with("mark"));
        files
    }
}

fn object(key: &str) -> ObjectId {
    ObjectId { bucket: BucketName::new("bucket").unwrap(), key: Key::new(key).unwrap() }
}

fn write_id(n: u64) -> WriteId {
    WriteId::new(Incarnation(9), 1, n)
}

fn name(key: &str, n: u64) -> Name {
    Name { write: write_id(n), object: object(key) }
}

fn at(key: &str, n: u64) -> Place {
    Place { object: object(key), location: Location::Moving(write_id(n)) }
}

fn bytes(size: usize) -> Bytes {
    (0..size).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<_>>().into()
}

/// As clients bring it: in pieces, with its length told.
fn pieces(whole: &Bytes) -> Body {
    let chunks: Vec<_> = whole.chunks(60_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Body::new(Some(whole.len() as u64), stream::iter(chunks))
}

async fn put(store: &Store<Shelf>, key: &str, n: u64, whole: &Bytes) -> Result<Kept> {
    let options = PutOptions { write: write_id(n), size: None, modified_ms: 5, attributes: said() };
    store.put(&object(key), pieces(whole), options).await
}

async fn read(store: &Store<Shelf>, key: &str, n: u64) -> Result<Bytes> {
    let get = GetOptions { range: None, expect: Some(binding_of(write_id(n))) };
    Ok(store.get(&at(key, n), get).await?.body.collect(64 << 20).await?)
}

async fn own_names(store: &Store<Shelf>) -> Vec<(String, WriteId)> {
    let found: Vec<FoundOwn> = store.list_own(&object("-").bucket, None).try_collect().await.unwrap();
    found.into_iter().map(|own| (own.found.key.to_string(), own.write)).collect()
}

/// What a write is stored with.
fn said() -> Attributes {
    let headers = ContentHeaders { content_type: Some("text/plain".to_owned()), ..ContentHeaders::default() };
    Attributes { label: Some("said".to_owned()), headers, metadata: vec![("colour".to_owned(), "red".to_owned())] }
}

/// Whether it is found with that.
async fn check_said(store: &Store<Shelf>, n: u64, size: u64) {
    let found = store.head(&at("a", n)).await.unwrap();
    let Described { headers, metadata, .. } = *found.described.unwrap();
    assert_eq!((found.size, found.modified_ms), (size, 5));
    assert_eq!(Attributes { label: found.label, headers, metadata }, said());
}

fn waiting(store: &Store<Shelf>) -> Buffered {
    store.buffers().remove(0)
}

/// Lets the carrier do what it can do now.
async fn carry(store: &Store<Shelf>) {
    let mut carrier = store.workers().remove(0);
    while carrier.step().await.unwrap() == Step::Worked {}
}

/// Everything that can be carried, over pauses.
async fn carry_all(store: &Store<Shelf>) {
    for _ in 0..100 {
        carry(store).await;
        if waiting(store).objects == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    panic!("it does not end: {:?}", waiting(store));
}

/// A store that is known to be down.
async fn known_down(world: &World, store: &Store<Shelf>) {
    world.shelf.feels(Mood::Down);
    let plain = Place { object: object("-"), location: Location::Plain };
    assert!(matches!(store.head(&plain).await, Err(Error::Unavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_put_while_the_store_is_down_is_read_at_once_and_comes_there_later() {
    let world = World::new(When::Down);
    let store = world.open().await;
    known_down(&world, &store).await;
    for (n, size) in [(1, 0), (2, 10), (3, 3 << 20)] {
        let kept = put(&store, "a", n, &bytes(size)).await.unwrap();
        assert_eq!((kept.location, kept.binding, kept.size), (at("a", n).location, binding_of(write_id(n)), size as u64));
    }
    // Killed, and started again.
    drop(store);
    let store = world.open().await;
    known_down(&world, &store).await;
    for (n, size) in [(1, 0), (2, 10), (3, 3 << 20)] {
        assert!(store.is_buffered(&at("a", n)));
        assert!(read(&store, "a", n).await.unwrap() == bytes(size));
        check_said(&store, n, size as u64).await;
    }
    let get = GetOptions { range: Some(1_000_000..2_000_000), expect: Some(binding_of(write_id(3))) };
    let some = store.get(&at("a", 3), get).await.unwrap().body.collect(1 << 20).await.unwrap();
    assert!(some == bytes(3 << 20).slice(1_000_000..2_000_000));
    assert_eq!(store.publish(&at("a", 3), &binding_of(write_id(3))).await.unwrap(), Published::Waits);
    assert_eq!((waiting(&store).objects, waiting(&store).bytes), (3, (3 << 20) + 10));
    carry(&store).await;
    assert_eq!((waiting(&store).objects, world.shelf.owned().len()), (3, 0));

    world.shelf.feels(Mood::Well);
    carry_all(&store).await;
    assert_eq!((waiting(&store).carried, world.files().len()), (3, 0));
    assert!(!store.is_buffered(&at("a", 3)));
    for (n, size) in [(1, 0), (2, 10), (3, 3 << 20)] {
        assert!(read(&store, "a", n).await.unwrap() == bytes(size));
        check_said(&store, n, size as u64).await;
    }
    assert_eq!(store.publish(&at("a", 3), &binding_of(write_id(3))).await.unwrap(), Published::Done);
    put(&store, "a", 4, &bytes(10)).await.unwrap();
    assert_eq!(waiting(&store).objects, 0, "it is well again");
}

#[tokio::test(start_paused = true)]
async fn a_small_body_whose_call_fails_waits_and_a_large_one_is_repeated_by_its_sender() {
    let world = World::new(When::Down);
    let store = world.open().await;
    put(&store, "a", 1, &bytes(10)).await.unwrap();
    assert_eq!(waiting(&store).objects, 0);
    for mood in [Mood::Busy, Mood::Down] {
        let store = world.open_other().await;
        world.shelf.feels(mood);
        put(&store.0, "a", 2, &bytes(10)).await.unwrap();
        assert!(store.0.is_buffered(&at("a", 2)), "{mood:?}");
        world.shelf.feels(Mood::Well);
    }
    world.shelf.feels(Mood::Down);
    let large = bytes(3 << 20);
    assert!(matches!(put(&store, "b", 3, &large).await, Err(Error::Unavailable(_))));
    known_down(&world, &store).await;
    put(&store, "b", 4, &large).await.unwrap();
    assert!(read(&store, "b", 4).await.unwrap() == large);
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_holds_nobody_up_and_is_used_again_when_it_is_quick() {
    let world = World::new(When::Down);
    let store = world.open().await;
    world.shelf.feels(Mood::Slow(Duration::from_secs(8)));
    for n in 1..=6 {
        let begun = tokio::time::Instant::now();
        put(&store, "a", n, &bytes(10)).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "{n}: {:?}", begun.elapsed());
    }
    assert_eq!(waiting(&store).objects, 6);
    carry_all(&store).await;
    assert_eq!(world.shelf.owned().len(), 6, "slow is not down");
    world.shelf.feels(Mood::Well);
    for n in 10..30 {
        put(&store, "a", n, &bytes(10)).await.unwrap();
        carry_all(&store).await;
    }
    let before = waiting(&store).taken;
    put(&store, "a", 40, &bytes(10)).await.unwrap();
    assert_eq!(waiting(&store).taken, before);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_badly_and_one_that_does_not_fit_leave_nothing() {
    let world = World { bytes_max: 1 << 20, ..World::new(When::Down) };
    let store = world.open().await;
    known_down(&world, &store).await;
    let options = |n| PutOptions { write: write_id(n), size: None, modified_ms: 5, attributes: Attributes::default() };
    let piece = || Ok(Bytes::from_static(b"abc"));
    for (size, end) in [(Some(3), Some(BodyError::Refused)), (Some(4), None), (Some(2), None), (None, Some(BodyError::Refused))] {
        let body = Body::new(size, stream::iter([piece()].into_iter().chain(end.map(Err))));
        assert!(matches!(store.put(&object("a"), body, options(1)).await, Err(Error::Body(_))), "{size:?}");
    }
    let told = put(&store, "a", 2, &bytes(2 << 20)).await.unwrap_err();
    assert!(matches!(&told, Error::Unavailable(reason) if reason.contains("bytes_max is 1048576")), "{told:?}");
    let untold = Body::new(None, pieces(&bytes(3 << 20)).stream);
    assert!(matches!(store.put(&object("a"), untold, options(3)).await, Err(Error::Unavailable(_))));
    assert_eq!((world.files().len(), waiting(&store).objects), (0, 0));
    store.check().await.unwrap();
    put(&store, "a", 4, &bytes(900_000)).await.unwrap();
    put(&store, "a", 7, &bytes(140_000)).await.unwrap();
    assert!(put(&store, "a", 5, &bytes(900_000)).await.is_err());
    assert!(store.check().await.is_err(), "there is no room for anything");
    world.shelf.feels(Mood::Well);
    carry_all(&store).await;
    put(&store, "a", 6, &bytes(900_000)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_always_a_full_buffer_sends_writes_to_the_store() {
    let world = World { bytes_max: 1 << 20, ..World::new(When::Always) };
    let store = world.open().await;
    put(&store, "a", 1, &bytes(900_000)).await.unwrap();
    put(&store, "a", 2, &bytes(900_000)).await.unwrap();
    assert!(store.is_buffered(&at("a", 1)) && !store.is_buffered(&at("a", 2)));
    assert!(read(&store, "a", 2).await.unwrap() == bytes(900_000));
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_comes_back_nowhere() {
    let world = World::new(When::Always);
    let store = world.open().await;
    for n in 1..=3 {
        put(&store, "a", n, &bytes(10)).await.unwrap();
    }
    store.delete(&at("a", 1), &binding_of(write_id(1))).await.unwrap();
    store.release(&at("a", 2)).await;
    known_down(&world, &store).await;
    let down = store.delete(&at("a", 3), &binding_of(write_id(3))).await;
    assert!(matches!(down, Err(Error::Unavailable(_))), "the store may have it: {down:?}");
    assert!(!store.is_buffered(&at("a", 3)));
    store.harden(&[]).await.unwrap();
    drop(store);
    let store = world.open().await;
    world.shelf.feels(Mood::Well);
    store.delete(&at("a", 3), &binding_of(write_id(3))).await.unwrap();
    carry_all(&store).await;
    assert_eq!((world.files().len(), world.shelf.owned().len()), (0, 0));
    for n in 1..=3 {
        assert!(matches!(read(&store, "a", n).await, Err(Error::NotFound)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_while_it_is_carried_stays_nowhere() {
    for is_released in [false, true] {
        let world = World::new(When::Always);
        let store = world.open().await;
        put(&store, "a", 1, &bytes(10)).await.unwrap();
        world.shelf.leave.forget_permits(Semaphore::MAX_PERMITS);
        let mut carrier = store.workers().remove(0);
        let deleted = async {
            // The call is under way, and waits to be let in.
            tokio::time::sleep(Duration::from_millis(100)).await;
            match is_released {
                true => store.release(&at("a", 1)).await,
                false => {
                    let early = store.delete(&at("a", 1), &binding_of(write_id(1))).await;
                    assert!(matches!(early, Err(Error::Unavailable(_))), "{early:?}");
                }
            }
            assert!(matches!(read(&store, "a", 1).await, Err(Error::NotFound)));
            assert_eq!(waiting(&store).objects, 0);
            world.shelf.leave.add_permits(100);
        };
        let carried = async { while carrier.step().await.unwrap() == Step::Worked {} };
        tokio::join!(deleted, carried);
        let puts = world.shelf.world().puts;
        assert!(puts > 0);
        assert_eq!((world.shelf.owned().len(), world.files().len()), (0, 0));
        store.delete(&at("a", 1), &binding_of(write_id(1))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_the_store_has_it_repeats_what_is_harmless() {
    let world = World::new(When::Always);
    let store = world.open().await;
    for (n, size) in [(1, 10), (2, 3 << 20)] {
        put(&store, "a", n, &bytes(size)).await.unwrap();
    }
    let files: Vec<_> = world.files().into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    carry_all(&store).await;
    drop(store);
    files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    std::fs::write(world.path().join(format!("{}.part", name("a", 7).file())), "torn by a crash").unwrap();
    let store = world.open().await;
    assert_eq!((waiting(&store).objects, world.files().len()), (2, 2));
    assert_eq!(own_names(&store).await, [("a".to_owned(), write_id(1)), ("a".to_owned(), write_id(2))]);
    carry_all(&store).await;
    assert_eq!((world.shelf.owned().len(), world.files().len()), (2, 0));
    assert!(read(&store, "a", 2).await.unwrap() == bytes(3 << 20));
}

#[tokio::test(start_paused = true)]
async fn own_names_are_listed_once_wherever_they_are() {
    let world = World::new(When::Down);
    let store = world.open().await;
    put(&store, "b", 1, &bytes(10)).await.unwrap();
    put(&store, "d", 2, &bytes(10)).await.unwrap();
    // Its name does not tell its key.
    put(&store, "//", 3, &bytes(10)).await.unwrap();
    world.shelf.feels(Mood::Busy);
    for (key, n) in [("a", 4), ("c", 5), ("b", 6), ("e", 7), ("///", 8)] {
        put(&store, key, n, &bytes(10)).await.unwrap();
        assert!(store.is_buffered(&at(key, n)));
    }
    let mut listed = own_names(&store).await;
    let order: Vec<_> = listed.iter().map(|(key, write)| (key.clone(), *write)).collect();
    for (behind, last) in order.iter().enumerate() {
        let after = Some((Key::new(&last.0).unwrap(), last.1));
        let rest: Vec<FoundOwn> = store.list_own(&object("-").bucket, after).try_collect().await.unwrap();
        assert_eq!(rest.len(), order.len() - behind - 1);
    }
    listed.sort_by_key(|(_, write)| *write);
    let keys: Vec<_> = listed.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["b", "d", "//", "a", "c", "b", "e", "///"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_changed_on_the_disk_are_never_served_as_whole_nor_carried_nor_dropped() {
    let world = World::new(When::Down);
    let store = world.open().await;
    known_down(&world, &store).await;
    put(&store, "rotten", 1, &bytes(600_000)).await.unwrap();
    put(&store, "torn", 2, &bytes(600_000)).await.unwrap();
    put(&store, "sound", 3, &bytes(10)).await.unwrap();
    drop(store);
    let path = |key, n| world.path().join(name(key, n).file());
    let mut rotten = std::fs::read(path("rotten", 1)).unwrap();
    rotten[500_000] ^= 1;
    std::fs::write(path("rotten", 1), rotten).unwrap();
    std::fs::OpenOptions::new().write(true).open(path("torn", 2)).unwrap().set_len(700).unwrap();
    let store = world.open().await;
    known_down(&world, &store).await;
    assert!(read(&store, "rotten", 1).await.is_err());
    let range = GetOptions { range: Some(0..10), expect: None };
    assert!(store.get(&at("rotten", 1), range).await.is_err(), "nobody knows which of them changed");
    assert!(!store.is_buffered(&at("torn", 2)));
    world.shelf.feels(Mood::Well);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        carry(&store).await;
    }
    assert_eq!((waiting(&store).objects, waiting(&store).refused), (1, 2));
    assert_eq!((world.shelf.owned(), world.files().len()), (vec![bytes(10)], 2));
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_stays_and_is_shown() {
    let world = World::new(When::Always);
    let store = world.open().await;
    put(&store, "a", 1, &bytes(10)).await.unwrap();
    world.shelf.feels(Mood::Unwilling);
    for _ in 0..5 {
        carry(&store).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    assert_eq!((waiting(&store).objects, waiting(&store).refused), (1, 1));
    assert_eq!(read(&store, "a", 1).await.unwrap(), bytes(10));
    world.shelf.feels(Mood::Well);
    carry_all(&store).await;
    assert_eq!((waiting(&store).refused, world.shelf.owned().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_something_waits_for_stays_and_one_that_was_lost_is_told() {
    let world = World::new(When::Always);
    let store = world.open().await;
    put(&store, "a", 1, &bytes(10)).await.unwrap();
    assert!(matches!(store.delete_bucket(&object("-").bucket).await, Err(Error::NotEmpty(what)) if what.contains("bucket/a")));
    world.shelf.world().buckets.remove("bucket");
    carry(&store).await;
    let lost = store.publish(&at("a", 1), &binding_of(write_id(1))).await;
    assert!(matches!(lost, Err(Error::NoSuchBucket)), "{lost:?}");
    store.create_bucket(&object("-").bucket).await.unwrap();
    carry(&store).await;
    assert_eq!(store.publish(&at("a", 1), &binding_of(write_id(1))).await.unwrap(), Published::Done);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_is_given_up_is_emptied_and_another_stores_is_refused() {
    let mut world = World::new(When::Always);
    let store = world.open().await;
    put(&store, "a", 1, &bytes(10)).await.unwrap();
    let second = Store::open(world.shelf.clone(), &world.common()).await.unwrap();
    let taken = second.recover(&[]).await.unwrap_err().to_string();
    assert!(taken.contains("another process"), "{taken}");
    drop(store);
    let other = Store::open(world.shelf.clone(), &Common { home: "other".to_owned(), ..world.common() }).await.unwrap();
    let refused = other.recover(&[]).await.unwrap_err().to_string();
    assert!(refused.contains("holds writes for the store \"shelf home\""), "{refused}");
    drop(other);
    assert!(super::holds_writes(&world.path()).unwrap());
    world.when = When::Never;
    let store = world.open().await;
    put(&store, "b", 2, &bytes(10)).await.unwrap();
    assert!(!store.is_buffered(&at("b", 2)));
    assert_eq!(read(&store, "a", 1).await.unwrap(), bytes(10));
    carry_all(&store).await;
    assert!(!super::holds_writes(&world.path()).unwrap() && world.shelf.owned().len() == 2);
    known_down(&world, &store).await;
    assert!(matches!(put(&store, "c", 3, &bytes(10)).await, Err(Error::Unavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_what_waits_is_made_from_it() {
    let world = World::new(When::Down);
    let store = world.open().await;
    known_down(&world, &store).await;
    put(&store, "a", 1, &bytes(3 << 20)).await.unwrap();
    let options = |n| PutOptions { write: write_id(n), size: None, modified_ms: 6, attributes: Attributes::default() };
    for (n, range) in [(2, None), (3, Some(10..20))] {
        let get = GetOptions { range: range.clone(), expect: Some(binding_of(write_id(1))) };
        store.copy(&at("a", 1), get, &object("b"), options(n)).await.unwrap();
        let range = range.unwrap_or(0..3 << 20);
        assert!(read(&store, "b", n).await.unwrap() == bytes(3 << 20).slice(range.start as usize..range.end as usize));
    }
    let stale = GetOptions { range: None, expect: Some(binding_of(write_id(9))) };
    assert!(matches!(store.copy(&at("a", 1), stale, &object("b"), options(4)).await, Err(Error::Changed)));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_store_that_is_away_at_the_start_is_carried_when_that_is_there() {
    let world = World::new(When::Down);
    let store = world.open().await;
    known_down(&world, &store).await;
    put(&store, "a", 1, &bytes(10)).await.unwrap();
    drop(store);
    let (shelf, common) = (world.shelf.clone(), world.common());
    let open: Opener = Arc::new(move || {
        let (shelf, common) = (shelf.clone(), common.clone());
        Box::pin(async move {
            let opened = Store::open(shelf, &common).await;
            opened.map(|store| Arc::new(store) as Arc<dyn Backend>).map_err(|err| err.to_string())
        })
    });
    let awaited = Awaited::new("main".to_owned(), "nobody answers".to_owned(), open, 7);
    awaited.recover(&[]).await.unwrap();
    let mut carrier = awaited.workers().remove(0);
    assert_eq!(carrier.step().await, Ok(Step::Idle));
    assert!(!awaited.is_buffered(&at("a", 1)));
    world.shelf.feels(Mood::Well);
    carrier.wait().await;
    assert!(awaited.is_buffered(&at("a", 1)));
    while carrier.step().await.unwrap() == Step::Worked {}
    assert_eq!((awaited.buffers().remove(0).carried, world.shelf.owned().len(), world.files().len()), (1, 1, 0));
}
