//! The S3 face, until it is merged: a stand-in that answers 501.

use std::convert::Infallible;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;

use super::server::HttpService;
use crate::config::Config;
use crate::site::Site;
use crate::telemetry::Metrics;

#[derive(Debug)]
pub struct Keys;

impl Keys {
    pub fn open(_: &Config) -> Result<Self> {
        Ok(Self)
    }
    pub fn first(&self) -> (String, bool) {
        ("NONE".into(), false)
    }
    pub fn reload(&self) {}
}

pub fn service(_: &Config, _: Site, _: &Keys, _: &Metrics) -> Result<impl HttpService<Full<Bytes>>> {
    Ok(service_fn(|_: Request<Incoming>| async {
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = http::StatusCode::NOT_IMPLEMENTED;
        Ok::<_, Infallible>(response)
    }))
}
