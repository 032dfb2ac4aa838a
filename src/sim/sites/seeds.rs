//! Histories by the seed: a few dozen with `cargo test`, as many as one likes with `make sim N=… FROM=…`.
//!
//! `make faults` says how many histories it takes until a rule that is switched off is noticed. Both use every core: each
//! thread plays whole histories, on a runtime of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

use super::plan::Plan;
use super::play::{Verdict, play};
use crate::planted::{Fault, with};

/// Each of so many is played twice: the same seed must be the same history.
const TWICE: u64 = 100;
/// Seeds that fail before nobody goes on.
const FAILURES_MAX: usize = 10;
/// Between two lines about how far it came.
const PROGRESS: Duration = Duration::from_secs(30);

/// Plays a seed. An error says what was wrong and how to see it again.
fn history(seed: u64) -> Result<(), String> {
    let plan = Plan::of(seed);
    let Verdict { violations, hash } = played(&plan);
    let again = format!("to see it again: make sim FROM={seed} N=1");
    if let Some(first) = violations.first() {
        return Err(format!("seed {seed}: {first}\n{again}"));
    }
    if seed.is_multiple_of(TWICE) && played(&plan).hash != hash {
        return Err(format!("seed {seed}: two runs of it differ\n{again}"));
    }
    Ok(())
}

/// A history that panics broke an assertion of the code.
fn played(plan: &Plan) -> Verdict {
    let verdict = catch_unwind(AssertUnwindSafe(|| play(plan)));
    verdict.unwrap_or_else(|_| Verdict { violations: vec!["it panicked, as printed above".into()], hash: 0 })
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Runs `work` on as many threads as there are cores, until each has ended.
fn on_every_core(work: impl Fn() + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..number("ANYBUCKET_SIM_THREADS", cores as u64) {
            scope.spawn(&work);
        }
    });
}

#[test]
fn some_histories_keep_every_promise() {
    for seed in 1..=40 {
        history(seed).unwrap();
    }
}

#[test]
fn a_seed_is_always_the_same_history() {
    for seed in [100, 300] {
        history(seed).unwrap();
    }
}

/// `make sim`: ANYBUCKET_SIM_FROM and ANYBUCKET_SIM_N choose the seeds. A single one is printed before it is played.
#[test]
#[ignore = "as many histories as it is told: make sim"]
fn histories_by_the_seed() {
    let (from, count) = (number("ANYBUCKET_SIM_FROM", 1), number("ANYBUCKET_SIM_N", 1_000));
    if count == 1 {
        println!("{:#?}", Plan::of(from));
        // What its sites log, as RUST_LOG says.
        tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_ansi(false).without_time().init();
    }
    let (began, next, done) = (Instant::now(), AtomicU64::new(from), AtomicU64::new(0));
    let (failures, told) = (AtomicUsize::new(0), Mutex::new(began));
    on_every_core(|| {
        while failures.load(Ordering::SeqCst) < FAILURES_MAX {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= from + count {
                return;
            }
            if let Err(failure) = history(seed) {
                println!("{failure}");
                failures.fetch_add(1, Ordering::SeqCst);
            }
            let done = done.fetch_add(1, Ordering::SeqCst) + 1;
            let mut told = told.lock().unwrap();
            if told.elapsed() >= PROGRESS || done == count {
                *told = Instant::now();
                let (rate, failures) = (done as f64 / began.elapsed().as_secs_f64(), failures.load(Ordering::SeqCst));
                println!("{done} histories from {from}, {rate:.1} a second, {failures} broke a promise");
            }
        }
    });
    let (done, failures) = (done.into_inner(), failures.into_inner());
    assert_eq!(failures, 0, "histories that broke a promise, of {done} from {from}");
}

/// How many histories it takes to notice each planted fault, or those that ANYBUCKET_SIM_ONLY names, by commas.
#[test]
#[ignore = "thousands of histories: make faults"]
fn every_planted_fault_is_found_by_some_history() {
    let (from, count) = (number("ANYBUCKET_SIM_FROM", 1), number("ANYBUCKET_SIM_N", 3_000));
    let find = |fault| {
        (from..from + count).find_map(|seed| {
            let violations = with(Some(fault), || played(&Plan::of(seed))).violations;
            Some((seed, violations.into_iter().next()?))
        })
    };
    let only = std::env::var("ANYBUCKET_SIM_ONLY").ok().filter(|only| !only.is_empty());
    let is_asked = |fault: &Fault| only.as_ref().is_none_or(|only| only.split(',').any(|name| name == format!("{fault:?}")));
    let faults: Vec<_> = Fault::ALL.into_iter().filter(is_asked).collect();
    let (next, unseen) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    on_every_core(|| {
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::SeqCst)).copied() {
            match find(fault) {
                Some((seed, what)) => {
                    println!("{fault:?}: {} histories: {}", seed - from + 1, what.lines().next().unwrap_or(""));
                }
                None => {
                    println!("{fault:?}: not in {count} histories");
                    unseen.lock().unwrap().push(fault);
                }
            }
        }
    });
    let unseen = unseen.into_inner().unwrap();
    assert!(unseen.is_empty(), "{count} histories from {from} do not show {unseen:?}");
}
