//! Reconciling on demand: begun here, watched until it ends, and stopped. A run goes on whoever watches.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::ask::{Document, Query};
use super::error::Error;
use crate::reconcile::{Ask, Line, Progress};

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
#[serde(default, deny_unknown_fields)]
pub struct Which {
    id: Option<u64>,
    skip: usize,
}

/// Which run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    id: u64,
}

/// A run that was stopped, or had ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stopped {
    pub run: Progress,
}

/// Begins a run.
pub async fn begin(State(parts): State<Shared>, Document(ask): Document<Ask>) -> Result<impl IntoResponse, Error> {
    let id = parts.reconciler.start(ask)?;
    Ok((StatusCode::ACCEPTED, Json(Begun { id })))
}

/// All runs that are remembered, or one of them.
pub async fn watch(State(parts): State<Shared>, Query(which): Query<Which>) -> Result<Response, Error> {
    let Some(id) = which.id else { return Ok(Json(Runs { runs: parts.reconciler.runs() }).into_response()) };
    let (run, lines) = parts.reconciler.run(id, which.skip, LINES_MAX).ok_or_else(|| unknown(id))?;
    Ok(Json(Watched { run, lines }).into_response())
}

/// Stops a run.
pub async fn stop(State(parts): State<Shared>, Query(One { id }): Query<One>) -> Result<Json<Stopped>, Error> {
    let run = parts.reconciler.stop(id).ok_or_else(|| unknown(id))?;
    Ok(Json(Stopped { run }))
}

fn unknown(id: u64) -> Error {
    Error::Bad(format!("id: no run {id} is remembered here"))
}
