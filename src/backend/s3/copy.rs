//! Copies that the service makes: in one call, or in parts where that would be too much for one.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::types::MetadataDirective;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use tokio::time::timeout;

use super::attributes::stored_with;
use super::error::ask;
use super::uploads::PartName;
use super::{REQUEST_BYTES_MAX, S3};
use crate::backend::service::{Answer, Fault, Only, PartAt, Spot, Target, Told, UploadAt};

/// For the service to copy or to put together an object.
pub(super) const COPY_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// All but letters, digits, `-._~` and slashes.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// What a service copies as a part.
const COPY_PART_BYTES: u64 = 1 << 30;

/// Awaits an answer of a call that may take minutes.
pub(super) async fn patiently<T>(doing: &'static str, call: impl Future<Output = Answer<T>>) -> Answer<T> {
    timeout(COPY_PATIENCE, call).await.unwrap_or_else(|_| Err(Fault::late(doing)))
}

impl S3 {
    /// The whole of an object, marked anew. What it was when it was looked at, or nothing.
    pub(super) async fn copy_object(&self, from: &Spot, seen: &Told, to: &Target, only: Only<'_>) -> Answer<()> {
        if seen.size > REQUEST_BYTES_MAX {
            return self.copy_parts(from, seen, 0..seen.size, (to, only)).await;
        }
        let doing = "copying an object";
        let request = self.caller.client().copy_object().bucket(&to.spot.bucket).key(&to.spot.name);
        let request = request.copy_source(source(from)).set_copy_source_if_match(seen.etag.clone());
        let request = stored_with!(request.metadata_directive(MetadataDirective::Replace), to);
        let request = request.set_if_match(only.etag()).set_if_none_match(only.none_match());
        let copied = patiently(doing, ask(doing, request.send())).await?;
        match copied.copy_object_result {
            Some(_) => Ok(()),
            None => Err(Fault::nonsense(doing, "the service does not say what it copied")),
        }
    }

    pub(super) async fn copy_parts(
        &self,
        from: &Spot,
        seen: &Told,
        range: Range<u64>,
        (to, only): (&Target, Only<'_>),
    ) -> Answer<()> {
        let upload = UploadAt { target: to.clone(), id: self.create_multipart_copy(to).await? };
        let copied = match self.copy_each(from, seen, range, &upload).await {
            Ok(parts) => self.complete_multipart_upload(&upload, &parts, only).await,
            Err(fault) => Err(fault),
        };
        if copied.is_err() {
            // What cannot be given up stays until the service's own rules remove it.
            let _ = self.abort_multipart_upload(&upload).await;
        }
        copied
    }

    async fn copy_each(&self, from: &Spot, seen: &Told, range: Range<u64>, upload: &UploadAt) -> Answer<Vec<PartAt>> {
        let (mut at, mut parts) = (range.start, Vec::new());
        while at < range.end {
            // No part is left that would be too small for one in the middle.
            let end = if range.end - at <= 2 * COPY_PART_BYTES { range.end } else { at + COPY_PART_BYTES };
            let number = u16::try_from(parts.len() + 1).unwrap_or(u16::MAX);
            let tag = self.copy_part((from, seen), at..end, upload, number).await?;
            parts.push(PartAt { number, tag });
            at = end;
        }
        Ok(parts)
    }

    async fn copy_part(&self, (from, seen): (&Spot, &Told), range: Range<u64>, upload: &UploadAt, number: u16) -> Answer<String> {
        let (doing, spot) = ("copying a part", &upload.target.spot);
        let range = format!("bytes={}-{}", range.start, range.end - 1);
        let request = self.caller.client().upload_part_copy().bucket(&spot.bucket).key(&spot.name).upload_id(&upload.id);
        let request = request.part_number(number.into()).copy_source(source(from)).copy_source_range(range);
        let call = request.set_copy_source_if_match(seen.etag.clone()).send();
        let part = match patiently(doing, ask(doing, call)).await {
            Ok(answer) => answer.copy_part_result,
            Err(fault) if fault.is_unreadable() => None,
            Err(fault) => return Err(fault),
        };
        match part {
            Some(part) => Ok(PartName { etag: part.e_tag.unwrap_or_default(), crc32: part.checksum_crc32 }.tag()),
            None => self.listed_part(upload, number).await,
        }
    }

    /// A part as a listing has it. S3Proxy answers a copy of one as it answers that of an object, which nobody reads.
    async fn listed_part(&self, upload: &UploadAt, number: u16) -> Answer<String> {
        let (doing, spot) = ("listing parts", &upload.target.spot);
        let request = self.caller.client().list_parts().bucket(&spot.bucket).key(&spot.name).upload_id(&upload.id);
        let request = request.part_number_marker((number - 1).to_string()).max_parts(1);
        let listed = ask(doing, request.send()).await?;
        let part = listed.parts().iter().find(|part| part.part_number() == Some(number.into()));
        let part = part.ok_or_else(|| Fault::nonsense(doing, "the service does not say what it copied"))?;
        let crc32 = part.checksum_crc32().map(str::to_owned);
        Ok(PartName { etag: part.e_tag().unwrap_or_default().to_owned(), crc32 }.tag())
    }
}

/// An object as the service wants it named.
fn source(spot: &Spot) -> String {
    let version = spot.version.as_ref().map(|version| format!("?versionId={}", encoded(version)));
    format!("{}/{}{}", spot.bucket, encoded(&spot.name), version.unwrap_or_default())
}

/// A name as a path has it.
fn encoded(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, ENCODED)
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn a_source_is_named_by_its_bytes() {
        assert_eq!(encoded("a/b c+é%#~").to_string(), "a/b%20c%2B%C3%A9%25%23~");
    }
}
