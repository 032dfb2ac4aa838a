//! A disk that is full, or read-only, at any call: an error that says so, and nothing half-written.

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
    fs.harden(&[object("d/a")]).await?;
    fs.release(kept.location.clone()).await;
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
        fs.harden(&[object("d/a")]).await.unwrap();
    }
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
    let stored = fs.put(&object("a"), Body::from(Bytes::from(vec![1; size])), PutOptions::default()).await;
    assert!(matches!(stored, Err(Error::Full(_))), "{stored:?}");
    let unknown = Body::new(None, futures::stream::iter((0..128).map(|_| Ok(Bytes::from(vec![1; 65_536])))));
    let stored = fs.put(&object("a"), unknown, PutOptions::default()).await;
    assert!(matches!(stored, Err(Error::Full(_))), "{stored:?}");
    assert_eq!(read(&fs, &plain("a"), Some(&old.binding)).await.unwrap(), b"old");
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    write(&fs, "a", &vec![2; 2 << 20]).await;
    drop(fs);
    std::process::Command::new("umount").arg(dir.path()).status().unwrap();
}
