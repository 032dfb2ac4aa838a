//! Who signed the policy of a form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result};
use sha1::Sha1;
use sha2::Sha256;

use super::fields::Fields;
use crate::model::hex;
use crate::s3::{Settings, convert, error};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a form presents to prove whose policy it has.
#[derive(Debug)]
pub enum Signed<'a> {
    V4 {
        credential: Credential<'a>,
        signature: &'a str,
    },
    /// By HMAC-SHA1, as old libraries do it.
    V2 {
        access_key: &'a str,
        signature: &'a str,
    },
}

/// `ACCESS_KEY/DATE/REGION/s3/aws4_request`.
#[derive(Debug)]
pub struct Credential<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
}

impl<'a> Signed<'a> {
    /// What the form presents; `None` where it presents nothing.
    pub fn read(fields: &'a Fields, settings: &Settings, now_ms: u64) -> S3Result<Option<Self>> {
        let v4 = fields.get("x-amz-signature");
        let Some(signature) = v4.or_else(|| fields.get("signature")) else {
            let wants_one = fields.get("policy").is_some() || fields.get("x-amz-credential").is_some();
            return if wants_one { Err(error::missing_form_field("X-Amz-Signature")) } else { Ok(None) };
        };
        if v4.is_none() {
            if !settings.form_signature_v2 {
                return Err(error::signature_v2());
            }
            let access_key = fields.get("awsaccesskeyid").ok_or_else(|| error::missing_form_field("AWSAccessKeyId"))?;
            return Ok(Some(Self::V2 { access_key, signature }));
        }
        if fields.get("x-amz-algorithm") != Some(ALGORITHM) {
            return Err(error::invalid_argument("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
        }
        let credential = fields.get("x-amz-credential").ok_or_else(|| error::missing_form_field("X-Amz-Credential"))?;
        let credential = Credential::read(credential, settings)?;
        let date = fields.get("x-amz-date").ok_or_else(|| error::missing_form_field("X-Amz-Date"))?;
        check_date(date, &credential, settings, now_ms)?;
        Ok(Some(Self::V4 { credential, signature }))
    }

    pub fn access_key(&self) -> &str {
        match self {
            Self::V4 { credential, .. } => credential.access_key,
            Self::V2 { access_key, .. } => access_key,
        }
    }

    /// Whether `secret` signed this policy.
    pub fn check(&self, policy: &str, secret: &str) -> S3Result<()> {
        let is_right = match self {
            Self::V4 { credential, signature } => {
                let parts = [credential.date, credential.region, "s3", "aws4_request"];
                let start = format!("AWS4{secret}").into_bytes();
                let key = parts.iter().fold(start, |key, part| hmac_sha256(&key, part).finalize().into_bytes().to_vec());
                // Compared as text, which is as long as it must be: a digest of another length is no match.
                let expected = hex(&hmac_sha256(&key, policy).finalize().into_bytes());
                crate::model::Token::new(&expected).is(signature)
            }
            Self::V2 { signature, .. } => {
                let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
                mac.update(policy.as_bytes());
                BASE64.decode(signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok())
            }
        };
        if is_right { Ok(()) } else { Err(error::signature_mismatch()) }
    }
}

impl<'a> Credential<'a> {
    fn read(text: &'a str, settings: &Settings) -> S3Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [access_key, date, region, "s3", "aws4_request"] if settings.regions().any(|known| known == region) => {
                Ok(Self { access_key, date, region })
            }
            [_, _, found, "s3", "aws4_request"] => {
                let region = &settings.region;
                Err(error::invalid_argument(format!("X-Amz-Credential names the region '{found}'; expecting '{region}'")))
            }
            _ => Err(error::invalid_argument("X-Amz-Credential must be ACCESS_KEY/DATE/REGION/s3/aws4_request")),
        }
    }
}

/// A signature may be as old as a presigned URL may be, and no newer than now.
fn check_date(date: &str, credential: &Credential<'_>, settings: &Settings, now_ms: u64) -> S3Result<()> {
    let signed_ms = millis(date).filter(|_| date.get(..8) == Some(credential.date));
    let signed_ms = signed_ms
        .ok_or_else(|| error::invalid_argument("X-Amz-Date must be the time of signing, on the day of X-Amz-Credential"))?;
    let skew_ms = u64::from(settings.limits.clock_skew_s_max) * 1000;
    let age_ms_max = u64::from(settings.limits.presigned_s_max) * 1000;
    if signed_ms > now_ms + skew_ms {
        return Err(error::skewed());
    }
    if now_ms > signed_ms + age_ms_max { Err(error::against_policy("Policy expired.")) } else { Ok(()) }
}

/// Milliseconds since 1970 of `20261121T120000Z`.
fn millis(date: &str) -> Option<u64> {
    let digits = date.strip_suffix('Z')?;
    let (day, time) = digits.split_once('T')?;
    let is_whole = day.len() == 8 && time.len() == 6 && (day.bytes().chain(time.bytes())).all(|byte| byte.is_ascii_digit());
    let text =
        is_whole.then(|| format!("{}-{}-{}T{}:{}:{}Z", &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..4], &time[4..]))?;
    convert::millis(&Timestamp::parse(TimestampFormat::DateTime, &text).ok()?)
}

fn hmac_sha256(key: &[u8], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac
}

/// The policy that was signed.
pub fn policy_of(fields: &Fields) -> Result<&str, S3Error> {
    fields.get("policy").ok_or_else(|| error::missing_form_field("Policy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-21T12:00:00Z
    const NOW_MS: u64 = 1_795_262_400_000;

    fn form(date: &str, credential: &str) -> Fields {
        Fields::of(&[
            ("policy", "cG9saWN5"),
            ("x-amz-algorithm", ALGORITHM),
            ("x-amz-credential", credential),
            ("x-amz-date", date),
            ("x-amz-signature", "00"),
        ])
    }

    fn told(fields: &Fields) -> Result<(), String> {
        let read = Signed::read(fields, &Settings::default(), NOW_MS);
        read.map(|_| ()).map_err(|err| err.code().as_str().to_owned())
    }

    #[test]
    fn the_example_of_the_documentation_has_its_signature() {
        // https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html
        let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
        let credential = Credential { access_key: "AKIAIOSFODNN7EXAMPLE", date: "20151229", region: "us-east-1" };
        let signature = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";
        let signed = Signed::V4 { credential, signature };
        signed.check(policy, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY").unwrap();
        assert_eq!(signed.check(policy, "another").unwrap_err().code().as_str(), "SignatureDoesNotMatch");
        assert!(signed.check(&policy[1..], "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY").is_err());
    }

    #[test]
    fn a_signature_counts_from_its_time_on_and_not_for_ever() {
        let on = |date: &str| told(&form(date, &format!("A/{}/us-east-1/s3/aws4_request", &date[..8])));
        for good in ["20261121T115959Z", "20261121T121000Z", "20261115T000000Z"] {
            assert_eq!(on(good), Ok(()), "{good}");
        }
        assert_eq!(on("20261121T130000Z"), Err("RequestTimeTooSkewed".into()));
        assert_eq!(on("20261101T000000Z"), Err("AccessDenied".into()));
        assert_eq!(on("20261321T000000Z"), Err("InvalidArgument".into()));
        assert_eq!(on("20261121T1159590"), Err("InvalidArgument".into()));
    }

    #[test]
    fn a_credential_is_for_this_region_and_for_the_day_of_signing() {
        for bad in [
            "A/20261121/eu-west-1/s3/aws4_request",
            "A/20261120/us-east-1/s3/aws4_request",
            "A/20261121/us-east-1/sts/aws4_request",
            "A/20261121/us-east-1/s3",
            "",
        ] {
            assert_eq!(told(&form("20261121T115959Z", bad)), Err("InvalidArgument".into()), "{bad}");
        }
    }

    #[test]
    fn half_a_signature_is_told_from_none() {
        assert!(Signed::read(&Fields::of(&[("key", "k")]), &Settings::default(), NOW_MS).unwrap().is_none());
        assert_eq!(told(&Fields::of(&[("policy", "p")])), Err("InvalidArgument".into()));
        assert_eq!(told(&Fields::of(&[("x-amz-signature", "p")])), Err("InvalidArgument".into()));
        assert!(policy_of(&Fields::of(&[("signature", "p")])).is_err());
    }

    #[test]
    fn version_2_is_taken_only_where_a_setting_says_so() {
        let fields = Fields::of(&[("policy", "cG9saWN5"), ("awsaccesskeyid", "A"), ("signature", "x")]);
        assert_eq!(told(&fields), Err("InvalidRequest".into()));
        let settings = Settings { form_signature_v2: true, ..Settings::default() };
        let signed = Signed::read(&fields, &settings, NOW_MS).unwrap().unwrap();
        assert!(signed.access_key() == "A" && signed.check("cG9saWN5", "secret").is_err());
        let right = Signed::V2 { access_key: "A", signature: "xjcOd3+I0tu58AF8jUmwdfvwgBU=" };
        right.check("cG9saWN5", "secret").unwrap();
    }
}
