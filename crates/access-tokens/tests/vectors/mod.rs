//! Reads the official test vectors.

use serde::{Deserialize, de::DeserializeOwned};

#[derive(Deserialize)]
struct File<T> {
    tests: Vec<T>,
}

/// The vectors of a file.
pub fn read<T: DeserializeOwned>(json: &str) -> Vec<T> {
    serde_json::from_str::<File<T>>(json).unwrap().tests
}

pub fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}
