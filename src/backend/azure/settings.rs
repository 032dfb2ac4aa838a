//! What a person sets for Azure Blob Storage.

use azure_core::http::Url;

use super::containers::is_container_name;
use crate::backend::service::Common;

/// Settings of a store of kind `azure`, but for the credentials, which whoever opens it brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `https://ACCOUNT.blob.core.windows.net`; an emulator has the account in the path: `http://127.0.0.1:10000/devstoreaccount1`.
    pub endpoint: String,
    pub common: Common,
}

impl Settings {
    /// The defaults, over an account and a container.
    pub fn at(endpoint: impl Into<String>, home: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), common: Common::at(home) }
    }

    /// The account that the endpoint names: in its path where an emulator has it there.
    pub fn account(&self) -> String {
        let url = Url::parse(&self.endpoint).ok();
        let in_path = url.as_ref().and_then(|url| url.path_segments()?.find(|part| !part.is_empty()));
        let in_host = url.as_ref().and_then(|url| url.host_str()?.split('.').next());
        in_path.or(in_host).unwrap_or_default().to_owned()
    }

    /// Which setting cannot be used and why, in words for whoever wrote it.
    pub fn refusal(&self) -> Option<(&'static str, String)> {
        let Self { endpoint, common } = self;
        let home = &common.home;
        if !is_endpoint(endpoint) {
            // It may hold a secret: a signature behind its ?, a password before its @.
            let found =
                if endpoint.contains(['@', '?']) { "an address with credentials".to_owned() } else { format!("{endpoint:?}") };
            let allowed = "such as \"https://ACCOUNT.blob.core.windows.net\", without a container";
            return Some(("endpoint", format!("found {found}; allowed: {allowed}")));
        }
        if !is_container_name(home) {
            let allowed = "allowed: 3 to 63 characters of a-z, 0-9 and single '-' between them";
            return Some(("home", format!("found {home:?}; {allowed}")));
        }
        common.refusal()
    }
}

fn is_endpoint(endpoint: &str) -> bool {
    Url::parse(endpoint).is_ok_and(|url| {
        let is_http = matches!(url.scheme(), "http" | "https") && url.host().is_some();
        let has_more =
            !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some();
        let is_account = url.path_segments().is_some_and(|parts| parts.filter(|part| !part.is_empty()).count() <= 1);
        is_http && !has_more && is_account
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let good = Settings::at("http://127.0.0.1:10000/devstoreaccount1", "home");
        assert_eq!(good.refusal(), None);
        assert_eq!(good.account(), "devstoreaccount1");
        for endpoint in ["https://a.blob.core.windows.net", "https://a.blob.core.windows.net/"] {
            assert_eq!(Settings::at(endpoint, "home").refusal(), None, "{endpoint}");
            assert_eq!(Settings::at(endpoint, "home").account(), "a");
        }
        for endpoint in
            ["", "a.blob.core.windows.net", "ftp://x", "http://x/account/container", "https://u:p@x", "https://x?sig=s"]
        {
            let bad = Settings { endpoint: endpoint.to_owned(), ..good.clone() };
            let (setting, reason) = bad.refusal().unwrap();
            assert_eq!(setting, "endpoint", "{endpoint}");
            assert!(!reason.contains("sig=") && !reason.contains("u:p"), "{reason}");
        }
        for (bad, setting) in [
            (Settings { common: Common::at("Home"), ..good.clone() }, "home"),
            (Settings { common: Common::at("ho.me"), ..good.clone() }, "home"),
        ] {
            assert_eq!(bad.refusal().map(|(setting, _)| setting), Some(setting));
        }
    }
}
