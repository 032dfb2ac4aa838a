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
    BucketName, Decision, Event, Here, LiveReplica, News, ObjectId, Record, Replica, Slot, Stamp, State, Unit, Vector, WriteId,
    decide,
};
use crate::status::tables::{Buckets, Conflicts, Due, Grave, Graves, Objects, Versions, Work};
use crate::status::{Commit, CommitError, Stored};

/// How far ahead of ours another site's clock may be before its stamps wait (protocol §2), milliseconds.
pub const AHEAD_MS_MAX: u64 = 5_000;

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

    /// The commit, if nothing of this has changed by then.
    pub fn guarded(&self, object: &ObjectId, commit: Commit) -> Commit {
        let slot = (object.clone(), Slot::Null);
        commit.expect::<Objects>(object, self.current.as_ref().map(|current| current.revision)).expect_if::<Graves>(
            self.current.is_none(),
            &slot,
            self.grave.as_ref().map(|grave| grave.revision),
        )
    }

    /// Whether an object is here, with bytes or without.
    pub fn is_live(&self) -> bool {
        self.current.is_some()
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
    fn refuse_future(&self, vector: &Vector) -> Result<()> {
        let ahead_ms = vector.greatest().ms().saturating_sub(self.inner.clock.wall_ms());
        if ahead_ms <= AHEAD_MS_MAX || planted!(FutureStamps) {
            return Ok(());
        }
        let reason = format!("its stamp is {ahead_ms} ms ahead of the clock here, more than {AHEAD_MS_MAX}");
        Err(Error::Unavailable { reason, retry_after: std::time::Duration::from_secs(1) })
    }

    pub(super) async fn known(&self, object: &ObjectId) -> Result<Known> {
        let current = self.current(object).await?;
        let grave = match &current {
            Some(_) => None,
            None => self.inner.status.get::<Graves>(&(object.clone(), Slot::Null)).await?,
        };
        Ok(Known { current, grave })
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
    async fn stage_replica(&self, object: &ObjectId, live: &LiveReplica, body: Body) -> Result<Kept> {
        let put = PutOptions { size: Some(live.identity.size), modified_ms: live.vector.data.ms() };
        let (body, receipt) = digest::verified(Upload { body, claims: Claims::default() });
        let kept = self.inner.backend.put(object, body, put).await?;
        let digests = receipt.take()?;
        if same_bytes(live, &digests) || planted!(BytesUnchecked) {
            return Ok(kept);
        }
        self.inner.backend.release(kept.location).await;
        self.inner.counters.rotten.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Err(Error::Internal(format!("the bytes of {object} that came are not those of its record")))
    }

    async fn apply_locked(
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
            let planned = match between.decide(known.here(), replica) {
                Decision::Keep => Planned::nothing(known.here().vector()),
                Decision::Merge(vector) => merged(object, &known, replica, vector),
                // Older when the bytes were asked for: it changed meanwhile.
                _ if matches!(replica, Replica::Live(_)) && staged.is_none() => return Ok(Applied::NeedsBytes),
                Decision::Take { conflict } => self.taken(object, &known, replica, staged.as_ref(), write, conflict),
                Decision::Fill(vector) => self.filled(object, &known, replica, staged.as_ref(), write, vector),
            };
            let Some(reached) = planned.reached else { return Ok(Applied::NeedsBytes) };
            let commit = self.guard(object, &known, replica, planned.commit).await?;
            let Some(commit) = commit else { return Ok(Applied::NeedsBucket) };
            let commit = self.end_work(&unit, &reached, commit).await?;
            if commit.is_empty() {
                return Ok(Applied::Reached(reached));
            }
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    self.applied(object, &known, planned.change, staged, write).await;
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

    /// The other site's state in place of what is here.
    fn taken(
        &self,
        object: &ObjectId,
        known: &Known,
        replica: &Replica,
        staged: Option<&Kept>,
        write: WriteId,
        conflict: bool,
    ) -> Planned {
        let current = known.current.as_ref().map(|current| &current.row);
        let supersede = |vector: Vector| Commit::new().supersedes(self.inner.neighbours.numbers()).seen(vector.greatest());
        let (mut commit, reached, change) = match (replica, staged) {
            (Replica::Live(live), Some(kept)) => {
                let record = replica_record(live, live.vector, kept, write);
                let commit =
                    replacing(supersede(live.vector), object, Replacing { record: &record, part_map: &live.part_map, current });
                (commit, live.vector, Change::Written(Box::new(record)))
            }
            (Replica::Grave { stamp, base, told }, _) => {
                let grave = Grave { stamp: *stamp, base: *base, told: *told };
                let vector = Vector::of(*stamp);
                (super::delete::buried(supersede(vector), object, current, &grave, write), vector, Change::Buried)
            }
            _ => return Planned::nothing(None),
        };
        if let Some(lost) = current.filter(|_| conflict) {
            commit = commit.put::<Conflicts>(&(object.clone(), Slot::Null), &lost.vector);
            self.inner.counters.lost_conflicts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::info!(stamp = %reached.data, lost = %lost.vector.data, %object, "a write lost against one that had not seen it");
        }
        Planned { commit, reached: Some(reached), change }
    }

    /// The bytes of a record that lacked them.
    fn filled(
        &self,
        object: &ObjectId,
        known: &Known,
        replica: &Replica,
        staged: Option<&Kept>,
        write: WriteId,
        vector: Vector,
    ) -> Planned {
        let (Some(current), Replica::Live(live), Some(kept)) = (&known.current, replica, staged) else {
            return Planned::nothing(None);
        };
        let mut record = replica_record(live, vector, kept, write);
        if current.row.vector.tags > live.vector.tags {
            record.identity.tags.clone_from(&current.row.identity.tags);
        }
        let commit = Commit::new().seen(vector.greatest());
        let commit =
            replacing(commit, object, Replacing { record: &record, part_map: &live.part_map, current: Some(&current.row) });
        Planned { commit, reached: Some(vector), change: Change::Written(Box::new(record)) }
    }

    /// Ends the work that wanted this unit, if it is reached, and writes a receipt to everyone who told of it.
    pub(super) async fn end_work(&self, unit: &Unit, reached: &Vector, commit: Commit) -> Result<Commit> {
        if self.inner.neighbours.is_empty() {
            return Ok(commit);
        }
        let Some(work) = self.inner.status.get::<Work>(unit).await? else { return Ok(commit) };
        if work.row.want.partial_cmp(reached).is_none_or(std::cmp::Ordering::is_gt) {
            return Ok(commit);
        }
        let commit =
            commit.expect::<Work>(unit, Some(work.revision)).delete::<Work>(unit).delete::<Due>(&(work.row.due_ms, unit.clone()));
        Ok(work
            .row
            .sources
            .iter()
            .fold(commit, |commit, source| commit.answer(*source, Event { unit: unit.clone(), vector: *reached }, News::Applied)))
    }

    /// After the commit, still under the key lock: bytes come to their name, or go.
    async fn applied(&self, object: &ObjectId, known: &Known, change: Change, staged: &mut Option<Kept>, write: WriteId) {
        match change {
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

    /// A bucket: the later of making and deleting, and every register for itself.
    async fn apply_bucket(&self, bucket: &BucketName, there: &crate::model::Bucket) -> Result<Applied> {
        let (site, bucket, there) = (self.clone(), bucket.clone(), there.clone());
        self.unstoppable(async move { site.apply_bucket_now(&bucket, &there).await }).await
    }

    async fn apply_bucket_now(&self, bucket: &BucketName, there: &crate::model::Bucket) -> Result<Applied> {
        let _change = self.inner.bucket_changes.lock(bucket).await;
        for _ in 0..CONFLICTS_MAX {
            let stored = self.inner.status.get::<Buckets>(bucket).await?;
            let before = stored.as_ref().map(|stored| &stored.row);
            let merged = before.map_or_else(|| there.clone(), |here| here.merge(there));
            let dies = before.is_some_and(crate::model::Bucket::is_live) && !merged.is_live();
            if dies && self.holds_anything(bucket).await? {
                return self.revive_bucket(bucket, &merged, stored.map(|stored| stored.revision)).await;
            }
            if merged.is_live() {
                if before.is_some_and(|before| !before.is_live()) {
                    self.abort_uploads_of(bucket).await?;
                }
                self.inner.backend.create_bucket(bucket).await?;
            }
            let reached = Vector::of(merged.greatest());
            let mut commit =
                Commit::new().seen(reached.greatest()).expect::<Buckets>(bucket, stored.as_ref().map(|row| row.revision));
            if before != Some(&merged) {
                commit = commit.put::<Buckets>(bucket, &merged);
            }
            if dies {
                // A PUT depends on the bucket's row and does not change it: one may have come since it was looked.
                commit = commit.expect_empty::<Objects>(bucket).expect_empty::<Versions>(bucket);
            }
            let commit = self.end_work(&Unit::Bucket(bucket.clone()), &reached, commit).await?;
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    self.forget_bucket(bucket);
                    if dies {
                        self.bury_bucket(bucket).await;
                    }
                    return Ok(Applied::Reached(reached));
                }
                Err(CommitError::Conflict) => self.count_conflict(bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// What a bucket deleted elsewhere leaves here.
    async fn bury_bucket(&self, bucket: &BucketName) {
        if let Err(err) = self.inner.backend.delete_bucket(bucket).await {
            tracing::warn!(%bucket, error = %err, "a bucket deleted elsewhere could not be removed from the store");
        }
        self.abort_uploads_of_dead(bucket).await;
    }
}

/// What one commit is to do, and what follows it in the store.
struct Planned {
    commit: Commit,
    /// `None`: it cannot be reached without bytes.
    reached: Option<Vector>,
    change: Change,
}

enum Change {
    None,
    Written(Box<Record>),
    Buried,
}

/// What another site's state is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    /// Another state of the unit: the later wins.
    States,
    /// Another content under the same stamps: that of the other site is right.
    Contents,
}

impl Between {
    fn decide(self, here: Here<'_>, there: &Replica) -> Decision {
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
        Self { commit: Commit::new(), reached, change: Change::None }
    }
}

/// The same data: each register is that of the later write.
fn merged(object: &ObjectId, known: &Known, replica: &Replica, vector: Vector) -> Planned {
    let (Some(current), Replica::Live(live)) = (&known.current, replica) else { return Planned::nothing(None) };
    let record = Record { vector, identity: registers_of(&current.row, live), ..current.row.clone() };
    let reached = Here::Live(&record).vector();
    Planned { commit: Commit::new().seen(vector.greatest()).put::<Objects>(object, &record), reached, change: Change::None }
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
