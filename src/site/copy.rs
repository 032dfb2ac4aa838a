//! A copy: staged by the store itself where nothing has to be computed, then landed like any write.

use std::sync::Arc;

use super::error::{Error, Result};
use super::get::without_bucket;
use super::heal::Healed;
use super::label::Said;
use super::land::Landing;
use super::scrub::has_checksum;
use super::types::{Claims, CopyRequest, Upload, Written};
use super::{Site, digest, precondition};
use crate::backend::{self, Attributes, GetOptions, Kept, Place, PutOptions};
use crate::model::{Checksum, ChecksumAlgorithm, ChecksumKind, ContentHeaders, ETag, Identity, ObjectId, Parts, Record, State};
use crate::status::Stored;

/// Largest source of a single copy; larger ones are copied part by part.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>
const SOURCE_BYTES_MAX: u64 = 5 << 30;

/// How often a copy starts over because its source was replaced under it.
const TRIES_MAX: usize = 4;

impl Site {
    /// Copies an object. The copy keeps the source's ETag, and its parts unless a checksum is to be computed.
    pub async fn copy(&self, from: &ObjectId, to: &ObjectId, request: CopyRequest) -> Result<Written> {
        self.refuse_early(to, &request.target).await?;
        for _ in 0..TRIES_MAX {
            let source = self.existing_read(from, request.version, SOURCE_BYTES_MAX).await?;
            let record = &source.row;
            precondition::copy_source(&request.source, record, self.modified_ms(record))?;
            refuse_copy(from, to, record, &request)?;
            // Read before the bytes are bound: if those still are the record's, so was the map.
            let mut part_map = self.part_map(from, record).await?;
            let attributes = self.attributes(&to.bucket, Said::from(&described(&source.identity, &request))).await;
            let copying = Copying { from, record: &source, to, attributes };
            match self.stage_copy(&copying, request.checksum).await {
                Ok(Some((kept, mut identity))) => {
                    identity = described(&identity, &request);
                    if identity.parts == Parts::Single {
                        part_map.clear();
                    }
                    let landing = Landing::of(to, kept, identity, request.target).with_part_map(part_map);
                    return self.land(landing.with_registers(request.registers)).await;
                }
                Ok(None) => self.mend_source(from, &source).await?,
                Err(backend::Error::NotFound | backend::Error::Changed) => match self.heal(from, &source).await? {
                    Healed::Differs => {}
                    Healed::Gone => self.restore(from, &source).await?,
                },
                Err(err) => return Err(err.into()),
            }
        }
        Err(Error::Unavailable {
            reason: "the source is replaced faster than it can be copied".into(),
            retry_after: std::time::Duration::from_secs(1),
        })
    }

    /// Copies the bytes, which are described by the identity. `None`: those of the source rotted.
    async fn stage_copy(
        &self,
        copying: &Copying<'_>,
        checksum: Option<ChecksumAlgorithm>,
    ) -> backend::Result<Option<(Kept, Identity)>> {
        let record = copying.record;
        let known = record.identity.checksum.as_ref().map(|checksum| checksum.algorithm);
        match checksum.filter(|wanted| Some(*wanted) != known && *wanted != ChecksumAlgorithm::Crc64Nvme) {
            None => {
                let Some(kept) = self.copy_bytes(copying).await? else { return Ok(None) };
                // Asked for CRC-64/NVME, which every object has: it is shown where no other is kept.
                let shown = record.identity.checksum.clone().filter(|kept| checksum.is_none_or(|asked| asked == kept.algorithm));
                Ok(Some((kept, Identity { checksum: shown, ..record.identity.clone() })))
            }
            Some(algorithm) => self.copy_hashing(copying, algorithm).await.map(Some),
        }
    }

    /// Source or copy is rotten. A source gets its own bytes back from whoever has them, and then it is copied.
    async fn mend_source(&self, from: &ObjectId, source: &Stored<Record>) -> Result<()> {
        if self.scrub_and_mend(from, source).await? {
            return Ok(());
        }
        let reason = format!("the stored bytes of {from} do not have the checksum of their record");
        match self.inner.neighbours.is_empty() {
            true => Err(Error::Internal(reason)),
            // Who has them may not have been asked, or has something newer that is on its way here.
            false => Err(Error::Unavailable { reason, retry_after: std::time::Duration::from_secs(1) }),
        }
    }

    /// What was copied is read back: a rotten source must not become a write that was acknowledged, and is nowhere sound.
    async fn copy_bytes(&self, copying: &Copying<'_>) -> backend::Result<Option<Kept>> {
        let Copying { from, record, to, attributes } = copying;
        if !record.has_bytes() {
            return Err(backend::Error::NotFound);
        }
        let place = Place { object: ObjectId::clone(from), location: record.location.clone() };
        let get = GetOptions { range: None, expect: Some(record.binding.clone()) };
        let (write, modified_ms) = (self.inner.writes.next(), self.inner.clock.wall_ms());
        let put = PutOptions { write, size: Some(record.identity.size), modified_ms, attributes: attributes.clone() };
        let kept = self.inner.backend.copy(&place, get, to, put).await.map_err(without_bucket)?;
        let copy = Tentative { site: self.clone(), to: ObjectId::clone(to), kept: Some(kept) };
        let is_sound = self.is_sound(to, copy.kept(), record.identity.crc64).await;
        let kept = copy.keep();
        if matches!(is_sound, Ok(true)) {
            return Ok(Some(kept));
        }
        self.discard(to, &kept).await;
        is_sound.map(|_| None)
    }

    /// Whether staged bytes have a checksum. That they are gone says nothing about where they were copied from.
    async fn is_sound(&self, to: &ObjectId, kept: &Kept, crc64: u64) -> backend::Result<bool> {
        let place = Place { object: to.clone(), location: kept.location.clone() };
        let get = GetOptions { range: None, expect: Some(kept.binding.clone()) };
        match self.inner.backend.get(&place, get).await {
            Ok(fetched) => has_checksum(fetched.body, crc64).await,
            Err(backend::Error::NotFound | backend::Error::Changed) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// A checksum that nobody computed yet needs every byte to pass by.
    async fn copy_hashing(&self, copying: &Copying<'_>, algorithm: ChecksumAlgorithm) -> backend::Result<(Kept, Identity)> {
        let Copying { from, record, to, attributes } = copying;
        let body = self.open_bytes(from, record, 0..record.identity.size).await?;
        // The copy keeps the CRC-64 of the record: other bytes must not get a new checksum that makes them look sound.
        let body = self.verified_whole(from, record, body);
        let claims = Claims { compute: Some(algorithm), ..Claims::default() };
        let options = PutOptions { attributes: attributes.clone(), ..self.put_options(&body) };
        let (body, receipt) = digest::verified(Upload { body, claims });
        let kept = self.inner.backend.put(to, body, options).await?;
        let digests = receipt.take().map_err(|_| backend::Error::Body(backend::BodyError::Refused))?;
        let value = digests.checksum(algorithm).cloned().unwrap_or_default();
        let identity = Identity {
            etag: ETag::of_md5(digests.md5),
            parts: Parts::Single,
            checksum: Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value }),
            ..record.identity.clone()
        };
        Ok((kept, identity))
    }
}

/// What is copied, to where, and with what.
struct Copying<'a> {
    from: &'a ObjectId,
    record: &'a Arc<Stored<Record>>,
    to: &'a ObjectId,
    attributes: Attributes,
}

/// Staged bytes that a client who goes away in the middle must not leave behind.
struct Tentative {
    site: Site,
    to: ObjectId,
    kept: Option<Kept>,
}

impl Tentative {
    fn kept(&self) -> &Kept {
        self.kept.as_ref().expect("it is taken with itself only")
    }

    fn keep(mut self) -> Kept {
        self.kept.take().expect("it is taken with itself only")
    }
}

impl Drop for Tentative {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            let (site, to) = (self.site.clone(), self.to.clone());
            tokio::spawn(async move { site.discard(&to, &kept).await });
        }
    }
}

fn refuse_copy(from: &ObjectId, to: &ObjectId, record: &Record, request: &CopyRequest) -> Result<()> {
    if record.state == State::Unread && record.identity.size <= SOURCE_BYTES_MAX {
        let reason = "the source was changed a moment ago, and may be still".to_owned();
        return Err(Error::Unavailable { reason, retry_after: std::time::Duration::from_secs(1) });
    }
    if record.identity.size > SOURCE_BYTES_MAX {
        return Err(Error::InvalidRequest(format!(
            "the copy source has {} bytes, more than the {SOURCE_BYTES_MAX} of one copy: copy it in parts",
            record.identity.size
        )));
    }
    let same_class = request.storage_class == record.identity.headers.storage_class;
    let same_redirect = request.website_redirect_location == record.identity.headers.website_redirect_location;
    let is_current = request.version.is_none();
    if from == to && is_current && request.replace.is_none() && same_class && same_redirect {
        return Err(Error::CopyOntoItself);
    }
    Ok(())
}

/// The identity of bytes as the request wants them described.
fn described(identity: &Identity, request: &CopyRequest) -> Identity {
    let Identity { headers, metadata, tags, .. } = identity.clone();
    let (headers, metadata) = request.replace.clone().unwrap_or((headers, metadata));
    let headers = ContentHeaders {
        storage_class: request.storage_class.clone(),
        website_redirect_location: request.website_redirect_location.clone(),
        ..headers
    };
    Identity { headers, metadata, tags: request.replace_tags.clone().unwrap_or(tags), ..identity.clone() }
}
