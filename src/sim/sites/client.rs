//! Clients of a simulated site: what they ask, and whether the answers are ones that the site may give.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::ledger::{Id, Kind, MARK, written_by};
use super::life::Life;
use super::plan::Op;
use super::shown::{Shown, brief, crc};
use super::watch::Watch;
use super::world::World;
use crate::model::{BucketName, ObjectId, SiteId, SiteNumber, Slot, Stamp, Unit};
use crate::peer::SiteState;
use crate::site::testing::upload;
use crate::site::*;
use crate::status::tables::Work;
use crate::status::{ListEntry, ListQuery};

/// After so long nobody remembers that a site did not have an object, and no answer of before is on its way.
const REMEMBERED: Duration = Duration::from_secs(5);

/// No call takes longer, however slow its site is.
const CALL_MAX: Duration = Duration::from_secs(60);

/// What a site knew when a call began.
struct Knew {
    object: ObjectId,
    at: Instant,
    /// The number of the object's state there.
    number: usize,
    state: SiteState,
    others: Vec<(SiteId, Standing)>,
}

/// Whoever calls sites of one world.
#[derive(Debug)]
pub struct Client {
    watch: Arc<Watch>,
}

/// One call of one client.
pub(super) struct Call {
    pub watch: Arc<Watch>,
    pub site: Site,
    life: Arc<Life>,
}

pub fn bucket() -> BucketName {
    BucketName::new("bucket").expect("a good name")
}

pub fn object(key: u8) -> ObjectId {
    ObjectId::parse("bucket", &format!("key-{key}")).expect("a good name")
}

/// What write `id` stores: no two store the same.
pub(super) fn bytes(id: Id, size: usize) -> Bytes {
    let mut text = format!("{id}\n").repeat(size / 2 + 1);
    text.truncate(size);
    text.into()
}

pub(super) fn description(id: Id) -> Description {
    let mark = vec![(MARK.to_owned(), id.to_string())];
    Description { metadata: mark.clone(), tags: mark, ..Description::default() }
}

impl Client {
    pub fn new(world: &World) -> Arc<Self> {
        Arc::new(Self { watch: world.watch.clone() })
    }

    /// A call to a site that runs, to its end or that of the site.
    pub fn calling(&self, world: &World, site: SiteNumber, op: Op) -> Option<impl Future<Output = ()> + Send + 'static> {
        let (site, life) = world.running(site)?;
        let call = Call { watch: self.watch.clone(), site: site.clone(), life: life.clone() };
        Some(async move {
            tokio::select! {
                biased;
                () = call.life.death() => {}
                () = call.make_in_time(op) => {}
            }
        })
    }

    pub async fn call(&self, world: &World, site: SiteNumber, op: Op) {
        if let Some(call) = self.calling(world, site, op) {
            call.await;
        }
    }
}

impl Call {
    /// Whatever other sites do, or do not, a call ends (I10).
    async fn make_in_time(&self, op: Op) {
        let began = Instant::now();
        self.make(op).await;
        if began.elapsed() > CALL_MAX {
            let (site, took) = (self.number().0, began.elapsed().as_secs());
            self.watch.violate(format!("I10: {op:?} at site {site} took {took} s"));
        }
    }

    async fn make(&self, op: Op) {
        match op {
            Op::Put { key, size } => drop(self.put(key, size, WriteConditions::default()).await),
            Op::PutNew { key } => {
                let absent = WriteConditions { if_none_match: Some(EtagCondition::Any), ..Default::default() };
                drop(self.put(key, 10, absent).await);
            }
            Op::PutOver { key } => {
                let Ok(seen) = self.site.head(&object(key), None, Selection::All, &ReadConditions::default()).await else {
                    return;
                };
                let same = Some(EtagCondition::OneOf(vec![seen.record.identity.etag.clone()]));
                drop(self.put(key, 10, WriteConditions { if_match: same, ..Default::default() }).await);
            }
            Op::PutMatch { key } => {
                let knew = self.knew(&object(key));
                let something = WriteConditions { if_match: Some(EtagCondition::Any), ..Default::default() };
                if let Err(err) = self.put(key, 10, something).await {
                    self.denied(&knew, &err);
                }
            }
            Op::GetAtLeast { key } => self.get_at_least(key).await,
            Op::Delete { key } => self.delete(key).await,
            Op::Tag { key } => self.tag(key).await,
            Op::Copy { from, to } => self.copy(from, to).await,
            Op::Multipart { key } => self.multipart(key).await,
            Op::Get { key } => self.get(key).await,
            Op::Head { key } => self.head(key).await,
            Op::List => self.list().await,
            Op::CreateBucket => self.ignore(self.site.create_bucket(&bucket(), "owner", "us-east-1").await.map(drop)),
            Op::DeleteBucket => self.ignore(self.site.delete_bucket(&bucket()).await),
            Op::Versions(op) => self.make_of_versions(op).await,
        }
    }

    pub fn number(&self) -> SiteNumber {
        self.life.site
    }

    pub fn ignore(&self, outcome: Result<()>) {
        if let Err(Error::Internal(reason)) = outcome {
            self.watch.violate(format!("a call at site {} failed: {reason}", self.number().0));
        }
    }

    /// What became of an attempt.
    pub fn ended(&self, id: Id, outcome: Result<Option<(Stamp, Slot)>>) {
        match outcome {
            Ok(Some(version)) => self.watch.acknowledge(id, version),
            // Of every error but an inner one the site says that nothing was changed.
            Ok(None) => self.watch.refuse(id),
            Err(Error::Internal(reason)) => self.watch.violate(format!("attempt {id} failed: {reason}")),
            Err(_) => self.watch.refuse(id),
        }
    }

    async fn put(&self, key: u8, size: usize, conditions: WriteConditions) -> Result<()> {
        let id = self.watch.begin(self.number(), Kind::Write, (&object(key), None));
        let put = self.site.put(&object(key), upload(bytes(id, size)), description(id), conditions).await;
        let (outcome, answer) = match put {
            Ok(written) => (Ok(Some((written.stamp, written.slot))), Ok(())),
            Err(Error::Internal(reason)) => (Err(Error::Internal(reason)), Ok(())),
            Err(err) => (Ok(None), Err(err)),
        };
        self.ended(id, outcome);
        answer
    }

    async fn delete(&self, key: u8) {
        let id = self.watch.begin(self.number(), Kind::Delete, (&object(key), None));
        let deleted = self.site.delete(&object(key), WriteConditions::default()).await;
        self.ended(id, deleted.map(|deleted| Some((deleted.stamp?, deleted.slot))));
    }

    async fn tag(&self, key: u8) {
        let id = self.watch.begin(self.number(), Kind::Tag, (&object(key), None));
        let tagged = self.site.set_register(&object(key), None, Register::Tags(description(id).tags)).await;
        self.ended(id, tagged.map(|tagged| Some((tagged.stamp, tagged.slot))));
    }

    async fn copy(&self, from: u8, to: u8) {
        let id = self.watch.begin(self.number(), Kind::Write, (&object(to), None));
        let Description { headers, metadata, tags, .. } = description(id);
        let request = CopyRequest { replace: Some((headers, metadata)), replace_tags: Some(tags), ..Default::default() };
        let copied = self.site.copy(&object(from), &object(to), request).await;
        self.ended(id, copied.map(|written| Some((written.stamp, written.slot))));
    }

    async fn multipart(&self, key: u8) {
        let object = object(key);
        let id = self.watch.begin(self.number(), Kind::Write, (&object, None));
        let made = async {
            let start = StartUpload { description: description(id), ..StartUpload::default() };
            let upload_id = self.site.start_upload(&object, start).await?.upload_id;
            let part = self.site.put_part(&object, &upload_id, 1, upload(bytes(id, 1_000))).await?;
            let parts = vec![NamedPart { number: 1, etag: Some(part.etag), checksums: Vec::new() }];
            self.site.complete_upload(&object, &upload_id, CompleteUpload { parts, ..Default::default() }).await
        };
        self.ended(id, made.await.map(|written| Some((written.stamp, written.slot))));
    }

    /// What was acknowledged anywhere is not less here, once the site said that it reached it.
    async fn get_at_least(&self, key: u8) {
        let object = object(key);
        let last = self.watch.with_ledger(|ledger| {
            ledger.acknowledged(&object).map(|(attempt, stamp, slot)| (stamp, slot, attempt.kind)).max_by_key(|last| last.0)
        });
        let Some((stamp, slot, kind)) = last else { return };
        if self.site.reach(&object, stamp).await.is_err() {
            return;
        }
        let greatest = self.watch.greatest(self.number(), &object);
        // Tags lose with their data, to a state whose stamp may be less.
        if greatest < Some(stamp) && kind != Kind::Tag {
            let site = self.number().0;
            self.watch.violate(format!("§8: site {site} said that it reached {stamp} of {object} {slot}, and has {greatest:?}"));
        }
    }

    async fn get(&self, key: u8) {
        let object = object(key);
        let knew = self.knew(&object);
        match self.site.get(&object, None, Selection::All, &ReadConditions::default()).await {
            Ok(opened) => {
                self.compare(&knew, &Shown::Live(opened.seen.record.clone()));
                self.whole(&object, opened).await;
            }
            Err(err) => {
                self.read_failed(&knew, &err);
                self.denied(&knew, &err);
            }
        }
    }

    /// The body that comes is that of the record.
    pub async fn whole(&self, object: &ObjectId, opened: Opened) {
        let identity = opened.seen.record.identity.clone();
        // A body may end early, but never with a clean end.
        let Ok(bytes) = opened.body.collect(64 << 20).await else { return };
        if crc(&bytes) != identity.crc64 {
            self.watch.violate(format!("I9: the bytes of {object} are not those of {:?}", written_by(&identity)));
        }
    }

    async fn head(&self, key: u8) {
        let knew = self.knew(&object(key));
        match self.site.head(&knew.object, None, Selection::All, &ReadConditions::default()).await {
            Ok(seen) => self.compare(&knew, &Shown::Live(seen.record.clone())),
            Err(err) => {
                self.read_failed(&knew, &err);
                self.denied(&knew, &err);
            }
        }
    }

    async fn list(&self) {
        if self.site.state() == SiteState::Restoring {
            self.watch.restores(self.number());
        }
        let before: Vec<_> = (0..8).map(|key| self.knew(&object(key))).collect();
        let query = ListQuery { bucket: bucket(), prefix: String::new(), delimiter: None, after: None, entries_max: 1_000 };
        let Ok(page) = self.site.list(query).await else { return };
        for knew in &before {
            let found = page.entries.iter().find_map(|entry| match entry {
                ListEntry::Object { key, record } if *key == knew.object.key.as_str() => Some(record.clone()),
                _ => None,
            });
            match found {
                Some(record) => self.compare(knew, &Shown::Live(record)),
                None => {
                    self.absent(knew);
                    self.not_listed(&knew.object);
                }
            }
        }
    }

    /// How the others stand, and since when, as a call begins.
    fn knew(&self, object: &ObjectId) -> Knew {
        let others = self.site.neighbours().iter().map(|one| (one.id.clone(), one.standing())).collect();
        let number = self.watch.current(self.number(), object).0;
        Knew { object: object.clone(), at: Instant::now(), number, state: self.site.state(), others }
    }

    /// Everything that was current there while the call went on.
    fn meanwhile(&self, knew: &Knew) -> Vec<Shown> {
        self.watch.current_since(self.number(), &knew.object, knew.number)
    }

    /// Who may know better is asked or named (§8): an object that another site has all the time, and had long enough for
    /// every answer that is remembered to be forgotten, is not said to be nowhere while that site is behind or away.
    fn denied(&self, knew: &Knew, err: &Error) {
        let of_bucket = matches!(err, Error::NoSuchBucket | Error::NoSuchBucketHere { .. });
        let unasked: &[String] = match err {
            Error::NoSuchKey | Error::NoSuchBucket => &[],
            Error::NoSuchKeyHere { unasked } | Error::NoSuchBucketHere { unasked } => unasked,
            _ => return,
        };
        if self.meanwhile(knew).iter().any(|shown| !matches!(shown, Shown::Nothing)) {
            return;
        }
        let (site, object) = (self.number().0, &knew.object);
        if knew.state == SiteState::Restoring && self.site.state() == SiteState::Restoring && !unasked.is_empty() {
            self.watch.violate(format!("§8: site {site} is restoring, and said that {object} is not there"));
        }
        for (id, standing) in knew.others.iter().filter(|(id, _)| !unasked.contains(&id.name)) {
            let had = self.watch.live_since(id.number, object).is_some_and(|since| since + REMEMBERED <= knew.at);
            // A bucket that was deleted here is gone.
            let bucket = Unit::Bucket(object.bucket.clone());
            let must_ask = !of_bucket || matches!(self.watch.now(self.number(), &bucket).1, Shown::Nothing);
            if had && must_ask && *standing != Standing::CaughtUp {
                let name = &id.name;
                self.watch
                    .violate(format!("§8: site {site} said that {object} is nowhere; {name}, which is {standing:?}, has it"));
            }
        }
    }

    /// A site that lost what it had lists nothing before it is whole again (§8, §11).
    fn not_listed(&self, object: &ObjectId) {
        let site = self.number();
        let current = |site: SiteNumber| self.watch.current(site, object).1;
        // One that nobody told of its loss takes itself for new.
        let had_it = self.watch.is_restored(site) && self.watch.had(site, object).is_some_and(|had| had.is_object());
        let hinted = self.watch.look(self.site.status().get::<Work>(&Unit::null(object))).is_ok_and(|work| work.is_some());
        let knows_nothing = matches!(current(site), Shown::Nothing);
        let is_elsewhere = self.site.neighbours().numbers().iter().all(|other| current(*other).is_object());
        if had_it && knows_nothing && is_elsewhere && !(hinted && self.site.state() == SiteState::Active) {
            self.watch.violate(format!("§8: a list of site {} is without {object}, which it lost and others have", site.0));
        }
    }

    /// What was read was current at some moment of the call: no older than what was there when it began, nothing under a
    /// grave or a delete marker, and of several versions the newest (I9).
    fn compare(&self, knew: &Knew, shown: &Shown) {
        let meanwhile = self.meanwhile(knew);
        if !meanwhile.iter().any(|current| current.is(shown)) {
            let (current, shown, site) = (brief(&meanwhile[0]), brief(shown), self.number().0);
            self.watch.violate(format!("I9: a read of {} at site {site} showed {shown}, current was {current}", knew.object));
        }
    }

    fn read_failed(&self, knew: &Knew, err: &Error) {
        match err {
            Error::NoSuchKey | Error::NoSuchKeyHere { .. } | Error::NoSuchBucket | Error::NoSuchBucketHere { .. } => {
                self.absent(knew)
            }
            Error::Hidden { marker } => self.hidden(knew, *marker),
            Error::Unavailable { .. } => {}
            err => self.watch.violate(format!("I9: a read of {} at site {} failed: {err}", knew.object, self.number().0)),
        }
    }

    /// An object is only said to be absent if it was, at some moment of the call.
    fn absent(&self, knew: &Knew) {
        let meanwhile = self.meanwhile(knew);
        if meanwhile.iter().all(Shown::is_object) {
            let (site, object, before) = (self.number().0, &knew.object, brief(&meanwhile[0]));
            self.watch.violate(format!("I9: {object} at site {site} was said to be absent, and was {before}"));
        }
    }

    /// It is only said to be hidden by a delete marker that was current.
    fn hidden(&self, knew: &Knew, marker: Slot) {
        let meanwhile = self.meanwhile(knew);
        let hides = |shown: &Shown| shown.is_marker() && shown.live().is_some_and(|record| record.slot() == marker);
        if !meanwhile.iter().any(hides) {
            let (site, object, before) = (self.number().0, &knew.object, brief(&meanwhile[0]));
            self.watch.violate(format!("I9: {object} at site {site} was said to be hidden by {marker}, and was {before}"));
        }
    }
}
