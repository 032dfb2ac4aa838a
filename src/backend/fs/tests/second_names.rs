//! A key that is also a prefix: a file beside a directory of its own name.

use std::path::Path;

use futures::TryStreamExt;

use super::*;
use crate::backend::{Error, Found};
use crate::model::BucketName;

/// Every file in the bucket's directory, and every empty directory, by path.
fn paths(dir: &Path) -> Vec<String> {
    fn collect(dir: &Path, at: &str, into: &mut Vec<String>) {
        let mut empty = true;
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{at}{}", entry.file_name().to_str().unwrap());
            empty = false;
            if entry.file_type().unwrap().is_dir() {
                collect(&entry.path(), &format!("{path}/"), into);
            } else {
                into.push(path);
            }
        }
        if empty && !at.is_empty() {
            into.push(at.to_owned());
        }
    }
    let mut all = Vec::new();
    collect(&dir.join("bucket"), "", &mut all);
    all.sort();
    all
}

async fn with_bucket() -> (Arc<Fs>, tempfile::TempDir) {
    let (fs, dir) = fresh();
    fs.create_bucket(&BucketName::new("bucket").unwrap()).await.unwrap();
    (fs, dir)
}

async fn keys(fs: &Fs) -> Vec<String> {
    let found: Vec<Found> = fs.list(&BucketName::new("bucket").unwrap(), None).try_collect().await.unwrap();
    found.into_iter().map(|found| found.key.to_string()).collect()
}

#[tokio::test]
async fn a_plain_key_is_a_plain_file() {
    let (fs, dir) = with_bucket().await;
    write(&fs, "photos/2026/ü b.jpg", b"bytes").await;
    assert_eq!(std::fs::read(dir.path().join("bucket/photos/2026/ü b.jpg")).unwrap(), b"bytes");
}

#[tokio::test]
async fn the_newcomer_takes_the_second_name() {
    let (fs, dir) = with_bucket().await;
    write(&fs, "a", b"1").await;
    write(&fs, "a/b", b"2").await;
    write(&fs, "x/y", b"3").await;
    write(&fs, "x", b"4").await;
    assert_eq!(paths(dir.path()), ["a", "a%d/b", "x%f", "x/y"]);
    for (key, bytes) in [("a", b"5"), ("a/b", b"6"), ("x/y", b"7"), ("x", b"8")] {
        let kept = write(&fs, key, bytes).await;
        assert_eq!(read(&fs, &plain(key), Some(&kept.binding)).await.unwrap(), bytes);
    }
    assert_eq!(paths(dir.path()), ["a", "a%d/b", "x%f", "x/y"]);
    assert_eq!(keys(&fs).await, ["a", "a/b", "x", "x/y"]);
}

#[tokio::test]
async fn nothing_that_exists_is_moved_when_the_plain_name_becomes_free() {
    let (fs, dir) = with_bucket().await;
    let a = write(&fs, "a", b"1").await;
    let ab = write(&fs, "a/b", b"2").await;
    fs.delete(&plain("a"), &a.binding).await.unwrap();
    assert_eq!(read(&fs, &plain("a/b"), Some(&ab.binding)).await.unwrap(), b"2");
    write(&fs, "a/c", b"3").await;
    let ab = write(&fs, "a/b", b"4").await;
    assert_eq!(paths(dir.path()), ["a%d/b", "a/c"]);
    assert_eq!(keys(&fs).await, ["a/b", "a/c"]);
    fs.delete(&plain("a/b"), &ab.binding).await.unwrap();
    assert_eq!(paths(dir.path()), ["a/c"]);
    assert!(matches!(fs.head(&plain("a/b")).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn deletes_leave_no_directory_behind() {
    let (fs, dir) = with_bucket().await;
    for key in ["d/e/f/g", "d//", "d", "d/e"] {
        let kept = write(&fs, key, b"1").await;
        fs.harden(&[plain(key)]).await.unwrap();
        fs.delete(&plain(key), &kept.binding).await.unwrap();
        assert_eq!(paths(dir.path()), [""; 0]);
    }
}

#[tokio::test]
async fn long_segments_beside_each_other_keep_apart() {
    let (fs, _dir) = with_bucket().await;
    let long = "x".repeat(240);
    let keys_written = [long.clone(), format!("{long}y"), format!("{long}/y"), format!("{long}y/z"), format!("{long}-")];
    for key in &keys_written {
        write(&fs, key, key.as_bytes()).await;
    }
    for key in &keys_written {
        assert_eq!(read(&fs, &plain(key), None).await.unwrap(), key.as_bytes());
    }
    let mut sorted = keys_written.to_vec();
    sorted.sort();
    assert_eq!(keys(&fs).await, sorted);
}
