//! The one way in for another site's state of a unit: stream, sweep, read-through, reconciliation and recovery all end
//! here (protocol §1, §7).
//!
//! What it decides is `model::decide`; what it makes durable in one commit is the state, the end of the work that asked
//! for it, and the receipt to whoever told of it.

use super::digest::{self, Digests};
use super::error::{Error, Result};
use super::land::{Replacing, replacing};
use super::types::{Claims, Upload};
use super::{CONFLICTS_MAX, Site};
use crate::backend::{Body, Kept, PutOptions};
use crate::model::{
    AHEAD_MS_MAX, Decision, Event, Here, LiveReplica, News, ObjectId, Record, Replica, Seq, SiteNumber, Slot, Stamp, State, Unit,
    Vector, WriteId, decide,
};
use crate::status::tables::{Buckets, Conflicts, Due, Grave, Graves, Hint, Objects, Work};
use crate::status::{Commit, CommitError, Stored};

/// What applying a unit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is here, at this vector; receipts are written.
    Reached(Vector),
    /// It is wanted and its bytes did not come along: open them and apply again.
    NeedsBytes,
    /// Its bucket is not known here yet.
    NeedsBucket,
    /// The other site knows nothing of it; what is here stays.
    Unknown,
}

/// What is known of an object, read again for every try.
pub(super) struct Known {
    current: Option<std::sync::Arc<Stored<Record>>>,
    grave: Option<Stored<Grave>>,
}

impl Known {
    /// The greatest stamp known of it.
    pub fn greatest(&self) -> Option<Stamp> {
        match self.here() {
            Here::Nothing => None,
            Here::Live(record) => Some(record.vector.greatest()),
            Here::Grave(stamp) => Some(stamp),
        }
    }

    /// Under which what is here was told.
    fn seq(&self) -> Seq {
        let of_grave = self.grave.as_ref().map_or(Seq(0), |grave| grave.seq);
        self.current.as_ref().map_or(of_grave, |current| current.seq)
    }

    /// The commit, if nothing of this has changed by then.
    pub fn guarded(&self, object: &ObjectId, commit: Commit) -> Commit {
        let slot = (object.clone(), Slot::Null);
        commit.expect::<Objects>(object, self.current.as_ref().map(|current| current.revision)).expect_if::<Graves>(
            self.current.is_none(),
            &slot,
            self.grave.as_ref().map(|grave| grave.revision),
        )
    }

    /// Whether an object is here with its bytes.
    pub fn has_bytes(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.row.state != State::Wanted)
    }

    pub fn current(&self) -> Option<&Record> {
        self.current.as_ref().map(|current| &current.row)
    }

    pub fn here(&self) -> Here<'_> {
        match (&self.current, &self.grave) {
            (Some(current), _) => Here::Live(&current.row),
            (None, Some(grave)) => Here::Grave(grave.row.stamp),
            (None, None) => Here::Nothing,
        }
    }
}

impl Site {
    /// Makes another site's state of a unit this one's too, if it is newer. `body` holds the bytes of a live object, where
    /// the caller has them.
    pub async fn apply(&self, unit: &Unit, replica: Replica, body: Option<Body>) -> Result<Applied> {
        let Some(vector) = replica.vector() else { return Ok(Applied::Unknown) };
        self.refuse_future(&vector)?;
        self.inner.clock.observe(vector.greatest());
        match (unit, replica) {
            (Unit::Object { object, .. }, replica @ (Replica::Grave { .. } | Replica::Live(_))) => {
                self.apply_object(object, replica, body, Between::States).await
            }
            (Unit::Bucket(bucket), Replica::Bucket(there)) => self.apply_bucket(bucket, &there).await,
            (unit, replica) => Err(Error::Internal(format!("{unit} came with the state of another kind of unit: {replica:?}"))),
        }
    }

    /// Replaces what is here of an object by what the site has that drew its stamp, although the stamps are the same: no
    /// order of events leads to two contents under one stamp, so one of them was damaged.
    pub async fn correct(&self, object: &ObjectId, replica: Replica, body: Option<Body>) -> Result<Applied> {
        match replica {
            Replica::Live(_) => self.apply_object(object, replica, body, Between::Contents).await,
            _ => Ok(Applied::Unknown),
        }
    }

    /// What has a stamp from the future waits, lest one bad clock freeze a key for everybody.
    pub(super) fn refuse_future(&self, vector: &Vector) -> Result<()> {
        let ahead_ms = self.ahead_ms(vector);
        if ahead_ms <= AHEAD_MS_MAX || planted!(FutureStamps) {
            return Ok(());
        }
        let reason = format!("its stamp is {ahead_ms} ms ahead of the clock here, more than {AHEAD_MS_MAX}");
        Err(Error::Unavailable { reason, retry_after: std::time::Duration::from_secs(1) })
    }

    /// How far a vector is ahead of the clock here.
    pub fn ahead_ms(&self, vector: &Vector) -> u64 {
        vector.greatest().ms().saturating_sub(self.inner.clock.wall_ms())
    }

    pub(super) async fn known(&self, object: &ObjectId) -> Result<Known> {
        let current = self.current(object).await?;
        let grave = match &current {
            Some(_) => None,
            None => self.inner.status.get::<Graves>(&(object.clone(), Slot::Null)).await?,
        };
        Ok(Known { current, grave })
    }

    /// The same of many objects, with few look-ups.
    pub(super) async fn known_all(&self, objects: &[ObjectId]) -> Result<Vec<Known>> {
        let current = self.inner.status.objects(objects).await?;
        let absent = objects.iter().zip(&current).filter(|(_, current)| current.is_none());
        let slots: Vec<_> = absent.map(|(object, _)| (object.clone(), Slot::Null)).collect();
        let mut graves = self.inner.status.get_many::<Graves>(&slots).await?.into_iter();
        let known = |current: Option<_>| Known { grave: if current.is_none() { graves.next().flatten() } else { None }, current };
        Ok(current.into_iter().map(known).collect())
    }

    async fn apply_object(&self, object: &ObjectId, replica: Replica, body: Option<Body>, between: Between) -> Result<Applied> {
        let staged = match self.bytes_wanted(object, &replica, between).await? {
            None => None,
            Some(live) if live.identity.size == 0 => Some(self.stage_replica(object, live, Body::empty()).await?),
            Some(live) => match body {
                Some(body) => Some(self.stage_replica(object, live, body).await?),
                None => return Ok(Applied::NeedsBytes),
            },
        };
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move { site.apply_locked(&object, &replica, staged, between).await }).await
    }

    /// The replica, if it would be taken now and brings bytes.
    async fn bytes_wanted<'r>(
        &self,
        object: &ObjectId,
        replica: &'r Replica,
        between: Between,
    ) -> Result<Option<&'r LiveReplica>> {
        let Replica::Live(live) = replica else { return Ok(None) };
        let known = self.known(object).await?;
        let wanted = matches!(between.decide(known.here(), replica), Decision::Take { .. } | Decision::Fill(_));
        Ok(wanted.then_some(&**live))
    }

    /// Brings a replica's bytes to the store. What is not what the other site says it is leaves nothing behind.
    pub(super) async fn stage_replica(&self, object: &ObjectId, live: &LiveReplica, body: Body) -> Result<Kept> {
        let put = PutOptions { size: Some(live.identity.size), modified_ms: live.vector.data.ms() };
        let (body, receipt) = digest::verified(Upload { body, claims: Claims::default() });
        let kept = self.inner.backend.put(object, body, put).await?;
        let digests = receipt.take()?;
        if same_bytes(live, &digests) || planted!(BytesUnchecked) {
            return Ok(kept);
        }
        self.inner.backend.release(kept.location).await;
        self.inner.counters.rotten.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let reason = format!("the bytes of {object} that came are not those of its record");
        Err(Error::Unavailable { reason, retry_after: std::time::Duration::from_secs(1) })
    }

    pub(super) async fn apply_locked(
        &self,
        object: &ObjectId,
        replica: &Replica,
        mut staged: Option<Kept>,
        between: Between,
    ) -> Result<Applied> {
        let _key = self.inner.keys.lock(object).await;
        let outcome = self.commit_replica(object, replica, &mut staged, between).await;
        // Where the outcome of the commit is unknown the bytes stay, and the next start finds out.
        if let Some(unused) = staged.filter(|_| !matches!(outcome, Err(Error::Internal(_)))) {
            self.inner.backend.release(unused.location).await;
        }
        outcome
    }

    async fn commit_replica(
        &self,
        object: &ObjectId,
        replica: &Replica,
        staged: &mut Option<Kept>,
        between: Between,
    ) -> Result<Applied> {
        let unit = Unit::null(object);
        for _ in 0..CONFLICTS_MAX {
            let known = self.known(object).await?;
            let write = self.inner.writes.next();
            let decision = between.decide(known.here(), replica);
            let mut planned = self.plan(object, &known, replica, staged.as_ref(), decision, write);
            let Some(reached) = planned.reached else { return Ok(Applied::NeedsBytes) };
            let commit = self.guard(object, &known, replica, std::mem::take(&mut planned.commit)).await?;
            let Some(commit) = commit else { return Ok(Applied::NeedsBucket) };
            let commit = self.end_work(&unit, &reached, commit).await?;
            if commit.is_empty() {
                return Ok(Applied::Reached(reached));
            }
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    self.applied(object, &known, planned, staged, write).await;
                    return Ok(Applied::Reached(reached));
                }
                Err(CommitError::Conflict) => self.count_conflict(&object.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// Everything the decision was made on must still hold; a live object needs its bucket. `None`: it has none here.
    pub(super) async fn guard(
        &self,
        object: &ObjectId,
        known: &Known,
        replica: &Replica,
        commit: Commit,
    ) -> Result<Option<Commit>> {
        let commit = known.guarded(object, commit);
        if !matches!(replica, Replica::Live(_)) {
            return Ok(Some(commit));
        }
        match self.bucket_row(&object.bucket).await {
            Ok(bucket) => Ok(Some(commit.expect::<Buckets>(&object.bucket, Some(bucket.revision)))),
            Err(Error::NoSuchBucket) => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// What is to be done about a replica, whose bytes are staged where it brings any.
    pub(super) fn plan(
        &self,
        object: &ObjectId,
        known: &Known,
        replica: &Replica,
        staged: Option<&Kept>,
        decision: Decision,
        write: WriteId,
    ) -> Planned {
        let current = known.current.as_ref().map(|current| &current.row);
        let told = |vector: Vector| self.told_as_own(object, known, vector);
        let superseding = || replica.vector().map_or_else(Commit::new, |vector| self.superseding(object, known, vector));
        match (decision, replica, staged) {
            (Decision::Keep, ..) => Planned::nothing(known.here().vector()),
            (Decision::Merge(vector), Replica::Live(live), _) => {
                merged(told(vector).unwrap_or_default(), object, known, live, vector)
            }
            (Decision::Take { conflict }, Replica::Live(live), Some(kept)) => {
                let record = replica_record(live, live.vector, kept, write);
                brought(superseding(), object, current, live, record).instead_of(object, current.filter(|_| conflict))
            }
            (Decision::Take { conflict }, Replica::Grave { stamp, base, told }, _) => {
                let grave = Grave { stamp: *stamp, base: *base, told: *told };
                let commit = super::delete::buried(superseding().seen(*stamp), object, current, &grave, write);
                let planned = Planned { commit, reached: Some(Vector::of(*stamp)), change: Change::Buried, lost: None };
                planned.instead_of(object, current.filter(|_| conflict))
            }
            // The bytes of a record that lacked them.
            (Decision::Fill(vector), Replica::Live(live), Some(kept)) => {
                let mut record = replica_record(live, vector, kept, write);
                if let Some(here) = current.filter(|here| here.vector.tags > live.vector.tags) {
                    record.identity.tags.clone_from(&here.identity.tags);
                }
                let is_newer = current.is_some_and(|here| here.vector != vector);
                let commit = if is_newer { told(vector).unwrap_or_default() } else { Commit::new() };
                brought(commit, object, current, live, record)
            }
            // Older when the bytes were asked for: it changed meanwhile.
            _ => Planned::nothing(None),
        }
    }

    /// What this site wrote itself, lost, and gets back where something older was told under a seq. Of its own it says by the
    /// seq that everybody was told, so everybody is.
    fn told_as_own(&self, object: &ObjectId, known: &Known, vector: Vector) -> Option<Commit> {
        let is_own = vector.greatest().parts().site == self.inner.id.number && known.seq() > Seq(0);
        is_own.then(|| Commit::new().tell(Event { unit: Unit::null(object), vector }).to(self.audience()))
    }

    /// A commit of what takes the place of what is here: who was owed that is owed this.
    pub(super) fn superseding(&self, object: &ObjectId, known: &Known, vector: Vector) -> Commit {
        let told = self.told_as_own(object, known, vector);
        told.unwrap_or_else(|| Commit::new().supersedes(self.inner.neighbours.numbers()))
    }

    /// Ends the work that wanted this unit, as far as it is reached.
    pub(super) async fn end_work(&self, unit: &Unit, reached: &Vector, commit: Commit) -> Result<Commit> {
        if self.inner.neighbours.is_empty() {
            return Ok(commit);
        }
        let work = self.inner.status.get::<Work>(unit).await?;
        Ok(work_ended(work.as_ref(), unit, reached, commit))
    }

    /// After the commit, still under the key lock: bytes come to their name, or go.
    pub(super) async fn applied(
        &self,
        object: &ObjectId,
        known: &Known,
        planned: Planned,
        staged: &mut Option<Kept>,
        write: WriteId,
    ) {
        if let Some(lost) = planned.lost {
            self.inner.counters.lost_conflicts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let stamp = planned.reached.map_or(lost.data, |reached| reached.data);
            tracing::info!(%stamp, lost = %lost.data, %object, "a write lost against one that had not seen it");
        }
        match planned.change {
            Change::Written(record) => {
                *staged = None;
                self.publish(object, &record).await;
                tracing::debug!(stamp = %record.vector.data, %object, "followed");
            }
            Change::Buried => {
                if let Some(current) = &known.current {
                    self.remove_bytes(object, &current.row, write).await;
                }
                tracing::debug!(%object, "followed a delete");
            }
            Change::None => {}
        }
    }
}

/// Ends the work that wanted a unit, if it is reached, and writes a receipt to everyone who told of it. Where one of them
/// told of more, the work stays, and the others hear once how far it came.
pub(super) fn work_ended(work: Option<&Stored<Hint>>, unit: &Unit, reached: &Vector, commit: Commit) -> Commit {
    let Some(work) = work else { return commit };
    let commit = match work.row.want <= *reached {
        true => {
            commit.expect::<Work>(unit, Some(work.revision)).delete::<Work>(unit).delete::<Due>(&(work.row.due_ms, unit.clone()))
        }
        false if commit.is_empty() => return commit,
        false => commit,
    };
    let event = Event { unit: unit.clone(), vector: *reached };
    let receipt = |commit: Commit, source: &SiteNumber| commit.answer(*source, event.clone(), News::Applied);
    work.row.sources.iter().fold(commit, receipt)
}

/// What one commit is to do, and what follows it in the store.
pub(super) struct Planned {
    pub commit: Commit,
    /// `None`: it cannot be reached without bytes.
    pub reached: Option<Vector>,
    change: Change,
    /// What loses against a write that had not seen it.
    lost: Option<Vector>,
}

enum Change {
    None,
    Written(Box<Record>),
    Buried,
}

/// What another site's state is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// Another state of the unit: the later wins.
    States,
    /// Another content under the same stamps: that of the other site is right.
    Contents,
}

impl Between {
    pub fn decide(self, here: Here<'_>, there: &Replica) -> Decision {
        match (self, here, there) {
            (Self::Contents, Here::Live(record), Replica::Live(live)) if live.has_bytes && record.vector == live.vector => {
                Decision::Fill(live.vector)
            }
            (Self::Contents, ..) => Decision::Keep,
            (Self::States, ..) => decide(here, there),
        }
    }
}

impl Planned {
    fn nothing(reached: Option<Vector>) -> Self {
        Self { commit: Commit::new(), reached, change: Change::None, lost: None }
    }

    /// Keeps the vector of what loses in a conflict, for people who ask.
    fn instead_of(self, object: &ObjectId, lost: Option<&Record>) -> Self {
        let Some(lost) = lost else { return self };
        let commit = self.commit.put::<Conflicts>(&(object.clone(), Slot::Null), &lost.vector);
        Self { commit, lost: Some(lost.vector), ..self }
    }
}

/// A record whose bytes came.
fn brought(commit: Commit, object: &ObjectId, current: Option<&Record>, live: &LiveReplica, record: Record) -> Planned {
    let commit = commit.seen(record.vector.greatest());
    let commit = replacing(commit, object, Replacing { record: &record, part_map: &live.part_map, current });
    Planned { commit, reached: Some(record.vector), change: Change::Written(Box::new(record)), lost: None }
}

/// The same data: each register is that of the later write.
fn merged(commit: Commit, object: &ObjectId, known: &Known, live: &LiveReplica, vector: Vector) -> Planned {
    let Some(current) = &known.current else { return Planned::nothing(None) };
    let record = Record { vector, identity: registers_of(&current.row, live), ..current.row.clone() };
    let reached = Here::Live(&record).vector();
    let commit = commit.seen(vector.greatest()).put::<Objects>(object, &record);
    Planned { commit, reached, change: Change::None, lost: None }
}

/// The identity here with the registers of whoever wrote them later.
fn registers_of(here: &Record, there: &LiveReplica) -> crate::model::Identity {
    let mut identity = here.identity.clone();
    if there.vector.tags > here.vector.tags {
        identity.tags.clone_from(&there.identity.tags);
    }
    identity
}

fn replica_record(live: &LiveReplica, vector: Vector, kept: &Kept, write: WriteId) -> Record {
    Record {
        vector,
        state: State::Present,
        identity: live.identity.clone(),
        location: kept.location.clone(),
        binding: kept.binding.clone(),
        write,
        base: live.base,
    }
}

fn same_bytes(live: &LiveReplica, digests: &Digests) -> bool {
    (live.identity.size, live.identity.crc64) == (digests.size, digests.crc64)
}
