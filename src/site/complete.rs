//! CompleteMultipartUpload: claimed, verified, assembled with no lock held, then landed (protocol §4).

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use super::Site;
use super::digest::{combined, composite, md5_of};
use super::error::{Error, Result};
use super::label::Said;
use super::land::{Completes, Landing};
use super::multipart::{UploadKey, parse_upload_id, store_upload};
use super::types::{CompleteUpload, NamedPart, WriteConditions, Written};
use crate::backend::{self, Kept, KeptPart, PutOptions};
use crate::model::{
    Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Identity, Location, ObjectId, PartEntry, Parts, Slot, WriteId,
};
use crate::status::tables::{self, UploadPart, UploadParts, UploadState, Uploads};
use crate::status::{Commit, CommitError, Page, Stored};

/// Every part but the last has at least so many bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const PART_BYTES_MIN: u64 = 5 << 20;
/// Largest object: 5 TiB, likewise.
const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// Rows read at once.
const PAGE_ROWS: usize = 10_000;

/// Parts in the order of the list, each with its row.
type Chosen<'a> = Vec<(u16, &'a UploadPart)>;

impl Site {
    /// Makes the object of an upload's parts. Repeating a Complete that succeeded answers the same for a day.
    pub async fn complete_upload(&self, object: &ObjectId, upload_id: &str, complete: CompleteUpload) -> Result<Written> {
        self.complete_upload_telling(object, upload_id, complete, Arc::default()).await
    }

    /// The same. `checked` is told once nothing can refuse what the client sent any more but its conditions.
    pub async fn complete_upload_telling(
        &self,
        object: &ObjectId,
        upload_id: &str,
        complete: CompleteUpload,
        checked: Arc<Notify>,
    ) -> Result<Written> {
        // Not its conditions: a repeat finds the object that its first try made. Landing decides them.
        self.refuse_early(object, &WriteConditions::default()).await?;
        let key = (object.clone(), parse_upload_id(upload_id)?);
        let site = self.clone();
        self.unstoppable(async move {
            let _upload = site.inner.uploads.lock(&key.1).await;
            site.complete_locked(&key, complete, &checked).await
        })
        .await
    }

    async fn complete_locked(&self, key: &UploadKey, complete: CompleteUpload, checked: &Notify) -> Result<Written> {
        let list = list_hash(&complete);
        let row = self.inner.status.get::<Uploads>(key).await?.ok_or(Error::NoSuchUpload)?;
        if let UploadState::Done { list: done, stamp, etag, size, checksum } = row.row.state {
            let slot = if row.row.versioned { Slot::Version(stamp) } else { Slot::Null };
            let written = Written { stamp, etag, size, checksum, modified_ms: stamp.ms(), slot, is_buffered: false };
            return if done == list { Ok(written) } else { Err(Error::NoSuchUpload) };
        }
        // Of other parts there is nothing any more.
        if row.row.assembled.is_some_and(|assembled| assembled != list) {
            return Err(Error::NoSuchUpload);
        }
        self.refuse_early(&key.0, &complete.conditions).await?;
        let mut claimed = self.set_state(key, &row, UploadState::Completing { list, write: key.1 }).await?;
        let outcome = self.assemble_and_land(key, &mut claimed, list, &complete, checked).await;
        if outcome.is_err()
            && let Err(err) = self.set_state(key, &claimed, UploadState::Open).await
        {
            // The guard refuses where the object's commit happened after all: then the upload is Done.
            tracing::warn!(object = %key.0, upload = %key.1, error = %err, "a failed Complete left its upload as it is");
        }
        outcome
    }

    /// A step of freeing: the parts of an upload that is completed or aborted go.
    pub(super) async fn set_state(
        &self,
        key: &UploadKey,
        row: &Stored<tables::Upload>,
        state: UploadState,
    ) -> Result<Stored<tables::Upload>> {
        let upload = tables::Upload { state, ..row.row.clone() };
        for _ in 0..super::CONFLICTS_MAX {
            let commit = Commit::new().frees().expect::<Uploads>(key, Some(row.revision)).put::<Uploads>(key, &upload);
            match self.inner.status.commit(commit).await {
                Ok(committed) => {
                    return Ok(Stored { row: upload, revision: committed.revision, seq: row.seq });
                }
                Err(CommitError::Conflict) => self.count_conflict(&key.0.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(Error::OperationAborted("the upload changed meanwhile".into()))
    }

    async fn assemble_and_land(
        &self,
        key: &UploadKey,
        claimed: &mut Stored<tables::Upload>,
        list: [u8; 32],
        complete: &CompleteUpload,
        checked: &Notify,
    ) -> Result<Written> {
        let stored = self.stored_parts(key.1).await?;
        let rows: BTreeMap<u16, &UploadPart> = stored.iter().map(|(number, part)| (*number, &part.row)).collect();
        let chosen = choose(&complete.parts, &rows)?;
        let identity = identity(&claimed.row, &chosen, complete)?;
        checked.notify_one();
        let part_map = part_map(&claimed.row, &chosen);
        let kept: Vec<_> = chosen.iter().map(|(number, part)| kept_part(*number, part)).collect();
        let (attributes, modified_ms) = (Said::from(&identity).attributes(None), self.inner.clock.wall_ms());
        let options = PutOptions { write: key.1, size: Some(identity.size), modified_ms, attributes };
        let whole = self.assemble(key, claimed, list, &kept, options).await?;
        let stored = stored.iter().map(|(number, part)| kept_part(*number, &part.row)).collect();
        let registers = claimed.row.registers.clone();
        let completes = Completes { upload: key.1, row: claimed.clone(), list, stored };
        let landing = Landing::of(&key.0, whole, identity, complete.conditions.clone());
        self.land(landing.with_part_map(part_map).with_registers(registers).completing(completes)).await
    }

    /// Makes one body of parts. Where that uses them up it is written down first of which list: a repeat is answered with what
    /// the store made, whatever it names.
    async fn assemble(
        &self,
        key: &UploadKey,
        claimed: &mut Stored<tables::Upload>,
        list: [u8; 32],
        parts: &[KeptPart],
        options: PutOptions,
    ) -> Result<Kept> {
        let size = options.size;
        if claimed.row.assembled.is_none() && parts.iter().any(|part| part.kept.location == Location::Part) {
            let state = claimed.row.state.clone();
            let noted = tables::Upload { assembled: Some(list), ..claimed.row.clone() };
            *claimed = self.set_state(key, &Stored { row: noted, ..claimed.clone() }, state).await?;
        }
        let whole = match self.inner.backend.assemble(&store_upload(key, &claimed.row), parts, options).await {
            Ok(whole) => whole,
            Err(err @ (backend::Error::NotFound | backend::Error::Changed)) => {
                let number = parts.first().map_or(1, |part| part.number);
                let reason = format!("the store has not all of the parts from this one on as they were uploaded: {err}");
                return Err(Error::InvalidPart { number, reason });
            }
            Err(err) => return Err(err.into()),
        };
        match size == Some(whole.size) {
            true => Ok(whole),
            false => Err(Error::Internal(format!("the store made {} bytes of parts that have {size:?}", whole.size))),
        }
    }

    /// Every part an upload has stored, ascending.
    pub(super) async fn stored_parts(&self, upload: WriteId) -> Result<Vec<(u16, Stored<UploadPart>)>> {
        let mut parts = Vec::new();
        loop {
            let after = parts.last().map(|(number, _)| (upload, *number));
            let page: Page<UploadParts> = self.inner.status.page(&upload, after.as_ref(), PAGE_ROWS).await?;
            parts.extend(page.rows.into_iter().map(|((_, number), part)| (number, part)));
            if !page.more {
                return Ok(parts);
            }
        }
    }
}

/// By this a repeated Complete is known.
pub(super) fn list_hash(complete: &CompleteUpload) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in &complete.parts {
        hash.update(part.number.to_be_bytes());
        hash.update(part.etag.as_ref().map_or("", ETag::as_str));
        hash.update([0]);
    }
    hash.finalize().into()
}

/// The parts that the client names, each checked against what is stored.
fn choose<'a>(named: &[NamedPart], stored: &BTreeMap<u16, &'a UploadPart>) -> Result<Chosen<'a>> {
    if named.is_empty() {
        return Err(Error::InvalidRequest("the list of parts is empty".into()));
    }
    if !named.is_sorted_by(|one, next| one.number < next.number) {
        return Err(Error::InvalidPartOrder);
    }
    let mut chosen = Chosen::with_capacity(named.len());
    for (at, part) in named.iter().enumerate() {
        let invalid = |reason: String| Error::InvalidPart { number: part.number, reason };
        let row = *stored.get(&part.number).ok_or_else(|| invalid("it was not uploaded".into()))?;
        let etag = part_etag(row);
        if part.etag.as_ref().is_some_and(|named| *named != etag) {
            return Err(invalid(format!("its ETag is {etag}")));
        }
        for (algorithm, value) in &part.checksums {
            if !has_checksum(row, *algorithm, value) {
                return Err(invalid(format!("its {} checksum is another", algorithm.name())));
            }
        }
        if at + 1 < named.len() && row.size < PART_BYTES_MIN {
            return Err(Error::EntityTooSmall { number: part.number, size: row.size, minimum: PART_BYTES_MIN });
        }
        chosen.push((part.number, row));
    }
    Ok(chosen)
}

fn has_checksum(row: &UploadPart, algorithm: ChecksumAlgorithm, value: &[u8]) -> bool {
    match &row.checksum {
        Some((known, known_value)) if *known == algorithm => known_value == value,
        _ if algorithm == ChecksumAlgorithm::Crc64Nvme => row.crc64.to_be_bytes() == value,
        // Computed in no such algorithm: there is nothing to compare with.
        _ => false,
    }
}

fn identity(upload: &tables::Upload, chosen: &Chosen<'_>, complete: &CompleteUpload) -> Result<Identity> {
    let size = chosen.iter().map(|(_, part)| part.size).sum();
    if size > OBJECT_BYTES_MAX {
        return Err(Error::EntityTooLarge { size, maximum: OBJECT_BYTES_MAX });
    }
    if let Some(claimed) = complete.size.filter(|claimed| *claimed != size) {
        let reason = format!("x-amz-mp-object-size is {claimed}, the parts have {size} bytes");
        return Err(Error::InvalidRequest(reason));
    }
    let crc64s = chosen.iter().map(|(_, part)| (part.size, part.crc64.to_be_bytes().to_vec()));
    let crc64 = combined(ChecksumAlgorithm::Crc64Nvme, crc64s).expect("CRC-64/NVME can be combined");
    let checksum = object_checksum(upload, chosen, complete)?;
    check_claim(complete, checksum.as_ref(), &crc64)?;
    Ok(Identity {
        size,
        etag: ETag::of_parts(md5_of(chosen.iter().map(|(_, part)| &part.md5)), chosen.len()),
        parts: Parts::Mapped { count: u16::try_from(chosen.len()).expect("part numbers are distinct and below 10,001") },
        crc64: u64::from_be_bytes(crc64.try_into().expect("a CRC-64 has 8 bytes")),
        checksum,
        headers: upload.headers.clone(),
        metadata: upload.metadata.clone(),
        tags: upload.tags.clone(),
    })
}

/// The object's checksum in the upload's algorithm, out of those of its parts.
fn object_checksum(upload: &tables::Upload, chosen: &Chosen<'_>, complete: &CompleteUpload) -> Result<Option<Checksum>> {
    let Some((algorithm, kind)) = upload.checksum else { return Ok(None) };
    if complete.checksum_kind.is_some_and(|claimed| claimed != kind) {
        return Err(Error::InvalidRequest("the checksum type is not the one the upload was started with".into()));
    }
    let mut values = Vec::with_capacity(chosen.len());
    for (number, part) in chosen {
        match &part.checksum {
            Some((known, value)) if *known == algorithm => values.push((part.size, value.clone())),
            _ => {
                let reason = format!("it has no {} checksum", algorithm.name());
                return Err(Error::InvalidPart { number: *number, reason });
            }
        }
    }
    let value = match kind {
        ChecksumKind::Composite => composite(algorithm, values.iter().map(|(_, value)| value)),
        ChecksumKind::FullObject => combined(algorithm, values.into_iter())
            .ok_or_else(|| Error::InvalidRequest(format!("{} has no full-object form", algorithm.name())))?,
    };
    Ok(Some(Checksum { algorithm, kind, value }))
}

/// What the client says of the whole object must be so.
fn check_claim(complete: &CompleteUpload, checksum: Option<&Checksum>, crc64: &[u8]) -> Result<()> {
    let Some((algorithm, claimed)) = &complete.checksum else { return Ok(()) };
    let computed = match checksum {
        Some(checksum) if checksum.algorithm == *algorithm => checksum.value.as_slice(),
        _ if *algorithm == ChecksumAlgorithm::Crc64Nvme => crc64,
        _ => {
            let reason = format!("a {} checksum of the object cannot be verified: its parts have none", algorithm.name());
            return Err(Error::InvalidRequest(reason));
        }
    };
    if computed == claimed.as_slice() {
        return Ok(());
    }
    use base64::Engine;
    let computed = base64::engine::general_purpose::STANDARD.encode(computed);
    Err(Error::BadChecksum { algorithm: *algorithm, computed })
}

fn part_map(upload: &tables::Upload, chosen: &Chosen<'_>) -> Vec<PartEntry> {
    let checksum = |part: &UploadPart| upload.checksum.and(part.checksum.as_ref()).map(|(_, value)| value.clone());
    chosen.iter().map(|(number, part)| PartEntry { number: *number, size: part.size, checksum: checksum(part) }).collect()
}

fn kept_part(number: u16, part: &UploadPart) -> KeptPart {
    let kept = Kept { location: part.location.clone(), binding: part.binding.clone(), size: part.size };
    KeptPart { number, kept }
}

/// A part's ETag: the MD5 of its bytes.
pub(super) fn part_etag(part: &UploadPart) -> ETag {
    ETag::of_md5(part.md5)
}
