//! Worlds of several sites that run the production code, on one thread and in a time of their own: from a seed, a whole
//! history, and what must have been true in it.

mod absence;
mod bus;
mod client;
mod clock;
mod following;
mod gate;
mod headers;
mod ledger;
mod life;
mod network;
mod plan;
mod planted;
mod play;
mod quiet;
mod restoring;
mod seeds;
mod seeing;
mod tests;
mod watch;
mod world;
