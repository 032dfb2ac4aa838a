//! Object lock: a bucket's configuration, retention and legal hold of versions, and the headers that ask for them.

use http::{HeaderMap, HeaderName};
use s3s::dto::{
    DefaultRetention as ShownDefault, GetObjectLegalHoldInput, GetObjectLegalHoldOutput, GetObjectLockConfigurationInput,
    GetObjectLockConfigurationOutput, GetObjectRetentionInput, GetObjectRetentionOutput, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode,
    ObjectLockRule, PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput, PutObjectRetentionInput, PutObjectRetentionOutput, Timestamp, TimestampFormat,
};
use s3s::{S3Request, S3Response, S3Result};

use super::auth::{self, Right};
use super::{Face, bucket, convert, error, versioning};
use crate::model::{
    BucketName, Bypass, DefaultRetention, ObjectId, ObjectLock, Registers, Retention, RetentionMode, RetentionPeriod,
};
use crate::site::{ReadConditions, Register, Seen, Selection};

const MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
const HOLD: HeaderName = HeaderName::from_static("x-amz-object-lock-legal-hold");
const BYPASS: HeaderName = HeaderName::from_static("x-amz-bypass-governance-retention");

/// Longest default retention, days: S3 takes 100 years.
const DAYS_MAX: i32 = 36_500;
const YEARS_MAX: i32 = 100;

/// What the headers of a write ask for, in a bucket that can give it.
pub async fn of_headers(face: &Face, bucket: &BucketName, headers: &HeaderMap) -> S3Result<Registers> {
    let asked = [&MODE, &UNTIL, &HOLD].into_iter().any(|name| headers.contains_key(name));
    if !asked {
        return Ok(Registers::default());
    }
    require_lock(face, bucket).await?;
    let hold = match convert::text_of(headers, &HOLD)?.as_deref() {
        None | Some("OFF") => false,
        Some("ON") => true,
        Some(_) => return Err(error::invalid_argument("Legal Hold must be either of 'ON' or 'OFF'")),
    };
    let retention = match (convert::text_of(headers, &MODE)?, convert::text_of(headers, &UNTIL)?) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = RetentionMode::named(&mode).ok_or_else(|| error::invalid_argument("Unknown wormMode directive."))?;
            let until = Timestamp::parse(TimestampFormat::DateTime, &until).ok().as_ref().and_then(convert::millis);
            let until_ms =
                until.ok_or_else(|| error::invalid_argument("The retain until date must be provided in ISO 8601 format"))?;
            Some(in_future(face, Retention { mode, until_ms })?)
        }
        _ => {
            return Err(error::invalid_argument(
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ));
        }
    };
    Ok(Registers { hold, retention, ..Registers::default() })
}

fn in_future(face: &Face, retention: Retention) -> S3Result<Retention> {
    if retention.until_ms > face.site.clock().wall_ms() {
        return Ok(retention);
    }
    Err(error::invalid_argument("The retain until date must be in the future!"))
}

async fn require_lock(face: &Face, bucket: &BucketName) -> S3Result<()> {
    let info = face.site.bucket(bucket).await.map_err(error::from_site)?;
    if info.object_lock.is_some() { Ok(()) } else { Err(error::invalid_request("Bucket is missing Object Lock Configuration")) }
}

/// Shows what protects a version.
pub fn show(seen: &Seen, headers: &mut HeaderMap) {
    let registers = &seen.record.row.registers;
    if let Some(Retention { mode, until_ms }) = registers.retention {
        convert::put_header(headers, MODE, mode.name());
        convert::put_header(headers, UNTIL, &iso(until_ms));
    }
    if registers.hold || seen.record.row.vector.hold.is_some() {
        convert::put_header(headers, HOLD, if registers.hold { "ON" } else { "OFF" });
    }
}

fn iso(ms: u64) -> String {
    let mut text = Vec::new();
    let written = convert::timestamp(ms).format(TimestampFormat::DateTime, &mut text);
    written.ok().and_then(|()| String::from_utf8(text).ok()).unwrap_or_default()
}

/// Whether a request may bypass GOVERNANCE: it says so, and its key may configure the bucket.
pub async fn bypass(face: &Face, extensions: &http::Extensions, bucket: &str, headers: &HeaderMap) -> S3Result<Bypass> {
    let asked = headers.get(&BYPASS).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if !asked {
        return Ok(Bypass::No);
    }
    auth::caller(extensions)?.must_on_bucket(&face.site, Right::Admin, bucket).await?;
    Ok(Bypass::Governance)
}

/// GetObjectLockConfiguration.
pub async fn get_of_bucket(
    face: &Face,
    req: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let lock = bucket::info(face, &req.input.bucket).await?.object_lock.ok_or_else(error::no_lock_configuration)?;
    let rule = lock.default.map(|DefaultRetention { mode, period }| {
        let (days, years) = match period {
            RetentionPeriod::Days(days) => (i32::try_from(days).ok(), None),
            RetentionPeriod::Years(years) => (None, i32::try_from(years).ok()),
        };
        let mode = Some(ObjectLockRetentionMode::from_static(mode.name()));
        ObjectLockRule { default_retention: Some(ShownDefault { days, mode, years }) }
    });
    let enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
    let shown = ObjectLockConfiguration { object_lock_enabled: enabled, rule };
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(shown) }))
}

/// PutObjectLockConfiguration.
pub async fn put_of_bucket(
    face: &Face,
    req: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let name = convert::bucket_name(&req.input.bucket)?;
    let asked = req.input.object_lock_configuration.ok_or_else(error::malformed_xml)?;
    if asked.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(error::malformed_xml());
    }
    let default = match asked.rule {
        None => None,
        Some(rule) => Some(default_of(&rule.default_retention.ok_or_else(error::malformed_xml)?)?),
    };
    face.site.set_object_lock(&name, ObjectLock { default }).await.map_err(error::from_site)?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

fn default_of(asked: &ShownDefault) -> S3Result<DefaultRetention> {
    let mode = asked.mode.as_ref().and_then(|mode| RetentionMode::named(mode.as_str())).ok_or_else(error::malformed_xml)?;
    let legal = |number: i32, max: i32| match u32::try_from(number) {
        Ok(number @ 1..) if i64::from(number) <= i64::from(max) => Ok(number),
        _ => Err(error::invalid_retention_period()),
    };
    let period = match (asked.days, asked.years) {
        (Some(days), None) => RetentionPeriod::Days(legal(days, DAYS_MAX)?),
        (None, Some(years)) => RetentionPeriod::Years(legal(years, YEARS_MAX)?),
        _ => return Err(error::malformed_xml()),
    };
    Ok(DefaultRetention { mode, period })
}

/// The version a request is about, in a bucket that has object lock.
async fn locked(face: &Face, bucket: &str, key: &str) -> S3Result<ObjectId> {
    let object = convert::object_id(bucket, key)?;
    require_lock(face, &object.bucket).await?;
    Ok(object)
}

async fn registers_of(face: &Face, object: &ObjectId, version: Option<&str>) -> S3Result<Seen> {
    let version = versioning::named(&face.site, object, version).await?;
    face.site.head(object, version, Selection::All, &ReadConditions::default()).await.map_err(error::from_site)
}

/// GetObjectRetention.
pub async fn get_retention(
    face: &Face,
    req: S3Request<GetObjectRetentionInput>,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    let object = locked(face, &req.input.bucket, &req.input.key).await?;
    let seen = registers_of(face, &object, req.input.version_id.as_deref()).await?;
    let Retention { mode, until_ms } = seen.record.row.registers.retention.ok_or_else(error::no_lock_of_object)?;
    let shown = ObjectLockRetention {
        mode: Some(ObjectLockRetentionMode::from_static(mode.name())),
        retain_until_date: Some(convert::timestamp(until_ms)),
    };
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(shown) }))
}

/// PutObjectRetention.
pub async fn put_retention(
    face: &Face,
    req: S3Request<PutObjectRetentionInput>,
) -> S3Result<S3Response<PutObjectRetentionOutput>> {
    let object = locked(face, &req.input.bucket, &req.input.key).await?;
    let bypass = bypass(face, &req.extensions, &req.input.bucket, &req.headers).await?;
    let asked = req.input.retention.ok_or_else(error::malformed_xml)?;
    let retention = match (asked.mode, asked.retain_until_date) {
        // An empty document takes the retention away, where that is allowed.
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = RetentionMode::named(mode.as_str()).ok_or_else(error::malformed_xml)?;
            let until_ms = convert::millis(&until).ok_or_else(error::malformed_xml)?;
            Some(in_future(face, Retention { mode, until_ms })?)
        }
        _ => return Err(error::malformed_xml()),
    };
    let version = versioning::named(&face.site, &object, req.input.version_id.as_deref()).await?;
    let written = face.site.set_register(&object, version, Register::Retention(retention, bypass)).await;
    written.map_err(error::from_site)?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

/// GetObjectLegalHold.
pub async fn get_hold(face: &Face, req: S3Request<GetObjectLegalHoldInput>) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
    let object = locked(face, &req.input.bucket, &req.input.key).await?;
    let seen = registers_of(face, &object, req.input.version_id.as_deref()).await?;
    let record = &seen.record.row;
    if !record.registers.hold && record.vector.hold.is_none() {
        return Err(error::no_lock_of_object());
    }
    let status = if record.registers.hold { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF };
    let shown = ObjectLockLegalHold { status: Some(ObjectLockLegalHoldStatus::from_static(status)) };
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(shown) }))
}

/// PutObjectLegalHold.
pub async fn put_hold(face: &Face, req: S3Request<PutObjectLegalHoldInput>) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
    let object = locked(face, &req.input.bucket, &req.input.key).await?;
    let asked = req.input.legal_hold.and_then(|hold| hold.status).ok_or_else(error::malformed_xml)?;
    let hold = match asked.as_str() {
        ObjectLockLegalHoldStatus::ON => true,
        ObjectLockLegalHoldStatus::OFF => false,
        _ => return Err(error::malformed_xml()),
    };
    let version = versioning::named(&face.site, &object, req.input.version_id.as_deref()).await?;
    face.site.set_register(&object, version, Register::Hold(hold)).await.map_err(error::from_site)?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mode: &str, days: Option<i32>, years: Option<i32>) -> Result<DefaultRetention, String> {
        let asked = ShownDefault { days, mode: Some(ObjectLockRetentionMode::from(mode.to_owned())), years };
        default_of(&asked).map_err(|err| err.code().as_str().to_owned())
    }

    #[test]
    fn a_default_retention_has_one_period_that_lasts() {
        let days = of("GOVERNANCE", Some(1), None).unwrap();
        assert_eq!((days.mode, days.period), (RetentionMode::Governance, RetentionPeriod::Days(1)));
        assert!(of("COMPLIANCE", None, Some(100)).is_ok());
        for (days, years) in [(Some(0), None), (None, Some(-1)), (Some(36_501), None), (None, Some(101))] {
            assert_eq!(of("GOVERNANCE", days, years), Err("InvalidRetentionPeriod".into()));
        }
        assert_eq!(of("GOVERNANCE", Some(1), Some(1)), Err("MalformedXML".into()));
        assert_eq!(of("governance", Some(1), None), Err("MalformedXML".into()));
    }
}
