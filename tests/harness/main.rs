//! One binary for all tests that span crates, so that the workspace links once.
#![cfg(test)]

#[path = "../house.rs"]
mod house;

mod world;
#[path = "../worldcheck/mod.rs"]
mod worldcheck;

mod asking;
mod bad_calls;
mod bad_links;
mod bad_sources;
mod bad_statements;
mod claims;
mod closing;
mod closing_races;
mod devices;
mod erasure;
mod export;
mod faults;
mod hostile;
mod journey;
mod listed;
mod many;
mod outside;
mod policy;
mod previews;
mod races;
mod reading;
mod requirements;
mod restart;
mod revisions;
mod second_device;
mod stops;
mod taps;
mod threat_model;
mod vetting;
