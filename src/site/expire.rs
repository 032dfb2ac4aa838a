//! Rows that have served: graves nobody can need any more, and finished uploads kept for repeated Completes.

use std::time::Duration;

use async_trait::async_trait;

use super::Site;
use super::error::Result;
use crate::status::tables::{Upload, UploadState, Uploads};
use crate::status::{Commit, Page};
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

    /// Drops uploads that were finished more than a day ago, a page at a time: there may come more of them in a second than
    /// commits that wait for each other.
    async fn drop_done_uploads(&self) -> Result<u64> {
        let now = self.site.inner.clock.wall_ms();
        let served = |upload: &Upload| matches!(upload.state, UploadState::Done { stamp, .. } if now.saturating_sub(stamp.ms()) > DONE_KEPT_MS);
        let mut dropped = 0;
        let mut after = None;
        loop {
            let page: Page<Uploads> = self.site.inner.status.page(&(), after.as_ref(), PAGE_ROWS).await?;
            let done: Vec<_> = page.rows.iter().filter(|(_, stored)| served(&stored.row)).collect();
            // Nothing changes one any more: without a guard, since it may only be gone already.
            let commit = done.iter().fold(Commit::new().frees(), |commit, (key, _)| commit.delete::<Uploads>(key));
            if !done.is_empty() {
                self.site.inner.status.commit(commit).await?;
            }
            dropped += done.len() as u64;
            after = page.rows.last().map(|(key, _)| key.clone());
            if !page.more {
                return Ok(dropped);
            }
        }
    }

    async fn expire(&self) -> Result<()> {
        let uploads = self.drop_done_uploads().await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Incarnation, SiteNumber, Slot, Stamp, StampParts, WriteId,
    };
    use crate::site::testing::{object, site};
    use crate::status::tables::{Grave, Graves};

    const ROWS: u64 = 300;

    /// Long ago.
    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
    }

    fn done(ms: u64) -> Upload {
        let checksum = Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::FullObject, value: vec![0; 4] };
        Upload {
            state: UploadState::Done { list: [0; 32], stamp: stamp(ms), etag: ETag::new("e"), size: 1, checksum },
            initiated_ms: ms,
            owner: String::new(),
            headers: Default::default(),
            metadata: Default::default(),
            tags: Default::default(),
            checksum: None,
            registers: Default::default(),
            versioned: false,
            token: String::new(),
            assembled: None,
        }
    }

    #[tokio::test]
    async fn rows_that_have_served_go_many_at_a_time() {
        let site = site().await;
        let mut commit = Commit::new();
        for ms in 1..=ROWS {
            let grave = Grave { stamp: stamp(ms), base: None, told: None, purged: None };
            commit = commit.put::<Graves>(&(object(&format!("{ms:03}")), Slot::Null), &grave);
            commit = commit.put::<Uploads>(&(object("a"), WriteId::new(Incarnation(1), 1, ms)), &done(ms));
        }
        site.status().commit(commit).await.unwrap();
        let before = site.status().stats().commits;
        Expirer::new(site.clone()).expire().await.unwrap();
        assert_eq!((site.status().rows::<Graves>().await.unwrap(), site.status().rows::<Uploads>().await.unwrap()), (0, 0));
        assert_eq!(site.status().stats().commits - before, 2);
        assert_eq!(site.horizon(&object("a").bucket).await.unwrap(), Some(stamp(ROWS)));
    }
}
