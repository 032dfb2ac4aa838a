//! What clients of one key saw, and whether one register could have shown it to them.
//!
//! Acknowledged writes carry stamps, which are a total order, so the question has a simple answer: a read is honest if
//! the write it shows began before the read ended, and no later write was acknowledged before the read began (I4, I9).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Stamp;

/// The operations on one key, in a time that only counts.
#[derive(Debug, Default)]
pub struct History {
    now: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    writes: Vec<Write>,
    reads: Vec<Read>,
}

/// A write that was acknowledged; a delete has no value.
#[derive(Clone, Debug)]
struct Write {
    began: u64,
    ended: u64,
    stamp: Stamp,
    value: Option<u64>,
}

/// What a read showed.
#[derive(Clone, Copy, Debug)]
struct Read {
    began: u64,
    ended: u64,
    value: Option<u64>,
}

impl History {
    /// A moment after every one before.
    pub fn moment(&self) -> u64 {
        self.now.fetch_add(1, Ordering::SeqCst)
    }

    /// A write that `began` then was acknowledged now.
    pub fn wrote(&self, began: u64, stamp: Stamp, value: Option<u64>) {
        let ended = self.moment();
        self.seen.lock().unwrap().writes.push(Write { began, ended, stamp, value });
    }

    /// A read that `began` then answered now.
    pub fn read(&self, began: u64, value: Option<u64>) {
        let ended = self.moment();
        self.seen.lock().unwrap().reads.push(Read { began, ended, value });
    }

    /// The first thing seen that one register cannot have shown.
    pub fn violation(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap();
        causality(&seen.writes).or_else(|| seen.reads.iter().find_map(|read| dishonest(read, &seen.writes)))
    }
}

/// I4: a write that began after another was acknowledged has a greater stamp.
fn causality(writes: &[Write]) -> Option<String> {
    writes.iter().find_map(|later| {
        let earlier = writes.iter().find(|one| one.ended < later.began && one.stamp >= later.stamp)?;
        Some(format!("{later:?} began after {earlier:?} had ended and has no greater stamp"))
    })
}

fn dishonest(read: &Read, writes: &[Write]) -> Option<String> {
    let floor = writes.iter().filter(|write| write.ended < read.began).max_by_key(|write| write.stamp);
    let possible = |write: &&Write| write.began < read.ended && floor.is_none_or(|floor| write.stamp >= floor.stamp);
    let never_written = floor.is_none() && read.value.is_none();
    if never_written || writes.iter().filter(possible).any(|write| write.value == read.value) {
        return None;
    }
    Some(format!("{read:?} shows what was not there: {floor:?} was acknowledged before it began"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, SiteNumber, StampParts};

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = History::default();
        for (ms, value) in [(1, Some(10)), (2, Some(20))] {
            let began = history.moment();
            history.wrote(began, stamp(ms), value);
        }
        let began = history.moment();
        history.read(began, Some(20));
        assert_eq!(history.violation(), None);
        let began = history.moment();
        history.read(began, Some(10));
        assert!(history.violation().is_some());
    }

    #[test]
    fn a_delete_that_comes_undone_is_found() {
        let history = History::default();
        for (ms, value) in [(1, Some(10)), (2, None)] {
            let began = history.moment();
            history.wrote(began, stamp(ms), value);
        }
        let began = history.moment();
        history.read(began, Some(10));
        assert!(history.violation().is_some());
    }

    #[test]
    fn a_read_beside_a_write_may_show_either() {
        let history = History::default();
        let began = history.moment();
        history.wrote(began, stamp(1), Some(10));
        let (read, write) = (history.moment(), history.moment());
        history.wrote(write, stamp(2), Some(20));
        history.read(read, Some(10));
        history.read(read, Some(20));
        assert_eq!(history.violation(), None);
    }
}
