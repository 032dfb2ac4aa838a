//! Whether the bytes of an object are those of its record, looked at without a client who waits for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crc_fast::CrcAlgorithm;
use futures::StreamExt;

use super::error::Result;
use super::get::without_bucket;
use super::heal::Healed;
use super::{CONFLICTS_MAX, Site, plain};
use crate::backend::{self, Body, BodyError};
use crate::model::{Binding, Location, ObjectId, Record, State, Unit};
use crate::status::tables::{Objects, Work};
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
            Ok(_) if !deep => Scrubbed::Sound,
            Ok(body) => match has_checksum(body, seen.identity.crc64).await? {
                true => Scrubbed::Sound,
                false => Scrubbed::Rotten,
            },
            Err(backend::Error::NotFound | backend::Error::Changed) => {
                match self.inner.backend.head(&plain(object)).await.map_err(without_bucket) {
                    Ok(found) if found.binding != seen.row.binding => Scrubbed::Other,
                    Ok(_) | Err(backend::Error::NotFound) => Scrubbed::Lost,
                    Err(err) => return Err(err.into()),
                }
            }
            Err(err) => return Err(err.into()),
        };
        let now = self.current(object).await?.map(|now| now.revision);
        Ok(if now == Some(seen.revision) { found } else { Scrubbed::Busy })
    }

    /// Sees to what [`Site::scrub`] found: bytes that are back are taken, others are never believed where there are other
    /// sites, and what is missing is to be fetched from one of them (protocol §5). Answers whether it will be.
    pub async fn mend(&self, object: &ObjectId, seen: &Stored<Record>, found: Scrubbed) -> Result<bool> {
        match found {
            Scrubbed::Sound | Scrubbed::Busy => Ok(true),
            Scrubbed::Lost | Scrubbed::Other => match self.heal(object, seen).await? {
                Healed::Differs => Ok(true),
                Healed::Gone => self.fetch_again(object).await,
            },
            // Nobody else has them: they stay for whoever knows how to read them.
            Scrubbed::Rotten if self.inner.neighbours.is_empty() => Ok(false),
            Scrubbed::Rotten => self.condemn(object, seen).await,
        }
    }

    /// Looks once more, beside whatever else goes on, at bytes that a read found rotten, and sees to what it finds. Where too
    /// many are being looked at already, the next read of it finds them again.
    pub(super) fn mend_soon(&self, object: ObjectId, seen: Arc<Stored<Record>>) {
        if self.inner.neighbours.is_empty() {
            return;
        }
        let Ok(room) = Arc::clone(&self.inner.mending).try_acquire_owned() else { return };
        let site = self.clone();
        tokio::spawn(async move {
            let _room = room;
            if let Err(err) = site.mend_rotten(&object, &seen).await {
                tracing::warn!(%object, error = %err, "rotten bytes could not be mended now: the next read of them tries again");
            }
        });
    }

    async fn mend_rotten(&self, object: &ObjectId, seen: &Stored<Record>) -> Result<bool> {
        let found = self.scrub(object, seen, true).await?;
        self.mend(object, seen, found).await
    }

    /// The bytes are worth nothing any more, whatever their name in the store says: the record wants others.
    async fn condemn(&self, object: &ObjectId, seen: &Stored<Record>) -> Result<bool> {
        let (site, object, seen) = (self.clone(), object.clone(), seen.clone());
        self.unstoppable(async move {
            let _key = site.inner.keys.lock(&object).await;
            tracing::error!(stamp = %seen.row.vector.data, %object, "the stored bytes rotted: the object's own are fetched again");
            site.inner.counters.rotten.fetch_add(1, Ordering::Relaxed);
            // Without their binding they are not taken for the lost ones that are back.
            let record = Record { state: State::Wanted, location: Location::Plain, binding: Binding::None, ..seen.row.clone() };
            let condemned = |commit: Commit| commit.put::<Objects>(&object, &record);
            site.fetch_from_others(&object, &seen, condemned).await
        })
        .await
    }

    /// Whether somebody can be asked for the bytes of a record that lacks them; then they are.
    async fn fetch_again(&self, object: &ObjectId) -> Result<bool> {
        let Some(now) = self.current(object).await?.filter(|now| now.row.state == State::Wanted) else { return Ok(true) };
        if self.inner.neighbours.is_empty() || self.inner.status.get::<Work>(&Unit::null(object)).await?.is_some() {
            return Ok(!self.inner.neighbours.is_empty());
        }
        self.fetch_from_others(object, &now, |commit| commit).await
    }

    /// Commits that every other site is to be asked for the bytes of a record, with what `and` adds, unless the record is
    /// another one by now. A conflict may be about the work alone: then the record still wants its bytes.
    async fn fetch_from_others(&self, object: &ObjectId, seen: &Stored<Record>, and: impl Fn(Commit) -> Commit) -> Result<bool> {
        for _ in 0..CONFLICTS_MAX {
            if self.current(object).await?.is_none_or(|now| now.revision != seen.revision) {
                return Ok(true);
            }
            let commit = and(Commit::new().expect::<Objects>(object, Some(seen.revision)));
            let commit = self.with_work(object, seen.row.vector, &self.inner.neighbours.numbers(), 0, commit).await?;
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
