//! Bytes under names of their own of which a status store that lost rows may have had the version (protocol §11). Who knows
//! the lost row elsewhere, or in the archive, has it under the id it was acknowledged with; here it gets another.

use futures::StreamExt;

use super::claim::identity_of;
use super::error::{Error, Result};
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

impl Site {
    /// Looks through a stretch of a bucket's own names, and makes versions of those that lost their rows.
    pub(super) async fn claim_own(&self, bucket: &BucketName, after: Option<OwnName>) -> Result<Claims> {
        let (mut claims, mut last) = (Claims::default(), None);
        let mut listing = self.inner.backend.list_own(bucket, after);
        while claims.looked_at < STEP_FILES as u64 {
            let found = match listing.next().await {
                None | Some(Err(backend::Error::NoSuchBucket)) => return Ok(claims),
                Some(found) => found.map_err(Error::from)?,
            };
            claims.looked_at += 1;
            last = Some((found.found.key.clone(), found.write));
            let object = ObjectId { bucket: bucket.clone(), key: found.found.key.clone() };
            let is_late = self.rebuilding().is_some_and(|rebuild| rebuild.may_lack_row(&found.found));
            if is_late && !self.is_named(&object, found.write).await? {
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
                    identity: identity_of(&digests),
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
