//! Unfinished uploads and their parts, as clients list them.

use super::Site;
use super::error::{Error, Result};
use super::multipart::{UploadKey, parse_upload_id, part_info, upload_info};
use super::types::{PartsPage, UploadsPage, UploadsQuery};
use crate::model::{BucketName, Incarnation, Key, ObjectId, WriteId};
use crate::status::Page;
use crate::status::tables::{UploadParts, UploadState, Uploads};

/// Rows read at once.
const PAGE_ROWS: usize = 1_000;

impl Site {
    /// Parts of an upload after the part number `after`, at most `parts_max`.
    pub async fn list_parts(&self, object: &ObjectId, upload_id: &str, after: u16, parts_max: usize) -> Result<PartsPage> {
        self.bucket_row(&object.bucket).await?;
        let key = (object.clone(), parse_upload_id(upload_id)?);
        let row = self.inner.status.get::<Uploads>(&key).await?.ok_or(Error::NoSuchUpload)?;
        if matches!(row.row.state, UploadState::Done { .. }) {
            return Err(Error::NoSuchUpload);
        }
        let page: Page<UploadParts> = self.inner.status.page(&key.1, Some(&(key.1, after)), parts_max.max(1)).await?;
        let parts = page.rows.iter().take(parts_max).map(|((_, number), part)| part_info(*number, &part.row)).collect();
        Ok(PartsPage { upload: upload_info(&key, &row.row), parts, more: page.more && parts_max > 0 })
    }

    /// Who began an upload, which may be over.
    pub async fn upload_owner(&self, object: &ObjectId, upload_id: &str) -> Result<String> {
        let key = (object.clone(), parse_upload_id(upload_id)?);
        let row = self.inner.status.get::<Uploads>(&key).await?.ok_or(Error::NoSuchUpload)?;
        Ok(upload_info(&key, &row.row).owner)
    }

    /// One page of a bucket's unfinished uploads.
    pub async fn list_uploads(&self, bucket: &BucketName, query: UploadsQuery) -> Result<UploadsPage> {
        self.bucket_row(bucket).await?;
        let mut page = UploadsPage::default();
        let mut rows: Page<Uploads> =
            self.inner.status.between(bucket, first_key(bucket, &query).as_ref(), None, PAGE_ROWS).await?;
        loop {
            for (key, row) in rows.rows.iter().filter(|(_, row)| !matches!(row.row.state, UploadState::Done { .. })) {
                match entry(key, &query) {
                    None => {}
                    Some(Entry::Prefix(prefix)) if page.common_prefixes.last() == Some(&prefix) => {}
                    Some(_) if page.is_full(&query) => return Ok(page.with_next()),
                    Some(Entry::Upload) => page.uploads.push(upload_info(key, &row.row)),
                    Some(Entry::Prefix(prefix)) => page.common_prefixes.push(prefix),
                }
            }
            let last = rows.rows.last().map(|(key, _)| key.clone());
            if !rows.more || last.as_ref().is_some_and(|(object, _)| is_past(object.key.as_str(), &query.prefix)) {
                return Ok(page);
            }
            rows = self.inner.status.page(bucket, last.as_ref(), PAGE_ROWS).await?;
        }
    }

    /// Gives up every upload of a bucket, finished ones too. Whoever calls holds the bucket's changes, and it is dead: none
    /// is started meanwhile.
    pub(super) async fn abort_uploads_of(&self, bucket: &BucketName) -> Result<()> {
        loop {
            let page: Page<Uploads> = self.inner.status.page(bucket, None, PAGE_ROWS).await?;
            for (key, row) in &page.rows {
                if matches!(row.row.state, UploadState::Done { .. }) {
                    let commit = crate::status::Commit::new().frees().delete::<Uploads>(key);
                    self.inner.status.commit(commit).await?;
                } else {
                    match self.abort_upload(&key.0, &key.1.to_string()).await {
                        Ok(()) | Err(Error::NoSuchUpload) => {}
                        Err(err) => return Err(err),
                    }
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// The same, where nobody waits for it: what cannot be aborted now is aborted at the next start, or when it is made again.
    pub(super) async fn abort_uploads_of_dead(&self, bucket: &BucketName) {
        if let Err(err) = self.abort_uploads_of(bucket).await {
            tracing::warn!(%bucket, error = %err, "uploads of a deleted bucket are still here");
        }
    }
}

/// Where the rows that a page may show begin; `None` is at the bucket's first.
fn first_key(bucket: &BucketName, query: &UploadsQuery) -> Option<UploadKey> {
    let marker = query.key_marker.as_deref().unwrap_or_default();
    let key = Key::new(query.prefix.as_str().max(marker)).ok()?;
    Some((ObjectId { bucket: bucket.clone(), key }, WriteId::new(Incarnation(0), 0, 0)))
}

/// Whether no key behind this one begins with the prefix.
fn is_past(key: &str, prefix: &str) -> bool {
    key > prefix && !key.starts_with(prefix)
}

/// How an upload shows in a listing.
enum Entry {
    Upload,
    Prefix(String),
}

fn entry(key: &UploadKey, query: &UploadsQuery) -> Option<Entry> {
    let name = key.0.key.as_str();
    let rest = name.strip_prefix(&query.prefix)?;
    let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let cut = delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
    match cut {
        Some(cut) => {
            let prefix = name[..query.prefix.len() + cut].to_owned();
            let passed = query.key_marker.as_ref().is_some_and(|marker| prefix.as_str() <= marker.as_str());
            (!passed).then_some(Entry::Prefix(prefix))
        }
        None => is_after(name, key.1, query).then_some(Entry::Upload),
    }
}

/// Behind the markers: the upload id counts only within the marked key.
fn is_after(name: &str, upload: WriteId, query: &UploadsQuery) -> bool {
    let Some(key_marker) = query.key_marker.as_deref().filter(|marker| !marker.is_empty()) else { return true };
    match (name.cmp(key_marker), &query.upload_id_marker) {
        (std::cmp::Ordering::Equal, Some(marker)) => upload.to_string() > *marker,
        (order, _) => order.is_gt(),
    }
}

impl UploadsPage {
    fn is_full(&self, query: &UploadsQuery) -> bool {
        self.uploads.len() + self.common_prefixes.len() >= query.uploads_max
    }

    /// Something follows: the next page begins behind the last entry of this one.
    fn with_next(mut self) -> Self {
        let upload = self.uploads.last().map(|last| (last.object.key.to_string(), last.upload_id.clone()));
        let prefix = self.common_prefixes.last().map(|last| (last.clone(), String::new()));
        self.next = upload.max(prefix);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::backend::memory::Memory;
    use crate::site::StartUpload;
    use crate::site::testing::{object, open, with_bucket};
    use crate::status::redb::{Pace, Touched};
    use crate::status::{Options, Status};

    /// Counts what the status store is asked for.
    #[derive(Debug, Default)]
    struct Steps(AtomicUsize);

    #[async_trait]
    impl Pace for Steps {
        async fn step(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn committed(&self, _: &Status, _: &Touched) {}
    }

    #[tokio::test]
    async fn a_page_reads_only_where_its_uploads_are() {
        let steps = Arc::new(Steps::default());
        let storage = ::redb::backends::InMemoryBackend::new();
        let status = Status::open_paced(storage, &Options::default(), Some(steps.clone())).unwrap();
        let site = with_bucket(open(Arc::new(Memory::new()), status).await.0).await;
        for n in 0..2 * PAGE_ROWS {
            site.start_upload(&object(&format!("a/{n:04}")), StartUpload::default()).await.unwrap();
        }
        site.start_upload(&object("b/1"), StartUpload::default()).await.unwrap();
        let reads = async |prefix: &str, marker: Option<&str>, found: usize| {
            let before = steps.0.load(Ordering::Relaxed);
            let (prefix, key_marker) = (prefix.to_owned(), marker.map(str::to_owned));
            let query = UploadsQuery { prefix, key_marker, uploads_max: 1_000, ..UploadsQuery::default() };
            let page = site.list_uploads(&object("-").bucket, query).await.unwrap();
            assert_eq!(page.uploads.len(), found);
            steps.0.load(Ordering::Relaxed) - before
        };
        assert_eq!(reads("b/", None, 1).await, 1);
        assert_eq!(reads("", Some("a/1999"), 1).await, 1);
        assert_eq!(reads("a/0000", None, 1).await, 1);
        assert_eq!(reads("", Some("a/1500"), 500).await, 1);
    }
}
