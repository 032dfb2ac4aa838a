//! Objects on their way in: one request that brings an object's metadata and its bytes, whole or not at all.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use futures::stream::{StreamExt, TryStreamExt, once};
use http::{Method, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use serde::{Deserialize, Serialize};

use super::Gcs;
use super::call::Call;
use super::error::of_bucket;
use crate::backend::service::{Answer, CONTENT_TYPE, Fault, Outgoing, Target};
use crate::model::hex;

const DOING: &str = "storing an object";

/// What an object is stored with.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct About<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_disposition: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<&'a str>,
    /// In order, so that the same is said in the same words.
    metadata: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crc32c: Option<String>,
}

impl<'a> About<'a> {
    /// Of an object that is named elsewhere.
    pub fn new(to: &'a Target) -> Self {
        let headers = &to.headers;
        Self {
            name: None,
            content_type: headers.content_type.as_deref().unwrap_or(CONTENT_TYPE),
            content_encoding: headers.content_encoding.as_deref(),
            content_disposition: headers.content_disposition.as_deref(),
            content_language: headers.content_language.as_deref(),
            cache_control: headers.cache_control.as_deref(),
            metadata: to.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            crc32c: None,
        }
    }

    fn of(to: &'a Target, crc32c: Option<String>) -> Self {
        Self { name: Some(&to.spot.name), crc32c, ..Self::new(to) }
    }
}

#[derive(Deserialize)]
struct Stored {
    /// A number, as a text.
    size: String,
}

impl Gcs {
    pub(super) async fn put_held(&self, to: &Target, bytes: Bytes) -> Answer<()> {
        let (about, size) = (About::of(to, Some(crc32c(&bytes))), bytes.len() as u64);
        self.upload(to, &about, size, Full::new(bytes)).await
    }

    pub(super) async fn put_outgoing(&self, to: &Target, body: Outgoing) -> Answer<()> {
        let size = body.size();
        self.upload(to, &About::of(to, None), size, body).await
    }

    /// One request, however long: the service takes 5 TiB in one (<https://cloud.google.com/storage/quotas#objects>), and keeps
    /// nothing of one that is shorter than it was announced to be.
    async fn upload<B>(&self, to: &Target, about: &About<'_>, size: u64, body: B) -> Answer<()>
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let call = Call::new(DOING, Method::POST, &["upload", "storage", "v1", "b", &to.spot.bucket, "o"])?;
        let frame = Envelope::new(about)?;
        let call = call.with("uploadType", "multipart").with("fields", "size");
        let call = call.header(header::CONTENT_TYPE, &format!("multipart/related; boundary={}", frame.boundary))?;
        let call = call.body(frame.len() + size, frame.around(body));
        let stored: Stored = self.client.ask_json(call).await.map_err(of_bucket)?;
        if stored.size != size.to_string() {
            return Err(Fault::nonsense(DOING, format!("of {size} bytes it stored {}", stored.size)));
        }
        Ok(())
    }
}

/// What stands before and behind the bytes in a request.
struct Envelope {
    boundary: String,
    head: Bytes,
    tail: Bytes,
}

impl Envelope {
    fn new(about: &About<'_>) -> Answer<Self> {
        // By chance, so that no client can know it and end its object there.
        let mut chance = [0; 16];
        getrandom::fill(&mut chance).map_err(|err| Fault::unsent(DOING, &err))?;
        let boundary = hex(&chance);
        let json = serde_json::to_string(about).map_err(|err| Fault::unsent(DOING, &err))?;
        // What is said twice has to be the same.
        let content_type = about.content_type;
        let head = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json}\r\n\
             --{boundary}\r\nContent-Type: {content_type}\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        Ok(Self { boundary, head: head.into(), tail: tail.into() })
    }

    /// Bytes of its own.
    fn len(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64
    }

    fn around<B>(&self, body: B) -> reqwest::Body
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (head, tail) = (self.head.clone(), self.tail.clone());
        let bytes = once(async { Ok(head) }).chain(body.into_data_stream()).chain(once(async { Ok(tail) }));
        reqwest::Body::wrap(StreamBody::new(bytes.map_ok(Frame::data)))
    }
}

/// As the service wants it told: <https://cloud.google.com/storage/docs/data-validation>.
pub(super) fn crc32c(bytes: &[u8]) -> String {
    let sum = u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).expect("a CRC-32C has 32 bits");
    STANDARD.encode(sum.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_told_as_google_tells_them() {
        // From the documentation of gsutil hash and RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), "ipE2qg==");
        assert_eq!(crc32c(b""), "AAAAAA==");
    }
}
