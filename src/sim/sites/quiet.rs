//! What must be true once nothing goes wrong any more: every site has the same, nothing is left to be done, and nothing
//! moves.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, object};
use super::ledger::{Attempt, Kind, is_open_write};
use super::plan::{Op, VersionsOp};
use super::rules::SKEW_MS_MAX;
use super::shown::replica;
use super::world::World;
use crate::model::{
    Grave, LiveReplica, ObjectId, Purged, Registers, Replica, Retention, RetentionMode, Seq, SiteNumber, Slot, Stamp, Unit,
    Vector,
};
use crate::peer::SiteState;
use crate::reconcile::Ask;
use crate::site::{GRAVE_KEPT_MS, ReadConditions, Selection, Standing};
use crate::status::tables::{Dirty, Due, Failed, Outbox, Pending, Settle, Work};
use crate::status::{Page, Status, Table, TableKey};

/// Two looks.
const PAUSE: Duration = Duration::from_secs(5);
/// After so long everything must have come to rest: tries are at most a quarter of an hour apart.
const PATIENCE: Duration = Duration::from_secs(40 * 60);
/// After so long whoever answers was heard: a heartbeat that is lost, a pause, and another.
const HEARD: Duration = Duration::from_secs(10);
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

/// Has sites look at all of their bytes, where some were spoiled. Sound ones come from sites that answer only: a heartbeat that
/// was lost before is not missed until after the first look.
async fn mend(world: &World) {
    let rotted: Vec<_> = world.numbers().into_iter().filter(|number| world.watch.has_rotted(*number)).collect();
    let hears_all =
        |number: &SiteNumber| world.site(number.0).neighbours().iter().all(|one| one.standing() != Standing::Unreachable);
    if !rotted.iter().all(hears_all) {
        world.pass(HEARD).await;
    }
    for number in rotted {
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
        mend(world).await;
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
    for unit in units(world) {
        durable(world, &unit);
    }
    for number in world.numbers() {
        world.watch.honest(number);
        for key in 0..8 {
            client.call(world, number, Op::Get { key }).await;
        }
        client.call(world, number, Op::List).await;
        client.call(world, number, Op::Versions(VersionsOp::List)).await;
        for unit in units(world) {
            readable(world, number, &unit).await;
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

/// I2, I9: what a site has can be read there, every byte of it.
async fn readable(world: &World, number: SiteNumber, unit: &Unit) {
    let site = world.site(number.0);
    let Some((object, slot)) = unit.version() else { return };
    if !matches!(replica(&world.watch, site, unit), Replica::Live(live) if !live.is_marker) {
        return;
    }
    let wrong = match site.get(&object, Some(slot), Selection::All, &ReadConditions::default()).await {
        Ok(opened) => opened.body.collect(64 << 20).await.err().map(|err| err.to_string()),
        Err(err) => Some(err.to_string()),
    };
    if let Some(wrong) = wrong {
        world.watch.violate(format!("I2: in quiet {unit} cannot be read at site {}: {wrong}", number.0));
    }
}

/// Every unit that anybody ever had, and those that anybody may ask for.
fn units(world: &World) -> BTreeSet<Unit> {
    let null = (0..8).map(|key| Unit::null(&object(key)));
    null.chain([Unit::Bucket(super::client::bucket())]).chain(world.watch.units()).collect()
}

/// What must be the same everywhere: not what was replaced, which a site may not have seen, nor graves old enough to have
/// left somewhere. A version whose purge waited for a retention that is over is as good as gone: some sites heard of the
/// purge before that, and some after.
fn essence(replica: Replica, now_ms: u64) -> Replica {
    match replica {
        Replica::Live(live) if live.vector.purge.is_some() && !live.registers.delay_purge(now_ms) => {
            let stamp = live.vector.purge.unwrap_or(live.vector.data);
            let purged = Purged { vector: live.vector, registers: live.registers, tags: live.identity.tags };
            essence(Replica::Grave(Grave { stamp, base: None, told: None, purged: Some(Box::new(purged)) }), now_ms)
        }
        Replica::Grave(grave) if grave.stamp.ms() + GRAVE_KEPT_MS < now_ms => Replica::Unknown,
        Replica::Grave(grave) => Replica::Grave(bare(grave, now_ms)),
        Replica::Live(live) => Replica::Live(Box::new(LiveReplica { base: None, ..*live })),
        other => other,
    }
}

/// A grave without what it replaced, and without the registers of a version that nothing protects: who purged it unawares
/// need never have read them.
fn bare(grave: Grave, now_ms: u64) -> Grave {
    let purged = grave.purged.map(|purged| match purged.registers.delay_purge(now_ms) {
        true => purged,
        false => Box::new(Purged { registers: Registers::default(), tags: Vec::new(), ..*purged }),
    });
    Grave { base: None, told: None, purged, ..grave }
}

/// I2: every site has the same of every unit.
fn equal(world: &World) {
    let now_ms = world.site(1).clock().wall_ms();
    for unit in units(world) {
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
        if matches!(first, Replica::Live(live) if !live.has_bytes && !live.is_marker) {
            world.watch.violate(format!("I1: the bytes of {unit} are nowhere"));
        }
    }
}

/// I1: what was acknowledged of a unit is there.
fn durable(world: &World, unit: &Unit) {
    let Some((object, slot)) = unit.version() else { return };
    let site = world.site(world.numbers()[0].0);
    let last = replica(&world.watch, site, unit);
    match slot {
        Slot::Null => null_is_durable(world, &object, last.vector()),
        Slot::Version(_) => version_is_durable(world, unit, &last),
    }
    let Some(vector) = last.vector().filter(|_| !was_forgotten(world, unit, &last)) else { return };
    for (attempt, stamp) in acknowledged(world, &object, slot) {
        let on_this = || world.watch.tagged_data(attempt.site, unit, stamp) == Some(vector.data);
        if attempt.kind == Kind::Tag && vector.tags < Some(stamp) && on_this() {
            world.watch.violate(format!("I1: tags {stamp} of {unit} were acknowledged and are gone: {vector:?}"));
        }
    }
}

/// Whether it was purged again when its first grave had had its time: nobody knows any more what tags and locks it had.
fn was_forgotten(world: &World, unit: &Unit, last: &Replica) -> bool {
    let Replica::Grave(grave) = last else { return false };
    let had_its_time = |before: &Vector| before.greatest().ms() + GRAVE_KEPT_MS < grave.stamp.ms() + SKEW_MS_MAX;
    grave.is_unread() && world.watch.buried(unit).iter().any(had_its_time)
}

fn acknowledged(world: &World, object: &ObjectId, slot: Slot) -> Vec<(Attempt, Stamp)> {
    world.watch.with_ledger(|ledger| {
        let of_slot = ledger.acknowledged(object).filter(|(_, _, of)| *of == slot);
        of_slot.map(|(attempt, stamp, _)| (attempt.clone(), stamp)).collect()
    })
}

/// I1 and I5: what is there is the greatest that was acknowledged, or something greater that was begun.
fn null_is_durable(world: &World, object: &ObjectId, last: Option<Vector>) {
    // A grave that left had its time.
    let buried = world.watch.buried(&Unit::null(object)).into_iter().map(|vector| vector.data).max();
    let last = last.map(|vector| vector.data).max(buried);
    let data = acknowledged(world, object, Slot::Null).into_iter().filter(|(attempt, _)| attempt.kind.is_data(Slot::Null));
    let acknowledged = data.map(|(_, stamp)| stamp).max();
    let doubtful = world.watch.with_ledger(|ledger| ledger.on(object).any(is_open_write));
    if last < acknowledged || (last > acknowledged && !doubtful) {
        world.watch.violate(format!("I1: {object} ended at {last:?}, the last acknowledged is {acknowledged:?}"));
    }
}

/// I1 and I3: a version stays until it is purged, a purge and every register stay, and a retention in COMPLIANCE mode that is
/// in force keeps it, whatever came at once.
fn version_is_durable(world: &World, unit: &Unit, last: &Replica) {
    let Some((object, slot)) = unit.version() else { return };
    let has_left = *last == Replica::Unknown && !world.watch.buried(unit).is_empty();
    let was_forgotten = was_forgotten(world, unit, last);
    let now_ms = world.site(world.numbers()[0].0).clock().wall_ms();
    let registers = match last {
        Replica::Live(live) => Some(&live.registers),
        _ => None,
    };
    for (attempt, stamp) in acknowledged(world, &object, slot) {
        let there = last.vector();
        let kept = match attempt.kind {
            Kind::Write | Kind::Delete => there.is_some(),
            Kind::Purge => there.is_some_and(|there| there.purge >= Some(stamp)),
            Kind::Hold(_) => was_forgotten || there.is_some_and(|there| there.hold >= Some(stamp)),
            Kind::Retain(kept) => {
                (was_forgotten || there.is_some_and(|there| there.retention >= Some(stamp))) && {
                    let strict = kept.filter(|kept| is_in_force(kept, now_ms));
                    let now = registers.and_then(|registers| registers.retention);
                    strict.is_none_or(|strict| now.is_some_and(|now| now.mode == strict.mode && now.until_ms >= strict.until_ms))
                }
            }
            Kind::Tag => true,
        };
        if !kept && !has_left {
            world.watch.violate(format!("I1: {:?} of {unit} was acknowledged with {stamp} and is gone: {last:?}", attempt.kind));
        }
    }
}

/// Whether nobody may have ended it, however wrong a clock was.
fn is_in_force(retention: &Retention, now_ms: u64) -> bool {
    retention.mode == RetentionMode::Compliance && retention.until_ms > now_ms + 60_000
}

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    for unit in units(world) {
        for number in world.numbers() {
            format!("{:?}", replica(&world.watch, world.site(number.0), &unit)).hash(&mut hasher);
        }
    }
    seqs(world).hash(&mut hasher);
    hasher.finish()
}
