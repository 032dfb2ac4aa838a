//! What a missing record means (protocol §8). A lone site knows everything there is. Where there are others, an absence
//! proves something only while everything they told is known here; else whoever may know better is asked, shortly, and
//! the answer says who could not be.
//!
//! [`decide`] is the whole table, a plain function; the rest looks up what it needs and does what it says.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::error::{Error, Result};
use super::locks::KeyLocks;
use super::read_through::Answer;
use super::types::WriteConditions;
use super::unread::READ_FIRST_BYTES_MAX;
use super::{Neighbour, Site, Standing};
use crate::model::{Bucket, BucketName, ObjectId, Record, SiteNumber, Slot, State, Unit, Vector, Versioning};
use crate::peer::{KeyRange, SiteState};
use crate::status::tables::{Buckets, Graves, Hint, Work};
use crate::status::{Page, Stored, VersionsOf};

/// For a site that is behind to answer a read.
const BEHIND_PATIENCE: Duration = Duration::from_millis(300);
/// For a site that told of the very key, and before a conditional write is decided.
const TOLD_PATIENCE: Duration = Duration::from_secs(1);
/// How long nobody is asked again for what nobody had.
const MISS_AGE_MAX: Duration = Duration::from_secs(2);
/// Misses remembered, at the most.
const MISSES_MAX: usize = 10_000;
/// Versions of a key looked through for the one that is current elsewhere.
const VERSIONS_ASKED_MAX: usize = 1_000;
/// Units asked for at once; more are answered as if nobody could be asked.
const INQUIRIES_MAX: usize = 64;

/// What is known of a unit that has no record here.
#[derive(Debug)]
struct Absence<'a> {
    state: SiteState,
    /// Whether it was deleted here.
    buried: bool,
    /// Who told of it, in a hint that was not followed yet.
    told_by: &'a [SiteNumber],
    standings: &'a [(SiteNumber, Standing)],
}

/// What to do about an absence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Course {
    /// Whom to ask.
    ask: Vec<SiteNumber>,
    /// How long each has to answer.
    patience: Duration,
    /// Who may know better and cannot be asked.
    unasked: Vec<SiteNumber>,
    /// Whether one that did not answer turns "it is not there" into "come back".
    strict: bool,
}

/// The table of protocol §8.
fn decide(absence: &Absence<'_>) -> Course {
    if absence.buried {
        return Course::default();
    }
    let standing = |wanted: Standing| absence.standings.iter().filter(move |(_, standing)| *standing == wanted);
    let unasked: Vec<_> = standing(Standing::Unreachable).map(|(site, _)| *site).collect();
    let answering = |site: &SiteNumber| absence.standings.iter().any(|(one, _)| one == site) && !unasked.contains(site);
    let told: Vec<_> = absence.told_by.iter().copied().filter(answering).collect();
    let patience = if told.is_empty() { BEHIND_PATIENCE } else { TOLD_PATIENCE };
    let behind = standing(Standing::Behind).map(|(site, _)| *site).filter(|_| !planted!(BehindNotAsked));
    let unasked = if planted!(UnreachableUnnamed) { Vec::new() } else { unasked };
    if absence.state == SiteState::Restoring && !planted!(RestoringDenies) {
        let ask = behind.chain(standing(Standing::CaughtUp).map(|(site, _)| *site)).collect();
        return Course { ask, patience: TOLD_PATIENCE, unasked, strict: true };
    }
    let others: Vec<_> = behind.filter(|site| !told.contains(site)).collect();
    Course { ask: [told, others].concat(), patience, unasked, strict: false }
}

/// Why one asks: a read may repeat what was answered a moment ago, a decision may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Read,
    Decision,
}

/// What is being asked for, and what nobody had.
#[derive(Debug)]
pub(super) struct Inquiries {
    /// One at a time asks for a unit; who waited finds what it learned.
    flights: Arc<KeyLocks<Unit>>,
    room: Semaphore,
    misses: Mutex<Misses>,
}

/// What nobody had, a moment ago.
#[derive(Debug, Default)]
struct Misses {
    by_unit: HashMap<Unit, Miss>,
    /// In the order they came, oldest first.
    order: VecDeque<(Instant, Unit)>,
}

#[derive(Clone, Debug)]
struct Miss {
    at: Instant,
    /// The hint there was: another one is news.
    want: Option<Vector>,
    unasked: Vec<SiteNumber>,
}

impl Default for Inquiries {
    fn default() -> Self {
        Self { flights: KeyLocks::new(), room: Semaphore::new(INQUIRIES_MAX), misses: Mutex::default() }
    }
}

impl Inquiries {
    fn misses(&self) -> MutexGuard<'_, Misses> {
        self.misses.lock().expect("nothing panics while it holds the misses")
    }

    fn missed(&self, unit: &Unit, want: Option<Vector>) -> Option<Vec<SiteNumber>> {
        let misses = self.misses();
        let miss = misses.by_unit.get(unit).filter(|miss| miss.at.elapsed() < MISS_AGE_MAX && miss.want == want)?;
        Some(miss.unasked.clone())
    }

    fn miss(&self, unit: &Unit, want: Option<Vector>, unasked: &[SiteNumber]) {
        let (mut misses, at) = (self.misses(), Instant::now());
        misses.forget(|oldest, len| oldest.elapsed() >= MISS_AGE_MAX || len >= MISSES_MAX);
        misses.order.push_back((at, unit.clone()));
        misses.by_unit.insert(unit.clone(), Miss { at, want, unasked: unasked.to_vec() });
    }
}

impl Misses {
    fn forget(&mut self, gone: impl Fn(Instant, usize) -> bool) {
        while let Some((at, _)) = self.order.front()
            && gone(*at, self.order.len())
        {
            let Some((at, unit)) = self.order.pop_front() else { return };
            // One that was missed again since stands further behind.
            if self.by_unit.get(&unit).is_some_and(|miss| miss.at == at) {
                self.by_unit.remove(&unit);
            }
        }
    }
}

impl Site {
    /// The record of a version that is to be read, of the current one where none is named: its bucket and itself must exist,
    /// here or where it can be learned. Takes the object's lock to bring it here, so nobody may hold that.
    pub(super) async fn existing(&self, object: &ObjectId, version: Option<Slot>) -> Result<Arc<Stored<Record>>> {
        if version.is_none_or(|slot| slot == Slot::Null) && self.is_shared(&object.bucket) {
            self.imported(object).await?;
        }
        match version {
            None => match self.current_or_imported(object).await? {
                Some(stored) => Ok(stored),
                None => self.sought(object, Purpose::Read).await,
            },
            Some(slot) => {
                let is_walked = self.is_walked(&object.bucket);
                let stored = match self.inner.status.unit(object, slot).await? {
                    Some(stored) => Some(stored),
                    None if is_walked && (slot == Slot::Null || self.has_versions_there(&object.bucket)) => {
                        self.imported(object).await?;
                        self.inner.status.unit(object, slot).await?
                    }
                    None => None,
                };
                let stored = match stored {
                    Some(stored) => stored,
                    None => self.sought_version(object, slot).await?,
                };
                match stored.row.is_shown() {
                    true => Ok(stored),
                    false => Err(Error::IsMarker { marker: slot, modified_ms: self.modified_ms(&stored.row) }),
                }
            }
        }
    }

    /// The current record. A file may be there that has none yet, in a bucket that is being imported: asked before the look at the
    /// row, which the walk may write before it is through.
    async fn current_or_imported(&self, object: &ObjectId) -> Result<Option<Arc<Stored<Record>>>> {
        let is_walked = self.is_walked(&object.bucket);
        match self.current(object).await? {
            None if is_walked => {
                self.imported(object).await?;
                self.current(object).await
            }
            current => Ok(current),
        }
    }

    /// A version that is named and not known here.
    async fn sought_version(&self, object: &ObjectId, slot: Slot) -> Result<Arc<Stored<Record>>> {
        self.known_bucket(&object.bucket).await?;
        let unit = Unit::of(object, slot);
        let mut unasked = Vec::new();
        if !self.inner.neighbours.is_empty() {
            let buried = self.inner.status.get::<Graves>(&(object.clone(), slot)).await?.is_some();
            unasked = self.seek(&unit, buried, Purpose::Read).await?;
        }
        match self.inner.status.unit(object, slot).await? {
            Some(stored) => Ok(stored),
            None if unasked.is_empty() => self.certainly_absent(object).await.and(Err(Error::NoSuchVersion)),
            None => Err(Error::NoSuchVersionHere { unasked }),
        }
    }

    /// What other sites told of any version of a key and that is not here yet.
    pub(super) async fn hints_of(&self, object: &ObjectId) -> Result<Vec<(Unit, Hint)>> {
        let page: Page<Work> = self.inner.status.page(&VersionsOf(object.clone()), None, VERSIONS_ASKED_MAX).await?;
        Ok(page.rows.into_iter().map(|(unit, stored)| (unit, stored.row)).collect())
    }

    /// Refuses a key whose current version is a delete marker.
    async fn refuse_hidden(&self, object: &ObjectId) -> Result<()> {
        if self.bucket_row(&object.bucket).await?.row.versioning() == Versioning::Off {
            return Ok(());
        }
        match self.inner.status.hiding(object).await? {
            Some(marker) => Err(Error::Hidden { marker: marker.row.slot() }),
            None => Ok(()),
        }
    }

    /// Brings what others may know of an object before a conditional write of it is decided.
    pub(super) async fn learn(&self, object: &ObjectId, conditions: &WriteConditions) -> Result<()> {
        if planted!(ConditionUnasked) || *conditions == WriteConditions::default() {
            return Ok(());
        }
        if let Some(current) = self.current_or_imported(object).await? {
            // Whoever asks for an ETag may have it from a HEAD, which reads what is small.
            let is_to_be_read = current.row.state == State::Unread;
            return if is_to_be_read { self.existing_read(object, None, READ_FIRST_BYTES_MAX).await.map(drop) } else { Ok(()) };
        }
        if self.inner.neighbours.is_empty() {
            return self.certainly_absent(object).await;
        }
        match self.sought(object, Purpose::Decision).await {
            Ok(_) | Err(Error::NoSuchKey | Error::Hidden { .. } | Error::NoSuchBucket | Error::NoSuchBucketHere { .. }) => Ok(()),
            Err(Error::NoSuchKeyHere { .. }) if !conditions.want_something() => Ok(()),
            Err(Error::NoSuchKeyHere { unasked }) => Err(unsure(&unasked)),
            Err(err) => Err(err),
        }
    }

    async fn sought(&self, object: &ObjectId, purpose: Purpose) -> Result<Arc<Stored<Record>>> {
        let bucket = self.known_bucket(&object.bucket).await?;
        self.refuse_hidden(object).await?;
        if self.inner.neighbours.is_empty() {
            self.certainly_absent(object).await?;
            return Err(Error::NoSuchKey);
        }
        let has_versions = bucket.row.versioning() != Versioning::Off;
        let buried = !has_versions && self.inner.status.get::<Graves>(&(object.clone(), Slot::Null)).await?.is_some();
        let mut unasked = self.seek(&Unit::null(object), buried, purpose).await?;
        if has_versions && self.current(object).await?.is_none() {
            // The newest of what was told: it may be what is current.
            let hints = self.hints_of(object).await?.into_iter().filter(|(unit, _)| *unit != Unit::null(object));
            if let Some((unit, _)) = hints.max_by_key(|(_, hint)| hint.want.data) {
                unasked.extend(self.seek(&unit, false, purpose).await?);
            }
        }
        self.refuse_hidden(object).await?;
        match self.current(object).await? {
            Some(stored) => Ok(stored),
            None if unasked.is_empty() => self.certainly_absent(object).await.and(Err(Error::NoSuchKey)),
            None => Err(Error::NoSuchKeyHere { unasked }),
        }
    }

    /// Refuses to call an object absent that the store may hold without a row.
    async fn certainly_absent(&self, object: &ObjectId) -> Result<()> {
        if !self.is_rebuilding() || self.inner.status.get::<Graves>(&(object.clone(), Slot::Null)).await?.is_some() {
            return Ok(());
        }
        self.require_rebuilt()
    }

    /// The row of a live bucket, which may be known elsewhere before it is told here.
    pub(super) async fn known_bucket(&self, bucket: &BucketName) -> Result<Arc<Stored<Bucket>>> {
        match self.bucket_row(bucket).await {
            Err(Error::NoSuchBucket) if !self.inner.neighbours.is_empty() => {}
            known => return known,
        }
        let buried = self.inner.status.get::<Buckets>(bucket).await?.is_some();
        let unasked = self.seek(&Unit::Bucket(bucket.clone()), buried, Purpose::Read).await?;
        match self.bucket_row(bucket).await {
            Err(Error::NoSuchBucket) if !unasked.is_empty() => Err(Error::NoSuchBucketHere { unasked }),
            known => known,
        }
    }

    /// Asks whoever may know of a unit that is not here. What they have is here afterwards; answers who may know better still.
    async fn seek(&self, unit: &Unit, buried: bool, purpose: Purpose) -> Result<Vec<String>> {
        let hint = self.inner.status.get::<Work>(unit).await?;
        let (told_by, want) = hint.map_or((Vec::new(), None), |hint| (hint.row.sources, Some(hint.row.want)));
        let standings: Vec<_> = self.inner.neighbours.iter().map(|one| (one.id.number, one.standing())).collect();
        let mut course = decide(&Absence { state: self.state(), buried, told_by: &told_by, standings: &standings });
        if purpose == Purpose::Decision {
            course.patience = TOLD_PATIENCE;
        }
        let strict = course.strict;
        let unasked = if course.ask.is_empty() { course.unasked } else { self.inquire(unit, want, course, purpose).await };
        let names: Vec<_> =
            unasked.iter().filter_map(|site| self.inner.neighbours.get(*site)).map(|one| one.id.name.clone()).collect();
        if strict && !names.is_empty() { Err(unsure(&names)) } else { Ok(names) }
    }

    /// Asks along a course. Answers who could not be asked, or did not answer.
    async fn inquire(&self, unit: &Unit, want: Option<Vector>, course: Course, purpose: Purpose) -> Vec<SiteNumber> {
        let inquiries = &self.inner.inquiries;
        let _flight = inquiries.flights.lock(unit).await;
        if self.is_here(unit).await {
            return Vec::new();
        }
        if let Some(unasked) = inquiries.missed(unit, want).filter(|_| purpose == Purpose::Read) {
            return unasked;
        }
        let Ok(_room) = inquiries.room.try_acquire() else { return [course.ask, course.unasked].concat() };
        let neighbours: Vec<&Arc<Neighbour>> = course.ask.iter().filter_map(|site| self.inner.neighbours.get(*site)).collect();
        let mut asked: FuturesUnordered<_> = neighbours
            .into_iter()
            .map(|one| async move { (one.id.number, self.ask_current(one, unit, course.patience).await) })
            .collect();
        let mut unasked = course.unasked;
        while let Some((site, answer)) = asked.next().await {
            if let Err(reason) = self.noted(unit, site, answer).await {
                tracing::debug!(%unit, site = site.0, reason, "asked in vain");
                unasked.push(site);
            } else if self.is_here(unit).await {
                return Vec::new();
            }
        }
        inquiries.miss(unit, want, &unasked);
        unasked
    }

    /// Asks for a unit; of a null version in a bucket that has others, for whichever is current there.
    async fn ask_current(&self, one: &Neighbour, unit: &Unit, patience: Duration) -> Result<Answer, String> {
        let answer = self.ask(one, unit, patience).await?;
        let Unit::Object { object, slot: Slot::Null } = unit else { return Ok(answer) };
        let bucket = self.bucket_row(&object.bucket).await.map_err(|err| err.to_string())?;
        if bucket.row.versioning() == Versioning::Off {
            return Ok(answer);
        }
        let of_key = KeyRange { from: Some(object.key.clone()), to: object.key.next() };
        let rows = timeout(patience, one.peer.rows(&object.bucket, of_key, VERSIONS_ASKED_MAX)).await;
        let rows = rows.map_err(|_| "no answer in time".to_owned())?.map_err(|err| err.to_string())?.rows;
        let live = rows.into_iter().filter(|row| !row.is_grave && row.slot != Slot::Null);
        let Some(newest) = live.max_by_key(|row| row.vector.data) else { return Ok(answer) };
        let version = Unit::of(object, newest.slot);
        let of_version = self.ask(one, &version, patience).await;
        self.noted(&version, one.id.number, of_version).await?;
        Ok(answer)
    }

    async fn is_here(&self, unit: &Unit) -> bool {
        match unit {
            Unit::Object { object, slot: Slot::Null } => {
                matches!(self.current(object).await, Ok(Some(_))) || self.refuse_hidden(object).await.is_err()
            }
            Unit::Object { object, slot } => matches!(self.inner.status.unit(object, *slot).await, Ok(Some(_))),
            Unit::Bucket(bucket) => self.bucket_row(bucket).await.is_ok(),
        }
    }
}

fn unsure(unasked: &[String]) -> Error {
    let reason = format!("whether the key exists cannot be said while these sites cannot be asked: {}", unasked.join(", "));
    Error::Unavailable { reason, retry_after: Duration::from_secs(1) }
}

#[cfg(test)]
mod tests {
    use super::Standing::{Behind, CaughtUp, Unreachable};
    use super::*;
    use crate::model::BucketName;

    const P: SiteNumber = SiteNumber(2);
    const Q: SiteNumber = SiteNumber(3);

    fn course(told_by: &[SiteNumber], p: Standing, q: Standing) -> (Vec<SiteNumber>, u128, Vec<SiteNumber>) {
        let standings = [(P, p), (Q, q)];
        let course = decide(&Absence { state: SiteState::Active, buried: false, told_by, standings: &standings });
        assert!(!course.strict);
        (course.ask, course.patience.as_millis(), course.unasked)
    }

    #[test]
    fn who_is_asked_of_a_key_that_is_not_here() {
        let none = Vec::new;
        assert_eq!(course(&[], CaughtUp, CaughtUp), (none(), 300, none()));
        assert_eq!(course(&[], Behind, CaughtUp), (vec![P], 300, none()));
        assert_eq!(course(&[], Behind, Behind), (vec![P, Q], 300, none()));
        assert_eq!(course(&[], Unreachable, CaughtUp), (none(), 300, vec![P]));
        assert_eq!(course(&[], Unreachable, Behind), (vec![Q], 300, vec![P]));
        // A hint names who has it, caught up or not.
        assert_eq!(course(&[Q], CaughtUp, CaughtUp), (vec![Q], 1_000, none()));
        assert_eq!(course(&[Q], Behind, Behind), (vec![Q, P], 1_000, none()));
        assert_eq!(course(&[P], Unreachable, Behind), (vec![Q], 300, vec![P]));
        assert_eq!(course(&[SiteNumber(9)], CaughtUp, CaughtUp), (none(), 300, none()));
    }

    #[test]
    fn what_was_deleted_here_is_not_asked_for() {
        let standings = [(P, Behind), (Q, Unreachable)];
        let absence = Absence { state: SiteState::Active, buried: true, told_by: &[P], standings: &standings };
        assert_eq!(decide(&absence), Course::default());
    }

    #[test]
    fn a_site_that_gets_its_data_back_proves_nothing_by_itself() {
        let standings = [(P, CaughtUp), (Q, Unreachable)];
        let absence = Absence { state: SiteState::Restoring, buried: false, told_by: &[], standings: &standings };
        assert_eq!(decide(&absence), Course { ask: vec![P], patience: TOLD_PATIENCE, unasked: vec![Q], strict: true });
    }

    #[tokio::test(start_paused = true)]
    async fn a_miss_is_remembered_for_two_seconds_and_not_past_its_bound() {
        let inquiries = Inquiries::default();
        let unit = |n: usize| Unit::Bucket(BucketName::new(&format!("bucket-{n}")).unwrap());
        inquiries.miss(&unit(0), None, &[P]);
        assert_eq!(inquiries.missed(&unit(0), None), Some(vec![P]));
        tokio::time::advance(Duration::from_secs(1)).await;
        inquiries.miss(&unit(0), None, &[Q]);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        inquiries.miss(&unit(1), None, &[]);
        assert_eq!(inquiries.missed(&unit(0), None), Some(vec![Q]));
        tokio::time::advance(MISS_AGE_MAX).await;
        assert_eq!(inquiries.missed(&unit(0), None), None);
        (0..MISSES_MAX + 10).for_each(|n| inquiries.miss(&unit(n), None, &[]));
        assert_eq!(inquiries.misses().by_unit.len(), MISSES_MAX);
        assert_eq!(inquiries.misses().order.len(), MISSES_MAX);
    }
}
