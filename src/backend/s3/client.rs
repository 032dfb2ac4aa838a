//! The connection to the service, and who signs. Whoever calls bounds how long a call may take, and repeats it.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, IdentityCache, ProvideCredentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use super::{Checksums, Settings};
use crate::backend::Error;
use crate::backend::service::{Held, ReadKeys};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Unused connections are closed before most services close them: a body that streams cannot be sent again.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// Who we are there. Never shown.
#[derive(Clone)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
}

/// How long a service may take nothing of a body: the SDK's five seconds are over where many bodies come at once.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Makes calls.
#[derive(Debug)]
pub(super) struct Caller {
    client: Client,
    keys: Arc<Held<Keys>>,
}

impl Caller {
    /// Fails where the credentials cannot be read.
    pub fn new(settings: &Settings, read_keys: ReadKeys<Keys>) -> Result<Self, Error> {
        let keys = Arc::new(Held::new(read_keys));
        keys.current().map_err(|reason| Error::Unavailable(format!("no credentials: {reason}")))?;
        let ring = Provider::Rustls(CryptoMode::Ring);
        let http = Builder::new().pool_idle_timeout(IDLE_MAX).tls_provider(ring).build_https();
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(Region::new(settings.region.clone()))
            .force_path_style(settings.path_style)
            .credentials_provider(Provided(keys.clone()))
            .identity_cache(IdentityCache::no_cache())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL_MAX).build())
            .request_checksum_calculation(match settings.checksums {
                Checksums::Crc32 => RequestChecksumCalculation::WhenSupported,
                Checksums::None => RequestChecksumCalculation::WhenRequired,
            })
            // The site has a checksum of its own of everything it serves.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        config.set_endpoint_url(settings.endpoint.clone());
        Ok(Self { client: Client::from_conf(config.build()), keys })
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn forget_keys(&self) {
        self.keys.forget();
    }
}

#[derive(Debug)]
struct Provided(Arc<Held<Keys>>);

impl ProvideCredentials for Provided {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let current = self.0.current().map_err(CredentialsError::provider_error);
        future::ProvideCredentials::ready(
            current.map(|keys| Credentials::new(keys.access_key, keys.secret_key, None, None, "anybucket")),
        )
    }
}
