//! The part map of a finished multipart object: where each part lies, for part-number reads and attributes.

use std::ops::Range;

use super::Site;
use super::error::{Error, Result};
use super::land::chunks_of;
use super::types::ObjectParts;
use crate::model::{ObjectId, PartEntry, Parts, Record};
use crate::status::tables::PartMaps;

impl Site {
    /// Parts of an object after the part number `after`, at most `parts_max`.
    pub async fn object_parts(&self, object: &ObjectId, record: &Record, after: u16, parts_max: usize) -> Result<ObjectParts> {
        let Parts::Mapped { count } = record.identity.parts else { return Ok(ObjectParts::default()) };
        let mut parts = self.part_map(object, record).await?;
        parts.retain(|part| part.number > after);
        let more = parts.len() > parts_max;
        parts.truncate(parts_max);
        Ok(ObjectParts { total: count, parts, more })
    }

    /// The bytes of one part. An object of a single PUT has one part, which is all of it.
    pub(super) async fn part_range(&self, object: &ObjectId, record: &Record, number: u16) -> Result<Range<u64>> {
        if record.identity.parts == Parts::Single {
            return if number == 1 { Ok(0..record.identity.size) } else { Err(Error::InvalidPartNumber(number)) };
        }
        let mut start = 0;
        for part in self.part_map(object, record).await? {
            if part.number == number {
                return Ok(start..start + part.size);
            }
            start += part.size;
        }
        Err(Error::InvalidPartNumber(number))
    }

    /// The whole map of this very record: the object may be replaced while its chunks are read.
    pub(super) async fn part_map(&self, object: &ObjectId, record: &Record) -> Result<Vec<PartEntry>> {
        let mut parts = Vec::new();
        for chunk in 0..chunks_of(record) {
            let row = self.inner.status.get::<PartMaps>(&(object.clone(), (record.slot(), chunk))).await?;
            parts.extend(row.map(|stored| stored.row).unwrap_or_default());
        }
        if chunks_of(record) == 0 {
            return Ok(parts);
        }
        let now = self.inner.status.unit(object, record.slot()).await?;
        let same = now.is_some_and(|now| now.row.vector.data == record.vector.data);
        if same {
            return Ok(parts);
        }
        Err(Error::Unavailable {
            reason: "the object was replaced while its parts were read".into(),
            retry_after: std::time::Duration::from_secs(1),
        })
    }
}
