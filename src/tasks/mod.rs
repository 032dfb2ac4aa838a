//! Background work: what a worker is, who runs it, how it waits after a failure and how it is told to stop; and how
//! whatever goes on may be slowed down.
//!
//! It knows nothing of what the workers do.

mod backoff;
mod brake;
mod runner;
mod shutdown;

use std::time::Duration;

use async_trait::async_trait;

pub use backoff::Backoff;
pub use brake::{Brake, Due, Waiting};
pub use runner::{LastError, Phase, Runner, Snapshot, Workers};
pub use shutdown::{Shutdown, Trigger};

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done, and more may be there: the next step follows at once.
    Worked,
    /// Nothing to do: the next step follows when [`Worker::wait`] returns.
    Idle,
}

/// Work that goes on beside the requests, in bounded steps.
#[async_trait]
pub trait Worker: Send + 'static {
    /// What admin and logs call it, such as `settle`.
    fn name(&self) -> &str;

    /// One bounded piece of work, never cut short by the runner: stopping waits for its end.
    /// An error is for people to read; the step is tried again after a growing pause.
    async fn step(&mut self) -> Result<Step, String>;

    /// Returns when there may be something to do. May be dropped at any point, so it must lose nothing when it is.
    async fn wait(&mut self);

    /// The longest pause after a failed step.
    fn pause_max(&self) -> Duration {
        Duration::from_secs(60)
    }
}
