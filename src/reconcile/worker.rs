//! Runs what people ask for, and by itself what is due: with a site that may lack something nobody will tell it, that
//! began a new life, or that was not compared for long, and with the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::arriving::Arriving;
use super::board::{Reconciler, RunState};
use super::kept::{Kept, Lives};
use super::outward::Next;
use super::run::{Cause, Party, Place, Run};
use super::{Error, Result};
use crate::peer::SiteState;
use crate::site::{self, Neighbour, Site, Standing};
use crate::status::tables::Members;
use crate::tasks::{Step, Worker};

/// Runs that people asked for and that are under way at once; more wait.
const ASKED_RUNNING_MAX: usize = 2;
/// Failures in a row after which a run goes on without the site that causes them.
const FAILURES_MAX: u32 = 5;
/// The first pause after a failure, which doubles with each, milliseconds.
const PAUSE_FLOOR_MS: u64 = 1_000;
/// Between two runs that nobody asked for with the same party, milliseconds.
const REST_MS: u64 = 60_000;
/// Steps after which the place is written down.
const STEPS_PER_PLACE: u32 = 16;
/// Between two looks whether something is due.
const LOOK: Duration = Duration::from_secs(10);
/// The same while requests wait for the outcome, with a site that answers, and with one that does not.
const LOOK_SOON: Duration = Duration::from_millis(200);
const LOOK_OFTEN: Duration = Duration::from_secs(1);
/// Longest pause after a step that nobody waits for: as long as the step took, so that half of the time is clients'.
const BREATH_MAX: Duration = Duration::from_secs(1);

/// How often this site is compared by itself, with others and with its store.
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

/// Runs the runs.
#[derive(Debug)]
struct Reconciling {
    hub: Reconciler,
    settings: Settings,
    /// Spreads what is due among sites.
    seed: u64,
    running: Vec<Running>,
    /// Sites that were compared, of which not everything is here yet.
    arriving: Vec<Arriving>,
    /// Until when nothing starts by itself with a party, milliseconds since 1970.
    resting: BTreeMap<Party, u64>,
    /// The earliest moment at which a waiting run goes on, milliseconds since 1970.
    next_ms: Option<u64>,
}

#[derive(Debug)]
struct Running {
    id: u64,
    run: Run,
    /// With whom and in which lives, of a run that nobody asked for.
    due: Option<(Party, Lives)>,
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
        arriving: Vec::new(),
        resting: BTreeMap::new(),
        next_ms: None,
    })]
}

impl Reconciling {
    fn site(&self) -> &Site {
        self.hub.site()
    }

    fn now_ms(&self) -> u64 {
        self.site().clock().wall_ms()
    }

    /// Takes over what people asked for, and leaves what they stopped.
    fn take_asked(&mut self) {
        let hub = self.hub.clone();
        for running in self.running.extract_if(.., |running| hub.is_stopped(running.id)).collect::<Vec<_>>() {
            self.rest(&running);
        }
        while self.running.iter().filter(|running| running.due.is_none()).count() < ASKED_RUNNING_MAX {
            let Some((id, ask)) = hub.next_asked() else { return };
            self.push(id, Run::asked(hub.site(), &ask), None);
        }
    }

    fn push(&mut self, id: u64, run: Run, due: Option<(Party, Lives)>) {
        self.running.push(Running { id, run, due, ready_ms: self.now_ms(), failures: 0, steps: 0 });
    }

    fn is_free(&self, party: Party) -> bool {
        let busy = self.running.iter().any(|running| running.due.is_some_and(|(with, _)| with == party));
        !busy && self.resting.get(&party).is_none_or(|until_ms| self.now_ms() >= *until_ms)
    }

    /// Begins what is due with neighbours that answer, and with the store.
    async fn begin_due(&mut self) -> Result<()> {
        let site = self.site().clone();
        for neighbour in site.neighbours().iter() {
            let party = Party::Site(neighbour.id.number);
            let Some(lives) = self.lives(neighbour).await? else { continue };
            self.note_compared(neighbour, lives).await?;
            if !self.is_free(party) || neighbour.standing() == Standing::Unreachable {
                continue;
            }
            let Some((cause, from)) = self.is_due(party, lives).await? else { continue };
            tracing::info!(peer = %neighbour.id.name, ?cause, "reconciling");
            let id = self.hub.begin(cause);
            self.push(id, Run::due(neighbour, cause, from), Some((party, lives)));
        }
        if self.is_free(Party::Store)
            && let Some(from) = self.store_is_due().await?
        {
            tracing::info!("comparing the store with its rows");
            let id = self.hub.begin(Cause::Schedule);
            self.push(id, Run::of_store(from), Some((Party::Store, self.own_lives())));
        }
        Ok(())
    }

    /// The lives in which a neighbour would be compared now; none before it was met.
    async fn lives(&self, neighbour: &Neighbour) -> Result<Option<Lives>> {
        let member = self.site().status().get::<Members>(&neighbour.id.number).await.map_err(site::Error::from)?;
        Ok(member.map(|member| Lives { there: member.row.epoch, ..self.own_lives() }))
    }

    fn own_lives(&self) -> Lives {
        Lives { here: self.site().status().facts().incarnation.0, there: 0 }
    }

    /// Notes that a neighbour was wholly compared, in this process or one before. While this site gets its data back that
    /// counts only once everything that was found has arrived.
    async fn note_compared(&mut self, neighbour: &Arc<Neighbour>, lives: Lives) -> Result<()> {
        if !neighbour.awaits_comparison() {
            return Ok(());
        }
        let is_other = |arriving: &Arriving| arriving.with.id != neighbour.id;
        self.arriving.retain(|arriving| is_other(arriving) || arriving.lives == lives);
        if Kept::load(self.site(), Party::Site(neighbour.id.number)).await?.lives != lives {
            return Ok(());
        }
        if self.site().state() == SiteState::Active {
            neighbour.compared();
        } else if self.arriving.iter().all(is_other) {
            self.arriving.push(Arriving::new(neighbour.clone(), lives));
        }
        Ok(())
    }

    async fn is_due(&self, party: Party, lives: Lives) -> Result<Option<(Cause, Option<Place>)>> {
        let kept = Kept::load(self.site(), party).await?;
        let from = kept.place_in(lives);
        if kept.lives != lives {
            return Ok(Some((Cause::NewLife, from)));
        }
        if let Party::Site(number) = party
            && self.site().is_dirty(number).await?
        {
            return Ok(Some((Cause::Dirty, None)));
        }
        let due = self.is_over(party, kept.finished_ms) || self.settings.every > Duration::ZERO && from.is_some();
        Ok(due.then_some((Cause::Schedule, from)))
    }

    /// Whether so much time has gone since `finished_ms` that it is to be done again: a tenth earlier or later than the settings
    /// say, so that sites that were started together do not do it together.
    fn is_over(&self, party: Party, finished_ms: u64) -> bool {
        let number = if let Party::Site(number) = party { number.0 } else { 0 };
        let every_ms = u64::try_from(self.settings.every.as_millis()).unwrap_or(u64::MAX);
        let share = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(u32::from(number)) % 200;
        every_ms > 0 && self.now_ms() >= finished_ms.saturating_add(every_ms / 1_000 * (900 + share))
    }

    /// From where the store is to be compared, if that is due. A store met for the first time has been settled by its start.
    async fn store_is_due(&self) -> Result<Option<Option<Place>>> {
        let (site, lives) = (self.site(), self.own_lives());
        let kept = Kept::load(site, Party::Store).await?;
        if kept.lives != lives {
            Kept { lives, finished_ms: self.now_ms(), unfinished: None }.save(site, Party::Store).await?;
            return Ok(None);
        }
        Ok(self.is_due(Party::Store, lives).await?.map(|(_, from)| from))
    }

    /// Takes a run one step further.
    async fn advance(&mut self, mut running: Running) -> Result<(), String> {
        let (site, bell) = (self.site().clone(), self.hub.bell().clone());
        let began = Instant::now();
        match running.run.step(&site, &bell).await {
            Ok(Next::Done) => return self.ended(running).await.map_err(|err| err.to_string()),
            Ok(Next::At(ready_ms)) => running.ready_ms = ready_ms,
            Ok(Next::Step) => {
                (running.failures, running.steps) = (0, running.steps + 1);
                if running.steps.is_multiple_of(STEPS_PER_PLACE) {
                    self.note_place(&running).await.map_err(|err| err.to_string())?;
                }
            }
            Err(err) => return self.failed(running, &err),
        }
        self.hub.show(running.id, &mut running.run, RunState::Running, None);
        if running.due.is_some() {
            tokio::time::sleep(began.elapsed().min(BREATH_MAX)).await;
        }
        self.running.push(running);
        Ok(())
    }

    /// Tries again after a pause. With a party that fails too often the run ends, and goes on with the others if there are any.
    fn failed(&mut self, mut running: Running, err: &Error) -> Result<(), String> {
        let reason = err.to_string();
        running.failures += 1;
        let is_final = matches!(err, Error::Refused(_));
        if running.failures < FAILURES_MAX && !is_final {
            running.ready_ms = self.now_ms() + (PAUSE_FLOOR_MS << running.failures);
        } else if running.run.give_up(&reason) {
            running.failures = 0;
        } else {
            self.hub.show(running.id, &mut running.run, RunState::Failed, None);
            self.rest(&running);
            return if is_final { Ok(()) } else { Err(reason) };
        }
        self.hub.show(running.id, &mut running.run, RunState::Running, Some(reason.clone()));
        self.running.push(running);
        if is_final { Ok(()) } else { Err(reason) }
    }

    async fn note_place(&self, running: &Running) -> Result<()> {
        let (Some((party, lives)), Some(place)) = (running.due, running.run.place()) else { return Ok(()) };
        if running.run.cause == Cause::Dirty {
            return Ok(());
        }
        Kept::load(self.site(), party).await?.unfinished(lives, place).save(self.site(), party).await
    }

    async fn ended(&mut self, mut running: Running) -> Result<()> {
        let is_whole = running.run.given_up().is_none();
        let state = if is_whole { RunState::Done } else { RunState::Failed };
        self.hub.show(running.id, &mut running.run, state, None);
        let summary = &running.run.report.summary;
        let (differences, queued, told) = (summary.differences(), summary.queued, summary.told);
        tracing::info!(cause = ?running.run.cause, compared = summary.compared, differences, queued, told, is_whole, "reconciled");
        self.rest(&running);
        let Some((party, lives)) = running.due.filter(|_| is_whole && running.run.cause != Cause::Dirty) else { return Ok(()) };
        Kept { lives, finished_ms: self.now_ms(), unfinished: None }.save(self.site(), party).await
    }

    /// What was found by comparing has arrived or not. Once nothing is missing an absence here proves something.
    async fn look_for_arrivals(&mut self) -> Result<()> {
        let (site, mut at) = (self.site().clone(), 0);
        while let Some(arriving) = self.arriving.get_mut(at) {
            if arriving.lacks_something(&site).await? {
                at += 1;
            } else {
                self.arriving.remove(at).with.compared();
            }
        }
        Ok(site.establish().await?)
    }

    fn rest(&mut self, running: &Running) {
        if let Some((party, _)) = running.due {
            self.resting.insert(party, self.now_ms() + REST_MS);
        }
    }

    /// Until the next look, while nothing is ready.
    fn look(&self) -> Duration {
        let awaited = || self.site().neighbours().iter().filter(|neighbour| neighbour.awaits_comparison());
        match (self.arriving.is_empty(), awaited().next().is_none()) {
            (true, true) => LOOK,
            (false, _) => LOOK_SOON,
            _ if awaited().any(|neighbour| neighbour.standing() != Standing::Unreachable) => LOOK_SOON,
            _ => LOOK_OFTEN,
        }
    }
}

#[async_trait]
impl Worker for Reconciling {
    fn name(&self) -> &str {
        "reconcile"
    }

    async fn step(&mut self) -> Result<Step, String> {
        self.take_asked();
        self.begin_due().await.map_err(|err: Error| err.to_string())?;
        self.look_for_arrivals().await.map_err(|err: Error| err.to_string())?;
        let now_ms = self.now_ms();
        self.next_ms = self.running.iter().map(|running| running.ready_ms).min();
        let Some(ready) = self.running.iter().position(|running| running.ready_ms <= now_ms) else { return Ok(Step::Idle) };
        let running = self.running.remove(ready);
        self.advance(running).await?;
        Ok(Step::Worked)
    }

    async fn wait(&mut self) {
        let (now_ms, look) = (self.now_ms(), self.look());
        let nap = self.next_ms.map_or(look, |ready_ms| Duration::from_millis(ready_ms.saturating_sub(now_ms)).min(look));
        self.hub.asked_within(nap).await;
    }
}
