//! Another site's state of a bucket: the one way in for buckets, as `apply` is for objects.

use super::apply::Applied;
use super::buckets::bucket_event;
use super::error::Result;
use super::{CONFLICTS_MAX, Site};
use crate::model::{Bucket, BucketName, Event, News, Seq, SiteNumber, Unit, Vector};
use crate::status::tables::{Buckets, Due, Hint, Objects, Versions, Work};
use crate::status::{Commit, CommitError, Revision, Stored};

impl Site {
    /// A bucket: the later of making and deleting, and every register for itself.
    pub(super) async fn apply_bucket(&self, bucket: &BucketName, there: &Bucket) -> Result<Applied> {
        let (site, bucket, there) = (self.clone(), bucket.clone(), there.clone());
        self.unstoppable(async move { site.apply_bucket_now(&bucket, &there).await }).await
    }

    async fn apply_bucket_now(&self, bucket: &BucketName, there: &Bucket) -> Result<Applied> {
        let _change = self.inner.bucket_changes.lock(bucket).await;
        let came = Applied::Part(Vector::of(there.greatest()));
        for _ in 0..CONFLICTS_MAX {
            let stored = self.inner.status.get::<Buckets>(bucket).await?;
            let before = stored.as_ref().map(|stored| &stored.row);
            let merged = before.map_or_else(|| there.clone(), |here| here.merge(there));
            let dies = before.is_some_and(Bucket::is_live) && !merged.is_live();
            if dies && self.holds_anything(bucket).await? {
                self.revive_bucket(bucket, &merged, stored.as_ref().map(|stored| stored.revision)).await?;
                return Ok(came);
            }
            if merged.is_live() {
                if before.is_some_and(|before| !before.is_live()) {
                    self.abort_uploads_of(bucket).await?;
                }
                self.inner.backend.create_bucket_at(bucket, &merged.region).await?;
            }
            if before == Some(&merged) {
                return Ok(came);
            }
            let mut commit = Commit::new()
                .seen(merged.greatest())
                .expect::<Buckets>(bucket, stored.as_ref().map(|row| row.revision))
                .put::<Buckets>(bucket, &merged);
            if self.is_own_again(stored.as_ref(), &merged) {
                commit = commit.tell(bucket_event(bucket, merged.greatest())).to(self.audience());
            }
            if dies {
                // A PUT depends on the bucket's row and does not change it: one may have come since it was looked.
                commit = commit.expect_empty::<Objects>(bucket).expect_empty::<Versions>(bucket);
            }
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    self.forget_bucket(bucket);
                    if dies {
                        self.bury_bucket(bucket).await;
                    }
                    return Ok(came);
                }
                Err(CommitError::Conflict) => self.count_conflict(bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// Whether a site that lost what it wrote gets it back where something older was told under a seq: of its own it says by
    /// the seq that everybody was told, so everybody is.
    fn is_own_again(&self, before: Option<&Stored<Bucket>>, merged: &Bucket) -> bool {
        let is_own = merged.greatest().parts().site == self.inner.id.number;
        before.is_some_and(|before| is_own && before.seq > Seq(0) && before.row.greatest() < merged.greatest())
    }

    /// What `source` had of a unit is here, where stamps do not tell by themselves what more others may have: of a bucket,
    /// since registers that two sites wrote at once are in the state of neither, of a version that was purged unawares, and
    /// where an earlier write may stand against a later one.
    /// Each site hears only of what came from itself, and the work is over when all who told of it were asked. `revision` is
    /// that of the work for which it was asked.
    pub async fn came(&self, unit: &Unit, source: SiteNumber, vector: Vector, revision: Revision) -> Result<()> {
        let work = self.inner.status.get::<Work>(unit).await?;
        // What was told while it came may not have come along.
        let Some(Stored { row: work, .. }) = work.filter(|work| work.revision == revision) else { return Ok(()) };
        let sources: Vec<_> = work.sources.iter().copied().filter(|one| *one != source).collect();
        let commit = Commit::new().expect::<Work>(unit, Some(revision)).delete::<Due>(&(work.due_ms, unit.clone()));
        let commit = match sources.is_empty() {
            true => commit.delete::<Work>(unit),
            false => {
                let left = Hint { sources, due_ms: self.inner.clock.wall_ms(), tries: 0, ..work };
                commit.put::<Work>(unit, &left).put::<Due>(&(left.due_ms, unit.clone()), &())
            }
        };
        let commit = commit.answer(source, Event { unit: unit.clone(), vector }, News::Applied);
        match self.inner.status.commit(commit).await {
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// What a bucket deleted elsewhere leaves here.
    async fn bury_bucket(&self, bucket: &BucketName) {
        if let Err(err) = self.remove_dead_bucket(bucket).await {
            tracing::warn!(%bucket, error = %err, "a bucket deleted elsewhere could not be removed from the store");
        }
        self.abort_uploads_of_dead(bucket).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Grave, Incarnation, Key, ObjectId, Purged, Registers, Replica, Slot, Stamp, StampParts};
    use crate::site::testing::site_with_neighbour;
    use crate::status::Page;
    use crate::status::tables::{Graves, Receipts};

    const BERLIN: SiteNumber = SiteNumber(2);
    const OSLO: SiteNumber = SiteNumber(3);

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: BERLIN, incarnation: Incarnation(1), rank: 0 })
    }

    async fn work(site: &Site, unit: &Unit) -> Option<Stored<Hint>> {
        site.status().get::<Work>(unit).await.unwrap()
    }

    async fn heard(site: &Site, of: SiteNumber) -> Vec<Vector> {
        let page: Page<Receipts> = site.status().page(&of, None, 10).await.unwrap();
        page.rows.into_iter().map(|(_, stored)| stored.row.vector).collect()
    }

    #[tokio::test]
    async fn work_of_a_bucket_is_over_when_all_who_told_of_it_were_asked() {
        let (site, bucket) = (site_with_neighbour("berlin", BERLIN).await, BucketName::new("bucket").unwrap());
        let unit = Unit::Bucket(bucket.clone());
        let hint = Hint { want: Vector::of(stamp(9)), sources: vec![BERLIN, OSLO], due_ms: 5, tries: 3, error: None };
        let told = Commit::new().put::<Work>(&unit, &hint).put::<Due>(&(hint.due_ms, unit.clone()), &());
        site.status().commit(told).await.unwrap();
        let first = work(&site, &unit).await.unwrap().revision;

        site.came(&unit, BERLIN, Vector::of(stamp(7)), first).await.unwrap();
        let left = work(&site, &unit).await.unwrap();
        assert_eq!((left.row.sources, left.row.tries), (vec![OSLO], 0));
        assert_eq!((heard(&site, BERLIN).await, heard(&site, OSLO).await), (vec![Vector::of(stamp(7))], vec![]));

        site.came(&unit, OSLO, Vector::of(stamp(9)), first).await.unwrap();
        assert!(work(&site, &unit).await.is_some(), "more was told while that came");
        site.came(&unit, OSLO, Vector::of(stamp(9)), left.revision).await.unwrap();
        assert_eq!((work(&site, &unit).await, heard(&site, OSLO).await), (None, vec![Vector::of(stamp(9))]));
        let due: Page<Due> = site.status().page(&(), None, 10).await.unwrap();
        assert!(due.rows.is_empty(), "{due:?}");
    }

    /// Two sites purged a version at once, the earlier with the bypass: the later's state reaches both stamps and has not both.
    #[tokio::test]
    async fn a_purge_is_heard_of_each_site_that_told_of_one() {
        let site = site_with_neighbour("berlin", BERLIN).await;
        let object = ObjectId { bucket: BucketName::new("bucket").unwrap(), key: Key::new("key").unwrap() };
        let unit = Unit::of(&object, Slot::Version(stamp(1)));
        let purged = |ms, purge_bypasses| {
            let vector = Vector { purge: Some(stamp(ms)), ..Vector::of(stamp(1)) };
            let registers = Registers { purge_bypasses, ..Registers::default() };
            let purged = Some(Box::new(Purged { vector, registers, tags: Vec::new() }));
            (vector, Replica::Grave(Grave { stamp: stamp(ms), base: Some(stamp(1)), told: None, purged }))
        };
        let ((earlier, of_oslo), (later, of_berlin)) = (purged(5, true), purged(7, false));
        let hint = Hint { want: later, sources: vec![BERLIN, OSLO], due_ms: 5, tries: 0, error: None };
        site.status().commit(Commit::new().put::<Work>(&unit, &hint)).await.unwrap();

        assert!(matches!(site.apply(&unit, of_berlin, None).await, Ok(Applied::Part(of)) if of == later));
        assert!(work(&site, &unit).await.is_some() && heard(&site, OSLO).await.is_empty());
        assert!(matches!(site.apply(&unit, of_oslo, None).await, Ok(Applied::Part(of)) if of == earlier));
        let grave = site.status().get::<Graves>(&(object, Slot::Version(stamp(1)))).await.unwrap().unwrap().row;
        assert!(grave.registers().purge_bypasses && grave.vector() > later);
    }
}
