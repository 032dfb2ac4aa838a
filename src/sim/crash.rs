//! Every crash of every scripted history: the power goes at each call to a disk, comes back, and goes again.

use std::collections::BTreeSet;

use super::check::{honest, tidy};
use super::machine::Machine;
use super::player::{Known, Player};
use super::scenarios::{self, Scenario};
use super::world::{Op, Upload};
use crate::site::Error;

/// How thoroughly to look.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Every so many calls are cut.
    every: u64,
    /// Ways to forget that are tried for each cut.
    seeds: u64,
    /// Cuts of what follows a crash: recovery and the calls after it.
    again: u64,
}

/// Ways to forget that there are at all: each cut takes its share of them in turn.
const SEEDS: u64 = 12;

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// Every key that a history names, and those that are written after it.
pub fn keys<'a>(ops: impl IntoIterator<Item = &'a Op>) -> BTreeSet<String> {
    let named = ops.into_iter().flat_map(|op| match op {
        Op::Put(key, _) | Op::Delete(key) | Op::Tag(key) | Op::Start(_, key) => vec![*key],
        Op::Copy(from, to) => vec![*from, *to],
        _ => vec![],
    });
    named.chain(AFTERWARDS).map(str::to_owned).collect()
}

/// Keys written after a crash, as many as there are spare files: none of those may still be anybody's.
const AFTERWARDS: [&str; 6] = ["z/1", "z/2", "z/3", "z/4", "z", "y"];

/// Says which case it is, if a check fails.
pub struct Case(pub String);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case that failed: {}", self.0);
        }
    }
}

/// Plays a history on a machine like `base` until the power goes after `cut` calls.
async fn cut_short(base: &Machine, scenario: &Scenario, cut: u64) -> (Machine, Known) {
    let machine = base.after_crash(1);
    let mut player = Player::start(&machine, Known::default()).await.expect("a machine with power starts");
    machine.power().fail_after(cut);
    if let Err((op, err)) = player.play(&scenario.steps).await {
        assert!(machine.is_off(), "{}: {op:?} fails with the power on: {err}", scenario.name);
    }
    (machine, player.known)
}

/// Calls that a history makes.
async fn calls(base: &Machine, scenario: &Scenario) -> u64 {
    let machine = base.after_crash(1);
    let mut player = Player::start(&machine, Known::default()).await.unwrap();
    let before = machine.power().calls();
    player.play(&scenario.steps).await.unwrap_or_else(|(op, err)| panic!("{}: {op:?}: {err}", scenario.name));
    let calls = machine.power().calls() - before;
    let world = honest(&player, &keys(scenario.steps.iter().flatten())).await;
    assert!(player.known.world.shows(&world), "{}", scenario.name);
    player.settle().await;
    tidy(&player.process, &world).await;
    calls
}

/// What a restart finds is honest; then everything is settled, finished and written over, and honest still.
async fn recovered(machine: &Machine, known: Known, keys: &BTreeSet<String>) {
    let mut player = Player::start(machine, known).await.unwrap_or_else(|err| panic!("no start after a crash: {err}"));
    let world = honest(&player, keys).await;
    player.known.settle_doubts(world.clone());
    player.settle().await;
    tidy(&player.process, &world).await;
    go_on(&mut player).await.unwrap_or_else(|(op, err)| panic!("{op:?} after a crash: {err}"));
    player.settle().await;
    let world = honest(&player, keys).await;
    tidy(&player.process, &world).await;
}

/// Completes what uploads there are, and writes every spare file again.
pub async fn go_on(player: &mut Player) -> Result<(), (Op, Error)> {
    let Known { world, uploads, .. } = &player.known;
    let is_whole = |number: &&usize| world.uploads.get(number).is_some_and(Upload::can_be_completed);
    let mut ops: Vec<_> = uploads.keys().filter(is_whole).map(|number| Op::Complete(*number)).collect();
    if !world.bucket {
        ops.push(Op::CreateBucket);
    }
    ops.extend(AFTERWARDS.map(|key| Op::Put(key, 20)));
    ops.push(Op::Settle);
    ops.extend(AFTERWARDS.map(|key| Op::Put(key, 20)));
    let steps: Vec<_> = ops.into_iter().map(|op| vec![op]).collect();
    player.play(&steps).await
}

/// Starts after a crash, and goes on until the power goes again after `cut` calls: in recovery, or after it.
async fn cut_again(machine: &Machine, known: Known, keys: &BTreeSet<String>, cut: u64) -> Known {
    machine.power().fail_after(cut);
    let Ok(mut player) = Player::start(machine, known.clone()).await else {
        assert!(machine.is_off(), "no start with the power on");
        return known;
    };
    if !machine.is_off() {
        let world = honest(&player, keys).await;
        player.known.settle_doubts(world);
        let went_on = go_on(&mut player).await;
        assert!(went_on.is_ok() || machine.is_off(), "{went_on:?}");
    }
    player.known
}

/// Cuts a history at its calls; answers how many states were looked at.
async fn enumerate(base: &Machine, scenario: &Scenario, effort: Effort) -> u64 {
    let (keys, calls) = (keys(scenario.steps.iter().flatten()), calls(base, scenario).await);
    let is_sample = effort.every > 1;
    let every = if is_sample { effort.every * scenario.weight } else { 1 };
    let seeds = (effort.seeds / scenario.weight).max(1);
    let mut states = 0;
    for cut in (calls % every..=calls).step_by(every as usize) {
        let (machine, known) = cut_short(base, scenario, cut).await;
        for n in 0..seeds {
            let seed = (cut / every * seeds + n) % SEEDS;
            let case = |more: String| Case(format!("{:?} cut at {cut} of {calls}, seed {seed}{more}", scenario.name));
            let told = case(String::new());
            recovered(&machine.after_crash(seed), known.clone(), &keys).await;
            drop(told);
            for again in 0..effort.again {
                let again = (cut * 7 + seed * 13 + again * 29) % 150;
                let _told = case(format!(", again at {again}"));
                let second = machine.after_crash(seed);
                let known = cut_again(&second, known.clone(), &keys, again).await;
                recovered(&second.after_crash(seed + again), known, &keys).await;
            }
            states += 1 + effort.again;
        }
        if effort.again > 0 {
            let again = (cut * 11) % 150;
            let _told = Case(format!("{:?} killed at {cut} of {calls}, cut at {again}", scenario.name));
            machine.kill();
            let known = cut_again(&machine, known, &keys, again).await;
            recovered(&machine.after_crash(cut % SEEDS), known, &keys).await;
            states += 1;
        }
    }
    states
}

fn enumerate_all(effort: Effort) {
    runtime().block_on(async {
        let base = Machine::new().await;
        let mut total = 0;
        for scenario in scenarios::all() {
            let began = std::time::Instant::now();
            let states = enumerate(&base, &scenario, effort).await;
            println!("{:<30} {states:>6} states {:?}", scenario.name, began.elapsed());
            total += states;
        }
        println!("{total} states");
    });
}

#[test]
fn a_crash_leaves_what_was_acknowledged() {
    enumerate_all(Effort { every: 13, seeds: 1, again: 1 });
}

#[test]
#[ignore = "takes minutes: `make crashes`"]
fn every_crash_leaves_what_was_acknowledged() {
    enumerate_all(Effort { every: 1, seeds: 4, again: 1 });
}
