//! Whether the bytes of an object are those of its record, looked at without a client who waits for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crc_fast::CrcAlgorithm;
use futures::StreamExt;

use super::error::Result;
use super::get::without_bucket;
use super::heal::{Healed, settled_place};
use super::read_through::{SOURCE_PATIENCE, fetched, open};
use super::{Applied, CONFLICTS_MAX, Neighbour, Site, Standing};
use crate::backend::{self, Body, BodyError};
use crate::model::{ObjectId, Record, Replica, Slot, State, Unit};
use crate::status::tables::Work;
use crate::status::{Commit, CommitError, Stored};

/// Objects whose rotten bytes are looked at at once, because a read met them.
pub(super) const MENDED_AT_ONCE: usize = 4;

/// What was found of an object's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrubbed {
    Sound,
    /// None are there.
    Lost,
    /// Others are there, as their name in the store says.
    Other,
    /// They are the ones that were stored, and have not the checksum they had.
    Rotten,
    /// The object changed meanwhile: nothing can be said.
    Busy,
}

impl Site {
    /// Looks at the bytes of a record; `deep` reads all of them. Nothing is changed.
    pub async fn scrub(&self, object: &ObjectId, seen: &Stored<Record>, deep: bool) -> Result<Scrubbed> {
        let range = if deep { 0..seen.row.identity.size } else { 0..0 };
        let found = match self.open_bytes(object, &seen.row, range).await {
            Ok(_) if !deep || seen.row.state == State::Unread => Scrubbed::Sound,
            Ok(body) => match has_checksum(body, seen.identity.crc64).await? {
                true => Scrubbed::Sound,
                false => Scrubbed::Rotten,
            },
            Err(backend::Error::NotFound | backend::Error::Changed) => {
                match self.inner.backend.head(&settled_place(object, &seen.row)).await.map_err(without_bucket) {
                    Ok(found) if found.binding != seen.row.binding => Scrubbed::Other,
                    Ok(_) | Err(backend::Error::NotFound) => Scrubbed::Lost,
                    Err(err) => return Err(err.into()),
                }
            }
            Err(err) => return Err(err.into()),
        };
        let now = self.inner.status.unit(object, seen.row.slot()).await?.map(|now| now.revision);
        Ok(if now == Some(seen.revision) { found } else { Scrubbed::Busy })
    }

    /// Sees to what [`Site::scrub`] found: bytes that are back are taken, others are never believed where there are other
    /// sites, what is missing is to be fetched from one of them (protocol §5), and what rotted is replaced. Answers whether
    /// that is so.
    pub async fn mend(&self, object: &ObjectId, seen: &Stored<Record>, found: Scrubbed) -> Result<bool> {
        match found {
            Scrubbed::Sound | Scrubbed::Busy => Ok(true),
            Scrubbed::Lost | Scrubbed::Other => match self.heal(object, seen).await? {
                Healed::Differs => Ok(true),
                Healed::Gone => self.fetch_again(object, seen.row.slot()).await,
            },
            // Nobody else has them: they stay for whoever knows how to read them.
            Scrubbed::Rotten => {
                let (stamp, alone) = (seen.vector.data, self.inner.neighbours.is_empty());
                tracing::error!(%stamp, %object, alone, "the stored bytes do not have the checksum of their record");
                self.inner.counters.rotten.fetch_add(1, Ordering::Relaxed);
                self.replace_rotten(object, seen).await
            }
        }
    }

    /// Looks once more, beside whatever else goes on, at bytes that a read found rotten, and sees to what it finds. Where too
    /// many are being looked at already, the next read of it finds them again.
    pub(super) fn mend_soon(&self, object: ObjectId, seen: Arc<Stored<Record>>) {
        if self.inner.neighbours.is_empty() {
            return;
        }
        let Ok(room) = Arc::clone(&self.inner.mending).try_acquire_owned() else { return };
        let Some(restoring) = self.begin_restoring(&Unit::of(&object, seen.row.slot())) else { return };
        let site = self.clone();
        tokio::spawn(async move {
            let _held = (room, restoring);
            if let Err(err) = site.scrub_and_mend(&object, &seen).await {
                tracing::warn!(%object, error = %err, "rotten bytes could not be mended now: the next read of them tries again");
            }
        });
    }

    /// Reads all bytes of a record, and sees to what it finds. `false`: they are rotten, and nobody has others.
    pub(super) async fn scrub_and_mend(&self, object: &ObjectId, seen: &Stored<Record>) -> Result<bool> {
        let found = self.scrub(object, seen, true).await?;
        self.mend(object, seen, found).await
    }

    /// Rotten bytes stay until sound ones have come: they may be all there is of the object, and ranges of it sound. Answers
    /// whether any site had them.
    async fn replace_rotten(&self, object: &ObjectId, seen: &Stored<Record>) -> Result<bool> {
        for neighbour in self.inner.neighbours.iter().filter(|one| one.standing() != Standing::Unreachable) {
            match self.replaced_from(neighbour, object, seen).await {
                Ok(true) => {
                    tracing::warn!(stamp = %seen.vector.data, %object, peer = %neighbour.id.name, "rotten bytes were replaced");
                    return Ok(true);
                }
                Ok(false) => {}
                Err(reason) => tracing::debug!(%object, peer = %neighbour.id.name, reason, "asked for sound bytes in vain"),
            }
        }
        Ok(false)
    }

    /// Whether a site has what the record says, and its bytes are here now.
    async fn replaced_from(&self, neighbour: &Neighbour, object: &ObjectId, seen: &Stored<Record>) -> Result<bool, String> {
        let unit = Unit::of(object, seen.row.slot());
        let fetched = fetched(&*neighbour.peer, &unit, SOURCE_PATIENCE).await?;
        let Replica::Live(live) = fetched.replica else { return Ok(false) };
        if live.vector != seen.vector || !live.has_bytes {
            return Ok(false);
        }
        let body = open(neighbour, object, live.vector.data, 0..live.identity.size).await?;
        let corrected = self.correct(&unit, Replica::Live(live), Some(body)).await;
        corrected.map(|applied| matches!(applied, Applied::Reached(_) | Applied::Part(_))).map_err(|err| err.to_string())
    }

    /// Whether somebody can be asked for the bytes of a record that lacks them; then they are. A conflict may be about the work
    /// alone: the record still wants its bytes.
    async fn fetch_again(&self, object: &ObjectId, slot: Slot) -> Result<bool> {
        let unit = Unit::of(object, slot);
        let from = self.inner.neighbours.numbers();
        for _ in 0..CONFLICTS_MAX {
            let now = self.inner.status.unit(object, slot).await?;
            // A file that went before anybody had read it: nobody else was told of it.
            if now.as_ref().is_some_and(|now| now.row.state == State::Unread) {
                return Ok(false);
            }
            let Some(now) = now.filter(|now| now.row.state == State::Wanted) else { return Ok(true) };
            if from.is_empty() || self.inner.status.get::<Work>(&unit).await?.is_some() {
                return Ok(!from.is_empty());
            }
            let commit = Commit::new().expect_unit(object, slot, Some(now.revision));
            let commit = self.with_work(&unit, now.row.vector, &from, 0, commit).await?;
            match self.inner.status.commit(commit).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Conflict) => self.count_conflict(&object.bucket),
                Err(err) => return Err(err.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }
}

/// Whether a body, read to its end, is whole and has a CRC-64/NVME. A store that cannot be read says nothing about it.
pub(super) async fn has_checksum(mut body: Body, crc64: u64) -> backend::Result<bool> {
    let mut digest = crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme);
    let mut whole = true;
    while let Some(chunk) = body.stream.next().await {
        match chunk {
            Ok(chunk) => digest.update(&chunk),
            Err(BodyError::Truncated(_)) => whole = false,
            Err(err) => return Err(backend::Error::Body(err)),
        }
    }
    Ok(whole && digest.finalize() == crc64)
}
