//! What a crash left: redone before the first request (protocol §4).
//!
//! Bytes that no row names are garbage; rows without bytes cannot be, since bytes come before rows.

use std::collections::{BTreeMap, BTreeSet};

use super::Site;
use super::error::{Error, Result};
use super::settle::{Left, SettleWorker, Unsettled};
use crate::backend::Place;
use crate::model::{BucketName, Location, ObjectId, Slot, WriteId};
use crate::status::tables::{Settle, Settling, Upload, UploadParts, UploadState, Uploads};
use crate::status::{Commit, Page, Table};

/// Rows read at once.
const PAGE_ROWS: usize = 4_096;

impl Site {
    /// Redoes, makes durable and drops what it can; the settle worker goes on with the rest.
    pub(super) async fn recover(&self) -> Result<()> {
        let with_uploads = self.reopen_uploads().await?;
        self.abort_uploads_of_dead_buckets(with_uploads).await?;
        // Before anything is redone: a redone delete draws a staging name, which no row may name. What rows name is the
        // store's to keep until their closing releases it.
        let keep = self.kept_places().await?;
        self.inner.backend.recover(&keep).await?;
        let redone = self.redo_all().await?;
        if redone > 0 {
            tracing::info!(redone, unsettled = self.unsettled(), kept = keep.len(), "recovered");
        }
        Ok(())
    }

    async fn redo_all(&self) -> Result<usize> {
        let worker = SettleWorker::fresh(self.clone());
        let mut redone = 0;
        let mut after = None;
        loop {
            let page: Page<Settle> = self.inner.status.page(&(), after.as_ref(), PAGE_ROWS).await?;
            let all = page.rows.iter().map(|(write, row)| unsettled(*write, &row.row));
            // What has a name of its own is read there meanwhile: a store may copy for hours.
            let (later, batch): (Vec<_>, Vec<_>) = all.partition(|one| one.left == Left::Copy);
            later.into_iter().for_each(|one| self.inner.settler.add(one));
            redone += batch.len();
            if let Err(reason) = worker.settle_again(batch).await {
                tracing::warn!(reason, "not everything could be redone yet");
            }
            after = page.rows.last().map(|(write, _)| *write);
            if !page.more {
                return Ok(redone);
            }
        }
    }

    /// What rows still name in the store that is not at its name, or may be changed there yet.
    async fn kept_places(&self) -> Result<Vec<Place>> {
        let mut keep = Vec::new();
        self.each_row::<Settle>(|_, row| keep.push(Place { object: row.object().clone(), location: row.location() })).await?;
        let mut files = Vec::new();
        self.each_row::<UploadParts>(|(upload, _), part| files.push((*upload, part.location.clone()))).await?;
        if !files.is_empty() {
            let mut objects = BTreeMap::new();
            self.each_row::<Uploads>(|(object, upload), _| drop(objects.insert(*upload, object.clone()))).await?;
            let place = |(upload, location)| Some(Place { object: objects.get(&upload)?.clone(), location });
            keep.extend(files.into_iter().filter_map(place));
        }
        Ok(keep)
    }

    /// A Complete that a crash interrupted did not happen: its object's commit would have made the upload Done.
    /// Answers which buckets have uploads.
    async fn reopen_uploads(&self) -> Result<BTreeSet<BucketName>> {
        let (mut interrupted, mut buckets) = (Vec::new(), BTreeSet::new());
        self.each_row::<Uploads>(|key, upload| {
            if !buckets.contains(&key.0.bucket) {
                buckets.insert(key.0.bucket.clone());
            }
            if matches!(upload.state, UploadState::Completing { .. }) {
                interrupted.push((key.clone(), upload.clone()));
            }
        })
        .await?;
        for (key, upload) in interrupted {
            let open = Upload { state: UploadState::Open, ..upload };
            let reopened = self.inner.status.commit(Commit::new().frees().put::<Uploads>(&key, &open)).await;
            if let Err(err) = reopened {
                // No reason not to start: a later Complete or Abort takes it as it is.
                tracing::warn!(object = %key.0, upload = %key.1, error = %err, "an interrupted Complete left its upload as it is");
            }
        }
        Ok(buckets)
    }

    /// A bucket dies before its uploads go.
    async fn abort_uploads_of_dead_buckets(&self, with_uploads: BTreeSet<BucketName>) -> Result<()> {
        for bucket in with_uploads {
            match self.bucket_row(&bucket).await {
                Err(Error::NoSuchBucket) => self.abort_uploads_of_dead(&bucket).await,
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Visits every row of a table, page by page.
    pub(super) async fn each_row<T: Table>(&self, mut visit: impl FnMut(&T::Key, &T::Row)) -> Result<()> {
        let mut after = None;
        loop {
            let page: Page<T> = self.inner.status.page(&(), after.as_ref(), PAGE_ROWS).await?;
            page.rows.iter().for_each(|(key, stored)| visit(key, &stored.row));
            after = page.rows.last().map(|(key, _)| key.clone());
            if !page.more {
                return Ok(());
            }
        }
    }
}

fn unsettled(write: WriteId, row: &Settling) -> Unsettled {
    let place = |object: &ObjectId, location: Location| Place { object: object.clone(), location };
    let (place, slot, left) = match row {
        Settling::Publish { object, slot, from, .. } => {
            let location = Location::Staged(*from).of_slot(*slot, write).settled();
            (place(object, location), *slot, Left::Step(Some(*from)))
        }
        Settling::Move { object, slot, .. } => (place(object, Location::Plain), *slot, Left::Copy),
        // Nothing of a record depends on it.
        Settling::Remove { object, location, .. } => (place(object, location.clone()), Slot::Null, Left::Step(None)),
    };
    Unsettled { write, place, slot, left }
}
