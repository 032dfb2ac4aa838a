//! What the official crate says, as a [`Fault`]. Addresses are never told: a signature may be in their query.

use std::error::Error as StdError;

use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::{RawResponse, StatusCode};
use azure_core::xml::from_xml;
use serde::Deserialize;

use crate::backend::service::{Fault, shortened};

/// What an error's body says.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Told {
    code: String,
    message: String,
}

/// Makes a fault of an error.
pub(super) fn fault(doing: &'static str) -> impl Fn(Error) -> Fault + Copy {
    move |err| match err.kind() {
        ErrorKind::HttpResponse { status, raw_response, .. } => refused(doing, *status, raw_response.as_deref()),
        ErrorKind::Credential => {
            Fault { doing, status: Some(401), code: String::new(), detail: shortened(&wire_reason(&err).to_string()) }
        }
        ErrorKind::DataConversion => Fault::nonsense(doing, shortened(&err.to_string())),
        ErrorKind::Connection | ErrorKind::Io => Fault::broken(doing, None, wire_reason(&err)),
        _ => Fault::nonsense(doing, shortened(&wire_reason(&err).to_string())),
    }
}

/// Why a body broke on its way here, for people.
pub(super) fn broken_body(err: &Error) -> String {
    Fault::broken("reading a body", None, wire_reason(err)).detail
}

fn refused(doing: &'static str, status: StatusCode, answer: Option<&RawResponse>) -> Fault {
    let told: Told = answer.and_then(|answer| from_xml(answer.body()).ok()).unwrap_or_default();
    let header = answer.and_then(|answer| answer.headers().get_optional_string(&"x-ms-error-code".into()));
    let code = header.unwrap_or(told.code);
    let status = match u16::from(status) {
        // Nobody said anything of leases: somebody else's is no condition of ours.
        412 if code.starts_with("Lease") => 409,
        status => status,
    };
    // The lines behind the first tell the request's number and time.
    let detail = shortened(told.message.lines().next().unwrap_or_default());
    Fault { doing, status: Some(status), code, detail }
}

/// The reason behind the HTTP client's error, which shows the address.
fn wire_reason(err: &Error) -> &(dyn StdError + 'static) {
    let mut next: Option<&(dyn StdError + 'static)> = Some(err);
    while let Some(found) = next {
        if found.is::<reqwest::Error>() {
            return found.source().unwrap_or(&Silent);
        }
        next = found.source();
    }
    err
}

/// Stands for an error of the HTTP client that has no reason of its own.
#[derive(Debug, thiserror::Error)]
#[error("no answer came")]
struct Silent;

#[cfg(test)]
mod tests {
    use std::io;

    use azure_core::http::headers::Headers;

    use super::*;

    fn told(status: u16, header: Option<&'static str>, body: &'static str) -> Fault {
        let mut headers = Headers::new();
        if let Some(code) = header {
            headers.insert("x-ms-error-code", code);
        }
        let answer = RawResponse::from_bytes(StatusCode::from(status), headers, body);
        refused("storing", StatusCode::from(status), Some(&answer))
    }

    #[test]
    fn an_answer_is_known_by_its_code() {
        let body =
            "\u{feff}<?xml version=\"1.0\"?><Error><Code>ContainerNotFound</Code><Message>Gone.\nRequestId:1</Message></Error>";
        let fault = told(404, None, body);
        assert!(fault.is_bucket_missing() && !fault.is_missing() && fault.detail == "Gone.", "{fault:?}");
        assert!(told(404, Some("BlobNotFound"), "").is_missing());
        assert!(told(404, None, "<html>").is_missing());
        assert!(told(409, Some("BlobAlreadyExists"), body).is_refused_by_condition());
        assert!(told(412, Some("ConditionNotMet"), "").is_refused_by_condition());
        assert!(!told(412, Some("LeaseIdMissing"), "").is_refused_by_condition());
        assert!(told(400, Some("InvalidBlockList"), "").is_bad_list());
    }

    #[tokio::test]
    async fn an_address_is_never_told() {
        let client = reqwest::Client::builder().tls_backend_preconfigured(crate::tls::trusting_nobody()).build().unwrap();
        let err = client.get("http://127.0.0.1:1/c?sig=hunter2").send().await.unwrap_err();
        assert!(err.to_string().contains("hunter2"), "{err}");
        let err = Error::with_error(ErrorKind::Connection, err, "failed");
        let (fault, text) = (fault("asking")(Error::new(ErrorKind::Io, io::Error::other("x"))), broken_body(&err));
        assert!(fault.is_silence() && !text.contains("hunter2") && !text.is_empty(), "{text}");
    }
}
