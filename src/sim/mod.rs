//! Worlds for tests: production code with clients that overlap, and with power that goes away.

mod clients;
mod history;
