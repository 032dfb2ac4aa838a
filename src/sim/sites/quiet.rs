//! What must be true once nothing goes wrong any more: every site has the same, nothing is left to be done, and nothing
//! moves.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, object};
use super::ledger::{Kind, is_open_write};
use super::plan::Op;
use super::watch::replica;
use super::world::World;
use crate::model::{Grave, LiveReplica, ObjectId, Replica, Seq, SiteNumber, Stamp, Unit};
use crate::peer::SiteState;
use crate::reconcile::Ask;
use crate::site::{GRAVE_KEPT_MS, ReadConditions, Selection};
use crate::status::tables::{Dirty, Due, Failed, Outbox, Pending, Settle, Work};
use crate::status::{Page, Status, Table, TableKey};

/// Two looks.
const PAUSE: Duration = Duration::from_secs(5);
/// After so long everything must have come to rest: tries are at most a quarter of an hour apart.
const PATIENCE: Duration = Duration::from_secs(40 * 60);
/// How long quiet is watched.
const QUIET: Duration = Duration::from_secs(30);

/// Ends every fault: whoever is down starts, whoever is cut off is joined, and clocks are right.
pub async fn heal(world: &mut World) {
    world.calm();
    for number in world.numbers() {
        world.machine(number).clock.skew(0);
        world.start(number).await;
    }
}

/// Has sites look at all of their bytes, where some were spoiled.
fn mend(world: &World) {
    for number in world.numbers().into_iter().filter(|number| world.watch.has_rotted(*number)) {
        world.reconcile(number, Ask { deep: true, ..Ask::default() });
    }
}

/// Checks everything that is promised of quiet. Answers a hash of what every site has.
pub async fn check(world: &mut World, client: &Arc<Client>) -> u64 {
    for number in world.numbers() {
        world.start(number).await;
    }
    // What is still on its way may bring spoiled bytes to where a look finds them.
    let mut rested = rests(world).await;
    if rested.is_ok() {
        mend(world);
        rested = rests(world).await;
    }
    if let Err(left) = rested {
        world.watch.violate(format!("I7: after {} s of quiet {left}", PATIENCE.as_secs()));
        return 0;
    }
    let before = (seqs(world), world.network.fetches());
    world.pass(QUIET).await;
    let after = (seqs(world), world.network.fetches());
    if after != before {
        world.watch.violate(format!("I8: in quiet seqs and fetches went from {before:?} to {after:?}"));
    }
    equal(world);
    for object in (0..8).map(object) {
        durable(world, &object);
    }
    for number in world.numbers() {
        world.watch.honest(number);
        for key in 0..8 {
            client.call(world, number, Op::Get { key }).await;
            readable(world, number, key).await;
        }
    }
    hash(world)
}

fn seqs(world: &World) -> Vec<Seq> {
    world.numbers().iter().map(|number| *world.site(number.0).status().told().borrow()).collect()
}

/// Waits until nothing is left to be done anywhere.
async fn rests(world: &World) -> Result<(), String> {
    let mut waited = Duration::ZERO;
    loop {
        world.pass(PAUSE).await;
        waited += PAUSE;
        let left: Vec<String> = world.numbers().into_iter().flat_map(|number| left_at(world, number)).collect();
        match left.first() {
            None => return Ok(()),
            Some(left) if waited >= PATIENCE => return Err(left.clone()),
            Some(_) => {}
        }
    }
}

fn left_at(world: &World, number: SiteNumber) -> Vec<String> {
    let site = world.site(number.0);
    let status = site.status();
    let mut left = Vec::new();
    left.extend((site.state() != SiteState::Active).then(|| "to learn what the others have".to_owned()));
    left.extend(world.is_reconciling(number).then(|| "a run to end".to_owned()));
    left.extend(first::<Dirty>(world, status));
    left.extend(first::<Pending>(world, status));
    left.extend(first::<Work>(world, status));
    left.extend(first::<Due>(world, status));
    left.extend(first::<Settle>(world, status));
    left.extend(first::<Failed>(world, status));
    left.extend(first::<Outbox>(world, status));
    left.into_iter().map(|left| format!("site {} still has {left}", number.0)).collect()
}

fn first<T: Table>(world: &World, status: &Status) -> Option<String>
where
    T::Key: TableKey,
{
    let page: Page<T> = world.watch.look(status.page(&(), None, 1)).expect("it can be read");
    page.rows.first().map(|(key, row)| format!("{} {key:?} {:?}", T::NAME, row.row))
}

/// I2, I9: what a site lists it can be read there, every byte of it.
async fn readable(world: &World, number: SiteNumber, key: u8) {
    let (site, object) = (world.site(number.0), object(key));
    if !matches!(replica(&world.watch, site, &Unit::null(&object)), Replica::Live(_)) {
        return;
    }
    let wrong = match site.get(&object, None, Selection::All, &ReadConditions::default()).await {
        Ok(opened) => opened.body.collect(64 << 20).await.err().map(|err| err.to_string()),
        Err(err) => Some(err.to_string()),
    };
    if let Some(wrong) = wrong {
        world.watch.violate(format!("I2: in quiet {object} cannot be read at site {}: {wrong}", number.0));
    }
}

fn units() -> BTreeSet<Unit> {
    (0..8).map(|key| Unit::null(&object(key))).chain([Unit::Bucket(super::client::bucket())]).collect()
}

/// What must be the same everywhere: not what was replaced, which a site may not have seen, nor graves old enough to have
/// left somewhere.
fn essence(replica: Replica, now_ms: u64) -> Replica {
    match replica {
        Replica::Grave(grave) if grave.stamp.ms() + GRAVE_KEPT_MS < now_ms => Replica::Unknown,
        Replica::Grave(grave) => Replica::Grave(Grave { base: None, told: None, ..grave }),
        Replica::Live(live) => Replica::Live(Box::new(LiveReplica { base: None, ..*live })),
        other => other,
    }
}

/// I2: every site has the same of every unit.
fn equal(world: &World) {
    let now_ms = world.site(1).clock().wall_ms();
    for unit in units() {
        let all: BTreeMap<SiteNumber, Replica> = world
            .numbers()
            .into_iter()
            .map(|number| (number, essence(replica(&world.watch, world.site(number.0), &unit), now_ms)))
            .collect();
        let mut different = all.values();
        let first = different.next().expect("there are sites");
        if different.any(|other| other != first) {
            world.watch.violate(format!("I2: {unit} is not the same everywhere: {all:#?}"));
        }
        if matches!(first, Replica::Live(live) if !live.has_bytes) {
            world.watch.violate(format!("I1: the bytes of {unit} are nowhere"));
        }
    }
}

/// I1 and I5: what is there is the greatest that was acknowledged, or something greater that was begun.
fn durable(world: &World, object: &ObjectId) {
    let number = world.numbers()[0];
    let vector = replica(&world.watch, world.site(number.0), &Unit::null(object)).vector();
    // A grave that left had its time.
    let last = vector.map(|vector| vector.data).max(world.watch.buried(object));
    let (acknowledged, doubtful): (Option<Stamp>, bool) = world.watch.with_ledger(|ledger| {
        let data = ledger.acknowledged(object).filter(|(attempt, _)| attempt.kind != Kind::Tag);
        (data.map(|(_, stamp)| stamp).max(), ledger.on(object).any(is_open_write))
    });
    if last < acknowledged || (last > acknowledged && !doubtful) {
        world.watch.violate(format!("I1: {object} ended at {last:?}, the last acknowledged is {acknowledged:?}"));
    }
    let Some(vector) = vector else { return };
    let tags: Vec<(SiteNumber, Stamp)> = world.watch.with_ledger(|ledger| {
        let tags = ledger.acknowledged(object).filter(|(attempt, _)| attempt.kind == Kind::Tag);
        tags.map(|(attempt, stamp)| (attempt.site, stamp)).collect()
    });
    for (site, stamp) in tags {
        let on_this = world.watch.tagged_data(site, object, stamp) == Some(vector.data);
        if on_this && vector.tags < Some(stamp) {
            world.watch.violate(format!("I1: tags {stamp} of {object} were acknowledged and are gone: {vector:?}"));
        }
    }
}

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    for unit in units() {
        for number in world.numbers() {
            format!("{:?}", replica(&world.watch, world.site(number.0), &unit)).hash(&mut hasher);
        }
    }
    seqs(world).hash(&mut hasher);
    hasher.finish()
}
