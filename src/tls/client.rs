//! The side of a client: whom it believes, and what it shows.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::pinned::Pinned;
use super::{Error, Identity, authorities, certificates, provider};

/// Whom a client believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that this machine believes.
    System,
    /// The authorities of a file, and no others.
    Authority(PathBuf),
    /// The one certificate of a file, whatever name it is for.
    Exactly(PathBuf),
}

/// A client that believes `trust` and shows `identity` where it is asked for one.
pub fn client(trust: &Trust, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::System => builder.with_root_certificates(system()?),
        Trust::Authority(path) => builder.with_root_certificates(authorities(path)?),
        Trust::Exactly(path) => {
            let certificate = certificates(path)?.swap_remove(0);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned::new(certificate, provider())))
        }
    };
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let (certificates, key) = identity.read()?;
    builder.with_client_auth_cert(certificates, key).map_err(|err| identity.refused(&err))
}

/// For a client that speaks no TLS: whoever asks it to gets no connection.
pub fn trusting_nobody() -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("ring has ciphers for the versions that are on by default");
    builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

fn system() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good == 0 {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(Error::System(if reasons.is_empty() { "there are none".into() } else { reasons.join("; ") }));
    }
    Ok(roots)
}
