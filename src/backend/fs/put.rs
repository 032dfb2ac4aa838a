//! A body becomes a staging file: bytes, length, mtime, fsync. No directory is touched.
//!
//! A small body is gathered in memory and costs one hop to a blocking thread. A larger one is written a buffer at a time
//! while the next one fills: two buffers a stream, however large the object.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::task::JoinHandle;

use super::error::Doing;
use super::pool::{SMALL_BYTES_MAX, Taken};
use super::{Core, binding_of, blocking};
use crate::backend::body::check_size;
use crate::backend::{Body, BodyError, Error, Kept, PutOptions, Result};
use crate::model::{Binding, Location};

/// Bytes written with one call.
const BUFFER_BYTES: usize = 512 * 1024;

/// From this announced size on, room is taken before the first byte is received.
const RESERVE_BYTES_MIN: u64 = 1024 * 1024;

pub(super) async fn put(core: &Arc<Core>, mut body: Body, put: PutOptions) -> Result<Kept> {
    let announced = put.size.or(body.size);
    let head = match announced {
        Some(size) if size > SMALL_BYTES_MAX => Vec::new(),
        _ => gather(&mut body).await?,
    };
    let size: usize = head.iter().map(Bytes::len).sum();
    if announced.is_none_or(|size| size <= SMALL_BYTES_MAX) && size as u64 <= SMALL_BYTES_MAX {
        check_size(announced, size as u64)?;
        return put_small(core, head, put).await;
    }
    put_large(core, head, body, PutOptions { size: announced, ..put }).await
}

/// The body, or its beginning: what exceeds [`SMALL_BYTES_MAX`] is a larger one.
async fn gather(body: &mut Body) -> Result<Vec<Bytes>> {
    let (mut chunks, mut size) = (Vec::new(), 0);
    while size <= SMALL_BYTES_MAX
        && let Some(chunk) = body.stream.next().await
    {
        let chunk = chunk?;
        size += chunk.len() as u64;
        chunks.push(chunk);
    }
    Ok(chunks)
}

async fn put_small(core: &Arc<Core>, chunks: Vec<Bytes>, put: PutOptions) -> Result<Kept> {
    let bytes = match <[Bytes; 1]>::try_from(chunks) {
        Ok([only]) => only,
        Err(several) => {
            let mut bytes = BytesMut::with_capacity(several.iter().map(Bytes::len).sum());
            several.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
            bytes.freeze()
        }
    };
    let shared = core.clone();
    let sealed = core.putting.run(move || {
        shared.room.take(&shared.root, bytes.len() as u64)?;
        let taken = shared.pool.take()?;
        taken.node.write_at(&bytes, 0).doing("writing a staging file")?;
        shared.seal(taken, bytes.len() as u64, &put)
    });
    Ok(sealed.await??.keep())
}

async fn put_large(core: &Arc<Core>, head: Vec<Bytes>, mut body: Body, put: PutOptions) -> Result<Kept> {
    let mut sink = Sink::open(core, put.size);
    for chunk in head {
        sink.write(chunk).await?;
    }
    while let Some(chunk) = body.stream.next().await {
        sink.write(chunk?).await?;
    }
    sink.finish(put).await
}

/// A staging file with its final bytes, length and mtime, synced.
#[derive(Debug)]
pub(super) struct Sealed {
    taken: Taken,
    binding: Binding,
    size: u64,
}

impl Sealed {
    /// Hands it to the caller. Until then dropping it gives the file back: a client may go away at any await.
    pub fn keep(self) -> Kept {
        Kept { location: Location::Staged(self.taken.keep()), binding: self.binding, size: self.size }
    }
}

impl Core {
    /// Takes room for a whole body.
    fn reserve(&self, taken: &Taken, size: u64) -> Result<()> {
        let _promise = self.room.promise(&self.root, size)?;
        let reserved = taken.node.reserve(size);
        if reserved.is_err() {
            // It may keep what it got, and the file is not removed at once.
            let _ = taken.node.set_len(0);
        }
        reserved.doing("taking room for the body")
    }

    /// Cuts the file to size, sets its mtime and makes both durable with its bytes. fdatasync would not owe the mtime.
    pub fn seal(&self, taken: Taken, size: u64, put: &PutOptions) -> Result<Sealed> {
        let node = &taken.node;
        if node.stat().doing("looking at a staging file")?.size != size {
            node.set_len(size).doing("cutting a staging file")?;
        }
        node.set_modified(self.mtime_ns(put.modified_ms)).doing("dating a staging file")?;
        self.sync(node).doing("syncing a staging file")?;
        let stat = node.stat().doing("looking at a staging file")?;
        Ok(Sealed { binding: binding_of(&stat), size, taken })
    }
}

/// A write that runs, and gives back the file and the buffer.
type Writing = JoinHandle<Result<(Taken, Vec<u8>)>>;

/// A larger body on its way in.
struct Sink {
    core: Arc<Core>,
    filling: Vec<u8>,
    writing: Option<Writing>,
    /// Bytes handed to writes so far.
    written: u64,
    announced: Option<u64>,
    /// Whether room for all of it was taken before the first byte.
    reserved: bool,
}

impl Sink {
    fn open(core: &Arc<Core>, announced: Option<u64>) -> Self {
        let reserve = announced.filter(|size| *size >= RESERVE_BYTES_MIN);
        let shared = core.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let taken = shared.pool.take()?;
            if let Some(size) = reserve {
                shared.reserve(&taken, size)?;
            }
            Ok((taken, Vec::with_capacity(BUFFER_BYTES)))
        });
        Self {
            core: core.clone(),
            filling: Vec::with_capacity(BUFFER_BYTES),
            writing: Some(writing),
            written: 0,
            announced,
            reserved: reserve.is_some(),
        }
    }

    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        let received = self.written + (self.filling.len() + chunk.len()) as u64;
        if let Some(announced) = self.announced.filter(|announced| received > *announced) {
            let what = format!("{announced} bytes were announced, at least {received} came");
            return Err(BodyError::Truncated(what).into());
        }
        while !chunk.is_empty() {
            let room = BUFFER_BYTES - self.filling.len();
            self.filling.extend_from_slice(&chunk.split_to(room.min(chunk.len())));
            if self.filling.len() == BUFFER_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Writes what was filled while the next buffer fills, once the write before is done.
    async fn flush(&mut self) -> Result<()> {
        let (taken, spare) = self.written().await?;
        let full = std::mem::replace(&mut self.filling, spare);
        let offset = self.written;
        self.written += full.len() as u64;
        let (core, reserved) = (self.core.clone(), self.reserved);
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if !reserved {
                core.room.take(&core.root, full.len() as u64)?;
            }
            taken.node.write_at(&full, offset).doing("writing a staging file")?;
            // The disk works while the client still sends, so that the fsync at the end is short.
            taken.node.start_writeback(offset, full.len() as u64);
            let mut spare = full;
            spare.clear();
            Ok((taken, spare))
        }));
        Ok(())
    }

    async fn written(&mut self) -> Result<(Taken, Vec<u8>)> {
        let Some(writing) = self.writing.take() else {
            return Err(Error::Unavailable("a write failed before".to_owned()));
        };
        match writing.await {
            Ok(done) => done,
            Err(err) => Err(Error::Unavailable(format!("a write was cut off: {err}"))),
        }
    }

    async fn finish(mut self, put: PutOptions) -> Result<Kept> {
        let size = self.written + self.filling.len() as u64;
        check_size(self.announced, size)?;
        let (taken, _) = self.written().await?;
        let (rest, offset, reserved) = (std::mem::take(&mut self.filling), self.written, self.reserved);
        let sealed = blocking(&self.core, move |core| {
            if !reserved {
                core.room.take(&core.root, rest.len() as u64)?;
            }
            taken.node.write_at(&rest, offset).doing("writing a staging file")?;
            core.seal(taken, size, &put)
        });
        Ok(sealed.await?.keep())
    }
}
