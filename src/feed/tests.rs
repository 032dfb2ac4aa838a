//! A site read over real sockets: every verb, and everything that can go wrong.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, StatusCode};
use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use tokio::net::TcpListener;

use super::*;
use crate::backend::memory::Memory;
use crate::clock::{Clock, SystemClock};
use crate::model::{BucketName, Incarnation, Key, Replica, Seq, SiteId, SiteNumber, Stamp, Token, Unit};
use crate::peer::http::VERSION;
use crate::peer::{Client, DigestAsk, Error, Heads, KeyRange, LogAsk, PROTOCOL, Peer, RangeAsk, SiteState};
use crate::site::testing::{object, put, status, with_bucket};
use crate::site::{Neighbours, Parts, Scope, Site};
use crate::status::Options;
use crate::tasks::Trigger;

const PARIS: SiteNumber = SiteNumber(1);
const BERLIN: SiteNumber = SiteNumber(2);
const SOON: Duration = Duration::from_secs(2);

/// The site number 1, which serves what number 2 reads with the token "berlin".
struct Paris {
    site: Site,
    address: String,
    closing: Trigger,
}

async fn paris() -> Paris {
    let unread = Client::new("http://127.0.0.1:1".parse().unwrap(), "unused", PARIS).unwrap();
    let neighbours = vec![(SiteId { name: "berlin".into(), number: BERLIN }, Arc::new(unread) as Arc<dyn Peer>)];
    let site = with_bucket(site_among(Neighbours::new(neighbours, Scope::Everybody, false)).await).await;
    let (closing, shutdown) = Trigger::new();
    let all = vec![Reader { number: BERLIN, accept: Some(Token::new("berlin")) }];
    let readers = Readers { own: PARIS, all, members: None };
    let address = serve(router(Served { feed: Feed::new(site.clone()), readers, closing: shutdown })).await;
    Paris { site, address, closing }
}

async fn site_among(neighbours: Neighbours) -> Site {
    let status = status(Options::default());
    let clock = Clock::new(Arc::new(SystemClock), PARIS, status.facts().incarnation, status.facts().clock_ms);
    let id = SiteId { name: "paris".into(), number: PARIS };
    let parts = Parts { id, backend: Arc::new(Memory::new()), status, clock, neighbours, custody: Default::default() };
    Site::open(parts).await.unwrap().0
}

fn bucket() -> BucketName {
    object("any").bucket
}

/// Where the service answers from now on.
async fn serve(service: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

fn client(address: &str, token: &str, reader: SiteNumber) -> Client {
    Client::new(address.parse().unwrap(), token, reader).unwrap()
}

impl Paris {
    fn berlin(&self) -> Client {
        client(&self.address, "berlin", BERLIN)
    }
}

fn mine(received: Option<(Incarnation, Seq)>) -> Heads {
    Heads {
        protocol: PROTOCOL,
        site: BERLIN,
        name: "berlin".into(),
        incarnation: Incarnation(7),
        state: SiteState::Active,
        seq: Seq(0),
        settled: Seq(0),
        clock_ms: 0,
        stamped: (0, 0),
        received,
        tells: true,
        dirty: false,
    }
}

fn log_after(after: Seq, life: Incarnation) -> LogAsk {
    LogAsk { site: BERLIN, after, received: (life, after), entries_max: 100 }
}

#[tokio::test]
async fn a_heartbeat_tells_who_answers_and_is_held_back_while_there_is_nothing_to_tell() {
    let paris = paris().await;
    let heads = paris.berlin().heads(mine(None), SOON).await.unwrap();
    assert_eq!((heads.site, heads.name.as_str(), heads.protocol), (PARIS, "paris", PROTOCOL));
    assert!(heads.seq > Seq(0));
    let berlin = paris.berlin();
    let knows_all = mine(Some((heads.incarnation, heads.seq)));
    let held = tokio::spawn(async move { berlin.heads(knows_all, Duration::from_secs(10)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!held.is_finished());
    put(&paris.site, "new", "bytes").await;
    let after = tokio::time::timeout(SOON, held).await.unwrap().unwrap().unwrap();
    assert!(after.seq > heads.seq);
}

#[tokio::test]
async fn a_heartbeat_that_is_held_back_ends_with_the_site() {
    let paris = paris().await;
    let heads = paris.berlin().heads(mine(None), SOON).await.unwrap();
    let berlin = paris.berlin();
    let knows_all = mine(Some((heads.incarnation, heads.seq)));
    let held = tokio::spawn(async move { berlin.heads(knows_all, Duration::from_secs(10)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    paris.closing.stop();
    let told = tokio::time::timeout(SOON, held).await.unwrap().unwrap();
    assert_eq!(told, Err(Error::Unreachable("it is shutting down".into())));
}

#[tokio::test]
async fn what_was_told_is_read_and_fetched_with_small_bytes_beside_it() {
    let paris = paris().await;
    put(&paris.site, "small", "bytes").await;
    put(&paris.site, "large", vec![7; 300_000]).await;
    let berlin = paris.berlin();
    let life = berlin.heads(mine(None), SOON).await.unwrap().incarnation;
    let page = berlin.log(log_after(Seq(0), life)).await.unwrap();
    let told: Vec<Unit> = page.entries.iter().map(|(_, telling)| telling.unit.clone()).collect();
    assert_eq!(told, [Unit::Bucket(bucket()), Unit::null(&object("small")), Unit::null(&object("large"))]);
    let fetched = berlin.fetch(&told).await.unwrap();
    assert!(matches!(fetched[0].replica, Replica::Bucket(_)));
    assert_eq!(fetched[1].bytes.as_deref(), Some(&b"bytes"[..]));
    assert_eq!(fetched[2].bytes, None);
    let unknown = berlin.fetch(&[Unit::null(&object("unknown"))]).await.unwrap();
    assert_eq!(unknown[0].replica, Replica::Unknown);
    assert_eq!(berlin.buckets().await.unwrap(), [bucket()]);
}

async fn data_of(paris: &Paris, key: &str) -> Stamp {
    paris.site.replica(&Unit::null(&object(key))).await.unwrap().vector().unwrap().data
}

#[tokio::test]
async fn bytes_come_by_range_for_as_long_as_they_are_current() {
    let paris = paris().await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    put(&paris.site, "large", bytes.clone()).await;
    let (berlin, object) = (paris.berlin(), object("large"));
    let data = data_of(&paris, "large").await;
    for range in [0..3_000_000, 5..1_000_005, 7..7] {
        let body = berlin.open(&object, data, range.clone()).await.unwrap();
        assert_eq!(body.size, Some(range.end - range.start));
        let (from, to) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        assert_eq!(body.collect(4_000_000).await.unwrap(), bytes[from..to]);
    }
    put(&paris.site, "large", "other").await;
    assert_eq!(berlin.open(&object, data, 0..5).await.unwrap_err(), Error::Changed);
}

#[tokio::test]
async fn ranges_are_compared_and_their_rows_read() {
    let paris = paris().await;
    put(&paris.site, "a", "1").await;
    let feed = Feed::new(paris.site.clone());
    let ask = DigestAsk {
        bucket: bucket(),
        ranges: [KeyRange::ALL, KeyRange { from: Some(Key::new("b").unwrap()), to: None }]
            .map(|range| RangeAsk { range, rows_max: 1_000 })
            .to_vec(),
        graves_from_ms: 0,
    };
    assert_eq!(paris.berlin().digests(ask.clone()).await, feed.digests(BERLIN, ask).await);
    let rows = paris.berlin().rows(&bucket(), KeyRange::ALL, 10).await;
    assert_eq!(rows, feed.rows(BERLIN, &bucket(), KeyRange::ALL, 10).await);
}

#[tokio::test]
async fn faults_of_the_reader_are_refused_with_the_same_words_as_in_one_process() {
    let paris = paris().await;
    let (berlin, feed) = (paris.berlin(), Feed::new(paris.site.clone()));
    let many = vec![Unit::null(&object("x")); 1_000];
    let refused = berlin.fetch(&many).await.unwrap_err();
    assert_eq!(refused, feed.fetch(BERLIN, &many).await.unwrap_err());
    assert!(matches!(refused, Error::Refused(text) if text.contains("1000 units")));
    let newer = Heads { protocol: PROTOCOL + 1, ..mine(None) };
    let refused = berlin.heads(newer.clone(), SOON).await.unwrap_err();
    assert_eq!(refused, feed.heads(BERLIN, newer, SOON).await.unwrap_err());
    assert!(matches!(refused, Error::Refused(text) if text.contains(&format!("speaks version {PROTOCOL}"))));
    #[expect(clippy::reversed_empty_ranges, reason = "that is the fault")]
    let backwards = berlin.open(&object("x"), Stamp::from_bytes([0; 16]), 5..3).await.unwrap_err();
    assert!(matches!(backwards, Error::Malformed(text) if text.contains("ends before it begins")));
}

#[tokio::test]
async fn a_site_that_is_paused_reads_nothing() {
    let paris = paris().await;
    put(&paris.site, "a", "1").await;
    let (data, berlin) = (data_of(&paris, "a").await, paris.berlin());
    let neighbour = paris.site.neighbours().get(BERLIN).unwrap().clone();
    paris.site.pause(&neighbour, None).await.unwrap();
    let ask = || DigestAsk { bucket: bucket(), ranges: Vec::new(), graves_from_ms: 0 };
    let refused = [
        berlin.heads(mine(None), SOON).await.unwrap_err(),
        berlin.log(log_after(Seq(0), Incarnation(1))).await.unwrap_err(),
        berlin.fetch(&[Unit::null(&object("a"))]).await.unwrap_err(),
        berlin.open(&object("a"), data, 0..1).await.unwrap_err(),
        berlin.digests(ask()).await.unwrap_err(),
        berlin.rows(&bucket(), KeyRange::ALL, 10).await.unwrap_err(),
        berlin.buckets().await.unwrap_err(),
    ];
    assert!(refused.iter().all(|err| matches!(err, Error::Refused(text) if text.contains("paused"))), "{refused:?}");
    paris.site.resume(&neighbour).await.unwrap();
    assert_eq!(berlin.buckets().await.unwrap(), [bucket()]);
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_told_nothing_more() {
    let paris = paris().await;
    for verb in ["heads", "log", "fetch", "open", "digests", "rows", "buckets", "nothing"] {
        let (status, said) = raw(&paris, &format!("/feed/v{PROTOCOL}/{verb}"), "wrong", &PROTOCOL.to_string()).await;
        assert_eq!((status, said.as_str()), (401, ""), "{verb}");
    }
    let err = client(&paris.address, "wrong", BERLIN).buckets().await.unwrap_err();
    assert!(matches!(err, Error::Refused(text) if text.contains("does not take the token")));
}

#[tokio::test]
async fn a_wrong_number_is_told() {
    let paris = paris().await;
    let err = client(&paris.address, "berlin", SiteNumber(5)).heads(mine(None), SOON).await.unwrap_err();
    assert!(matches!(err, Error::Refused(text) if text.contains("site number 2, and the reader says it is number 5")));
}

#[tokio::test]
async fn another_version_is_told() {
    let paris = paris().await;
    let (ours, other) = (PROTOCOL.to_string(), (PROTOCOL + 1).to_string());
    let (status, said) = raw(&paris, &format!("/feed/v{other}/heads"), "berlin", &ours).await;
    assert_eq!((status, said.contains(&format!("speaks version {ours} of the feed"))), (404, true), "{said}");
    let (status, said) = raw(&paris, &format!("/feed/v{ours}/heads"), "berlin", &other).await;
    assert_eq!(
        (status, said.contains(&format!("version {ours} of the feed is spoken here, version {other} there"))),
        (403, true),
        "{said}"
    );
}

/// A request as nobody's client sends it: status and text of the answer.
async fn raw(paris: &Paris, path: &str, token: &str, version: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(paris.address.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nx-anybucket-feed: {version}\r\nx-anybucket-hop: 2\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.into())
}

#[tokio::test]
async fn a_site_that_is_not_there_is_unreachable() {
    let err = client("http://127.0.0.1:1", "berlin", BERLIN).buckets().await.unwrap_err();
    assert!(matches!(err, Error::Unreachable(text) if text.contains("refused")));
}

/// What the client makes of a service that is no feed of ours.
async fn asked_of(answer: impl IntoResponse + Clone + Send + Sync + 'static) -> Client {
    let address = serve(Router::new().fallback(move || async move { answer })).await;
    client(&address, "berlin", BERLIN)
}

/// What says that it is our feed.
fn ours() -> [(HeaderName, String); 1] {
    [(VERSION, PROTOCOL.to_string())]
}

#[tokio::test]
async fn what_is_no_feed_is_told_apart_from_a_feed() {
    let err = asked_of((StatusCode::FORBIDDEN, "<Error/>")).await.buckets().await.unwrap_err();
    assert!(matches!(err, Error::Refused(text) if text.contains("no feed of anybucket")));
    let other = (PROTOCOL + 1).to_string();
    let err = asked_of(([(VERSION, other.clone())], "?")).await.buckets().await.unwrap_err();
    assert!(matches!(err, Error::Refused(text) if text.contains(&format!("version {other} there"))));
    let err = asked_of((StatusCode::BAD_GATEWAY, "nginx")).await.buckets().await.unwrap_err();
    assert!(matches!(err, Error::Unreachable(text) if text.contains("502")));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_or_has_no_end_is_malformed() {
    let err = asked_of((ours(), vec![255_u8; 40])).await.buckets().await.unwrap_err();
    assert!(matches!(err, Error::Malformed(_)), "{err}");
    let err = asked_of((ours(), vec![0_u8; 20 << 20])).await.buckets().await.unwrap_err();
    assert!(matches!(err, Error::Malformed(text) if text.contains("longer than")));
    let outside = postcard::to_stdvec(&["../../etc"]).unwrap();
    let err = asked_of((ours(), outside)).await.buckets().await.unwrap_err();
    assert!(matches!(err, Error::Malformed(_)), "{err}");
}

#[tokio::test]
async fn bytes_that_are_too_few_or_too_many_are_no_body() {
    for sent in [4, 6] {
        let peer = asked_of((ours(), vec![0_u8; sent])).await;
        let body = peer.open(&object("x"), Stamp::from_bytes([0; 16]), 0..5).await.unwrap();
        assert!(body.collect(100).await.is_err(), "{sent}");
    }
}

#[tokio::test]
async fn the_text_of_an_error_goes_to_logs_as_one_bounded_line() {
    let err = asked_of((StatusCode::FORBIDDEN, ours(), "a\nb\u{1b}[31m")).await.buckets().await.unwrap_err();
    assert_eq!(err, Error::Refused("ab[31m".into()));
    let err = asked_of((StatusCode::FORBIDDEN, ours(), "x".repeat(10_000))).await.buckets().await.unwrap_err();
    assert!(matches!(err, Error::Refused(text) if text.len() < 100));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_end() {
    let chunks = || futures::stream::iter([Ok(bytes::Bytes::from_static(b"abc")), Err(std::io::Error::other("cut"))]);
    let address = serve(Router::new().fallback(move || async move { (ours(), Body::from_stream(chunks())) })).await;
    // All the bytes came, and still the end did not; it may break off before the headers are seen.
    if let Ok(body) = client(&address, "berlin", BERLIN).open(&object("x"), Stamp::from_bytes([0; 16]), 0..3).await {
        assert!(body.collect(100).await.is_err());
    }
}

#[test]
fn a_client_shows_no_token_and_takes_none_that_no_header_can_hold() {
    assert_eq!(format!("{:?}", client("http://127.0.0.1:1", "hunter2", BERLIN)), "Client(http://127.0.0.1:1)");
    for bad in ["", "a b", "é", "a\n"] {
        assert!(Client::new("http://127.0.0.1:1".parse().unwrap(), bad, BERLIN).is_err(), "{bad:?}");
    }
}
