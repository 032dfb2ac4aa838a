//! Sees that a signed chunked body ends with its final chunk. s3s takes a body that stops right before it, when the
//! length is right: the one cut that the signatures of the chunks do not tell.

/// Payload hash of bodies without a trailer; those with one are found incomplete by its absence.
const PAYLOAD: &[u8] = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

const MARK: &[u8] = b"0;chunk-signature=";
const SIGNATURE_LEN: usize = 64;
/// The chunk before ends in a line break, and so does the final one, twice; some clients leave these out.
const TAIL_MAX: usize = 2 + MARK.len() + SIGNATURE_LEN + 4;

/// The last bytes of a body as it travels.
#[derive(Debug, Default)]
pub struct Tail(Vec<u8>);

/// The body ended before its final chunk.
#[derive(Debug, thiserror::Error)]
#[error("the chunked body ended without its final chunk")]
pub struct NoFinalChunk;

impl Tail {
    /// For a body whose payload hash header says so; others end as they like.
    pub fn of(payload: Option<&[u8]>) -> Option<Self> {
        (payload == Some(PAYLOAD)).then(Self::default)
    }

    pub fn pass(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_MAX)..];
        self.0.extend_from_slice(bytes);
        let extra = self.0.len().saturating_sub(TAIL_MAX);
        self.0.drain(..extra);
    }

    /// At the end of the body.
    pub fn check(&self) -> Result<(), NoFinalChunk> {
        let whole = self.0.trim_ascii_end();
        let mark = whole.len().checked_sub(MARK.len() + SIGNATURE_LEN).ok_or(NoFinalChunk)?;
        let (before, last) = whole.split_at(mark);
        let starts_a_line = before.is_empty() || before.ends_with(b"\n");
        if last.starts_with(MARK) && starts_a_line { Ok(()) } else { Err(NoFinalChunk) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_well(pieces: &[&str]) -> bool {
        let mut tail = Tail::of(Some(PAYLOAD)).unwrap();
        pieces.iter().for_each(|piece| tail.pass(piece.as_bytes()));
        tail.check().is_ok()
    }

    #[test]
    fn the_final_chunk_is_seen_however_it_is_cut() {
        let signature = "a".repeat(64);
        let last = format!("0;chunk-signature={signature}\r\n\r\n");
        assert!(ends_well(&["5;chunk-signature=x\r\nhello\r\n", &last[..10], &last[10..]]));
        assert!(ends_well(&[&"x".repeat(500), "\r\n", last.trim_end()]));
        assert!(ends_well(&[&last]));
        assert!(!ends_well(&["5;chunk-signature=x\r\nhello\r\n"]));
        assert!(!ends_well(&[&"x".repeat(500)]));
        assert!(!ends_well(&["hello1", &last]));
        assert!(!ends_well(&[]));
    }

    #[test]
    fn other_bodies_are_not_looked_at() {
        assert!(Tail::of(Some(b"UNSIGNED-PAYLOAD")).is_none());
        assert!(Tail::of(None).is_none());
    }
}
