//! A service for tests whose calls come when they come: at once, refused, done without an answer, or done minutes later.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body_util::BodyExt;

use super::{
    Answer, Common, Cursor, Fault, Limits, Listed, Metadata, Only, Opened, Outgoing, Page, PartAt, Service, Spot, Store, Target,
    Told, UploadAt, buffer,
};
use crate::backend::{Backend, Capability};
use crate::model::{ContentHeaders, Described};

/// What comes later than this is dead (`pending`).
const LATE_MAX: Duration = Duration::from_secs(14 * 60);
/// Names on a page: fewer than a bucket of this world may have, more than the probe wants on one.
const PAGE: usize = 8;

pub(super) const HOME: &str = "anybucket-home";

/// Outlives whoever makes calls.
#[derive(Clone, Debug)]
pub(crate) struct Late(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    /// Changes so far: what ETags are made of, and time goes by.
    changes: u64,
    random: fastrand::Rng,
    /// Whether calls fare as they may; else all are done at once.
    is_rough: bool,
    /// Whether every call is refused for now.
    is_busy: bool,
    is_exact: bool,
    /// Whether names are spelt as MinIO does.
    spells_as_minio: bool,
    /// Whether listings leave out names below others, as MinIO's do.
    hides_below: bool,
    /// How much later the next change is made.
    next_late: Option<Duration>,
    /// What every look and listing is answered: status and code.
    denial: Option<(u16, &'static str)>,
    /// How often credentials were to be read anew.
    forgotten: u32,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    metadata: Metadata,
    headers: ContentHeaders,
    etag: String,
    stored_ms: u64,
}

impl Object {
    fn told(&self) -> Told {
        let told = Told::new(Some(&self.metadata), Some(&self.etag), Some(self.stored_ms), self.bytes.len() as u64);
        told.described(Described::unordered(self.headers.clone(), self.metadata.clone()))
    }
}

/// How a call fares.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Done,
    Refused,
    Unanswered,
    Late(Duration),
}

impl Late {
    /// `is_exact`: its conditions hold, and no two writes have the same ETag.
    pub fn new(seed: u64, is_exact: bool) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self(Arc::new(Mutex::new(State {
            buckets: BTreeMap::new(),
            changes: 0,
            random,
            is_rough: false,
            is_busy: false,
            is_exact,
            spells_as_minio: false,
            hides_below: false,
            next_late: None,
            denial: None,
            forgotten: 0,
        })))
    }

    /// A store over it, as a new process opens it.
    pub async fn open(&self) -> Arc<dyn Backend> {
        self.open_with(Common::at(HOME)).await
    }

    /// The same with a buffer in this directory.
    pub async fn open_buffered(&self, dir: &Path) -> Arc<dyn Backend> {
        let buffer = Some(buffer::Settings { free_bytes_min: 0, ..buffer::Settings::at(dir, "main") });
        self.open_with(Common { buffer, ..Common::at(HOME) }).await
    }

    /// The same with these settings.
    pub async fn open_with(&self, common: Common) -> Arc<dyn Backend> {
        Arc::new(Store::open(self.clone(), &common).await.expect("a service that does what it is told"))
    }

    /// From now on it does nothing, or what it does otherwise.
    pub fn set_busy(&self, is_busy: bool) {
        self.state().is_busy = is_busy;
    }

    /// From now on it leaves out a `/` that a name begins with, and refuses names with empty or dotted segments.
    pub fn spell_as_minio(&self) {
        self.state().spells_as_minio = true;
    }

    /// From now on its listings leave out names below others, as MinIO's do.
    pub fn hide_below(&self) {
        self.state().hides_below = true;
    }

    /// The next change comes so much later, and is not answered.
    pub fn delay_next(&self, pause: Duration) {
        self.state().next_late = Some(pause);
    }

    /// From now on it answers looks and listings with this status and code only.
    pub fn deny(&self, status: u16, code: &'static str) {
        self.state().denial = Some((status, code));
    }

    /// How often credentials were to be read anew.
    pub fn forgotten(&self) -> u32 {
        self.state().forgotten
    }

    /// Somebody else stores bytes.
    pub fn store_theirs(&self, bucket: &str, name: &str, bytes: &'static str) {
        let to = Target::new(Spot::new(bucket.to_owned(), name.to_owned()), Metadata::new());
        self.state().store("storing bytes", &to, Bytes::from_static(bytes.as_bytes())).expect("the bucket is there");
    }

    /// From now on calls fare as they may, or all are done at once.
    pub fn set_rough(&self, is_rough: bool) {
        self.state().is_rough = is_rough;
    }

    /// Names in a bucket with the bytes there: what others see.
    pub fn names(&self, bucket: &str) -> BTreeMap<String, Bytes> {
        let state = self.state();
        let objects = state.buckets.get(bucket).into_iter().flatten();
        objects.map(|(name, object)| (name.clone(), object.bytes.clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the service")
    }

    async fn change<T>(&self, doing: &'static str, call: impl Fn(&mut State) -> Answer<T> + Send + 'static) -> Answer<T> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let fate = self.state().fate_of_change();
        match fate {
            Fate::Done => call(&mut self.state()),
            Fate::Refused => Err(refused(doing, 503, "SlowDown")),
            Fate::Unanswered => {
                let _ = call(&mut self.state());
                Err(Fault::late(doing))
            }
            Fate::Late(pause) => {
                let service = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    let _ = call(&mut service.state());
                });
                Err(Fault::late(doing))
            }
        }
    }

    async fn look_at<T>(&self, doing: &'static str, call: impl FnOnce(&State) -> Answer<T>) -> Answer<T> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let fate = self.state().fate();
        match fate {
            Fate::Done | Fate::Late(_) => call(&self.state()),
            Fate::Refused | Fate::Unanswered => Err(refused(doing, 503, "SlowDown")),
        }
    }
}

impl State {
    fn fate(&mut self) -> Fate {
        match self.random.u8(..100) {
            _ if self.is_busy => Fate::Refused,
            _ if !self.is_rough => Fate::Done,
            0..80 => Fate::Done,
            80..86 => Fate::Refused,
            86..92 => Fate::Unanswered,
            _ => Fate::Late(LATE_MAX.mul_f64(self.random.f64())),
        }
    }

    fn fate_of_change(&mut self) -> Fate {
        self.next_late.take().map_or_else(|| self.fate(), Fate::Late)
    }

    /// Whether a listing leaves a name out.
    fn hides(&self, objects: &BTreeMap<String, Object>, name: &str) -> bool {
        self.hides_below && name.rmatch_indices('/').any(|(slash, _)| objects.contains_key(&name[..slash]))
    }

    fn bucket(&mut self, doing: &'static str, bucket: &str) -> Answer<&mut BTreeMap<String, Object>> {
        self.buckets.get_mut(bucket).ok_or_else(|| refused(doing, 404, "NoSuchBucket"))
    }

    fn object(&self, doing: &'static str, at: &Spot) -> Answer<&Object> {
        let bucket = self.buckets.get(&at.bucket).ok_or_else(|| refused(doing, 404, "NoSuchBucket"))?;
        bucket.get(self.spelt(doing, &at.name)?).ok_or_else(|| refused(doing, 404, "NoSuchKey"))
    }

    /// The name that it takes a name for.
    fn spelt<'a>(&self, doing: &'static str, name: &'a str) -> Answer<&'a str> {
        let spelt = name.strip_prefix('/').filter(|_| self.spells_as_minio).unwrap_or(name);
        let mut segments = spelt.strip_suffix('/').unwrap_or(spelt).split('/');
        match self.spells_as_minio && segments.any(|segment| matches!(segment, "" | "." | "..")) {
            true => Err(refused(doing, 400, "XMinioInvalidObjectName")),
            false => Ok(spelt),
        }
    }

    fn admit(&self, doing: &'static str) -> Answer<()> {
        self.denial.map_or(Ok(()), |(status, code)| Err(refused(doing, status, code)))
    }

    fn told(&self, doing: &'static str, at: &Spot) -> Answer<Told> {
        self.admit(doing)?;
        self.object(doing, at).map(Object::told)
    }

    fn store(&mut self, doing: &'static str, to: &Target, bytes: Bytes) -> Answer<()> {
        self.changes += 1;
        let (etag, stored_ms) = (format!("\"{}\"", self.changes), self.changes * 1_000);
        let object = Object { bytes, metadata: to.metadata.clone(), headers: to.headers.clone(), etag, stored_ms };
        self.bucket(doing, &to.spot.bucket)?.insert(to.spot.name.clone(), object);
        Ok(())
    }

    /// Whether a condition holds; where the service keeps none, all do.
    fn check(&self, doing: &'static str, at: &Spot, only: &Wanted) -> Answer<()> {
        let there = self.buckets.get(&at.bucket).and_then(|bucket| bucket.get(&at.name)).map(|object| &object.etag);
        let holds = match only {
            _ if !self.is_exact => true,
            Wanted::Any => true,
            Wanted::Nothing => there.is_none(),
            Wanted::ETag(etag) => there == Some(etag),
        };
        if holds { Ok(()) } else { Err(refused(doing, 412, "PreconditionFailed")) }
    }
}

/// [`Only`], for a call that outlives its caller.
#[derive(Clone, Debug)]
enum Wanted {
    Any,
    Nothing,
    ETag(String),
}

impl From<Only<'_>> for Wanted {
    fn from(only: Only<'_>) -> Self {
        match only {
            Only::Any => Self::Any,
            Only::Nothing => Self::Nothing,
            Only::Seen(told) => Self::ETag(told.etag.clone().unwrap_or_default()),
        }
    }
}

fn refused(doing: &'static str, status: u16, code: &str) -> Fault {
    Fault { doing, status: Some(status), code: code.to_owned(), detail: String::new() }
}

fn not_known<T>(doing: &'static str) -> Answer<T> {
    Err(refused(doing, 501, "NotImplemented"))
}

#[async_trait]
impl Service for Late {
    fn kind(&self) -> &'static str {
        "late"
    }

    fn limits(&self) -> Limits {
        Limits { put_bytes_max: 1 << 30 }
    }

    fn is_exact(&self) -> bool {
        self.state().is_exact
    }

    fn capabilities(&self) -> Vec<Capability> {
        Vec::new()
    }

    fn is_odd(&self, _name: &str) -> bool {
        false
    }

    fn forget_keys(&self) {
        self.state().forgotten += 1;
    }

    async fn put(&self, to: &Target, bytes: Bytes) -> Answer<()> {
        let to = to.clone();
        self.change("storing bytes", move |state| state.store("storing bytes", &to, bytes.clone())).await
    }

    async fn put_streamed(&self, to: &Target, body: Outgoing) -> Answer<()> {
        let body = body.collect().await.map_err(|err| Fault::broken("storing a body", None, &err))?;
        self.put(to, body.to_bytes()).await
    }

    async fn look(&self, at: &Spot) -> Answer<Told> {
        self.look_at("looking", |state| state.told("looking", at)).await
    }

    async fn open(&self, at: &Spot, range: Option<&Range<u64>>) -> Answer<Opened> {
        let object = self.look_at("reading", |state| Ok(state.object("reading", at)?.clone())).await?;
        let told = object.told();
        let range = range.cloned().unwrap_or(0..told.size);
        let bytes = object.bytes.slice(range.start as usize..range.end as usize);
        Ok(Opened { told, first: range.start, stream: stream::iter([Ok(bytes)]).boxed() })
    }

    async fn copy(&self, from: &Spot, seen: &Told, to: &Target, only: Only<'_>) -> Answer<()> {
        let (doing, from, etag, to, only) = ("copying", from.clone(), seen.etag.clone(), to.clone(), Wanted::from(only));
        let copy = move |state: &mut State| {
            let source = state.object(doing, &from)?.clone();
            if etag.as_ref() != Some(&source.etag) {
                return Err(refused(doing, 412, "PreconditionFailed"));
            }
            state.check(doing, &to.spot, &only)?;
            state.store(doing, &to, source.bytes)
        };
        self.change(doing, copy).await
    }

    async fn remove(&self, at: &Spot, only: Only<'_>) -> Answer<()> {
        let (doing, at, only) = ("removing", at.clone(), Wanted::from(only));
        let remove = move |state: &mut State| {
            state.check(doing, &at, &only)?;
            let name = state.spelt(doing, &at.name)?.to_owned();
            state.bucket(doing, &at.bucket)?.remove(&name);
            Ok(())
        };
        self.change(doing, remove).await
    }

    async fn page(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page> {
        let doing = "listing";
        self.look_at(doing, |state| {
            state.admit(doing)?;
            let objects = state.buckets.get(bucket).ok_or_else(|| refused(doing, 404, "NoSuchBucket"))?;
            // The empty prefix is no name.
            let prefix = if prefix.is_empty() { prefix } else { state.spelt(doing, prefix)? };
            let behind = match from {
                Cursor::Start => None,
                Cursor::Behind(name) | Cursor::Next(name) => Some(name),
            };
            let names = objects.iter().filter(|(name, _)| name.starts_with(prefix) && behind.is_none_or(|behind| *name > behind));
            let mut names = names.filter(|(name, _)| !state.hides(objects, name));
            let listed = |(name, object): (&String, &Object)| Listed {
                name: name.clone(),
                told: None,
                size: object.bytes.len() as u64,
                stored_ms: Some(object.stored_ms),
            };
            let page: Vec<_> = names.by_ref().take(PAGE).map(listed).collect();
            let next = names.next().and(page.last()).map(|last| last.name.clone());
            Ok(Page { listed: page, next })
        })
        .await
    }

    async fn start_upload(&self, _to: &Target) -> Answer<String> {
        not_known("beginning an upload")
    }

    async fn put_part(&self, _upload: &UploadAt, _number: u16, _bytes: Bytes) -> Answer<String> {
        not_known("storing a part")
    }

    async fn put_part_streamed(&self, _upload: &UploadAt, _number: u16, _body: Outgoing) -> Answer<String> {
        not_known("storing a part")
    }

    async fn complete_upload(&self, _upload: &UploadAt, _parts: &[PartAt]) -> Answer<()> {
        not_known("completing an upload")
    }

    async fn abort_upload(&self, _upload: &UploadAt) -> Answer<()> {
        not_known("giving up an upload")
    }

    async fn make_bucket(&self, bucket: &str) -> Answer<()> {
        self.state().buckets.entry(bucket.to_owned()).or_default();
        Ok(())
    }

    async fn look_at_bucket(&self, bucket: &str) -> Answer<()> {
        self.state().bucket("looking at a bucket", bucket).map(drop)
    }

    async fn remove_bucket(&self, bucket: &str) -> Answer<()> {
        self.state().buckets.remove(bucket);
        Ok(())
    }

    async fn buckets(&self) -> Answer<Vec<String>> {
        Ok(self.state().buckets.keys().cloned().collect())
    }
}
