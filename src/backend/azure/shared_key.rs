//! Signing with an account's key, which the official crate leaves out:
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>.

use std::collections::BTreeMap;

use azure_core::Result;
use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use azure_core::http::{Request, Url};

/// Headers of HTTP that are signed, in this order.
const SIGNED: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    // What is dated by x-ms-date has none.
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Dates and signs a request, to which nothing may be added afterwards.
pub(super) fn sign(request: &mut Request, account: &str, key: &Secret, date: String) -> Result<()> {
    request.insert_header("x-ms-date", date);
    let signature = hmac_sha256(&string_to_sign(request, account), key)?;
    request.insert_header("authorization", format!("SharedKey {account}:{signature}"));
    Ok(())
}

fn string_to_sign(request: &Request, account: &str) -> String {
    let headers: BTreeMap<&str, &str> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let length = request.body().len().filter(|length| *length > 0).map(|length| length.to_string()).unwrap_or_default();
    let mut text = request.method().as_ref().to_owned();
    for name in SIGNED {
        let value = if name == "content-length" { &length } else { headers.get(name).copied().unwrap_or_default() };
        text.push('\n');
        text.push_str(value);
    }
    let mut own: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    own.sort_by_key(|(name, _)| in_words(name));
    for (name, value) in own {
        text.push_str(&format!("\n{name}:{}", value.trim()));
    }
    format!("{text}\n{}", resource(request.url(), account))
}

/// Headers stand in the order that .NET gives words: a `_` comes before digits and letters
/// (<https://github.com/Azure/azure-sdk-for-net/issues/41328>).
fn in_words(name: &str) -> String {
    name.replace('_', "!")
}

/// What the request is about. An emulator has the account in its paths, and here twice.
fn resource(url: &Url, account: &str) -> String {
    let mut queries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        queries.entry(name.to_lowercase()).or_default().push(value.into_owned());
    }
    let mut text = format!("/{account}{}", url.path());
    for (name, mut values) in queries {
        values.sort();
        text.push_str(&format!("\n{name}:{}", values.join(",")));
    }
    text
}

#[cfg(test)]
mod tests {
    use azure_core::http::Method;

    use super::*;

    /// Made by hand after the documented rules; that it is what the service checks, Azurite tells.
    #[test]
    fn a_request_is_signed_by_the_documented_rules() {
        let url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20";
        let mut request = Request::new(url.parse().unwrap(), Method::Get);
        request.insert_header("x-ms-version", "2014-02-14");
        request.insert_header("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT");
        let expected = "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2014-02-14\n\
                        /myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20";
        assert_eq!(string_to_sign(&request, "myaccount"), expected);
    }

    #[test]
    fn names_of_metadata_are_signed_in_the_order_of_words() {
        let mut request = Request::new("https://a.blob.core.windows.net/c/x".parse().unwrap(), Method::Put);
        for name in ["x-ms-meta-sha1", "x-ms-meta-sha_256", "x-ms-meta-shade"] {
            request.insert_header(name, "1");
        }
        let text = string_to_sign(&request, "a");
        assert!(text.contains("\nx-ms-meta-sha_256:1\nx-ms-meta-sha1:1\nx-ms-meta-shade:1\n"), "{text}");
    }

    #[test]
    fn names_are_signed_as_they_are_sent_and_queries_as_they_are_meant() {
        let url = "https://a.blob.core.windows.net/c/x%2Fy%20%C3%A9?comp=block&blockid=a%2Bb%3D%3D";
        let mut request = Request::new(url.parse().unwrap(), Method::Put);
        request.insert_header("content-length", "3");
        request.insert_header("content-type", "application/octet-stream");
        request.set_body("abc");
        let expected = "PUT\n\n\n3\n\napplication/octet-stream\n\n\n\n\n\n\n/a/c/x%2Fy%20%C3%A9\nblockid:a+b==\ncomp:block";
        assert_eq!(string_to_sign(&request, "a"), expected);
    }
}
