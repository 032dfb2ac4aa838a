//! What the operator may set about how S3 is spoken. Listening is `app`'s.

use std::sync::Arc;
use std::time::Duration;

use s3s::config::S3Config;
use s3s::region::Region;

use super::pace::Pace;

/// How S3 is spoken. `config` refuses names that are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The region clients sign for; new buckets belong to it.
    pub region: String,
    /// Where else new buckets may be asked for.
    pub locations: Vec<String>,
    /// Virtual-host style: `bucket.DOMAIN`. Any other host is path style.
    pub domains: Vec<String>,
    /// The operator vouches that the store encrypts what it holds: AES256 may be asked for, and is said of every object.
    pub vouch_encryption: bool,
    /// Whether the policy of a form may be signed by SigV2 too.
    pub form_signature_v2: bool,
    pub limits: Limits,
    /// What a day of a lifecycle rule is.
    pub day: Duration,
}

/// Bounds on what one request may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of one PUT or one part, bytes.
    pub put_bytes_max: u64,
    /// Largest XML document in a request, bytes: it is held in memory.
    pub xml_bytes_max: usize,
    /// Fields of a form before its file, bytes together: they are held in memory.
    pub form_fields_bytes_max: usize,
    /// Request line, names and values of headers, bytes together.
    pub header_bytes_max: usize,
    /// What all requests together may hold in memory, bytes.
    pub held_bytes_max: usize,
    /// The least that a body brings while it is waited for, beyond what `idle_max` grants.
    pub body_bytes_per_second_min: u64,
    /// Of each key that has none of its own.
    pub key_pace: Pace,
    /// Largest signed chunk, bytes: it is held in memory until its signature is checked.
    pub signed_chunk_bytes_max: usize,
    /// How long a body may stand still.
    pub idle_max: Duration,
    /// How far a request's clock may be from ours, seconds.
    pub clock_skew_s_max: u32,
    /// Longest life of a presigned URL, seconds.
    pub presigned_s_max: u32,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Default for Settings {
    fn default() -> Self {
        Self {
            region: super::bucket::FIRST_REGION.into(),
            locations: Vec::new(),
            domains: Vec::new(),
            vouch_encryption: false,
            form_signature_v2: false,
            limits: Limits::default(),
            day: DAY,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            put_bytes_max: 5 << 30,
            xml_bytes_max: 8 << 20,
            form_fields_bytes_max: 20 << 10,
            header_bytes_max: 32 << 10,
            // A signed chunk of the usual 64 to 128 KiB on each of 2,000 connections.
            held_bytes_max: 256 << 20,
            body_bytes_per_second_min: 256,
            key_pace: Pace::default(),
            // SDKs sign chunks of 64 KiB (minio-go, and with it mc, warp and restic), 80 KiB (.NET) or 128 KiB (Java), and
            // others sign none: what they send in larger chunks is unsigned, which passes by as it comes.
            signed_chunk_bytes_max: 1 << 20,
            idle_max: Duration::from_secs(60),
            clock_skew_s_max: 900,
            presigned_s_max: 7 * 24 * 60 * 60,
        }
    }
}

impl Settings {
    /// Where new buckets may be asked for, the site's own region first.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.region).chain(&self.locations).map(String::as_str)
    }

    /// What s3s is to enforce. The body limit is ours (`upload`), so that its answer is ours too.
    pub(super) fn for_s3s(&self) -> Arc<S3Config> {
        let mut config = S3Config::default();
        config.xml_max_body_size = self.limits.xml_bytes_max;
        config.put_object_max_size = None;
        config.custom_route_max_body_size = None;
        config.aws_chunked_stream_max_chunk_size = self.limits.signed_chunk_bytes_max;
        config.presigned_url_max_skew_time_secs = self.limits.clock_skew_s_max;
        config.presigned_url_max_expires_secs = self.limits.presigned_s_max;
        // Some clients ask for a bucket's location and sign for that: where there are several, any may be signed for.
        let only = self.locations.is_empty().then(|| Region::new(self.region.as_str().into()));
        config.expected_region = only.map(|region| region.expect("config/rules.rs refuses what is no region"));
        config.sig_v4_allowed_services = vec!["s3".into()];
        config.enable_sig_v2 = false;
        Arc::new(config)
    }
}
