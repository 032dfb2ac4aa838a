//! Over S3Proxy, which lists in the order of UTF-16, reads headers before it opens the body, and says of a name that it cannot
//! hold that it broke.

use super::*;

/// The jar that `make conformance` names, on the Java of the path.
async fn proxy() -> (Arc<Store<S3>>, Gateway) {
    let jar = std::env::var_os("ANYBUCKET_S3PROXY").expect("ANYBUCKET_S3PROXY names the jar");
    let (dir, address) = (tempfile::tempdir().unwrap(), free_address().await);
    let (objects, properties) = (dir.path().join("objects"), dir.path().join("s3proxy.properties"));
    std::fs::create_dir(&objects).unwrap();
    let said = [
        ("s3proxy.endpoint", format!("http://{address}")),
        ("s3proxy.authorization", "aws-v2-or-v4".to_owned()),
        ("s3proxy.identity", ACCESS_KEY.to_owned()),
        ("s3proxy.credential", SECRET_KEY.to_owned()),
        ("jclouds.provider", "filesystem-nio2".to_owned()),
        ("jclouds.filesystem.basedir", objects.display().to_string()),
    ];
    std::fs::write(&properties, said.map(|(name, value)| format!("{name}={value}\n")).concat()).unwrap();
    let mut run = std::process::Command::new("java");
    run.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar"]).arg(jar).arg("--properties").arg(properties);
    let gateway = Gateway::start(&mut run, dir, address).await;
    (store_at(address).await, gateway)
}

crate::backend::conformance::passes_gateway_conformance! {
    [#[ignore = "needs an S3Proxy: make conformance"]] proxy().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an S3Proxy: make conformance"]
async fn what_would_spoil_the_order_of_keys_stays_at_names_of_ours() {
    let (store, _proxy) = proxy().await;
    store.create_bucket(&object("-").bucket).await.unwrap();
    for (n, key) in ["\u{FF5E}", "\u{1F600}", "a/\u{1F600}", "a/é"].into_iter().enumerate() {
        let kept = put(&store, key, n as u64, &bytes(10 + n)).await;
        assert_eq!(kept.location == Location::Own(write_id(n as u64)), n < 3, "{key}");
        store.publish(&at(key, kept.location.clone()), &kept.binding).await.unwrap();
        assert_eq!(read(&store, &at(key, kept.location), Some(&kept.binding)).await.unwrap(), bytes(10 + n));
    }
    assert_eq!(listed(&store).await, ["a/é"]);
    assert_eq!(own_names(&store).await, 4, "and are listed in whatever order");
    let client = store.service().caller.client();
    for key in ["\u{FF5E}", "\u{1F600}"] {
        client.put_object().bucket("bucket").key(key).send().await.unwrap();
    }
    let misled: Result<Vec<Found>> = store.list(&object("-").bucket, None).try_collect().await;
    assert!(matches!(&misled, Err(Error::Unavailable(reason)) if reason.contains("out of byte order")), "{misled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an S3Proxy: make conformance"]
async fn of_a_key_and_one_below_it_the_later_stays_at_its_own_name() {
    let (store, _proxy) = proxy().await;
    store.create_bucket(&object("-").bucket).await.unwrap();
    for (n, (first, second)) in [("a", "a/b/c"), ("d/e/f", "d")].into_iter().enumerate() {
        let (one, two) =
            (put(&store, first, 2 * n as u64, &bytes(10)).await, put(&store, second, 2 * n as u64 + 1, &bytes(20)).await);
        assert_eq!(store.publish(&at(first, one.location), &one.binding).await.unwrap(), Published::Done);
        assert_eq!(store.publish(&at(second, two.location.clone()), &two.binding).await.unwrap(), Published::Stays);
        store.harden(&[at(second, Location::Plain)]).await.expect("no copy is under way there");
        assert_eq!(read(&store, &at(second, two.location), Some(&two.binding)).await.unwrap(), bytes(20));
    }
    assert_eq!(listed(&store).await, ["a", "d/e/f"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an S3Proxy: make conformance"]
async fn names_that_the_service_keeps_for_itself_are_stored_and_found() {
    let (store, _proxy) = proxy().await;
    store.create_bucket(&object("-").bucket).await.unwrap();
    let long = format!("{}/{}", "x".repeat(180), "y".repeat(180));
    for (n, key) in [".mpus-x", "a/.mpus-x", ".s3proxy-versions/a", "a/.s3proxy-slash", long.as_str()].into_iter().enumerate() {
        let kept = put(&store, key, n as u64, &bytes(10 + n)).await;
        store.publish(&at(key, kept.location.clone()), &kept.binding).await.unwrap();
        assert_eq!(read(&store, &at(key, kept.location), Some(&kept.binding)).await.unwrap(), bytes(10 + n));
        assert_eq!(own_names(&store).await, n + 1, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an S3Proxy: make conformance"]
async fn a_long_range_is_copied() {
    let (store, _proxy) = proxy().await;
    a_long_range_is_copied_by_the_service(&store).await;
}
