//! A PUT: the body is staged and verified first, with no lock held; then it lands.

use std::time::Duration;

use super::digest::{self, Digests};
use super::error::{Error, Result};
use super::label::Said;
use super::land::Landing;
use super::settle::UNSETTLED_MAX;
use super::types::{Description, Upload, WriteConditions, Written};
use super::{Site, precondition};
use crate::backend::{self, Attributes, Body, Kept, PutOptions};
use crate::model::{Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Identity, ObjectId, Parts};

impl Site {
    /// Stores an object: durable, verified and visible when it answers.
    pub async fn put(
        &self,
        object: &ObjectId,
        upload: Upload,
        description: Description,
        conditions: WriteConditions,
    ) -> Result<Written> {
        self.refuse_early(object, &conditions).await?;
        let wanted = wanted_checksum(&upload);
        let attributes = self.attributes(&object.bucket, Said::from(&description)).await;
        let (kept, digests) = self.stage(object, upload, attributes).await?;
        let registers = description.registers.clone();
        let identity = identity(&digests, wanted, description);
        self.land(Landing::of(object, kept, identity, conditions).with_registers(registers)).await
    }

    /// Before the body is received: what would fail anyway fails now. Nothing here is binding; landing decides again.
    pub(super) async fn refuse_early(&self, object: &ObjectId, conditions: &WriteConditions) -> Result<()> {
        self.refuse_when_behind(UNSETTLED_MAX)?;
        self.known_bucket(&object.bucket).await?;
        if *conditions == WriteConditions::default() {
            return Ok(());
        }
        self.learn(object, conditions).await?;
        if self.is_shared(&object.bucket) {
            self.imported(object).await?;
        }
        let current = self.current(object).await?;
        precondition::write(conditions, current.as_ref().map(|stored| &stored.row))
    }

    /// A store that cannot keep up with what is to be settled takes no new writes.
    pub(super) fn refuse_when_behind(&self, unsettled_max: u64) -> Result<()> {
        let unsettled = self.unsettled();
        if unsettled < unsettled_max {
            return Ok(());
        }
        let reason = format!("{unsettled} writes are still to be settled in the store");
        Err(Error::Unavailable { reason, retry_after: Duration::from_secs(1) })
    }

    /// Brings a body to the store, hashed on the way. An upload that is not what its claims say leaves nothing behind.
    async fn stage(&self, object: &ObjectId, upload: Upload, attributes: Attributes) -> Result<(Kept, Digests)> {
        let options = PutOptions { attributes, ..self.put_options(&upload.body) };
        let (body, receipt) = digest::verified(upload);
        match self.inner.backend.put(object, body, options).await {
            Ok(kept) => Ok((kept, receipt.take()?)),
            Err(backend::Error::Body(backend::BodyError::Refused)) => Err(receipt.take().err().unwrap_or(Error::BodyRefused)),
            Err(err) => Err(err.into()),
        }
    }

    pub(super) fn put_options(&self, body: &Body) -> PutOptions {
        let (write, modified_ms) = (self.inner.writes.next(), self.inner.clock.wall_ms());
        PutOptions { write, size: body.size, modified_ms, attributes: Attributes::default() }
    }
}

/// The algorithm that the client chose, by a header ahead or a trailer behind.
fn wanted_checksum(upload: &Upload) -> Option<ChecksumAlgorithm> {
    upload.claims.checksums.first().map(|(algorithm, _)| *algorithm).or(upload.claims.compute)
}

fn identity(digests: &Digests, wanted: Option<ChecksumAlgorithm>, description: Description) -> Identity {
    let checksum = wanted.and_then(|algorithm| {
        let value = digests.checksum(algorithm)?.clone();
        Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value })
    });
    Identity {
        size: digests.size,
        etag: ETag::of_md5(digests.md5),
        parts: Parts::Single,
        crc64: digests.crc64,
        checksum,
        headers: description.headers,
        metadata: description.metadata,
        tags: description.tags,
    }
}
