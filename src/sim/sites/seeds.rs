//! Histories by the seed: a few hundred with `cargo test`, as many as one likes with `make sim N=… FROM=…`.
//!
//! `make faults` says how many histories it takes until a rule that is switched off is noticed.

use std::time::Instant;

use super::plan::Plan;
use super::play::{Verdict, play};
use crate::planted::{Fault, with};

/// Each of so many is played twice: the same seed must be the same history.
const TWICE: u64 = 100;
/// Seeds that fail before nobody goes on.
const FAILURES_MAX: usize = 10;

/// Plays a seed. An error says what was wrong and how to see it again.
fn history(seed: u64) -> Result<(), String> {
    let plan = Plan::of(seed);
    let Verdict { violations, hash } = play(&plan);
    let again = format!("to see it again: make sim FROM={seed} N=1");
    if let Some(first) = violations.first() {
        return Err(format!("seed {seed}: {first}\n{again}"));
    }
    if seed.is_multiple_of(TWICE) && play(&plan).hash != hash {
        return Err(format!("seed {seed}: two runs of it differ\n{again}"));
    }
    Ok(())
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
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
    let (began, mut failures) = (Instant::now(), 0);
    for seed in from..from + count {
        if count == 1 {
            println!("{:#?}", Plan::of(seed));
        }
        if let Err(failure) = history(seed) {
            println!("{failure}");
            failures += 1;
            assert!(failures < FAILURES_MAX, "{failures} histories from {from} to {seed} broke a promise");
        }
        let done = seed - from + 1;
        if done.is_multiple_of(1_000) || done == count {
            println!("{done} histories from {from}, {:.1} a second", done as f64 / began.elapsed().as_secs_f64());
        }
    }
    assert_eq!(failures, 0, "histories that broke a promise");
}

/// How many histories it takes to notice each planted fault.
#[test]
#[ignore = "thousands of histories: make faults"]
fn every_planted_fault_is_found_by_some_history() {
    let (from, count) = (number("ANYBUCKET_SIM_FROM", 1), number("ANYBUCKET_SIM_N", 3_000));
    let find = |fault| {
        (from..from + count).find_map(|seed| {
            let violations = with(Some(fault), || play(&Plan::of(seed))).violations;
            Some((seed, violations.into_iter().next()?))
        })
    };
    let mut unseen = Vec::new();
    for fault in Fault::ALL {
        match find(fault) {
            Some((seed, what)) => println!("{fault:?}: {} histories: {}", seed - from + 1, what.lines().next().unwrap_or("")),
            None => unseen.push(fault),
        }
    }
    assert!(unseen.is_empty(), "{count} histories from {from} do not show {unseen:?}");
}
