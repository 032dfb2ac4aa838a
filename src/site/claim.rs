//! Bytes in the store of which a status store that lost rows may have had one: taken for a write, or not (protocol §11).
//!
//! What another site or the archive knows always wins against what can be told from a file: its stamp is the millisecond
//! it was written in, with nothing behind it, and so never greater than the one that was lost.

use std::sync::atomic::Ordering;

use super::error::{Error, Result};
use super::heal::adopted_identity;
use super::land::without_part_map;
use super::rebuild::Rebuild;
use super::{CONFLICTS_MAX, Site, plain};
use crate::backend::{self, Found};
use crate::model::{
    Bucket, BucketName, ContentHeaders, Event, Here, Identity, Incarnation, Location, ObjectId, Record, SiteNumber, Slot, Stamp,
    StampParts, State, Unit, Vector,
};
use crate::status::tables::{Buckets, Graves};
use crate::status::{Commit, CommitError};

/// What S3 says of bytes of which it was told nothing.
pub(super) const CONTENT_TYPE: &str = "application/octet-stream";
/// Objects looked at to see whether a folder is a bucket that was lost.
const BUCKET_OBJECTS: usize = 1_000;

/// What became of bytes in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    /// They are the object now, as a write whose row was lost.
    Adopted,
    /// They are those of the row, under another name of the store's own: it was copied.
    Rebound,
    /// They were deleted here since.
    Removed,
    /// They belong to nothing that is or was known here.
    Foreign,
    /// The row has others, or these; there is nothing to be taken.
    Left,
}

/// What may be done about bytes that no row is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Take them, if they are not the row's own.
    Take,
    Remove,
    Foreign,
    Leave,
}

/// What is to be decided on.
struct Seen<'a> {
    here: Here<'a>,
    /// Whether they may have come after the archive's last rows.
    may_lack_row: bool,
    /// The stamp they would have.
    stamp: Stamp,
    /// Whether nobody else can be spoiled by what is taken.
    is_lone: bool,
    /// The life that this site is in now.
    life: (SiteNumber, Incarnation),
}

fn decide(seen: &Seen<'_>) -> Course {
    match seen.here {
        Here::Live(record) if seen.may_lack_row && (seen.is_lone || seen.stamp > record.vector.data) => Course::Take,
        Here::Live(_) => Course::Leave,
        // Whoever deleted it while its row was not known yet wanted its bytes gone.
        Here::Grave(grave) if grave.stamp > seen.stamp && life(grave.stamp) == seen.life => Course::Remove,
        Here::Grave(grave) if grave.stamp < seen.stamp && seen.may_lack_row => Course::Take,
        Here::Nothing if seen.may_lack_row => Course::Take,
        Here::Grave(_) | Here::Nothing => Course::Foreign,
    }
}

fn life(stamp: Stamp) -> (SiteNumber, Incarnation) {
    let StampParts { site, incarnation, .. } = stamp.parts();
    (site, incarnation)
}

impl Site {
    /// Decides what becomes of the bytes at an object's name, under its lock.
    pub(super) async fn claim(&self, object: &ObjectId) -> Result<Claimed> {
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move {
            let _key = site.inner.keys.lock(&object).await;
            site.claim_locked(&object).await
        })
        .await
    }

    async fn claim_locked(&self, object: &ObjectId) -> Result<Claimed> {
        for _ in 0..CONFLICTS_MAX {
            let Some(rebuild) = self.rebuilding() else { return Ok(Claimed::Left) };
            let found = match self.inner.backend.head(&plain(object)).await {
                Ok(found) => found,
                Err(backend::Error::NotFound | backend::Error::NoSuchBucket) => return Ok(Claimed::Left),
                Err(err) => return Err(err.into()),
            };
            let known = self.known(object, Slot::Null).await?;
            if let Here::Live(record) = known.here()
                && self.open_bytes(object, record, 0..0).await.is_ok()
            {
                return Ok(Claimed::Left);
            }
            let (own, incarnation) = (self.inner.id.number, self.inner.status.facts().incarnation);
            let seen = Seen {
                here: known.here(),
                may_lack_row: rebuild.may_lack_row(&found),
                stamp: self.stamp_of(&found),
                is_lone: self.inner.neighbours.is_empty(),
                life: (own, incarnation),
            };
            match decide(&seen) {
                Course::Foreign => return Ok(Claimed::Foreign),
                Course::Leave => return Ok(Claimed::Left),
                Course::Remove => {
                    self.inner.backend.delete(&plain(object), &found.binding).await?;
                    return Ok(Claimed::Removed);
                }
                Course::Take => {}
            }
            let (taken, commit) = self.taking(object, &known, &found, seen.stamp).await?;
            match self.inner.status.commit(commit).await {
                Ok(_) => return Ok(taken),
                Err(CommitError::Conflict) => self.count_conflict(&object.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// The commit that binds an object to the bytes that were found.
    async fn taking(
        &self,
        object: &ObjectId,
        known: &super::apply::Known,
        found: &Found,
        stamp: Stamp,
    ) -> Result<(Claimed, Commit)> {
        let digests = self.hash_found(object, found).await?;
        let bucket = self.bucket_row(&object.bucket).await?;
        let commit = known.guarded(object, Commit::new().expect::<Buckets>(&object.bucket, Some(bucket.revision)));
        let before = match known.here() {
            Here::Live(record) => Some(record),
            Here::Nothing | Here::Grave(_) => None,
        };
        let bound = (State::Present, Location::Plain, found.binding.clone());
        if let Some(record) = before
            && (record.identity.size, record.identity.crc64) == (digests.size, digests.crc64)
        {
            let (state, location, binding) = bound;
            let record = Record { state, location, binding, ..record.clone() };
            return Ok((Claimed::Rebound, commit.put_unit(object, &record)));
        }
        let greatest = known.greatest();
        let stamp = if greatest.is_none_or(|known| stamp > known) { stamp } else { self.inner.clock.tick(greatest) };
        let identity = before.map_or_else(|| identity_of(&digests), |record| adopted_identity(&record.identity, &digests));
        let (state, location, binding) = bound;
        let base = known.here().stamp();
        let record = Record {
            vector: Vector::of(stamp),
            state,
            identity,
            location,
            binding,
            write: self.inner.writes.next(),
            base,
            versioned: false,
            registers: before.map(|before| before.registers.clone()).unwrap_or_default(),
        };
        let mut commit = commit.put_unit(object, &record).delete::<Graves>(&(object.clone(), Slot::Null));
        if let Some(before) = before {
            commit = without_part_map(commit, object, before, 0);
        }
        let told = commit.tell(Event { unit: Unit::null(object), vector: record.vector }).to(self.audience());
        tracing::warn!(%stamp, %object, size = found.size, "took over bytes whose row was lost");
        self.inner.counters.adopted.fetch_add(1, Ordering::Relaxed);
        Ok((Claimed::Adopted, told))
    }

    /// Never greater than that of the write which stored these bytes, whoever made it.
    pub(super) fn stamp_of(&self, found: &Found) -> Stamp {
        let ms = found.modified_ms.min(self.inner.clock.wall_ms());
        Stamp::new(StampParts { ms, tick: 0, site: self.inner.id.number, incarnation: Incarnation(0), rank: 0 })
    }

    /// Makes rows for buckets of the store that have none and may have been made, or written to, after the last archived row.
    pub(super) async fn claim_buckets(&self, rebuild: &Rebuild) -> Result<()> {
        for bucket in self.inner.backend.list_buckets().await? {
            if self.inner.status.get::<Buckets>(&bucket).await?.is_some() {
                continue;
            }
            if !self.may_lack_rows(&bucket, rebuild).await? {
                tracing::warn!(%bucket, "a folder in the store that is no bucket: it is left alone");
                continue;
            }
            let like = self.latest_bucket().await?;
            let row = Bucket { created: self.inner.clock.tick(None), deleted: None, registers: Vec::new(), ..like };
            tracing::warn!(%bucket, owner = row.owner, "took over a bucket whose row was lost");
            self.note_bucket(&bucket, &row).await?;
        }
        Ok(())
    }

    /// Whether a bucket is empty or holds something that came late.
    async fn may_lack_rows(&self, bucket: &BucketName, rebuild: &Rebuild) -> Result<bool> {
        use futures::StreamExt;
        let mut listing = self.inner.backend.list(bucket, None);
        let mut is_empty = true;
        for _ in 0..BUCKET_OBJECTS {
            let Some(found) = listing.next().await else { break };
            is_empty = false;
            if rebuild.may_lack_row(&found.map_err(Error::from)?) {
                return Ok(true);
            }
        }
        Ok(is_empty)
    }

    /// The bucket made last: one whose row was lost probably belongs to the same owner.
    async fn latest_bucket(&self) -> Result<Bucket> {
        let mut latest: Option<Bucket> = None;
        self.each_row::<Buckets>(|_, row| {
            if latest.as_ref().is_none_or(|latest| latest.created < row.created) {
                latest = Some(row.clone());
            }
        })
        .await?;
        let nobodys = || Bucket {
            created: self.inner.clock.tick(None),
            deleted: None,
            owner: FIRST_OWNER.into(),
            region: FIRST_REGION.into(),
            registers: Vec::new(),
        };
        Ok(latest.unwrap_or_else(nobodys))
    }
}

/// Owns what the first key makes, and a bucket of which no other owner is known.
pub const FIRST_OWNER: &str = "admin";
/// The region of a first start.
pub(super) const FIRST_REGION: &str = "us-east-1";

pub(super) fn identity_of(digests: &super::digest::Digests) -> Identity {
    let headers = ContentHeaders { content_type: Some(CONTENT_TYPE.into()), ..ContentHeaders::default() };
    Identity { headers, ..digests.identity() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Binding, WriteId};

    const LIFE: (SiteNumber, Incarnation) = (SiteNumber(1), Incarnation(9));

    fn stamp(ms: u64, incarnation: u32) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(incarnation), rank: 0 })
    }

    fn record(ms: u64) -> Record {
        let digests = super::super::digest::Digests { size: 0, md5: [0; 16], crc64: 0, checksums: Vec::new() };
        Record {
            vector: Vector::of(stamp(ms, 5)),
            state: State::Present,
            identity: identity_of(&digests),
            location: Location::Plain,
            binding: Binding::None,
            write: WriteId::new(Incarnation(5), 1, 1),
            base: None,
            versioned: false,
            registers: Default::default(),
        }
    }

    /// Of a delete.
    fn grave(stamp: Stamp) -> crate::model::Grave {
        crate::model::Grave { stamp, base: None, told: None, purged: None }
    }

    /// Bytes written at 100, late or not, at a site that is alone or not.
    fn course(here: Here<'_>, may_lack_row: bool, is_lone: bool) -> Course {
        decide(&Seen { here, may_lack_row, stamp: stamp(100, 0), is_lone, life: LIFE })
    }

    #[test]
    fn late_bytes_without_a_row_are_taken_and_old_ones_are_left_alone() {
        assert_eq!(course(Here::Nothing, true, true), Course::Take);
        assert_eq!(course(Here::Nothing, true, false), Course::Take);
        assert_eq!(course(Here::Nothing, false, true), Course::Foreign);
    }

    #[test]
    fn what_was_deleted_is_not_taken_unless_it_was_written_after() {
        assert_eq!(course(Here::Grave(&grave(stamp(99, 5))), true, true), Course::Take);
        assert_eq!(course(Here::Grave(&grave(stamp(99, 5))), false, true), Course::Foreign);
        assert_eq!(course(Here::Grave(&grave(stamp(101, 5))), true, true), Course::Foreign);
        assert_eq!(course(Here::Grave(&grave(stamp(101, 9))), true, true), Course::Remove);
        assert_eq!(course(Here::Grave(&grave(stamp(101, 9))), false, true), Course::Remove);
    }

    #[test]
    fn bytes_that_are_not_the_rows_are_taken_where_they_may_be_newer() {
        let (older, newer) = (record(99), record(101));
        assert_eq!(course(Here::Live(&older), true, false), Course::Take);
        assert_eq!(course(Here::Live(&newer), true, false), Course::Leave);
        assert_eq!(course(Here::Live(&newer), true, true), Course::Take);
        assert_eq!(course(Here::Live(&older), false, true), Course::Leave);
    }
}
