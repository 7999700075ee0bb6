use crate::hash::{Hash, node_hash};

/// Verifies that the leaf hash `leaf` stands at `index` in the tree of `size` leaves with this root (RFC 9162 section
/// 2.1.3.2). The path must have exactly the length that index and size give it.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    path: &[Hash],
    root: &Hash,
) -> Result<(), InclusionError> {
    let found = root_of_inclusion(index, size, leaf, path)?;
    if found == *root { Ok(()) } else { Err(InclusionError::Root { index, size, expected: *root, found }) }
}

/// The root that a path leads to from a leaf. That proves nothing until the root is compared with a known one.
pub fn root_of_inclusion(index: u64, size: u64, leaf: &Hash, path: &[Hash]) -> Result<Hash, InclusionError> {
    if index >= size {
        return Err(InclusionError::Index { index, size });
    }
    let expected = path_length(index, size);
    if path.len() != expected {
        return Err(InclusionError::Length { index, size, expected, found: path.len() });
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if at & 1 == 1 || at == last {
            // A node at the right edge stays there, and all that is left are left siblings. Levels at which it has none
            // don't count: the length is checked.
            hash = node_hash(sibling, &hash);
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    Ok(hash)
}

/// The length of a path: a sibling at every level up to where the ways of this leaf and of the last leaf part, and
/// above that one for each left sibling. The caller has checked that `index < size`.
fn path_length(index: u64, size: u64) -> usize {
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    (inner + border) as usize
}

/// Why a leaf is not shown to be in a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InclusionError {
    /// The tree has no such leaf.
    #[error("a tree of {size} leaves has no leaf {index}")]
    Index {
        /// The leaf asked for.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The path has another length than index and size give it.
    #[error("the path of leaf {index} in a tree of {size} has {expected} hashes, not {found}")]
    Length {
        /// The leaf.
        index: u64,
        /// The size of the tree.
        size: u64,
        /// The length that the path must have.
        expected: usize,
        /// The length that it has.
        found: usize,
    },
    /// The path leads to another root.
    #[error("the path of leaf {index} in a tree of {size} leads to {found}, not to the root {expected}")]
    Root {
        /// The leaf.
        index: u64,
        /// The size of the tree.
        size: u64,
        /// The root that was known.
        expected: Hash,
        /// The root that the path leads to.
        found: Hash,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hash::leaf_hash, proof::inclusion_spans};

    #[test]
    fn lengths_are_those_of_the_spans() {
        for size in 1..200 {
            for index in 0..size {
                assert_eq!(path_length(index, size), inclusion_spans(index, size).len(), "{index} of {size}");
            }
        }
        for (index, size) in
            [(0, u64::MAX), (u64::MAX - 1, u64::MAX), (1 << 63, u64::MAX), (5, (1 << 63) + 1)]
        {
            assert_eq!(path_length(index, size), inclusion_spans(index, size).len());
        }
    }

    #[test]
    fn wrong_shapes_are_refused_before_any_hashing() {
        let leaf = leaf_hash(b"");
        let check = |index, size, length: usize, expected| {
            assert_eq!(root_of_inclusion(index, size, &leaf, &vec![leaf; length]), Err(expected));
        };
        check(0, 0, 0, InclusionError::Index { index: 0, size: 0 });
        check(7, 7, 3, InclusionError::Index { index: 7, size: 7 });
        check(0, 1, 1, InclusionError::Length { index: 0, size: 1, expected: 0, found: 1 });
        check(6, 7, 3, InclusionError::Length { index: 6, size: 7, expected: 2, found: 3 });
        check(6, 7, 1, InclusionError::Length { index: 6, size: 7, expected: 2, found: 1 });
        assert_eq!(root_of_inclusion(0, 1, &leaf, &[]), Ok(leaf));
    }
}
