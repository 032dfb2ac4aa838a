//! Buckets that are called otherwise in their store, and several in one there.

use super::*;
use crate::backend::conformance::names::odd_keys;
use crate::backend::fs::Fs;
use crate::backend::fs::shim::Shim;
use crate::backend::memory::Memory;
use crate::model::Location;

fn bucket(name: &str) -> BucketName {
    BucketName::new(name).unwrap()
}

fn object(bucket: &str, key: &str) -> ObjectId {
    ObjectId::parse(bucket, key).unwrap()
}

fn plain(bucket: &str, key: &str) -> Place {
    Place { object: object(bucket, key), location: Location::Plain }
}

fn rule(buckets: &str, there: &str, prefix: &str) -> Rule {
    Rule { buckets: buckets.to_owned(), bucket: bucket(there), prefix: prefix.to_owned() }
}

/// The bucket of the conformance suite lies under another name; one of its others takes that of a neighbour in the order.
fn renamed(store: Memory) -> (Arc<Aliases>, Arc<Memory>) {
    let store = Arc::new(store);
    let rules = vec![rule("bucket", "corp-2019", ""), rule("aaa", "zzz", "")];
    (Arc::new(Aliases::new(store.clone(), rules).unwrap()), store)
}

/// Every bucket lies in one.
fn parted<B: Backend>(store: &Arc<B>) -> Arc<Aliases> {
    Arc::new(Aliases::new(store.clone(), vec![rule("*", "corp-all", "teams/{bucket}/")]).unwrap())
}

fn parted_alone<B: Backend>(store: B) -> (Arc<Aliases>, Arc<B>) {
    let store = Arc::new(store);
    (parted(&store), store)
}

mod renamed_staging {
    use super::*;

    crate::backend::conformance::passes_conformance!(renamed(Memory::new()));
}

mod renamed_naming {
    use super::*;

    crate::backend::conformance::passes_naming_conformance!(renamed(Memory::naming()));
}

mod parted_staging {
    use super::*;

    crate::backend::conformance::passes_parted_conformance!(parted_alone(Memory::new()));
}

mod parted_on_disk {
    use super::*;

    crate::backend::conformance::passes_parted_conformance!(parted_alone(Fs::on_shim(&Shim::new()).unwrap()));
}

mod parted_naming {
    use super::*;

    crate::backend::conformance::passes_short_conformance!([] parted_alone(Memory::naming()));
}

async fn write(store: &dyn Backend, to: &ObjectId, text: &'static str) -> Kept {
    let kept = store.put(to, Bytes::from(text).into(), PutOptions::any()).await.unwrap();
    let place = Place { object: to.clone(), location: kept.location.clone() };
    assert_eq!(store.publish(&place, &kept.binding).await.unwrap(), Published::Done);
    store.release(&place).await;
    kept
}

async fn read(store: &dyn Backend, at: &Place) -> Bytes {
    store.get(at, GetOptions::default()).await.unwrap().body.collect(100).await.unwrap()
}

async fn keys(store: &dyn Backend, bucket: &BucketName) -> Vec<String> {
    let found: Vec<Found> = store.list(bucket, None).try_collect().await.unwrap();
    found.into_iter().map(|found| found.key.to_string()).collect()
}

async fn own_keys(store: &dyn Backend, bucket: &BucketName) -> Vec<String> {
    let found: Vec<FoundOwn> = store.list_own(bucket, None).try_collect().await.unwrap();
    found.into_iter().map(|own| own.found.key.to_string()).collect()
}

#[tokio::test]
async fn a_bucket_has_its_own_name_here_and_another_there() {
    let (aliases, store) = renamed(Memory::new());
    store.create_bucket(&bucket("corp-2019")).await.unwrap();
    aliases.create_bucket(&bucket("other")).await.unwrap();
    assert_eq!(aliases.list_buckets().await.unwrap(), ["bucket", "other"].map(bucket));
    write(&*aliases, &object("bucket", "a"), "1").await;
    store.head(&plain("corp-2019", "a")).await.unwrap();
    assert!(matches!(aliases.delete_bucket(&bucket("bucket")).await, Err(Error::NotEmpty(_))));
}

#[tokio::test]
async fn the_name_of_a_bucket_there_is_no_buckets_name_here() {
    let taken = bucket("corp-2019");
    let (aliases, store) = renamed(Memory::new());
    aliases.create_bucket(&bucket("bucket")).await.unwrap();
    assert!(matches!(aliases.create_bucket(&taken).await, Err(Error::Name(_))));
    assert!(matches!(aliases.delete_bucket(&taken).await, Err(Error::Name(_))));
    assert!(matches!(aliases.list(&taken, None).next().await, Some(Err(Error::Name(_)))));
    assert_eq!(store.list_buckets().await.unwrap(), [taken]);
}

#[tokio::test]
async fn a_bucket_that_has_the_name_of_one_of_ours_there_is_refused() {
    let (aliases, store) = renamed(Memory::new());
    store.create_bucket(&bucket("bucket")).await.unwrap();
    let refused = aliases.list_buckets().await.unwrap_err().to_string();
    assert!(refused.contains("has a bucket bucket beside corp-2019"), "{refused}");
    let (parted, store) = parted_alone(Memory::new());
    store.create_bucket(&bucket("one")).await.unwrap();
    let refused = parted.list_buckets().await.unwrap_err().to_string();
    assert!(refused.contains("has a bucket one beside corp-all below teams/{bucket}/"), "{refused}");
}

#[tokio::test]
async fn a_bucket_with_another_name_keeps_it_as_long_as_it_is_there() {
    for is_taken_over in [false, true] {
        let store = Arc::new(Memory::new());
        let under = |there: &str| Aliases::new(store.clone(), vec![rule("photos", there, "")]).unwrap();
        if is_taken_over {
            store.create_bucket(&bucket("corp-a")).await.unwrap();
        } else {
            under("corp-a").create_bucket(&bucket("photos")).await.unwrap();
        }
        assert_eq!(under("corp-a").list_buckets().await.unwrap(), [bucket("photos")]);
        for refused in [under("corp-b").list_buckets().await.map(drop), refuse_any(&*store).await] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("photos lies in corp-a"), "{refused}");
        }
        under("corp-a").delete_bucket(&bucket("photos")).await.unwrap();
        refuse_any(&*store).await.unwrap();
    }
    // A crash came between the bucket and its note.
    let store = Arc::new(Memory::new());
    let under = || Aliases::new(store.clone(), vec![rule("photos", "corp-a", "")]).unwrap();
    under().create_bucket(&bucket("photos")).await.unwrap();
    store.delete_bucket(&bucket("corp-a")).await.unwrap();
    assert_eq!(under().list_buckets().await.unwrap(), []);
    refuse_any(&*store).await.unwrap();
}

#[tokio::test]
async fn what_was_staged_under_a_name_that_is_taken_now_is_kept() {
    let (aliases, store) = renamed(Memory::new());
    let taken = object("corp-2019", "a");
    let kept = store.put(&taken, Bytes::from("1").into(), PutOptions::any()).await.unwrap();
    let place = Place { object: taken, location: kept.location };
    aliases.recover(std::slice::from_ref(&place)).await.unwrap();
    store.head(&place).await.unwrap();
}

#[tokio::test]
async fn buckets_in_one_never_see_each_other() {
    let (parted, store) = parted_alone(Memory::naming());
    let buckets = ["one", "one-more", "two"].map(bucket);
    for bucket in &buckets {
        parted.create_bucket(bucket).await.unwrap();
    }
    let kept = write(&*parted, &object("one", "a/b"), "1").await;
    write(&*parted, &object("one-more", "c"), "22").await;
    let version = parted.put(&object("two", "a/b"), Bytes::from("333").into(), PutOptions::any()).await.unwrap();
    assert_eq!(parted.list_buckets().await.unwrap(), buckets);
    assert_eq!(keys(&*store, &bucket("corp-all")).await, ["teams/one-more/c", "teams/one/a/b"]);
    let seen = [keys(&*parted, &buckets[0]).await, keys(&*parted, &buckets[1]).await, keys(&*parted, &buckets[2]).await];
    assert_eq!(seen, [vec!["a/b"], vec!["c"], vec![]]);
    let own = [own_keys(&*parted, &buckets[0]).await, own_keys(&*parted, &buckets[2]).await];
    assert_eq!(own, [vec![], vec!["a/b"]]);
    assert_eq!(read(&*parted, &plain("one", "a/b")).await, "1");
    for bucket in &buckets {
        assert!(matches!(parted.delete_bucket(bucket).await, Err(Error::NotEmpty(_))), "{bucket}");
    }
    parted.delete(&plain("one", "a/b"), &kept.binding).await.unwrap();
    parted.delete_bucket(&buckets[0]).await.unwrap();
    assert_eq!(parted.list_buckets().await.unwrap(), buckets[1..]);
    let at = Place { object: object("two", "a/b"), location: version.location };
    assert_eq!(parted.head(&at).await.unwrap().key.as_str(), "a/b");
    assert_eq!(keys(&*store, &bucket("corp-all")).await, ["teams/one-more/c"]);
}

#[tokio::test]
async fn what_lies_below_a_prefix_is_taken_over_by_its_bucket() {
    let (parted, store) = parted_alone(Memory::new());
    store.create_bucket(&bucket("corp-all")).await.unwrap();
    for key in ["teams/one/", "teams/one/old", "teams/one", "teams/one0", "teams/one-more/x", "other"] {
        write(&*store, &object("corp-all", key), "theirs").await;
    }
    assert_eq!(parted.list_buckets().await.unwrap(), []);
    assert!(matches!(parted.list(&bucket("two"), None).next().await, Some(Err(Error::NoSuchBucket))));
    assert_eq!(keys(&*parted, &bucket("one")).await, ["old"], "whoever makes the bucket looks for them before");
    parted.create_bucket(&bucket("one")).await.unwrap();
    assert_eq!(keys(&*parted, &bucket("one")).await, ["old"]);
    assert_eq!(read(&*parted, &plain("one", "old")).await, "theirs");
    assert!(matches!(parted.delete_bucket(&bucket("one")).await, Err(Error::NotEmpty(name)) if name == "old"));
}

#[tokio::test]
async fn a_bucket_that_was_not_made_takes_nothing() {
    let (parted, store) = parted_alone(Memory::new());
    parted.create_bucket(&bucket("other")).await.unwrap();
    let (to, at) = (object("one", "a"), plain("one", "a"));
    let upload = StoreUpload { object: to.clone(), write: PutOptions::any().write, token: String::new() };
    let body = || Body::from(Bytes::from("1"));
    let refused = [
        parted.put(&to, body(), PutOptions::any()).await.err(),
        parted.copy(&plain("other", "a"), GetOptions::default(), &to, PutOptions::any()).await.err(),
        parted.publish(&at, &Binding::None).await.err(),
        parted.start_upload(&to, upload.write, Attributes::default()).await.err(),
        parted.put_part(&upload, 1, body(), PutOptions::any()).await.err(),
        parted.assemble(&upload, &[], PutOptions::any()).await.err(),
        parted.list(&to.bucket, None).next().await.and_then(Result::err),
        parted.list_own(&to.bucket, None).next().await.and_then(Result::err),
    ];
    assert!(refused.iter().all(|err| matches!(err, Some(Error::NoSuchBucket))), "{refused:?}");
    assert!(matches!(parted.head(&at).await, Err(Error::NotFound)));
    parted.delete(&at, &Binding::None).await.unwrap();
    parted.end_upload(&upload).await.unwrap();
    parted.delete_bucket(&to.bucket).await.unwrap();
    assert_eq!(keys(&*store, &bucket("corp-all")).await, [""; 0]);
}

#[tokio::test]
async fn which_buckets_lie_below_prefixes_is_known_in_the_store() {
    let store = Arc::new(Memory::new());
    for name in ["a.b", "a-b", "gone"] {
        parted(&store).create_bucket(&bucket(name)).await.unwrap();
    }
    parted(&store).delete_bucket(&bucket("gone")).await.unwrap();
    let again = parted(&store);
    assert_eq!(again.list_buckets().await.unwrap(), ["a-b", "a.b"].map(bucket));
    assert_eq!(again.list_notes().await.unwrap(), [""; 0], "they are no notes of the site's");
    let elsewhere = Aliases::new(store.clone(), vec![rule("*", "corp-all", "{bucket}/")]).unwrap();
    for refused in [elsewhere.list_buckets().await.map(drop), refuse_any(&*store).await] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("lies in corp-all, below \"teams/a"), "{refused}");
    }
    for name in ["a.b", "a-b"] {
        again.delete_bucket(&bucket(name)).await.unwrap();
    }
    refuse_any(&*store).await.unwrap();
    assert_eq!(store.list_buckets().await.unwrap(), [bucket("corp-all")], "what holds them stays");
}

#[tokio::test]
async fn a_bucket_that_is_written_to_stays() {
    let (parted, _store) = parted_alone(Memory::naming());
    parted.create_bucket(&bucket("one")).await.unwrap();
    let (mut sender, chunks) = futures::channel::mpsc::channel(1);
    let put = tokio::spawn({
        let parted = parted.clone();
        async move { parted.put(&object("one", "a"), Body::new(None, chunks), PutOptions::any()).await }
    });
    sender.try_send(Ok(Bytes::from("1"))).unwrap();
    let mut stays = false;
    for _ in 0..100 {
        stays = matches!(parted.delete_bucket(&bucket("one")).await, Err(Error::NotEmpty(_)));
        if stays {
            break;
        }
        parted.create_bucket(&bucket("one")).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(stays);
    drop(sender);
    put.await.unwrap().unwrap();
    assert!(matches!(parted.delete_bucket(&bucket("one")).await, Err(Error::NotEmpty(_))));
}

/// As far as they fit behind the prefix.
#[tokio::test]
async fn odd_keys_are_themselves_below_a_prefix() {
    let prefix = "teams/one/";
    let mut all: Vec<_> = odd_keys().into_iter().filter(|key| key.len() + prefix.len() <= Key::BYTES_MAX).collect();
    all.sort();
    for store in [Arc::new(Memory::new()) as Arc<dyn Backend>, Arc::new(Fs::on_shim(&Shim::new()).unwrap())] {
        let rules = vec![rule("*", "corp-all", "teams/{bucket}/")];
        let parted = Aliases::new(store.clone(), rules).unwrap();
        for name in ["one", "one-more", "0ne"] {
            parted.create_bucket(&bucket(name)).await.unwrap();
            write(&parted, &object(name, "neighbour"), "1").await;
        }
        for key in &all {
            write(&parted, &object("one", key), "1").await;
            assert_eq!(parted.head(&plain("one", key)).await.unwrap().key.as_str(), key);
        }
        let mut want = [all.clone(), vec!["neighbour".to_owned()]].concat();
        want.sort();
        assert_eq!(keys(&parted, &bucket("one")).await, want);
        let (longest, last) = ("x".repeat(Key::BYTES_MAX), "\u{10FFFF}".repeat(200));
        for after in want.iter().chain([&longest, &last]) {
            let found: Vec<Found> = parted.list(&bucket("one"), Some(&Key::new(after).unwrap())).try_collect().await.unwrap();
            let found: Vec<_> = found.iter().map(|found| found.key.as_str()).collect();
            assert_eq!(found, want.iter().filter(|key| *key > after).collect::<Vec<_>>(), "after {after:?}");
        }
        let refused = parted.put(&object("one", &longest), Bytes::from("1").into(), PutOptions::any()).await;
        assert!(matches!(refused, Err(Error::Name(_))), "{refused:?}");
    }
}
