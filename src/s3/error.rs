//! The only place with S3's error codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use std::error::Error as StdError;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;
use s3s::{S3Error, S3ErrorCode as Code};

use super::form::FileLength;
use super::held::TooMuch;
use super::idle::Stalled;
use super::versioning;
use crate::model::{ETag, NameError, Slot};
use crate::site::Error;

/// Sites that could not be asked before a 404.
const UNCERTAIN: HeaderName = HeaderName::from_static("x-anybucket-uncertain");

fn refuse(code: Code, message: impl Into<String>) -> S3Error {
    S3Error::with_message(code, message.into())
}

/// A code that s3s does not know.
fn own(code: &'static str, status: StatusCode, message: impl Into<String>) -> S3Error {
    let mut err = refuse(Code::Custom(code.into()), message);
    err.set_status_code(status);
    err
}

fn with_headers(mut err: S3Error, headers: impl IntoIterator<Item = (header::HeaderName, HeaderValue)>) -> S3Error {
    // s3s replaces its own headers by these.
    let mut all = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"))]);
    all.extend(headers);
    err.set_headers(all);
    err
}

pub fn access_denied() -> S3Error {
    refuse(Code::AccessDenied, "Access Denied")
}

pub fn unknown_access_key() -> S3Error {
    refuse(Code::InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records.")
}

pub fn not_implemented(what: &str) -> S3Error {
    refuse(Code::NotImplemented, format!("A header or query you provided implies functionality that is not implemented: {what}"))
}

pub fn invalid_argument(message: impl Into<String>) -> S3Error {
    refuse(Code::InvalidArgument, message)
}

pub fn invalid_request(message: impl Into<String>) -> S3Error {
    refuse(Code::InvalidRequest, message)
}

pub fn expired() -> S3Error {
    refuse(Code::AccessDenied, "Request has expired")
}

/// For a subresource that no object has any more.
pub fn no_such_key() -> S3Error {
    from_site(Error::NoSuchKey)
}

pub fn signature_v2() -> S3Error {
    invalid_request("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

/// Of a document, a chunk or a form.
pub fn signature_mismatch() -> S3Error {
    refuse(
        Code::SignatureDoesNotMatch,
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    )
}

pub fn wrong_service(service: &str) -> S3Error {
    let text =
        format!("The authorization header is malformed; incorrect service \"{service}\". This endpoint belongs to \"s3\".");
    refuse(Code::AuthorizationHeaderMalformed, text)
}

/// Of a presigned URL.
pub fn wrong_algorithm() -> S3Error {
    refuse(Code::AuthorizationQueryParametersError, "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
}

/// A key that asks too often, and when it may ask again.
pub fn slow_down(wait: Duration) -> S3Error {
    let seconds = HeaderValue::from(wait.as_secs() + 1);
    with_headers(refuse(Code::SlowDown, "Please reduce your request rate."), [(header::RETRY_AFTER, seconds)])
}

/// Of a site that waits for its store.
pub fn not_yet() -> S3Error {
    let text = "This site waits for its store, and serves as soon as that is there.";
    with_headers(refuse(Code::SlowDown, text), [(header::RETRY_AFTER, HeaderValue::from_static("5"))])
}

pub fn skewed() -> S3Error {
    refuse(Code::RequestTimeTooSkewed, "The difference between the request time and the current time is too large.")
}

pub fn method_not_allowed() -> S3Error {
    refuse(Code::MethodNotAllowed, "The specified method is not allowed against this resource.")
}

/// A form that is none.
pub fn malformed_form() -> S3Error {
    refuse(Code::MalformedPOSTRequest, "The body of your POST request is not well-formed multipart/form-data.")
}

pub fn form_too_large() -> S3Error {
    own(
        "MaxPostPreDataLengthExceededError",
        StatusCode::BAD_REQUEST,
        "Your POST request fields preceding the upload file were too large.",
    )
}

pub fn no_file() -> S3Error {
    invalid_argument("POST requires exactly one file upload per request.")
}

pub fn missing_form_field(name: &str) -> S3Error {
    let order = "If it is specified, please check the order of the fields.";
    invalid_argument(format!("Bucket POST must contain a field named '{name}'.  {order}"))
}

pub fn invalid_policy(what: &str) -> S3Error {
    refuse(Code::InvalidPolicyDocument, format!("Invalid Policy: {what}."))
}

/// A form that its policy does not allow.
pub fn against_policy(what: &str) -> S3Error {
    refuse(Code::AccessDenied, format!("Invalid according to Policy: {what}"))
}

pub fn entity_too_small() -> S3Error {
    refuse(Code::EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size")
}

pub fn invalid_token() -> S3Error {
    refuse(Code::InvalidToken, "The provided token is malformed or otherwise invalid.")
}

pub fn malformed_xml() -> S3Error {
    refuse(Code::MalformedXML, "The XML you provided was not well-formed or did not validate against our published schema")
}

pub fn missing_content_length() -> S3Error {
    refuse(Code::MissingContentLength, "You must provide the Content-Length HTTP header.")
}

pub fn invalid_digest() -> S3Error {
    refuse(Code::InvalidDigest, "The Content-MD5 you specified is not valid.")
}

pub fn bad_digest(what: &str) -> S3Error {
    refuse(Code::BadDigest, format!("The {what} you specified did not match the calculated checksum."))
}

pub fn incomplete_body(message: impl Into<String>) -> S3Error {
    refuse(Code::IncompleteBody, message)
}

pub fn malformed_trailer(message: impl Into<String>) -> S3Error {
    own("MalformedTrailerError", StatusCode::BAD_REQUEST, message)
}

pub fn entity_too_large() -> S3Error {
    refuse(Code::EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
}

pub fn message_too_long() -> S3Error {
    refuse(Code::MaxMessageLengthExceeded, "Your request was too big.")
}

pub fn metadata_too_large() -> S3Error {
    refuse(Code::MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size")
}

pub fn headers_too_large() -> S3Error {
    refuse(Code::RequestHeaderSectionTooLarge, "Your request header and query parameters exceed the maximum allowed size.")
}

pub fn invalid_storage_class() -> S3Error {
    refuse(Code::InvalidStorageClass, "The storage class you specified is not valid")
}

pub fn invalid_tag(message: impl Into<String>) -> S3Error {
    refuse(Code::InvalidTag, message)
}

pub fn no_such_version() -> S3Error {
    refuse(Code::NoSuchVersion, "The specified version does not exist.")
}

pub fn no_lifecycle() -> S3Error {
    refuse(Code::NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist")
}

pub fn malformed_acl() -> S3Error {
    refuse(Code::MalformedACLError, "The XML you provided was not well-formed or did not validate against our published schema")
}

/// An address that no owner of keys is called by.
pub fn unresolvable_email() -> S3Error {
    refuse(Code::UnresolvableGrantByEmailAddress, "The e-mail address you provided does not match any account on record.")
}

/// The bucket's owner owns all that is in it, and there are no lists.
pub fn no_acls() -> S3Error {
    own("AccessControlListNotSupported", StatusCode::BAD_REQUEST, "The bucket does not allow ACLs")
}

pub fn acl_with_ownership() -> S3Error {
    own(
        "InvalidBucketAclWithObjectOwnership",
        StatusCode::BAD_REQUEST,
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    )
}

/// A Put…Acl that says nothing.
pub fn missing_acl() -> S3Error {
    refuse(Code::MissingSecurityHeader, "Your request was missing a required header")
}

/// A list said twice, in headers and in a document.
pub fn unexpected_content() -> S3Error {
    refuse(Code::UnexpectedContent, "This request does not support content")
}

pub fn no_cors_configuration() -> S3Error {
    own("NoSuchCORSConfiguration", StatusCode::NOT_FOUND, "The CORS configuration does not exist")
}

/// A preflight request that does not say what it asks for, too many tags: what has no code of its own.
pub fn bad_request(message: &str) -> S3Error {
    own("BadRequest", StatusCode::BAD_REQUEST, message)
}

/// A preflight request that no rule answers.
pub fn no_cors(message: &str) -> S3Error {
    own("AccessForbidden", StatusCode::FORBIDDEN, format!("CORSResponse: {message}"))
}

pub fn no_tags() -> S3Error {
    own("NoSuchTagSet", StatusCode::NOT_FOUND, "The TagSet does not exist")
}

pub fn no_ownership_controls() -> S3Error {
    own("OwnershipControlsNotFoundError", StatusCode::NOT_FOUND, "The bucket ownership controls were not found")
}

pub fn no_public_access_block() -> S3Error {
    own("NoSuchPublicAccessBlockConfiguration", StatusCode::NOT_FOUND, "The public access block configuration was not found")
}

pub fn no_policy() -> S3Error {
    own("NoSuchBucketPolicy", StatusCode::NOT_FOUND, "The bucket policy does not exist")
}

pub fn no_encryption_configuration() -> S3Error {
    own(
        "ServerSideEncryptionConfigurationNotFoundError",
        StatusCode::NOT_FOUND,
        "The server side encryption configuration was not found",
    )
}

pub fn no_website() -> S3Error {
    own("NoSuchWebsiteConfiguration", StatusCode::NOT_FOUND, "The specified bucket does not have a website configuration")
}

pub fn no_replication() -> S3Error {
    own("ReplicationConfigurationNotFoundError", StatusCode::NOT_FOUND, "The replication configuration was not found")
}

pub fn no_lock_configuration() -> S3Error {
    refuse(Code::ObjectLockConfigurationNotFoundError, "Object Lock configuration does not exist for this bucket")
}

pub fn no_lock_of_object() -> S3Error {
    refuse(Code::NoSuchObjectLockConfiguration, "The specified object does not have a ObjectLock configuration")
}

pub fn invalid_retention_period() -> S3Error {
    own("InvalidRetentionPeriod", StatusCode::BAD_REQUEST, "The retention period must be a positive integer value")
}

pub fn illegal_versioning() -> S3Error {
    refuse(Code::IllegalVersioningConfigurationException, "The Versioning element must be specified")
}

/// Only deleting makes sense of a delete marker.
fn is_marker(marker: Slot, modified_ms: u64) -> S3Error {
    let modified = HeaderValue::try_from(super::convert::http_date(modified_ms)).expect("dates are ASCII");
    let told = [(header::ALLOW, HeaderValue::from_static("DELETE")), (header::LAST_MODIFIED, modified)];
    let err = refuse(Code::MethodNotAllowed, "The specified method is not allowed against this resource.");
    with_headers(err, versioning::of_marker(marker).into_iter().chain(told))
}

/// `known`: the locations that there are.
pub fn illegal_location(constraint: &str, known: &[&str]) -> S3Error {
    let text = format!(
        "The {constraint} location constraint is incompatible for the region specific endpoint this request was sent to. \
         There are: {}.",
        known.join(", ")
    );
    refuse(Code::IllegalLocationConstraintException, text)
}

/// A fault of this program, told without its inside.
pub fn internal() -> S3Error {
    refuse(Code::InternalError, "We encountered an internal error. Please try again.")
}

/// Code and message of an error, for the list that DeleteObjects answers.
pub fn code_and_message(err: &S3Error) -> (String, String) {
    (err.code().as_str().to_owned(), err.message().unwrap_or_default().to_owned())
}

/// The same of a read, which says of a key without anything that no delete marker hides it, as ceph's suite asks.
pub fn from_read(err: Error) -> S3Error {
    match err {
        Error::NoSuchKey => with_headers(from_site(err), versioning::no_marker()),
        err => from_site(err),
    }
}

/// The same of a copy, whose source cannot be a delete marker.
pub fn from_copy(err: Error) -> S3Error {
    match err {
        Error::IsMarker { .. } => {
            invalid_request("The source of a copy request may not specifically refer to a delete marker by version id.")
        }
        err => from_site(err),
    }
}

/// What the site refused, in S3's words.
pub fn from_site(err: Error) -> S3Error {
    let message = err.to_string();
    match err {
        Error::Name(NameError::Bucket) => refuse(Code::InvalidBucketName, "The specified bucket is not valid."),
        Error::Name(NameError::KeyLength(0)) => refuse(Code::UserKeyMustBeSpecified, "A key must be specified."),
        Error::Name(NameError::KeyLength(_)) => refuse(Code::KeyTooLongError, "Your key is too long"),
        Error::NoSuchBucket => no_such_bucket(),
        Error::NoSuchBucketHere { unasked } => uncertain(no_such_bucket(), &unasked),
        Error::BucketAlreadyOwnedByYou => refuse(
            Code::BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it.",
        ),
        Error::BucketAlreadyExists => refuse(Code::BucketAlreadyExists, "The requested bucket name is not available."),
        Error::BucketNotEmpty(_) => refuse(Code::BucketNotEmpty, message),
        Error::NoSuchKey => refuse(Code::NoSuchKey, "The specified key does not exist."),
        Error::NoSuchKeyHere { unasked } => uncertain(no_such_key(), &unasked),
        Error::Hidden { marker } => with_headers(no_such_key(), versioning::of_marker(marker)),
        Error::IsMarker { marker, modified_ms } => is_marker(marker, modified_ms),
        Error::NoSuchVersion => no_such_version(),
        Error::NoSuchVersionHere { unasked } => uncertain(no_such_version(), &unasked),
        Error::BucketState(reason) => own("InvalidBucketState", StatusCode::CONFLICT, reason),
        Error::Protected => refuse(Code::AccessDenied, "Access Denied because object protected by object lock."),
        Error::NoSuchUpload => refuse(
            Code::NoSuchUpload,
            "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        ),
        Error::PreconditionFailed(_) => refuse(Code::PreconditionFailed, message),
        Error::NotModified { etag, modified_ms } => not_modified(&etag, modified_ms),
        Error::InvalidRange { size } => invalid_range(size),
        Error::InvalidPartNumber(_) => refuse(Code::InvalidPart, "The requested partnumber is not satisfiable"),
        Error::InvalidPart { .. } => refuse(Code::InvalidPart, message),
        Error::InvalidPartOrder => refuse(Code::InvalidPartOrder, message),
        Error::EntityTooSmall { .. } => refuse(Code::EntityTooSmall, message),
        Error::EntityTooLarge { .. } => refuse(Code::EntityTooLarge, message),
        Error::BadContentMd5 { .. } => bad_digest("Content-MD5"),
        Error::BadChecksum { algorithm, .. } => bad_digest(algorithm.name()),
        Error::InvalidRequest(_) => invalid_request(message),
        Error::InvalidArgument { argument: "x-amz-copy-source-range", .. } => refuse(Code::InvalidRange, message),
        Error::InvalidArgument { .. } => invalid_argument(message),
        Error::CopyOntoItself => invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
        ),
        Error::IncompleteBody(_) => {
            incomplete_body("You did not provide the number of bytes specified by the Content-Length HTTP header")
        }
        Error::UnstorableName(_) => invalid_argument(message),
        Error::OperationAborted(_) => refuse(Code::OperationAborted, message),
        err => from_site_fault(err),
    }
}

/// What is not the client's fault.
fn from_site_fault(err: Error) -> S3Error {
    let message = err.to_string();
    match err {
        Error::StoreFull => own("InsufficientStorage", StatusCode::INSUFFICIENT_STORAGE, message),
        Error::StoreReadOnly(_) => refuse(Code::ServiceUnavailable, "This site takes no writes at present."),
        Error::Unavailable { retry_after, .. } => {
            let seconds = HeaderValue::from(retry_after.as_secs().max(1));
            with_headers(refuse(Code::SlowDown, message), [(header::RETRY_AFTER, seconds)])
        }
        Error::Lost => refuse(Code::InternalError, message),
        err => {
            tracing::error!(error = %err, "a request failed inside");
            internal()
        }
    }
}

fn no_such_bucket() -> S3Error {
    refuse(Code::NoSuchBucket, "The specified bucket does not exist")
}

/// Not here, and these sites may know better: a 404 that says so.
fn uncertain(absent: S3Error, unasked: &[String]) -> S3Error {
    let names = HeaderValue::from_str(&unasked.join(", ")).expect("names of sites are legal in headers");
    with_headers(absent, [(UNCERTAIN, names)])
}

fn not_modified(etag: &ETag, modified_ms: u64) -> S3Error {
    let etag = HeaderValue::from_str(&format!("\"{etag}\""));
    let modified = HeaderValue::from_str(&super::convert::http_date(modified_ms));
    let headers = [(header::ETAG, etag), (header::LAST_MODIFIED, modified)];
    let valid = headers.into_iter().filter_map(|(name, value)| Some((name, value.ok()?)));
    with_headers(refuse(Code::NotModified, "Not Modified"), valid)
}

fn invalid_range(size: u64) -> S3Error {
    let range = HeaderValue::from_str(&format!("bytes */{size}")).expect("digits are legal in headers");
    with_headers(refuse(Code::InvalidRange, "The requested range is not satisfiable"), [(header::CONTENT_RANGE, range)])
}

/// Why reading a request's body failed. s3s keeps the reason inside boxes.
pub fn from_stream(err: &(dyn StdError + 'static)) -> S3Error {
    let mut cause = Some(err);
    while let Some(err) = cause {
        if let Some(known) = of_upload(err).or_else(|| of_chunks(err)).or_else(|| of_ours(err)) {
            return known;
        }
        cause = err.source();
    }
    incomplete_body("The request body terminated unexpectedly")
}

/// What our own layers find on the way.
fn of_ours(err: &(dyn StdError + 'static)) -> Option<S3Error> {
    if err.is::<Stalled>() {
        return Some(refuse(
            Code::RequestTimeout,
            "Your socket connection to the server was not read from or written to within the timeout period.",
        ));
    }
    match err.downcast_ref::<FileLength>() {
        Some(FileLength::TooLong) => return Some(entity_too_large()),
        Some(FileLength::TooShort) => return Some(entity_too_small()),
        None => {}
    }
    err.is::<TooMuch>().then(|| refuse(Code::SlowDown, "Please reduce your request rate."))
}

fn of_upload(err: &(dyn StdError + 'static)) -> Option<S3Error> {
    match err.downcast_ref::<UploadStreamError>()? {
        UploadStreamError::Sha256Mismatch => Some(own(
            "XAmzContentSHA256Mismatch",
            StatusCode::BAD_REQUEST,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )),
        UploadStreamError::LengthMismatch | UploadStreamError::Incomplete => {
            Some(incomplete_body("You did not provide the number of bytes specified by the Content-Length HTTP header"))
        }
        UploadStreamError::Underlying(_) => None,
    }
}

fn of_chunks(err: &(dyn StdError + 'static)) -> Option<S3Error> {
    match err.downcast_ref::<AwsChunkedStreamError>()? {
        AwsChunkedStreamError::Underlying(_) => None,
        AwsChunkedStreamError::SignatureMismatch => Some(signature_mismatch()),
        AwsChunkedStreamError::ChunkMetaTooLarge(..) | AwsChunkedStreamError::ChunkDataTooLarge(..) => Some(entity_too_large()),
        AwsChunkedStreamError::TrailersTooLarge(..) | AwsChunkedStreamError::TooManyTrailerHeaders(..) => {
            Some(malformed_trailer("The request contained trailing data that was not well-formed."))
        }
        _ => Some(incomplete_body("The request body terminated unexpectedly")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(err: Error) -> (String, u16) {
        let err = from_site(err);
        (err.code().as_str().to_owned(), err.status_code().unwrap().as_u16())
    }

    #[test]
    fn each_refusal_has_the_code_and_status_of_s3() {
        let cases = [
            (Error::NoSuchBucket, "NoSuchBucket", 404),
            (Error::NoSuchBucketHere { unasked: vec!["b".into()] }, "NoSuchBucket", 404),
            (Error::NoSuchKey, "NoSuchKey", 404),
            (Error::NoSuchUpload, "NoSuchUpload", 404),
            (Error::BucketNotEmpty(String::new()), "BucketNotEmpty", 409),
            (Error::PreconditionFailed("If-Match"), "PreconditionFailed", 412),
            (Error::InvalidRange { size: 3 }, "InvalidRange", 416),
            (Error::InvalidPartNumber(9), "InvalidPart", 400),
            (Error::BadContentMd5 { size: 1 }, "BadDigest", 400),
            (Error::Name(NameError::KeyLength(2000)), "KeyTooLongError", 400),
            (Error::Name(NameError::Bucket), "InvalidBucketName", 400),
            (Error::StoreFull, "InsufficientStorage", 507),
            (Error::Internal("secret path".into()), "InternalError", 500),
            (Error::IncompleteBody("x".into()), "IncompleteBody", 400),
        ];
        for (err, code, status) in cases {
            assert_eq!(told(err), (code.to_owned(), status));
        }
    }

    #[test]
    fn an_inner_fault_does_not_tell_its_inside() {
        assert!(!from_site(Error::Internal("/var/secret".into())).message().unwrap().contains("secret"));
    }

    #[test]
    fn unavailable_says_when_to_come_back() {
        let err = from_site(Error::Unavailable { reason: "busy".into(), retry_after: Duration::from_secs(3) });
        assert_eq!(err.headers().unwrap()[header::RETRY_AFTER], "3");
        assert_eq!(err.status_code(), Some(StatusCode::SERVICE_UNAVAILABLE));
    }

    #[test]
    fn not_modified_carries_what_a_cache_needs() {
        let err = from_site(Error::NotModified { etag: ETag::new("abc"), modified_ms: 1_000 });
        assert_eq!(err.headers().unwrap()[header::ETAG], "\"abc\"");
        assert_eq!(err.headers().unwrap()[header::LAST_MODIFIED], "Thu, 01 Jan 1970 00:00:01 GMT");
    }

    #[test]
    fn a_wrapped_stream_error_keeps_its_meaning() {
        let inner: Box<dyn StdError + Send + Sync> = Box::new(UploadStreamError::Sha256Mismatch);
        let outer = AwsChunkedStreamError::Underlying(inner);
        assert_eq!(from_stream(&outer).code().as_str(), "XAmzContentSHA256Mismatch");
        assert_eq!(from_stream(&AwsChunkedStreamError::SignatureMismatch).code().as_str(), "SignatureDoesNotMatch");
        assert_eq!(from_stream(&std::io::Error::other("reset")).code().as_str(), "IncompleteBody");
    }
}
