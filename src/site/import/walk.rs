//! The walk over a bucket that is imported: first every file gets its row, by a look at its name; then every file is read,
//! so that its ETag is its MD5 and other sites are told of it. Killed, it goes on behind the last key it had committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use tokio::time::Instant;

use super::{Import, Progress};
use crate::backend::{self, Found};
use crate::model::{BucketName, Key, ObjectId, Record, Slot, State};
use crate::site::Site;
use crate::site::error::Result;
use crate::site::unread::ReadUp;
use crate::status::tables::{Buckets, Objects, Versions};
use crate::status::{Page, Stored};
use crate::tasks::{Step, Worker};

/// Files looked at by one step: a listing that begins anew reads a directory from its beginning. Few in tests, so that every
/// walk there takes several.
const STEP_FILES: usize = if cfg!(test) { 1_000 } else { 16_000 };
/// Files that get their rows in one commit.
const COMMIT_FILES: usize = 1_000;
/// Rows looked through by one step for those of files to be read.
const STEP_ROWS: usize = 1_000;
/// Bytes read by one step, about; a larger file is a step of its own.
const STEP_BYTES: u64 = 256 << 20;
/// Files read side by side: small ones wait for their commits, large ones for the disk.
const SIDE_BY_SIDE: usize = 32;
const LARGE_SIDE_BY_SIDE: usize = 2;
/// From this size on they are large.
const LARGE_BYTES: u64 = 1 << 20;
/// Between two passes over files that could not be read, or that somebody was writing.
const AGAIN: Duration = Duration::from_secs(5);
/// Passes in a row that read nothing of what they tried, after which an import ends all the same: each looks through every row.
const FRUITLESS_MAX: u32 = 3;
/// Longest rest after a step: it rests half as long as it worked, so that clients get at the disk.
const REST_MAX: Duration = Duration::from_millis(500);

/// Imports one bucket after the other.
#[derive(Debug)]
pub struct Importer {
    site: Site,
    /// Where it stands in reading a bucket.
    reading: Option<Reading>,
    /// Buckets of which something is left for another pass, or whose step failed: after a while.
    put_off: BTreeSet<BucketName>,
    /// How many passes over a bucket have read nothing, one after the other.
    fruitless: BTreeMap<BucketName, u32>,
}

/// A pass over the rows of a bucket for those whose bytes are to be read.
#[derive(Debug)]
struct Reading {
    bucket: BucketName,
    /// Behind which object the pass goes on; then behind which version.
    objects: Place<ObjectId>,
    versions: Place<(ObjectId, Slot)>,
    /// Rows it has behind it.
    passed: u64,
    read: u64,
    /// Written a moment ago: left for another pass.
    young: u64,
    /// They have no bytes any more.
    gone: u64,
    /// The store does not give their bytes: tried again.
    failed: u64,
}

#[derive(Debug)]
enum Place<K> {
    After(Option<K>),
    Through,
}

impl<K> Place<K> {
    fn behind(last: Option<K>, more: bool) -> Self {
        if more { Self::After(last) } else { Self::Through }
    }
}

impl Importer {
    pub(in crate::site) fn new(site: Site) -> Self {
        Self { site, reading: None, put_off: BTreeSet::new(), fruitless: BTreeMap::new() }
    }

    async fn work(&mut self) -> Result<Step> {
        // What the archive knows of a bucket comes first.
        if self.site.is_rebuilding() {
            return Ok(Step::Idle);
        }
        let all = self.site.inner.imports.all();
        let unlisted = |(bucket, import): &&(BucketName, Arc<Import>)| !self.put_off.contains(bucket) && !import.is_listed();
        let unread = all.iter().find(|(bucket, _)| !self.put_off.contains(bucket));
        let Some((bucket, import)) = all.iter().find(unlisted).or(unread) else {
            self.put_off.clear();
            return Ok(Step::Idle);
        };
        let worked = self.work_on(bucket, import).await;
        if worked.is_err() {
            // What ails one bucket holds up no other.
            self.put_off.insert(bucket.clone());
        }
        worked
    }

    async fn work_on(&mut self, bucket: &BucketName, import: &Import) -> Result<Step> {
        if !self.is_live(bucket).await? {
            // One that is just being made is named before its row is written.
            let _change = self.site.inner.bucket_changes.lock(bucket).await;
            if !self.is_live(bucket).await? {
                self.site.end_import(bucket).await?;
            }
            return Ok(Step::Worked);
        }
        match import.is_listed() {
            false if self.site.has_versions_there(bucket) => self.site.walk_versions(bucket, import).await,
            false => self.walk(bucket, import).await,
            true => self.read(bucket, import).await,
        }
    }

    async fn is_live(&self, bucket: &BucketName) -> Result<bool> {
        let row = self.site.inner.status.get::<Buckets>(bucket).await?;
        Ok(row.is_some_and(|row| row.row.is_live()))
    }

    async fn walk(&self, bucket: &BucketName, import: &Import) -> Result<Step> {
        let after = import.progress().walked.as_deref().and_then(|walked| Key::new(walked).ok());
        let mut listing = self.site.inner.backend.list(bucket, after.as_ref()).fuse();
        let mut looked_at = 0;
        while looked_at < STEP_FILES {
            let mut found = Vec::new();
            while found.len() < COMMIT_FILES
                && let Some(next) = listing.next().await
            {
                match next {
                    Ok(next) => found.push(next),
                    Err(backend::Error::NoSuchBucket) => break,
                    Err(err) => return Err(err.into()),
                }
            }
            looked_at += found.len();
            let is_end = found.len() < COMMIT_FILES;
            self.note_found(bucket, import, &found, is_end).await?;
            if is_end {
                break;
            }
        }
        Ok(Step::Worked)
    }

    /// Files get their rows, and with them the walk its place.
    async fn note_found(&self, bucket: &BucketName, import: &Import, found: &[Found], is_end: bool) -> Result<()> {
        let mut progress = import.progress();
        if let Some(last) = found.last() {
            progress.walked = Some(last.key.to_string());
        }
        progress.objects += found.len() as u64;
        progress.bytes += found.iter().map(|found| found.size).sum::<u64>();
        if is_end {
            progress.is_listed = true;
            progress.skipped = match self.site.inner.backend.strangers(bucket).await {
                Err(backend::Error::NoSuchBucket) => 0,
                strangers => strangers?,
            };
            let Progress { objects, bytes, skipped, .. } = progress;
            tracing::info!(%bucket, objects, bytes, skipped, "every file has its row: they are read now");
        }
        self.site.import_all(bucket, found, Some(&progress)).await?;
        import.set(progress);
        Ok(())
    }

    /// Reads what a page of rows says was not read yet.
    async fn read(&mut self, bucket: &BucketName, import: &Import) -> Result<Step> {
        let mut pass = self.reading.take().filter(|pass| pass.bucket == *bucket).unwrap_or_else(|| Reading::begin(bucket));
        let Some(unread) = pass.page(&self.site).await? else {
            self.end_pass(&pass, import).await?;
            return Ok(Step::Worked);
        };
        let (site, is_large) = (&self.site, unread.iter().any(|(_, stored)| stored.row.identity.size >= LARGE_BYTES));
        let reading = stream::iter(unread).map(|(object, stored)| async move {
            let read = site.read_up(&object, &stored).await;
            (object, read)
        });
        let mut reading = reading.buffer_unordered(if is_large { LARGE_SIDE_BY_SIDE } else { SIDE_BY_SIDE });
        while let Some((object, read)) = reading.next().await {
            pass.note(&object, read);
        }
        drop(reading);
        pass.show(import);
        self.reading = Some(pass);
        Ok(Step::Worked)
    }

    /// A pass that leaves nothing is the last. So is one of several that found nothing to read of what they left: such files
    /// stay unread, and whoever asks for one, or compares the rows with the store, tries again.
    async fn end_pass(&mut self, pass: &Reading, import: &Import) -> Result<()> {
        let (bucket, left) = (&pass.bucket, pass.young + pass.failed);
        import.set(Progress { unreadable: pass.gone + pass.failed, ..import.progress() });
        if left > 0 {
            self.put_off.insert(bucket.clone());
        }
        if pass.read > 0 {
            // What moved meanwhile may have been passed over.
            self.fruitless.remove(bucket);
            return Ok(());
        }
        if left > 0 {
            let passes = self.fruitless.entry(bucket.clone()).or_default();
            *passes += 1;
            if *passes < FRUITLESS_MAX {
                return Ok(());
            }
        }
        self.site.end_import(bucket).await?;
        self.fruitless.remove(bucket);
        let Progress { objects, bytes, skipped, .. } = import.progress();
        tracing::info!(%bucket, objects, bytes, skipped, unread = left + pass.gone, "its import is done");
        Ok(())
    }
}

impl Reading {
    fn begin(bucket: &BucketName) -> Self {
        let (objects, versions) = (Place::After(None), Place::After(None));
        Self { bucket: bucket.clone(), objects, versions, passed: 0, read: 0, young: 0, gone: 0, failed: 0 }
    }

    /// How much of the bucket is known to be read: what the first pass has left behind it.
    fn show(&self, import: &Import) {
        let mut progress = import.progress();
        let read = self.passed.saturating_sub(self.young + self.gone + self.failed);
        progress.read = progress.read.max(read.min(progress.objects));
        import.set(progress);
    }

    fn note(&mut self, object: &ObjectId, read: Result<ReadUp>) {
        match read {
            // What differs is found by the next pass.
            Ok(ReadUp::Done | ReadUp::Differs) => self.read += 1,
            // It has no bytes to read, and may never get any again.
            Ok(ReadUp::Gone) => self.gone += 1,
            Ok(ReadUp::Young) => self.young += 1,
            Err(err) => {
                tracing::warn!(%object, error = %err, "a file cannot be read: it is tried again");
                self.failed += 1;
            }
        }
    }

    /// What is unread of the next rows; `None` at the end.
    async fn page(&mut self, site: &Site) -> Result<Option<Vec<(ObjectId, Stored<Record>)>>> {
        let mut unread = Unread::default();
        if let Place::After(after) = &self.objects {
            let page: Page<Objects> = site.inner.status.page(&self.bucket, after.as_ref(), STEP_ROWS).await?;
            let mut last = after.clone();
            for (object, stored) in page.rows {
                if unread.is_full() {
                    self.objects = Place::After(last);
                    return Ok(Some(unread.all));
                }
                last = Some(object.clone());
                self.passed += 1;
                unread.add(object, stored);
            }
            self.objects = Place::behind(last, page.more);
            return Ok(Some(unread.all));
        }
        let Place::After(after) = &self.versions else { return Ok(None) };
        let page: Page<Versions> = site.inner.status.page(&self.bucket, after.as_ref(), STEP_ROWS).await?;
        let last = page.rows.last().map(|(version, _)| version.clone());
        for ((object, _), stored) in page.rows {
            unread.add(object, stored);
        }
        self.versions = Place::behind(last, page.more);
        Ok(Some(unread.all))
    }
}

/// What one step reads.
#[derive(Default)]
struct Unread {
    all: Vec<(ObjectId, Stored<Record>)>,
    bytes: u64,
}

impl Unread {
    fn is_full(&self) -> bool {
        self.bytes >= STEP_BYTES
    }

    fn add(&mut self, object: ObjectId, stored: Stored<Record>) {
        if stored.row.state == State::Unread {
            self.bytes += stored.row.identity.size;
            self.all.push((object, stored));
        }
    }
}

#[async_trait]
impl Worker for Importer {
    fn name(&self) -> &str {
        "import"
    }

    async fn step(&mut self) -> Result<Step, String> {
        let began = Instant::now();
        let step = self.work().await.map_err(|err| err.to_string())?;
        if step == Step::Worked {
            tokio::time::sleep((began.elapsed() / 2).min(REST_MAX)).await;
        }
        Ok(step)
    }

    async fn wait(&mut self) {
        match self.site.imports().is_empty() {
            true => self.site.inner.imports.begun.notified().await,
            false => tokio::time::sleep(AGAIN).await,
        }
    }
}
