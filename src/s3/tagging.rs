//! Tags of objects, and the rules that those of buckets obey too: reading, writing, and the rules they obey.

use std::collections::HashSet;

use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput, PutObjectTaggingInput,
    PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Response, S3Result};

use super::{Face, convert, error, uri, versioning};
use crate::model::{ObjectId, Tags};
use crate::site::{ReadConditions, Register, Selection};

const TAGS_MAX: usize = 10;
const BUCKET_TAGS_MAX: usize = 50;
const NAME_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 256;

/// GetObjectTagging.
pub async fn get(face: &Face, req: S3Request<GetObjectTaggingInput>) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    let version = versioning::named(&face.site, &object, req.input.version_id.as_deref()).await?;
    let seen = face.site.head(&object, version, Selection::All, &ReadConditions::default()).await.map_err(error::from_site)?;
    let tag_set = shown(&seen.record.identity.tags);
    let version_id = versioning::shown(face, &object.bucket, seen.record.row.slot()).await?;
    let output = GetObjectTaggingOutput { tag_set, version_id };
    Ok(S3Response::with_headers(output, convert::stamp_header(seen.record.vector.data)))
}

/// PutObjectTagging.
pub async fn put(face: &Face, req: S3Request<PutObjectTaggingInput>) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    let tags = of_document(req.input.tagging.tag_set)?;
    let version_id = write(face, &object, req.input.version_id.as_deref(), tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

/// DeleteObjectTagging.
pub async fn delete(face: &Face, req: S3Request<DeleteObjectTaggingInput>) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let object = convert::object_id(&req.input.bucket, &req.input.key)?;
    let version_id = write(face, &object, req.input.version_id.as_deref(), Tags::new()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

/// Answers the version that has the tags now.
async fn write(face: &Face, object: &ObjectId, version: Option<&str>, tags: Tags) -> S3Result<Option<String>> {
    let version = versioning::named(&face.site, object, version).await?;
    let written = face.site.set_register(object, version, Register::Tags(tags)).await;
    versioning::shown(face, &object.bucket, written.map_err(error::from_site)?.slot).await
}

/// Tags as documents show them.
pub fn shown(tags: &Tags) -> Vec<Tag> {
    let tag = |(name, value): &(String, String)| Tag { key: Some(name.clone()), value: Some(value.clone()) };
    tags.iter().map(tag).collect()
}

fn of_document(tags: Vec<Tag>) -> S3Result<Tags> {
    checked(pairs(tags)?, TAGS_MAX, "Object tags cannot be greater than 10")
}

/// The tags of a bucket, which may have more.
pub fn of_bucket(tags: Vec<Tag>) -> S3Result<Tags> {
    checked(pairs(tags)?, BUCKET_TAGS_MAX, "Bucket tag count cannot be greater than 50")
}

fn pairs(tags: Vec<Tag>) -> S3Result<Tags> {
    let pair = |tag: Tag| Some((tag.key?, tag.value?));
    let tags: Option<Tags> = tags.into_iter().map(pair).collect();
    tags.ok_or_else(error::malformed_xml)
}

/// Tags of the header `x-amz-tagging`: `a=1&b=2`, percent-encoded.
pub fn of_header(text: Option<&str>) -> S3Result<Tags> {
    let Some(text) = text else { return Ok(Tags::new()) };
    let pair = |(name, value)| Some((uri::decode_form(name)?, uri::decode_form(value)?));
    let tags: Option<Tags> = uri::parameters(Some(text)).map(pair).collect();
    let bad = || {
        error::invalid_argument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
        )
    };
    checked(tags.ok_or_else(bad)?, TAGS_MAX, "Object tags cannot be greater than 10")
}

/// Tags that obey the rules, in the order of their names. Too many are a BadRequest to AWS, as its users report it
/// (terraform-provider-aws issue 19895), though an InvalidTag to Ceph.
fn checked(mut tags: Tags, max: usize, too_many: &str) -> S3Result<Tags> {
    tags.sort();
    if tags.len() > max {
        return Err(error::bad_request(too_many));
    }
    let mut names = HashSet::new();
    for (name, value) in &tags {
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || !name.chars().all(is_legal) {
            return Err(error::invalid_tag("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > VALUE_CHARS_MAX || !value.chars().all(is_legal) {
            return Err(error::invalid_tag("The TagValue you have provided is invalid"));
        }
        if name.starts_with("aws:") {
            return Err(error::invalid_tag("System tags cannot be added/updated by requester"));
        }
        if !names.insert(name) {
            return Err(error::invalid_tag("Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/tagging-managing.html>
fn is_legal(c: char) -> bool {
    c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        of_header(Some(text)).unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn the_header_is_url_encoded() {
        let tags = of_header(Some("a=1&b+c=%C3%A9&empty")).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(tags, vec![pair("a", "1"), pair("b c", "é"), pair("empty", "")]);
        assert!(of_header(None).unwrap().is_empty());
        assert_eq!(refused("a=%zz"), "InvalidArgument");
    }

    #[test]
    fn tags_have_their_limits() {
        let eleven: Vec<_> = (0..11).map(|n| format!("k{n}=v")).collect();
        assert_eq!(refused(&eleven.join("&")), "BadRequest");
        assert!(of_header(Some(&eleven[..10].join("&"))).is_ok());
        assert_eq!(refused("a=1&a=2"), "InvalidTag");
        assert_eq!(refused("=1"), "InvalidTag");
        assert_eq!(refused(&format!("{}=1", "k".repeat(129))), "InvalidTag");
        assert_eq!(refused(&format!("k={}", "v".repeat(257))), "InvalidTag");
        assert!(of_header(Some(&format!("{}={}", "k".repeat(128), "v".repeat(256)))).is_ok());
        assert_eq!(refused("aws:x=1"), "InvalidTag");
        assert_eq!(refused("a=%00"), "InvalidTag");
        let tags = |count: usize| (0..count).map(|n| (format!("k{n}"), String::new())).collect();
        assert!(of_bucket(shown(&tags(50))).is_ok());
        assert_eq!(of_bucket(shown(&tags(51))).unwrap_err().code().as_str(), "BadRequest");
    }
}
