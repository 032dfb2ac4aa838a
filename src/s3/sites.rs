//! The headers that speak of other sites: what a client may ask of them, and what an answer says about them.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use s3s::S3Result;

use super::gate::Asked;
use super::{convert, error};
use crate::model::{ObjectId, Record, SiteNumber, Slot, Stamp, Unit};
use crate::site::{Enough, Replication, Site};
use crate::status::Stored;

const STATUS: HeaderName = HeaderName::from_static("x-amz-replication-status");
const BY_SITE: HeaderName = HeaderName::from_static("x-anybucket-replication");
const WAIT: HeaderName = HeaderName::from_static("x-anybucket-wait");
const MIN_STAMP: HeaderName = HeaderName::from_static("x-anybucket-min-stamp");
const SCOPE: HeaderName = HeaderName::from_static("x-anybucket-scope");

/// How long a write waits for others where its client does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(5);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Whether an operation knows this header of a request.
pub fn knows(op: &str, header: &str) -> bool {
    match header {
        "x-anybucket-wait" => matches!(op, "PutObject" | "CompleteMultipartUpload" | "CopyObject" | "DeleteObject"),
        "x-anybucket-min-stamp" => {
            matches!(op, "GetObject" | "HeadObject" | "ListObjects" | "ListObjectsV2" | "ListObjectVersions")
        }
        _ => false,
    }
}

/// What `x-anybucket-wait` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    enough: Enough,
    patience: Duration,
}

impl Wait {
    /// Read before anything is written: what cannot be granted stores nothing.
    pub fn read(site: &Site, headers: &HeaderMap) -> S3Result<Option<Self>> {
        let Some(text) = convert::text_of(headers, &WAIT)? else { return Ok(None) };
        let sites: Vec<_> = site.neighbours().in_scope().into_iter().map(|number| (number, name(site, number))).collect();
        Self::parse(&text, &sites).map(Some).map_err(|why| error::invalid_argument(format!("{WAIT}: {why}")))
    }

    fn parse(text: &str, sites: &[(SiteNumber, String)]) -> Result<Self, String> {
        let mut parts = text.split(';').map(str::trim);
        let who = parts.next().unwrap_or_default();
        let enough = match who.parse::<usize>() {
            Ok(0) => return Err("at least 1 site is to be waited for".into()),
            Ok(count) if count > sites.len() => {
                return Err(format!("{count} sites cannot have it: this is replicated to {}", sites.len()));
            }
            Ok(count) => Enough::Count(count),
            Err(_) => {
                let known = sites.iter().find(|(_, name)| name == who);
                Enough::Site(known.ok_or_else(|| format!("{who:?} is neither a number nor a site this is replicated to"))?.0)
            }
        };
        let mut patience = WAIT_DEFAULT;
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            patience = match name.trim() {
                "timeout" => {
                    duration(value.trim()).ok_or_else(|| format!("{value:?} is no time up to 60s, such as 5s or 500ms"))?
                }
                other => return Err(format!("{other:?} is not known here, only timeout is")),
            };
        }
        Ok(Self { enough, patience })
    }

    /// Waits, and says in the answer's headers who has the object. The write stands whatever comes of it.
    pub async fn until_there(wait: Option<Self>, site: &Site, object: &ObjectId, slot: Slot, headers: &mut HeaderMap) {
        let Some(Self { enough, patience }) = wait else { return };
        match site.wait_for((object, slot), enough, patience).await {
            Ok(stands) => put_by_site(site, &stands.unwrap_or_default(), headers),
            Err(err) => tracing::warn!(%object, error = %err, "who has it could not be said"),
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let duration = match &text[digits.len()..] {
        "s" => Duration::from_secs(number),
        "ms" => Duration::from_millis(number),
        _ => return None,
    };
    (duration <= WAIT_MAX).then_some(duration)
}

/// The stamp that an answer must not be less than.
pub fn min_stamp(headers: &HeaderMap) -> S3Result<Option<Stamp>> {
    let Some(text) = convert::text_of(headers, &MIN_STAMP)? else { return Ok(None) };
    text.parse()
        .map(Some)
        .map_err(|_| error::invalid_argument(format!("{MIN_STAMP} is not a stamp as {} shows it", convert::STAMP)))
}

/// Waits until an object is not older than its reader asks for.
pub async fn reach(site: &Site, headers: &HeaderMap, object: &ObjectId) -> S3Result<()> {
    match min_stamp(headers)? {
        Some(stamp) => site.reach(object, stamp).await.map_err(error::from_site),
        None => Ok(()),
    }
}

/// Waits until a bucket's listing has everything up to the stamp its reader asks for.
pub async fn reach_all(site: &Site, headers: &HeaderMap, bucket: &str) -> S3Result<()> {
    match min_stamp(headers)? {
        Some(stamp) => site.reach_all(&convert::bucket_name(bucket)?, stamp).await.map_err(error::from_site),
        None => Ok(()),
    }
}

/// Shows how other sites stand with an object. A lone site says nothing.
pub async fn show(site: &Site, object: &ObjectId, record: &Stored<Record>, headers: &mut HeaderMap) -> S3Result<()> {
    if site.neighbours().is_empty() {
        return Ok(());
    }
    let stands =
        site.replication(&Unit::of(object, record.row.slot()), &record.row.vector, record.seq).await.map_err(error::from_site)?;
    let status = match &stands {
        None => "REPLICA",
        Some(stands) if stands.is_empty() => return Ok(()),
        Some(stands) => summary(stands),
    };
    headers.insert(STATUS, HeaderValue::from_static(status));
    put_by_site(site, &stands.unwrap_or_default(), headers);
    Ok(())
}

/// The word for all of them (protocol §9).
fn summary(stands: &[(SiteNumber, Replication)]) -> &'static str {
    let any = |wanted| stands.iter().any(|(_, stands)| *stands == wanted);
    match (any(Replication::Failed), any(Replication::Pending), any(Replication::Completed)) {
        (true, ..) => word(Replication::Failed),
        (_, true, true) => "PROCESSING",
        (_, true, false) => word(Replication::Pending),
        _ => word(Replication::Completed),
    }
}

fn word(stands: Replication) -> &'static str {
    match stands {
        Replication::Completed => "COMPLETED",
        Replication::Pending => "PENDING",
        Replication::Failed => "FAILED",
    }
}

fn put_by_site(site: &Site, stands: &[(SiteNumber, Replication)], headers: &mut HeaderMap) {
    if !stands.is_empty() {
        let each: Vec<_> = stands.iter().map(|(number, stands)| format!("{}={}", name(site, *number), word(*stands))).collect();
        convert::put_header(headers, BY_SITE, &each.join(", "));
    }
}

fn name(site: &Site, number: SiteNumber) -> String {
    site.neighbours().get(number).map_or_else(|| number.0.to_string(), |neighbour| neighbour.id.name.clone())
}

/// Whether a request is a write under conditions, which are exact among one site's clients only.
pub fn is_conditional_write(method: &Method, asked: &Asked, headers: &HeaderMap) -> bool {
    let of_deletes = ["x-amz-if-match-last-modified-time", "x-amz-if-match-size"];
    let is_write = [Method::PUT, Method::POST, Method::DELETE].contains(method);
    is_write && (asked.conditions.object.has_etags() || of_deletes.iter().any(|name| headers.contains_key(*name)))
}

/// Says how far the conditions of a write reached.
pub fn put_scope(headers: &mut HeaderMap) {
    headers.insert(SCOPE, HeaderValue::from_static("site"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use Replication::{Completed, Failed, Pending};

    #[test]
    fn the_word_for_all_is_the_worst_that_can_be_said() {
        let of = |stands: &[Replication]| summary(&stands.iter().map(|stands| (SiteNumber(2), *stands)).collect::<Vec<_>>());
        assert_eq!(of(&[Completed, Completed]), "COMPLETED");
        assert_eq!(of(&[Completed, Pending]), "PROCESSING");
        assert_eq!(of(&[Pending, Pending]), "PENDING");
        assert_eq!(of(&[Completed, Failed, Pending]), "FAILED");
    }

    #[test]
    fn a_wait_names_how_many_or_whom_and_how_long() {
        let sites = [(SiteNumber(2), "berlin".to_owned()), (SiteNumber(3), "azure-copy".to_owned())];
        let of = |text| Wait::parse(text, &sites).ok().map(|wait| (wait.enough, wait.patience.as_millis()));
        assert_eq!(of("2; timeout=5s"), Some((Enough::Count(2), 5_000)));
        assert_eq!(of("azure-copy;timeout=500ms"), Some((Enough::Site(SiteNumber(3)), 500)));
        assert_eq!(of("berlin"), Some((Enough::Site(SiteNumber(2)), 5_000)));
        for bad in ["", "0", "3", "rome", "-1", "1; timeout=5", "1; timeout=61s", "1; timeout=", "1; patience=5s", "1;", "1 2"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
