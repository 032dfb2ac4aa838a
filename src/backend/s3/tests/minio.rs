//! Over MinIO, which has conditions and versions, and refuses keys with an empty segment or one of dots.

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
    is_ready(address).await;
    (store_at(address).await, gateway)
}

/// It takes connections before it answers them.
async fn is_ready(address: SocketAddr) {
    for _ in 0..600 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /minio/health/cluster HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        if answer.starts_with(b"HTTP/1.1 200") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the MinIO at {address} does not get ready");
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
