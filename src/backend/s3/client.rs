//! The connection to the service, and who signs. Whoever calls bounds how long a call may take, and repeats it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use super::credentials::{Login, Provided, Signer};
use super::renewed::Renewed;
use super::{Checksums, Settings, chain};
use crate::backend::Error;
use crate::backend::service::Held;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Unused connections are closed before most services close them: a body that streams cannot be sent again.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// How long a service may take nothing of a body: the SDK's five seconds are over where many bodies come at once.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Makes calls.
#[derive(Debug)]
pub(super) struct Caller {
    client: Client,
    signer: Arc<Signer>,
}

impl Caller {
    /// Fails where there are no credentials.
    pub async fn new(settings: &Settings, login: Login) -> Result<Self, Error> {
        let http = http_client();
        let signer = match login {
            Login::Keys(read) => Signer::Keys(Held::new(read)),
            Login::Chain => Signer::Chain(Renewed::new(chain::ask(http.clone(), region_of(settings)))),
        };
        Self::signed_by(signer, settings, http).await
    }

    pub(super) async fn signed_by(signer: Signer, settings: &Settings, http: SharedHttpClient) -> Result<Self, Error> {
        signer.current().await.map_err(|reason| Error::Unavailable(format!("no credentials: {reason}")))?;
        let signer = Arc::new(signer);
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(region_of(settings))
            .force_path_style(settings.path_style)
            .credentials_provider(Provided(signer.clone()))
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
        Ok(Self { client: Client::from_conf(config.build()), signer })
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn forget_keys(&self) {
        self.signer.forget();
    }
}

/// What both the service and whoever gives credentials are asked over.
pub(super) fn http_client() -> SharedHttpClient {
    let ring = Provider::Rustls(CryptoMode::Ring);
    Builder::new().pool_idle_timeout(IDLE_MAX).tls_provider(ring).build_https()
}

fn region_of(settings: &Settings) -> Region {
    Region::new(settings.region.clone())
}
