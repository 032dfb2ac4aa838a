//! Over versitygw, a gateway over directories.

use super::*;

/// The program that `make conformance` names.
async fn gateway() -> (Arc<Store<S3>>, Gateway) {
    let program = std::env::var_os("ANYBUCKET_VERSITYGW").expect("ANYBUCKET_VERSITYGW names the program");
    let (dir, address) = (tempfile::tempdir().unwrap(), free_address().await);
    let mut run = std::process::Command::new(program);
    run.args(["--port", &address.to_string(), "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet", "posix"]);
    let gateway = Gateway::start(run.arg(dir.path()), dir, address).await;
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
