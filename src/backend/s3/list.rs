//! Pages of names.

use aws_sdk_s3::types::{EncodingType, Object};

use super::S3;
use super::error::ask;
use super::objects::millis;
use crate::backend::service::{Answer, Cursor, Fault, Listed, ListedVersion, Page, VersionCursor, VersionPage};

impl S3 {
    /// Goes on behind the last name rather than by the service's token: some take their tokens for names, or lose them.
    pub(super) async fn list_objects(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page> {
        let doing = "listing a bucket";
        let after = match from {
            Cursor::Start => None,
            Cursor::Behind(name) | Cursor::Next(name) => Some(name.clone()),
        };
        let request = self.caller.client().list_objects_v2().bucket(bucket).encoding_type(EncodingType::Url);
        let request = request.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned())).set_start_after(after);
        let page = ask(doing, request.send()).await?;
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        let listed: Vec<_> = page.contents().iter().filter_map(|object| listed(object, is_encoded)).collect();
        let last = listed.last().map(|listed| listed.name.clone());
        match (page.is_truncated(), last) {
            (Some(true), None) => Err(Fault::nonsense(doing, "the service lists nothing and says that there is more")),
            (Some(true), last) => Ok(Page { listed, next: last }),
            _ => Ok(Page { listed, next: None }),
        }
    }
}

impl S3 {
    /// Both kinds as one, by name and then the newest first: an answer may have them apart.
    pub(super) async fn list_object_versions(
        &self,
        bucket: &str,
        prefix: &str,
        from: Option<&VersionCursor>,
    ) -> Answer<VersionPage> {
        let doing = "listing versions";
        let request = self.caller.client().list_object_versions().bucket(bucket).encoding_type(EncodingType::Url);
        let request = request.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()));
        let request = request.set_key_marker(from.map(|from| from.name.clone()));
        let page = ask(doing, request.set_version_id_marker(from.and_then(|from| from.version.clone())).send()).await?;
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        let name = |key: Option<&str>| if is_encoded { decoded(key?) } else { key.map(str::to_owned) };
        let versions = page.versions().iter().filter_map(|version| {
            Some(ListedVersion {
                name: name(version.key())?,
                version: version.version_id()?.to_owned(),
                etag: Some(version.e_tag().unwrap_or_default().to_owned()),
                size: version.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                stored_ms: version.last_modified().and_then(millis).unwrap_or(0),
            })
        });
        let markers = page.delete_markers().iter().filter_map(|marker| {
            Some(ListedVersion {
                name: name(marker.key())?,
                version: marker.version_id()?.to_owned(),
                etag: None,
                size: 0,
                stored_ms: marker.last_modified().and_then(millis).unwrap_or(0),
            })
        });
        let latest = |is_latest: Option<bool>| is_latest != Some(true);
        let order = page.versions().iter().map(|version| latest(version.is_latest()));
        let order = order.chain(page.delete_markers().iter().map(|marker| latest(marker.is_latest())));
        let mut listed: Vec<_> = versions.chain(markers).zip(order).collect();
        listed.sort_by(|(a, a_is_old), (b, b_is_old)| {
            a.name.cmp(&b.name).then(a_is_old.cmp(b_is_old)).then(b.stored_ms.cmp(&a.stored_ms))
        });
        let next = match (page.is_truncated(), name(page.next_key_marker())) {
            (Some(true), None) => return Err(Fault::nonsense(doing, "the service does not say where the listing goes on")),
            (Some(true), Some(name)) => Some(VersionCursor { name, version: page.next_version_id_marker().map(str::to_owned) }),
            _ => None,
        };
        Ok(VersionPage { listed: listed.into_iter().map(|(listed, _)| listed).collect(), next })
    }
}

fn listed(object: &Object, is_encoded: bool) -> Option<Listed> {
    let name = object.key()?;
    let name = if is_encoded { decoded(name)? } else { name.to_owned() };
    let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    Some(Listed { name, told: None, size, stored_ms: object.last_modified().and_then(millis) })
}

/// A name as `encoding-type=url` has it: `+` is a space.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn names_are_decoded_as_they_were_encoded() {
        assert_eq!(decoded("a%2Fb+c%2B%C3%A9%01").as_deref(), Some("a/b c+é\u{1}"));
        for broken in ["%", "%1", "%zz", "%ff"] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
    }
}
