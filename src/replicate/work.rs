//! Working off what other sites told: due units are fetched in batches, from a site that has them and answers, and large
//! bodies beside them. Each site has so many ways of its own that no other waits behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use tokio::task::{Id, JoinError, JoinSet};

use super::Bell;
use super::fetch::{Brought, Missed, Outcomes, fetch, fetch_bytes};
use super::put_off::PuttingOff;
use super::retry::make_due;
use crate::model::{LiveReplica, SiteNumber, Unit, Vector};
use crate::site::{Neighbour, Site, Standing};
use crate::status::tables::{Due, Hint, Work};
use crate::status::{Page, Revision};
use crate::tasks::{Step, Worker};

/// Due units looked through for a site that is free, and whose own wait behind very many of others.
const FAR_LOOK_UNITS: usize = 10_000;
/// Between two such looks, milliseconds.
const FAR_LOOK_EVERY_MS: u64 = 2_000;
/// Units of one request.
const BATCH_UNITS_MAX: usize = 128;
/// Requests and large bodies side by side, of one site each.
const BATCHES_MAX: usize = 4;
const BODIES_MAX: usize = 4;
/// Large bodies of one site that wait for their turn; more are put off.
const WAITING_MAX: usize = 64;
/// Longest sleep: what became due otherwise is found.
const NAP_MAX: Duration = Duration::from_secs(10);

/// Units to ask a site for, each with the revision of its work.
type Asked = Vec<(Unit, Revision)>;

/// What is on its way from one site.
#[derive(Debug, Default)]
struct Ways {
    batches: usize,
    bodies: usize,
    /// Bodies that wait for one to end.
    waiting: VecDeque<(Unit, Revision, Box<LiveReplica>)>,
}

/// A request or a body on its way.
#[derive(Debug)]
struct Trip {
    source: SiteNumber,
    asked: Asked,
    is_body: bool,
}

type Ended = Result<(Id, Outcomes), JoinError>;

/// Fetches what is due.
#[derive(Debug)]
pub(super) struct Fetcher {
    site: Site,
    bell: Bell,
    putting_off: PuttingOff,
    ways: BTreeMap<SiteNumber, Ways>,
    trips: HashMap<Id, Trip>,
    running: JoinSet<Outcomes>,
    /// Found while it waited.
    ended: Vec<Ended>,
    /// Every unit on its way, or waiting for one.
    underway: BTreeSet<Unit>,
    /// Sites that did not answer when they were last looked at.
    silent: BTreeSet<SiteNumber>,
    /// Sites that answer again, and up to which unit what they told was made due.
    hurrying: BTreeMap<SiteNumber, Option<Unit>>,
    /// When the next unit is due, milliseconds since 1970, as last seen.
    next_ms: Option<u64>,
    far_look_ms: u64,
}

impl Fetcher {
    pub fn new(site: Site, bell: Bell, seed: u64) -> Self {
        Self {
            putting_off: PuttingOff::new(site.clone(), seed),
            ways: BTreeMap::new(),
            trips: HashMap::new(),
            running: JoinSet::new(),
            ended: Vec::new(),
            underway: BTreeSet::new(),
            silent: site.neighbours().numbers().into_iter().collect(),
            hurrying: BTreeMap::new(),
            next_ms: None,
            far_look_ms: 0,
            site,
            bell,
        }
    }

    /// Looks who answers. The first answer after a silence makes everything due that this site told (protocol §7).
    fn listen(&mut self) {
        for neighbour in self.site.neighbours().iter() {
            let number = neighbour.id.number;
            if neighbour.standing() == Standing::Unreachable {
                self.silent.insert(number);
            } else if self.silent.remove(&number) {
                self.hurrying.insert(number, None);
            }
        }
    }

    /// A bounded piece of that.
    async fn hurry(&mut self) -> Result<bool, String> {
        let Some((site, after)) = self.hurrying.pop_first() else { return Ok(false) };
        let now_ms = self.site.clock().wall_ms();
        let late = |hint: &Hint| hint.due_ms > now_ms && hint.sources.contains(&site);
        let due = |_: &Unit, hint: &Hint| late(hint).then(|| Hint { due_ms: now_ms, ..hint.clone() });
        let step = make_due(&self.site, after.as_ref(), due).await.map_err(|err| err.to_string())?;
        if let Some(next) = step.next {
            self.hurrying.insert(site, Some(next));
        }
        Ok(true)
    }

    /// Takes note of what ended.
    async fn reap(&mut self) -> Result<bool, String> {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.ended.push(ended);
        }
        let worked = !self.ended.is_empty();
        for ended in std::mem::take(&mut self.ended) {
            self.end(ended).await?;
        }
        Ok(worked)
    }

    async fn end(&mut self, ended: Ended) -> Result<(), String> {
        let (id, outcomes) = match ended {
            Ok((id, outcomes)) => (id, outcomes),
            Err(err) => (err.id(), Vec::new()),
        };
        let Some(trip) = self.trips.remove(&id) else { return Ok(()) };
        let ways = self.ways.entry(trip.source).or_default();
        *(if trip.is_body { &mut ways.bodies } else { &mut ways.batches }) -= 1;
        let mut outcomes: BTreeMap<Unit, Result<Brought, Missed>> = outcomes.into_iter().collect();
        let (mut missed, mut brought, mut nothing, mut parts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (unit, revision) in trip.asked {
            match outcomes.remove(&unit) {
                Some(Ok(Brought::Record(live))) if ways.waiting.len() < WAITING_MAX => {
                    ways.waiting.push_back((unit, revision, live));
                    continue;
                }
                Some(Ok(Brought::Record(_))) => missed.push((unit.clone(), Missed::Underway)),
                Some(Ok(Brought::Here)) => brought.push((unit.clone(), revision)),
                Some(Ok(Brought::Nothing)) => nothing.push((unit.clone(), revision)),
                Some(Ok(Brought::Part(vector))) => parts.push((unit.clone(), vector, revision)),
                Some(Err(why)) => missed.push((unit.clone(), why)),
                None => missed.push((unit.clone(), Missed::ForNow("its transfer stopped half-way".into()))),
            }
            self.underway.remove(&unit);
        }
        self.came(trip.source, parts).await?;
        for (unit, revision) in nothing {
            missed.extend(self.nothing_came(unit, trip.source, revision).await?);
        }
        missed.extend(self.not_enough(brought).await?);
        self.putting_off.put_off(missed).await
    }

    /// Side by side, so that one commit takes many.
    async fn came(&self, source: SiteNumber, parts: Vec<(Unit, Vector, Revision)>) -> Result<(), String> {
        let came = parts.iter().map(|(unit, vector, revision)| self.site.came(unit, source, *vector, *revision));
        try_join_all(came).await.map(drop).map_err(|err| err.to_string())
    }

    /// The site that was asked knows nothing of the unit, as one that lost its data: another may. Where all is here that is
    /// told by stamps it was asked for the rest, and there is none.
    async fn nothing_came(&self, unit: Unit, source: SiteNumber, revision: Revision) -> Result<Option<(Unit, Missed)>, String> {
        let work = self.site.status().get::<Work>(&unit).await.map_err(|err| err.to_string())?;
        if let Some(want) = work.map(|work| work.row.want)
            && self.site.has_stamps(&unit, &want).await.map_err(|err| err.to_string())?
        {
            self.site.came(&unit, source, want, revision).await.map_err(|err| err.to_string())?;
            return Ok(None);
        }
        let why = "the site that told of it knows nothing of it any more";
        Ok(Some((unit, Missed::ForNow(why.into()))))
    }

    /// What was fetched may be less than another site told of: then it is tried later, and there. Asking again at once
    /// would go on without a pause until that other site can be reached.
    async fn not_enough(&self, brought: Asked) -> Result<Vec<(Unit, Missed)>, String> {
        let units: Vec<Unit> = brought.iter().map(|(unit, _)| unit.clone()).collect();
        let works = self.site.status().get_many::<Work>(&units).await.map_err(|err| err.to_string())?;
        let stands =
            brought.into_iter().zip(works).filter(|((_, asked), work)| work.as_ref().is_some_and(|work| work.revision == *asked));
        let why = || Missed::ForNow("the site that was asked does not have all that was told of it yet".into());
        Ok(stands.map(|((unit, _), _)| (unit, why())).collect())
    }

    /// Sends for bodies that wait, as far as there are ways.
    fn send_for_bodies(&mut self) {
        for (source, ways) in &mut self.ways {
            let Some(neighbour) = self.site.neighbours().get(*source) else { continue };
            while ways.bodies < BODIES_MAX
                && let Some((unit, revision, live)) = ways.waiting.pop_front()
            {
                ways.bodies += 1;
                let trip = Trip { source: *source, asked: vec![(unit.clone(), revision)], is_body: true };
                let task = self.running.spawn(fetch_bytes(self.site.clone(), neighbour.peer.clone(), unit, live));
                self.trips.insert(task.id(), trip);
            }
        }
    }

    /// Sends for what is due and not under way.
    async fn send(&mut self) -> Result<bool, String> {
        self.send_for_bodies();
        let mut free = self.free();
        if free.is_empty() {
            return Ok(false);
        }
        let units_max = free.values().sum::<usize>();
        let (more, mut worked) = self.send_some(self.underway.len() + units_max, &mut free).await?;
        let now_ms = self.site.clock().wall_ms();
        let is_left_out = free.values().any(|free| *free == BATCHES_MAX * BATCH_UNITS_MAX);
        if more && is_left_out && now_ms >= self.far_look_ms {
            self.far_look_ms = now_ms + FAR_LOOK_EVERY_MS;
            worked |= self.send_some(FAR_LOOK_UNITS, &mut free).await?.1;
        }
        Ok(worked)
    }

    /// How many units may be asked of each site that answers.
    fn free(&self) -> BTreeMap<SiteNumber, usize> {
        let numbers = self.site.neighbours().numbers().into_iter().filter(|site| !self.silent.contains(site));
        let batches = |site: &SiteNumber| BATCHES_MAX - self.ways.get(site).map_or(0, |ways| ways.batches);
        numbers.map(|site| (site, batches(&site) * BATCH_UNITS_MAX)).filter(|(_, free)| *free > 0).collect()
    }

    /// The same for the first so many due units. Answers whether more are due, and whether there was anything to do.
    async fn send_some(&mut self, units_max: usize, free: &mut BTreeMap<SiteNumber, usize>) -> Result<(bool, bool), String> {
        let (due, more) = self.due(units_max).await?;
        let (mut by_source, mut missed): (BTreeMap<SiteNumber, Vec<_>>, Vec<_>) = Default::default();
        for (unit, revision, hint) in due {
            match self.source(&hint).map(|source| source.id.number) {
                _ if self.site.is_restoring(&unit) => missed.push((unit, Missed::Underway)),
                None => missed.push((unit, Missed::Unreachable)),
                Some(source) => {
                    if let Some(free) = free.get_mut(&source).filter(|free| **free > 0) {
                        *free -= 1;
                        by_source.entry(source).or_default().push((unit, revision, hint));
                    }
                }
            }
        }
        let mut worked = !missed.is_empty();
        self.putting_off.put_off(missed).await?;
        for (source, chosen) in by_source {
            worked = true;
            let open = self.open(chosen).await?;
            self.send_to(source, &open);
        }
        Ok((more, worked))
    }

    fn send_to(&mut self, source: SiteNumber, asked: &[(Unit, Revision)]) {
        let Some(neighbour) = self.site.neighbours().get(source) else { return };
        for batch in asked.chunks(BATCH_UNITS_MAX) {
            self.ways.entry(source).or_default().batches += 1;
            let units: Vec<Unit> = batch.iter().map(|(unit, _)| unit.clone()).collect();
            self.underway.extend(units.iter().cloned());
            let task = self.running.spawn(fetch(self.site.clone(), neighbour.peer.clone(), units));
            self.trips.insert(task.id(), Trip { source, asked: batch.to_vec(), is_body: false });
        }
    }

    /// Due units that are not under way, and whether there are more than were looked at.
    async fn due(&mut self, units_max: usize) -> Result<(Vec<(Unit, Revision, Hint)>, bool), String> {
        let now_ms = self.site.clock().wall_ms();
        let status = self.site.status();
        let page: Page<Due> = status.page(&(), None, units_max).await.map_err(|err| err.to_string())?;
        self.next_ms = page.rows.iter().map(|((due_ms, _), _)| *due_ms).find(|due_ms| *due_ms > now_ms);
        let more = page.more && self.next_ms.is_none();
        let due = page.rows.into_iter().take_while(|((due_ms, _), _)| *due_ms <= now_ms).map(|((_, unit), _)| unit);
        let units: Vec<Unit> = due.filter(|unit| !self.underway.contains(unit)).collect();
        let works = status.get_many::<Work>(&units).await.map_err(|err| err.to_string())?;
        let due = units.into_iter().zip(works).filter_map(|(unit, work)| work.map(|work| (unit, work.revision, work.row)));
        Ok((due.collect(), more))
    }

    /// Those that are not here yet. The others are acknowledged. Of what several sites told, and stamps do not tell all of, each
    /// is asked.
    async fn open(&self, due: Vec<(Unit, Revision, Hint)>) -> Result<Asked, String> {
        let wants: Vec<_> = due.iter().map(|(unit, _, hint)| (unit.clone(), hint.want)).collect();
        let reached = self.site.reaches_all(&wants).await.map_err(|err| err.to_string())?;
        let mut open = Vec::new();
        for ((unit, revision, hint), reached) in due.into_iter().zip(reached) {
            match reached && hint.want.tells_all() {
                true => self.site.acknowledge(&unit).await.map_err(|err| err.to_string())?,
                false => open.push((unit, revision)),
            }
        }
        Ok(open)
    }

    /// A site that told of it and answers, another one at each try.
    fn source(&self, hint: &Hint) -> Option<&Arc<Neighbour>> {
        let neighbours = self.site.neighbours();
        let told = hint.sources.iter().filter(|source| !self.silent.contains(source));
        let answering: Vec<_> = told.filter_map(|source| neighbours.get(*source)).collect();
        (!answering.is_empty()).then(|| answering[hint.tries as usize % answering.len()])
    }
}

#[async_trait]
impl Worker for Fetcher {
    fn name(&self) -> &str {
        "fetch"
    }

    async fn step(&mut self) -> Result<Step, String> {
        self.listen();
        let mut worked = self.reap().await?;
        worked |= self.hurry().await?;
        // While nobody answers nothing is put off: the first heartbeat rings, and all of it is due.
        self.next_ms = None;
        worked |= self.send().await?;
        Ok(if worked { Step::Worked } else { Step::Idle })
    }

    async fn wait(&mut self) {
        let now_ms = self.site.clock().wall_ms();
        let nap = self.next_ms.map_or(NAP_MAX, |due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)).min(NAP_MAX));
        tokio::select! {
            biased;
            Some(ended) = self.running.join_next_with_id() => self.ended.push(ended),
            () = self.bell.rung() => {}
            () = tokio::time::sleep(nap) => {}
        }
    }
}
