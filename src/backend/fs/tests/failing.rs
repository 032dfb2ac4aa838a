//! A disk that is full, or read-only, at any call: an error that says so, and nothing half-written.

use futures::TryStreamExt;
use rustix::io::Errno;

use super::*;
use crate::backend::Error;
use crate::backend::fs::shim::Shim;
use crate::model::BucketName;

async fn prepared() -> (Shim, Fs, Kept) {
    let shim = Shim::new();
    let fs = Fs::on_shim(&shim).unwrap();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    let kept = write(&fs, "d/a", b"old").await;
    (shim, fs, kept)
}

async fn overwrite(fs: &Fs, size: usize) -> Result<Kept> {
    let kept = stage(fs, "d/a", &vec![7; size]).await?;
    publish(fs, "d/a", &kept).await?;
    fs.harden(&[plain("d/a")]).await?;
    fs.release(&staged(&kept)).await;
    Ok(kept)
}

#[tokio::test]
async fn a_call_that_fails_stores_nothing_or_can_be_done_again() {
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::ROFS] {
        for size in [100, 70_000, 1_200_000] {
            let (shim, fs, _) = prepared().await;
            let first = shim.calls() + 1;
            overwrite(&fs, size).await.unwrap();
            for call in first..=shim.calls() {
                fail_at(call, errno, size).await;
            }
        }
    }
}

async fn fail_at(call: u64, errno: Errno, size: usize) {
    let (shim, fs, old) = prepared().await;
    shim.fail_call(call, errno);
    let failed = overwrite(&fs, size).await;
    match (&failed, errno) {
        (Ok(_), _) | (Err(Error::Full(_)), Errno::NOSPC | Errno::DQUOT) | (Err(Error::ReadOnly(_)), Errno::ROFS) => {}
        other => panic!("{other:?} at call {call}"),
    }
    let now = fs.head(&plain("d/a")).await.unwrap();
    let bytes = read(&fs, &plain("d/a"), Some(&now.binding)).await.unwrap();
    if now.binding == old.binding {
        assert_eq!(bytes, b"old", "call {call}");
    } else {
        assert_eq!(bytes, vec![7; size], "call {call}");
    }
    let again = overwrite(&fs, size).await.unwrap();
    assert_eq!(read(&fs, &plain("d/a"), Some(&again.binding)).await.unwrap(), vec![7; size]);
}

#[tokio::test]
async fn a_delete_that_fails_can_be_done_again() {
    let calls = {
        let (shim, fs, kept) = prepared().await;
        let before = shim.calls();
        fs.delete(&plain("d/a"), &kept.binding).await.unwrap();
        before + 1..=shim.calls()
    };
    for call in calls {
        let (shim, fs, kept) = prepared().await;
        shim.fail_call(call, Errno::ROFS);
        let _ = fs.delete(&plain("d/a"), &kept.binding).await;
        fs.delete(&plain("d/a"), &kept.binding).await.unwrap();
        assert!(matches!(fs.head(&plain("d/a")).await, Err(Error::NotFound)), "call {call}");
        fs.harden(&[plain("d/a")]).await.unwrap();
    }
}

#[tokio::test]
async fn a_folder_that_others_keep_closed_hides_nothing_but_itself() {
    let shim = Shim::new();
    let fs = Fs::on_shim(&shim).unwrap();
    let bucket = BucketName::new("bucket").unwrap();
    fs.create_bucket(&bucket).await.unwrap();
    for key in ["a/b", "d/closed/x", "d/e", "z"] {
        write(&fs, key, b"mine").await;
    }
    assert_eq!(fs.strangers(&bucket).await.unwrap(), 0);
    shim.close("closed");
    let found: Vec<crate::backend::Found> = fs.list(&bucket, None).try_collect().await.unwrap();
    assert_eq!(found.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["a/b", "d/e", "z"]);
    assert_eq!(fs.strangers(&bucket).await.unwrap(), 1);
}

const MIB: u64 = 1 << 20;

/// The disk has another size from now on, which the store sees at once.
fn resize(fs: &Fs, shim: &Shim, capacity: u64) {
    shim.resize(capacity);
    fs.core.room.promise(&fs.core.root, 0).unwrap();
}

/// What is left when bodies are refused for want of room.
async fn fill(fs: &Fs, shim: &Shim, size: Option<u64>, bytes: u64) -> u64 {
    let chunk = Bytes::from(vec![1; 65_536]);
    for n in 0.. {
        let chunk = chunk.clone();
        let chunks = futures::stream::iter((0..bytes / 65_536).map(move |_| Ok(chunk.clone())));
        match fs.put(&object(&n.to_string()), Body::new(size, chunks), PutOptions::any()).await {
            Ok(_) => {}
            Err(Error::Full(_)) => break,
            Err(err) => panic!("{err}"),
        }
    }
    shim.root().volume().unwrap().free_bytes
}

#[tokio::test]
async fn bodies_leave_room_for_the_status_store() {
    for (size, bytes) in [(Some(4 * MIB), 4 * MIB), (None, MIB), (Some(65_536), 65_536)] {
        let (shim, fs, _) = prepared().await;
        resize(&fs, &shim, 80 * MIB);
        let left = fill(&fs, &shim, size, bytes).await;
        assert!((10 * MIB..16 * MIB).contains(&left), "{left} bytes are left by bodies of {size:?}");
    }
}

#[tokio::test]
async fn a_copy_leaves_room_for_the_status_store() {
    let (shim, fs, _) = prepared().await;
    let source = write(&fs, "source", &vec![1; MIB as usize]).await;
    resize(&fs, &shim, 9 * MIB);
    let copy = async || {
        let get = GetOptions { range: None, expect: Some(source.binding.clone()) };
        fs.copy(&plain("source"), get, &object("copy"), PutOptions::any()).await
    };
    for _ in 0..6 {
        copy().await.unwrap();
    }
    assert!(matches!(copy().await, Err(Error::Full(_))));
}

#[tokio::test]
async fn room_promised_to_one_body_is_not_promised_to_another() {
    let (shim, fs, _) = prepared().await;
    resize(&fs, &shim, 80 * MIB);
    let (core, pieces) = (&fs.core, 40 * MIB);
    let first = core.room.promise(&core.root, pieces).unwrap();
    assert!(matches!(core.room.promise(&core.root, pieces), Err(Error::Full(_))));
    drop(first);
    core.room.promise(&core.root, pieces).unwrap();
}

#[tokio::test]
async fn room_that_could_not_be_had_whole_is_given_back_at_once() {
    let (shim, fs, _) = prepared().await;
    let free = shim.root().volume().unwrap().free_bytes;
    // The first call of a put this large reserves, where a file is ready for it.
    assert!(fs.core.pool.ready() > 0);
    shim.fail_call(shim.calls() + 1, Errno::NOSPC);
    let large = Body::from(Bytes::from(vec![1; 2 * MIB as usize]));
    let refused = fs.put(&object("a"), large, PutOptions::any()).await;
    assert!(matches!(refused, Err(Error::Full(_))));
    assert_eq!(shim.root().volume().unwrap().free_bytes, free);
}

/// Needs the right to mount: run it by hand, as root.
#[tokio::test]
#[ignore = "mounts a small tmpfs"]
async fn a_full_disk_says_so_and_takes_writes_again_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(dir.path()).status();
    assert!(mount.unwrap().success());
    let fs = Fs::open(Settings::at(dir.path())).unwrap();
    fs.recover(&[]).await.unwrap();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    let old = write(&fs, "a", b"old").await;
    let size = 8 << 20;
    let stored = fs.put(&object("a"), Body::from(Bytes::from(vec![1; size])), PutOptions::any()).await;
    assert!(matches!(stored, Err(Error::Full(_))), "{stored:?}");
    let unknown = Body::new(None, futures::stream::iter((0..128).map(|_| Ok(Bytes::from(vec![1; 65_536])))));
    let stored = fs.put(&object("a"), unknown, PutOptions::any()).await;
    assert!(matches!(stored, Err(Error::Full(_))), "{stored:?}");
    assert_eq!(read(&fs, &plain("a"), Some(&old.binding)).await.unwrap(), b"old");
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    write(&fs, "a", &vec![2; 2 << 20]).await;
    drop(fs);
    std::process::Command::new("umount").arg(dir.path()).status().unwrap();
}
