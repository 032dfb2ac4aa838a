//! What the service says of an object, in JSON.

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::backend::service::{Answer, Fault, Listed, Metadata, Told};
use crate::model::{ContentHeaders, Described};

/// What is asked for of an object.
pub(super) const FIELDS: &str =
    "name,size,generation,metadata,timeCreated,contentType,contentEncoding,contentDisposition,contentLanguage,cacheControl";

/// Numbers are texts there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    name: String,
    size: String,
    generation: String,
    metadata: Option<Metadata>,
    time_created: Option<String>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    content_disposition: Option<String>,
    content_language: Option<String>,
    cache_control: Option<String>,
}

impl Resource {
    fn size(&self, doing: &'static str) -> Answer<u64> {
        let nonsense = || Fault::nonsense(doing, format!("{:?} has a size of {:?}", self.name, self.size));
        self.size.parse().map_err(|_| nonsense())
    }

    /// An object's generation is what conditions are about, so it stands for the ETag.
    pub fn told(&self, doing: &'static str) -> Answer<Told> {
        let told = Told::new(self.metadata.as_ref(), Some(&self.generation), self.stored_ms(), self.size(doing)?);
        Ok(told.described(self.described()))
    }

    /// What whoever stored it said of it.
    fn described(&self) -> Described {
        let headers = ContentHeaders {
            content_type: self.content_type.clone(),
            content_encoding: self.content_encoding.clone(),
            content_disposition: self.content_disposition.clone(),
            content_language: self.content_language.clone(),
            cache_control: self.cache_control.clone(),
            ..ContentHeaders::default()
        };
        Described::unordered(headers, self.metadata.clone().unwrap_or_default())
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
    use crate::model::{Incarnation, Tags, WriteId};

    #[test]
    fn an_object_is_known_by_its_generation_and_time() {
        let json = r#"{"name":"a","size":"3","generation":"17","timeCreated":"2026-11-22T15:00:00.123Z"}"#;
        let resource: Resource = serde_json::from_str(json).unwrap();
        assert_eq!(resource.stored_ms(), Some(1_795_359_600_123));
        let told = resource.told("looking").unwrap();
        assert_eq!((told.etag.as_deref(), told.size), (Some("17"), 3));
    }

    #[test]
    fn what_was_said_of_an_object_is_known_and_our_mark_is_no_part_of_it() {
        let of = |metadata: &str| {
            let said = r#""contentType":"text/plain","cacheControl":"no-store","contentLanguage":"de""#;
            let json = format!(r#"{{"name":"a","size":"3","generation":"17",{said},"metadata":{metadata}}}"#);
            serde_json::from_str::<Resource>(&json).unwrap().told("looking").unwrap().described
        };
        let ours = *of(&format!(r#"{{"Colour":"red","anybucket-write":"{}"}}"#, WriteId::new(Incarnation(7), 1, 2))).unwrap();
        let described = *of(r#"{"Colour":"red"}"#).unwrap();
        let text = |text: &str| Some(text.to_owned());
        let headers = ContentHeaders {
            content_type: text("text/plain"),
            cache_control: text("no-store"),
            content_language: text("de"),
            ..ContentHeaders::default()
        };
        let metadata = vec![("Colour".to_owned(), "red".to_owned())];
        assert_eq!(described, Described { headers, metadata, tags: Tags::new() });
        assert_eq!(ours, described);
    }
}
