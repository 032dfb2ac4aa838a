//! Conditions of reads and writes: plain functions over what is current.

use super::error::{Error, Result};
use super::types::{EtagCondition, ReadConditions, WriteConditions};
use super::unread::was_etag_of;
use crate::model::Record;

impl EtagCondition {
    /// Bytes that were told of before they were read had another ETag then, which still names them and nothing else.
    fn holds(&self, record: &Record) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(list) => list.contains(&record.identity.etag) || list.iter().any(|etag| was_etag_of(etag, record)),
        }
    }
}

/// Whether a write may replace `current`. A condition on an object that is not there answers 404, as S3 does:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>.
pub(super) fn write(conditions: &WriteConditions, current: Option<&Record>) -> Result<()> {
    if let Some(condition) = &conditions.if_match {
        let record = current.ok_or(Error::NoSuchKey)?;
        require(condition.holds(record), "If-Match")?;
    }
    if let (Some(condition), Some(record)) = (&conditions.if_none_match, current) {
        require(!condition.holds(record), "If-None-Match")?;
    }
    if let Some(at) = conditions.if_modified_at_ms {
        let record = current.ok_or(Error::NoSuchKey)?;
        require(seconds(record.vector.data.ms()) == seconds(at), "x-amz-if-match-last-modified-time")?;
    }
    if let Some(size) = conditions.if_size {
        let record = current.ok_or(Error::NoSuchKey)?;
        require(record.identity.size == size, "x-amz-if-match-size")?;
    }
    Ok(())
}

/// Whether a read may answer with `record`, by the order of RFC 9110 §13.2.2. `modified_ms` is what Last-Modified shows.
pub(super) fn read(conditions: &ReadConditions, record: &Record, modified_ms: u64) -> Result<()> {
    match (&conditions.if_match, conditions.if_unmodified_since_ms) {
        (Some(condition), _) => require(condition.holds(record), "If-Match")?,
        (None, Some(since)) => require(seconds(modified_ms) <= seconds(since), "If-Unmodified-Since")?,
        (None, None) => {}
    }
    let unchanged = match (&conditions.if_none_match, conditions.if_modified_since_ms) {
        (Some(condition), _) => condition.holds(record),
        (None, Some(since)) => seconds(modified_ms) <= seconds(since),
        (None, None) => false,
    };
    if unchanged {
        return Err(Error::NotModified { etag: record.identity.etag.clone(), modified_ms });
    }
    Ok(())
}

/// The same for the source of a copy, where nothing is ever "not modified": every failure is a 412.
pub(super) fn copy_source(conditions: &ReadConditions, record: &Record, modified_ms: u64) -> Result<()> {
    read(conditions, record, modified_ms).map_err(|err| match err {
        Error::NotModified { .. } => Error::PreconditionFailed("x-amz-copy-source-if-none-match"),
        err => err,
    })
}

/// HTTP dates have whole seconds.
fn seconds(ms: u64) -> u64 {
    ms / 1_000
}

fn require(holds: bool, header: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::PreconditionFailed(header)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ETag;

    fn tag(text: &str) -> Record {
        super::super::unread::testing::record(ETag::new(text))
    }

    fn one(text: &str) -> Option<EtagCondition> {
        Some(EtagCondition::OneOf(vec![ETag::new(text)]))
    }

    #[test]
    fn a_matching_etag_outweighs_the_date() {
        let both = ReadConditions { if_match: one("a"), if_unmodified_since_ms: Some(0), ..Default::default() };
        assert!(read(&both, &tag("a"), 9_000).is_ok());
        let both = ReadConditions { if_none_match: one("b"), if_modified_since_ms: Some(99_000), ..Default::default() };
        assert!(read(&both, &tag("a"), 9_000).is_ok());
    }

    #[test]
    fn dates_are_compared_by_the_second() {
        let since = ReadConditions { if_modified_since_ms: Some(9_000), ..Default::default() };
        assert!(matches!(read(&since, &tag("a"), 9_999), Err(Error::NotModified { .. })));
        assert!(read(&since, &tag("a"), 10_000).is_ok());
        let until = ReadConditions { if_unmodified_since_ms: Some(9_000), ..Default::default() };
        assert!(read(&until, &tag("a"), 9_999).is_ok());
        assert!(matches!(read(&until, &tag("a"), 10_000), Err(Error::PreconditionFailed(_))));
    }

    #[test]
    fn the_source_of_a_copy_is_never_just_not_modified() {
        let conditions = ReadConditions { if_none_match: one("a"), ..Default::default() };
        assert!(matches!(copy_source(&conditions, &tag("a"), 0), Err(Error::PreconditionFailed(_))));
    }

    #[test]
    fn a_write_that_wants_something_there_finds_nothing() {
        let conditions = WriteConditions { if_match: Some(EtagCondition::Any), ..Default::default() };
        assert!(matches!(write(&conditions, None), Err(Error::NoSuchKey)));
        let conditions = WriteConditions { if_none_match: Some(EtagCondition::Any), ..Default::default() };
        assert!(write(&conditions, None).is_ok());
    }
}
