//! Single blobs: stored whole, looked at, read and removed.

use std::num::NonZero;
use std::ops::Range;

use azure_core::http::headers::HeaderName;
use azure_core::http::{AsyncResponseBody, Body};
use azure_storage_blob::models::{BlobClientDeleteOptions, BlockBlobClientUploadOptions, DeleteSnapshotsOptionType};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};

use super::attributes::{spelled, with_headers};
use super::body::Cut;
use super::error::{broken_body, fault};
use super::told::{Condition, told};
use super::{Azure, PUT_BYTES_MAX};
use crate::backend::service::{Answer, Fault, Only, Opened, Outgoing, Spot, Target, Told, first_byte};

impl Azure {
    pub(super) async fn put_whole(&self, to: &Target, body: Body) -> Answer<()> {
        let doing = "storing a blob";
        let options = BlockBlobClientUploadOptions {
            metadata: Some(spelled(&to.metadata)),
            // What is larger goes up in blocks, which is not for the crate to decide.
            partition_size: NonZero::new(PUT_BYTES_MAX),
            ..with_headers!(BlockBlobClientUploadOptions, to.headers)
        };
        self.client.blob(&to.spot)?.upload(body.into(), Some(options)).await.map(drop).map_err(fault(doing))
    }

    pub(super) async fn put_outgoing(&self, to: &Target, body: Outgoing) -> Answer<()> {
        let mut cut = Cut::new(body);
        if let Some(piece) = cut.next(PUT_BYTES_MAX) {
            return self.put_whole(to, piece.into()).await;
        }
        cut.end().await.map_err(|err| Fault::unsent("storing a blob", &err))?;
        self.put_whole(to, Body::from(Bytes::new())).await
    }

    pub(super) async fn look_at_blob(&self, at: &Spot) -> Answer<Told> {
        let doing = "looking at a blob";
        let answer = self.client.blob(at)?.get_properties(None).await.map_err(fault(doing))?;
        told(doing, answer.headers())
    }

    pub(super) async fn open_blob(&self, at: &Spot, range: Option<&Range<u64>>) -> Answer<Opened> {
        let doing = "reading a blob";
        let (_, headers, body) = self.client.read(doing, at, range).await?.deconstruct();
        let first = match headers.get_optional_str(&HeaderName::from_static("content-range")) {
            Some(range) => first_byte(range).ok_or_else(|| Fault::nonsense(doing, format!("a range of {range:?}")))?,
            None => 0,
        };
        Ok(Opened { told: told(doing, &headers)?, first, stream: chunks(body) })
    }

    pub(super) async fn remove_blob(&self, at: &Spot, only: Only<'_>) -> Answer<()> {
        let doing = "removing a blob";
        let Condition { if_match, if_none_match } = Condition::of(doing, only)?;
        let options = BlobClientDeleteOptions {
            // Snapshots are others' work, and keep a blob from being removed.
            delete_snapshots: Some(DeleteSnapshotsOptionType::Include),
            if_match,
            if_none_match,
            ..BlobClientDeleteOptions::default()
        };
        self.client.blob(at)?.delete(Some(options)).await.map(drop).map_err(fault(doing))
    }
}

/// A body as it comes.
fn chunks(body: AsyncResponseBody) -> BoxStream<'static, Result<Bytes, String>> {
    body.map(|chunk| chunk.map_err(|err| broken_body(&err))).boxed()
}
