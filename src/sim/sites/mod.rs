//! Worlds of several sites: production code on stores in memory, on one thread, in a time that only the seed moves.

mod absence;
mod headers;
mod network;
mod world;

mod seeing;
mod tests;
