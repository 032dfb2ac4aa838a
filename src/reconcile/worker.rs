//! Runs what people ask for, and by itself what is due: with a site that may lack something nobody will tell it, that
//! began a new life, or that was not compared for long.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::buckets::dirty;
use super::outward::Next;
use super::report::{Line, Report, Summary};
use super::run::{Ask, Cause, Place, Run};
use super::{Error, Result};
use crate::model::SiteNumber;
use crate::replicate::Bell;
use crate::site::{self, Neighbour, Site, Standing};
use crate::status::tables::{Checkpoints, Due, Members, Work};
use crate::status::{Commit, Page};
use crate::tasks::{Step, Worker};

/// Runs that are remembered.
const REMEMBERED: usize = 16;
/// Runs that may wait; more are refused.
const ASKED_MAX: usize = 8;
/// Lines kept of all runs together.
const LINES_MAX: usize = 200_000;
/// Failures in a row after which a run is given up.
const FAILURES_MAX: u32 = 5;
/// Between two runs that nobody asked for with the same site, milliseconds.
const REST_MS: u64 = 60_000;
/// Steps after which the place is written down.
const STEPS_PER_PLACE: u32 = 16;
/// Between two looks whether something is due.
const LOOK: Duration = Duration::from_secs(10);
/// The same while requests wait for its outcome.
const LOOK_SOON: Duration = Duration::from_millis(200);
/// Due units that are looked at for ones still awaited, the earliest first.
const AWAITED_ROWS: usize = 256;
/// Failures after which a unit is not awaited any more.
const AWAITED_TRIES: u32 = 4;
/// Longest pause after a step that nobody waits for: as long as the step took, so that half of the time is clients'.
const BREATH_MAX: Duration = Duration::from_secs(1);

/// How often sites are compared by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Zero is never.
    pub every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { every: Duration::from_secs(24 * 3_600) }
    }
}

/// How a run fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Waiting,
    Running,
    Done,
    Failed,
}

/// A run as people see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    pub id: u64,
    pub cause: Cause,
    pub dry_run: bool,
    pub state: RunState,
    /// What it is at.
    pub at: Option<String>,
    pub error: Option<String>,
    /// Milliseconds since 1970.
    pub began_ms: u64,
    pub ended_ms: Option<u64>,
    pub summary: Summary,
    /// Differences that can be read.
    pub lines: usize,
}

/// Takes what people ask for, and shows how it goes. Clones share it.
#[derive(Clone, Debug)]
pub struct Reconciler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    site: Site,
    bell: Bell,
    asked: Notify,
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    last: u64,
    waiting: VecDeque<(u64, Ask)>,
    runs: VecDeque<Shown>,
}

#[derive(Debug)]
struct Shown {
    progress: Progress,
    lines: Vec<Line>,
}

impl Reconciler {
    pub fn new(site: &Site, bell: &Bell) -> Self {
        Self(Arc::new(Shared { site: site.clone(), bell: bell.clone(), asked: Notify::new(), board: Mutex::default() }))
    }

    /// Queues a run and answers its number.
    pub async fn start(&self, ask: Ask) -> site::Result<u64> {
        let (site, invalid) = (&self.0.site, |argument, reason| site::Error::InvalidArgument { argument, reason });
        if let Some(bucket) = &ask.bucket
            && site.neighbours().is_empty()
        {
            site.bucket(bucket).await?;
        }
        if let Some(name) = ask.with.as_ref().filter(|name| !site.neighbours().iter().any(|known| known.id.name == **name)) {
            return Err(invalid("with", format!("no site {name:?} is known here")));
        }
        let now_ms = site.clock().wall_ms();
        let mut board = self.board();
        if board.waiting.len() >= ASKED_MAX {
            let reason = format!("{ASKED_MAX} runs wait already");
            return Err(site::Error::Unavailable { reason, retry_after: Duration::from_secs(60) });
        }
        let id = board.show(Cause::Asked, ask.dry_run, now_ms);
        board.waiting.push_back((id, ask));
        drop(board);
        self.0.asked.notify_one();
        Ok(id)
    }

    /// Every run that is remembered, the latest last.
    pub fn runs(&self) -> Vec<Progress> {
        self.board().runs.iter().map(|shown| shown.progress.clone()).collect()
    }

    /// A run, and its lines after the first `skip`, `lines_max` at the most.
    pub fn run(&self, id: u64, skip: usize, lines_max: usize) -> Option<(Progress, Vec<Line>)> {
        let board = self.board();
        let shown = board.runs.iter().find(|shown| shown.progress.id == id)?;
        Some((shown.progress.clone(), shown.lines.iter().skip(skip).take(lines_max).cloned().collect()))
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().expect("nothing panics while it holds the board")
    }
}

impl Board {
    fn show(&mut self, cause: Cause, dry_run: bool, now_ms: u64) -> u64 {
        self.last += 1;
        let summary = Report::default().summary;
        let progress = Progress {
            id: self.last,
            cause,
            dry_run,
            state: RunState::Waiting,
            at: None,
            error: None,
            began_ms: now_ms,
            ended_ms: None,
            summary,
            lines: 0,
        };
        self.runs.push_back(Shown { progress, lines: Vec::new() });
        while self.runs.len() > REMEMBERED && self.runs.front().is_some_and(|shown| shown.progress.ended_ms.is_some()) {
            self.runs.pop_front();
        }
        self.last
    }

    fn lines(&self) -> usize {
        self.runs.iter().map(|shown| shown.lines.len()).sum()
    }
}

/// What is remembered of a neighbour between runs and between starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The life of this site that was compared: one that began anew knows nothing of what the one before was equal to.
    life: u32,
    /// The epoch of the other site that was last compared wholly.
    epoch: u64,
    finished_ms: u64,
    /// An unfinished run: for which epoch, and up to where it came.
    unfinished: Option<(u64, Place)>,
}

/// Version of [`Kept`] in its row.
const KEPT_VERSION: u8 = 2;

/// Runs the runs.
#[derive(Debug)]
struct Reconciling {
    hub: Reconciler,
    settings: Settings,
    /// Spreads what is due among sites.
    seed: u64,
    running: Vec<Running>,
    /// Sites wholly compared, and when: they count once everything that was found is here.
    finishing: Vec<(Arc<Neighbour>, u64)>,
    /// Until when nothing starts by itself with a site, milliseconds since 1970.
    resting: BTreeMap<SiteNumber, u64>,
    /// The earliest moment at which a waiting run goes on, milliseconds since 1970.
    next_ms: Option<u64>,
}

#[derive(Debug)]
struct Running {
    id: u64,
    run: Run,
    /// With whom, of a run that nobody asked for; and which epoch of it.
    due: Option<(Arc<Neighbour>, u64)>,
    ready_ms: u64,
    failures: u32,
    steps: u32,
}

/// The worker behind `hub`. `seed` spreads what is due among sites.
pub fn workers(hub: &Reconciler, settings: Settings, seed: u64) -> Vec<Box<dyn Worker>> {
    vec![Box::new(Reconciling {
        hub: hub.clone(),
        settings,
        seed,
        running: Vec::new(),
        finishing: Vec::new(),
        resting: BTreeMap::new(),
        next_ms: None,
    })]
}

impl Reconciling {
    fn site(&self) -> &Site {
        &self.hub.0.site
    }

    fn now_ms(&self) -> u64 {
        self.site().clock().wall_ms()
    }

    /// Takes over what people asked for.
    fn take_asked(&mut self) {
        let (now_ms, site) = (self.now_ms(), self.site().clone());
        let asked: Vec<_> = self.hub.board().waiting.drain(..).collect();
        for (id, ask) in asked {
            let run = Run::asked(&site, &ask);
            self.running.push(Running { id, run, due: None, ready_ms: now_ms, failures: 0, steps: 0 });
        }
    }

    /// Begins what is due with neighbours that answer.
    async fn begin_due(&mut self) -> Result<()> {
        let (now_ms, site) = (self.now_ms(), self.site().clone());
        for neighbour in site.neighbours().iter() {
            let number = neighbour.id.number;
            let busy = self.running.iter().any(|running| running.due.as_ref().is_some_and(|(with, _)| with.id.number == number));
            let resting = self.resting.get(&number).is_some_and(|until_ms| now_ms < *until_ms);
            if busy || resting || neighbour.standing() == Standing::Unreachable {
                continue;
            }
            let Some((cause, epoch, from)) = self.is_due(neighbour).await? else { continue };
            tracing::info!(peer = %neighbour.id.name, ?cause, "reconciling");
            let run = Run::due(neighbour, cause, from);
            let id = self.hub.board().show(cause, false, now_ms);
            let due = Some((neighbour.clone(), epoch));
            self.running.push(Running { id, run, due, ready_ms: now_ms, failures: 0, steps: 0 });
        }
        Ok(())
    }

    async fn is_due(&self, neighbour: &Arc<Neighbour>) -> Result<Option<(Cause, u64, Option<Place>)>> {
        let (site, number) = (self.site(), neighbour.id.number);
        let member = site.status().get::<Members>(&number).await.map_err(site::Error::from)?;
        let Some(epoch) = member.map(|member| member.row.epoch) else { return Ok(None) };
        let kept = self.kept(number).await?;
        let from = kept.unfinished.clone().filter(|(of, _)| *of == epoch).map(|(_, place)| place);
        if (kept.life, kept.epoch) != (site.status().facts().incarnation.0, epoch) {
            return Ok(Some((Cause::NewLife, epoch, from)));
        }
        neighbour.compared();
        if !dirty(site, number).await?.is_empty() {
            return Ok(Some((Cause::Dirty, epoch, None)));
        }
        let every_ms = u64::try_from(self.settings.every.as_millis()).unwrap_or(u64::MAX);
        // A tenth earlier or later, so that sites that were started together do not do it together.
        let share = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(u32::from(number.0)) % 200;
        let due_ms = kept.finished_ms.saturating_add(every_ms / 1_000 * (900 + share));
        let due = every_ms > 0 && (self.now_ms() >= due_ms || from.is_some());
        Ok(due.then_some((Cause::Schedule, epoch, from)))
    }

    /// Whether requests are answered less well until a comparison has begun and ended.
    fn has_just_met(&self) -> bool {
        !self.finishing.is_empty() || self.site().neighbours().iter().any(|neighbour| neighbour.awaits_comparison())
    }

    async fn kept(&self, with: SiteNumber) -> Result<Kept> {
        let stored = self.site().status().get::<Checkpoints>(&checkpoint(with)).await.map_err(site::Error::from)?;
        let known = stored.and_then(|stored| match stored.row.split_first() {
            Some((&KEPT_VERSION, kept)) => postcard::from_bytes(kept).ok(),
            _ => None,
        });
        // One that cannot be read costs a comparison.
        Ok(known.unwrap_or_default())
    }

    async fn keep(&self, with: SiteNumber, kept: &Kept) -> Result<()> {
        let mut row = vec![KEPT_VERSION];
        row.extend(postcard::to_stdvec(kept).expect("it holds only values that postcard can write"));
        let commit = Commit::new().put::<Checkpoints>(&checkpoint(with), &row);
        self.site().status().commit(commit).await.map_err(site::Error::from)?;
        Ok(())
    }

    /// Takes a run one step further.
    async fn advance(&mut self, mut running: Running) -> Result<(), String> {
        let (site, bell) = (self.site().clone(), self.hub.0.bell.clone());
        let began = Instant::now();
        let outcome = running.run.step(&site, &bell).await;
        self.show(&mut running, &outcome);
        match outcome {
            Ok(Next::Done) => return self.ended(running).await.map_err(|err| err.to_string()),
            Ok(Next::At(ready_ms)) => {
                // Everything was looked at; what was young then is looked at once more, and came by way of the log meanwhile.
                self.found(&running);
                running.ready_ms = ready_ms;
            }
            Ok(Next::Step) => {
                (running.failures, running.steps) = (0, running.steps + 1);
                if running.steps.is_multiple_of(STEPS_PER_PLACE) {
                    self.note_place(&running).await.map_err(|err| err.to_string())?;
                }
                if running.due.is_some() {
                    tokio::time::sleep(began.elapsed().min(BREATH_MAX)).await;
                }
            }
            Err(err) => {
                running.failures += 1;
                let gives_up = running.failures >= FAILURES_MAX;
                let reason = err.to_string();
                if gives_up {
                    self.rest(&running);
                } else {
                    self.running.push(running);
                }
                return Err(reason);
            }
        }
        self.running.push(running);
        Ok(())
    }

    /// Puts what a step found where people see it.
    fn show(&self, running: &mut Running, outcome: &Result<Next>) {
        let now_ms = self.now_ms();
        let report = &mut running.run.report;
        let mut board = self.hub.board();
        let room = LINES_MAX.saturating_sub(board.lines());
        let Some(shown) = board.runs.iter_mut().find(|shown| shown.progress.id == running.id) else { return };
        report.summary.lines_left_out += report.lines.len().saturating_sub(room) as u64;
        shown.lines.extend(report.lines.drain(..).take(room));
        let progress = &mut shown.progress;
        (progress.summary, progress.lines) = (report.summary.clone(), shown.lines.len());
        progress.at = running.run.at();
        progress.state = RunState::Running;
        match outcome {
            Ok(Next::Done) => (progress.state, progress.ended_ms, progress.error) = (RunState::Done, Some(now_ms), None),
            Ok(_) => progress.error = None,
            Err(err) => progress.error = Some(err.to_string()),
        }
        if outcome.is_err() && running.failures + 1 >= FAILURES_MAX {
            (progress.state, progress.ended_ms) = (RunState::Failed, Some(now_ms));
        }
    }

    async fn note_place(&self, running: &Running) -> Result<()> {
        let (Some((with, epoch)), Some(place)) = (&running.due, running.run.place()) else { return Ok(()) };
        if running.run.cause == Cause::Dirty {
            return Ok(());
        }
        let kept = self.kept(with.id.number).await?;
        self.keep(with.id.number, &Kept { unfinished: Some((*epoch, place)), ..kept }).await
    }

    async fn ended(&mut self, running: Running) -> Result<()> {
        let summary = &running.run.report.summary;
        let (differences, queued, told) = (summary.differences(), summary.queued, summary.told);
        tracing::info!(cause = ?running.run.cause, compared = summary.compared, differences, queued, told, "reconciled");
        self.rest(&running);
        self.found(&running);
        let Some((with, epoch)) = &running.due else { return Ok(()) };
        if running.run.cause == Cause::Dirty {
            return Ok(());
        }
        let (life, finished_ms) = (self.site().status().facts().incarnation.0, self.now_ms());
        self.keep(with.id.number, &Kept { life, epoch: *epoch, finished_ms, unfinished: None }).await
    }

    /// Everything that the other site had is known here, as rows or as work.
    fn found(&mut self, running: &Running) {
        let Some((with, _)) = running.due.as_ref().filter(|_| running.run.cause == Cause::NewLife) else { return };
        if with.awaits_comparison() && !self.finishing.iter().any(|(other, _)| other.id == with.id) {
            self.finishing.push((with.clone(), self.now_ms()));
        }
    }

    /// What a comparison found stands in `work`: it is all here, or failed too often to be waited for. Only from then on does
    /// an absence here prove something beside that site.
    async fn finish(&mut self) -> Result<()> {
        for (with, found_ms) in std::mem::take(&mut self.finishing) {
            if self.is_awaited(&with, found_ms).await? {
                self.finishing.push((with, found_ms));
                continue;
            }
            with.compared();
            self.site().established().await?;
        }
        Ok(())
    }

    /// Whether something found by `found_ms` is still to come: never tried, or a few times. What is newer came by the log.
    async fn is_awaited(&self, with: &Neighbour, found_ms: u64) -> Result<bool> {
        let page: Page<Due> = self.site().status().page(&(), None, AWAITED_ROWS).await.map_err(site::Error::from)?;
        for ((due_ms, unit), _) in &page.rows {
            let work = self.site().status().get::<Work>(unit).await.map_err(site::Error::from)?;
            let Some(work) = work.filter(|work| work.row.sources.contains(&with.id.number)) else { continue };
            if *due_ms <= found_ms || (1..=AWAITED_TRIES).contains(&work.row.tries) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn rest(&mut self, running: &Running) {
        if let Some((with, _)) = &running.due {
            self.resting.insert(with.id.number, self.now_ms() + REST_MS);
        }
    }
}

fn checkpoint(with: SiteNumber) -> String {
    format!("reconcile/{}", with.0)
}

#[async_trait]
impl Worker for Reconciling {
    fn name(&self) -> &str {
        "reconcile"
    }

    async fn step(&mut self) -> Result<Step, String> {
        self.take_asked();
        self.finish().await.map_err(|err: Error| err.to_string())?;
        self.begin_due().await.map_err(|err: Error| err.to_string())?;
        let now_ms = self.now_ms();
        self.next_ms = self.running.iter().map(|running| running.ready_ms).min();
        let Some(ready) = self.running.iter().position(|running| running.ready_ms <= now_ms) else { return Ok(Step::Idle) };
        let running = self.running.remove(ready);
        self.advance(running).await?;
        Ok(Step::Worked)
    }

    async fn wait(&mut self) {
        let now_ms = self.now_ms();
        let look = if self.has_just_met() { LOOK_SOON } else { LOOK };
        let nap = self.next_ms.map_or(look, |ready_ms| Duration::from_millis(ready_ms.saturating_sub(now_ms)).min(look));
        let _ = tokio::time::timeout(nap, self.hub.0.asked.notified()).await;
    }
}
