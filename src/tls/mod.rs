//! TLS: certificates and keys from files, for listeners that show them and for clients that check them.
//!
//! One stack (rustls) with one provider of cryptography (ring) for everything. It knows nothing of what is spoken inside.

mod client;
mod listener;
mod pinned;

#[cfg(test)]
pub mod testing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use client::{Trust, client, trusting_nobody};
pub use listener::{Acceptor, ListenerFiles};
pub use rustls::ClientConfig;

/// A certificate with those that vouch for it, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM: the certificate first, then intermediate ones.
    pub cert: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1, without a passphrase.
    pub key: PathBuf,
}

/// Files that make no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{cert} and {key} do not belong together, or cannot be used: {reason}")]
    Identity { cert: PathBuf, key: PathBuf, reason: String },
    #[error("the system's certificate authorities cannot be read: {0}")]
    System(String),
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Identity {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|err| unreadable(&self.key, &err, "key"))?;
        Ok((certificates(&self.cert)?, key))
    }

    fn refused(&self, err: &rustls::Error) -> Error {
        Error::Identity { cert: self.cert.clone(), key: self.key.clone(), reason: err.to_string() }
    }
}

/// Every certificate of a file, of which there must be one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|err| unreadable(path, &err, "certificate"))?;
    if found.is_empty() { Err(unreadable(path, &pem::Error::NoItemsFound, "certificate")) } else { Ok(found) }
}

/// The authorities of a file.
fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|err| Error::File { path: path.into(), reason: err.to_string() })?;
    }
    Ok(roots)
}

fn unreadable(path: &Path, err: &pem::Error, what: &str) -> Error {
    let reason = match err {
        pem::Error::Io(err) => err.to_string(),
        pem::Error::NoItemsFound => format!("there is no {what} in PEM in it"),
        other => other.to_string(),
    };
    Error::File { path: path.into(), reason }
}
