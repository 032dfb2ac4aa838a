//! The other sites as this one knows them now: who they are, how far it has heard of them, whether they answer.
//!
//! What must outlive the process is in the status store; this is what a request may look at without waiting.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Incarnation, Seq, SiteId, SiteNumber};
use crate::peer::{Heads, Peer, SiteState};

/// Heads older than this say nothing any more (protocol §7).
pub const FRESH: Duration = Duration::from_secs(6);

/// Every other site, in the order of the settings.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    all: Arc<[Arc<Neighbour>]>,
    /// Whether the bus carries what is told, so that it has to be written down for it.
    pub bus: bool,
    /// Who is told of buckets without rules of their own.
    scope: Scope,
}

/// Which sites a bucket is replicated to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// None, as long as nothing else is said.
    #[default]
    Nobody,
    Everybody,
    Only(Vec<SiteNumber>),
}

/// Another site.
#[derive(Debug)]
pub struct Neighbour {
    pub id: SiteId,
    pub peer: Arc<dyn Peer>,
    seen: Mutex<Seen>,
}

/// What was last heard of a site.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub heads: Option<Heads>,
    /// When the heads came.
    pub at: Option<Instant>,
    /// Up to where everything that it told is known here, and in which of its lives.
    pub received: Option<(Incarnation, Seq)>,
    /// Why it was last not reached.
    pub error: Option<String>,
    /// Its clock less ours, milliseconds, when it was last heard.
    pub clock_offset_ms: i64,
    /// A person stopped the traffic with it.
    pub paused: bool,
}

/// What an absence here means, as far as one other site is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything it has announced is known here.
    CaughtUp,
    /// It answers, and has told or will tell more than is known here.
    Behind,
    /// It does not answer: it may know better.
    Unreachable,
}

impl Neighbours {
    pub fn new(all: Vec<(SiteId, Arc<dyn Peer>)>, scope: Scope, bus: bool) -> Self {
        let neighbour = |(id, peer)| Arc::new(Neighbour { id, peer, seen: Mutex::default() });
        Self { all: all.into_iter().map(neighbour).collect(), bus, scope }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Neighbour>> {
        self.all.iter()
    }

    pub fn get(&self, site: SiteNumber) -> Option<&Arc<Neighbour>> {
        self.all.iter().find(|neighbour| neighbour.id.number == site)
    }

    pub fn numbers(&self) -> Vec<SiteNumber> {
        self.all.iter().map(|neighbour| neighbour.id.number).collect()
    }

    /// Who is told of a bucket that has no rules of its own.
    pub fn in_scope(&self) -> Vec<SiteNumber> {
        match &self.scope {
            Scope::Nobody => Vec::new(),
            Scope::Everybody => self.numbers(),
            Scope::Only(sites) => sites.clone(),
        }
    }
}

impl Neighbour {
    /// What was last heard of it.
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    pub fn standing(&self) -> Standing {
        let seen = self.lock();
        let fresh = seen.at.is_some_and(|at| at.elapsed() <= FRESH) && seen.error.is_none() && !seen.paused;
        let Some(heads) = seen.heads.as_ref().filter(|_| fresh) else { return Standing::Unreachable };
        let caught_up = seen.received.is_some_and(|received| received >= (heads.incarnation, heads.seq));
        if caught_up && heads.state == SiteState::Active { Standing::CaughtUp } else { Standing::Behind }
    }

    /// It answered.
    pub fn heard(&self, heads: Heads, clock_offset_ms: i64) {
        let mut seen = self.lock();
        (seen.heads, seen.at, seen.error, seen.clock_offset_ms) = (Some(heads), Some(Instant::now()), None, clock_offset_ms);
    }

    /// It did not answer.
    pub fn missed(&self, error: String) {
        self.lock().error = Some(error);
    }

    /// What it told up to here is known, durably.
    pub fn received(&self, incarnation: Incarnation, seq: Seq) {
        self.lock().received = Some((incarnation, seq));
    }

    pub fn pause(&self, paused: bool) {
        self.lock().paused = paused;
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nothing panics while it holds what was seen")
    }
}
