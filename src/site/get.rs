//! Reads that never lie: headers go out only after the opened bytes matched the record's binding (protocol §5).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::error::{Error, Result};
use super::heal::Healed;
use super::types::{Opened, ReadConditions, Seen, Selection};
use super::unread::READ_FIRST_BYTES_MAX;
use super::{Site, precondition};
use crate::backend::{self, Body, BodyError, GetOptions, Place};
use crate::model::{ObjectId, Record, Slot, State};
use crate::status::Stored;

/// How often a read starts over because the object was replaced under it.
pub(super) const READS_MAX: usize = 4;

impl Site {
    /// Opens a version of an object, the current one where none is named. Headers and body are of one write.
    pub async fn get(
        &self,
        object: &ObjectId,
        version: Option<Slot>,
        select: Selection,
        conditions: &ReadConditions,
    ) -> Result<Opened> {
        for _ in 0..READS_MAX {
            let stored = self.existing_read(object, version, READ_FIRST_BYTES_MAX).await?;
            let seen = self.see(object, &stored, select, conditions).await?;
            match self.open_bytes(object, &stored.row, seen.range.clone()).await {
                Ok(body) => return Ok(Opened { body: self.verified(object, &seen, body), seen }),
                Err(backend::Error::NotFound | backend::Error::Changed) => match self.heal(object, &stored).await? {
                    Healed::Differs => {}
                    Healed::Gone => {
                        if let Some(body) = self.read_through(object, &seen).await? {
                            return Ok(Opened { body: self.verified(object, &seen, body), seen });
                        }
                    }
                },
                Err(err) => return Err(err.into()),
            }
        }
        Err(Error::Unavailable {
            reason: "the object is replaced faster than it can be opened".into(),
            retry_after: std::time::Duration::from_secs(1),
        })
    }

    /// What is known of an object: HEAD speaks for the record and opens nothing.
    pub async fn head(
        &self,
        object: &ObjectId,
        version: Option<Slot>,
        select: Selection,
        conditions: &ReadConditions,
    ) -> Result<Seen> {
        let stored = self.existing_read(object, version, READ_FIRST_BYTES_MAX).await?;
        self.see(object, &stored, select, conditions).await
    }

    async fn see(
        &self,
        object: &ObjectId,
        stored: &Arc<Stored<Record>>,
        select: Selection,
        conditions: &ReadConditions,
    ) -> Result<Seen> {
        let record = &stored.row;
        let modified_ms = self.modified_ms(record);
        precondition::read(conditions, record, modified_ms)?;
        let range = match select {
            Selection::Part(number) => self.part_range(object, record, number).await?,
            select => byte_range(select, record.identity.size)?,
        };
        Ok(Seen { record: stored.clone(), modified_ms, range, partial: select != Selection::All })
    }

    /// Opens the bytes that a record binds. Staged ones may reach their plain name at any time; the store knows.
    pub(super) async fn open_bytes(&self, object: &ObjectId, record: &Record, range: Range<u64>) -> backend::Result<Body> {
        if !record.has_bytes() {
            return Err(backend::Error::NotFound);
        }
        let place = Place { object: object.clone(), location: record.location.clone() };
        let options = GetOptions { range: Some(range), expect: Some(record.binding.clone()) };
        Ok(self.inner.backend.get(&place, options).await.map_err(without_bucket)?.body)
    }

    /// Whether the bytes of a record wait on a local disk for their store.
    pub fn is_buffered(&self, object: &ObjectId, record: &Record) -> bool {
        self.inner.backend.is_buffered(&Place { object: object.clone(), location: record.location.clone() })
    }

    /// A whole object is checked against its CRC-64/NVME while it is sent.
    fn verified(&self, object: &ObjectId, seen: &Seen, body: Body) -> Body {
        if seen.range == (0..seen.record.identity.size) { self.verified_whole(object, &seen.record, body) } else { body }
    }

    /// All bytes of an object, which end in an error if they are not those of its record; then they are mended.
    pub(super) fn verified_whole(&self, object: &ObjectId, record: &Arc<Stored<Record>>, body: Body) -> Body {
        // Of bytes that nobody has read nobody knows what they should be.
        if record.row.state == State::Unread {
            return body;
        }
        let (site, object, crc64) = (self.clone(), object.clone(), record.identity.crc64);
        let record = Arc::clone(record);
        let alarm = move || {
            site.inner.counters.rotten.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::error!(%object, "the stored bytes do not have the checksum of their record: the answer was broken off");
            site.mend_soon(object, record);
        };
        Body { size: body.size, stream: checked(body.stream, crc64, alarm) }
    }
}

/// A bucket that the store lost is lost bytes to a read: its row is what says that it exists.
pub(super) fn without_bucket(err: backend::Error) -> backend::Error {
    match err {
        backend::Error::NoSuchBucket => backend::Error::NotFound,
        err => err,
    }
}

fn byte_range(select: Selection, size: u64) -> Result<Range<u64>> {
    let unsatisfiable = Error::InvalidRange { size };
    match select {
        Selection::Bytes { first, .. } if first >= size => Err(unsatisfiable),
        Selection::Bytes { first, last } => Ok(first..last.map_or(size, |last| last.saturating_add(1).min(size))),
        Selection::Suffix(0) => Err(unsatisfiable),
        Selection::Suffix(_) if size == 0 => Err(unsatisfiable),
        Selection::Suffix(length) => Ok(size.saturating_sub(length)..size),
        Selection::All | Selection::Part(_) => Ok(0..size),
    }
}

/// Holds back the last chunk until everything has the checksum: rotten bytes never end in a complete answer.
fn checked(
    body: BoxStream<'static, Result<Bytes, BodyError>>,
    crc64: u64,
    alarm: impl FnOnce() + Send + 'static,
) -> BoxStream<'static, Result<Bytes, BodyError>> {
    struct Checked<A> {
        body: BoxStream<'static, Result<Bytes, BodyError>>,
        digest: crc_fast::Digest,
        held: Option<Bytes>,
        alarm: Option<A>,
    }
    // The end is met twice: before the chunk held back, and after it.
    let body = body.fuse().boxed();
    let start = Checked { body, digest: crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme), held: None, alarm: Some(alarm) };
    stream::unfold(start, move |mut state| async move {
        loop {
            match state.body.next().await {
                Some(Ok(chunk)) => {
                    state.digest.update(&chunk);
                    if let Some(ready) = state.held.replace(chunk) {
                        return Some((Ok(ready), state));
                    }
                }
                Some(Err(err)) => {
                    // What is missing of them says nothing about them.
                    state.alarm = None;
                    return Some((Err(err), state));
                }
                None if state.digest.finalize() == crc64 => {
                    let last = state.held.take()?;
                    return Some((Ok(last), state));
                }
                None => {
                    let alarm = state.alarm.take()?;
                    alarm();
                    return Some((Err(BodyError::Read("checksum mismatch".into())), state));
                }
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_object() {
        let bytes = |first, last| Selection::Bytes { first, last };
        assert_eq!(byte_range(bytes(2, Some(99)), 10).unwrap(), 2..10);
        assert_eq!(byte_range(bytes(2, Some(u64::MAX)), 10).unwrap(), 2..10);
        assert_eq!(byte_range(bytes(0, Some(0)), 10).unwrap(), 0..1);
        assert_eq!(byte_range(Selection::Suffix(4), 10).unwrap(), 6..10);
        assert_eq!(byte_range(Selection::Suffix(40), 10).unwrap(), 0..10);
        assert!(byte_range(bytes(10, None), 10).is_err());
        assert!(byte_range(Selection::Suffix(0), 10).is_err());
        assert!(byte_range(Selection::Suffix(1), 0).is_err());
        assert_eq!(byte_range(Selection::All, 0).unwrap(), 0..0);
    }

    #[tokio::test]
    async fn rotten_bytes_never_end_in_a_complete_answer() {
        let chunks = || stream::iter([Ok(Bytes::from_static(b"1234")), Ok(Bytes::from_static(b"56789"))]).boxed();
        let sound = Body::new(None, checked(chunks(), 0xae8b_1486_0a79_9888, || panic!("no alarm is due")));
        assert_eq!(sound.collect(100).await.unwrap(), "123456789");
        let (alarm, alarmed) = std::sync::mpsc::channel();
        let rotten = checked(chunks(), 1, move || alarm.send(()).unwrap());
        let answered: Vec<_> = rotten.collect().await;
        assert!(matches!(answered.as_slice(), [Ok(first), Err(_)] if first == "1234"));
        assert!(alarmed.try_recv().is_ok());
    }
}
