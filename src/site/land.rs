//! Landing: the last, short step of every write. Bytes are staged already; under the key lock the conditions are
//! decided, a stamp is drawn, and one commit makes the object what it now is.

use super::error::{Error, Result};
use super::settle::Unsettled;
use super::types::{WriteConditions, Written};
use super::{CONFLICTS_MAX, Site, precondition};
use crate::backend::{Kept, KeptPart, Published};
use crate::model::{Event, Identity, Location, ObjectId, PartEntry, Parts, Record, Slot, Stamp, State, Unit, Vector, WriteId};
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
        Self { object: object.clone(), kept, identity, conditions, part_map: Vec::new(), completes: None }
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
        let _key = self.inner.keys.lock(&landing.object).await;
        let write = self.inner.writes.next();
        let landed = match learned {
            Ok(()) => self.commit_landing(&landing, write).await,
            Err(err) => Err(err),
        };
        let record = match landed {
            Ok(record) => record,
            Err(err) => {
                self.give_up(&landing, &err).await;
                return Err(err);
            }
        };
        self.publish(&landing.object, &record).await;
        for part in landing.completes.iter().flat_map(|completes| &completes.stored) {
            self.inner.backend.release(part.kept.location.clone()).await;
        }
        tracing::debug!(stamp = %record.vector.data, object = %landing.object, "written");
        Ok(self.written(&record))
    }

    /// Staged bytes of a write that certainly did not happen go back. Where the outcome is unknown they stay: the commit
    /// may be durable, and the next start finds out.
    async fn give_up(&self, landing: &Landing, err: &Error) {
        if !matches!(err, Error::Internal(_)) {
            self.inner.backend.release(landing.kept.location.clone()).await;
        }
    }

    async fn commit_landing(&self, landing: &Landing, write: WriteId) -> Result<Record> {
        for _ in 0..CONFLICTS_MAX {
            let bucket = self.bucket_row(&landing.object.bucket).await?;
            let current = self.current(&landing.object).await?;
            let current = current.as_deref();
            precondition::write(&landing.conditions, current.map(|stored| &stored.row))?;
            let stamp = self.inner.clock.tick(current.map(|stored| stored.row.vector.greatest()));
            let record = landing.record(stamp, write, current.map(|stored| &stored.row));
            let commit = Commit::new()
                .expect::<Buckets>(&landing.object.bucket, Some(bucket.revision))
                .expect::<Objects>(&landing.object, current.map(|stored| stored.revision));
            let commit = landing.writes(commit, &record, current.map(|stored| &stored.row)).to(self.audience());
            match self.inner.status.commit(commit).await {
                Ok(_) => return Ok(record),
                Err(CommitError::Conflict) => self.count_conflict(&landing.object.bucket),
                Err(err) => return Err(err.into()),
            }
            self.still_claimed(landing).await?;
        }
        Err(CommitError::Conflict.into())
    }

    /// Only this Complete changes a claimed upload, but an engine may answer Conflict for reasons of its own.
    async fn still_claimed(&self, landing: &Landing) -> Result<()> {
        let Some(completes) = &landing.completes else { return Ok(()) };
        let key = (landing.object.clone(), completes.upload);
        let row = self.inner.status.get::<Uploads>(&key).await?;
        if row.map(|row| row.revision) == Some(completes.row.revision) { Ok(()) } else { Err(Error::NoSuchUpload) }
    }

    /// Brings staged bytes to the plain name. A failure leaves the object readable where it is, and the settler tries on.
    pub(super) async fn publish(&self, object: &ObjectId, record: &Record) {
        let Location::Staged(from) = record.location else { return };
        let published = self.publish_staged(object, from, &record.binding).await;
        match &published {
            Ok(Published::Done) => {}
            Ok(Published::Gone) => tracing::error!(stamp = %record.vector.data, %object, "its staged bytes are gone"),
            Err(reason) => tracing::warn!(stamp = %record.vector.data, %object, reason, "not at its plain name yet"),
        }
        let (write, object, done) = (record.write, object.clone(), matches!(published, Ok(Published::Done)));
        self.inner.settler.add(Unsettled { write, object, staged: Some(from), done });
    }

    pub(super) fn written(&self, record: &Record) -> Written {
        let identity = &record.identity;
        Written {
            stamp: record.vector.data,
            etag: identity.etag.clone(),
            size: identity.size,
            checksum: identity.shown_checksum(),
            modified_ms: self.modified_ms(record),
        }
    }
}

impl Landing {
    fn record(&self, stamp: Stamp, write: WriteId, current: Option<&Record>) -> Record {
        Record {
            vector: Vector::of(stamp),
            state: State::Present,
            identity: self.identity.clone(),
            location: self.kept.location.clone(),
            binding: self.kept.binding.clone(),
            write,
            base: current.map(|record| record.vector.data),
        }
    }

    /// Record, redo, and what they replace, in one commit: apart, a crash would leave a row without its bytes.
    fn writes(&self, commit: Commit, record: &Record, current: Option<&Record>) -> Commit {
        let event = Event { unit: Unit::null(&self.object), vector: record.vector };
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
    let slot = (object.clone(), Slot::Null);
    let mut commit = commit.put::<Objects>(object, record);
    if let Location::Staged(from) = record.location {
        let over = current.filter(|current| current.state == State::Present).map(|current| current.binding.clone());
        let (object, binding) = (object.clone(), record.binding.clone());
        commit = commit.put::<Settle>(&record.write, &Settling::Publish { object, slot: Slot::Null, from, binding, over });
    }
    if current.is_none() {
        commit = commit.delete::<Graves>(&slot);
    }
    if let Some(current) = current {
        commit = without_part_map(commit, object, current, chunks_of(record));
    }
    for (chunk, parts) in part_map.chunks(PARTS_PER_CHUNK).enumerate() {
        let chunk = u16::try_from(chunk).expect("10,000 parts are 10 chunks");
        commit = commit.put::<PartMaps>(&(object.clone(), (Slot::Null, chunk)), &parts.to_vec());
    }
    commit
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
            .put::<Uploads>(&key, &tables::Upload { state, ..self.row.row.clone() })
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
    (from..chunks_of(record)).fold(commit, |commit, chunk| commit.delete::<PartMaps>(&(object.clone(), (Slot::Null, chunk))))
}
