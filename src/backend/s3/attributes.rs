//! What objects are stored with: content headers and user metadata.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use crate::model::{ContentHeaders, Described, without_chunking};

/// A request with what its object is to be stored with. The SDK's builders have these in common, and no trait.
macro_rules! stored_with {
    ($request:expr, $to:expr) => {{
        let (headers, metadata) = ($to.headers.clone(), $to.metadata.clone());
        let expires = headers.expires.as_deref().and_then($crate::backend::s3::attributes::date);
        // The SDK would say something else.
        let unsaid = || $crate::model::UNSAID_CONTENT_TYPE.to_owned();
        $request
            .set_metadata(Some(metadata))
            .set_content_type(Some(headers.content_type.unwrap_or_else(unsaid)))
            .set_content_encoding(headers.content_encoding)
            .set_content_disposition(headers.content_disposition)
            .set_content_language(headers.content_language)
            .set_cache_control(headers.cache_control)
            .set_expires(expires)
    }};
}
pub(super) use stored_with;

/// `None`: it is no date, and the SDK has no other way to say it.
pub(super) fn date(expires: &str) -> Option<DateTime> {
    DateTime::from_str(expires, DateTimeFormat::HttpDate).ok()
}

/// What a client said of an object.
pub(super) fn described(head: &HeadObjectOutput) -> Described {
    let text = |told: Option<&str>| told.map(str::to_owned);
    let headers = ContentHeaders {
        content_type: text(head.content_type()),
        // Some services keep the one that is ours.
        content_encoding: head.content_encoding().and_then(without_chunking),
        content_disposition: text(head.content_disposition()),
        content_language: text(head.content_language()),
        cache_control: text(head.cache_control()),
        expires: text(head.expires_string()),
        website_redirect_location: text(head.website_redirect_location()),
        storage_class: None,
    };
    Described::unordered(headers, head.metadata().cloned().unwrap_or_default())
}
