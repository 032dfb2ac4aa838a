//! Single objects: stored, looked at, opened, removed.

use std::ops::Range;

use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime, SdkBody};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::header;
use http_body::Body;

use super::S3;
use super::attributes::{described, stored_with};
use super::error::ask;
use crate::backend::service::{Answer, Fault, Only, Opened, Outgoing, Spot, Target, Told, first_byte, whole_size};
use crate::model::{Described, ETag, Tags};

/// The body as the SDK sends it, once.
pub(super) fn stream_of(body: impl Body<Data = Bytes, Error = std::io::Error> + Send + Sync + 'static) -> ByteStream {
    ByteStream::new(SdkBody::from_body_1_x(body))
}

impl S3 {
    fn put_request(&self, to: &Target, bytes: u64) -> PutObjectFluentBuilder {
        let request = self.caller.client().put_object().bucket(&to.spot.bucket).key(&to.spot.name);
        stored_with!(request, to).content_length(bytes.cast_signed())
    }

    pub(super) async fn put_object(&self, to: &Target, bytes: Bytes) -> Answer<()> {
        let request = self.put_request(to, bytes.len() as u64).body(ByteStream::from(bytes));
        ask("storing bytes", request.send()).await.map(drop)
    }

    pub(super) async fn put_object_streamed(&self, to: &Target, body: Outgoing) -> Answer<()> {
        let request = self.put_request(to, body.size()).body(stream_of(body));
        ask("storing a body", request.customize().mutate_request(join_encodings).send()).await.map(drop)
    }

    pub(super) async fn head_object(&self, at: &Spot) -> Answer<Told> {
        let doing = "looking at an object";
        let request = self.caller.client().head_object().bucket(&at.bucket).key(&at.name).set_version_id(at.version.clone());
        let head = match ask(doing, request.send()).await {
            Err(fault) if fault.is_untold() => Err(self.reason(at, fault).await),
            head => head,
        };
        let head = head.map_err(|fault| no_marker(at, fault))?;
        let size = told_length(doing, head.content_length())?;
        let told = Told::new(head.metadata(), head.e_tag(), head.last_modified().and_then(millis), size);
        let said = described(&head);
        if !told.is_foreign() {
            return Ok(told.described(said));
        }
        let tags = if head.tag_count().unwrap_or(0) > 0 { self.tags(at).await? } else { Tags::new() };
        let shown_etag = head.e_tag().and_then(ETag::told);
        Ok(Told { shown_etag, ..told }.described(Described { tags, ..said }))
    }

    /// What answers a HEAD has no body. A GET of the first byte says why it is refused.
    async fn reason(&self, at: &Spot, untold: Fault) -> Fault {
        match self.get_object(at, Some(&(0..1))).await {
            Err(told) if told.status == untold.status => Fault { doing: untold.doing, ..told },
            _ => untold,
        }
    }

    async fn tags(&self, at: &Spot) -> Answer<Tags> {
        let request = self.caller.client().get_object_tagging().bucket(&at.bucket).key(&at.name);
        let told = ask("reading an object's tags", request.set_version_id(at.version.clone()).send()).await;
        let told = match told {
            // That it is gone is found out by whoever reads it.
            Err(fault) if fault.is_forbidden() || fault.is_missing() || fault.is_unknown_call() => {
                tracing::warn!(
                    bucket = at.bucket,
                    name = at.name,
                    ?fault,
                    "the store does not tell its tags: it is taken over without"
                );
                return Ok(Tags::new());
            }
            told => told?,
        };
        Ok(told.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
    }

    pub(super) async fn get_object(&self, at: &Spot, range: Option<&Range<u64>>) -> Answer<Opened> {
        let doing = "reading an object";
        let range = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let request = self.caller.client().get_object().bucket(&at.bucket).key(&at.name).set_range(range);
        let request = request.set_version_id(at.version.clone());
        let answer = ask(doing, request.send()).await.map_err(|fault| no_marker(at, fault))?;
        let size = match answer.content_range().and_then(whole_size) {
            Some(size) => size,
            None => told_length(doing, answer.content_length())?,
        };
        let first = answer.content_range().and_then(first_byte).unwrap_or(0);
        let stored_ms = answer.last_modified().and_then(millis);
        let told = Told::new(answer.metadata(), answer.e_tag(), stored_ms, size);
        let chunks = stream::unfold(answer.body, |mut body| async move {
            let chunk = body.next().await?;
            Some((chunk.map_err(|err| err.to_string()), body))
        });
        Ok(Opened { told, first, stream: chunks.boxed() })
    }

    pub(super) async fn delete_object(&self, at: &Spot, only: Only<'_>) -> Answer<()> {
        let request = self.caller.client().delete_object().bucket(&at.bucket).key(&at.name).set_version_id(at.version.clone());
        let removed = ask("removing an object", request.set_if_match(only.etag()).send()).await?;
        if at.version.is_some() { Ok(()) } else { self.remove_for_good(at, &removed).await }
    }
}

/// The SDK says `aws-chunked` in a line of its own beside what the body is. Some services look at one line only (Ceph:
/// <https://github.com/ceph/ceph/pull/70459>), and then the signature is wrong.
fn join_encodings(request: &mut HttpRequest) {
    let encoding = header::CONTENT_ENCODING.as_str();
    let lines: Vec<_> = request.headers().get_all(encoding).map(str::to_owned).collect();
    if lines.len() > 1 {
        request.headers_mut().insert(encoding, lines.join(","));
    }
}

/// A version that is a delete marker is no object: S3 calls that a method that is not allowed.
fn no_marker(at: &Spot, fault: Fault) -> Fault {
    match (&at.version, fault.status) {
        (Some(_), Some(405)) => Fault { status: Some(404), ..fault },
        _ => fault,
    }
}

/// What is not told is not taken for nothing.
fn told_length(doing: &'static str, length: Option<i64>) -> Answer<u64> {
    let length = length.and_then(|length| u64::try_from(length).ok());
    length.ok_or_else(|| Fault::nonsense(doing, "the service does not tell how long the object is"))
}

/// Milliseconds since 1970.
pub(super) fn millis(time: &DateTime) -> Option<u64> {
    u64::try_from(time.to_millis().ok()?).ok()
}
