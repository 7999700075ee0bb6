//! One binary for all tests that span crates, so that the workspace links once.
#![cfg(test)]

#[path = "../house.rs"]
mod house;
