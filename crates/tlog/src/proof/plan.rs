//! Which parts of the tree a proof consists of, by RFC 6962 section 2.1.

use crate::tile::{TILE_HEIGHT, TileCoord};

/// A run of leaves whose hash stands in a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// A perfect subtree: leaves `index · 2^height` up to `(index + 1) · 2^height`. Tiles hold these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) height: u32,
    pub(crate) index: u64,
}

impl Span {
    /// The perfect subtrees that the span consists of, largest first. A span of a proof starts at a multiple of the
    /// largest power of two within it, so greedy taking is RFC 6962's own splitting.
    pub(crate) fn nodes(self) -> impl DoubleEndedIterator<Item = Node> {
        let length = self.end - self.start;
        (0..u64::BITS).rev().filter(move |height| length >> height & 1 == 1).map(move |height| {
            // All of the higher bits of the length come before this subtree.
            let before = length & !(u64::MAX >> (u64::BITS - 1 - height));
            Node { height, index: (self.start + before) >> height }
        })
    }

    /// How many perfect subtrees the span consists of.
    pub(crate) fn count(self) -> usize {
        (self.end - self.start).count_ones() as usize
    }

    /// The one perfect subtree that the span is, if it is one.
    pub(crate) fn node(self) -> Option<Node> {
        let length = self.end - self.start;
        let height = length.trailing_zeros();
        length.is_power_of_two().then(|| Node { height, index: self.start >> height })
    }
}

impl Node {
    /// The level of the tile that holds this node, the tile's index, the node's height within the tile, and its place
    /// among the tile's nodes of that height.
    pub(crate) fn place(self) -> (u8, u64, u32, usize) {
        let height = self.height % TILE_HEIGHT;
        let beside = TILE_HEIGHT - height;
        // The place is below 256; levels are below 8.
        let place = (self.index & ((1 << beside) - 1)) as usize;
        ((self.height / TILE_HEIGHT) as u8, self.index >> beside, height, place)
    }

    /// The tile that holds this node in a log of `size` leaves. `None` if the log does not reach there.
    pub(crate) fn tile(self, size: u64) -> Option<TileCoord> {
        let (level, index, _, _) = self.place();
        TileCoord::in_log(level, index, size)
    }
}

/// The largest power of two below `length`, which is at least 2: where RFC 6962 splits a tree.
fn split(length: u64) -> u64 {
    1 << (u64::BITS - 1 - (length - 1).leading_zeros())
}

/// PATH(index, D[size]): the spans beside the way from leaf to root, leaf's sibling first. The caller has checked
/// that `index < size`.
pub(crate) fn inclusion_spans(index: u64, size: u64) -> Vec<Span> {
    let (mut start, mut end) = (0, size);
    let mut spans = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            spans.push(Span { start: middle, end });
            end = middle;
        } else {
            spans.push(Span { start, end: middle });
            start = middle;
        }
    }
    spans.reverse();
    spans
}

/// PROOF(from, D[to]). The caller has checked that `0 < from <= to`.
pub(crate) fn consistency_spans(from: u64, to: u64) -> Vec<Span> {
    let (mut start, mut end) = (0, to);
    // Whether the subtree at hand is the whole older tree so far, whose root the verifier knows.
    let mut known = true;
    let mut spans = Vec::new();
    while from < end {
        let middle = start + split(end - start);
        if from <= middle {
            spans.push(Span { start: middle, end });
            end = middle;
        } else {
            spans.push(Span { start, end: middle });
            start = middle;
            known = false;
        }
    }
    if !known {
        spans.push(Span { start, end });
    }
    spans.reverse();
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(spans: &[Span]) -> Vec<u64> {
        spans.iter().map(|span| span.end - span.start).collect()
    }

    #[test]
    fn a_span_falls_into_perfect_subtrees() {
        let check = |start, end, expected: &[(u32, u64)]| {
            let nodes: Vec<_> = Span { start, end }.nodes().map(|node| (node.height, node.index)).collect();
            assert_eq!(nodes, expected);
            assert_eq!(Span { start, end }.count(), expected.len());
            let only = Span { start, end }.node().map(|node| (node.height, node.index));
            assert_eq!(only, (expected.len() == 1).then(|| expected[0]));
        };
        check(0, 13, &[(3, 0), (2, 2), (0, 12)]);
        check(8, 13, &[(2, 2), (0, 12)]);
        check(2, 4, &[(1, 1)]);
        check(5, 6, &[(0, 5)]);
        check(0, 1 << 63, &[(63, 0)]);
        assert_eq!(Span { start: 0, end: u64::MAX }.nodes().count(), 64);
    }

    /// RFC 6962 section 2.1.3, the tree of seven leaves.
    #[test]
    fn spans_are_those_of_the_rfc_example() {
        assert_eq!(lengths(&inclusion_spans(0, 7)), [1, 2, 3]);
        assert_eq!(lengths(&inclusion_spans(3, 7)), [1, 2, 3]);
        assert_eq!(lengths(&inclusion_spans(4, 7)), [1, 1, 4]);
        assert_eq!(lengths(&inclusion_spans(6, 7)), [2, 4]);
        assert_eq!(lengths(&inclusion_spans(0, 1)), []);
        assert_eq!(lengths(&consistency_spans(3, 7)), [1, 1, 2, 3]);
        assert_eq!(lengths(&consistency_spans(4, 7)), [3]);
        assert_eq!(lengths(&consistency_spans(6, 7)), [2, 1, 4]);
        assert_eq!(lengths(&consistency_spans(7, 7)), []);
    }

    #[test]
    fn nodes_stand_in_their_tiles() {
        let check = |height, index, expected| assert_eq!(Node { height, index }.place(), expected);
        check(0, 700, (0, 2, 0, 188));
        check(7, 3, (0, 1, 7, 1));
        check(8, 3, (1, 0, 0, 3));
        check(63, 1, (7, 0, 7, 1));
        let tile = Node { height: 0, index: 700 }.tile(701).unwrap();
        assert_eq!((tile.index(), tile.width()), (2, 189));
        assert_eq!(Node { height: 0, index: 700 }.tile(512), None);
    }

    #[test]
    fn the_largest_trees_do_not_overflow() {
        assert_eq!(inclusion_spans(u64::MAX - 1, u64::MAX).len(), 63);
        assert_eq!(inclusion_spans(0, u64::MAX).len(), super::super::MAX_INCLUSION_HASHES);
        assert_eq!(consistency_spans(1, u64::MAX).len(), 64);
        for from in [3, u64::MAX - 1, u64::MAX / 2, (1 << 63) + 1] {
            assert!(consistency_spans(from, u64::MAX).len() <= super::super::MAX_CONSISTENCY_HASHES);
        }
    }
}
