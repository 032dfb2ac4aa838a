//! Buckets that have versions at the service.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use super::*;
use crate::backend::FoundVersion;
use crate::model::{Slot, State, Versioning};
use crate::site::testing::status;
use crate::site::{Newcomer, ReadConditions, Selection, Site};
use crate::status::{ListQuery, Options, VersionEntry, VersionsQuery};
use crate::tasks::Worker;

/// Our own face, whose home bucket may have versions, and whose bucket does.
async fn store(home: Option<BucketVersioningStatus>, bucket: BucketVersioningStatus) -> (Arc<Store<S3>>, Task) {
    let (address, task) = face().await;
    let mut store = store_at(address).await;
    if let Some(status) = home {
        set_versioning(&store, "anybucket-home", status).await;
        store = store_at(address).await;
    }
    store.create_bucket(&object("-").bucket).await.unwrap();
    set_versioning(&store, "bucket", bucket).await;
    (store, task)
}

pub(super) async fn set_versioning(store: &Store<S3>, bucket: &str, status: BucketVersioningStatus) {
    let call = store.service().caller.client().put_bucket_versioning().bucket(bucket);
    call.versioning_configuration(VersioningConfiguration::builder().status(status).build()).send().await.unwrap();
}

/// Every version and delete marker of a bucket: its name, and whether it is one of bytes.
async fn history(store: &Store<S3>, bucket: &str) -> Vec<(String, bool)> {
    let page = store.service().caller.client().list_object_versions().bucket(bucket).send().await.unwrap();
    let versions = page.versions().iter().map(|version| (version.key().unwrap().to_owned(), true));
    let mut all: Vec<_> =
        versions.chain(page.delete_markers().iter().map(|marker| (marker.key().unwrap().to_owned(), false))).collect();
    all.sort();
    all
}

/// A write that comes to its key's name and is removed again, as the site does it.
async fn write_and_remove(store: &Store<S3>, n: u64) {
    let kept = put(store, "a", n, &bytes(10)).await;
    let moving = at("a", kept.location);
    assert_eq!(store.publish(&moving, &kept.binding).await.unwrap(), Published::Done);
    store.release(&moving).await;
    store.delete(&at("a", Location::Plain), &kept.binding).await.unwrap();
}

pub(super) async fn nothing_stays_at_names_of_ours(store: &Store<S3>) {
    let longer = format!(".anybucket/v/a@{}x", write_id(1));
    let call = store.service().caller.client().put_object().bucket("bucket").key(&longer);
    call.body(aws_sdk_s3::primitives::ByteStream::from_static(b"another's")).send().await.unwrap();
    write_and_remove(store, 1).await;
    write_and_remove(store, 2).await;
    let (ours, others): (Vec<_>, Vec<_>) =
        history(store, "bucket").await.into_iter().partition(|(name, _)| name.starts_with(".anybucket/"));
    assert_eq!(ours, [(longer, true)]);
    assert!(others.iter().all(|(name, _)| name == "a") && !others.is_empty(), "{others:?}");
    assert_eq!(listed(store).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_at_a_name_of_ours_is_gone_and_what_is_removed_at_a_key_is_kept() {
    let (store, _task) = store(None, BucketVersioningStatus::Enabled).await;
    nothing_stays_at_names_of_ours(&store).await;
    let kept = [("a".to_owned(), false), ("a".to_owned(), false), ("a".to_owned(), true), ("a".to_owned(), true)];
    let (_, others): (Vec<_>, Vec<_>) =
        history(&store, "bucket").await.into_iter().partition(|(name, _)| name.starts_with(".anybucket/"));
    assert_eq!(others, kept, "the keys have the history that any client's would have");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_whose_versioning_is_suspended_keeps_nothing_either() {
    let (store, _task) = store(None, BucketVersioningStatus::Suspended).await;
    nothing_stays_at_names_of_ours(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_bucket_with_versions_is_told_of() {
    let told = |store: &Store<S3>| store.capabilities()[0].properties.iter().any(|line| line.name == "home without versions");
    for (home, is_told) in
        [(None, false), (Some(BucketVersioningStatus::Suspended), false), (Some(BucketVersioningStatus::Enabled), true)]
    {
        let (store, _task) = store(home.clone(), BucketVersioningStatus::Enabled).await;
        assert_eq!(told(&store), is_told, "{home:?}");
        let probes = history(&store, "anybucket-home").await;
        assert!(!probes.iter().any(|(name, _)| name.starts_with(".anybucket/probe")), "{probes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_old_version_comes_forward_of_a_note_that_was_written_often() {
    let (store, _task) = store(Some(BucketVersioningStatus::Enabled), BucketVersioningStatus::Enabled).await;
    for n in 0..40 {
        store.write_note("often", n.to_string().into()).await.unwrap();
    }
    store.remove_note("often").await.unwrap();
    assert!(matches!(store.read_note("often").await, Err(Error::NotFound)));
    assert!(!store.list_notes().await.unwrap().contains(&"often".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a versitygw: make conformance"]
async fn another_service_keeps_nothing_of_ours_either() {
    let (store, _gateway) = versitygw::versioned_gateway().await;
    store.create_bucket(&object("-").bucket).await.unwrap();
    set_versioning(&store, "bucket", BucketVersioningStatus::Enabled).await;
    nothing_stays_at_names_of_ours(&store).await;
}

/// What others make of a bucket before we come: a version without versioning, two with, and a delete marker; another key that
/// begins with the same name.
async fn history_of_others(store: &Store<S3>) {
    store.create_bucket(&object("-").bucket).await.unwrap();
    put_theirs(store, "a", "null").await;
    set_versioning(store, "bucket", BucketVersioningStatus::Enabled).await;
    for (key, text) in [("a", "one"), ("a", "other"), ("a-b", "below")] {
        put_theirs(store, key, text).await;
    }
    store.service().caller.client().delete_object().bucket("bucket").key("a").send().await.unwrap();
}

pub(super) async fn put_theirs(store: &Store<S3>, key: &str, text: &'static str) {
    let body = aws_sdk_s3::primitives::ByteStream::from_static(text.as_bytes());
    store.service().caller.client().put_object().bucket("bucket").key(key).body(body).send().await.unwrap();
    // Services tell the order of what came in one moment by their answers' order alone.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
}

async fn versions(store: &Store<S3>, key: &str) -> Vec<FoundVersion> {
    store.versions_of(&object(key)).try_collect().await.unwrap()
}

fn native(found: &FoundVersion) -> Place {
    at(found.key.as_str(), Location::Native(found.version.clone()))
}

pub(super) async fn versions_of_others_are_read_and_removed_one_by_one(store: &Store<S3>) {
    history_of_others(store).await;
    assert_eq!(store.versioning(&object("-").bucket).await.unwrap(), Versioning::Enabled);
    put(store, "z", 7, &bytes(10)).await;
    let bucket = object("-").bucket;
    let all: Vec<_> = store.list_versions(&bucket, None).try_collect().await.unwrap();
    let of_a = versions(store, "a").await;
    assert_eq!(all.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["a", "a", "a", "a", "a-b"], "none of ours");
    assert_eq!(all[..4], of_a);
    let behind: Vec<_> = store.list_versions(&bucket, Some(&object("a").key)).try_collect().await.unwrap();
    assert_eq!(behind, all[4..]);
    let [marker, other, one, null] = of_a.as_slice() else { panic!("{of_a:?}") };
    assert!(marker.is_marker && null.version == "null");
    for (found, text) in [(other, "other"), (one, "one"), (null, "null")] {
        assert_eq!(read(store, &native(found), Some(&found.binding)).await.unwrap(), text);
        let head = store.head(&native(found)).await.unwrap();
        assert_eq!((head.binding, head.size), (found.binding.clone(), found.size));
    }
    let stale = read(store, &native(other), Some(&one.binding)).await;
    assert!(matches!(stale, Err(Error::Changed)), "{stale:?}");
    let get = GetOptions { range: Some(1..3), expect: Some(one.binding.clone()) };
    assert_eq!(store.get(&native(one), get).await.unwrap().body.collect(9).await.unwrap(), "ne");
    let get = GetOptions { range: None, expect: Some(one.binding.clone()) };
    let kept = store.copy(&native(one), get, &object("c"), options(8)).await.unwrap();
    assert_eq!(read(store, &at("c", kept.location), Some(&kept.binding)).await.unwrap(), "one");

    store.delete(&native(null), &marker.binding).await.unwrap();
    assert_eq!(versions(store, "a").await, of_a, "it is another one");
    store.delete(&native(one), &one.binding).await.unwrap();
    store.delete(&native(one), &one.binding).await.unwrap();
    assert_eq!(versions(store, "a").await, [marker.clone(), other.clone(), null.clone()]);
    assert_eq!(listed(store).await, ["a-b"]);
    store.delete(&native(marker), &marker.binding).await.unwrap();
    assert_eq!(listed(store).await, ["a", "a-b"]);
    assert!(matches!(store.head(&native(one)).await, Err(Error::NotFound)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_the_service_issued_are_read_and_removed_by_its_names() {
    let (store, _task) = over_our_face().await;
    versions_of_others_are_read_and_removed_one_by_one(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a versitygw: make conformance"]
async fn another_services_versions_are_read_and_removed_by_its_names() {
    let (store, _gateway) = versitygw::versioned_gateway().await;
    versions_of_others_are_read_and_removed_one_by_one(&store).await;
}

/// What a site shows of a bucket: key, version, whether it is a delete marker or the newest.
async fn shown(site: &Site) -> Vec<(String, Slot, bool, bool)> {
    let keys = ListQuery { bucket: object("-").bucket, prefix: String::new(), delimiter: None, after: None, entries_max: 1_000 };
    let page = site.list_versions(VersionsQuery { keys, after_version: None }).await.unwrap();
    let entry = |entry: VersionEntry| match entry {
        VersionEntry::Version { key, record, is_latest } => {
            (key, record.row.slot(), record.row.state == State::Marker, is_latest)
        }
        VersionEntry::CommonPrefix(prefix) => panic!("{prefix}"),
    };
    page.entries.into_iter().map(entry).collect()
}

async fn bytes_of(site: &Site, key: &str, version: Option<Slot>) -> crate::site::Result<Bytes> {
    let opened = site.get(&object(key), version, Selection::All, &ReadConditions::default()).await?;
    Ok(opened.body.collect(1 << 20).await.unwrap())
}

async fn step_all(site: &Site, importer: &mut Box<dyn Worker>) {
    while !site.imports().is_empty() {
        importer.step().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_with_versions_is_taken_over_with_all_of_them() {
    let (address, _task) = face().await;
    let others = store_at(address).await;
    history_of_others(&others).await;
    let of_a = versions(&others, "a").await;
    let settings = Settings::at(Some(format!("http://{address}")), "site-home");
    let store = Arc::new(connect(settings, keys()).await.unwrap());
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let (site, mut workers) = crate::site::testing::open(store.clone(), status(Options::default())).await;
    assert_eq!(site.bucket(&object("-").bucket).await.unwrap().versioning, Versioning::Enabled);

    // Before the walk has come by.
    let hidden = bytes_of(&site, "a", None).await.unwrap_err();
    assert!(matches!(hidden, crate::site::Error::Hidden { .. }), "{hidden:?}");
    let before = site.status().unit(&object("a"), Slot::Null).await.unwrap();
    assert!(before.is_some(), "the whole of a key is imported at once");
    let mut importer = site.importer();
    step_all(&site, &mut importer).await;

    let shown_now = shown(&site).await;
    let kinds: Vec<_> = shown_now.iter().map(|(key, _, is_marker, latest)| (key.as_str(), *is_marker, *latest)).collect();
    let expected = [("a", true, true), ("a", false, false), ("a", false, false), ("a", false, false), ("a-b", false, true)];
    assert_eq!(kinds, expected);
    for ((_, slot, ..), text) in shown_now[1..].iter().zip(["other", "one", "null", "below"]) {
        let key = if text == "below" { "a-b" } else { "a" };
        assert_eq!(bytes_of(&site, key, Some(*slot)).await.unwrap(), text);
    }
    assert_eq!(shown_now[3].1, Slot::Null);

    let purge = |slot| crate::site::Purge { slot, bypass: crate::model::Bypass::No };
    site.purge(&object("a"), purge(shown_now[2].1), Default::default()).await.unwrap();
    assert_eq!(versions(&others, "a").await, [of_a[0].clone(), of_a[1].clone(), of_a[3].clone()]);
    site.purge(&object("a"), purge(shown_now[0].1), Default::default()).await.unwrap();
    assert_eq!(versions(&others, "a").await, [of_a[1].clone(), of_a[3].clone()]);
    assert_eq!(bytes_of(&site, "a", None).await.unwrap(), "other");
    assert_eq!(listed(&others).await, ["a", "a-b"], "and there too");
    settle(&site, &mut workers).await;
    what_either_writes_is_a_version(&site, &others).await;
}

async fn settle(site: &Site, workers: &mut [Box<dyn Worker>]) {
    while site.unsettled() > 0 {
        for worker in &mut *workers {
            worker.step().await.unwrap();
        }
    }
}

/// The site's are at names of its own, so that what has the key's is others', and is taken over when the site looks.
async fn what_either_writes_is_a_version(site: &Site, others: &Store<S3>) {
    let of_a = versions(others, "a").await;
    let ours = crate::site::testing::put(site, "a", "ours").await;
    assert_eq!(versions(others, "a").await, of_a, "theirs is what it was");
    assert_eq!(bytes_of(site, "a", None).await.unwrap(), "ours");
    for key in ["a", "a-b", "c"] {
        assert_eq!(
            site.look_at_versions(&object(key)).await.unwrap(),
            Newcomer::Left,
            "{key}: nothing is new, what was purged least"
        );
    }
    // Of one second ours counts as the later one: whoever wrote it here reads it here.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    put_theirs(others, "a", "theirs").await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(site.look_at_versions(&object("a")).await.unwrap(), Newcomer::Taken);
    assert_eq!(site.look_at_versions(&object("a")).await.unwrap(), Newcomer::Left);
    assert_eq!(bytes_of(site, "a", None).await.unwrap(), "theirs");
    assert_eq!(bytes_of(site, "a", Some(Slot::Version(ours.stamp))).await.unwrap(), "ours");
    others.service().caller.client().delete_object().bucket("bucket").key("a").send().await.unwrap();
    assert_eq!(site.look_at_versions(&object("a")).await.unwrap(), Newcomer::Taken);
    assert!(matches!(bytes_of(site, "a", None).await, Err(crate::site::Error::Hidden { .. })));
    assert_eq!(shown(site).await.iter().filter(|(key, ..)| key == "a").count(), 5);
    let marker = native(&versions(others, "a").await[0]);
    let Location::Native(id) = marker.location else { panic!("{marker:?}") };
    others.service().caller.client().delete_object().bucket("bucket").key("a").version_id(id).send().await.unwrap();
    assert_eq!(site.look_at_versions(&object("a")).await.unwrap(), Newcomer::Taken);
    assert_eq!(bytes_of(site, "a", None).await.unwrap(), "theirs", "they took their delete back");
}

/// Another site over the same service as `others`, which imports what is there.
async fn site_beside(address: std::net::SocketAddr) -> (Site, Vec<Box<dyn Worker>>) {
    let settings = Settings::at(Some(format!("http://{address}")), "site-home");
    let store = Arc::new(connect(settings, keys()).await.unwrap());
    let (site, workers) = crate::site::testing::open(store, status(Options::default())).await;
    let mut importer = site.importer();
    step_all(&site, &mut importer).await;
    (site, workers)
}

async fn a_moment() {
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_null_version_of_others_goes_only_where_it_is_the_one_that_is_meant() {
    let (address, _task) = face().await;
    let others = store_at(address).await;
    others.create_bucket(&object("-").bucket).await.unwrap();
    set_versioning(&others, "bucket", BucketVersioningStatus::Suspended).await;
    for key in ["bytes", "marker"] {
        put_theirs(&others, key, "first").await;
    }
    others.service().caller.client().delete_object().bucket("bucket").key("marker").send().await.unwrap();
    let (site, mut workers) = site_beside(address).await;
    assert_eq!(site.bucket(&object("-").bucket).await.unwrap().versioning, Versioning::Suspended);
    assert_eq!(bytes_of(&site, "bytes", Some(Slot::Null)).await.unwrap(), "first");
    for key in ["bytes", "marker"] {
        put_theirs(&others, key, "second").await;
    }
    a_moment().await;

    // Neither takes away what nobody here has seen.
    let null = crate::site::Purge { slot: Slot::Null, bypass: crate::model::Bypass::No };
    site.purge(&object("bytes"), null, Default::default()).await.unwrap();
    crate::site::testing::put(&site, "marker", "ours").await;
    settle(&site, &mut workers).await;
    for key in ["bytes", "marker"] {
        assert_eq!(versions(&others, key).await.iter().filter(|found| !found.is_marker).count(), 1, "{key}");
    }
    // It was there before what was done here: once it is seen it goes too, and does not come back.
    for key in ["bytes", "marker"] {
        assert_eq!(site.look_at_versions(&object(key)).await.unwrap(), Newcomer::Left, "{key}");
        assert_eq!(versions(&others, key).await, [], "{key}");
    }
    assert!(matches!(bytes_of(&site, "bytes", None).await, Err(crate::site::Error::NoSuchKey)));
    assert_eq!(bytes_of(&site, "marker", None).await.unwrap(), "ours");
    a_moment().await;
    put_theirs(&others, "bytes", "third").await;
    assert_eq!(site.look_at_versions(&object("bytes")).await.unwrap(), Newcomer::Taken);
    assert_eq!(bytes_of(&site, "bytes", None).await.unwrap(), "third");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_has_tags_of_its_own() {
    let (address, _task) = face().await;
    let others = store_at(address).await;
    others.create_bucket(&object("-").bucket).await.unwrap();
    set_versioning(&others, "bucket", BucketVersioningStatus::Enabled).await;
    let client = others.service().caller.client();
    for tags in ["n=1", "n=2"] {
        client.put_object().bucket("bucket").key("a").tagging(tags).send().await.unwrap();
    }
    client.delete_object().bucket("bucket").key("a").send().await.unwrap();
    let (site, _workers) = site_beside(address).await;
    let mut tags = Vec::new();
    for (_, slot, ..) in shown(&site).await.into_iter().filter(|(_, _, is_marker, _)| !is_marker) {
        let seen = site.head(&object("a"), Some(slot), Selection::All, &ReadConditions::default()).await.unwrap();
        tags.push(seen.record.row.identity.tags.clone());
    }
    assert_eq!(tags, [("n", "2"), ("n", "1")].map(|(name, value)| vec![(name.to_owned(), value.to_owned())]));
}
