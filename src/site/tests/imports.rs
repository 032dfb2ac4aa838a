//! Folders full of files: served whole from the first moment, and never more or less than what lies there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{if_match, if_none_match, keys};
use crate::backend::alias::{self, Aliases};
use crate::backend::memory::Memory;
use crate::backend::{self, Backend, Body, Place, PutOptions};
use crate::model::{ETag, Location, ObjectId, Replica, Seq, SiteNumber, Slot, State, Unit};
use crate::site::testing::{get, object, open, open_in, put, site_with_neighbour, status, upload, with_bucket};
use crate::site::{
    Custody, Error, Newcomer, Ownership, ReadConditions, Replication, Rule, Scrubbed, Selection, Site, WriteConditions,
};
use crate::status::{Commit, ListEntry, ListQuery, Options, Status, VersionsQuery};
use crate::tasks::{Step, Worker};

const HELLO_MD5: &str = "5d41402abc4b2a76b9719d911017c592";
/// When the files were written: milliseconds since 1970.
const WRITTEN_MS: u64 = 1_500_000_000_000;

/// Puts a file into the store as others do, who know nothing of the site.
async fn file(store: &Memory, object: &ObjectId, bytes: impl Into<bytes::Bytes>) {
    store.create_bucket(&object.bucket).await.unwrap();
    let put = PutOptions { size: None, modified_ms: WRITTEN_MS, ..PutOptions::any() };
    let kept = store.put(object, Body::from(bytes.into()), put).await.unwrap();
    let from = Place { object: object.clone(), location: kept.location };
    store.publish(&from, &kept.binding).await.unwrap();
}

async fn folder(keys: &[&str]) -> Arc<Memory> {
    let store = Arc::new(Memory::new());
    for key in keys {
        file(&store, &object(key), "hello").await;
    }
    store
}

/// A site that starts on the store for the first time, and the worker that imports.
async fn started(store: &Arc<Memory>) -> (Site, Box<dyn Worker>) {
    started_with(store, status(Options::default())).await
}

async fn started_with(store: &Arc<Memory>, status: Status) -> (Site, Box<dyn Worker>) {
    let site = open(store.clone(), status).await.0;
    let importer = site.importer();
    (site, importer)
}

/// Walks to the end.
async fn import(site: &Site, importer: &mut Box<dyn Worker>) {
    while !site.imports().is_empty() {
        assert_eq!(importer.step().await, Ok(Step::Worked));
    }
}

async fn lies_there(store: &Memory, key: &str) -> bool {
    let at = Place { object: object(key), location: Location::Plain };
    !matches!(store.head(&at).await, Err(backend::Error::NotFound | backend::Error::NoSuchBucket))
}

async fn etag(site: &Site, key: &str) -> ETag {
    let seen = site.head(&object(key), None, Selection::All, &ReadConditions::default()).await.unwrap();
    seen.record.identity.etag.clone()
}

#[tokio::test]
async fn a_folder_full_of_files_is_a_bucket_at_once() {
    let (site, mut importer) = started(&folder(&["a", "b/c", "b/d"]).await).await;
    for is_imported in [false, true] {
        assert_eq!(site.buckets().await.unwrap().len(), 1);
        assert_eq!(get(&site, "b/c").await.unwrap(), "hello");
        assert!(matches!(get(&site, "b").await, Err(Error::NoSuchKey)));
        let seen = site.head(&object("a"), None, Selection::All, &ReadConditions::default()).await.unwrap();
        assert_eq!((seen.record.identity.etag.as_str(), seen.modified_ms), (HELLO_MD5, WRITTEN_MS));
        assert_eq!(keys(&site).await, ["a", "b/c", "b/d"]);
        assert_eq!(site.imports().is_empty(), is_imported);
        import(&site, &mut importer).await;
    }
    assert_eq!(importer.step().await, Ok(Step::Idle));
}

#[tokio::test]
async fn once_all_is_imported_every_row_says_what_its_bytes_are() {
    let (site, mut importer) = started(&folder(&["a", "b"]).await).await;
    import(&site, &mut importer).await;
    for key in ["a", "b"] {
        let row = site.status().object(&object(key)).await.unwrap().unwrap();
        assert_eq!((row.state, row.identity.etag.as_str()), (State::Present, HELLO_MD5));
    }
}

#[tokio::test]
async fn a_file_deleted_before_the_walk_comes_by_does_not_come_back() {
    let store = folder(&["a", "b", "c"]).await;
    let (site, mut importer) = started(&store).await;
    let deleted = site.delete(&object("b"), WriteConditions::default()).await.unwrap();
    assert!(deleted.stamp.is_some());
    assert!(!lies_there(&store, "b").await);
    for _ in 0..2 {
        assert!(matches!(get(&site, "b").await, Err(Error::NoSuchKey)));
        assert_eq!(keys(&site).await, ["a", "c"]);
        import(&site, &mut importer).await;
    }
}

#[tokio::test]
async fn a_file_whose_removal_fails_is_deleted_all_the_same() {
    let store = folder(&["a", "b"]).await;
    let (site, mut importer) = started(&store).await;
    site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    // As if it had not been possible to remove it.
    file(&store, &object("a"), "hello").await;
    for _ in 0..2 {
        assert!(matches!(get(&site, "a").await, Err(Error::NoSuchKey)));
        assert_eq!(keys(&site).await, ["b"]);
        import(&site, &mut importer).await;
    }
}

#[tokio::test]
async fn a_file_overwritten_before_the_walk_comes_by_stays_overwritten() {
    let store = folder(&["a"]).await;
    let (site, mut importer) = started(&store).await;
    put(&site, "a", "mine").await;
    put(&site, "new", "mine").await;
    site.delete(&object("new"), WriteConditions::default()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(get(&site, "a").await.unwrap(), "mine");
        assert_eq!(keys(&site).await, ["a"]);
        import(&site, &mut importer).await;
    }
}

#[tokio::test]
async fn conditional_writes_meet_files_that_nobody_has_read() {
    let (site, _) = started(&folder(&["a", "b"]).await).await;
    let put = async |key: &str, conditions| site.put(&object(key), upload("mine"), Default::default(), conditions).await;
    assert!(matches!(put("a", if_none_match()).await, Err(Error::PreconditionFailed(_))));
    assert!(matches!(put("a", if_match(&ETag::new("0".repeat(32)))).await, Err(Error::PreconditionFailed(_))));
    put("a", if_match(&ETag::new(HELLO_MD5))).await.unwrap();
    put("c", if_none_match()).await.unwrap();
    let deleted = site.delete(&object("b"), if_match(&ETag::new("0".repeat(32)))).await;
    assert!(matches!(deleted, Err(Error::PreconditionFailed(_))));
}

#[tokio::test]
async fn pages_are_whole_before_the_walk_begins() {
    let dirs = ["", "a/", "a/b/", "b", "d/e/", "z/"];
    let mut names: Vec<String> = dirs.iter().flat_map(|dir| (0..70).map(move |n| format!("{dir}{n}"))).collect();
    // The very keys that a listing begins at once it is through with a prefix.
    names.extend(["a0", "a/b0", "b2"].map(str::to_owned));
    let store = folder(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let done = started(&store).await.0;
    let query = |prefix: &str, delimiter: Option<&str>, after: Option<String>, entries_max| {
        let (bucket, prefix, delimiter) = (object("-").bucket, prefix.into(), delimiter.map(str::to_owned));
        ListQuery { bucket, prefix, delimiter, after, entries_max }
    };
    // The rows of this one are complete.
    done.list(query("", None, None, 1_000)).await.unwrap();
    for prefix in ["", "a", "a/", "a/b/1", "b", "d/", "z/69", "zz", "0"] {
        for delimiter in [None, Some("/"), Some("1")] {
            for entries_max in [1, 3, 50, 1_000] {
                store.remove_note("import").await.unwrap();
                let (site, _) = started(&store).await;
                let mut after = None;
                loop {
                    let page = site.list(query(prefix, delimiter, after.clone(), entries_max)).await.unwrap();
                    let want = done.list(query(prefix, delimiter, after.clone(), entries_max)).await.unwrap();
                    let texts = |entries: &[ListEntry]| entries.iter().map(|entry| entry.text().to_owned()).collect::<Vec<_>>();
                    assert_eq!(texts(&page.entries), texts(&want.entries), "{prefix} {delimiter:?} {after:?} {entries_max}");
                    assert_eq!(page.more, want.more, "{prefix} {delimiter:?} {after:?} {entries_max}");
                    after = page.entries.last().map(|last| last.text().to_owned());
                    if !page.more {
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_page_imports_what_it_shows_and_little_more() {
    let names: Vec<String> = (0..40).flat_map(|dir| (0..100).map(move |n| format!("{dir:02}/{n}"))).collect();
    let store = folder(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (site, _) = started(&store).await;
    let query = ListQuery {
        bucket: object("-").bucket,
        prefix: String::new(),
        delimiter: Some("/".into()),
        after: None,
        entries_max: 1_000,
    };
    assert_eq!(site.list(query).await.unwrap().entries.len(), 40);
    let rows = site.status().list(ListQuery {
        bucket: object("-").bucket,
        prefix: String::new(),
        delimiter: None,
        after: None,
        entries_max: 1_000,
    });
    assert!(rows.await.unwrap().entries.len() < 100, "a file or two stand for each prefix");
}

#[tokio::test]
async fn a_prefix_of_which_the_first_file_was_deleted_is_listed() {
    let store = folder(&["d/1", "d/2"]).await;
    let (site, _) = started(&store).await;
    site.delete(&object("d/1"), WriteConditions::default()).await.unwrap();
    file(&store, &object("d/1"), "its removal failed").await;
    let (bucket, delimiter) = (object("-").bucket, Some("/".into()));
    let query = ListQuery { bucket, prefix: String::new(), delimiter, after: None, entries_max: 10 };
    assert_eq!(site.list(query).await.unwrap().entries[0].text(), "d/");
}

#[tokio::test]
async fn versions_are_listed_whole_before_the_walk_begins() {
    let (site, _) = started(&folder(&["a", "b", "c"]).await).await;
    let (bucket, prefix) = (object("-").bucket, String::new());
    let keys = ListQuery { bucket, prefix, delimiter: None, after: None, entries_max: 2 };
    let page = site.list_versions(VersionsQuery { keys, after_version: None }).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (2, true));
    let null = site.head(&object("c"), Some(Slot::Null), Selection::All, &ReadConditions::default()).await.unwrap();
    assert_eq!(null.record.identity.etag.as_str(), HELLO_MD5);
}

#[tokio::test]
async fn a_walk_that_was_killed_goes_on_where_it_was() {
    let names: Vec<String> = (0..2_500).map(|n| format!("{n:05}")).collect();
    let store = folder(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let known = status(Options::default());
    let (site, mut importer) = started_with(&store, known.clone()).await;
    importer.step().await.unwrap();
    assert_eq!(site.imports()[0].1.objects, 1_000);
    drop((site, importer));
    let (site, mut importer) = started_with(&store, known).await;
    let before = site.imports()[0].1.clone();
    assert_eq!((before.objects, before.walked.as_deref()), (1_000, Some("00999")));
    importer.step().await.unwrap();
    importer.step().await.unwrap();
    let listed = site.imports()[0].1.clone();
    assert_eq!((listed.objects, listed.bytes, listed.is_listed), (2_500, 12_500, true));
    import(&site, &mut importer).await;
    let all: BTreeSet<_> = names.into_iter().collect();
    let mut found = BTreeSet::new();
    for key in &all {
        found.extend(site.status().object(&object(key)).await.unwrap().map(|_| key.clone()));
    }
    assert_eq!(found, all);
}

#[tokio::test]
async fn a_lost_status_store_does_not_make_files_disappear() {
    let store = folder(&["a"]).await;
    let (site, _) = started(&store).await;
    assert_eq!(keys(&site).await, ["a"]);
    let (site, mut importer) = started(&store).await;
    import(&site, &mut importer).await;
    assert_eq!(keys(&site).await, ["a"]);
}

#[tokio::test]
async fn a_key_without_a_row_is_absent_again_when_all_is_imported() {
    let store = folder(&["a"]).await;
    let (site, mut importer) = started(&store).await;
    import(&site, &mut importer).await;
    file(&store, &object("b"), "hello").await;
    assert!(matches!(get(&site, "b").await, Err(Error::NoSuchKey)));
}

#[tokio::test]
async fn what_is_listed_before_it_is_read_keeps_the_etag_it_had() {
    let store = folder(&["a"]).await;
    let (site, mut importer) = started(&store).await;
    let (bucket, prefix) = (object("-").bucket, String::new());
    let page = site.list(ListQuery { bucket, prefix, delimiter: None, after: None, entries_max: 1 }).await.unwrap();
    let ListEntry::Object { record, .. } = &page.entries[0] else { panic!("an object") };
    let listed = record.identity.etag.clone();
    assert!(listed.as_str().ends_with("-1"), "no client takes it for an MD5");
    assert_eq!(record.shown_checksum(), None);
    import(&site, &mut importer).await;
    assert_eq!(etag(&site, "a").await.as_str(), HELLO_MD5);
    let only = |etag: &ETag| ReadConditions { if_match: if_match(etag).if_match, ..Default::default() };
    site.get(&object("a"), None, Selection::All, &only(&listed)).await.unwrap();
    let unchanged = ReadConditions { if_none_match: if_match(&listed).if_match, ..Default::default() };
    let seen = site.get(&object("a"), None, Selection::All, &unchanged).await;
    assert!(matches!(seen, Err(Error::NotModified { .. })));
    // It names these bytes, and no others.
    put(&site, "a", "hello").await;
    let seen = site.get(&object("a"), None, Selection::All, &only(&listed)).await;
    assert!(matches!(seen, Err(Error::PreconditionFailed(_))));
}

#[tokio::test]
async fn a_large_file_is_served_before_it_is_read() {
    let store = Arc::new(Memory::new());
    let large = bytes::Bytes::from(vec![7; (1 << 20) + 1]);
    file(&store, &object("large"), large.clone()).await;
    let (site, mut importer) = started(&store).await;
    let before = etag(&site, "large").await;
    assert!(before.as_str().ends_with("-1"), "{before}");
    let opened = site.get(&object("large"), None, Selection::All, &Default::default()).await.unwrap();
    assert_eq!(opened.body.collect(2 << 20).await.unwrap(), large);
    assert_eq!(etag(&site, "large").await, before);
    // Whoever copies it reads it.
    site.copy(&object("large"), &object("copy"), Default::default()).await.unwrap();
    let after = etag(&site, "large").await;
    assert_eq!((after.as_str().len(), after), (32, etag(&site, "copy").await));
    import(&site, &mut importer).await;
}

#[tokio::test]
async fn what_others_change_before_it_is_read_is_served_as_it_is_now() {
    for ownership in [Ownership::Auto, Ownership::Exclusive] {
        let (store, rules) = (folder(&["a", "b", "c"]).await, vec![Rule { buckets: "*".into(), ownership }]);
        let site = open_in(Custody { rules, ..Custody::default() }, store.clone(), status(Options::default())).await.0;
        let mut importer = site.importer();
        assert_eq!(keys(&site).await.len(), 3);
        file(&store, &object("a"), "changed").await;
        file(&store, &object("b"), "changed").await;
        assert_eq!(get(&site, "a").await.unwrap(), "changed");
        import(&site, &mut importer).await;
        assert_eq!(get(&site, "b").await.unwrap(), "changed");
        assert_eq!(etag(&site, "c").await.as_str(), HELLO_MD5);
    }
}

#[tokio::test]
async fn nobody_is_told_of_bytes_before_they_are_read() {
    let (site, mut importer) = started(&folder(&["a"]).await).await;
    assert_eq!(keys(&site).await, ["a"]);
    let unit = Unit::null(&object("a"));
    assert_eq!(site.replica(&unit).await.unwrap(), Replica::Unknown);
    import(&site, &mut importer).await;
    let Replica::Live(live) = site.replica(&unit).await.unwrap() else { panic!("it is known now") };
    assert_eq!((live.identity.etag.as_str(), live.vector.data.ms()), (HELLO_MD5, WRITTEN_MS));
}

#[tokio::test]
async fn a_bucket_is_not_empty_while_a_file_lies_there() {
    let (site, _) = started(&folder(&["a"]).await).await;
    let deleted = site.delete_bucket(&object("-").bucket).await;
    assert!(matches!(deleted, Err(Error::BucketNotEmpty(_))));
    site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    site.delete_bucket(&object("-").bucket).await.unwrap();
}

#[tokio::test]
async fn a_bucket_made_of_a_folder_has_its_files_unless_they_are_nobodys_business() {
    for (ownership, want) in [(Ownership::Auto, vec!["a"]), (Ownership::Exclusive, vec![])] {
        let (store, rules) = (Arc::new(Memory::new()), vec![Rule { buckets: "buck*".into(), ownership }]);
        let custody = Custody { rules, ..Custody::default() };
        let site = open_in(custody, store.clone(), status(Options::default())).await.0;
        let mut importer = site.importer();
        file(&store, &object("a"), "hello").await;
        site.create_bucket(&object("-").bucket, "owner", "us-east-1").await.unwrap();
        assert_eq!(keys(&site).await, want);
        import(&site, &mut importer).await;
        assert_eq!(keys(&site).await, want);
    }
}

#[tokio::test]
async fn a_store_that_was_served_before_is_not_imported() {
    let store = folder(&["a"]).await;
    store.write_note("owner", "{}".into()).await.unwrap();
    let (site, _) = started(&store).await;
    assert!(site.imports().is_empty());
    assert!(matches!(get(&site, "a").await, Err(Error::NoSuchBucket)));
}

#[tokio::test]
async fn what_others_put_into_a_folder_later_is_taken_by_a_look_unless_it_is_nobodys_business() {
    for (ownership, want) in [(Ownership::Auto, Newcomer::Taken), (Ownership::Exclusive, Newcomer::Left)] {
        let (store, rules) = (folder(&["a"]).await, vec![Rule { buckets: "*".into(), ownership }]);
        let custody = Custody { rules, ..Custody::default() };
        let site = open_in(custody, store.clone(), status(Options::default())).await.0;
        let mut importer = site.importer();
        import(&site, &mut importer).await;
        file(&store, &object("b"), "hello").await;
        assert_eq!(site.take_newcomer(&object("b")).await.unwrap(), want);
        assert_eq!(site.take_newcomer(&object("a")).await.unwrap(), if want == Newcomer::Taken { Newcomer::Busy } else { want });
        let found = site.status().object(&object("b")).await.unwrap();
        let etag = found.map(|row| row.identity.etag.to_string());
        assert_eq!(etag, (want == Newcomer::Taken).then(|| HELLO_MD5.to_owned()));
    }
}

#[tokio::test]
async fn a_deleted_file_is_no_newcomer_however_long_its_removal_takes() {
    let store = folder(&["a"]).await;
    let (site, mut workers) = open(store.clone(), status(Options::default())).await;
    put(&site, "a", "mine").await;
    site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    file(&store, &object("a"), "hello").await;
    assert_eq!(site.take_newcomer(&object("a")).await.unwrap(), Newcomer::Busy);
    for worker in &mut workers {
        while worker.step().await == Ok(Step::Worked) {}
    }
    // This store does not say whether it came after the delete.
    assert_eq!(site.take_newcomer(&object("a")).await.unwrap(), Newcomer::Left);
    assert!(keys(&site).await.is_empty());
}

#[tokio::test]
async fn a_file_dropped_into_a_versioned_bucket_becomes_its_newest() {
    let (site, mut importer) = started(&folder(&["other"]).await).await;
    import(&site, &mut importer).await;
    let enable = |bucket: crate::model::Bucket, stamp| Ok(bucket.with_versioning(crate::model::Versioning::Enabled, stamp));
    site.change_bucket(&object("-").bucket, enable).await.unwrap();
    let version = put(&site, "a", "mine").await;
    let store = site.backend().clone();
    let kept = store.put(&object("a"), Body::from(bytes::Bytes::from_static(b"hello")), PutOptions::any()).await.unwrap();
    store.publish(&Place { object: object("a"), location: kept.location }, &kept.binding).await.unwrap();
    assert_eq!(site.take_newcomer(&object("a")).await.unwrap(), Newcomer::Taken);
    assert_eq!(get(&site, "a").await.unwrap(), "hello");
    let before = site.get(&object("a"), Some(version.slot), Selection::All, &Default::default()).await.unwrap();
    assert_eq!(before.body.collect(10).await.unwrap(), "mine");
}

#[tokio::test]
async fn versions_of_a_file_that_nobody_has_read_stay_whole() {
    let (site, mut importer) = started(&folder(&["a"]).await).await;
    let enable = |bucket: crate::model::Bucket, stamp| Ok(bucket.with_versioning(crate::model::Versioning::Enabled, stamp));
    site.change_bucket(&object("-").bucket, enable).await.unwrap();
    put(&site, "a", "mine").await;
    site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    import(&site, &mut importer).await;
    let null = site.status().unit(&object("a"), Slot::Null).await.unwrap().unwrap();
    assert_eq!((null.state, null.identity.etag.as_str()), (State::Present, HELLO_MD5));
    let opened = site.get(&object("a"), Some(Slot::Null), Selection::All, &Default::default()).await.unwrap();
    assert_eq!(opened.body.collect(10).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_bucket_that_nobody_may_list_holds_up_no_other() {
    let store = folder(&["b"]).await;
    file(&store, &ObjectId::parse("another", "a").unwrap(), "hello").await;
    let (site, mut importer) = started(&store).await;
    store.close("another");
    let steps = [importer.step().await, importer.step().await, importer.step().await];
    assert!(steps[0].is_err() && steps[1] == Ok(Step::Worked), "{steps:?}");
    for _ in 0..20 {
        let _ = importer.step().await;
    }
    assert_eq!(site.imports().into_iter().map(|(bucket, _)| bucket.to_string()).collect::<Vec<_>>(), ["another"]);
    assert_eq!(get(&site, "b").await.unwrap(), "hello");
}

#[tokio::test]
async fn an_import_ends_although_a_file_cannot_be_read_and_its_row_says_what_is_known() {
    let store = folder(&["a", "closed"]).await;
    let (site, mut importer) = started(&store).await;
    importer.step().await.unwrap();
    store.close("closed");
    for _ in 0..40 {
        let _ = importer.step().await;
    }
    assert!(site.imports().is_empty());
    assert_eq!(etag(&site, "a").await.as_str(), HELLO_MD5);
    assert!(etag(&site, "closed").await.as_str().ends_with("-1"), "HEAD answers from the row");
    assert!(matches!(get(&site, "closed").await, Err(Error::StoreReadOnly(_))));
}

#[tokio::test]
async fn what_a_file_in_the_way_refuses_leaves_no_bytes_behind() {
    let there = with_bucket(open(Arc::new(Memory::new()), status(Options::default())).await.0).await;
    put(&there, "b", "theirs").await;
    let (unit, store) = (Unit::null(&object("b")), folder(&["a"]).await);
    let (site, _) = started(&store).await;
    store.close("b");
    let applied = site.apply(&unit, there.replica(&unit).await.unwrap(), Some(Body::from(bytes::Bytes::from("theirs")))).await;
    assert!(matches!(applied, Err(Error::StoreReadOnly(_))), "{applied:?}");
    assert_eq!(store.staged(), 0);
}

#[tokio::test]
async fn a_file_without_a_row_can_be_deleted_when_little_room_is_left() {
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let store = folder(&["a", "b"]).await;
    let (site, _) = started_with(&store, Status::open_with_room(free.clone())).await;
    free.store(32 << 20, Ordering::Relaxed);
    site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    assert!(!lies_there(&store, "a").await);
}

#[tokio::test]
async fn a_file_that_went_before_it_was_read_is_not_said_to_be_mended() {
    let store = folder(&["a"]).await;
    let (site, mut importer) = started(&store).await;
    importer.step().await.unwrap();
    let at = Place { object: object("a"), location: Location::Plain };
    store.delete(&at, &store.head(&at).await.unwrap().binding).await.unwrap();
    let row = site.status().object(&object("a")).await.unwrap().unwrap();
    let found = site.scrub(&object("a"), &row, false).await.unwrap();
    assert_eq!(found, Scrubbed::Lost);
    assert!(!site.mend(&object("a"), &row, found).await.unwrap());
}

#[tokio::test]
async fn no_site_is_said_to_have_bytes_that_nobody_has_read() {
    let site = with_bucket(site_with_neighbour("other", SiteNumber(2)).await).await;
    put(&site, "a", "hello").await;
    let (unit, row) = (Unit::null(&object("a")), site.status().object(&object("a")).await.unwrap().unwrap());
    let mut unread = row.row.clone();
    unread.state = State::Unread;
    site.status().commit(Commit::new().put_unit(&object("a"), &unread)).await.unwrap();
    for seq in [Seq(0), row.seq] {
        let stands = site.replication(&unit, &row.row.vector, seq).await.unwrap();
        assert_eq!(stands, Some(vec![(SiteNumber(2), Replication::Pending)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_below_a_prefix_whose_making_a_crash_cut_short_takes_writes() {
    let store = Arc::new(Memory::new());
    file(&store, &ObjectId::parse("corp-all", "bucket/a").unwrap(), "hello").await;
    store.write_note("import", r#"{"version":1,"buckets":["bucket"]}"#.into()).await.unwrap();
    let bucket = crate::model::BucketName::new("corp-all").unwrap();
    let rule = alias::Rule { buckets: "*".to_owned(), bucket, prefix: "{bucket}/".to_owned() };
    let aliases = Arc::new(Aliases::new(store, vec![rule]).unwrap());
    let site = open(aliases, status(Options::default())).await.0;
    assert_eq!(get(&site, "a").await.unwrap(), "hello");
    put(&site, "b", "1").await;
    assert_eq!(get(&site, "b").await.unwrap(), "1");
}
