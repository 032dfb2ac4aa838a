//! Identities of Entra. Nothing else knows the crate that asks for their tokens.

use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::ClientOptions;
use azure_core::http::policies::Policy;
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_identity::{
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};

use super::client::transport;
use crate::backend::Error;
use crate::backend::Result;

const SCOPE: &str = "https://storage.azure.com/.default";

/// Tokens of an identity, asked for when they are needed and kept as long as they are good.
#[derive(Clone)]
pub struct Token(Arc<dyn Policy>);

/// Whose tokens.
#[derive(Clone)]
pub enum Identity {
    /// The machine's: its only one, or that of a client id.
    Managed { client_id: Option<String> },
    /// The pod's, as Kubernetes says in `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_FEDERATED_TOKEN_FILE`.
    Workload,
    /// An application's.
    Application { tenant_id: String, client_id: String, secret: String },
}

impl Token {
    /// Asks for nothing yet.
    pub fn of(identity: Identity) -> Result<Self> {
        Ok(Self::from(
            credential(identity, ClientOptions { transport: Some(transport()?), ..ClientOptions::default() })
                .map_err(|err| Error::Unavailable(format!("no credentials: {err}")))?,
        ))
    }

    pub(super) fn policy(&self) -> &dyn Policy {
        &*self.0
    }
}

impl From<Arc<dyn TokenCredential>> for Token {
    fn from(credential: Arc<dyn TokenCredential>) -> Self {
        Self(Arc::new(BearerTokenAuthorizationPolicy::new(credential, [SCOPE])))
    }
}

fn credential(identity: Identity, client_options: ClientOptions) -> azure_core::Result<Arc<dyn TokenCredential>> {
    Ok(match identity {
        Identity::Managed { client_id } => {
            let user_assigned_id = client_id.map(UserAssignedId::ClientId);
            let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options };
            ManagedIdentityCredential::new(Some(options))?
        }
        Identity::Workload => {
            let credential_options = ClientAssertionCredentialOptions { client_options };
            let options = WorkloadIdentityCredentialOptions { credential_options, ..Default::default() };
            WorkloadIdentityCredential::new(Some(options))?
        }
        Identity::Application { tenant_id, client_id, secret } => {
            let options = ClientSecretCredentialOptions { client_options };
            ClientSecretCredential::new(&tenant_id, client_id, Secret::new(secret), Some(options))?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn identities_need_nobody_before_they_are_used() {
        let of = |id: &str| Identity::Application {
            tenant_id: id.to_owned(),
            client_id: "client".to_owned(),
            secret: "hunter2".to_owned(),
        };
        assert!(Token::of(of("tenant")).is_ok());
        assert!(Token::of(Identity::Managed { client_id: Some("client".to_owned()) }).is_ok());
        let refused = Token::of(of("no tenant!")).err().expect("that is no tenant");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}
