//! What the admin face answers.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Shared;
use super::error::Error;
use super::health::Faults;
use crate::site::BucketInfo;
use crate::tasks::{Phase, Snapshot};

/// The description of this API.
pub const OPENAPI: &str = include_str!("openapi.json");

/// What Prometheus calls its text format with `_total` and `# EOF`.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Serialize, Deserialize)]
pub struct Health {
    pub ready: bool,
    /// Why not; where it is, what does not work all the same, such as one of several stores.
    pub reasons: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct WorkerView {
    pub name: String,
    pub state: String,
    /// Failures in a row, while it fails.
    pub tries: u32,
    pub worked: u64,
    pub failed: u64,
    pub seconds_since_step: Option<f64>,
    pub last_error: Option<String>,
    pub seconds_since_error: Option<f64>,
}

#[derive(Serialize)]
struct BucketView {
    name: String,
    owner: String,
    region: String,
    created_ms: u64,
}

/// The process runs.
pub async fn live() -> &'static str {
    "live\n"
}

/// Whether requests should be sent here: 200, or 503 with the reasons.
pub async fn ready(State(parts): State<Shared>) -> (StatusCode, String) {
    match Health::of(&parts).await {
        Health { ready: true, reasons } if reasons.is_empty() => (StatusCode::OK, "ready\n".into()),
        Health { ready: true, reasons } => (StatusCode::OK, format!("ready, but {}\n", reasons.join("; "))),
        Health { reasons, .. } => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reasons.join("; "))),
    }
}

/// The same for machines.
pub async fn health(State(parts): State<Shared>) -> Response {
    let health = Health::of(&parts).await;
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

pub async fn metrics(State(parts): State<Shared>) -> Result<impl IntoResponse, Error> {
    // The metrics show the numbers as last read.
    parts.census.fresh(&parts.site).await?;
    Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], parts.metrics.render()))
}

pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

pub async fn workers(State(parts): State<Shared>) -> impl IntoResponse {
    let now = Instant::now();
    let views: Vec<_> = parts.workers.snapshots().into_iter().map(|worker| WorkerView::of(worker, now)).collect();
    Json(views)
}

pub async fn buckets(State(parts): State<Shared>) -> Result<impl IntoResponse, Error> {
    let buckets = parts.site.buckets().await?;
    Ok(Json(buckets.into_iter().map(BucketView::from).collect::<Vec<_>>()))
}

impl Health {
    pub async fn of(parts: &super::Parts) -> Self {
        let Faults { grave, partial } = parts.readiness.faults().await;
        Self { ready: grave.is_empty(), reasons: grave.into_iter().chain(partial).collect() }
    }
}

impl WorkerView {
    pub fn of(worker: Snapshot, now: Instant) -> Self {
        let since = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
        let (state, tries) = match worker.phase {
            Phase::Working => ("working", 0),
            Phase::Idle => ("idle", 0),
            Phase::Failing { tries } => ("failing", tries),
            Phase::Stopped => ("stopped", 0),
            Phase::Panicked => ("panicked", 0),
        };
        Self {
            name: worker.name,
            state: state.into(),
            tries,
            worked: worker.worked,
            failed: worker.failed,
            seconds_since_step: worker.last_step.map(since),
            seconds_since_error: worker.last_error.as_ref().map(|error| since(error.at)),
            last_error: worker.last_error.map(|error| error.text),
        }
    }
}

impl From<BucketInfo> for BucketView {
    fn from(bucket: BucketInfo) -> Self {
        Self { name: bucket.name.to_string(), owner: bucket.owner, region: bucket.region, created_ms: bucket.created_ms }
    }
}
