//! A simulation's way into a store that works inline: it may wait, kill or look around every step.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::Status;
use crate::status::{Commit, CommitError, Committed};

/// Called around every step of a store.
#[async_trait]
pub(crate) trait Pace: Debug + Send + Sync {
    /// Before a read, before a commit, and before its answer. For a process that is dead it never returns.
    async fn step(&self);

    /// A commit is durable; nothing has happened since.
    fn committed(&self, status: &Status, touched: &Touched);
}

/// What a commit wrote or removed: tables and encoded keys.
#[derive(Debug)]
pub(crate) struct Touched(pub Vec<(usize, Vec<u8>)>);

pub(super) async fn commit(status: &Status, pace: &Arc<dyn Pace>, commit: Commit) -> Result<Committed, CommitError> {
    let touched = Touched(commit.writes.iter().map(|write| (write.table, write.key.clone())).collect());
    pace.step().await;
    let outcome = status.0.writer.commit(commit).await;
    if outcome.is_ok() {
        pace.committed(status, &touched);
    }
    pace.step().await;
    outcome
}
