//! Inclusion and consistency proofs (RFC 6962 section 2.1, RFC 9162 section 2.1.3 and 2.1.4).
//!
//! Whoever reads tiles asynchronously asks first which ones a proof needs ([`inclusion_tiles`],
//! [`consistency_tiles`], [`root_tiles`]), fetches them, and then computes from a map of them. What was computed from
//! tiles that another party supplied proves nothing until it is verified against a root that is known.

mod consistency;
mod inclusion;
mod plan;
mod produce;

pub use consistency::{ConsistencyError, verify_consistency};
pub use inclusion::{InclusionError, root_of_inclusion, verify_inclusion};
pub(crate) use plan::{Node, Span, consistency_spans, inclusion_spans};
pub use produce::{
    ProveError, consistency_tiles, inclusion_tiles, prove_consistency, prove_inclusion, root_from_tiles,
    root_tiles,
};

/// The most hashes that an inclusion path has: one for each bit of a leaf's index.
pub const MAX_INCLUSION_HASHES: usize = 64;

/// The most hashes that a consistency proof has: a starting node, and one for each level above it.
pub const MAX_CONSISTENCY_HASHES: usize = 65;
