//! Many small units that came at once are applied at once: few look-ups, and one commit for all that is new here. What
//! needs more thought is applied by itself, as it is when it comes alone (`apply`).

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use super::Site;
use super::apply::{Applied, Between, Known, Planned, work_ended};
use super::error::{Error, Result};
use super::locks::KeyGuard;
use crate::backend::{Body, Kept};
use crate::model::{Decision, ObjectId, Replica, Slot, Unit, WriteId};
use crate::status::tables::Work;
use crate::status::{Commit, CommitError};

/// Bodies staged, and moved to their names, side by side.
const SIDE_BY_SIDE: usize = 32;

/// A unit's state at another site, as it came.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub unit: Unit,
    pub replica: Replica,
    /// The bytes of a small object.
    pub bytes: Option<Bytes>,
}

impl Incoming {
    pub fn body(&self) -> Option<Body> {
        self.bytes.clone().map(Body::from)
    }
}

/// One of many, on its way to the commit.
struct One {
    at: usize,
    object: ObjectId,
    slot: Slot,
    replica: Replica,
    staged: Option<Kept>,
}

impl One {
    fn version(&self) -> (ObjectId, Slot) {
        (self.object.clone(), self.slot)
    }
}

/// One of many, with what is to be done about it.
struct Ready {
    one: One,
    known: Known,
    planned: Planned,
    write: WriteId,
}

/// What became of each of many; `None` where it is still to be decided.
type Outcomes = Vec<Option<Result<Applied>>>;

impl Site {
    /// Applies many units; answers in their order.
    pub async fn apply_all(&self, incoming: Vec<Incoming>) -> Vec<Result<Applied>> {
        let mut outcomes: Outcomes = incoming.iter().map(|_| None).collect();
        // What is told of a bucket is told before its objects.
        for (one, outcome) in incoming.iter().zip(&mut outcomes).filter(|(one, _)| matches!(one.unit, Unit::Bucket(_))) {
            *outcome = Some(self.apply(&one.unit, one.replica.clone(), None).await);
        }
        // A look-up that fails, fails for each by itself too, and says so there.
        let staged = self.staged_together(&incoming, &mut outcomes).await.unwrap_or_default();
        let site = self.clone();
        let committed = self.unstoppable(async move { Ok(site.apply_staged(staged).await) }).await;
        for (at, outcome) in committed.unwrap_or_default() {
            outcomes[at] = Some(outcome);
        }
        let applied = stream::iter(incoming.into_iter().zip(outcomes)).map(|(one, outcome)| async move {
            match outcome {
                Some(outcome) => outcome,
                None => {
                    let body = one.body();
                    self.apply(&one.unit, one.replica, body).await
                }
            }
        });
        applied.buffered(SIDE_BY_SIDE).collect().await
    }

    /// What would be taken now, its bytes staged.
    async fn staged_together(&self, incoming: &[Incoming], outcomes: &mut Outcomes) -> Result<Vec<One>> {
        let mut ones = Vec::new();
        for (at, one) in incoming.iter().enumerate() {
            let (Unit::Object { object, slot }, Some(vector)) = (&one.unit, one.replica.vector()) else { continue };
            if self.refuse_future(&vector).is_err() {
                continue;
            }
            self.inner.clock.observe(vector.greatest());
            ones.push(One { at, object: object.clone(), slot: *slot, replica: one.replica.clone(), staged: None });
        }
        let versions: Vec<_> = ones.iter().map(One::version).collect();
        let known = self.known_all(&versions).await?;
        let taken = |(one, known): &(One, Known)| is_taken(self.decide(known, &one.replica, Between::States));
        let staging = ones.into_iter().zip(known).filter(taken).map(|(one, _)| self.staged(one, incoming));
        let staged: Vec<_> = stream::iter(staging).buffered(SIDE_BY_SIDE).collect().await;
        Ok(staged
            .into_iter()
            .filter_map(|(at, staged)| match staged {
                Ok(one) => Some(one),
                Err(outcome) => {
                    outcomes[at] = Some(outcome);
                    None
                }
            })
            .collect())
    }

    async fn staged(&self, one: One, incoming: &[Incoming]) -> (usize, Result<One, Result<Applied>>) {
        let at = one.at;
        let Replica::Live(live) = &one.replica else { return (at, Ok(one)) };
        let body = match incoming[at].body() {
            _ if live.is_marker => return (at, Ok(one)),
            _ if live.identity.size == 0 => Body::empty(),
            Some(body) => body,
            None => return (at, Err(Ok(Applied::NeedsBytes))),
        };
        match self.stage_replica((&one.object, one.slot), live, body).await {
            Ok(kept) => (at, Ok(One { staged: Some(kept), ..one })),
            Err(err) => (at, Err(Err(err))),
        }
    }

    /// One commit for all whose key nobody holds and that are still as they were; the others one by one.
    async fn apply_staged(&self, ones: Vec<One>) -> Vec<(usize, Result<Applied>)> {
        let (held, free, mut apart) = self.lock_free(ones);
        let (mut outcomes, rest) = self.commit_together(free).await;
        drop(held);
        apart.extend(rest);
        let applied = stream::iter(apart).map(|one| async move {
            (one.at, self.apply_locked((&one.object, one.slot), &one.replica, one.staged, Between::States).await)
        });
        outcomes.extend(applied.buffered(SIDE_BY_SIDE).collect::<Vec<_>>().await);
        outcomes
    }

    /// Waits for no key: whoever holds one may hold it for long, and others would wait for all of these meanwhile.
    fn lock_free(&self, ones: Vec<One>) -> (Vec<KeyGuard<ObjectId>>, Vec<One>, Vec<One>) {
        let (mut held, mut free, mut apart) = (Vec::new(), Vec::new(), Vec::new());
        for one in ones {
            // Where files may have no row yet each looks for its own.
            let guard = self.inner.keys.try_lock(&one.object).filter(|_| !self.is_walked(&one.object.bucket));
            match guard {
                Some(guard) => {
                    held.push(guard);
                    free.push(one);
                }
                None => apart.push(one),
            }
        }
        (held, free, apart)
    }

    /// Answers what became of those that were committed, and gives the others back.
    async fn commit_together(&self, ones: Vec<One>) -> (Vec<(usize, Result<Applied>)>, Vec<One>) {
        let versions: Vec<_> = ones.iter().map(One::version).collect();
        let units: Vec<_> = versions.iter().map(|(object, slot)| Unit::of(object, *slot)).collect();
        let looked =
            async { Ok::<_, Error>((self.known_all(&versions).await?, self.inner.status.get_many::<Work>(&units).await?)) };
        let Ok((known, works)) = looked.await else { return (Vec::new(), ones) };
        let (mut ready, mut rest) = (Vec::new(), Vec::new());
        let mut commit = Commit::new().supersedes(self.inner.neighbours.numbers());
        for (((one, known), unit), work) in ones.into_iter().zip(known).zip(&units).zip(&works) {
            let decision = self.decide(&known, &one.replica, Between::States);
            let write = self.inner.writes.next();
            let mut planned = self.plan(&one.object, &known, &one.replica, one.staged.as_ref(), decision, write);
            let one_commit = std::mem::take(&mut planned.commit);
            let guarded = self.guard(&one.object, &known, &one.replica, one_commit).await;
            match (decision, planned.reached, guarded) {
                // Rows carry the seq of one event: what tells is committed by itself.
                (decision, Some(reached), Ok(Some(guarded))) if is_taken(decision) && !planned.is_part() && !guarded.tells() => {
                    commit = commit.and(work_ended(work.as_ref(), unit, &reached, guarded));
                    ready.push(Ready { one, known, planned, write });
                }
                _ => rest.push(one),
            }
        }
        if ready.is_empty() {
            return (Vec::new(), rest);
        }
        match self.inner.status.commit(commit).await {
            Ok(_) => {
                let landed = stream::iter(ready).map(|ready| self.landed(ready));
                (landed.buffer_unordered(SIDE_BY_SIDE).collect().await, rest)
            }
            // It may be durable: what is staged stays, and the next start finds out.
            Err(CommitError::Engine(reason)) => {
                let unknown = |ready: Ready| (ready.one.at, Err(Error::Internal(reason.clone())));
                (ready.into_iter().map(unknown).collect(), rest)
            }
            // A conflict is that of one of them, and any other refusal each hears for itself.
            Err(_) => {
                rest.extend(ready.into_iter().map(|ready| ready.one));
                (Vec::new(), rest)
            }
        }
    }

    async fn landed(&self, ready: Ready) -> (usize, Result<Applied>) {
        let Ready { one: One { at, object, mut staged, .. }, known, planned, write } = ready;
        let reached = planned.reached.expect("only what is reached was committed");
        self.applied(&object, &known, planned, &mut staged, write).await;
        (at, Ok(Applied::Reached(reached)))
    }
}

/// Whether another site's state takes the place of what is here without a look at what that is.
fn is_taken(decision: Decision) -> bool {
    matches!(decision, Decision::Take { .. } | Decision::Purge(_))
}
