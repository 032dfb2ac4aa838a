//! What blobs are stored with, and how our metadata is spelled there.
//!
//! Names of metadata are C# identifiers, and their case is nobody's promise:
//! <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>.

use std::collections::HashMap;

use crate::backend::service::{Metadata, Told};
use crate::model::{ContentHeaders, Described};

/// Options with content headers. Those of several calls have these fields in common, and no type.
macro_rules! with_headers {
    ($options:ident, $headers:expr) => {{
        let headers: crate::model::ContentHeaders = $headers.clone();
        $options {
            blob_content_type: headers.content_type,
            blob_content_encoding: headers.content_encoding,
            blob_content_disposition: headers.content_disposition,
            blob_content_language: headers.content_language,
            blob_cache_control: headers.cache_control,
            ..$options::default()
        }
    }};
}
pub(super) use with_headers;

/// Metadata as Azure has it.
pub(super) fn spelled(metadata: &Metadata) -> HashMap<String, String> {
    metadata.iter().map(|(name, value)| (name.replace('-', "_"), value.clone())).collect()
}

/// The other way round. What others call theirs is none of ours, however it is spelled.
pub(super) fn unspelled<'a>(found: impl Iterator<Item = (&'a str, &'a str)>) -> Metadata {
    found.map(|(name, value)| (name.to_lowercase().replace('_', "-"), value.to_owned())).collect()
}

/// A blob with what whoever stored it said of it: names that we spelled are as they were before.
pub(super) fn described<'a>(
    told: Told,
    headers: ContentHeaders,
    unspelled: Metadata,
    found: impl Iterator<Item = (&'a str, &'a str)>,
) -> Told {
    let described = match told.is_foreign() {
        true => Described::unordered(headers, found.map(|(name, value)| (name.to_lowercase(), value.to_owned()))),
        false => Described::unordered(headers, unspelled),
    };
    told.described(described)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_metadata_comes_back_whatever_its_case() {
        let metadata = Metadata::from([("anybucket-write".to_owned(), "1".to_owned())]);
        assert_eq!(spelled(&metadata), [("anybucket_write".to_owned(), "1".to_owned())].into());
        assert_eq!(unspelled([("Anybucket_Write", "1")].into_iter()), metadata);
    }
}
