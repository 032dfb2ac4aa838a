//! Who may do what: keys, their rights, and the two questions that s3s asks.

mod access;
mod expiry;
mod keys;
mod keys_file;
mod need;
mod network;
mod open;
mod rights;

pub use access::{Access, Caller, caller};
pub use expiry::Expiry;
pub use keys::{Key, Keyring, KeysError, Secret};
pub use open::{Opened, counting};
pub use rights::{Grant, Right};
