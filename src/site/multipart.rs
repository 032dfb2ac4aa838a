//! Multipart uploads up to their Complete: parts are staged bytes with a row each (protocol §4).

use super::complete::part_etag;
use super::digest::Digests;
use super::error::{Error, Result};
use super::label::Said;
use super::types::{Claims, EtagCondition, PartInfo, PartSource, ReadConditions, Selection, StartUpload, Upload, UploadInfo};
use super::{CONFLICTS_MAX, Site, precondition};
use crate::backend::{self, Kept, StoreUpload};
use crate::model::{ChecksumAlgorithm, ObjectId, PART_NUMBER_MAX, WriteId, is_part_number};
use crate::status::tables::{self, Buckets, UploadPart, UploadParts, UploadState, Uploads};
use crate::status::{Commit, CommitError, Stored};

/// How often a copy starts over because its source was replaced under it.
const COPIES_MAX: usize = 4;

/// An upload's row with the key it was found under.
pub(super) type UploadKey = (ObjectId, WriteId);

impl Site {
    /// Starts a multipart upload.
    pub async fn start_upload(&self, object: &ObjectId, start: StartUpload) -> Result<UploadInfo> {
        self.bucket_row(&object.bucket).await?;
        let key = (object.clone(), self.inner.writes.next());
        let row = tables::Upload {
            state: UploadState::Open,
            initiated_ms: self.inner.clock.wall_ms(),
            owner: start.owner,
            headers: start.description.headers,
            metadata: start.description.metadata,
            tags: start.description.tags,
            checksum: start.checksum,
            registers: start.description.registers,
            versioned: false,
            token: String::new(),
            assembled: None,
        };
        let site = self.clone();
        self.unstoppable(async move { site.start_upload_as(&key, row).await }).await
    }

    /// The store begins first: what its upload has no row for is given up.
    async fn start_upload_as(&self, key: &UploadKey, row: tables::Upload) -> Result<UploadInfo> {
        let attributes = Said::with(&row.headers, &row.metadata, &row.tags).attributes(None);
        let token = self.inner.backend.start_upload(&key.0, key.1, attributes).await?;
        let row = tables::Upload { token, ..row };
        let started = self.commit_upload(key, &row).await;
        if started.is_err() {
            self.end_upload(key, &row).await;
        }
        started
    }

    async fn commit_upload(&self, key: &UploadKey, row: &tables::Upload) -> Result<UploadInfo> {
        let bucket = &key.0.bucket;
        for _ in 0..CONFLICTS_MAX {
            let of_bucket = self.bucket_row(bucket).await?;
            let commit = Commit::new().expect::<Buckets>(bucket, Some(of_bucket.revision)).put::<Uploads>(key, row);
            match self.inner.status.commit(commit).await {
                Ok(_) => return Ok(upload_info(key, row)),
                Err(CommitError::Conflict) => self.count_conflict(bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    /// What the store has of an upload that is no more.
    async fn end_upload(&self, key: &UploadKey, row: &tables::Upload) {
        if let Err(err) = self.inner.backend.end_upload(&store_upload(key, row)).await {
            tracing::warn!(object = %key.0, upload = %key.1, error = %err, "the store may hold an upload that never began here");
        }
    }

    /// Stores a part, in place of one that was sent under the same number before.
    pub async fn put_part(&self, object: &ObjectId, upload_id: &str, number: u16, mut upload: Upload) -> Result<PartInfo> {
        let (key, row) = self.open_upload(object, upload_id).await?;
        check_number(number)?;
        let algorithm = part_checksum(&mut upload, &row.row)?;
        let options = self.put_options(&upload.body);
        let (body, receipt) = super::digest::verified(upload);
        let kept = match self.inner.backend.put_part(&store_upload(&key, &row.row), number, body, options).await {
            Ok(kept) => kept,
            Err(backend::Error::Body(backend::BodyError::Refused)) => {
                return Err(receipt.take().err().unwrap_or(Error::BodyRefused));
            }
            Err(err) => return Err(err.into()),
        };
        let part = self.part_row(kept, receipt.take()?, algorithm);
        let site = self.clone();
        self.unstoppable(async move { site.commit_part(&key, number, part).await }).await
    }

    /// Stores a part copied from an object.
    pub async fn copy_part(&self, source: &PartSource, to: &ObjectId, upload_id: &str, number: u16) -> Result<PartInfo> {
        self.open_upload(to, upload_id).await?;
        for _ in 0..COPIES_MAX {
            let (from, version) = (&source.object, source.version);
            let seen = self.head(from, version, Selection::All, &ReadConditions::default()).await?;
            let etag = &seen.record.identity.etag;
            precondition::copy_source(&source.conditions, &seen.record.row, seen.modified_ms)?;
            let select = copy_range(source.range, seen.record.identity.size)?;
            // The source as seen, or the copy would mix two writes.
            let as_seen = ReadConditions { if_match: Some(EtagCondition::OneOf(vec![etag.clone()])), ..Default::default() };
            match self.get(from, version, select, &as_seen).await {
                Ok(opened) => {
                    let upload = Upload { body: opened.body, claims: Claims::default() };
                    return self.put_part(to, upload_id, number, upload).await;
                }
                Err(Error::PreconditionFailed(_)) => {}
                Err(err) => return Err(err),
            }
        }
        Err(Error::Unavailable {
            reason: "the source is replaced faster than it can be copied".into(),
            retry_after: std::time::Duration::from_secs(1),
        })
    }

    /// Gives up an upload and everything it stored.
    pub async fn abort_upload(&self, object: &ObjectId, upload_id: &str) -> Result<()> {
        let key = (object.clone(), parse_upload_id(upload_id)?);
        let site = self.clone();
        self.unstoppable(async move {
            let _upload = site.inner.uploads.lock(&key.1).await;
            site.abort_locked(&key).await
        })
        .await
    }

    async fn abort_locked(&self, key: &UploadKey) -> Result<()> {
        let row = self.inner.status.get::<Uploads>(key).await?.ok_or(Error::NoSuchUpload)?;
        if matches!(row.row.state, UploadState::Done { .. }) {
            return Err(Error::NoSuchUpload);
        }
        // Before its parts are read: one that is on its way finds the upload no longer open.
        let closed = self.set_state(key, &row, UploadState::Completing { list: [0; 32], write: key.1 }).await?;
        let parts = self.stored_parts(key.1).await?;
        // Nothing would name it once the row is gone.
        self.inner.backend.end_upload(&store_upload(key, &row.row)).await?;
        for _ in 0..CONFLICTS_MAX {
            let mut commit = Commit::new().frees().expect::<Uploads>(key, Some(closed.revision)).delete::<Uploads>(key);
            for (number, _) in &parts {
                commit = commit.delete::<UploadParts>(&(key.1, *number));
            }
            match self.inner.status.commit(commit).await {
                Ok(_) => {
                    for (_, part) in parts {
                        self.release(&key.0, &part.row.location).await;
                    }
                    return Ok(());
                }
                Err(CommitError::Conflict) => self.count_conflict(&key.0.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    fn part_row(&self, kept: Kept, digests: Digests, algorithm: Option<ChecksumAlgorithm>) -> UploadPart {
        let checksum = algorithm.and_then(|algorithm| Some((algorithm, digests.checksum(algorithm)?.clone())));
        UploadPart {
            size: digests.size,
            md5: digests.md5,
            crc64: digests.crc64,
            checksum,
            location: kept.location,
            binding: kept.binding,
            modified_ms: self.inner.clock.wall_ms(),
        }
    }

    /// The part counts only while its upload is open, which the guard on the upload's row decides.
    async fn commit_part(&self, key: &UploadKey, number: u16, part: UploadPart) -> Result<PartInfo> {
        let outcome = self.try_commit_part(key, number, &part).await;
        match outcome {
            Ok(replaced) => {
                if let Some(replaced) = replaced {
                    self.release(&key.0, &replaced.row.location).await;
                }
                Ok(part_info(number, &part))
            }
            Err(err) => {
                if !matches!(err, Error::Internal(_)) {
                    self.release(&key.0, &part.location).await;
                }
                Err(err)
            }
        }
    }

    async fn try_commit_part(&self, key: &UploadKey, number: u16, part: &UploadPart) -> Result<Option<Stored<UploadPart>>> {
        let part_key = (key.1, number);
        for _ in 0..CONFLICTS_MAX {
            let upload = self.open_row(key).await?;
            let before = self.inner.status.get::<UploadParts>(&part_key).await?;
            let commit = Commit::new()
                .expect::<Uploads>(key, Some(upload.revision))
                .expect::<UploadParts>(&part_key, before.as_ref().map(|before| before.revision))
                .put::<UploadParts>(&part_key, part);
            match self.inner.status.commit(commit).await {
                Ok(_) => return Ok(before),
                Err(CommitError::Conflict) => self.count_conflict(&key.0.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    async fn open_upload(&self, object: &ObjectId, upload_id: &str) -> Result<(UploadKey, Stored<tables::Upload>)> {
        self.bucket_row(&object.bucket).await?;
        let key = (object.clone(), parse_upload_id(upload_id)?);
        let row = self.open_row(&key).await?;
        Ok((key, row))
    }

    async fn open_row(&self, key: &UploadKey) -> Result<Stored<tables::Upload>> {
        let row = self.inner.status.get::<Uploads>(key).await?.ok_or(Error::NoSuchUpload)?;
        match row.row.state {
            // Its parts are one whole by now, which a Complete of that list may still make the object.
            UploadState::Open if row.row.assembled.is_some() => Err(Error::NoSuchUpload),
            UploadState::Open => Ok(row),
            UploadState::Completing { .. } => Err(Error::OperationAborted("the upload is being completed or aborted".into())),
            UploadState::Done { .. } => Err(Error::NoSuchUpload),
        }
    }
}

/// An upload as the store knows it.
pub(super) fn store_upload(key: &UploadKey, row: &tables::Upload) -> StoreUpload {
    StoreUpload { object: key.0.clone(), write: key.1, token: row.token.clone() }
}

/// Upload ids are opaque to clients; anything that is not one of ours names no upload.
pub(super) fn parse_upload_id(upload_id: &str) -> Result<WriteId> {
    upload_id.parse().map_err(|_| Error::NoSuchUpload)
}

fn copy_range(range: Option<(u64, u64)>, size: u64) -> Result<Selection> {
    match range {
        None => Ok(Selection::All),
        Some((first, last)) if first <= last && last < size => Ok(Selection::Bytes { first, last: Some(last) }),
        Some((first, last)) => {
            let reason = format!("bytes {first} to {last} are not all in the source, which has {size}");
            Err(Error::InvalidArgument { argument: "x-amz-copy-source-range", reason })
        }
    }
}

fn check_number(number: u16) -> Result<()> {
    if is_part_number(number) {
        return Ok(());
    }
    let reason = format!("part numbers go from 1 to {PART_NUMBER_MAX}, this one is {number}");
    Err(Error::InvalidArgument { argument: "partNumber", reason })
}

/// The algorithm a part is hashed in: the upload's, which a part must not contradict, else what came with the part.
fn part_checksum(upload: &mut Upload, row: &tables::Upload) -> Result<Option<ChecksumAlgorithm>> {
    let claims = &mut upload.claims;
    let sent = claims.checksums.first().map(|(algorithm, _)| *algorithm).or(claims.compute);
    let Some((wanted, _)) = row.checksum else { return Ok(sent) };
    match sent {
        Some(sent) if sent != wanted => Err(Error::InvalidRequest(format!(
            "the upload was started with {} checksums, this part comes with {}",
            wanted.name(),
            sent.name()
        ))),
        _ => {
            claims.compute.get_or_insert(wanted);
            Ok(Some(wanted))
        }
    }
}

pub(super) fn upload_info(key: &UploadKey, row: &tables::Upload) -> UploadInfo {
    UploadInfo {
        object: key.0.clone(),
        upload_id: key.1.to_string(),
        initiated_ms: row.initiated_ms,
        owner: row.owner.clone(),
        storage_class: row.headers.storage_class.clone(),
        checksum: row.checksum,
    }
}

pub(super) fn part_info(number: u16, part: &UploadPart) -> PartInfo {
    PartInfo { number, size: part.size, etag: part_etag(part), checksum: part.checksum.clone(), modified_ms: part.modified_ms }
}
