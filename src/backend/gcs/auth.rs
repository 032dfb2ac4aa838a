//! Who we are at the service. Google's library gets tokens and renews them; nobody else here knows its types.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use google_cloud_auth::build_errors::Error as BuildError;
use google_cloud_auth::credentials::{
    Builder, CacheableResource, Credentials, external_account, impersonated, service_account, user_account,
};
use google_cloud_auth::errors::CredentialsError;
use http::{Extensions, HeaderMap};
use tokio::time::{Instant, timeout};

use crate::backend::service::{Answer, Fault};

/// For a token to be had: less than a call has, so that it is not the store that is taken for dead.
const TOKEN_PATIENCE: Duration = Duration::from_secs(5);
/// How long credentials are kept however often they are refused: a call without rights is no reason to ask for new tokens
/// each time.
const KEPT_AT_LEAST: Duration = Duration::from_secs(30);
const DOING: &str = "getting a token";

/// Where the credentials are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Where Google's own tools look: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, that of `gcloud`, or the
    /// metadata server of the machine.
    Default,
    /// A file of Google's JSON: of a service account, or of anything else that has a `type` there.
    File(PathBuf),
}

/// Makes the headers that say who we are.
pub(super) struct Auth {
    /// `None`: nobody.
    keys: Option<Keys>,
    made: Mutex<Option<Made>>,
}

struct Made {
    credentials: Credentials,
    at: Instant,
}

impl Auth {
    pub fn new(keys: Option<Keys>) -> Self {
        Self { keys, made: Mutex::default() }
    }

    fn made(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().expect("nothing panics while it holds the credentials")
    }

    /// What goes with each request.
    pub async fn headers(&self) -> Answer<HeaderMap> {
        let Some(keys) = &self.keys else { return Ok(HeaderMap::new()) };
        let credentials = self.credentials(keys)?;
        let told = timeout(TOKEN_PATIENCE, credentials.headers(Extensions::new())).await;
        match told.map_err(|_| unavailable("no answer came in time".to_owned()))? {
            Ok(CacheableResource::New { data, .. }) => Ok(data),
            // That would be about headers that were had before.
            Ok(CacheableResource::NotModified) => Err(unavailable("there is none".to_owned())),
            Err(err) => Err(self.refused(&err)),
        }
    }

    fn credentials(&self, keys: &Keys) -> Answer<Credentials> {
        let mut made = self.made();
        if let Some(made) = made.as_ref() {
            return Ok(made.credentials.clone());
        }
        let credentials = build(keys).map_err(denied)?;
        *made = Some(Made { credentials: credentials.clone(), at: Instant::now() });
        Ok(credentials)
    }

    fn refused(&self, err: &CredentialsError) -> Fault {
        let Fault { detail, .. } = Fault::unsent(DOING, err);
        if err.is_transient() {
            return unavailable(detail);
        }
        // The library does not try again what it was refused for good.
        self.forget();
        denied(detail)
    }

    /// The next call begins with the file again, if what it held is not quite new.
    pub fn forget(&self) {
        self.made().take_if(|made| made.at.elapsed() >= KEPT_AT_LEAST);
    }

    /// As if they had been there for long.
    #[cfg(test)]
    pub fn age(&self) {
        self.made().iter_mut().for_each(|made| made.at -= KEPT_AT_LEAST);
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// Nothing was sent, and it may go well later.
fn unavailable(detail: String) -> Fault {
    Fault { doing: DOING, status: Some(503), code: String::new(), detail }
}

fn denied(detail: String) -> Fault {
    Fault { doing: DOING, status: Some(401), code: "AuthenticationFailed".to_owned(), detail }
}

fn build(keys: &Keys) -> Result<Credentials, String> {
    // The library's own connections take the process's provider of cryptography and panic without one; another may be there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match keys {
        Keys::Default => Builder::default().build().map_err(|err| explained(&err)),
        Keys::File(path) => from_file(path).map_err(|reason| format!("{}: {reason}", path.display())),
    }
}

fn from_file(path: &Path) -> Result<Credentials, String> {
    let text = fs::read_to_string(path).map_err(|err| err.to_string())?;
    // What a parser says may quote what it found.
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|_| "it is no JSON".to_owned())?;
    let built = match json.get("type").and_then(serde_json::Value::as_str) {
        Some("service_account") => service_account::Builder::new(json).build(),
        Some("authorized_user") => user_account::Builder::new(json).build(),
        Some("external_account") => external_account::Builder::new(json).build(),
        Some("impersonated_service_account") => impersonated::Builder::new(json).build(),
        _ => return Err("its type is none of service_account, authorized_user, external_account".to_owned()),
    };
    built.map_err(|err| explained(&err))
}

fn explained(err: &BuildError) -> String {
    if err.is_parsing() { "the credentials cannot be read".to_owned() } else { err.to_string() }
}
