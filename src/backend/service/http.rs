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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_answer_with_many_headers_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = http_client(crate::tls::trusting_nobody()).build().unwrap();
        let asked = client.get(format!("http://{}/", listener.local_addr().unwrap())).send();
        let answered = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            assert!(connection.read(&mut [0; 4 << 10]).await.unwrap() > 0);
            let lines: String = (0..HEADERS_MAX - 10).map(|n| format!("x-ms-meta-a{n}: x\r\n")).collect();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{lines}\r\n");
            connection.write_all(answer.as_bytes()).await.unwrap();
        };
        let (answer, ()) = tokio::join!(asked, answered);
        assert_eq!(answer.unwrap().headers().len(), HEADERS_MAX - 9);
    }
}
