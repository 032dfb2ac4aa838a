//! Which writes wait, and how it goes with each. In memory: the files say it all again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::file::{Name, Slip};
use super::room::Taken;
use crate::backend::Error;
use crate::model::{BucketName, ObjectId, WriteId};

/// Between two tries of a write that the store could not take.
const AGAIN: Duration = Duration::from_secs(1);
/// The same of one that it refuses, at the most.
const REFUSED_AGAIN_MAX: Duration = Duration::from_secs(600);

/// How long somebody waits for a write that is carried at this moment.
const CARRIED_SOON: Duration = Duration::from_secs(1);

/// Writes by their names, which are in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Index {
    waiting: Mutex<Waiting>,
    /// Told when one is in nobody's hands any more.
    moved: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    writes: BTreeMap<Name, Entry>,
    /// Files that say nothing sensible.
    torn: u64,
}

#[derive(Debug)]
struct Entry {
    slip: Slip,
    /// When its file was made, milliseconds since 1970.
    came_ms: u64,
    /// Whether its bytes are known to be what they were.
    is_checked: bool,
    /// Whether somebody has it in hand, be it to carry or to delete it.
    is_claimed: bool,
    /// Deleted: nothing of it may stay anywhere.
    is_doomed: bool,
    /// Not tried before.
    next_try: Instant,
    tries: u32,
    refused: Option<Refused>,
    room: Taken,
}

/// What a service does not take as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    NoSuchBucket,
    Other,
}

/// A write that waits.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub slip: Slip,
    pub came_ms: u64,
    pub is_checked: bool,
    pub refused: Option<Refused>,
}

/// What waits, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub objects: u64,
    pub bytes: u64,
    pub oldest_ms: Option<u64>,
    pub refused: u64,
}

impl Index {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics while it holds the index")
    }

    pub fn add(&self, slip: Slip, came_ms: u64, room: Taken, is_checked: bool) {
        let entry = Entry {
            came_ms,
            is_checked,
            is_claimed: false,
            is_doomed: false,
            next_try: Instant::now(),
            tries: 0,
            refused: None,
            room,
            slip,
        };
        self.waiting().writes.insert(entry.slip.name(), entry);
    }

    pub fn count_torn(&self) {
        self.waiting().torn += 1;
    }

    /// A write of this object, if it waits here and is not deleted.
    pub fn find(&self, object: &ObjectId, write: WriteId) -> Option<Found> {
        let name = Name { write, object: object.clone() };
        self.waiting().writes.get(&name).filter(|entry| !entry.is_doomed).map(Entry::found)
    }

    pub fn is_doomed(&self, name: &Name) -> bool {
        self.waiting().writes.get(name).is_some_and(|entry| entry.is_doomed)
    }

    /// What waits in a bucket.
    pub fn of_bucket(&self, bucket: &BucketName) -> Vec<Found> {
        let waiting = self.waiting();
        let here = waiting.writes.values().filter(|entry| !entry.is_doomed && entry.slip.object.bucket == *bucket);
        here.map(Entry::found).collect()
    }

    /// From now on nobody finds it. Answers whether there is anything of it.
    pub fn doom(&self, name: &Name) -> bool {
        let mut waiting = self.waiting();
        let entry = waiting.writes.get_mut(name);
        entry.map(|entry| entry.is_doomed = true).is_some()
    }

    pub fn is_claimed(&self, name: &Name) -> bool {
        self.waiting().writes.get(name).is_some_and(|entry| entry.is_claimed)
    }

    /// Takes it in hand. `false`: another has it. One that is gone is had by nobody.
    pub fn claim(&self, name: &Name) -> bool {
        match self.waiting().writes.get_mut(name) {
            Some(entry) => !std::mem::replace(&mut entry.is_claimed, true),
            None => true,
        }
    }

    /// Is done with it, however it went.
    pub fn release(&self, name: &Name) {
        if let Some(entry) = self.waiting().writes.get_mut(name) {
            entry.is_claimed = false;
        }
        self.moved.notify_waiters();
    }

    /// Waits a moment for others who have a write in hand. Answers whether it is `done`.
    pub async fn until(&self, done: impl Fn() -> bool) -> bool {
        let waited = timeout(CARRIED_SOON, async {
            loop {
                let moved = self.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable();
                if done() {
                    return;
                }
                moved.await;
            }
        });
        waited.await.is_ok()
    }

    /// Its bytes were read, and are what they were.
    pub fn note_checked(&self, name: &Name) {
        if let Some(entry) = self.waiting().writes.get_mut(name) {
            entry.is_checked = true;
        }
    }

    /// The oldest that are to be carried now, so many at the most, taken in hand.
    pub fn take_due(&self, writes_max: usize) -> Vec<Slip> {
        let now = Instant::now();
        let mut waiting = self.waiting();
        waiting.writes.values_mut().filter_map(|entry| entry.take(now)).take(writes_max).collect()
    }

    /// This one, if it is to be carried now.
    pub fn take(&self, name: &Name) -> Option<Slip> {
        self.waiting().writes.get_mut(name)?.take(Instant::now())
    }

    /// The service did not take it, for this reason.
    pub fn put_off(&self, name: &Name, reason: &Error) {
        let mut waiting = self.waiting();
        let Some(entry) = waiting.writes.get_mut(name) else { return };
        entry.refused = match reason {
            Error::Unavailable(_) => None,
            Error::NoSuchBucket => Some(Refused::NoSuchBucket),
            _ => Some(Refused::Other),
        };
        // What the service could not be asked is no refusal.
        entry.tries = if entry.refused.is_some() { entry.tries.saturating_add(1) } else { 0 };
        let pause = match entry.refused {
            None => AGAIN,
            Some(_) => AGAIN.saturating_mul(2_u32.saturating_pow(entry.tries.min(16))).min(REFUSED_AGAIN_MAX),
        };
        entry.next_try = Instant::now() + pause;
    }

    /// A bucket was made: what it was missing for is tried again at once.
    pub fn hurry(&self, bucket: &BucketName) {
        let now = Instant::now();
        let mut waiting = self.waiting();
        for entry in waiting.writes.values_mut().filter(|entry| entry.slip.object.bucket == *bucket) {
            (entry.next_try, entry.refused) = (now, None);
        }
    }

    /// Its file is gone.
    pub fn free(&self, name: &Name) {
        if let Some(entry) = self.waiting().writes.get_mut(name) {
            entry.room.give_back_bytes();
        }
    }

    /// The service has it: whoever deletes it from now on does so there. `false`: it was deleted before, and must go from there too.
    pub fn leave(&self, name: &Name) -> bool {
        let mut waiting = self.waiting();
        if waiting.writes.get(name).is_some_and(|entry| entry.is_doomed) {
            return false;
        }
        waiting.writes.remove(name);
        self.moved.notify_waiters();
        true
    }

    /// Nobody has it.
    pub fn remove(&self, name: &Name) {
        self.waiting().writes.remove(name);
        self.moved.notify_waiters();
    }

    pub fn is_empty(&self) -> bool {
        self.waiting().writes.is_empty()
    }

    pub fn sums(&self) -> Sums {
        let waiting = self.waiting();
        let mut sums = Sums { refused: waiting.torn, ..Sums::default() };
        for entry in waiting.writes.values().filter(|entry| !entry.is_doomed) {
            sums.objects += 1;
            sums.bytes += entry.slip.size;
            sums.refused += u64::from(entry.refused.is_some());
            sums.oldest_ms = Some(sums.oldest_ms.map_or(entry.came_ms, |oldest| oldest.min(entry.came_ms)));
        }
        sums
    }
}

impl Entry {
    fn take(&mut self, now: Instant) -> Option<Slip> {
        if self.is_claimed || self.next_try > now {
            return None;
        }
        self.is_claimed = true;
        Some(self.slip.clone())
    }

    fn found(&self) -> Found {
        let Self { slip, came_ms, is_checked, refused, .. } = self;
        Found { slip: slip.clone(), came_ms: *came_ms, is_checked: *is_checked, refused: *refused }
    }
}
