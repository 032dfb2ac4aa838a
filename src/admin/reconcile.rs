//! Reconciling on demand: begun here, and watched until it ends. A run goes on whoever watches.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::error::Error;
use crate::reconcile::{Ask, Line, Progress};
use crate::site;

/// Lines of one answer.
const LINES_MAX: usize = 1_000;

/// A run that was begun.
#[derive(Debug, Serialize, Deserialize)]
pub struct Begun {
    pub id: u64,
}

/// Runs, the latest last.
#[derive(Debug, Serialize, Deserialize)]
pub struct Runs {
    pub runs: Vec<Progress>,
}

/// One run and some of what it found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Watched {
    pub run: Progress,
    /// From the one after `skip` on.
    pub lines: Vec<Line>,
}

/// Which run, and how many of its lines are known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Which {
    id: Option<u64>,
    skip: usize,
}

/// Begins a run.
pub async fn begin(State(parts): State<Shared>, body: Bytes) -> Result<impl IntoResponse, Error> {
    let ask: Ask = serde_json::from_slice(&body).map_err(|err| site::Error::InvalidRequest(err.to_string()))?;
    let id = parts.reconciler.start(ask).await?;
    Ok((StatusCode::ACCEPTED, Json(Begun { id })))
}

/// All runs that are remembered, or one of them.
pub async fn watch(State(parts): State<Shared>, Query(which): Query<Which>) -> Result<Response, Error> {
    let Some(id) = which.id else { return Ok(Json(Runs { runs: parts.reconciler.runs() }).into_response()) };
    let found = parts.reconciler.run(id, which.skip, LINES_MAX);
    let (run, lines) = found.ok_or_else(|| site::Error::InvalidRequest(format!("no run {id} is remembered here")))?;
    Ok(Json(Watched { run, lines }).into_response())
}
