//! Bytes under names of their own that nothing names: what a crash left between the store and the commit, or a removal that
//! never came to its end (protocol §11).

use super::Site;
use super::error::Result;
use crate::backend::{self, FoundOwn, Place};
use crate::model::{Location, ObjectId, Record, WriteId};
use crate::peer::SiteState;
use crate::status::Page;
use crate::status::tables::{UploadState, Uploads, Versions};

/// Units of one key that are looked through for the one that has a name.
const UNITS_MAX: usize = 10_000;

impl Site {
    /// Whether bytes under a name of their own are older than `older_ms` and nobody's. What this process named may be about to
    /// get its row, whatever its age, and is left to the next one. A site that may lack rows calls nothing so.
    pub async fn is_orphan(&self, object: &ObjectId, found: &FoundOwn, older_ms: u64) -> Result<bool> {
        let written_ms = found.found.modified_ms.max(found.found.changed_ms.unwrap_or(0));
        let age_ms = self.inner.clock.wall_ms().saturating_sub(written_ms);
        if age_ms < older_ms || self.inner.writes.is_of_this_start(found.write) || self.state() != SiteState::Active {
            return Ok(false);
        }
        Ok(!self.is_named(object, found.write).await? && !self.is_of_upload(object, found.write).await?)
    }

    /// Removes such bytes, unless something names them by now. Answers whether they are gone.
    pub async fn remove_orphan(&self, object: &ObjectId, found: FoundOwn, older_ms: u64) -> Result<bool> {
        let (site, object) = (self.clone(), object.clone());
        self.unstoppable(async move {
            let _key = site.inner.keys.lock(&object).await;
            if !site.is_orphan(&object, &found, older_ms).await? {
                return Ok(false);
            }
            let place = Place { object, location: Location::Own(found.write) };
            if !site.remove_own_name(&place).await? {
                return Ok(false);
            }
            site.inner.backend.harden(std::slice::from_ref(&place)).await?;
            tracing::info!(object = %place.object, write = %found.write, "removed bytes that nothing names");
            Ok(true)
        })
        .await
    }

    /// Removes what is at a name of its own, whatever marks it: a listing may not tell. Answers whether anything was there.
    pub(super) async fn remove_own_name(&self, place: &Place) -> Result<bool> {
        match self.inner.backend.head(place).await {
            Ok(found) => {
                self.inner.backend.delete(place, &found.binding).await?;
                Ok(true)
            }
            Err(backend::Error::NotFound | backend::Error::NoSuchBucket) => Ok(false),
            Err(err) => Err(err.into()),
        }
    }

    /// Whether a version of the key has this name.
    pub(super) async fn is_named(&self, object: &ObjectId, write: WriteId) -> Result<bool> {
        let names = |record: &Record| record.location.own_name() == Some(write);
        if self.current(object).await?.is_some_and(|stored| names(&stored.row)) {
            return Ok(true);
        }
        let page: Page<Versions> = self.inner.status.page(&(object.clone(), ()), None, UNITS_MAX).await?;
        // Of what was not looked through nothing is said.
        Ok(page.more || page.rows.iter().any(|(_, stored)| names(&stored.row)))
    }

    /// Whether the bytes are what an unfinished upload was assembled to: its Complete may be tried again.
    pub(super) async fn is_of_upload(&self, object: &ObjectId, write: WriteId) -> Result<bool> {
        let row = self.inner.status.get::<Uploads>(&(object.clone(), write)).await?;
        Ok(row.is_some_and(|row| !matches!(row.row.state, UploadState::Done { .. })))
    }
}
