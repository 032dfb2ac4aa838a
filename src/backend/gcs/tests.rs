//! What the rest builds on, promised by the service: over a fake of it, and over an emulator that is not ours.

mod alone;
mod conformance {
    use super::*;

    async fn store() -> (Arc<Store<Gcs>>, Fake) {
        let (gcs, fake) = over_fake().await;
        gcs.remove_bucket(BUCKET).await.unwrap();
        (Arc::new(Store::open(gcs, &Common::at("anybucket-home")).await.unwrap()), fake)
    }

    crate::backend::conformance::passes_naming_conformance!(store().await);

    /// Where several buckets lie in one.
    mod parted {
        use crate::backend::alias::{Aliases, Rule};
        use crate::model::BucketName;

        async fn store() -> (super::Arc<Aliases>, super::Fake) {
            let (store, fake) = super::store().await;
            let (buckets, bucket) = ("*".to_owned(), BucketName::new("corp-all").unwrap());
            let rules = vec![Rule { buckets, bucket, prefix: "{bucket}/".to_owned() }];
            (super::Arc::new(Aliases::new(store, rules).unwrap()), fake)
        }

        crate::backend::conformance::passes_short_conformance!([] store().await);
    }
}
mod emulator;
mod uploads;

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::fake::Fake;
use super::*;
use crate::backend::service::{Common, Fault, Listed, Metadata};
use crate::backend::{Body, BodyError};

const BUCKET: &str = "a-bucket";

fn at(name: &str) -> Spot {
    Spot::new(BUCKET.to_owned(), name.to_owned())
}

/// What a write is marked with, in short.
fn mark(write: u64) -> Metadata {
    Metadata::from([("anybucket-write".to_owned(), write.to_string()), ("anybucket-modified".to_owned(), "5".to_owned())])
}

fn target(name: &str, write: u64) -> Target {
    Target::new(at(name), mark(write))
}

fn bytes(size: usize) -> Bytes {
    (0..size).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<_>>().into()
}

/// As clients bring it: in pieces, with its length told; it may end badly.
fn outgoing(whole: &Bytes, size: u64, end: Option<BodyError>) -> Outgoing {
    let chunks = whole.chunks(60_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
    let chunks: Vec<_> = chunks.chain(end.map(Err)).collect();
    Outgoing::new(Body::new(Some(size), stream::iter(chunks)), size).0
}

async fn put(gcs: &Gcs, name: &str, write: u64, whole: impl Into<Bytes>) -> Told {
    gcs.put(&target(name, write), whole.into()).await.unwrap();
    gcs.look(&at(name)).await.unwrap()
}

async fn read(opened: Opened) -> Result<Bytes, String> {
    let chunks: Vec<Bytes> = opened.stream.try_collect().await?;
    Ok(chunks.concat().into())
}

async fn written(gcs: &Gcs, name: &str) -> String {
    let told = gcs.look(&at(name)).await.unwrap();
    format!("{:?}", told.binding)
}

/// All names under a prefix behind another, page by page.
async fn listed(gcs: &Gcs, prefix: &str, mut from: Cursor) -> Vec<Listed> {
    let mut all = Vec::new();
    loop {
        let page = gcs.page(BUCKET, prefix, &from).await.unwrap();
        all.extend(page.listed);
        match page.next {
            Some(next) => from = Cursor::Next(next),
            None => return all,
        }
    }
}

async fn names(gcs: &Gcs, prefix: &str, from: Cursor) -> Vec<String> {
    listed(gcs, prefix, from).await.into_iter().map(|listed| listed.name).collect()
}

/// Over the fake, with the bucket.
async fn over_fake() -> (Gcs, Fake) {
    let fake = Fake::start().await;
    let settings = Settings::at(Some(format!("http://{}", fake.address)), "my-project", "a-home");
    let gcs = Gcs::new(Settings { anonymous: true, ..settings }, Keys::Default).unwrap();
    gcs.make_bucket(BUCKET).await.unwrap();
    (gcs, fake)
}

/// Every promise, as a test of each service.
macro_rules! keeps_promises {
    (@one [$($attribute:tt)*] $service:expr, $promise:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $promise() {
            let (gcs, _service) = $service;
            crate::backend::gcs::tests::$promise(&gcs).await;
        }
    };
    ($attributes:tt $service:expr) => {
        crate::backend::gcs::tests::keeps_promises! { $attributes $service =>
            bytes_come_back_with_what_they_were_marked_with
            ranges_begin_where_they_were_asked_to
            a_streamed_body_is_stored_whole
            a_body_that_ends_badly_is_not_stored
            every_write_is_another_generation
            what_others_stored_is_known_by_its_generation
            names_come_back_in_the_order_of_bytes
            a_listing_goes_on_behind_a_name_that_need_not_be_there
            a_copy_has_its_own_mark
            what_was_removed_is_missing
            buckets_are_made_once_and_removed_empty
            a_missing_bucket_is_no_missing_object
        }
    };
    ($attributes:tt $service:expr => $($promise:ident)*) => {
        $(crate::backend::gcs::tests::keeps_promises! { @one $attributes $service, $promise })*
    };
}
use keeps_promises;

mod over_the_fake {
    super::keeps_promises!([] super::over_fake().await);
}

async fn bytes_come_back_with_what_they_were_marked_with(gcs: &Gcs) {
    for (name, size) in [("none", 0), ("some", 100_000)] {
        let whole = bytes(size);
        let told = put(gcs, name, 7, whole.clone()).await;
        assert_eq!((told.size, told.modified_ms, told.etag.is_some()), (size as u64, 5, true));
        assert!(told.changed_ms.is_some());
        let opened = gcs.open(&at(name), None).await.unwrap();
        assert_eq!((opened.first, &opened.told.binding, &opened.told.etag), (0, &told.binding, &told.etag));
        assert!(read(opened).await.unwrap() == whole);
    }
    assert_eq!(written(gcs, "some").await, "Tag(\"7\")");
}

async fn ranges_begin_where_they_were_asked_to(gcs: &Gcs) {
    let whole = bytes(1000);
    put(gcs, "a", 1, whole.clone()).await;
    for range in [0..1, 0..1000, 999..1000, 10..500] {
        let opened = gcs.open(&at("a"), Some(&range)).await.unwrap();
        assert_eq!((opened.first, opened.told.size), (range.start, 1000));
        assert!(read(opened).await.unwrap() == whole.slice(range.start as usize..range.end as usize));
    }
    let beyond = gcs.open(&at("a"), Some(&(1000..1001))).await.err().unwrap();
    assert!(beyond.is_beyond_end(), "{beyond:?}");
}

async fn a_streamed_body_is_stored_whole(gcs: &Gcs) {
    for size in [0, 1, 3 << 20] {
        let whole = bytes(size);
        gcs.put_streamed(&target("a", 1), outgoing(&whole, size as u64, None)).await.unwrap();
        assert!(read(gcs.open(&at("a"), None).await.unwrap()).await.unwrap() == whole);
    }
    assert_eq!(written(gcs, "a").await, "Tag(\"1\")");
}

async fn a_body_that_ends_badly_is_not_stored(gcs: &Gcs) {
    let whole = bytes(3 << 20);
    let size = whole.len() as u64;
    // Refused after its last byte, too short and too long.
    for (announced, end) in [(size, Some(BodyError::Refused)), (size + 1, None), (size - 1, None)] {
        let broken = gcs.put_streamed(&target("a", 1), outgoing(&whole, announced, end)).await.unwrap_err();
        assert!(broken.is_open(), "{broken:?}");
    }
    let cut = outgoing(&whole.slice(..100_000), size, Some(BodyError::Refused));
    assert!(gcs.put_streamed(&target("a", 1), cut).await.is_err());
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(gcs.look(&at("a")).await.unwrap_err().is_missing());
}

async fn every_write_is_another_generation(gcs: &Gcs) {
    let mut seen = BTreeSet::new();
    for write in 0..5 {
        let told = put(gcs, "a", 1, "the same").await;
        assert!(seen.insert(told.etag.unwrap()), "{write}");
    }
    let told = gcs.look(&at("a")).await.unwrap();
    gcs.copy(&at("a"), &told, &target("a", 1), Only::Any).await.unwrap();
    assert!(seen.insert(gcs.look(&at("a")).await.unwrap().etag.unwrap()));
}

async fn what_others_stored_is_known_by_its_generation(gcs: &Gcs) {
    let foreign = Target::new(at("a"), Metadata::new());
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        gcs.put(&foreign, "the same".into()).await.unwrap();
        let told = gcs.look(&at("a")).await.unwrap();
        assert!(format!("{:?}", told.binding).contains(&format!("etag:{}:", told.etag.unwrap())));
        assert!(seen.insert(format!("{:?}", told.binding)));
    }
    let listed = listed(gcs, "", Cursor::Start).await;
    assert!(seen.contains(&format!("{:?}", listed[0].told.as_ref().unwrap().binding)));
}

async fn names_come_back_in_the_order_of_bytes(gcs: &Gcs) {
    let long = "x".repeat(1024);
    let mut all = vec![
        "a/b",
        "a-b",
        "a//b",
        "a/",
        "a b+c",
        "a%2Fb",
        "a%",
        "é/ü",
        "#[*]?&=;:@!$'()",
        "\u{10000}",
        "\u{E000}",
        "\u{FB00}",
        "a\u{1F600}",
        "a/../b",
        "../a",
        "./a",
        "a/.",
        "'\"<>\\^`{|}~",
        "\u{200B}",
        "a\tb",
        &long,
    ];
    for (write, name) in all.iter().enumerate() {
        assert!(!gcs.is_odd(name), "{name:?}");
        put(gcs, name, write as u64, (*name).to_owned()).await;
    }
    for (write, name) in all.iter().enumerate() {
        let opened = gcs.open(&at(name), None).await.unwrap();
        assert_eq!(format!("{:?}", opened.told.binding), format!("Tag(\"{write}\")"), "{name:?}");
        gcs.copy(&at(name), &opened.told, &target(name, 100), Only::Seen(&opened.told)).await.unwrap();
        assert_eq!(read(opened).await.unwrap(), *name);
        assert_eq!(written(gcs, name).await, "Tag(\"100\")", "{name:?}");
    }
    all.sort_unstable();
    assert_eq!(names(gcs, "", Cursor::Start).await, all);
    for name in all {
        gcs.remove(&at(name), Only::Any).await.unwrap();
    }
    assert_eq!(names(gcs, "", Cursor::Start).await, [""; 0]);
    for odd in ["", ".", "..", ".well-known/acme-challenge/x", "a\nb", &"x".repeat(1025)] {
        assert!(gcs.is_odd(odd), "{odd:?}");
    }
}

async fn a_listing_goes_on_behind_a_name_that_need_not_be_there(gcs: &Gcs) {
    let all: Vec<String> = (0..1003).map(|n| format!("p/{n:04}")).collect();
    let puts = all.iter().map(|name| async move { gcs.put(&target(name, 3), name.clone().into()).await });
    let _: Vec<()> = stream::iter(puts).buffer_unordered(16).try_collect().await.unwrap();
    put(gcs, "q", 4, "q").await;
    assert_eq!(names(gcs, "p/", Cursor::Start).await, all);
    let behind = |name: &str| Cursor::Behind(name.to_owned());
    assert_eq!(names(gcs, "p/", behind("p/0998")).await, all[999..]);
    assert_eq!(names(gcs, "", behind("p/09980")).await.len(), 1003 - 999 + 1);
    assert_eq!(names(gcs, "", behind("p/1002")).await, ["q"]);
    assert_eq!(names(gcs, "", behind("p")).await.len(), 1004);
    assert_eq!(names(gcs, "", behind("q")).await, [""; 0]);
    let last = listed(gcs, "p/1002", Cursor::Start).await.remove(0);
    assert_eq!((last.size, last.told.map(|told| format!("{:?}", told.binding))), (6, Some("Tag(\"3\")".to_owned())));
    assert!(last.stored_ms.is_some());
}

async fn a_copy_has_its_own_mark(gcs: &Gcs) {
    let whole = bytes(100_000);
    let told = put(gcs, "a", 1, whole.clone()).await;
    gcs.make_bucket("another-bucket").await.unwrap();
    let other = Spot::new("another-bucket".to_owned(), "x/y".to_owned());
    for to in [at("b/c d"), other] {
        gcs.copy(&at("a"), &told, &Target::new(to.clone(), mark(2)), Only::Any).await.unwrap();
        let opened = gcs.open(&to, None).await.unwrap();
        assert_eq!(format!("{:?}", opened.told.binding), "Tag(\"2\")");
        assert!(read(opened).await.unwrap() == whole);
    }
    assert_eq!(written(gcs, "a").await, "Tag(\"1\")");
    let missing = gcs.copy(&at("z"), &told, &target("b", 2), Only::Any).await.unwrap_err();
    assert!(missing.is_missing(), "{missing:?}");
}

async fn what_was_removed_is_missing(gcs: &Gcs) {
    let told = put(gcs, "a", 1, "a").await;
    gcs.remove(&at("a"), Only::Seen(&told)).await.unwrap();
    assert!(gcs.look(&at("a")).await.unwrap_err().is_missing());
    assert!(gcs.open(&at("a"), None).await.is_err_and(|fault| fault.is_missing()));
    for only in [Only::Any, Only::Seen(&told)] {
        assert!(gcs.remove(&at("a"), only).await.is_err_and(|fault| fault.is_missing()));
    }
}

async fn buckets_are_made_once_and_removed_empty(gcs: &Gcs) {
    gcs.make_bucket(BUCKET).await.unwrap();
    gcs.make_bucket("b-bucket").await.unwrap();
    gcs.look_at_bucket("b-bucket").await.unwrap();
    let all: BTreeSet<String> = gcs.buckets().await.unwrap().into_iter().collect();
    assert_eq!(all, BTreeSet::from([BUCKET.to_owned(), "b-bucket".to_owned()]));
    gcs.remove_bucket("b-bucket").await.unwrap();
    assert!(gcs.look_at_bucket("b-bucket").await.unwrap_err().is_bucket_missing());
    assert!(gcs.remove_bucket("b-bucket").await.unwrap_err().is_bucket_missing());
    put(gcs, "a", 1, "a").await;
    assert!(gcs.remove_bucket(BUCKET).await.is_err());
    assert_eq!(names(gcs, "", Cursor::Start).await, ["a"]);
}

async fn a_missing_bucket_is_no_missing_object(gcs: &Gcs) {
    let nowhere = Spot::new("no-bucket".to_owned(), "a".to_owned());
    let to = Target::new(nowhere, mark(1));
    let faults: Vec<Fault> = vec![
        gcs.put(&to, "a".into()).await.unwrap_err(),
        gcs.page("no-bucket", "", &Cursor::Start).await.unwrap_err(),
        gcs.look_at_bucket("no-bucket").await.unwrap_err(),
    ];
    for fault in faults {
        assert!(fault.is_bucket_missing() && !fault.is_missing(), "{fault:?}");
    }
}
