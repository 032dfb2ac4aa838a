//! A bucket here against the same bucket at another site, stretch by stretch: what is newer there becomes work here, what
//! is newer here is told there again. Two sites that both do so end equal, and so do two of which one does.
//!
//! Nothing is deleted here but by a grave of greater stamp, which `Site::apply` fetches and applies as it does those that
//! were told. So there is no plan of deletes that a fuse would have to stop (protocol §1, rule 10).

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;

use super::diff::{Class, Difference, Remedy};
use super::digest::rows;
use super::pair::{Pair, Ways, in_time};
use super::report::{Report, action_of};
use super::run::Place;
use super::{Error, Result};
use crate::model::{BucketName, Key, News, ObjectId, Replica, SiteNumber, Telling, Unit};
use crate::peer::KeyRange;
use crate::replicate::{Bell, absorb_hints};
use crate::site::{Applied, Neighbour, Retold, Site};
use crate::status::tables::{Dirty, Work};
use crate::status::{Commit, CommitError, Revision};

/// What is younger may still be on its way: it is looked at again at the end, milliseconds.
pub(super) const FENCE_MS: u64 = 60_000;
/// Rows here that are compared by one step.
const STEP_ROWS: usize = 4_000;
/// Keys of a run that are looked at again at the end; the next run finds the others.
pub(super) const AGAIN_MAX: usize = 100_000;
/// Keys looked at again by one step.
const AGAIN_STEP: usize = 256;
/// Units that are told again side by side: their commits meet in few transactions.
const SIDE_BY_SIDE: usize = 32;

/// One walk over a bucket, or over the keys under a prefix.
#[derive(Debug)]
pub(super) struct Outward {
    pair: Pair,
    bell: Bell,
    /// Behind the last key of interest.
    end: Option<Key>,
    dry_run: bool,
    fence_ms: u64,
    stage: Stage,
    again: BTreeSet<Key>,
    again_max: usize,
    /// The row that says that the other site may lack something, as it was before the first comparison. None where this
    /// walk does not see all of the bucket, or left something that the other site may lack.
    dirty: Option<Revision>,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Comparing from this key on.
    Walking(Option<Key>),
    /// Waiting until what was too young is old enough, milliseconds since 1970.
    Fence(u64),
    Again,
}

/// What a step leaves to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Step,
    /// Nothing before this, milliseconds since 1970.
    At(u64),
    Done,
}

/// What is walked over.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub bucket: BucketName,
    pub prefix: String,
    /// Where an earlier walk came to.
    pub from: Option<Key>,
}

/// How a walk treats what it finds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Nothing is mended.
    pub dry_run: bool,
    /// How long what is young is left alone before it is looked at again, milliseconds.
    pub fence_ms: u64,
    /// Keys that may be looked at again.
    pub again_max: usize,
}

impl Outward {
    pub async fn begin(site: &Site, neighbour: &Arc<Neighbour>, bell: &Bell, over: Stretch, manner: Manner) -> Result<Self> {
        let key = (neighbour.id.number, over.bucket.clone());
        let dirty = site.status().get::<Dirty>(&key).await.map_err(crate::site::Error::from)?;
        let whole = over.prefix.is_empty() && over.from.is_none() && !manner.dry_run;
        let range = KeyRange::under(&over.prefix);
        Ok(Self {
            pair: Pair { site: site.clone(), neighbour: neighbour.clone(), bucket: over.bucket },
            bell: bell.clone(),
            end: range.to,
            dry_run: manner.dry_run,
            fence_ms: manner.fence_ms,
            stage: Stage::Walking(over.from.or(range.from)),
            again: BTreeSet::new(),
            again_max: manner.again_max,
            dirty: dirty.map(|row| row.revision).filter(|_| whole),
        })
    }

    pub fn bucket(&self) -> &BucketName {
        &self.pair.bucket
    }

    /// What it is at, for people.
    pub fn at(&self) -> String {
        let (bucket, with) = (&self.pair.bucket, &self.pair.neighbour.id.name);
        match &self.stage {
            Stage::Walking(None) => format!("{bucket}, with {with}"),
            Stage::Walking(Some(from)) => format!("{bucket}/{from}, with {with}"),
            Stage::Fence(_) => format!("{bucket}, with {with}: waiting until what is young can be looked at again"),
            Stage::Again => format!("{bucket}, with {with}: looking again at what was young"),
        }
    }

    /// From where another walk would have to go on, if this one ended now; what is to be looked at again would be lost.
    pub fn reached(&self) -> Option<Place> {
        let Stage::Walking(Some(from)) = &self.stage else { return None };
        Some(Place { bucket: self.pair.bucket.clone(), key: Some(from.clone()) })
    }

    pub fn with(&self) -> SiteNumber {
        self.pair.neighbour.id.number
    }

    /// How many keys are to be looked at again.
    pub fn again(&self) -> usize {
        self.again.len()
    }

    pub async fn step(&mut self, report: &mut Report) -> Result<Next> {
        match self.stage.clone() {
            Stage::Walking(from) => self.walk(from, report).await,
            Stage::Fence(until_ms) if self.now_ms() < until_ms => Ok(Next::At(until_ms)),
            Stage::Fence(_) => {
                self.stage = Stage::Again;
                Ok(Next::Step)
            }
            Stage::Again => self.look_again(report).await,
        }
    }

    fn now_ms(&self) -> u64 {
        self.pair.site.clock().wall_ms()
    }

    async fn walk(&mut self, from: Option<Key>, report: &mut Report) -> Result<Next> {
        let range = KeyRange { from, to: self.end.clone() };
        let page = rows(&self.pair.site, &self.pair.bucket, &range, STEP_ROWS).await?;
        let behind = page.rows.last().filter(|_| page.more).and_then(|row| row.key.next());
        let stretch = KeyRange { to: behind.clone().or(range.to), ..range };
        let found = self.pair.compare(stretch, &page.rows).await?;
        report.summary.compared += page.rows.len() as u64;
        self.settle(found.differences, false, report).await?;
        if let Some(from) = found.left_from.or(behind) {
            self.stage = Stage::Walking(Some(from));
            return Ok(Next::Step);
        }
        if self.again.is_empty() {
            return self.end().await;
        }
        self.stage = Stage::Fence(self.now_ms() + self.fence_ms);
        Ok(Next::Step)
    }

    async fn look_again(&mut self, report: &mut Report) -> Result<Next> {
        let keys: Vec<Key> = self.again.iter().take(AGAIN_STEP).cloned().collect();
        let mut here = Vec::new();
        for key in &keys {
            let only = KeyRange { from: Some(key.clone()), to: key.next() };
            here.extend(rows(&self.pair.site, &self.pair.bucket, &only, 1).await?.rows);
        }
        let differences = self.pair.compare_keys(&keys, &here).await?;
        self.settle(differences, true, report).await?;
        self.again.retain(|key| !keys.contains(key));
        if self.again.is_empty() { self.end().await } else { Ok(Next::Step) }
    }

    /// Everything that differs is mended, or written down to be. What the other site may have lacked is owed to it now,
    /// row by row, so that nothing is left to say of the bucket as a whole, unless more was lost meanwhile.
    async fn end(&self) -> Result<Next> {
        let Some(revision) = self.dirty else { return Ok(Next::Done) };
        let key = (self.pair.neighbour.id.number, self.pair.bucket.clone());
        let commit = Commit::new().frees().expect::<Dirty>(&key, Some(revision)).delete::<Dirty>(&key);
        match self.pair.site.status().commit(commit).await {
            Ok(_) => {
                tracing::info!(peer = %self.pair.neighbour.id.name, bucket = %self.pair.bucket, "nothing is missing there any more that nobody would tell");
                Ok(Next::Done)
            }
            Err(CommitError::Conflict) => Ok(Next::Done),
            Err(err) => Err(crate::site::Error::from(err).into()),
        }
    }

    /// Reports and mends. Before the last look, what is young or on its way is only noted.
    async fn settle(&mut self, differences: Vec<Difference>, last: bool, report: &mut Report) -> Result<()> {
        let young_ms = self.now_ms().saturating_sub(self.fence_ms);
        let mut plan = Vec::new();
        for difference in differences {
            let Some(remedy) = self.concerns(&difference) else {
                report.summary.out_of_scope += 1;
                continue;
            };
            let young = difference.greatest().is_some_and(|stamp| stamp.ms() > young_ms);
            let on_its_way = self.is_on_its_way(&difference, remedy).await?;
            match (last, young || on_its_way) {
                (false, true) if self.again.len() < self.again_max => drop(self.again.insert(difference.key)),
                (false, true) => {
                    report.summary.unchecked += 1;
                    self.dirty = None;
                }
                (true, true) if young => {
                    report.summary.busy += 1;
                    // Nothing but the row says that it is lacking there.
                    self.dirty = self.dirty.filter(|_| on_its_way || !remedy.tell);
                }
                _ => plan.push((difference, remedy, on_its_way)),
            }
        }
        self.mend(plan, report).await
    }

    /// What is to be done about a difference; `None` where neither site is to have what the other has (protocol §7, scope).
    fn concerns(&self, difference: &Difference) -> Option<Remedy> {
        let ways = Ways::between(&self.pair.site, &self.pair.neighbour);
        let remedy = difference.remedy(self.pair.site.id().number, self.pair.neighbour.id.number);
        if difference.class == Class::Content {
            return ways.any().then_some(Remedy { correct: remedy.correct && ways.here, ..remedy });
        }
        let to_here = ways.here || difference.there.as_ref().is_some_and(|there| ways.brings_back(there.vector.data));
        let remedy = Remedy { pull: remedy.pull && to_here, tell: remedy.tell && ways.there, correct: false };
        (remedy.pull || remedy.tell).then_some(remedy)
    }

    /// Whether whoever follows will mend it without being asked.
    async fn is_on_its_way(&self, difference: &Difference, remedy: Remedy) -> Result<bool> {
        let (site, unit) = (&self.pair.site, self.unit(difference));
        let pulled = match &difference.there {
            Some(there) if remedy.pull => {
                let work = site.status().get::<Work>(&unit).await.map_err(crate::site::Error::from)?;
                work.is_some_and(|work| work.row.want >= there.vector)
            }
            _ => true,
        };
        let told = match site.told_under(&unit).await? {
            Some(seq) if remedy.tell => site.owed(&unit, seq).await?.contains(&self.pair.neighbour.id.number),
            _ => !remedy.tell,
        };
        Ok(pulled && told && !remedy.correct && (remedy.pull || remedy.tell))
    }

    fn unit(&self, difference: &Difference) -> Unit {
        let object = ObjectId { bucket: self.pair.bucket.clone(), key: difference.key.clone() };
        Unit::of(&object, difference.slot())
    }

    async fn mend(&mut self, plan: Vec<(Difference, Remedy, bool)>, report: &mut Report) -> Result<()> {
        if !self.dry_run {
            let due = || plan.iter().filter(|(_, _, on_its_way)| !on_its_way);
            self.pull(due().filter(|(_, remedy, _)| remedy.pull).map(|(found, ..)| found), report).await?;
            self.tell(due().filter(|(_, remedy, _)| remedy.tell).map(|(found, ..)| self.unit(found)), report).await?;
            for (found, ..) in due().filter(|(_, remedy, _)| remedy.correct) {
                self.correct(found).await?;
                report.summary.corrected += 1;
            }
        }
        for (difference, remedy, on_its_way) in plan {
            let action = match (self.dry_run, on_its_way) {
                (true, _) => "none",
                (_, true) => "on its way",
                _ => action_of(remedy),
            };
            report.differs(&self.pair.bucket, &self.pair.neighbour.id.name, &difference, action);
        }
        Ok(())
    }

    /// What is newer there becomes work here, as if it had been told.
    async fn pull(&self, found: impl Iterator<Item = &Difference>, report: &mut Report) -> Result<()> {
        let hint = |difference: &Difference| {
            let vector = difference.there.as_ref()?.vector;
            Some(Telling { unit: self.unit(difference), vector, news: News::Mutated })
        };
        let hints: Vec<Telling> = found.filter_map(hint).collect();
        for some in hints.chunks(256) {
            absorb_hints(&self.pair.site, self.pair.neighbour.id.number, some).await?;
            report.summary.queued += some.len() as u64;
            self.bell.ring();
        }
        Ok(())
    }

    /// What is newer here is owed there again.
    async fn tell(&self, units: impl Iterator<Item = Unit>, report: &mut Report) -> Result<()> {
        let to = self.pair.neighbour.id.number;
        let site = &self.pair.site;
        let told = futures::stream::iter(units.collect::<Vec<_>>()).map(|unit| async move { site.retell(&unit, to).await });
        let told: Vec<_> = told.buffered(SIDE_BY_SIDE).collect().await;
        for outcome in told {
            report.summary.told += u64::from(outcome? == Retold::Told);
        }
        Ok(())
    }

    /// One of two contents under the same stamps was damaged: that of the site that drew them is taken, with its bytes.
    async fn correct(&self, found: &Difference) -> Result<()> {
        let unit = self.unit(found);
        let (Unit::Object { object, .. }, peer) = (&unit, &self.pair.neighbour.peer) else { return Ok(()) };
        let fetched = in_time(peer.fetch(std::slice::from_ref(&unit))).await?;
        let Some(Replica::Live(live)) = fetched.into_iter().next().map(|fetched| fetched.replica) else { return Ok(()) };
        let body = in_time(peer.open(object, live.vector.data, 0..live.identity.size)).await?;
        let stamp = live.vector.data;
        match self.pair.site.correct(&unit, Replica::Live(live), Some(body)).await? {
            Applied::Reached(_) | Applied::Part(_) => {
                tracing::error!(%stamp, %object, peer = %self.pair.neighbour.id.name, "two contents bore one stamp: that of its origin was taken");
                Ok(())
            }
            other => Err(Error::Changed(format!("{object} changed while it was corrected ({other:?})"))),
        }
    }
}
