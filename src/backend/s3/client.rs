//! The connection to the service: who signs, how long a call may take, how often it is repeated, and not to wait for a
//! service that is known to be dead.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, IdentityCache, ProvideCredentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::time::{Instant, sleep};

use super::body::Sending;
use super::error::{Answer, Fault};
use super::{Checksums, Settings};
use crate::backend::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For a small call to be answered, and once more with its repetitions.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// For an answer, once a body that streams was handed over.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Unused connections are closed before most services close them: a body that streams cannot be sent again.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// How long credentials are used before they are read again, so that new ones take effect.
const KEYS_AGE_MAX: Duration = Duration::from_secs(30);
/// Calls in a row that nobody answered, after which the service is taken for dead.
const SILENCES_MAX: u32 = 3;
/// Between two looks at a dead service; everybody else is refused at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who we are there. Never shown.
#[derive(Clone)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
}

/// Reads the credentials from where they are kept; why they cannot be, for people.
pub type ReadKeys = Arc<dyn Fn() -> Result<Keys, String> + Send + Sync>;

/// Ways to call the service, by what a call may take.
#[derive(Debug)]
pub(super) struct Service {
    /// Bounded, and repeated: for what may be done twice.
    quick: Client,
    /// Bounded, and done once: for what must not come late a second time.
    once: Client,
    /// For bodies, which take as long as they take and cannot be sent again; they may not stall.
    long: Client,
    keys: Arc<Signer>,
    pulse: Pulse,
}

impl Service {
    pub fn new(settings: &Settings, read_keys: ReadKeys) -> Self {
        let keys = Arc::new(Signer { read: read_keys, held: Mutex::default() });
        let ring = Provider::Rustls(CryptoMode::Ring);
        let http = Builder::new().pool_idle_timeout(IDLE_MAX).tls_provider(ring).build_https();
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(Region::new(settings.region.clone()))
            .force_path_style(settings.path_style)
            .credentials_provider(Provided(keys.clone()))
            .identity_cache(IdentityCache::no_cache())
            .request_checksum_calculation(match settings.checksums {
                Checksums::Crc32 => RequestChecksumCalculation::WhenSupported,
                Checksums::None => RequestChecksumCalculation::WhenRequired,
            })
            // The site has a checksum of its own of everything it serves.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        config.set_endpoint_url(settings.endpoint.clone());
        let repeated =
            RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF).with_max_backoff(BACKOFF_MAX);
        let bounded = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        let unbounded = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build();
        let client = |timeouts: &TimeoutConfig, retries: RetryConfig| {
            Client::from_conf(config.clone().timeout_config(timeouts.clone()).retry_config(retries).build())
        };
        let quick = client(&bounded, repeated);
        let once = client(&bounded, RetryConfig::disabled());
        let long = client(&unbounded, RetryConfig::disabled());
        Self { quick, once, long, keys, pulse: Pulse::default() }
    }

    pub fn quick(&self) -> &Client {
        &self.quick
    }

    pub fn once(&self) -> &Client {
        &self.once
    }

    pub fn long(&self) -> &Client {
        &self.long
    }

    /// Makes a call, unless the service is known to be dead.
    pub async fn ask<T, E>(
        &self,
        doing: &'static str,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Answer<T>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        if !self.pulse.admits() {
            return Err(Fault::late("not tried, since nobody answers there"));
        }
        let answer = call.await.map_err(|err| Fault::of(doing, err));
        self.listen(&answer);
        answer
    }

    /// Makes a call with a body that streams. The outer error is the sender's, who is no reason to think ill of the service.
    pub async fn ask_with_body<T, E>(
        &self,
        doing: &'static str,
        sending: &Sending,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<Answer<T>, Error>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        if !self.pulse.admits() {
            return Ok(Err(Fault::late("not tried, since nobody answers there")));
        }
        let silence = async {
            sending.ended.notified().await;
            sleep(ANSWER_PATIENCE).await;
        };
        let answer = tokio::select! {
            answer = call => answer.map_err(|err| Fault::of(doing, err)),
            () = silence => Err(Fault::late(doing)),
        };
        if let Some(fault) = sending.take_fault() {
            return Err(Error::Body(fault));
        }
        self.listen(&answer);
        Ok(answer)
    }

    /// Learns from an answer whether the service lives, and whether it still knows us.
    fn listen<T>(&self, answer: &Answer<T>) {
        match answer {
            Err(fault) if fault.is_silence() => self.pulse.stops(),
            Err(fault) => {
                self.pulse.beats();
                if fault.is_denied() {
                    self.keys.forget();
                }
            }
            Ok(_) => self.pulse.beats(),
        }
    }

    /// Whether credentials can be read at all.
    pub fn check_keys(&self) -> Result<(), Error> {
        self.keys.current().map(drop).map_err(|reason| Error::Unavailable(format!("no credentials: {reason}")))
    }
}

/// Whether the service answers.
#[derive(Debug, Default)]
struct Pulse(Mutex<Silence>);

#[derive(Debug, Default)]
struct Silence {
    calls: u32,
    looked: Option<Instant>,
}

impl Pulse {
    fn silence(&self) -> std::sync::MutexGuard<'_, Silence> {
        self.0.lock().expect("nothing panics while it holds the pulse")
    }

    /// Whether a call may be made: at a dead service one at a time looks whether it is back.
    fn admits(&self) -> bool {
        let mut silence = self.silence();
        let now = Instant::now();
        let is_due = silence.looked.is_none_or(|looked| now - looked >= LOOK_EVERY);
        if silence.calls < SILENCES_MAX {
            return true;
        }
        if is_due {
            silence.looked = Some(now);
        }
        is_due
    }

    fn beats(&self) {
        *self.silence() = Silence::default();
    }

    fn stops(&self) {
        let mut silence = self.silence();
        silence.calls = silence.calls.saturating_add(1);
        silence.looked = Some(Instant::now());
    }
}

/// Holds credentials for a while.
struct Signer {
    read: ReadKeys,
    held: Mutex<Option<(Keys, Instant)>>,
}

impl Signer {
    fn current(&self) -> Result<Keys, String> {
        let mut held = self.held.lock().expect("nothing panics while it holds the credentials");
        if let Some((keys, _)) = held.as_ref().filter(|(_, read)| read.elapsed() < KEYS_AGE_MAX) {
            return Ok(keys.clone());
        }
        let keys = match ((self.read)(), held.as_ref()) {
            (Ok(keys), _) => keys,
            // Those that were good until now may be good still.
            (Err(reason), Some((keys, _))) => {
                tracing::warn!(reason, "the credentials of the store cannot be read again: the old ones are used");
                keys.clone()
            }
            (Err(reason), None) => return Err(reason),
        };
        *held = Some((keys.clone(), Instant::now()));
        Ok(keys)
    }

    /// The next call reads them again.
    fn forget(&self) {
        *self.held.lock().expect("nothing panics while it holds the credentials") = None;
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

#[derive(Debug)]
struct Provided(Arc<Signer>);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dead_service_is_looked_at_once_a_second() {
        let pulse = Pulse::default();
        for _ in 0..SILENCES_MAX {
            assert!(pulse.admits());
            pulse.stops();
        }
        assert!(!pulse.admits());
        tokio::time::advance(LOOK_EVERY).await;
        assert!(pulse.admits());
        assert!(!pulse.admits(), "one looks, the others are refused");
        pulse.beats();
        assert!(pulse.admits() && pulse.admits());
    }

    #[tokio::test(start_paused = true)]
    async fn new_credentials_take_effect_without_a_restart() {
        let kept = Arc::new(Mutex::new(Ok("one".to_owned())));
        let read: ReadKeys = Arc::new({
            let kept = kept.clone();
            move || kept.lock().unwrap().clone().map(|access_key| Keys { access_key, secret_key: String::new() })
        });
        let signer = Signer { read, held: Mutex::default() };
        let current = || signer.current().map(|keys| keys.access_key);
        assert_eq!(current(), Ok("one".to_owned()));
        *kept.lock().unwrap() = Ok("two".to_owned());
        assert_eq!(current(), Ok("one".to_owned()));
        tokio::time::advance(KEYS_AGE_MAX).await;
        assert_eq!(current(), Ok("two".to_owned()));
        *kept.lock().unwrap() = Err("gone".to_owned());
        tokio::time::advance(KEYS_AGE_MAX).await;
        assert_eq!(current(), Ok("two".to_owned()));
        signer.forget();
        assert_eq!(current(), Err("gone".to_owned()));
    }
}
