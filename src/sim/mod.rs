//! Worlds for tests: production code with clients that overlap, and with power that goes away.

mod buckets;
mod check;
mod clients;
mod crash;
mod face;
mod failing;
mod hangup;
mod history;
mod late;
mod machine;
mod player;
mod scenarios;
mod sites;
mod world;

/// Runs a simulation: one thread, and time that passes when nobody has anything to do.
pub(crate) fn run<T>(world: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(world)
}
