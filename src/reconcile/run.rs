//! One run: the buckets first, then bucket by bucket, in bounded steps.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Result;
use super::buckets::{Only, buckets};
use super::inward::Inward;
use super::outward::{FENCE_MS, Manner, Next, Outward, Stretch};
use super::report::Report;
use crate::model::{BucketName, Key};
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

/// Where a run stands.
#[derive(Debug)]
pub(super) struct Run {
    pub cause: Cause,
    pub dry_run: bool,
    pub report: Report,
    tasks: VecDeque<Task>,
    walk: Option<Walk>,
}

#[derive(Debug)]
enum Walk {
    Outward(Box<Outward>),
    Inward(Box<Inward>),
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
    },
    Inward {
        bucket: BucketName,
        prefix: String,
        deep: bool,
    },
}

/// A key in a bucket: what is before was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub bucket: BucketName,
    pub key: Option<Key>,
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
            tasks.push_front(Task::Store { only: ask.bucket.clone(), prefix: ask.prefix.clone(), deep: ask.deep });
        }
        Self::of(Cause::Asked, ask.dry_run, tasks)
    }

    /// What is due with a neighbour, from where an earlier run came to.
    pub fn due(with: &Arc<Neighbour>, cause: Cause, from: Option<Place>) -> Self {
        let only = if cause == Cause::Dirty { Only::Dirty } else { Only::All };
        Self::of(cause, false, [Task::Buckets { with: with.clone(), only, prefix: String::new(), from }].into())
    }

    fn of(cause: Cause, dry_run: bool, tasks: VecDeque<Task>) -> Self {
        Self { cause, dry_run, report: Report::default(), tasks, walk: None }
    }

    /// What it is at, for people.
    pub fn at(&self) -> Option<String> {
        match &self.walk {
            Some(Walk::Outward(walk)) => return Some(walk.at()),
            Some(Walk::Inward(walk)) => return Some(walk.at()),
            None => {}
        }
        self.tasks.front().map(|task| match task {
            Task::Buckets { with, .. } => format!("the buckets, with {}", with.id.name),
            Task::Outward { with, over } => format!("{}, with {}", over.bucket, with.id.name),
            Task::Store { .. } => "the store".to_owned(),
            Task::Inward { bucket, .. } => format!("{bucket}, in the store"),
        })
    }

    /// From where another run would go on if this one ended now.
    pub fn place(&self) -> Option<Place> {
        match (&self.walk, self.tasks.front()) {
            (Some(Walk::Outward(walk)), _) => {
                walk.reached().map(|key| Place { bucket: walk.bucket().clone(), key: Some(key.clone()) })
            }
            (None, Some(Task::Outward { over, .. })) => Some(Place { bucket: over.bucket.clone(), key: over.from.clone() }),
            _ => None,
        }
    }

    /// Requests wait for the comparison with a site that was met just now, so that what is young there is fetched at once.
    fn manner(&self) -> Manner {
        let fence_ms = if self.cause == Cause::NewLife { 0 } else { FENCE_MS };
        Manner { dry_run: self.dry_run, fence_ms }
    }

    /// One bounded piece of it. After an error the same piece is tried again.
    pub async fn step(&mut self, site: &Site, bell: &Bell) -> Result<Next> {
        if let Some(walk) = &mut self.walk {
            let next = match walk {
                Walk::Outward(walk) => walk.step(&mut self.report).await?,
                Walk::Inward(walk) => walk.step(&mut self.report).await?,
            };
            if next != Next::Done {
                return Ok(next);
            }
            self.walk = None;
            return Ok(Next::Step);
        }
        match self.tasks.front().cloned() {
            None => return Ok(Next::Done),
            Some(Task::Buckets { with, only, prefix, from }) => {
                let found = buckets(site, &with, &only, self.dry_run, &mut self.report).await?;
                self.tasks.pop_front();
                let ahead = found.into_iter().filter(|bucket| from.as_ref().is_none_or(|from| from.bucket <= *bucket));
                for bucket in ahead.collect::<Vec<_>>().into_iter().rev() {
                    let from = from.clone().filter(|from| from.bucket == bucket).and_then(|from| from.key);
                    let over = Stretch { bucket, prefix: prefix.clone(), from };
                    self.tasks.push_front(Task::Outward { with: with.clone(), over });
                }
            }
            Some(Task::Outward { with, over }) => {
                let walk = Outward::begin(site, &with, bell, over, self.manner()).await?;
                self.walk = Some(Walk::Outward(Box::new(walk)));
                self.tasks.pop_front();
            }
            Some(Task::Store { only, prefix, deep }) => {
                let all = site.buckets().await?.into_iter().map(|bucket| bucket.name);
                let wanted: Vec<_> = all.filter(|bucket| only.as_ref().is_none_or(|only| only == bucket)).collect();
                self.tasks.pop_front();
                for bucket in wanted.into_iter().rev() {
                    self.tasks.push_front(Task::Inward { bucket, prefix: prefix.clone(), deep });
                }
            }
            Some(Task::Inward { bucket, prefix, deep }) => {
                let how = How { dry_run: self.dry_run, deep };
                self.walk = Some(Walk::Inward(Box::new(Inward::begin(site, bell, bucket, prefix, how))));
                self.tasks.pop_front();
            }
        }
        Ok(Next::Step)
    }
}
