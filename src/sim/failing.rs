//! A disk that fails one call and goes on: an error that says so, nothing lost, nothing half visible.

use rustix::io::Errno;

use super::check::{honest, tidy};
use super::crash::{Case, go_on, keys, runtime};
use super::machine::Machine;
use super::player::{Known, Player};
use super::scenarios::{self, Scenario};

/// Plays a history in which the nth call to the store's disk fails, once. What an error leaves in doubt is looked at.
async fn fail_once(base: &Machine, scenario: &Scenario, call: u64, errno: Errno) {
    let keys = keys(scenario.steps.iter().flatten());
    let machine = base.after_crash(1);
    let mut player = Player::start(&machine, Known::default()).await.unwrap();
    machine.shim.fail_call(machine.shim.calls() + call, errno);
    for step in &scenario.steps {
        let _ = player.play(std::slice::from_ref(step)).await;
        let world = honest(&player, &keys).await;
        player.known.settle_doubts(world);
    }
    // If it did not fail yet, it does in here; a second try then finds a sound disk.
    if go_on(&mut player).await.is_err() {
        let world = honest(&player, &keys).await;
        player.known.settle_doubts(world);
        go_on(&mut player).await.unwrap_or_else(|(op, err)| panic!("{op:?} on a sound disk: {err}"));
    }
    player.settle().await;
    let world = honest(&player, &keys).await;
    tidy(&player.process, &world).await;
}

async fn calls(base: &Machine, scenario: &Scenario) -> u64 {
    let machine = base.after_crash(1);
    let mut player = Player::start(&machine, Known::default()).await.unwrap();
    let before = machine.shim.calls();
    player.play(&scenario.steps).await.unwrap();
    machine.shim.calls() - before
}

fn fail_all(every: u64) {
    runtime().block_on(async {
        let base = Machine::new().await;
        for (at, scenario) in (0..).zip(scenarios::all()) {
            let calls = calls(&base, &scenario).await;
            let every = every * if every > 1 { scenario.weight } else { 1 };
            for call in (1 + at % every..=calls).step_by(every as usize) {
                let errno = if (call / every).is_multiple_of(2) { Errno::IO } else { Errno::NOSPC };
                let _told = Case(format!("{:?}, call {call} of {calls} fails with {errno}", scenario.name));
                fail_once(&base, &scenario, call, errno).await;
            }
        }
    });
}

#[test]
fn a_call_that_fails_once_loses_nothing() {
    fail_all(3);
}

#[test]
#[ignore = "takes a minute: `make crashes`"]
fn every_call_that_fails_once_loses_nothing() {
    fail_all(1);
}
