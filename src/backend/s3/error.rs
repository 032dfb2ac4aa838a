//! What the service said, as what the caller can do about it.

use std::error::Error as StdError;
use std::io;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::backend::Error;

/// Stands for the answer to what could not be asked.
const UNSENT: u16 = 400;

/// A call that failed.
#[derive(Debug)]
pub(super) struct Fault {
    doing: &'static str,
    /// `None` where no answer came.
    status: Option<u16>,
    code: String,
    detail: String,
}

pub(super) type Answer<T> = std::result::Result<T, Fault>;

impl Fault {
    pub fn of<E>(doing: &'static str, err: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        if matches!(err, SdkError::ConstructionFailure(_)) {
            return Self { doing, status: Some(UNSENT), code: "InvalidURI".to_owned(), detail: chain(&err) };
        }
        let status = err.raw_response().map(|answer| answer.status().as_u16());
        match err.as_service_error() {
            Some(told) => {
                let code = told.code().unwrap_or_default().to_owned();
                Self { doing, status, code, detail: told.message().unwrap_or_default().to_owned() }
            }
            // The whole chain: what is outside says only that something failed.
            None => Self { doing, status, code: String::new(), detail: chain(&err) },
        }
    }

    /// No answer came in time.
    pub fn late(doing: &'static str) -> Self {
        Self { doing, status: None, code: String::new(), detail: "no answer came in time".to_owned() }
    }

    pub fn is(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }

    /// Nothing of that name; whether it is the bucket that is missing, a HEAD does not say.
    pub fn is_missing(&self) -> bool {
        self.status == Some(404) && !self.is(&["NoSuchBucket"])
    }

    /// A condition that does not hold.
    pub fn is_refused_by_condition(&self) -> bool {
        self.status == Some(412) || self.is(&["PreconditionFailed", "ConditionalRequestConflict"])
    }

    /// Whether the service does not know what it was asked.
    pub fn is_unknown_call(&self) -> bool {
        self.status == Some(501) || self.is(&["NotImplemented"])
    }

    /// Whether the call may have been done, or may be done yet.
    pub fn is_open(&self) -> bool {
        // Some calls are answered with 200 before they are done: what breaks or fails after that says nothing of them.
        self.status.is_none_or(|status| (200..300).contains(&status) || status >= 500 && status != 501 && status != 503)
    }

    /// Whether nobody answered at all.
    pub fn is_silence(&self) -> bool {
        self.status.is_none()
    }

    pub fn is_denied(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }

    fn text(&self) -> String {
        let Self { doing, status, code, detail } = self;
        let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
        let parts: Vec<&str> = [code.as_str(), detail.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
        format!("{doing}: {}{status}", if parts.is_empty() { "no reason told".to_owned() } else { parts.join(": ") })
    }

    fn denied(&self) -> Error {
        let text = self.text();
        match self.code.as_str() {
            "RequestTimeTooSkewed" => Error::Unavailable(format!("{text}; set the clocks right")),
            // What has no body gives no reason.
            "" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" | "XAdminUserNotFound" => {
                Error::Unavailable(format!("{text}; check access_key, secret_key and region of this store"))
            }
            _ => Error::ReadOnly(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{text}; give this store's access key the right"),
            )),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let text = fault.text();
        match (fault.code.as_str(), fault.status) {
            ("NoSuchBucket", _) => Self::NoSuchBucket,
            ("BucketNotEmpty", _) => Self::NotEmpty(text),
            ("KeyTooLongError" | "InvalidObjectName" | "XMinioInvalidObjectName" | "InvalidURI", _) => Self::Name(text),
            ("QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage" | "InsufficientCapacity", _) | (_, Some(507)) => {
                Self::Full(io::Error::new(io::ErrorKind::StorageFull, text))
            }
            (_, Some(404)) => Self::NotFound,
            _ if fault.is_refused_by_condition() => Self::Changed,
            (_, Some(401 | 403)) => fault.denied(),
            // Of 409 too: somebody else was at the name, or above it.
            ("SlowDown" | "RequestTimeout", _) | (_, None | Some(200..300 | 408 | 409 | 429 | 500..)) => Self::Unavailable(text),
            _ => Self::Io { context: "the service refused".to_owned(), source: io::Error::other(text) },
        }
    }
}

fn chain(err: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(err);
    while let Some(err) = next {
        let part = err.to_string();
        if !text.ends_with(&part) {
            text = if text.is_empty() { part } else { format!("{text}: {part}") };
        }
        next = err.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, code: &str) -> Error {
        let status = (status > 0).then_some(status);
        Fault { doing: "storing", status, code: code.to_owned(), detail: "told".to_owned() }.into()
    }

    #[test]
    fn an_error_says_what_the_caller_can_do() {
        assert!(matches!(told(404, "NoSuchKey"), Error::NotFound));
        assert!(matches!(told(404, ""), Error::NotFound));
        assert!(matches!(told(404, "NoSuchBucket"), Error::NoSuchBucket));
        assert!(matches!(told(412, ""), Error::Changed));
        assert!(matches!(told(403, "AccessDenied"), Error::ReadOnly(_)));
        assert!(matches!(told(403, "SignatureDoesNotMatch"), Error::Unavailable(_)));
        assert!(matches!(told(403, ""), Error::Unavailable(_)));
        assert!(matches!(told(409, "BucketNotEmpty"), Error::NotEmpty(_)));
        assert!(matches!(told(507, ""), Error::Full(_)));
        for (status, code) in [
            (0, ""),
            (500, "InternalError"),
            (503, "SlowDown"),
            (429, ""),
            (409, "ExistingObjectIsDirectory"),
            (200, "InternalError"),
            (400, "RequestTimeout"),
        ] {
            assert!(matches!(told(status, code), Error::Unavailable(_)), "{status} {code}");
        }
        assert!(matches!(told(400, "InvalidRequest"), Error::Io { .. }));
    }

    #[test]
    fn only_a_clear_no_closes_a_call() {
        let fault = |status| Fault { doing: "x", status, code: String::new(), detail: String::new() };
        assert!(fault(None).is_open() && fault(Some(500)).is_open() && fault(Some(504)).is_open());
        assert!(!fault(Some(503)).is_open() && !fault(Some(404)).is_open() && !fault(Some(501)).is_open());
    }
}
