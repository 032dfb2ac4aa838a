//! What goes in comes out.

use futures::stream;

use super::{Store, at, expecting, in_chunks, keys, object, pattern, plain, publish, read, with_bucket, write};
use crate::backend::{
    Attributes, Body, BodyError, Error, Found, GetOptions, KeptPart, LABEL_CHARS_MAX, Place, Published, PutOptions, StoreUpload,
};
use crate::model::{ContentHeaders, Location};

pub(crate) async fn a_body_comes_back_as_it_was(store: Store) {
    let store = with_bucket(store).await;
    for (n, size) in [0, 1, 4_096, 65_535, 65_536, 65_537, 300_000, 3 << 20].into_iter().enumerate() {
        for chunk in [size.max(1), 10_000] {
            let bytes = pattern(n as u64, size);
            let options = PutOptions { size: (chunk == 10_000).then_some(size as u64), modified_ms: 7, ..PutOptions::any() };
            let kept = store.put(&object("a"), in_chunks(&bytes, chunk), options).await.unwrap();
            assert_eq!(kept.size, size as u64);
            assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Done);
            let fetched = store.get(&plain("a"), expecting(&kept.binding)).await.unwrap();
            assert_eq!((fetched.found.size, &fetched.found.binding), (size as u64, &kept.binding));
            assert_eq!(fetched.body.size, Some(size as u64));
            assert!(fetched.body.collect(4 << 20).await.unwrap() == bytes, "{size} bytes in chunks of {chunk}");
            // What was said of it is told by who is asked for nothing else.
            let head = Found { described: None, ..store.head(&plain("a")).await.unwrap() };
            assert_eq!(head, Found { described: None, ..fetched.found });
        }
    }
}

pub(crate) async fn a_body_that_fails_stores_nothing(store: Store) {
    let store = with_bucket(store).await;
    let old = write(&store, "a", &pattern(1, 100)).await;
    for size in [10, 70_000, 2 << 20] {
        let bytes = pattern(2, size);
        let chunks = [Ok(bytes), Err(BodyError::Refused)];
        let put = store.put(&object("a"), Body::new(None, stream::iter(chunks)), PutOptions::any()).await;
        assert!(matches!(put, Err(Error::Body(BodyError::Refused))), "{put:?}");
    }
    assert_eq!(read(&store, &plain("a"), expecting(&old.binding)).await.unwrap(), pattern(1, 100));
    assert_eq!(keys(&store).await, ["a"]);
}

pub(crate) async fn a_body_of_another_length_than_announced_stores_nothing(store: Store) {
    let store = with_bucket(store).await;
    for announced in [9, 11, 3 << 20] {
        let options = PutOptions { size: Some(announced), modified_ms: 0, ..PutOptions::any() };
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
        let options = PutOptions { size: None, modified_ms, ..PutOptions::any() };
        let kept = store.put(&object("a"), Body::from(pattern(1, 10)), options).await.unwrap();
        publish(&store, "a", &kept).await.unwrap();
        assert_eq!(store.head(&plain("a")).await.unwrap().modified_ms, modified_ms);
    }
}

/// Whether bytes say what they were stored with. Memory, which nobody else reads, tells the label alone.
async fn check_attributes(store: &Store, place: &Place, attributes: &Attributes, what: &str) {
    let found = store.head(place).await.unwrap();
    assert_eq!(found.label, attributes.label, "{what}");
    let Some(described) = &found.described else { return assert_eq!(store.capabilities()[0].kind, "memory") };
    assert_eq!(described.headers, attributes.headers, "{what}");
    assert_eq!(described.metadata, attributes.metadata, "{what}");
}

fn attributes(label: &str) -> Attributes {
    let text = |text: &str| Some(text.to_owned());
    let headers = ContentHeaders {
        content_type: Some(format!("text/{}; charset=utf-8", label.len())),
        content_encoding: text("gzip"),
        content_disposition: text("attachment; filename=\"a.txt\""),
        content_language: text("de"),
        cache_control: text("max-age=5"),
        ..ContentHeaders::default()
    };
    let metadata = [("colour", &label[..1]), ("made-by", "a client")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Attributes { label: text(label), headers, metadata: metadata.into() }
}

/// Where they have a name of their own at once: a store that stages may forget them.
pub(crate) async fn attributes_go_with_the_bytes(store: Store) {
    let store = with_bucket(store).await;
    let longest = "x-_1".repeat(LABEL_CHARS_MAX / 4);
    // Held in memory, streamed, and of unknown length.
    for (said, size, told) in [("held", 10, true), (&longest, 10, true), ("streamed", 2 << 20, true), ("untold", 2 << 20, false)]
    {
        let put = PutOptions { attributes: attributes(said), size: told.then_some(size), ..PutOptions::any() };
        let bytes = pattern(1, size as usize);
        let body = if told { Body::from(bytes) } else { in_chunks(&bytes, 100_000) };
        let kept = store.put(&object("a"), body, put).await.unwrap();
        let Location::Moving(write) = kept.location else { return };
        let own = at("a", Location::Own(write));
        check_attributes(&store, &own, &attributes(said), said).await;
        publish(&store, "a", &kept).await.unwrap();
        check_attributes(&store, &plain("a"), &attributes(said), &format!("{said}, at the plain name")).await;
        let put = PutOptions { attributes: attributes("of a copy"), ..PutOptions::any() };
        let copy = store.copy(&own, expecting(&kept.binding), &object("b"), put).await.unwrap();
        let Location::Moving(write) = copy.location else { panic!("{copy:?}") };
        check_attributes(&store, &at("b", Location::Own(write)), &attributes("of a copy"), said).await;
    }
    let (write, of_upload) = (PutOptions::any().write, attributes("of an upload"));
    let token = store.start_upload(&object("a"), write, of_upload.clone()).await.unwrap();
    let upload = StoreUpload { object: object("a"), write, token };
    let (parts, _) = put_parts(&store, &upload, &[10]).await;
    store.assemble(&upload, &parts, PutOptions { attributes: of_upload.clone(), ..PutOptions::any() }).await.unwrap();
    check_attributes(&store, &at("a", Location::Own(write)), &of_upload, "of an upload").await;
}

pub(crate) async fn two_writes_of_the_same_bytes_are_told_apart(store: Store) {
    let store = with_bucket(store).await;
    let mut bindings = Vec::new();
    for _ in 0..20 {
        let kept = write(&store, "a", &pattern(1, 10)).await;
        assert!(!bindings.contains(&kept.binding), "{:?}", kept.binding);
        bindings.push(kept.binding);
        store.harden(&[plain("a")]).await.unwrap();
        store.release(&at("a", kept.location)).await;
    }
}

pub(crate) async fn a_copy_is_bound_to_its_source(store: Store) {
    let store = with_bucket(store).await;
    for size in [100u64, 1 << 20] {
        let bytes = pattern(size, size as usize);
        let old = write(&store, "a", &pattern(9, 10)).await;
        let source = write(&store, "a", &bytes).await;
        for range in [None, Some(10..size / 2)] {
            let get = GetOptions { range: range.clone(), expect: Some(source.binding.clone()) };
            let kept = store
                .copy(&plain("a"), get, &object("b"), PutOptions { size: None, modified_ms: 5, ..PutOptions::any() })
                .await
                .unwrap();
            publish(&store, "b", &kept).await.unwrap();
            let want = range.map_or(bytes.clone(), |range| bytes.slice(range.start as usize..range.end as usize));
            assert_eq!(kept.size, want.len() as u64);
            assert!(read(&store, &plain("b"), expecting(&kept.binding)).await.unwrap() == want);
            assert_eq!(store.head(&plain("b")).await.unwrap().modified_ms, 5);
        }
        let stale = store.copy(&plain("a"), expecting(&old.binding), &object("b"), PutOptions::any()).await;
        assert!(matches!(stale, Err(Error::Changed)), "{stale:?}");
        assert!(read(&store, &plain("a"), expecting(&source.binding)).await.unwrap() == bytes);
    }
}

async fn start(store: &Store, key: &str) -> StoreUpload {
    let (object, write) = (object(key), PutOptions::any().write);
    let token = store.start_upload(&object, write, Attributes::default()).await.unwrap();
    StoreUpload { object, write, token }
}

async fn put_parts(store: &Store, upload: &StoreUpload, sizes: &[usize]) -> (Vec<KeptPart>, Vec<u8>) {
    let (mut parts, mut whole) = (Vec::new(), Vec::new());
    for (n, size) in sizes.iter().enumerate() {
        let bytes = pattern(n as u64, *size);
        let number = n as u16 + 1;
        let kept = store.put_part(upload, number, Body::from(bytes.clone()), PutOptions::any()).await.unwrap();
        parts.push(KeptPart { number, kept });
        whole.extend_from_slice(&bytes);
    }
    (parts, whole)
}

pub(crate) async fn parts_become_one_body(store: Store) {
    let store = with_bucket(store).await;
    // Many stores take none but the last below 5 MiB.
    for sizes in [vec![0], vec![10], vec![5 << 20, 70_000], vec![5 << 20, 5 << 20, 0]] {
        let upload = start(&store, "a").await;
        let (parts, whole) = put_parts(&store, &upload, &sizes).await;
        for _ in 0..2 {
            let put = PutOptions { modified_ms: 3, ..PutOptions::any() };
            let kept = store.assemble(&upload, &parts, put).await.unwrap();
            assert_eq!(kept.size, whole.len() as u64);
            publish(&store, "a", &kept).await.unwrap();
            assert!(read(&store, &plain("a"), expecting(&kept.binding)).await.unwrap() == whole);
        }
        for part in parts {
            store.release(&at("a", part.kept.location)).await;
        }
    }
    assert_eq!(keys(&store).await, ["a"]);
}

pub(crate) async fn a_part_that_changed_stops_the_assembly(store: Store) {
    let store = with_bucket(store).await;
    let upload = start(&store, "a").await;
    let (mut parts, _) = put_parts(&store, &upload, &[10, 10]).await;
    parts[0].kept.binding = parts[1].kept.binding.clone();
    let assembled = store.assemble(&upload, &parts, PutOptions::any()).await;
    assert!(matches!(assembled, Err(Error::Changed | Error::NotFound)), "{assembled:?}");
}
