//! Buckets whose store issued versions of its own before the site came. Its versions and delete markers become ours, each read and
//! removed by the id that the store gave it; what the site writes to such a bucket has names of its own, so that what has a key's
//! own name there is always others'.
//!
//! A key's versions are imported in one commit, under its lock: of a key that was imported, rows or graves are there. One that
//! was purged here is known by its grave, whose stamp has a hash of the store's id in it, and never comes back. They are in the
//! order in which the store tells them, whose times may be whole seconds.

use std::collections::BTreeSet;
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use super::known_versions::{KnownVersions, Verdict, incarnation_of};
use super::{Import, LOOKS_AT_ONCE, Newcomer, Progress, checkpoint};
use crate::backend::{self, Found, FoundVersion, NULL_VERSION, Place};
use crate::model::{
    Bucket, BucketName, Event, Key, Location, ObjectId, Record, Slot, Stamp, StampParts, State, Unit, Vector, Versioning,
};
use crate::site::delete::marker;
use crate::site::error::Result;
use crate::site::land::{Replacing, is_left_behind, replacing};
use crate::site::{CONFLICTS_MAX, Site};
use crate::status::tables::{Buckets, Graves, Versions};
use crate::status::{Commit, CommitError, Page, Stored};
use crate::tasks::Step;

/// Keys that one step of the walk imports. Few in tests, so that every walk there takes several.
const STEP_KEYS: usize = if cfg!(test) { 2 } else { 1_000 };
/// Keys imported side by side: each waits for its commit.
const KEYS_AT_ONCE: usize = 32;
/// Rows read at once.
const ROWS: usize = 1_000;

/// The buckets.
#[derive(Debug, Default)]
pub(super) struct TakenOver {
    /// How many: all that requests for others look at.
    count: AtomicUsize,
    buckets: RwLock<BTreeSet<BucketName>>,
}

impl TakenOver {
    fn has(&self, bucket: &BucketName) -> bool {
        self.count.load(Ordering::Relaxed) > 0
            && self.buckets.read().expect("nothing panics while it holds the buckets").contains(bucket)
    }

    pub fn set(&self, buckets: impl Iterator<Item = BucketName>) {
        let mut held = self.buckets.write().expect("nothing panics while it holds the buckets");
        *held = buckets.collect();
        self.count.store(held.len(), Ordering::Relaxed);
    }
}

/// A version that is to have a row.
struct NewVersion {
    record: Record,
    /// The row whose place it takes.
    over: Option<Box<Stored<Record>>>,
}

/// The versions of one key after the other.
fn by_key<'a>(
    listing: BoxStream<'a, backend::Result<FoundVersion>>,
) -> impl Stream<Item = backend::Result<Vec<FoundVersion>>> + 'a {
    stream::try_unfold((listing.fuse(), None), |(mut listing, held)| async move {
        let first = match held {
            Some(first) => Some(first),
            None => listing.try_next().await?,
        };
        let Some(first) = first else { return Ok(None) };
        let mut of_key: Vec<FoundVersion> = vec![first];
        loop {
            match listing.try_next().await? {
                Some(next) if next.key == of_key[0].key => of_key.push(next),
                behind => return Ok(Some((of_key, (listing, behind)))),
            }
        }
    })
}

impl Site {
    /// Whether a store issued versions in a bucket that the site took over with it.
    pub fn has_versions_there(&self, bucket: &BucketName) -> bool {
        self.inner.imports.taken_over.has(bucket)
    }

    /// The versioning that a bucket has in its store, for who takes it over. Where others write too only what is current is theirs
    /// to change.
    pub(super) async fn versioning_there(&self, bucket: &BucketName) -> Result<Versioning> {
        if self.is_shared(bucket) {
            return Ok(Versioning::Off);
        }
        match self.inner.backend.versioning(bucket).await {
            Err(backend::Error::NoSuchBucket) => Ok(Versioning::Off),
            told => Ok(told?),
        }
    }

    /// A new row of a bucket, with the versioning that it has there.
    pub(in crate::site) async fn versioned_as_there(&self, bucket: &BucketName, row: Bucket) -> Result<Bucket> {
        if !self.has_versions_there(bucket) {
            return Ok(row);
        }
        // Registers count where they are later than the bucket: see `Bucket::merge`.
        let stamp = self.inner.clock.tick(Some(row.created));
        Ok(row.with_versioning(self.versioning_there(bucket).await?, stamp))
    }

    /// Which of so many buckets have versions there.
    pub(super) async fn versioned_there(&self, buckets: &BTreeSet<BucketName>) -> Result<BTreeSet<BucketName>> {
        let asked = stream::iter(buckets.clone()).map(|bucket| async move {
            let versioning = self.versioning_there(&bucket).await?;
            Ok((versioning != Versioning::Off).then_some(bucket))
        });
        let versioned = asked.buffer_unordered(LOOKS_AT_ONCE).try_filter_map(|bucket| std::future::ready(Ok(bucket)));
        versioned.try_collect().await
    }

    /// The version of a key with this id, ours or the store's, where the store had some before the site came. One that was purged has
    /// a grave yet.
    pub async fn version_called(&self, object: &ObjectId, id: &str) -> Result<Option<Slot>> {
        if self.is_walked(&object.bucket) {
            self.imported(object).await?;
        }
        if let Ok(stamp) = id.parse::<Stamp>()
            && self.inner.status.unit(object, Slot::Version(stamp)).await?.is_some()
        {
            return Ok(Some(Slot::Version(stamp)));
        }
        Ok(self.known_versions(object).await?.stamp_of(id).map(Slot::Version))
    }

    /// Gives a bucket that is about to be found empty the rows of a key, if there is one.
    pub(super) async fn import_first_version(&self, bucket: &BucketName) -> Result<()> {
        match self.inner.backend.list_versions(bucket, None).next().await.transpose() {
            Ok(Some(found)) => self.imported(&ObjectId { bucket: bucket.clone(), key: found.key }).await,
            Ok(None) | Err(backend::Error::NoSuchBucket) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// Imports what the store has of a key of which nothing is known. The key is locked.
    pub(super) async fn import_versions_locked(&self, object: &ObjectId) -> Result<()> {
        match self.known_versions(object).await?.is_nothing() {
            true => self.look_now(object).await.map(drop),
            false => Ok(()),
        }
    }

    /// Gives rows to what others did to a key in a bucket with versions of the store's.
    pub async fn look_at_versions(&self, object: &ObjectId) -> Result<Newcomer> {
        if !self.adopts(&object.bucket) {
            return Ok(Newcomer::Left);
        }
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move {
            let _key = site.lock_key(&object).await?;
            site.look_at_versions_locked(&object).await
        })
        .await
    }

    /// The same of a key that is locked.
    pub(in crate::site) async fn look_at_versions_locked(&self, object: &ObjectId) -> Result<Newcomer> {
        // Before the look: what is removed after it would be taken for what others put there since.
        if self.is_on_its_way_out(object).await? {
            return Ok(Newcomer::Busy);
        }
        self.look_now(object).await
    }

    async fn look_now(&self, object: &ObjectId) -> Result<Newcomer> {
        match self.inner.backend.versions_of(object).try_collect::<Vec<_>>().await {
            Err(backend::Error::NoSuchBucket) => Ok(Newcomer::Left),
            found => self.take_versions(object, &found?).await,
        }
    }

    /// Gives rows to those of the versions of a key that have none, where all that the store has of it was found. The key is locked.
    async fn take_versions(&self, object: &ObjectId, found: &[FoundVersion]) -> Result<Newcomer> {
        for _ in 0..CONFLICTS_MAX {
            let known = self.known_versions(object).await?;
            let new = self.new_versions(object, &known, found).await?;
            if new.is_empty() && known.removed_markers(found).next().is_none() {
                return Ok(Newcomer::Left);
            }
            let bucket = self.bucket_row(&object.bucket).await?;
            // As for files: a delete needs the rows first.
            let mut commit = Commit::new().frees().expect::<Buckets>(&object.bucket, Some(bucket.revision));
            for row in known.removed_markers(found) {
                let slot = row.row.slot();
                commit = commit.expect_unit(object, slot, Some(row.revision)).delete_unit(object, slot);
            }
            for NewVersion { record, over } in &new {
                commit = commit.expect_unit(object, record.slot(), over.as_ref().map(|over| over.revision));
                let current = over.as_ref().map(|over| &over.row);
                commit = replacing(commit, object, Replacing { record, part_map: &[], current });
                if record.state == State::Marker {
                    // Of bytes the others hear when they were read.
                    commit = commit.tell(Event { unit: Unit::of(object, record.slot()), vector: record.vector });
                }
            }
            match self.inner.status.commit(commit.to(self.audience())).await {
                Ok(_) => {
                    self.remove_left_behind(object, &new).await;
                    return Ok(Newcomer::Taken);
                }
                Err(CommitError::Conflict) => self.count_conflict(&object.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// After the commit, still under the key lock.
    async fn remove_left_behind(&self, object: &ObjectId, new: &[NewVersion]) {
        for NewVersion { record, over } in new {
            if let Some(left) = over.as_ref().filter(|over| is_left_behind(&over.row, record)) {
                self.remove_bytes(object, &left.row, left.row.write).await;
            }
        }
    }

    async fn remove_replaced(&self, object: &ObjectId, found: &FoundVersion) -> Result<()> {
        tracing::info!(%object, version = found.version, "removed what was replaced or deleted here since");
        let place = Place { object: object.clone(), location: Location::Native(found.version.clone()) };
        Ok(self.inner.backend.delete(&place, &found.binding).await?)
    }

    async fn known_versions(&self, object: &ObjectId) -> Result<KnownVersions> {
        let mut known = KnownVersions { rows: Vec::new(), graves: Vec::new() };
        known.rows.extend(self.current(object).await?.map(|current| Stored::clone(&current)));
        let (mut after, mut more) = (None, true);
        while more {
            let page: Page<Versions> = self.inner.status.page(&(object.clone(), ()), after.as_ref(), ROWS).await?;
            (after, more) = (page.rows.last().map(|(key, _)| key.clone()), page.more);
            known.rows.extend(page.rows.into_iter().map(|(_, row)| row));
        }
        (after, more) = (None, true);
        while more {
            let page: Page<Graves> = self.inner.status.page(&(object.clone(), ()), after.as_ref(), ROWS).await?;
            (after, more) = (page.rows.last().map(|(key, _)| key.clone()), page.more);
            known.graves.extend(page.rows.into_iter().map(|((_, slot), grave)| (slot, grave)));
        }
        Ok(known)
    }

    /// Of what was found of a key, the newest first, what is to have rows.
    async fn new_versions(&self, object: &ObjectId, known: &KnownVersions, found: &[FoundVersion]) -> Result<Vec<NewVersion>> {
        let (mut new, mut before) = (Vec::new(), None);
        for version in found.iter().rev() {
            match known.verdict(version) {
                Verdict::Known(stamp) => before = before.max(Some(stamp)),
                Verdict::Left => {}
                Verdict::Replaced => self.remove_replaced(object, version).await?,
                Verdict::New { above, over } => {
                    let stamp = self.stamp_of_version(version, before);
                    let stamp = if above.is_some_and(|above| stamp <= above) { self.inner.clock.tick(above) } else { stamp };
                    before = before.max(Some(stamp));
                    new.push((version.clone(), stamp, over));
                }
            }
        }
        let records = stream::iter(new).map(|(version, stamp, over)| {
            let (site, object) = (self.clone(), object.clone());
            async move {
                let record = site.record_of_version(&object, &version, stamp).await?;
                Ok(record.map(|record| NewVersion { record, over }))
            }
        });
        records.buffered(LOOKS_AT_ONCE).try_filter_map(|new| std::future::ready(Ok(new))).try_collect().await
    }

    /// `None`: it went meanwhile.
    async fn record_of_version(&self, object: &ObjectId, version: &FoundVersion, stamp: Stamp) -> Result<Option<Record>> {
        let slot = if version.version == NULL_VERSION { Slot::Null } else { Slot::Version(stamp) };
        let (location, versioned) = (Location::Native(version.version.clone()), slot != Slot::Null);
        if version.is_marker {
            let marker = marker(Vector::of(stamp), slot, self.inner.writes.next(), None);
            return Ok(Some(Record { location, binding: version.binding.clone(), ..marker }));
        }
        let found: Found = match self.inner.backend.head(&Place { object: object.clone(), location: location.clone() }).await {
            Err(backend::Error::NotFound | backend::Error::NoSuchBucket) => return Ok(None),
            // Such as one with a client's key: it is known, and whoever reads it is refused.
            Err(backend::Error::ReadOnly(_) | backend::Error::Io { .. }) => as_listed(version),
            found => found?,
        };
        Ok(Some(Record { location, versioned, ..self.unread(&found, stamp) }))
    }

    /// When the store says that it came, behind the one before it, and unlike any other of that moment. Of the second that a write
    /// of ours was made in that one is the later: it was acknowledged here.
    fn stamp_of_version(&self, found: &FoundVersion, before: Option<Stamp>) -> Stamp {
        let told_ms = found.stored_ms.min(self.inner.clock.wall_ms());
        let (ms, tick) = match before.map(Stamp::parts) {
            Some(StampParts { ms, tick: u16::MAX, .. }) if ms >= told_ms => (ms + 1, 0),
            Some(StampParts { ms, tick, .. }) if ms >= told_ms => (ms, tick + 1),
            _ => (told_ms, 0),
        };
        let incarnation = incarnation_of(&found.version);
        Stamp::new(StampParts { ms, tick, site: self.inner.id.number, incarnation, rank: 0 })
    }

    /// A step of the walk: keys get their rows, and with them the walk its place.
    pub(super) async fn walk_versions(&self, bucket: &BucketName, import: &Import) -> Result<Step> {
        let mut progress = import.progress();
        let after = progress.walked.as_deref().and_then(|walked| Key::new(walked).ok());
        let of_keys = by_key(self.inner.backend.list_versions(bucket, after.as_ref())).take(STEP_KEYS);
        let imported = of_keys.map(|found| {
            let (site, bucket) = (self.clone(), bucket.clone());
            async move {
                let found = found?;
                site.import_found(&bucket, &found).await.map(|()| found)
            }
        });
        let mut imported = imported.buffered(KEYS_AT_ONCE).boxed();
        let mut keys = 0;
        while let Some(of_key) = imported.next().await {
            let of_key = match of_key {
                Err(crate::site::Error::NoSuchBucket) => break,
                of_key => of_key?,
            };
            keys += 1;
            progress.walked = Some(of_key[0].key.to_string());
            progress.objects += of_key.iter().filter(|found| !found.is_marker).count() as u64;
            progress.bytes += of_key.iter().map(|found| found.size).sum::<u64>();
        }
        progress.is_listed = keys < STEP_KEYS;
        self.inner.status.commit(checkpoint(bucket).noted(Commit::new(), &progress)).await?;
        if progress.is_listed {
            let Progress { objects, bytes, .. } = progress;
            tracing::info!(%bucket, objects, bytes, "every version has its row: they are read now");
        }
        import.set(progress);
        Ok(Step::Worked)
    }

    /// Imports a key as a listing has it; one of which something is known already as the store has it now.
    async fn import_found(&self, bucket: &BucketName, found: &[FoundVersion]) -> Result<()> {
        let object = ObjectId { bucket: bucket.clone(), key: found[0].key.clone() };
        let (site, found) = (self.clone(), found.to_vec());
        self.unstoppable(async move {
            let _key = site.inner.keys.lock(&object).await;
            match site.known_versions(&object).await?.is_nothing() {
                true => site.take_versions(&object, &found).await.map(drop),
                false => site.look_at_versions_locked(&object).await.map(drop),
            }
        })
        .await
    }
}

/// A version of which the store tells nothing more than its listing.
fn as_listed(version: &FoundVersion) -> Found {
    let FoundVersion { key, binding, size, stored_ms, .. } = version.clone();
    Found { key, binding, size, modified_ms: stored_ms, changed_ms: None, label: None, described: None, etag: None }
}
