//! Working off what other sites told: due units are fetched in batches, from a site that has them and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;

use super::Bell;
use super::fetch::{Missed, fetch};
use crate::model::{Event, News, SiteNumber, Unit};
use crate::peer::Peer;
use crate::site::{Neighbour, Site, Standing};
use crate::status::tables::{Due, Hint, Work};
use crate::status::{Commit, CommitError, Page, Revision};
use crate::tasks::{Step, Worker};

/// Due units taken up by one step.
const STEP_UNITS_MAX: usize = 512;
/// Units of one request.
const BATCH_UNITS_MAX: usize = 64;
/// Requests side by side.
const BATCHES_SIDE_BY_SIDE: usize = 4;
/// The first pause after a failure, and the longest, milliseconds (protocol §7).
const PAUSE_FLOOR_MS: u64 = 1_000;
const PAUSE_CEILING_MS: u64 = 15 * 60_000;
/// After so many failures, about an hour and a half, whoever told of it hears that it failed.
const TRIES_BEFORE_REFUSAL: u32 = 15;
/// How often what failed is tried again, milliseconds.
const REFUSED_PAUSE_MS: u64 = 6 * 3_600_000;
/// Between two looks whether a site that has it answers again, which counts as no try, milliseconds.
const UNREACHABLE_PAUSE_MS: u64 = 5_000;
/// Longest sleep: what became due otherwise is found.
const NAP_MAX: Duration = Duration::from_secs(10);

/// Whether a unit failed for good or for so long that it is tried only now and then: nothing should wait for it.
pub fn is_given_up(hint: &Hint, now_ms: u64) -> bool {
    hint.due_ms > now_ms + PAUSE_CEILING_MS
}

/// Units to ask a site for, each with the revision of its work.
type Asked = Vec<(Unit, Revision)>;

/// Fetches what is due.
#[derive(Debug)]
pub(super) struct Fetcher {
    site: Site,
    bell: Bell,
    /// State of the jitter between tries.
    random: u64,
    /// When the next unit is due, milliseconds since 1970, as last seen.
    next_ms: Option<u64>,
}

impl Fetcher {
    pub fn new(site: Site, bell: Bell, seed: u64) -> Self {
        Self { site, bell, random: seed, next_ms: None }
    }

    /// Due units by the site to ask. Those that are here already are acknowledged instead.
    async fn due(&mut self) -> Result<BTreeMap<SiteNumber, Asked>, String> {
        let now_ms = self.site.clock().wall_ms();
        let page: Page<Due> = self.site.status().page(&(), None, STEP_UNITS_MAX).await.map_err(|err| err.to_string())?;
        let mut by_source: BTreeMap<SiteNumber, Asked> = BTreeMap::new();
        self.next_ms = None;
        for ((due_ms, unit), _) in page.rows {
            if due_ms > now_ms {
                self.next_ms = Some(due_ms);
                break;
            }
            let Some(hint) = self.site.status().get::<Work>(&unit).await.map_err(|err| err.to_string())? else { continue };
            if self.site.reaches(&unit, &hint.row.want).await.map_err(|err| err.to_string())? {
                self.site.acknowledge(&unit).await.map_err(|err| err.to_string())?;
                continue;
            }
            if self.site.is_restoring(&unit) {
                self.missed(&unit, &Missed::Underway).await?;
                continue;
            }
            match self.source(&hint.row) {
                Some(source) => by_source.entry(source.id.number).or_default().push((unit, hint.revision)),
                None => self.missed(&unit, &Missed::Unreachable).await?,
            }
        }
        Ok(by_source)
    }

    /// A site that told of it and answers, another one at each try.
    fn source(&self, hint: &Hint) -> Option<&Arc<Neighbour>> {
        let neighbours = self.site.neighbours();
        let answering: Vec<_> = hint
            .sources
            .iter()
            .filter_map(|source| neighbours.get(*source))
            .filter(|neighbour| neighbour.standing() != Standing::Unreachable)
            .collect();
        (!answering.is_empty()).then(|| answering[hint.tries as usize % answering.len()])
    }

    fn nobody_answers(&self) -> bool {
        self.site.neighbours().iter().all(|neighbour| neighbour.standing() == Standing::Unreachable)
    }

    async fn work_off(&mut self, by_source: BTreeMap<SiteNumber, Asked>) -> Result<(), String> {
        let mut fetches = Vec::new();
        for (source, units) in &by_source {
            let Some(neighbour) = self.site.neighbours().get(*source) else { continue };
            for batch in units.chunks(BATCH_UNITS_MAX) {
                let batch = batch.iter().map(|(unit, _)| unit.clone()).collect();
                fetches.push(fetch_owned(self.site.clone(), neighbour.peer.clone(), batch));
            }
        }
        let mut fetched = futures::stream::iter(fetches).buffered(BATCHES_SIDE_BY_SIDE);
        let mut missed = Vec::new();
        while let Some(batch) = fetched.next().await {
            missed.extend(batch.into_iter().filter_map(|(unit, outcome)| Some((unit, outcome.err()?))));
        }
        drop(fetched);
        let failed: BTreeSet<Unit> = missed.iter().map(|(unit, _)| unit.clone()).collect();
        for (unit, why) in missed {
            self.missed(&unit, &why).await?;
        }
        for (unit, revision) in by_source.into_values().flatten().filter(|(unit, _)| !failed.contains(unit)) {
            self.not_enough(&unit, revision).await?;
        }
        Ok(())
    }

    /// What was fetched may be less than another site told of: then it is tried later, and there. Asking again at once
    /// would go on without a pause until that other site can be reached.
    async fn not_enough(&mut self, unit: &Unit, asked: Revision) -> Result<(), String> {
        let work = self.site.status().get::<Work>(unit).await.map_err(|err| err.to_string())?;
        if work.is_some_and(|work| work.revision == asked) {
            let why = Missed::ForNow("the site that was asked does not have all that was told of it yet".into());
            self.missed(unit, &why).await?;
        }
        Ok(())
    }

    /// Puts a unit off; one that fails too long or for good is told to whoever waits for it.
    async fn missed(&mut self, unit: &Unit, why: &Missed) -> Result<(), String> {
        let Some(stored) = self.site.status().get::<Work>(unit).await.map_err(|err| err.to_string())? else { return Ok(()) };
        let (before, now_ms) = (&stored.row, self.site.clock().wall_ms());
        let (reason, tries, for_good) = match why {
            Missed::Unreachable => ("no site that has it can be reached", before.tries, false),
            Missed::Underway => ("a read is bringing it", before.tries, false),
            Missed::ForNow(reason) => (&**reason, before.tries + 1, before.tries + 1 >= TRIES_BEFORE_REFUSAL),
            Missed::ForGood(reason) => (&**reason, before.tries + 1, true),
        };
        let pause_ms = match why {
            Missed::Unreachable | Missed::Underway => UNREACHABLE_PAUSE_MS,
            _ if for_good => REFUSED_PAUSE_MS,
            _ => self.pause_ms(before.tries),
        };
        let hint = Hint { due_ms: now_ms + pause_ms, tries, error: Some(reason.to_owned()), ..before.clone() };
        let mut commit = Commit::new()
            .expect::<Work>(unit, Some(stored.revision))
            .delete::<Due>(&(before.due_ms, unit.clone()))
            .put::<Work>(unit, &hint)
            .put::<Due>(&(hint.due_ms, unit.clone()), &());
        if for_good {
            tracing::warn!(%unit, reason, tries = hint.tries, "a unit of another site cannot be had; it is tried again in six hours, or on demand");
            let event = Event { unit: unit.clone(), vector: hint.want };
            let refuse =
                |commit: Commit, site: &SiteNumber| commit.answer(*site, event.clone(), News::Refused(reason.to_owned()));
            commit = hint.sources.iter().fold(commit, refuse);
        }
        match self.site.status().commit(commit).await {
            // Wanted anew meanwhile: it is due at once.
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(err) => Err(err.to_string()),
        }
    }

    /// Between half and the whole of a length that doubles with each try.
    fn pause_ms(&mut self, tries: u32) -> u64 {
        let longest = PAUSE_FLOOR_MS.saturating_mul(1 << tries.min(20)).min(PAUSE_CEILING_MS);
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        longest / 2 + (self.random >> 33) % (longest / 2).max(1)
    }
}

async fn fetch_owned(site: Site, peer: Arc<dyn Peer>, units: Vec<Unit>) -> Vec<(Unit, Result<(), Missed>)> {
    fetch(&site, &peer, units).await
}

#[async_trait]
impl Worker for Fetcher {
    fn name(&self) -> &str {
        "fetch"
    }

    async fn step(&mut self) -> Result<Step, String> {
        if self.nobody_answers() {
            // Nothing is put off meanwhile: the first heartbeat rings, and all of it is due.
            self.next_ms = None;
            return Ok(Step::Idle);
        }
        let by_source = self.due().await?;
        if by_source.is_empty() {
            return Ok(Step::Idle);
        }
        self.work_off(by_source).await?;
        Ok(Step::Worked)
    }

    async fn wait(&mut self) {
        let now_ms = self.site.clock().wall_ms();
        let nap = self.next_ms.map_or(NAP_MAX, |due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)).min(NAP_MAX));
        let _ = tokio::time::timeout(nap, self.bell.rung()).await;
    }
}
