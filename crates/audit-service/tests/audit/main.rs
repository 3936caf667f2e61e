//! The service on real servers: ingest, search, and what happens while a server is away.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod access;
mod append_only;
mod facts;
mod ingest;
mod migrations;
mod outages;
mod running;
mod search;
mod sql;
