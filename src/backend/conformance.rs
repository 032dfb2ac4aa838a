//! The suite every backend passes: plain functions, each of them one promise of [`Backend`], and a macro that makes a
//! test of each.
//!
//! It stands on nothing but the trait. A backend's own tests call [`passes_conformance`] with an expression that gives
//! a fresh store and whatever must outlive it.
#![cfg(test)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::{Backend, Body, BodyError, Error, Found, GetOptions, Kept, KeptPart, Place, Published, PutOptions, Result};
use crate::model::{Binding, BucketName, Key, Location, ObjectId, StagingFile};

pub(crate) type Store = Arc<dyn Backend>;

/// Makes one test of every promise: `passes_conformance!(expression)`, where the expression gives `(Arc<impl Backend>, guard)`.
macro_rules! passes_conformance {
    ($make:expr) => {
        crate::backend::conformance::passes_conformance! { $make;
            a_body_comes_back_as_it_was,
            a_body_that_fails_stores_nothing,
            a_body_of_another_length_than_announced_stores_nothing,
            a_range_is_exactly_what_was_asked_for,
            other_bytes_than_expected_are_refused,
            the_modification_time_is_the_writers,
            staged_bytes_are_invisible_until_published,
            staged_bytes_are_read_wherever_they_are,
            publishing_again_changes_nothing,
            publishing_replaces,
            publishing_what_was_given_up_says_gone,
            two_writes_of_the_same_bytes_are_told_apart,
            a_delete_removes_only_what_it_names,
            a_copy_is_bound_to_its_source,
            parts_become_one_body,
            a_part_that_changed_stops_the_assembly,
            any_legal_key_round_trips,
            a_listing_is_in_byte_order_of_keys,
            a_listing_goes_on_after_any_key,
            buckets_come_and_go,
            a_bucket_with_something_in_it_stays,
            a_missing_bucket_is_told,
            concurrent_publishers_leave_one_whole_body,
            headers_always_belong_to_the_body,
            neighbours_do_not_disturb_each_other,
            what_is_released_can_be_written_again,
            recovery_keeps_what_it_is_told_to_keep,
            a_store_that_works_says_so,
        }
    };
    ($make:expr; $($promise:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let (store, _guard) = $make;
                crate::backend::conformance::$promise(store).await;
            }
        )*
    };
}
pub(crate) use passes_conformance;

fn bucket() -> BucketName {
    BucketName::new("bucket").unwrap()
}

fn object(key: &str) -> ObjectId {
    ObjectId { bucket: bucket(), key: Key::new(key).unwrap() }
}

fn at(key: &str, location: Location) -> Place {
    Place { object: object(key), location }
}

fn plain(key: &str) -> Place {
    at(key, Location::Plain)
}

/// Bytes that tell from where they come: no two seeds share a stretch.
fn pattern(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect::<Vec<_>>().into()
}

fn in_chunks(bytes: &Bytes, size: usize) -> Body {
    let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Body::new(None, stream::iter(chunks))
}

async fn stage(store: &Store, key: &str, bytes: &Bytes) -> Kept {
    store.put(&object(key), Body::from(bytes.clone()), PutOptions::default()).await.unwrap()
}

async fn publish(store: &Store, key: &str, kept: &Kept) -> Result<Published> {
    store.publish(&at(key, kept.location.clone()), &kept.binding).await
}

/// Stages and publishes.
async fn write(store: &Store, key: &str, bytes: &Bytes) -> Kept {
    let kept = stage(store, key, bytes).await;
    assert_eq!(publish(store, key, &kept).await.unwrap(), Published::Done, "{key:?}");
    kept
}

async fn read(store: &Store, place: &Place, get: GetOptions) -> Result<Bytes> {
    let fetched = store.get(place, get).await?;
    Ok(fetched.body.collect(64 << 20).await?)
}

fn expecting(binding: &Binding) -> GetOptions {
    GetOptions { range: None, expect: Some(binding.clone()) }
}

async fn keys(store: &Store) -> Vec<String> {
    let found: Vec<Found> = store.list(&bucket(), None).try_collect().await.unwrap();
    found.into_iter().map(|found| found.key.to_string()).collect()
}

async fn with_bucket(store: Store) -> Store {
    store.create_bucket(&bucket()).await.unwrap();
    store
}

pub(crate) async fn a_body_comes_back_as_it_was(store: Store) {
    let store = with_bucket(store).await;
    for (n, size) in [0, 1, 4_096, 65_535, 65_536, 65_537, 300_000, 3 << 20].into_iter().enumerate() {
        for chunk in [size.max(1), 10_000] {
            let bytes = pattern(n as u64, size);
            let options = PutOptions { size: (chunk == 10_000).then_some(size as u64), modified_ms: 7 };
            let kept = store.put(&object("a"), in_chunks(&bytes, chunk), options).await.unwrap();
            assert_eq!(kept.size, size as u64);
            assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Done);
            let fetched = store.get(&plain("a"), expecting(&kept.binding)).await.unwrap();
            assert_eq!((fetched.found.size, &fetched.found.binding), (size as u64, &kept.binding));
            assert_eq!(fetched.body.size, Some(size as u64));
            assert!(fetched.body.collect(4 << 20).await.unwrap() == bytes, "{size} bytes in chunks of {chunk}");
            assert_eq!(store.head(&plain("a")).await.unwrap(), fetched.found);
        }
    }
}

pub(crate) async fn a_body_that_fails_stores_nothing(store: Store) {
    let store = with_bucket(store).await;
    let old = write(&store, "a", &pattern(1, 100)).await;
    for size in [10, 70_000, 2 << 20] {
        let bytes = pattern(2, size);
        let chunks = [Ok(bytes), Err(BodyError::Refused)];
        let put = store.put(&object("a"), Body::new(None, stream::iter(chunks)), PutOptions::default()).await;
        assert!(matches!(put, Err(Error::Body(BodyError::Refused))), "{put:?}");
    }
    assert_eq!(read(&store, &plain("a"), expecting(&old.binding)).await.unwrap(), pattern(1, 100));
    assert_eq!(keys(&store).await, ["a"]);
}

pub(crate) async fn a_body_of_another_length_than_announced_stores_nothing(store: Store) {
    let store = with_bucket(store).await;
    for announced in [9, 11, 3 << 20] {
        let options = PutOptions { size: Some(announced), modified_ms: 0 };
        let put = store.put(&object("a"), in_chunks(&pattern(1, 10), 10), options).await;
        assert!(matches!(put, Err(Error::Body(BodyError::Truncated(_)))), "{announced}: {put:?}");
    }
    assert_eq!(keys(&store).await, [""; 0]);
}

pub(crate) async fn a_range_is_exactly_what_was_asked_for(store: Store) {
    let store = with_bucket(store).await;
    for size in [10u64, 65_536, 1 << 20] {
        let bytes = pattern(size, size as usize);
        let kept = write(&store, "a", &bytes).await;
        for range in [0..1, 0..size, size - 1..size, size / 2..size, 3..size / 2, 5..5] {
            let get = GetOptions { range: Some(range.clone()), expect: Some(kept.binding.clone()) };
            let fetched = store.get(&plain("a"), get).await.unwrap();
            assert_eq!(fetched.found.size, size);
            assert_eq!(fetched.body.size, Some(range.end - range.start));
            let got = fetched.body.collect(2 << 20).await.unwrap();
            assert!(got == bytes[range.start as usize..range.end as usize], "{range:?} of {size}");
        }
    }
}

pub(crate) async fn other_bytes_than_expected_are_refused(store: Store) {
    let store = with_bucket(store).await;
    let old = write(&store, "a", &pattern(1, 10)).await;
    let new = write(&store, "a", &pattern(2, 10)).await;
    let stale = store.get(&plain("a"), expecting(&old.binding)).await;
    assert!(matches!(stale, Err(Error::Changed)), "{stale:?}");
    assert_eq!(read(&store, &plain("a"), expecting(&new.binding)).await.unwrap(), pattern(2, 10));
    let none = store.get(&plain("b"), expecting(&old.binding)).await;
    assert!(matches!(none, Err(Error::NotFound)), "{none:?}");
    assert!(matches!(store.head(&plain("b")).await, Err(Error::NotFound)));
}

pub(crate) async fn the_modification_time_is_the_writers(store: Store) {
    let store = with_bucket(store).await;
    for modified_ms in [0, 999, 1_790_000_123_456] {
        let options = PutOptions { size: None, modified_ms };
        let kept = store.put(&object("a"), Body::from(pattern(1, 10)), options).await.unwrap();
        publish(&store, "a", &kept).await.unwrap();
        assert_eq!(store.head(&plain("a")).await.unwrap().modified_ms, modified_ms);
    }
}

pub(crate) async fn staged_bytes_are_invisible_until_published(store: Store) {
    let store = with_bucket(store).await;
    let kept = stage(&store, "a", &pattern(1, 10)).await;
    assert!(matches!(store.head(&plain("a")).await, Err(Error::NotFound)));
    assert_eq!(keys(&store).await, [""; 0]);
    assert_eq!(store.head(&at("a", kept.location.clone())).await.unwrap().binding, kept.binding);
    publish(&store, "a", &kept).await.unwrap();
    assert_eq!(keys(&store).await, ["a"]);
}

pub(crate) async fn staged_bytes_are_read_wherever_they_are(store: Store) {
    let store = with_bucket(store).await;
    for size in [10, 100_000] {
        let bytes = pattern(3, size);
        write(&store, "a", &pattern(4, size)).await;
        let kept = stage(&store, "a", &bytes).await;
        let staged = at("a", kept.location.clone());
        assert_eq!(read(&store, &staged, expecting(&kept.binding)).await.unwrap(), bytes);
        publish(&store, "a", &kept).await.unwrap();
        assert_eq!(read(&store, &staged, expecting(&kept.binding)).await.unwrap(), bytes);
    }
}

pub(crate) async fn publishing_again_changes_nothing(store: Store) {
    let store = with_bucket(store).await;
    write(&store, "a", &pattern(1, 10)).await;
    let kept = write(&store, "a", &pattern(2, 10)).await;
    for _ in 0..3 {
        assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Done);
        assert_eq!(read(&store, &plain("a"), expecting(&kept.binding)).await.unwrap(), pattern(2, 10));
    }
}

pub(crate) async fn publishing_replaces(store: Store) {
    let store = with_bucket(store).await;
    for (n, size) in [10, 100, 100_000, 7, 0].into_iter().enumerate() {
        let kept = write(&store, "a/b", &pattern(n as u64, size)).await;
        assert_eq!(read(&store, &plain("a/b"), expecting(&kept.binding)).await.unwrap(), pattern(n as u64, size));
        assert_eq!(keys(&store).await, ["a/b"]);
    }
}

pub(crate) async fn publishing_what_was_given_up_says_gone(store: Store) {
    let store = with_bucket(store).await;
    let old = write(&store, "a", &pattern(1, 10)).await;
    let kept = stage(&store, "a", &pattern(2, 10)).await;
    store.delete(&at("a", kept.location.clone()), &kept.binding).await.unwrap();
    assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Gone);
    assert_eq!(read(&store, &plain("a"), expecting(&old.binding)).await.unwrap(), pattern(1, 10));
}

pub(crate) async fn two_writes_of_the_same_bytes_are_told_apart(store: Store) {
    let store = with_bucket(store).await;
    let mut bindings = Vec::new();
    for _ in 0..20 {
        let kept = write(&store, "a", &pattern(1, 10)).await;
        assert!(!bindings.contains(&kept.binding), "{:?}", kept.binding);
        bindings.push(kept.binding);
        store.harden(&[object("a")]).await.unwrap();
        store.release(kept.location).await;
    }
}

pub(crate) async fn a_delete_removes_only_what_it_names(store: Store) {
    let store = with_bucket(store).await;
    let old = write(&store, "a/b/c", &pattern(1, 10)).await;
    let new = write(&store, "a/b/c", &pattern(2, 10)).await;
    store.delete(&plain("a/b/c"), &old.binding).await.unwrap();
    assert_eq!(read(&store, &plain("a/b/c"), expecting(&new.binding)).await.unwrap(), pattern(2, 10));
    for _ in 0..2 {
        store.delete(&plain("a/b/c"), &new.binding).await.unwrap();
        assert!(matches!(store.head(&plain("a/b/c")).await, Err(Error::NotFound)));
    }
    store.harden(&[object("a/b/c")]).await.unwrap();
    assert_eq!(keys(&store).await, [""; 0]);
    write(&store, "a", &pattern(3, 10)).await;
    assert_eq!(keys(&store).await, ["a"]);
}

pub(crate) async fn a_copy_is_bound_to_its_source(store: Store) {
    let store = with_bucket(store).await;
    for size in [100u64, 1 << 20] {
        let bytes = pattern(size, size as usize);
        let old = write(&store, "a", &pattern(9, 10)).await;
        let source = write(&store, "a", &bytes).await;
        for range in [None, Some(10..size / 2)] {
            let get = GetOptions { range: range.clone(), expect: Some(source.binding.clone()) };
            let kept = store.copy(&plain("a"), get, &object("b"), PutOptions { size: None, modified_ms: 5 }).await.unwrap();
            publish(&store, "b", &kept).await.unwrap();
            let want = range.map_or(bytes.clone(), |range| bytes.slice(range.start as usize..range.end as usize));
            assert_eq!(kept.size, want.len() as u64);
            assert!(read(&store, &plain("b"), expecting(&kept.binding)).await.unwrap() == want);
            assert_eq!(store.head(&plain("b")).await.unwrap().modified_ms, 5);
        }
        let stale = store.copy(&plain("a"), expecting(&old.binding), &object("b"), PutOptions::default()).await;
        assert!(matches!(stale, Err(Error::Changed)), "{stale:?}");
        assert!(read(&store, &plain("a"), expecting(&source.binding)).await.unwrap() == bytes);
    }
}

async fn put_parts(store: &Store, key: &str, sizes: &[usize]) -> (Vec<KeptPart>, Vec<u8>) {
    let (mut parts, mut whole) = (Vec::new(), Vec::new());
    for (n, size) in sizes.iter().enumerate() {
        let bytes = pattern(n as u64, *size);
        let kept = store.put_part(&object(key), Body::from(bytes.clone()), PutOptions::default()).await.unwrap();
        parts.push(KeptPart { number: n as u16 + 1, kept });
        whole.extend_from_slice(&bytes);
    }
    (parts, whole)
}

pub(crate) async fn parts_become_one_body(store: Store) {
    let store = with_bucket(store).await;
    for sizes in [vec![0], vec![10], vec![100_000, 70_000, 5], vec![1 << 20, 0, 1 << 20]] {
        let (parts, whole) = put_parts(&store, "a", &sizes).await;
        for _ in 0..2 {
            let kept = store.assemble(&object("a"), &parts, PutOptions { size: None, modified_ms: 3 }).await.unwrap();
            assert_eq!(kept.size, whole.len() as u64);
            publish(&store, "a", &kept).await.unwrap();
            assert!(read(&store, &plain("a"), expecting(&kept.binding)).await.unwrap() == whole);
        }
        for part in parts {
            store.release(part.kept.location).await;
        }
    }
    assert_eq!(keys(&store).await, ["a"]);
}

pub(crate) async fn a_part_that_changed_stops_the_assembly(store: Store) {
    let store = with_bucket(store).await;
    let (mut parts, _) = put_parts(&store, "a", &[10, 10]).await;
    parts[0].kept.location = parts[1].kept.location.clone();
    let assembled = store.assemble(&object("a"), &parts, PutOptions::default()).await;
    assert!(matches!(assembled, Err(Error::Changed | Error::NotFound)), "{assembled:?}");
}

/// Keys that a careless mapping onto names confuses with each other or cannot hold.
pub(crate) fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "a/",
        "a//",
        "a//b",
        "a/b",
        "a/b/",
        "a/b/c",
        "/",
        "//",
        "/a",
        "//a",
        ".",
        "..",
        "./",
        "../",
        "/.",
        "/..",
        "a/.",
        "a/..",
        "a/./b",
        "a/../b",
        "../../etc/passwd",
        "...",
        ".a",
        "a.",
        "%",
        "%%",
        "a%",
        "a%f",
        "a%d",
        "a%d/b",
        "a%f/b",
        "%e",
        "%e/",
        "a/%e",
        "%25",
        "%2E",
        "%2e",
        "%00",
        "a%2Fb",
        "%+",
        "a%+",
        "a%+/b",
        "\0",
        "a\0",
        "a\0b",
        "a\0/b",
        "\u{1}",
        "\n",
        "\r\n",
        "a\tb",
        "\u{7f}",
        " ",
        " a",
        "a ",
        "a b",
        "+",
        "a+b",
        "\\",
        "a\\b",
        "a:b",
        "a*b?",
        "\"'",
        "<&>",
        "foo",
        "foo-",
        "foo/",
        "foo-/bar",
        "foo/bar",
        "foo0",
        "foo.txt",
        "foo!/a",
        "A",
        "é",
        "e\u{301}",
        "ü/ß",
        "\u{FFFD}",
        "\u{E000}",
        "\u{FFFF}",
        "\u{10000}",
        "\u{1F600}",
        "\u{20000}",
        "\u{30000}",
        "\u{E0100}",
        "\u{F0000}",
        "\u{10FFFF}",
        "\u{D7FF}",
        "\u{E000}/a",
        "\u{1F600}/a",
        ".anybucket",
        ".anybucket/staging/0000000000000000",
        "bucket",
    ]
    .map(str::to_owned)
    .into();
    let x240 = "x".repeat(240);
    keys.extend(["", "y", "-", "/", "/y", "0", "."].map(|end| format!("{x240}{end}")));
    keys.extend(["x".repeat(239), "x".repeat(255), "x".repeat(256), "x".repeat(1024), "%".repeat(1024), "\0".repeat(1024)]);
    keys.extend(["é".repeat(512), "\u{1F600}".repeat(256), "/".repeat(60), "./".repeat(30), "../".repeat(30)]);
    keys.extend([format!("{}/b", "z".repeat(1022)), format!("{}.", "w".repeat(1023)), format!("{}..", "v".repeat(480))]);
    keys
}

pub(crate) async fn any_legal_key_round_trips(store: Store) {
    let store = with_bucket(store).await;
    // The order decides which of two neighbours comes second, so both orders are tried.
    for backwards in [false, true] {
        let mut order = odd_keys();
        if backwards {
            order.reverse();
        }
        let mut held = Vec::new();
        for (n, key) in order.iter().enumerate() {
            held.push(write(&store, key, &pattern(n as u64, 20 + n)).await);
        }
        for (n, (key, kept)) in order.iter().zip(&held).enumerate() {
            let got = read(&store, &plain(key), expecting(&kept.binding)).await;
            assert_eq!(got.unwrap(), pattern(n as u64, 20 + n), "{key:?}");
        }
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(keys(&store).await, sorted);
        let moved: Vec<_> = order.iter().map(|key| object(key)).collect();
        store.harden(&moved).await.unwrap();
        for (key, kept) in order.iter().zip(held) {
            store.release(kept.location).await;
            store.delete(&plain(key), &kept.binding).await.unwrap();
            assert!(matches!(store.head(&plain(key)).await, Err(Error::NotFound)), "{key:?}");
        }
        store.harden(&moved).await.unwrap();
        assert_eq!(keys(&store).await, [""; 0]);
    }
    store.delete_bucket(&bucket()).await.unwrap();
}

pub(crate) async fn a_listing_is_in_byte_order_of_keys(store: Store) {
    let store = with_bucket(store).await;
    let mut want = [
        "foo",
        "foo!",
        "foo!a/b",
        "foo-",
        "foo-/x",
        "foo.",
        "foo/",
        "foo/-",
        "foo//",
        "foo//a",
        "foo/a",
        "foo0",
        "\u{E000}",
        "\u{FFFF}",
        "\u{10000}",
    ]
    .map(str::to_owned)
    .to_vec();
    for key in want.iter().rev() {
        write(&store, key, &pattern(1, 3)).await;
    }
    want.sort();
    let found: Vec<Found> = store.list(&bucket(), None).try_collect().await.unwrap();
    assert_eq!(found.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), want);
    for one in found {
        assert_eq!(store.head(&plain(one.key.as_str())).await.unwrap(), one);
    }
}

pub(crate) async fn a_listing_goes_on_after_any_key(store: Store) {
    let store = with_bucket(store).await;
    let mut all = odd_keys();
    for key in &all {
        write(&store, key, &pattern(1, 3)).await;
    }
    all.sort();
    let between =
        ["fo", "foo,", "foo/a", "a/b/b", "zzz", "\u{10FFFF}\u{10FFFF}", "\u{1}\u{1}", "xx", "a/a/a/a"].map(str::to_owned);
    for after in all.iter().chain(&between) {
        let after = Key::new(after).unwrap();
        let found: Vec<Found> = store.list(&bucket(), Some(&after)).try_collect().await.unwrap();
        let found: Vec<_> = found.iter().map(|found| found.key.as_str()).collect();
        let want: Vec<_> = all.iter().map(String::as_str).filter(|key| *key > after.as_str()).collect();
        assert_eq!(found, want, "after {after:?}");
    }
}

pub(crate) async fn buckets_come_and_go(store: Store) {
    let names = ["aaa", "a.b", "a-b", "zz9", "b01"].map(|name| BucketName::new(name).unwrap());
    assert_eq!(store.list_buckets().await.unwrap(), []);
    for _ in 0..2 {
        for name in &names {
            store.create_bucket(name).await.unwrap();
        }
    }
    let mut sorted = names.to_vec();
    sorted.sort();
    assert_eq!(store.list_buckets().await.unwrap(), sorted);
    for name in names.iter().chain(&names) {
        store.delete_bucket(name).await.unwrap();
    }
    assert_eq!(store.list_buckets().await.unwrap(), []);
}

pub(crate) async fn a_bucket_with_something_in_it_stays(store: Store) {
    let store = with_bucket(store).await;
    let kept = write(&store, "a/b/c", &pattern(1, 10)).await;
    let refused = store.delete_bucket(&bucket()).await;
    assert!(matches!(refused, Err(Error::NotEmpty(_))), "{refused:?}");
    assert_eq!(read(&store, &plain("a/b/c"), expecting(&kept.binding)).await.unwrap(), pattern(1, 10));
    store.delete(&plain("a/b/c"), &kept.binding).await.unwrap();
    store.delete_bucket(&bucket()).await.unwrap();
    store.create_bucket(&bucket()).await.unwrap();
    assert_eq!(keys(&store).await, [""; 0]);
    write(&store, "a/b", &pattern(2, 10)).await;
    assert_eq!(keys(&store).await, ["a/b"]);
}

pub(crate) async fn a_missing_bucket_is_told(store: Store) {
    let kept = stage(&store, "a", &pattern(1, 10)).await;
    assert!(matches!(publish(&store, "a", &kept).await, Err(Error::NoSuchBucket)));
    assert!(matches!(store.head(&plain("a")).await, Err(Error::NoSuchBucket)));
    assert!(matches!(store.get(&plain("a"), GetOptions::default()).await, Err(Error::NoSuchBucket)));
    assert!(matches!(store.list(&bucket(), None).next().await, Some(Err(Error::NoSuchBucket))));
    store.delete(&plain("a"), &kept.binding).await.unwrap();
    store.harden(&[object("a")]).await.unwrap();
    store.create_bucket(&bucket()).await.unwrap();
    assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Done);
}

pub(crate) async fn concurrent_publishers_leave_one_whole_body(store: Store) {
    let store = with_bucket(store).await;
    for round in 0..20 {
        let writers = (0..8).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let bytes = pattern(round * 8 + n, 100 + n as usize);
                (write(&store, "k/k", &bytes).await, bytes)
            })
        });
        let written: Vec<_> = futures::future::join_all(writers).await.into_iter().map(|written| written.unwrap()).collect();
        let now = store.head(&plain("k/k")).await.unwrap();
        let (_, bytes) = written.iter().find(|(kept, _)| kept.binding == now.binding).expect("one of the writers won");
        assert_eq!(read(&store, &plain("k/k"), expecting(&now.binding)).await.unwrap(), bytes);
        assert_eq!(keys(&store).await, ["k/k"]);
        store.harden(&[object("k/k")]).await.unwrap();
        for (kept, _) in written {
            store.release(kept.location).await;
        }
    }
}

/// A writer replaces one key with bodies of other sizes and bytes, giving the files back; whatever readers see is one of
/// the bodies whole, under its own binding.
pub(crate) async fn headers_always_belong_to_the_body(store: Store) {
    let store = with_bucket(store).await;
    let written: Arc<Mutex<HashMap<String, (u64, usize)>>> = Arc::default();
    let done = Arc::new(AtomicBool::new(false));
    let first = write(&store, "a", &pattern(0, 0)).await;
    written.lock().unwrap().insert(format!("{:?}", first.binding), (0, 0));
    let readers: Vec<_> =
        (0..3).map(|reader| tokio::spawn(read_until_done(store.clone(), written.clone(), done.clone(), reader == 0))).collect();
    for n in 1..400u64 {
        let size = [10, 5_000, 10, 65_536, 200_000][n as usize % 5] + n as usize % 3;
        let kept = stage(&store, "a", &pattern(n, size)).await;
        written.lock().unwrap().insert(format!("{:?}", kept.binding), (n, size));
        assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Done);
        store.harden(&[object("a")]).await.unwrap();
        store.release(kept.location).await;
        tokio::task::yield_now().await;
    }
    done.store(true, SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() > 0, "a reader saw nothing");
    }
}

async fn read_until_done(
    store: Store,
    written: Arc<Mutex<HashMap<String, (u64, usize)>>>,
    done: Arc<AtomicBool>,
    bound: bool,
) -> usize {
    let mut seen = 0;
    while !done.load(SeqCst) {
        tokio::task::yield_now().await;
        let mut get = GetOptions::default();
        if bound {
            get.expect = Some(store.head(&plain("a")).await.unwrap().binding);
        }
        let fetched = match store.get(&plain("a"), get).await {
            Ok(fetched) => fetched,
            Err(Error::Changed) => continue,
            Err(err) => panic!("{err}"),
        };
        let found = fetched.found;
        let (n, size) = written.lock().unwrap()[&format!("{:?}", found.binding)];
        let body = fetched.body.collect(1 << 20).await.unwrap();
        assert!(body == pattern(n, size), "{} bytes under the binding of {size}", body.len());
        seen += 1;
    }
    seen
}

/// A key that is also a prefix, in a directory that comes and goes.
pub(crate) async fn neighbours_do_not_disturb_each_other(store: Store) {
    let store = with_bucket(store).await;
    let names = ["n", "n/n", "n/n/n", "n/m", "n/", "n/n/m"];
    let tasks = names.map(|key| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..60 {
                let kept = write(&store, key, &pattern(n, 50)).await;
                assert_eq!(read(&store, &plain(key), expecting(&kept.binding)).await.unwrap(), pattern(n, 50), "{key}");
                store.delete(&plain(key), &kept.binding).await.unwrap();
                let gone = store.head(&plain(key)).await;
                assert!(matches!(gone, Err(Error::NotFound)), "{key}: {gone:?}");
                store.harden(&[object(key)]).await.unwrap();
                store.release(kept.location).await;
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(keys(&store).await, [""; 0]);
    store.delete_bucket(&bucket()).await.unwrap();
}

pub(crate) async fn what_is_released_can_be_written_again(store: Store) {
    let store = with_bucket(store).await;
    let kept = stage(&store, "a", &pattern(1, 10)).await;
    store.release(kept.location.clone()).await;
    store.release(kept.location.clone()).await;
    store.release(Location::Staged(StagingFile(u64::MAX))).await;
    let again: Vec<_> = futures::future::join_all((0..50).map(|n| {
        let store = store.clone();
        async move { write(&store, &format!("k{n:02}"), &pattern(n, 30)).await }
    }))
    .await;
    for (n, kept) in again.iter().enumerate() {
        let got = read(&store, &plain(&format!("k{n:02}")), expecting(&kept.binding)).await;
        assert_eq!(got.unwrap(), pattern(n as u64, 30));
    }
}

pub(crate) async fn recovery_keeps_what_it_is_told_to_keep(store: Store) {
    let store = with_bucket(store).await;
    let kept = stage(&store, "a", &pattern(1, 10)).await;
    store.recover(std::slice::from_ref(&kept.location)).await.unwrap();
    for n in 0..20 {
        write(&store, "b", &pattern(n, 10)).await;
    }
    assert_eq!(read(&store, &at("a", kept.location.clone()), expecting(&kept.binding)).await.unwrap(), pattern(1, 10));
    assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Done);
    assert_eq!(read(&store, &plain("a"), expecting(&kept.binding)).await.unwrap(), pattern(1, 10));
}

pub(crate) async fn a_store_that_works_says_so(store: Store) {
    store.check().await.unwrap();
    assert!(!store.capabilities().lines.is_empty());
}
