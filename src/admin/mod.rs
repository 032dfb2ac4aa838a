//! The face for people and their tools: health, metrics, what the process is doing, and what it is asked to try again.

mod ask;
mod census;
mod error;
mod explain;
mod guard;
mod health;
mod keys;
mod lifecycle;
mod object;
mod pause;
mod reconcile;
mod replicate;
mod retry;
mod routes;
mod rows;
mod status;
mod views;
mod waiting;

use std::sync::Arc;

use tokio::time::Instant;

pub use census::{Backlog, COUNTED_MAX, Census, Kept as KeptCensus, SiteView};
pub use error::Error as Refusal;
pub use explain::{ExplainView, ToldView};
pub use health::{Probe, Readiness};
pub use keys::{AddKey, AddedKey, KeyView, Keys, RemovedKey};
pub use lifecycle::{DueView, LifecycleView};
pub use object::{DeletedView, ObjectView};
pub use pause::{Pause, Resume};
pub use reconcile::{Begun, Runs, Stopped, Watched};
pub use replicate::{Named, Outcome, Replicate, ReplicateAnswer};
pub use retry::{Retry, RetryAnswer};
pub use routes::router;
pub use rows::{ConflictView, FailedView, PendingView, Rows, WorkView};
pub use status::{BufferView, ImportView, StatusView};
pub use views::WorkerView;
pub use waiting::waiting;

use crate::model::{SiteId, Token};
use crate::reconcile::Reconciler;
use crate::replicate::Bell;
use crate::site::Site;
use crate::tasks::Workers;
use crate::telemetry::Metrics;

/// What the admin face shows, and to whom.
#[derive(Debug)]
pub struct Parts {
    pub site_id: SiteId,
    pub site: Site,
    pub reconciler: Reconciler,
    pub readiness: Readiness,
    pub workers: Workers,
    /// Wakes whoever fetches from other sites.
    pub bell: Bell,
    pub census: Arc<KeptCensus>,
    pub metrics: Metrics,
    pub keys: Arc<dyn Keys>,
    pub started: Instant,
    pub token: Token,
    /// Names under which it may be asked, beside `localhost` and every IP address.
    pub hosts: Vec<String>,
    /// Metrics need no token.
    pub open_metrics: bool,
    /// What a day of a lifecycle rule is.
    pub day: crate::model::Day,
}

type Shared = Arc<Parts>;
