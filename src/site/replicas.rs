//! What another site may know of a unit here, and how one stands with what it told others.

use std::ops::Range;
use std::sync::Arc;

use super::Site;
use super::error::{Error, Result};
use crate::backend::{self, Body};
use crate::model::{
    Grave, LiveReplica, ObjectId, PartEntry, Parts, Record, Replica, Seq, SiteNumber, Slot, Stamp, State, Telling, Told, Unit,
    Vector,
};
use crate::status::tables::{Buckets, Dirty, Failed, Graves, Pending};
use crate::status::{Commit, CommitError, Stored};

/// How a site stands with a unit that was changed here, as `x-amz-replication-status` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Replication {
    /// It has it, and its bytes matched.
    Completed,
    /// It was told, or will be.
    Pending,
    /// It said that it cannot take it.
    Failed,
}

impl Site {
    /// The whole state of a unit, as another site is told.
    pub async fn replica(&self, unit: &Unit) -> Result<Replica> {
        match unit {
            Unit::Bucket(bucket) => {
                let stored = self.inner.status.get::<Buckets>(bucket).await?;
                Ok(stored.map_or(Replica::Unknown, |stored| Replica::Bucket(stored.row)))
            }
            Unit::Object { object, slot } => self.object_replica(object, *slot).await,
        }
    }

    async fn object_replica(&self, object: &ObjectId, slot: Slot) -> Result<Replica> {
        let Some(stored) = self.inner.status.unit(object, slot).await? else {
            let grave = self.inner.status.get::<Graves>(&(object.clone(), slot)).await?;
            return Ok(grave.map_or(Replica::Unknown, |grave| self.grave_replica(&grave)));
        };
        let record = &stored.row;
        // What it is turns out when it is read, and is told then.
        if record.state == State::Unread {
            return Ok(Replica::Unknown);
        }
        let part_map: Vec<PartEntry> = match record.identity.parts {
            Parts::Single => Vec::new(),
            Parts::Mapped { .. } => self.part_map(object, record).await?,
        };
        Ok(Replica::Live(Box::new(LiveReplica {
            vector: record.vector,
            identity: record.identity.clone(),
            base: record.base,
            registers: record.registers.clone(),
            is_marker: record.state == State::Marker,
            part_map,
            has_bytes: record.state != State::Wanted,
        })))
    }

    fn grave_replica(&self, grave: &Stored<Grave>) -> Replica {
        let here = Told { site: self.inner.id.number, incarnation: self.inner.status.facts().incarnation, seq: grave.seq };
        Replica::Grave(Grave { told: Some(grave.row.told.unwrap_or(here)), ..grave.row.clone() })
    }

    /// Bytes of the object whose data has this stamp, for another site. `None`: that is not what is here any more.
    pub async fn open_replica(&self, object: &ObjectId, data: Stamp, range: Range<u64>) -> Result<Option<Body>> {
        let Some(stored) = self.unit_of_data(object, data).await? else { return Ok(None) };
        if range.end > stored.row.identity.size || range.start > range.end {
            return Err(Error::InvalidRange { size: stored.row.identity.size });
        }
        let is_whole = range == (0..stored.identity.size);
        match self.open_bytes(object, &stored.row, range).await {
            Ok(body) if is_whole => Ok(Some(self.verified_whole(object, &stored, body))),
            Ok(body) => Ok(Some(body)),
            // Who asks hears it by the record, and they are fetched from somebody else.
            Err(backend::Error::NotFound | backend::Error::Changed) => self.heal(object, &stored).await.map(|_| None),
            Err(err) => Err(err.into()),
        }
    }

    /// The version, or the null version, whose data has this stamp.
    pub(super) async fn unit_of_data(&self, object: &ObjectId, data: Stamp) -> Result<Option<Arc<Stored<Record>>>> {
        let units = [(object.clone(), Slot::Null), (object.clone(), Slot::Version(data))];
        let found = self.inner.status.units(&units).await?;
        Ok(found.into_iter().flatten().find(|unit| unit.row.vector.data == data && unit.row.is_shown()))
    }

    /// The seq under which the current state of a unit was told; `None` where it was not, or nothing is known of it.
    pub async fn told_under(&self, unit: &Unit) -> Result<Option<Seq>> {
        let status = &self.inner.status;
        let seq = match unit {
            Unit::Bucket(bucket) => status.get::<Buckets>(bucket).await?.map(|stored| stored.seq),
            Unit::Object { object, slot } => match status.unit(object, *slot).await? {
                Some(stored) => Some(stored.seq),
                None => status.get::<Graves>(&(object.clone(), *slot)).await?.map(|stored| stored.seq),
            },
        };
        Ok(seq.filter(|seq| *seq > Seq(0)))
    }

    /// What `site` is still owed of units that were told it, with few look-ups: for each the row and its key.
    pub async fn owed_to(&self, site: SiteNumber, units: &[Unit]) -> Result<Vec<Option<(Seq, Vector)>>> {
        let mut seqs = Vec::with_capacity(units.len());
        for unit in units {
            // Of what was written here lately, which is what receipts are about, the row cache has most.
            seqs.push(self.told_under(unit).await?.unwrap_or_default());
        }
        let keys: Vec<_> = seqs.iter().map(|seq| (site, *seq)).collect();
        let owed = self.inner.status.get_many::<Pending>(&keys).await?.into_iter();
        let row = |((unit, seq), owed): ((&Unit, Seq), Option<Stored<Telling>>)| {
            owed.filter(|owed| owed.row.unit == *unit).map(|owed| (seq, owed.row.vector))
        };
        Ok(units.iter().zip(seqs).zip(owed).map(row).collect())
    }

    /// Whether the state of an object here is at least `want`. Of a bucket nobody can tell from stamps alone: its registers
    /// are merged one by one.
    pub async fn reaches(&self, unit: &Unit, want: &Vector) -> Result<bool> {
        let Unit::Object { object, slot } = unit else { return Ok(false) };
        let known = self.known(object, *slot).await?;
        Ok(known.here().reaches(want))
    }

    /// Whether all that stamps tell of `want` is here: more of it can only be had from whoever told of it.
    pub async fn has_stamps(&self, unit: &Unit, want: &Vector) -> Result<bool> {
        let Unit::Object { object, slot } = unit else { return Ok(false) };
        let known = self.known(object, *slot).await?;
        Ok(known.here().has_stamps(want))
    }

    /// [`Self::reaches`] of many units, with few look-ups.
    pub async fn reaches_all(&self, wants: &[(Unit, Vector)]) -> Result<Vec<bool>> {
        let versions: Vec<_> = wants.iter().filter_map(|(unit, _)| unit.version()).collect();
        let mut known = self.known_all(&versions).await?.into_iter();
        let reaches = |(unit, want): &(Unit, Vector)| {
            unit.object().is_some() && known.next().is_some_and(|known| known.here().reaches(want))
        };
        Ok(wants.iter().map(reaches).collect())
    }

    /// Ends the work on a unit that is here already, with receipts.
    pub async fn acknowledge(&self, unit: &Unit) -> Result<()> {
        let Unit::Object { object, slot } = unit else { return Ok(()) };
        let _key = self.lock_key(object).await?;
        let Some(reached) = self.known(object, *slot).await?.here().vector() else { return Ok(()) };
        let commit = self.end_work(unit, &reached, Commit::new()).await?;
        if commit.is_empty() {
            return Ok(());
        }
        match self.inner.status.commit(commit).await {
            // It wants more by now: it stays.
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// How every site in scope stands with a state of a unit that was written here under `seq`, at `vector`. `None`: the
    /// newest of it was written elsewhere, so that this site holds a replica and says nothing of others.
    pub async fn replication(&self, unit: &Unit, vector: &Vector, seq: Seq) -> Result<Option<Vec<(SiteNumber, Replication)>>> {
        let seq = match self.telling(unit, vector).await? {
            // Nobody is told of bytes before they are read, whatever was written of them meanwhile.
            Some((_, State::Unread)) => {
                return Ok(Some(self.inner.neighbours.in_scope().into_iter().map(|site| (site, Replication::Pending)).collect()));
            }
            // They were read, and told of, since the question was put.
            Some((now, _)) if seq == Seq(0) => now,
            _ => seq,
        };
        // Told under no seq it came from elsewhere, if only back to a site that had lost it.
        if vector.greatest().parts().site != self.inner.id.number || seq == Seq(0) {
            return Ok(None);
        }
        let mut all = Vec::new();
        for site in self.inner.neighbours.in_scope() {
            all.push((site, self.replication_to(unit, vector, site, seq).await?));
        }
        Ok(Some(all))
    }

    /// Under which seq a state of an object is told, and what it is, if it is still here.
    async fn telling(&self, unit: &Unit, vector: &Vector) -> Result<Option<(Seq, State)>> {
        let Unit::Object { object, slot } = unit else { return Ok(None) };
        let now = self.inner.status.unit(object, *slot).await?.filter(|now| now.row.vector == *vector);
        Ok(now.map(|now| (now.seq, now.row.state)))
    }

    /// Derived, never stored: owed, refused or dirty, else it is there (protocol §3). Where nothing is owed or in trouble
    /// nothing is looked up: a hot GET asks this.
    async fn replication_to(&self, unit: &Unit, vector: &Vector, site: SiteNumber, seq: Seq) -> Result<Replication> {
        let status = &self.inner.status;
        let is_troubled = status.troubled(site) > 0;
        if is_troubled {
            // What was refused is that state or an earlier one, which counts no more.
            let refused = status.get::<Failed>(&(site, unit.clone())).await?;
            if refused.is_some_and(|refused| refused.row.vector >= *vector) {
                return Ok(Replication::Failed);
            }
        }
        let is_owed = status.owed(site) > 0 && status.get::<Pending>(&(site, seq)).await?.is_some();
        let is_dirty = is_troubled && status.get::<Dirty>(&(site, unit.bucket().clone())).await?.is_some();
        Ok(if is_owed || is_dirty { Replication::Pending } else { Replication::Completed })
    }
}
