//! The fields of a form, up to its file: in lower case, each once, bounded together.

use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use s3s::dto::Tagging;
use s3s::xml::{Deserialize, Deserializer};
use s3s::{S3Error, S3Result};
use s3s_multipart::{Error as Broken, Multipart, Part, parse_content_disposition};

use crate::s3::{error, uri};

/// Fields of one form.
const FIELDS_MAX: usize = 100;
/// What may stand behind the file, bytes: buttons, mostly.
const REST_BYTES_MAX: usize = 16 << 10;

/// In every field it stands for the name that the file had.
const FILENAME: &str = "${filename}";
/// Fields that are what they are.
const NEVER_FILLED_IN: [&str; 4] = ["policy", "signature", "x-amz-signature", "awsaccesskeyid"];

/// Fields that are headers of a PUT.
const HEADERS: [&str; 10] = [
    "cache-control",
    "content-type",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "expires",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-sdk-checksum-algorithm",
];
/// And all that begin so. Of others the PUT would become something else, such as a copy.
const HEADER_PREFIXES: [&str; 4] = ["x-amz-meta-", "x-amz-checksum-", "x-amz-server-side-encryption", "x-amz-object-lock-"];
/// The signature is checked here, and its words mean nothing in a PUT.
const OF_SIGNATURE: [&str; 5] = ["x-amz-signature", "x-amz-credential", "x-amz-algorithm", "x-amz-date", "x-amz-security-token"];

/// The body of a form.
pub trait Source: Stream<Item = Result<Bytes, Broken>> + Send + Unpin {}

impl<S: Stream<Item = Result<Bytes, Broken>> + Send + Unpin> Source for S {}

/// What a form says beside its file.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub fn add(&mut self, name: &str, value: String) -> S3Result<()> {
        let name = name.to_ascii_lowercase();
        if self.get(&name).is_some() {
            return Err(error::invalid_argument(format!("The form has the field {name:?} more than once")));
        }
        if self.0.len() >= FIELDS_MAX {
            return Err(error::form_too_large());
        }
        self.0.push((name, value));
        Ok(())
    }

    /// Puts in what the client calls the file, wherever a field asks for it.
    pub fn fill_in(&mut self, file_name: &str) {
        // Some browsers send the whole path.
        let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        for (field, value) in &mut self.0 {
            if !NEVER_FILLED_IN.contains(&field.as_str()) && value.contains(FILENAME) {
                *value = value.replace(FILENAME, name);
            }
        }
    }

    /// The headers that a PUT of the same would have.
    pub fn headers(&self) -> S3Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (field, value) in &self.0 {
            let is_header = HEADERS.contains(&field.as_str()) || HEADER_PREFIXES.iter().any(|prefix| field.starts_with(prefix));
            let (name, value) = match field.as_str() {
                "acl" => ("x-amz-acl", value.clone()),
                "tagging" => ("x-amz-tagging", tags(value)?),
                name if is_header => (name, value.clone()),
                name if name.starts_with("x-amz-") && !OF_SIGNATURE.contains(&name) => return Err(error::not_implemented(name)),
                _ => continue,
            };
            let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable(field))?;
            let value = http::HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unusable(field))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    #[cfg(test)]
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

fn unusable(field: &str) -> S3Error {
    error::invalid_argument(format!("The value of the form field {field:?} cannot be used"))
}

/// Tags as a header has them, of the document that a form has.
fn tags(document: &str) -> S3Result<String> {
    let tagging = Tagging::deserialize(&mut Deserializer::new(document.as_bytes())).map_err(|_| error::malformed_xml())?;
    let mut pairs = Vec::new();
    for tag in tagging.tag_set {
        let name = tag.key.ok_or_else(error::malformed_xml)?;
        let value = tag.value.unwrap_or_default();
        pairs.push(format!("{}={}", uri::encode(&name), uri::encode(&value)));
    }
    Ok(pairs.join("&"))
}

/// What a part is called, and what the client calls the file in it.
pub async fn names<S: Source>(part: &mut Part<'_, S>) -> S3Result<(String, String)> {
    let mut found = None;
    while let Some(header) = part.next_header().await.map_err(broken)? {
        if header.name.eq_ignore_ascii_case("content-disposition") {
            found = parse_content_disposition(header.value).and_then(|said| {
                let name = std::str::from_utf8(said.name?).ok()?.to_owned();
                let file_name = std::str::from_utf8(said.file_name.unwrap_or_default()).ok()?.to_owned();
                Some((name, file_name))
            });
        }
    }
    found.ok_or_else(error::malformed_form)
}

/// The value of a field, taken from what `left` allows.
pub async fn text<S: Source>(part: &mut Part<'_, S>, left: &mut usize) -> S3Result<String> {
    let mut bytes = Vec::new();
    while let Some(piece) = part.next_data().await.map_err(broken)? {
        *left = left.checked_sub(piece.len()).ok_or_else(error::form_too_large)?;
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).map_err(|_| error::malformed_form())
}

/// Reads what stands behind the file, which means nothing, so that the connection can go on; not without end.
pub async fn skip_rest<S: Source>(form: &mut Multipart<S>) {
    let mut left = REST_BYTES_MAX;
    while let Ok(Some(mut part)) = form.next_part().await {
        if text(&mut part, &mut left).await.is_err() {
            return;
        }
    }
}

/// Why the bytes of a form make no form.
pub fn broken(err: Broken) -> S3Error {
    match err {
        Broken::StreamReadFailed(err) => error::from_stream(err.as_ref()),
        Broken::HeaderSizeExceeded { .. } => error::form_too_large(),
        _ => error::malformed_form(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_name_is_put_in_without_its_directories_and_never_into_what_is_signed() {
        for (sent, name) in
            [("a.txt", "a.txt"), ("/home/me/a.txt", "a.txt"), ("C:\\me\\a.txt", "a.txt"), ("../..", ".."), ("", "")]
        {
            let mut fields =
                Fields::of(&[("key", "u/${filename}"), ("policy", "${filename}"), ("x-amz-meta-f", "<${filename}>")]);
            fields.fill_in(sent);
            assert_eq!(fields.get("key"), Some(format!("u/{name}").as_str()), "{sent}");
            assert_eq!(fields.get("policy"), Some("${filename}"));
            assert_eq!(fields.get("x-amz-meta-f"), Some(format!("<{name}>").as_str()));
        }
    }

    #[test]
    fn fields_become_the_headers_of_a_put_and_nothing_more_than_that() {
        let tagging = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag></TagSet></Tagging>";
        let fields = Fields::of(&[
            ("key", "k"),
            ("acl", "private"),
            ("content-type", "text/plain"),
            ("x-amz-meta-colour", "grün"),
            ("tagging", tagging),
            ("x-amz-date", "20260101T000000Z"),
            ("success_action_status", "201"),
            ("x-ignore-this", "1"),
        ]);
        let headers = fields.headers().unwrap();
        assert_eq!(headers.len(), 4);
        assert_eq!(headers["x-amz-acl"], "private");
        assert_eq!(headers["x-amz-tagging"], "a%20b=1%262");
        assert_eq!(headers["x-amz-meta-colour"].as_bytes(), "grün".as_bytes());
    }

    #[test]
    fn a_form_cannot_be_made_something_else_than_an_upload() {
        let code = |field, value| Fields::of(&[(field, value)]).headers().unwrap_err().code().as_str().to_owned();
        for field in ["x-amz-copy-source", "x-amz-rename-source", "x-amz-content-sha256", "x-amz-decoded-content-length"] {
            assert_eq!(code(field, "/bucket/secret"), "NotImplemented", "{field}");
        }
        assert_eq!(code("x-amz-meta-a", "1\r\nx-amz-acl: public-read"), "InvalidArgument");
        assert_eq!(code("tagging", "<Tagging>"), "MalformedXML");
    }

    #[test]
    fn a_field_counts_once() {
        let mut fields = Fields::default();
        fields.add("Key", "a".into()).unwrap();
        assert_eq!(fields.add("kEY", "b".into()).unwrap_err().code().as_str(), "InvalidArgument");
        for number in 1..FIELDS_MAX {
            fields.add(&format!("x-ignore-{number}"), String::new()).unwrap();
        }
        assert_eq!(fields.add("x-ignore-more", String::new()).unwrap_err().code().as_str(), "MaxPostPreDataLengthExceededError");
    }
}
