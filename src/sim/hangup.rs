//! Clients that hang up: a call is dropped at each of its waits, and is then done or not done, and nothing leaks.

use std::future::Future;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::check::{honest, tidy};
use super::crash::{Case, go_on, keys, runtime};
use super::machine::Machine;
use super::player::{Known, Player, perform};
use super::scenarios::{Scenario, scenario};
use super::world::Op::{self, *};
use crate::status::Commit;

/// Drops a call after it was polled so often: at once, or when what it waited for is there.
async fn dropped<F: Future>(polls_max: usize, late: bool, call: F) -> Option<F::Output> {
    let mut call = Box::pin(call);
    let mut polls = 0;
    let answer = std::future::poll_fn(|context| {
        polls += 1;
        match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if polls == polls_max => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let answer = answer.await;
    if late {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    answer
}

/// Waits until nothing runs on behalf of who has gone away.
async fn quiet(player: &Player) {
    let began = Instant::now();
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() > 0 || !player.process.fs.held().1.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "something leaked: {:?}", player.process.fs.held());
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    // What was queued before this is committed with it at the latest.
    player.process.site.status().commit(Commit::new()).await.unwrap();
}

/// Plays `before`, then drops `op` after so many polls. Answers whether it was done before that.
async fn hang_up(base: &Machine, scenario: &Scenario, op: Op, polls: usize, late: bool) -> bool {
    let keys = keys(scenario.steps.iter().flatten().chain([&op]));
    let machine = base.after_crash(1);
    let mut player = Player::start(&machine, Known::default()).await.unwrap();
    player.play(&scenario.steps).await.unwrap();
    player.known.count += 1;
    let n = player.known.count;
    let answer = dropped(polls, late, perform(&player.process.site, &player.known, op, n)).await;
    let done = answer.is_some();
    match answer {
        Some(answer) => player.known.note(n, op, answer.unwrap()),
        None => player.known.doubtful.push((n, op)),
    }
    quiet(&player).await;
    let world = honest(&player, &keys).await;
    player.known.settle_doubts(world);
    player.settle().await;
    let world = honest(&player, &keys).await;
    tidy(&player.process, &world).await;
    go_on(&mut player).await.unwrap();
    player.settle().await;
    let world = honest(&player, &keys).await;
    tidy(&player.process, &world).await;
    done
}

/// How often an operation that has one wait may be found to have none.
const TRIES_MAX: usize = 50;

#[test]
fn a_client_that_hangs_up_leaves_the_old_or_the_new() {
    let first = [CreateBucket, Put("a", 20), Put("b", 70_000), Settle, Put("a", 30), Start(1, "m"), Part(1, 1, 20), Put("m", 9)];
    let full = scenario("before a client hangs up", &first);
    let uploads_only = scenario("before a bucket is deleted", &[CreateBucket, Start(1, "m"), Part(1, 1, 20)]);
    let nothing = scenario("before anything", &[]);
    let ops = [Put("a", 20), Put("c", 70_000), Copy("a", "b"), Copy("b", "d"), Delete("a"), Tag("b")];
    let of_uploads = [Start(2, "m"), Part(1, 1, 50), Part(1, 2, 70_000), Complete(1), Abort(1)];
    let cases = ops.iter().chain(&of_uploads).map(|op| (&full, *op));
    let cases: Vec<_> = cases.chain([(&uploads_only, DeleteBucket), (&nothing, CreateBucket)]).collect();
    runtime().block_on(async {
        let base = Machine::new().await;
        for (scenario, op) in cases {
            for late in [false, true] {
                // What another thread does may be over before it is waited for, where threads wait for a processor.
                let mut polls = 1;
                for _ in 0..TRIES_MAX {
                    loop {
                        let _told = Case(format!("{op:?} dropped after {polls} polls, late {late}"));
                        if hang_up(&base, scenario, op, polls, late).await {
                            break;
                        }
                        polls += 1;
                    }
                    if polls > 1 {
                        break;
                    }
                }
                assert!(polls > 1, "{op:?} never waits");
            }
        }
    });
}
