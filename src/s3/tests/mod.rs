//! The whole face driven over HTTP, one file a topic. Each trap of s3s has its test here.

mod buckets;
mod documents;
mod forms;
mod integrity;
mod listing;
mod model;
mod multipart;
mod objects;
mod reads;
mod shape;
mod signatures;
mod strangers;
mod traces;
