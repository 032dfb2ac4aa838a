//! Bytes on their way in: under the write's own name at once, in one request where their length is known.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::Core;
use super::body::{Pieces, collect, streamed};
use super::error::Fault;
use super::mark::{Mark, Metadata, binding_of};
use super::multipart::Whole;
use crate::backend::body::check_size;
use crate::backend::{Body, Error, Kept, Place, PutOptions, Result};
use crate::model::{BucketName, Key, Location, ObjectId, WriteId};

/// Up to here a body is held in memory: it can be sent again, and its SHA-256 is signed.
pub(super) const HELD_BYTES_MAX: u64 = 1 << 20;
/// The most one request stores: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.
pub(super) const REQUEST_BYTES_MAX: u64 = 5 << 30;
/// Parts of a body that is longer, or of unknown length. One at a time is held in memory.
const PART_BYTES: u64 = 16 << 20;
/// Parts an upload has at the most.
const PARTS_MAX: u64 = 10_000;

/// A name that is to be written.
pub(super) struct Target<'a> {
    pub bucket: &'a BucketName,
    pub name: String,
    pub metadata: Metadata,
}

impl Core {
    /// Where the bytes of a write go, and with what.
    pub(super) fn target<'a>(&self, to: &'a ObjectId, write: WriteId, modified_ms: Option<u64>) -> Target<'a> {
        let name = self.names.own(&to.key, write);
        let key = self.names.hides_key(&name).then(|| to.key.clone());
        Target { bucket: &to.bucket, name, metadata: Mark { write, modified_ms, key }.metadata() }
    }

    /// What was stored of a write. Bytes of a key without a plain name stay where they are.
    pub(super) fn kept(&self, key: &Key, write: WriteId, size: u64) -> Kept {
        let location = if self.names.has_plain(key) { Location::Moving(write) } else { Location::Own(write) };
        Kept { location, binding: binding_of(write), size }
    }

    pub(super) async fn put(&self, to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        let target = self.target(to, put.write, Some(put.modified_ms));
        let size = match put.size.or(body.size) {
            Some(size) if size <= HELD_BYTES_MAX => {
                let bytes = collect(body, size).await?;
                self.put_held(&target, bytes).await?;
                size
            }
            Some(size) if size <= REQUEST_BYTES_MAX => {
                self.put_streamed(&target, body, size).await?;
                size
            }
            announced => self.put_in_parts(&target, body, announced).await?,
        };
        Ok(self.kept(&to.key, put.write, size))
    }

    /// Bytes that are in memory, sent again where that may help.
    pub(super) async fn put_held(&self, target: &Target<'_>, bytes: Bytes) -> Result<()> {
        let request = request(self.service.quick(), target).content_length(bytes.len() as i64);
        self.service.ask("storing bytes", request.body(ByteStream::from(bytes)).send()).await?;
        Ok(())
    }

    async fn put_streamed(&self, target: &Target<'_>, body: Body, size: u64) -> Result<()> {
        let (stream, sending) = streamed(body, size);
        let call = request(self.service.long(), target).content_length(size.cast_signed()).body(stream).send();
        self.service.ask_with_body("storing a body", &sending, call).await??;
        Ok(())
    }

    /// A body of unknown length, or longer than a request may be. Answers its length.
    async fn put_in_parts(&self, target: &Target<'_>, body: Body, announced: Option<u64>) -> Result<u64> {
        let part_bytes = announced.map_or(PART_BYTES, |size| size.div_ceil(PARTS_MAX).next_multiple_of(1 << 20)).max(PART_BYTES);
        let part_bytes = usize::try_from(part_bytes).unwrap_or(usize::MAX);
        let mut pieces = Pieces::of(body);
        let first = pieces.next(part_bytes).await?;
        if pieces.is_done() {
            check_size(announced, first.len() as u64)?;
            let size = first.len() as u64;
            self.put_held(target, first).await?;
            return Ok(size);
        }
        let mut whole = Whole::begin(self, target).await?;
        match whole.fill(first, &mut pieces, (part_bytes, announced)).await {
            Ok(size) => {
                whole.complete().await?;
                Ok(size)
            }
            Err(err) => {
                whole.abort().await;
                Err(err)
            }
        }
    }

    /// Gives up what nothing names, as far as that can be done now.
    pub(super) async fn release(&self, at: &Place, write: WriteId) {
        if let Err(fault) = self.remove_own(at, write).await {
            let error = Error::from(fault);
            tracing::warn!(object = %at.object, %write, %error, "bytes that nothing names any more stay in the store");
        }
    }

    /// Removes what is under a write's own name.
    pub(super) async fn remove_own(&self, at: &Place, write: WriteId) -> Result<(), Fault> {
        let name = self.names.own(&at.object.key, write);
        let call = self.service.quick().delete_object().bucket(at.object.bucket.as_str()).key(name).send();
        match self.service.ask("removing bytes", call).await {
            Err(fault) if fault.is_missing() || fault.is(&["NoSuchBucket"]) => Ok(()),
            removed => removed.map(drop),
        }
    }
}

impl Whole<'_> {
    /// Sends all there is. Answers how much it was.
    async fn fill(&mut self, first: Bytes, pieces: &mut Pieces, (part_bytes, announced): (usize, Option<u64>)) -> Result<u64> {
        let (mut size, mut piece) = (0, first);
        loop {
            size += piece.len() as u64;
            if self.parts() >= PARTS_MAX {
                return Err(Error::Name(format!("a body of unknown length is longer than {size} bytes")));
            }
            self.add(piece).await?;
            piece = pieces.next(part_bytes).await?;
            if piece.is_empty() {
                check_size(announced, size)?;
                return Ok(size);
            }
        }
    }
}

fn request(client: &Client, target: &Target<'_>) -> PutObjectFluentBuilder {
    let request = client.put_object().bucket(target.bucket.as_str()).key(&target.name);
    request.set_metadata(Some(target.metadata.clone()))
}
