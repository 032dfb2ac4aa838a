//! Encryption at rest: anybucket does none, and says so. Where the operator vouches that the store does it, "AES256" may be
//! asked for and is said of every object; keys of others (KMS, SSE-C) nobody can vouch for.

use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::S3Result;

use super::error;

const HEADER: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
const AES256: HeaderValue = HeaderValue::from_static("AES256");

/// Operations whose answers say how an object is encrypted.
const SAID_BY: [&str; 9] = [
    "PutObject",
    "PostObject",
    "CopyObject",
    "CreateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "CompleteMultipartUpload",
    "GetObject",
    "HeadObject",
];

/// Whether this may be asked of a write. `name` begins as all headers about encryption do.
pub fn check_write(name: &str, value: &HeaderValue, vouched: bool) -> S3Result<()> {
    if name.contains("-customer-") {
        return Err(error::not_implemented("encryption with keys that clients provide (SSE-C)"));
    }
    if name != HEADER.as_str() {
        let is_off = name.ends_with("-bucket-key-enabled") && value == "false";
        return if is_off { Ok(()) } else { Err(error::not_implemented(name)) };
    }
    match value.as_bytes() {
        b"AES256" if vouched => Ok(()),
        b"AES256" => {
            Err(error::not_implemented("x-amz-server-side-encryption, unless the operator vouches for it by s3.vouch_encryption"))
        }
        b"aws:kms" | b"aws:kms:dsse" | b"aws:fsx" => Err(error::not_implemented("encryption with KMS keys")),
        _ => Err(error::invalid_argument("The encryption method specified is not supported")),
    }
}

/// Says how the object that was read or written is encrypted.
pub fn show(op: &str, headers: &mut HeaderMap) {
    if SAID_BY.contains(&op) {
        headers.insert(HEADER, AES256);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, value: &'static str, vouched: bool) -> Result<(), String> {
        check_write(name, &HeaderValue::from_static(value), vouched).map_err(|err| err.code().as_str().to_owned())
    }

    #[test]
    fn only_what_somebody_vouches_for_is_taken() {
        let name = "x-amz-server-side-encryption";
        assert_eq!(told(name, "AES256", true), Ok(()));
        assert_eq!(told(name, "AES256", false), Err("NotImplemented".into()));
        for kms in ["aws:kms", "aws:kms:dsse"] {
            assert_eq!(told(name, kms, true), Err("NotImplemented".into()));
        }
        assert_eq!(told(name, "ROT13", true), Err("InvalidArgument".into()));
        assert_eq!(told("x-amz-server-side-encryption-customer-algorithm", "AES256", true), Err("NotImplemented".into()));
        assert_eq!(told("x-amz-server-side-encryption-aws-kms-key-id", "k", true), Err("NotImplemented".into()));
        assert_eq!(told("x-amz-server-side-encryption-bucket-key-enabled", "true", true), Err("NotImplemented".into()));
        assert_eq!(told("x-amz-server-side-encryption-bucket-key-enabled", "false", false), Ok(()));
    }

    #[test]
    fn it_is_said_of_objects_only() {
        for (op, said) in [("GetObject", true), ("PutObject", true), ("ListObjects", false), ("DeleteObject", false)] {
            let mut headers = HeaderMap::new();
            show(op, &mut headers);
            assert_eq!(headers.contains_key(HEADER), said, "{op}");
        }
    }
}
