//! The side of a listener: shows a certificate, and asks for one of the client where there is an authority for them. Files
//! that change are taken over for the connections after.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Error, Identity, authorities, provider};

/// HTTP/2 first: who speaks both saves connections with it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What a listener shows and asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerFiles {
    pub identity: Identity,
    /// Clients must show a certificate that one of these authorities signed.
    pub client_ca: Option<PathBuf>,
}

/// Makes TLS of accepted connections; clones share it.
#[derive(Clone, Debug)]
pub struct Acceptor {
    files: Arc<ListenerFiles>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Acceptor {
    pub fn open(files: ListenerFiles) -> Result<Self, Error> {
        let current = Arc::new(RwLock::new(read(&files)?));
        Ok(Self { files: Arc::new(files), current })
    }

    /// Reads the files again. Where one has a fault, what was read before stays.
    pub fn reload(&self) -> Result<(), Error> {
        let new = read(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Everything that was read.
    pub fn files(&self) -> Vec<PathBuf> {
        let ListenerFiles { identity, client_ca } = &*self.files;
        [&identity.cert, &identity.key].into_iter().chain(client_ca).cloned().collect()
    }

    /// The handshake. Waits for the client, for as long as the caller lets it.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(current).accept(stream).await
    }
}

fn read(files: &ListenerFiles) -> Result<Arc<ServerConfig>, Error> {
    let (certificates, key) = files.identity.read()?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(path)?), provider()).build();
            let refused = |err: rustls::server::VerifierBuilderError| Error::File { path: path.clone(), reason: err.to_string() };
            builder.with_client_cert_verifier(verifier.map_err(refused)?)
        }
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|err| files.identity.refused(&err))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::super::testing::{self, file};
    use super::super::{ClientConfig, Trust, client};
    use super::*;

    /// What came of a handshake, at the client after a byte came through.
    async fn shake(acceptor: &Acceptor, client: ClientConfig) -> Result<Vec<u8>, String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.write_all(b"x").await;
                let _ = stream.shutdown().await;
            }
        };
        let ask = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.map_err(|err| err.to_string())?;
            // TLS 1.3 tells a client that its certificate was refused only when it reads.
            stream.read_u8().await.map_err(|err| err.to_string())?;
            Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
        };
        tokio::join!(serve, ask).1
    }

    fn trusting(identity: Option<Identity>) -> ClientConfig {
        client(&Trust::Authority(file("ca.pem")), identity.as_ref()).unwrap()
    }

    #[tokio::test]
    async fn a_certificate_that_is_replaced_is_shown_to_whoever_comes_next() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        let put = |from: Identity| {
            std::fs::copy(from.cert, &identity.cert).unwrap();
            std::fs::copy(from.key, &identity.key).unwrap();
        };
        put(testing::server());
        let acceptor = Acceptor::open(ListenerFiles { identity: identity.clone(), client_ca: None }).unwrap();
        let before = shake(&acceptor, trusting(None)).await.unwrap();
        put(testing::second_server());
        acceptor.reload().unwrap();
        let after = shake(&acceptor, trusting(None)).await.unwrap();
        assert_ne!(before, after);
        // Half of a change, as a look between two writes sees it.
        std::fs::copy(testing::server().cert, &identity.cert).unwrap();
        assert!(acceptor.reload().unwrap_err().to_string().contains("do not belong together"));
        assert_eq!(shake(&acceptor, trusting(None)).await.unwrap(), after);
    }

    #[tokio::test]
    async fn where_clients_need_a_certificate_no_other_gets_in() {
        let files = ListenerFiles { identity: testing::server(), client_ca: Some(file("ca.pem")) };
        let acceptor = Acceptor::open(files).unwrap();
        assert!(shake(&acceptor, trusting(Some(testing::member()))).await.is_ok());
        for identity in [None, Some(testing::stranger())] {
            assert!(shake(&acceptor, trusting(identity)).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_pinned_certificate_is_believed_and_no_other() {
        let acceptor = Acceptor::open(ListenerFiles { identity: testing::server(), client_ca: None }).unwrap();
        let exactly = |name| client(&Trust::Exactly(file(name)), None).unwrap();
        assert!(shake(&acceptor, exactly("server.pem")).await.is_ok());
        assert!(shake(&acceptor, exactly("second.pem")).await.is_err());
        assert!(shake(&acceptor, super::super::trusting_nobody()).await.is_err());
    }

    #[test]
    fn files_with_a_fault_are_named() {
        let open = |cert: &str, key: &str, client_ca: Option<&str>| {
            let identity = Identity { cert: file(cert), key: file(key) };
            Acceptor::open(ListenerFiles { identity, client_ca: client_ca.map(file) }).unwrap_err().to_string()
        };
        assert!(open("none.pem", "server.key", None).contains("none.pem: "));
        assert!(open("server.key", "server.key", None).contains("there is no certificate"));
        assert!(open("server.pem", "server.pem", None).contains("there is no key"));
        assert!(open("server.pem", "member.key", None).contains("do not belong together"));
        assert!(open("server.pem", "server.key", Some("server.key")).contains("server.key: there is no certificate"));
    }
}
