//! Promises of the door, on a store in memory.

mod buffered;
mod copies;
mod imports;
mod interrupted;
mod shared;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::testing::{get, object, open, put, site, status, upload, with_bucket};
use super::*;
use crate::backend::memory::Memory;
use crate::backend::{self, Body, BodyError};
use crate::model::{ChecksumAlgorithm, ChecksumKind, ETag};
use crate::status::tables::{Settle, Upload as UploadRow, Uploads};
use crate::status::{Commit, ListQuery, Options};
use crate::tasks::Step;

async fn settle(workers: &mut [Box<dyn Worker>]) {
    for worker in workers {
        assert_eq!(worker.step().await, Ok(Step::Idle));
    }
}

fn if_none_match() -> WriteConditions {
    WriteConditions { if_none_match: Some(EtagCondition::Any), ..Default::default() }
}

fn if_match(etag: &ETag) -> WriteConditions {
    WriteConditions { if_match: Some(EtagCondition::OneOf(vec![etag.clone()])), ..Default::default() }
}

async fn keys(site: &Site) -> Vec<String> {
    let query = ListQuery { bucket: object("-").bucket, prefix: String::new(), delimiter: None, after: None, entries_max: 1_000 };
    site.list(query).await.unwrap().entries.iter().map(|entry| entry.text().to_owned()).collect()
}

#[tokio::test]
async fn what_is_put_is_got_listed_and_deleted() {
    let site = with_bucket(site().await).await;
    let written = put(&site, "a/b", "hello").await;
    assert_eq!(written.etag.as_str(), "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(get(&site, "a/b").await.unwrap(), "hello");
    assert_eq!(keys(&site).await, ["a/b"]);
    let deleted = site.delete(&object("a/b"), WriteConditions::default()).await.unwrap();
    assert!(deleted.stamp > Some(written.stamp));
    assert!(matches!(get(&site, "a/b").await, Err(Error::NoSuchKey)));
    assert!(keys(&site).await.is_empty());
}

#[tokio::test]
async fn everything_needs_its_bucket() {
    let site = site().await;
    let put = site.put(&object("a"), upload("x"), Description::default(), WriteConditions::default()).await;
    assert!(matches!(put, Err(Error::NoSuchBucket)));
    assert!(matches!(get(&site, "a").await, Err(Error::NoSuchBucket)));
    assert!(matches!(site.delete(&object("a"), WriteConditions::default()).await, Err(Error::NoSuchBucket)));
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let site = with_bucket(site().await).await;
    put(&site, "a", "before").await;
    let broken = futures::stream::iter([Ok(Bytes::from_static(b"af")), Err(BodyError::Truncated("gone".into()))]);
    let upload = Upload { body: Body::new(Some(5), broken), claims: Claims::default() };
    let outcome = site.put(&object("a"), upload, Description::default(), WriteConditions::default()).await;
    assert!(matches!(outcome, Err(Error::IncompleteBody(_))));
    assert_eq!(get(&site, "a").await.unwrap(), "before");
}

#[tokio::test]
async fn of_racing_creators_one_wins() {
    let site = with_bucket(site().await).await;
    for round in 0..20 {
        let key = object(&format!("race-{round}"));
        let racers = (0..16).map(|n| {
            let (site, key) = (site.clone(), key.clone());
            tokio::spawn(async move { site.put(&key, upload(format!("{n}")), Description::default(), if_none_match()).await })
        });
        let outcomes = futures::future::join_all(racers).await;
        let won: Vec<_> = outcomes.into_iter().filter_map(|outcome| outcome.unwrap().ok()).collect();
        assert_eq!(won.len(), 1);
        let seen = site.head(&key, None, Selection::All, &ReadConditions::default()).await.unwrap();
        assert_eq!(seen.record.identity.etag, won[0].etag);
    }
}

#[tokio::test]
async fn a_counter_by_compare_and_swap_loses_no_step() {
    let site = with_bucket(site().await).await;
    put(&site, "counter", "0").await;
    let clients = (0..8).map(|_| {
        let site = site.clone();
        tokio::spawn(async move {
            let mut steps = 0;
            for _ in 0..25 {
                let opened = site.get(&object("counter"), None, Selection::All, &ReadConditions::default()).await.unwrap();
                let etag = opened.seen.record.identity.etag.clone();
                let bytes = opened.body.collect(100).await.unwrap();
                let next = std::str::from_utf8(&bytes).unwrap().parse::<u32>().unwrap() + 1;
                let swap = site.put(&object("counter"), upload(next.to_string()), Description::default(), if_match(&etag)).await;
                steps += u32::from(swap.is_ok());
            }
            steps
        })
    });
    let steps: u32 = futures::future::join_all(clients).await.into_iter().map(|steps| steps.unwrap()).sum();
    assert_eq!(get(&site, "counter").await.unwrap(), steps.to_string());
}

#[tokio::test]
async fn an_engine_that_answers_conflict_at_random_changes_nothing() {
    let status = status(Options { conflict_seed: Some(7), ..Options::default() });
    let (site, mut workers) = open(Arc::new(Memory::new()), status).await;
    let site = with_bucket(site).await;
    for round in 0..50 {
        put(&site, "a", format!("{round}")).await;
        assert_eq!(get(&site, "a").await.unwrap(), format!("{round}"));
    }
    settle(&mut workers).await;
    assert!(site.counters().conflicts.load(Ordering::Relaxed) > 0);
    site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    assert!(keys(&site).await.is_empty());
}

#[tokio::test]
async fn settling_leaves_nothing_to_redo() {
    let (site, mut workers) = open(Arc::new(Memory::new()), status(Options::default())).await;
    let site = with_bucket(site).await;
    put(&site, "replaced", "1").await;
    put(&site, "replaced", "2").await;
    put(&site, "deleted", "3").await;
    site.delete(&object("deleted"), WriteConditions::default()).await.unwrap();
    assert!(site.unsettled() > 0);
    settle(&mut workers).await;
    assert_eq!(site.unsettled(), 0);
    let mut rows = 0;
    site.each_row::<Settle>(|_, _| rows += 1).await.unwrap();
    assert_eq!(rows, 0);
    assert_eq!(get(&site, "replaced").await.unwrap(), "2");
}

#[tokio::test]
async fn bytes_that_went_before_they_were_settled_are_lost_and_not_looked_for_for_ever() {
    let (store, status) = (Arc::new(Memory::new()), status(Options::default()));
    let site = with_bucket(open(store.clone(), status.clone()).await.0).await;
    put(&site, "a", "1").await;
    let place = plain(&object("a"));
    let binding = store.head(&place).await.unwrap().binding;
    store.delete(&place, &binding).await.unwrap();
    let (site, mut workers) = open(store, status).await;
    settle(&mut workers).await;
    assert_eq!(site.unsettled(), 0);
    assert!(matches!(get(&site, "a").await, Err(Error::Lost)));
}

#[tokio::test]
async fn a_bucket_goes_only_when_it_is_empty_and_takes_its_uploads_along() {
    let (site, mut workers) = open(Arc::new(Memory::new()), status(Options::default())).await;
    let site = with_bucket(site).await;
    let bucket = object("-").bucket;
    put(&site, "a", "1").await;
    assert!(matches!(site.delete_bucket(&bucket).await, Err(Error::BucketNotEmpty(_))));
    site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    let started = site.start_upload(&object("b"), StartUpload::default()).await.unwrap();
    site.put_part(&object("b"), &started.upload_id, 1, upload("part")).await.unwrap();
    settle(&mut workers).await;
    site.delete_bucket(&bucket).await.unwrap();
    assert!(matches!(site.bucket(&bucket).await, Err(Error::NoSuchBucket)));
    with_bucket(site.clone()).await;
    let parts = site.list_parts(&object("b"), &started.upload_id, 0, 10).await;
    assert!(matches!(parts, Err(Error::NoSuchUpload)));
}

/// A site on a store without staging files.
async fn naming() -> (Arc<Memory>, Site, Vec<Box<dyn Worker>>) {
    let store = Arc::new(Memory::naming());
    let (site, workers) = open(store.clone(), status(Options::default())).await;
    (store, with_bucket(site).await, workers)
}

#[tokio::test]
async fn a_bucket_goes_although_its_last_bytes_wait_to_be_tidied_up() {
    let ((store, site, mut workers), bucket) = (naming().await, object("-").bucket);
    put(&site, "a", "1").await;
    put(&site, "a", "2").await;
    site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    let body = Body::from(Bytes::from("3"));
    let options = site.put_options(&body);
    let under_way = store.put(&object("b"), body, options).await.unwrap();
    assert!(matches!(site.delete_bucket(&bucket).await, Err(Error::BucketNotEmpty(_))), "a write is under way");
    site.release(&object("b"), &under_way.location).await;
    site.delete_bucket(&bucket).await.unwrap();
    assert_eq!(store.list_buckets().await.unwrap(), []);
    settle(&mut workers).await;
    assert_eq!(site.unsettled(), 0);
}

#[tokio::test]
async fn bytes_with_a_name_of_their_own_come_to_the_keys_and_leave_nothing() {
    let (store, site, mut workers) = naming().await;
    for body in ["1", "2"] {
        put(&site, "a", body).await;
        assert!(matches!(store.head(&plain(&object("a"))).await, Err(backend::Error::NotFound)));
        assert_eq!(get(&site, "a").await.unwrap(), body);
    }
    put(&site, "gone", "3").await;
    site.delete(&object("gone"), WriteConditions::default()).await.unwrap();
    settle(&mut workers).await;
    assert_eq!((site.unsettled(), get(&site, "a").await.unwrap()), (0, "2".into()));
    let record = site.current(&object("a")).await.unwrap().unwrap();
    assert_eq!((&record.row.location, store.own_names()), (&Location::Plain, 0));
    put(&site, "a", "4").await;
    site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    settle(&mut workers).await;
    assert!(matches!(store.head(&plain(&object("a"))).await, Err(backend::Error::NotFound)), "neither the old nor the new");
    assert_eq!(store.own_names(), 0);
}

/// What a write was to displace goes with it, although a later one came first and was deleted.
#[tokio::test]
async fn bytes_displaced_by_what_never_came_to_the_name_leave_it() {
    let (store, site, mut workers) = naming().await;
    put(&site, "a", "0").await;
    settle(&mut workers).await;
    put(&site, "a", "1").await;
    let first = site.current(&object("a")).await.unwrap().unwrap().row.write;
    put(&site, "a", "2").await;
    let row = site.inner.status.get::<Settle>(&first).await.unwrap().unwrap();
    site.redo(first, &row.row).await.unwrap();
    site.inner.status.commit(Commit::new().delete::<Settle>(&first)).await.unwrap();
    site.delete(&object("a"), WriteConditions::default()).await.unwrap();
    settle(&mut workers).await;
    assert!(matches!(store.head(&plain(&object("a"))).await, Err(backend::Error::NotFound)));
    assert_eq!((site.unsettled(), store.own_names()), (0, 0));
}

/// Where the store keeps parts in an upload of its own, a Complete uses them up.
#[tokio::test]
async fn a_complete_that_is_repeated_names_the_same_parts() {
    let (_store, site, _workers) = naming().await;
    put(&site, "a", "there").await;
    let bodies = [Bytes::from(vec![1; 5 << 20]), Bytes::from("two")];
    let (upload_id, parts) = uploaded(&site, "a", StartUpload::default(), &bodies).await;
    let complete = |parts: &[PartInfo], conditions| CompleteUpload { parts: named(parts), conditions, ..Default::default() };
    let refused = site.complete_upload(&object("a"), &upload_id, complete(&parts, if_none_match())).await;
    assert!(matches!(refused, Err(Error::PreconditionFailed(_))), "{refused:?}");
    // What was refused before the store was told loses nothing; what is refused at the end has used its parts up.
    let list = super::complete::list_hash(&complete(&parts, WriteConditions::default()));
    let key = (object("a"), upload_id.parse().unwrap());
    let row = site.inner.status.get::<Uploads>(&key).await.unwrap().unwrap().row;
    assert_eq!(row.assembled, None);
    let assembled = UploadRow { assembled: Some(list), ..row };
    site.inner.status.commit(Commit::new().put::<Uploads>(&key, &assembled)).await.unwrap();
    let other = site.complete_upload(&object("a"), &upload_id, complete(&parts[..1], WriteConditions::default())).await;
    assert!(matches!(other, Err(Error::NoSuchUpload)), "{other:?}");
    let part = site.put_part(&object("a"), &upload_id, 9, upload("late")).await;
    assert!(matches!(part, Err(Error::NoSuchUpload)), "{part:?}");
    let done = site.complete_upload(&object("a"), &upload_id, complete(&parts, WriteConditions::default())).await.unwrap();
    assert_eq!(done.size, (5 << 20) + 3);
}

#[tokio::test]
async fn what_no_row_can_hold_is_refused_and_leaves_nothing_staged() {
    let store = Arc::new(Memory::new());
    let site = with_bucket(open(store.clone(), status(Options::default())).await.0).await;
    let mut description = Description::default();
    description.headers.cache_control = Some("x".repeat(66_000));
    let refused = site.put(&object("a"), upload("x"), description, WriteConditions::default()).await;
    assert!(matches!(refused, Err(Error::InvalidRequest(_))), "{refused:?}");
    assert_eq!(store.staged(), 0);
}

fn named(parts: &[PartInfo]) -> Vec<NamedPart> {
    let name = |part: &PartInfo| NamedPart { number: part.number, etag: Some(part.etag.clone()), checksums: Vec::new() };
    parts.iter().map(name).collect()
}

async fn uploaded(site: &Site, key: &str, start: StartUpload, bodies: &[Bytes]) -> (String, Vec<PartInfo>) {
    let started = site.start_upload(&object(key), start).await.unwrap();
    let mut parts = Vec::new();
    for (at, body) in bodies.iter().enumerate() {
        let number = (at as u16 + 1) * 3;
        parts.push(site.put_part(&object(key), &started.upload_id, number, upload(body.clone())).await.unwrap());
    }
    (started.upload_id, parts)
}

fn two_parts() -> [Bytes; 2] {
    [Bytes::from(vec![b'a'; 5 << 20]), Bytes::from_static(b"tail")]
}

#[tokio::test]
async fn a_multipart_object_is_its_parts() {
    let site = with_bucket(site().await).await;
    let start = StartUpload { checksum: Some((ChecksumAlgorithm::Crc32, ChecksumKind::FullObject)), ..Default::default() };
    let (upload_id, parts) = uploaded(&site, "a", start, &two_parts()).await;
    let complete = CompleteUpload { parts: named(&parts), ..Default::default() };
    let written = site.complete_upload(&object("a"), &upload_id, complete.clone()).await.unwrap();
    assert!(written.etag.as_str().ends_with("-2"));
    assert_eq!(get(&site, "a").await.unwrap(), two_parts().concat());
    let tail = site.get(&object("a"), None, Selection::Part(6), &ReadConditions::default()).await.unwrap();
    assert_eq!(tail.seen.range, (5 << 20)..(5 << 20) + 4);
    assert_eq!(tail.body.collect(100).await.unwrap(), "tail");
    let again = site.complete_upload(&object("a"), &upload_id, complete).await.unwrap();
    assert_eq!(again.etag, written.etag);
    let other = CompleteUpload { parts: named(&parts[..1]), ..Default::default() };
    assert!(site.complete_upload(&object("a"), &upload_id, other).await.is_err());
}

#[tokio::test]
async fn a_complete_that_fails_leaves_the_upload_open() {
    let site = with_bucket(site().await).await;
    let (upload_id, parts) = uploaded(&site, "a", StartUpload::default(), &two_parts()).await;
    let mut wrong = named(&parts);
    wrong[1].etag = Some(ETag::new("0123456789abcdef0123456789abcdef"));
    let outcome = site.complete_upload(&object("a"), &upload_id, CompleteUpload { parts: wrong, ..Default::default() }).await;
    assert!(matches!(outcome, Err(Error::InvalidPart { number: 6, .. })));
    let swapped = CompleteUpload { parts: named(&parts).into_iter().rev().collect(), ..Default::default() };
    assert!(matches!(site.complete_upload(&object("a"), &upload_id, swapped).await, Err(Error::InvalidPartOrder)));
    assert!(matches!(get(&site, "a").await, Err(Error::NoSuchKey)));
    let right = CompleteUpload { parts: named(&parts), ..Default::default() };
    site.complete_upload(&object("a"), &upload_id, right).await.unwrap();
}

#[tokio::test]
async fn a_complete_says_when_it_was_checked_and_never_before() {
    let site = with_bucket(site().await).await;
    let (upload_id, parts) = uploaded(&site, "a", StartUpload::default(), &two_parts()).await;
    let mut wrong = named(&parts);
    wrong[1].etag = Some(ETag::new("0123456789abcdef0123456789abcdef"));
    for (parts, passes) in [(wrong, false), (named(&parts), true)] {
        let checked = Arc::new(tokio::sync::Notify::new());
        let complete = CompleteUpload { parts, ..Default::default() };
        let done = site.complete_upload_telling(&object("a"), &upload_id, complete, checked.clone()).await;
        let told = futures::FutureExt::now_or_never(checked.notified()).is_some();
        assert_eq!((done.is_ok(), told), (passes, passes));
    }
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let site = with_bucket(site().await).await;
    let (upload_id, parts) = uploaded(&site, "a", StartUpload::default(), &two_parts()).await;
    site.abort_upload(&object("a"), &upload_id).await.unwrap();
    let complete = CompleteUpload { parts: named(&parts), ..Default::default() };
    assert!(matches!(site.complete_upload(&object("a"), &upload_id, complete).await, Err(Error::NoSuchUpload)));
    assert!(matches!(site.abort_upload(&object("a"), &upload_id).await, Err(Error::NoSuchUpload)));
}

#[tokio::test]
async fn uploads_are_listed_page_by_page_without_loss_or_repeat() {
    let site = with_bucket(site().await).await;
    for key in ["a", "a", "b/1", "b/2", "c"] {
        site.start_upload(&object(key), StartUpload::default()).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut query = UploadsQuery { delimiter: Some("/".into()), uploads_max: 1, ..Default::default() };
    loop {
        let page = site.list_uploads(&object("-").bucket, query.clone()).await.unwrap();
        seen.extend(page.uploads.iter().map(|upload| upload.object.key.to_string()));
        seen.extend(page.common_prefixes);
        let Some((key, upload)) = page.next else { break };
        query.key_marker = Some(key);
        query.upload_id_marker = Some(upload);
    }
    assert_eq!(seen, ["a", "a", "b/", "c"]);
}

#[tokio::test]
async fn a_copy_is_the_source_with_what_the_request_replaces() {
    let site = with_bucket(site().await).await;
    let description = Description { tags: vec![("k".into(), "v".into())], ..Default::default() };
    site.put(&object("a"), upload("body"), description, WriteConditions::default()).await.unwrap();
    let written = site.copy(&object("a"), &object("b"), CopyRequest::default()).await.unwrap();
    assert_eq!(get(&site, "b").await.unwrap(), "body");
    let seen = site.head(&object("b"), None, Selection::All, &ReadConditions::default()).await.unwrap();
    assert_eq!((seen.record.identity.tags.len(), &seen.record.identity.etag), (1, &written.etag));
    let onto_itself = site.copy(&object("a"), &object("a"), CopyRequest::default()).await;
    assert!(matches!(onto_itself, Err(Error::CopyOntoItself)));
    let replace =
        CopyRequest { replace: Some(Default::default()), checksum: Some(ChecksumAlgorithm::Sha256), ..Default::default() };
    let replaced = site.copy(&object("a"), &object("a"), replace).await.unwrap();
    assert_eq!(replaced.checksum.algorithm, ChecksumAlgorithm::Sha256);
}

#[tokio::test]
async fn a_copy_does_not_give_rotten_bytes_a_checksum_that_makes_them_look_sound() {
    let store = Arc::new(Memory::new());
    let site = with_bucket(open(store.clone(), status(Options::default())).await.0).await;
    put(&site, "a", "body").await;
    store.rot();
    for checksum in [Some(ChecksumAlgorithm::Sha256), None] {
        let request = CopyRequest { checksum, ..Default::default() };
        let copied = site.copy(&object("a"), &object("b"), request).await;
        assert!(matches!(copied, Err(Error::Internal(_))), "{copied:?}");
    }
    assert_eq!((site.counters().rotten.load(Ordering::Relaxed), store.staged()), (2, 0));
    assert!(matches!(get(&site, "b").await, Err(Error::NoSuchKey)));
}

#[tokio::test]
async fn tags_change_without_the_data() {
    let site = with_bucket(site().await).await;
    let written = put(&site, "a", "body").await;
    let stamp =
        site.set_register(&object("a"), None, crate::site::Register::Tags(vec![("k".into(), "v".into())])).await.unwrap().stamp;
    let seen = site.head(&object("a"), None, Selection::All, &ReadConditions::default()).await.unwrap();
    assert!(stamp > written.stamp);
    assert_eq!(seen.record.vector.data, written.stamp);
    assert_eq!(seen.record.vector.tags, Some(stamp));
    assert_eq!(get(&site, "a").await.unwrap(), "body");
}

#[tokio::test]
async fn a_repeated_complete_answers_the_same_although_its_condition_no_longer_holds() {
    let site = with_bucket(site().await).await;
    let (upload_id, parts) = uploaded(&site, "a", StartUpload::default(), &two_parts()).await;
    let complete = CompleteUpload { parts: named(&parts), conditions: if_none_match(), ..Default::default() };
    let first = site.complete_upload(&object("a"), &upload_id, complete.clone()).await.unwrap();
    let again = site.complete_upload(&object("a"), &upload_id, complete).await.unwrap();
    assert_eq!((again.stamp, again.checksum), (first.stamp, first.checksum));
}

#[tokio::test]
async fn a_copy_shows_the_checksum_it_was_asked_for() {
    let site = with_bucket(site().await).await;
    let claims = Claims { compute: Some(ChecksumAlgorithm::Sha256), ..Default::default() };
    let source = Upload { body: Body::from(Bytes::from_static(b"body")), claims };
    site.put(&object("a"), source, Description::default(), WriteConditions::default()).await.unwrap();
    let request = CopyRequest { checksum: Some(ChecksumAlgorithm::Crc64Nvme), ..Default::default() };
    let copied = site.copy(&object("a"), &object("b"), request).await.unwrap();
    assert_eq!(copied.checksum.algorithm, ChecksumAlgorithm::Crc64Nvme);
    let kept = site.copy(&object("a"), &object("c"), CopyRequest::default()).await.unwrap();
    assert_eq!(kept.checksum.algorithm, ChecksumAlgorithm::Sha256);
}

/// A site on a directory that others can reach into.
async fn on_disk() -> (Site, Vec<Box<dyn Worker>>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let fs = crate::backend::fs::Fs::open(crate::backend::fs::Settings::at(dir.path())).unwrap();
    let (site, workers) = open(Arc::new(fs), status(Options::default())).await;
    (with_bucket(site).await, workers, dir)
}

#[tokio::test]
async fn a_file_changed_behind_the_site_becomes_the_object() {
    let (site, mut workers, dir) = on_disk().await;
    let before = put(&site, "a", "before").await;
    settle(&mut workers).await;
    std::fs::write(dir.path().join("bucket/a"), "edited").unwrap();
    assert_eq!(get(&site, "a").await.unwrap(), "edited");
    let seen = site.head(&object("a"), None, Selection::All, &ReadConditions::default()).await.unwrap();
    assert!(seen.record.vector.data > before.stamp);
    assert_eq!(site.counters().adopted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_file_removed_behind_the_site_is_lost_and_not_deleted() {
    let (site, mut workers, dir) = on_disk().await;
    put(&site, "a", "before").await;
    settle(&mut workers).await;
    let (file, aside) = (dir.path().join("bucket/a"), dir.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    assert!(matches!(get(&site, "a").await, Err(Error::Lost)));
    assert_eq!(keys(&site).await, ["a"]);
    std::fs::rename(&aside, &file).unwrap();
    assert_eq!(get(&site, "a").await.unwrap(), "before");
    std::fs::remove_file(&file).unwrap();
    put(&site, "a", "after").await;
    assert_eq!(get(&site, "a").await.unwrap(), "after");
}

#[tokio::test]
async fn a_bucket_that_the_store_lost_is_made_again_by_the_next_write() {
    let (site, mut workers, dir) = on_disk().await;
    put(&site, "lost", "x").await;
    settle(&mut workers).await;
    std::fs::remove_dir_all(dir.path().join("bucket")).unwrap();
    assert!(matches!(get(&site, "lost").await, Err(Error::Lost)));
    put(&site, "new", "y").await;
    settle(&mut workers).await;
    assert_eq!((get(&site, "new").await.unwrap().as_ref(), site.unsettled()), (b"y".as_slice(), 0));
}
