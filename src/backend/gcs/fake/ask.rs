//! A request, read.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use crate::backend::service::Metadata;

pub(super) struct Ask {
    pub method: Method,
    /// Decoded after it was taken apart.
    pub path: Vec<String>,
    pub query: HashMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Ask {
    pub async fn read(request: http::Request<Incoming>) -> Result<Self, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = head.uri.path().split('/').skip(1).map(decoded).collect();
        let pairs = head.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let query = pairs.map(|(name, value)| (decoded(name), decoded(value))).collect();
        Ok(Self { method: head.method, path, query, headers: head.headers, body })
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A generation that is asked for, or a condition about one.
    pub fn generation(&self, name: &str) -> Option<u64> {
        self.query(name).map(|text| text.parse().unwrap())
    }

    /// What XML says of an object is in headers.
    pub fn metadata(&self) -> Metadata {
        let told = |name: &str| name.strip_prefix("x-goog-meta-").map(str::to_owned);
        let headers = self.headers.iter().filter_map(|(name, value)| Some((told(name.as_str())?, value)));
        headers.map(|(name, value)| (name, value.to_str().unwrap().to_owned())).collect()
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}
