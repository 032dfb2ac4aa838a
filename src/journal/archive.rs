//! Keeps a site's rows in its store: what commits wrote lately every ten seconds, everything once in a while, and with
//! each of them how far the site has come.
//!
//! Nothing is removed before what takes its place is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::notes::{Part, Writing, covered, sort};
use super::owner::{NOTE, Owner, Standing, has_met, met_with, read_owner};
use crate::model::Incarnation;
use crate::site::{Archived, Site};
use crate::status::tables::PartMaps;
use crate::status::{Commit, RawRow, Revision, ScanPlace, Table};
use crate::tasks::{Step, Worker};

/// What is committed waits no longer than this to be archived, if less than much waits.
const EVERY: Duration = Duration::from_secs(10);
/// Longest pause after a look through the tables: as long as the look took, so that half of the time is clients'.
const BREATH_MAX: Duration = Duration::from_secs(1);
/// While tables are looked through, what waits is archived after this.
const MEANWHILE: Duration = Duration::from_secs(2);
/// Segments may have this many bytes whatever the snapshot's: a small one is not written anew all the time.
/// Few in tests.
const SEGMENT_BYTES_MIN: u64 = if cfg!(test) { 128 << 10 } else { 16 << 20 };
/// What a note costs at least, bytes.
const NOTE_COST: u64 = 4 << 10;

/// The archive of a site; clones share it.
#[derive(Clone, Debug)]
pub struct Archive(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    site: Site,
    /// Held by whoever writes.
    state: Mutex<State>,
    counters: Counters,
}

/// Numbers for metrics.
#[derive(Debug, Default)]
struct Counters {
    /// Wall time up to which everything is archived, milliseconds since 1970.
    archived_ms: AtomicU64,
    bytes: AtomicU64,
    snapshots: AtomicU64,
}

#[derive(Debug)]
struct State {
    life: Incarnation,
    /// Complete sets of this life and of those before it, in their order.
    parts: Vec<Part>,
    archived: Archived,
    /// Up to which commits were taken from where they wait.
    taken: Revision,
    /// Some rows up to this one are not archived: they are looked for in the tables.
    gap: Option<Revision>,
    scan: Option<Scan>,
    written: Option<Owner>,
    took: Instant,
}

/// A look through the tables for every row written after a revision.
#[derive(Debug)]
struct Scan {
    after: Revision,
    upto: Revision,
    /// Wall time at its begin, milliseconds since 1970.
    began_ms: u64,
    place: ScanPlace,
    parts: Vec<Part>,
    writing: Writing,
}

impl Archive {
    /// Begins to keep what is committed, and says in the store whose it is and in which life: before anybody is served, so
    /// that a status store that is older than the answers given shows.
    pub async fn begin(site: &Site) -> Result<Self, String> {
        let text = |err: &dyn std::fmt::Display| err.to_string();
        let (status, backend) = (site.status(), site.backend());
        status.keep_journal();
        if !has_met(status).await.map_err(|err| text(&err))? {
            status.commit(met_with(Commit::new())).await.map_err(|err| text(&err))?;
        }
        let names = backend.list_notes().await.map_err(|err| text(&err))?;
        let (parts, broken) = sort(&names);
        for part in broken {
            backend.remove_note(&part.name()).await.map_err(|err| text(&err))?;
        }
        let life = status.facts().incarnation;
        let before = read_owner(&**backend, site.id()).await.map_err(|err| text(&err))?.map(|owner| owner.archived);
        let (before, named) = (before.unwrap_or_default(), covered(&parts, life).0);
        // What the note says of commits without rows holds if the notes that it stands on are there.
        let is_continued = before.incarnation == life.0 && before.named <= named && named > 0;
        let revision = if is_continued { before.revision.max(named) } else { named };
        // Notes that it stood on are gone, if it was of this life.
        let ms = if is_continued || before.incarnation != life.0 { before.ms } else { 0 };
        let archived = Archived { incarnation: life.0, revision, named, ms };
        let taken = status.take_journal().after;
        let gap = Some(taken).filter(|taken| taken.0 > revision);
        let state = State { life, parts, archived, taken, gap, scan: None, written: None, took: Instant::now() };
        let inner = Inner { site: site.clone(), state: Mutex::new(state), counters: Counters::default() };
        let archive = Self(Arc::new(inner));
        archive.write_owner(&mut *archive.0.state.lock().await).await?;
        Ok(archive)
    }

    /// Everything that was committed is archived when this returns: for the end of a process.
    pub async fn flush(&self) -> Result<(), String> {
        let mut state = self.0.state.lock().await;
        self.take(&mut state).await?;
        self.write_owner(&mut state).await
    }

    /// Numbers for metrics: wall time up to which everything is archived, bytes written, snapshots completed.
    pub fn numbers(&self) -> [u64; 3] {
        let Counters { archived_ms, bytes, snapshots } = &self.0.counters;
        [archived_ms, bytes, snapshots].map(|number| number.load(Ordering::Relaxed))
    }

    /// One bounded piece: what waits, then some of what is looked for.
    async fn step(&self) -> Result<Step, String> {
        let mut state = self.0.state.lock().await;
        if state.scan.is_none() || state.took.elapsed() >= MEANWHILE {
            self.take(&mut state).await?;
        }
        if state.scan.is_none() {
            state.scan = self.due(&state);
        }
        let began = Instant::now();
        if state.scan.is_some() {
            self.look(&mut state).await?;
        }
        self.write_owner(&mut state).await?;
        let goes_on = state.scan.is_some();
        drop(state);
        if goes_on {
            tokio::time::sleep(began.elapsed().min(BREATH_MAX)).await;
        }
        Ok(if goes_on { Step::Worked } else { Step::Idle })
    }

    /// Archives what waits.
    async fn take(&self, state: &mut State) -> Result<(), String> {
        let now_ms = self.0.site.clock().wall_ms();
        let taken = self.0.site.status().take_journal();
        state.took = Instant::now();
        if taken.after > state.taken {
            // There was no room for them.
            state.gap = Some(taken.after);
        }
        state.taken = taken.upto;
        let rows = latest(&taken.batches);
        if !rows.is_empty() {
            // Commits before them wrote no row that is archived.
            let after = if state.gap.is_none() { Revision(state.archived.named) } else { taken.after };
            let written = self.write_set(state, (after, taken.upto), rows).await;
            if let Err(reason) = written {
                state.gap = Some(taken.upto);
                return Err(reason);
            }
        }
        if state.gap.is_none() {
            let named = if taken.batches.is_empty() { state.archived.named } else { taken.upto.0 };
            state.archived = Archived { revision: taken.upto.0, named, ms: now_ms, ..state.archived };
        }
        Ok(())
    }

    /// Writes rows as a set of their own.
    async fn write_set(&self, state: &mut State, (after, upto): (Revision, Revision), rows: Vec<RawRow>) -> Result<(), String> {
        let mut scan = Scan::new(after, upto, 0);
        for row in rows {
            scan.writing.push(&row);
            if scan.writing.is_full() {
                self.write_part(state.life, &mut scan, false).await?;
            }
        }
        self.write_part(state.life, &mut scan, true).await?;
        state.parts.append(&mut scan.parts);
        state.parts.sort();
        Ok(())
    }

    async fn write_part(&self, life: Incarnation, scan: &mut Scan, ends: bool) -> Result<(), String> {
        let bytes = std::mem::take(&mut scan.writing).finish();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let number = u32::try_from(scan.parts.len()).unwrap_or(u32::MAX);
        let part = Part { incarnation: life, upto: scan.upto, after: scan.after, number, ends, bytes: length };
        let written = self.0.site.backend().write_note(&part.name(), bytes).await;
        written.map_err(|err| format!("cannot archive rows in the store: {err}"))?;
        self.0.counters.bytes.fetch_add(length.into(), Ordering::Relaxed);
        scan.parts.push(part);
        Ok(())
    }

    /// What is to be looked for: what was not taken where it waited, or everything, to take the place of many segments.
    fn due(&self, state: &State) -> Option<Scan> {
        let (now, now_ms) = (self.0.site.status().revision(), self.0.site.clock().wall_ms());
        if state.gap.is_some() {
            tracing::info!(after = state.archived.named, upto = now.0, "looking for rows that are not archived yet");
            return Some(Scan::new(Revision(state.archived.named), now, now_ms));
        }
        let (mut snapshot, mut segments) = (0, 0);
        for part in state.parts.iter().filter(|part| part.incarnation == state.life) {
            let bytes = u64::from(part.bytes).max(NOTE_COST);
            *(if part.after == Revision(0) { &mut snapshot } else { &mut segments }) += bytes;
        }
        (segments > SEGMENT_BYTES_MIN.max(2 * snapshot)).then(|| Scan::new(Revision(0), now, now_ms))
    }

    /// Goes on with a look through the tables; at its end the set counts.
    async fn look(&self, state: &mut State) -> Result<(), String> {
        let Some(mut scan) = state.scan.take() else { return Ok(()) };
        match self.look_on(state.life, &mut scan).await {
            Ok(true) => self.complete(state, scan).await,
            Ok(false) => {
                state.scan = Some(scan);
                Ok(())
            }
            Err(reason) => {
                // It is begun anew. What cannot be removed now goes with the next snapshot.
                for part in &scan.parts {
                    let _ = self.0.site.backend().remove_note(&part.name()).await;
                }
                Err(reason)
            }
        }
    }

    async fn look_on(&self, life: Incarnation, scan: &mut Scan) -> Result<bool, String> {
        let scanned = self.0.site.status().scan(scan.after, scan.place.clone()).await.map_err(|err| err.to_string())?;
        for row in &scanned.rows {
            scan.writing.push(row);
            if scan.writing.is_full() {
                self.write_part(life, scan, false).await?;
            }
        }
        match scanned.next {
            Some(place) => {
                scan.place = place;
                Ok(false)
            }
            None => self.write_part(life, scan, true).await.map(|()| true),
        }
    }

    async fn complete(&self, state: &mut State, mut scan: Scan) -> Result<(), String> {
        state.parts.append(&mut scan.parts);
        state.parts.sort();
        let named = covered(&state.parts, state.life);
        if state.gap.is_none_or(|gap| gap <= named) {
            // Everything behind the gap was taken where it waited.
            state.gap = None;
            let (revision, ms) = (state.taken.max(named).0, state.archived.ms.max(scan.began_ms));
            state.archived = Archived { revision, named: named.0, ms, ..state.archived };
        }
        if scan.after == Revision(0) {
            self.0.counters.snapshots.fetch_add(1, Ordering::Relaxed);
            // The new one is believed before the old ones go.
            self.write_owner(state).await?;
            self.remove_before(state, scan.upto).await?;
        }
        Ok(())
    }

    /// Removes what a snapshot took the place of.
    async fn remove_before(&self, state: &mut State, upto: Revision) -> Result<(), String> {
        let life = state.life;
        let is_kept = |part: &Part| {
            let is_snapshot = part.after == Revision(0) && part.upto == upto;
            part.incarnation == life && (is_snapshot || part.upto > upto)
        };
        for name in self.0.site.backend().list_notes().await.map_err(|err| err.to_string())? {
            if Part::parse(&name).is_some_and(|part| !is_kept(&part)) {
                self.0.site.backend().remove_note(&name).await.map_err(|err| err.to_string())?;
            }
        }
        state.parts.retain(is_kept);
        Ok(())
    }

    /// Says in the store how far the site has come, if that is news.
    async fn write_owner(&self, state: &mut State) -> Result<(), String> {
        let (site, status) = (&self.0.site, self.0.site.status());
        // While objects of the store may have no row, later rows say nothing of them.
        let archived = site.rebuilds_from().map_or(state.archived, |from| Archived { ms: from.ms, ..state.archived });
        let (seq, revision) = (*status.told().borrow(), status.revision());
        let now = Standing { incarnation: state.life, seq, clock_ms: site.clock().last().0, revision };
        let owner = Owner::of(site.id(), &now, archived);
        let is_news = |before: &Owner| {
            // What moves by itself is none.
            let still = Owner { archived: Archived { ms: before.archived.ms, ..owner.archived }, ..owner.clone() };
            still != *before || (before.archived.ms == 0) != (owner.archived.ms == 0)
        };
        if state.written.as_ref().is_none_or(is_news) {
            let written = site.backend().write_note(NOTE, owner.to_bytes().into()).await;
            written.map_err(|err: crate::backend::Error| format!("cannot write the note `owner` in the store: {err}"))?;
            state.written = Some(owner);
        }
        self.0.counters.archived_ms.store(archived.ms, Ordering::Relaxed);
        Ok(())
    }
}

impl Scan {
    fn new(after: Revision, upto: Revision, began_ms: u64) -> Self {
        Self { after, upto, began_ms, place: ScanPlace::default(), parts: Vec::new(), writing: Writing::default() }
    }
}

/// The last row of each key: a write and its settling are two.
fn latest(batches: &[Vec<u8>]) -> Vec<RawRow> {
    let mut at = std::collections::HashMap::new();
    let mut rows: Vec<Option<RawRow>> = Vec::new();
    for batch in batches {
        let mut rest = &batch[..];
        while let Some(row) = RawRow::read(&mut rest) {
            let before: Option<usize> = at.insert((row.table, row.key.clone()), rows.len());
            if let Some(before) = before {
                rows[before] = None;
            }
            rows.push(Some(row));
        }
    }
    let mut rows: Vec<_> = rows.into_iter().flatten().collect();
    // A part map says nothing without its record.
    rows.sort_by_key(|row| row.table == PartMaps::INDEX);
    rows
}

/// The worker behind an archive.
pub fn workers(archive: &Archive) -> Vec<Box<dyn Worker>> {
    vec![Box::new(Archiver(archive.clone()))]
}

/// Archives what waits every ten seconds, or when much does.
struct Archiver(Archive);

#[async_trait]
impl Worker for Archiver {
    fn name(&self) -> &str {
        "archive"
    }

    async fn step(&mut self) -> Result<Step, String> {
        self.0.step().await
    }

    async fn wait(&mut self) {
        let _ = timeout(EVERY, self.0.0.site.status().journal_filled()).await;
    }
}

#[cfg(test)]
impl Archive {
    /// As the worker does, until nothing is left to do.
    pub async fn complete_now(&self) {
        while self.step().await.expect("the store takes notes") == Step::Worked {}
    }
}
