//! Which path shows what. `openapi.json` beside this file describes them; a test keeps the two equal.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get};

use super::error::Error;
use super::{Parts, Shared, guard, reconcile, views};

/// Paths that everybody may ask: a probe has no token.
fn open() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![("/health", get(views::health)), ("/health/live", get(views::live)), ("/health/ready", get(views::ready))]
}

/// Paths that need the token.
fn guarded() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![
        ("/metrics", get(views::metrics)),
        ("/v1/buckets", get(views::buckets)),
        ("/v1/reconcile", get(reconcile::watch).post(reconcile::begin)),
        ("/v1/openapi.json", get(views::openapi)),
        ("/v1/status", get(views::status)),
        ("/v1/workers", get(views::workers)),
    ]
}

/// The admin face as a service.
pub fn router(parts: Arc<Parts>) -> Router {
    let add = |router: Router<Shared>, (path, method): (&str, MethodRouter<Shared>)| {
        router.route(path, method.fallback(|| async { Error::Method }))
    };
    let guarded = guarded().into_iter().fold(Router::new(), add);
    let guarded = guarded
        .fallback(|uri: Uri| async move { Error::NoSuchPath(uri.path().into()) })
        .layer(from_fn_with_state(parts.clone(), guard::token))
        .layer(from_fn_with_state(parts.clone(), guard::host));
    let open = open().into_iter().fold(Router::new(), add);
    guarded.merge(open).with_state(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_every_description_has_a_route() {
        let described: serde_json::Value = serde_json::from_str(views::OPENAPI).unwrap();
        let mut routes: Vec<&str> = open().into_iter().chain(guarded()).map(|(path, _)| path).collect();
        routes.sort_unstable();
        let paths: Vec<&String> = described["paths"].as_object().unwrap().keys().collect();
        assert_eq!(paths, routes);
        assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
