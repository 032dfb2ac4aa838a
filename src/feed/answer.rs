//! The answers to another site's questions.

use std::ops::Range;
use std::time::Duration;

use tokio::time::timeout;

use crate::backend::Body;
use crate::model::{BucketName, ObjectId, Replica, Seq, SiteNumber, Stamp, Telling, Unit};
use crate::peer::{
    Digest, DigestAsk, Error, Fetched, Heads, KeyRange, LogAsk, LogPage, PROTOCOL, Result, RowsPage, SMALL_BYTES_MAX,
};
use crate::reconcile;
use crate::replicate::heads_for;
use crate::site::{self, Site};
use crate::status::tables::{Pending, Receipts};
use crate::status::{Commit, CommitError, Page};

/// Entries of one page of the log, at the most.
const ENTRIES_MAX: usize = 1_000;
/// Units of one request, at the most.
const UNITS_MAX: usize = 256;
/// Ranges of one request, at the most: each is read and hashed.
const RANGES_MAX: usize = 256;
/// Bytes of all bodies of one answer, at the most.
const BODIES_BYTES_MAX: u64 = 4 << 20;
/// Longest time a heartbeat is held back.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// What this site lets others read.
#[derive(Clone, Debug)]
pub struct Feed {
    site: Site,
}

impl Feed {
    pub fn new(site: Site) -> Self {
        Self { site }
    }

    /// The handshake and the heartbeat: at once if something was told that `reader` does not know, else after `wait`.
    pub async fn heads(&self, reader: SiteNumber, theirs: Heads, wait: Duration) -> Result<Heads> {
        self.check(reader, &theirs)?;
        self.refuse_paused(reader)?;
        let life = self.site.status().facts().incarnation;
        let known = theirs.received.filter(|(incarnation, _)| *incarnation == life).map_or(Seq(0), |(_, seq)| seq);
        let mut told = self.site.status().told();
        // Dropped with the site, which then answers nobody.
        let _ = timeout(wait.min(WAIT_MAX), told.wait_for(|seq| *seq > known)).await;
        heads_for(&self.site, reader).await.map_err(here)
    }

    fn check(&self, reader: SiteNumber, theirs: &Heads) -> Result<()> {
        if theirs.protocol != PROTOCOL {
            let found = theirs.protocol;
            return Err(Error::Refused(format!("this site speaks version {PROTOCOL} of the feed, the reader version {found}")));
        }
        if theirs.site != reader {
            return Err(Error::Refused(format!(
                "the token is that of site {}, the reader says it is site {}",
                reader.0, theirs.site.0
            )));
        }
        if reader == self.site.id().number {
            return Err(Error::Refused(format!("both sites have the number {}: each needs its own", reader.0)));
        }
        Ok(())
    }

    /// A site that is paused here reads nothing of this one, and takes it for unreachable. One that is not may read
    /// everything: a bucket that is told to some sites only may have to come back from any of them.
    fn refuse_paused(&self, reader: SiteNumber) -> Result<()> {
        match self.site.neighbours().get(reader) {
            Some(neighbour) if neighbour.seen().is_paused() => {
                Err(Error::Refused("traffic between the two was paused there".into()))
            }
            _ => Ok(()),
        }
    }

    /// What was told to `reader` after a seq. Asking says that receipts up to there have served.
    pub async fn log(&self, reader: SiteNumber, ask: LogAsk) -> Result<LogPage> {
        self.refuse_paused(reader)?;
        let incarnation = self.site.status().facts().incarnation;
        if ask.received.0 == incarnation {
            self.forget_receipts(reader, ask.received.1).await?;
        }
        // Before the rows are read: everything up to here is among them.
        let now = *self.site.status().told().borrow();
        let rows_max = ask.entries_max.clamp(1, ENTRIES_MAX);
        let after = (reader, ask.after);
        let pending: Page<Pending> = self.site.status().page(&reader, Some(&after), rows_max).await.map_err(here)?;
        let receipts: Page<Receipts> = self.site.status().page(&reader, Some(&after), rows_max).await.map_err(here)?;
        let ends = [(pending.more, last(&pending.rows)), (receipts.more, last(&receipts.rows))];
        let cut = ends.into_iter().filter_map(|(more, last)| last.filter(|_| more)).min();
        let all = pending.rows.into_iter().chain(receipts.rows).map(|((_, seq), stored)| (seq, stored.row));
        let mut entries: Vec<(Seq, Telling)> = all.filter(|(seq, _)| cut.is_none_or(|cut| *seq <= cut)).collect();
        entries.sort_by_key(|(seq, _)| *seq);
        Ok(LogPage { incarnation, entries, through: cut.unwrap_or(now), more: cut.is_some() })
    }

    async fn forget_receipts(&self, reader: SiteNumber, through: Seq) -> Result<()> {
        let page: Page<Receipts> = self.site.status().page(&reader, None, ENTRIES_MAX).await.map_err(here)?;
        let served = page.rows.iter().map(|(key, _)| key).take_while(|(_, seq)| *seq <= through);
        let commit = served.fold(Commit::new(), |commit, key| commit.delete::<Receipts>(key));
        if commit.is_empty() {
            return Ok(());
        }
        match self.site.status().commit(commit).await {
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(err) => Err(here(err)),
        }
    }

    /// The state of units, in order; small bodies come along as long as there is room.
    pub async fn fetch(&self, reader: SiteNumber, units: &[Unit]) -> Result<Vec<Fetched>> {
        self.refuse_paused(reader)?;
        if units.len() > UNITS_MAX {
            return Err(Error::Refused(format!("{} units were asked for at once, {UNITS_MAX} are allowed", units.len())));
        }
        let (mut all, mut room) = (Vec::with_capacity(units.len()), BODIES_BYTES_MAX);
        // Of what was not written lately the rows are read at once.
        let objects: Vec<ObjectId> = units.iter().filter_map(Unit::object).cloned().collect();
        self.site.status().objects(&objects).await.map_err(here)?;
        for unit in units {
            let replica = self.site.replica(unit).await.map_err(here)?;
            let bytes = self.small_bytes(unit, &replica, room).await;
            room -= bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            all.push(Fetched { replica, bytes });
        }
        Ok(all)
    }

    /// The bytes of a small object. Where they cannot be read now, the reader opens them later and hears why not.
    async fn small_bytes(&self, unit: &Unit, replica: &Replica, room: u64) -> Option<Vec<u8>> {
        let (Unit::Object { object, .. }, Replica::Live(live)) = (unit, replica) else { return None };
        let size = live.identity.size;
        if !live.has_bytes || size == 0 || size > SMALL_BYTES_MAX || size > room {
            return None;
        }
        let body = self.site.open_replica(object, live.vector.data, 0..size).await.ok()??;
        body.collect(usize::try_from(SMALL_BYTES_MAX).ok()?).await.ok().map(|bytes| bytes.to_vec())
    }

    /// Bytes of an object, as long as its data has this stamp.
    pub async fn open(&self, reader: SiteNumber, object: &ObjectId, data: Stamp, range: Range<u64>) -> Result<Body> {
        self.refuse_paused(reader)?;
        self.site.open_replica(object, data, range).await.map_err(here)?.ok_or(Error::Changed)
    }

    pub async fn digests(&self, reader: SiteNumber, ask: DigestAsk) -> Result<Vec<Digest>> {
        self.refuse_paused(reader)?;
        if ask.ranges.len() > RANGES_MAX {
            return Err(Error::Refused(format!("{} ranges were asked for at once, {RANGES_MAX} are allowed", ask.ranges.len())));
        }
        reconcile::digests(&self.site, &ask).await.map_err(here)
    }

    pub async fn rows(&self, reader: SiteNumber, bucket: &BucketName, range: KeyRange, rows_max: usize) -> Result<RowsPage> {
        self.refuse_paused(reader)?;
        reconcile::rows(&self.site, bucket, &range, rows_max).await.map_err(here)
    }

    /// Every bucket known here, deleted ones too.
    pub async fn buckets(&self, reader: SiteNumber) -> Result<Vec<BucketName>> {
        self.refuse_paused(reader)?;
        self.site.known_buckets().await.map_err(here)
    }
}

fn last<R>(rows: &[((SiteNumber, Seq), R)]) -> Option<Seq> {
    rows.last().map(|((_, seq), _)| *seq)
}

/// A fault of this site says nothing of what it has.
fn here(err: impl Into<site::Error>) -> Error {
    Error::Unreachable(format!("it has a fault: {}", err.into()))
}
