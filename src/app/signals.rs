//! What the process is told from outside: to stop, to read its keys again.

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tracing::{debug, warn};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or Ctrl-C.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Listens for signals; from the first moment on none of them kills the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
}

/// 128 + SIGINT, as shells say it.
const EXIT_CODE: i32 = 130;

impl Signals {
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next one. May be dropped at any point.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }

    /// Returns when the process is told to stop. May be dropped at any point.
    pub async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}

/// Whoever asks a second time does not want to wait: what is acknowledged is safe, as in a crash.
pub fn exit_on_next(mut signals: Signals) {
    tokio::spawn(async move {
        signals.stop().await;
        warn!("told to stop a second time, leaving at once");
        std::process::exit(EXIT_CODE);
    });
}

/// A connection and the file it reads take a descriptor each: as many as the system grants are used.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => debug!(files = raised.current, "raised the limit of open files"),
        Err(error) => warn!(files = limit.current, %error, "the limit of open files could not be raised"),
    }
}
