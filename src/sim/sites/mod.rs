//! Worlds of several sites that run the production code, on one thread and in a time of their own: from a seed, a whole
//! history, and what must have been true in it.

mod absence;
mod bus;
mod client;
mod client_versions;
mod clock;
mod commits;
mod following;
mod gate;
mod headers;
mod ledger;
mod life;
mod network;
mod plan;
mod planted;
mod planted_versions;
mod play;
mod quiet;
mod restoring;
mod rules;
mod seeds;
mod seeing;
mod shown;
mod spare;
mod tests;
mod watch;
mod world;
