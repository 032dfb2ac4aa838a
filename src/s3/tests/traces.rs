//! What a log says of a request, down to the calls to a store.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::{Dispatch, Level};
use tracing_subscriber::{fmt, registry};

use super::super::Settings;
use super::super::testing::{Reply, server_over};
use crate::backend::service::Late;
use crate::site::testing::open;
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::{Options, Status};

/// Log lines as JSON.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Those with all of these words.
    fn with(&self, words: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
    }
}

fn id(reply: &Reply) -> String {
    reply.header("x-amz-request-id").unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_a_store_is_asked_is_told_under_the_id_of_the_request() {
    let lines = Lines::default();
    let writer = lines.clone();
    let told = fmt().json().with_max_level(Level::DEBUG).with_writer(move || writer.clone()).finish();
    // Where there is but one, a thread of another test that comes to an event first decides for all that nobody listens.
    let _other = Dispatch::new(registry());
    let _told = tracing::subscriber::set_default(told);
    let status = Status::open_inline(Forgetful::new(Power::on()), &Options::default()).unwrap();
    let (site, _workers) = open(Late::new(1, false).open().await, status).await;
    let server = server_over(site, Settings::default()).await;

    let put = id(&server.put("a", "bytes").await);
    let stored = lines.with(&[&put, "called the store", "storing bytes", "late anybucket-home", "bucket/a", r#""attempt":1"#]);
    assert_eq!(stored.len(), 1, "{:?}", lines.with(&["called the store"]));
    let get = id(&server.get("a").await);
    let read = lines.with(&[&get, "called the store", "reading an object", "bucket/a", r#""outcome":"ok""#]);
    assert_eq!(read.len(), 1, "{:?}", lines.with(&["called the store"]));
}
