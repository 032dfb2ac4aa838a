//! A write in one pair of hands: of whoever carries it, or of whoever deletes it.

use std::sync::Arc;

use super::Buffer;
use super::file::{Name, Slip};
use crate::backend::{Error, Result};
use crate::model::{ObjectId, WriteId};

/// While this is there nobody else has the write. Given up half-way, it leaves the write to the next who wants it.
#[derive(Debug)]
pub(in crate::backend::service) struct Claim {
    pub(super) buffer: Arc<Buffer>,
    pub(super) name: Name,
    /// Not after its end: another write of that name is somebody else's.
    is_held: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_held {
            self.buffer.index.release(&self.name);
        }
    }
}

impl Claim {
    fn new(buffer: &Arc<Buffer>, name: Name) -> Self {
        Self { buffer: buffer.clone(), name, is_held: true }
    }

    pub(super) fn is_doomed(&self) -> bool {
        self.buffer.index.is_doomed(&self.name)
    }

    /// The service has it: whoever deletes it from now on does so there. `false`: it was deleted before, and must go from there too.
    pub(super) fn leave(&mut self) -> bool {
        let has_left = self.buffer.index.leave(&self.name);
        self.is_held = !has_left;
        has_left
    }

    /// Nobody has it any more.
    pub(in crate::backend::service) fn end(&mut self) {
        self.is_held = false;
        self.buffer.index.remove(&self.name);
    }
}

/// A write that is to be carried.
pub(super) struct Load {
    pub claim: Claim,
    pub slip: Slip,
}

impl Buffer {
    /// The oldest that are to be carried now, so many at the most.
    pub(super) fn take_due(self: &Arc<Self>, writes_max: usize) -> Vec<Load> {
        self.index.take_due(writes_max).into_iter().map(|slip| self.load(slip)).collect()
    }

    /// This one, if it is to be carried now.
    pub(super) fn take(self: &Arc<Self>, name: &Name) -> Option<Load> {
        self.index.take(name).map(|slip| self.load(slip))
    }

    fn load(self: &Arc<Self>, slip: Slip) -> Load {
        Load { claim: Claim::new(self, slip.name()), slip }
    }

    /// Takes a write from here that is deleted, or that nobody wants; `None`: it does not wait here. One that is on its way to the
    /// service at this moment is [`Error::Unavailable`]: it is taken from there when it has come, or by whoever asks again.
    pub(super) async fn forget(self: &Arc<Self>, object: &ObjectId, write: WriteId) -> Result<Option<Claim>> {
        let name = Name { write, object: object.clone() };
        if !self.index.doom(&name) {
            return Ok(None);
        }
        self.unlink(&name).await?;
        match self.index.until(|| self.index.claim(&name)).await {
            true => Ok(Some(Claim::new(self, name))),
            false => {
                Err(Error::Unavailable("it is on its way from the buffer to the store, and is removed from there next".into()))
            }
        }
    }
}
