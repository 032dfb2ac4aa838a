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
/// A pause without an end of its own.
pub const UNTIL_RESUMED: u64 = u64::MAX;

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
    /// When all that it had announced was last known here.
    pub caught_up: Option<Instant>,
    /// A person stopped the traffic with it until then, milliseconds since 1970.
    pub paused_until_ms: Option<u64>,
    /// Whether everything it had when this site met it is here: until then an absence here proves nothing beside it.
    pub compared: bool,
}

impl Seen {
    /// Whether it has, or may have, what was never told here. A site that told nobody anything has nothing.
    fn is_uncompared(&self) -> bool {
        !self.compared && self.heads.as_ref().is_some_and(|heads| heads.seq > Seq(0))
    }
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

impl Seen {
    /// Whether a person stopped the traffic with it.
    pub fn is_paused(&self) -> bool {
        self.paused_until_ms.is_some()
    }

    /// How many tellings it has announced that are not known here; `None` before it was heard.
    pub fn lag(&self) -> Option<u64> {
        let heads = self.heads.as_ref()?;
        let known = self.received.filter(|(life, _)| *life == heads.incarnation).map_or(Seq(0), |(_, seq)| seq);
        Some(heads.seq.0.saturating_sub(known.0))
    }

    fn is_level(&self) -> bool {
        let announced = self.heads.as_ref().map(|heads| (heads.incarnation, heads.seq));
        announced.is_some_and(|announced| self.received >= Some(announced))
    }

    fn note_level(&mut self) {
        if self.is_level() {
            self.caught_up = self.at;
        }
    }
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
        let fresh = seen.at.is_some_and(|at| at.elapsed() <= FRESH) && seen.error.is_none() && !seen.is_paused();
        let Some(heads) = seen.heads.as_ref().filter(|_| fresh) else { return Standing::Unreachable };
        let knows_all = seen.is_level() && heads.state == SiteState::Active && !heads.dirty && !seen.is_uncompared();
        if knows_all { Standing::CaughtUp } else { Standing::Behind }
    }

    /// It answered.
    pub fn heard(&self, heads: Heads, clock_offset_ms: i64) {
        let mut seen = self.lock();
        // Met before it told anybody anything: everything it will ever have comes by way of its log.
        seen.compared |= seen.heads.is_none() && heads.seq == Seq(0);
        (seen.heads, seen.at, seen.error, seen.clock_offset_ms) = (Some(heads), Some(Instant::now()), None, clock_offset_ms);
        seen.note_level();
    }

    /// It answered something else than a heartbeat.
    pub fn answered(&self) {
        self.lock().at = Some(Instant::now());
    }

    /// It did not answer.
    pub fn missed(&self, error: String) {
        self.lock().error = Some(error);
    }

    /// What it told up to here is known, durably.
    pub fn received(&self, incarnation: Incarnation, seq: Seq) {
        let mut seen = self.lock();
        seen.received = Some((incarnation, seq));
        seen.note_level();
    }

    /// Everything it had is here.
    pub fn compared(&self) {
        self.lock().compared = true;
    }

    /// It began a new life, with other data.
    pub fn began_anew(&self) {
        self.lock().compared = false;
    }

    /// Whether it was never compared with this site.
    pub fn awaits_comparison(&self) -> bool {
        !self.lock().compared
    }

    /// Whether everything it has is here, or will come by way of its log. Of one that was never heard nobody can say.
    pub fn is_learned(&self) -> bool {
        let seen = self.lock();
        seen.heads.is_some() && !seen.is_uncompared()
    }

    /// Stops the traffic with it until then, milliseconds since 1970, or starts it again. [`Site::pause`](super::Site::pause)
    /// makes that durable.
    pub(super) fn pause(&self, until_ms: Option<u64>) {
        self.lock().paused_until_ms = until_ms;
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nothing panics while it holds what was seen")
    }
}
