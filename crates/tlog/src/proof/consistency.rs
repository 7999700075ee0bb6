use super::plan::consistency_spans;
use crate::hash::{Hash, node_hash};

/// Verifies that the tree of `to` leaves with root `to_root` begins with the tree of `from` leaves with root
/// `from_root` (RFC 9162 section 2.1.4.2). The proof must have exactly the length that the sizes give it.
///
/// RFC 9162 leaves the empty older tree open. As C2SP `tlog-witness` has it, every tree is consistent with the empty
/// tree and the proof is empty; the older root must then be [`Hash::EMPTY_ROOT`].
pub fn verify_consistency(
    from: u64,
    from_root: &Hash,
    to: u64,
    to_root: &Hash,
    proof: &[Hash],
) -> Result<(), ConsistencyError> {
    if from > to {
        return Err(ConsistencyError::Sizes { from, to });
    }
    let expected = if from == 0 { 0 } else { consistency_spans(from, to).len() };
    if proof.len() != expected {
        return Err(ConsistencyError::Length { from, to, expected, found: proof.len() });
    }
    let (old, new) = match proof {
        [] if from == 0 => (Hash::EMPTY_ROOT, if to == 0 { Hash::EMPTY_ROOT } else { *to_root }),
        // Without a proof the sizes are equal, and the newer root is the older one.
        [] => (*to_root, *to_root),
        proof => roots(from, from_root, to, proof),
    };
    if old != *from_root {
        return Err(ConsistencyError::OldRoot { from, expected: *from_root, found: old });
    }
    if new != *to_root {
        return Err(ConsistencyError::NewRoot { to, expected: *to_root, found: new });
    }
    Ok(())
}

/// The older and the newer root that a proof of the right, non-zero length leads to.
fn roots(from: u64, from_root: &Hash, to: u64, proof: &[Hash]) -> (Hash, Hash) {
    let (mut at, mut last) = (from - 1, to - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // An older tree of a power of two is one node of the newer tree: the proof leaves its root out.
    let (start, rest) = if from.is_power_of_two() { (*from_root, proof) } else { (proof[0], &proof[1..]) };
    let (mut old, mut new) = (start, start);
    for sibling in rest {
        if at & 1 == 1 || at == last {
            old = node_hash(sibling, &old);
            // At the right edge it stays there. Levels at which it has no sibling don't count: the length is checked.
            new = node_hash(sibling, &new);
        } else {
            new = node_hash(&new, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (old, new)
}

/// Why one tree is not shown to begin with another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyError {
    /// A log never shrinks.
    #[error("a tree of {to} leaves does not begin with one of {from}")]
    Sizes {
        /// The size that should be the older.
        from: u64,
        /// The size that should be the newer.
        to: u64,
    },
    /// The proof has another length than the sizes give it.
    #[error("the proof from {from} to {to} leaves has {expected} hashes, not {found}")]
    Length {
        /// The older size.
        from: u64,
        /// The newer size.
        to: u64,
        /// The length that the proof must have.
        expected: usize,
        /// The length that it has.
        found: usize,
    },
    /// The proof is about another older tree.
    #[error("the proof's older tree of {from} leaves has the root {found}, not {expected}")]
    OldRoot {
        /// The older size.
        from: u64,
        /// The root that was known.
        expected: Hash,
        /// The root that the proof leads to.
        found: Hash,
    },
    /// The proof is about another newer tree.
    #[error("the proof's newer tree of {to} leaves has the root {found}, not {expected}")]
    NewRoot {
        /// The newer size.
        to: u64,
        /// The root that was known.
        expected: Hash,
        /// The root that the proof leads to.
        found: Hash,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;

    #[test]
    fn the_edges_are_strict() {
        let (a, b, empty) = (leaf_hash(b"a"), leaf_hash(b"b"), Hash::EMPTY_ROOT);
        let check = |from, from_root, to, to_root, length: usize, expected| {
            assert_eq!(verify_consistency(from, &from_root, to, &to_root, &vec![a; length]), expected);
        };
        check(0, empty, 0, empty, 0, Ok(()));
        check(0, empty, 9, b, 0, Ok(()));
        check(9, b, 9, b, 0, Ok(()));
        check(0, a, 9, b, 0, Err(ConsistencyError::OldRoot { from: 0, expected: a, found: empty }));
        check(0, empty, 0, a, 0, Err(ConsistencyError::NewRoot { to: 0, expected: a, found: empty }));
        check(9, a, 9, b, 0, Err(ConsistencyError::OldRoot { from: 9, expected: a, found: b }));
        check(2, a, 1, b, 0, Err(ConsistencyError::Sizes { from: 2, to: 1 }));
        check(0, empty, 9, b, 1, Err(ConsistencyError::Length { from: 0, to: 9, expected: 0, found: 1 }));
        check(3, a, 7, b, 3, Err(ConsistencyError::Length { from: 3, to: 7, expected: 4, found: 3 }));
        check(4, a, 7, b, 0, Err(ConsistencyError::Length { from: 4, to: 7, expected: 1, found: 0 }));
    }
}
