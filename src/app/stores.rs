//! Stores as settings describe them. What proves this site to those that are somewhere else is read when it is needed, so that
//! it may change.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use tracing::{error, warn};

use super::home::{self, Opened, Store};
use super::waiting::WaitingRoom;

use crate::backend::alias::{self, Aliases};
use crate::backend::awaited::{Awaited, Opener};
use crate::backend::fs::Fs;
use crate::backend::memory::Memory;
use crate::backend::route::{self, Routes};
use crate::backend::service::{ReadKeys, buffer};
use crate::backend::{self, Backend, azure, gcs, s3};
use crate::config::{self, AzureLogin, AzureStore, Config, S3Login, Secret};
use crate::model::SiteId;
use crate::site::Site;

/// Every store, as one. Those that cannot be reached are tried again for as long as it takes; the room is for whoever has to wait
/// for the one with the notes of the site `id`.
pub async fn open_all(config: &Config, id: &SiteId, room: &mut WaitingRoom<'_>) -> Result<Arc<dyn Backend>> {
    let buffered = config.backends.iter().filter(|(_, backend)| backend.buffer().is_some()).map(|(name, _)| name.as_str());
    buffer::refuse_abandoned(&config::buffers_dir(&config.data), &buffered.collect::<Vec<_>>())?;
    let stores =
        try_join_all(config.backends.iter().map(|(name, settings)| open_or_await(name, settings, &config.routes))).await?;
    let led = config.routes.iter().filter_map(|route| stores.iter().position(|opened| opened.name == route.backend));
    let home = home::find(&stores, &led.collect::<Vec<_>>(), id, room).await?;
    if let ([only], [all]) = (stores.as_slice(), config.routes.as_slice())
        && *all == (config::Route { backend: all.backend.clone(), ..config::Route::default() })
    {
        return Ok(only.backend());
    }
    let named = stores.iter().map(|opened| named(opened, &config.routes)).collect::<Result<_>>()?;
    let routes = config.routes.iter().cloned().map(|config::Route { buckets, location, backend, .. }| route::Route {
        buckets,
        location,
        store: backend,
    });
    let routes = routes.collect();
    let opened = Routes::open(named, routes, &stores[home].name).await;
    Ok(Arc::new(opened.context("cannot tell which store has which bucket")?))
}

/// A store, with buckets where routes say that they are.
fn named(opened: &Opened, routes: &[config::Route]) -> Result<route::Named> {
    let (name, store) = (opened.name.clone(), opened.backend());
    let rules: Vec<_> = routes.iter().filter(|route| route.backend == name).filter_map(config::Route::rule).collect();
    if rules.is_empty() {
        return Ok(route::Named { name, store, taken: Vec::new() });
    }
    let taken = rules.iter().map(|rule| rule.bucket.clone()).collect();
    let store = Aliases::new(store, rules).with_context(|| format!("the routes to the store {name} cannot be used"))?;
    Ok(route::Named { name, store: Arc::new(store), taken })
}

/// What this site knows of a bucket is known by its name: under another one its versions would be nobody's, and be cleared away.
pub async fn refuse_names_in_use(config: &Config, site: &Site) -> Result<()> {
    if config.routes.iter().all(|route| route.bucket.is_none()) {
        return Ok(());
    }
    let buckets = site.buckets().await.context("cannot read which buckets there are")?;
    let given = |route: &&config::Route| buckets.iter().any(|bucket| Some(&bucket.name) == route.bucket.as_ref());
    if let Some(config::Route { buckets, bucket: Some(name), .. }) = config.routes.iter().find(given) {
        bail!(
            "the bucket {name} is one of this site's, so it cannot be what {buckets} is called in its store: take `bucket` out of that route"
        );
    }
    Ok(())
}

/// Settings that no store will ever take are refused at once.
async fn open_or_await(name: &str, settings: &config::Backend, routes: &[config::Route]) -> Result<Opened> {
    let has_rules = routes.iter().any(|route| route.backend == name && route.bucket.is_some());
    let store = match open_led(settings, has_rules).await {
        Ok(store) => Store::There(store),
        Err(err) if is_for_good(&err) => return Err(err.context(format!("the store {name} cannot be used"))),
        Err(err) => {
            let fault = fault_of(&err);
            error!(store = name, fault, "a store cannot be used: it is tried again until it can");
            let settings = settings.clone();
            let again: Opener = Arc::new(move || {
                let settings = settings.clone();
                Box::pin(async move { open_led(&settings, has_rules).await.map_err(|err| fault_of(&err)) })
            });
            Store::Away(Arc::new(Awaited::new(name.to_owned(), fault, again, super::seed()?)))
        }
    };
    Ok(Opened { name: name.to_owned(), is_directory: matches!(settings, config::Backend::Fs(_)), store })
}

/// Buckets that lie elsewhere are not forgotten with their routes: what holds them would be another bucket, and their versions
/// nobody's.
async fn open_led(settings: &config::Backend, has_rules: bool) -> Result<Arc<dyn Backend>> {
    let store = open(settings).await?;
    if !has_rules {
        alias::refuse_any(&*store).await.context("cannot tell which buckets lie in others")?;
    }
    Ok(store)
}

/// What the store itself said.
fn told(err: &anyhow::Error) -> Option<&backend::Error> {
    err.chain().find_map(|cause| cause.downcast_ref())
}

fn fault_of(err: &anyhow::Error) -> String {
    told(err).map_or_else(|| format!("{err:#}"), ToString::to_string)
}

fn is_for_good(err: &anyhow::Error) -> bool {
    told(err).is_none_or(|told| matches!(told, backend::Error::Name(_) | backend::Error::Setup(_)))
}

/// The store that settings describe.
pub async fn open(settings: &config::Backend) -> Result<Arc<dyn Backend>> {
    let opened = match settings {
        config::Backend::Fs(settings) => {
            let settings = settings.clone();
            let opened = tokio::task::spawn_blocking(|| Fs::open(settings)).await.context("opening the store panicked")?;
            opened.map(|fs| Arc::new(fs) as Arc<dyn Backend>)
        }
        config::Backend::S3(store) => s3::open(store.settings.clone(), s3_login(&store.login)).await,
        config::Backend::Azure(store) => azure::open(store.settings.clone(), azure_keys(store)?).await,
        config::Backend::Gcs(settings, keys) => gcs::open(settings.clone(), keys.clone()).await,
        config::Backend::Memory => {
            warn!("objects are kept in memory and go with this process");
            Ok(Arc::new(Memory::new()) as Arc<dyn Backend>)
        }
    };
    opened.context("cannot open the store")
}

fn resolved(name: &str, secret: &Secret) -> Result<String, String> {
    secret.resolve().map_err(|err| format!("{name}: {err}"))
}

/// Keys are read anew each time they are asked for.
fn s3_login(login: &S3Login) -> s3::Login {
    let S3Login::Keys { access_key, secret_key, session_token } = login.clone() else { return s3::Login::Chain };
    s3::Login::Keys(Arc::new(move || {
        let (access_key, secret_key) = (resolved("access_key", &access_key)?, resolved("secret_key", &secret_key)?);
        let session_token = session_token.as_ref().map(|token| resolved("session_token", token)).transpose()?;
        Ok(s3::Keys { access_key, secret_key, session_token })
    }))
}

fn azure_keys(store: &AzureStore) -> Result<ReadKeys<azure::Credentials>> {
    Ok(match store.login.clone() {
        AzureLogin::AccountKey(key) => {
            let account = store.settings.account();
            Arc::new(move || Ok(azure::Credentials::SharedKey { account: account.clone(), key: resolved("account_key", &key)? }))
        }
        AzureLogin::Sas(sas) => Arc::new(move || Ok(azure::Credentials::Sas(resolved("sas", &sas)?))),
        AzureLogin::Managed(client_id) => always(azure::Identity::Managed { client_id })?,
        AzureLogin::Workload => always(azure::Identity::Workload)?,
        AzureLogin::Application { tenant_id, client_id, secret } => application(tenant_id, client_id, secret),
    })
}

/// An identity that renews its tokens by itself.
fn always(identity: azure::Identity) -> Result<ReadKeys<azure::Credentials>> {
    let token = azure::Token::of(identity)?;
    Ok(Arc::new(move || Ok(azure::Credentials::Token(token.clone()))))
}

/// Tokens are kept as long as the secret stays what it is.
fn application(tenant_id: String, client_id: String, secret: Secret) -> ReadKeys<azure::Credentials> {
    let held: Mutex<Option<(String, azure::Token)>> = Mutex::default();
    Arc::new(move || {
        let now = resolved("client_secret", &secret)?;
        let mut held = held.lock().expect("nothing panics while it holds the token");
        let token = match held.take() {
            Some((before, token)) if before == now => token,
            _ => {
                let (tenant_id, client_id, secret) = (tenant_id.clone(), client_id.clone(), now.clone());
                azure::Token::of(azure::Identity::Application { tenant_id, client_id, secret }).map_err(|err| err.to_string())?
            }
        };
        *held = Some((now, token.clone()));
        Ok(azure::Credentials::Token(token))
    })
}

/// Whether everything is there to be read.
pub fn check(config: &Config) -> Result<()> {
    for (name, backend) in &config.backends {
        for (key, secret) in secrets(backend) {
            let beside = |err: config::SecretError| config::Error::Beside {
                setting: format!("backend.{name}.{key}"),
                reason: err.to_string(),
            };
            secret.resolve().map_err(beside)?;
        }
    }
    Ok(())
}

fn secrets(backend: &config::Backend) -> Vec<(&'static str, &Secret)> {
    match backend {
        config::Backend::S3(store) => match &store.login {
            S3Login::Keys { access_key, secret_key, session_token } => {
                let token = session_token.iter().map(|token| ("session_token", token));
                [("access_key", access_key), ("secret_key", secret_key)].into_iter().chain(token).collect()
            }
            S3Login::Chain => Vec::new(),
        },
        config::Backend::Azure(store) => match &store.login {
            AzureLogin::AccountKey(key) => vec![("account_key", key)],
            AzureLogin::Sas(sas) => vec![("sas", sas)],
            AzureLogin::Application { secret, .. } => vec![("client_secret", secret)],
            AzureLogin::Managed(_) | AzureLogin::Workload => Vec::new(),
        },
        config::Backend::Fs(_) | config::Backend::Gcs(..) | config::Backend::Memory => Vec::new(),
    }
}
