//! What waits here, as if the service had it.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, Peekable, StreamExt};

use super::file::Name;
use super::index::{Found, Refused};
use super::{Buffer, Claim, blocking, file};
use crate::backend::service::Service;
use crate::backend::service::mark::{binding_of, changed_ms};
use crate::backend::service::store::Core;
use crate::backend::{self, Body, BodyError, Error, Fetched, FoundOwn, GetOptions, Place, Published, Result};
use crate::model::{Binding, BucketName, Described, Location, ObjectId, WriteId};

/// Bytes read from a file at once.
const CHUNK_BYTES: u64 = 256 << 10;

impl Buffer {
    fn waits(&self, at: &Place) -> Option<Found> {
        let (Location::Own(write) | Location::Moving(write)) = at.location else { return None };
        self.index.find(&at.object, write)
    }

    /// Opens a write; `None` where it went meanwhile. Never rotten bytes as a whole.
    async fn read(&self, found: &Found, range: Range<u64>) -> Result<Option<Body>> {
        let (path, slip) = (self.path_of(&found.slip.name()), found.slip.clone());
        let is_whole = range == (0..slip.size);
        // A whole read is checked as it goes.
        let to_check = !is_whole && !found.is_checked;
        let opened = blocking(move || -> io::Result<_> {
            let file = File::open(path)?;
            let is_sound = !to_check || file::is_sound(&file, &slip)?;
            Ok((file, is_sound))
        });
        let file = match opened.await {
            Ok((file, true)) => file,
            Ok((_, false)) => {
                return Err(Error::Io { context: self.settings.path.display().to_string(), source: io::Error::other(ROTTEN) });
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(self.refused(&err)),
        };
        if to_check {
            self.index.note_checked(&found.slip.name());
        }
        let crc = is_whole.then(|| (file::digest(), found.slip.crc64));
        let size = range.end - range.start;
        let reading = Reading { file: Arc::new(file), range, crc };
        Ok(Some(Body::new(Some(size), stream::try_unfold(reading, Reading::next))))
    }
}

const ROTTEN: &str = "the buffered bytes do not have their checksum";

/// A file as far as it is read.
struct Reading {
    file: Arc<File>,
    /// What is still to come.
    range: Range<u64>,
    /// What was read so far, and what it is to be in the end. `None` where only some is read.
    crc: Option<(crc_fast::Digest, u64)>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BodyError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let (at, size) = (self.range.start, CHUNK_BYTES.min(self.range.end - self.range.start));
        let file = self.file.clone();
        let read = blocking(move || {
            let mut chunk = vec![0; usize::try_from(size).expect("a chunk fits in memory")];
            file.read_exact_at(&mut chunk, at).map(|()| chunk)
        });
        let chunk = Bytes::from(read.await.map_err(|err| BodyError::Read(format!("reading the buffer failed: {err}")))?);
        self.range.start += size;
        if let Some((digest, _)) = &mut self.crc {
            digest.update(&chunk);
        }
        // Before the last is handed out.
        if self.range.is_empty()
            && let Some((digest, crc64)) = self.crc.take()
            && digest.finalize() != crc64
        {
            return Err(BodyError::Read(ROTTEN.to_owned()));
        }
        Ok(Some((chunk, self)))
    }
}

impl Found {
    fn found(&self) -> backend::Found {
        let slip = &self.slip;
        backend::Found {
            key: slip.object.key.clone(),
            binding: binding_of(slip.write),
            size: slip.size,
            modified_ms: slip.modified_ms,
            changed_ms: Some(changed_ms(self.came_ms)),
            label: slip.attributes.label.clone(),
            described: Some(Box::new(Described::unordered(slip.attributes.headers.clone(), slip.attributes.metadata.clone()))),
            etag: None,
        }
    }
}

impl<S: Service> Core<S> {
    fn waits(&self, at: &Place) -> Option<(&Arc<Buffer>, Found)> {
        let buffer = self.buffer()?;
        buffer.waits(at).map(|found| (buffer, found))
    }

    pub(in crate::backend::service) fn is_buffered(&self, at: &Place) -> bool {
        self.waits(at).is_some()
    }

    /// The same as a look at the service; `None` where it does not wait here.
    pub(in crate::backend::service) fn look_here(&self, at: &Place) -> Option<backend::Found> {
        self.waits(at).map(|(_, found)| found.found())
    }

    /// Opens bytes that wait here. `None`: they do not.
    pub(in crate::backend::service) async fn get_here(&self, at: &Place, get: &GetOptions) -> Result<Option<Fetched>> {
        let Some((buffer, waiting)) = self.waits(at) else { return Ok(None) };
        let found = waiting.found();
        let range = get.range.clone().unwrap_or(0..found.size);
        if get.expect.as_ref().is_some_and(|expect| *expect != found.binding) || range.end > found.size {
            return Err(Error::Changed);
        }
        let body = if range.is_empty() { Some(Body::empty()) } else { buffer.read(&waiting, range).await? };
        Ok(body.map(|body| Fetched { found, body }))
    }

    /// What [`publish`](Self::publish) is to say of bytes that wait here; `None` where they do not, or not any more.
    pub(in crate::backend::service) async fn publish_here(&self, from: &Place, binding: &Binding) -> Option<Result<Published>> {
        let (buffer, waiting) = self.waits(from).filter(|(_, waiting)| binding_of(waiting.slip.write) == *binding)?;
        match from.location {
            Location::Own(_) => return Some(Ok(Published::Done)),
            _ if !self.has_plain(&from.object.key) => return Some(Ok(Published::Stays)),
            _ if waiting.refused.is_none() && self.calls.is_well() => self.carry_soon(buffer, &waiting.slip.name()).await,
            // Whoever waits keeps others from their turn.
            _ => {}
        }
        // Whoever knows that the bucket is to be there makes it.
        let is_bucket_missing = self.waits(from)?.1.refused == Some(Refused::NoSuchBucket);
        Some(if is_bucket_missing { Err(Error::NoSuchBucket) } else { Ok(Published::Waits) })
    }

    /// Carries a write at once, or waits a moment for whoever carries it.
    async fn carry_soon(&self, buffer: &Arc<Buffer>, name: &Name) {
        match buffer.take(name) {
            Some(load) => self.carry(load).await,
            None => {
                buffer.index.until(|| !buffer.index.is_claimed(name)).await;
            }
        }
    }

    /// Takes a write from here, if it waits here. Who gets it removes it from the service, too.
    pub(in crate::backend::service) async fn forget_here(&self, object: &ObjectId, write: WriteId) -> Result<Option<Claim>> {
        match self.buffer() {
            Some(buffer) => buffer.forget(object, write).await,
            None => Ok(None),
        }
    }

    /// Something of a bucket that waits here.
    pub(in crate::backend::service) fn waits_for_bucket(&self, bucket: &BucketName) -> Option<ObjectId> {
        self.buffer()?.index.of_bucket(bucket).pop().map(|found| found.slip.object)
    }

    /// A bucket is there now.
    pub(in crate::backend::service) fn note_bucket(&self, bucket: &BucketName) {
        if let Some(buffer) = self.buffer() {
            buffer.index.hurry(bucket);
            buffer.arrived.notify_one();
        }
    }

    /// A listing of own names, and what waits here behind `after` among it: each once, in the order of their names. What is carried
    /// meanwhile is in both.
    pub(in crate::backend::service) fn with_waiting(
        self: &Arc<Self>,
        bucket: &BucketName,
        after: Option<&str>,
        listing: BoxStream<'static, Result<FoundOwn>>,
    ) -> BoxStream<'static, Result<FoundOwn>> {
        let Some(buffer) = self.buffer() else { return listing };
        let waiting = buffer.index.of_bucket(bucket).into_iter().map(|found| {
            let write = found.slip.write;
            (self.own(&found.slip.object, write).name, FoundOwn { found: found.found(), write })
        });
        let is_behind = |name: &str| after.is_none_or(|after| self.nature.order(name, after).is_gt());
        let mut waiting: Vec<_> = waiting.filter(|(name, _)| is_behind(name)).collect();
        waiting.sort_by(|(a, _), (b, _)| self.nature.order(a, b));
        let waiting = VecDeque::from(waiting);
        let merging = Merging { core: self.clone(), bucket: bucket.clone(), waiting, listing: listing.peekable() };
        stream::unfold(merging, Merging::next).boxed()
    }
}

/// Two listings as one.
struct Merging<S> {
    core: Arc<Core<S>>,
    bucket: BucketName,
    /// By their names, in the service's order of those.
    waiting: VecDeque<(String, FoundOwn)>,
    listing: Peekable<BoxStream<'static, Result<FoundOwn>>>,
}

impl<S: Service> Merging<S> {
    async fn next(mut self) -> Option<(Result<FoundOwn>, Self)> {
        let listed = match std::pin::Pin::new(&mut self.listing).peek().await {
            Some(Ok(own)) => {
                let object = ObjectId { bucket: self.bucket.clone(), key: own.found.key.clone() };
                Some(self.core.own(&object, own.write).name)
            }
            Some(Err(_)) => return self.listing.next().await.map(|err| (err, self)),
            None => None,
        };
        let order = |name: &str| listed.as_ref().map_or(Ordering::Less, |listed| self.core.nature.order(name, listed));
        match self.waiting.front().map(|(name, _)| order(name)) {
            Some(Ordering::Less) => return self.waiting.pop_front().map(|(_, own)| (Ok(own), self)),
            Some(Ordering::Equal) => drop(self.waiting.pop_front()),
            Some(Ordering::Greater) | None => {}
        }
        self.listing.next().await.map(|own| (own, self))
    }
}
