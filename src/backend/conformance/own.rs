//! Names of their own: as many bodies of one key as there are writes, each of them left alone by everything else.

use futures::stream::{StreamExt, TryStreamExt};

use super::names::odd_keys;
use super::{Store, at, bucket, delete, expecting, keys, object, pattern, plain, read, settled, stage, with_bucket, write};
use crate::backend::{Body, Error, FoundOwn, GetOptions, Kept, Place, Published, PutOptions, Result};
use crate::model::{Binding, Incarnation, Key, Location, WriteId};

fn write_id(n: u64) -> WriteId {
    WriteId::new(Incarnation(1), 1, n)
}

/// The bytes of the write `n` of a key.
struct Version {
    key: String,
    n: u64,
    kept: Kept,
}

impl Version {
    async fn staged(store: &Store, key: &str, n: u64) -> Self {
        let put = PutOptions { write: write_id(n), ..PutOptions::any() };
        let kept = store.put(&object(key), Body::from(pattern(n, 20 + n as usize)), put).await.unwrap();
        Self { key: key.to_owned(), n, kept }
    }

    async fn published(store: &Store, key: &str, n: u64) -> Self {
        let version = Self::staged(store, key, n).await;
        assert_eq!(version.publish(store).await.unwrap(), Published::Done, "{key:?}");
        version
    }

    fn on_its_way(&self) -> Place {
        let location = match self.kept.location {
            Location::Moving(write) | Location::Own(write) => Location::Own(write),
            ref staged => Location::OwnStaged(staged.staged().expect("this store stages"), write_id(self.n)),
        };
        at(&self.key, location)
    }

    fn own(&self) -> Place {
        self.on_its_way().settled()
    }

    async fn publish(&self, store: &Store) -> Result<Published> {
        match self.on_its_way() {
            from if from.location.is_staged() => store.publish(&from, &self.kept.binding).await,
            own => match store.head(&own).await {
                Ok(_) => Ok(Published::Done),
                Err(Error::NotFound) => Ok(Published::Gone),
                Err(err) => Err(err),
            },
        }
    }

    async fn delete(&self, store: &Store) {
        delete(store, &self.own(), &self.kept.binding).await;
    }

    /// Its bytes are at their name.
    async fn is_there(&self, store: &Store) {
        let bytes = read(store, &self.own(), expecting(&self.kept.binding)).await;
        assert_eq!(bytes.unwrap(), pattern(self.n, 20 + self.n as usize), "{:?} {}", self.key, self.n);
        let found = store.head(&self.own()).await.unwrap();
        assert_eq!((found.key.as_str(), found.binding), (self.key.as_str(), self.kept.binding.clone()));
    }

    async fn is_gone(&self, store: &Store) {
        let found = store.head(&self.own()).await;
        assert!(matches!(found, Err(Error::NotFound)), "{:?} {}: {found:?}", self.key, self.n);
    }
}

async fn listed(store: &Store, after: Option<(Key, WriteId)>) -> Vec<(String, WriteId)> {
    let found: Vec<FoundOwn> = store.list_own(&bucket(), after).try_collect().await.unwrap();
    found.into_iter().map(|own| (own.found.key.to_string(), own.write)).collect()
}

fn in_order(mut listed: Vec<(String, WriteId)>) -> Vec<(String, WriteId)> {
    listed.sort();
    listed
}

pub(crate) async fn versions_of_a_key_lie_side_by_side(store: Store) {
    let store = with_bucket(store).await;
    let null = write(&store, "d/a", &pattern(99, 10)).await;
    let one = Version::published(&store, "d/a", 1).await;
    let two = Version::published(&store, "d/a", 2).await;
    let other = Version::published(&store, "d/b", 1).await;
    for version in [&one, &two, &other] {
        version.is_there(&store).await;
    }
    one.delete(&store).await;
    one.is_gone(&store).await;
    two.is_there(&store).await;
    other.is_there(&store).await;
    assert_eq!(read(&store, &plain("d/a"), expecting(&null.binding)).await.unwrap(), pattern(99, 10));
    delete(&store, &plain("d/a"), &null.binding).await;
    store.harden(&[plain("d/a"), one.own()]).await.unwrap();
    write(&store, "d/a", &pattern(98, 10)).await;
    two.is_there(&store).await;
}

pub(crate) async fn own_names_are_no_objects_and_no_buckets(store: Store) {
    let store = with_bucket(store).await;
    let version = Version::published(&store, "a", 1).await;
    assert_eq!(keys(&store).await, [""; 0]);
    assert!(matches!(store.head(&plain("a")).await, Err(Error::NotFound)));
    assert_eq!(store.list_buckets().await.unwrap(), [bucket()]);
    write(&store, "b", &pattern(1, 10)).await;
    assert_eq!(listed(&store, None).await, [("a".to_owned(), write_id(1))]);
    version.is_there(&store).await;
}

pub(crate) async fn publishing_to_an_own_name_again_changes_nothing(store: Store) {
    let store = with_bucket(store).await;
    let version = Version::published(&store, "a", 1).await;
    Version::published(&store, "a", 2).await;
    for _ in 0..3 {
        assert_eq!(version.publish(&store).await.unwrap(), Published::Done);
        version.is_there(&store).await;
    }
    store.harden(&[version.on_its_way()]).await.unwrap();
    store.release(&version.on_its_way()).await;
    assert_eq!(version.publish(&store).await.unwrap(), Published::Done);
    version.delete(&store).await;
    assert_eq!(version.publish(&store).await.unwrap(), Published::Gone);
}

pub(crate) async fn an_own_name_is_never_written_over(store: Store) {
    let store = with_bucket(store).await;
    let first = Version::published(&store, "a/b", 1).await;
    let second = Version::staged(&store, "a/b", 1).await;
    let refused = second.publish(&store).await;
    assert!(matches!(refused, Err(Error::Changed)), "{refused:?}");
    first.is_there(&store).await;
    let bytes = read(&store, &second.on_its_way(), expecting(&second.kept.binding)).await;
    assert_eq!(bytes.unwrap(), pattern(1, 21), "what was refused is still staged");
    first.delete(&store).await;
    assert_eq!(second.publish(&store).await.unwrap(), Published::Done);
    second.is_there(&store).await;
}

pub(crate) async fn what_was_given_up_does_not_come_to_an_own_name(store: Store) {
    let store = with_bucket(store).await;
    let version = Version::staged(&store, "a", 1).await;
    delete(&store, &version.on_its_way(), &Version::staged(&store, "a", 1).await.kept.binding).await;
    assert_eq!(store.head(&version.on_its_way()).await.unwrap().binding, version.kept.binding);
    delete(&store, &version.on_its_way(), &version.kept.binding).await;
    assert_eq!(version.publish(&store).await.unwrap(), Published::Gone);
    version.is_gone(&store).await;
}

/// Before, while and after they are published.
pub(crate) async fn bytes_on_their_way_to_an_own_name_are_read_wherever_they_are(store: Store) {
    let store = with_bucket(store).await;
    for (n, size) in (0..20_u64).zip([10, 100_000].into_iter().cycle()) {
        let bytes = pattern(n, size);
        let version = Version { key: "d/a".to_owned(), n, kept: stage(&store, "d/a", &bytes).await };
        assert_eq!(store.head(&version.on_its_way()).await.unwrap().size, size as u64);
        let reader = tokio::spawn({
            let (store, place, binding, bytes) =
                (store.clone(), version.on_its_way(), version.kept.binding.clone(), bytes.clone());
            async move {
                for _ in 0..30 {
                    assert!(read(&store, &place, expecting(&binding)).await.unwrap() == bytes);
                }
            }
        });
        assert!(read(&store, &version.on_its_way(), expecting(&version.kept.binding)).await.unwrap() == bytes);
        assert_eq!(version.publish(&store).await.unwrap(), Published::Done);
        assert!(read(&store, &version.on_its_way(), expecting(&version.kept.binding)).await.unwrap() == bytes);
        reader.await.unwrap();
        assert!(read(&store, &version.own(), GetOptions::default()).await.unwrap() == bytes);
    }
}

pub(crate) async fn a_delete_at_an_own_name_removes_only_what_it_names(store: Store) {
    let store = with_bucket(store).await;
    let null = write(&store, "a/b", &pattern(9, 10)).await;
    let (one, two) = (Version::published(&store, "a/b", 1).await, Version::published(&store, "a/b", 2).await);
    for other in [&two.kept.binding, &null.binding, &Binding::None] {
        delete(&store, &one.own(), other).await;
        delete(&store, &one.on_its_way(), other).await;
    }
    delete(&store, &plain("a/b"), &one.kept.binding).await;
    one.is_there(&store).await;
    let refused = read(&store, &one.own(), expecting(&two.kept.binding)).await;
    assert!(matches!(refused, Err(Error::Changed)), "{refused:?}");
    for _ in 0..2 {
        one.delete(&store).await;
        one.is_gone(&store).await;
    }
    // Where they were staged is as good a name for what was published since.
    delete(&store, &two.on_its_way(), &two.kept.binding).await;
    two.is_gone(&store).await;
    assert_eq!(read(&store, &plain("a/b"), expecting(&null.binding)).await.unwrap(), pattern(9, 10));
    assert_eq!(listed(&store, None).await, []);
}

pub(crate) async fn a_copy_of_an_own_name_is_bound_to_it(store: Store) {
    let store = with_bucket(store).await;
    let (one, two) = (Version::published(&store, "a", 1).await, Version::staged(&store, "a", 2).await);
    for (place, version) in [(one.own(), &one), (one.on_its_way(), &one), (two.on_its_way(), &two)] {
        let copy = store.copy(&place, expecting(&version.kept.binding), &object("b"), PutOptions::any()).await.unwrap();
        let bytes = read(&store, &at("b", copy.location), expecting(&copy.binding)).await.unwrap();
        assert_eq!(bytes, pattern(version.n, 20 + version.n as usize));
    }
    let other = store.copy(&one.own(), expecting(&two.kept.binding), &object("b"), PutOptions::any()).await;
    assert!(matches!(other, Err(Error::Changed)), "{other:?}");
}

/// Keys that are odd for what follows them in an own name, too.
fn own_odd_keys() -> Vec<String> {
    let id = write_id(1);
    let mut keys = odd_keys();
    keys.extend(["@", "a@", "a@x", "@x", "a/@", "a@/b", "a/@x/b", "a!", "a!/b", "aA"].map(str::to_owned));
    keys.extend([id.to_string(), format!("@{id}"), format!("a@{id}"), format!("a@{id}/b"), format!("a/@{id}")]);
    keys.extend([219, 220, 230].map(|size| "y".repeat(size)));
    keys
}

pub(crate) async fn any_legal_key_has_own_names(store: Store) {
    let store = with_bucket(store).await;
    // The order decides which of two neighbours comes second, so both orders are tried.
    for backwards in [false, true] {
        let mut order = own_odd_keys();
        if backwards {
            order.reverse();
        }
        let mut versions = Vec::new();
        for key in &order {
            versions.push(Version::published(&store, key, 1).await);
            versions.push(Version::published(&store, key, 2).await);
        }
        for version in &versions {
            version.is_there(&store).await;
        }
        let mut sorted: Vec<_> = versions.iter().map(|version| (version.key.clone(), write_id(version.n))).collect();
        sorted.sort();
        assert_eq!(in_order(listed(&store, None).await), sorted);
        assert_eq!(keys(&store).await, [""; 0]);
        let moved: Vec<_> = versions.iter().map(Version::on_its_way).collect();
        store.harden(&moved).await.unwrap();
        for version in &versions {
            store.release(&version.on_its_way()).await;
            version.delete(&store).await;
            version.is_gone(&store).await;
        }
        store.harden(&versions.iter().map(Version::own).collect::<Vec<_>>()).await.unwrap();
        assert_eq!(listed(&store, None).await, []);
    }
    store.delete_bucket(&bucket()).await.unwrap();
}

pub(crate) async fn a_listing_of_own_names_goes_on_after_any_of_them(store: Store) {
    let store = with_bucket(store).await;
    let mut all = Vec::new();
    for key in own_odd_keys() {
        for n in [2, 4] {
            Version::published(&store, &key, n).await;
            all.push((key.clone(), write_id(n)));
        }
    }
    let told = listed(&store, None).await;
    all.sort();
    assert_eq!(in_order(told.clone()), all);
    for (n, (key, write)) in told.iter().enumerate().step_by(13) {
        let got = listed(&store, Some((Key::new(key).unwrap(), *write))).await;
        assert_eq!(got, told[n + 1..], "after {key:?} {write}");
    }
    // A store with an order of its own has no place for what it does not hold.
    if told != all {
        return;
    }
    let between = ["fo", "foo,", "foo/a", "a/b/b", "zzz", "\u{10FFFF}\u{10FFFF}", "a@", "A@0", "xx"];
    let between = between.into_iter().flat_map(|key| [1, 3, 5].map(|n| (key.to_owned(), write_id(n))));
    let same_keys = all.iter().step_by(31).flat_map(|(key, _)| [1, 3, 5].map(|n| (key.clone(), write_id(n))));
    for (key, write) in all.iter().step_by(13).cloned().chain(same_keys).chain(between) {
        let after = (key, write);
        let want: Vec<_> = all.iter().filter(|one| **one > after).cloned().collect();
        let got = listed(&store, Some((Key::new(&after.0).unwrap(), after.1))).await;
        assert_eq!(got, want, "after {after:?}");
    }
}

/// More than any page holds, as one key that is written again and again has them.
pub(crate) async fn many_versions_of_one_key_are_listed_once_each(store: Store) {
    let store = with_bucket(store).await;
    let numbers = || (0..40_u64).map(|n| (n * 17) % 40);
    for n in numbers() {
        Version::published(&store, "d/a", n).await;
    }
    Version::published(&store, "d/a!", 0).await;
    Version::published(&store, "d/a/b", 0).await;
    let mut want: Vec<_> = numbers().map(|n| ("d/a".to_owned(), write_id(n))).collect();
    want.sort();
    want.extend(["d/a!", "d/a/b"].map(|key| (key.to_owned(), write_id(0))));
    assert_eq!(in_order(listed(&store, None).await), want);
    let found: Vec<FoundOwn> = store.list_own(&bucket(), None).try_collect().await.unwrap();
    for one in found {
        let place = at(one.found.key.as_str(), Location::Own(one.write));
        let looked = store.head(&place).await.unwrap();
        assert_eq!((&looked.key, looked.size, &looked.binding), (&one.found.key, one.found.size, &one.found.binding));
    }
}

pub(crate) async fn a_bucket_with_own_names_left_stays(store: Store) {
    let store = with_bucket(store).await;
    let version = Version::published(&store, "a/b/c", 1).await;
    let refused = store.delete_bucket(&bucket()).await;
    assert!(matches!(refused, Err(Error::NotEmpty(_))), "{refused:?}");
    version.is_there(&store).await;
    assert_eq!(store.list_buckets().await.unwrap(), [bucket()]);
    version.delete(&store).await;
    store.delete_bucket(&bucket()).await.unwrap();
    assert_eq!(store.list_buckets().await.unwrap(), []);
    store.create_bucket(&bucket()).await.unwrap();
    assert_eq!(listed(&store, None).await, []);
    Version::published(&store, "a/b", 2).await.is_there(&store).await;
}

pub(crate) async fn own_names_need_a_bucket(store: Store) {
    let version = Version::staged(&store, "a", 1).await;
    assert!(matches!(version.publish(&store).await, Err(Error::NoSuchBucket)));
    assert!(matches!(store.head(&version.own()).await, Err(Error::NoSuchBucket)));
    assert!(matches!(store.get(&version.own(), GetOptions::default()).await, Err(Error::NoSuchBucket)));
    assert!(matches!(store.list_own(&bucket(), None).next().await, Some(Err(Error::NoSuchBucket))));
    version.delete(&store).await;
    store.harden(&[version.own()]).await.unwrap();
    store.create_bucket(&bucket()).await.unwrap();
    assert_eq!(version.publish(&store).await.unwrap(), Published::Done);
    version.is_there(&store).await;
}

/// Either the bytes come first and the bucket stays, or they learn that it is gone.
pub(crate) async fn a_bucket_never_goes_under_own_names(store: Store) {
    for n in 0..60 {
        let store = with_bucket(store.clone()).await;
        let version = Version::staged(&store, "d/a", n).await;
        let (published, deleted) = tokio::join!(
            tokio::spawn({
                let (store, place, binding) = (store.clone(), version.on_its_way(), version.kept.binding.clone());
                async move { store.publish(&place, &binding).await }
            }),
            tokio::spawn({
                let store = store.clone();
                async move { store.delete_bucket(&bucket()).await }
            })
        );
        match (published.unwrap(), deleted.unwrap()) {
            (Ok(Published::Done), Err(Error::NotEmpty(_))) => version.is_there(&store).await,
            (Err(Error::NoSuchBucket), Ok(())) => {
                store.create_bucket(&bucket()).await.unwrap();
                assert_eq!(listed(&store, None).await, []);
            }
            other => panic!("{other:?}"),
        }
        store.release(&version.on_its_way()).await;
        version.delete(&store).await;
        store.delete_bucket(&bucket()).await.unwrap();
    }
}

pub(crate) async fn recovery_keeps_what_is_on_its_way_to_an_own_name(store: Store) {
    let store = with_bucket(store).await;
    let (kept, lost) = (Version::staged(&store, "a", 1).await, Version::staged(&store, "a", 2).await);
    let settled = Version::published(&store, "a", 3).await;
    store.recover(&[kept.on_its_way()]).await.unwrap();
    for n in 0..20 {
        write(&store, "b", &pattern(n, 10)).await;
    }
    assert_eq!(read(&store, &kept.on_its_way(), expecting(&kept.kept.binding)).await.unwrap(), pattern(1, 21));
    assert_eq!(kept.publish(&store).await.unwrap(), Published::Done);
    kept.is_there(&store).await;
    settled.is_there(&store).await;
    lost.is_gone(&store).await;
}

/// Directories that come and go under many hands, and files that are written again at once.
pub(crate) async fn own_names_do_not_disturb_each_other(store: Store) {
    let store = with_bucket(store).await;
    let still = Version::published(&store, "n/n", 1_000).await;
    let tasks = ["n", "n/n", "n/n/n", "n/m", "n/"].map(|key| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..40 {
                let plain_one = write(&store, key, &pattern(n, 50)).await;
                let version = Version::published(&store, key, n).await;
                version.is_there(&store).await;
                version.delete(&store).await;
                version.is_gone(&store).await;
                let place = settled(key, &plain_one);
                delete(&store, &place, &plain_one.binding).await;
                store.harden(&[place, version.own()]).await.unwrap();
                store.release(&version.on_its_way()).await;
                store.release(&at(key, plain_one.location)).await;
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    still.is_there(&store).await;
    still.delete(&store).await;
    assert_eq!(listed(&store, None).await, []);
    store.delete_bucket(&bucket()).await.unwrap();
}
