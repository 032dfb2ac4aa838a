//! Pages of names.

use aws_sdk_s3::types::{EncodingType, Object};

use super::S3;
use super::error::ask;
use super::objects::millis;
use crate::backend::service::{Answer, Cursor, Fault, Listed, Page};

impl S3 {
    /// Goes on behind the last name rather than by the service's token: some take their tokens for names, or lose them.
    pub(super) async fn list_objects(&self, bucket: &str, prefix: &str, from: &Cursor) -> Answer<Page> {
        self.list_some(bucket, prefix, from, None).await
    }

    pub(super) async fn list_one(&self, bucket: &str, behind: &str) -> Answer<Option<String>> {
        let page = self.list_some(bucket, "", &Cursor::Behind(behind.to_owned()), Some(1)).await?;
        Ok(page.listed.into_iter().map(|listed| listed.name).next())
    }

    async fn list_some(&self, bucket: &str, prefix: &str, from: &Cursor, names_max: Option<i32>) -> Answer<Page> {
        let doing = "listing a bucket";
        let after = match from {
            Cursor::Start => None,
            Cursor::Behind(name) | Cursor::Next(name) => Some(name.clone()),
        };
        let request = self.caller.client().list_objects_v2().bucket(bucket).encoding_type(EncodingType::Url);
        let request = request.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned())).set_start_after(after);
        let page = ask(doing, request.set_max_keys(names_max).send()).await?;
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

fn listed(object: &Object, is_encoded: bool) -> Option<Listed> {
    let name = object.key()?;
    let name = if is_encoded { decoded(name)? } else { name.to_owned() };
    let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    Some(Listed { name, told: None, size, stored_ms: object.last_modified().and_then(millis) })
}

/// A name as `encoding-type=url` has it: `+` is a space.
pub(super) fn decoded(text: &str) -> Option<String> {
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
