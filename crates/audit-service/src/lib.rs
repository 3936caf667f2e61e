#![doc = include_str!("../README.md")]

pub mod app;
pub mod archive;
mod commands;
pub mod config;
pub mod consumer;
pub mod domain;
mod lag;
pub mod metrics;
mod rpc;
mod service;
pub mod startup;
pub mod store;
pub mod tail;
pub mod vouching;

pub use service::AuditService;
