//! Staging files: taken, kept, given back, written again.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt;

use super::*;
use crate::model::BucketName;

async fn with_bucket(limits: Limits) -> (Arc<Fs>, tempfile::TempDir) {
    let (fs, dir) = altered(limits, |_| ());
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    (fs, dir)
}

fn inode(kept: &Kept) -> u64 {
    let Binding::File { inode, .. } = kept.binding else { panic!("{:?}", kept.binding) };
    inode
}

/// Tends the pool until there is nothing to do.
fn tend(fs: &Fs) {
    while fs.core.pool.tend() {}
}

#[tokio::test]
async fn a_displaced_file_is_written_again_once_it_is_hardened_and_released() {
    let (fs, _dir) = with_bucket(Limits::TINY).await;
    let mut inodes = HashSet::new();
    for n in 0..100u8 {
        let kept = write(&fs, "a", &[n; 100]).await;
        inodes.insert(inode(&kept));
        fs.harden(&[plain("a")]).await.unwrap();
        fs.release(&staged(&kept)).await;
        tend(&fs);
    }
    assert!(inodes.len() < 20, "{} files for 100 writes", inodes.len());
}

#[tokio::test]
async fn a_displaced_file_is_let_alone_until_its_move_is_durable() {
    let (fs, dir) = with_bucket(Limits::TINY).await;
    let old = write(&fs, "a", b"old").await;
    let new = write(&fs, "a", b"new").await;
    fs.release(&staged(&new)).await;
    for n in 0..30 {
        tend(&fs);
        let kept = write(&fs, &format!("k{n}"), b"other").await;
        assert_ne!(inode(&kept), inode(&old));
    }
    let Location::Staged(file) = new.location else { panic!("not staged") };
    let staged = dir.path().join(format!(".anybucket/staging/{file}"));
    assert_eq!(std::fs::read(staged).unwrap(), b"old");
}

/// Held open, so that their numbers cannot come back with new files.
#[tokio::test]
async fn a_file_with_another_name_or_another_mode_or_of_somebody_else_is_not_written_again() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let (fs, dir) = with_bucket(Limits::TINY).await;
    for key in ["linked", "private", "put", "theirs"] {
        let path = dir.path().join("bucket").join(key);
        write(&fs, key, b"old").await;
        if key == "put" {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, b"old").unwrap();
        }
        let mut held = std::fs::File::open(&path).unwrap();
        let old = held.metadata().unwrap().ino();
        match key {
            "linked" => std::fs::hard_link(&path, dir.path().join("kept")).unwrap(),
            "private" => std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap(),
            "put" => {}
            // Only root can give a file away; for others this is one more file of their own.
            _ if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() => continue,
            _ => {}
        }
        let new = write(&fs, key, b"new").await;
        fs.harden(&[plain(key)]).await.unwrap();
        fs.release(&staged(&new)).await;
        for n in 0..30 {
            tend(&fs);
            assert_ne!(inode(&write(&fs, &format!("{key}-{n}"), b"x").await), old);
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut held, &mut bytes).unwrap();
        assert_eq!(bytes, b"old", "{key}");
    }
}

#[tokio::test]
async fn a_put_that_nobody_waits_for_any_more_gives_its_file_back() {
    let (fs, dir) = with_bucket(Limits::TINY).await;
    for sent in [0, 3] {
        let chunks =
            futures::stream::iter((0..sent).map(|_| Ok(Bytes::from(vec![1; 600_000])))).chain(futures::stream::pending());
        let to = object("a");
        let put = fs.put(&to, Body::new(None, chunks), PutOptions::any());
        assert!(tokio::time::timeout(Duration::from_millis(200), put).await.is_err());
        tokio::time::sleep(Duration::from_millis(100)).await;
        tend(&fs);
        let staging = std::fs::read_dir(dir.path().join(".anybucket/staging")).unwrap();
        let (files, bytes) =
            staging.fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.unwrap().metadata().unwrap().len()));
        assert!(files <= 10 && bytes < 600_000, "{files} files with {bytes} bytes are left");
    }
}

/// Bytes on the disk that the files of the pool take, whatever their lengths.
fn allocated(dir: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let staging = std::fs::read_dir(dir.join(".anybucket/staging")).unwrap();
    staging.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum()
}

/// An upload that announces much and sends nothing, until the client hangs up.
async fn hang_up_after_announcing(fs: &Fs, size: u64) {
    let to = object("a");
    let put = fs.put(&to, Body::new(Some(size), futures::stream::pending()), PutOptions::any());
    assert!(tokio::time::timeout(Duration::from_millis(100), put).await.is_err());
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn room_that_a_put_took_and_never_filled_is_given_back() {
    let (fs, dir) = with_bucket(Limits::TINY).await;
    for _ in 0..3 {
        hang_up_after_announcing(&fs, 8 << 20).await;
    }
    tend(&fs);
    assert!(allocated(dir.path()) < 1 << 20, "{} bytes are still taken", allocated(dir.path()));
}

#[tokio::test]
async fn room_that_a_crash_left_taken_is_given_back() {
    let (fs, dir) = with_bucket(Limits::TINY).await;
    drop(fs);
    let left = std::fs::File::create(dir.path().join(".anybucket/staging/00000000000000ff")).unwrap();
    rustix::fs::fallocate(&left, rustix::fs::FallocateFlags::KEEP_SIZE, 0, 8 << 20).unwrap();
    assert!(allocated(dir.path()) >= 8 << 20);
    let fs = Fs::start(Core::on_disk(&Settings::at(dir.path()), Limits::TINY).unwrap()).unwrap();
    fs.recover(&[]).await.unwrap();
    tend(&fs);
    assert!(allocated(dir.path()) < 1 << 20, "{} bytes are still taken", allocated(dir.path()));
}

/// At any call: also where the disk is full half-way through taking the room.
#[tokio::test]
async fn a_put_that_fails_leaves_no_room_taken() {
    use crate::backend::fs::shim::Shim;
    for call in 1..8 {
        let shim = Shim::new();
        let fs = Fs::on_shim(&shim).unwrap();
        fs.recover(&[]).await.unwrap();
        shim.fail_call(shim.calls() + call, rustix::io::Errno::NOSPC);
        let _ = stage(&fs, "a", &[1; 1_500_000]).await;
        while fs.core.pool.tend() {}
        let mut taken = 0;
        let seen = fs.core.staging.entries(&mut |name, _| {
            taken += fs.core.staging.stat_at(std::str::from_utf8(name).unwrap())?.allocated;
            Ok(())
        });
        seen.unwrap();
        let (held, _) = fs.held();
        assert!(taken < 1_000_000 || !held.is_empty(), "call {call}: {taken} bytes are still taken");
    }
}

#[tokio::test]
async fn after_a_restart_everything_but_what_is_kept_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::at(dir.path());
    let fs = Fs::open(settings.clone()).unwrap();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    let kept = stage(&fs, "a", b"kept").await.unwrap();
    stage(&fs, "b", b"lost").await.unwrap();
    let large = stage(&fs, "c", &[1; 100_000]).await.unwrap();
    drop(fs);
    let fs = Fs::open(settings).unwrap();
    fs.recover(&[Place { location: kept.location.clone(), ..plain("a") }]).await.unwrap();
    tend(&fs);
    let Location::Staged(file) = large.location else { panic!("not staged") };
    assert!(!dir.path().join(format!(".anybucket/staging/{file}")).exists());
    for n in 0..600 {
        stage(&fs, "x", format!("{n}").as_bytes()).await.unwrap();
    }
    assert_eq!(publish(&fs, "a", &kept).await.unwrap(), Published::Done);
    assert_eq!(read(&fs, &plain("a"), Some(&kept.binding)).await.unwrap(), b"kept");
}

/// A publish moves a file out of the pool; a crash then leaves a row that names a number which no file bears.
#[tokio::test]
async fn a_number_that_a_row_still_names_is_not_drawn_again() {
    let dir = tempfile::tempdir().unwrap();
    let fs = Fs::start(Core::on_disk(&Settings::at(dir.path()), Limits::TINY).unwrap()).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let made = std::fs::read_dir(dir.path().join(".anybucket/staging")).unwrap().count();
    assert_eq!(made, 0, "files were made before it was known which numbers rows name");
    let named = Location::Staged(crate::model::StagingFile(3));
    fs.recover(&[Place { location: named.clone(), ..plain("a") }]).await.unwrap();
    for n in 0..10 {
        assert_ne!(stage(&fs, &format!("k{n}"), b"new").await.unwrap().location, named);
    }
}

#[tokio::test]
async fn the_pool_is_filled_ahead_of_time() {
    let (fs, _dir) = with_bucket(Limits::SERVER).await;
    for _ in 0..200 {
        if fs.core.pool.ready() >= Limits::SERVER.ready_min {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("only {} files are ready", fs.core.pool.ready());
}

#[tokio::test]
async fn with_durability_os_everything_works_but_nothing_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let fs = Fs::open(Settings { durability: crate::backend::fs::Durability::Os, ..Settings::at(dir.path()) }).unwrap();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    let kept = write(&fs, "a/b", b"bytes").await;
    fs.harden(&[plain("a/b")]).await.unwrap();
    fs.release(&staged(&kept)).await;
    assert_eq!(read(&fs, &plain("a/b"), Some(&kept.binding)).await.unwrap(), b"bytes");
}
