//! A crash at every call to the disk: what was acknowledged is there, nothing is there by half.

use std::collections::BTreeMap;

use super::{event, marker, object, record, slot, version};
use crate::model::{ObjectId, Record, Seq, Slot};
use crate::status::redb::forgetful::{Forgetful, Power};
use crate::status::tables::{Objects, Settle, Versions};
use crate::status::{Commit, CommitError, Committed, Options, Status};

/// How many disks a crash may leave behind are looked at, for each call.
const SEEDS: u64 = 5;

fn open(disk: &Forgetful) -> Status {
    Status::open_on(disk.clone(), &Options::default()).expect("a disk with power opens")
}

/// What the nth step does to its key: current rows move aside, markers hide them, removals bring them back.
fn change(n: u64) -> (ObjectId, Result<Record, Slot>) {
    let change = match n % 6 {
        3 => Ok(marker(n)),
        5 | 0 => Err(slot(n.saturating_sub(2))),
        2 => Ok(record(n)),
        _ => Ok(version(n)),
    };
    (object(&format!("k{}", n % 2)), change)
}

/// The nth commit of the scenario.
fn step(n: u64) -> Commit {
    let (id, change) = change(n);
    let commit = match change {
        Ok(record) => Commit::new().put_unit(&id, &record),
        Err(slot) => Commit::new().delete_unit(&id, slot),
    };
    commit.tell(event(&id, 1_000 + n))
}

/// What the store holds after so many steps.
type State = (BTreeMap<ObjectId, u64>, BTreeMap<(ObjectId, Slot), u64>);

fn after(steps: u64) -> State {
    let mut units = BTreeMap::new();
    for (id, change) in (1..=steps).map(change) {
        match change {
            Ok(record) => drop(units.insert((id, record.slot()), record)),
            Err(slot) => drop(units.remove(&(id, slot))),
        }
    }
    let (mut objects, mut versions) = State::default();
    for ((id, slot), record) in &units {
        let newest = units.iter().filter(|((of, _), _)| of == id).all(|(_, other)| other.vector.data <= record.vector.data);
        match newest && record.is_shown() {
            true => objects.insert(id.clone(), record.identity.size),
            false => versions.insert((id.clone(), *slot), record.identity.size),
        };
    }
    (objects, versions)
}

async fn state(status: &Status) -> State {
    let objects = status.page::<Objects>(&(), None, 1_000).await.unwrap().rows;
    let versions = status.page::<Versions>(&(), None, 1_000).await.unwrap().rows;
    let objects = objects.into_iter().map(|(key, stored)| (key, stored.row.identity.size)).collect();
    (objects, versions.into_iter().map(|(key, stored)| (key, stored.row.identity.size)).collect())
}

/// Runs steps until one fails: how many were acknowledged, and with what.
async fn run(status: &Status, steps: u64) -> Vec<Committed> {
    let mut acknowledged = Vec::new();
    for n in 1..=steps {
        match status.commit(step(n)).await {
            Ok(done) => acknowledged.push(done),
            Err(CommitError::Engine(_)) => break,
            Err(err) => panic!("{err}"),
        }
    }
    acknowledged
}

#[tokio::test]
async fn a_crash_at_any_call_loses_nothing_acknowledged_and_leaves_nothing_by_half() {
    const STEPS: u64 = 7;
    let disk = Forgetful::new(Power::on());
    let status = open(&disk);
    let before = disk.power().calls();
    assert_eq!(run(&status, STEPS).await.len() as u64, STEPS);
    let calls = disk.power().calls() - before;
    drop(status);
    for cut in 0..calls {
        let disk = Forgetful::new(Power::on());
        let status = open(&disk);
        disk.power().fail_after(cut);
        let acknowledged = run(&status, STEPS).await;
        assert!((acknowledged.len() as u64) < STEPS, "the power went at call {cut} of {calls}");
        assert!(!status.healthy());
        drop(status);
        for seed in 0..SEEDS {
            check(&disk.crash(seed), &acknowledged).await;
        }
    }
}

async fn check(disk: &Forgetful, acknowledged: &[Committed]) {
    let status = open(disk);
    let facts = status.facts();
    let (least, last) = (acknowledged.len() as u64, acknowledged.last());
    let steps = facts.seq.0;
    assert!((least..=least + 1).contains(&steps), "{least} were acknowledged, {steps} are there");
    assert_eq!(state(&status).await, after(steps));
    assert!(last.is_none_or(|last| facts.revision >= last.revision));
    assert_eq!(facts.clock_ms, if steps == 0 { 0 } else { 1_000 + steps });
    assert_eq!(facts.start, 2);
    let next = status.commit(step(steps + 1)).await.expect("it goes on after a crash");
    assert!(next.seq == Seq(steps + 1) && next.revision > facts.revision);
}

#[tokio::test]
async fn commits_that_share_a_transaction_survive_each_as_a_whole() {
    const ROUND: u64 = 8;
    let pair = |n: u64| {
        let ids = [object(&format!("{n:02}-a")), object(&format!("{n:02}-b"))];
        ids.iter().fold(Commit::new(), |commit, id| {
            commit.expect_unit(id, Slot::Null, None).put_unit(id, &record(n)).tell(event(id, n))
        })
    };
    for cut in (0..120).step_by(3) {
        let disk = Forgetful::new(Power::on());
        let status = open(&disk);
        disk.power().fail_after(cut);
        let mut acknowledged = Vec::new();
        for round in 0..3 {
            let numbers = round * ROUND..(round + 1) * ROUND;
            let outcomes = futures::future::join_all(numbers.clone().map(|n| status.commit(pair(n)))).await;
            acknowledged.extend(numbers.zip(outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(n, _)| n));
        }
        drop(status);
        for seed in 0..SEEDS {
            let status = open(&disk.crash(seed));
            let (objects, _) = state(&status).await;
            for n in 0..3 * ROUND {
                let [a, b] = ["a", "b"].map(|half| objects.contains_key(&object(&format!("{n:02}-{half}"))));
                assert_eq!(a, b, "commit {n} is there by half");
                assert!(a || !acknowledged.contains(&n), "commit {n} was acknowledged");
            }
            assert_eq!(status.facts().seq.0, objects.len() as u64, "one event a row");
        }
    }
}

#[tokio::test]
async fn a_crash_while_opening_never_gives_the_same_start_twice() {
    let made = Forgetful::new(Power::on());
    drop(open(&made));
    let calls = {
        let disk = made.crash(0);
        drop(open(&disk));
        disk.power().calls()
    };
    for (cut, seed) in (0..=calls).flat_map(|cut| (0..SEEDS).map(move |seed| (cut, seed))) {
        let disk = made.crash(0);
        disk.power().fail_after(cut);
        let first = Status::open_on(disk.clone(), &Options::default()).ok().map(|status| status.facts().start);
        let second = open(&disk.crash(seed)).facts().start;
        assert!(second >= 2 && first.is_none_or(|first| first < second), "{first:?}, then {second} when cut at {cut}");
    }
}

#[tokio::test]
async fn a_commit_of_a_small_store_costs_one_sync_however_many_share_it() {
    let disk = Forgetful::new(Power::on());
    let status = open(&disk);
    status.commit(step(1)).await.unwrap();
    let before = disk.syncs();
    status.commit(step(2)).await.unwrap();
    assert_eq!(disk.syncs() - before, 1);
    let refused = Commit::new().expect_unit(&object("k0"), Slot::Null, Some(crate::status::Revision(99)));
    assert!(status.commit(refused).await.is_err());
    assert_eq!(disk.syncs() - before, 1, "a conflict costs none");
    let (batches, before) = (status.stats().batches, disk.syncs());
    futures::future::join_all((3..60).map(|n| status.commit(step(n)))).await;
    let batches = status.stats().batches - batches;
    assert!(batches < 20, "{batches} transactions for 57 commits at once");
    assert_eq!(disk.syncs() - before, batches);
}

#[tokio::test]
async fn after_a_failure_of_the_disk_nothing_is_taken_and_nothing_is_called_absent() {
    let disk = Forgetful::new(Power::on());
    let status = open(&disk);
    let id = object("k1");
    status.commit(step(1)).await.unwrap();
    for n in 0..300 {
        status.commit(Commit::new().put_unit(&object(&format!("filler {n}")), &record(n))).await.unwrap();
    }
    disk.power().fail_after(3);
    assert!(matches!(status.commit(step(4)).await, Err(CommitError::Engine(_))));
    assert!(matches!(status.commit(step(7)).await, Err(CommitError::Closed(_))));
    assert!(!status.healthy());
    for _ in 0..3 {
        assert!(!matches!(status.object(&id).await, Ok(None)));
    }
    let settle = crate::model::WriteId::new(crate::model::Incarnation(1), 1, 1);
    let _ = status.get::<Settle>(&settle).await;
}
