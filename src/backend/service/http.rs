//! HTTP for services whose libraries bring none of their own, over our one TLS.

use std::time::Duration;

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;
use rustls::ClientConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Unused connections are closed before the service closes them: a body that streams cannot be sent again.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// Lines in an answer. A blob of others may have 8 KiB of metadata, each name of it in a line of its own.
const HEADERS_MAX: usize = 600;

/// Bodies take as long as they take, hence no timeout but for connecting.
pub(in crate::backend) fn http_client(tls: ClientConfig) -> ClientBuilder {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).connect_timeout(CONNECT_TIMEOUT);
    builder.pool_idle_timeout(IDLE_MAX).http1_max_headers(HEADERS_MAX).redirect(Policy::none()).no_proxy()
}
