//! What proves this site to the stores that are somewhere else: read when it is needed, so that it may change.

use std::sync::Arc;

use anyhow::Result;

use crate::backend::s3::Keys;
use crate::backend::service::ReadKeys;
use crate::config::{self, Backend, Config, S3Store};

/// Reads the credentials anew each time it is asked.
pub fn read_keys(store: &S3Store) -> ReadKeys<Keys> {
    let (access_key, secret_key) = (store.access_key.clone(), store.secret_key.clone());
    Arc::new(move || {
        let access_key = access_key.resolve().map_err(|err| format!("access_key: {err}"))?;
        let secret_key = secret_key.resolve().map_err(|err| format!("secret_key: {err}"))?;
        Ok(Keys { access_key, secret_key })
    })
}

/// Whether everything is there to be read.
pub fn check(config: &Config) -> Result<()> {
    for (name, backend) in &config.backends {
        let Backend::S3(store) = backend else { continue };
        for (key, secret) in [("access_key", &store.access_key), ("secret_key", &store.secret_key)] {
            let beside = |err: config::SecretError| config::Error::Beside {
                setting: format!("backend.{name}.{key}"),
                reason: err.to_string(),
            };
            secret.resolve().map_err(beside)?;
        }
    }
    Ok(())
}
