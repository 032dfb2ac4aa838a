//! Own names on the disk, and what only a directory can do wrong with them.

use std::path::Path;

use futures::TryStreamExt;

use super::*;
use crate::backend::fs::shim::Shim;
use crate::backend::{Error, FoundOwn};
use crate::model::{BucketName, Incarnation, WriteId};

fn bucket() -> BucketName {
    BucketName::new("bucket").unwrap()
}

fn write_id(n: u64) -> WriteId {
    WriteId::new(Incarnation(1), 1, n)
}

async fn with_bucket() -> (Arc<Fs>, tempfile::TempDir) {
    let (fs, dir) = fresh();
    fs.create_bucket(&bucket()).await.unwrap();
    (fs, dir)
}

/// Where bytes are before they come to their own name.
fn on_its_way(key: &str, n: u64, kept: &Kept) -> Place {
    Place { object: object(key), location: Location::OwnStaged(kept.location.staged().unwrap(), write_id(n)) }
}

async fn write_own(fs: &Fs, key: &str, n: u64, bytes: &[u8]) -> Result<(Place, Binding)> {
    let kept = stage(fs, key, bytes).await?;
    let from = on_its_way(key, n, &kept);
    assert_eq!(fs.publish(&from, &kept.binding).await?, Published::Done);
    Ok((from.settled(), kept.binding))
}

async fn listed(fs: &Fs) -> Vec<String> {
    let found: Vec<FoundOwn> = fs.list_own(&bucket(), None).try_collect().await.unwrap();
    found.into_iter().map(|own| own.found.key.to_string()).collect()
}

fn versions(dir: &Path) -> std::path::PathBuf {
    dir.join(".anybucket/versions")
}

#[tokio::test]
async fn an_own_name_is_the_key_with_the_write_behind_it() {
    let (fs, dir) = with_bucket().await;
    let (at, binding) = write_own(&fs, "photos/ü b.jpg", 7, b"bytes").await.unwrap();
    let path = versions(dir.path()).join(format!("bucket/photos/ü b.jpg@{}", write_id(7)));
    assert_eq!(std::fs::read(&path).unwrap(), b"bytes");
    fs.delete(&at, &binding).await.unwrap();
    assert_eq!(std::fs::read_dir(versions(dir.path())).unwrap().count(), 0, "no empty directory is left");
}

#[tokio::test]
async fn names_that_are_not_ours_are_not_shown_and_keep_the_bucket() {
    let (fs, dir) = with_bucket().await;
    write_own(&fs, "d/a", 1, b"mine").await.unwrap();
    let home = versions(dir.path()).join("bucket");
    let (id, long) = (write_id(2), "x".repeat(1_025));
    let mut names = vec!["a".to_owned(), format!("@{id}"), format!("a@{}", id.to_string().to_lowercase())];
    names.extend([format!("a%@{id}"), format!("a@{id}x"), format!("a{id}")]);
    for name in &names {
        std::fs::write(home.join(name), "theirs").unwrap();
    }
    std::fs::create_dir_all(home.join(format!("{}%+/{}%+", &long[..240], &long[..240]))).unwrap();
    assert_eq!(listed(&fs).await, ["d/a"]);
    let refused = fs.delete_bucket(&bucket()).await;
    assert!(matches!(refused, Err(Error::NotEmpty(_))), "{refused:?}");
}

/// A file has the name of the bucket's directory: own names go beside it.
#[tokio::test]
async fn a_bucket_whose_directory_is_taken_has_a_second_one() {
    let (fs, dir) = with_bucket().await;
    std::fs::write(versions(dir.path()).join("bucket"), "theirs").unwrap();
    let (at, binding) = write_own(&fs, "a", 1, b"mine").await.unwrap();
    assert_eq!(read(&fs, &at, Some(&binding)).await.unwrap(), b"mine");
    assert_eq!(listed(&fs).await, ["a"]);
    assert!(matches!(fs.delete_bucket(&bucket()).await, Err(Error::NotEmpty(_))));
    fs.harden(std::slice::from_ref(&at)).await.unwrap();
    fs.delete(&at, &binding).await.unwrap();
    fs.delete_bucket(&bucket()).await.unwrap();
}

/// Where a crash may tear a rename, a file is found under both names.
#[tokio::test]
async fn a_torn_publish_ends_with_one_name() {
    let (fs, dir) = with_bucket().await;
    write_own(&fs, "a", 1, b"other").await.unwrap();
    let kept = stage(&fs, "a", b"mine").await.unwrap();
    let staged = dir.path().join(format!(".anybucket/staging/{}", kept.location.staged().unwrap()));
    std::fs::hard_link(&staged, versions(dir.path()).join(format!("bucket/a@{}", write_id(2)))).unwrap();
    let from = on_its_way("a", 2, &kept);
    assert_eq!(fs.publish(&from, &kept.binding).await.unwrap(), Published::Done);
    assert!(!staged.exists());
    assert_eq!(read(&fs, &from.settled(), Some(&kept.binding)).await.unwrap(), b"mine");
}

#[tokio::test]
async fn a_cached_read_of_an_own_name_waits_for_no_thread() {
    use futures::FutureExt;
    let (fs, _dir) = with_bucket().await;
    if !fs.core.nature.cached_opens || !["ext4", "xfs", "btrfs"].contains(&fs.core.nature.volume.name.as_str()) {
        return;
    }
    let (at, binding) = write_own(&fs, "d/a", 1, b"bytes").await.unwrap();
    let fetched = fs.get(&at, GetOptions { range: None, expect: Some(binding) }).now_or_never();
    assert!(fetched.expect("a cached file takes no thread").is_ok());
}

#[tokio::test]
async fn after_a_restart_what_is_on_its_way_to_an_own_name_comes_there() {
    let dir = tempfile::tempdir().unwrap();
    let fs = Fs::open(Settings::at(dir.path())).unwrap();
    fs.create_bucket(&bucket()).await.unwrap();
    let kept = stage(&fs, "a", b"kept").await.unwrap();
    let lost = stage(&fs, "a", b"lost").await.unwrap();
    drop(fs);
    let fs = Fs::start(Core::on_disk(&Settings::at(dir.path()), Limits::TINY).unwrap()).unwrap();
    let from = on_its_way("a", 1, &kept);
    fs.recover(std::slice::from_ref(&from)).await.unwrap();
    for n in 0..40 {
        while fs.core.pool.tend() {}
        write(&fs, &format!("k{n}"), b"other").await;
    }
    assert_eq!(fs.publish(&from, &kept.binding).await.unwrap(), Published::Done);
    assert_eq!(read(&fs, &from.settled(), Some(&kept.binding)).await.unwrap(), b"kept");
    assert_eq!(fs.publish(&on_its_way("a", 2, &lost), &lost.binding).await.unwrap(), Published::Gone);
}

/// What was deleted is written again, and must not be what a crash finds under the old name.
#[tokio::test]
async fn a_deleted_version_is_let_alone_until_its_move_is_durable() {
    let (fs, dir) = altered(Limits::TINY, |_| ());
    fs.create_bucket(&bucket()).await.unwrap();
    let inode = |binding: &Binding| if let Binding::File { inode, .. } = binding { *inode } else { panic!("{binding:?}") };
    let (at, old) = write_own(&fs, "a", 1, b"old").await.unwrap();
    fs.delete(&at, &old).await.unwrap();
    // Another name of the key is made durable: that says nothing of this one.
    fs.harden(&[plain("a")]).await.unwrap();
    for n in 0..30 {
        while fs.core.pool.tend() {}
        assert_ne!(inode(&write(&fs, &format!("k{n}"), b"other").await.binding), inode(&old));
    }
    fs.harden(&[at]).await.unwrap();
    let again = async || {
        for n in 0..60 {
            while fs.core.pool.tend() {}
            if inode(&write(&fs, &format!("l{n}"), b"other").await.binding) == inode(&old) {
                return true;
            }
        }
        false
    };
    assert!(again().await, "it is never used again");
    drop(dir);
}

#[tokio::test]
async fn a_call_that_fails_on_the_way_to_an_own_name_can_be_done_again() {
    for delete in [false, true] {
        let run = async |fs: &Fs, from: &Place, binding: &Binding| {
            if delete {
                fs.delete(&from.settled(), binding).await?;
                return fs.harden(&[from.settled()]).await;
            }
            fs.publish(from, binding).await?;
            fs.harden(std::slice::from_ref(from)).await
        };
        let prepared = async || {
            let shim = Shim::new();
            let fs = Fs::on_shim(&shim).unwrap();
            fs.create_bucket(&bucket()).await.unwrap();
            let kept = stage(&fs, "d/a", b"bytes").await.unwrap();
            let from = on_its_way("d/a", 1, &kept);
            if delete {
                fs.publish(&from, &kept.binding).await.unwrap();
            }
            (shim, fs, from, kept.binding)
        };
        let (shim, fs, from, binding) = prepared().await;
        let first = shim.calls() + 1;
        run(&fs, &from, &binding).await.unwrap();
        for call in first..=shim.calls() {
            let (shim, fs, from, binding) = prepared().await;
            shim.fail_call(call, rustix::io::Errno::NOSPC);
            let _ = run(&fs, &from, &binding).await;
            let now = read(&fs, &from, Some(&binding)).await;
            assert!(delete || now.unwrap() == b"bytes", "call {call}");
            run(&fs, &from, &binding).await.unwrap();
            let after = shim.crash(0);
            let fs = Fs::on_shim(&after).unwrap();
            let now = read(&fs, &from.settled(), Some(&binding)).await;
            assert_eq!(now.is_ok(), !delete, "call {call}: {now:?}");
        }
    }
}

/// A version comes and goes, and then the bucket: whenever the power is cut, no own name is left without its bucket.
#[test]
fn no_crash_leaves_own_names_without_their_bucket() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let run = async |shim: &Shim, fs: &Fs| -> Result<()> {
            fs.create_bucket(&bucket()).await?;
            let (at, binding) = write_own(fs, "d/a", 1, b"bytes").await?;
            fs.harden(std::slice::from_ref(&at)).await?;
            fs.delete(&at, &binding).await?;
            fs.delete_bucket(&bucket()).await?;
            assert!(!shim.crashed());
            Ok(())
        };
        let shim = Shim::new();
        let fs = Fs::on_shim(&shim).unwrap();
        let first = shim.calls() + 1;
        run(&shim, &fs).await.unwrap();
        for call in first..=shim.calls() + 1 {
            for seed in 0..16 {
                let shim = Shim::new();
                let fs = Fs::on_shim(&shim).unwrap();
                shim.crash_at(call);
                let _ = run(&shim, &fs).await;
                drop(fs);
                let after = shim.crash(seed);
                let fs = Fs::on_shim(&after).unwrap();
                if fs.list_buckets().await.unwrap().is_empty() {
                    fs.create_bucket(&bucket()).await.unwrap();
                    assert_eq!(listed(&fs).await, [""; 0], "call {call}, seed {seed}");
                }
            }
        }
    });
}
