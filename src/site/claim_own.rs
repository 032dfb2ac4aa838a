//! Bytes under names of their own of which a status store that lost rows may have had one (protocol §11): a version, or a null
//! version that had not come to its key's name yet. Who knows the lost row elsewhere, or in the archive, has a version under the
//! id it was acknowledged with; here it gets another.

use futures::StreamExt;

use super::claim::{Claimed, identity_found, is_later};
use super::error::{Error, Result};
use super::label::{Label, Meant};
use super::{CONFLICTS_MAX, Site};
use crate::backend::{self, FoundOwn, Place};
use crate::model::{
    BucketName, Event, Key, Location, ObjectId, Record, Slot, Stamp, StampParts, State, Unit, Vector, Versioning, WriteId,
};
use crate::status::tables::{Buckets, Graves};
use crate::status::{Commit, CommitError};

/// Files looked at by one step.
const STEP_FILES: usize = 1_000;

/// Where a walk over own names stands.
pub(super) type OwnName = (Key, WriteId);

/// What a stretch of own names came to.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub looked_at: u64,
    pub adopted: u64,
    /// Where to go on.
    pub next: Option<OwnName>,
}

/// What bytes under a name of their own are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// The null version, if they are later than what it has.
    Null,
    Version,
    /// What is left of a write that has its row, or lost to one that has: the daily comparison removes them.
    Leave,
}

/// What is to be decided on.
#[derive(Clone, Copy, Debug)]
struct Seen {
    versioning: Versioning,
    /// What they were to be when their write began.
    meant: Option<Meant>,
    null: NullIs,
}

/// What the key's null version is, to bytes under a name of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NullIs {
    Absent,
    Earlier,
    /// Later, as far as can be told.
    NotEarlier,
    /// These very bytes, which came to the key's name.
    Same,
}

/// Where versioning was switched while a write was under way, what it was to be is not what it became. So nothing that has a
/// row gives way in a bucket that makes versions: rather one too many than one too few.
fn decide(seen: Seen) -> Course {
    match (seen.versioning, seen.meant, seen.null) {
        (_, _, NullIs::Same) => Course::Leave,
        // If they were to be a version, the bucket's own row was lost.
        (Versioning::Off, ..) | (Versioning::Suspended, Some(Meant::Null), _) => Course::Null,
        (Versioning::Enabled, Some(Meant::Null), NullIs::Absent) => Course::Null,
        (Versioning::Enabled, Some(Meant::Null), NullIs::NotEarlier) => Course::Leave,
        (Versioning::Enabled, Some(Meant::Null), NullIs::Earlier) => Course::Version,
        (Versioning::Enabled | Versioning::Suspended, Some(Meant::Version) | None, _) => Course::Version,
    }
}

impl Site {
    /// Looks through a stretch of a bucket's own names, and takes those that lost their rows.
    pub(super) async fn claim_own(&self, bucket: &BucketName, after: Option<OwnName>) -> Result<Claims> {
        let (mut claims, mut last) = (Claims::default(), None);
        let life = self.inner.status.facts().incarnation;
        let mut listing = self.inner.backend.list_own(bucket, after);
        while claims.looked_at < STEP_FILES as u64 {
            let found = match listing.next().await {
                None | Some(Err(backend::Error::NoSuchBucket)) => return Ok(claims),
                Some(found) => found.map_err(Error::from)?,
            };
            claims.looked_at += 1;
            last = Some((found.found.key.clone(), found.write));
            let object = ObjectId { bucket: bucket.clone(), key: found.found.key.clone() };
            // What was written in this life has its row, or is about to get it.
            let is_known = found.write.incarnation() == life;
            let is_late = self.rebuilding().is_some_and(|rebuild| rebuild.may_lack_row(&found.found));
            if is_late && !is_known && !self.is_named(&object, found.write).await? {
                claims.adopted += u64::from(self.adopt_own(&object, found).await?);
            }
        }
        claims.next = last;
        Ok(claims)
    }

    async fn adopt_own(&self, object: &ObjectId, found: FoundOwn) -> Result<bool> {
        let place = Place { object: object.clone(), location: Location::Own(found.write) };
        // A listing may tell less than this does.
        let found = match self.inner.backend.head(&place).await {
            Err(backend::Error::NotFound) => return Ok(false),
            told => FoundOwn { found: told?, ..found },
        };
        let versioning = match self.bucket_row(&object.bucket).await {
            Ok(bucket) => bucket.row.versioning(),
            Err(Error::NoSuchBucket) => return Ok(false),
            Err(err) => return Err(err),
        };
        if versioning == Versioning::Off && found.found.label.is_none() {
            // A store that stages gives such names to versions only: the bucket's own row was lost.
            return Ok(false);
        }
        let (meant, null) = (Label::of(&found.found).meant, self.null_is(object, &found).await?);
        match decide(Seen { versioning, meant, null }) {
            Course::Null => Ok(self.claim_at(object, Location::Moving(found.write)).await? == Claimed::Adopted),
            Course::Version => self.adopt_version(object, found).await,
            Course::Leave => Ok(false),
        }
    }

    async fn null_is(&self, object: &ObjectId, found: &FoundOwn) -> Result<NullIs> {
        let null = self.inner.status.unit(object, Slot::Null).await?;
        let Some(null) = null else { return Ok(NullIs::Absent) };
        if null.row.binding == found.found.binding {
            return Ok(NullIs::Same);
        }
        let kept = self.bytes_of(object, &null.row).await?;
        let is_earlier = is_later(&found.found, &null.row, kept.as_ref());
        Ok(if is_earlier { NullIs::Earlier } else { NullIs::NotEarlier })
    }

    async fn adopt_version(&self, object: &ObjectId, found: FoundOwn) -> Result<bool> {
        let place = Place { object: object.clone(), location: Location::Own(found.write) };
        let digests = self.hash_at(&place, &found.found).await?;
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move {
            let _key = site.inner.keys.lock(&object).await;
            for _ in 0..CONFLICTS_MAX {
                let bucket = match site.bucket_row(&object.bucket).await {
                    Ok(bucket) if bucket.row.versioning() != Versioning::Off => bucket,
                    Ok(_) | Err(Error::NoSuchBucket) => return Ok(false),
                    Err(err) => return Err(err),
                };
                let stamp = site.free_stamp(&object, &found).await?;
                let record = Record {
                    vector: Vector::of(stamp),
                    state: State::Present,
                    identity: identity_found(&found.found, None, &digests),
                    location: Location::Own(found.write),
                    binding: found.found.binding.clone(),
                    write: found.write,
                    base: None,
                    versioned: true,
                    registers: Default::default(),
                };
                let commit = Commit::new()
                    .expect::<Buckets>(&object.bucket, Some(bucket.revision))
                    .expect_unit(&object, record.slot(), None)
                    .put_unit(&object, &record)
                    .tell(Event { unit: Unit::of(&object, record.slot()), vector: record.vector })
                    .to(site.audience());
                match site.inner.status.commit(commit).await {
                    Ok(_) => {
                        tracing::warn!(%stamp, %object, size = found.found.size, "took over a version whose row was lost");
                        return Ok(true);
                    }
                    Err(CommitError::Conflict) => site.count_conflict(&object.bucket),
                    Err(err) => return Err(err.into()),
                }
            }
            Err(CommitError::Conflict.into())
        })
        .await
    }

    /// A stamp of the millisecond in which the bytes were written that no version of the key has, nor had.
    async fn free_stamp(&self, object: &ObjectId, found: &FoundOwn) -> Result<Stamp> {
        let StampParts { ms, site, incarnation, rank, .. } = self.stamp_of(&found.found).parts();
        for tick in 0..=u16::MAX {
            let stamp = Stamp::new(StampParts { ms, tick, site, incarnation, rank });
            let unit = (object.clone(), Slot::Version(stamp));
            let is_live = self.inner.status.unit(&unit.0, unit.1).await?.is_some();
            if !is_live && self.inner.status.get::<Graves>(&unit).await?.is_none() {
                return Ok(stamp);
            }
        }
        Ok(self.inner.clock.tick(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [NullIs; 3] = [NullIs::Absent, NullIs::Earlier, NullIs::NotEarlier];

    fn courses(versioning: Versioning, meant: Option<Meant>) -> [Course; 3] {
        ALL.map(|null| decide(Seen { versioning, meant, null }))
    }

    #[test]
    fn bytes_become_what_they_were_to_be_as_far_as_that_is_still_so() {
        use Course::{Leave, Null, Version};
        for meant in [None, Some(Meant::Null), Some(Meant::Version)] {
            assert_eq!(courses(Versioning::Off, meant), [Null; 3], "{meant:?}");
        }
        for versioning in [Versioning::Enabled, Versioning::Suspended] {
            assert_eq!(courses(versioning, Some(Meant::Version)), [Version; 3]);
            assert_eq!(courses(versioning, None), [Version; 3], "an upload");
        }
        assert_eq!(courses(Versioning::Suspended, Some(Meant::Null)), [Null; 3]);
        assert_eq!(courses(Versioning::Enabled, Some(Meant::Null)), [Null, Version, Leave]);
    }

    #[test]
    fn what_came_to_its_keys_name_is_no_version_too() {
        for versioning in [Versioning::Off, Versioning::Enabled, Versioning::Suspended] {
            for meant in [None, Some(Meant::Null), Some(Meant::Version)] {
                assert_eq!(decide(Seen { versioning, meant, null: NullIs::Same }), Course::Leave);
            }
        }
    }
}
