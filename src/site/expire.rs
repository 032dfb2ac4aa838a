//! Rows that have served: graves nobody can need any more, and finished uploads kept for repeated Completes.

use std::time::Duration;

use async_trait::async_trait;

use super::Site;
use super::error::Result;
use crate::status::tables::{UploadState, Uploads};
use crate::status::{Commit, CommitError, Page, Revision, Table};
use crate::tasks::{Step, Worker};

/// How long a finished upload answers a repeated Complete.
const DONE_KEPT_MS: u64 = 24 * 3_600_000;
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(600);
/// Rows read at once.
const PAGE_ROWS: usize = 1_000;

/// Drops rows that have served.
#[derive(Debug)]
pub(super) struct Expirer {
    site: Site,
}

impl Expirer {
    pub fn new(site: Site) -> Self {
        Self { site }
    }

    /// Drops the rows of `T` that `served` names. Every one of them is guarded: it may be needed again by now.
    async fn drop_rows<T: Table>(&self, served: impl Fn(&T::Row) -> bool + Send + Sync) -> Result<u64> {
        let mut dropped = 0;
        let mut after = None;
        loop {
            let page: Page<T> = self.site.inner.status.page(&(), after.as_ref(), PAGE_ROWS).await?;
            for (key, stored) in page.rows.iter().filter(|(_, stored)| served(&stored.row)) {
                dropped += u64::from(self.drop_row::<T>(key, stored.revision).await?);
            }
            after = page.rows.last().map(|(key, _)| key.clone());
            if !page.more {
                return Ok(dropped);
            }
        }
    }

    async fn drop_row<T: Table>(&self, key: &T::Key, revision: Revision) -> Result<bool> {
        let commit = Commit::new().frees().expect::<T>(key, Some(revision)).delete::<T>(key);
        match self.site.inner.status.commit(commit).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(err) => Err(err.into()),
        }
    }

    async fn expire(&self) -> Result<()> {
        let now = self.site.inner.clock.wall_ms();
        let older = |then: u64, kept: u64| now.saturating_sub(then) > kept;
        let uploads = self
            .drop_rows::<Uploads>(
                |upload| matches!(upload.state, UploadState::Done { stamp, .. } if older(stamp.ms(), DONE_KEPT_MS)),
            )
            .await?;
        let graves = self.site.drop_served_graves().await?;
        if uploads + graves > 0 {
            tracing::info!(uploads, graves, "dropped rows that have served");
        }
        Ok(())
    }
}

#[async_trait]
impl Worker for Expirer {
    fn name(&self) -> &str {
        "expire"
    }

    async fn step(&mut self) -> Result<Step, String> {
        self.expire().await.map_err(|err| err.to_string())?;
        Ok(Step::Idle)
    }

    async fn wait(&mut self) {
        tokio::time::sleep(PAUSE).await;
    }
}
