//! Worlds for tests: production code with clients that overlap, and with power that goes away.

mod check;
mod clients;
mod crash;
mod failing;
mod hangup;
mod history;
mod machine;
mod player;
mod scenarios;
mod world;
