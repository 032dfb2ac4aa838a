//! Multipart uploads, which only the XML side of the service has: <https://cloud.google.com/storage/docs/multipart-uploads>.
//!
//! They know no conditions: a completed upload takes the place of whatever was at its name.

use bytes::Bytes;
use http::{HeaderName, Method, header};
use serde::{Deserialize, Serialize};

use super::Gcs;
use super::call::Call;
use super::put::crc32c;
use crate::backend::service::{Answer, CONTENT_TYPE, Fault, Outgoing, PartAt, Target, UploadAt};
use crate::model::ContentHeaders;

const STARTING: &str = "starting an upload";
const STORING: &str = "storing a part";
const ENDING: &str = "ending an upload";
const ABORTING: &str = "giving up an upload";

#[derive(Deserialize)]
struct Started {
    #[serde(rename = "UploadId")]
    upload_id: String,
}

/// How an end that began well came out: the service takes its time, and may begin to answer before it knows.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ended {
    #[serde(rename = "ETag")]
    etag: Option<String>,
    #[serde(rename = "Code")]
    code: Option<String>,
    #[serde(rename = "Message")]
    message: String,
}

/// The parts that an upload is to consist of.
#[derive(Serialize, Deserialize)]
#[serde(rename = "CompleteMultipartUpload")]
pub(super) struct List {
    #[serde(rename = "Part", default)]
    pub parts: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Part {
    #[serde(rename = "PartNumber")]
    pub number: u16,
    #[serde(rename = "ETag")]
    pub etag: String,
}

impl Gcs {
    pub(super) async fn begin_upload(&self, to: &Target) -> Answer<String> {
        let call = Call::new(STARTING, Method::POST, &[&to.spot.bucket, &to.spot.name])?.with("uploads", "");
        let mut call = call.body(0, Bytes::new().into());
        for (name, value) in said(&to.headers) {
            call = call.header(name, value)?;
        }
        for (name, value) in &to.metadata {
            let name = HeaderName::try_from(format!("x-goog-meta-{name}"));
            call = call.header(name.map_err(|err| Fault::unsent(STARTING, &err))?, value)?;
        }
        let answer = self.client.ask(call).await?;
        let text = String::from_utf8_lossy(&answer);
        let started: Started = quick_xml::de::from_str(&text).map_err(|err| Fault::nonsense(STARTING, err.to_string()))?;
        Ok(started.upload_id)
    }

    pub(super) async fn put_held_part(&self, upload: &UploadAt, number: u16, bytes: Bytes) -> Answer<String> {
        let sum = format!("crc32c={}", crc32c(&bytes));
        let call = part(upload, number)?.header(HeaderName::from_static("x-goog-hash"), &sum)?;
        self.send_part(call.body(bytes.len() as u64, bytes.into())).await
    }

    pub(super) async fn put_outgoing_part(&self, upload: &UploadAt, number: u16, body: Outgoing) -> Answer<String> {
        let size = body.size();
        self.send_part(part(upload, number)?.body(size, reqwest::Body::wrap(body))).await
    }

    async fn send_part(&self, call: Call) -> Answer<String> {
        let answer = self.client.send(call).await?;
        let etag = answer.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok());
        etag.map(str::to_owned).ok_or_else(|| Fault::nonsense(STORING, "the part has no ETag"))
    }

    pub(super) async fn end_upload(&self, upload: &UploadAt, parts: &[PartAt]) -> Answer<()> {
        let parts = parts.iter().map(|part| Part { number: part.number, etag: part.tag.clone() }).collect();
        let list = quick_xml::se::to_string(&List { parts }).map_err(|err| Fault::unsent(ENDING, &err))?;
        let call = of_upload(ENDING, Method::POST, upload)?.header(header::CONTENT_TYPE, "application/xml")?;
        let answer = self.client.ask(call.body(list.len() as u64, list.into())).await?;
        let text = String::from_utf8_lossy(&answer);
        match quick_xml::de::from_str(text.trim_start()) {
            Ok(Ended { code: Some(code), message, .. }) => Err(Fault { code, ..Fault::nonsense(ENDING, message) }),
            Ok(Ended { etag: Some(_), .. }) => Ok(()),
            _ => Err(Fault::nonsense(ENDING, "the answer tells of no object")),
        }
    }

    pub(super) async fn drop_upload(&self, upload: &UploadAt) -> Answer<()> {
        match self.client.ask(of_upload(ABORTING, Method::DELETE, upload)?).await {
            Err(fault) if fault.is_missing() || fault.is_bucket_missing() => Ok(()),
            ended => ended.map(drop),
        }
    }
}

/// Here what others hear of an object is in headers.
fn said(headers: &ContentHeaders) -> impl Iterator<Item = (HeaderName, &str)> {
    let all = [
        (header::CONTENT_TYPE, Some(headers.content_type.as_deref().unwrap_or(CONTENT_TYPE))),
        (header::CONTENT_ENCODING, headers.content_encoding.as_deref()),
        (header::CONTENT_DISPOSITION, headers.content_disposition.as_deref()),
        (header::CONTENT_LANGUAGE, headers.content_language.as_deref()),
        (header::CACHE_CONTROL, headers.cache_control.as_deref()),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

fn of_upload(doing: &'static str, method: Method, upload: &UploadAt) -> Answer<Call> {
    let spot = &upload.target.spot;
    Ok(Call::new(doing, method, &[&spot.bucket, &spot.name])?.with("uploadId", &upload.id))
}

fn part(upload: &UploadAt, number: u16) -> Answer<Call> {
    Ok(of_upload(STORING, Method::PUT, upload)?.with("partNumber", &number.to_string()))
}
