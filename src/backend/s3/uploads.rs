//! Multipart uploads.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};

use super::attributes::stored_with;
use super::copy::patiently;
use super::error::ask;
use super::sum::Sum;
use super::{Checksums, S3};
use crate::backend::service::{Answer, Only, PartAt, Target, UploadAt};

/// What names a part in the list that ends an upload: its ETag, and its checksum where it was sent with one, which some
/// want to hear again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartName {
    pub etag: String,
    pub crc32: Option<String>,
}

impl PartName {
    pub fn tag(&self) -> String {
        let (etag, crc32) = (self.etag.trim_matches('"'), self.crc32.as_deref().unwrap_or_default());
        format!("{etag} {crc32}").trim_end().to_owned()
    }

    fn of(tag: &str) -> Self {
        let (etag, crc32) = tag.split_once(' ').map_or((tag, None), |(etag, crc32)| (etag, Some(crc32.to_owned())));
        Self { etag: format!("\"{etag}\""), crc32 }
    }
}

fn completed(part: &PartAt) -> CompletedPart {
    let name = PartName::of(&part.tag);
    CompletedPart::builder().part_number(part.number.into()).e_tag(name.etag).set_checksum_crc32(name.crc32).build()
}

impl S3 {
    /// Of parts that are sent, with a checksum each.
    pub(super) async fn create_multipart_upload(&self, to: &Target) -> Answer<String> {
        // Told here, or parts with another checksum than the service chose are refused.
        let algorithm = (self.settings.checksums == Checksums::Crc32).then_some(ChecksumAlgorithm::Crc32);
        self.create_upload_of(to, algorithm).await
    }

    /// Of parts that the service copies, whose checksums not every service tells.
    pub(super) async fn create_multipart_copy(&self, to: &Target) -> Answer<String> {
        self.create_upload_of(to, None).await
    }

    async fn create_upload_of(&self, to: &Target, algorithm: Option<ChecksumAlgorithm>) -> Answer<String> {
        let request = self.caller.client().create_multipart_upload().bucket(&to.spot.bucket).key(&to.spot.name);
        let request = stored_with!(request, to).set_checksum_algorithm(algorithm);
        let started = ask("starting an upload", request.send()).await?;
        Ok(started.upload_id.unwrap_or_default())
    }

    /// Bytes, how many they are, and their sum once they went.
    pub(super) async fn upload_part(
        &self,
        upload: &UploadAt,
        number: u16,
        (size, bytes): (u64, ByteStream),
        sum: &Sum,
    ) -> Answer<String> {
        let spot = &upload.target.spot;
        let request = self.caller.client().upload_part().bucket(&spot.bucket).key(&spot.name).upload_id(&upload.id);
        let request = request.part_number(number.into()).content_length(size.cast_signed()).body(bytes);
        let stored = ask("storing a part", request.send()).await?;
        let ours = || (self.settings.checksums == Checksums::Crc32).then(|| sum.text());
        Ok(PartName { etag: stored.e_tag.unwrap_or_default(), crc32: stored.checksum_crc32.or_else(ours) }.tag())
    }

    pub(super) async fn complete_multipart_upload(&self, upload: &UploadAt, parts: &[PartAt], only: Only<'_>) -> Answer<()> {
        let (doing, spot) = ("ending an upload", &upload.target.spot);
        let list = CompletedMultipartUpload::builder().set_parts(Some(parts.iter().map(completed).collect())).build();
        let request = self.caller.client().complete_multipart_upload().bucket(&spot.bucket).key(&spot.name);
        let request = request.upload_id(&upload.id).multipart_upload(list);
        let request = request.set_if_match(only.etag()).set_if_none_match(only.none_match());
        patiently(doing, ask(doing, request.send())).await.map(drop)
    }

    pub(super) async fn abort_multipart_upload(&self, upload: &UploadAt) -> Answer<()> {
        let spot = &upload.target.spot;
        let request = self.caller.client().abort_multipart_upload().bucket(&spot.bucket).key(&spot.name).upload_id(&upload.id);
        match ask("giving up an upload", request.send()).await {
            Err(fault) if fault.is(&["NoSuchUpload"]) || fault.is_missing() || fault.is_bucket_missing() => Ok(()),
            ended => ended.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_named_as_the_service_named_it() {
        for name in [("\"abc\"", None), ("\"abc\"", Some("AAAAAA=="))] {
            let name = PartName { etag: name.0.to_owned(), crc32: name.1.map(str::to_owned) };
            assert_eq!(PartName::of(&name.tag()), name);
        }
    }
}
