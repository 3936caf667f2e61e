#![doc = include_str!("../README.md")]

pub mod app;
pub mod clients;
pub mod commands;
pub mod config;
pub mod domain;
pub mod http;
pub mod metrics;
pub mod password;
pub mod service;
pub mod startup;
pub mod state;
pub mod store;
