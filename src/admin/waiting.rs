//! What the admin face says before the site serves: that the process lives, and what it waits for.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::StatusCode;
use tokio::sync::watch;

use super::error::Error;
use super::views::{Health, live};

/// What is waited for, as last found.
type Reasons = watch::Receiver<Vec<String>>;

/// Answers after health with what is waited for, and refuses everything else.
pub fn waiting(reasons: Reasons) -> Router {
    let routes = Router::new().route("/health/live", get(live)).route("/health/ready", get(ready)).route("/health", get(health));
    routes.fallback(refused).with_state(reasons)
}

async fn ready(State(reasons): State<Reasons>) -> (StatusCode, String) {
    let text = format!("not ready: waiting for {}\n", reasons.borrow().join("; "));
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn health(State(reasons): State<Reasons>) -> impl IntoResponse {
    let reasons = reasons.borrow().iter().map(|reason| format!("waiting for {reason}")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, Json(Health { ready: false, reasons }))
}

async fn refused(State(reasons): State<Reasons>) -> Error {
    Error::NotYet(reasons.borrow().join("; "))
}
