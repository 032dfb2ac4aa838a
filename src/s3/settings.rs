//! What the operator may set about how S3 is spoken. Listening is `app`'s.

use std::sync::Arc;

use s3s::config::S3Config;
use s3s::region::Region;
use serde::{Deserialize, Serialize};

/// How S3 is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The region clients sign for; new buckets belong to it.
    pub region: String,
    /// Virtual-host style: `bucket.DOMAIN`. Any other host is path style.
    pub domains: Vec<String>,
    pub limits: Limits,
}

/// Bounds on what one request may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest body of one PUT or one part, bytes.
    pub put_bytes_max: u64,
    /// Largest XML document in a request, bytes: it is held in memory.
    pub xml_bytes_max: usize,
    /// Largest signed chunk, bytes: it is held in memory until its signature is checked.
    pub signed_chunk_bytes_max: usize,
    /// How far a request's clock may be from ours, seconds.
    pub clock_skew_s_max: u32,
    /// Longest life of a presigned URL, seconds.
    pub presigned_s_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { region: super::bucket::FIRST_REGION.into(), domains: Vec::new(), limits: Limits::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            put_bytes_max: 5 << 30,
            xml_bytes_max: 8 << 20,
            signed_chunk_bytes_max: 16 << 20,
            clock_skew_s_max: 900,
            presigned_s_max: 7 * 24 * 60 * 60,
        }
    }
}

impl Settings {
    /// Whether a service can be built from these.
    pub fn check(&self) -> Result<(), String> {
        Region::new(self.region.as_str().into()).map_err(|err| format!("s3.region: {err}"))?;
        let bad = self.domains.iter().find(|domain| domain.is_empty() || domain.contains(['/', ':', ' ', '*']));
        bad.map_or(Ok(()), |domain| Err(format!("s3.domains: {domain:?} is not a host name (no port, no scheme, no wildcard)")))
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
        config.expected_region = Region::new(self.region.as_str().into()).ok();
        config.sig_v4_allowed_services = vec!["s3".into()];
        config.enable_sig_v2 = false;
        Arc::new(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_round_trip_through_toml_and_unknown_keys_are_refused() {
        let text = toml::to_string(&Settings::default()).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), Settings::default());
        assert!(toml::from_str::<Settings>("regin = 'x'").is_err());
    }

    #[test]
    fn a_domain_with_a_port_is_refused_at_start() {
        let settings = Settings { domains: vec!["s3.example.org:9000".into()], ..Settings::default() };
        assert!(settings.check().is_err());
        assert!(Settings::default().check().is_ok());
    }
}
