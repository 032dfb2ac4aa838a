//! In memory: the reference for what a store that stages must do, and the store of most tests and demos.
//!
//! It behaves as `fs` does towards its caller: bytes are staged under a number, publishing moves them, and nothing is
//! removed but what still has the binding that the caller means. [`Memory::naming`] behaves as stores do that have no
//! staging files.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};

use super::{
    Attributes, Backend, Body, Capabilities, Capability, Error, Fetched, Found, FoundOwn, GetOptions, Kept, KeptPart, Place,
    Published, PutOptions, Result, StoreUpload, Support,
};
use crate::model::{Binding, BucketName, Key, Location, ObjectId, StagingFile, WriteId};

/// A store that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct Memory {
    held: Mutex<Held>,
    /// Whether bytes have a name of their own at once.
    names: bool,
    /// Whoever holds it lets no copy to a plain name begin.
    #[cfg(test)]
    pub(crate) copies: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    buckets: BTreeMap<BucketName, Names>,
    staged: HashMap<StagingFile, Blob>,
    notes: BTreeMap<String, Bytes>,
    /// Parts of unfinished uploads, where they are not staged like everything else.
    uploads: HashMap<WriteId, BTreeMap<u16, Blob>>,
    /// Keys that may not be read, by their names; buckets too.
    #[cfg(test)]
    closed: std::collections::BTreeSet<String>,
    /// Keys that are no names here.
    #[cfg(test)]
    refused: std::collections::BTreeSet<String>,
    /// The last number given to a staging file and to its binding: both are never given twice.
    last: u64,
}

/// What lies in a bucket.
#[derive(Debug, Default)]
struct Names {
    plain: BTreeMap<Key, Blob>,
    own: BTreeMap<(Key, WriteId), Blob>,
}

/// Bytes and what is said of them.
#[derive(Clone, Debug)]
struct Blob {
    bytes: Bytes,
    binding: Binding,
    modified_ms: u64,
    label: Option<String>,
}

impl Memory {
    pub fn new() -> Self {
        Self::default()
    }

    /// One that gives bytes a name of their own at once, and keeps the parts of an upload with it, as object stores do.
    pub fn naming() -> Self {
        Self { names: true, ..Self::default() }
    }

    /// From now on nobody may read the key, or bucket, of this name.
    #[cfg(test)]
    pub(crate) fn close(&self, name: &str) {
        self.held().closed.insert(name.to_owned());
    }

    /// From now on no bytes are brought to the key of this name.
    #[cfg(test)]
    pub(crate) fn refuse(&self, name: &str) {
        self.held().refused.insert(name.to_owned());
    }

    /// How many bodies are staged.
    #[cfg(test)]
    pub(crate) fn staged(&self) -> usize {
        self.held().staged.len()
    }

    /// How many bodies have a name of their own.
    #[cfg(test)]
    pub(crate) fn own_names(&self) -> usize {
        self.held().buckets.values().map(|names| names.own.len()).sum()
    }

    /// Spoils every byte that has a name, unnoticed.
    #[cfg(test)]
    pub(crate) fn rot(&self) {
        let mut held = self.held();
        for blob in held.buckets.values_mut().flat_map(|names| names.plain.values_mut().chain(names.own.values_mut())) {
            blob.bytes = blob.bytes.iter().map(|byte| !byte).collect();
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no code panics while it holds the store")
    }

    /// Spoils the bytes under a name, as a disk does that says nothing of it. Answers under which binding.
    #[cfg(test)]
    pub(crate) fn spoil(&self, at: &Place) -> Option<Binding> {
        let mut held = self.held();
        let names = held.buckets.get_mut(&at.object.bucket)?;
        let blob = match at.location {
            Location::Own(write) => names.own.get_mut(&(at.object.key.clone(), write))?,
            _ => names.plain.get_mut(&at.object.key)?,
        };
        let mut bytes = blob.bytes.to_vec();
        *bytes.first_mut()? ^= 1;
        blob.bytes = bytes.into();
        Some(blob.binding.clone())
    }

    /// Puts other bytes in the place of those under a name, as somebody does who knows nothing of this program.
    #[cfg(test)]
    pub(crate) fn displace(&self, at: &Place, bytes: Bytes) -> bool {
        let mut held = self.held();
        held.last += 1;
        let binding = Binding::Tag(format!("displaced by {}", held.last));
        let Ok(modified_ms) = held.settled(at).map(|blob| blob.modified_ms) else { return false };
        let names = held.buckets.get_mut(&at.object.bucket).expect("something lies in it");
        names.add(at, Blob { bytes, binding, modified_ms, label: None });
        true
    }

    fn keep(&self, to: &ObjectId, bytes: Bytes, put: &PutOptions) -> Result<Kept> {
        if !self.names {
            return Ok(self.stage(bytes, put));
        }
        let mut held = self.held();
        let names = held.buckets.get_mut(&to.bucket).ok_or(Error::NoSuchBucket)?;
        let blob = Blob::marked(put.write, bytes, put);
        let (binding, size) = (blob.binding.clone(), blob.bytes.len() as u64);
        names.own.insert((to.key.clone(), put.write), blob);
        Ok(Kept { location: Location::Moving(put.write), binding, size })
    }

    fn stage(&self, bytes: Bytes, put: &PutOptions) -> Kept {
        let mut held = self.held();
        held.last += 1;
        let (file, size) = (StagingFile(held.last), bytes.len() as u64);
        let binding = Binding::Tag(format!("{file}"));
        held.staged.insert(file, Blob { bytes, binding: binding.clone(), modified_ms: put.modified_ms, label: None });
        Kept { location: Location::Staged(file), binding, size }
    }
}

impl Held {
    fn bucket(&self, bucket: &BucketName) -> Result<&Names> {
        #[cfg(test)]
        self.admit(bucket.as_str())?;
        self.buckets.get(bucket).ok_or(Error::NoSuchBucket)
    }

    #[cfg(test)]
    fn admit(&self, name: &str) -> Result<()> {
        match self.closed.contains(name) {
            true => Err(Error::ReadOnly(std::io::ErrorKind::PermissionDenied.into())),
            false => Ok(()),
        }
    }

    fn settled(&self, at: &Place) -> Result<&Blob> {
        let names = self.bucket(&at.object.bucket)?;
        let blob = match at.location {
            Location::Plain => names.plain.get(&at.object.key),
            Location::Own(write) => names.own.get(&(at.object.key.clone(), write)),
            _ => None,
        };
        blob.ok_or(Error::NotFound)
    }

    /// Bytes that are not at their settled name yet.
    fn staged(&self, at: &Place) -> Option<&Blob> {
        match at.location {
            Location::Moving(write) => self.settled(&Place { location: Location::Own(write), ..at.clone() }).ok(),
            _ => at.location.staged().and_then(|file| self.staged.get(&file)),
        }
    }

    /// The bytes at `at`. Staged ones may have been published since the caller learned of them, so with a binding in
    /// hand both names are tried.
    fn find(&self, at: &Place, expect: Option<&Binding>) -> Result<&Blob> {
        #[cfg(test)]
        self.admit(at.object.key.as_str())?;
        let settled = self.settled(&at.settled());
        match (at.location.is_staged(), expect) {
            (false, None) => settled,
            (false, Some(expect)) => settled?.bound_to(expect),
            (true, None) => self.staged(at).ok_or(Error::NotFound),
            (true, Some(expect)) => match self.staged(at) {
                Some(blob) if blob.binding == *expect => Ok(blob),
                _ => settled?.bound_to(expect),
            },
        }
    }

    /// The bytes stay at their own name too.
    fn copy_to_plain(&mut self, from: &Place, binding: &Binding) -> Result<Published> {
        let to = from.settled();
        #[cfg(test)]
        if self.refused.contains(to.object.key.as_str()) {
            return Ok(Published::Stays);
        }
        if self.settled(&to).is_ok_and(|blob| blob.binding == *binding) {
            return Ok(Published::Done);
        }
        let Some(blob) = self.staged(from).filter(|blob| blob.binding == *binding).cloned() else {
            return self.bucket(&to.object.bucket).map(|_| Published::Gone);
        };
        self.buckets.get_mut(&to.object.bucket).ok_or(Error::NoSuchBucket)?.add(&to, blob);
        Ok(Published::Done)
    }

    /// Ends an upload, or finds what its end made.
    fn complete(&mut self, upload: &StoreUpload, parts: &[KeptPart], put: &PutOptions) -> Result<Kept> {
        let at = Place { object: upload.object.clone(), location: Location::Moving(upload.write) };
        let blob = match self.uploads.get(&upload.write) {
            None => self.staged(&at).ok_or(Error::NotFound)?.clone(),
            Some(held) => {
                let mut all = BytesMut::new();
                for part in parts {
                    let part_there = held.get(&part.number).ok_or(Error::NotFound)?;
                    all.extend_from_slice(&part_there.bound_to(&part.kept.binding)?.bytes);
                }
                Blob::marked(upload.write, all.freeze(), put)
            }
        };
        let (binding, size) = (blob.binding.clone(), blob.bytes.len() as u64);
        let names = self.buckets.get_mut(&upload.object.bucket).ok_or(Error::NoSuchBucket)?;
        names.own.insert((upload.object.key.clone(), upload.write), blob);
        self.uploads.remove(&upload.write);
        Ok(Kept { location: at.location, binding, size })
    }

    /// Gives up these staged bytes, if they are `only`.
    fn give_up(&mut self, file: StagingFile, only: &Binding) {
        self.staged.retain(|this, blob| *this != file || blob.binding != *only);
    }

    /// Removes what is at a name, if it is `only`.
    fn remove(&mut self, at: &Place, only: &Binding) {
        let Some(names) = self.buckets.get_mut(&at.object.bucket) else { return };
        match at.location {
            Location::Plain => remove_from(&mut names.plain, at.object.key.clone(), only),
            Location::Own(write) | Location::Moving(write) => remove_from(&mut names.own, (at.object.key.clone(), write), only),
            _ => {}
        }
    }
}

fn remove_from<K: Ord>(names: &mut BTreeMap<K, Blob>, name: K, only: &Binding) {
    if let Entry::Occupied(entry) = names.entry(name)
        && entry.get().binding == *only
    {
        entry.remove();
    }
}

impl Names {
    fn add(&mut self, at: &Place, blob: Blob) {
        let key = at.object.key.clone();
        match at.location {
            Location::Own(write) => self.own.insert((key, write), blob),
            _ => self.plain.insert(key, blob),
        };
    }
}

impl Blob {
    /// As an object store has it that marks what it is given with the write.
    fn marked(write: WriteId, bytes: Bytes, put: &PutOptions) -> Self {
        Self {
            bytes,
            binding: Binding::Tag(write.to_string()),
            modified_ms: put.modified_ms,
            label: put.attributes.label.clone(),
        }
    }

    fn found(&self, key: &Key) -> Found {
        let (binding, size, label) = (self.binding.clone(), self.bytes.len() as u64, self.label.clone());
        Found {
            key: key.clone(),
            binding,
            size,
            modified_ms: self.modified_ms,
            changed_ms: None,
            label,
            described: None,
            etag: None,
        }
    }

    fn bound_to(&self, expect: &Binding) -> Result<&Self> {
        if self.binding == *expect { Ok(self) } else { Err(Error::Changed) }
    }

    fn range(&self, get: &GetOptions) -> Bytes {
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.bytes.len());
        get.range.as_ref().map_or_else(|| self.bytes.clone(), |range| self.bytes.slice(clamp(range.start)..clamp(range.end)))
    }
}

/// The whole body, if it is as long as was announced.
async fn receive(mut body: Body, put: &PutOptions) -> Result<Bytes> {
    let announced = put.size.or(body.size);
    let mut all = BytesMut::new();
    while let Some(chunk) = body.stream.next().await {
        all.extend_from_slice(&chunk?);
    }
    super::body::check_size(announced, all.len() as u64)?;
    Ok(all.freeze())
}

#[async_trait]
impl Backend for Memory {
    fn capabilities(&self) -> Vec<Capabilities> {
        let detail = "everything is gone when the process ends".to_owned();
        let durability = Capability { name: "durability", support: Support::Refused, detail };
        vec![Capabilities { store: String::new(), kind: "memory", properties: vec![durability] }]
    }

    async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        self.keep(to, receive(body, &put).await?, &put)
    }

    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched> {
        let held = self.held();
        let blob = held.find(at, get.expect.as_ref())?;
        Ok(Fetched { found: blob.found(&at.object.key), body: Body::from(blob.range(&get)) })
    }

    async fn head(&self, at: &Place) -> Result<Found> {
        self.held().find(at, None).map(|blob| blob.found(&at.object.key))
    }

    async fn copy(&self, from: &Place, get: GetOptions, to: &ObjectId, put: PutOptions) -> Result<Kept> {
        let bytes = self.held().find(from, get.expect.as_ref())?.range(&get);
        self.keep(to, bytes, &put)
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        if matches!(from.location, Location::Moving(_)) {
            #[cfg(test)]
            let _slow = self.copies.lock().await;
            return self.held().copy_to_plain(from, binding);
        }
        let Some(file) = from.location.staged() else {
            return Ok(Published::Gone);
        };
        let (to, mut held) = (from.settled(), self.held());
        let there = held.settled(&to).ok().map(|blob| blob.binding.clone());
        if there.as_ref() == Some(binding) {
            return Ok(Published::Done);
        }
        if held.staged.get(&file).is_none_or(|blob| blob.binding != *binding) {
            return Ok(Published::Gone);
        }
        if there.is_some() && matches!(to.location, Location::Own(_)) {
            return Err(Error::Changed);
        }
        let Held { buckets, staged, .. } = &mut *held;
        let names = buckets.get_mut(&to.object.bucket).ok_or(Error::NoSuchBucket)?;
        staged.remove(&file).into_iter().for_each(|blob| names.add(&to, blob));
        Ok(Published::Done)
    }

    async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        let mut held = self.held();
        match at.location {
            Location::Staged(file) => held.give_up(file, only),
            Location::OwnStaged(file, _) => {
                held.give_up(file, only);
                held.remove(&at.settled(), only);
            }
            _ => held.remove(at, only),
        }
        Ok(())
    }

    async fn harden(&self, _moved: &[Place]) -> Result<()> {
        Ok(())
    }

    async fn release(&self, staged: &Place) {
        match staged.location {
            Location::Moving(write) => {
                let only = Binding::Tag(write.to_string());
                self.held().remove(staged, &only);
            }
            _ => drop(staged.location.staged().map(|file| self.held().staged.remove(&file))),
        }
    }

    async fn recover(&self, keep: &[Place]) -> Result<()> {
        let keep: HashSet<_> = keep.iter().filter_map(|place| place.location.staged()).collect();
        self.held().staged.retain(|file, _| keep.contains(file));
        Ok(())
    }

    async fn start_upload(&self, _to: &ObjectId, write: WriteId, _attributes: Attributes) -> Result<String> {
        if !self.names {
            return Ok(String::new());
        }
        self.held().uploads.insert(write, BTreeMap::new());
        Ok(write.to_string())
    }

    async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        let bytes = receive(body, &put).await?;
        if !self.names {
            return Ok(self.stage(bytes, &put));
        }
        let part = Blob::marked(put.write, bytes, &put);
        let (binding, size) = (part.binding.clone(), part.bytes.len() as u64);
        let mut held = self.held();
        held.uploads.get_mut(&upload.write).ok_or(Error::NotFound)?.insert(number, part);
        Ok(Kept { location: Location::Part, binding, size })
    }

    async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        self.held().uploads.remove(&upload.write);
        self.release(&Place { object: upload.object.clone(), location: Location::Moving(upload.write) }).await;
        Ok(())
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
        if self.names {
            return self.held().complete(upload, parts, &put);
        }
        let mut all = BytesMut::new();
        for part in parts {
            let at = Place { object: upload.object.clone(), location: part.kept.location.clone() };
            all.extend_from_slice(&self.held().find(&at, Some(&part.kept.binding))?.bytes);
        }
        Ok(self.stage(all.freeze(), &put))
    }

    fn list<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<Found>> {
        let from = after.map_or(Unbounded, |key| Excluded(key.clone()));
        let found: Vec<_> = match self.held().bucket(bucket) {
            Ok(names) => names.plain.range((from, Unbounded)).map(|(key, blob)| Ok(blob.found(key))).collect(),
            Err(err) => vec![Err(err)],
        };
        stream::iter(found).boxed()
    }

    fn list_own<'a>(&'a self, bucket: &BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>> {
        let from = after.map_or(Unbounded, Excluded);
        let own = |((key, write), blob): (&(Key, WriteId), &Blob)| Ok(FoundOwn { found: blob.found(key), write: *write });
        let found: Vec<_> = match self.held().bucket(bucket) {
            Ok(names) => names.own.range((from, Unbounded)).map(own).collect(),
            Err(err) => vec![Err(err)],
        };
        stream::iter(found).boxed()
    }

    async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        self.held().buckets.entry(bucket.clone()).or_default();
        Ok(())
    }

    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        let mut held = self.held();
        if let Some(names) = held.buckets.get(bucket) {
            let own = names.own.keys().map(|(key, write)| format!("{key}@{write}"));
            if let Some(name) = names.plain.keys().map(Key::to_string).chain(own).next() {
                return Err(Error::NotEmpty(name));
            }
        }
        held.buckets.remove(bucket);
        Ok(())
    }

    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        Ok(self.held().buckets.keys().cloned().collect())
    }

    async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        super::check_note(name, bytes.len())?;
        self.held().notes.insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn read_note(&self, name: &str) -> Result<Bytes> {
        super::check_note(name, 0)?;
        self.held().notes.get(name).cloned().ok_or(Error::NotFound)
    }

    async fn list_notes(&self) -> Result<Vec<String>> {
        Ok(self.held().notes.keys().cloned().collect())
    }

    async fn remove_note(&self, name: &str) -> Result<()> {
        super::check_note(name, 0)?;
        self.held().notes.remove(name);
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    crate::backend::conformance::passes_conformance!((Arc::new(Memory::new()), ()));

    mod naming {
        use super::*;

        crate::backend::conformance::passes_naming_conformance!((Arc::new(Memory::naming()), ()));
    }
}
