//! A listener and its connections: accepted up to a limit, with TLS or without, ended in peace.

mod hello;
mod linger;
mod sources;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use self::hello::Hello;
use self::linger::Linger;
use self::sources::Sources;
use crate::model::Source;
use crate::tasks::{Shutdown, Trigger};
use crate::tls::Acceptor;

/// How a listener treats its connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Open connections; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Open connections from one address; more are closed at once.
    pub per_source_max: usize,
    /// Requests at once on a connection of HTTP/2: each may hold as much memory as a connection of HTTP/1.
    pub streams_max: u32,
    /// For the headers of a request to arrive whole.
    pub header_timeout: Duration,
    /// For a client to take something of an answer that waits for it.
    pub idle_timeout: Duration,
    /// For requests in flight to end, once told to stop.
    pub drain: Duration,
}

/// A listener at work.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    trigger: Trigger,
    /// Answers how many connections had to be cut.
    task: JoinHandle<usize>,
}

/// What can be asked of a service: whatever hyper asks.
pub trait HttpService<B>:
    Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError> + Send, Future: Send + 'static> + Clone + Send + 'static
{
}

impl<B, S> HttpService<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError> + Send, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service as one connection asks it: its requests say where they come from.
#[derive(Clone)]
struct Asked<S> {
    service: S,
    source: Source,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for Asked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.source.clone());
        self.service.call(request)
    }
}

/// Wait after a failed accept: the process is out of file descriptors, and trying at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Header lines of a request over HTTP/1. S3 counts bytes only, [8 KiB of them], and more metadata than this does not fit in.
///
/// [8 KiB of them]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
const HEADERS_MAX: usize = 600;
/// The same over HTTP/2, which adds 32 bytes to each name and value: <https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2>.
const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;

impl Server {
    /// Answers on `listener`, over TLS where there is an acceptor for it, with a clone of `service` for each connection.
    pub fn start<S, B>(listener: TcpListener, tls: Option<Acceptor>, service: S, settings: Settings) -> std::io::Result<Self>
    where
        S: HttpService<B>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (trigger, shutdown) = Trigger::new();
        let line = Line { tls, http: protocol(&settings), handshake_timeout: settings.header_timeout, shutdown };
        let task = tokio::spawn(serve(listener, line, service, settings));
        Ok(Self { address, trigger, task })
    }

    /// Where it listens, with the port it really got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and returns once those in flight have ended, or were cut after the drain time.
    pub async fn stop(self) {
        self.trigger.stop();
        let cut = self.task.await.unwrap_or_default();
        if cut > 0 {
            warn!(address = %self.address, connections = cut, "cut requests that did not end in time");
        }
    }
}

/// What connections have in common.
#[derive(Clone)]
struct Line {
    tls: Option<Acceptor>,
    http: auto::Builder<TokioExecutor>,
    handshake_timeout: Duration,
    shutdown: Shutdown,
}

impl Line {
    /// Speaks with one client, to the end of its connection.
    async fn speak<S, B>(self, stream: TcpStream, asked: Asked<S>, watcher: Watcher)
    where
        S: HttpService<B>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        match &self.tls {
            None => self.answer(stream, asked, watcher).await,
            Some(tls) => {
                let mut shutdown = self.shutdown.clone();
                let shaken = tokio::select! {
                    shaken = timeout(self.handshake_timeout, tls.accept(stream)) => shaken,
                    () = shutdown.stopping() => return,
                };
                match shaken {
                    Ok(Ok(stream)) => self.answer(stream, asked, watcher).await,
                    Ok(Err(error)) => debug!(%error, from = %asked.source.address, "a TLS handshake failed"),
                    Err(_) => debug!(from = %asked.source.address, "a TLS handshake took too long"),
                }
            }
        }
    }

    async fn answer<I, S, B>(&self, stream: I, asked: Asked<S>, watcher: Watcher)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: HttpService<B>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let stream = Linger::new(Hello::new(stream, self.handshake_timeout));
        let connection = self.http.serve_connection(TokioIo::new(stream), asked).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            debug!(error, "a connection ended early");
        }
    }
}

async fn serve<S, B>(listener: TcpListener, mut line: Line, service: S, settings: Settings) -> usize
where
    S: HttpService<B>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let sources = Sources::new(settings.per_source_max);
    let limit = Arc::new(Semaphore::new(settings.connections_max));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let (stream, from, turn) = tokio::select! {
            accepted = accept(&listener, &limit) => accepted,
            Some(_) = connections.join_next() => continue,
            () = line.shutdown.stopping() => break,
        };
        let Some(share) = sources.enter(from.ip()) else {
            debug!(%from, "closed a connection: its source has as many as it may");
            continue;
        };
        set_options(&stream, &settings);
        let source = Source::new(from.ip(), line.tls.is_some());
        let asked = Asked { service: service.clone(), source };
        let (line, watcher) = (line.clone(), graceful.watcher());
        connections.spawn(async move {
            let _held = (turn, share);
            line.speak(stream, asked, watcher).await;
        });
    }
    // Nobody is kept waiting in the queue of a process that is going.
    drop(listener);
    drain(graceful, connections, settings.drain).await
}

fn protocol(settings: &Settings) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(settings.header_timeout).max_headers(HEADERS_MAX);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(settings.header_timeout);
    http.http2().max_concurrent_streams(settings.streams_max).max_header_list_size(HEADER_LIST_BYTES_MAX);
    http
}

/// The kernel knows best whether a client takes anything: it ends a connection of which nothing went out for so long,
/// although something waits to, and one whose client does not answer any more.
fn set_options(stream: &TcpStream, settings: &Settings) {
    let idle_ms = u32::try_from(settings.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let set = stream.set_nodelay(true).and_then(|()| Ok(set_tcp_user_timeout(stream, idle_ms)?));
    if let Err(error) = set {
        debug!(%error, "a connection was gone before it began");
    }
}

/// The next connection, once there may be one more. May be dropped at any point.
async fn accept(listener: &TcpListener, limit: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let turn = limit.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, from)) => return (stream, from, turn),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How many connections had to be cut.
async fn drain(graceful: GracefulShutdown, mut connections: JoinSet<()>, patience: Duration) -> usize {
    let _ = timeout(patience, graceful.shutdown()).await;
    while connections.try_join_next().is_some() {}
    let cut = connections.len();
    connections.shutdown().await;
    cut
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;

    const SETTINGS: Settings = Settings {
        connections_max: 2,
        per_source_max: 2,
        streams_max: 32,
        header_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(60),
        drain: Duration::from_millis(300),
    };
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// Answers each request when told to; `arrived` hears of it before.
    async fn slow_server(arrived: &Arc<Notify>, answer: &Arc<Notify>, settings: Settings) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (arrived, answer) = (arrived.clone(), answer.clone());
        let service = service_fn(move |_: Request<Incoming>| {
            let (arrived, answer) = (arrived.clone(), answer.clone());
            async move {
                arrived.notify_one();
                answer.notified().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
            }
        });
        Server::start(listener, None, service, settings).unwrap()
    }

    async fn ask(server: &Server) -> TcpStream {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        stream
    }

    async fn answer_of(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        // A cut connection may show as an error: whatever came before is the answer.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_although_the_server_stops() {
        let (arrived, answer) = (Arc::default(), Arc::default());
        let server = slow_server(&arrived, &answer, SETTINGS).await;
        let address = server.address();
        let stream = ask(&server).await;
        arrived.notified().await;
        let stopping = tokio::spawn(server.stop());
        sleep(Duration::from_millis(50)).await;
        assert!(TcpStream::connect(address).await.is_err(), "no new connection is taken");
        assert!(!stopping.is_finished());
        answer.notify_one();
        assert!(answer_of(stream).await.ends_with("done"));
        stopping.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_never_ends_does_not_hold_the_process_for_ever() {
        let (arrived, answer) = (Arc::default(), Arc::default());
        let server = slow_server(&arrived, &answer, SETTINGS).await;
        let stream = ask(&server).await;
        arrived.notified().await;
        timeout(Duration::from_secs(5), server.stop()).await.unwrap();
        assert_eq!(answer_of(stream).await, "");
    }

    #[tokio::test]
    async fn idle_connections_do_not_delay_the_end() {
        let settings = Settings { drain: Duration::from_secs(60), ..SETTINGS };
        let server = slow_server(&Arc::default(), &Arc::default(), settings).await;
        let idle = TcpStream::connect(server.address()).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        timeout(Duration::from_secs(5), server.stop()).await.unwrap();
        assert_eq!(answer_of(idle).await, "");
    }

    #[tokio::test]
    async fn one_connection_too_many_waits_for_its_turn() {
        let (arrived, answer) = (Arc::default(), Arc::default());
        let server = slow_server(&arrived, &answer, SETTINGS).await;
        let (first, _second, third) = (ask(&server).await, ask(&server).await, ask(&server).await);
        arrived.notified().await;
        arrived.notified().await;
        assert!(timeout(Duration::from_millis(100), arrived.notified()).await.is_err(), "the third is not heard yet");
        answer.notify_waiters();
        drop(first);
        arrived.notified().await;
        answer.notify_one();
        drop(third);
    }

    #[tokio::test]
    async fn headers_that_dribble_in_are_cut_off() {
        let settings = Settings { header_timeout: Duration::from_millis(100), ..SETTINGS };
        let server = slow_server(&Arc::default(), &Arc::default(), settings).await;
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        timeout(Duration::from_secs(5), answer_of(stream)).await.unwrap();
    }

    #[tokio::test]
    async fn who_connects_and_says_nothing_is_cut_off() {
        let settings = Settings { header_timeout: Duration::from_millis(100), ..SETTINGS };
        let server = slow_server(&Arc::default(), &Arc::default(), settings).await;
        for said in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            stream.write_all(said).await.unwrap();
            timeout(Duration::from_secs(5), answer_of(stream)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn one_source_has_no_more_than_its_share() {
        let (arrived, answer) = (Arc::default(), Arc::default());
        let settings = Settings { connections_max: 9, per_source_max: 1, ..SETTINGS };
        let server = slow_server(&arrived, &answer, settings).await;
        let first = ask(&server).await;
        arrived.notified().await;
        assert_eq!(answer_of(ask(&server).await).await, "");
        answer.notify_one();
        assert!(answer_of(first).await.ends_with("done"));
    }

    #[tokio::test]
    async fn who_does_not_read_its_answer_makes_way_for_others() {
        let settings = Settings { connections_max: 1, idle_timeout: Duration::from_millis(500), ..SETTINGS };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endless = service_fn(|_: Request<Incoming>| async {
            let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0; 1 << 16])));
            Ok::<_, Infallible>(Response::new(StreamBody::new(futures::stream::iter(std::iter::repeat_with(piece)))))
        });
        let server = Server::start(listener, None, endless, settings).unwrap();
        let _deaf = ask(&server).await;
        let mut next = ask(&server).await;
        let mut answer = [0; 12];
        timeout(Duration::from_secs(30), next.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }

    async fn over_tls(client_ca: Option<std::path::PathBuf>) -> Server {
        use crate::tls::{ListenerFiles, testing};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let acceptor = Acceptor::open(ListenerFiles { identity: testing::server(), client_ca }).unwrap();
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
        });
        let settings = Settings { header_timeout: Duration::from_millis(300), ..SETTINGS };
        Server::start(listener, Some(acceptor), service, settings).unwrap()
    }

    #[tokio::test]
    async fn over_tls_both_versions_of_http_are_spoken() {
        use hyper::client::conn::{http1, http2};

        use crate::tls::{Trust, client, testing};
        let server = over_tls(Some(testing::file("ca.pem"))).await;
        for (protocol, version) in [("http/1.1", http::Version::HTTP_11), ("h2", http::Version::HTTP_2)] {
            let trust = Trust::Authority(testing::file("ca.pem"));
            let mut config = client(&trust, Some(&testing::member())).unwrap();
            config.alpn_protocols = vec![protocol.into()];
            let stream = TcpStream::connect(server.address()).await.unwrap();
            let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
            let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
            let mut request = Request::get("https://localhost/").header("host", "localhost");
            for n in 0..HEADERS_MAX - 10 {
                request = request.header(format!("x-amz-meta-{n}"), "of the longest metadata");
            }
            let request = request.body(Full::<Bytes>::default()).unwrap();
            let answer = if protocol == "h2" {
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await.unwrap()
            } else {
                let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await.unwrap()
            };
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        }
    }

    #[tokio::test]
    async fn who_does_not_shake_hands_makes_way_for_others_and_for_the_end() {
        let server = over_tls(None).await;
        let silent = TcpStream::connect(server.address()).await.unwrap();
        timeout(Duration::from_secs(5), answer_of(silent)).await.unwrap();
        let plain = ask(&server).await;
        assert!(!answer_of(plain).await.contains("HTTP/1.1 200"));
        let _silent = TcpStream::connect(server.address()).await.unwrap();
        timeout(Duration::from_secs(5), server.stop()).await.unwrap();
    }
}
