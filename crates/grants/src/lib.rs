//! Countersign's domain: ids, the catalogue, the signed statements, the lifecycles, and permit or refuse.
//!
//! Everything here is a function of its arguments: no I/O, no clock, no randomness, no gRPC. What comes from
//! outside is parsed once; from then on types carry what was verified: [`envelope::verify`] alone makes an
//! [`envelope::Signed`], and [`permit::judge`] alone makes a [`permit::Permit`].

pub mod budget;
pub mod catalogue;
pub mod commitment;
pub mod digest;
pub mod envelope;
pub mod id;
pub mod key;
pub mod lifecycle;
pub mod permit;
pub mod sealing;
pub mod statement;
pub mod time;
pub mod token;

#[cfg(test)]
mod fixtures;
