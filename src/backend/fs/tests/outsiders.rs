//! Other programs write to the directory, some of them with ill intent.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use futures::{StreamExt, TryStreamExt};

use super::*;
use crate::backend::fs::find::Spot;
use crate::backend::fs::io::{Kind, Stat};
use crate::backend::{BodyError, Error, Found};
use crate::model::BucketName;

async fn with_bucket() -> (Arc<Fs>, tempfile::TempDir) {
    let (fs, dir) = fresh();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    (fs, dir)
}

#[tokio::test]
async fn links_lead_nowhere() {
    let (fs, dir) = with_bucket().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let bucket = dir.path().join("bucket");
    symlink(outside.path(), bucket.join("dir")).unwrap();
    symlink(outside.path().join("secret"), bucket.join("file")).unwrap();
    symlink(outside.path(), dir.path().join("linked-bucket")).unwrap();
    // Even a link that stays in the bucket: one file would have two keys.
    symlink("real", bucket.join("alias")).unwrap();
    write(&fs, "real/a", b"mine").await;
    for key in ["dir/secret", "file", "dir", "alias/a"] {
        assert!(matches!(read(&fs, &plain(key), None).await, Err(Error::NotFound)), "{key}");
    }
    write(&fs, "dir/secret", b"mine").await;
    write(&fs, "file", b"mine").await;
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
    assert_eq!(read(&fs, &plain("dir/secret"), None).await.unwrap(), b"mine");
    assert_eq!(read(&fs, &plain("file"), None).await.unwrap(), b"mine");
    let found: Vec<Found> = fs.list(&BucketName::new("bucket").unwrap(), None).try_collect().await.unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(fs.list_buckets().await.unwrap(), [BucketName::new("bucket").unwrap()]);
    let linked = Place { object: ObjectId::parse("linked-bucket", "secret").unwrap(), location: Location::Plain };
    assert!(matches!(fs.head(&linked).await, Err(Error::NoSuchBucket)));
}

#[tokio::test]
async fn pipes_and_sockets_are_no_objects() {
    let (fs, dir) = with_bucket().await;
    let path = dir.path().join("bucket/pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(matches!(read(&fs, &plain("pipe"), None).await, Err(Error::NotFound)));
    write(&fs, "pipe", b"mine").await;
    assert_eq!(read(&fs, &plain("pipe"), None).await.unwrap(), b"mine");
}

#[tokio::test]
async fn a_foreign_file_is_read_and_listed_if_its_name_is_a_key() {
    let (fs, dir) = with_bucket().await;
    std::fs::create_dir_all(dir.path().join("bucket/d/empty")).unwrap();
    std::fs::write(dir.path().join("bucket/d/foreign"), "bytes").unwrap();
    std::fs::write(dir.path().join("bucket/d/100%"), "bytes").unwrap();
    let found: Vec<Found> = fs.list(&BucketName::new("bucket").unwrap(), None).try_collect().await.unwrap();
    assert_eq!(found.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["d/foreign"]);
    assert_eq!(read(&fs, &plain("d/foreign"), Some(&found[0].binding)).await.unwrap(), b"bytes");
    let refused = fs.delete_bucket(&BucketName::new("bucket").unwrap()).await;
    assert!(matches!(refused, Err(Error::NotEmpty(_))), "{refused:?}");
}

#[tokio::test]
async fn what_a_listing_leaves_out_is_counted() {
    let (fs, dir) = with_bucket().await;
    let bucket = dir.path().join("bucket");
    let long = "x".repeat(240);
    let deep = bucket.join([long.as_str(); 5].join("/"));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::create_dir_all(bucket.join("50% off/a")).unwrap();
    std::fs::write(deep.join("too long for a key"), "bytes").unwrap();
    std::fs::write(bucket.join("50% off/a/b"), "bytes").unwrap();
    std::fs::write(bucket.join("100%"), "bytes").unwrap();
    std::fs::write(bucket.join("x".repeat(241)), "bytes").unwrap();
    symlink("100%", bucket.join("link")).unwrap();
    std::fs::write(bucket.join(std::ffi::OsStr::from_bytes(b"latin-\xe9")), "bytes").unwrap();
    for key in ["a/b", "a//b", "a/", "100%", &"y".repeat(300)] {
        write(&fs, key, b"mine").await;
    }
    let name = BucketName::new("bucket").unwrap();
    assert_eq!(fs.strangers(&name).await.unwrap(), 6);
    let found: Vec<Found> = fs.list(&name, None).try_collect().await.unwrap();
    assert_eq!(found.len(), 5);
}

#[tokio::test]
async fn a_file_changed_in_place_is_not_the_one_that_was_written() {
    let (fs, dir) = with_bucket().await;
    let kept = write(&fs, "a", b"mine").await;
    std::fs::write(dir.path().join("bucket/a"), "ours").unwrap();
    assert!(matches!(read(&fs, &plain("a"), Some(&kept.binding)).await, Err(Error::Changed)));
    fs.delete(&plain("a"), &kept.binding).await.unwrap();
    assert_eq!(read(&fs, &plain("a"), None).await.unwrap(), b"ours");
}

#[tokio::test]
async fn a_body_never_ends_cleanly_when_its_file_is_changed_under_it() {
    let (fs, dir) = with_bucket().await;
    let path = dir.path().join("bucket/a");
    for shorten in [false, true] {
        let kept = write(&fs, "a", &vec![1; 2 << 20]).await;
        let mut fetched = fs.get(&plain("a"), GetOptions { range: None, expect: Some(kept.binding) }).await.unwrap();
        fetched.body.stream.next().await.unwrap().unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        if shorten {
            file.set_len(600_000).unwrap();
        } else {
            std::os::unix::fs::FileExt::write_at(&file, b"x", 0).unwrap();
        }
        let rest = fetched.body.stream.try_fold(0, |size, chunk| async move { Ok(size + chunk.len()) }).await;
        assert!(matches!(rest, Err(BodyError::Read(_))), "{rest:?}");
    }
}

#[tokio::test]
async fn a_directory_that_comes_in_the_way_is_put_back() {
    let (fs, dir) = with_bucket().await;
    let kept = stage(&fs, "a", b"mine").await.unwrap();
    std::fs::create_dir(dir.path().join("bucket/a")).unwrap();
    std::fs::write(dir.path().join("bucket/a/b"), "theirs").unwrap();
    let core = &fs.core;
    let bucket = core.bucket(&BucketName::new("bucket").unwrap()).unwrap();
    // A look that is out of date: it saw a file where there is a directory by now.
    let there = Some(Stat {
        kind: Kind::File,
        inode: 1,
        size: 1,
        allocated: 512,
        mtime_ns: 1,
        ctime_ns: 1,
        links: 1,
        mode: 0o644,
        owner: 0,
    });
    let stale = Spot { dir: bucket, route: String::new(), name: "a".to_owned(), there };
    let Location::Staged(file) = kept.location else { panic!("not staged") };
    assert!(matches!(core.move_to(file, &stale), Ok(crate::backend::fs::publish::Moved::Not)));
    assert_eq!(publish(&fs, "a", &kept).await.unwrap(), Published::Done);
    assert_eq!(read(&fs, &plain("a"), Some(&kept.binding)).await.unwrap(), b"mine");
    assert_eq!(read(&fs, &plain("a/b"), None).await.unwrap(), b"theirs");
}

#[tokio::test]
async fn what_a_delete_finds_changed_is_put_back() {
    let (fs, dir) = with_bucket().await;
    let path = dir.path().join("bucket/a");
    std::fs::write(&path, "theirs").unwrap();
    let core = &fs.core;
    let spot = || {
        let bucket = core.bucket(&BucketName::new("bucket").unwrap()).unwrap();
        Spot { dir: bucket, route: String::new(), name: "a".to_owned(), there: None }
    };
    for newer in [false, true] {
        let file = core.pool.fresh_number();
        spot().dir.rename("a", &core.staging, &file.to_string(), crate::backend::fs::io::Onto::Nothing).unwrap();
        if newer {
            std::fs::write(&path, "newer").unwrap();
        }
        core.put_back(file, &spot()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), if newer { "newer" } else { "theirs" });
        assert!(core.staging.stat_at(&file.to_string()).is_err());
    }
}

#[tokio::test]
async fn a_bucket_removed_and_made_again_behind_our_back_is_found() {
    let (fs, dir) = with_bucket().await;
    write(&fs, "d/a", b"1").await;
    std::fs::remove_dir_all(dir.path().join("bucket")).unwrap();
    assert!(matches!(read(&fs, &plain("d/a"), None).await, Err(Error::NoSuchBucket)));
    std::fs::create_dir(dir.path().join("bucket")).unwrap();
    assert!(matches!(read(&fs, &plain("d/a"), None).await, Err(Error::NotFound)));
    write(&fs, "d/a", b"2").await;
    std::fs::remove_dir_all(dir.path().join("bucket")).unwrap();
    std::fs::create_dir(dir.path().join("bucket")).unwrap();
    write(&fs, "d/a", b"3").await;
    assert_eq!(std::fs::read(dir.path().join("bucket/d/a")).unwrap(), b"3");
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let (fs, dir) = fresh();
    let second = Fs::open(Settings::at(dir.path()));
    let Err(Error::Unavailable(reason)) = second else { panic!("{second:?}") };
    assert!(reason.contains("in use by another process"), "{reason}");
    drop(fs);
    Fs::open(Settings::at(dir.path())).unwrap();
}

#[test]
fn a_reserved_name_that_a_bucket_could_bear_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for reserved in ["anybucket", "", ".", "..", ".a/b"] {
        let settings = Settings { reserved: reserved.to_owned(), ..Settings::at(dir.path()) };
        assert!(matches!(Fs::open(settings), Err(Error::Unavailable(_))), "{reserved:?}");
    }
}
