//! The policy of a form: until when and for which fields somebody with a key lets others upload.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::S3Result;
use s3s::dto::{Timestamp, TimestampFormat};
use serde::Deserialize;
use serde_json::Value;

use super::fields::Fields;
use crate::s3::{convert, error};

/// Fields that no condition needs to name: what carries the policy and its signature. So too all that begin with
/// `x-ignore-`, and checksums, which allow nothing.
const UNNAMED: [&str; 5] = ["policy", "signature", "x-amz-signature", "awsaccesskeyid", "file"];

/// What the form may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Policy {
    expires_ms: u64,
    conditions: Vec<Condition>,
    /// How long the file may be.
    pub length: Option<RangeInclusive<u64>>,
}

/// What one field must be.
#[derive(Debug, PartialEq, Eq)]
struct Condition {
    /// In lower case.
    field: String,
    how: How,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Eq,
    StartsWith,
}

/// The document as it is written.
#[derive(Deserialize)]
struct Document {
    expiration: Option<String>,
    conditions: Option<Vec<Value>>,
}

impl Policy {
    pub fn read(encoded: &str) -> S3Result<Self> {
        let bytes = BASE64.decode(encoded.trim()).map_err(|_| error::invalid_policy("Invalid Base64 encoding"))?;
        let document: Document = serde_json::from_slice(&bytes).map_err(|_| error::invalid_policy("Invalid JSON"))?;
        let expiration = document.expiration.ok_or_else(|| error::invalid_policy("Policy missing expiration"))?;
        let has_its_form = expiration.contains('T') && expiration.ends_with('Z');
        let time = Timestamp::parse(TimestampFormat::DateTime, &expiration).ok().filter(|_| has_its_form);
        let expires_ms = time.and_then(|time| convert::millis(&time));
        let expires_ms = expires_ms.ok_or_else(|| error::invalid_policy("Invalid 'expiration' value"))?;
        let conditions = document.conditions.ok_or_else(|| error::invalid_policy("Policy missing conditions"))?;
        let mut policy = Self { expires_ms, conditions: Vec::new(), length: None };
        conditions.iter().try_for_each(|condition| policy.add(condition).ok_or_else(invalid_condition))?;
        Ok(policy)
    }

    /// `None` where it is no condition.
    fn add(&mut self, written: &Value) -> Option<()> {
        match written {
            Value::Object(pairs) if !pairs.is_empty() => {
                for (field, value) in pairs {
                    self.conditions.push(Condition::new(field, How::Eq, value.as_str()?));
                }
            }
            Value::Array(items) => {
                let [how, first, second] = items.as_slice() else { return None };
                let how = match how.as_str()?.to_ascii_lowercase().as_str() {
                    "eq" => How::Eq,
                    "starts-with" => How::StartsWith,
                    "content-length-range" => {
                        let (min, max) = (bytes(first)?, bytes(second)?);
                        // Of several, all count.
                        let (before_min, before_max) = self.length.clone().map_or((0, u64::MAX), RangeInclusive::into_inner);
                        self.length = (min <= max).then(|| min.max(before_min)..=max.min(before_max));
                        return self.length.as_ref().map(|_| ());
                    }
                    _ => return None,
                };
                self.conditions.push(Condition::new(first.as_str()?.strip_prefix('$')?, how, second.as_str()?));
            }
            _ => return None,
        }
        Some(())
    }

    /// Refuses a form that is not what the policy says.
    pub fn check(&self, fields: &Fields, bucket: &str, now_ms: u64) -> S3Result<()> {
        if now_ms >= self.expires_ms {
            return Err(error::against_policy("Policy expired."));
        }
        for condition in &self.conditions {
            let found = if condition.field == "bucket" { Some(bucket) } else { fields.get(&condition.field) };
            if !found.is_some_and(|found| condition.is_met(found)) {
                return Err(error::against_policy(&format!("Policy Condition failed: {}", condition.shown())));
            }
        }
        let named = |field: &str| self.conditions.iter().any(|condition| condition.field == field);
        let is_checksum = |field: &str| field.starts_with("x-amz-checksum-");
        let free = |field: &str| UNNAMED.contains(&field) || field.starts_with("x-ignore-") || is_checksum(field);
        let extra: Vec<&str> = fields.names().chain(["bucket"]).filter(|field| !free(field) && !named(field)).collect();
        if extra.is_empty() { Ok(()) } else { Err(error::against_policy(&format!("Extra input fields: {}", extra.join(", ")))) }
    }
}

impl Condition {
    fn new(field: &str, how: How, value: &str) -> Self {
        Self { field: field.to_ascii_lowercase(), how, value: value.to_owned() }
    }

    fn is_met(&self, found: &str) -> bool {
        match self.how {
            How::Eq => found == self.value,
            // A list of types is as good as the worst of them.
            How::StartsWith if self.field == "content-type" && found.contains(',') => {
                found.split(',').all(|one| one.trim().starts_with(&self.value))
            }
            How::StartsWith => found.starts_with(&self.value),
        }
    }

    fn shown(&self) -> String {
        let how = if self.how == How::Eq { "eq" } else { "starts-with" };
        format!("[\"{how}\", \"${}\", \"{}\"]", self.field, self.value)
    }
}

/// A number of bytes, which some write as text.
fn bytes(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn invalid_condition() -> s3s::S3Error {
    error::invalid_policy("Invalid 'conditions' value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> S3Result<Policy> {
        Policy::read(&BASE64.encode(json))
    }

    fn policy(conditions: &str) -> Policy {
        read(&format!(r#"{{"expiration": "2027-01-01T00:00:00.000Z", "conditions": [{{"bucket": "b"}}, {conditions}]}}"#))
            .unwrap()
    }

    fn told(policy: &Policy, fields: &[(&str, &str)]) -> Result<(), String> {
        let told = policy.check(&Fields::of(fields), "b", 1_000);
        told.map_err(|err| format!("{} {}", err.code().as_str(), err.message().unwrap_or_default()))
    }

    #[test]
    fn each_field_must_be_what_a_condition_says_and_be_named_by_one() {
        let policy = policy(r#"["starts-with", "$key", "user/"], {"acl": "private"}, ["eq", "$x-amz-meta-A", "1"]"#);
        let good = [("key", "user/x"), ("acl", "private"), ("x-amz-meta-a", "1"), ("x-ignore-me", "2"), ("policy", "p")];
        assert_eq!(told(&policy, &good), Ok(()));
        for (at, field, words) in [
            (
                0,
                ("key", "other/x"),
                "AccessDenied Invalid according to Policy: Policy Condition failed: [\"starts-with\", \"$key\"",
            ),
            (1, ("acl", "public-read"), "Policy Condition failed: [\"eq\", \"$acl\", \"private\"]"),
            (2, ("x-amz-meta-b", "1"), "Policy Condition failed"),
            (3, ("x-amz-meta-b", "1"), "Extra input fields: x-amz-meta-b"),
        ] {
            let mut fields = good;
            fields[at] = field;
            assert!(told(&policy, &fields).unwrap_err().contains(words), "{field:?}");
        }
    }

    #[test]
    fn the_bucket_must_be_named_and_be_the_one_that_is_asked() {
        let of = |conditions: &str| {
            read(&format!(r#"{{"expiration": "2027-01-01T00:00:00Z", "conditions": [{conditions}]}}"#)).unwrap()
        };
        assert!(told(&of(r#"{"key": "k"}"#), &[("key", "k")]).unwrap_err().contains("Extra input fields: bucket"));
        assert!(told(&of(r#"{"key": "k"}, {"bucket": "c"}"#), &[("key", "k")]).unwrap_err().contains("$bucket"));
    }

    #[test]
    fn names_and_operators_are_read_in_any_case_and_values_as_they_are() {
        let policy = policy(r#"["StArTs-WiTh", "$KeY", "Foo"], {"AcL": "private"}, ["CONTENT-LENGTH-RANGE", 0, "1024"]"#);
        assert_eq!(told(&policy, &[("key", "Foo.txt"), ("acl", "private")]), Ok(()));
        assert!(told(&policy, &[("key", "foo.txt"), ("acl", "private")]).is_err());
        assert_eq!(policy.length, Some(0..=1024));
    }

    #[test]
    fn every_type_of_a_list_must_begin_so() {
        let policy = policy(r#"["starts-with", "$Content-Type", "image/"]"#);
        assert_eq!(told(&policy, &[("content-type", "image/png, image/gif")]), Ok(()));
        assert!(told(&policy, &[("content-type", "image/png,text/html")]).is_err());
    }

    #[test]
    fn an_expired_policy_lets_nobody_in() {
        let policy = read(r#"{"expiration": "1970-01-01T00:00:01Z", "conditions": [{"bucket": "b"}]}"#).unwrap();
        assert!(told(&policy, &[]).unwrap_err().contains("AccessDenied Invalid according to Policy: Policy expired."));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let with = |conditions: &str| format!(r#"{{"expiration": "2027-01-01T00:00:00Z", "conditions": [{conditions}]}}"#);
        let mut bad = vec![
            "no json".into(),
            r#"{"expiration": "2027-01-01T00:00:00Z"}"#.into(),
            r#"{"conditions": []}"#.into(),
            r#"{"EXPIRATION": "2027-01-01T00:00:00Z", "conditions": []}"#.into(),
            r#"{"expiration": "2027-01-01 00:00:00+00:00", "conditions": []}"#.into(),
        ];
        for condition in [
            "{}",
            "1",
            "[]",
            r#"{"acl": 1}"#,
            r#"["eq", "key", "x"]"#,
            r#"["eq", "$key"]"#,
            r#"["ends-with", "$key", "x"]"#,
            r#"["content-length-range", 0]"#,
            r#"["content-length-range", -1, 0]"#,
            r#"["content-length-range", 2, 1]"#,
        ] {
            bad.push(with(condition));
        }
        for bad in bad {
            assert_eq!(read(&bad).unwrap_err().code().as_str(), "InvalidPolicyDocument", "{bad}");
        }
        assert!(Policy::read("%%%").is_err());
    }
}
