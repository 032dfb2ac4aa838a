//! The S3 identity of an object: everything a client can see of it, whatever the store can or cannot carry.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};

/// An ETag without its quotes: the hex MD5 of a single PUT, `md5(md5s)-N` of a multipart one.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ETag(Box<str>);

impl ETag {
    pub fn new(value: impl Into<Box<str>>) -> Self {
        Self(value.into())
    }

    /// The ETag that another S3 service tells; `None` of what no S3 client would take for one. Without its quotes, or with them.
    pub fn told(value: &str) -> Option<Self> {
        let value = value.trim_matches('"');
        let (md5, parts) = value.split_once('-').map_or((value, None), |(md5, parts)| (md5, Some(parts)));
        let is_md5 = md5.len() == 32 && md5.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_counted = parts.is_none_or(|parts| parts.parse().is_ok_and(is_part_number));
        (is_md5 && is_counted).then(|| Self::new(value))
    }

    /// The ETag of bytes stored by one PUT.
    pub fn of_md5(md5: [u8; 16]) -> Self {
        Self(hex(&md5).into())
    }

    /// The ETag of `parts` parts, given the MD5 of their concatenated MD5s.
    pub fn of_parts(md5_of_md5s: [u8; 16], parts: usize) -> Self {
        Self(format!("{}-{parts}", hex(&md5_of_md5s)).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Headers that S3 stores and gives back as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentHeaders {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_disposition: Option<String>,
    pub content_language: Option<String>,
    pub cache_control: Option<String>,
    /// As the client wrote it, legal date or not.
    pub expires: Option<String>,
    pub website_redirect_location: Option<String>,
    /// `None` is STANDARD.
    pub storage_class: Option<String>,
}

/// What S3 says of bytes whose type nobody said.
pub const UNSAID_CONTENT_TYPE: &str = "binary/octet-stream";

/// A Content-Encoding as it counts for a body that is stored: `aws-chunked` tells how it travelled, not what it is.
pub fn without_chunking(encoding: &str) -> Option<String> {
    if !encoding.contains("aws-chunked") {
        return Some(encoding.to_owned());
    }
    let kept: Vec<_> = encoding.split(',').map(str::trim).filter(|token| !token.is_empty() && *token != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

/// User metadata: names in the case they came in, in the order they came in.
pub type Metadata = Vec<(String, String)>;

/// Tags: at most ten, distinct names.
pub type Tags = Vec<(String, String)>;

/// What whoever stored an object said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Described {
    pub headers: ContentHeaders,
    pub metadata: Metadata,
    pub tags: Tags,
}

impl Described {
    /// Metadata of a store that does not keep its order, and no tags.
    pub fn unordered(headers: ContentHeaders, metadata: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut metadata: Vec<_> = metadata.into_iter().collect();
        metadata.sort();
        Self { headers, metadata, tags: Tags::new() }
    }
}

/// How an object was cut into parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parts {
    /// One PUT.
    #[default]
    Single,
    /// `count` parts, described by rows of `partmaps`: 10,000 parts do not live in the record.
    Mapped { count: u16 },
}

/// One part of a multipart object, as its part map keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    /// The number it was uploaded under, 1..=10,000; ascending, gaps allowed.
    pub number: u16,
    /// Bytes.
    pub size: u64,
    /// In the object's checksum algorithm, where the upload had one.
    pub checksum: Option<Vec<u8>>,
}

/// Highest number of a part.
pub const PART_NUMBER_MAX: u16 = 10_000;

/// Whether a part can have this number.
pub fn is_part_number(number: u16) -> bool {
    (1..=PART_NUMBER_MAX).contains(&number)
}

/// What S3 clients see of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Bytes.
    pub size: u64,
    pub etag: ETag,
    pub parts: Parts,
    /// CRC-64/NVME of all bytes: what reads and replication verify against.
    pub crc64: u64,
    /// The checksum the client chose; where it chose none, S3 shows the CRC-64/NVME.
    pub checksum: Option<Checksum>,
    pub headers: ContentHeaders,
    pub metadata: Metadata,
    pub tags: Tags,
}

impl Identity {
    /// Of a delete marker, which has no bytes and shows nothing.
    pub fn of_marker() -> Self {
        Self {
            size: 0,
            etag: ETag::new(""),
            parts: Parts::Single,
            crc64: 0,
            checksum: None,
            headers: ContentHeaders::default(),
            metadata: Metadata::new(),
            tags: Tags::new(),
        }
    }

    /// The checksum S3 shows: the client's choice, else the CRC-64/NVME.
    pub fn shown_checksum(&self) -> Checksum {
        self.checksum.clone().unwrap_or_else(|| Checksum {
            algorithm: ChecksumAlgorithm::Crc64Nvme,
            kind: ChecksumKind::FullObject,
            value: self.crc64.to_be_bytes().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_services_etag_is_taken_where_it_looks_like_one() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        for told in [md5.to_owned(), format!("\"{md5}\""), format!("{md5}-1"), format!("\"{md5}-10000\"")] {
            assert_eq!(ETag::told(&told).unwrap().as_str(), told.trim_matches('"'));
        }
        let upper = md5.to_uppercase();
        for other in ["", "0x8D", &md5[1..], &upper, &format!("{md5}-"), &format!("{md5}-0"), &format!("{md5}-1-2")] {
            assert_eq!(ETag::told(other), None, "{other}");
        }
    }
}
