//! What the service says of an object, in JSON.

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::backend::service::{Answer, Fault, Listed, Metadata, Told};

/// What is asked for of an object.
pub(super) const FIELDS: &str = "name,size,generation,metadata,timeCreated";

/// Numbers are texts there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    name: String,
    size: String,
    generation: String,
    metadata: Option<Metadata>,
    time_created: Option<String>,
}

impl Resource {
    fn size(&self, doing: &'static str) -> Answer<u64> {
        let nonsense = || Fault::nonsense(doing, format!("{:?} has a size of {:?}", self.name, self.size));
        self.size.parse().map_err(|_| nonsense())
    }

    /// An object's generation is what conditions are about, so it stands for the ETag.
    pub fn told(&self, doing: &'static str) -> Answer<Told> {
        Ok(Told::new(self.metadata.as_ref(), Some(&self.generation), self.stored_ms(), self.size(doing)?))
    }

    pub fn listed(self, doing: &'static str) -> Answer<Listed> {
        let (told, size) = (self.told(doing)?, self.size(doing)?);
        Ok(Listed { told: Some(told), size, stored_ms: self.stored_ms(), name: self.name })
    }

    fn stored_ms(&self) -> Option<u64> {
        let created = OffsetDateTime::parse(self.time_created.as_deref()?, &Rfc3339).ok()?;
        u64::try_from(created.unix_timestamp_nanos() / 1_000_000).ok()
    }
}

/// The generation of what was seen, for a condition.
pub(super) fn generation<'a>(doing: &'static str, seen: &'a Told) -> Answer<&'a str> {
    seen.etag.as_deref().ok_or_else(|| Fault::nonsense(doing, "what was seen has no generation"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_known_by_its_generation_and_time() {
        let json = r#"{"name":"a","size":"3","generation":"17","timeCreated":"2026-11-22T15:00:00.123Z"}"#;
        let resource: Resource = serde_json::from_str(json).unwrap();
        assert_eq!(resource.stored_ms(), Some(1_795_359_600_123));
        let told = resource.told("looking").unwrap();
        assert_eq!((told.etag.as_deref(), told.size), (Some("17"), 3));
    }
}
