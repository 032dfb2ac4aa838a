//! Who we are at the service, put on every request last.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::Secret;
use azure_core::error::ErrorKind;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use azure_core::time::{OffsetDateTime, to_rfc7231};
use azure_core::{Error, Result};

use super::entra::Token;
use super::shared_key;
use crate::backend::service::Held;

const COPY_SOURCE: &str = "x-ms-copy-source";

/// Who we are there. Never shown.
#[derive(Clone)]
pub enum Credentials {
    SharedKey {
        account: String,
        /// Base64, as the portal shows it.
        key: String,
    },
    /// The query of a shared access signature, with or without its `?`.
    Sas(String),
    /// An identity of Entra.
    Token(Token),
}

/// Authorizes requests by what is held.
#[derive(Debug)]
pub(super) struct Authorize(pub Arc<Held<Credentials>>);

#[async_trait]
impl Policy for Authorize {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        match self.0.current().map_err(refusal)? {
            Credentials::SharedKey { account, key } => {
                // The service refuses dates that are far from its own clock's.
                let date = to_rfc7231(&OffsetDateTime::now_utc());
                shared_key::sign(request, &account, &Secret::new(key), date).map_err(|_| refusal("the key is not base64"))?;
            }
            Credentials::Sas(sas) => add_sas(request, sas.trim().trim_start_matches('?')),
            Credentials::Token(token) => {
                check_secrecy(request)?;
                return token.policy().send(ctx, request, next).await;
            }
        }
        next[0].send(ctx, request, &next[1..]).await
    }
}

fn refusal(reason: impl Into<String>) -> Error {
    Error::with_message(ErrorKind::Credential, reason.into())
}

/// What a copy reads needs the signature too.
fn add_sas(request: &mut Request, sas: &str) {
    let query = request.url().query().filter(|query| !query.is_empty()).map(|query| format!("{query}&{sas}"));
    request.url_mut().set_query(Some(query.as_deref().unwrap_or(sas)));
    let source = request.headers().get_optional_str(&COPY_SOURCE.into()).map(|source| format!("{source}?{sas}"));
    if let Some(source) = source {
        request.insert_header(COPY_SOURCE, source);
    }
}

/// Whoever reads a token on its way can use it.
fn check_secrecy(request: &Request) -> Result<()> {
    if request.url().scheme() == "https" { Ok(()) } else { Err(refusal("tokens are sent over https only")) }
}

#[cfg(test)]
mod tests {
    use azure_core::http::Method;

    use super::*;

    #[test]
    fn a_signature_is_in_the_query_of_the_request_and_of_what_it_copies() {
        let mut request = Request::new("https://a/c/x?comp=list".parse().unwrap(), Method::Put);
        request.insert_header(COPY_SOURCE, "https://a/c/y");
        add_sas(&mut request, "sv=1&sig=a%2Bb");
        assert_eq!(request.url().as_str(), "https://a/c/x?comp=list&sv=1&sig=a%2Bb");
        assert_eq!(request.headers().get_optional_str(&COPY_SOURCE.into()), Some("https://a/c/y?sv=1&sig=a%2Bb"));
    }

    #[test]
    fn a_token_is_never_sent_in_the_clear() {
        let request = |url: &str| Request::new(url.parse().unwrap(), Method::Get);
        assert!(check_secrecy(&request("https://a/c")).is_ok());
        assert!(check_secrecy(&request("http://a/c")).is_err());
    }
}
