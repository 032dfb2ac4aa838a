//! anybucket: one S3 endpoint over any storage.
//!
//! The modules in the order in which they lean on each other; the map is ARCHITECTURE.md.

#[macro_use]
mod planted;

pub mod model;

pub mod tasks;
pub mod telemetry;
pub mod tls;

pub mod backend;
pub mod clock;
pub mod peer;
pub mod status;

pub mod site;

pub mod journal;

pub mod events;
pub mod replicate;

pub mod reconcile;

pub mod admin;
pub mod feed;
pub mod s3;

pub mod config;

pub mod app;

pub mod cli;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tidy;
