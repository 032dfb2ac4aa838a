//! Multipart uploads: those of clients, whose parts the service keeps, and those that we make of long bodies.

use bytes::Bytes;

use super::body::{Outgoing, collect};
use super::mark::binding_of;
use super::put::HELD_BYTES_MAX;
use super::store::Core;
use super::{Answer, PartAt, Service, Target, UploadAt};
use crate::backend::{Attributes, Body, Error, Kept, KeptPart, PutOptions, Result, StoreUpload};
use crate::model::{Binding, Location, ObjectId, WriteId};

/// A part whose length nobody said is held in memory, up to here.
const UNTOLD_BYTES_MAX: usize = 64 << 20;

impl<S: Service> Core<S> {
    /// An upload that others send the parts of, under the own name of what it becomes.
    pub(super) async fn start_upload(&self, to: &ObjectId, write: WriteId, attributes: &Attributes) -> Result<String> {
        Ok(self.begin_upload(&self.marked(to, write, None, attributes)).await?)
    }

    async fn begin_upload(&self, target: &Target) -> Answer<String> {
        self.quick("starting an upload", 0, || self.service.start_upload(target)).await
    }

    /// Some services want to hear at the end what the whole is stored with.
    fn upload_at(&self, upload: &StoreUpload, attributes: &Attributes) -> UploadAt {
        UploadAt { target: self.marked(&upload.object, upload.write, None, attributes), id: upload.token.clone() }
    }

    pub(super) async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        let at = self.upload_at(upload, &Attributes::default());
        let (size, part) = match put.size.or(body.size) {
            Some(size) if size > HELD_BYTES_MAX => (size, self.send_streamed_part(&at, number, body, size).await?),
            Some(size) => (size, self.send_part(&at, number, collect(body, size).await?).await),
            None => {
                let bytes = body.collect(UNTOLD_BYTES_MAX).await?;
                (bytes.len() as u64, self.send_part(&at, number, bytes).await)
            }
        };
        Ok(Kept { location: Location::Part, binding: Binding::Tag(part?), size })
    }

    async fn send_part(&self, at: &UploadAt, number: u16, bytes: Bytes) -> Answer<String> {
        self.turn(bytes.len()).await;
        self.quick("storing a part", bytes.len(), || self.service.put_part(at, number, bytes.clone())).await
    }

    async fn send_streamed_part(&self, at: &UploadAt, number: u16, body: Body, size: u64) -> Result<Answer<String>> {
        let (outgoing, sending) = Outgoing::new(self.line.slowed(body), size);
        self.streamed("storing a part", &sending, self.service.put_part_streamed(at, number, outgoing)).await
    }

    /// Ends an upload with exactly these parts, or finds what its end made.
    pub(super) async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], attributes: &Attributes) -> Result<Kept> {
        let at = self.upload_at(upload, attributes);
        let mut list = Vec::with_capacity(parts.len());
        for part in parts {
            let Binding::Tag(tag) = &part.kept.binding else { return Err(Error::Changed) };
            list.push(PartAt { number: part.number, tag: tag.clone() });
        }
        let size = parts.iter().map(|part| part.kept.size).sum();
        match self.long("ending an upload", 0, self.service.complete_upload(&at, &list)).await {
            Ok(()) => {}
            Err(fault) if fault.is_bad_list() || fault.is_missing() => {
                let made = self
                    .seen(&at.target.spot)
                    .await?
                    .ok_or_else(|| if fault.is_bad_list() { Error::Changed } else { fault.into() })?;
                if made.binding != binding_of(upload.write) || made.size != size {
                    return Err(Error::Changed);
                }
            }
            Err(fault) => return Err(fault.into()),
        }
        Ok(self.kept(&upload.object.key, upload.write, size))
    }

    /// Gives up an upload and what became of it. None there is success.
    pub(super) async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        self.abort(&self.upload_at(upload, &Attributes::default())).await?;
        self.remove_own(&upload.object, upload.write).await
    }

    async fn abort(&self, at: &UploadAt) -> Answer<()> {
        self.quick("giving up an upload", 0, || self.service.abort_upload(at)).await
    }
}

/// An upload of our own, for one body.
pub(super) struct Whole<'a, S> {
    core: &'a Core<S>,
    at: UploadAt,
    parts: Vec<PartAt>,
}

impl<'a, S: Service> Whole<'a, S> {
    pub async fn begin(core: &'a Core<S>, target: &Target) -> Answer<Self> {
        let id = core.begin_upload(target).await?;
        Ok(Self { core, at: UploadAt { target: target.clone(), id }, parts: Vec::new() })
    }

    /// How many parts were stored.
    pub fn parts(&self) -> u64 {
        self.parts.len() as u64
    }

    fn next_number(&self) -> u16 {
        u16::try_from(self.parts.len() + 1).unwrap_or(u16::MAX)
    }

    pub async fn add(&mut self, bytes: Bytes) -> Answer<()> {
        let number = self.next_number();
        let tag = self.core.send_part(&self.at, number, bytes).await?;
        self.parts.push(PartAt { number, tag });
        Ok(())
    }

    pub async fn add_streamed(&mut self, body: Body, size: u64) -> Result<()> {
        let number = self.next_number();
        let tag = self.core.send_streamed_part(&self.at, number, body, size).await??;
        self.parts.push(PartAt { number, tag });
        Ok(())
    }

    /// Makes one object of the parts, where all was `filled`; else gives them up. What cannot be given up stays until the
    /// service's own rules remove it.
    pub async fn finish(self, filled: Result<u64>) -> Result<u64> {
        let finished = match filled {
            Ok(size) => {
                let call = self.core.service.complete_upload(&self.at, &self.parts);
                self.core.long("ending an upload", 0, call).await.map(|()| size).map_err(Error::from)
            }
            Err(err) => Err(err),
        };
        if finished.is_err()
            && let Err(fault) = self.core.abort(&self.at).await
        {
            let (spot, error) = (&self.at.target.spot, Error::from(fault));
            tracing::warn!(bucket = spot.bucket, name = spot.name, %error, "the store may still hold parts of a body that ended badly");
        }
        finished
    }
}
