//! A DELETE: a delete marker or a grave, and the removal to be redone, in one commit; the answer; then the store.
//!
//! Which of them follows from the bucket (protocol §6): with versions a DELETE that names none puts a marker on top and
//! destroys nothing but the null version of a bucket whose versioning is suspended. One that names a version destroys it.

use std::sync::Arc;

use super::error::{Error, Result};
use super::land::{slot_of_write, without_part_map};
use super::settle::{Left, UNSETTLED_MAX, Unsettled};
use super::types::{Deleted, Purge, WriteConditions};
use super::{CONFLICTS_MAX, Site, plain, precondition};
use crate::backend::{Found, Place};
use crate::model::{
    Binding, Bucket, Bypass, Event, Grave, Here, Identity, Location, ObjectId, Purged, Record, Registers, SiteNumber, Slot,
    Stamp, State, Unit, Vector, Versioning, WriteId,
};
use crate::status::tables::{Buckets, Graves, Objects, Settle, Settling};
use crate::status::{Audience, Commit, CommitError, Committed, Stored};

impl Site {
    /// Deletes an object. One that is not there is fine, unless a condition wants it.
    pub async fn delete(&self, object: &ObjectId, conditions: WriteConditions) -> Result<Deleted> {
        // Longer than writes: deleting is what helps a store in need.
        self.refuse_when_behind(2 * UNSETTLED_MAX)?;
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move { site.delete_locked(&object, &conditions).await }).await
    }

    /// Destroys one version of an object. One that never was is destroyed already.
    pub async fn purge(&self, object: &ObjectId, purge: Purge, conditions: WriteConditions) -> Result<Deleted> {
        self.refuse_when_behind(2 * UNSETTLED_MAX)?;
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move { site.purge_locked(&object, purge, &conditions).await }).await
    }

    async fn delete_locked(&self, object: &ObjectId, conditions: &WriteConditions) -> Result<Deleted> {
        self.known_bucket(&object.bucket).await?;
        self.learn(object, conditions).await?;
        let _key = self.lock_key(object).await?;
        for _ in 0..CONFLICTS_MAX {
            let bucket = self.bucket_row(&object.bucket).await?;
            let current = self.current(object).await?;
            precondition::write(conditions, current.as_ref().map(|stored| &stored.row))?;
            let guarded = Commit::new()
                .frees()
                .expect::<Buckets>(&object.bucket, Some(bucket.revision))
                .expect::<Objects>(object, current.as_ref().map(|stored| stored.revision));
            let hides = bucket.row.versioning() != Versioning::Off || current.as_ref().is_some_and(|stored| stored.versioned);
            let deleted = match hides {
                true => {
                    let stamp = self.inner.clock.tick(current.as_ref().map(|stored| stored.row.vector.greatest()));
                    let slot = slot_of_write(&bucket.row, stamp);
                    self.hide(object, &bucket.row, current, (stamp, slot), guarded).await?
                }
                false => {
                    let (null, guarded) = self.null_of(object, current, guarded).await?;
                    let gone = Gone { slot: Slot::Null, unit: null, bypass: Bypass::No, stamp: None };
                    self.bury(object, gone, guarded).await?
                }
            };
            match deleted {
                Some(deleted) => return Ok(deleted),
                None => self.count_conflict(&object.bucket),
            }
        }
        Err(CommitError::Conflict.into())
    }

    async fn purge_locked(&self, object: &ObjectId, purge: Purge, conditions: &WriteConditions) -> Result<Deleted> {
        self.known_bucket(&object.bucket).await?;
        let _key = self.lock_key(object).await?;
        for _ in 0..CONFLICTS_MAX {
            let bucket = self.bucket_row(&object.bucket).await?;
            let unit = self.inner.status.unit(object, purge.slot).await?;
            precondition::write(conditions, unit.as_ref().map(|stored| &stored.row))?;
            let guarded = Commit::new().frees().expect::<Buckets>(&object.bucket, Some(bucket.revision)).expect_unit(
                object,
                purge.slot,
                unit.as_ref().map(|stored| stored.revision),
            );
            let now_ms = self.inner.clock.wall_ms();
            // Its grave would be a stamp from the future, which no other site takes.
            if unit.is_none()
                && let Slot::Version(stamp) = purge.slot
                && !stamp.may_be_drawn(now_ms)
            {
                self.refuse_unheard(object, stamp).await?;
                return Ok(Deleted { stamp: None, slot: purge.slot, is_marker: false });
            }
            if unit.as_ref().is_some_and(|unit| unit.row.registers.protect(now_ms, purge.bypass)) {
                return Err(Error::Protected);
            }
            let gone = Gone { slot: purge.slot, unit, bypass: purge.bypass, stamp: None };
            match self.bury(object, gone, guarded).await? {
                Some(deleted) => return Ok(deleted),
                None => self.count_conflict(&object.bucket),
            }
        }
        Err(CommitError::Conflict.into())
    }

    fn is_a_sites(&self, number: SiteNumber) -> bool {
        number == self.inner.id.number || self.inner.neighbours.get(number).is_some()
    }

    /// A version that a site with another clock may have drawn is not said to be destroyed while nothing can be done about it.
    async fn refuse_unheard(&self, object: &ObjectId, stamp: Stamp) -> Result<()> {
        let known = self.known(object, Slot::Version(stamp)).await?;
        match (known.here(), self.inner.neighbours.get(stamp.parts().site)) {
            (Here::Nothing, Some(_)) => self.refuse_future(&Vector::of(stamp)),
            _ => Ok(()),
        }
    }

    /// The null version where that is no other: nothing may be current because a delete marker came before its site heard of
    /// versions.
    async fn null_of(
        &self,
        object: &ObjectId,
        current: Option<Arc<Stored<Record>>>,
        guarded: Commit,
    ) -> Result<(Option<Arc<Stored<Record>>>, Commit)> {
        if current.is_some() {
            return Ok((current, guarded));
        }
        let null = self.inner.status.unit(object, Slot::Null).await?;
        let revision = null.as_ref().map(|null| null.revision);
        Ok((null, guarded.expect_unit(object, Slot::Null, revision)))
    }

    /// Makes a delete marker the current version. `None`: something came first.
    pub(super) async fn hide(
        &self,
        object: &ObjectId,
        bucket: &Bucket,
        current: Option<Arc<Stored<Record>>>,
        (stamp, slot): (Stamp, Slot),
        guarded: Commit,
    ) -> Result<Option<Deleted>> {
        let (replaced, guarded) = self.replaced(object, slot, bucket, current.as_deref(), guarded).await?;
        let write = self.inner.writes.next();
        let marker = marker(Vector::of(stamp), slot, write, current.map(|stored| stored.row.vector.data));
        let gone = replaced.as_ref().map(|stored| &stored.row);
        let audience = if planted!(MarkerUntold) { Audience::default() } else { self.audience() };
        let commit = guarded.tell(Event { unit: Unit::of(object, slot), vector: marker.vector }).to(audience);
        if !committed(self.inner.status.commit(marked(commit, object, gone, &marker)).await)? {
            return Ok(None);
        }
        tracing::debug!(%stamp, %object, "hidden by a delete marker");
        if let Some(record) = gone {
            self.remove_bytes(object, record, write).await;
        }
        Ok(Some(Deleted { stamp: Some(stamp), slot, is_marker: true }))
    }

    /// Puts a unit into its grave. `None`: something came first.
    pub(super) async fn bury(&self, object: &ObjectId, gone: Gone, guarded: Commit) -> Result<Option<Deleted>> {
        let Gone { slot, unit, bypass, stamp } = gone;
        let row = unit.as_ref().map(|stored| &stored.row);
        let is_marker = row.is_some_and(|record| record.state == State::Marker);
        // Where there are others one of them may hold it, whatever is known here: an older grave here does not reach
        // what was written there since. So may the store of a site whose rows were lost.
        if row.is_none() && self.inner.neighbours.is_empty() && !self.is_rebuilding() {
            return Ok(Some(Deleted { stamp: None, slot, is_marker }));
        }
        // Whoever names a version has seen it, be it unknown here: what is written here from now on is later. An id that no
        // site drew moves no clock.
        let named = match slot {
            Slot::Version(data) => Some(data).filter(|data| self.is_a_sites(data.parts().site)),
            Slot::Null => None,
        };
        let above = row.map(|record| record.vector.greatest()).max(named);
        let stamp = stamp.unwrap_or_else(|| self.inner.clock.tick(above));
        let write = self.inner.writes.next();
        let base = row.map(|record| record.vector.data);
        let purged = match slot {
            Slot::Null => None,
            Slot::Version(data) => Some(purged(data, &self.known(object, slot).await?.here(), stamp, bypass)),
        };
        let grave = Grave { stamp, base, told: None, purged };
        let commit = guarded.tell(Event { unit: Unit::of(object, slot), vector: grave.vector() }).to(self.audience());
        if !committed(self.inner.status.commit(buried(commit, (object, slot), row, &grave, write)).await)? {
            return Ok(None);
        }
        tracing::debug!(%stamp, %object, "deleted");
        if let Some(record) = row {
            self.remove_bytes(object, record, write).await;
            self.remove_changed(object, slot, stamp).await;
        }
        Ok(Some(Deleted { stamp: Some(stamp), slot, is_marker }))
    }

    /// Removes a file that others had changed before its object was deleted: it is what the object was, though no row says so,
    /// and left alone it would be taken for a new one when the grave has gone.
    async fn remove_changed(&self, object: &ObjectId, slot: Slot, deleted: Stamp) {
        // In a shared bucket the file was looked at under the lock: what is there now is a write of others. So it is where what has
        // the key's name is the newest of the store's own versions.
        let is_others = self.is_shared(&object.bucket) || self.has_versions_there(&object.bucket);
        if slot != Slot::Null || !self.adopts(&object.bucket) || is_others {
            return;
        }
        if let Ok(found) = self.inner.backend.head(&plain(object)).await {
            self.remove_older(object, &found, deleted).await;
        }
    }

    /// The same of a file that was found.
    pub(super) async fn remove_older(&self, object: &ObjectId, found: &Found, deleted: Stamp) {
        if found.changed_ms.is_none_or(|changed_ms| changed_ms > deleted.ms()) {
            return;
        }
        match self.inner.backend.delete(&plain(object), &found.binding).await {
            Ok(()) => tracing::info!(%object, "removed a file that was changed before its object was deleted"),
            Err(err) => tracing::warn!(%object, error = %err, "a changed file of a deleted object is still in the store"),
        }
    }

    /// The delete is durable already: what fails here is tried again by the settler.
    pub(super) async fn remove_bytes(&self, object: &ObjectId, record: &Record, write: WriteId) {
        if !record.is_stored() {
            return;
        }
        let place = Place { object: object.clone(), location: record.location.settled() };
        let left = match self.remove_now(&place, record).await {
            true => Left::Harden(None),
            false => Left::Step(None),
        };
        self.inner.settler.add(Unsettled { write, place, slot: record.slot(), left });
    }

    /// Whether the bytes are gone. Where a copy to their name is under way they come yet.
    async fn remove_now(&self, place: &Place, record: &Record) -> bool {
        let object = &place.object;
        let turn = self.inner.turns.try_lock(object);
        if turn.is_none() && !planted!(RemovedBeforeItCame) {
            return false;
        }
        let removed = self.inner.backend.delete(place, &record.binding).await;
        if let Err(err) = &removed {
            tracing::warn!(%object, error = %err, "the bytes of a deleted object are still in the store");
        }
        removed.is_ok()
    }
}

/// A unit that is to go.
pub(super) struct Gone {
    pub slot: Slot,
    /// As it is here; `None` where it is not known.
    pub unit: Option<Arc<Stored<Record>>>,
    pub bypass: Bypass,
    /// Of the delete; `None` draws one.
    pub stamp: Option<Stamp>,
}

/// Whether a commit happened; not where something it expects does not hold.
fn committed(outcome: Result<Committed, CommitError>) -> Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(CommitError::Conflict) => Ok(false),
        Err(err) => Err(err.into()),
    }
}

/// What a grave keeps of a version that is purged.
fn purged(data: Stamp, here: &Here<'_>, purge: Stamp, bypass: Bypass) -> Box<Purged> {
    let vector = Vector { purge: Some(purge), ..here.stamps().unwrap_or(Vector::of(data)) };
    let registers = here.registers().unwrap_or_default();
    let vector = if planted!(GraveWithoutRegisters) { Vector { purge: Some(purge), ..Vector::of(data) } } else { vector };
    let purge_bypasses = registers.purge_bypasses || bypass == Bypass::Governance;
    let tags = here.tags().map(|(_, tags)| tags.clone()).unwrap_or_default();
    Box::new(Purged { vector, registers: Registers { purge_bypasses, ..registers }, tags })
}

/// A delete marker: a version that has no bytes.
pub(super) fn marker(vector: Vector, slot: Slot, write: WriteId, base: Option<Stamp>) -> Record {
    Record {
        vector,
        state: State::Marker,
        identity: Identity::of_marker(),
        location: Location::Plain,
        binding: Binding::None,
        write,
        base,
        versioned: slot != Slot::Null,
        registers: Registers::default(),
    }
}

/// A marker, and the removal of the unit whose place it takes.
pub(super) fn marked(commit: Commit, object: &ObjectId, replaced: Option<&Record>, marker: &Record) -> Commit {
    let commit = commit.put_unit(object, marker).delete::<Graves>(&(object.clone(), marker.slot()));
    match replaced {
        Some(record) => removed(commit, object, record, marker.write),
        None => commit,
    }
}

/// Grave, removal and what the record leaves behind: apart, a crash would bring the object back or leave its bytes.
pub(super) fn buried(
    commit: Commit,
    (object, slot): (&ObjectId, Slot),
    record: Option<&Record>,
    grave: &Grave,
    write: WriteId,
) -> Commit {
    let commit = match planted!(DeleteWithoutGrave) {
        true => commit,
        false => commit.put::<Graves>(&(object.clone(), slot), grave),
    };
    match record {
        Some(record) => removed(commit.delete_unit(object, slot), object, record, write),
        None => commit,
    }
}

fn removed(commit: Commit, object: &ObjectId, record: &Record, write: WriteId) -> Commit {
    let commit = without_part_map(commit, object, record, 0);
    if !record.is_stored() {
        return commit;
    }
    let (object, location, binding) = (object.clone(), record.location.settled(), record.binding.clone());
    commit.put::<Settle>(&write, &Settling::Remove { object, location, binding })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::model::{Incarnation, SiteNumber};
    use crate::site::testing::{object, put, site_with_neighbour, with_bucket};

    const THERE: SiteNumber = SiteNumber(2);

    async fn site() -> Site {
        with_bucket(site_with_neighbour("there", THERE).await).await
    }

    /// A version that another site may have drawn, whose clock is ahead.
    fn drawn(site: &Site, by: SiteNumber, ahead_ms: u64) -> Stamp {
        Clock::new(Arc::new(SystemClock), by, Incarnation(1), site.clock().wall_ms() + ahead_ms).tick(None)
    }

    async fn purge(site: &Site, version: Stamp) -> Result<Option<Stamp>> {
        let purge = Purge { slot: Slot::Version(version), bypass: Bypass::No };
        Ok(site.purge(&object("a"), purge, WriteConditions::default()).await?.stamp)
    }

    #[tokio::test]
    async fn what_follows_the_purge_of_a_version_unknown_here_is_later_than_that_version() {
        let site = site().await;
        let version = drawn(&site, THERE, 4_000);
        let purged = purge(&site, version).await.unwrap().unwrap();
        let written = put(&site, "a", "later").await.stamp;
        assert!(version < purged && purged < written, "{version} {purged} {written}");
    }

    #[tokio::test]
    async fn a_version_that_a_clock_ahead_may_have_drawn_is_not_said_to_be_destroyed() {
        let site = site().await;
        assert!(matches!(purge(&site, drawn(&site, THERE, 60_000)).await, Err(Error::Unavailable { .. })));
        let by_nobody = drawn(&site, SiteNumber(9), 60_000);
        assert_eq!(purge(&site, by_nobody).await.unwrap(), None);
    }
}
