//! ListObjects and ListObjectsV2.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::{Face, acl, convert, documents, error, sites, uri, xml};
use crate::model::{Bucket, Record};
use crate::status::{ListEntry, ListPage, ListQuery};

const KEYS_MAX: usize = 1000;

/// Where a listing goes on, opaque to clients: they hand back what they were given.
pub struct Token;

impl Token {
    pub fn write(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("1{text}"))
    }

    pub fn read(token: &str) -> S3Result<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.as_deref().and_then(|text| text.strip_prefix('1')).map(str::to_owned);
        text.ok_or_else(|| error::invalid_argument("The continuation token provided is incorrect"))
    }
}

/// How names are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub fn of(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(_) => Err(error::invalid_argument("Invalid Encoding Method specified in Request")),
        }
    }

    pub fn show(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Url => uri::encode(text),
        }
    }

    pub fn shown(self) -> Option<EncodingType> {
        (self == Self::Url).then(|| EncodingType::from_static(EncodingType::URL))
    }
}

/// What the kinds of listing share.
pub struct Asked<'a> {
    pub bucket: &'a str,
    pub prefix: Option<&'a str>,
    pub delimiter: Option<&'a str>,
    pub after: Option<String>,
    pub max_keys: Option<i32>,
}

/// One page, and how many entries it may have. Zero asks for nothing and gets no promise of more.
pub async fn page(face: &Face, asked: Asked<'_>) -> S3Result<(ListPage, usize)> {
    let query = query(asked)?;
    let entries_max = query.entries_max;
    let mut page = face.site.list(query).await.map_err(error::from_site)?;
    if entries_max == 0 {
        page = ListPage::default();
    }
    Ok((page, entries_max))
}

/// Which keys are asked for.
pub fn query(asked: Asked<'_>) -> S3Result<ListQuery> {
    Ok(ListQuery {
        bucket: convert::bucket_name(asked.bucket)?,
        prefix: asked.prefix.unwrap_or_default().to_owned(),
        delimiter: asked.delimiter.filter(|delimiter| !delimiter.is_empty()).map(str::to_owned),
        after: asked.after.filter(|after| !after.is_empty()),
        entries_max: convert::limit(asked.max_keys, "max-keys", KEYS_MAX)?,
    })
}

fn common_prefixes(page: &ListPage, encoding: Encoding) -> Vec<CommonPrefix> {
    let prefix = |entry: &ListEntry| match entry {
        ListEntry::CommonPrefix(prefix) => Some(CommonPrefix { prefix: Some(encoding.show(prefix)) }),
        ListEntry::Object { .. } => None,
    };
    page.entries.iter().filter_map(prefix).collect()
}

/// `bucket` where owners are asked for: it owns what nobody else does.
fn objects(page: &ListPage, encoding: Encoding, bucket: Option<&Bucket>) -> Vec<Object> {
    let object = |entry: &ListEntry| match entry {
        ListEntry::Object { key, record } => {
            Some(object(key, &record.row, encoding, bucket.map(|bucket| acl::owner_of(&record.row, bucket))))
        }
        ListEntry::CommonPrefix(_) => None,
    };
    page.entries.iter().filter_map(object).collect()
}

fn object(key: &str, record: &Record, encoding: Encoding, owner: Option<&str>) -> Object {
    let identity = &record.identity;
    let checksum = record.shown_checksum();
    let class = identity.headers.storage_class.clone().unwrap_or_else(|| ObjectStorageClass::STANDARD.to_owned());
    Object {
        checksum_algorithm: checksum.as_ref().map(|sum| vec![ChecksumAlgorithm::from(sum.algorithm.name().to_owned())]),
        checksum_type: checksum.map(|sum| ChecksumType::from_static(convert::checksum_kind_name(sum.kind))),
        e_tag: Some(convert::etag(&identity.etag)),
        key: Some(encoding.show(key)),
        last_modified: Some(convert::timestamp(record.vector.data.ms())),
        owner: owner.map(convert::owner),
        size: Some(convert::size(identity.size)),
        storage_class: Some(ObjectStorageClass::from(class)),
        ..Object::default()
    }
}

/// Whether a page, shown plainly, needs our own writer.
fn is_odd(page: &ListPage, encoding: Encoding, asked: &[Option<&str>]) -> bool {
    let odd_entry = page.entries.iter().any(|entry| xml::is_odd(entry.text()));
    encoding == Encoding::Plain && odd_entry || asked.iter().flatten().any(|text| xml::is_odd(&encoding.show(text)))
}

/// ListObjects.
pub async fn v1(face: &Face, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
    sites::reach_all(&face.site, &req.headers, &req.input.bucket).await?;
    let input = req.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let (prefix, delimiter, marker) = (input.prefix.as_deref(), input.delimiter.as_deref(), input.marker.as_deref());
    let after = marker.map(str::to_owned);
    let asked = Asked { bucket: &input.bucket, prefix, delimiter, after, max_keys: input.max_keys };
    let (page, max_keys) = page(face, asked).await?;
    let bucket = documents::read(face, &input.bucket).await?;
    let odd = is_odd(&page, encoding, &[prefix, delimiter, marker]);
    let delimited = delimiter.is_some_and(|delimiter| !delimiter.is_empty());
    let next = page.entries.last().filter(|_| page.more && delimited).map(|last| encoding.show(last.text()));
    let output = ListObjectsOutput {
        contents: Some(objects(&page, encoding, Some(&bucket.row))),
        common_prefixes: Some(common_prefixes(&page, encoding)),
        delimiter: delimiter.filter(|_| delimited).map(|text| encoding.show(text)),
        encoding_type: encoding.shown(),
        is_truncated: Some(page.more),
        marker: Some(encoding.show(marker.unwrap_or_default())),
        max_keys: Some(convert::number(max_keys)),
        next_marker: next,
        prefix: Some(encoding.show(prefix.unwrap_or_default())),
        name: Some(input.bucket),
        ..ListObjectsOutput::default()
    };
    Ok(if odd { xml::replaced(&output) } else { S3Response::new(output) })
}

/// ListObjectsV2.
pub async fn v2(face: &Face, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
    sites::reach_all(&face.site, &req.headers, &req.input.bucket).await?;
    let input = req.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let (prefix, delimiter, start) = (input.prefix.as_deref(), input.delimiter.as_deref(), input.start_after.as_deref());
    let token = input.continuation_token.as_deref().filter(|token| !token.is_empty()).map(Token::read).transpose()?;
    let after = token.or_else(|| start.map(str::to_owned));
    let asked = Asked { bucket: &input.bucket, prefix, delimiter, after, max_keys: input.max_keys };
    let (page, max_keys) = page(face, asked).await?;
    let bucket = match input.fetch_owner {
        Some(true) => Some(documents::read(face, &input.bucket).await?),
        _ => None,
    };
    let odd = is_odd(&page, encoding, &[prefix, delimiter, start]);
    let output = ListObjectsV2Output {
        contents: Some(objects(&page, encoding, bucket.as_ref().map(|bucket| &bucket.row))),
        common_prefixes: Some(common_prefixes(&page, encoding)),
        continuation_token: input.continuation_token.clone(),
        delimiter: delimiter.filter(|text| !text.is_empty()).map(|text| encoding.show(text)),
        encoding_type: encoding.shown(),
        is_truncated: Some(page.more),
        key_count: Some(convert::number(page.entries.len())),
        max_keys: Some(convert::number(max_keys)),
        next_continuation_token: page.entries.last().filter(|_| page.more).map(|last| Token::write(last.text())),
        prefix: Some(encoding.show(prefix.unwrap_or_default())),
        start_after: start.map(|text| encoding.show(text)),
        name: Some(input.bucket),
        ..ListObjectsV2Output::default()
    };
    Ok(if odd { xml::replaced(&output) } else { S3Response::new(output) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_back_what_it_was_made_of_and_nothing_else() {
        for text in ["a/b", "é\u{1}", ""] {
            assert_eq!(Token::read(&Token::write(text)).unwrap(), text);
        }
        for bad in ["", "a", "!!!", "MA", "AAAA"] {
            assert_eq!(Token::read(bad).err().unwrap().code().as_str(), "InvalidArgument", "{bad}");
        }
    }

    #[test]
    fn only_url_is_an_encoding() {
        let of = |name: &str| Encoding::of(Some(&EncodingType::from(name.to_owned())));
        assert_eq!(of("url").unwrap(), Encoding::Url);
        assert!(of("URL2").is_err());
        assert_eq!(Encoding::of(None).unwrap().show("a b"), "a b");
    }
}
