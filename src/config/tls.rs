//! `tls = { cert = …, key = … }` of a listener.

use super::section::Section;
use crate::tls::{Identity, ListenerFiles};

/// What the listener of `section` shows and asks for; `None` where it speaks no TLS, or what is set was refused.
pub fn read(section: &mut Section<'_>) -> Option<ListenerFiles> {
    section.optional_within("tls", |tls| {
        let cert = tls.required("cert", "PEM file with the certificate of this listener and those that vouch for it");
        let key = tls.required("key", "PEM file with its private key");
        let client_ca = tls.optional("client_ca");
        Some(ListenerFiles { identity: Identity { cert: cert?, key: key? }, client_ca })
    })?
}
