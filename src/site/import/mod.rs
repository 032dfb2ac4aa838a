//! Folders full of files that become buckets: served at once, walked over in the background (`walk`).
//!
//! While a bucket is being walked over, a key without a row may be that of a file. Whoever locks a key there gives the file
//! its row first ([`Site::lock_key`]), so that every change is made to what is there; whoever reads a key that has no row
//! looks for the file (`Site::imported`); and a listing imports what its page needs (`page`). So nothing else has to know of
//! imports, and once the walk is through a key without a row is absent again without a look into the store.
//!
//! Which buckets these are is written in the store itself, in a note, and not in the status store: one that is lost must not
//! make files disappear that it had not heard of.

mod known_versions;
mod newcomer;
mod page;
mod versions;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::claim::FIRST_OWNER;
use super::error::{Error, Result};
use super::locks::KeyGuard;
use super::{CONFLICTS_MAX, Site, plain};
use crate::backend::{self, Found};
use crate::model::{Binding, Bucket, BucketName, Here, Key, ObjectId, Slot, Versioning};
use crate::status::tables::Buckets;
use crate::status::{Checkpoint, Commit, CommitError, ListQuery, Page};
pub use known_versions::is_as_listed;
pub use newcomer::Newcomer;
use versions::TakenOver;
pub use walk::Importer;

/// The note in the store that names the buckets.
const NOTE: &str = "import";
/// Version of the note; the first had no buckets with versions of the store's.
const VERSION: u8 = 2;
/// Files asked for at once, where a listing does not tell everything of them.
const LOOKS_AT_ONCE: usize = 16;

/// How far a bucket's import came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Up to which key the walk has given every file its row.
    pub walked: Option<String>,
    /// Whether it has come to the end.
    pub is_listed: bool,
    /// Files it found.
    pub objects: u64,
    pub bytes: u64,
    /// Files and folders that no key can name. Known at the end.
    pub skipped: u64,
    /// Of the files, those known to have been read; counted anew by every process.
    #[serde(skip)]
    pub read: u64,
    /// Files that could not be read in the last pass over them.
    #[serde(skip)]
    pub unreadable: u64,
}

/// What the note says. JSON, for people too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    version: u8,
    /// What is not wholly imported.
    buckets: BTreeSet<BucketName>,
    /// Whose versions were the store's, imported or not.
    #[serde(default)]
    versioned: BTreeSet<BucketName>,
}

/// A bucket that is not wholly imported.
#[derive(Debug, Default)]
struct Import(Mutex<Progress>);

impl Import {
    fn progress(&self) -> Progress {
        self.0.lock().expect("nothing panics while it holds the progress").clone()
    }

    fn set(&self, progress: Progress) {
        *self.0.lock().expect("nothing panics while it holds the progress") = progress;
    }

    fn is_listed(&self) -> bool {
        self.0.lock().expect("nothing panics while it holds the progress").is_listed
    }
}

/// What a site is importing.
#[derive(Debug, Default)]
pub(super) struct Imports {
    /// How many buckets: all that anybody else's requests look at.
    count: AtomicUsize,
    buckets: RwLock<BTreeMap<BucketName, Arc<Import>>>,
    taken_over: TakenOver,
    /// One at a time writes the note.
    note: tokio::sync::Mutex<()>,
    begun: Notify,
}

impl Imports {
    fn of(&self, bucket: &BucketName) -> Option<Arc<Import>> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.buckets.read().expect("nothing panics while it holds the imports").get(bucket).cloned()
    }

    /// Where files may lie that have no row.
    fn walked(&self, bucket: &BucketName) -> Option<Arc<Import>> {
        self.of(bucket).filter(|import| !import.is_listed())
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<BucketName, Arc<Import>>)) {
        let mut buckets = self.buckets.write().expect("nothing panics while it holds the imports");
        change(&mut buckets);
        self.count.store(buckets.len(), Ordering::Relaxed);
    }

    fn all(&self) -> Vec<(BucketName, Arc<Import>)> {
        let buckets = self.buckets.read().expect("nothing panics while it holds the imports");
        buckets.iter().map(|(bucket, import)| (bucket.clone(), import.clone())).collect()
    }
}

/// Where a bucket's [`Progress`] is kept.
fn checkpoint(bucket: &BucketName) -> Checkpoint {
    Checkpoint { name: format!("import.{bucket}"), version: 1 }
}

impl Site {
    /// Recalls at the start what is being imported. A lone site that starts for the first time on a store that nobody ever
    /// served imports every folder.
    pub(super) async fn note_imports(&self) -> Result<()> {
        let mut note = self.noted_imports().await?;
        for bucket in &note.buckets {
            self.make_at_store(bucket).await?;
        }
        if self.is_first_start().await? {
            note.buckets = self.inner.backend.list_buckets().await?.into_iter().collect();
            note.versioned = self.versioned_there(&note.buckets).await?;
            self.inner.backend.tell_strangers().await?;
            // Without one too: from now on folders are not looked for any more.
            self.write_note(&note).await?;
        }
        self.inner.imports.taken_over.set(note.versioned.iter().cloned());
        if self.is_rebuilding() {
            // Of what has versions a listing of what is current shows some.
            self.change_note(|note| note.buckets.extend(note.versioned.iter().cloned())).await?;
            for bucket in note.versioned {
                self.inner.imports.change(|imports| drop(imports.insert(bucket, Arc::default())));
            }
        }
        for bucket in note.buckets {
            // Whose row is there, its store needs not to be.
            if self.inner.status.get::<Buckets>(&bucket).await?.is_none() {
                self.make_row(&bucket).await?;
            }
            let progress: Progress = checkpoint(&bucket).read(&self.inner.status).await?.unwrap_or_default();
            tracing::info!(%bucket, ?progress, "its files are imported; it is served meanwhile");
            self.inner.imports.change(|imports| drop(imports.insert(bucket, Arc::new(Import(Mutex::new(progress))))));
        }
        Ok(())
    }

    /// Whether nobody knows anything of this store. Where there are other sites they may know what was deleted in it.
    async fn is_first_start(&self) -> Result<bool> {
        let known: Page<Buckets> = self.inner.status.page(&(), None, 1).await?;
        let is_new = known.rows.is_empty() && self.inner.neighbours.is_empty() && !self.is_rebuilding();
        Ok(is_new && self.inner.backend.list_notes().await?.is_empty())
    }

    async fn noted_imports(&self) -> Result<Note> {
        let bytes = match self.inner.backend.read_note(NOTE).await {
            Err(backend::Error::NotFound) => return Ok(Note::default()),
            read => read?,
        };
        let unreadable = |reason: String| Error::Internal(format!("the store's note `{NOTE}` cannot be read: {reason}"));
        let note: Note = serde_json::from_slice(&bytes).map_err(|err| unreadable(err.to_string()))?;
        match note.version > VERSION {
            true => Err(unreadable(format!("it has version {}, this program knows {VERSION}", note.version))),
            false => Ok(note),
        }
    }

    async fn write_note(&self, note: &Note) -> Result<()> {
        let note = Note { version: VERSION, ..note.clone() };
        let bytes = serde_json::to_vec_pretty(&note).expect("numbers and texts can be written as JSON");
        Ok(self.inner.backend.write_note(NOTE, bytes.into()).await?)
    }

    /// A crash may have come between the note and the making of a bucket that has no folder of its own.
    async fn make_at_store(&self, bucket: &BucketName) -> Result<()> {
        let is_known = self.inner.status.get::<Buckets>(bucket).await?.is_some();
        if !is_known && !self.inner.backend.list_buckets().await?.contains(bucket) {
            self.inner.backend.create_bucket(bucket).await?;
        }
        Ok(())
    }

    /// Makes the row of a bucket that never had one.
    async fn make_row(&self, bucket: &BucketName) -> Result<()> {
        let created = self.inner.clock.tick(None);
        let (owner, region) = (FIRST_OWNER.into(), self.inner.custody.region.clone());
        let row = Bucket { created, deleted: None, owner, region, registers: Vec::new() };
        self.note_bucket(bucket, &self.versioned_as_there(bucket, row).await?).await
    }

    /// Begins the import of a bucket that is about to be made of a folder that is there; answers the versioning that it has
    /// there. Nothing is imported where others may not put files: they stay what they were.
    pub(super) async fn begin_import(&self, bucket: &BucketName) -> Result<Versioning> {
        if !self.adopts(bucket) || self.is_rebuilding() {
            return Ok(Versioning::Off);
        }
        // Of a bucket of this name before.
        self.forget_versions_there(bucket).await;
        let first = match self.inner.backend.list(bucket, None).next().await.transpose() {
            Err(backend::Error::NoSuchBucket) => return Ok(Versioning::Off),
            first => first?,
        };
        let versioning = self.versioning_there(bucket).await?;
        let is_versioned = versioning != Versioning::Off;
        // What has versions may have nothing that is current.
        if first.is_none() && !is_versioned {
            return Ok(Versioning::Off);
        }
        let noted = self.change_note(|note| {
            note.buckets.insert(bucket.clone());
            note.versioned.extend(is_versioned.then(|| bucket.clone()));
        });
        noted.await?;
        self.inner.status.commit(checkpoint(bucket).removed()).await?;
        tracing::info!(%bucket, "a bucket is made of a folder that is there: its files are imported");
        self.inner.imports.change(|imports| drop(imports.insert(bucket.clone(), Arc::default())));
        self.inner.imports.begun.notify_one();
        Ok(versioning)
    }

    /// A bucket that is gone has none; whoever makes one of its name says so again, should the note not be to be had now.
    pub(super) async fn forget_versions_there(&self, bucket: &BucketName) {
        if !self.has_versions_there(bucket) {
            return;
        }
        let forgotten = self.change_note(|note| {
            note.versioned.remove(bucket);
        });
        if let Err(error) = forgotten.await {
            tracing::warn!(%bucket, %error, "the store's note still says that a deleted bucket has versions");
        }
    }

    /// Changes what the store's note says.
    async fn change_note(&self, change: impl FnOnce(&mut Note)) -> Result<()> {
        let _only_one = self.inner.imports.note.lock().await;
        let before = self.noted_imports().await?;
        let mut note = before.clone();
        change(&mut note);
        if note != before {
            self.write_note(&note).await?;
        }
        self.inner.imports.taken_over.set(note.versioned.into_iter());
        Ok(())
    }

    /// Gives a bucket that is about to be found empty the row of a file, if there is one.
    pub(super) async fn import_first(&self, bucket: &BucketName) -> Result<()> {
        if !self.is_walked(bucket) {
            return Ok(());
        }
        if self.has_versions_there(bucket) {
            return self.import_first_version(bucket).await;
        }
        let (bucket, prefix) = (bucket.clone(), String::new());
        self.list(ListQuery { bucket, prefix, delimiter: None, after: None, entries_max: 1 }).await.map(drop)
    }

    /// Everything has its row, and was read.
    async fn end_import(&self, bucket: &BucketName) -> Result<()> {
        self.change_note(|note| {
            note.buckets.remove(bucket);
        })
        .await?;
        self.inner.status.commit(checkpoint(bucket).removed()).await?;
        self.inner.imports.change(|imports| drop(imports.remove(bucket)));
        Ok(())
    }

    /// The buckets that are being imported, and how far.
    pub fn imports(&self) -> Vec<(BucketName, Progress)> {
        self.inner.imports.all().into_iter().map(|(bucket, import)| (bucket, import.progress())).collect()
    }

    /// Whether the store may hold files of a bucket that have no row yet.
    pub(super) fn is_walked(&self, bucket: &BucketName) -> bool {
        self.inner.imports.walked(bucket).is_some() || self.is_shared(bucket)
    }

    /// Holds a key. If a file has it that is not imported yet, it is now.
    pub(super) async fn lock_key(&self, object: &ObjectId) -> Result<KeyGuard<ObjectId>> {
        let guard = self.inner.keys.lock(object).await;
        if self.is_shared(&object.bucket) {
            self.look_locked(object).await?;
        } else if self.is_walked(&object.bucket) {
            self.import_locked(object).await?;
        }
        Ok(guard)
    }

    /// Imports the file of a key, if the store has one that has no row; in a shared bucket its row follows the file.
    pub(super) async fn imported(&self, object: &ObjectId) -> Result<()> {
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move { site.lock_key(&object).await.map(drop) }).await
    }

    async fn import_locked(&self, object: &ObjectId) -> Result<()> {
        if self.has_versions_there(&object.bucket) {
            return self.import_versions_locked(object).await;
        }
        for _ in 0..CONFLICTS_MAX {
            let known = self.known(object, Slot::Null).await?;
            if !matches!(known.here(), Here::Nothing) {
                return Ok(());
            }
            let found = match self.inner.backend.head(&plain(object)).await {
                Err(backend::Error::NotFound | backend::Error::NoSuchBucket) => return Ok(()),
                found => found?,
            };
            let bucket = self.bucket_row(&object.bucket).await?;
            // A delete needs the row first, however little room is left: it is one, for one key.
            let commit = Commit::new().frees().expect::<Buckets>(&object.bucket, Some(bucket.revision));
            let guarded = known.guarded(object, commit);
            let record = self.unread(&found, self.stamp_of(&found));
            match self.inner.status.commit(guarded.put_unit(object, &record)).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => self.count_conflict(&object.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// A file as its store tells when it is asked for it, where a listing left something out. `None`: it went meanwhile.
    async fn found_whole(&self, object: &ObjectId, found: Found) -> Result<Option<Found>> {
        if found.binding != Binding::None {
            return Ok(Some(found));
        }
        match self.inner.backend.head(&plain(object)).await {
            Err(backend::Error::NotFound | backend::Error::NoSuchBucket) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    /// Gives rows to files that have none, in one commit; with it the progress that this is.
    async fn import_all(&self, bucket: &BucketName, found: &[Found], progress: Option<&Progress>) -> Result<()> {
        let object = |key: &Key| ObjectId { bucket: bucket.clone(), key: key.clone() };
        if self.has_versions_there(bucket) {
            let keys = stream::iter(found.iter().map(|found| object(&found.key)).collect::<Vec<_>>());
            let imported = keys.map(|object| async move { self.imported(&object).await });
            return imported.buffer_unordered(LOOKS_AT_ONCE).try_collect().await;
        }
        let units: Vec<_> = found.iter().map(|found| (object(&found.key), Slot::Null)).collect();
        let row = self.bucket_row(bucket).await?;
        let noted = progress.map_or(Commit::new(), |progress| checkpoint(bucket).noted(Commit::new(), progress));
        let mut commit = noted.clone().expect::<Buckets>(bucket, Some(row.revision));
        let known = self.known_all(&units).await?;
        let new: Vec<_> =
            units.iter().zip(&known).zip(found).filter(|((_, known), _)| matches!(known.here(), Here::Nothing)).collect();
        let listed: Vec<_> = new.iter().map(|(((object, _), _), found)| (object.clone(), Found::clone(found))).collect();
        let told = stream::iter(listed).map(|(object, found)| async move { self.found_whole(&object, found).await });
        let told: Vec<_> = told.buffered(LOOKS_AT_ONCE).try_collect().await?;
        for ((((object, _), known), _), found) in new.iter().zip(told) {
            let Some(found) = found else { continue };
            commit = known.guarded(object, commit).put_unit(object, &self.unread(&found, self.stamp_of(&found)));
        }
        if commit.is_empty() {
            return Ok(());
        }
        match self.inner.status.commit(commit).await {
            Ok(_) => Ok(()),
            // About one of them, or the bucket: each is looked at by itself.
            Err(CommitError::Conflict) => {
                self.count_conflict(bucket);
                for (((object, _), _), _) in &new {
                    self.imported(object).await?;
                }
                if !noted.is_empty() {
                    self.inner.status.commit(noted).await?;
                }
                Ok(())
            }
            Err(err) => Err(err.into()),
        }
    }
}
