//! What the admin face refuses, as JSON: `{"error": {"code": …, "message": …}}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;

use crate::site;
use crate::status::ReadError;

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("an admin token is needed: send `Authorization: Bearer TOKEN`")]
    NoToken,
    #[error("the token is wrong")]
    WrongToken,
    /// The Host header names somebody else: a page in a browser may have been led here.
    #[error("not to be asked as {0:?}: use an IP address or localhost, or add the name to admin.hosts")]
    Host(String),
    #[error("there is nothing at {0}; GET /v1/openapi.json lists what there is")]
    NoSuchPath(String),
    #[error("this method is not understood here; GET /v1/openapi.json lists what is")]
    Method,
    /// What was asked for, and what is wrong with it.
    #[error("{0}")]
    Bad(String),
    #[error("{0}")]
    NoSuchKey(String),
    #[error("{0}")]
    Taken(String),
    /// The site waits for something.
    #[error("the site does not serve yet: it waits for {0}")]
    NotYet(String),
    /// A fault of this site, not of the request.
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Site(#[from] site::Error),
}

impl From<ReadError> for Error {
    fn from(err: ReadError) -> Self {
        Self::Site(err.into())
    }
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::NoSuchPath(_) | Self::NoSuchKey(_) => StatusCode::NOT_FOUND,
            Self::Taken(_) => StatusCode::CONFLICT,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Site(site::Error::NoSuchBucket | site::Error::NoSuchBucketHere { .. }) => StatusCode::NOT_FOUND,
            Self::NotYet(_) | Self::Site(site::Error::Unavailable { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Site(site::Error::InvalidRequest(_) | site::Error::InvalidArgument { .. }) => StatusCode::BAD_REQUEST,
            Self::Failed(_) | Self::Site(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoToken => "token_needed",
            Self::WrongToken => "token_wrong",
            Self::Host(_) => "host_refused",
            Self::NoSuchPath(_) => "no_such_path",
            Self::Method => "method_not_allowed",
            Self::NoSuchKey(_) => "no_such_key",
            Self::Taken(_) => "key_taken",
            Self::Bad(_) => "bad_request",
            Self::Site(site::Error::NoSuchBucket | site::Error::NoSuchBucketHere { .. }) => "no_such_bucket",
            Self::NotYet(_) | Self::Site(site::Error::Unavailable { .. }) => "unavailable",
            Self::Site(site::Error::InvalidRequest(_) | site::Error::InvalidArgument { .. }) => "bad_request",
            Self::Failed(_) | Self::Site(_) => "internal",
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code(), "message": self.to_string() } });
        let mut response = (self.status(), Json(body)).into_response();
        if self.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
