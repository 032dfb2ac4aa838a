//! What became of calls, for metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::{Answer, Fault};
use crate::backend::Traffic;

/// Calls by what was tried and what came of it: a handful of each.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<(&'static str, &'static str), Sum>>);

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u64,
    took: Duration,
}

impl Tally {
    fn sums(&self) -> MutexGuard<'_, BTreeMap<(&'static str, &'static str), Sum>> {
        self.0.lock().expect("nothing panics while it holds the tally")
    }

    pub fn count<T>(&self, doing: &'static str, answer: &Answer<T>, took: Duration) {
        let mut sums = self.sums();
        let sum = sums.entry((doing, outcome_of(answer))).or_default();
        sum.count += 1;
        sum.took += took;
    }

    pub fn read(&self) -> Vec<Traffic> {
        let traffic = |(&(call, outcome), sum): (&(&'static str, &'static str), &Sum)| Traffic {
            store: String::new(),
            call,
            outcome,
            count: sum.count,
            seconds: sum.took.as_secs_f64(),
        };
        self.sums().iter().map(traffic).collect()
    }
}

/// In a word.
pub(super) fn outcome_of<T>(answer: &Answer<T>) -> &'static str {
    answer.as_ref().map_or_else(outcome, |_| "ok")
}

fn outcome(fault: &Fault) -> &'static str {
    match fault.status {
        _ if fault.is_not_tried() => "not_tried",
        _ if fault.is_missing() || fault.is_bucket_missing() => "missing",
        _ if fault.is_denied() => "denied",
        None => "silent",
        Some(408 | 429 | 503) => "slow",
        Some(200..300 | 500..) => "failed",
        Some(_) => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_what_came_of_them() {
        let tally = Tally::default();
        let fault = |status| Fault { doing: "x", status, code: String::new(), detail: String::new() };
        tally.count("reading", &Ok(()), Duration::from_secs(1));
        tally.count("reading", &Ok(()), Duration::from_secs(2));
        for status in [None, Some(404), Some(403), Some(412), Some(503), Some(500)] {
            tally.count("reading", &Err::<(), _>(fault(status)), Duration::ZERO);
        }
        tally.count("reading", &Err::<(), _>(Fault::not_tried("x")), Duration::ZERO);
        let read = tally.read();
        let outcomes: Vec<_> = read.iter().map(|traffic| (traffic.outcome, traffic.count)).collect();
        let ones = ["denied", "failed", "missing", "not_tried"].map(|outcome| (outcome, 1));
        assert_eq!(outcomes[..4], ones);
        assert_eq!(outcomes[4..], [("ok", 2), ("refused", 1), ("silent", 1), ("slow", 1)]);
        assert!(read.iter().any(|traffic| traffic.seconds > 2.9));
    }
}
