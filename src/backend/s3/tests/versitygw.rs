//! Over versitygw, a gateway over directories.

use std::ffi::OsString;
use std::path::Path;

use super::*;

/// The program that `make conformance` names.
async fn gateway() -> (Arc<Store<S3>>, Gateway) {
    gateway_with(|_| Vec::new()).await
}

/// The same, where buckets may have versions.
pub(super) async fn versioned_gateway() -> (Arc<Store<S3>>, Gateway) {
    gateway_with(|dir| {
        let versions = dir.join("versions");
        std::fs::create_dir(&versions).unwrap();
        vec!["--versioning-dir".into(), versions.into()]
    })
    .await
}

async fn gateway_with(arguments: impl Fn(&Path) -> Vec<OsString>) -> (Arc<Store<S3>>, Gateway) {
    let program = std::env::var_os("ANYBUCKET_VERSITYGW").expect("ANYBUCKET_VERSITYGW names the program");
    let (dir, address) = (tempfile::tempdir().unwrap(), free_address().await);
    let mut run = std::process::Command::new(program);
    run.args(["--port", &address.to_string(), "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet", "posix"]);
    let buckets = dir.path().join("buckets");
    std::fs::create_dir(&buckets).unwrap();
    run.args(arguments(dir.path())).arg(buckets);
    let gateway = Gateway::start(&mut run, dir, address).await;
    (store_at(address).await, gateway)
}

crate::backend::conformance::passes_gateway_conformance! {
    [#[ignore = "needs a versitygw: make conformance"]] gateway().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a versitygw: make conformance"]
async fn a_long_range_is_copied() {
    let (store, _gateway) = gateway().await;
    a_long_range_is_copied_by_the_service(&store).await;
}
