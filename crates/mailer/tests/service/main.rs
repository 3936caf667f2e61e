//! The mailer on a real PostgreSQL and a real RabbitMQ, with a mail catcher at the other end.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod broker;
mod configuration;
mod delivery;
mod lanes;
mod look_after;
mod migrations;
mod operators;
mod outcomes;
mod rpc;
mod sendgrid;
mod support;
