//! Hashing a body once on its way in, and refusing it at its end if it is not what the client said.
//!
//! The refusal is an error of the body itself, so a store that was reading it has stored nothing.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use futures::Stream;
use futures::stream::BoxStream;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh64::Xxh64;

use super::error::{Error, Result};
use super::types::{Claims, Upload};
use crate::backend::{Body, BodyError};
use crate::model::{ChecksumAlgorithm, ContentHeaders, ETag, Identity, Parts};

/// What was computed over a whole body.
#[derive(Clone, Debug)]
pub(super) struct Digests {
    pub size: u64,
    pub md5: [u8; 16],
    pub crc64: u64,
    /// In each algorithm that the claims name.
    pub checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
}

impl Digests {
    /// What S3 says of these bytes as an object of a single PUT, of which nothing else is known.
    pub fn identity(&self) -> Identity {
        Identity {
            size: self.size,
            etag: ETag::of_md5(self.md5),
            parts: Parts::Single,
            crc64: self.crc64,
            checksum: None,
            headers: ContentHeaders::default(),
            metadata: Vec::new(),
            tags: Vec::new(),
        }
    }
}

/// Where the verdict on a body is found once it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Receipt(Arc<Mutex<Option<Result<Digests>>>>);

impl Receipt {
    /// The digests of a body that ended well, or why it was refused. Where it broke off before its end, whoever sent it
    /// knows why.
    pub fn take(&self) -> Result<Digests> {
        let verdict = self.0.lock().expect("nothing panics while it holds the verdict").take();
        verdict.unwrap_or(Err(Error::BodyRefused))
    }
}

/// The body to give to a store, and where its digests will be.
pub(super) fn verified(upload: Upload) -> (Body, Receipt) {
    let receipt = Receipt::default();
    let size = upload.body.size;
    let algorithms = algorithms(&upload.claims);
    let stream = Verified {
        inner: upload.body.stream,
        announced: size,
        hashers: Some(Hashers::new(&algorithms)),
        claims: Some(upload.claims),
        receipt: receipt.clone(),
    };
    (Body::new(size, stream), receipt)
}

fn algorithms(claims: &Claims) -> Vec<ChecksumAlgorithm> {
    let mut all: Vec<_> = claims.checksums.iter().map(|(algorithm, _)| *algorithm).collect();
    all.extend(claims.compute.filter(|algorithm| !all.contains(algorithm)));
    all
}

struct Verified {
    inner: BoxStream<'static, Result<Bytes, BodyError>>,
    announced: Option<u64>,
    /// Taken at the end, like the claims.
    hashers: Option<Hashers>,
    claims: Option<Claims>,
    receipt: Receipt,
}

impl Stream for Verified {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(hashers) = &mut this.hashers else { return Poll::Ready(None) };
        match std::task::ready!(this.inner.as_mut().poll_next(cx)) {
            Some(Ok(chunk)) => {
                hashers.update(&chunk);
                Poll::Ready(Some(Ok(chunk)))
            }
            Some(Err(err)) => {
                this.hashers = None;
                Poll::Ready(Some(Err(err)))
            }
            None => Poll::Ready(this.end()),
        }
    }
}

impl Verified {
    /// The verdict goes to the receipt; a refused body ends in an error.
    fn end(&mut self) -> Option<Result<Bytes, BodyError>> {
        let digests = self.hashers.take()?.finish();
        let claims = self.claims.take()?;
        let verdict = check(self.announced, claims, &digests).map(|()| digests);
        let refused = verdict.is_err();
        *self.receipt.0.lock().expect("nothing panics while it holds the verdict") = Some(verdict);
        refused.then_some(Err(BodyError::Refused))
    }
}

fn check(announced: Option<u64>, claims: Claims, digests: &Digests) -> Result<()> {
    if let Some(announced) = announced.filter(|announced| *announced != digests.size) {
        return Err(Error::IncompleteBody(format!("{announced} bytes were announced, {} came", digests.size)));
    }
    if claims.md5.is_some_and(|md5| md5 != digests.md5) {
        return Err(Error::BadContentMd5 { size: digests.size });
    }
    let trailing = claims.trailer.map_or(Ok(Vec::new()), |read| read())?;
    for (algorithm, claimed) in claims.checksums.iter().chain(&trailing) {
        let computed = digests.checksum(*algorithm).ok_or_else(|| {
            Error::InvalidRequest(format!("a {} checksum came behind the body without being announced", algorithm.name()))
        })?;
        if computed != claimed {
            return Err(Error::BadChecksum { algorithm: *algorithm, computed: BASE64.encode(computed) });
        }
    }
    Ok(())
}

impl Digests {
    pub fn checksum(&self, algorithm: ChecksumAlgorithm) -> Option<&Vec<u8>> {
        self.checksums.iter().find(|(one, _)| *one == algorithm).map(|(_, value)| value)
    }
}

struct Hashers {
    size: u64,
    md5: Md5,
    crc64: crc_fast::Digest,
    more: Vec<(ChecksumAlgorithm, Hasher)>,
}

impl Hashers {
    fn new(algorithms: &[ChecksumAlgorithm]) -> Self {
        let more = algorithms.iter().map(|algorithm| (*algorithm, Hasher::new(*algorithm))).collect();
        Self { size: 0, md5: Md5::new(), crc64: crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme), more }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.md5.update(bytes);
        self.crc64.update(bytes);
        for (_, hasher) in &mut self.more {
            hasher.update(bytes);
        }
    }

    fn finish(self) -> Digests {
        let crc64 = self.crc64.finalize();
        let finish = |(algorithm, hasher): (_, Hasher)| (algorithm, hasher.finish(crc64));
        let checksums = self.more.into_iter().map(finish).collect();
        Digests { size: self.size, md5: self.md5.finalize().into(), crc64, checksums }
    }
}

/// One additional checksum in the making.
enum Hasher {
    /// A CRC of 32 bits.
    Crc32(crc_fast::Digest),
    /// Computed for every body anyway.
    Crc64,
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
    Md5(Md5),
    XxHash64(Xxh64),
    XxHash3(Box<Xxh3>),
    XxHash128(Box<Xxh3>),
}

impl Hasher {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc32 => Self::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            ChecksumAlgorithm::Crc32c => Self::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
            ChecksumAlgorithm::Crc64Nvme => Self::Crc64,
            ChecksumAlgorithm::Sha1 => Self::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            ChecksumAlgorithm::Sha512 => Self::Sha512(Sha512::new()),
            ChecksumAlgorithm::Md5 => Self::Md5(Md5::new()),
            ChecksumAlgorithm::XxHash64 => Self::XxHash64(Xxh64::new(0)),
            ChecksumAlgorithm::XxHash3 => Self::XxHash3(Box::default()),
            ChecksumAlgorithm::XxHash128 => Self::XxHash128(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(digest) => digest.update(bytes),
            Self::Crc64 => {}
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha512(digest) => digest.update(bytes),
            Self::Md5(digest) => digest.update(bytes),
            Self::XxHash64(digest) => digest.update(bytes),
            Self::XxHash3(digest) | Self::XxHash128(digest) => digest.update(bytes),
        }
    }

    fn finish(self, crc64: u64) -> Vec<u8> {
        match self {
            Self::Crc32(digest) => (digest.finalize() as u32).to_be_bytes().to_vec(),
            Self::Crc64 => crc64.to_be_bytes().to_vec(),
            Self::Sha1(digest) => digest.finalize().to_vec(),
            Self::Sha256(digest) => digest.finalize().to_vec(),
            Self::Sha512(digest) => digest.finalize().to_vec(),
            Self::Md5(digest) => digest.finalize().to_vec(),
            Self::XxHash64(digest) => digest.digest().to_be_bytes().to_vec(),
            Self::XxHash3(digest) => digest.digest().to_be_bytes().to_vec(),
            Self::XxHash128(digest) => digest.digest128().to_be_bytes().to_vec(),
        }
    }
}

/// The checksum of bytes held in memory, as S3 writes it before base64.
pub fn checksum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    let mut hashers = Hashers::new(&[algorithm]);
    hashers.update(bytes);
    hashers.finish().checksums.remove(0).1
}

/// The checksum of checksums that S3 gives a composite object.
pub(super) fn composite(algorithm: ChecksumAlgorithm, parts: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut hasher = Hasher::new(algorithm);
    parts.for_each(|part| hasher.update(part.as_ref()));
    hasher.finish(0)
}

/// The MD5 of MD5s that a multipart ETag is made of.
pub(super) fn md5_of<'a>(md5s: impl Iterator<Item = &'a [u8; 16]>) -> [u8; 16] {
    let mut md5 = Md5::new();
    md5s.for_each(|one| md5.update(one));
    md5.finalize().into()
}

/// The full-object CRC of parts, from theirs; `None` for algorithms that cannot be combined.
pub(super) fn combined(algorithm: ChecksumAlgorithm, parts: impl Iterator<Item = (u64, Vec<u8>)>) -> Option<Vec<u8>> {
    let crc = match algorithm {
        ChecksumAlgorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        ChecksumAlgorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        ChecksumAlgorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        _ => return None,
    };
    let number = |value: &[u8]| value.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mut sum = crc_fast::checksum(crc, b"");
    for (size, value) in parts {
        sum = crc_fast::checksum_combine(crc, sum, number(&value), size);
    }
    let bytes = sum.to_be_bytes();
    Some(bytes[bytes.len() - algorithm.value_len()..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hex;

    fn upload(bytes: &'static [u8], claims: Claims) -> Upload {
        Upload { body: Body::from(Bytes::from_static(bytes)), claims }
    }

    async fn verdict(upload: Upload) -> (bool, Result<Digests>) {
        let (body, receipt) = verified(upload);
        (body.collect(100).await.is_ok(), receipt.take())
    }

    #[tokio::test]
    async fn every_algorithm_computes_what_is_published() {
        let claims = |algorithm| Claims { compute: Some(algorithm), ..Default::default() };
        let published = [
            (ChecksumAlgorithm::Crc32, "cbf43926"),
            (ChecksumAlgorithm::Crc32c, "e3069283"),
            (ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888"),
            (ChecksumAlgorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (ChecksumAlgorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
            (
                ChecksumAlgorithm::Sha512,
                "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
            ),
            (ChecksumAlgorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (ChecksumAlgorithm::XxHash64, "8cb841db40e6ae83"),
        ];
        for (algorithm, value) in published {
            let digests = verdict(upload(b"123456789", claims(algorithm))).await.1.unwrap();
            assert_eq!(hex(digests.checksum(algorithm).unwrap()), value);
            assert_eq!(hex(&digests.md5), "25f9e794323b453885f5181f1b624d0b");
        }
        // Published for no bytes at all.
        for (algorithm, value) in [
            (ChecksumAlgorithm::XxHash64, "ef46db3751d8e999"),
            (ChecksumAlgorithm::XxHash3, "2d06800538d394c2"),
            (ChecksumAlgorithm::XxHash128, "99aa06d3014798d86001c324468d497f"),
        ] {
            assert_eq!(hex(&checksum(algorithm, b"")), value);
            assert_eq!(checksum(algorithm, b"x").len(), algorithm.value_len());
        }
    }

    #[tokio::test]
    async fn a_body_that_is_not_what_was_claimed_ends_in_an_error() {
        let wrong = vec![0; 4];
        let header = Claims { checksums: vec![(ChecksumAlgorithm::Crc32, wrong.clone())], ..Default::default() };
        let trailer = Claims {
            compute: Some(ChecksumAlgorithm::Crc32),
            trailer: Some(Box::new(|| Ok(vec![(ChecksumAlgorithm::Crc32, wrong)]))),
            ..Default::default()
        };
        for claims in [header, trailer] {
            let (ended_well, verdict) = verdict(upload(b"123456789", claims)).await;
            assert!(!ended_well);
            assert!(matches!(verdict, Err(Error::BadChecksum { .. })));
        }
        let md5 = Claims { md5: Some([0; 16]), ..Default::default() };
        assert!(matches!(verdict(upload(b"1", md5)).await, (false, Err(Error::BadContentMd5 { size: 1 }))));
    }

    #[tokio::test]
    async fn a_short_body_is_refused() {
        let mut short = upload(b"123", Claims::default());
        short.body.size = Some(4);
        assert!(matches!(verdict(short).await, (false, Err(Error::IncompleteBody(_)))));
    }

    #[test]
    fn crcs_of_parts_combine_to_that_of_the_whole() {
        for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
            let of = |bytes: &[u8]| checksum(algorithm, bytes);
            let parts = [b"1234".as_slice(), b"567", b"", b"89"].map(|part| (part.len() as u64, of(part)));
            assert_eq!(combined(algorithm, parts.into_iter()), Some(of(b"123456789")));
        }
    }
}
