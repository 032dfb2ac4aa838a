//! Buckets that others write to as well (`ownership = "shared"`): what the store has is looked at before anything is answered.
//!
//! Whoever locks a key there looks at its file first ([`Site::lock_key`]), and so does whoever reads one; a listing looks at the
//! files of its page. A new file becomes an object and a changed one a new write, both unread until somebody asks for them. A
//! file that others removed was deleted by them where there is no other site. Where there are others absence says nothing:
//! they have the object, and it comes back from there.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use futures::stream::{self, StreamExt, TryStreamExt};
use lru::LruCache;

use super::custody::Ownership;
use super::delete::Gone;
use super::error::Result;
use super::{Site, plain};
use crate::backend::{self, Found};
use crate::model::{Binding, BucketName, Bypass, Here, Key, Location, ObjectId, Record, Slot};
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
        self.inner.custody.of(bucket) == Ownership::Shared && !self.is_rebuilding()
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

    async fn removed_by_others(&self, object: &ObjectId, now: &Stored<Record>) -> Result<()> {
        let is_protected = now.row.registers.protect(self.inner.clock.wall_ms(), Bypass::No);
        if !self.inner.neighbours.is_empty() || is_protected {
            return self.heal_locked(object, now).await.map(drop);
        }
        tracing::info!(stamp = %now.row.vector.data, %object, "others removed it from the store: it is deleted");
        let bucket = self.bucket_row(&object.bucket).await?;
        let guarded = Commit::new().frees().expect::<Buckets>(&object.bucket, Some(bucket.revision));
        let guarded = guarded.expect_unit(object, Slot::Null, Some(now.revision));
        let gone = Gone { slot: Slot::Null, unit: Some(now.clone().into()), bypass: Bypass::No, stamp: None };
        self.bury(object, gone, guarded).await.map(drop)
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
        self.imported(object).await?;
        let row = self.inner.status.unit(object, Slot::Null).await?;
        if let Some(now) = row.filter(|now| found.binding == Binding::None && now.row.identity.size == found.size) {
            self.inner.looked.note(object, Glimpse::of(found), now.row.binding.clone());
        }
        Ok(())
    }

    /// Rows whose file a stretch does not show.
    async fn look_for_rows(&self, mut query: ListQuery, stretch: &Stretch<'_>) -> Result<()> {
        query.entries_max = ROWS;
        loop {
            let page = self.inner.status.list(query.clone()).await?;
            for entry in &page.entries {
                match entry {
                    entry if !stretch.reaches(entry.text()) => return Ok(()),
                    ListEntry::Object { key, .. } if !stretch.has(key) => self.look_up(&query.bucket, key).await?,
                    ListEntry::CommonPrefix(prefix) if !stretch.prefixes.contains(prefix) => {
                        self.look_under(&query.bucket, prefix).await?;
                    }
                    _ => {}
                }
            }
            match page.entries.last().filter(|_| page.more) {
                Some(last) => query.after = Some(last.text().to_owned()),
                None => return Ok(()),
            }
        }
    }

    async fn look_up(&self, bucket: &BucketName, key: &str) -> Result<()> {
        self.imported(&ObjectId { bucket: bucket.clone(), key: Key::new(key)? }).await
    }

    /// Looks at what has a common prefix until one file is there.
    async fn look_under(&self, bucket: &BucketName, prefix: &str) -> Result<()> {
        let (bucket, prefix) = (bucket.clone(), prefix.to_owned());
        let mut query = ListQuery { bucket, prefix, delimiter: None, after: None, entries_max: ROWS };
        loop {
            let page = self.inner.status.list(query.clone()).await?;
            for entry in &page.entries {
                let object = ObjectId { bucket: query.bucket.clone(), key: Key::new(entry.text())? };
                self.imported(&object).await?;
                if self.inner.status.object(&object).await?.is_some() {
                    return Ok(());
                }
            }
            match page.entries.last().filter(|_| page.more) {
                Some(last) => query.after = Some(last.text().to_owned()),
                None => return Ok(()),
            }
        }
    }
}

/// Whether the key's own name is where the bytes are, or were: others see nothing else.
fn is_at_its_name(record: &Record) -> bool {
    record.is_shown() && record.location == Location::Plain
}
