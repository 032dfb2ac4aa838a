//! Why another site could not be read.

/// Shared result type of reading a peer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// None of these says anything about what the other site has: unknown is not absent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not answer, or not in time: try again later.
    #[error("the site cannot be reached: {0}")]
    Unreachable(String),
    /// It answers, and will not until a person changes something: a wrong token, site number or protocol.
    #[error("the site refuses: {0}")]
    Refused(String),
    /// What was asked for is not what it has any more: ask what is current.
    #[error("the object was replaced at the site meanwhile")]
    Changed,
    /// Its answer cannot be understood.
    #[error("the site's answer cannot be read: {0}")]
    Malformed(String),
}
