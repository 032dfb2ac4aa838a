//! Stores that are somewhere else: where they are, and what proves who we are there.

use super::Secret;
use super::rules::Refuse;
use super::section::Section;
use super::value::{Setting, words};
use crate::backend::s3;

/// An S3 service, and the credentials there, which are read when they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Store {
    pub settings: s3::Settings,
    pub access_key: Secret,
    pub secret_key: Secret,
}

words! { s3::Checksums, allowed "\"crc32\" or \"none\"": "crc32" => Self::Crc32, "none" => Self::None }

/// `None` where something that has no default is missing or wrong.
pub(super) fn read_s3(store: &mut Section<'_>) -> Option<S3Store> {
    let endpoint: Option<String> = store.optional("endpoint");
    let access_key = store.required("access_key", "who this site is there");
    let secret_key = store.required("secret_key", "what proves it");
    let home = store.required("home", "a bucket there for this site's own notes");
    let default = s3::Settings::at(endpoint, "");
    let settings = s3::Settings {
        region: store.value("region", default.region),
        path_style: store.value("path_style", default.path_style),
        reserved: store.value("reserved", default.reserved),
        checksums: store.value("checksums", default.checksums),
        endpoint: default.endpoint,
        home: home?,
    };
    Some(S3Store { settings, access_key: access_key?, secret_key: secret_key? })
}

pub(super) fn check_s3(path: &str, store: &S3Store, refuse: &mut Refuse<'_>) {
    if let Some((setting, refusal)) = store.settings.refusal() {
        refuse(&format!("{path}.{setting}"), refusal);
    }
}
