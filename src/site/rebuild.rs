//! A status store that was lost, or came back from a snapshot, while the objects stayed: its rows come from the archive
//! before the first request (`journal::replay`), and what the archive had not heard of yet is taken from the store itself
//! while requests are served (protocol §11). Until then an absence here proves nothing.
//!
//! One walk over every bucket, objects of the store and rows side by side. Killed, it begins again: whatever is bound is
//! left as it is.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::claim::Claimed;
use super::claim_own::OwnName;
use super::error::{Error, Result};
use super::{Scrubbed, Site, Standing};
use crate::backend::{self, Found};
use crate::model::{Binding, BucketName, Incarnation, Key, ObjectId, Record};
use crate::status::tables::Objects;
use crate::status::{Checkpoint, Commit, Page, Status, Stored};
use crate::tasks::{Step, Worker};

/// Objects of the store looked at by one step, and rows read at once.
const STEP_OBJECTS: usize = 1_000;
/// Between two looks whether the other sites were compared, whose rows come first.
const LOOK: Duration = Duration::from_millis(500);
/// Past any life of a clock that was turned while it counted, and the time a file system is late by; milliseconds.
const MARGIN_MS: u64 = 60_000;

/// Up to where a site's rows are archived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// The life of the status store whose commits these are.
    pub incarnation: u32,
    /// Every commit up to this one is archived...
    pub revision: u64,
    /// ...and the notes of the archive say so up to this one: those behind it wrote no row that is archived.
    pub named: u64,
    /// What came to its name in the store before this has an archived row. Wall time, milliseconds since 1970.
    pub ms: u64,
}

/// A rebuilding that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuild {
    /// Life and revision of the status store when it was found to be behind: what it has from before is as good as the archive.
    pub before: (Incarnation, u64),
    /// What the archive is to be believed.
    pub archived: Archived,
    /// Whether the archive was read.
    pub replayed: bool,
}

/// Its row stands until everything is rebuilt.
fn checkpoint() -> Checkpoint {
    Checkpoint { name: "rebuild".into(), version: 1 }
}

impl Rebuild {
    /// The one that a status store has not finished.
    pub async fn unfinished(status: &Status) -> Result<Option<Self>> {
        Ok(checkpoint().read(status).await?)
    }

    /// Adds its row to a commit.
    pub fn noted(&self, commit: Commit) -> Commit {
        checkpoint().noted(commit, self)
    }

    /// Whether what came to its name at this time may lack an archived row. A store that does not say when has to be believed.
    pub(super) fn may_lack_row(&self, found: &Found) -> bool {
        found.changed_ms.is_none_or(|changed_ms| changed_ms.saturating_add(MARGIN_MS) >= self.archived.ms)
    }
}

/// What a site knows of its own rebuilding.
#[derive(Debug, Default)]
pub(super) struct Rebuilding(Mutex<Option<Rebuild>>);

impl Rebuilding {
    fn get(&self) -> Option<Rebuild> {
        *self.0.lock().expect("nothing panics while it holds the rebuilding")
    }

    fn set(&self, rebuild: Option<Rebuild>) {
        *self.0.lock().expect("nothing panics while it holds the rebuilding") = rebuild;
    }
}

impl Site {
    /// Recalls at the start that the status store is being rebuilt. Buckets of which it has no row come at once, so that
    /// whoever writes to them does not meet their absence.
    pub(super) async fn note_rebuilding(&self) -> Result<()> {
        let rebuild = Rebuild::unfinished(&self.inner.status).await?;
        self.inner.rebuilding.set(rebuild);
        match rebuild {
            Some(rebuild) => match self.claim_buckets(&rebuild).await {
                // A store that is away keeps nobody from the others: the walk begins with it again.
                Err(Error::Unavailable { reason, .. }) => {
                    tracing::warn!(reason, "not every bucket of the store is known yet");
                    Ok(())
                }
                claimed => claimed,
            },
            None => Ok(()),
        }
    }

    /// Whether the store may hold objects that have no row yet.
    pub fn is_rebuilding(&self) -> bool {
        self.inner.rebuilding.get().is_some()
    }

    pub(super) fn rebuilding(&self) -> Option<Rebuild> {
        self.inner.rebuilding.get()
    }

    /// Refuses to take the absence of a row for that of an object.
    pub(super) fn require_rebuilt(&self) -> Result<()> {
        if !self.is_rebuilding() {
            return Ok(());
        }
        let reason = "the status store of this site was lost and is being rebuilt: it does not know everything it has yet";
        Err(Error::Unavailable { reason: reason.into(), retry_after: Duration::from_secs(2) })
    }

    /// Up to where the archive was believed when this began; later rows say nothing of what is still to be found.
    pub fn rebuilds_from(&self) -> Option<Archived> {
        self.rebuilding().map(|rebuild| rebuild.archived)
    }

    async fn rebuilt(&self) -> Result<()> {
        self.inner.status.commit(checkpoint().removed()).await?;
        self.inner.rebuilding.set(None);
        Ok(())
    }
}

/// Walks over the store once, and is idle for ever after.
#[derive(Debug)]
pub(super) struct Rebuilder {
    site: Site,
    /// Buckets that are still to be walked over, the next one last; `None` before the first step.
    buckets: Option<Vec<BucketName>>,
    /// Where it stands in the last of them.
    after: Option<Key>,
    /// Whether it is through with the keys' own names there, and where it stands in the names of versions.
    own: Option<Option<OwnName>>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    looked_at: u64,
    adopted: u64,
    rebound: u64,
    removed: u64,
    foreign: u64,
    lost: u64,
}

impl Rebuilder {
    pub fn new(site: Site) -> Self {
        Self { site, buckets: None, after: None, own: None, counts: Counts::default() }
    }

    async fn work(&mut self) -> Result<Step> {
        // What the others know comes first: it is more than can be seen in the store. One that does not answer is not waited
        // for, since what is taken here gives way to what it knows.
        if !self.site.is_rebuilding() || self.awaits_others() {
            return Ok(Step::Idle);
        }
        if self.buckets.is_none() {
            if let Some(rebuild) = self.site.rebuilding() {
                self.site.claim_buckets(&rebuild).await?;
            }
            let mut buckets: Vec<_> = self.site.buckets().await?.into_iter().map(|bucket| bucket.name).collect();
            buckets.reverse();
            tracing::info!(buckets = buckets.len(), "looking in the store for objects that the archive had not heard of");
            self.buckets = Some(buckets);
        }
        let Some(bucket) = self.buckets.as_ref().and_then(|buckets| buckets.last().cloned()) else {
            self.site.rebuilt().await?;
            let Counts { looked_at, adopted, rebound, removed, foreign, lost } = self.counts;
            tracing::info!(looked_at, adopted, rebound, removed, foreign, lost, "the status store is rebuilt");
            return Ok(Step::Idle);
        };
        match self.own.take() {
            None => {
                self.after = self.stretch(&bucket).await?;
                self.own = self.after.is_none().then_some(None);
                return Ok(Step::Worked);
            }
            Some(after) => {
                let claims = self.site.claim_own(&bucket, after).await?;
                self.counts.looked_at += claims.looked_at;
                self.counts.adopted += claims.adopted;
                self.own = claims.next.map(Some);
            }
        }
        if self.own.is_none() {
            self.buckets.iter_mut().for_each(|buckets| drop(buckets.pop()));
            tracing::info!(%bucket, counts = ?self.counts, "rebuilt");
        }
        Ok(Step::Worked)
    }

    fn awaits_others(&self) -> bool {
        let mut others = self.site.inner.neighbours.iter();
        others.any(|other| other.awaits_comparison() && other.standing() != Standing::Unreachable)
    }

    /// Looks at what the store and the rows have behind `after`. Answers where to go on.
    async fn stretch(&mut self, bucket: &BucketName) -> Result<Option<Key>> {
        let found = self.listed(bucket).await?;
        let end = found.last().map(|found| found.key.clone()).filter(|_| found.len() >= STEP_OBJECTS);
        let mut found: BTreeMap<Key, Found> = found.into_iter().map(|found| (found.key.clone(), found)).collect();
        let mut after = self.after.clone();
        loop {
            let from = after.as_ref().map(|key| ObjectId { bucket: bucket.clone(), key: key.clone() });
            let page: Page<Objects> = self.site.inner.status.page(bucket, from.as_ref(), STEP_OBJECTS).await?;
            for (object, row) in &page.rows {
                if end.as_ref().is_some_and(|end| object.key > *end) {
                    break;
                }
                let found = found.remove(&object.key);
                self.look(object, Some(row), found).await?;
            }
            after = page.rows.last().map(|(object, _)| object.key.clone());
            if !page.more || end.as_ref().is_some_and(|end| after.as_ref() > Some(end)) {
                break;
            }
        }
        for (key, found) in found {
            self.look(&ObjectId { bucket: bucket.clone(), key }, None, Some(found)).await?;
        }
        Ok(end)
    }

    async fn listed(&self, bucket: &BucketName) -> Result<Vec<Found>> {
        let mut listing = self.site.inner.backend.list(bucket, self.after.as_ref());
        let mut all = Vec::new();
        while all.len() < STEP_OBJECTS
            && let Some(found) = listing.next().await
        {
            match found {
                Ok(found) => all.push(found),
                // Its objects are lost, all of them.
                Err(backend::Error::NoSuchBucket) => break,
                Err(err) => return Err(err.into()),
            }
        }
        Ok(all)
    }

    /// One key: what the store has of it, and what its row says.
    async fn look(&mut self, object: &ObjectId, row: Option<&Stored<Record>>, found: Option<Found>) -> Result<()> {
        self.counts.looked_at += 1;
        let is_bound =
            |row: &Stored<Record>| row.row.has_bytes() && found.as_ref().is_some_and(|found| found.binding == row.row.binding);
        if row.is_some_and(is_bound) {
            return Ok(());
        }
        // A listing that tells no bindings leaves it to the bytes.
        if let (Some(row), Some(Binding::None)) = (row, found.as_ref().map(|found| &found.binding))
            && self.site.scrub(object, row, false).await? == Scrubbed::Sound
        {
            return Ok(());
        }
        // What is still to be imported is no loss.
        if row.is_none() && self.site.is_walked(&object.bucket) {
            return Ok(());
        }
        if found.is_some() {
            match self.site.claim(object).await? {
                Claimed::Adopted => self.counts.adopted += 1,
                Claimed::Rebound => self.counts.rebound += 1,
                Claimed::Removed => self.counts.removed += 1,
                Claimed::Foreign => {
                    tracing::warn!(%object, "bytes in the store that belong to no object: they are left alone");
                    self.counts.foreign += 1;
                }
                Claimed::Left => return self.mend(object).await,
            }
            return Ok(());
        }
        self.mend(object).await
    }

    /// A row whose bytes may be missing.
    async fn mend(&mut self, object: &ObjectId) -> Result<()> {
        let Some(now) = self.site.current(object).await? else { return Ok(()) };
        let scrubbed = self.site.scrub(object, &now, false).await?;
        if scrubbed == Scrubbed::Sound || scrubbed == Scrubbed::Busy {
            return Ok(());
        }
        self.counts.lost += 1;
        self.site.mend(object, &now, scrubbed).await.map(drop)
    }
}

#[async_trait]
impl Worker for Rebuilder {
    fn name(&self) -> &str {
        "rebuild"
    }

    async fn step(&mut self) -> Result<Step, String> {
        self.work().await.map_err(|err| err.to_string())
    }

    async fn wait(&mut self) {
        match self.site.is_rebuilding() {
            true => tokio::time::sleep(LOOK).await,
            false => std::future::pending().await,
        }
    }
}
