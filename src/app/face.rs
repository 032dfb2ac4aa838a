//! The S3 face: made of settings and keys, and counted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use tracing::{error, info};

use crate::config::{self, ByteSize, Config, Period};
use crate::s3::{self, Key, Keyring, KeysError, Observe, S3Layer};
use crate::site::{FIRST_OWNER, Site};
use crate::telemetry::{Answered, Metrics};

/// A key from the environment: for containers and tests.
const ACCESS_KEY: &str = "ANYBUCKET_ACCESS_KEY";
const SECRET_KEY: &str = "ANYBUCKET_SECRET_KEY";

/// The access keys.
#[derive(Debug)]
pub struct Keys {
    ring: Keyring,
    /// The one to show to whoever starts the process.
    first: Option<FirstKey>,
}

/// A key for the first steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstKey {
    pub access_key: String,
    /// Whether its secret is in the environment rather than in the keys file.
    pub from_environment: bool,
}

impl Keys {
    /// Reads the keys file, which is made with a new key where it is not there, and the environment.
    pub fn open(config: &Config) -> Result<Self> {
        let fixed = key_of(variable(ACCESS_KEY), variable(SECRET_KEY))?;
        let path = &config.access.keys_file;
        let (ring, made) = Keyring::open(path, fixed.iter().cloned().collect(), FIRST_OWNER).map_err(unusable)?;
        if made.is_some() {
            info!(path = %path.display(), "made an access key");
        }
        let from_environment = fixed.is_some();
        let first = fixed.or(made).or_else(|| ring.list().first().map(|key| Key::clone(key)));
        let first = first.map(|key| FirstKey { access_key: key.access_key, from_environment });
        Ok(Self { ring, first })
    }

    /// Whether [`Keys::open`] would find a fault. Makes nothing.
    pub fn check(config: &Config) -> Result<()> {
        key_of(variable(ACCESS_KEY), variable(SECRET_KEY))?;
        Keyring::check(&config.access.keys_file).map_err(unusable)
    }

    /// A key for the first steps; none where a person emptied the file.
    pub fn first(&self) -> Option<&FirstKey> {
        self.first.as_ref()
    }

    /// Reads the file again. A file with a fault changes nothing.
    pub fn reload(&self) {
        match self.ring.reload() {
            Ok(()) => info!(keys = self.ring.list().len(), "read the access keys again"),
            Err(error) => error!(%error, "the access keys stay as they were"),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A file with a fault is a wrong setting, for a person to mend; a disk that fails is not.
fn unusable(err: KeysError) -> anyhow::Error {
    match err {
        KeysError::Parse { .. } | KeysError::Key(..) => refusal("access.keys_file", err.to_string()),
        other => anyhow::Error::new(other).context("cannot use the access keys (access.keys_file)"),
    }
}

fn refusal(setting: &str, reason: String) -> anyhow::Error {
    config::Error::Beside { setting: setting.into(), reason }.into()
}

fn key_of(access_key: Option<String>, secret_key: Option<String>) -> Result<Option<Key>> {
    match (access_key, secret_key) {
        (None, None) => Ok(None),
        (Some(access_key), Some(secret)) => {
            let key = Key::with_every_right(&access_key, &secret, FIRST_OWNER);
            key.check().map_err(|err| refusal("the environment", err.to_string()))?;
            Ok(Some(key))
        }
        _ => Err(refusal("the environment", format!("{ACCESS_KEY} and {SECRET_KEY} make a key together: set both or none"))),
    }
}

/// The service for the S3 listener. `seed` makes request ids differ from those of other processes.
pub fn service(config: &Config, site: Site, keys: &Keys, metrics: &Metrics, seed: u64) -> Counted {
    let face = s3::Face::new(site, settings(config));
    let observer = Arc::new(Observer(metrics.clone()));
    Counted { service: s3::service(face, keys.ring.clone(), observer, seed), metrics: metrics.clone() }
}

fn settings(config: &Config) -> s3::Settings {
    let limits = &config.s3.limits;
    let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    let seconds = |period: Period| u32::try_from(period.0.as_secs()).unwrap_or(u32::MAX);
    s3::Settings {
        region: config.s3.region.clone(),
        domains: config.s3.domains.clone(),
        limits: s3::Limits {
            put_bytes_max: limits.put_bytes_max.0,
            xml_bytes_max: bytes(limits.xml_bytes_max),
            signed_chunk_bytes_max: bytes(limits.signed_chunk_bytes_max),
            idle_max: config.s3.idle_timeout.0,
            clock_skew_s_max: seconds(limits.clock_skew_max),
            presigned_s_max: seconds(limits.presigned_max),
        },
    }
}

/// The S3 face, whose requests are counted while they are answered.
#[derive(Clone)]
pub struct Counted {
    service: S3Layer,
    metrics: Metrics,
}

impl Service<Request<Incoming>> for Counted {
    type Response = <S3Layer as Service<Request<Incoming>>>::Response;
    type Error = <S3Layer as Service<Request<Incoming>>>::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.metrics.arrived();
        let answer = self.service.call(request);
        Box::pin(async move {
            let _in_flight = in_flight;
            answer.await
        })
    }
}

struct Observer(Metrics);

impl Observe for Observer {
    fn request(&self, op: &str, status: u16, micros: u64, bytes_in: u64, bytes_out: u64) {
        let operation = if op.is_empty() { "unknown" } else { op };
        let took = Duration::from_micros(micros);
        self.0.answered(operation, Answered { status, took, received: bytes_in, sent: bytes_out });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_face() {
        assert_eq!(settings(&Config::default()), s3::Settings::default());
    }

    #[test]
    fn half_a_key_in_the_environment_is_refused() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(key_of(None, None).unwrap(), None);
        assert_eq!(key_of(text("ABC"), text("secret-of-it")).unwrap().unwrap().access_key, "ABC");
        for (access_key, secret) in [(text("A"), None), (None, text("s"))] {
            assert!(key_of(access_key, secret).unwrap_err().to_string().contains("set both or none"));
        }
    }
}
