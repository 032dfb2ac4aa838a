//! Reads an archive back into a status store that lost rows: before the site is opened, while nobody else writes.
//!
//! Every row is held against what is there, and the later state stays; so reading it twice, or after a crash from its
//! beginning, comes to the same. Rows get new revisions, and no seq: nobody was told of them in this life.

use std::collections::HashMap;

use super::notes::{Part, covered, rows, sort};
use super::owner::Refused;
use crate::backend::Backend;
use crate::model::{Bucket, BucketName, Grave, Incarnation, ObjectId, PartEntry, Record, SiteNumber, Slot, State, Told, WriteId};
use crate::site::{self, Rebuild, chunks_of, without_part_map};
use crate::status::tables::{Buckets, Graves, Objects, PartMaps, Settle, Settling, UploadParts, UploadState, Uploads, Versions};
use crate::status::{Commit, Page, RawRow, ReadError, Revision, Status, Stored};

/// Rows of one commit.
const COMMIT_ROWS: usize = 1_000;
/// Notes between two lines of the log.
const NOTES_PER_LINE: usize = 100;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub notes: u64,
    pub rows: u64,
    /// Rows that were newer than what was there.
    pub taken: u64,
    /// Notes that are damaged, and rows that are not understood.
    pub damaged: u64,
}

/// Puts what the archive has and the status store has not into it, if it has a rebuilding to finish. `site` is whose it
/// is; nothing is owed to `others` of what is replaced, since they compare themselves with a new life.
pub async fn replay(
    status: &Status,
    backend: &dyn Backend,
    site: SiteNumber,
    others: &[SiteNumber],
) -> Result<Option<Replayed>, Refused> {
    let Some(mut rebuild) = Rebuild::unfinished(status).await?.filter(|rebuild| !rebuild.replayed) else { return Ok(None) };
    forget_staged(status).await?;
    let names = backend.list_notes().await?;
    let (parts, _) = sort(&names);
    let mut replay = Replay { status, site, others, before: rebuild.before, done: Replayed::default(), batch: Vec::new() };
    tracing::warn!(notes = parts.len(), "rebuilding the status store from the archive");
    for (at, part) in parts.iter().enumerate() {
        replay.read(backend, part).await?;
        if (at + 1).is_multiple_of(NOTES_PER_LINE) {
            tracing::info!(notes = at + 1, of = parts.len(), rows = replay.done.rows, "rebuilding");
        }
    }
    replay.commit().await?;
    let done = replay.done;
    let archived = rebuild.archived;
    let is_whole = covered(&parts, Incarnation(archived.incarnation)).0 >= archived.named;
    if !is_whole || done.damaged > 0 {
        tracing::error!(
            damaged = done.damaged,
            is_whole,
            "the archive is damaged: objects without a row are taken over as they are found, without their metadata"
        );
        rebuild.archived.ms = 0;
    }
    rebuild.replayed = true;
    status.commit(rebuild.noted(Commit::new())).await.map_err(site::Error::from)?;
    tracing::warn!(rows = done.rows, taken = done.taken, "the rows of the archive are back");
    Ok(Some(done))
}

/// What an old status store says of staged bytes is over: their files were written again since. Uploads that were not
/// finished go with their parts.
async fn forget_staged(status: &Status) -> Result<(), site::Error> {
    forget_open_uploads(status).await?;
    loop {
        let parts: Page<UploadParts> = status.page(&(), None, COMMIT_ROWS).await?;
        let settle = stale_settle(status).await?;
        if parts.rows.is_empty() && settle.is_empty() {
            return Ok(());
        }
        let commit = parts.rows.iter().fold(Commit::new(), |commit, (key, _)| commit.delete::<UploadParts>(key));
        let commit = settle.iter().fold(commit, |commit, key| commit.delete::<Settle>(key));
        status.commit(commit).await?;
    }
}

/// One walk: those that were finished may be very many.
async fn forget_open_uploads(status: &Status) -> Result<(), site::Error> {
    let mut after = None;
    loop {
        let page: Page<Uploads> = status.page(&(), after.as_ref(), COMMIT_ROWS).await?;
        let open = page.rows.iter().filter(|(_, upload)| !matches!(upload.row.state, UploadState::Done { .. }));
        let commit = open.fold(Commit::new(), |commit, (key, _)| commit.delete::<Uploads>(key));
        if !commit.is_empty() {
            status.commit(commit).await?;
        }
        after = page.rows.last().map(|(key, _)| key.clone());
        if !page.more {
            return Ok(());
        }
    }
}

/// Redo rows whose object has gone on: to close them would give a staging file back that another may have by now.
async fn stale_settle(status: &Status) -> Result<Vec<WriteId>, site::Error> {
    let (mut stale, mut after) = (Vec::new(), None);
    loop {
        let page: Page<Settle> = status.page(&(), after.as_ref(), COMMIT_ROWS).await?;
        for (write, row) in &page.rows {
            let Settling::Publish { object, slot, .. } = &row.row else { continue };
            let current = status.unit(object, *slot).await?;
            if !current.is_some_and(|current| current.row.is_staged_by(*write)) {
                stale.push(*write);
            }
        }
        after = page.rows.last().map(|(write, _)| *write);
        if !page.more || stale.len() >= COMMIT_ROWS {
            return Ok(stale);
        }
    }
}

/// A reading that is under way.
struct Replay<'a> {
    status: &'a Status,
    site: SiteNumber,
    others: &'a [SiteNumber],
    before: (Incarnation, u64),
    done: Replayed,
    batch: Vec<Archived>,
}

/// A row of the archive.
enum Archived {
    Bucket(BucketName, Bucket),
    Grave((ObjectId, Slot), Grave),
    Live((ObjectId, Slot), Box<Record>),
    Parts((ObjectId, Slot), u16, Vec<PartEntry>),
}

impl Archived {
    fn unit(&self) -> Option<&(ObjectId, Slot)> {
        match self {
            Self::Bucket(..) => None,
            Self::Grave(unit, _) | Self::Live(unit, _) | Self::Parts(unit, ..) => Some(unit),
        }
    }
}

/// What is known of a unit while a batch is gone through.
#[derive(Clone, Default)]
struct Known {
    record: Option<Record>,
    grave: Option<Grave>,
}

impl Replay<'_> {
    async fn read(&mut self, backend: &dyn Backend, part: &Part) -> Result<(), Refused> {
        let name = part.name();
        let (rows, is_damaged) = rows(&backend.read_note(&name).await?);
        if is_damaged {
            tracing::error!(
                note = name,
                rows = rows.len(),
                "a note of the archive is damaged: what is behind these rows is lost"
            );
            self.done.damaged += 1;
        }
        self.done.notes += 1;
        for row in rows {
            self.done.rows += 1;
            match self.archived(part, &row) {
                Ok(archived) => self.batch.extend(archived),
                Err(err) => {
                    tracing::error!(note = name, error = %err, "a row of the archive is not understood");
                    self.done.damaged += 1;
                }
            }
            if self.batch.len() >= COMMIT_ROWS {
                self.commit().await?;
            }
        }
        Ok(())
    }

    /// The row, unless the status store has it, or has gone on from it.
    fn archived(&self, part: &Part, row: &RawRow) -> Result<Option<Archived>, ReadError> {
        let is_had = |revision: Revision| self.before.0 == part.incarnation && revision.0 <= self.before.1;
        if let Some(bucket) = row.decode::<Buckets>() {
            return Ok(fresh(bucket?, is_had).map(|(name, stored)| Archived::Bucket(name, stored.row)));
        }
        if let Some(grave) = row.decode::<Graves>() {
            return Ok(fresh(grave?, is_had).map(|(unit, stored)| Archived::Grave(unit, self.told(part, &stored))));
        }
        if let Some(record) = row.decode::<Objects>() {
            return Ok(fresh(record?, is_had).map(|(object, stored)| live(object, stored.row)));
        }
        if let Some(record) = row.decode::<Versions>() {
            return Ok(fresh(record?, is_had).map(|((object, _), stored)| live(object, stored.row)));
        }
        if let Some(chunk) = row.decode::<PartMaps>() {
            return Ok(fresh(chunk?, is_had).map(|((object, (slot, n)), stored)| Archived::Parts((object, slot), n, stored.row)));
        }
        Ok(None)
    }

    /// A grave keeps what was told of it: it has not served before everybody heard that, and in this life nobody can say so.
    /// At a lone site nobody has to.
    fn told(&self, part: &Part, grave: &Stored<Grave>) -> Grave {
        let own = Told { site: self.site, incarnation: part.incarnation, seq: grave.seq };
        let told = grave.row.told.or(Some(own)).filter(|_| !self.others.is_empty());
        Grave { told, ..grave.row.clone() }
    }

    /// Puts what is newer than what is there.
    async fn commit(&mut self) -> Result<(), site::Error> {
        let batch = std::mem::take(&mut self.batch);
        let mut known = self.known(&batch).await?;
        // Rows of units carry no seq, and what was owed of them is void.
        let mut commit = Commit::new().frees().supersedes(self.others.to_vec());
        for row in batch {
            let taken = match row {
                Archived::Bucket(name, there) => self.bucket(&name, there, commit).await?,
                Archived::Grave(unit, grave) => bury(known.entry(unit.clone()).or_default(), &unit, grave, commit),
                Archived::Live(unit, record) => take(known.entry(unit.clone()).or_default(), &unit.0, *record, commit),
                Archived::Parts(unit, n, parts) => {
                    let record = known.get(&unit).and_then(|known| known.record.as_ref());
                    match record.is_some_and(|record| n < chunks_of(record)) {
                        true => (commit.put::<PartMaps>(&(unit.0, (unit.1, n)), &parts), false),
                        false => (commit, false),
                    }
                }
            };
            self.done.taken += u64::from(taken.1);
            commit = taken.0;
        }
        if !commit.is_empty() {
            self.status.commit(commit).await?;
        }
        Ok(())
    }

    /// What the status store has of the units of a batch.
    async fn known(&self, batch: &[Archived]) -> Result<HashMap<(ObjectId, Slot), Known>, site::Error> {
        let mut units: Vec<_> = batch.iter().filter_map(Archived::unit).cloned().collect();
        units.sort();
        units.dedup();
        let records = self.status.units(&units).await?;
        let graves = self.status.get_many::<Graves>(&units).await?;
        let known = records.into_iter().zip(graves).map(|(record, grave)| Known {
            record: record.map(|stored| stored.row.clone()),
            grave: grave.map(|stored| stored.row),
        });
        Ok(units.into_iter().zip(known).collect())
    }

    async fn bucket(&self, name: &BucketName, there: Bucket, commit: Commit) -> Result<(Commit, bool), site::Error> {
        let here = self.status.get::<Buckets>(name).await?;
        let merged = here.as_ref().map_or_else(|| there.clone(), |here| here.row.merge(&there));
        let is_news = here.is_none_or(|here| here.row != merged);
        if is_news {
            // By itself: a batch may hold two states of one bucket.
            let row =
                Commit::new().frees().supersedes(self.others.to_vec()).seen(merged.greatest()).put::<Buckets>(name, &merged);
            self.status.commit(row).await?;
        }
        Ok((commit, is_news))
    }
}

fn fresh<K, R>((key, stored): (K, Stored<R>), is_had: impl Fn(Revision) -> bool) -> Option<(K, Stored<R>)> {
    (!is_had(stored.revision)).then_some((key, stored))
}

fn live(object: ObjectId, record: Record) -> Archived {
    Archived::Live((object, record.slot()), Box::new(record))
}

/// A purge is no newer than what protects the version: both are held against each other like any two states of it.
fn bury(known: &mut Known, unit: &(ObjectId, Slot), grave: Grave, commit: Commit) -> (Commit, bool) {
    let buried = grave.vector();
    let here = [known.grave.as_ref().map(Grave::vector), known.record.as_ref().map(|record| record.vector)];
    if here.into_iter().flatten().any(|here| here.data > buried.data || here >= buried) {
        return (commit, false);
    }
    let mut commit = commit.seen(grave.vector().greatest()).put::<Graves>(unit, &grave);
    if let Some(record) = known.record.take() {
        commit = without(&record, &unit.0, 0, commit).delete_unit(&unit.0, unit.1);
    }
    known.grave = Some(grave);
    (commit, true)
}

fn take(known: &mut Known, object: &ObjectId, record: Record, commit: Commit) -> (Commit, bool) {
    let is_older = match (&known.record, &known.grave) {
        (Some(here), _) => here.vector > record.vector || here.vector.partial_cmp(&record.vector).is_none(),
        (None, Some(grave)) => grave.vector().data > record.vector.data || grave.vector() >= record.vector,
        (None, None) => false,
    };
    if is_older || known.record.as_ref() == Some(&record) {
        return (commit, false);
    }
    let slot = record.slot();
    let mut commit = commit.seen(record.vector.greatest());
    if let Some(here) = &known.record {
        commit = without(here, object, chunks_of(&record), commit);
    }
    if known.grave.take().is_some() {
        commit = commit.delete::<Graves>(&(object.clone(), slot));
    }
    commit = commit.put_unit(object, &record);
    if let (Some(settling), State::Present) = (Settling::publishing(object, &record, None), record.state) {
        commit = commit.put::<Settle>(&record.write, &settling);
    }
    known.record = Some(record);
    (commit, true)
}

/// Takes away what belongs to a record that is replaced by one with so many chunks of its part map.
fn without(record: &Record, object: &ObjectId, chunks: u16, commit: Commit) -> Commit {
    let commit = if record.location.is_staged() { commit.delete::<Settle>(&record.write) } else { commit };
    without_part_map(commit, object, record, chunks)
}
