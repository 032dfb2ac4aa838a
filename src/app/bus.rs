//! The bus, as settings describe it.

use std::sync::Arc;

use anyhow::Result;

use crate::config::{self, Config, Secret};
use crate::events::{Bus, Credentials, JetStream, Settings, Tls};

/// The bus that settings name, if any. One that is not there yet is connected to when it comes.
pub async fn open(config: &Config) -> Result<Option<Arc<dyn Bus>>> {
    let config::Bus::JetStream(nats) = &config.events.bus else { return Ok(None) };
    let bus = JetStream::connect(settings(config, nats)?, &config.site.name)
        .await
        .map_err(|err| refused("events.url", err.to_string()))?;
    Ok(Some(Arc::new(bus)))
}

/// Whether the bus answers, in words; `None` where there is none.
pub async fn probe(config: &Config) -> Result<Option<Result<String, String>>> {
    let config::Bus::JetStream(nats) = &config.events.bus else { return Ok(None) };
    let bus = JetStream::connect(settings(config, nats)?, &config.site.name)
        .await
        .map_err(|err| refused("events.url", err.to_string()))?;
    Ok(Some(bus.check().await.map_err(|err| err.to_string())))
}

fn settings(config: &Config, nats: &config::JetStream) -> Result<Settings> {
    let domains = config.peers.iter().filter_map(|peer| Some((peer.site.clone(), peer.domain.clone()?)));
    Ok(Settings {
        url: nats.url.clone(),
        credentials: credentials(nats)?,
        tls: Tls { ca: nats.tls_ca.clone(), client: nats.tls_cert.clone().zip(nats.tls_key.clone()) },
        domain: nats.domain.clone(),
        domains: domains.collect(),
        stream_bytes_max: nats.stream_bytes_max.0,
        stream_age_max: nats.stream_age_max.0,
        replicas: usize::from(nats.replicas.get()),
    })
}

fn credentials(nats: &config::JetStream) -> Result<Credentials> {
    let read = |setting: &str, source: &Secret| source.resolve().map_err(|err| refused(setting, err.to_string()));
    if let Some(file) = &nats.credentials {
        return Ok(Credentials::File(read("events.credentials", file)?));
    }
    if let (Some(user), Some(password)) = (&nats.user, &nats.password) {
        return Ok(Credentials::Password { user: user.clone(), password: read("events.password", password)? });
    }
    match &nats.token {
        Some(token) => Ok(Credentials::Token(read("events.token", token)?)),
        None => Ok(Credentials::None),
    }
}

fn refused(setting: &str, reason: String) -> anyhow::Error {
    config::Error::Beside { setting: setting.into(), reason }.into()
}
