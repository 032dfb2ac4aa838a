//! Small files of this program's own.

use bytes::Bytes;

use super::{Store, keys, pattern, with_bucket};
use crate::backend::{Error, NOTE_BYTES_MAX};

async fn write(store: &Store, name: &str, bytes: &Bytes) {
    store.write_note(name, bytes.clone()).await.unwrap();
}

pub(crate) async fn a_note_comes_back_as_it_was_last_written(store: Store) {
    assert_eq!(store.list_notes().await.unwrap(), [""; 0]);
    assert!(matches!(store.read_note("owner").await, Err(Error::NotFound)));
    for (n, size) in [0, 1, 5 << 20, 100, 70_000].into_iter().enumerate() {
        let bytes = pattern(n as u64, size);
        write(&store, "owner", &bytes).await;
        assert_eq!(store.read_note("owner").await.unwrap(), bytes);
    }
    write(&store, "rows-2", &pattern(8, 10)).await;
    write(&store, "rows-10", &pattern(9, 10)).await;
    assert_eq!(store.list_notes().await.unwrap(), ["owner", "rows-10", "rows-2"]);
    for _ in 0..2 {
        store.remove_note("owner").await.unwrap();
        assert!(matches!(store.read_note("owner").await, Err(Error::NotFound)));
        assert_eq!(store.list_notes().await.unwrap(), ["rows-10", "rows-2"]);
    }
}

pub(crate) async fn notes_are_no_objects_and_no_buckets(store: Store) {
    let store = with_bucket(store).await;
    write(&store, "bucket", &pattern(1, 10)).await;
    assert_eq!(keys(&store).await, [""; 0]);
    assert_eq!(store.list_buckets().await.unwrap(), [super::bucket()]);
    store.delete_bucket(&super::bucket()).await.unwrap();
    assert_eq!(store.read_note("bucket").await.unwrap(), pattern(1, 10));
}

pub(crate) async fn a_note_that_not_every_store_could_hold_is_refused(store: Store) {
    for name in ["", "a/b", "..", "A", "a~", "a.b", "a b", &"x".repeat(129)] {
        assert!(matches!(store.write_note(name, Bytes::new()).await, Err(Error::Name(_))), "{name:?}");
        assert!(matches!(store.read_note(name).await, Err(Error::Name(_))), "{name:?}");
        assert!(matches!(store.remove_note(name).await, Err(Error::Name(_))), "{name:?}");
    }
    let large = Bytes::from(vec![0; NOTE_BYTES_MAX + 1]);
    assert!(store.write_note("large", large).await.is_err());
    assert_eq!(store.list_notes().await.unwrap(), [""; 0]);
}

pub(crate) async fn a_note_is_whole_whoever_writes_at_the_same_time(store: Store) {
    write(&store, "note", &pattern(0, 50_000)).await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 1..30 {
                write(&store, "note", &pattern(n, 50_000)).await;
            }
        }
    });
    while !writer.is_finished() {
        let read = store.read_note("note").await.unwrap();
        assert!((0..30).any(|n| read == pattern(n, 50_000)));
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}
