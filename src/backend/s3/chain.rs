//! AWS's own chain of credentials: environment, profile, web identity, container, machine. Nothing else knows the crate
//! that asks along it.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::meta::ProviderChainError;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::{ProvideCredentials, Region, SharedHttpClient};
use aws_smithy_async::time::SharedTimeSource;

use super::renewed::{Ask, Given};
use crate::backend::service::causes;

/// Asks along the whole chain, from its beginning: the crate reads a profile once and never again, and goes on with a machine's
/// old credentials where it has no new ones.
pub(super) fn ask(http: SharedHttpClient, region: Region) -> Ask {
    Arc::new(move || {
        let (http, region) = (http.clone(), region.clone());
        Box::pin(async move {
            let config = ProviderConfig::without_region().with_http_client(http);
            let chain = DefaultCredentialsChain::builder().region(region).configure(config).build().await;
            given(&chain, &SharedTimeSource::default()).await
        })
    })
}

/// What a link of the chain has, and for how long by that clock.
pub(super) async fn given(link: &impl ProvideCredentials, time: &SharedTimeSource) -> Result<Given, String> {
    let credentials = link.provide_credentials().await.map_err(|err| explained(&err))?;
    let life = credentials.expiry().map(|end| end.duration_since(time.now()).unwrap_or(Duration::ZERO));
    Ok(Given { credentials, life })
}

/// What was tried, and why it had none.
fn explained(err: &CredentialsError) -> String {
    let links = err.source().and_then(|source| source.downcast_ref::<ProviderChainError<CredentialsError>>());
    let Some(links) = links else { return causes(err) };
    let tried = links.attempts().iter().map(|link| {
        let reason = link.error().source().map_or_else(|| link.error().to_string(), causes);
        format!("{}: {reason}", link.name())
    });
    format!("no link of the chain has any ({})", tried.collect::<Vec<_>>().join("; "))
}
