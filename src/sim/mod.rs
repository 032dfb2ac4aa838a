//! Worlds for tests: production code with clients that overlap, and with power that goes away.

mod buckets;
mod check;
mod clients;
mod crash;
mod face;
mod failing;
mod hangup;
mod history;
mod machine;
mod player;
mod scenarios;
mod sites;
mod world;
