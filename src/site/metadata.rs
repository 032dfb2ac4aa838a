//! Registers: what can be changed of a version without touching its bytes. Each has a stamp of its own.

use super::delete::buried;
use super::error::{Error, Result};
use super::{CONFLICTS_MAX, Site};
use crate::model::{
    Acl, Bypass, Event, Grave, ObjectId, Purged, Record, Registers, Retention, Slot, Stamp, State, Tags, Unit, Vector,
};
use crate::status::tables::Buckets;
use crate::status::{Commit, CommitError};

/// A new value of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Register {
    /// None are fine.
    Tags(Tags),
    /// Decided on what has this data stamp: whoever may write the list of that may not write another's.
    Acl(Option<Acl>, Stamp),
    Hold(bool),
    /// With which right a retention that is in force is weakened.
    Retention(Option<Retention>, Bypass),
}

/// Which version got a register, and when.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    pub stamp: Stamp,
    pub slot: Slot,
}

impl Site {
    /// Writes a register of a version, the current one where none is named. Registers are read with [`Site::head`].
    pub async fn set_register(&self, object: &ObjectId, version: Option<Slot>, register: Register) -> Result<Registered> {
        let slot = self.existing(object, version).await?.row.slot();
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move { site.set_register_locked(&object, slot, version.is_none(), register).await }).await
    }

    async fn set_register_locked(
        &self,
        object: &ObjectId,
        mut slot: Slot,
        is_current: bool,
        register: Register,
    ) -> Result<Registered> {
        let _key = self.lock_key(object).await?;
        for _ in 0..CONFLICTS_MAX {
            let bucket = self.bucket_row(&object.bucket).await?;
            let stored = match is_current {
                true => self.current(object).await?.ok_or(Error::NoSuchKey)?,
                false => self.inner.status.unit(object, slot).await?.ok_or(Error::NoSuchVersion)?,
            };
            slot = stored.row.slot();
            let now_ms = self.inner.clock.wall_ms();
            refuse(&stored.row, &register, now_ms)?;
            let stamp = self.inner.clock.tick(Some(stored.row.vector.greatest()));
            let record = written(&stored.row, &register, stamp);
            let commit = Commit::new()
                .expect::<Buckets>(&object.bucket, Some(bucket.revision))
                .expect_unit(object, slot, Some(stored.revision))
                .tell(Event { unit: Unit::of(object, slot), vector: record.vector })
                .to(self.audience_of(&stored.row));
            let write = self.inner.writes.next();
            let released = purge_released(&record, now_ms);
            let commit = match &released {
                Some(grave) => buried(commit, (object, slot), Some(&record), grave, write),
                None => commit.put_unit(object, &record),
            };
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    tracing::debug!(%stamp, %object, "register written");
                    if released.is_some() {
                        self.remove_bytes(object, &record, write).await;
                    }
                    return Ok(Registered { stamp, slot });
                }
                Err(CommitError::Conflict) => self.count_conflict(&object.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }
}

/// What object lock does not let anybody change, and what cannot be promised of bytes that are not here (protocol §6).
fn refuse(record: &Record, register: &Register, now_ms: u64) -> Result<()> {
    if matches!(register, Register::Acl(_, of) if *of != record.vector.data) {
        let reason = "the object was replaced meanwhile".to_owned();
        return Err(Error::Unavailable { reason, retry_after: std::time::Duration::from_secs(1) });
    }
    if !matches!(register, Register::Hold(_) | Register::Retention(..)) {
        return Ok(());
    }
    if record.state == State::Wanted {
        let reason = "the bytes to be protected are not here yet".to_owned();
        return Err(Error::Unavailable { reason, retry_after: std::time::Duration::from_secs(1) });
    }
    let Register::Retention(after, bypass) = register else { return Ok(()) };
    let before = Registers { retention: record.registers.retention, ..Registers::default() };
    let weakens = match (before.retention, after) {
        (Some(before), Some(after)) => after.until_ms < before.until_ms || after.mode != before.mode,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if weakens && before.protect(now_ms, *bypass) { Err(Error::Protected) } else { Ok(()) }
}

fn written(before: &Record, register: &Register, stamp: Stamp) -> Record {
    let mut record = before.clone();
    let vector = record.vector;
    match register.clone() {
        Register::Tags(tags) => {
            record.vector = Vector { tags: Some(stamp), ..vector };
            planted!(OneStampForAll => {
                record.vector = Vector::of(stamp);
            });
            record.identity.tags = tags;
        }
        Register::Acl(acl, _) => {
            record.vector = Vector { acl: Some(stamp), ..vector };
            record.registers.acl = acl;
        }
        Register::Hold(hold) => {
            record.vector = Vector { hold: Some(stamp), ..vector };
            record.registers.hold = hold;
        }
        Register::Retention(retention, _) => {
            record.vector = Vector { retention: Some(stamp), ..vector };
            record.registers.retention = retention;
        }
    }
    record
}

/// The grave of a version whose purge waited for this register.
pub(super) fn purge_released(record: &Record, now_ms: u64) -> Option<Grave> {
    let stamp = record.vector.purge.filter(|_| !record.registers.delay_purge(now_ms))?;
    let (vector, registers, tags) = (record.vector, record.registers.clone(), record.identity.tags.clone());
    let purged = Purged { vector, registers, tags };
    Some(Grave { stamp, base: Some(record.vector.data), told: None, purged: Some(Box::new(purged)) })
}
