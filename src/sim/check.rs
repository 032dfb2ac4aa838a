//! Looks at a site through every way of looking, and compares with what it must show.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use futures::TryStreamExt;

use super::machine::Process;
use super::player::{Known, Player};
use super::world::{Object, Upload, World, bytes};
use crate::backend::{Backend, Found};
use crate::model::{ETag, Location, ObjectId, Parts, StagingFile, State};
use crate::site::testing::object;
use crate::site::*;
use crate::status::tables::{Graves, Objects, PartMaps, Settle, UploadParts};
use crate::status::{ListQuery, Table};

/// Rows of a table that a small world cannot have.
const ROWS_MAX: usize = 1_000;

/// What clients of the site see, by listing, reading and asking for headers.
pub async fn look(process: &Process, keys: &BTreeSet<String>) -> World {
    let site = &process.site;
    let bucket = object("-").bucket;
    let listed: Vec<_> = site.buckets().await.unwrap().into_iter().map(|info| info.name).collect();
    let mut world = World { bucket: listed.contains(&bucket), ..World::default() };
    if !world.bucket {
        let none = site.get(&object("a"), None, Selection::All, &ReadConditions::default()).await;
        assert!(matches!(none, Err(Error::NoSuchBucket)), "a key in a bucket that is not there: {none:?}");
        return world;
    }
    for key in keys {
        if let Some(found) = read(site, key).await {
            world.objects.insert(key.clone(), found);
        }
    }
    let listed: BTreeMap<_, _> = list(site).await.into_iter().collect();
    let read: BTreeMap<_, _> = world.objects.iter().map(|(key, object)| (key.clone(), object.etag.clone())).collect();
    assert_eq!(listed, read, "what is listed is what is read");
    for (n, upload) in uploads(site).await.into_iter().enumerate() {
        world.uploads.insert(n, upload);
    }
    let counters = site.counters();
    let unusual = [&counters.lost, &counters.adopted, &counters.rotten].map(|counter| counter.load(Ordering::Relaxed));
    assert_eq!(unusual, [0; 3], "bytes were lost, adopted or rotten");
    world
}

async fn read(site: &Site, key: &str) -> Option<Object> {
    let (id, none) = (object(key), ReadConditions::default());
    let head = site.head(&id, None, Selection::All, &none).await;
    let opened = match site.get(&id, None, Selection::All, &none).await {
        Ok(opened) => opened,
        Err(Error::NoSuchKey) => {
            assert!(matches!(head, Err(Error::NoSuchKey)), "{key} has a HEAD and no GET");
            return None;
        }
        Err(err) => panic!("{key} cannot be read: {err}"),
    };
    let stored = opened.seen.record.clone();
    assert_eq!(head.expect("what has a GET has a HEAD").record.row, stored.row, "HEAD and GET of {key}");
    let bytes = opened.body.collect(64 << 20).await.unwrap_or_else(|err| panic!("the body of {key}: {err}"));
    let identity = &stored.row.identity;
    assert_eq!(bytes.len() as u64, identity.size, "{key} has its size");
    assert_eq!(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &bytes), identity.crc64, "{key} has its checksum");
    let parts = match identity.parts {
        Parts::Single => {
            assert_eq!(ETag::of_md5(super::world::md5(&bytes)), identity.etag, "{key} has its ETag");
            0
        }
        Parts::Mapped { count } => usize::from(count),
    };
    let map = site.object_parts(&id, &stored.row, 0, 10_000).await.unwrap_or_else(|err| panic!("the parts of {key}: {err}"));
    assert_eq!(map.parts.len(), parts, "{key} has its part map");
    let (etag, tags) = (identity.etag.clone(), identity.tags.clone());
    Some(Object { bytes, etag, parts, tags, stamp: Some(stored.row.vector.data) })
}

/// Everything listed, by short pages.
async fn list(site: &Site) -> Vec<(String, ETag)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let bucket = object("-").bucket;
        let query = ListQuery { bucket, prefix: String::new(), delimiter: None, after, entries_max: 2 };
        let page = site.list(query).await.unwrap();
        for entry in &page.entries {
            let crate::status::ListEntry::Object { key, record } = entry else { panic!("nothing is rolled up") };
            all.push((key.clone(), record.row.identity.etag.clone()));
        }
        after = page.entries.last().map(|entry| entry.text().to_owned());
        if !page.more {
            return all;
        }
    }
}

async fn uploads(site: &Site) -> Vec<Upload> {
    let query = UploadsQuery { uploads_max: 1_000, ..Default::default() };
    let page = site.list_uploads(&object("-").bucket, query).await.unwrap();
    let mut uploads = Vec::new();
    for info in page.uploads {
        let parts = site.list_parts(&info.object, &info.upload_id, 0, 1_000).await.unwrap();
        let mut upload = Upload { key: info.object.key.to_string(), parts: BTreeMap::new() };
        for part in parts.parts {
            upload.parts.insert(part.number, part_bytes(&part));
        }
        uploads.push(upload);
    }
    uploads
}

/// The bytes that a part claims to have: those of the operation that has its ETag.
fn part_bytes(part: &PartInfo) -> bytes::Bytes {
    static KNOWN: Mutex<BTreeMap<(String, u64), usize>> = Mutex::new(BTreeMap::new());
    let size = usize::try_from(part.size).unwrap();
    let mut known = KNOWN.lock().unwrap();
    let n = *known.entry((part.etag.to_string(), part.size)).or_insert_with(|| {
        let sent = (0..64).find(|n| ETag::of_md5(super::world::md5(&bytes(*n, size))) == part.etag);
        sent.unwrap_or_else(|| panic!("a part that nobody sent: {part:?}"))
    });
    bytes(n, size)
}

/// The world seen must be one of those that are possible; answers which.
pub async fn honest(player: &Player, keys: &BTreeSet<String>) -> World {
    let Known { world, doubtful, .. } = &player.known;
    let seen = look(&player.process, keys).await;
    let possible = world.possible(doubtful);
    match possible.into_iter().find(|world| world.shows(&seen)) {
        // Uploads keep the numbers they have in the script.
        Some(world) => World { uploads: world.uploads, ..seen },
        None => panic!(
            "what is seen is what was acknowledged, or what was in doubt\nseen:         {}\nacknowledged: {}\nin doubt:     {doubtful:?}",
            seen.outline(),
            world.outline()
        ),
    }
}

/// Once everything is settled nothing is left over: no redo rows, no rows, files or staged bytes that nothing names.
pub async fn tidy(process: &Process, world: &World) {
    let Process { site, fs, .. } = process;
    let objects = rows::<Objects>(site).await;
    for (id, record) in &objects {
        assert_eq!((record.state, &record.location), (State::Present, &Location::Plain), "{id} is settled");
    }
    assert_eq!(rows::<Settle>(site).await, [], "no redo row is left");
    assert_eq!(rows::<PartMaps>(site).await.len(), world.objects.values().filter(|object| object.parts > 0).count(), "part maps");
    let buried: Vec<_> = rows::<Graves>(site).await.into_iter().map(|((id, _), _)| id).collect();
    assert!(objects.iter().all(|(id, _)| !buried.contains(id)), "no object has a grave");
    let mut bound: Vec<_> = objects.into_iter().map(|(id, record)| (id, record.binding)).collect();
    let mut stored = Vec::new();
    for bucket in fs.list_buckets().await.unwrap() {
        let found: Vec<Found> = fs.list(&bucket, None).try_collect().await.unwrap();
        stored.extend(found.into_iter().map(|found| (ObjectId { bucket: bucket.clone(), key: found.key }, found.binding)));
    }
    bound.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(stored, bound, "every file in the store is a record's");
    let parts = rows::<UploadParts>(site).await;
    assert_eq!(parts.len(), world.uploads.values().map(|upload| upload.parts.len()).sum::<usize>(), "rows of parts");
    let named = parts.iter().filter_map(|(_, part)| match part.location {
        Location::Staged(file) => Some(file),
        _ => None,
    });
    let (held, unknown) = fs.held();
    assert_eq!(held, named.collect::<HashSet<StagingFile>>(), "every staging file held is a part's");
    assert!(unknown.is_empty(), "staging files that leaked: {unknown:?}");
}

async fn rows<T: Table>(site: &Site) -> Vec<(T::Key, T::Row)> {
    let page = site.status().page::<T>(&(), None, ROWS_MAX).await.unwrap();
    assert!(!page.more);
    page.rows.into_iter().map(|(key, stored)| (key, stored.row)).collect()
}
