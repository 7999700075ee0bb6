//! The disk as a power cut leaves it.

fn main() {}
