//! What a site must show: the outcome of the operations that happened, kept beside it in plain maps.

use std::collections::BTreeMap;

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::model::{ETag, Stamp};

/// An operation of a scripted history. Uploads are named by a number of the script's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    CreateBucket,
    DeleteBucket,
    /// A key and how many bytes.
    Put(&'static str, usize),
    /// From one key to another.
    Copy(&'static str, &'static str),
    Delete(&'static str),
    Tag(&'static str),
    Start(usize, &'static str),
    /// Upload, part number, bytes.
    Part(usize, u16, usize),
    Complete(usize),
    Abort(usize),
    Settle,
}

/// An object as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub bytes: Bytes,
    pub etag: ETag,
    /// 0 for an object of a single PUT.
    pub parts: usize,
    pub tags: Vec<(String, String)>,
    /// Unknown where no answer came.
    pub stamp: Option<Stamp>,
}

/// An unfinished upload: parts by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub key: String,
    pub parts: BTreeMap<u16, Bytes>,
}

/// Everything in the one bucket there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    pub bucket: bool,
    pub objects: BTreeMap<String, Object>,
    pub uploads: BTreeMap<usize, Upload>,
}

/// The bytes of the nth operation: no two operations write the same.
pub fn bytes(n: usize, size: usize) -> Bytes {
    let mut text = format!("{n:015}\n").repeat(size / 16 + 1);
    text.truncate(size);
    text.into()
}

/// The tags that the nth operation sets.
pub fn tags(n: usize) -> Vec<(String, String)> {
    vec![("operation".into(), n.to_string())]
}

pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

impl World {
    /// What is after the nth operation. One that names what is not there changes nothing.
    pub fn apply(&mut self, op: Op, n: usize) {
        match op {
            Op::CreateBucket => self.bucket = true,
            Op::DeleteBucket => *self = Self::default(),
            Op::Put(key, size) => self.put(key, single(bytes(n, size))),
            Op::Copy(from, to) => {
                if let Some(source) = self.objects.get(from).cloned() {
                    self.put(to, Object { stamp: None, ..source });
                }
            }
            Op::Delete(key) => drop(self.objects.remove(key)),
            Op::Tag(key) => drop(self.objects.get_mut(key).map(|object| object.tags = tags(n))),
            Op::Start(upload, key) => {
                self.uploads.insert(upload, Upload { key: key.into(), parts: BTreeMap::new() });
            }
            Op::Part(upload, number, size) => {
                self.uploads.get_mut(&upload).map(|upload| upload.parts.insert(number, bytes(n, size)));
            }
            Op::Complete(upload) => {
                if let Some(upload) = self.uploads.remove(&upload) {
                    self.objects.insert(upload.key.clone(), upload.object());
                }
            }
            Op::Abort(upload) => drop(self.uploads.remove(&upload)),
            Op::Settle => {}
        }
    }

    fn put(&mut self, key: &str, object: Object) {
        self.objects.insert(key.into(), object);
    }

    /// Every world that these operations may have left, each done or not.
    pub fn possible(&self, doubtful: &[(usize, Op)]) -> Vec<Self> {
        let mut worlds = vec![self.clone()];
        for (n, op) in doubtful {
            for mut world in worlds.clone() {
                if *op == Op::DeleteBucket {
                    worlds.extend(world.without_some_uploads());
                }
                world.apply(*op, *n);
                worlds.push(world);
            }
        }
        worlds
    }

    /// Deleting a bucket gives up its uploads one by one.
    fn without_some_uploads(&self) -> Vec<Self> {
        (1_u32..1 << self.uploads.len())
            .map(|gone| {
                let mut world = self.clone();
                let numbered = self.uploads.keys().enumerate();
                numbered.filter(|(n, _)| gone >> n & 1 == 1).for_each(|(_, upload)| drop(world.uploads.remove(upload)));
                world
            })
            .collect()
    }

    /// Whether what was seen is this world. Stamps and uploads without an answer have names that nobody knows.
    pub fn shows(&self, seen: &Self) -> bool {
        let same = |(one, other): (&Object, &Object)| {
            one.stamp.is_none_or(|stamp| other.stamp == Some(stamp)) && Object { stamp: other.stamp, ..one.clone() } == *other
        };
        self.bucket == seen.bucket
            && self.objects.keys().eq(seen.objects.keys())
            && self.objects.values().zip(seen.objects.values()).all(same)
            && self.uploads_sorted() == seen.uploads_sorted()
    }

    fn uploads_sorted(&self) -> Vec<(&String, &BTreeMap<u16, Bytes>)> {
        let mut uploads: Vec<_> = self.uploads.values().map(|upload| (&upload.key, &upload.parts)).collect();
        uploads.sort();
        uploads
    }

    /// Keys, ETags and sizes: what a failure prints.
    pub fn outline(&self) -> String {
        let object = |(key, object): (&String, &Object)| {
            format!("{key}={}/{}B/{:?}/{:?}", object.etag, object.bytes.len(), object.tags, object.stamp)
        };
        let upload =
            |upload: &Upload| format!("{}{:?}", upload.key, upload.parts.iter().map(|(n, b)| (*n, b.len())).collect::<Vec<_>>());
        let objects: Vec<_> = self.objects.iter().map(object).collect();
        let uploads: Vec<_> = self.uploads.values().map(upload).collect();
        format!("bucket {}, objects [{}], uploads {uploads:?}", self.bucket, objects.join(", "))
    }
}

fn single(bytes: Bytes) -> Object {
    Object { etag: ETag::of_md5(md5(&bytes)), bytes, parts: 0, tags: Vec::new(), stamp: None }
}

impl Upload {
    /// Every part but the last has at least 5 MiB.
    pub fn can_be_completed(&self) -> bool {
        self.parts.values().rev().skip(1).all(|part| part.len() >= 5 << 20) && !self.parts.is_empty()
    }

    fn object(&self) -> Object {
        let md5s: Vec<u8> = self.parts.values().flat_map(|part| md5(part)).collect();
        let bytes: Vec<u8> = self.parts.values().flatten().copied().collect();
        let etag = ETag::of_parts(md5(&md5s), self.parts.len());
        Object { bytes: bytes.into(), etag, parts: self.parts.len(), tags: Vec::new(), stamp: None }
    }
}
