//! A file that others put into the folder of a bucket that is long imported: found by a look through the store
//! (`reconcile`), and taken for a write where the setting `ownership` says so.

use crate::backend::{self, Found};
use crate::model::{Here, ObjectId, Record, Slot, Stamp};
use crate::site::apply::Known;
use crate::site::error::Result;
use crate::site::unread::ReadUp;
use crate::site::{Site, plain};
use crate::status::tables::{Buckets, Graves, Settle};
use crate::status::{Commit, CommitError, Stored};

/// What became of a file that no row names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newcomer {
    /// It is the object now.
    Taken,
    /// It is nobody's business.
    Left,
    /// Somebody is at it: another look will tell.
    Busy,
}

impl Site {
    /// Takes a file that no row names for a write.
    pub async fn take_newcomer(&self, object: &ObjectId) -> Result<Newcomer> {
        if !self.adopts(&object.bucket) {
            return Ok(Newcomer::Left);
        }
        let (site, owned) = (self.clone(), object.clone());
        let taken = self.unstoppable(async move { site.take_newcomer_now(&owned).await }).await?;
        if taken == Newcomer::Taken
            && let Some(row) = self.inner.status.unit(object, Slot::Null).await?
        {
            self.read_now(object, &row).await?;
        }
        Ok(taken)
    }

    /// Reads what nobody has read yet, whatever its size. Answers whether it was.
    pub async fn read_now(&self, object: &ObjectId, seen: &Stored<Record>) -> Result<bool> {
        Ok(self.read_up(object, seen).await? == ReadUp::Done)
    }

    async fn take_newcomer_now(&self, object: &ObjectId) -> Result<Newcomer> {
        let _key = self.lock_key(object).await?;
        let found = match self.inner.backend.head(&plain(object)).await {
            Err(backend::Error::NotFound | backend::Error::NoSuchBucket) => return Ok(Newcomer::Busy),
            found => found?,
        };
        let known = self.known(object, Slot::Null).await?;
        match self.is_young(&found) {
            true => Ok(Newcomer::Busy),
            false => self.take_found(object, &known, &found).await,
        }
    }

    /// The same of a file that was found, at a key that is locked.
    pub(in crate::site) async fn take_found(&self, object: &ObjectId, known: &Known, found: &Found) -> Result<Newcomer> {
        let deleted: Option<Stamp> = match known.here() {
            Here::Live(_) => return Ok(Newcomer::Busy),
            Here::Grave(grave) => Some(grave.stamp),
            Here::Nothing => None,
        };
        // What was deleted stays deleted, however long its removal takes.
        if self.is_on_its_way_out(object).await? {
            return Ok(Newcomer::Busy);
        }
        // What was deleted there went, and others put this one since.
        let is_shared = self.is_shared(&object.bucket);
        if is_shared && deleted.is_some() && found.binding.is_marked() {
            return Ok(Newcomer::Left);
        }
        if let Some(deleted) =
            deleted.filter(|_| !is_shared).filter(|deleted| found.changed_ms.is_none_or(|changed_ms| changed_ms <= deleted.ms()))
        {
            self.remove_older(object, found, deleted).await;
            return Ok(Newcomer::Left);
        }
        if deleted.is_some() && found.binding.is_marked() {
            // Bytes of a write of ours: a copy to the name that came after the delete.
            self.inner.backend.delete(&super::plain(object), &found.binding).await?;
            return Ok(Newcomer::Left);
        }
        let greatest = self.current(object).await?.map(|current| current.row.vector.greatest()).max(deleted);
        let stamp = greatest.map_or_else(|| self.stamp_of(found), |greatest| self.inner.clock.tick(Some(greatest)));
        let bucket = self.bucket_row(&object.bucket).await?;
        let guarded = known.guarded(object, Commit::new().expect::<Buckets>(&object.bucket, Some(bucket.revision)));
        let commit = guarded.put_unit(object, &self.unread(found, stamp)).delete::<Graves>(&(object.clone(), Slot::Null));
        match self.inner.status.commit(commit).await {
            Ok(_) => {
                tracing::info!(%stamp, %object, size = found.size, "took over a file that others put there");
                Ok(Newcomer::Taken)
            }
            Err(CommitError::Conflict) => Ok(Newcomer::Busy),
            Err(err) => Err(err.into()),
        }
    }

    /// Whether bytes of an object are still to be removed. The key is held, so that no other removal begins.
    pub(super) async fn is_on_its_way_out(&self, object: &ObjectId) -> Result<bool> {
        if self.unsettled() == 0 {
            return Ok(false);
        }
        let mut leaves = false;
        self.each_row::<Settle>(|_, row| leaves |= row.object() == object && row.removes_plain()).await?;
        Ok(leaves)
    }
}
