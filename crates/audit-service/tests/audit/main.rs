//! The service on real servers: ingest, search, and what happens while a server is away.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod access;
mod append_only;
mod archive;
mod cli;
mod dead_letters;
mod erasure;
mod facts;
mod hostile;
mod ingest;
mod integrity;
mod migrations;
mod outages;
mod retention;
mod running;
mod scope;
mod search;
mod sql;
mod streams;
