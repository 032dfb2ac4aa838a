//! One call, put together: its address, in which every name is one segment of the path, its headers and its body.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::backend::service::{Answer, Fault};

/// All but letters, digits and `-._~`, a slash too: <https://cloud.google.com/storage/docs/request-endpoints#encoding>.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A call that is not made yet.
pub(super) struct Call {
    pub doing: &'static str,
    pub method: Method,
    /// Path and query, encoded.
    pub address: String,
    pub headers: HeaderMap,
    pub body: Option<reqwest::Body>,
}

impl Call {
    /// A name that is no segment of a path is refused: an address with one leads elsewhere.
    pub fn new(doing: &'static str, method: Method, path: &[&str]) -> Answer<Self> {
        let mut address = String::new();
        for segment in path {
            if matches!(*segment, "" | "." | "..") {
                let (code, detail) = ("InvalidURI".to_owned(), format!("{segment:?} is no name at this store"));
                return Err(Fault { doing, status: Some(400), code, detail });
            }
            address.push('/');
            address.extend(utf8_percent_encode(segment, ENCODED));
        }
        Ok(Self { doing, method, address, headers: HeaderMap::new(), body: None })
    }

    /// Adds to the query.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.address.push(if self.address.contains('?') { '&' } else { '?' });
        self.address.push_str(name);
        self.address.push('=');
        self.address.extend(utf8_percent_encode(value, ENCODED));
        self
    }

    pub fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub fn header(mut self, name: HeaderName, value: &str) -> Answer<Self> {
        let value = HeaderValue::from_str(value).map_err(|err| Fault::unsent(self.doing, &err))?;
        self.headers.append(name, value);
        Ok(self)
    }

    /// Sends so many bytes.
    pub fn body(mut self, size: u64, body: reqwest::Body) -> Self {
        self.headers.insert(header::CONTENT_LENGTH, size.into());
        self.body = Some(body);
        self
    }

    pub fn json(self, value: &impl Serialize) -> Answer<Self> {
        let bytes = serde_json::to_vec(value).map_err(|err| Fault::unsent(self.doing, &err))?;
        let call = self.header(header::CONTENT_TYPE, "application/json")?;
        Ok(call.body(bytes.len() as u64, bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_segment() {
        let address = |name| Call::new("looking", Method::GET, &["b", "bucket", "o", name]).map(|call| call.address);
        assert_eq!(address("a/../b c+é%#?[*~").unwrap(), "/b/bucket/o/a%2F..%2Fb%20c%2B%C3%A9%25%23%3F%5B%2A~");
        for name in ["", ".", ".."] {
            assert!(address(name).is_err_and(|fault| !fault.is_open()), "{name:?}");
        }
    }

    #[test]
    fn a_query_holds_any_text() {
        let call = Call::new("listing", Method::GET, &["o"]).unwrap().with("prefix", "a&b=c d").with_some("x", None);
        assert_eq!(call.with("y", "é").address, "/o?prefix=a%26b%3Dc%20d&y=%C3%A9");
    }
}
