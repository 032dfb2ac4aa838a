//! Buckets that have versions at the service.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use super::*;

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

async fn set_versioning(store: &Store<S3>, bucket: &str, status: BucketVersioningStatus) {
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

async fn nothing_stays_at_names_of_ours(store: &Store<S3>) {
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
    let told = |store: &Store<S3>| store.capabilities().lines.iter().any(|line| line.name == "home without versions");
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
