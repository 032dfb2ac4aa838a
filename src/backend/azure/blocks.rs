//! Multipart uploads: parts are blocks of the blob that they become, which is not there before they are committed.
//!
//! A block's id tells which call brought it, and a part's tag tells the ids: of two bodies of one part at once the list that
//! is committed names one, never some of each. What it does not name is dropped by the service, at the latest after a week.

use azure_core::http::Body;
use azure_storage_blob::BlockBlobClient;
use azure_storage_blob::models::{
    BlockBlobClientCommitBlockListOptions, BlockBlobClientUploadOptions, BlockListType, BlockLookupList,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::attributes::{spelled, with_headers};
use super::body::Cut;
use super::error::fault;
use super::told::bare;
use super::{Azure, BLOCK_BYTES_MAX, PART_BYTES_MAX};
use crate::backend::service::{Answer, Fault, Only, Outgoing, PartAt, Spot, Told, UploadAt};

/// What an upload is called, which has no name of its own: its blob's name says it all.
pub(super) const UPLOAD_ID: &str = "blocks";

const NONCE_BYTES: usize = 16;

/// The blocks of one part, as one call brought them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PartBlocks {
    /// Unlike that of any other call.
    nonce: [u8; NONCE_BYTES],
    /// How many; a part without bytes has none.
    pieces: u16,
}

impl PartBlocks {
    fn new(doing: &'static str) -> Answer<Self> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|err| Fault::unsent(doing, &err))?;
        Ok(Self { nonce, pieces: 0 })
    }

    /// All of a blob's ids have the same length: <https://learn.microsoft.com/rest/api/storageservices/put-block>.
    fn id(&self, number: u16, piece: u16) -> Vec<u8> {
        [self.nonce.as_slice(), &number.to_be_bytes(), &piece.to_be_bytes()].concat()
    }

    fn ids(self, number: u16) -> impl Iterator<Item = Vec<u8>> {
        (0..self.pieces).map(move |piece| self.id(number, piece))
    }

    fn tag(&self) -> String {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(self.nonce), self.pieces)
    }

    fn parse(tag: &str) -> Option<Self> {
        let (nonce, pieces) = tag.split_once('.')?;
        let nonce = URL_SAFE_NO_PAD.decode(nonce).ok()?.try_into().ok()?;
        Some(Self { nonce, pieces: pieces.parse().ok()? })
    }
}

impl Azure {
    fn blocks_of(&self, at: &Spot) -> Answer<BlockBlobClient> {
        Ok(self.client.blob(at)?.block_blob_client())
    }

    pub(super) async fn put_held_part(&self, upload: &UploadAt, number: u16, bytes: Bytes) -> Answer<String> {
        let doing = "storing a part";
        let mut blocks = PartBlocks::new(doing)?;
        let blob = self.blocks_of(&upload.target.spot)?;
        if !bytes.is_empty() {
            let (id, size) = (blocks.id(number, blocks.pieces), bytes.len() as u64);
            blob.stage_block(&id, size, bytes.into(), None).await.map_err(fault(doing))?;
            blocks.pieces += 1;
        }
        Ok(blocks.tag())
    }

    pub(super) async fn put_outgoing_part(&self, upload: &UploadAt, number: u16, body: Outgoing) -> Answer<String> {
        let doing = "storing a part";
        let mut blocks = PartBlocks::new(doing)?;
        let blob = self.blocks_of(&upload.target.spot)?;
        let mut cut = Cut::new(body);
        while let Some(piece) = cut.next(self.block_bytes_max) {
            let (id, size) = (blocks.id(number, blocks.pieces), piece.size);
            blob.stage_block(&id, size, Body::from(piece).into(), None).await.map_err(fault(doing))?;
            blocks.pieces += 1;
        }
        cut.end().await.map_err(|err| Fault::unsent(doing, &err))?;
        Ok(blocks.tag())
    }

    pub(super) async fn commit(&self, upload: &UploadAt, parts: &[PartAt]) -> Answer<()> {
        let doing = "completing an upload";
        let mut ids = Vec::with_capacity(parts.len());
        for part in parts {
            ids.extend(PartBlocks::parse(&part.tag).ok_or_else(|| unknown_part(doing, part))?.ids(part.number));
        }
        // Those that are committed already too: who does not hear the first answer asks again.
        let list = BlockLookupList { latest: Some(ids), ..BlockLookupList::default() };
        let list = list.try_into().map_err(fault(doing))?;
        let options = BlockBlobClientCommitBlockListOptions {
            metadata: Some(spelled(&upload.target.metadata)),
            ..with_headers!(BlockBlobClientCommitBlockListOptions, upload.target.headers)
        };
        let blob = self.blocks_of(&upload.target.spot)?;
        match blob.commit_block_list(list, Some(options)).await.map_err(fault(doing)) {
            // Without any block it is the upload that is not there, rather than a part.
            Err(fault) if fault.is_bad_list() => Err(self.look_at_blocks(&upload.target.spot).await.err().unwrap_or(fault)),
            answer => answer.map(drop),
        }
    }

    /// How many blocks wait for being committed; missing is a blob of which there is nothing at all.
    async fn look_at_blocks(&self, at: &Spot) -> Answer<usize> {
        let doing = "looking for parts";
        let answer = self.blocks_of(at)?.get_block_list(BlockListType::Uncommitted, None).await.map_err(fault(doing))?;
        let list = answer.into_model().map_err(fault(doing))?;
        Ok(list.uncommitted_blocks.map_or(0, |blocks| blocks.len()))
    }

    /// No call drops blocks, but a whole blob takes their place. It is there for a moment, without a mark, and never replaces
    /// what was completed.
    pub(super) async fn drop_blocks(&self, upload: &UploadAt) -> Answer<()> {
        let (doing, at) = ("giving up an upload", &upload.target.spot);
        match self.look_at_blocks(at).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(fault) if fault.is_missing() => return Ok(()),
            Err(fault) => return Err(fault),
        }
        let options = BlockBlobClientUploadOptions::default().if_not_exists();
        let etag = match self.client.blob(at)?.upload(Bytes::new().into(), Some(options)).await.map_err(fault(doing)) {
            Ok(stored) => stored.etag.map(|etag| etag.to_string()),
            Err(fault) if fault.is_refused_by_condition() => return Ok(()),
            Err(fault) => return Err(fault),
        };
        let empty = Told::new(None, etag.as_deref().map(bare), None, 0);
        match self.remove_blob(at, Only::Seen(&empty)).await {
            Err(fault) if fault.is_refused_by_condition() || fault.is_missing() => Ok(()),
            removed => removed,
        }
    }
}

fn unknown_part(doing: &'static str, part: &PartAt) -> Fault {
    let detail = format!("part {} has the tag {:?}", part.number, part.tag);
    Fault { doing, status: Some(400), code: "InvalidBlockId".to_owned(), detail }
}

/// A blob has 50,000 blocks at the most, an upload 10,000 parts.
const _: () = assert!(PART_BYTES_MAX.div_ceil(BLOCK_BYTES_MAX) * 10_000 <= 50_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_the_ids_of_its_blocks() {
        let mut one = PartBlocks::new("x").unwrap();
        one.pieces = 2;
        assert_eq!(PartBlocks::parse(&one.tag()), Some(one));
        let ids: Vec<_> = one.ids(10_000).collect();
        assert!(ids.len() == 2 && ids[0] != ids[1] && ids.iter().all(|id| id.len() == 20));
        let other = PartBlocks::new("x").unwrap();
        assert_ne!(one.id(1, 0), other.id(1, 0));
        assert_ne!(one.id(1, 0), one.id(2, 0));
        for tag in ["", "x", "x.1", "AAAA.1", ".", "AAAAAAAAAAAAAAAAAAAAAA.-1", "AAAAAAAAAAAAAAAAAAAAAA.70000"] {
            assert_eq!(PartBlocks::parse(tag), None, "{tag}");
        }
    }
}
