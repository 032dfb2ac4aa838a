//! From staging to the plain name, and away.

use super::{Store, at, delete, expecting, keys, pattern, plain, publish, read, stage, with_bucket, write};
use crate::backend::{Error, Published};
use crate::model::{Location, StagingFile};

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
    delete(&store, &at("a", kept.location.clone()), &kept.binding).await;
    assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Gone);
    assert_eq!(read(&store, &plain("a"), expecting(&old.binding)).await.unwrap(), pattern(1, 10));
}

pub(crate) async fn a_delete_removes_only_what_it_names(store: Store) {
    let store = with_bucket(store).await;
    let old = write(&store, "a/b/c", &pattern(1, 10)).await;
    let new = write(&store, "a/b/c", &pattern(2, 10)).await;
    delete(&store, &plain("a/b/c"), &old.binding).await;
    assert_eq!(read(&store, &plain("a/b/c"), expecting(&new.binding)).await.unwrap(), pattern(2, 10));
    for _ in 0..2 {
        delete(&store, &plain("a/b/c"), &new.binding).await;
        assert!(matches!(store.head(&plain("a/b/c")).await, Err(Error::NotFound)));
    }
    store.harden(&[plain("a/b/c")]).await.unwrap();
    assert_eq!(keys(&store).await, [""; 0]);
    write(&store, "a", &pattern(3, 10)).await;
    assert_eq!(keys(&store).await, ["a"]);
}

pub(crate) async fn what_is_released_can_be_written_again(store: Store) {
    let store = with_bucket(store).await;
    let kept = stage(&store, "a", &pattern(1, 10)).await;
    store.release(&at("a", kept.location.clone())).await;
    store.release(&at("a", kept.location.clone())).await;
    store.release(&at("a", Location::Staged(StagingFile(u64::MAX)))).await;
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
    store.recover(&[at("a", kept.location.clone())]).await.unwrap();
    for n in 0..20 {
        write(&store, "b", &pattern(n, 10)).await;
    }
    assert_eq!(read(&store, &at("a", kept.location.clone()), expecting(&kept.binding)).await.unwrap(), pattern(1, 10));
    assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Done);
    assert_eq!(read(&store, &plain("a"), expecting(&kept.binding)).await.unwrap(), pattern(1, 10));
}

pub(crate) async fn a_store_that_works_says_so(store: Store) {
    store.check().await.unwrap();
    assert!(store.capabilities().iter().all(|store| !store.properties.is_empty()));
}
