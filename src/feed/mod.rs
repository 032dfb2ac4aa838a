//! What another site may read of this one: the other end of `peer`.
//!
//! [`Feed`] answers, whoever asks; a site in the same process asks it through [`Local`], one elsewhere over HTTP. Nothing
//! here reads through to a third site, tells anything or writes anything but the end of receipts that have served.

mod answer;
mod auth;
mod http;
mod local;

pub use answer::Feed;
pub use auth::{Reader, Readers};
pub use http::{Served, router};
pub use local::Local;

#[cfg(test)]
mod tests;
