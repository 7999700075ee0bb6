//! Broker, partners, customers and auditors in one process, on a simulated network.

fn main() {}
