//! Lifecycle configurations: translated to the rules that the site keeps, and back; what an answer says of an object's end.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName};
use s3s::dto::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput,
    ExpirationStatus, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, LifecycleExpiration,
    LifecycleRule as ShownRule, LifecycleRuleAndOperator, LifecycleRuleFilter as ShownFilter, NoncurrentVersionExpiration,
    PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput, Tag,
};
use s3s::{S3Request, S3Response, S3Result};

use super::{Face, convert, documents, error};
use crate::model::{
    BucketName, Day, Expiration, Expiring, Lifecycle, LifecycleFilter, LifecycleRule, NoncurrentExpiration, Tags,
};

const EXPIRATION: HeaderName = HeaderName::from_static("x-amz-expiration");

/// Most rules of a bucket. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-set-lifecycle-configuration-intro.html>
const RULES_MAX: usize = 1_000;
const ID_CHARS_MAX: usize = 255;
const DAY_MS: u64 = 24 * 3_600_000;

/// PutBucketLifecycleConfiguration.
pub async fn put(
    face: &Face,
    req: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let bucket = convert::bucket_name(&req.input.bucket)?;
    let rules = read(req.input.lifecycle_configuration.ok_or_else(error::malformed_xml)?)?;
    let written = face.site.change_bucket(&bucket, move |row, stamp| Ok(row.with_lifecycle(&rules, stamp))).await;
    written.map_err(error::from_site)?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}

/// GetBucketLifecycleConfiguration.
pub async fn get(
    face: &Face,
    req: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let lifecycle = of_bucket(face, &convert::bucket_name(&req.input.bucket)?).await?;
    if lifecycle.rules.is_empty() {
        return Err(error::no_lifecycle());
    }
    let rules = Some(lifecycle.rules.iter().map(shown).collect());
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput { rules, ..GetBucketLifecycleConfigurationOutput::default() }))
}

/// DeleteBucketLifecycle.
pub async fn delete(
    face: &Face,
    req: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    let bucket = convert::bucket_name(&req.input.bucket)?;
    let removed = face.site.change_bucket(&bucket, |row, stamp| Ok(row.with_lifecycle(&Lifecycle::default(), stamp))).await;
    removed.map_err(error::from_site)?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput {}))
}

async fn of_bucket(face: &Face, bucket: &BucketName) -> S3Result<Lifecycle> {
    Ok(face.site.bucket_registers(bucket).await.map_err(error::from_site)?.row.lifecycle())
}

/// Says when a current version goes that was written at this time, and by which rule.
pub async fn show(
    face: &Face,
    bucket: &BucketName,
    what: Expiring<'_>,
    written_ms: u64,
    headers: &mut HeaderMap,
) -> S3Result<()> {
    let lifecycle = of_bucket(face, bucket).await?;
    let day = Day::lasting(face.settings.day);
    if let Some((due, rule)) = lifecycle.expiry(what, written_ms, day) {
        let text = format!("expiry-date=\"{}\", rule-id=\"{}\"", convert::http_date(due), super::uri::encode(rule));
        convert::put_header(headers, EXPIRATION, &text);
    }
    Ok(())
}

fn read(asked: BucketLifecycleConfiguration) -> S3Result<Lifecycle> {
    if asked.rules.is_empty() || asked.rules.len() > RULES_MAX {
        return Err(error::malformed_xml());
    }
    let rules: Vec<_> = asked.rules.into_iter().enumerate().map(|(at, rule)| read_rule(at, rule)).collect::<S3Result<_>>()?;
    let mut ids = HashSet::new();
    if rules.iter().any(|rule| !ids.insert(rule.id.as_str())) {
        return Err(error::invalid_argument("Rule ID must be unique. Found same ID for more than one rule"));
    }
    let lifecycle = Lifecycle { rules };
    let bytes = serde_json::to_vec(&lifecycle).map_or(usize::MAX, |json| json.len());
    documents::check_size(bytes, documents::LIFECYCLE_BYTES_MAX)?;
    Ok(lifecycle)
}

fn read_rule(at: usize, asked: ShownRule) -> S3Result<LifecycleRule> {
    if let Some(date) = asked.transitions.iter().flatten().find_map(|transition| transition.date.as_ref()) {
        midnight(date)?;
    }
    if asked.transitions.is_some_and(|list| !list.is_empty())
        || asked.noncurrent_version_transitions.is_some_and(|list| !list.is_empty())
    {
        return Err(error::not_implemented("lifecycle transitions: there is one storage class"));
    }
    let enabled = match asked.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(error::malformed_xml()),
    };
    let id = asked.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("rule-{}", at + 1));
    if id.chars().count() > ID_CHARS_MAX {
        return Err(error::invalid_argument("ID length should not exceed allowed limit of 255"));
    }
    let (bare_prefix, filter) = match (asked.prefix, asked.filter) {
        (Some(_), Some(_)) => return Err(error::malformed_xml()),
        (Some(prefix), None) => (true, LifecycleFilter { prefix: Some(prefix), ..LifecycleFilter::default() }),
        (None, filter) => (false, read_filter(filter.unwrap_or_default())?),
    };
    let expiration = asked.expiration.map(read_expiration).transpose()?;
    let noncurrent = asked.noncurrent_version_expiration.map(read_noncurrent).transpose()?;
    let abort_days = match asked.abort_incomplete_multipart_upload {
        Some(abort) => Some(days(abort.days_after_initiation.ok_or_else(error::malformed_xml)?)?),
        None => None,
    };
    if expiration.is_none() && noncurrent.is_none() && abort_days.is_none() {
        return Err(error::invalid_request("At least one action needs to be specified in a rule"));
    }
    let is_selective = !filter.tags.is_empty() || filter.size_above.is_some() || filter.size_below.is_some();
    if is_selective && (abort_days.is_some() || expiration == Some(Expiration::Markers)) {
        return Err(error::invalid_request("This action cannot be used with a filter by tags or size"));
    }
    Ok(LifecycleRule { id, enabled, bare_prefix, filter, expiration, noncurrent, abort_days })
}

fn read_filter(asked: ShownFilter) -> S3Result<LifecycleFilter> {
    let named = [
        asked.and.is_some(),
        asked.prefix.is_some(),
        asked.tag.is_some(),
        asked.object_size_greater_than.is_some(),
        asked.object_size_less_than.is_some(),
    ];
    if named.into_iter().filter(|named| *named).count() > 1 {
        return Err(error::malformed_xml());
    }
    let size = |size: Option<i64>| size.map(|size| u64::try_from(size).map_err(|_| error::malformed_xml())).transpose();
    let Some(LifecycleRuleAndOperator { object_size_greater_than, object_size_less_than, prefix, tags, .. }) = asked.and else {
        return Ok(LifecycleFilter {
            prefix: asked.prefix,
            tags: read_tags(asked.tag.into_iter().collect())?,
            size_above: size(asked.object_size_greater_than)?,
            size_below: size(asked.object_size_less_than)?,
            is_and: false,
        });
    };
    let (size_above, size_below) = (size(object_size_greater_than)?, size(object_size_less_than)?);
    if size_above.zip(size_below).is_some_and(|(above, below)| above >= below) {
        return Err(error::invalid_request("'ObjectSizeLessThan' has to be greater than 'ObjectSizeGreaterThan'"));
    }
    Ok(LifecycleFilter { prefix, tags: read_tags(tags.unwrap_or_default())?, size_above, size_below, is_and: true })
}

fn read_tags(tags: Vec<Tag>) -> S3Result<Tags> {
    tags.into_iter().map(|tag| tag.key.zip(tag.value).ok_or_else(error::malformed_xml)).collect()
}

fn read_expiration(asked: LifecycleExpiration) -> S3Result<Expiration> {
    match (asked.days, asked.date, asked.expired_object_delete_marker) {
        (Some(number), None, None) => Ok(Expiration::Days(days(number)?)),
        (None, Some(date), None) => midnight(&date).map(Expiration::Date),
        (None, None, Some(true)) => Ok(Expiration::Markers),
        _ => Err(error::malformed_xml()),
    }
}

/// A date, milliseconds since 1970.
fn midnight(date: &s3s::dto::Timestamp) -> S3Result<u64> {
    let ms = convert::millis(date).ok_or_else(error::malformed_xml)?;
    if ms % DAY_MS == 0 { Ok(ms) } else { Err(error::invalid_argument("'Date' must be at midnight GMT")) }
}

fn read_noncurrent(asked: NoncurrentVersionExpiration) -> S3Result<NoncurrentExpiration> {
    let keep = match asked.newer_noncurrent_versions {
        None => None,
        Some(keep @ 1..=100) => u32::try_from(keep).ok(),
        Some(_) => return Err(error::invalid_argument("'NewerNoncurrentVersions' must be between 1 and 100")),
    };
    Ok(NoncurrentExpiration { days: days(asked.noncurrent_days.ok_or_else(error::malformed_xml)?)?, keep })
}

fn days(number: i32) -> S3Result<u32> {
    match u32::try_from(number) {
        Ok(days @ 1..) => Ok(days),
        _ => Err(error::invalid_argument("'Days' for Expiration action must be a positive integer")),
    }
}

fn shown(rule: &LifecycleRule) -> ShownRule {
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let expiration = rule.expiration.map(|expiration| match expiration {
        Expiration::Days(days) => LifecycleExpiration { days: Some(count(days)), ..LifecycleExpiration::default() },
        Expiration::Date(ms) => LifecycleExpiration { date: Some(convert::timestamp(ms)), ..LifecycleExpiration::default() },
        Expiration::Markers => LifecycleExpiration { expired_object_delete_marker: Some(true), ..LifecycleExpiration::default() },
    });
    let noncurrent = rule.noncurrent.map(|noncurrent| NoncurrentVersionExpiration {
        newer_noncurrent_versions: noncurrent.keep.map(count),
        noncurrent_days: Some(count(noncurrent.days)),
    });
    let status = if rule.enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    ShownRule {
        abort_incomplete_multipart_upload: rule
            .abort_days
            .map(|days| AbortIncompleteMultipartUpload { days_after_initiation: Some(count(days)) }),
        expiration,
        filter: (!rule.bare_prefix).then(|| shown_filter(&rule.filter)),
        id: Some(rule.id.clone()),
        noncurrent_version_expiration: noncurrent,
        noncurrent_version_transitions: None,
        prefix: rule.filter.prefix.clone().filter(|_| rule.bare_prefix),
        status: ExpirationStatus::from_static(status),
        transitions: None,
    }
}

fn shown_filter(filter: &LifecycleFilter) -> ShownFilter {
    let size = |size: Option<u64>| size.map(|size| i64::try_from(size).unwrap_or(i64::MAX));
    let mut tags = filter.tags.iter().map(|(name, value)| Tag { key: Some(name.clone()), value: Some(value.clone()) });
    let (object_size_greater_than, object_size_less_than) = (size(filter.size_above), size(filter.size_below));
    if !filter.is_and {
        let (prefix, tag) = (filter.prefix.clone(), tags.next());
        return ShownFilter { prefix, tag, object_size_greater_than, object_size_less_than, ..ShownFilter::default() };
    }
    let tags = Some(tags.collect::<Vec<_>>()).filter(|tags| !tags.is_empty());
    let and = LifecycleRuleAndOperator { object_size_greater_than, object_size_less_than, prefix: filter.prefix.clone(), tags };
    ShownFilter { and: Some(and), ..ShownFilter::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(expiration: LifecycleExpiration) -> ShownRule {
        ShownRule {
            abort_incomplete_multipart_upload: None,
            expiration: Some(expiration),
            filter: Some(ShownFilter { prefix: Some("a/".into()), ..ShownFilter::default() }),
            id: None,
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: None,
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            transitions: None,
        }
    }

    fn of(rules: Vec<ShownRule>) -> Result<Lifecycle, String> {
        read(BucketLifecycleConfiguration { rules }).map_err(|err| err.code().as_str().to_owned())
    }

    fn in_days(days: i32) -> LifecycleExpiration {
        LifecycleExpiration { days: Some(days), ..LifecycleExpiration::default() }
    }

    #[test]
    fn rules_are_shown_as_they_came() {
        let read = of(vec![rule(in_days(3))]).unwrap();
        let again = of(read.rules.iter().map(shown).collect()).unwrap();
        assert_eq!(read, again);
        assert_eq!(read.rules[0].id, "rule-1");
        assert_eq!(read.rules[0].expiration, Some(Expiration::Days(3)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(of(vec![]), Err("MalformedXML".into()));
        assert_eq!(of(vec![rule(in_days(0))]), Err("InvalidArgument".into()));
        let noon = LifecycleExpiration { date: Some(convert::timestamp(DAY_MS / 2)), ..LifecycleExpiration::default() };
        assert_eq!(of(vec![rule(noon)]), Err("InvalidArgument".into()));
        let twice = vec![rule(in_days(1)), ShownRule { id: Some("rule-1".into()), ..rule(in_days(2)) }];
        assert_eq!(of(twice), Err("InvalidArgument".into()));
        let nothing = ShownRule { expiration: None, ..rule(in_days(1)) };
        assert_eq!(of(vec![nothing]), Err("InvalidRequest".into()));
        let odd = ShownRule { status: ExpirationStatus::from("enabled".to_owned()), ..rule(in_days(1)) };
        assert_eq!(of(vec![odd]), Err("MalformedXML".into()));
    }
}
