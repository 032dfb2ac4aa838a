//! The same promises over fake-gcs-server, so that our fake is not its own only witness. What that one does not know is not
//! asked of it: conditions but for those of uploads, which are not used, and multipart uploads.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::{BUCKET, Gcs, Keys, Service, Settings};

struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program that `make conformance` names.
async fn over_emulator() -> (Gcs, Emulator) {
    let program = std::env::var_os("ANYBUCKET_FAKE_GCS").expect("ANYBUCKET_FAKE_GCS names the program");
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut run = Command::new(program);
    run.args(["-backend", "memory", "-scheme", "http", "-log-level", "error", "-host", "127.0.0.1"]);
    run.args(["-port", &address.port().to_string(), "-public-host", &address.to_string()]);
    let emulator = Emulator(run.stdout(Stdio::null()).spawn().unwrap());
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let settings = Settings::at(Some(format!("http://{address}")), "my-project", "a-home");
    let gcs = Gcs::new(Settings { anonymous: true, ..settings }, Keys::Default).unwrap();
    gcs.make_bucket(BUCKET).await.unwrap();
    (gcs, emulator)
}

super::keeps_promises!([#[ignore = "needs fake-gcs-server: make conformance"]] over_emulator().await);
