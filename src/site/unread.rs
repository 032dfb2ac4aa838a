//! Bytes that were in the store before the site served them and that nobody has read yet: known by a look at their name,
//! served at once, read once, and told to other sites then.
//!
//! Until they are read their ETag is made of what the store says of the file, with a dash, so that no client takes it for an
//! MD5. It names these very bytes as well as the MD5 does, since other bytes have another binding: conditions take both for
//! as long as the bytes stay, so that what began with the one ends with the other.

use std::sync::Arc;
use std::time::Duration;

use md5::{Digest as _, Md5};

use super::Site;
use super::claim::CONTENT_TYPE;
use super::digest::Digests;
use super::error::{Error, Result};
use super::get::{READS_MAX, without_bucket};
use super::heal::{adopted_identity, settled_place};
use super::label::described;
use crate::backend::{self, Found, Place};
use crate::model::{
    Binding, Described, ETag, Event, Identity, Location, ObjectId, Parts, Record, Registers, Slot, Stamp, State, Unit, Vector,
};
use crate::status::{Audience, Commit, CommitError, Stored};

/// Largest object that HEAD and GET read before they answer; larger ones are read in the background. Small in tests, which hash slowly.
pub(super) const READ_FIRST_BYTES_MAX: u64 = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// A file changed less than this ago is not believed to stay what it was: file systems' clocks are coarse, so another write
/// could leave everything as it is but the bytes. Milliseconds.
const YOUNG_MS: u64 = 2_000;
/// What parts are guessed to be of, for clients that count them by the ETag. Bytes.
const PART_BYTES: u64 = 8 << 20;
/// Parts of an S3 object, at the most.
const PARTS_MAX: u64 = 10_000;

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadUp {
    /// The record says what they are.
    Done,
    /// The record, or the file, is another by now: start over.
    Differs,
    /// The file is gone.
    Gone,
    /// It was changed a moment ago.
    Young,
}

/// The ETag of bytes that nobody has read.
fn unread_etag(binding: &Binding, size: u64) -> ETag {
    let name = match binding {
        Binding::None => String::new(),
        Binding::File { inode, size, mtime_ns } => format!("file {inode} {size} {mtime_ns}"),
        Binding::Tag(tag) => format!("tag {tag}"),
    };
    let parts = usize::try_from(size.div_ceil(PART_BYTES).clamp(1, PARTS_MAX)).expect("10,000 fits");
    ETag::of_parts(Md5::digest(name).into(), parts)
}

/// Whether the bytes of a record had this ETag before they were read. What was never unread never had it.
pub(super) fn was_etag_of(etag: &ETag, record: &Record) -> bool {
    let is_of_single = record.identity.parts == Parts::Single && etag.as_str().contains('-');
    is_of_single && *etag == unread_etag(&record.binding, record.identity.size)
}

/// What bytes are that were read: their ETag is their MD5, unless their store had told another one, which clients know.
fn read_identity(record: &Record, digests: &Digests) -> Identity {
    let before = &record.identity;
    let read = adopted_identity(before, digests);
    let etag = if before.etag == unread_etag(&record.binding, before.size) { read.etag } else { before.etag.clone() };
    Identity { etag, ..read }
}

impl Site {
    /// Who hears of a change to a record: nobody, of one whose bytes are not known themselves.
    pub(super) fn audience_of(&self, record: &Record) -> Audience {
        if record.state == State::Unread { Audience::default() } else { self.audience() }
    }

    /// The record of bytes that were found in the store, as a write of the time that the store says.
    pub(super) fn unread(&self, found: &Found, stamp: Stamp) -> Record {
        let Described { mut headers, metadata, tags } = described(found).unwrap_or_default();
        headers.content_type.get_or_insert_with(|| CONTENT_TYPE.into());
        let identity = Identity {
            size: found.size,
            etag: found.etag.clone().unwrap_or_else(|| unread_etag(&found.binding, found.size)),
            parts: Parts::Single,
            crc64: 0,
            checksum: None,
            headers,
            metadata,
            tags,
        };
        Record {
            vector: Vector::of(stamp),
            state: State::Unread,
            identity,
            location: Location::Plain,
            binding: found.binding.clone(),
            write: self.inner.writes.next(),
            base: None,
            versioned: false,
            registers: Registers::default(),
        }
    }

    /// [`Site::existing`], its bytes read if they are no more than so many. What is being changed stays unread.
    pub(super) async fn existing_read(
        &self,
        object: &ObjectId,
        version: Option<Slot>,
        bytes_max: u64,
    ) -> Result<Arc<Stored<Record>>> {
        for _ in 0..READS_MAX {
            let stored = self.existing(object, version).await?;
            if stored.row.state != State::Unread || stored.identity.size > bytes_max {
                return Ok(stored);
            }
            match self.read_up(object, &stored).await {
                Ok(ReadUp::Done | ReadUp::Differs) => {}
                Ok(ReadUp::Gone | ReadUp::Young) => return Ok(stored),
                // The row says of it what a listing does, and it is for whoever opens the bytes to be refused.
                Err(Error::StoreReadOnly(_)) => return Ok(stored),
                Err(err) => return Err(err),
            }
        }
        Err(Error::Unavailable {
            reason: "the file is changed faster than it can be read".into(),
            retry_after: Duration::from_secs(1),
        })
    }

    /// Reads bytes that nobody has read, and makes the record say what they are. Of several who want that one does it.
    pub(super) async fn read_up(&self, object: &ObjectId, seen: &Stored<Record>) -> Result<ReadUp> {
        let _reading = self.inner.reading.lock(object).await;
        let slot = seen.row.slot();
        let now = self.inner.status.unit(object, slot).await?;
        let Some(now) = now.filter(|now| now.revision == seen.revision) else { return Ok(ReadUp::Differs) };
        let place = settled_place(object, &now.row);
        let Some(found) = self.as_bound(&place, &now.row).await? else { return self.found_otherwise(object, &now).await };
        if self.is_young(&found) {
            return Ok(ReadUp::Young);
        }
        let digests = self.hash_at(&place, &found).await;
        // Compared once more: what was changed while it was read is neither what it was nor what it is.
        if self.as_bound(&place, &now.row).await?.is_none() {
            return self.found_otherwise(object, &now).await;
        }
        let identity = read_identity(&now.row, &digests?);
        let record = Record { state: State::Present, identity, ..now.row.clone() };
        let commit = Commit::new().expect_unit(object, slot, Some(now.revision)).put_unit(object, &record);
        let told = commit.tell(Event { unit: Unit::of(object, slot), vector: record.vector }).to(self.audience());
        match self.inner.status.commit(told).await {
            Ok(_) => Ok(ReadUp::Done),
            Err(CommitError::Conflict) => Ok(ReadUp::Differs),
            Err(err) => Err(err.into()),
        }
    }

    /// What is at a place, if a record is bound to it.
    async fn as_bound(&self, place: &Place, record: &Record) -> Result<Option<Found>> {
        match self.inner.backend.head(place).await.map_err(without_bucket) {
            Ok(found) => Ok(Some(found).filter(|found| found.binding == record.binding)),
            Err(backend::Error::NotFound) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    /// The record follows what others made of the file.
    async fn found_otherwise(&self, object: &ObjectId, seen: &Stored<Record>) -> Result<ReadUp> {
        Ok(match self.heal(object, seen).await? {
            super::heal::Healed::Differs => ReadUp::Differs,
            super::heal::Healed::Gone => ReadUp::Gone,
        })
    }

    /// Whether another write of the file might not be seen.
    pub(super) fn is_young(&self, found: &Found) -> bool {
        let now_ms = self.inner.clock.wall_ms();
        found.changed_ms.is_some_and(|changed_ms| changed_ms.saturating_add(YOUNG_MS) > now_ms)
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::model::{Incarnation, SiteNumber, StampParts, WriteId};

    /// A record of which only the ETag matters.
    pub fn record(etag: ETag) -> Record {
        let stamp = Stamp::new(StampParts { ms: 1, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 });
        Record {
            vector: Vector::of(stamp),
            state: State::Present,
            identity: Identity { etag, ..Identity::of_marker() },
            location: Location::Plain,
            binding: Binding::Tag("bytes".into()),
            write: WriteId::new(Incarnation(1), 1, 1),
            base: None,
            versioned: false,
            registers: Registers::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etag_of_unread_bytes_is_no_md5_and_counts_parts() {
        let binding = Binding::File { inode: 7, size: 0, mtime_ns: 1 };
        for (size, parts) in [(0, "-1"), (1, "-1"), (8 << 20, "-1"), ((8 << 20) + 1, "-2"), (1 << 50, "-10000")] {
            let etag = unread_etag(&binding, size);
            assert!(etag.as_str().ends_with(parts), "{size}: {etag}");
            assert_eq!(etag.as_str().find('-'), Some(32));
        }
        let touched = Binding::File { inode: 7, size: 0, mtime_ns: 2 };
        assert_ne!(unread_etag(&binding, 1), unread_etag(&touched, 1));
    }

    #[test]
    fn bytes_keep_the_etag_they_were_told_of_by_until_they_change() {
        let read = testing::record(ETag::of_md5([1; 16]));
        let before = unread_etag(&read.binding, 0);
        assert!(was_etag_of(&before, &read));
        assert!(!was_etag_of(&read.identity.etag, &read));
        let changed = Record { binding: Binding::Tag("others".into()), ..read };
        assert!(!was_etag_of(&before, &changed));
    }
}
