//! Keys and buckets, however odd.

use futures::stream::{StreamExt, TryStreamExt};

use super::{
    Store, agrees, at, bucket, delete, expecting, is_plain, keys, object, pattern, plain, publish, read, settled, stage,
    with_bucket, write,
};
use crate::backend::{Error, Found, GetOptions, Published, PutOptions};
use crate::model::{BucketName, Key};

/// Keys that a careless mapping onto names confuses with each other or cannot hold.
pub(crate) fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "a/",
        "a//",
        "a//b",
        "a/b",
        "a/b/",
        "a/b/c",
        "/",
        "//",
        "/a",
        "//a",
        ".",
        "..",
        "./",
        "../",
        "/.",
        "/..",
        "a/.",
        "a/..",
        "a/./b",
        "a/../b",
        "../../etc/passwd",
        "...",
        ".a",
        "a.",
        "%",
        "%%",
        "a%",
        "a%f",
        "a%d",
        "a%d/b",
        "a%f/b",
        "%e",
        "%e/",
        "a/%e",
        "%25",
        "%2E",
        "%2e",
        "%00",
        "a%2Fb",
        "%+",
        "a%+",
        "a%+/b",
        "\0",
        "a\0",
        "a\0b",
        "a\0/b",
        "\u{1}",
        "\n",
        "\r\n",
        "a\tb",
        "\u{7f}",
        " ",
        " a",
        "a ",
        "a b",
        "+",
        "a+b",
        "\\",
        "a\\b",
        "a:b",
        "a*b?",
        "\"'",
        "<&>",
        "foo",
        "foo-",
        "foo/",
        "foo-/bar",
        "foo/bar",
        "foo0",
        "foo.txt",
        "foo!/a",
        "A",
        "é",
        "e\u{301}",
        "ü/ß",
        "\u{FFFD}",
        "\u{E000}",
        "\u{FFFF}",
        "\u{10000}",
        "\u{1F600}",
        "\u{20000}",
        "\u{30000}",
        "\u{E0100}",
        "\u{F0000}",
        "\u{10FFFF}",
        "\u{D7FF}",
        "\u{E000}/a",
        "\u{1F600}/a",
        ".anybucket",
        ".anybucket/staging/0000000000000000",
        "bucket",
    ]
    .map(str::to_owned)
    .into();
    let x240 = "x".repeat(240);
    keys.extend(["", "y", "-", "/", "/y", "0", "."].map(|end| format!("{x240}{end}")));
    keys.extend(["x".repeat(239), "x".repeat(255), "x".repeat(256), "x".repeat(1024), "%".repeat(1024), "\0".repeat(1024)]);
    keys.extend(["é".repeat(512), "\u{1F600}".repeat(256), "/".repeat(60), "./".repeat(30), "../".repeat(30)]);
    keys.extend([format!("{}/b", "z".repeat(1022)), format!("{}.", "w".repeat(1023)), format!("{}..", "v".repeat(480))]);
    keys
}

pub(crate) async fn any_legal_key_round_trips(store: Store) {
    let store = with_bucket(store).await;
    // The order decides which of two neighbours comes second, so both orders are tried.
    for backwards in [false, true] {
        let mut order = odd_keys();
        if backwards {
            order.reverse();
        }
        let mut held = Vec::new();
        for (n, key) in order.iter().enumerate() {
            held.push(write(&store, key, &pattern(n as u64, 20 + n)).await);
        }
        for (n, (key, kept)) in order.iter().zip(&held).enumerate() {
            let got = read(&store, &settled(key, kept), expecting(&kept.binding)).await;
            assert_eq!(got.unwrap(), pattern(n as u64, 20 + n), "{key:?}");
        }
        let mut sorted: Vec<_> = order.iter().zip(&held).filter(|(_, kept)| is_plain(kept)).map(|(key, _)| key).collect();
        sorted.sort();
        assert!(sorted.len() > order.len() / 3, "most keys have a name that others see: {sorted:?}");
        assert_eq!(keys(&store).await.iter().collect::<Vec<_>>(), sorted);
        let moved: Vec<_> = order.iter().zip(&held).map(|(key, kept)| settled(key, kept)).collect();
        store.harden(&moved).await.unwrap();
        for (key, kept) in order.iter().zip(held) {
            let place = settled(key, &kept);
            store.release(&at(key, kept.location)).await;
            delete(&store, &place, &kept.binding).await;
            assert!(matches!(store.head(&place).await, Err(Error::NotFound)), "{key:?}");
        }
        store.harden(&moved).await.unwrap();
        assert_eq!(keys(&store).await, [""; 0]);
    }
    store.delete_bucket(&bucket()).await.unwrap();
}

pub(crate) async fn a_listing_is_in_byte_order_of_keys(store: Store) {
    let store = with_bucket(store).await;
    let mut want = [
        "foo",
        "foo!",
        "foo!a/b",
        "foo-",
        "foo-/x",
        "foo.",
        "foo/",
        "foo/-",
        "foo//",
        "foo//a",
        "foo/a",
        "foo0",
        "\u{E000}",
        "\u{FFFF}",
        "\u{10000}",
    ]
    .map(str::to_owned)
    .to_vec();
    for key in want.clone().iter().rev() {
        let kept = write(&store, key, &pattern(1, 3)).await;
        want.retain(|one| one != key || is_plain(&kept));
    }
    want.sort();
    let found: Vec<Found> = store.list(&bucket(), None).try_collect().await.unwrap();
    assert_eq!(found.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), want);
    for one in found {
        let looked = store.head(&plain(one.key.as_str())).await.unwrap();
        assert!(agrees(&one, &looked), "{one:?} {looked:?}");
    }
}

pub(crate) async fn a_listing_goes_on_after_any_key(store: Store) {
    let store = with_bucket(store).await;
    let mut all = odd_keys();
    for key in all.clone() {
        let kept = write(&store, &key, &pattern(1, 3)).await;
        all.retain(|one| *one != key || is_plain(&kept));
    }
    all.sort();
    let between =
        ["fo", "foo,", "foo/a", "a/b/b", "zzz", "\u{10FFFF}\u{10FFFF}", "\u{1}\u{1}", "xx", "a/a/a/a"].map(str::to_owned);
    for after in all.iter().chain(&between) {
        let after = Key::new(after).unwrap();
        let found: Vec<Found> = store.list(&bucket(), Some(&after)).try_collect().await.unwrap();
        let found: Vec<_> = found.iter().map(|found| found.key.as_str()).collect();
        let want: Vec<_> = all.iter().map(String::as_str).filter(|key| *key > after.as_str()).collect();
        assert_eq!(found, want, "after {after:?}");
    }
}

pub(crate) async fn a_name_is_never_taken_for_another(store: Store) {
    let store = with_bucket(store).await;
    let bytes = pattern(1, 10);
    let kept = [write(&store, "k", &bytes).await, write(&store, "f/k", &bytes).await];
    for odd in ["k/", "k//", "./k", "/k", "f/../k", "f//k", "f/./k", "f/k/", "f/k/."] {
        let looked = store.head(&plain(odd)).await;
        assert!(matches!(looked, Err(Error::NotFound)), "{odd}: {looked:?}");
        let opened = store.get(&plain(odd), GetOptions::default()).await.map(|fetched| fetched.found);
        assert!(matches!(opened, Err(Error::NotFound)), "{odd}: {opened:?}");
        for kept in &kept {
            let copied = store.copy(&plain(odd), expecting(&kept.binding), &object("copy"), PutOptions::any()).await;
            assert!(matches!(copied, Err(Error::NotFound)), "{odd}: {copied:?}");
            delete(&store, &plain(odd), &kept.binding).await;
        }
    }
    for (key, kept) in ["k", "f/k"].iter().zip(&kept) {
        assert_eq!(read(&store, &plain(key), expecting(&kept.binding)).await.unwrap(), bytes);
    }
}

/// Publishes, and answers the key if it is to be listed then. Its bytes are read wherever they are.
async fn published(store: Store, key: String) -> Option<String> {
    let bytes = pattern(1, 10);
    let kept = stage(&store, &key, &bytes).await;
    let (place, is_there) = match publish(&store, &key, &kept).await.unwrap() {
        Published::Done => (settled(&key, &kept), is_plain(&kept)),
        said => {
            assert_eq!(said, Published::Stays, "{key}");
            (at(&key, kept.location.clone()), false)
        }
    };
    assert_eq!(read(&store, &place, expecting(&kept.binding)).await.unwrap(), bytes, "{key}");
    is_there.then_some(key)
}

/// Some services take a key below another, and leave it out of listings.
pub(crate) async fn what_comes_to_its_name_is_listed(store: Store) {
    let store = with_bucket(store).await;
    let mut listed = Vec::new();
    for key in ["a", "a/b", "c/d", "c", "e/f/g", "e/f", "e", "h/i"] {
        listed.extend(published(store.clone(), key.to_owned()).await);
    }
    for n in 0..20 {
        let names = [format!("n{n}"), format!("n{n}/m"), format!("n{n}/m/o")];
        let at_once = names.map(|key| tokio::spawn(published(store.clone(), key)));
        for came in at_once {
            listed.extend(came.await.unwrap());
        }
    }
    listed.sort();
    assert_eq!(keys(&store).await, listed);
}

pub(crate) async fn buckets_come_and_go(store: Store) {
    let names = ["aaa", "a.b", "a-b", "zz9", "b01"].map(|name| BucketName::new(name).unwrap());
    assert_eq!(store.list_buckets().await.unwrap(), []);
    let mut sorted = Vec::new();
    for name in names.iter().chain(&names) {
        match store.create_bucket(name).await {
            // Some services have no dots there.
            Err(Error::Name(_)) if name.as_str().contains('.') => {}
            made => made.map(|()| sorted.push(name.clone())).unwrap(),
        }
    }
    sorted.sort();
    sorted.dedup();
    assert_eq!(store.list_buckets().await.unwrap(), sorted);
    for name in names.iter().chain(&names) {
        store.delete_bucket(name).await.unwrap();
    }
    assert_eq!(store.list_buckets().await.unwrap(), []);
}

pub(crate) async fn a_bucket_with_something_in_it_stays(store: Store) {
    let store = with_bucket(store).await;
    let kept = write(&store, "a/b/c", &pattern(1, 10)).await;
    let refused = store.delete_bucket(&bucket()).await;
    assert!(matches!(refused, Err(Error::NotEmpty(_))), "{refused:?}");
    assert_eq!(read(&store, &plain("a/b/c"), expecting(&kept.binding)).await.unwrap(), pattern(1, 10));
    delete(&store, &plain("a/b/c"), &kept.binding).await;
    store.delete_bucket(&bucket()).await.unwrap();
    store.create_bucket(&bucket()).await.unwrap();
    assert_eq!(keys(&store).await, [""; 0]);
    write(&store, "a/b", &pattern(2, 10)).await;
    assert_eq!(keys(&store).await, ["a/b"]);
}

pub(crate) async fn a_missing_bucket_is_told(store: Store) {
    let kept = stage(&store, "a", &pattern(1, 10)).await;
    assert!(matches!(publish(&store, "a", &kept).await, Err(Error::NoSuchBucket)));
    assert!(matches!(store.head(&plain("a")).await, Err(Error::NoSuchBucket)));
    assert!(matches!(store.get(&plain("a"), GetOptions::default()).await, Err(Error::NoSuchBucket)));
    assert!(matches!(store.list(&bucket(), None).next().await, Some(Err(Error::NoSuchBucket))));
    delete(&store, &plain("a"), &kept.binding).await;
    store.harden(&[plain("a")]).await.unwrap();
    store.create_bucket(&bucket()).await.unwrap();
    assert_eq!(publish(&store, "a", &kept).await.unwrap(), Published::Done);
}
