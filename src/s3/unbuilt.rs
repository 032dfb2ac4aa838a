//! What a request may ask for that is not built: refused, never ignored. A client that asked for encryption
//! must not be told 200 without it.

use http::{HeaderMap, HeaderValue};
use s3s::S3Result;

use super::{encryption, error, sites};

const REFUSED_PREFIXES: [&str; 5] = [
    "x-amz-copy-source-server-side-encryption",
    "x-amz-write-offset-bytes",
    "x-amz-annotation",
    "x-anybucket-",
    "x-amz-rename-source",
];

/// Refuses the headers of `op` that ask for more than there is.
pub fn check(op: &str, headers: &HeaderMap, vouch_encryption: bool) -> S3Result<()> {
    let is_read = op.starts_with("Get") || op.starts_with("Head") || op.starts_with("List");
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-a") || sites::knows(op, name) {
            continue;
        }
        check_one(name, value, is_read, vouch_encryption)?;
    }
    Ok(())
}

fn check_one(name: &str, value: &HeaderValue, is_read: bool, vouch_encryption: bool) -> S3Result<()> {
    if REFUSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(error::not_implemented(name));
    }
    match name {
        "x-amz-bucket-namespace" if value != "global" => Err(error::not_implemented(name)),
        _ if name.starts_with("x-amz-server-side-encryption") && is_read => {
            Err(error::invalid_request("The encryption parameters are not applicable to this object."))
        }
        _ if name.starts_with("x-amz-server-side-encryption") => encryption::check_write(name, value, vouch_encryption),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn told(op: &str, name: &'static str, value: &'static str) -> Result<(), String> {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        check(op, &headers, false).map_err(|err| err.code().as_str().to_owned())
    }

    #[test]
    fn what_is_not_built_is_refused_and_never_ignored() {
        let refused = [
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "k"),
            ("x-amz-copy-source-server-side-encryption-customer-key", "k"),
            ("x-amz-write-offset-bytes", "5"),
            ("x-anybucket-site", "2"),
            ("x-anybucket-min-stamp", "2"),
        ];
        for (name, value) in refused {
            assert_eq!(told("PutObject", name, value), Err("NotImplemented".into()), "{name}");
        }
        assert_eq!(told("GetObject", "x-amz-server-side-encryption-customer-key", "k"), Err("InvalidRequest".into()));
    }

    #[test]
    fn headers_about_other_sites_are_taken_where_they_mean_something() {
        assert_eq!(told("PutObject", "x-anybucket-wait", "2"), Ok(()));
        assert_eq!(told("GetObject", "x-anybucket-wait", "2"), Err("NotImplemented".into()));
        assert_eq!(told("ListObjectsV2", "x-anybucket-min-stamp", "2"), Ok(()));
        assert_eq!(told("GetObject", "x-anybucket-site", "berlin"), Err("NotImplemented".into()));
    }

    #[test]
    fn what_changes_nothing_is_taken() {
        for (name, value) in [("x-amz-meta-acl", "public-read"), ("x-amz-date", "20260101T000000Z")] {
            assert_eq!(told("PutObject", name, value), Ok(()), "{name}");
        }
    }
}
