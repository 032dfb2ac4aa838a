//! Which path shows what. `openapi.json` beside this file describes them; a test keeps the two equal.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

use super::error::Error;
use super::{Parts, Shared, explain, guard, keys, lifecycle, object, pause, reconcile, replicate, retry, rows, status, views};

/// A path, the methods it takes in the words of OpenAPI, and who answers.
type Route = (&'static str, &'static str, MethodRouter<Shared>);

/// Paths that everybody may ask: a probe has no token.
fn open() -> Vec<Route> {
    vec![
        ("/health", "get", get(views::health)),
        ("/health/live", "get", get(views::live)),
        ("/health/ready", "get", get(views::ready)),
    ]
}

/// Paths that need the token.
fn guarded() -> Vec<Route> {
    vec![
        ("/metrics", "get", get(views::metrics)),
        ("/v1/buckets", "get", get(views::buckets)),
        ("/v1/conflicts", "get", get(rows::conflicts)),
        ("/v1/explain", "get", get(explain::explain)),
        ("/v1/lifecycle", "get", get(lifecycle::due)),
        ("/v1/failed", "get", get(rows::failed)),
        ("/v1/keys", "delete get post", get(keys::list).post(keys::add).delete(keys::remove)),
        ("/v1/object/{bucket}/{*key}", "delete get", get(object::get).delete(object::delete)),
        ("/v1/openapi.json", "get", get(views::openapi)),
        ("/v1/pause", "post", post(pause::pause)),
        ("/v1/pending", "get", get(rows::pending)),
        ("/v1/reconcile", "delete get post", get(reconcile::watch).post(reconcile::begin).delete(reconcile::stop)),
        ("/v1/replicate", "post", post(replicate::replicate)),
        ("/v1/resume", "post", post(pause::resume)),
        ("/v1/retry", "post", post(retry::retry)),
        ("/v1/sites", "get", get(status::sites)),
        ("/v1/status", "get", get(status::status)),
        ("/v1/stores", "get", get(status::stores)),
        ("/v1/work", "get", get(rows::work)),
        ("/v1/workers", "get", get(views::workers)),
    ]
}

/// The admin face as a service.
pub fn router(parts: Arc<Parts>) -> Router {
    let add = |router: Router<Shared>, (path, _, method): Route| router.route(path, method.fallback(|| async { Error::Method }));
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
        let routes = open().into_iter().chain(guarded());
        let mut routes: Vec<_> = routes.map(|(path, methods, _)| (path.replace("{*", "{"), methods.to_owned())).collect();
        routes.sort_unstable();
        let methods = |path: &serde_json::Value| path.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        let paths = described["paths"].as_object().unwrap().iter();
        let paths: Vec<_> = paths.map(|(path, described)| (path.clone(), methods(described))).collect();
        assert_eq!(paths, routes);
        assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
