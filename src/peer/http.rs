//! How the wire is carried by HTTP: what `client` here and `feed` on the other side must agree on.
//!
//! Every request is a POST of one postcard document to the path of its verb; every answer is one postcard document, but
//! that of `open`, which is the bytes themselves. An error is a status and a text.

use std::ops::Range;

use http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize};

use super::wire::{Heads, KeyRange};
use super::{Error, PROTOCOL};
use crate::model::{BucketName, ObjectId, Stamp};

/// What bodies are.
pub const MEDIA_TYPE: &str = "application/vnd.anybucket.feed.v1";
/// On every request between sites, with the number of the one that asks: whoever sees it reads through to nobody else.
pub const HOP: HeaderName = HeaderName::from_static("x-anybucket-hop");
/// On every request and answer, with the version spoken: what answers without it is no feed.
pub const VERSION: HeaderName = HeaderName::from_static("x-anybucket-feed");
/// Longest request, bytes.
pub const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Longest text of an error, bytes.
pub const ERROR_BYTES_MAX: usize = 1 << 10;

/// What can be asked of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Heads,
    Log,
    Fetch,
    Open,
    Digests,
    Rows,
    Buckets,
}

impl Verb {
    pub fn path(self) -> &'static str {
        match self {
            Self::Heads => "/feed/v3/heads",
            Self::Log => "/feed/v3/log",
            Self::Fetch => "/feed/v3/fetch",
            Self::Open => "/feed/v3/open",
            Self::Digests => "/feed/v3/digests",
            Self::Rows => "/feed/v3/rows",
            Self::Buckets => "/feed/v3/buckets",
        }
    }

    /// Longest answer, bytes; that of `open` is as long as what was asked for.
    pub fn answer_bytes_max(self) -> usize {
        match self {
            Self::Heads => 16 << 10,
            // A batch of objects in the greatest number of uneven parts.
            Self::Fetch => 96 << 20,
            Self::Log | Self::Open | Self::Digests | Self::Rows | Self::Buckets => 16 << 20,
        }
    }
}

/// Asks for a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadsAsk {
    pub mine: Heads,
    pub wait_ms: u64,
}

/// Asks for bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAsk {
    pub object: ObjectId,
    pub data: Stamp,
    pub range: Range<u64>,
}

/// Asks for the rows of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsAsk {
    pub bucket: BucketName,
    pub range: KeyRange,
    pub rows_max: usize,
}

/// Whether `version`, as a header says it, is the one spoken here; else a text for whoever speaks another.
pub fn check_version(version: Option<&str>) -> Result<(), String> {
    match version {
        Some(version) if version == PROTOCOL.to_string() => Ok(()),
        Some(other) => Err(format!("version {PROTOCOL} of the feed is spoken here, version {} there", other.escape_default())),
        None => Err("there is no feed of anybucket".into()),
    }
}

/// How an error travels: its status, beside its text.
pub fn status_of(err: &Error) -> StatusCode {
    match err {
        Error::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Refused(_) => StatusCode::FORBIDDEN,
        Error::Changed => StatusCode::CONFLICT,
        Error::Malformed(_) => StatusCode::BAD_REQUEST,
    }
}

/// The text that travels with an error.
pub fn text_of(err: &Error) -> &str {
    match err {
        Error::Unreachable(text) | Error::Refused(text) | Error::Malformed(text) => text,
        Error::Changed => "",
    }
}

/// The error that arrived: the other way round of [`status_of`] and [`text_of`].
pub fn error_of(status: StatusCode, text: String) -> Error {
    match status {
        StatusCode::UNAUTHORIZED => Error::Refused(
            "it does not take the token of this site: compare [[peer]].token here with [[peer]].accept or [feed].token there"
                .into(),
        ),
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::PAYLOAD_TOO_LARGE => {
            Error::Refused(text)
        }
        StatusCode::CONFLICT => Error::Changed,
        status if status.is_server_error() => Error::Unreachable(text),
        _ => Error::Malformed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_arrives_as_it_left() {
        let text = || "why".to_owned();
        for err in [Error::Unreachable(text()), Error::Refused(text()), Error::Changed, Error::Malformed(text())] {
            assert_eq!(error_of(status_of(&err), text_of(&err).into()), err);
        }
    }

    #[test]
    fn another_version_and_no_version_are_told_apart() {
        let (ours, other) = (PROTOCOL.to_string(), (PROTOCOL + 1).to_string());
        assert_eq!(check_version(Some(&ours)), Ok(()));
        assert!(check_version(Some(&other)).unwrap_err().contains(&format!("version {other}")));
        assert!(check_version(None).unwrap_err().contains("no feed of anybucket"));
    }
}
