//! What a person sets for another S3 service.

use serde::{Deserialize, Serialize};

use crate::backend::service::{Common, refuse_endpoint};

/// Settings of a store of kind `s3`, but for the credentials, which whoever opens it brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Such as `https://s3.example.com`; `None` is AWS.
    pub endpoint: Option<String>,
    /// What requests are signed for.
    pub region: String,
    /// `ENDPOINT/BUCKET` rather than `BUCKET.ENDPOINT`.
    pub path_style: bool,
    pub common: Common,
    pub checksums: Checksums,
}

/// What bodies are sent with, beside their length and, where they are in memory, the SHA-256 that is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksums {
    /// `x-amz-checksum-crc32`, in a trailer where the body streams.
    #[default]
    Crc32,
    /// None: for services that refuse trailers.
    None,
}

impl Settings {
    /// The defaults, over a bucket.
    pub fn at(endpoint: Option<String>, home: impl Into<String>) -> Self {
        Self {
            path_style: endpoint.is_some(),
            endpoint,
            region: "us-east-1".to_owned(),
            common: Common::at(home),
            checksums: Checksums::default(),
        }
    }

    /// Which setting cannot be used and why, in words for whoever wrote it.
    pub fn refusal(&self) -> Option<(&'static str, String)> {
        let Self { endpoint, region, common, .. } = self;
        if let Some(refusal) = endpoint.as_ref().and_then(|endpoint| refuse_endpoint(endpoint, "https://s3.example.com")) {
            return Some(refusal);
        }
        if endpoint.as_ref().is_some_and(|endpoint| endpoint.trim_end_matches('/').ends_with("storage.googleapis.com")) {
            let reason =
                "Google Cloud Storage is kind = \"gcs\": its S3 interface hands out what is stored compressed as something else";
            return Some(("endpoint", reason.to_owned()));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if region.is_empty() || !region.chars().all(legal) {
            return Some(("region", format!("found {region:?}; allowed: a name such as \"eu-central-1\"")));
        }
        common.refuse_home().or_else(|| common.refusal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let good = Settings::at(Some("http://127.0.0.1:7070".to_owned()), "home");
        assert_eq!(good.refusal(), None);
        assert_eq!(Settings::at(None, "home").refusal(), None);
        for endpoint in [
            "",
            "s3.example.com",
            "ftp://x",
            "http://x/path",
            "https://user:secret@x",
            "https://x?y",
            "https://storage.googleapis.com",
        ] {
            let bad = Settings { endpoint: Some(endpoint.to_owned()), ..good.clone() };
            assert_eq!(bad.refusal().map(|(setting, _)| setting), Some("endpoint"), "{endpoint}");
        }
        for (bad, setting) in [
            (Settings { region: "a b".to_owned(), ..good.clone() }, "region"),
            (Settings { common: Common::at("Home"), ..good.clone() }, "home"),
        ] {
            assert_eq!(bad.refusal().map(|(setting, _)| setting), Some(setting));
        }
    }
}
