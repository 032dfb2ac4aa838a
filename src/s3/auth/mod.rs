//! Who may do what: keys, their rights, and the two questions that s3s asks.

mod access;
mod expiry;
mod keys;
mod keys_file;
mod network;
mod rights;

pub use access::{Access, Caller, caller};
pub use expiry::Expiry;
pub use keys::{Key, Keyring, KeysError, Secret};
pub use rights::{Grant, Right};
