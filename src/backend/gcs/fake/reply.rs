//! An answer, in JSON, XML or bytes; half of it on demand.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};

pub(super) type Body = BoxBody<Bytes, io::Error>;

pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Reply {
    pub fn bytes(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub fn json(value: &Value) -> Self {
        Self::bytes(200, value.to_string())
    }

    pub fn refused(status: u16, reason: &str, message: &str) -> Self {
        let errors = json!([{ "domain": "global", "reason": reason, "message": message }]);
        Self::bytes(status, json!({ "error": { "code": status, "message": message, "errors": errors } }).to_string())
    }

    pub fn no_object() -> Self {
        Self::refused(404, "notFound", "No such object: it")
    }

    pub fn no_bucket() -> Self {
        Self::refused(404, "notFound", "The specified bucket does not exist.")
    }

    pub fn condition() -> Self {
        Self::refused(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    }

    pub fn xml_error(status: u16, code: &str) -> Self {
        let text = format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>it says</Message></Error>");
        Self::bytes(status, text)
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn response(self, is_half: bool) -> http::Response<Body> {
        let mut response = http::Response::builder().status(self.status).header("content-length", self.body.len());
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        let body = if is_half { half(&self.body) } else { Full::new(self.body).map_err(|never| match never {}).boxed() };
        response.body(body).unwrap()
    }
}

/// The connection breaks in the middle, when the first half is on its way.
fn half(body: &Bytes) -> Body {
    let first = stream::iter([Ok(Frame::data(body.slice(..body.len() / 2)))]);
    let then = stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::other("as the test wants it"))
    });
    BodyExt::boxed(StreamBody::new(first.chain(then)))
}
