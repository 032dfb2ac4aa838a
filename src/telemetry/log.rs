//! Log lines on stderr: for people, or as JSON for machines.

use std::io::{IsTerminal, stderr};

use tracing::error;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// What is said, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub format: Format,
    /// A level or directives; `RUST_LOG` wins.
    pub level: String,
}

/// Logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("RUST_LOG or log.level: {0}")]
    Filter(#[from] ParseError),
    #[error(transparent)]
    Started(#[from] TryInitError),
}

/// Sends every log line of the process, panics included, to stderr from now on. Called once.
pub fn start(settings: &Settings) -> Result<(), LogError> {
    let filter = chosen_filter(settings)?;
    let lines = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let lines = match settings.format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    log_panics();
    Ok(())
}

/// Whether [`start`] would find a fault in the directives.
pub fn check(settings: &Settings) -> Result<(), LogError> {
    Ok(chosen_filter(settings).map(drop)?)
}

fn chosen_filter(settings: &Settings) -> Result<EnvFilter, ParseError> {
    let directives = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
    filter(directives.as_deref().unwrap_or(&settings.level))
}

/// s3s logs whole requests, signatures included, and aws_config whose credentials it found each time that it looks; both say
/// again what we say: they speak only when they are named.
fn filter(directives: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(format!("s3s=off,aws_config=off,{directives}"))
}

/// A panic in a task is a log line like any other, so that whoever collects logs sees it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(panic = panic.payload_as_str().unwrap_or("no message"), location, %backtrace, "panicked");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_logs_whole_requests_or_credentials_speaks_only_when_named() {
        let trace = filter("trace").unwrap().to_string();
        assert!(trace.contains("s3s=off") && trace.contains("aws_config=off"), "{trace}");
        let named = filter("info,s3s=debug").unwrap().to_string();
        assert!(named.contains("s3s=debug") && !named.contains("s3s=off"), "{named}");
    }
}
