use std::collections::HashMap;

use super::*;
use crate::{check::Frontier, hash::leaf_hash, proof::verify_inclusion};

fn leaf(n: u64) -> Hash {
    leaf_hash(&n.to_le_bytes())
}

fn grown(size: u64) -> Tree {
    let mut tree = Tree::new();
    (0..size).for_each(|n| tree.append(leaf(n)));
    tree
}

fn parsed(tiles: Vec<(TileCoord, Bytes)>) -> HashMap<TileCoord, Tile> {
    tiles.into_iter().map(|(coord, bytes)| (coord, Tile::parse(coord, bytes).unwrap())).collect()
}

#[test]
fn roots_agree_with_the_frontier() {
    let (mut tree, mut frontier) = (Tree::new(), Frontier::new());
    for n in 0..=1_500 {
        assert_eq!((tree.size(), tree.root()), (n, frontier.root()));
        tree.append(leaf(n));
        frontier.append(leaf(n));
    }
}

#[test]
fn every_recent_leaf_has_its_path() {
    assert_eq!(RECENT_LEAVES, 1_024, "twice the largest batch");
    let check = |size: u64| {
        let tree = grown(size);
        let held = tree.held();
        assert_eq!(held.end, size);
        assert!(held.start <= size.saturating_sub(RECENT_LEAVES), "{held:?}");
        for index in held.clone() {
            let path = tree.inclusion(index).unwrap();
            assert_eq!(verify_inclusion(index, size, &leaf(index), &path, &tree.root()), Ok(()));
        }
        for index in [held.start.wrapping_sub(1), size, u64::MAX] {
            assert_eq!(tree.inclusion(index), Err(NotHeld { index, held: held.clone() }));
        }
    };
    for size in
        [0, 1, 2, 255, 256, 257, 1023, 1024, 1025, 1279, 1280, 1281, 2000, 65_535, 65_536, 65_537, 66_000]
    {
        check(size);
    }
}

#[test]
fn publications_give_exactly_the_tiles_of_the_growth() {
    let mut tree = Tree::new();
    let mut disk = HashMap::new();
    let mut published = 0;
    let sizes = [1, 2, 255, 256, 257, 300, 5_000, 65_535, 65_536, 65_537, 70_000, 70_003];
    for pair in sizes.windows(2) {
        let (size, next) = (pair[0], pair[1]);
        (tree.size()..size).for_each(|n| tree.append(leaf(n)));
        let tiles = tree.tiles_since(published).unwrap();
        let coords: Vec<_> = tiles.iter().map(|(coord, _)| *coord).collect();
        assert_eq!(coords, tiles_for_growth(published, size));
        disk.extend(parsed(tiles));
        // The log grows while the publication is under way, by more tiles than are recent; the tiles of that growth
        // are not forgotten with it.
        (size..next.min(size + 2_000)).for_each(|n| tree.append(leaf(n)));
        tree.forget_before(size);
        assert!(tree.full.keys().all(|coord| coord.completed_at().is_some_and(|at| at > size)));
        published = size;
        assert_eq!(tree.published(), size);
    }
    let root = grown(70_000).root();
    assert_eq!(crate::proof::root_from_tiles(70_000, &disk), Ok(root));
    assert!(tree.full.is_empty());
    assert_eq!(tree.tiles_since(5_000), Err(TilesSinceError::Forgotten { asked: 5_000, kept_from: 70_000 }));
    assert_eq!(tree.tiles_since(80_000), Err(TilesSinceError::Ahead { asked: 80_000, size: 70_003 }));
    tree.forget_before(80_000);
    assert_eq!(tree.published(), 70_003);
    assert_eq!(tree.tiles_since(70_003), Ok(Vec::new()));
}

#[test]
fn a_loaded_tree_goes_on_like_the_one_before() {
    let check = |size: u64| {
        let mut before = grown(size);
        let disk = parsed(before.tiles_since(0).unwrap());
        let mut tree = Tree::load(size, &before.root(), &disk).unwrap();
        assert_eq!((tree.size(), tree.root(), tree.held()), (size, before.root(), before.held()));
        assert_eq!(tree.published(), size);
        before.forget_before(size);
        for n in size..size + 300 {
            before.append(leaf(n));
            tree.append(leaf(n));
        }
        assert_eq!(tree.tiles_since(size), before.tiles_since(size));
        for index in tree.held() {
            let path = tree.inclusion(index).unwrap();
            assert_eq!(verify_inclusion(index, tree.size(), &leaf(index), &path, &before.root()), Ok(()));
        }
    };
    for size in [0, 1, 255, 256, 257, 1024, 1_300, 2_000, 65_535, 65_536, 65_537, 66_900] {
        check(size);
    }
}

#[test]
fn damaged_and_missing_tiles_are_named() {
    let size = 66_900;
    let before = grown(size);
    let disk = parsed(before.tiles_since(0).unwrap());
    for coord in Tree::tiles_to_load(size) {
        let mut missing = disk.clone();
        missing.remove(&coord);
        let refused = Tree::load(size, &before.root(), &missing).unwrap_err();
        assert_eq!(refused, LoadError::Missing { coord });

        for byte in [0, usize::from(coord.width()) * 32 - 1] {
            let mut bytes = disk[&coord].as_bytes().to_vec();
            bytes[byte] ^= 1;
            let mut damaged = disk.clone();
            damaged.insert(coord, Tile::parse(coord, bytes.into()).unwrap());
            let refused = Tree::load(size, &before.root(), &damaged).unwrap_err();
            if coord.is_full() {
                // A full tile of level 1 also vouches for those of level 0 below it, which then are named first.
                assert!(matches!(refused, LoadError::Damaged { .. }), "{coord}: {refused}");
            } else {
                assert!(matches!(refused, LoadError::Root { .. }), "{coord}: {refused}");
            }
        }
    }
}

#[test]
fn an_old_leaf_has_a_path_from_disk_and_tree_together() {
    let mut tree = grown(3_000);
    let disk = parsed(tree.tiles_since(0).unwrap());
    tree.forget_before(3_000);
    (3_000..70_000).for_each(|n| tree.append(leaf(n)));
    let path = crate::proof::prove_inclusion(7, 70_000, &(&tree, &disk)).unwrap();
    assert_eq!(verify_inclusion(7, 70_000, &leaf(7), &path, &tree.root()), Ok(()));
}
