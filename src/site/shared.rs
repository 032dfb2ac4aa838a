//! Buckets that others write to as well (`ownership = "shared"`): what the store has is looked at before anything is answered.
//!
//! Whoever locks a key there looks at its file first ([`Site::lock_key`]), and so does whoever reads one; a listing looks at the
//! files of its page. A new file becomes an object and a changed one a new write, both unread until somebody asks for them. The
//! row of a file that others removed goes where there is no other site. Nothing here removes a file, or leaves a grave: what is
//! not there now may only be away.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use futures::stream::{self, StreamExt, TryStreamExt};
use lru::LruCache;

use super::custody::Ownership;
use super::error::{Error, Result};
use super::land::without_part_map;
use super::{Site, plain};
use crate::backend::{self, Found};
use crate::model::{Binding, BucketName, Here, Identity, Key, Location, ObjectId, Record, Registers, Slot, State};
use crate::status::tables::Buckets;
use crate::status::{Commit, ListEntry, ListQuery, Stored};

/// Files looked at side by side for one listing.
const LOOKS_AT_ONCE: usize = 16;
/// Files of which it is remembered what a listing said when they were last looked at.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(50_000).expect("50000 is not 0");
/// Rows read at once.
const ROWS: usize = 1_000;

/// What a listing that knows no bindings says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Glimpse {
    size: u64,
    changed_ms: Option<u64>,
}

impl Glimpse {
    fn of(found: &Found) -> Self {
        Self { size: found.size, changed_ms: found.changed_ms }
    }
}

/// Files of which the row was seen to be that of what a listing said. Where listings know bindings it stays empty.
#[derive(Debug)]
pub(super) struct Looked(Mutex<LruCache<ObjectId, (Glimpse, Binding)>>);

impl Default for Looked {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED_MAX)))
    }
}

impl Looked {
    fn is_so(&self, object: &ObjectId, glimpse: Glimpse, binding: &Binding) -> bool {
        let mut looked = self.0.lock().expect("nothing panics while it holds what was looked at");
        looked.get(object).is_some_and(|(before, bound)| *before == glimpse && bound == binding)
    }

    fn note(&self, object: &ObjectId, glimpse: Glimpse, binding: Binding) {
        let mut looked = self.0.lock().expect("nothing panics while it holds what was looked at");
        looked.put(object.clone(), (glimpse, binding));
    }
}

/// A stretch of the store's listing, in byte order.
pub(super) struct Stretch<'a> {
    pub found: &'a [Found],
    /// Common prefixes, of each of which the first file is among those found.
    pub prefixes: &'a [String],
    /// The last key that it reaches; `None` is the end of the bucket.
    pub upto: Option<&'a Key>,
}

impl Stretch<'_> {
    fn reaches(&self, text: &str) -> bool {
        self.upto.is_none_or(|upto| text <= upto.as_str())
    }

    fn has(&self, key: &str) -> bool {
        self.found.binary_search_by(|found| found.key.as_str().cmp(key)).is_ok()
    }
}

impl Site {
    /// Whether others write to a bucket too. While rows are rebuilt the store says nothing of what is new.
    pub(super) fn is_shared(&self, bucket: &BucketName) -> bool {
        let is_shared = self.inner.custody.of(bucket) == Ownership::Shared && !self.is_rebuilding();
        // What has a key's own name there is one of its versions: they are looked at as in any bucket of the site's.
        is_shared && !self.has_versions_there(bucket)
    }

    /// Makes the row of a key say what its file is. The key is locked.
    pub(super) async fn look_locked(&self, object: &ObjectId) -> Result<()> {
        let known = self.known(object, Slot::Null).await?;
        if let Here::Live(record) = known.here()
            && !is_at_its_name(record)
        {
            return Ok(());
        }
        let found = match self.inner.backend.head(&plain(object)).await {
            Err(backend::Error::NoSuchBucket) => return Ok(()),
            Err(backend::Error::NotFound) => None,
            found => Some(found?),
        };
        match (self.inner.status.unit(object, Slot::Null).await?, found) {
            (Some(now), Some(found)) if found.binding == now.row.binding && now.row.has_bytes() => Ok(()),
            (Some(now), Some(found)) => self.changed_by_others(object, &now, &found).await,
            (Some(now), None) => self.removed_by_others(object, &now).await,
            (None, Some(found)) => self.take_found(object, &known, &found).await.map(drop),
            (None, None) => Ok(()),
        }
    }

    async fn changed_by_others(&self, object: &ObjectId, now: &Stored<Record>, found: &Found) -> Result<()> {
        if found.binding == now.row.binding {
            return self.found_again(object, now).await.map(drop);
        }
        tracing::info!(%object, size = found.size, "others changed it in the store");
        self.inner.counters.adopted.fetch_add(1, Ordering::Relaxed);
        self.found_anew(object, now, found).await.map(drop)
    }

    /// The row goes without a grave: a folder that was away for a moment comes back as it was, and nobody else hears of it. What a
    /// file cannot bring back keeps its row, and so does what other sites may have: its bytes count as lost.
    async fn removed_by_others(&self, object: &ObjectId, now: &Stored<Record>) -> Result<()> {
        let is_untold = now.row.state == State::Unread && now.row.base.is_none();
        let is_alone = self.inner.neighbours.is_empty() && now.row.has_bytes();
        if !(is_untold || is_alone) || says_more_than_its_file(&now.row) {
            return self.heal_locked(object, now).await.map(drop);
        }
        tracing::info!(stamp = %now.row.vector.data, %object, "others removed it from the store");
        let bucket = self.bucket_row(&object.bucket).await?;
        let commit = Commit::new().frees().expect::<Buckets>(&object.bucket, Some(bucket.revision));
        let commit = commit.expect_unit(object, Slot::Null, Some(now.revision)).delete_unit(object, Slot::Null);
        self.inner.status.commit(without_part_map(commit, object, &now.row, 0)).await?;
        Ok(())
    }

    /// Makes the rows along a stretch of the store's listing say what its files are. `query` begins where the stretch does.
    pub(super) async fn look_along(&self, query: ListQuery, stretch: Stretch<'_>) -> Result<()> {
        let differing = self.differing(&query.bucket, stretch.found).await?;
        stream::iter(differing)
            .map(|(object, found)| async move { self.look_at(&object, &found).await })
            .buffer_unordered(LOOKS_AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        self.look_for_rows(query, &stretch).await
    }

    /// Files that the rows may say something else of.
    async fn differing(&self, bucket: &BucketName, found: &[Found]) -> Result<Vec<(ObjectId, Found)>> {
        let object = |found: &Found| ObjectId { bucket: bucket.clone(), key: found.key.clone() };
        let units: Vec<_> = found.iter().map(|found| (object(found), Slot::Null)).collect();
        let known = self.known_all(&units).await?;
        let each = units.into_iter().zip(&known).zip(found).map(|(((object, _), known), found)| (object, known, found));
        let differing = each.filter(|(object, known, found)| match known.here() {
            Here::Nothing | Here::Grave(_) => true,
            Here::Live(record) => is_at_its_name(record) && !self.is_that(object, record, found),
        });
        Ok(differing.map(|(object, _, found)| (object, found.clone())).collect())
    }

    /// Whether a listing shows what a row says, as far as anybody can know without a look at the file.
    fn is_that(&self, object: &ObjectId, record: &Record, found: &Found) -> bool {
        record.has_bytes()
            && match &found.binding {
                Binding::None => self.inner.looked.is_so(object, Glimpse::of(found), &record.binding),
                binding => *binding == record.binding,
            }
    }

    async fn look_at(&self, object: &ObjectId, found: &Found) -> Result<()> {
        match self.imported(object).await {
            // One file that others keep closed does not close the others.
            Err(Error::StoreReadOnly(_)) => return Ok(()),
            looked => looked?,
        }
        let row = self.inner.status.unit(object, Slot::Null).await?;
        if let Some(now) = row.filter(|now| found.binding == Binding::None && now.row.identity.size == found.size) {
            self.inner.looked.note(object, Glimpse::of(found), now.row.binding.clone());
        }
        Ok(())
    }

    /// Rows whose file a stretch does not show, as far as a page of the query needs them.
    async fn look_for_rows(&self, mut query: ListQuery, stretch: &Stretch<'_>) -> Result<()> {
        let mut needed = query.entries_max + 1;
        query.entries_max = ROWS;
        loop {
            let page = self.inner.status.list(query.clone()).await?;
            for entry in &page.entries {
                if needed == 0 || !stretch.reaches(entry.text()) {
                    return Ok(());
                }
                needed -= usize::from(self.stays(&query.bucket, entry, stretch).await?);
            }
            match page.entries.last().filter(|_| page.more) {
                Some(last) => query.after = Some(last.text().to_owned()),
                None => return Ok(()),
            }
        }
    }

    /// Whether there is still something to show, after a look where a stretch does not show it.
    async fn stays(&self, bucket: &BucketName, entry: &ListEntry, stretch: &Stretch<'_>) -> Result<bool> {
        match entry {
            ListEntry::Object { key, record } if is_at_its_name(&record.row) && !stretch.has(key) => {
                let object = ObjectId { bucket: bucket.clone(), key: Key::new(key)? };
                self.imported(&object).await?;
                Ok(self.inner.status.object(&object).await?.is_some())
            }
            ListEntry::CommonPrefix(prefix) if !stretch.prefixes.contains(prefix) => self.look_under(bucket, prefix).await,
            _ => Ok(true),
        }
    }

    /// Looks at what has a common prefix until one object is there. Answers whether one is.
    async fn look_under(&self, bucket: &BucketName, prefix: &str) -> Result<bool> {
        let (bucket, prefix) = (bucket.clone(), prefix.to_owned());
        let mut query = ListQuery { bucket, prefix, delimiter: None, after: None, entries_max: ROWS };
        loop {
            let page = self.inner.status.list(query.clone()).await?;
            for entry in &page.entries {
                let object = ObjectId { bucket: query.bucket.clone(), key: Key::new(entry.text())? };
                self.imported(&object).await?;
                if self.inner.status.object(&object).await?.is_some() {
                    return Ok(true);
                }
            }
            match page.entries.last().filter(|_| page.more) {
                Some(last) => query.after = Some(last.text().to_owned()),
                None => return Ok(false),
            }
        }
    }
}

/// Whether a record has what no look at its file would tell again. What others stored in a service says itself what they said of it.
fn says_more_than_its_file(record: &Record) -> bool {
    let Identity { metadata, tags, .. } = &record.identity;
    let is_described_there = matches!(record.binding, Binding::Tag(_)) && !record.binding.is_marked();
    let is_said_here = match is_described_there {
        true => record.vector.tags.is_some(),
        false => !metadata.is_empty() || !tags.is_empty(),
    };
    is_said_here || record.registers != Registers::default()
}

/// Whether the key's own name is where the bytes are, or were: others see nothing else.
fn is_at_its_name(record: &Record) -> bool {
    record.is_shown() && record.location == Location::Plain
}
