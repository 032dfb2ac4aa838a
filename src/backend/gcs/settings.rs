//! What a person sets for Google Cloud Storage.

use crate::backend::service::{Common, refuse_endpoint};

/// Settings of a store of kind `gcs`, but for the credentials, which whoever opens it brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Such as `http://127.0.0.1:4443`; `None` is Google's own.
    pub endpoint: Option<String>,
    /// In which buckets are made, and whose are listed.
    pub project: String,
    pub common: Common,
    /// Says nobody's name, as emulators want it.
    pub anonymous: bool,
}

impl Settings {
    /// The defaults, over a bucket.
    pub fn at(endpoint: Option<String>, project: impl Into<String>, home: impl Into<String>) -> Self {
        Self { endpoint, project: project.into(), common: Common::at(home), anonymous: false }
    }

    /// Which setting cannot be used and why, in words for whoever wrote it.
    pub fn refusal(&self) -> Option<(&'static str, String)> {
        let Self { endpoint, project, common, anonymous } = self;
        if let Some(refusal) = endpoint.as_ref().and_then(|endpoint| refuse_endpoint(endpoint, "https://storage.googleapis.com"))
        {
            return Some(refusal);
        }
        // A token sent in the clear is everybody's.
        if !anonymous && endpoint.as_ref().is_some_and(|endpoint| !endpoint.starts_with("https://")) {
            let allowed = "allowed: an address with https, or with http where nobody's name is told (anonymous)";
            return Some((
                "endpoint",
                format!("found {endpoint:?}; {allowed}", endpoint = endpoint.as_deref().unwrap_or_default()),
            ));
        }
        // Of a domain too: `example.com:project`.
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        if project.is_empty() || project.len() > 255 || !project.chars().all(legal) {
            return Some(("project", format!("found {project:?}; allowed: a project's id, such as \"my-project\"")));
        }
        common.refuse_home().or_else(|| common.refusal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let good = Settings::at(None, "my-project", "home");
        assert_eq!(good.refusal(), None);
        assert_eq!(Settings { endpoint: Some("https://gcs.example.com".to_owned()), ..good.clone() }.refusal(), None);
        for endpoint in ["", "gcs.example.com", "ftp://x", "https://x/path", "https://user:secret@x", "https://x?y", "http://x"] {
            let bad = Settings { endpoint: Some(endpoint.to_owned()), ..good.clone() };
            let (setting, reason) = bad.refusal().unwrap();
            assert!(setting == "endpoint" && !reason.contains("secret"), "{endpoint}");
        }
        let emulator = Settings { endpoint: Some("http://127.0.0.1:1".to_owned()), anonymous: true, ..good.clone() };
        assert_eq!(emulator.refusal(), None);
        for (bad, setting) in [
            (Settings { project: String::new(), ..good.clone() }, "project"),
            (Settings { project: "a b".to_owned(), ..good.clone() }, "project"),
            (Settings { common: Common::at("Home"), ..good.clone() }, "home"),
        ] {
            assert_eq!(bad.refusal().map(|(setting, _)| setting), Some(setting));
        }
    }
}
