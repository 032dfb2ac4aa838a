//! Two sites and a bucket: where in a stretch of keys they differ. Digests are exchanged, and rows only where those differ.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Result;
use super::diff::{Difference, diff};
use super::digest::{digest_of, graves_from_ms};
use crate::model::{BucketName, Key, SiteNumber, Stamp};
use crate::peer::{DigestAsk, Error as PeerError, KeyRange, RangeAsk, RowDigest, SiteState};
use crate::site::{Neighbour, Site};

/// Ranges of one request.
const RANGES_MAX: usize = 256;
/// Parts a range that differs is cut into.
const PARTS: usize = 16;
/// A range that differs and has no more rows here is not cut any further.
const LEAF_ROWS: usize = 32;
/// Rows asked for at once.
const ROWS_MAX: usize = 1_000;
/// Pages of rows read before what was found is acted upon.
const PAGES_MAX: usize = 8;
/// For an answer: the other side reads and hashes a stretch of its rows for it. A client of HTTP waits no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which of two sites is to have what the other has (protocol §7, scope).
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    /// This site is to have what is written there.
    pub here: bool,
    pub there: bool,
    /// This site, while it gets its data back: what it once wrote is its own wherever it stands, told or not.
    returning: Option<SiteNumber>,
}

impl Ways {
    pub fn between(site: &Site, neighbour: &Neighbour) -> Self {
        let (here, there) = (site.id().number, neighbour.id.number);
        Self {
            here: neighbour.seen().heads.is_some_and(|heads| heads.tells),
            there: site.neighbours().in_scope().contains(&there),
            returning: (site.state() == SiteState::Restoring).then_some(here),
        }
    }

    pub fn any(self) -> bool {
        self.here || self.there
    }

    /// Whether what bears this stamp comes back here.
    pub fn brings_back(self, stamp: Stamp) -> bool {
        self.returning == Some(stamp.parts().site)
    }
}

/// A bucket at this site and at another.
#[derive(Debug)]
pub(super) struct Pair {
    pub site: Site,
    pub neighbour: Arc<Neighbour>,
    pub bucket: BucketName,
}

/// A range, and which of the rows at hand are in it.
#[derive(Clone, Debug)]
struct Piece {
    range: KeyRange,
    rows: Range<usize>,
}

impl From<&Piece> for RangeAsk {
    /// One that holds more there differs, and how much more is all the same.
    fn from(piece: &Piece) -> Self {
        Self { range: piece.range.clone(), rows_max: piece.rows.len() as u64 }
    }
}

/// What was found, and up to where everything was looked at.
#[derive(Debug)]
pub(super) struct Found {
    pub differences: Vec<Difference>,
    /// Nothing from this key on was looked at; `None`: the whole range was.
    pub left_from: Option<Key>,
}

impl Pair {
    /// Older graves count at neither side. Read after the rows here, never when the walk began: what counts then and is missing
    /// here cannot have left here. One that had would be wanted again, and be gone from everywhere before it came.
    fn graves_from_ms(&self) -> u64 {
        graves_from_ms(self.site.clock().wall_ms())
    }

    /// Compares a range, of which `rows` is all that is here.
    pub async fn compare(&self, range: KeyRange, rows: &[RowDigest]) -> Result<Found> {
        let whole = Piece { range, rows: 0..rows.len() };
        // With nothing here a digest would tell no more than the first rows do.
        let mut leaves = if rows.is_empty() { vec![whole] } else { self.leaves(vec![whole], rows).await? };
        leaves.sort_by(|a, b| a.range.from.cmp(&b.range.from));
        self.read(leaves, rows).await
    }

    /// Compares single keys; `rows` is what is here of them.
    pub async fn compare_keys(&self, keys: &[Key], rows: &[RowDigest]) -> Result<Vec<Difference>> {
        let piece = |key: &Key| {
            let at = rows.partition_point(|row| row.key < *key);
            let end = rows.partition_point(|row| row.key <= *key);
            Piece { range: KeyRange { from: Some(key.clone()), to: key.next() }, rows: at..end }
        };
        let mut differences = Vec::new();
        for leaf in self.leaves(keys.iter().map(piece).collect(), rows).await? {
            differences.extend(self.read(vec![leaf], rows).await?.differences);
        }
        Ok(differences)
    }

    /// The small ranges in which the sites differ.
    async fn leaves(&self, mut level: Vec<Piece>, rows: &[RowDigest]) -> Result<Vec<Piece>> {
        let mut leaves = Vec::new();
        while !level.is_empty() {
            let mut next = Vec::new();
            for asked in level.chunks(RANGES_MAX) {
                for piece in self.differing(asked, rows).await? {
                    if piece.rows.len() <= LEAF_ROWS {
                        leaves.push(piece);
                    } else {
                        next.extend(parts(&piece, rows));
                    }
                }
            }
            level = next;
        }
        Ok(leaves)
    }

    async fn differing(&self, pieces: &[Piece], rows: &[RowDigest]) -> Result<Vec<Piece>> {
        let graves_from_ms = self.graves_from_ms();
        let ranges = pieces.iter().map(RangeAsk::from).collect();
        let ask = DigestAsk { bucket: self.bucket.clone(), ranges, graves_from_ms };
        let theirs = in_time(self.neighbour.peer.digests(ask)).await?;
        if theirs.len() != pieces.len() {
            return Err(PeerError::Malformed(format!("{} digests came of {} ranges", theirs.len(), pieces.len())).into());
        }
        let mine = pieces.iter().map(|piece| digest_of(&rows[piece.rows.clone()], graves_from_ms));
        let differs = |(piece, (mine, theirs))| (mine != theirs).then_some(piece);
        Ok(pieces.iter().cloned().zip(mine.zip(theirs)).filter_map(differs).collect())
    }

    /// Compares the rows of leaves, which are in key order, as far as so many pages reach.
    async fn read(&self, leaves: Vec<Piece>, rows: &[RowDigest]) -> Result<Found> {
        let (mut differences, mut pages) = (Vec::new(), 0);
        for leaf in leaves {
            let (mut rest, mut own) = (leaf.range, &rows[leaf.rows]);
            loop {
                if pages >= PAGES_MAX && rest.from.is_some() {
                    return Ok(Found { differences, left_from: rest.from });
                }
                let page = in_time(self.neighbour.peer.rows(&self.bucket, rest.clone(), ROWS_MAX)).await?;
                pages += usize::from(page.more);
                let last = page.rows.last().map(|row| row.key.clone()).filter(|_| page.more);
                let known = last.as_ref().map_or(own.len(), |last| own.partition_point(|row| row.key <= *last));
                differences.extend(diff(&own[..known], &page.rows, self.graves_from_ms()));
                own = &own[known..];
                match (page.more, last) {
                    (false, _) => break,
                    (true, None) => return Err(PeerError::Malformed("an empty page says that more follows".into()).into()),
                    (true, Some(last)) => rest.from = last.next(),
                }
            }
        }
        Ok(Found { differences, left_from: None })
    }
}

/// Cuts a range at keys that are here into parts that together are the whole of it, keys that only the other has included.
fn parts(piece: &Piece, rows: &[RowDigest]) -> Vec<Piece> {
    let cut = |part: usize| piece.rows.start + piece.rows.len() * part / PARTS;
    let key = |at: usize| Some(rows[at].key.clone());
    let part = |number: usize| {
        let rows = cut(number)..cut(number + 1);
        let from = if number == 0 { piece.range.from.clone() } else { key(rows.start) };
        let to = if number + 1 == PARTS { piece.range.to.clone() } else { key(rows.end) };
        Piece { range: KeyRange { from, to }, rows }
    };
    (0..PARTS).map(part).collect()
}

/// The answer of a peer, if it comes in time.
pub(super) async fn in_time<T>(asked: impl Future<Output = crate::peer::Result<T>>) -> Result<T> {
    let answered = timeout(PATIENCE, asked).await;
    Ok(answered.unwrap_or_else(|_| Err(PeerError::Unreachable("no answer in time".into())))?)
}
