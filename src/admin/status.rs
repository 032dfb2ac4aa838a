//! `/v1/status`, `/v1/sites` and `/v1/stores`: how this site fares, on one page, and what its stores are.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Shared;
use super::census::{Backlog, SiteView};
use super::error::Error;
use super::views::{Health, WorkerView};
use crate::backend::{Buffered, Capabilities};
use crate::model::BucketName;
use crate::peer::SiteState;
use crate::site::ImportProgress;

#[derive(Debug, Serialize, Deserialize)]
pub struct StatusView {
    pub site: OwnView,
    pub version: String,
    pub uptime_seconds: u64,
    pub store: String,
    /// Writes whose last steps at the store are still to be made or made durable.
    pub unsettled: u64,
    /// The status store was lost, and the store is looked through for what it knew: other keys than known ones and listings
    /// are answered with 503 meanwhile.
    #[serde(default)]
    pub rebuilding: bool,
    /// Buckets that are being imported from folders full of files.
    #[serde(default)]
    pub imports: Vec<ImportView>,
    /// What waits on local disks for the services of stores.
    #[serde(default)]
    pub buffers: Vec<BufferView>,
    #[serde(flatten)]
    pub health: Health,
    /// Every other site.
    pub sites: Vec<SiteView>,
    /// What other sites told and is not here yet.
    pub backlog: Backlog,
    /// Objects of which a write lost against one that had not seen it.
    pub conflicts: u64,
    /// Deletes that are remembered.
    pub graves: u64,
    pub workers: Vec<WorkerView>,
}

/// How far the import of a bucket came.
#[derive(Debug, Serialize, Deserialize)]
pub struct ImportView {
    pub bucket: String,
    /// Whether every file has its row; until then `objects` grows.
    pub listed: bool,
    pub objects: u64,
    pub bytes: u64,
    /// Files and folders that no key can name; known once all are listed.
    pub skipped: u64,
    /// Of the objects, those known to have been read.
    pub read: u64,
    /// Files that could not be read in the last pass: they are tried again.
    pub unreadable: u64,
}

impl ImportView {
    fn of((bucket, progress): (BucketName, ImportProgress)) -> Self {
        let ImportProgress { is_listed, objects, bytes, skipped, read, unreadable, .. } = progress;
        Self { bucket: bucket.to_string(), listed: is_listed, objects, bytes, skipped, read, unreadable }
    }
}

/// A buffer, and what waits in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct BufferView {
    pub store: String,
    pub objects: u64,
    pub bytes: u64,
    /// When the oldest came, milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// Of the objects, those that the store refuses or that cannot be read.
    pub refused: u64,
}

impl BufferView {
    fn of(buffered: Buffered) -> Self {
        let Buffered { store, objects, bytes, oldest_ms, refused, .. } = buffered;
        Self { store, objects, bytes, oldest_ms, refused }
    }
}

/// This site.
#[derive(Debug, Serialize, Deserialize)]
pub struct OwnView {
    pub name: String,
    pub number: u16,
    /// `active`, or `restoring` while it does not have all yet that the others had.
    pub state: String,
}

pub async fn status(State(parts): State<Shared>) -> Result<Json<StatusView>, Error> {
    let (census, now) = (parts.census.fresh(&parts.site).await?, Instant::now());
    let state = match parts.site.state() {
        SiteState::Active => "active",
        SiteState::Restoring => "restoring",
    };
    Ok(Json(StatusView {
        site: OwnView { name: parts.site_id.name.clone(), number: parts.site_id.number.0, state: state.into() },
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_seconds: parts.started.elapsed().as_secs(),
        store: kind(&parts.site.backend().capabilities()).into(),
        unsettled: parts.site.unsettled(),
        rebuilding: parts.site.is_rebuilding(),
        imports: parts.site.imports().into_iter().map(ImportView::of).collect(),
        buffers: parts.site.backend().buffers().into_iter().map(BufferView::of).collect(),
        health: Health::of(&parts).await,
        sites: census.sites.clone(),
        backlog: census.backlog.clone(),
        conflicts: census.conflicts,
        graves: census.graves,
        workers: parts.workers.snapshots().into_iter().map(|worker| WorkerView::of(worker, now)).collect(),
    }))
}

/// What each store does by itself, as it was found when it was opened.
pub async fn stores(State(parts): State<Shared>) -> Json<Vec<Capabilities>> {
    Json(parts.site.backend().capabilities())
}

fn kind(stores: &[Capabilities]) -> &'static str {
    if let [only] = stores { only.kind } else { "several" }
}

pub async fn sites(State(parts): State<Shared>) -> Result<Json<Vec<SiteView>>, Error> {
    Ok(Json(parts.census.fresh(&parts.site).await?.sites.clone()))
}
