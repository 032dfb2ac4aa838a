//! Which buckets lie elsewhere than their names say. A note in the store for each: no bucket there says which are below prefixes,
//! and routes that change must not lead a bucket to another's objects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as AsyncMutex, OnceCell, OwnedRwLockReadGuard, RwLock};

use super::super::{Backend, Error, Result};
use super::names::{Names, Spot};
use crate::model::BucketName;

/// What the names of these notes begin with.
const NOTES: &str = "at-";
/// The version written; newer ones are refused.
const VERSION: u32 = 1;
/// Notes read at once.
const READS_AT_ONCE: usize = 16;

/// What a note says. JSON, for people too.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    /// The bucket's name here.
    name: String,
    /// Where it lies.
    bucket: String,
    prefix: String,
}

/// Whether a note is one of these.
pub fn is_note(name: &str) -> bool {
    name.starts_with(NOTES)
}

/// Two names never make one, and none is longer than a note's may be.
fn note_of(bucket: &BucketName) -> String {
    format!("{NOTES}{}", bucket.as_str().replace('-', "--").replace('.', "-d"))
}

/// Who writes to a bucket has it open; who removes it, closed.
pub(super) type Door = Arc<RwLock<()>>;
type Doors = BTreeMap<BucketName, Door>;

/// The buckets with notes, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// Read from the store when it is first asked, which may be long after the start.
    known: OnceCell<Mutex<Doors>>,
    /// Held by who makes or removes one.
    pub change: AsyncMutex<()>,
}

impl Prefixes {
    async fn with<T>(&self, store: &dyn Backend, names: &Names, see: impl FnOnce(&mut Doors) -> T) -> Result<T> {
        let known = self.known.get_or_try_init(|| async { Ok::<_, Error>(Mutex::new(read_all(store, names).await?)) }).await?;
        Ok(see(&mut known.lock().expect("nothing panics while it holds the doors")))
    }

    /// That of a bucket, if there is one.
    pub async fn door(&self, store: &dyn Backend, names: &Names, bucket: &BucketName) -> Result<Option<Door>> {
        self.with(store, names, |doors| doors.get(bucket).cloned()).await
    }

    /// Lets somebody write to a bucket, which stays for as long.
    pub async fn enter(&self, store: &dyn Backend, names: &Names, bucket: &BucketName) -> Result<OwnedRwLockReadGuard<()>> {
        let door = self.door(store, names, bucket).await?.ok_or(Error::NoSuchBucket)?;
        let entered = door.clone().read_owned().await;
        match self.door(store, names, bucket).await? {
            Some(now) if Arc::ptr_eq(&now, &door) => Ok(entered),
            _ => Err(Error::NoSuchBucket),
        }
    }

    /// Those below prefixes, and those that only have another name there.
    pub async fn all(&self, store: &dyn Backend, names: &Names) -> Result<(Vec<BucketName>, Vec<BucketName>)> {
        let noted: Vec<_> = self.with(store, names, |doors| doors.keys().cloned().collect()).await?;
        Ok(noted.into_iter().partition(|bucket| names.is_parted(bucket)))
    }

    pub async fn add(&self, store: &dyn Backend, names: &Names, bucket: &BucketName, at: &Spot) -> Result<()> {
        if self.door(store, names, bucket).await?.is_some() {
            return Ok(());
        }
        let note = Note { version: VERSION, name: bucket.to_string(), bucket: at.bucket.to_string(), prefix: at.prefix.clone() };
        let bytes = serde_json::to_vec(&note).expect("texts are JSON");
        store.write_note(&note_of(bucket), bytes.into()).await?;
        self.with(store, names, |doors| drop(doors.insert(bucket.clone(), Door::default()))).await
    }

    pub async fn remove(&self, store: &dyn Backend, names: &Names, bucket: &BucketName) -> Result<()> {
        store.remove_note(&note_of(bucket)).await?;
        self.with(store, names, |doors| drop(doors.remove(bucket))).await
    }
}

async fn read_all(store: &dyn Backend, names: &Names) -> Result<Doors> {
    let notes = store.list_notes().await?.into_iter().filter(|name| is_note(name));
    let read = stream::iter(notes).map(|note| async move { read(store, names, &note).await }).buffer_unordered(READS_AT_ONCE);
    read.try_filter_map(|bucket| std::future::ready(Ok(bucket.map(|bucket| (bucket, Door::default()))))).try_collect().await
}

/// The bucket that a note is of; `None` where it went meanwhile. One that lies elsewhere than rules say by now is refused: its
/// objects would not be found.
async fn read(store: &dyn Backend, names: &Names, note: &str) -> Result<Option<BucketName>> {
    let bytes = match store.read_note(note).await {
        Err(Error::NotFound) => return Ok(None),
        read => read?,
    };
    let unreadable = |why: String| Error::Setup(format!("the note {note} in the store cannot be read ({why})"));
    let said: Note = serde_json::from_slice(&bytes).map_err(|err| unreadable(err.to_string()))?;
    if said.version > VERSION {
        return Err(unreadable(format!("it has version {}, this program knows {VERSION}", said.version)));
    }
    let bucket = BucketName::new(&said.name).map_err(|err| unreadable(err.to_string()))?;
    let there = names.there(&bucket)?;
    if (there.bucket.as_str(), &there.prefix) != (said.bucket.as_str(), &said.prefix) {
        return Err(Error::Setup(format!(
            "the bucket {bucket} lies in {}, below {:?}: its route has to say so, with `bucket` and `prefix`, as long as there is one",
            said.bucket, said.prefix
        )));
    }
    Ok(Some(bucket))
}

/// Fails where a bucket lies elsewhere of which no rule says anything.
pub async fn refuse_any(store: &dyn Backend) -> Result<()> {
    read_all(store, &Names::none()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bucket_has_a_note_of_its_own() {
        let long = format!("a{}b", "-".repeat(61));
        let names = ["a-b", "a.b", "a--b", "a-.b", "a.-b", "a-d", "a-db", "adb", "a-d.b", &long];
        let notes: BTreeSet<_> = names.iter().map(|name| note_of(&BucketName::new(name).unwrap())).collect();
        assert_eq!(notes.len(), names.len());
        assert!(notes.iter().all(|note| is_note(note) && super::super::super::check_note(note, 0).is_ok()), "{notes:?}");
    }
}
