//! Who we are at the service: what signs each request.

use std::sync::Arc;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::{Credentials, ProvideCredentials};

use super::renewed::Renewed;
use crate::backend::service::{Held, ReadKeys};

const REMEDY: &str = "give this process AWS_ACCESS_KEY_ID, a profile or a role, or set access_key and secret_key instead";

/// Who we are there. Never shown.
#[derive(Clone)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
    /// Of keys that are good for a time only.
    pub session_token: Option<String>,
}

/// What proves who we are.
#[derive(Clone)]
pub enum Login {
    /// Keys, from wherever they are kept.
    Keys(ReadKeys<Keys>),
    /// Whatever AWS's own chain finds.
    Chain,
}

/// Has the credentials of the moment.
#[derive(Debug)]
pub(super) enum Signer {
    Keys(Held<Keys>),
    Chain(Arc<Renewed>),
}

impl Signer {
    /// Says why where there are none.
    pub async fn current(&self) -> Result<Credentials, String> {
        match self {
            Self::Keys(held) => held.current().map(Credentials::from),
            Self::Chain(renewed) => renewed.current().await.map_err(|reason| format!("identity = \"chain\": {reason}; {REMEDY}")),
        }
    }

    /// They were refused.
    pub fn forget(&self) {
        match self {
            Self::Keys(held) => held.forget(),
            Self::Chain(renewed) => renewed.forget(),
        }
    }
}

impl From<Keys> for Credentials {
    fn from(keys: Keys) -> Self {
        Self::new(keys.access_key, keys.secret_key, keys.session_token, None, "anybucket")
    }
}

/// The same, as the SDK asks for it.
#[derive(Debug)]
pub(super) struct Provided(pub Arc<Signer>);

impl ProvideCredentials for Provided {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.0.current().await.map_err(CredentialsError::provider_error) })
    }
}
