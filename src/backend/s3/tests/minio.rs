//! Over MinIO, which has conditions and versions, no `a` beside `a/b`, and refuses keys with an empty segment or one of dots.

use std::io;
use std::time::Duration;

use aws_sdk_s3::types::BucketVersioningStatus;
use tokio::time::{sleep, timeout};

use super::*;

/// The program that `make minio` builds.
async fn minio() -> (Arc<Store<S3>>, Gateway) {
    let program = std::env::var_os("ANYBUCKET_MINIO").expect("ANYBUCKET_MINIO names the program");
    let (dir, address) = (tempfile::tempdir().unwrap(), free_address().await);
    let mut run = std::process::Command::new(program);
    run.args(["server", "--quiet", "--address", &address.to_string()]);
    run.args(["--console-address", &free_address().await.to_string()]).arg(dir.path().join("objects"));
    run.envs([("MINIO_ROOT_USER", ACCESS_KEY), ("MINIO_ROOT_PASSWORD", SECRET_KEY), ("MINIO_BROWSER", "off")]);
    let gateway = Gateway::start(&mut run, dir, address).await;
    becomes_ready(address).await;
    (store_at(address).await, gateway)
}

/// It takes connections before it answers them.
async fn becomes_ready(address: SocketAddr) {
    let ready = async {
        while !is_ready(address).await.unwrap_or(false) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(60), ready).await.unwrap_or_else(|_| panic!("the MinIO at {address} does not get ready"));
}

async fn is_ready(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /minio/health/cluster HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

crate::backend::conformance::passes_gateway_conformance! {
    [#[ignore = "needs a MinIO: make minio"]] minio().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a MinIO: make minio"]
async fn a_long_range_is_copied() {
    let (store, _minio) = minio().await;
    a_long_range_is_copied_by_the_service(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a MinIO: make minio"]
async fn it_keeps_no_versions_of_ours() {
    let (store, _minio) = minio().await;
    store.create_bucket(&object("-").bucket).await.unwrap();
    versioned::set_versioning(&store, "bucket", BucketVersioningStatus::Enabled).await;
    versioned::nothing_stays_at_names_of_ours(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a MinIO: make minio"]
async fn its_versions_are_read_and_removed_by_its_names() {
    let (store, _minio) = minio().await;
    versioned::versions_of_others_are_read_and_removed_one_by_one(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a MinIO: make minio"]
async fn a_delete_marker_keeps_what_is_below_from_its_name() {
    let (store, _minio) = minio().await;
    store.create_bucket(&object("-").bucket).await.unwrap();
    versioned::set_versioning(&store, "bucket", BucketVersioningStatus::Enabled).await;
    versioned::put_theirs(&store, "a", "theirs").await;
    store.service().caller.client().delete_object().bucket("bucket").key("a").send().await.unwrap();
    let kept = put(&store, "a/b", 1, &bytes(10)).await;
    assert_eq!(store.publish(&at("a/b", kept.location.clone()), &kept.binding).await.unwrap(), Published::Stays);
    assert_eq!(read(&store, &at("a/b", kept.location), Some(&kept.binding)).await.unwrap(), bytes(10));
}
