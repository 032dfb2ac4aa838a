//! NATS JetStream: one stream for each site that tells, one durable pull consumer for each that listens.
//!
//! Streams and consumers are made, and made again, by whoever needs them: a stream that was purged, deleted or never there
//! costs time, nothing else.

use std::collections::HashMap;
use std::future::IntoFuture;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context, stream};
use async_nats::{Client, ConnectOptions};
use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::wire::PREFIX;
use super::{Bus, Delivery, Error, Message};

/// For the bus to answer one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages taken at once.
const BATCH_MAX: usize = 1_000;
/// How long a pull waits for the first message.
const PULL_WAIT: Duration = Duration::from_secs(5);
/// Messages that may be heard and not yet acknowledged.
const ACK_PENDING_MAX: i64 = 4_000;
/// After which a message that was not acknowledged is heard again.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// How long the bus remembers the ids of messages, to drop repeats.
const REPEATS_WINDOW: Duration = Duration::from_secs(120);

/// How NATS is reached, and how much it may keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// One or several, separated by commas: `nats://host:4222`, `tls://…`.
    pub url: String,
    pub credentials: Credentials,
    pub tls: Tls,
    /// The JetStream domain of this site's own stream; `None` is that of the server it connects to.
    pub domain: Option<String>,
    /// Domains of other sites' streams, by site, for leaf nodes.
    pub domains: HashMap<String, String>,
    /// Bytes a site's stream may take; the oldest messages go first.
    pub stream_bytes_max: u64,
    /// Age at which a message goes.
    pub stream_age_max: Duration,
    /// Servers of a cluster that keep each stream.
    pub replicas: usize,
}

/// Who we are to NATS. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    None,
    Token(String),
    Password {
        user: String,
        password: String,
    },
    /// The contents of a `.creds` file.
    File(String),
}

/// Certificates for `tls://`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// Certificate and key shown to the server.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::None => "none",
            Self::Token(_) => "token",
            Self::Password { .. } => "password",
            Self::File(_) => "file",
        };
        write!(f, "Credentials({kind})")
    }
}

/// The bus.
#[derive(Debug)]
pub struct JetStream {
    settings: Settings,
    site: String,
    client: Client,
    /// Whether our own stream is known to be there.
    stream: Mutex<bool>,
    /// Consumers of other sites' streams, once they are there.
    consumers: Mutex<HashMap<String, PullConsumer>>,
}

impl JetStream {
    /// A bus for the site `site`. Returns at once: a NATS that is not there yet is connected to when it comes.
    pub async fn connect(settings: Settings, site: &str) -> Result<Self, Error> {
        let options = options(&settings, site)?;
        let servers: Vec<&str> = settings.url.split(',').map(str::trim).collect();
        let client = options.connect(servers).await.map_err(|err| Error::Refused(err.to_string()))?;
        Ok(Self { settings, site: site.to_owned(), client, stream: Mutex::default(), consumers: Mutex::default() })
    }

    /// Whether a server answers now, in words: for `check-config`.
    pub async fn check(&self) -> Result<String, Error> {
        timeout(PATIENCE, self.client.flush()).await.map_err(|_| no_answer())?.map_err(unreachable)?;
        self.ensure_stream().await?;
        let info = self.client.server_info();
        Ok(format!("NATS {} answers; the stream {} is there", info.version, stream_name(&self.site)))
    }

    fn context(&self, domain: Option<&String>) -> Context {
        let mut context = match domain {
            Some(domain) => jetstream::with_domain(self.client.clone(), domain),
            None => jetstream::new(self.client.clone()),
        };
        context.set_timeout(PATIENCE);
        context
    }

    fn own(&self) -> Context {
        self.context(self.settings.domain.as_ref())
    }

    /// Makes our stream, or brings it in step with the settings.
    async fn ensure_stream(&self) -> Result<(), Error> {
        let mut known = self.stream.lock().await;
        if !*known {
            let made = timeout(PATIENCE, self.own().create_or_update_stream(self.stream_config())).await;
            made.map_err(|_| no_answer())?
                .map_err(|err| Error::Refused(format!("the stream {}: {err}", stream_name(&self.site))))?;
            *known = true;
        }
        Ok(())
    }

    fn stream_config(&self) -> stream::Config {
        stream::Config {
            name: stream_name(&self.site),
            description: Some(format!("what the anybucket site {} changed", self.site)),
            subjects: vec![format!("{PREFIX}.{}.>", self.site)],
            max_bytes: i64::try_from(self.settings.stream_bytes_max).unwrap_or(i64::MAX),
            max_age: self.settings.stream_age_max,
            storage: stream::StorageType::File,
            num_replicas: self.settings.replicas,
            duplicate_window: REPEATS_WINDOW.min(self.settings.stream_age_max),
            ..stream::Config::default()
        }
    }

    /// Our consumer of another site's stream, made where it is missing.
    async fn consumer(&self, origin: &str) -> Result<PullConsumer, Error> {
        let mut consumers = self.consumers.lock().await;
        if let Some(known) = consumers.get(origin) {
            return Ok(known.clone());
        }
        let context = self.context(self.settings.domains.get(origin));
        let made = timeout(PATIENCE, context.create_consumer_on_stream(self.consumer_config(), stream_name(origin))).await;
        let consumer =
            made.map_err(|_| no_answer())?.map_err(|err| Error::Unreachable(format!("the stream of {origin}: {err}")))?;
        consumers.insert(origin.to_owned(), consumer.clone());
        Ok(consumer)
    }

    fn consumer_config(&self) -> pull::Config {
        pull::Config {
            durable_name: Some(format!("to-{}", self.site)),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: ACK_PENDING_MAX,
            ..pull::Config::default()
        }
    }

    async fn pull(&self, origin: &str) -> Result<Vec<Box<dyn Delivery>>, Error> {
        let consumer = self.consumer(origin).await?;
        let batch = consumer.batch().max_messages(BATCH_MAX).expires(PULL_WAIT).messages();
        let mut messages = timeout(PATIENCE, batch).await.map_err(|_| no_answer())?.map_err(unreachable)?;
        let mut heard: Vec<Box<dyn Delivery>> = Vec::new();
        // What is there already comes at once; then nobody waits for a batch to fill.
        let mut patience = PULL_WAIT + PATIENCE;
        while let Ok(Some(message)) = timeout(patience, messages.next()).await {
            heard.push(Box::new(Heard(message.map_err(unreachable)?)));
            patience = Duration::from_millis(2);
            if heard.len() == BATCH_MAX {
                break;
            }
        }
        if heard.is_empty() {
            self.check_consumer(&consumer).await?;
        }
        Ok(heard)
    }

    /// Silence is no news only as long as the consumer is still there (the watchdog of protocol §7).
    async fn check_consumer(&self, consumer: &PullConsumer) -> Result<(), Error> {
        let mut consumer = consumer.clone();
        timeout(PATIENCE, consumer.info()).await.map_err(|_| no_answer())?.map(drop).map_err(unreachable)
    }
}

fn options(settings: &Settings, site: &str) -> Result<ConnectOptions, Error> {
    let mut options = ConnectOptions::new()
        .name(format!("anybucket {site}"))
        .connection_timeout(PATIENCE)
        .request_timeout(Some(PATIENCE))
        .retry_on_initial_connect();
    options = match &settings.credentials {
        Credentials::None => options,
        Credentials::Token(token) => options.token(token.clone()),
        Credentials::Password { user, password } => options.user_and_password(user.clone(), password.clone()),
        Credentials::File(contents) => {
            options.credentials(contents).map_err(|err| Error::Refused(format!("the credentials: {err}")))?
        }
    };
    if let Some(ca) = &settings.tls.ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    if let Some((cert, key)) = &settings.tls.client {
        options = options.add_client_certificate(cert.clone(), key.clone()).require_tls(true);
    }
    Ok(options)
}

fn stream_name(site: &str) -> String {
    format!("ANYBUCKET_{site}")
}

fn no_answer() -> Error {
    Error::Unreachable("no answer in time".into())
}

fn unreachable(err: impl std::fmt::Display) -> Error {
    Error::Unreachable(err.to_string())
}

#[async_trait]
impl Bus for JetStream {
    async fn publish(&self, messages: &[Message]) -> Result<usize, Error> {
        self.ensure_stream().await?;
        let outcome = send_all(&self.own(), messages).await;
        if !matches!(outcome, Ok(sent) if sent == messages.len()) {
            // It may be gone: it is looked for, and made, before the next try.
            *self.stream.lock().await = false;
        }
        outcome
    }

    async fn hear(&self, origin: &str) -> Result<Vec<Box<dyn Delivery>>, Error> {
        let heard = self.pull(origin).await;
        if heard.is_err() {
            self.consumers.lock().await.remove(origin);
        }
        heard
    }
}

/// Sends all, then waits for what the stream says of each.
async fn send_all(context: &Context, messages: &[Message]) -> Result<usize, Error> {
    let mut acks: Vec<PublishAckFuture> = Vec::with_capacity(messages.len());
    for message in messages {
        let outgoing = PublishMessage::build().payload(message.payload.clone()).message_id(&message.id);
        let sent = timeout(PATIENCE, context.send_publish(message.subject.clone(), outgoing)).await;
        acks.push(sent.map_err(|_| no_answer())?.map_err(unreachable)?);
    }
    let mut taken = 0;
    for ack in acks {
        match timeout(PATIENCE, ack.into_future()).await {
            Ok(Ok(_)) => taken += 1,
            Ok(Err(err)) if taken == 0 => return Err(unreachable(err)),
            Err(_) if taken == 0 => return Err(no_answer()),
            _ => break,
        }
    }
    Ok(taken)
}

struct Heard(jetstream::Message);

#[async_trait]
impl Delivery for Heard {
    fn payload(&self) -> &[u8] {
        &self.0.payload
    }

    async fn ack(&self) -> Result<(), Error> {
        self.0.ack().await.map_err(unreachable)
    }
}
