//! The one way in for another site's state of a unit: stream, sweep, read-through, reconciliation and recovery all end
//! here (protocol §1, §7).
//!
//! What it decides is `model::decide`; what it makes durable in one commit is the state, the end of the work that asked
//! for it, and the receipt to whoever told of it.

use std::sync::Arc;

use super::digest::{self, Digests};
use super::error::{Error, Result};
use super::label::{Meant, Said};
use super::land::{Replacing, is_left_behind, replacing};
use super::types::{Claims, Upload};
use super::{CONFLICTS_MAX, Site};
use crate::backend::{Body, Kept, PutOptions};
use crate::model::{
    AHEAD_MS_MAX, Binding, Decision, Event, Grave, Here, Identity, LiveReplica, Location, News, ObjectId, Purged, Record,
    Registers, Replica, Seq, SiteNumber, Slot, Stamp, State, Tags, Unit, Vector, WriteId, decide,
};
use crate::status::tables::{Buckets, Conflicts, Due, Graves, Hint, Work};
use crate::status::{Commit, CommitError, Stored};

/// What applying a unit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is here, at this vector; receipts are written.
    Reached(Vector),
    /// So much of it is here as that site had, which was at this vector; others that told of it may have more that stamps do not tell, so
    /// that no receipts are written ([`Site::came`]).
    Part(Vector),
    /// It is wanted and its bytes did not come along: open them and apply again.
    NeedsBytes,
    /// Its bucket is not known here yet.
    NeedsBucket,
    /// The other site knows nothing of it; what is here stays.
    Unknown,
}

/// What is known of a unit, read again for every try.
pub(super) struct Known {
    slot: Slot,
    live: Option<Arc<Stored<Record>>>,
    grave: Option<Stored<Grave>>,
}

impl Known {
    /// The greatest stamp known of it.
    pub fn greatest(&self) -> Option<Stamp> {
        self.here().stamps().map(|stamps| stamps.greatest())
    }

    /// Under which what is here was told.
    pub fn seq(&self) -> Seq {
        let of_grave = self.grave.as_ref().map_or(Seq(0), |grave| grave.seq);
        self.live.as_ref().map_or(of_grave, |live| live.seq)
    }

    /// The commit, if nothing of this has changed by then.
    pub fn guarded(&self, object: &ObjectId, commit: Commit) -> Commit {
        let commit = commit.expect_unit(object, self.slot, self.live.as_ref().map(|live| live.revision));
        let buried = self.grave.as_ref().map(|grave| grave.revision);
        commit.expect_if::<Graves>(self.live.is_none(), &(object.clone(), self.slot), buried)
    }

    /// Whether it is here with its bytes.
    pub fn has_bytes(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.row.state != State::Wanted)
    }

    pub fn slot(&self) -> Slot {
        self.slot
    }

    pub fn live(&self) -> Option<&Record> {
        self.live.as_ref().map(|live| &live.row)
    }

    pub fn here(&self) -> Here<'_> {
        match (&self.live, &self.grave) {
            (Some(live), _) => Here::Live(&live.row),
            (None, Some(grave)) => Here::Grave(&grave.row),
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
            (Unit::Object { object, slot }, replica @ (Replica::Grave(_) | Replica::Live(_))) => {
                self.apply_object((object, *slot), replica, body, Between::States).await
            }
            (Unit::Bucket(bucket), Replica::Bucket(there)) => self.apply_bucket(bucket, &there).await,
            (unit, replica) => Err(Error::Internal(format!("{unit} came with the state of another kind of unit: {replica:?}"))),
        }
    }

    /// Replaces what is here of an object by what the site has that drew its stamp, although the stamps are the same: no
    /// order of events leads to two contents under one stamp, so one of them was damaged.
    pub async fn correct(&self, unit: &Unit, replica: Replica, body: Option<Body>) -> Result<Applied> {
        match (unit, replica) {
            (Unit::Object { object, slot }, replica @ Replica::Live(_)) => {
                self.apply_object((object, *slot), replica, body, Between::Contents).await
            }
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

    pub(super) async fn known(&self, object: &ObjectId, slot: Slot) -> Result<Known> {
        let live = self.inner.status.unit(object, slot).await?;
        let grave = match &live {
            Some(_) => None,
            None => self.inner.status.get::<Graves>(&(object.clone(), slot)).await?,
        };
        Ok(Known { slot, live, grave })
    }

    /// The same of many units, with few look-ups.
    pub(super) async fn known_all(&self, units: &[(ObjectId, Slot)]) -> Result<Vec<Known>> {
        let live = self.inner.status.units(units).await?;
        let absent: Vec<_> = units.iter().zip(&live).filter(|(_, live)| live.is_none()).map(|(unit, _)| unit.clone()).collect();
        let mut graves = self.inner.status.get_many::<Graves>(&absent).await?.into_iter();
        let mut grave_of = |live: &Option<_>| if live.is_none() { graves.next().flatten() } else { None };
        let known = units.iter().zip(live).map(|((_, slot), live)| Known { slot: *slot, grave: grave_of(&live), live });
        Ok(known.collect())
    }

    async fn apply_object(
        &self,
        (object, slot): (&ObjectId, Slot),
        replica: Replica,
        body: Option<Body>,
        between: Between,
    ) -> Result<Applied> {
        let staged = match self.bytes_wanted((object, slot), &replica, between).await? {
            None => None,
            Some(live) if live.identity.size == 0 => Some(self.stage_replica((object, slot), live, Body::empty()).await?),
            Some(live) => match body {
                Some(body) => Some(self.stage_replica((object, slot), live, body).await?),
                None => return Ok(Applied::NeedsBytes),
            },
        };
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move { site.apply_locked((&object, slot), &replica, staged, between).await }).await
    }

    /// What is to be done with another site's state, now.
    pub(super) fn decide(&self, known: &Known, replica: &Replica, between: Between) -> Decision {
        between.decide(known, replica, self.inner.clock.wall_ms())
    }

    /// The replica, if it would be taken now and brings bytes.
    async fn bytes_wanted<'r>(
        &self,
        (object, slot): (&ObjectId, Slot),
        replica: &'r Replica,
        between: Between,
    ) -> Result<Option<&'r LiveReplica>> {
        let Replica::Live(live) = replica else { return Ok(None) };
        let known = self.known(object, slot).await?;
        let wanted = matches!(self.decide(&known, replica, between), Decision::Take { .. } | Decision::Fill(_));
        Ok((wanted && !live.is_marker).then_some(&**live))
    }

    /// Brings a replica's bytes to the store. What is not what the other site says it is leaves nothing behind.
    pub(super) async fn stage_replica(&self, (object, slot): (&ObjectId, Slot), live: &LiveReplica, body: Body) -> Result<Kept> {
        let attributes = Said::from(&live.identity).attributes(Some(Meant::from(slot)));
        let (write, modified_ms) = (self.inner.writes.next(), live.vector.data.ms());
        let put = PutOptions { write, size: Some(live.identity.size), modified_ms, attributes };
        let (body, receipt) = digest::verified(Upload { body, claims: Claims::default() });
        let kept = self.inner.backend.put(object, body, put).await?;
        let digests = receipt.take()?;
        if same_bytes(live, &digests) || planted!(BytesUnchecked) {
            return Ok(kept);
        }
        self.discard(object, &kept).await;
        self.inner.counters.rotten.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let reason = format!("the bytes of {object} that came are not those of its record");
        Err(Error::Unavailable { reason, retry_after: std::time::Duration::from_secs(1) })
    }

    pub(super) async fn apply_locked(
        &self,
        (object, slot): (&ObjectId, Slot),
        replica: &Replica,
        mut staged: Option<Kept>,
        between: Between,
    ) -> Result<Applied> {
        let _key = match self.lock_key(object).await {
            Ok(key) => key,
            // Nothing names the bytes yet, whatever the error.
            Err(err) => {
                if let Some(unused) = staged {
                    self.discard(object, &unused).await;
                }
                return Err(err);
            }
        };
        let outcome = self.commit_replica((object, slot), replica, &mut staged, between).await;
        // Where the outcome of the commit is unknown the bytes stay, and the next start finds out.
        if let Some(unused) = staged.filter(|_| !matches!(outcome, Err(Error::Internal(_)))) {
            self.discard(object, &unused).await;
        }
        outcome
    }

    async fn commit_replica(
        &self,
        (object, slot): (&ObjectId, Slot),
        replica: &Replica,
        staged: &mut Option<Kept>,
        between: Between,
    ) -> Result<Applied> {
        let unit = Unit::of(object, slot);
        for _ in 0..CONFLICTS_MAX {
            let known = self.known(object, slot).await?;
            let write = self.inner.writes.next();
            let decision = self.decide(&known, replica, between);
            let mut planned = self.plan(object, &known, replica, staged.as_ref(), decision, write);
            let Some(reached) = planned.reached else { return Ok(Applied::NeedsBytes) };
            let commit = self.guard(object, &known, replica, std::mem::take(&mut planned.commit)).await?;
            let Some(commit) = commit else { return Ok(Applied::NeedsBucket) };
            let (commit, applied) = match planned.is_part() {
                true => (commit, Applied::Part(replica.vector().unwrap_or(reached))),
                false => (self.end_work(&unit, &reached, commit).await?, Applied::Reached(reached)),
            };
            if commit.is_empty() {
                return Ok(applied);
            }
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    self.applied(object, &known, planned, staged, write).await;
                    return Ok(applied);
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
        let here = known.live();
        let told = |vector: Vector| self.told_as_own(object, known, vector);
        let superseding = || replica.vector().map_or_else(Commit::new, |vector| self.superseding(object, known, vector));
        match (decision, replica, staged) {
            (Decision::Keep, ..) => {
                let is_unread = known.grave.as_ref().is_some_and(|grave| grave.row.is_unread());
                Planned { is_unread, ..Planned::nothing(known.here().vector()) }
            }
            (Decision::Merge(vector), ..) => merged(told(vector).unwrap_or_default(), object, known, replica, vector),
            (Decision::Take { conflict }, Replica::Live(live), None) if live.is_marker => {
                let record = replica_record(live, known, live.vector, None, write);
                let commit = super::delete::marked(superseding().seen(live.vector.greatest()), object, here, &record);
                let planned = Planned { commit, reached: Some(live.vector), change: Change::Gone, lost: None, is_unread: false };
                planned.instead_of(object, here.filter(|_| conflict))
            }
            (Decision::Take { conflict }, Replica::Live(live), Some(kept)) => {
                let mut record = replica_record(live, known, live.vector, Some(kept), write);
                self.keep_apart(object, &mut record);
                brought(superseding(), object, here, live, record).instead_of(object, here.filter(|_| conflict))
            }
            (Decision::Take { conflict }, Replica::Grave(grave), _) => {
                gone(superseding(), object, known, grave, write).instead_of(object, here.filter(|_| conflict))
            }
            // The bytes of a record that lacked them, or of a version that was purged unawares.
            (Decision::Fill(vector), Replica::Live(live), Some(kept)) => {
                let mut record = replica_record(live, known, vector, Some(kept), write);
                self.keep_apart(object, &mut record);
                let commit = match here {
                    // Who was owed the grave is owed this.
                    None => self.superseding(object, known, vector),
                    Some(here) if here.vector != vector => told(vector).unwrap_or_default(),
                    Some(_) => Commit::new(),
                };
                brought(commit, object, here, live, record)
            }
            (Decision::Purge(vector), ..) => {
                let commit = self.superseding(object, known, vector);
                gone(commit, object, known, &purged(known, replica, vector), write)
            }
            // Older when the bytes were asked for: it changed meanwhile.
            _ => Planned::nothing(None),
        }
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
                self.bring_to_its_name(object, &record).await;
                if let Some(old) = known.live().filter(|old| is_left_behind(old, &record)) {
                    self.remove_bytes(object, old, old.write).await;
                }
                tracing::debug!(stamp = %record.vector.data, %object, "followed");
            }
            Change::Gone => {
                if let Some(record) = known.live() {
                    self.remove_bytes(object, record, write).await;
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
    /// Whether it leaves the grave of a version that was purged unawares.
    is_unread: bool,
}

enum Change {
    None,
    Written(Box<Record>),
    /// What was here has no bytes any more.
    Gone,
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
    fn decide(self, known: &Known, there: &Replica, now_ms: u64) -> Decision {
        match (self, known.here(), there) {
            (Self::Contents, Here::Live(record), Replica::Live(live)) if live.has_bytes && record.vector == live.vector => {
                Decision::Fill(live.vector)
            }
            (Self::Contents, ..) => Decision::Keep,
            (Self::States, here, there) => decide(known.slot(), here, there, now_ms),
        }
    }
}

impl Planned {
    /// Whether another site that told of the unit may have more under these stamps than came.
    pub fn is_part(&self) -> bool {
        self.is_unread || self.reached.is_some_and(|reached| !reached.tells_all())
    }

    fn nothing(reached: Option<Vector>) -> Self {
        Self { commit: Commit::new(), reached, change: Change::None, lost: None, is_unread: false }
    }

    /// Keeps the vector of what loses in a conflict, for people who ask.
    fn instead_of(self, object: &ObjectId, lost: Option<&Record>) -> Self {
        let Some(lost) = lost else { return self };
        let commit = self.commit.put::<Conflicts>(&(object.clone(), lost.slot()), &lost.vector);
        Self { commit, lost: Some(lost.vector), ..self }
    }
}

/// A record whose bytes came.
fn brought(commit: Commit, object: &ObjectId, current: Option<&Record>, live: &LiveReplica, record: Record) -> Planned {
    let commit = commit.seen(record.vector.greatest());
    let commit = replacing(commit, object, Replacing { record: &record, part_map: &live.part_map, current });
    Planned { commit, reached: Some(record.vector), change: Change::Written(Box::new(record)), lost: None, is_unread: false }
}

/// A unit that another site deleted.
fn gone(commit: Commit, object: &ObjectId, known: &Known, grave: &Grave, write: WriteId) -> Planned {
    let vector = grave.vector();
    let commit = super::delete::buried(commit.seen(vector.greatest()), (object, known.slot()), known.live(), grave, write);
    Planned { commit, reached: Some(vector), change: Change::Gone, lost: None, is_unread: grave.is_unread() }
}

/// The grave of a version of which both sites know something. Whoever told of its purge first is waited for.
fn purged(known: &Known, there: &Replica, vector: Vector) -> Grave {
    let of_there = match there {
        Replica::Grave(grave) => Some(grave.clone()),
        _ => None,
    };
    let grave = known.grave.as_ref().map(|grave| grave.row.clone()).or(of_there);
    let registers = registers_of(known, there);
    let (base, told) = grave.map_or((None, None), |grave| (grave.base, grave.told));
    // What came with its data is known from whoever has it.
    let is_read = known.live().is_some() || matches!(there, Replica::Live(_));
    let base = if is_read { Some(vector.data) } else { base };
    let stamp = vector.purge.unwrap_or(vector.data);
    Grave { stamp, base, told, purged: Some(Box::new(Purged { vector, registers, tags: tags_of(known, there) })) }
}

/// The same data: each register is that of the later write.
fn merged(commit: Commit, object: &ObjectId, known: &Known, there: &Replica, vector: Vector) -> Planned {
    let Some(here) = known.live() else { return Planned::nothing(None) };
    let mut record = Record { vector, registers: registers_of(known, there), ..here.clone() };
    record.identity.tags = tags_of(known, there);
    let reached = Here::Live(&record).vector();
    let commit = commit.seen(vector.greatest()).put_unit(object, &record);
    Planned { commit, reached, change: Change::None, lost: None, is_unread: false }
}

/// What protects a unit and who may see it, by what both sites know.
fn registers_of(known: &Known, there: &Replica) -> Registers {
    let (theirs, stamps) = match there {
        Replica::Live(live) => (live.registers.clone(), live.vector),
        Replica::Grave(grave) => (grave.registers(), grave.vector()),
        Replica::Unknown | Replica::Bucket(_) => return known.here().registers().unwrap_or_default(),
    };
    match known.here().registers().zip(known.here().stamps()) {
        // Registers count between equal data only.
        Some((mine, own)) if own.data == stamps.data => mine.merge(&own, &theirs, &stamps).0,
        _ => theirs,
    }
}

/// The tags that were written last, by what both sites know; between equal data only. Under one stamp they are the same, but
/// where a version was purged that was not known.
fn tags_of(known: &Known, there: &Replica) -> Tags {
    let here = known.here();
    let of_here = here.tags().zip(here.stamps()).map(|((stamp, tags), stamps)| (stamps.data, stamp, tags));
    let of_there = match there {
        Replica::Live(live) => Some((live.vector.data, live.vector.tags, &live.identity.tags)),
        Replica::Grave(grave) => grave.purged.as_ref().map(|purged| (purged.vector.data, purged.vector.tags, &purged.tags)),
        Replica::Unknown | Replica::Bucket(_) => None,
    };
    let last = of_here.into_iter().chain(of_there).max_by_key(|(data, stamp, tags)| (*data, *stamp, !tags.is_empty()));
    last.map(|(.., tags)| tags.clone()).unwrap_or_default()
}

/// The record of a unit as it came, with the registers of both sites where it has this vector at both.
fn replica_record(live: &LiveReplica, known: &Known, vector: Vector, kept: Option<&Kept>, write: WriteId) -> Record {
    let slot = known.slot();
    let there = Replica::Live(Box::new(live.clone()));
    let identity = Identity { tags: tags_of(known, &there), ..live.identity.clone() };
    Record {
        vector,
        state: if kept.is_some() { State::Present } else { State::Marker },
        identity,
        location: kept.map_or(Location::Plain, |kept| kept.location.clone().of_slot(slot, write)),
        binding: kept.map_or(Binding::None, |kept| kept.binding.clone()),
        write,
        base: live.base,
        versioned: slot != Slot::Null,
        registers: registers_of(known, &there),
    }
}

fn same_bytes(live: &LiveReplica, digests: &Digests) -> bool {
    (live.identity.size, live.identity.crc64) == (digests.size, digests.crc64)
}
