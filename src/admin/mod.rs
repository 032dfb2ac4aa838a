//! The face for people and their tools: health, metrics, and what the process is doing. It only reads.

mod error;
mod guard;
mod health;
mod reconcile;
mod routes;
mod views;

use std::sync::Arc;

use tokio::time::Instant;

pub use health::{Probe, Readiness};
pub use reconcile::{Begun, Runs, Watched};
pub use routes::router;

use crate::model::{SiteId, Token};
use crate::reconcile::Reconciler;
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
    pub metrics: Metrics,
    pub started: Instant,
    pub token: Token,
    /// Names under which it may be asked, beside `localhost` and every IP address.
    pub hosts: Vec<String>,
    /// Metrics need no token.
    pub open_metrics: bool,
}

type Shared = Arc<Parts>;
