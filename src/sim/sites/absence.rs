//! Keys that are not here, and bytes that are missing, row by row of both tables of protocol §8: one site without
//! workers before another one, whose standing the test sets by hand.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::Instant;

use crate::backend::memory::Memory;
use crate::backend::{Backend, Body, Place, PutOptions};
use crate::clock::{Clock, ManualClock};
use crate::feed::Local;
use crate::model::{BucketName, Location, ObjectId, SiteId, SiteNumber, Stamp, Unit};
use crate::peer::{Digest, DigestAsk, Error as PeerError, Fetched, Heads, KeyRange, LogAsk, LogPage, Peer, Result, RowsPage};
use crate::replicate::{absorb_hints, heads_for};
use crate::site::testing::{get, object, put, upload, with_bucket};
use crate::site::{
    self, CopyRequest, Description, Error, EtagCondition, Neighbours, Opened, Parts, ReadConditions, Scope, Selection, Site,
    WriteConditions,
};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::tables::Work;
use crate::status::{Options, Status};

/// How the other site behaves towards this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    Answers,
    /// Takes the question and never answers.
    Hangs,
    /// Answers about records, and sends no bytes of large ones.
    KeepsBytes,
    /// Begins to send large bodies, and goes no further.
    Stalls,
}

/// The other site, counted.
#[derive(Debug)]
struct Watched {
    site: Local,
    asked: AtomicU64,
    opened: AtomicU64,
    manners: Mutex<Manners>,
}

impl Watched {
    async fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if *self.manners.lock().unwrap() == Manners::Hangs {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Peer for Watched {
    async fn heads(&self, mine: Heads, wait: Duration) -> Result<Heads> {
        self.site.heads(mine, wait).await
    }

    async fn log(&self, ask: LogAsk) -> Result<LogPage> {
        self.site.log(ask).await
    }

    async fn fetch(&self, units: &[Unit]) -> Result<Vec<Fetched>> {
        self.ask().await;
        self.site.fetch(units).await
    }

    async fn open(&self, object: &ObjectId, data: Stamp, range: Range<u64>) -> Result<Body> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        if *self.manners.lock().unwrap() == Manners::KeepsBytes {
            return Err(PeerError::Unreachable("it keeps its bytes".into()));
        }
        if *self.manners.lock().unwrap() == Manners::Stalls {
            return Ok(Body::new(Some(range.end - range.start), futures::stream::pending()));
        }
        let body = self.site.open(object, data, range).await?;
        let bytes = body.collect(64 << 20).await.unwrap();
        // As they come over a network: in pieces, each after a while.
        let chunks: Vec<_> = bytes.chunks(256 << 10).map(Bytes::copy_from_slice).collect();
        let paced = futures::stream::iter(chunks).then(|chunk| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(chunk)
        });
        Ok(Body::new(Some(bytes.len() as u64), paced))
    }

    async fn digests(&self, ask: DigestAsk) -> Result<Vec<Digest>> {
        self.site.digests(ask).await
    }

    async fn rows(&self, bucket: &BucketName, range: KeyRange, rows_max: usize) -> Result<RowsPage> {
        self.site.rows(bucket, range, rows_max).await
    }

    async fn buckets(&self) -> Result<Vec<BucketName>> {
        self.site.buckets().await
    }
}

const THERE: SiteNumber = SiteNumber(1);

/// This site, and the one that may know better.
pub struct Pair {
    pub here: Site,
    store: Arc<Memory>,
    pub there: Site,
    peer: Arc<Watched>,
}

async fn open(number: u16, store: Arc<Memory>, neighbours: Neighbours) -> Site {
    let id = SiteId { name: format!("site-{number}"), number: SiteNumber(number) };
    let status = Status::open_inline(Forgetful::new(Power::on()), &Options::default()).unwrap();
    let facts = status.facts();
    let wall = Arc::new(ManualClock::at(1_790_000_000_000));
    let clock = Clock::new(wall, id.number, facts.incarnation, facts.clock_ms);
    Site::open(Parts { id, backend: store, status, clock, neighbours, custody: Default::default() }).await.unwrap().0
}

impl Pair {
    /// Both know the bucket, and this one is caught up.
    pub async fn new() -> Self {
        let pair = Self::without_bucket().await;
        let bucket = Unit::Bucket(object("x").bucket);
        let known = pair.there.replica(&bucket).await.unwrap();
        pair.here.apply(&bucket, known, None).await.unwrap();
        pair
    }

    pub async fn without_bucket() -> Self {
        let there = with_bucket(open(1, Arc::default(), Neighbours::default()).await).await;
        let site = Local::new(there.clone(), SiteNumber(2));
        let peer = Arc::new(Watched { site, asked: 0.into(), opened: 0.into(), manners: Mutex::new(Manners::Answers) });
        let neighbours = Neighbours::new(vec![(there.id().clone(), peer.clone())], Scope::Everybody, false);
        let store = Arc::new(Memory::new());
        let here = open(2, store.clone(), neighbours).await;
        let pair = Self { here, store, there, peer };
        pair.is_caught_up().await;
        pair
    }

    async fn heard(&self, knows_all: bool) {
        let heads = heads_for(&self.there, SiteNumber(2)).await.unwrap();
        let neighbour = self.here.neighbours().get(THERE).unwrap();
        let seq = if knows_all { heads.seq } else { crate::model::Seq(heads.seq.0 - 1) };
        neighbour.received(heads.incarnation, seq);
        neighbour.heard(heads, 0);
        // Only what comes by way of the log is looked at here.
        neighbour.compared();
        self.here.establish().await.unwrap();
    }

    pub async fn is_caught_up(&self) {
        self.heard(true).await;
    }

    pub async fn is_behind(&self) {
        self.heard(false).await;
    }

    fn is_cut_off(&self) {
        self.here.neighbours().get(THERE).unwrap().missed("cut off".into());
    }

    pub fn is(&self, manners: Manners) {
        *self.peer.manners.lock().unwrap() = manners;
    }

    /// Tells this site of a key, which it does not follow.
    pub async fn hints(&self, key: &str) {
        let unit = Unit::null(&object(key));
        let vector = self.there.replica(&unit).await.unwrap().vector().unwrap();
        let telling = crate::model::Telling { unit, vector, news: crate::model::News::Mutated };
        assert!(absorb_hints(&self.here, THERE, &[telling]).await.unwrap());
    }

    fn asked(&self) -> u64 {
        self.peer.asked.load(Ordering::Relaxed)
    }

    fn opened(&self) -> u64 {
        self.peer.opened.load(Ordering::Relaxed)
    }

    /// The bytes of an object that is here are replaced, or gone.
    async fn spoil(&self, key: &str, by: Option<&'static str>) {
        let (object, place) = (object(key), Place { object: object(key), location: Location::Plain });
        let found = self.store.head(&place).await.unwrap();
        self.store.delete(&place, &found.binding).await.unwrap();
        if let Some(bytes) = by {
            let body = Body::from(Bytes::from_static(bytes.as_bytes()));
            let kept =
                self.store.put(&object, body, PutOptions { size: None, modified_ms: 0, ..PutOptions::any() }).await.unwrap();
            let staged = Place { object, location: kept.location };
            self.store.publish(&staged, &kept.binding).await.unwrap();
        }
    }

    async fn open(&self, key: &str, select: Selection) -> site::Result<Opened> {
        self.here.get(&object(key), None, select, &ReadConditions::default()).await
    }

    pub async fn is_present(&self, key: &str) -> bool {
        let seen = self.here.head(&object(key), None, Selection::All, &ReadConditions::default()).await.unwrap();
        seen.record.row.state == crate::model::State::Present
    }
}

/// What a GET found, and how long it took.
async fn timed<T>(what: impl Future<Output = T>) -> (T, u128) {
    let began = Instant::now();
    let found = what.await;
    (found, began.elapsed().as_millis())
}

fn unasked(found: site::Result<Bytes>) -> Vec<String> {
    match found {
        Err(Error::NoSuchKeyHere { unasked }) => unasked,
        Err(Error::NoSuchKey) => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn large() -> Vec<u8> {
    (0..6_u32 << 20).map(|n| (n / 7) as u8).collect()
}

#[tokio::test(start_paused = true)]
async fn a_site_that_knows_everything_answers_without_asking() {
    let pair = Pair::new().await;
    let (found, millis) = timed(get(&pair.here, "none")).await;
    assert_eq!((unasked(found), millis, pair.asked()), (vec![], 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_a_site_ahead_has_is_found_and_kept() {
    let pair = Pair::new().await;
    put(&pair.there, "a", "hello").await;
    pair.is_behind().await;
    assert_eq!(get(&pair.here, "a").await.unwrap(), "hello");
    assert_eq!(get(&pair.here, "a").await.unwrap(), "hello");
    assert_eq!(pair.asked(), 1);
    let tags = pair.here.set_register(&object("a"), None, crate::site::Register::Tags(vec![("k".into(), "v".into())])).await;
    assert!(tags.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_site_ahead_does_not_have_is_not_asked_for_again_for_two_seconds() {
    let pair = Pair::new().await;
    for (millis, asked) in [(0, 1), (1_000, 1), (1_100, 2)] {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        pair.is_behind().await;
        assert_eq!(unasked(get(&pair.here, "none").await), Vec::<String>::new());
        assert_eq!(pair.asked(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_site_ahead_that_does_not_answer_is_waited_for_shortly_and_named() {
    let pair = Pair::new().await;
    put(&pair.there, "a", "hello").await;
    pair.is_behind().await;
    pair.is(Manners::Hangs);
    let (found, millis) = timed(get(&pair.here, "a")).await;
    assert_eq!((unasked(found), millis), (vec!["site-1".to_owned()], 300));
    let (found, millis) = timed(get(&pair.here, "a")).await;
    assert_eq!((unasked(found), millis), (vec!["site-1".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_site_that_cannot_be_reached() {
    let pair = Pair::new().await;
    put(&pair.there, "a", "hello").await;
    pair.is(Manners::Hangs);
    pair.is_cut_off();
    let (found, millis) = timed(get(&pair.here, "a")).await;
    assert_eq!((unasked(found), millis, pair.asked()), (vec!["site-1".to_owned()], 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_here_is_gone_whatever_others_may_know() {
    let pair = Pair::new().await;
    put(&pair.here, "a", "1").await;
    pair.here.delete(&object("a"), WriteConditions::default()).await.unwrap();
    pair.is_behind().await;
    assert_eq!(unasked(get(&pair.here, "a").await), Vec::<String>::new());
    pair.is_cut_off();
    assert_eq!(unasked(get(&pair.here, "a").await), Vec::<String>::new());
    assert_eq!(pair.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_told_of_is_fetched_now() {
    let pair = Pair::new().await;
    put(&pair.there, "a", "hello").await;
    put(&pair.there, "b", "hello").await;
    pair.is_caught_up().await;
    pair.hints("a").await;
    pair.hints("b").await;
    assert_eq!(get(&pair.here, "a").await.unwrap(), "hello");
    assert!(pair.here.status().get::<Work>(&Unit::null(&object("a"))).await.unwrap().is_none(), "its work is done");
    pair.is(Manners::Hangs);
    let (found, millis) = timed(get(&pair.here, "b")).await;
    assert_eq!((unasked(found), millis), (vec!["site-1".to_owned()], 1_000));
    pair.is_cut_off();
    let (found, millis) = timed(get(&pair.here, "b")).await;
    assert_eq!((unasked(found), millis), (vec!["site-1".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn of_many_who_ask_for_a_key_one_asks_the_other_site() {
    let pair = Pair::new().await;
    put(&pair.there, "a", "hello").await;
    pair.is_behind().await;
    let (found, missed) = futures::join!(
        futures::future::join_all((0..100).map(|_| get(&pair.here, "a"))),
        futures::future::join_all((0..100).map(|_| get(&pair.here, "none"))),
    );
    assert!(found.into_iter().all(|found| found.unwrap() == "hello"));
    assert!(missed.into_iter().all(|missed| unasked(missed).is_empty()));
    assert_eq!(pair.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_a_site_ahead_knows_of_is_learned() {
    let pair = Pair::new().await;
    put(&pair.there, "a", "hello").await;
    let conditions = WriteConditions::default();
    pair.there.delete(&object("a"), conditions).await.unwrap();
    // A lone site keeps the grave of what it had.
    pair.is_behind().await;
    assert_eq!(unasked(get(&pair.here, "a").await), Vec::<String>::new());
    pair.is_cut_off();
    assert_eq!(unasked(get(&pair.here, "a").await), Vec::<String>::new(), "its grave is here now");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_not_here_yet_is_found_with_its_object() {
    let pair = Pair::without_bucket().await;
    put(&pair.there, "a", "hello").await;
    assert!(matches!(get(&pair.here, "a").await, Err(Error::NoSuchBucket)));
    pair.is_cut_off();
    let unsure = get(&pair.here, "a").await;
    assert!(matches!(&unsure, Err(Error::NoSuchBucketHere { unasked }) if unasked == &["site-1"]), "{unsure:?}");
    pair.is_behind().await;
    assert_eq!(get(&pair.here, "a").await.unwrap(), "hello");
    assert!(pair.here.bucket(&object("a").bucket).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_large_object_goes_to_the_client_and_to_the_store_at_once() {
    let pair = Pair::new().await;
    put(&pair.there, "a", large()).await;
    pair.is_behind().await;
    let seen = pair.here.head(&object("a"), None, Selection::All, &ReadConditions::default()).await.unwrap();
    assert_eq!(seen.record.row.identity.size, 6 << 20);
    assert!(!pair.is_present("a").await);
    assert_eq!(get(&pair.here, "a").await.unwrap(), large());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(pair.is_present("a").await);
    assert_eq!(pair.opened(), 1);
    pair.is_cut_off();
    assert_eq!(get(&pair.here, "a").await.unwrap(), large());
    assert!(pair.here.status().get::<Work>(&Unit::null(&object("a"))).await.unwrap().is_none(), "its work is done");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_does_not_stop_the_restore() {
    let pair = Pair::new().await;
    put(&pair.there, "a", large()).await;
    pair.is_behind().await;
    let mut opened = pair.open("a", Selection::All).await.unwrap();
    assert!(opened.body.stream.next().await.is_some());
    drop(opened);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(pair.is_present("a").await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_holds_nobody_up_and_gets_every_byte() {
    let pair = Pair::new().await;
    put(&pair.there, "a", large()).await;
    pair.is_behind().await;
    let opened = pair.open("a", Selection::All).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(pair.is_present("a").await, "the store did not wait for the client");
    assert_eq!(opened.body.collect(8 << 20).await.unwrap(), large());
    assert_eq!(pair.opened(), 1, "the rest came from here");
}

#[tokio::test(start_paused = true)]
async fn a_range_is_served_at_once_and_the_whole_is_queued() {
    let pair = Pair::new().await;
    put(&pair.there, "a", large()).await;
    pair.is_behind().await;
    let opened = pair.open("a", Selection::Bytes { first: 5 << 20, last: None }).await.unwrap();
    assert_eq!(opened.body.collect(8 << 20).await.unwrap(), large()[5 << 20..]);
    assert!(!pair.is_present("a").await);
    assert!(pair.here.status().get::<Work>(&Unit::null(&object("a"))).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn many_who_read_a_large_object_restore_it_once() {
    let pair = Pair::new().await;
    put(&pair.there, "a", large()).await;
    pair.is_behind().await;
    let found = futures::future::join_all((0..5).map(|_| get(&pair.here, "a"))).await;
    assert!(found.into_iter().all(|found| found.unwrap() == large()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(pair.is_present("a").await);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_gone_come_back_from_the_other_site() {
    let pair = Pair::new().await;
    for (key, bytes) in [("small", b"hello".to_vec()), ("large", large())] {
        put(&pair.there, key, bytes.clone()).await;
        pair.is_behind().await;
        get(&pair.here, key).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        pair.spoil(key, None).await;
        assert_eq!(get(&pair.here, key).await.unwrap(), bytes);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(pair.is_present(key).await);
    }
    assert_eq!(pair.here.counters().lost.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn bytes_changed_behind_a_site_that_has_others_are_not_taken_for_a_write() {
    let pair = Pair::new().await;
    put(&pair.there, "a", "hello").await;
    pair.is_behind().await;
    get(&pair.here, "a").await.unwrap();
    let before = pair.here.replica(&Unit::null(&object("a"))).await.unwrap().vector();
    pair.spoil("a", Some("forged")).await;
    pair.is_cut_off();
    assert!(matches!(get(&pair.here, "a").await, Err(Error::Unavailable { .. })));
    pair.is_caught_up().await;
    assert_eq!(get(&pair.here, "a").await.unwrap(), "hello");
    assert_eq!(get(&pair.here, "a").await.unwrap(), "hello");
    assert_eq!(pair.here.replica(&Unit::null(&object("a"))).await.unwrap().vector(), before);
    let counters = pair.here.counters();
    assert_eq!((counters.suspects.load(Ordering::Relaxed), counters.adopted.load(Ordering::Relaxed)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_nobody_has_are_lost_and_unavailable_while_somebody_was_not_asked() {
    let pair = Pair::new().await;
    put(&pair.here, "mine", "hello").await;
    pair.spoil("mine", None).await;
    pair.is_cut_off();
    assert!(matches!(get(&pair.here, "mine").await, Err(Error::Unavailable { .. })));
    pair.is_caught_up().await;
    assert!(matches!(get(&pair.here, "mine").await, Err(Error::Lost)));
    put(&pair.there, "large", large()).await;
    pair.is_behind().await;
    pair.is(Manners::KeepsBytes);
    assert!(matches!(get(&pair.here, "large").await, Err(Error::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_source_of_a_copy_is_brought_here_first() {
    let pair = Pair::new().await;
    put(&pair.there, "a", large()).await;
    pair.is_behind().await;
    let copied = pair.here.copy(&object("a"), &object("b"), CopyRequest::default()).await.unwrap();
    assert_eq!(copied.size, 6 << 20);
    assert!(pair.is_present("a").await);
    assert_eq!(get(&pair.here, "b").await.unwrap(), large());
}

fn if_none_match() -> WriteConditions {
    WriteConditions { if_none_match: Some(EtagCondition::Any), ..WriteConditions::default() }
}

fn if_match() -> WriteConditions {
    let etag = crate::model::ETag::of_md5([
        0x5d, 0x41, 0x40, 0x2a, 0xbc, 0x4b, 0x2a, 0x76, 0xb9, 0x71, 0x9d, 0x91, 0x10, 0x17, 0xc5, 0x92,
    ]);
    WriteConditions { if_match: Some(EtagCondition::OneOf(vec![etag])), ..WriteConditions::default() }
}

/// What both kinds of conditional write of `a` come to, by S3's status.
async fn decided(pair: &Pair) -> [u16; 2] {
    let mut statuses = [0; 2];
    for (status, conditions) in statuses.iter_mut().zip([if_none_match(), if_match()]) {
        let written = pair.here.put(&object("a"), upload("new"), Description::default(), conditions).await;
        *status = match written {
            Ok(_) => 200,
            Err(Error::PreconditionFailed(_)) => 412,
            Err(Error::NoSuchKey | Error::NoSuchKeyHere { .. }) => 404,
            Err(Error::Unavailable { .. }) => 503,
            Err(err) => panic!("{err:?}"),
        };
    }
    statuses
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_decides_against_what_is_here() {
    let pair = Pair::new().await;
    put(&pair.here, "a", "hello").await;
    pair.is_cut_off();
    assert_eq!(decided(&pair).await, [412, 200]);
    assert_eq!(decided(&pair).await, [412, 412]);
    pair.here.delete(&object("a"), WriteConditions::default()).await.unwrap();
    assert_eq!(decided(&pair).await, [200, 412], "a grave is an absence, and then something is there");
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_of_a_key_that_is_nowhere_knows_it() {
    let pair = Pair::new().await;
    let wants = pair.here.put(&object("a"), upload("new"), Description::default(), if_match()).await;
    assert!(matches!(wants, Err(Error::NoSuchKey)));
    assert_eq!(decided(&pair).await[0], 200);
    assert_eq!(pair.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_learns_first_what_was_told_or_may_have_been() {
    for by_hint in [true, false] {
        let pair = Pair::new().await;
        put(&pair.there, "a", "hello").await;
        if by_hint {
            pair.is_caught_up().await;
            pair.hints("a").await;
        } else {
            pair.is_behind().await;
        }
        assert_eq!(decided(&pair).await, [412, 200], "by a hint: {by_hint}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_that_wants_something_there_is_put_off_while_nobody_can_say() {
    let pair = Pair::new().await;
    put(&pair.there, "a", "hello").await;
    pair.hints("a").await;
    pair.is_cut_off();
    let delete = pair.here.delete(&object("a"), if_match()).await;
    assert!(matches!(delete, Err(Error::Unavailable { .. })));
    let wants = pair.here.put(&object("a"), upload("new"), Description::default(), if_match()).await;
    assert!(matches!(wants, Err(Error::Unavailable { .. })));
    pair.is_behind().await;
    pair.is(Manners::Hangs);
    let (wants, millis) = timed(pair.here.put(&object("a"), upload("new"), Description::default(), if_match())).await;
    assert!(matches!(wants, Err(Error::Unavailable { .. })));
    assert_eq!(millis, 1_000);
    assert_eq!(decided(&pair).await, [200, 412], "as absent; then something is there");
}

#[tokio::test(start_paused = true)]
async fn a_record_without_bytes_is_something_there() {
    let pair = Pair::new().await;
    put(&pair.there, "a", large()).await;
    pair.is_behind().await;
    assert_eq!(decided(&pair).await, [412, 412]);
    assert!(!pair.is_present("a").await);
}
