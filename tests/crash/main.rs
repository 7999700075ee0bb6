//! A real daemon under load, killed again and again.

fn main() {}
