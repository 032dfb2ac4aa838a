//! What the process tells people: log lines and metrics. It knows nothing of what it reports on.

mod log;
mod metrics;
mod process;

pub use log::{Format, LogError, Settings, check, start};
pub use metrics::{Answered, InFlight, Kind, Metrics, Sample};
pub use process::resident_bytes;
