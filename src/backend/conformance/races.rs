//! Several clients at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::{Store, at, bucket, delete, expecting, keys, pattern, plain, publish, read, settled, stage, with_bucket, write};
use crate::backend::{Error, Kept, Published};

pub(crate) async fn concurrent_publishers_leave_one_whole_body(store: Store) {
    let store = with_bucket(store).await;
    for round in 0..20 {
        let writers = (0..8).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let bytes = pattern(round * 8 + n, 100 + n as usize);
                let kept = stage(&store, "k/k", &bytes).await;
                publish_patiently(&store, &kept).await;
                (kept, bytes)
            })
        });
        let written: Vec<_> = futures::future::join_all(writers).await.into_iter().map(|written| written.unwrap()).collect();
        let now = store.head(&plain("k/k")).await.unwrap();
        let (_, bytes) = written.iter().find(|(kept, _)| kept.binding == now.binding).expect("one of the writers won");
        assert_eq!(read(&store, &plain("k/k"), expecting(&now.binding)).await.unwrap(), bytes);
        assert_eq!(keys(&store).await, ["k/k"]);
        store.harden(&[plain("k/k")]).await.unwrap();
        for (kept, _) in written {
            store.release(&at("k/k", kept.location)).await;
        }
    }
}

/// Some stores let one after the other come to a name.
async fn publish_patiently(store: &Store, kept: &Kept) {
    loop {
        match publish(store, "k/k", kept).await {
            Err(Error::Unavailable(_)) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            published => return assert_eq!(published.unwrap(), Published::Done),
        }
    }
}

/// A writer replaces one key with bodies of other sizes and bytes, giving the files back; whatever readers see is the body
/// they meant, whole, under its own binding.
pub(crate) async fn headers_always_belong_to_the_body(store: Store) {
    let store = with_bucket(store).await;
    let written: Arc<Mutex<HashMap<String, (u64, usize)>>> = Arc::default();
    let done = Arc::new(AtomicBool::new(false));
    let first = write(&store, "a", &pattern(0, 0)).await;
    written.lock().unwrap().insert(format!("{:?}", first.binding), (0, 0));
    let readers: Vec<_> = (0..3).map(|_| tokio::spawn(read_until_done(store.clone(), written.clone(), done.clone()))).collect();
    for n in 1..400u64 {
        let size = [10, 5_000, 10, 65_536, 200_000][n as usize % 5] + n as usize % 3;
        let kept = stage(&store, "a", &pattern(n, size)).await;
        written.lock().unwrap().insert(format!("{:?}", kept.binding), (n, size));
        assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Done);
        store.harden(&[plain("a")]).await.unwrap();
        store.release(&at("a", kept.location)).await;
        tokio::task::yield_now().await;
    }
    done.store(true, SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() > 0, "a reader saw nothing");
    }
}

async fn read_until_done(store: Store, written: Arc<Mutex<HashMap<String, (u64, usize)>>>, done: Arc<AtomicBool>) -> usize {
    let mut seen = 0;
    while !done.load(SeqCst) {
        tokio::task::yield_now().await;
        let meant = store.head(&plain("a")).await.unwrap().binding;
        // One that was just staged is written down a moment later.
        let Some((n, size)) = written.lock().unwrap().get(&format!("{meant:?}")).copied() else { continue };
        let fetched = match store.get(&plain("a"), expecting(&meant)).await {
            Ok(fetched) => fetched,
            Err(Error::Changed) => continue,
            Err(err) => panic!("{err}"),
        };
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
                let place = settled(key, &kept);
                assert_eq!(read(&store, &place, expecting(&kept.binding)).await.unwrap(), pattern(n, 50), "{key}");
                delete(&store, &place, &kept.binding).await;
                let gone = store.head(&place).await;
                assert!(matches!(gone, Err(Error::NotFound)), "{key}: {gone:?}");
                store.harden(&[place]).await.unwrap();
                store.release(&at(key, kept.location)).await;
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(keys(&store).await, [""; 0]);
    store.delete_bucket(&bucket()).await.unwrap();
}
