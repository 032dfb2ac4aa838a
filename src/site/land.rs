//! Landing: the last, short step of every write. Bytes are staged already; under the key lock the conditions are
//! decided, a stamp is drawn, and one commit makes the object what it now is.

use std::sync::Arc;

use super::error::{Error, Result};
use super::settle::{Left, Unsettled};
use super::types::{WriteConditions, Written};
use super::{CONFLICTS_MAX, Site, precondition};
use crate::backend::{Kept, KeptPart, Place, Published};
use crate::model::{
    Bucket, Event, Identity, Location, ObjectId, PartEntry, Parts, Record, Registers, Slot, Stamp, State, Unit, Vector,
    Versioning, WriteId,
};
use crate::status::tables::{Buckets, Graves, Objects, PartMaps, Settle, Settling, UploadParts, Uploads};
use crate::status::{Commit, CommitError, Stored, tables};

/// Parts a chunk of a part map holds: 45 bytes each at the most, so a row stays below 64 KiB.
pub(super) const PARTS_PER_CHUNK: usize = 1_000;

/// Staged bytes and everything the object is to be.
#[derive(Debug)]
pub(super) struct Landing {
    object: ObjectId,
    kept: Kept,
    identity: Identity,
    registers: Registers,
    conditions: WriteConditions,
    /// Empty for an object of a single PUT.
    part_map: Vec<PartEntry>,
    /// The multipart upload that ends with this landing.
    completes: Option<Completes>,
}

/// A multipart upload that becomes Done in the commit that makes its object.
#[derive(Debug)]
pub(super) struct Completes {
    pub upload: WriteId,
    /// The claimed row, guarded.
    pub row: Stored<tables::Upload>,
    /// Hash of the part list, by which a repeat is known.
    pub list: [u8; 32],
    /// Every part stored, named by the client or not: their rows and bytes go.
    pub stored: Vec<KeptPart>,
}

impl Landing {
    pub fn of(object: &ObjectId, kept: Kept, identity: Identity, conditions: WriteConditions) -> Self {
        let (object, registers, part_map) = (object.clone(), Registers::default(), Vec::new());
        Self { object, kept, identity, registers, conditions, part_map, completes: None }
    }

    /// Who may see it, and what protects it.
    pub fn with_registers(mut self, registers: Registers) -> Self {
        self.registers = registers;
        self
    }

    /// The parts that the identity counts.
    pub fn with_part_map(mut self, part_map: Vec<PartEntry>) -> Self {
        self.part_map = part_map;
        self
    }

    pub fn completing(mut self, completes: Completes) -> Self {
        self.completes = Some(completes);
        self
    }
}

impl Site {
    /// Makes staged bytes the object. From here on a client that goes away stops nothing.
    pub(super) async fn land(&self, landing: Landing) -> Result<Written> {
        let site = self.clone();
        self.unstoppable(async move { site.land_locked(landing).await }).await
    }

    async fn land_locked(&self, landing: Landing) -> Result<Written> {
        let learned = self.learn(&landing.object, &landing.conditions).await;
        let locked = self.lock_key(&landing.object).await;
        let write = self.inner.writes.next();
        let (landed, _key) = match (learned, locked) {
            (Ok(()), Ok(key)) => (self.commit_landing(&landing, write).await, Some(key)),
            (Err(err), _) | (_, Err(err)) => (Err(err), None),
        };
        let (record, replaced) = match landed {
            Ok(landed) => landed,
            Err(err) => {
                self.give_up(&landing, &err).await;
                return Err(err);
            }
        };
        self.bring_to_its_name(&landing.object, &record).await;
        if let Some(left) = replaced.filter(|replaced| is_left_behind(replaced, &record)) {
            self.remove_bytes(&landing.object, &left, left.write).await;
        }
        for part in landing.completes.iter().flat_map(|completes| &completes.stored) {
            self.release(&landing.object, &part.kept.location).await;
        }
        tracing::debug!(stamp = %record.vector.data, object = %landing.object, "written");
        Ok(self.written(&landing.object, &record))
    }

    /// Staged bytes of a write that certainly did not happen go back. Where the outcome is unknown they stay: the commit
    /// may be durable, and the next start finds out. So does what was assembled of parts that are no more: the Complete may
    /// be tried again.
    async fn give_up(&self, landing: &Landing, err: &Error) {
        let has_own_name = matches!(landing.kept.location, Location::Moving(_) | Location::Own(_));
        let is_all_there_is = landing.completes.is_some() && has_own_name;
        if !matches!(err, Error::Internal(_)) && !is_all_there_is {
            self.discard(&landing.object, &landing.kept).await;
        }
    }

    /// Gives up what was stored of a write, wherever the store put it, before anything names it.
    pub(super) async fn discard(&self, object: &ObjectId, unused: &Kept) {
        if !matches!(unused.location, Location::Own(_)) {
            return self.release(object, &unused.location).await;
        }
        let place = Place { object: object.clone(), location: unused.location.clone() };
        if let Err(error) = self.inner.backend.delete(&place, &unused.binding).await {
            tracing::warn!(%object, %error, "bytes that nothing names stay in the store");
        }
    }

    /// Gives up staged bytes that nothing names.
    pub(super) async fn release(&self, object: &ObjectId, staged: &Location) {
        self.inner.backend.release(&Place { object: object.clone(), location: staged.clone() }).await;
    }

    /// The record, and the one whose place it took.
    async fn commit_landing(&self, landing: &Landing, write: WriteId) -> Result<(Record, Option<Record>)> {
        for _ in 0..CONFLICTS_MAX {
            let bucket = self.bucket_row(&landing.object.bucket).await?;
            let current = self.current(&landing.object).await?;
            let current = current.as_deref();
            precondition::write(&landing.conditions, current.map(|stored| &stored.row))?;
            let stamp = self.inner.clock.tick(current.map(|stored| stored.row.vector.greatest()));
            let slot = slot_of_write(&bucket.row, stamp);
            let mut record = landing.record((stamp, slot), write, current.map(|stored| &stored.row));
            self.keep_apart(&landing.object, &mut record);
            let commit = Commit::new()
                .expect::<Buckets>(&landing.object.bucket, Some(bucket.revision))
                .expect::<Objects>(&landing.object, current.map(|stored| stored.revision));
            self.lock_by_default(&bucket.row, &mut record);
            let (replaced, commit) = self.replaced(&landing.object, slot, &bucket.row, current, commit).await?;
            let commit = landing.writes(commit, &record, replaced.as_ref().map(|stored| &stored.row)).to(self.audience());
            #[cfg(test)]
            let commit = without_as_planted(commit, &landing.object, slot, current);
            match self.inner.status.commit(commit).await {
                Ok(_) => return Ok((record, replaced.map(|stored| stored.row))),
                Err(CommitError::Conflict) => self.count_conflict(&landing.object.bucket),
                Err(err) => return Err(err.into()),
            }
            self.still_claimed(landing).await?;
        }
        Err(CommitError::Conflict.into())
    }

    /// Where a key's own name is others', with the versions that the store made of it, bytes stay at a name of their own.
    pub(super) fn keep_apart(&self, object: &ObjectId, record: &mut Record) {
        if let Location::Moving(own) = record.location
            && self.has_versions_there(&object.bucket)
        {
            record.location = Location::Own(own);
        }
    }

    /// A version that asks for no retention gets the bucket's.
    fn lock_by_default(&self, bucket: &Bucket, record: &mut Record) {
        let default = bucket.object_lock().and_then(|lock| lock.default).filter(|_| record.versioned);
        let own = record.registers.retention;
        record.registers.retention = own.or_else(|| default.map(|default| default.from(self.inner.clock.wall_ms())));
    }

    /// The unit that a write takes the place of: the null version, which a newer one may have put aside. The commit, which
    /// expects `current`, expects that too.
    pub(super) async fn replaced(
        &self,
        object: &ObjectId,
        slot: Slot,
        bucket: &Bucket,
        current: Option<&Stored<Record>>,
        commit: Commit,
    ) -> Result<(Option<Stored<Record>>, Commit)> {
        match (slot, current) {
            (Slot::Version(_), _) => Ok((None, commit)),
            (Slot::Null, Some(current)) if !current.row.versioned => Ok((Some(current.clone()), commit)),
            // Nothing was ever put aside.
            (Slot::Null, None) if bucket.versioning() == Versioning::Off => Ok((None, commit)),
            (Slot::Null, _) => {
                let aside = self.inner.status.unit(object, slot).await?.map(Arc::unwrap_or_clone);
                let revision = aside.as_ref().map(|stored| stored.revision);
                Ok((aside, commit.expect_unit(object, slot, revision)))
            }
        }
    }

    /// Only this Complete changes a claimed upload, but an engine may answer Conflict for reasons of its own.
    async fn still_claimed(&self, landing: &Landing) -> Result<()> {
        let Some(completes) = &landing.completes else { return Ok(()) };
        let key = (landing.object.clone(), completes.upload);
        let row = self.inner.status.get::<Uploads>(&key).await?;
        if row.map(|row| row.revision) == Some(completes.row.revision) { Ok(()) } else { Err(Error::NoSuchUpload) }
    }

    /// Brings staged bytes to their name. A failure leaves the object readable where it is, and the settler tries on. Bytes that
    /// have a name of their own are left to it: moving them takes a store as long as it takes.
    pub(super) async fn bring_to_its_name(&self, object: &ObjectId, record: &Record) {
        if !record.location.is_staged() {
            return;
        }
        let left = match record.location {
            Location::Moving(_) => Left::Copy,
            _ if self.publish_now(object, record).await => Left::Harden(record.location.staged()),
            _ => Left::Step(record.location.staged()),
        };
        let (write, place) = (record.write, Place { object: object.clone(), location: record.location.settled() });
        self.inner.settler.add(Unsettled { write, place, slot: record.slot(), left });
    }

    async fn publish_now(&self, object: &ObjectId, record: &Record) -> bool {
        let published = self.publish_staged(object, &record.location, &record.binding).await;
        match &published {
            Ok(Published::Done | Published::Waits) => {}
            Ok(Published::Stays) => tracing::error!(stamp = %record.vector.data, %object, "the store does not take its name"),
            Ok(Published::Gone) => tracing::error!(stamp = %record.vector.data, %object, "its staged bytes are gone"),
            Err(reason) => tracing::warn!(stamp = %record.vector.data, %object, reason, "not at its name yet"),
        }
        matches!(published, Ok(Published::Done))
    }

    pub(super) fn written(&self, object: &ObjectId, record: &Record) -> Written {
        let identity = &record.identity;
        Written {
            stamp: record.vector.data,
            etag: identity.etag.clone(),
            size: identity.size,
            checksum: identity.shown_checksum(),
            modified_ms: self.modified_ms(record),
            slot: record.slot(),
            is_buffered: self.is_buffered(object, record),
        }
    }
}

/// Without what is current, where a test wants that.
#[cfg(test)]
fn without_as_planted(commit: Commit, object: &ObjectId, slot: Slot, current: Option<&Stored<Record>>) -> Commit {
    planted!(NullOverVersion => {
        if slot == Slot::Null && let Some(current) = current.filter(|current| current.row.versioned) {
            return commit.delete_unit(object, current.row.slot());
        }
    });
    commit
}

/// Which version of its key a write with this stamp is.
pub(super) fn slot_of_write(bucket: &Bucket, stamp: Stamp) -> Slot {
    match bucket.versioning() {
        Versioning::Enabled if planted!(EnabledWritesNull) => Slot::Null,
        Versioning::Suspended if planted!(SuspendedMakesVersion) => Slot::Version(stamp),
        Versioning::Enabled => Slot::Version(stamp),
        Versioning::Off | Versioning::Suspended => Slot::Null,
    }
}

impl Landing {
    fn record(&self, (stamp, slot): (Stamp, Slot), write: WriteId, current: Option<&Record>) -> Record {
        Record {
            vector: Vector::of(stamp),
            state: State::Present,
            identity: self.identity.clone(),
            location: self.kept.location.clone().of_slot(slot, write),
            binding: self.kept.binding.clone(),
            write,
            base: current.map(|record| record.vector.data),
            versioned: slot != Slot::Null,
            registers: self.registers.clone(),
        }
    }

    /// Record, redo, and what they replace, in one commit: apart, a crash would leave a row without its bytes.
    fn writes(&self, commit: Commit, record: &Record, current: Option<&Record>) -> Commit {
        let event = Event { unit: Unit::of(&self.object, record.slot()), vector: record.vector };
        let replacing = replacing(commit, &self.object, Replacing { record, part_map: &self.part_map, current });
        let commit = replacing.tell(event);
        match &self.completes {
            Some(completes) => completes.writes(commit, &self.object, record),
            None => commit,
        }
    }
}

/// A record whose bytes are staged, and what it takes the place of.
pub(super) struct Replacing<'a> {
    pub record: &'a Record,
    /// The parts that the record's identity counts.
    pub part_map: &'a [PartEntry],
    pub current: Option<&'a Record>,
}

/// Adds the record, its redo row and its part map, and takes away what it replaces.
pub(super) fn replacing(commit: Commit, object: &ObjectId, new: Replacing<'_>) -> Commit {
    let Replacing { record, part_map, current } = new;
    let slot = record.slot();
    let mut commit = commit.put_unit(object, record);
    let over = current.filter(|current| current.has_bytes()).map(|current| current.binding.clone());
    if let Some(settling) = Settling::publishing(object, record, over) {
        commit = commit.put::<Settle>(&record.write, &settling);
    }
    if current.is_none() {
        commit = commit.delete::<Graves>(&(object.clone(), slot));
    }
    if let Some(left) = current.filter(|current| is_left_behind(current, record)) {
        let (object, location, binding) = (object.clone(), left.location.settled(), left.binding.clone());
        commit = commit.put::<Settle>(&left.write, &Settling::Remove { object, location, binding });
    }
    if let Some(current) = current {
        commit = without_part_map(commit, object, current, chunks_of(record));
    }
    for (chunk, parts) in part_map.chunks(PARTS_PER_CHUNK).enumerate() {
        let chunk = u16::try_from(chunk).expect("10,000 parts are 10 chunks");
        commit = commit.put::<PartMaps>(&(object.clone(), (slot, chunk)), &parts.to_vec());
    }
    commit
}

/// Whether the bytes of a record stay where they are when another takes its place: at the same name the new ones take theirs.
pub(super) fn is_left_behind(old: &Record, new: &Record) -> bool {
    old.is_stored() && old.location.settled() != new.location.settled()
}

impl Completes {
    fn writes(&self, mut commit: Commit, object: &ObjectId, record: &Record) -> Commit {
        for part in &self.stored {
            commit = commit.delete::<UploadParts>(&(self.upload, part.number));
        }
        let identity = &record.identity;
        let state = tables::UploadState::Done {
            list: self.list,
            stamp: record.vector.data,
            etag: identity.etag.clone(),
            size: identity.size,
            checksum: identity.shown_checksum(),
        };
        let key = (object.clone(), self.upload);
        commit
            .frees()
            .expect::<Uploads>(&key, Some(self.row.revision))
            .put::<Uploads>(&key, &tables::Upload { state, versioned: record.versioned, ..self.row.row.clone() })
    }
}

/// Rows a record has in the part map table.
pub fn chunks_of(record: &Record) -> u16 {
    match record.identity.parts {
        Parts::Single => 0,
        Parts::Mapped { count } => count.div_ceil(PARTS_PER_CHUNK as u16),
    }
}

/// Takes away what a record has in the part map table, from a row on: those before it are written anew.
pub fn without_part_map(commit: Commit, object: &ObjectId, record: &Record, from: u16) -> Commit {
    let slot = record.slot();
    (from..chunks_of(record)).fold(commit, |commit, chunk| commit.delete::<PartMaps>(&(object.clone(), (slot, chunk))))
}
