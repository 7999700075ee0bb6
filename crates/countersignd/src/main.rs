//! The daemon's entry: see the library.

fn main() {}
