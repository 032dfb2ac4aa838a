//! A row as it lies on disk: a header that the writer fills in, then the payload as its table encodes it.

use crate::model::Seq;
use crate::status::{ReadError, Revision, Stored, Table};

/// What stands before every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Of the payload's encoding.
    pub version: u8,
    pub revision: Revision,
    pub seq: Seq,
}

impl Header {
    /// The header, numbers big-endian, and its payload as one row, in a buffer that is used again.
    pub fn row<'a>(self, payload: &[u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
        buffer.clear();
        buffer.push(self.version);
        buffer.extend_from_slice(&self.revision.0.to_be_bytes());
        buffer.extend_from_slice(&self.seq.0.to_be_bytes());
        buffer.extend_from_slice(payload);
        buffer
    }

    /// Header and payload of a row; `None` if it is too short to have one.
    pub fn split(row: &[u8]) -> Option<(Self, &[u8])> {
        let ([version], rest) = row.split_first_chunk()?;
        let (revision, rest) = rest.split_first_chunk()?;
        let (seq, payload) = rest.split_first_chunk()?;
        let revision = Revision(u64::from_be_bytes(*revision));
        Some((Self { version: *version, revision, seq: Seq(u64::from_be_bytes(*seq)) }, payload))
    }
}

/// A row of table `T`.
pub(super) fn decode<T: Table>(row: &[u8]) -> Result<Stored<T::Row>, ReadError> {
    let too_short = || ReadError::Row { table: T::NAME, reason: format!("{} bytes hold no header", row.len()) };
    let (header, payload) = Header::split(row).ok_or_else(too_short)?;
    let row = T::decode(header.version, payload)?;
    Ok(Stored { row, revision: header.revision, seq: header.seq })
}

/// A key of table `T`.
pub(super) fn decode_key<T: Table>(key: &[u8]) -> Result<T::Key, ReadError> {
    use crate::status::TableKey;
    T::Key::from_bytes(key).ok_or_else(|| ReadError::Row { table: T::NAME, reason: format!("its key {key:02x?} is not one") })
}

/// The least byte string greater than all that begin with `prefix`; `None` where there is none.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tables::Meta;

    #[test]
    fn a_header_round_trips() {
        let header = Header { version: 3, revision: Revision(u64::MAX - 1), seq: Seq(7) };
        let mut buffer = b"what was there before".to_vec();
        let row = header.row(b"payload", &mut buffer);
        assert_eq!(row.len(), 17 + 7);
        assert_eq!(Header::split(row), Some((header, &b"payload"[..])));
        assert_eq!(Header::split(&row[..16]), None);
    }

    #[test]
    fn a_row_of_a_newer_encoding_is_refused() {
        let header = Header { version: Meta::VERSION + 1, revision: Revision(1), seq: Seq(0) };
        let row = header.row(&Meta::encode(&5), &mut Vec::new()).to_vec();
        assert!(matches!(decode::<Meta>(&row), Err(ReadError::Row { table: "meta", .. })));
    }

    #[test]
    fn the_successor_follows_everything_under_its_prefix() {
        assert_eq!(successor(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(successor(b"a\xFF\xFF"), Some(b"b".to_vec()));
        assert_eq!(successor(b"\xFF\xFF"), None);
        assert_eq!(successor(b""), None);
    }
}
