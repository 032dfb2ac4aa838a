//! Plays a history: clients that overlap, faults that come and go, then quiet.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::run;
use super::client::{Client, object};
use super::plan::{Act, Op, Plan};
use super::quiet;
use super::shown::KeyRows;
use super::world::World;
use crate::model::{SiteNumber, Slot, Unit};
use crate::reconcile::Ask;
use crate::site::Site;
use crate::site::testing::drop_graves;

/// Before every clock jumps by hours: no question to another site is under way for so long, and none may take days.
const UNDER_WAY: Duration = Duration::from_secs(15);

/// What a history came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub violations: Vec<String>,
    /// The same for two runs of one seed.
    pub hash: u64,
}

/// Plays a plan in a world of its own.
pub fn play(plan: &Plan) -> Verdict {
    run(async { history(plan).await })
}

async fn history(plan: &Plan) -> Verdict {
    let mut world = World::of(plan.settings).await;
    let client = Client::new(&world);
    client.call(&world, SiteNumber(1), Op::CreateBucket).await;
    world.network.weather(plan.weather);
    for (number, gait) in world.numbers().into_iter().zip(&plan.gaits) {
        world.machine(number).gait = *gait;
        world.running(number).expect("every site runs").1.set_gait(*gait);
    }
    let mut calls = JoinSet::new();
    let began = Instant::now();
    for (at_ms, act) in &plan.acts {
        sleep_until(began + Duration::from_millis(*at_ms)).await;
        perform(&mut world, &client, &mut calls, *act).await;
    }
    quiet::heal(&mut world).await;
    // Calls of the dead end with them; every other one ends by itself.
    if timeout(Duration::from_secs(300), async { while calls.join_next().await.is_some() {} }).await.is_err() {
        world.watch.violate("I7: a client's call never ended".into());
    }
    let hash = quiet::check(&mut world, &client).await;
    let (violations, commits) = world.watch.verdict();
    Verdict { violations, hash: hash ^ commits }
}

async fn perform(world: &mut World, client: &Arc<Client>, calls: &mut JoinSet<()>, act: Act) {
    match act {
        Act::Client { site, op, patience_ms } => {
            let Some(call) = client.calling(world, site, op) else { return };
            match patience_ms {
                None => drop(calls.spawn(call)),
                Some(ms) => drop(calls.spawn(async move {
                    let _ = timeout(Duration::from_millis(ms), call).await;
                })),
            }
        }
        Act::Kill { site, steps } => {
            if let Some((_, life)) = world.running(site) {
                life.dies_after(steps);
            }
        }
        Act::Start { site } => world.start(site).await,
        Act::Expire { site } => beside(world, calls, site, |site: Site| async move { drop(drop_graves(&site).await) }),
        Act::TellAgain { site, to, key } => {
            beside(world, calls, site, move |site: Site| async move {
                let (object, rows) = (object(key), KeyRows::of(site.status(), &object(key)).await);
                let versions = rows.slots().into_iter().filter(|slot| *slot != Slot::Null);
                for slot in std::iter::once(Slot::Null).chain(versions) {
                    drop(site.tell_again(&Unit::of(&object, slot), &[to]).await);
                }
            });
        }
        Act::Reconcile { site, deep, dry_run } => world.reconcile(site, Ask { deep, dry_run, ..Ask::default() }),
        Act::Stream { site, again } => {
            let name = world.machine(site).id.name.clone();
            if let Some(streams) = &world.streams {
                if again { streams.rewind(&name) } else { streams.lose(&name) }
            }
        }
        Act::Bus { down } => world.streams.iter().for_each(|streams| streams.set_down(down)),
        Act::Rot { site, key, how } => world.rot(site, &object(key), how),
        Act::Wipe { site } => world.lose(site).await,
        Act::KeepCopy { site } => world.keep_copy(site),
        Act::RollBack { site } => world.roll_back(site).await,
        Act::Cut { from, to, cut } => world.network.cut_way(from, to, cut),
        Act::Advance { hours } => {
            // Graves leave only then.
            if hours >= 7 * 24 {
                world.pass(UNDER_WAY).await;
            }
            world.jump(Duration::from_secs(hours * 3_600));
        }
        Act::Skew { site, ms } => world.machine(site).clock.skew(ms),
    }
}

/// Has a site that runs do something beside everything else, until it is done or the site is dead.
fn beside<F: Future<Output = ()> + Send + 'static>(
    world: &World,
    calls: &mut JoinSet<()>,
    site: SiteNumber,
    what: impl FnOnce(Site) -> F,
) {
    let Some((site, life)) = world.running(site) else { return };
    let (done, life) = (what(site.clone()), life.clone());
    calls.spawn(async move {
        tokio::select! {
            biased;
            () = life.death() => {}
            () = done => {}
        }
    });
}
