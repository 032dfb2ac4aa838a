//! Following one other site: heartbeats, and what it told since. One follower a neighbour.
//!
//! A heartbeat is a long poll, so that what is told arrives at once, with or without a bus. A neighbour that does not
//! answer is asked every two seconds by nobody but its follower.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout};

use super::absorb::absorb;
use super::{Bell, heads_for};
use crate::model::{Incarnation, Seq, SiteNumber};
use crate::peer::{Error, Heads, LogAsk};
use crate::site::{Neighbour, Site, Standing};
use crate::status::tables::{Member, Members, Received};
use crate::status::{Commit, CommitError, Stored};
use crate::tasks::{Step, Worker};

/// How long a heartbeat is held back while there is nothing to tell (protocol §7).
const HEARTBEAT: Duration = Duration::from_secs(2);
/// For an answer beyond the time it is held back.
const PATIENCE: Duration = Duration::from_secs(3);
/// Entries of the log asked for at once.
const ENTRIES_MAX: usize = 1_000;
/// How often the meeting with a site is noted again that met other commits.
const TRIES_MAX: usize = 16;
/// Everything still owed to us is read again after this, then after twice that, and so on (the sweep of protocol §7).
const SWEEP_FLOOR: Duration = Duration::from_secs(60);
const SWEEP_CEILING: Duration = Duration::from_secs(15 * 60);

/// Follows one neighbour.
#[derive(Debug)]
pub(super) struct Follower {
    site: Site,
    neighbour: Arc<Neighbour>,
    bell: Bell,
    name: String,
    sweep: Sweep,
}

/// When what is owed to us is read again from the beginning: a hint that was lost here is found.
#[derive(Debug)]
struct Sweep {
    due: Instant,
    pause: Duration,
}

impl Sweep {
    fn new() -> Self {
        Self { due: Instant::now() + SWEEP_FLOOR, pause: SWEEP_FLOOR }
    }

    fn swept(&mut self) {
        self.pause = (self.pause * 2).min(SWEEP_CEILING);
        self.due = Instant::now() + self.pause;
    }
}

impl Follower {
    pub fn new(site: Site, neighbour: Arc<Neighbour>, bell: Bell) -> Self {
        let name = format!("follow-{}", neighbour.id.name);
        Self { site, neighbour, bell, name, sweep: Sweep::new() }
    }

    /// One heartbeat.
    async fn hear(&mut self) -> Result<Heads, Error> {
        let was_silent = self.neighbour.standing() == Standing::Unreachable;
        let mine =
            heads_for(&self.site, self.neighbour.id.number).await.map_err(|err| Error::Unreachable(format!("here: {err}")))?;
        let known = mine.received;
        let asked = timeout(HEARTBEAT + PATIENCE, self.neighbour.peer.heads(mine, HEARTBEAT)).await;
        let heads = asked.map_err(|_| Error::Unreachable("no answer in time".into()))??;
        heads.check(&self.neighbour.id)?;
        self.refuse_rolled_back(&heads).await?;
        if known.is_some_and(|(life, seq)| life == heads.incarnation && heads.seq < seq) {
            return Err(Error::Refused("its store is older than what it told: it has to be restarted, in a new life".into()));
        }
        let offset = i64::try_from(heads.clock_ms).unwrap_or(i64::MAX) - i64::try_from(self.site.clock().wall_ms()).unwrap_or(0);
        self.neighbour.heard(heads.clone(), offset);
        self.site.clock().hear(heads.stamped);
        if was_silent {
            tracing::info!(peer = %self.neighbour.id.name, "a site answers");
            self.sweep = Sweep::new();
            self.bell.ring();
        }
        Ok(heads)
    }

    /// A neighbour that was told more than this store remembers would drop what is told now as repeats: this store came
    /// back from a snapshot, while nobody could be asked. Nothing is written any more, and the next start begins a new life.
    async fn refuse_rolled_back(&self, heads: &Heads) -> Result<(), Error> {
        let own = (self.site.status().facts().incarnation, *self.site.status().told().borrow());
        match heads.received.filter(|known| *known > own) {
            None => Ok(()),
            Some(known @ (life, seq)) => {
                // Once: afterwards it takes no commits.
                if self.site.status().outlived(known).await.is_ok() {
                    tracing::error!(
                        peer = %self.neighbour.id.name, life = life.0, seq = seq.0,
                        "another site knows more of this one than its store does, which came back from a snapshot: it takes no writes until it is restarted"
                    );
                }
                Err(Error::Refused(format!(
                    "it knows more of this site (life {}, seq {}) than this site's store does: the store is older than what it \
                     told; restart this site, so that it begins a new life",
                    life.0, seq.0
                )))
            }
        }
    }

    /// Up to where its present life is known here. A life not heard of before begins at nothing.
    async fn received(&self, heads: &Heads) -> Result<Seq, String> {
        if let Some((_, seq)) = self.neighbour.seen().received.filter(|(life, _)| *life == heads.incarnation) {
            return Ok(seq);
        }
        let key = (self.neighbour.id.number, heads.incarnation);
        let stored = self.site.status().get::<Received>(&key).await.map_err(|err| err.to_string())?;
        let seq = stored.map_or(Seq(0), |stored| stored.row);
        self.meet(heads.incarnation).await?;
        self.neighbour.received(heads.incarnation, seq);
        Ok(seq)
    }

    /// Notes in which of its lives the site is now.
    async fn meet(&self, incarnation: Incarnation) -> Result<(), String> {
        let id = &self.neighbour.id;
        for _ in 0..TRIES_MAX {
            let known = self.member(id.number).await?;
            let before = known.as_ref().map(|stored| stored.row.clone());
            if before.as_ref().is_some_and(|member| member.incarnation == incarnation) {
                return Ok(());
            }
            let epoch = before.as_ref().map_or(1, |member| member.epoch + 1);
            self.neighbour.began_anew();
            let member = Member { name: id.name.clone(), incarnation, epoch, mirror: false };
            let mut commit = Commit::new()
                .expect::<Members>(&id.number, known.map(|stored| stored.revision))
                .put::<Members>(&id.number, &member);
            if let Some(before) = &before {
                tracing::warn!(peer = %id.name, before = before.incarnation.0, now = incarnation.0, "a site began a new life: its data was lost or replaced");
                // What it had receipted in its life before it may not have any more.
                commit = self.site.doubt(id.number, commit).await.map_err(|err| err.to_string())?;
                commit = self.untold_elsewhere(commit).await?;
            }
            match self.site.status().commit(commit).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(err) => return Err(err.to_string()),
            }
        }
        Err(CommitError::Conflict.to_string())
    }

    async fn member(&self, number: SiteNumber) -> Result<Option<Stored<Member>>, String> {
        self.site.status().get::<Members>(&number).await.map_err(|err| err.to_string())
    }

    /// What it still owed this site went with that life, too. Whoever else has it will not tell of it, since it came from
    /// there: each of them is compared with this site as if it had begun anew.
    async fn untold_elsewhere(&self, mut commit: Commit) -> Result<Commit, String> {
        let others = self.site.neighbours().numbers().into_iter().filter(|other| *other != self.neighbour.id.number);
        for other in others {
            let Some(known) = self.member(other).await? else { continue };
            let member = Member { epoch: known.row.epoch + 1, ..known.row };
            commit = commit.expect::<Members>(&other, Some(known.revision)).put::<Members>(&other, &member);
        }
        Ok(commit)
    }

    /// Reads what it told after `after`, up to the end of what there is now.
    async fn read(&self, heads: &Heads, after: Seq) -> Result<(), String> {
        let mut after = after;
        loop {
            let received = self.neighbour.seen().received.unwrap_or((heads.incarnation, Seq(0)));
            let ask = LogAsk { site: self.site.id().number, after, received, entries_max: ENTRIES_MAX };
            let page = timeout(HEARTBEAT + PATIENCE, self.neighbour.peer.log(ask)).await;
            let page = page.map_err(|_| "no answer in time".to_owned())?.map_err(|err| err.to_string())?;
            // Of all there is to read it sends a page at a time, and no heartbeat meanwhile.
            self.neighbour.answered();
            if page.incarnation != heads.incarnation {
                return Err("it began a new life while its log was read".into());
            }
            let through = page.through.max(received.1);
            let page = crate::peer::LogPage { through, ..page };
            let is_news = !page.entries.is_empty() || through > received.1;
            if is_news {
                let work = absorb(&self.site, self.neighbour.id.number, &page).await.map_err(|err| err.to_string())?;
                self.neighbour.received(page.incarnation, through);
                if work {
                    self.bell.ring();
                }
            }
            if !page.more {
                return Ok(());
            }
            after = page.entries.last().map_or(page.through, |(seq, _)| *seq);
        }
    }
}

#[async_trait]
impl Worker for Follower {
    fn name(&self) -> &str {
        &self.name
    }

    async fn step(&mut self) -> Result<Step, String> {
        if self.site.is_paused(&self.neighbour).await.map_err(|err| err.to_string())? {
            return Ok(Step::Idle);
        }
        let heads = match self.hear().await {
            Ok(heads) => heads,
            Err(err) => {
                self.neighbour.missed(err.to_string());
                return Err(err.to_string());
            }
        };
        if self.neighbour.seen().is_paused() {
            return Ok(Step::Idle);
        }
        let received = self.received(&heads).await?;
        if Instant::now() >= self.sweep.due {
            self.read(&heads, Seq(0)).await?;
            self.sweep.swept();
        } else if heads.seq > received {
            self.read(&heads, received).await?;
        }
        Ok(Step::Worked)
    }

    async fn wait(&mut self) {
        tokio::time::sleep(HEARTBEAT).await;
    }

    fn pause_max(&self) -> Duration {
        HEARTBEAT
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::backend::{Body, memory::Memory};
    use crate::clock::{Clock, SystemClock};
    use crate::model::{BucketName, News, ObjectId, SiteId, SiteNumber, Stamp, Telling, Unit, Vector};
    use crate::peer::{Digest, DigestAsk, Fetched, KeyRange, LogPage, PROTOCOL, Peer, Result, RowsPage, SiteState};
    use crate::site::{Neighbours, Parts, Scope, testing};
    use crate::status::redb::forgetful::{Forgetful, Power};
    use crate::status::tables::Meta;
    use crate::status::{Options, Status};

    /// Its log has so many pages of one entry, each of which takes a second; and what it knows of this site.
    #[derive(Debug)]
    struct Long(u64, Option<(Incarnation, Seq)>);

    #[async_trait]
    impl Peer for Long {
        async fn heads(&self, _: Heads, _: Duration) -> Result<Heads> {
            Ok(Heads {
                protocol: PROTOCOL,
                site: SiteNumber(2),
                name: "long".into(),
                incarnation: Incarnation(1),
                state: SiteState::Active,
                seq: Seq(self.0),
                settled: Seq(0),
                clock_ms: 0,
                stamped: (0, 0),
                received: self.1,
                tells: true,
                dirty: false,
            })
        }

        async fn log(&self, ask: LogAsk) -> Result<LogPage> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (seq, unit) = (Seq(ask.after.0 + 1), Unit::Bucket(BucketName::new("bucket").unwrap()));
            let telling = Telling { unit, vector: Vector::of(Stamp::from_bytes([0; 16])), news: News::Applied };
            Ok(LogPage { incarnation: Incarnation(1), entries: vec![(seq, telling)], through: seq, more: seq.0 < self.0 })
        }

        async fn fetch(&self, _: &[Unit]) -> Result<Vec<Fetched>> {
            unreachable!("nothing is to be fetched")
        }

        async fn open(&self, _: &ObjectId, _: Stamp, _: Range<u64>) -> Result<Body> {
            unreachable!("nothing is to be fetched")
        }

        async fn digests(&self, _: DigestAsk) -> Result<Vec<Digest>> {
            unreachable!("nothing is compared")
        }

        async fn rows(&self, _: &BucketName, _: KeyRange, _: usize) -> Result<RowsPage> {
            unreachable!("nothing is compared")
        }

        async fn buckets(&self) -> Result<Vec<BucketName>> {
            unreachable!("nothing is compared")
        }
    }

    /// A site on this status store that follows the other one.
    async fn follower(status: Status, other: Long) -> (Follower, Arc<Neighbour>) {
        let id = |name: &str, number| SiteId { name: name.into(), number: SiteNumber(number) };
        let neighbours = Neighbours::new(vec![(id("long", 2), Arc::new(other) as Arc<dyn Peer>)], Scope::Nobody, false);
        let clock = Clock::new(Arc::new(SystemClock), SiteNumber(1), status.facts().incarnation, 0);
        let backend = Arc::new(Memory::new());
        let site = Site::open(Parts { id: id("one", 1), backend, status, clock, neighbours, custody: Default::default() })
            .await
            .unwrap()
            .0;
        let neighbour = site.neighbours().get(SiteNumber(2)).unwrap().clone();
        (Follower::new(site, neighbour.clone(), Bell::default()), neighbour)
    }

    #[tokio::test(start_paused = true)]
    async fn a_site_whose_long_log_is_read_is_not_taken_for_unreachable() {
        let (mut follower, neighbour) = follower(testing::status(Options::default()), Long(20, None)).await;
        let following = tokio::spawn(async move { follower.step().await });
        for _ in 0..15 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(neighbour.standing(), Standing::Behind);
        }
        following.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_older_than_what_it_told_takes_no_writes_and_remembers_why() {
        let disk = Forgetful::new(Power::on());
        let status = Status::open_inline(disk.clone(), &Options::default()).unwrap();
        let known = (status.facts().incarnation, Seq(99));
        let (mut follower, neighbour) = follower(status.clone(), Long(0, Some(known))).await;
        assert!(follower.step().await.is_err());
        assert_eq!(neighbour.standing(), Standing::Unreachable);
        assert!(!status.healthy());
        assert!(status.commit(Commit::new().put::<Meta>(&"any".into(), &1)).await.is_err());
        drop((follower, status));
        let again = Status::open_inline(disk.crash(0), &Options::default()).unwrap();
        assert_eq!(again.facts().outlived, Some(known));
        assert!(again.healthy());
    }

    #[tokio::test(start_paused = true)]
    async fn a_neighbour_that_forgot_what_it_told_is_not_believed() {
        let (mut follower, neighbour) = follower(testing::status(Options::default()), Long(5, None)).await;
        neighbour.received(Incarnation(1), Seq(6));
        assert!(follower.step().await.is_err());
        assert_eq!(neighbour.standing(), Standing::Unreachable);
    }
}
