//! The service as its documentation tells it, for tests: what no emulator has, and what goes wrong on demand.
//!
//! One map, one lock. It knows JSON for objects and buckets, XML for multipart uploads, and no sizes beyond memory.

mod ask;
mod json;
mod media;
mod reply;
mod world;
mod xml;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use ask::Ask;
use reply::{Body, Reply};
use world::World;
pub(super) use xml::PART_BYTES_MIN;

/// What goes wrong once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trick {
    /// The next call is refused, and not done.
    Refuse(u16, &'static str),
    /// The next call is done, and half of its answer comes.
    Half,
    /// The next answer that brings an object's bytes brings half of them.
    HalfMedia,
    /// The next copy wants to be asked to go on.
    Step,
    /// The next end of an upload begins well, and fails.
    LateError,
    /// The next end of an upload begins well, and does not say what became of it.
    LateSilence,
    /// The next page of a listing is empty, and not the last.
    EmptyPage,
    /// The next look is at what is replaced right after it.
    Replace,
}

/// A service, which ends with the test.
pub(super) struct Fake {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
    task: JoinHandle<()>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, world) = (listener.local_addr().unwrap(), Arc::<Mutex<World>>::default());
        let task = tokio::spawn(serve(listener, world.clone()));
        Self { address, world, task }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// What goes wrong next, in this order.
    pub fn play(&self, tricks: &[Trick]) {
        self.world().tricks.extend(tricks);
    }
}

/// The service for other programs, until it is ended: compat-tests/stores.py.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves until it is killed"]
async fn serves_others() {
    let port = std::env::var("ANYBUCKET_FAKE_GCS_PORT").expect("ANYBUCKET_FAKE_GCS_PORT says where");
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    serve(listener, Arc::default()).await;
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, world: Arc<Mutex<World>>) {
    // They end with the listener.
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        connection.set_nodelay(true).unwrap();
        let world = world.clone();
        let service = service_fn(move |request| answer(world.clone(), request));
        connections.spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(connection), service).await;
        });
    }
}

/// A request whose body breaks is none.
async fn answer(world: Arc<Mutex<World>>, request: http::Request<Incoming>) -> Result<http::Response<Body>, hyper::Error> {
    let ask = Ask::read(request).await?;
    let mut world = world.lock().unwrap();
    let reply = refusal(&mut world, &ask).unwrap_or_else(|| match ask.path[0].as_str() {
        "token" => world.grant(),
        "storage" => json::answer(&mut world, &ask),
        "upload" => media::store(&mut world, &ask),
        _ => xml::answer(&mut world, &ask),
    });
    let is_media = ask.query("alt").is_some();
    let is_half = world.plays(|trick| (*trick == Trick::Half || *trick == Trick::HalfMedia && is_media).then_some(())).is_some();
    Ok(reply.response(is_half))
}

fn refusal(world: &mut World, ask: &Ask) -> Option<Reply> {
    if ask.path[0] == "token" {
        return None;
    }
    let refused = world.plays(|trick| match trick {
        Trick::Refuse(status, reason) => Some((*status, *reason)),
        _ => None,
    });
    if let Some((status, reason)) = refused {
        return Some(Reply::refused(status, reason, "as the test wants it"));
    }
    let token = world.token.as_ref()?;
    let is_known = ask.header("authorization") == Some(&format!("Bearer {token}"));
    (!is_known).then(|| Reply::refused(401, "authError", "Invalid Credentials"))
}
