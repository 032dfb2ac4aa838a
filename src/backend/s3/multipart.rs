//! Multipart uploads: those of clients, whose parts the service keeps, and those that we make of long bodies and copies.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::time::timeout;

use super::body::{collect, streamed};
use super::copy::COPY_PATIENCE;
use super::error::{Answer, Fault};
use super::mark::binding_of;
use super::put::{HELD_BYTES_MAX, Target};
use super::{Checksums, Core};
use crate::backend::{Body, Error, Kept, KeptPart, Place, PutOptions, Result, StoreUpload};
use crate::model::{Binding, Location, ObjectId, WriteId};

/// A part whose length nobody said is held in memory, up to here.
const UNTOLD_BYTES_MAX: usize = 64 << 20;

/// What names a part in the list that ends an upload: its ETag, and its checksum where the service told one, which some
/// want to hear again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PartName {
    etag: String,
    crc32: Option<String>,
}

impl PartName {
    fn binding(&self) -> Binding {
        Binding::Tag(
            format!("{} {}", self.etag.trim_matches('"'), self.crc32.as_deref().unwrap_or_default()).trim_end().to_owned(),
        )
    }

    fn of(binding: &Binding) -> Option<Self> {
        let Binding::Tag(tag) = binding else { return None };
        let (etag, crc32) = tag.split_once(' ').map_or((tag.as_str(), None), |(etag, crc32)| (etag, Some(crc32.to_owned())));
        Some(Self { etag: format!("\"{etag}\""), crc32 })
    }

    fn completed(self, number: i32) -> CompletedPart {
        CompletedPart::builder().part_number(number).e_tag(self.etag).set_checksum_crc32(self.crc32).build()
    }
}

/// An upload, as the service knows it.
struct Upload<'a> {
    bucket: &'a str,
    name: &'a str,
    id: &'a str,
}

impl Core {
    /// An upload that others send the parts of, under the own name of what it becomes.
    pub(super) async fn start_upload(&self, to: &ObjectId, write: WriteId) -> Result<String> {
        Ok(self.create_upload(&self.target(to, write, None)).await?)
    }

    async fn create_upload(&self, target: &Target<'_>) -> Answer<String> {
        let client = self.service.quick();
        let request = client.create_multipart_upload().bucket(target.bucket.as_str()).key(&target.name);
        // Told here, or parts with another checksum than the service chose are refused.
        let algorithm = (self.settings.checksums == Checksums::Crc32).then_some(ChecksumAlgorithm::Crc32);
        let request = request.set_metadata(Some(target.metadata.clone())).set_checksum_algorithm(algorithm);
        let started = self.service.ask("starting an upload", request.send()).await?;
        Ok(started.upload_id.unwrap_or_default())
    }

    pub(super) async fn put_part(&self, upload: &StoreUpload, number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        let name = self.names.own(&upload.object.key, upload.write);
        let at = Upload { bucket: upload.object.bucket.as_str(), name: &name, id: &upload.token };
        let (size, part) = match put.size.or(body.size) {
            Some(size) if size > HELD_BYTES_MAX => (size, self.send_streamed_part(&at, number, body, size).await?),
            Some(size) => (size, self.send_part(&at, number, collect(body, size).await?).await),
            None => {
                let bytes = body.collect(UNTOLD_BYTES_MAX).await?;
                (bytes.len() as u64, self.send_part(&at, number, bytes).await)
            }
        };
        Ok(Kept { location: Location::Part, binding: part?.binding(), size })
    }

    async fn send_part(&self, at: &Upload<'_>, number: u16, bytes: Bytes) -> Answer<PartName> {
        // In memory, so that it may be repeated; as long as it takes, since it may be large.
        let request = self.service.long().upload_part().bucket(at.bucket).key(at.name).upload_id(at.id);
        let request = request.part_number(number.into()).content_length(bytes.len() as i64);
        let call = request.body(ByteStream::from(bytes)).send();
        let answer = timeout(COPY_PATIENCE, self.service.ask("storing a part", call)).await;
        let stored = answer.unwrap_or_else(|_| Err(Fault::late("storing a part")))?;
        Ok(PartName { etag: stored.e_tag.unwrap_or_default(), crc32: stored.checksum_crc32 })
    }

    async fn send_streamed_part(&self, at: &Upload<'_>, number: u16, body: Body, size: u64) -> Result<Answer<PartName>> {
        let (stream, sending) = streamed(body, size);
        let request = self.service.long().upload_part().bucket(at.bucket).key(at.name).upload_id(at.id);
        let call = request.part_number(number.into()).content_length(size.cast_signed()).body(stream).send();
        let answer = self.service.ask_with_body("storing a part", &sending, call).await?;
        Ok(answer.map(|stored| PartName { etag: stored.e_tag.unwrap_or_default(), crc32: stored.checksum_crc32 }))
    }

    /// Ends an upload with exactly these parts, or finds what its end made.
    pub(super) async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart]) -> Result<Kept> {
        let name = self.names.own(&upload.object.key, upload.write);
        let mut list = Vec::with_capacity(parts.len());
        for part in parts {
            let named = PartName::of(&part.kept.binding).ok_or(Error::Changed)?;
            list.push(named.completed(part.number.into()));
        }
        let at = Upload { bucket: upload.object.bucket.as_str(), name: &name, id: &upload.token };
        let size = parts.iter().map(|part| part.kept.size).sum();
        match self.complete_upload(&at, list).await {
            Ok(()) => Ok(self.kept(&upload.object.key, upload.write, size)),
            Err(fault) if fault.is(&["InvalidPart", "InvalidPartOrder", "EntityTooSmall"]) => Err(Error::Changed),
            Err(fault) if fault.is(&["NoSuchUpload"]) || fault.is_missing() => {
                let place = Place { object: upload.object.clone(), location: Location::Own(upload.write) };
                let told = self.look(&place).await?;
                if told.binding != binding_of(upload.write) || told.size != size {
                    return Err(Error::Changed);
                }
                Ok(self.kept(&upload.object.key, upload.write, size))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn complete_upload(&self, at: &Upload<'_>, parts: Vec<CompletedPart>) -> Answer<()> {
        let list = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.service.long().complete_multipart_upload().bucket(at.bucket).key(at.name).upload_id(at.id);
        let call = self.service.ask("ending an upload", request.multipart_upload(list).send());
        timeout(COPY_PATIENCE, call).await.unwrap_or_else(|_| Err(Fault::late("ending an upload"))).map(drop)
    }

    /// Gives up an upload and what became of it. None there is success.
    pub(super) async fn end_upload(&self, upload: &StoreUpload) -> Result<()> {
        let name = self.names.own(&upload.object.key, upload.write);
        self.abort_upload(&Upload { bucket: upload.object.bucket.as_str(), name: &name, id: &upload.token }).await?;
        let place = Place { object: upload.object.clone(), location: Location::Own(upload.write) };
        Ok(self.remove_own(&place, upload.write).await?)
    }

    async fn abort_upload(&self, at: &Upload<'_>) -> Answer<()> {
        let request = self.service.quick().abort_multipart_upload().bucket(at.bucket).key(at.name).upload_id(at.id);
        match self.service.ask("giving up an upload", request.send()).await {
            Err(fault) if fault.is(&["NoSuchUpload", "NoSuchBucket"]) || fault.is_missing() => Ok(()),
            ended => ended.map(drop),
        }
    }
}

/// An upload of our own, for one body.
pub(super) struct Whole<'a> {
    core: &'a Core,
    target: &'a Target<'a>,
    id: String,
    parts: Vec<CompletedPart>,
}

impl<'a> Whole<'a> {
    pub async fn begin(core: &'a Core, target: &'a Target<'a>) -> Answer<Self> {
        let id = core.create_upload(target).await?;
        Ok(Self { core, target, id, parts: Vec::new() })
    }

    fn at(&self) -> Upload<'_> {
        Upload { bucket: self.target.bucket.as_str(), name: &self.target.name, id: &self.id }
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
        let part = self.core.send_part(&self.at(), number, bytes).await?;
        self.parts.push(part.completed(number.into()));
        Ok(())
    }

    /// A part that the service copies from an object: `source` as it wants it named, of this ETag.
    pub async fn add_copy(&mut self, source: &str, etag: Option<&str>, range: std::ops::Range<u64>) -> Answer<()> {
        let (number, at) = (self.next_number(), self.at());
        let range = format!("bytes={}-{}", range.start, range.end - 1);
        let request = self.core.service.long().upload_part_copy().bucket(at.bucket).key(at.name).upload_id(at.id);
        let request = request.part_number(number.into()).copy_source(source).copy_source_range(range);
        let call = request.set_copy_source_if_match(etag.map(str::to_owned)).send();
        let answer = timeout(COPY_PATIENCE, self.core.service.ask("copying a part", call)).await;
        let copied = answer.unwrap_or_else(|_| Err(Fault::late("copying a part")))?.copy_part_result;
        let told = copied.map(|part| PartName { etag: part.e_tag.unwrap_or_default(), crc32: part.checksum_crc32 });
        self.parts.extend(told.map(|part| part.completed(number.into())));
        Ok(())
    }

    pub async fn complete(mut self) -> Answer<()> {
        let parts = std::mem::take(&mut self.parts);
        let completed = self.core.complete_upload(&self.at(), parts).await;
        if completed.is_err() {
            self.abort().await;
        }
        completed
    }

    /// What cannot be given up stays until the service's own rules remove it.
    pub async fn abort(self) {
        if let Err(fault) = self.core.abort_upload(&self.at()).await {
            let (bucket, name) = (self.target.bucket, &self.target.name);
            tracing::warn!(%bucket, name, error = %Error::from(fault), "the store may still hold parts of a body that ended badly");
        }
    }
}
