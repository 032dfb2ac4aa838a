//! What is in memory is answered on the spot.

use futures::{FutureExt, StreamExt};

use super::*;
use crate::backend::Error;
use crate::model::BucketName;

/// Elsewhere the kernel may not read without waiting.
fn reads_on_the_spot(fs: &Fs) -> bool {
    ["ext4", "xfs", "btrfs"].contains(&fs.core.nature.volume.name.as_str())
}

/// Whatever is done to a file whose descriptor was kept, nothing is answered but what its name shows.
#[tokio::test]
async fn a_kept_descriptor_shows_no_more_than_the_name() {
    type Act = fn(&std::path::Path);
    let acts: [Act; 4] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::rename(path, path.with_extension("away")).unwrap(),
        |path| std::fs::rename(path.with_extension("other"), path).unwrap(),
        |path| std::fs::write(path, "bites").unwrap(),
    ];
    let (fs, dir) = fresh();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    for (n, act) in acts.into_iter().enumerate() {
        let path = dir.path().join(format!("bucket/{n}"));
        std::fs::write(path.with_extension("other"), "other").unwrap();
        let kept = write(&fs, &n.to_string(), b"bytes").await;
        let place = plain(&n.to_string());
        let read = || read(&fs, &place, Some(&kept.binding));
        // Many ticks of the clock that dates a file, so that what is done next is told by its ctime.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        // Once is enough, unless this thread stood still for a second.
        let mut tries = 0..100;
        while tries.next().is_some() && fs.core.handles.get(&kept.binding).is_none() {
            assert_eq!(read().await.unwrap(), b"bytes");
        }
        assert_eq!(tries.is_empty(), !reads_on_the_spot(&fs));
        act(&path);
        let refused = read().await;
        assert!(matches!(refused, Err(Error::NotFound | Error::Changed)), "{n}: {refused:?}");
        assert!(fs.core.handles.get(&kept.binding).is_none(), "{n}");
    }
}

/// Nothing about the file tells of it.
#[tokio::test]
async fn a_directory_moved_away_is_seen_by_who_asks_for_no_bytes_and_after_a_second_by_all() {
    let (fs, dir) = fresh();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    let kept = write(&fs, "d/a", b"bytes").await;
    let place = plain("d/a");
    assert_eq!(read(&fs, &place, Some(&kept.binding)).await.unwrap(), b"bytes");
    std::fs::rename(dir.path().join("bucket/d"), dir.path().join("bucket/e")).unwrap();
    let nothing = GetOptions { range: Some(0..0), expect: Some(kept.binding.clone()) };
    assert!(matches!(fs.get(&place, nothing).await, Err(Error::NotFound)));
    let begun = std::time::Instant::now();
    while read(&fs, &place, Some(&kept.binding)).await.is_ok() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "it is read for ever");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_we_move_away_ourselves_is_forgotten_at_once() {
    let (fs, _dir) = fresh();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    for _ in 0..20 {
        let first = write(&fs, "a", b"first").await;
        read(&fs, &plain("a"), Some(&first.binding)).await.unwrap();
        let second = write(&fs, "a", b"second").await;
        assert!(fs.core.handles.get(&first.binding).is_none());
        assert!(matches!(read(&fs, &plain("a"), Some(&first.binding)).await, Err(Error::Changed)));
        assert_eq!(read(&fs, &plain("a"), Some(&second.binding)).await.unwrap(), b"second");
        fs.delete(&plain("a"), &second.binding).await.unwrap();
        assert!(fs.core.handles.get(&second.binding).is_none());
        assert!(matches!(read(&fs, &plain("a"), Some(&second.binding)).await, Err(Error::NotFound)));
    }
}

#[tokio::test]
async fn a_cached_read_waits_for_no_thread() {
    let (fs, _dir) = fresh();
    if !reads_on_the_spot(&fs) {
        return;
    }
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    for size in [0, 4_096, 65_536, 1 << 20] {
        let bytes = vec![5; size];
        let kept = stage(&fs, "d/a", &bytes).await.unwrap();
        let staged = Place { object: object("d/a"), location: kept.location.clone() };
        let get = || GetOptions { range: None, expect: Some(kept.binding.clone()) };
        let before = fs.get(&staged, get()).now_or_never();
        assert!(before.expect("a staged file takes no thread").is_ok());
        publish(&fs, "d/a", &kept).await.unwrap();
        for place in [plain("d/a"), staged] {
            let fetched = fs.get(&place, get()).now_or_never().expect("a cached file takes no thread").unwrap();
            let chunks = fetched.body.stream.map(Result::unwrap).collect::<Vec<_>>().now_or_never();
            assert_eq!(chunks.expect("cached chunks take no thread").concat(), bytes);
        }
    }
}
