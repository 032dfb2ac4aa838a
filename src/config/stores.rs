//! Stores that are somewhere else: where they are, and what proves who we are there.

use std::path::{Path, PathBuf};

use super::read::Data;
use super::rules::{Refuse, absolute};
use super::section::Section;
use super::value::{Setting, words};
use super::{Backend, ByteSize, Config, Period, Secret};
use crate::backend::service::Common;
use crate::backend::service::buffer::{self, When};
use crate::backend::{azure, gcs, s3};

/// An S3 service, and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Store {
    pub settings: s3::Settings,
    pub login: S3Login,
}

/// What proves who we are to an S3 service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Login {
    /// Keys, read when they are needed; those that are good for a time only have a token too.
    Keys { access_key: Secret, secret_key: Secret, session_token: Option<Secret> },
    /// What AWS's own chain finds.
    Chain,
}

/// An account of Azure Blob Storage, and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureStore {
    pub settings: azure::Settings,
    pub login: AzureLogin,
}

impl AzureStore {
    /// What would be told to everybody on the way: only a key of the account is never sent itself.
    pub(super) fn leak(&self) -> Option<(&'static str, String)> {
        let endpoint = &self.settings.endpoint;
        let is_clear = endpoint.starts_with("http://") && !matches!(self.login, AzureLogin::AccountKey(_));
        is_clear.then(|| ("endpoint", format!("found {endpoint:?}; allowed: https, or account_key, which is never sent itself")))
    }
}

/// What proves who we are to Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureLogin {
    /// A key of the account.
    AccountKey(Secret),
    /// A shared access signature.
    Sas(Secret),
    /// The machine's identity: its only one, or that of a client id.
    Managed(Option<String>),
    /// That of the pod.
    Workload,
    /// An application's.
    Application { tenant_id: String, client_id: String, secret: Secret },
}

words! { s3::Checksums, allowed "\"crc32\" or \"none\"": "crc32" => Self::Crc32, "none" => Self::None }

words! { When, allowed "\"down\", \"always\" or \"never\"":
    "down" => Self::Down, "always" => Self::Always, "never" => Self::Never
}

/// What a store is called, and where its defaults lie.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub name: &'a str,
    pub data: &'a Data,
}

/// The folder of buffers in the data directory, and of what is remembered of them.
pub fn buffers_dir(data: &Path) -> PathBuf {
    data.join("buffer")
}

fn read_buffer(section: &mut Section<'_>, of: Named<'_>) -> buffer::Settings {
    let default = buffer::Settings::at(&buffers_dir(&of.data.path), of.name);
    buffer::Settings {
        path: section.value("path", default.path),
        when: section.value("when", default.when),
        slow: section.value("slow", Period(default.slow)).0,
        bytes_max: section.value("bytes_max", ByteSize(default.bytes_max)).0,
        free_bytes_min: section.value("free_bytes_min", ByteSize(default.free_bytes_min)).0,
        store: default.store,
        remembered: default.remembered,
    }
}

/// What all stores over services have.
fn read_common(store: &mut Section<'_>, of: Named<'_>, home: &str) -> Option<Common> {
    let buffer = store.optional_within("buffer", |section| read_buffer(section, of));
    let home: Option<String> = store.required("home", home);
    let default = Common::at("");
    let (reserved, calls_max) = (store.value("reserved", default.reserved), store.value("calls_max", default.calls_max));
    let bytes_per_second_max = store.optional("bytes_per_second_max").map(|ByteSize(bytes)| bytes);
    Some(Common { home: home?, reserved, calls_max, bytes_per_second_max, buffer })
}

const S3_LOGINS: &str = "what proves who this site is there; allowed: access_key and secret_key, or identity = \"chain\" for \
                         what AWS's own tools find in the environment, in a profile, or of the role of pod, task or machine";
const HOME: &str = "a bucket there for this site's own notes";

/// `None` where something that has no default is missing or wrong.
pub(super) fn read_s3(store: &mut Section<'_>, of: Named<'_>) -> Option<S3Store> {
    let endpoint: Option<String> = store.optional("endpoint");
    let login = read_s3_login(store);
    let common = read_common(store, of, HOME);
    let default = s3::Settings::at(endpoint, "");
    let settings = s3::Settings {
        region: store.value("region", default.region),
        path_style: store.value("path_style", default.path_style),
        checksums: store.value("checksums", default.checksums),
        endpoint: default.endpoint,
        common: common?,
    };
    Some(S3Store { settings, login: login? })
}

/// Whose credentials, where they are not written down.
#[derive(Clone, Copy)]
enum S3Identity {
    Chain,
}

words! { S3Identity, allowed "\"chain\"": "chain" => Self::Chain }

fn read_s3_login(store: &mut Section<'_>) -> Option<S3Login> {
    const KEYS: [&str; 3] = ["access_key", "secret_key", "session_token"];
    let (has_identity, has_keys) = (store.has("identity"), KEYS.iter().any(|key| store.has(key)));
    let identity = store.optional("identity").map(|S3Identity::Chain| S3Login::Chain);
    if has_keys && !has_identity {
        return read_s3_keys(store);
    }
    for key in KEYS {
        if store.optional::<Secret>(key).is_some() {
            store.refuse(key, "means nothing beside identity; remove one of them".into());
        }
    }
    if !has_identity {
        store.refuse("access_key", format!("is missing: {S3_LOGINS}"));
    }
    identity
}

fn read_s3_keys(store: &mut Section<'_>) -> Option<S3Login> {
    let access_key = store.required("access_key", "who this site is there");
    let secret_key = store.required("secret_key", "what proves it");
    let session_token = store.optional("session_token");
    Some(S3Login::Keys { access_key: access_key?, secret_key: secret_key?, session_token })
}

pub(super) fn read_azure(store: &mut Section<'_>, of: Named<'_>) -> Option<AzureStore> {
    let endpoint: Option<String> =
        store.required("endpoint", "the address of the account, such as https://ACCOUNT.blob.core.windows.net");
    let common = read_common(store, of, "a container there for this site's own notes");
    let login = read_azure_login(store);
    Some(AzureStore { settings: azure::Settings { endpoint: endpoint?, common: common? }, login: login? })
}

/// What an identity does not use is refused rather than ignored.
fn refuse_unused(store: &mut Section<'_>, identity: Option<Identity>, given: [bool; 3]) {
    let used = match identity {
        Some(Identity::Application) => [true; 3],
        Some(Identity::Managed) => [true, false, false],
        Some(Identity::Workload) | None => [false; 3],
    };
    for (at, setting) in ["client_id", "tenant_id", "client_secret"].into_iter().enumerate() {
        if given[at] && !used[at] {
            store.refuse(setting, "means nothing beside the other settings that say who this site is there; remove it".into());
        }
    }
}

/// Which identity of Entra.
#[derive(Clone, Copy)]
enum Identity {
    Managed,
    Workload,
    Application,
}

words! { Identity, allowed "\"managed\", \"workload\" or \"application\"":
    "managed" => Self::Managed, "workload" => Self::Workload, "application" => Self::Application
}

fn read_azure_login(store: &mut Section<'_>) -> Option<AzureLogin> {
    let ways: Vec<_> = ["account_key", "sas", "identity"].into_iter().filter(|way| store.has(way)).collect();
    let (account_key, sas): (Option<Secret>, Option<Secret>) = (store.optional("account_key"), store.optional("sas"));
    let identity = store.optional("identity");
    let (client_id, tenant_id): (Option<String>, Option<String>) = (store.optional("client_id"), store.optional("tenant_id"));
    let client_secret: Option<Secret> = store.optional("client_secret");
    if ways.len() != 1 {
        let found = if ways.is_empty() { "is missing".to_owned() } else { format!("is one of {}", ways.join(" and ")) };
        store.refuse(
            "account_key",
            format!("{found}: allowed is one of account_key, sas and identity, what proves who this site is there"),
        );
        return None;
    }
    refuse_unused(store, identity, [client_id.is_some(), tenant_id.is_some(), client_secret.is_some()]);
    match (account_key, sas, identity) {
        (Some(key), ..) => Some(AzureLogin::AccountKey(key)),
        (_, Some(sas), _) => Some(AzureLogin::Sas(sas)),
        (_, _, None) => None,
        (_, _, Some(Identity::Managed)) => Some(AzureLogin::Managed(client_id)),
        (_, _, Some(Identity::Workload)) => Some(AzureLogin::Workload),
        (_, _, Some(Identity::Application)) => match (tenant_id, client_id, client_secret) {
            (Some(tenant_id), Some(client_id), Some(secret)) => Some(AzureLogin::Application { tenant_id, client_id, secret }),
            _ => {
                store.refuse("identity", "\"application\" needs tenant_id, client_id and client_secret beside it".into());
                None
            }
        },
    }
}

pub(super) fn read_gcs(store: &mut Section<'_>, of: Named<'_>) -> Option<(gcs::Settings, gcs::Keys)> {
    let endpoint: Option<String> = store.optional("endpoint");
    let project: Option<String> = store.required("project", "in which buckets are made, and whose are listed");
    let common = read_common(store, of, HOME);
    let file: Option<PathBuf> = store.optional("credentials");
    if file.is_some() && store.is_true("anonymous") {
        store.refuse("credentials", "means nothing beside anonymous = true; remove one of them".into());
    }
    let default = gcs::Settings::at(endpoint, "", "");
    let settings = gcs::Settings {
        anonymous: store.value("anonymous", default.anonymous),
        endpoint: default.endpoint,
        project: project?,
        common: common?,
    };
    Some((settings, file.map_or(gcs::Keys::Default, gcs::Keys::File)))
}

impl Backend {
    /// What is kept on a local disk for the store, where anything is.
    pub fn buffer(&self) -> Option<&buffer::Settings> {
        let common = match self {
            Self::S3(store) => &store.settings.common,
            Self::Azure(store) => &store.settings.common,
            Self::Gcs(settings, _) => &settings.common,
            Self::Fs(_) | Self::Memory => return None,
        };
        common.buffer.as_ref()
    }
}

/// Each store has a buffer of its own.
pub(super) fn check_buffers(config: &Config, refuse: &mut Refuse<'_>) {
    let buffers: Vec<_> =
        config.backends.iter().filter_map(|(name, backend)| Some((name, absolute(&backend.buffer()?.path)))).collect();
    for (at, (name, path)) in buffers.iter().enumerate() {
        if let Some((other, _)) = buffers[..at].iter().find(|(_, before)| before == path) {
            let text = format!("found {}, where the writes of {other} wait; name another directory", path.display());
            refuse(&format!("backend.{name}.buffer.path"), text);
        }
    }
}

/// What is wrong with settings that are good by themselves.
pub(super) fn check(path: &str, refusal: Option<(&'static str, String)>, refuse: &mut Refuse<'_>) {
    if let Some((setting, refusal)) = refusal {
        refuse(&format!("{path}.{setting}"), refusal);
    }
}
