//! What clients asked for and what they were told: every write has a number of its own, which its object carries.

use std::collections::BTreeMap;

use crate::model::{Identity, ObjectId, Retention, SiteNumber, Slot, Stamp};

/// The metadata and the tag that carry the number of a write.
pub const MARK: &str = "w";

/// Number of an attempt.
pub type Id = usize;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Write,
    /// Of whatever is current: a delete marker, or a grave of the null version.
    Delete,
    Tag,
    /// One version is to be destroyed.
    Purge,
    Hold(bool),
    Retain(Option<Retention>),
}

impl Kind {
    /// Whether its stamp is that of data; those of others are of registers. The null version's purge is data.
    pub fn is_data(self, slot: Slot) -> bool {
        match self {
            Self::Write | Self::Delete => true,
            Self::Purge => slot == Slot::Null,
            Self::Tag | Self::Hold(_) | Self::Retain(_) => false,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody knows, and perhaps never will.
    Open,
    Acknowledged {
        ended: u64,
        stamp: Stamp,
        slot: Slot,
    },
    /// The site said that nothing was done.
    Refused,
}

/// A client's attempt to change an object.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub site: SiteNumber,
    pub object: ObjectId,
    pub kind: Kind,
    /// The version that was named; `None` where the site decides.
    pub named: Option<Slot>,
    pub began: u64,
    pub outcome: Outcome,
    /// The greatest stamp of the object at the site when it began.
    pub above: Option<Stamp>,
}

/// Every attempt, in the order of beginning.
#[derive(Debug, Default)]
pub struct Ledger {
    attempts: Vec<Attempt>,
    now: u64,
    /// When a site lost the stamps that it had drawn, and up to which millisecond and tick it heard of stamps as it started.
    forgot: BTreeMap<SiteNumber, (u64, (u64, u16))>,
}

impl Ledger {
    fn moment(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    pub fn begin(
        &mut self,
        site: SiteNumber,
        kind: Kind,
        (object, named): (&ObjectId, Option<Slot>),
        above: Option<Stamp>,
    ) -> Id {
        let began = self.moment();
        let (object, outcome) = (object.clone(), Outcome::Open);
        self.attempts.push(Attempt { site, object, kind, named, began, outcome, above });
        self.attempts.len() - 1
    }

    /// Of stamps that a site drew before it lost them nothing can be promised, but of those that it `heard` of again.
    pub fn forgot_stamps(&mut self, site: SiteNumber, heard: (u64, u16)) {
        let now = self.moment();
        self.forgot.insert(site, (now, heard));
    }

    pub fn refuse(&mut self, id: Id) {
        self.attempts[id].outcome = Outcome::Refused;
    }

    /// An attempt is acknowledged. Later writes of a site have greater stamps (I4).
    pub fn acknowledge(&mut self, id: Id, (stamp, slot): (Stamp, Slot)) -> Result<(), String> {
        let ended = self.moment();
        self.attempts[id].outcome = Outcome::Acknowledged { ended, stamp, slot };
        let this = &self.attempts[id];
        if this.above.is_some_and(|above| above >= stamp) {
            return Err(format!("I4: attempt {id} was acknowledged with {stamp}, not above what its site knew: {this:?}"));
        }
        let (lost, heard) = self.forgot.get(&this.site).copied().unwrap_or_default();
        let is_forgotten = |ended: u64, stamp: Stamp| ended < lost && (stamp.ms(), stamp.parts().tick) > heard;
        let before = |one: &Attempt| match one.outcome {
            Outcome::Acknowledged { ended, stamp: earlier, .. } => {
                one.site == this.site && ended < this.began && earlier >= stamp && !is_forgotten(ended, earlier)
            }
            _ => false,
        };
        match self.attempts.iter().position(before) {
            Some(earlier) => Err(format!("I4: attempt {id} has stamp {stamp}, not above that of {earlier}, which ended before")),
            None => Ok(()),
        }
    }

    pub fn get(&self, id: Id) -> Option<&Attempt> {
        self.attempts.get(id)
    }

    /// Attempts on an object.
    pub fn on<'a>(&'a self, object: &'a ObjectId) -> impl Iterator<Item = &'a Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.object == *object)
    }

    /// Attempts on an object that were acknowledged, each with its stamp and the version that it made or changed.
    pub fn acknowledged<'a>(&'a self, object: &'a ObjectId) -> impl Iterator<Item = (&'a Attempt, Stamp, Slot)> {
        self.on(object).filter_map(|attempt| match attempt.outcome {
            Outcome::Acknowledged { stamp, slot, .. } => Some((attempt, stamp, slot)),
            _ => None,
        })
    }

    /// Whether attempt `id` may have left this stamp at the version.
    pub fn explains(&self, id: Id, kind: Kind, version: (&ObjectId, Slot), stamp: Stamp) -> bool {
        self.get(id).is_some_and(|attempt| attempt.kind == kind && attempt.may_have_left(version, stamp))
    }

    /// Whether any attempt of such a kind may have left this stamp at the version.
    pub fn any_explains(&self, kind: impl Fn(Kind) -> bool, version: (&ObjectId, Slot), stamp: Stamp) -> bool {
        self.attempts.iter().any(|attempt| kind(attempt.kind) && attempt.may_have_left(version, stamp))
    }
}

impl Attempt {
    fn may_have_left(&self, (object, slot): (&ObjectId, Slot), stamp: Stamp) -> bool {
        let by_stamp = match self.outcome {
            Outcome::Open => self.named.is_none_or(|named| named == slot),
            Outcome::Acknowledged { stamp: told, slot: of, .. } => (told, of) == (stamp, slot),
            Outcome::Refused => false,
        };
        by_stamp && self.site == stamp.parts().site && self.object == *object
    }
}

/// The write whose data this is.
pub fn written_by(identity: &Identity) -> Option<Id> {
    identity.metadata.iter().find(|(name, _)| name == MARK)?.1.parse().ok()
}

/// The attempt whose tags these are.
pub fn tagged_by(identity: &Identity) -> Option<Id> {
    identity.tags.iter().find(|(name, _)| name == MARK)?.1.parse().ok()
}

/// Whether an attempt to write or delete the null version may still have happened.
pub fn is_open_write(attempt: &Attempt) -> bool {
    let of_null = attempt.named.is_none_or(|named| named == Slot::Null);
    attempt.outcome == Outcome::Open && of_null && attempt.kind.is_data(Slot::Null)
}
