//! What the service said of a call that it did not do, in JSON or XML, in the words that all services' faults have here.

use serde::Deserialize;

use crate::backend::service::{Fault, shortened};

/// Of what is not there, only this says that it is the bucket.
const NO_BUCKET: &str = "The specified bucket does not exist";

#[derive(Deserialize)]
struct Json {
    error: JsonError,
}

#[derive(Deserialize)]
struct JsonError {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Xml {
    code: String,
    #[serde(default)]
    message: String,
    /// Says more than the message, where it is there.
    #[serde(default)]
    details: String,
}

/// No answer came.
pub(super) fn unanswered(doing: &'static str, err: reqwest::Error) -> Fault {
    let err = err.without_url();
    if err.is_builder() { Fault::unsent(doing, &err) } else { Fault::broken(doing, None, &err) }
}

/// The answer is a refusal.
pub(super) fn told(doing: &'static str, status: u16, body: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(body);
    let (reason, detail) = of_json(body).or_else(|| of_xml(&text)).unwrap_or_else(|| {
        // The media of an object are refused in plain text.
        (String::new(), shortened(text.trim()))
    });
    let code = code(status, &reason, &detail);
    Fault { doing, status: Some(meant(status, code)), code: code.to_owned(), detail }
}

/// The status that others answer with where they mean the same.
fn meant(status: u16, code: &str) -> u16 {
    match (status, code) {
        // Too many calls may be answered with 403 too, which is no missing right:
        // <https://cloud.google.com/storage/docs/json_api/v1/status-codes#403-forbidden>.
        (_, "SlowDown") => 429,
        // Elsewhere that was not done; here it may have been: <https://cloud.google.com/storage/docs/retry-strategy>.
        (503, _) => 504,
        _ => status,
    }
}

/// The same fault of a call about a bucket, where nothing else can be missing.
pub(super) fn of_bucket(mut fault: Fault) -> Fault {
    if fault.status == Some(404) {
        fault.code = "NoSuchBucket".to_owned();
    }
    fault
}

fn of_json(body: &[u8]) -> Option<(String, String)> {
    let Json { error } = serde_json::from_slice(body).ok()?;
    Some((error.errors.into_iter().next().map(|first| first.reason).unwrap_or_default(), error.message))
}

fn of_xml(text: &str) -> Option<(String, String)> {
    let Xml { code, message, details } = quick_xml::de::from_str(text).ok()?;
    Some((code, if details.is_empty() { message } else { details }))
}

fn code<'a>(status: u16, reason: &'a str, detail: &str) -> &'a str {
    match (status, reason) {
        (401, _) => "AuthenticationFailed",
        (403, "forbidden") => "AccessDenied",
        (404, "notFound" | "") if detail.starts_with(NO_BUCKET) => "NoSuchBucket",
        (404, "notFound" | "") => "NoSuchKey",
        (412, _) => "PreconditionFailed",
        (429, _) | (403, "rateLimitExceeded" | "userRateLimitExceeded") => "SlowDown",
        _ => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Error;

    fn json(status: u16, reason: &str, message: &str) -> Fault {
        let body = format!(r#"{{"error":{{"code":{status},"message":"{message}","errors":[{{"reason":"{reason}"}}]}}}}"#);
        told("looking", status, body.as_bytes())
    }

    #[test]
    fn what_google_says_is_said_in_our_words() {
        assert!(json(404, "notFound", "No such object: b/o").is_missing());
        assert!(json(404, "notFound", "The specified bucket does not exist.").is_bucket_missing());
        assert!(told("looking", 404, b"No such object: b/o").is_missing());
        assert!(json(412, "conditionNotMet", "").is_refused_by_condition());
        assert!(json(416, "requestedRangeNotSatisfiable", "").is_beyond_end());
        for status in [403, 429] {
            let slow = json(status, "rateLimitExceeded", "");
            assert!(slow.is_passing() && !slow.is_denied() && matches!(slow.into(), Error::Unavailable(_)), "{status}");
        }
        assert!(matches!(json(403, "forbidden", "").into(), Error::ReadOnly(_)));
        assert!(matches!(json(401, "authError", "").into(), Error::Unavailable(_)));
        let unknown = json(503, "backendError", "");
        assert!(unknown.is_passing() && unknown.is_open());
    }

    #[test]
    fn xml_has_its_own_codes() {
        let xml = |status, code: &str| {
            let body = format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>m</Message></Error>");
            told("ending an upload", status, body.as_bytes())
        };
        assert!(xml(404, "NoSuchUpload").is_missing());
        assert!(xml(404, "NoSuchBucket").is_bucket_missing());
        assert!(xml(400, "InvalidPart").is_bad_list());
        assert!(xml(403, "AccessDenied").is_denied());
    }

    #[test]
    fn what_is_neither_is_shown() {
        let fault = told("looking", 502, b"<html><h1>Bad Gateway</h1></html>");
        assert!(fault.is_passing() && fault.detail.contains("Bad Gateway"));
    }
}
