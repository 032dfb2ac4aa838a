//! Certificates for tests, good for a hundred years; `testdata/make.sh` made them.

use std::path::PathBuf;

use super::Identity;

pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tls/testdata").join(name)
}

fn identity(name: &str) -> Identity {
    Identity { cert: file(&format!("{name}.pem")), key: file(&format!("{name}.key")) }
}

/// For `localhost` and 127.0.0.1, signed by `ca.pem`.
pub fn server() -> Identity {
    identity("server")
}

/// The same names, another key.
pub fn second_server() -> Identity {
    identity("second")
}

/// A client that `ca.pem` signed.
pub fn member() -> Identity {
    identity("member")
}

/// A client that another authority signed.
pub fn stranger() -> Identity {
    identity("stranger")
}
