//! The store over services of S3: our own face in this process, and others where they are at hand.

mod chain;
mod minio;
mod s3proxy;
mod versioned;
mod versitygw;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use futures::stream::{self, TryStreamExt};
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use crate::backend::{Attributes, Body, Error, Found, GetOptions, Kept, Place, Published, PutOptions};
use crate::model::{Binding, BucketName, Incarnation, Key, Location, ObjectId, WriteId};
use crate::s3::testing::{ACCESS_KEY, Call, SECRET_KEY, server};

/// Ends a task with the test.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Our own face over memory, behind a socket.
async fn face() -> (SocketAddr, Task) {
    let server = server().await;
    assert_eq!(server.send(Call::new("DELETE", "/bucket")).await.status, 204);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        // They end with the listener.
        let mut connections = JoinSet::new();
        while let Ok((connection, _)) = listener.accept().await {
            connection.set_nodelay(true).unwrap();
            let layer = server.layer.clone();
            let service = hyper::service::service_fn(move |request| {
                assert_one_encoding(&request);
                layer.call(request)
            });
            connections.spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(connection), service).await;
            });
        }
    });
    (address, Task(task))
}

/// Some services look at one line only.
fn assert_one_encoding<B>(request: &http::Request<B>) {
    assert!(request.headers().get_all(http::header::CONTENT_ENCODING).iter().count() < 2, "{:?}", request.headers());
}

fn keys() -> Login {
    with_secret(SECRET_KEY)
}

fn with_secret(secret_key: &'static str) -> Login {
    let keys = move || Keys { access_key: ACCESS_KEY.to_owned(), secret_key: secret_key.to_owned(), session_token: None };
    Login::Keys(Arc::new(move || Ok(keys())))
}

async fn store_at(address: SocketAddr) -> Arc<Store<S3>> {
    let settings = Settings::at(Some(format!("http://{address}")), "anybucket-home");
    Arc::new(connect(settings, keys()).await.unwrap())
}

async fn over_our_face() -> (Arc<Store<S3>>, Task) {
    let (address, task) = face().await;
    (store_at(address).await, task)
}

mod our_face {
    use super::*;

    crate::backend::conformance::passes_naming_conformance!(over_our_face().await);
}

/// The same, where every write is acknowledged from a local disk.
mod buffered {
    use super::*;
    use crate::backend::service::buffer::{self, When};
    use crate::tasks::Step;

    /// What ends with the test.
    struct Around {
        _face: Task,
        _carrier: Task,
        _dir: tempfile::TempDir,
    }

    async fn store() -> (Arc<Store<S3>>, Around) {
        let ((address, face), dir) = (face().await, tempfile::tempdir().unwrap());
        let mut settings = Settings::at(Some(format!("http://{address}")), "anybucket-home");
        let buffer = buffer::Settings::at(dir.path(), "main");
        settings.common.buffer = Some(buffer::Settings { when: When::Always, free_bytes_min: 0, ..buffer });
        let store = Arc::new(connect(settings, keys()).await.unwrap());
        store.recover(&[]).await.unwrap();
        let mut worker = store.workers().remove(0);
        let carrier = tokio::spawn(async move {
            loop {
                if worker.step().await.unwrap() == Step::Idle {
                    worker.wait().await;
                }
            }
        });
        (store, Around { _face: face, _carrier: Task(carrier), _dir: dir })
    }

    crate::backend::conformance::passes_naming_conformance!(store().await);
}

/// A wire that breaks when so many bytes went one way.
#[derive(Clone)]
struct Wire {
    up: Arc<AtomicI64>,
    down: Arc<AtomicI64>,
    breaks: Arc<AtomicU64>,
}

impl Wire {
    async fn to(service: SocketAddr) -> (Self, SocketAddr, Task) {
        let whole = || Arc::new(AtomicI64::new(i64::MAX));
        let wire = Self { up: whole(), down: whole(), breaks: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let between = wire.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(between.clone().carry(near, service));
            }
        });
        (wire, address, Task(task))
    }

    async fn carry(self, near: TcpStream, service: SocketAddr) {
        let Ok(far) = TcpStream::connect(service).await else { return };
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        tokio::select! {
            () = pump(near_in, far_out, &self.up) => {}
            () = pump(far_in, near_out, &self.down) => {}
        }
        if self.up.load(Ordering::SeqCst) < 0 || self.down.load(Ordering::SeqCst) < 0 {
            self.breaks.fetch_add(1, Ordering::SeqCst);
            self.up.store(i64::MAX, Ordering::SeqCst);
            self.down.store(i64::MAX, Ordering::SeqCst);
        }
    }
}

async fn pump(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, left: &AtomicI64) {
    let mut chunk = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        if left.fetch_sub(read as i64, Ordering::SeqCst) < read as i64 || to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}

fn object(key: &str) -> ObjectId {
    ObjectId { bucket: BucketName::new("bucket").unwrap(), key: Key::new(key).unwrap() }
}

fn at(key: &str, location: Location) -> Place {
    Place { object: object(key), location }
}

fn write_id(n: u64) -> WriteId {
    WriteId::new(Incarnation(9), 1, n)
}

fn options(n: u64) -> PutOptions {
    PutOptions { write: write_id(n), size: None, modified_ms: 5, attributes: Attributes::default() }
}

fn bytes(size: usize) -> Bytes {
    (0..size).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<_>>().into()
}

/// As clients bring it: in pieces, with its length told.
fn pieces(whole: &Bytes) -> Body {
    let chunks: Vec<_> = whole.chunks(60_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Body::new(Some(whole.len() as u64), stream::iter(chunks))
}

async fn put(store: &Store<S3>, key: &str, n: u64, whole: &Bytes) -> Kept {
    store.put(&object(key), pieces(whole), options(n)).await.unwrap()
}

async fn read(store: &Store<S3>, place: &Place, expect: Option<&Binding>) -> Result<Bytes> {
    let get = GetOptions { range: None, expect: expect.cloned() };
    Ok(store.get(place, get).await?.body.collect(64 << 20).await?)
}

async fn listed(store: &Store<S3>) -> Vec<String> {
    let found: Vec<Found> = store.list(&object("-").bucket, None).try_collect().await.unwrap();
    found.into_iter().map(|found| found.key.to_string()).collect()
}

async fn own_names(store: &Store<S3>) -> usize {
    store.list_own(&object("-").bucket, None).try_collect::<Vec<_>>().await.unwrap().len()
}

/// A store behind a wire, with the bucket.
async fn wired() -> (Arc<Store<S3>>, Wire, (Task, Task)) {
    let (service, face) = face().await;
    let (wire, address, task) = Wire::to(service).await;
    let store = store_at(address).await;
    store.create_bucket(&object("-").bucket).await.unwrap();
    (store, wire, (face, task))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_whose_connection_breaks_is_not_stored() {
    let (store, wire, _tasks) = wired().await;
    let whole = bytes(3 << 20);
    wire.up.store(1 << 20, Ordering::SeqCst);
    let broken = store.put(&object("a"), pieces(&whole), options(1)).await;
    assert!(matches!(broken, Err(Error::Unavailable(_))), "{broken:?}");
    assert_eq!((wire.breaks.load(Ordering::SeqCst), own_names(&store).await), (1, 0));
    let kept = put(&store, "a", 2, &whole).await;
    assert!(read(&store, &at("a", kept.location), Some(&kept.binding)).await.unwrap() == whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_on_its_way_out_goes_on_where_it_broke() {
    let (store, wire, _tasks) = wired().await;
    let whole = bytes(3 << 20);
    let kept = put(&store, "a", 1, &whole).await;
    for (down, range) in [(1 << 20, None), (100_000, Some(50..(3 << 20) - 50))] {
        let breaks = wire.breaks.load(Ordering::SeqCst);
        wire.down.store(down, Ordering::SeqCst);
        let get = GetOptions { range: range.clone(), expect: Some(kept.binding.clone()) };
        let fetched = store.get(&at("a", kept.location.clone()), get).await.unwrap();
        let read = fetched.body.collect(4 << 20).await.unwrap();
        assert!(read == whole.slice(range.unwrap_or(0..whole.len() as u64).start as usize..).slice(..read.len()));
        assert_eq!(wire.breaks.load(Ordering::SeqCst), breaks + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_replaced_while_it_is_read_ends_in_an_error() {
    let (store, wire, _tasks) = wired().await;
    let (old, new) = (put(&store, "a", 1, &bytes(3 << 20)).await, put(&store, "a", 2, &bytes(4 << 20)).await);
    store.publish(&at("a", old.location.clone()), &old.binding).await.unwrap();
    store.release(&at("a", old.location)).await;
    let fetched = store.get(&at("a", Location::Plain), GetOptions { range: None, expect: Some(old.binding) }).await.unwrap();
    store.publish(&at("a", new.location.clone()), &new.binding).await.unwrap();
    wire.down.store(1 << 20, Ordering::SeqCst);
    // Either the whole of what was opened, or an error: never some of each.
    match fetched.body.collect(8 << 20).await {
        Ok(read) => assert!(read == bytes(3 << 20)),
        Err(err) => assert!(err.to_string().contains("not the expected"), "{err}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_copy_of_unknown_outcome_nothing_else_comes_to_the_name() {
    let (store, wire, _tasks) = wired().await;
    let (one, two) = (put(&store, "a", 1, &bytes(10)).await, put(&store, "a", 2, &bytes(20)).await);
    // The looks at the two names are answered, the copy is not.
    wire.down.store(1 << 20, Ordering::SeqCst);
    store.head(&at("a", one.location.clone())).await.unwrap();
    store.head(&at("a", Location::Plain)).await.unwrap_err();
    let look = (1 << 20) - wire.down.load(Ordering::SeqCst);
    wire.down.store(look + 20, Ordering::SeqCst);
    let unknown = store.publish(&at("a", one.location.clone()), &one.binding).await;
    assert!(matches!(unknown, Err(Error::Unavailable(_))), "{unknown:?}");
    let other = store.publish(&at("a", two.location.clone()), &two.binding).await;
    assert!(matches!(other, Err(Error::Unavailable(_))), "{other:?}");
    assert!(matches!(store.delete(&at("a", Location::Plain), &one.binding).await, Err(Error::Unavailable(_))));
    assert_eq!(store.publish(&at("a", one.location), &one.binding).await.unwrap(), Published::Done);
    assert!(read(&store, &at("a", two.location), Some(&two.binding)).await.unwrap() == bytes(20), "it is read where it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_put_there_is_known_by_what_the_service_calls_it() {
    let (store, _task) = over_our_face().await;
    store.create_bucket(&object("-").bucket).await.unwrap();
    let foreign = async |text: &'static str| {
        let call = store.service().caller.client().put_object().bucket("bucket").key("a");
        call.body(aws_sdk_s3::primitives::ByteStream::from_static(text.as_bytes())).send().await.unwrap();
        store.head(&at("a", Location::Plain)).await.unwrap()
    };
    let one = foreign("one").await;
    assert!(matches!(&one.binding, Binding::Tag(tag) if tag.starts_with("etag:")), "{one:?}");
    assert_eq!(read(&store, &at("a", Location::Plain), Some(&one.binding)).await.unwrap(), "one");
    let two = foreign("other").await;
    let stale = read(&store, &at("a", Location::Plain), Some(&one.binding)).await;
    assert!(matches!(stale, Err(Error::Changed)), "{stale:?}");
    store.delete(&at("a", Location::Plain), &one.binding).await.unwrap();
    assert_eq!(listed(&store).await, ["a"]);
    store.delete(&at("a", Location::Plain), &two.binding).await.unwrap();
    assert_eq!(listed(&store).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_without_our_mark_under_a_name_of_ours_are_removed_when_they_are_told_to() {
    let (store, _task) = over_our_face().await;
    store.create_bucket(&object("-").bucket).await.unwrap();
    let name = format!(".anybucket/v/a@{}", write_id(1));
    let call = store.service().caller.client().put_object().bucket("bucket").key(name);
    call.body(aws_sdk_s3::primitives::ByteStream::from_static(b"left")).send().await.unwrap();
    let own = at("a", Location::Own(write_id(1)));
    let found = store.head(&own).await.unwrap();
    store.delete(&own, &Binding::Tag("another".to_owned())).await.unwrap();
    assert_eq!(own_names(&store).await, 1);
    store.delete(&own, &found.binding).await.unwrap();
    assert_eq!(own_names(&store).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_look_like_names_of_ours_stay_at_names_of_their_own() {
    let (store, _task) = over_our_face().await;
    store.create_bucket(&object("-").bucket).await.unwrap();
    let (key, name) = (".anybucket/v/a@00000000000000000000", Location::Own(write_id(1)));
    let kept = put(&store, key, 1, &bytes(10)).await;
    assert_eq!(kept.location, name);
    assert_eq!(store.publish(&at(key, name.clone()), &kept.binding).await.unwrap(), Published::Done);
    assert_eq!(read(&store, &at(key, name), Some(&kept.binding)).await.unwrap(), bytes(10));
    assert_eq!(listed(&store).await, [""; 0]);
    let found: Vec<_> = store.list_own(&object("-").bucket, None).try_collect().await.unwrap();
    assert_eq!(found.iter().map(|own| (own.found.key.as_str(), own.write)).collect::<Vec<_>>(), [(key, write_id(1))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_home_bucket_is_nobodys() {
    let (store, _task) = over_our_face().await;
    let home = BucketName::new("anybucket-home").unwrap();
    assert!(matches!(store.create_bucket(&home).await, Err(Error::Name(_))));
    assert!(matches!(store.delete_bucket(&home).await, Err(Error::Name(_))));
    assert_eq!(store.list_buckets().await.unwrap(), []);
}

/// A service that answers each request by its first line with a status, headers and a body.
async fn scripted(answer: impl Fn(&str) -> (&'static str, String, String) + Send + 'static) -> (S3, Task) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings::at(Some(format!("http://{}", listener.local_addr().unwrap())), "anybucket-home");
    let task = Task(tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 8 << 10];
            let length = connection.read(&mut asked).await.unwrap();
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            let (status, headers, body) = answer(asked.lines().next().unwrap_or_default());
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
            connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    }));
    let caller = Caller::new(&settings, keys()).await.unwrap();
    (S3 { settings, caller, versioned: Versioned::default() }, task)
}

fn reason(code: &str) -> String {
    format!("<Error><Code>{code}</Code></Error>")
}

async fn looked(s3: &S3) -> Answer<Told> {
    s3.head_object(&Spot::new("bucket".to_owned(), "a".to_owned())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_with_more_headers_than_are_read_makes_no_service_dead() {
    let (s3, _task) = scripted(|_| {
        let lines = (0..150).map(|n| format!("x-amz-meta-{n}: x\r\n")).collect();
        ("200 OK", lines, String::new())
    })
    .await;
    let fault = looked(&s3).await.unwrap_err();
    assert!(!fault.is_silence() && !fault.is_passing() && fault.detail.contains("headers"), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_look_is_refused_is_asked_for() {
    for (status, code) in
        [("400 Bad Request", "ExpiredToken"), ("400 Bad Request", "XMinioInvalidObjectName"), ("403 Forbidden", "AccessDenied")]
    {
        let (s3, _task) = scripted(move |asked| {
            let reason = if asked.starts_with("HEAD") { String::new() } else { reason(code) };
            (status, String::new(), reason)
        })
        .await;
        let fault = looked(&s3).await.unwrap_err();
        assert_eq!(fault.code, code, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_left_out_for_want_of_the_right_only() {
    for (code, is_told) in [("AccessDenied", true), ("InvalidAccessKeyId", false)] {
        let (s3, _task) = scripted(move |asked| match asked.contains("?tagging") {
            true => ("403 Forbidden", String::new(), reason(code)),
            false => ("200 OK", "x-amz-tagging-count: 1\r\netag: \"e\"\r\n".to_owned(), String::new()),
        })
        .await;
        let told = looked(&s3).await;
        assert_eq!(told.is_ok(), is_told, "{code}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_service_and_a_wrong_key_say_what_they_are() {
    let (address, task) = face().await;
    let settings = Settings::at(Some(format!("http://{address}")), "anybucket-home");
    let refused = connect(settings, with_secret("hunter2")).await.unwrap_err().to_string();
    assert!(!refused.contains("hunter2"), "{refused}");
    let store = store_at(address).await;
    store.check().await.unwrap();
    drop(task);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    for _ in 0..5 {
        let dead = store.head(&at("a", Location::Plain)).await;
        assert!(matches!(dead, Err(Error::Unavailable(_))), "{dead:?}");
    }
    let known = store.check().await.unwrap_err().to_string();
    assert!(known.contains("nobody answers there"), "{known}");
}

/// A server that is not ours, ended with the test.
struct Gateway {
    child: std::process::Child,
    _dir: tempfile::TempDir,
}

impl Gateway {
    /// Runs it, and waits until it listens there.
    async fn start(run: &mut std::process::Command, dir: tempfile::TempDir, address: SocketAddr) -> Self {
        let child = run.stdout(std::process::Stdio::null()).spawn().unwrap();
        let gateway = Self { child, _dir: dir };
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        gateway
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A range that is long enough for the service to copy.
async fn a_long_range_is_copied_by_the_service(store: &Store<S3>) {
    store.create_bucket(&object("-").bucket).await.unwrap();
    let (whole, range) = (bytes(9 << 20), 7..(9 << 20) - 7);
    let from = put(store, "a", 1, &whole).await;
    let get = GetOptions { range: Some(range.clone()), expect: Some(from.binding) };
    let kept = store.copy(&at("a", from.location), get, &object("b"), options(2)).await.unwrap();
    let read = read(store, &at("b", kept.location), Some(&kept.binding)).await.unwrap();
    assert!(read == whole.slice(range.start as usize..range.end as usize));
}
