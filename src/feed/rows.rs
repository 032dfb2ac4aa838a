//! Rows and digests of key ranges: what two sites compare to prove that they are equal.

use crate::model::BucketName;
use crate::peer::{Digest, DigestAsk, KeyRange, RowsPage};
use crate::reconcile;
use crate::site::{Result, Site};

/// Digests of ranges, in order.
pub(super) async fn digests(site: &Site, ask: DigestAsk) -> Result<Vec<Digest>> {
    reconcile::digests(site, &ask).await
}

/// The units of a range, in key order.
pub(super) async fn rows(site: &Site, bucket: &BucketName, range: &KeyRange, rows_max: usize) -> Result<RowsPage> {
    reconcile::rows(site, bucket, range, rows_max).await
}
