//! Fuzz targets for every parser of bytes from outside. Each is a plain function of bytes that asserts what must hold of
//! any bytes at all, so that libFuzzer runs it on nightly and a test replays its corpus on stable.

pub mod known;
pub mod seeds;
pub mod targets;
