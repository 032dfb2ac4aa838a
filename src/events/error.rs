//! Why a bus did not carry something.

/// Writes and replication go on without the bus.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer, or not in time.
    #[error("the bus cannot be reached: {0}")]
    Unreachable(String),
    /// It answers and refuses: credentials, limits or settings, for a person to mend.
    #[error("the bus refuses: {0}")]
    Refused(String),
}
