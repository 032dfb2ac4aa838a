//! How this site stands with each other one, and what waits: numbers that take look-ups. Asking often costs nothing: they are
//! kept for a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::model::SiteNumber;
use crate::site::{Neighbour, Site, Standing, UNTIL_RESUMED};
use crate::status::tables::{Conflicts, Dirty, Due, Failed, Graves, Pending, Work};
use crate::status::{Page, ReadError};

/// How long the numbers are believed.
const KEPT: Duration = Duration::from_secs(1);
/// What is counted one by one is counted so far: this number stands for itself or more.
pub const COUNTED_MAX: usize = 10_000;

/// The numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Census {
    pub sites: Vec<SiteView>,
    pub backlog: Backlog,
    /// Objects of which a write lost against one that had not seen it.
    pub conflicts: u64,
    /// Deletes that are remembered.
    pub graves: u64,
}

/// What other sites told and is not here yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backlog {
    /// To be tried now; 10,000 stands for that many or more.
    pub due: u64,
    /// To be tried later.
    pub waiting: u64,
}

/// How this site stands with another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteView {
    pub name: String,
    pub number: u16,
    /// `caught_up`, `behind`, `unreachable` or `paused`.
    pub standing: String,
    /// Whether it answers.
    pub reachable: bool,
    pub paused: bool,
    /// Until the pause ends by itself.
    pub paused_seconds: Option<f64>,
    /// What it has told that is not known here; none before it was heard.
    pub lag_seq: Option<u64>,
    /// Since all it had told was known here; 0 while it is.
    pub lag_seconds: Option<f64>,
    pub seconds_since_heard: Option<f64>,
    /// Its clock less ours.
    pub clock_offset_ms: Option<i64>,
    /// Units it is owed.
    pub pending: u64,
    /// Age of the oldest of them.
    pub oldest_pending_seconds: Option<f64>,
    /// Units it could not take; 10,000 stands for that many or more.
    pub failed: u64,
    /// Buckets of which it may lack something that only reconciliation finds.
    pub dirty: u64,
    /// Why it was last not reached.
    pub last_error: Option<String>,
}

/// The numbers as last read.
#[derive(Debug, Default)]
pub struct Kept {
    last: Mutex<Option<(Instant, Arc<Census>)>>,
    /// Held while they are read: however many ask, one reads.
    reading: tokio::sync::Mutex<()>,
}

impl Kept {
    /// The numbers, not older than a second.
    pub async fn fresh(&self, site: &Site) -> Result<Arc<Census>, ReadError> {
        let _reading = self.reading.lock().await;
        let kept = self.lock().clone().filter(|(at, _)| at.elapsed() < KEPT);
        if let Some((_, census)) = kept {
            return Ok(census);
        }
        let census = Arc::new(Census::of(site).await?);
        *self.lock() = Some((Instant::now(), census.clone()));
        Ok(census)
    }

    /// The numbers as they were last read, at whatever time.
    pub fn last(&self) -> Arc<Census> {
        self.lock().as_ref().map(|(_, census)| census.clone()).unwrap_or_default()
    }

    /// Something was changed that the numbers tell: they are read again.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Arc<Census>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Census {
    async fn of(site: &Site) -> Result<Self, ReadError> {
        let status = site.status();
        let mut sites = Vec::new();
        for neighbour in site.neighbours().iter() {
            sites.push(SiteView::of(site, neighbour).await?);
        }
        Ok(Self {
            sites,
            backlog: Backlog::of(site).await?,
            conflicts: status.rows::<Conflicts>().await?,
            graves: status.rows::<Graves>().await?,
        })
    }
}

impl Backlog {
    async fn of(site: &Site) -> Result<Self, ReadError> {
        let all = site.status().rows::<Work>().await?;
        if all == 0 {
            return Ok(Self::default());
        }
        let now_ms = site.clock().wall_ms();
        let page: Page<Due> = site.status().page(&(), None, COUNTED_MAX).await?;
        let due = page.rows.iter().take_while(|((due_ms, _), _)| *due_ms <= now_ms).count() as u64;
        Ok(Self { due, waiting: all.saturating_sub(due) })
    }
}

impl SiteView {
    async fn of(site: &Site, neighbour: &Neighbour) -> Result<Self, ReadError> {
        let (seen, status, target) = (neighbour.seen(), site.status(), neighbour.id.number);
        let now_ms = site.clock().wall_ms();
        let standing = neighbour.standing();
        let since = |at: Instant| at.elapsed().as_secs_f64();
        let lag_seconds = if standing == Standing::CaughtUp { Some(0.0) } else { seen.caught_up.map(since) };
        let pause_ends = seen.paused_until_ms.filter(|until_ms| *until_ms != UNTIL_RESUMED);
        Ok(Self {
            name: neighbour.id.name.clone(),
            number: target.0,
            standing: standing_word(standing, seen.is_paused()).into(),
            reachable: standing != Standing::Unreachable,
            paused: seen.is_paused(),
            paused_seconds: pause_ends.map(|until_ms| seconds(until_ms.saturating_sub(now_ms))),
            lag_seq: seen.lag(),
            lag_seconds,
            seconds_since_heard: seen.at.map(since),
            clock_offset_ms: seen.at.map(|_| seen.clock_offset_ms),
            pending: status.owed(target),
            oldest_pending_seconds: oldest_pending_ms(site, target).await?.map(|ms| seconds(now_ms.saturating_sub(ms))),
            failed: status.count::<Failed>(&target, COUNTED_MAX).await?,
            dirty: status.count::<Dirty>(&target, COUNTED_MAX).await?,
            last_error: seen.error,
        })
    }
}

fn standing_word(standing: Standing, paused: bool) -> &'static str {
    match standing {
        _ if paused => "paused",
        Standing::CaughtUp => "caught_up",
        Standing::Behind => "behind",
        Standing::Unreachable => "unreachable",
    }
}

/// When the first unit a site is owed was written, milliseconds since 1970.
async fn oldest_pending_ms(site: &Site, target: SiteNumber) -> Result<Option<u64>, ReadError> {
    if site.status().owed(target) == 0 {
        return Ok(None);
    }
    let first: Page<Pending> = site.status().page(&target, None, 1).await?;
    Ok(first.rows.first().map(|(_, stored)| stored.row.vector.greatest().ms()))
}

/// Milliseconds as seconds.
pub fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
