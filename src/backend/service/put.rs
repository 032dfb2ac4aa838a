//! Bytes on their way in: under the write's own name at once, in one call where their length is known.

use bytes::Bytes;

use super::body::{Outgoing, Pieces, SharedPieces, collect};
use super::mark::{Mark, binding_of};
use super::notes::gone;
use super::store::Core;
use super::uploads::Whole;
use super::{Answer, Service, Target};
use crate::backend::body::check_size;
use crate::backend::{Attributes, Body, Error, Kept, Place, PutOptions, Result};
use crate::model::{Key, Location, ObjectId, WriteId};

/// Up to here a body is held in memory: it can be sent again, and services check a checksum of it.
pub(super) const HELD_BYTES_MAX: u64 = 1 << 20;
/// Parts of a body of unknown length. One at a time is held in memory.
const PART_BYTES: usize = 16 << 20;
/// Parts an upload has at the most.
const PARTS_MAX: u64 = 10_000;

impl<S: Service> Core<S> {
    /// Where the bytes of a write go, and with what.
    pub(super) fn target(&self, to: &ObjectId, put: &PutOptions) -> Target {
        self.marked(to, put.write, Some(put.modified_ms), &put.attributes)
    }

    /// The same, where nobody knows yet when the bytes are whole.
    pub(super) fn marked(&self, to: &ObjectId, write: WriteId, modified_ms: Option<u64>, attributes: &Attributes) -> Target {
        let spot = self.own(to, write);
        let key = self.names.hides_key(&spot.name).then(|| to.key.clone());
        let mark = Mark { write, modified_ms, key, label: attributes.label.clone() };
        Target::new(spot, mark.metadata()).with(attributes)
    }

    /// What was stored of a write. Bytes of a key without a plain name stay where they are.
    pub(super) fn kept(&self, key: &Key, write: WriteId, size: u64) -> Kept {
        let location = if self.has_plain(key) { Location::Moving(write) } else { Location::Own(write) };
        Kept { location, binding: binding_of(write), size }
    }

    /// Stores a body in the service.
    pub(super) async fn put_there(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        let target = self.target(to, &put);
        let size = match put.size.or(body.size) {
            Some(size) if size <= HELD_BYTES_MAX => {
                let bytes = collect(body, size).await?;
                self.put_held(&target, bytes).await?;
                size
            }
            Some(size) if size <= self.service.limits().put_bytes_max => {
                let (outgoing, sending) = Outgoing::new(self.line.slowed(body), size);
                let call = self.service.put_streamed(&target, outgoing);
                self.streamed("storing a body", &sending, call).await??;
                size
            }
            Some(size) => self.put_in_long_parts(&target, body, size).await?,
            None => self.put_in_parts(&target, body).await?,
        };
        Ok(self.kept(&to.key, put.write, size))
    }

    /// Bytes that are in memory, sent when it is their turn, and again where that may help.
    pub(super) async fn put_held(&self, target: &Target, bytes: Bytes) -> Answer<()> {
        self.turn(bytes.len()).await;
        self.put_now(target, bytes).await
    }

    /// The same once it is their turn.
    pub(super) async fn put_now(&self, target: &Target, bytes: Bytes) -> Answer<()> {
        self.quick("storing bytes", bytes.len(), || self.service.put(target, bytes.clone())).await
    }

    /// A body of unknown length. Answers its length.
    async fn put_in_parts(&self, target: &Target, body: Body) -> Result<u64> {
        let mut pieces = Pieces::of(body);
        let first = pieces.next(PART_BYTES).await?;
        if pieces.is_done() {
            let size = first.len() as u64;
            self.put_held(target, first).await?;
            return Ok(size);
        }
        let mut whole = Whole::begin(self, target).await?;
        let filled = whole.fill(first, &mut pieces).await;
        whole.finish(filled).await
    }

    /// A body that is longer than a call may be, in parts that stream.
    async fn put_in_long_parts(&self, target: &Target, body: Body, size: u64) -> Result<u64> {
        let part_bytes = size.div_ceil(PARTS_MAX).next_multiple_of(1 << 20).max(PART_BYTES as u64);
        let mut whole = Whole::begin(self, target).await?;
        let filled = whole.fill_long(SharedPieces::of(body), part_bytes, size).await;
        whole.finish(filled).await
    }

    /// Gives up what nothing names, as far as that can be done now.
    pub(super) async fn release(&self, at: &Place, write: WriteId) {
        if let Err(error) = self.remove_own(&at.object, write).await {
            tracing::warn!(object = %at.object, %write, %error, "bytes that nothing names any more stay in the store");
        }
    }

    /// Removes what is under a write's own name, wherever it is.
    pub(super) async fn remove_own(&self, object: &ObjectId, write: WriteId) -> Result<()> {
        let claim = self.forget_here(object, write).await?;
        self.remove_there(object, write).await?;
        if let Some(mut claim) = claim {
            claim.end();
        }
        Ok(())
    }

    /// Removes it from the service.
    pub(super) async fn remove_there(&self, object: &ObjectId, write: WriteId) -> Answer<()> {
        gone(self.remove_any("removing bytes", &self.own(object, write)).await)
    }
}

impl<S: Service> Whole<'_, S> {
    /// Sends all there is. Answers how much it was.
    async fn fill(&mut self, first: Bytes, pieces: &mut Pieces) -> Result<u64> {
        let (mut size, mut piece) = (0, first);
        while !piece.is_empty() {
            size += piece.len() as u64;
            if self.parts() >= PARTS_MAX {
                return Err(Error::Name(format!("a body of unknown length is longer than {size} bytes")));
            }
            self.add(piece).await?;
            piece = pieces.next(PART_BYTES).await?;
        }
        Ok(size)
    }

    async fn fill_long(&mut self, pieces: SharedPieces, part_bytes: u64, size: u64) -> Result<u64> {
        let mut sent = 0;
        while sent < size {
            let part = part_bytes.min(size - sent);
            self.add_streamed(pieces.part(part), part).await?;
            sent += part;
        }
        check_size(Some(size), sent + pieces.rest().await?)?;
        Ok(size)
    }
}
