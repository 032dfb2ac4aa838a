//! One run: the buckets first, then bucket by bucket, in bounded steps.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::buckets::{Only, buckets};
use super::inward::Inward;
use super::orphans::Orphans;
use super::outward::{AGAIN_MAX, FENCE_MS, Manner, Next, Outward, Stretch};
use super::pair::Ways;
use super::report::Report;
use super::{Error, Result};
use crate::model::{BucketName, Key, SiteNumber};
use crate::replicate::Bell;
use crate::site::{Neighbour, Site};

/// What is to be reconciled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ask {
    /// None is every bucket.
    pub bucket: Option<BucketName>,
    /// Only keys that begin with it.
    pub prefix: String,
    /// Only with this site, by its name; none is all of them.
    pub with: Option<String>,
    /// Find and report, and change nothing.
    pub dry_run: bool,
    /// Read all bytes here and hash them.
    pub deep: bool,
    /// How old bytes are that nothing names and that go, milliseconds; none is a day.
    pub orphans_older_ms: Option<u64>,
}

/// Why a run runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Somebody asked for it.
    Asked,
    /// The other site began a life of which nothing was compared yet.
    NewLife,
    /// The other site may lack something that nobody will tell it.
    Dirty,
    /// It was due.
    Schedule,
}

/// What a walk over the store may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct How {
    pub dry_run: bool,
    pub deep: bool,
}

/// What this site is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    Store,
    Site(SiteNumber),
}

/// Where a run stands.
#[derive(Debug)]
pub(super) struct Run {
    pub cause: Cause,
    pub dry_run: bool,
    orphans_older_ms: Option<u64>,
    pub report: Report,
    /// What a person named; a run that meets nothing of it proves nothing.
    named: Option<Named>,
    tasks: VecDeque<Task>,
    walk: Option<Walk>,
    /// Walks that wait until what was young can be looked at again: all of them together, at the end.
    fenced: VecDeque<Box<Outward>>,
    /// Why it went on without some of those it was to compare with.
    given_up: Vec<String>,
}

#[derive(Debug)]
struct Named {
    bucket: BucketName,
    prefix: String,
    /// Whether anybody has the bucket.
    found: bool,
}

#[derive(Debug)]
enum Walk {
    Outward(Box<Outward>),
    Inward(Box<Inward>),
    Orphans(Box<Orphans>),
}

#[derive(Clone, Debug)]
enum Task {
    Buckets {
        with: Arc<Neighbour>,
        only: Only,
        prefix: String,
        from: Option<Place>,
    },
    Outward {
        with: Arc<Neighbour>,
        over: Stretch,
    },
    /// The rows here against the store.
    Store {
        only: Option<BucketName>,
        prefix: String,
        deep: bool,
        from: Option<Place>,
    },
    Inward {
        over: Stretch,
        deep: bool,
    },
    /// What the store holds and nothing names.
    Orphans {
        bucket: BucketName,
        prefix: String,
    },
}

/// A key in a bucket: what is before was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub bucket: BucketName,
    pub key: Option<Key>,
}

impl Task {
    fn party(&self) -> Party {
        match self {
            Self::Buckets { with, .. } | Self::Outward { with, .. } => Party::Site(with.id.number),
            Self::Store { .. } | Self::Inward { .. } | Self::Orphans { .. } => Party::Store,
        }
    }
}

impl Walk {
    fn party(&self) -> Party {
        match self {
            Self::Outward(walk) => Party::Site(walk.with()),
            Self::Inward(_) | Self::Orphans(_) => Party::Store,
        }
    }
}

impl Run {
    /// What a person asked for.
    pub fn asked(site: &Site, ask: &Ask) -> Self {
        let only = ask.bucket.clone().map_or(Only::All, Only::One);
        let with = site.neighbours().iter().filter(|with| ask.with.as_ref().is_none_or(|name| with.id.name == *name));
        let task = |with: &Arc<Neighbour>| Task::Buckets {
            with: with.clone(),
            only: only.clone(),
            prefix: ask.prefix.clone(),
            from: None,
        };
        let mut tasks: VecDeque<Task> = with.map(task).collect();
        // What the store lost is missing here before it can be compared with what others have. Who names a site wants to
        // hear of that site.
        if ask.with.is_none() || ask.deep {
            let (only, prefix) = (ask.bucket.clone(), ask.prefix.clone());
            tasks.push_front(Task::Store { only, prefix, deep: ask.deep, from: None });
        }
        let named = ask.bucket.clone().map(|bucket| Named { bucket, prefix: ask.prefix.clone(), found: false });
        Self { named, dry_run: ask.dry_run, orphans_older_ms: ask.orphans_older_ms, ..Self::of(Cause::Asked, tasks) }
    }

    /// What is due with a neighbour, from where an earlier run came to.
    pub fn due(with: &Arc<Neighbour>, cause: Cause, from: Option<Place>) -> Self {
        let only = if cause == Cause::Dirty { Only::Dirty } else { Only::All };
        Self::of(cause, [Task::Buckets { with: with.clone(), only, prefix: String::new(), from }].into())
    }

    /// The store, when it is due.
    pub fn of_store(from: Option<Place>) -> Self {
        Self::of(Cause::Schedule, [Task::Store { only: None, prefix: String::new(), deep: false, from }].into())
    }

    fn of(cause: Cause, tasks: VecDeque<Task>) -> Self {
        let (report, fenced, given_up) = (Report::default(), VecDeque::new(), Vec::new());
        Self { cause, dry_run: false, orphans_older_ms: None, report, named: None, tasks, walk: None, fenced, given_up }
    }

    /// What it is at, for people.
    pub fn at(&self) -> Option<String> {
        match &self.walk {
            Some(Walk::Outward(walk)) => return Some(walk.at()),
            Some(Walk::Inward(walk)) => return Some(walk.at()),
            Some(Walk::Orphans(walk)) => return Some(walk.at()),
            None => {}
        }
        self.tasks.front().map(|task| match task {
            Task::Buckets { with, .. } => format!("the buckets, with {}", with.id.name),
            Task::Outward { with, over } => format!("{}, with {}", over.bucket, with.id.name),
            Task::Store { .. } => "the store".to_owned(),
            Task::Inward { over, .. } => format!("{}, in the store", over.bucket),
            Task::Orphans { bucket, .. } => format!("{bucket}, names of their own in the store"),
        })
    }

    /// From where another run would go on if this one ended now; `None` where that is not further than before.
    pub fn place(&self) -> Option<Place> {
        let begin = |over: &Stretch| Place { bucket: over.bucket.clone(), key: over.from.clone() };
        match (self.fenced.front(), &self.walk, self.tasks.front()) {
            // What is to be looked at again would be lost.
            (Some(walk), _, Some(_)) => Some(Place { bucket: walk.bucket().clone(), key: None }),
            (Some(_), _, None) => None,
            (None, Some(Walk::Outward(walk)), _) => walk.reached(),
            (None, Some(Walk::Inward(walk)), _) => Some(walk.reached()),
            (None, None, Some(Task::Outward { over, .. } | Task::Inward { over, .. })) => Some(begin(over)),
            _ => None,
        }
    }

    /// Why it did not compare all that it was to compare.
    pub fn given_up(&self) -> Option<String> {
        (!self.given_up.is_empty()).then(|| self.given_up.join("; "))
    }

    /// Goes on without the one it is at, whatever is left of it. Answers whether there is another.
    pub fn give_up(&mut self, reason: &str) -> bool {
        self.given_up.push(reason.to_owned());
        let at = self.party();
        self.walk = None;
        self.tasks.retain(|task| Some(task.party()) != at);
        self.fenced.retain(|walk| Some(Party::Site(walk.with())) != at);
        !self.tasks.is_empty() || !self.fenced.is_empty()
    }

    /// Requests wait for the comparison with a site that was met just now, so that what is young there is fetched at once.
    fn manner(&self) -> Manner {
        let fence_ms = if self.cause == Cause::NewLife { 0 } else { FENCE_MS };
        let again_max = AGAIN_MAX.saturating_sub(self.fenced.iter().map(|walk| walk.again()).sum());
        Manner { dry_run: self.dry_run, fence_ms, again_max }
    }

    /// One bounded piece of it. After an error the same piece is tried again.
    pub async fn step(&mut self, site: &Site, bell: &Bell) -> Result<Next> {
        self.refuse_paused(site)?;
        if let Some(walk) = &mut self.walk {
            let next = match walk {
                Walk::Outward(walk) => walk.step(&mut self.report).await?,
                Walk::Inward(walk) => walk.step(&mut self.report).await?,
                Walk::Orphans(walk) => walk.step(&mut self.report).await?,
            };
            return Ok(self.walked(next));
        }
        if let Some(task) = self.tasks.front().cloned() {
            self.begin(task, site, bell).await?;
            return Ok(Next::Step);
        }
        match self.fenced.pop_front() {
            Some(walk) => self.walk = Some(Walk::Outward(walk)),
            None => return Ok(self.done()),
        }
        Ok(Next::Step)
    }

    fn party(&self) -> Option<Party> {
        self.walk.as_ref().map(Walk::party).or_else(|| self.tasks.front().map(Task::party))
    }

    /// A site that is paused is not read, whoever asks for it.
    fn refuse_paused(&self, site: &Site) -> Result<()> {
        let Some(Party::Site(number)) = self.party() else { return Ok(()) };
        match site.neighbours().get(number).filter(|with| with.seen().is_paused()) {
            None => Ok(()),
            Some(with) => {
                let name = &with.id.name;
                Err(Error::Refused(format!("{name} is paused and was not compared: `anybucket resume {name}` ends that")))
            }
        }
    }

    /// A walk that waits lets the others go first.
    fn walked(&mut self, next: Next) -> Next {
        match (next, self.walk.take()) {
            (Next::Done, _) => Next::Step,
            (Next::At(_), Some(Walk::Outward(walk))) if !self.tasks.is_empty() => {
                self.fenced.push_back(walk);
                Next::Step
            }
            (next, walk) => {
                self.walk = walk;
                next
            }
        }
    }

    /// Takes up the first task.
    async fn begin(&mut self, task: Task, site: &Site, bell: &Bell) -> Result<()> {
        match task {
            Task::Buckets { with, only, prefix, from } => {
                let found = buckets(site, &with, &only, self.dry_run, &mut self.report).await?;
                self.require_scope(site, &with)?;
                let over =
                    |bucket, from| Task::Outward { with: with.clone(), over: Stretch { bucket, prefix: prefix.clone(), from } };
                self.go_over(found, from, over);
            }
            Task::Outward { with, over } => {
                let walk = Outward::begin(site, &with, bell, over, self.manner()).await?;
                self.walk = Some(Walk::Outward(Box::new(walk)));
                self.tasks.pop_front();
            }
            Task::Store { only, prefix, deep, from } => {
                let all = site.buckets().await?.into_iter().map(|bucket| bucket.name);
                let wanted = all.filter(|bucket| only.as_ref().is_none_or(|only| only == bucket)).collect();
                let over = |bucket, from| Task::Inward { over: Stretch { bucket, prefix: prefix.clone(), from }, deep };
                self.go_over(wanted, from, over);
            }
            Task::Inward { over, deep } => {
                let how = How { dry_run: self.dry_run, deep };
                self.tasks.pop_front();
                self.tasks.push_front(Task::Orphans { bucket: over.bucket.clone(), prefix: over.prefix.clone() });
                self.walk = Some(Walk::Inward(Box::new(Inward::begin(site, bell, over, how))));
            }
            Task::Orphans { bucket, prefix } => {
                let walk = Orphans::begin(site, bucket, prefix, self.orphans_older_ms, self.dry_run);
                self.walk = Some(Walk::Orphans(Box::new(walk)));
                self.tasks.pop_front();
            }
        }
        Ok(())
    }

    /// A task for each bucket takes the place of the first task; those before `from` were done.
    fn go_over(&mut self, found: Vec<BucketName>, from: Option<Place>, task: impl Fn(BucketName, Option<Key>) -> Task) {
        if let Some(named) = self.named.as_mut() {
            named.found |= !found.is_empty();
        }
        self.tasks.pop_front();
        let ahead = found.into_iter().filter(|bucket| from.as_ref().is_none_or(|from| from.bucket <= *bucket));
        for bucket in ahead.collect::<Vec<_>>().into_iter().rev() {
            let from = from.clone().filter(|from| from.bucket == bucket).and_then(|from| from.key);
            self.tasks.push_front(task(bucket, from));
        }
    }

    /// Who asks whether two sites are equal is not told that they are where neither is to have what the other has.
    fn require_scope(&self, site: &Site, with: &Neighbour) -> Result<()> {
        if self.cause != Cause::Asked || Ways::between(site, with).any() {
            return Ok(());
        }
        let (here, there) = (&site.id().name, &with.id.name);
        Err(Error::Refused(format!(
            "{there} was not compared: nothing is replicated between it and {here} (replication.sites, at both)"
        )))
    }

    /// The end. A run that met nothing of what it was to compare has proved nothing.
    fn done(&mut self) -> Next {
        let summary = &self.report.summary;
        let met = summary.compared + summary.differences() + summary.out_of_scope + summary.busy + summary.unchecked;
        match self.named.take().filter(|_| self.given_up.is_empty()) {
            Some(Named { bucket, found: false, .. }) => {
                self.given_up
                    .push(format!("nothing was compared: no bucket {bucket} is known here or at the sites that were asked"));
            }
            Some(Named { bucket, prefix, .. }) if met == 0 && !prefix.is_empty() => {
                self.given_up.push(format!("nothing was compared: no key in {bucket} begins with {prefix:?}"));
            }
            _ => {}
        }
        Next::Done
    }
}
