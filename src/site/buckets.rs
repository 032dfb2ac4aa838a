//! Buckets: made in the store before their row, removed from it after.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::error::{Error, Result};
use super::types::BucketInfo;
use super::{CONFLICTS_MAX, Site};
use crate::backend;
use crate::model::{Bucket, BucketName, Event, Stamp, Unit, Vector, Versioning};
use crate::status::tables::{Buckets, Objects, Versions};
use crate::status::{Commit, CommitError, Revision, Stored};

/// Rows a page of the bucket table has.
const PAGE_ROWS: usize = 1_000;

impl Site {
    /// Makes a bucket, unless one is known here or to whoever may know better: made twice, the later would take the owner and
    /// the registers of the first away everywhere.
    pub async fn create_bucket(&self, bucket: &BucketName, owner: &str, region: &str) -> Result<BucketInfo> {
        self.create_bucket_with(bucket, owner, region, |bucket, _| bucket).await
    }

    /// The same, with registers from its first moment on.
    pub async fn create_bucket_with(
        &self,
        bucket: &BucketName,
        owner: &str,
        region: &str,
        registers: impl Fn(Bucket, Stamp) -> Bucket,
    ) -> Result<BucketInfo> {
        match self.known_bucket(bucket).await {
            // Who cannot be asked keeps nobody from writing, not even a site that is still to learn what there is.
            Ok(_) | Err(Error::NoSuchBucket | Error::NoSuchBucketHere { .. } | Error::Unavailable { .. }) => {}
            Err(err) => return Err(err),
        }
        let _change = self.inner.bucket_changes.lock(bucket).await;
        for _ in 0..CONFLICTS_MAX {
            let stored = self.inner.status.get::<Buckets>(bucket).await?;
            if let Some(live) = stored.as_ref().filter(|stored| stored.row.is_live()) {
                let mine = live.row.owner == owner;
                return Err(if mine { Error::BucketAlreadyOwnedByYou } else { Error::BucketAlreadyExists });
            }
            if stored.is_some() {
                // Of a bucket of this name before, which could not be aborted when it died.
                self.abort_uploads_of(bucket).await?;
            }
            let versioning = self.begin_import(bucket).await?;
            self.inner.backend.create_bucket_at(bucket, region).await?;
            let created = self.inner.clock.tick(stored.as_ref().and_then(|stored| stored.row.deleted));
            let row = Bucket { created, deleted: None, owner: owner.into(), region: region.into(), registers: Vec::new() };
            // Registers count where they are later than the bucket: see `Bucket::merge`.
            let stamp = self.inner.clock.tick(Some(created));
            let row = if versioning == Versioning::Off { row } else { row.with_versioning(versioning, stamp) };
            let row = registers(row, stamp);
            let commit = Commit::new()
                .expect::<Buckets>(bucket, stored.map(|stored| stored.revision))
                .put::<Buckets>(bucket, &row)
                .tell(bucket_event(bucket, row.greatest()))
                .to(self.audience());
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    tracing::info!(stamp = %created, %bucket, "bucket created");
                    return Ok(info(bucket, &row));
                }
                Err(CommitError::Conflict) => self.count_conflict(bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// Gives a folder of the store the row that makes it a bucket, and tells; not where it has one by now.
    pub(super) async fn note_bucket(&self, bucket: &BucketName, row: &Bucket) -> Result<()> {
        let commit = Commit::new().expect::<Buckets>(bucket, None).put::<Buckets>(bucket, row);
        match self.inner.status.commit(commit.tell(bucket_event(bucket, row.greatest())).to(self.audience())).await {
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// What is known of a bucket.
    pub async fn bucket(&self, bucket: &BucketName) -> Result<BucketInfo> {
        Ok(info(bucket, &self.known_bucket(bucket).await?.row))
    }

    /// Every bucket there is, as clients may be told.
    pub async fn listed_buckets(&self) -> Result<Vec<BucketInfo>> {
        self.require_established()?;
        self.buckets().await
    }

    /// Every bucket that is here, in byte order.
    pub async fn buckets(&self) -> Result<Vec<BucketInfo>> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = self.inner.status.page::<Buckets>(&(), after.as_ref(), PAGE_ROWS).await?;
            let live = page.rows.iter().filter(|(_, stored)| stored.row.is_live());
            all.extend(live.map(|(bucket, stored)| info(bucket, &stored.row)));
            after = page.rows.last().map(|(bucket, _)| bucket.clone());
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// Every bucket known here, deleted ones too.
    pub async fn known_buckets(&self) -> Result<Vec<BucketName>> {
        let mut all = Vec::new();
        self.each_row::<Buckets>(|bucket, _| all.push(bucket.clone())).await?;
        Ok(all)
    }

    /// Writes registers of a bucket: what `change` makes of it with a new stamp, which is answered. It is told everywhere.
    pub async fn change_bucket(
        &self,
        bucket: &BucketName,
        change: impl Fn(Bucket, Stamp) -> Result<Bucket> + Send + Sync + 'static,
    ) -> Result<Stamp> {
        self.known_bucket(bucket).await?;
        let (site, bucket) = (self.clone(), bucket.clone());
        self.unstoppable(async move { site.change_bucket_now(&bucket, change).await }).await
    }

    async fn change_bucket_now(&self, bucket: &BucketName, change: impl Fn(Bucket, Stamp) -> Result<Bucket>) -> Result<Stamp> {
        let _change = self.inner.bucket_changes.lock(bucket).await;
        for _ in 0..CONFLICTS_MAX {
            self.forget_bucket(bucket);
            let stored = self.bucket_row(bucket).await?;
            let stamp = self.inner.clock.tick(Some(stored.row.greatest()));
            let changed = change(stored.row.clone(), stamp)?;
            let commit = Commit::new()
                .expect::<Buckets>(bucket, Some(stored.revision))
                .put::<Buckets>(bucket, &changed)
                .tell(bucket_event(bucket, stamp))
                .to(self.audience());
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    self.forget_bucket(bucket);
                    tracing::info!(%stamp, %bucket, "bucket changed");
                    return Ok(stamp);
                }
                Err(CommitError::Conflict) => self.count_conflict(bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// The row of a bucket, for whoever reads its registers.
    pub async fn bucket_registers(&self, bucket: &BucketName) -> Result<Arc<Stored<Bucket>>> {
        self.known_bucket(bucket).await
    }

    /// The same as it is here: nobody else is asked, whoever wants to know it.
    pub async fn bucket_registers_here(&self, bucket: &BucketName) -> Result<Arc<Stored<Bucket>>> {
        self.bucket_row(bucket).await
    }

    /// Removes an empty bucket. Its unfinished uploads go with it.
    pub async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        let (site, bucket) = (self.clone(), bucket.clone());
        self.unstoppable(async move { site.delete_bucket_now(&bucket).await }).await
    }

    async fn delete_bucket_now(&self, bucket: &BucketName) -> Result<()> {
        // Until the store has removed it: one made again meanwhile would be removed with it.
        let _change = self.inner.bucket_changes.lock(bucket).await;
        for _ in 0..CONFLICTS_MAX {
            self.forget_bucket(bucket);
            let stored = self.bucket_row(bucket).await?;
            self.import_first(bucket).await?;
            self.require_empty(bucket).await?;
            let deleted = self.inner.clock.tick(Some(stored.row.greatest()));
            let grave = Bucket { deleted: Some(deleted), ..stored.row.clone() };
            let commit = Commit::new()
                .frees()
                .expect::<Buckets>(bucket, Some(stored.revision))
                .expect_empty::<Objects>(bucket)
                .expect_empty::<Versions>(bucket)
                .put::<Buckets>(bucket, &grave)
                .tell(bucket_event(bucket, deleted))
                .to(self.audience());
            match self.inner.status.commit(commit).await {
                Ok(_) => return self.remove_bucket_from_store(bucket, &stored.row).await,
                Err(CommitError::Conflict) => self.count_conflict(bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    async fn require_empty(&self, bucket: &BucketName) -> Result<()> {
        if self.holds_anything(bucket).await? { Err(Error::BucketNotEmpty(String::new())) } else { Ok(()) }
    }

    /// Whether the bucket has objects or versions.
    pub(super) async fn holds_anything(&self, bucket: &BucketName) -> Result<bool> {
        let objects = self.inner.status.page::<Objects>(bucket, None, 1).await?;
        let versions = self.inner.status.page::<Versions>(bucket, None, 1).await?;
        Ok(!objects.rows.is_empty() || !versions.rows.is_empty())
    }

    /// Another site deleted a bucket that still has objects here: it comes back, and every site is told.
    pub(super) async fn revive_bucket(&self, bucket: &BucketName, dead: &Bucket, seen: Option<Revision>) -> Result<()> {
        let created = self.inner.clock.tick(Some(dead.greatest()));
        let mut row = Bucket { created, deleted: None, registers: Vec::new(), ..dead.clone() };
        row.registers = self.registers_anew(dead);
        let commit = Commit::new()
            .expect::<Buckets>(bucket, seen)
            .put::<Buckets>(bucket, &row)
            .tell(bucket_event(bucket, row.greatest()))
            .to(self.audience());
        self.inner.status.commit(commit).await?;
        self.forget_bucket(bucket);
        tracing::warn!(stamp = %created, %bucket, "a bucket deleted at another site has objects here: it comes back");
        Ok(())
    }

    /// The registers of a bucket that comes back, each later than that: earlier ones belong to the bucket before.
    fn registers_anew(&self, before: &Bucket) -> Vec<(String, Stamp, Vec<u8>)> {
        before.registers.iter().cloned().map(|(name, _, document)| (name, self.inner.clock.tick(None), document)).collect()
    }

    /// A store that still has something of somebody else's keeps the bucket: it comes back, and says so.
    async fn remove_bucket_from_store(&self, bucket: &BucketName, before: &Bucket) -> Result<()> {
        self.forget_bucket(bucket);
        match self.remove_dead_bucket(bucket).await {
            Ok(()) => {
                tracing::info!(%bucket, "bucket deleted");
                self.forget_versions_there(bucket).await;
            }
            Err(refused @ backend::Error::NotEmpty(_)) => {
                let created = self.inner.clock.tick(None);
                let row = Bucket { created, deleted: None, registers: self.registers_anew(before), ..before.clone() };
                let told = bucket_event(bucket, row.greatest());
                let back = Commit::new().frees().put::<Buckets>(bucket, &row).tell(told).to(self.audience());
                self.inner.status.commit(back).await?;
                return Err(refused.into());
            }
            // The bucket is gone for clients; an empty folder that could not be removed is only untidy.
            Err(err) => tracing::warn!(%bucket, error = %err, "a deleted bucket could not be removed from the store"),
        }
        self.abort_uploads_of_dead(bucket).await;
        Ok(())
    }

    /// The row of a live bucket, as last read. A commit has to expect its revision.
    pub(super) async fn bucket_row(&self, bucket: &BucketName) -> Result<Arc<Stored<Bucket>>> {
        let (known, changes) = self.inner.buckets.known(bucket);
        if let Some(known) = known {
            return Ok(known);
        }
        let stored = self.inner.status.get::<Buckets>(bucket).await?;
        let live = Arc::new(stored.filter(|stored| stored.row.is_live()).ok_or(Error::NoSuchBucket)?);
        self.inner.buckets.learn(bucket, &live, changes);
        Ok(live)
    }

    pub(super) fn forget_bucket(&self, bucket: &BucketName) {
        self.inner.buckets.forget(bucket);
    }
}

/// Live buckets as last read.
#[derive(Debug, Default)]
pub(super) struct KnownBuckets(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    rows: HashMap<BucketName, Arc<Stored<Bucket>>>,
    /// How often something was forgotten: a row read before that may be older than the reason for it.
    forgotten: u64,
}

impl KnownBuckets {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("nothing panics while it holds the buckets")
    }

    /// The row, if it is known, and the moment of asking.
    fn known(&self, bucket: &BucketName) -> (Option<Arc<Stored<Bucket>>>, u64) {
        let known = self.lock();
        (known.rows.get(bucket).cloned(), known.forgotten)
    }

    /// Keeps a row that was read after `asked`, unless something was forgotten meanwhile.
    fn learn(&self, bucket: &BucketName, row: &Arc<Stored<Bucket>>, asked: u64) {
        let mut known = self.lock();
        if known.forgotten == asked {
            known.rows.insert(bucket.clone(), row.clone());
        }
    }

    fn forget(&self, bucket: &BucketName) {
        let mut known = self.lock();
        known.forgotten += 1;
        known.rows.remove(bucket);
    }
}

pub(super) fn bucket_event(bucket: &BucketName, stamp: Stamp) -> Event {
    Event { unit: Unit::Bucket(bucket.clone()), vector: Vector::of(stamp) }
}

fn info(bucket: &BucketName, row: &Bucket) -> BucketInfo {
    BucketInfo {
        name: bucket.clone(),
        owner: row.owner.clone(),
        region: row.region.clone(),
        created_ms: row.created.ms(),
        versioning: row.versioning(),
        object_lock: row.object_lock(),
    }
}
