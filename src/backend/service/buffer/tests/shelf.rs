//! A service in memory that is down, slow or unwilling when a test wants it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::backend::Capability;
use crate::backend::service::{
    Answer, Cursor, Fault, Limits, Listed, Only, Opened, Outgoing, Page, PartAt, Service, Spot, Target, Told, UploadAt,
};
use crate::model::Described;

/// How the service feels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    /// No answer comes.
    Down,
    /// Each call takes so long.
    Slow(Duration),
    /// Nothing is stored: the request is bad.
    Unwilling,
    /// It has no room.
    Busy,
}

type Objects = BTreeMap<String, (Bytes, Target)>;

#[derive(Debug, Default)]
pub struct World {
    pub buckets: BTreeMap<String, Objects>,
    pub mood: Mood,
    /// Calls that stored something.
    pub puts: usize,
}

/// The service. What it holds outlives whoever opened it.
#[derive(Clone, Debug)]
pub struct Shelf {
    world: Arc<Mutex<World>>,
    /// Each call that stores something takes one, and waits for it.
    pub leave: Arc<Semaphore>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { world: Arc::default(), leave: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)) }
    }
}

fn fault(status: u16, code: &str) -> Fault {
    Fault { doing: "being tested", status: Some(status), code: code.to_owned(), detail: String::new() }
}

impl Shelf {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn feels(&self, mood: Mood) {
        self.world().mood = mood;
    }

    /// What is under names of writes' own: the bytes of each.
    pub fn owned(&self) -> Vec<Bytes> {
        let world = self.world();
        let all = world.buckets.values().flatten().filter(|(name, _)| name.contains("/v/"));
        all.map(|(_, (bytes, _))| bytes.clone()).collect()
    }

    async fn answers(&self) -> Answer<()> {
        let mood = self.world().mood;
        match mood {
            Mood::Down => Err(Fault::late("being tested")),
            Mood::Slow(time) => {
                sleep(time).await;
                Ok(())
            }
            Mood::Well | Mood::Unwilling | Mood::Busy => Ok(()),
        }
    }

    async fn store(&self, to: &Target, bytes: Bytes) -> Answer<()> {
        self.answers().await?;
        self.leave.acquire().await.unwrap().forget();
        let mut world = self.world();
        match world.mood {
            Mood::Unwilling => return Err(fault(400, "InvalidRequest")),
            Mood::Busy => return Err(fault(503, "SlowDown")),
            _ => {}
        }
        let objects = world.buckets.get_mut(&to.spot.bucket).ok_or_else(|| fault(404, "NoSuchBucket"))?;
        objects.insert(to.spot.name.clone(), (bytes, to.clone()));
        world.puts += 1;
        Ok(())
    }

    async fn read(&self, at: &Spot) -> Answer<(Bytes, Told)> {
        self.answers().await?;
        let world = self.world();
        let objects = world.buckets.get(&at.bucket).ok_or_else(|| fault(404, "NoSuchBucket"))?;
        let (bytes, Target { metadata, headers, .. }) = objects.get(&at.name).ok_or_else(|| fault(404, "NoSuchKey"))?;
        let told = Told::new(Some(metadata), Some("x"), Some(1_000), bytes.len() as u64);
        Ok((bytes.clone(), told.described(Described::unordered(headers.clone(), metadata.clone()))))
    }
}

#[async_trait]
impl Service for Shelf {
    fn kind(&self) -> &'static str {
        "shelf"
    }

    fn limits(&self) -> Limits {
        Limits { put_bytes_max: 64 << 20 }
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn capabilities(&self) -> Vec<Capability> {
        Vec::new()
    }

    fn is_odd(&self, _name: &str) -> bool {
        false
    }

    fn forget_keys(&self) {}

    async fn put(&self, to: &Target, bytes: Bytes) -> Answer<()> {
        self.store(to, bytes).await
    }

    async fn put_streamed(&self, to: &Target, body: Outgoing) -> Answer<()> {
        self.answers().await?;
        let whole = body.collect().await.map_err(|err| Fault::broken("being tested", None, &err))?;
        self.store(to, whole.to_bytes()).await
    }

    async fn look(&self, at: &Spot) -> Answer<Told> {
        Ok(self.read(at).await?.1)
    }

    async fn open(&self, at: &Spot, range: Option<&Range<u64>>) -> Answer<Opened> {
        let (bytes, told) = self.read(at).await?;
        let range = range.cloned().unwrap_or(0..told.size);
        let chunk = bytes.slice(range.start as usize..range.end.min(told.size) as usize);
        Ok(Opened { told, first: range.start, stream: stream::iter([Ok(chunk)]).boxed() })
    }

    async fn copy(&self, from: &Spot, _seen: &Told, to: &Target, _only: Only<'_>) -> Answer<()> {
        let (bytes, _) = self.read(from).await?;
        self.store(to, bytes).await
    }

    async fn remove(&self, at: &Spot, _only: Only<'_>) -> Answer<()> {
        self.answers().await?;
        self.world().buckets.get_mut(&at.bucket).ok_or_else(|| fault(404, "NoSuchBucket"))?.remove(&at.name);
        Ok(())
    }

    async fn page(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page> {
        self.answers().await?;
        let world = self.world();
        let objects = world.buckets.get(bucket).ok_or_else(|| fault(404, "NoSuchBucket"))?;
        let behind = match from {
            Cursor::Behind(name) => name.as_str(),
            Cursor::Start | Cursor::Next(_) => "",
        };
        let names = objects.iter().filter(|(name, _)| name.starts_with(prefix) && name.as_str() > behind);
        let listed = |(name, (bytes, _)): (&String, &(Bytes, Target))| Listed {
            name: name.clone(),
            told: None,
            size: bytes.len() as u64,
            stored_ms: Some(1_000),
        };
        Ok(Page { listed: names.map(listed).collect(), next: None })
    }

    async fn start_upload(&self, _to: &Target) -> Answer<String> {
        Err(fault(501, "NotImplemented"))
    }

    async fn put_part(&self, _upload: &UploadAt, _number: u16, _bytes: Bytes) -> Answer<String> {
        Err(fault(501, "NotImplemented"))
    }

    async fn put_part_streamed(&self, _upload: &UploadAt, _number: u16, _body: Outgoing) -> Answer<String> {
        Err(fault(501, "NotImplemented"))
    }

    async fn complete_upload(&self, _upload: &UploadAt, _parts: &[PartAt]) -> Answer<()> {
        Err(fault(501, "NotImplemented"))
    }

    async fn abort_upload(&self, _upload: &UploadAt) -> Answer<()> {
        Ok(())
    }

    async fn make_bucket(&self, bucket: &str) -> Answer<()> {
        self.answers().await?;
        self.world().buckets.entry(bucket.to_owned()).or_default();
        Ok(())
    }

    async fn look_at_bucket(&self, bucket: &str) -> Answer<()> {
        self.answers().await?;
        self.world().buckets.contains_key(bucket).then_some(()).ok_or_else(|| fault(404, "NoSuchBucket"))
    }

    async fn remove_bucket(&self, bucket: &str) -> Answer<()> {
        self.answers().await?;
        self.world().buckets.remove(bucket).map(drop).ok_or_else(|| fault(404, "NoSuchBucket"))
    }

    async fn buckets(&self) -> Answer<Vec<String>> {
        self.answers().await?;
        Ok(self.world().buckets.keys().cloned().collect())
    }
}
