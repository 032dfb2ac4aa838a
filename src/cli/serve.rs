//! `anybucket serve`: a site in the foreground.

use anyhow::{Context, Result};

use super::Exit;
use crate::config::Sources;
use crate::{app, telemetry};

/// Runs until the process is told to stop.
pub fn run(sources: &Sources) -> Result<Exit> {
    let config = sources.load()?;
    telemetry::start(&config.log)?;
    tracing::info!(settings = sources.name(), "starting");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(app::serve(&config))?;
    Ok(Exit::Done)
}
