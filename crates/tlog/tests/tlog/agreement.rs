//! Our arithmetic against independent implementations and published vectors: `tlog_tiles` and `signed_note`
//! (Cloudflare's ports of Go's `sumdb/tlog` and `sumdb/note`), `ct-merkle`, and the tree of Google's
//! certificate-transparency tests.

use std::collections::HashMap;

use countersign_tlog::{
    Frontier, Hash, KeyName, SignedCheckpoint, SignedNote, SignerKey, Tile, TileCoord, TileStream, Tree,
    hash::{leaf_hash, node_hash},
    proof::{
        consistency_tiles, inclusion_tiles, prove_consistency, prove_inclusion, root_from_tiles, root_tiles,
        verify_consistency, verify_inclusion,
    },
    tile::tiles_for_growth,
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::{prelude::*, test_runner::TestRng};
use sha2::Sha256;

const LARGEST: u64 = 70_000;

/// Where tiles and levels begin and end.
const BOUNDARIES: [u64; 14] = [1, 2, 3, 255, 256, 257, 511, 512, 513, 4_096, 65_535, 65_536, 65_537, LARGEST];

/// A fixed stream of bytes, so that a failure comes again.
fn seeded() -> TestRng {
    TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha)
}

fn record(n: u64) -> Vec<u8> {
    // Of many lengths, the empty one included.
    n.to_le_bytes().repeat((n % 5) as usize)
}

/// The boundaries and a random sample, in order.
fn sizes(rng: &mut TestRng) -> Vec<u64> {
    let sample = (0..40).map(|_| 1 + rng.next_u64() % LARGEST);
    let mut sizes: Vec<u64> = BOUNDARIES.into_iter().chain(sample).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// A few leaves of a log of this size: the ends, a boundary and random ones.
fn indexes(rng: &mut TestRng, size: u64) -> Vec<u64> {
    let random = [rng.next_u64() % size, rng.next_u64() % size];
    [0, size / 256 * 256, size - 1].into_iter().chain(random).filter(|index| *index < size).collect()
}

/// All tiles that a log of this size ever had at the sizes given to `publish`, as a directory would hold them.
#[derive(Default)]
struct Directory {
    tiles: HashMap<TileCoord, Tile>,
    published: u64,
}

impl Directory {
    fn publish(&mut self, tree: &mut Tree) {
        let tiles = tree.tiles_since(self.published).unwrap();
        for (coord, bytes) in tiles {
            self.tiles.insert(coord, Tile::parse(coord, bytes).unwrap());
        }
        self.published = tree.size();
        tree.forget_before(self.published);
    }

    /// Only the tiles that were said to be enough.
    fn only(&self, coords: Vec<TileCoord>) -> HashMap<TileCoord, Tile> {
        coords.into_iter().map(|coord| (coord, self.tiles[&coord].clone())).collect()
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        prove_inclusion(index, size, &self.only(inclusion_tiles(index, size).unwrap())).unwrap()
    }

    fn consistency(&self, from: u64, to: u64) -> Vec<Hash> {
        prove_consistency(from, to, &self.only(consistency_tiles(from, to).unwrap())).unwrap()
    }
}

#[test]
fn roots_and_proofs_agree_with_ct_merkle() {
    let mut rng = seeded();
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let (mut tree, mut frontier, mut directory) = (Tree::new(), Frontier::new(), Directory::default());
    for size in sizes(&mut rng) {
        for n in tree.size()..size {
            theirs.push(record(n));
            tree.append(leaf_hash(&record(n)));
            frontier.append(leaf_hash(&record(n)));
        }
        directory.publish(&mut tree);
        let root = Hash::from_slice(theirs.root().as_bytes()).unwrap();
        assert_eq!((tree.root(), frontier.root()), (root, root), "size {size}");
        assert_eq!(root_from_tiles(size, &directory.only(root_tiles(size))), Ok(root));

        for index in indexes(&mut rng, size) {
            let path = directory.inclusion(index, size);
            let expected = theirs.prove_inclusion(index as usize);
            assert_eq!(concat(&path), expected.as_bytes(), "leaf {index} of {size}");
            let leaf = leaf_hash(&record(index));
            assert_eq!(verify_inclusion(index, size, &leaf, &path, &root), Ok(()));
            if tree.held().contains(&index) {
                assert_eq!(tree.inclusion(index), Ok(path));
            }
        }
        for from in indexes(&mut rng, size).into_iter().filter(|from| *from > 0) {
            let proof = directory.consistency(from, size);
            let expected = theirs.prove_consistency((size - from) as usize);
            assert_eq!(concat(&proof), expected.as_bytes(), "{from} to {size}");
            if from > tree.held().start {
                assert_eq!(tree.consistency(from, size), Some(proof));
            }
        }
    }
}

fn concat(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(Hash::as_bytes).copied().collect()
}

/// Go's storage of all nodes in one list.
#[derive(Default)]
struct Stored(Vec<tlog_tiles::Hash>);

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

#[test]
fn tiles_paths_and_proofs_agree_with_tlog_tiles() {
    let mut rng = seeded();
    let mut stored = Stored::default();
    let (mut tree, mut stream, mut directory) = (Tree::new(), TileStream::new(), Directory::default());
    let mut previous = 0;
    for size in sizes(&mut rng) {
        let mut streamed = Vec::new();
        for n in tree.size()..size {
            let hashes = tlog_tiles::stored_hashes(n, &record(n), &stored).unwrap();
            stored.0.extend(hashes);
            tree.append(leaf_hash(&record(n)));
            streamed.extend(stream.append(leaf_hash(&record(n))));
        }
        directory.publish(&mut tree);
        streamed.extend(stream.partial_tiles());

        let theirs = tlog_tiles::Tile::new_tiles(8, previous, size);
        let ours = tiles_for_growth(previous, size);
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            // Go's paths name the height of tiles as well.
            assert_eq!(ours.path().replacen("tile/", "tile/8/", 1), theirs.path());
            let expected = theirs.read_data(&stored).unwrap();
            assert_eq!(directory.tiles[ours].as_bytes(), &expected, "{ours}");
        }
        for (coord, tile) in streamed {
            assert_eq!(directory.tiles.get(&coord), Some(&tile), "{coord}");
        }

        let root = tlog_tiles::tree_hash(size, &stored).unwrap();
        assert_eq!(tree.root(), Hash::from_bytes(root.0));
        for index in indexes(&mut rng, size) {
            let expected = tlog_tiles::prove_record(size, index, &stored).unwrap();
            let path = directory.inclusion(index, size);
            assert_eq!(path, ours_from(&expected), "leaf {index} of {size}");
            let leaf = tlog_tiles::record_hash(&record(index));
            tlog_tiles::check_record(&expected, size, root, index, leaf).unwrap();
        }
        for from in indexes(&mut rng, size).into_iter().filter(|from| *from > 0) {
            let expected = tlog_tiles::prove_tree(size, from, &stored).unwrap();
            let proof = directory.consistency(from, size);
            assert_eq!(proof, ours_from(&expected), "{from} to {size}");
            let from_root = Hash::from_bytes(tlog_tiles::tree_hash(from, &stored).unwrap().0);
            assert_eq!(verify_consistency(from, &from_root, size, &tree.root(), &proof), Ok(()));
        }
        previous = size;
    }
}

fn ours_from(hashes: &[tlog_tiles::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash::from_bytes(hash.0)).collect()
}

#[test]
fn checkpoints_agree_with_signed_note_and_tlog_tiles() {
    let key = SignerKey::from_seed(KeyName::parse("log.example/agreement").unwrap(), &[3; 32]);
    let theirs = signed_note::StandardSigner::new(&key.encode()).unwrap();
    let verifier = signed_note::StandardVerifier::new(&key.verifier().to_string()).unwrap();

    let ours = SignedCheckpoint::sign(&key, 1234, leaf_hash(b"root")).unwrap();
    let mut note = signed_note::Note::from_bytes(ours.as_bytes()).unwrap();
    note.verify(&signed_note::VerifierList::new(vec![Box::new(verifier)])).unwrap();
    let parsed = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(parsed.origin(), "log.example/agreement");
    assert_eq!((parsed.size(), parsed.hash().0), (1234, *leaf_hash(b"root").as_bytes()));

    // The other way round; Ed25519 signatures have no randomness, so a second one is the same line again.
    note.add_sigs(&[&theirs]).unwrap();
    let again = SignedCheckpoint::verify(note.to_bytes(), key.verifier()).unwrap();
    assert_eq!(again.checkpoint(), ours.checkpoint());
    assert_eq!(SignedNote::parse(&note.to_bytes()).unwrap().to_string().as_bytes(), note.to_bytes());
}

// The tree of the tests of github.com/google/certificate-transparency, merkletree.
const CT_LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const CT_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const CT_INCLUSION_0_OF_8: [&str; 3] = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
];
const CT_CONSISTENCY_6_TO_8: [&str; 3] = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
];
const CT_CONSISTENCY_2_TO_5: [&str; 2] = [
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hashes(texts: &[&str]) -> Vec<Hash> {
    texts.iter().map(|text| Hash::from_slice(&unhex(text)).unwrap()).collect()
}

#[test]
fn the_published_tree_of_eight_leaves_comes_out() {
    let (mut tree, mut frontier) = (Tree::new(), Frontier::new());
    let roots = hashes(&CT_ROOTS);
    for (leaf, root) in CT_LEAVES.iter().zip(&roots) {
        tree.append(leaf_hash(&unhex(leaf)));
        frontier.append(leaf_hash(&unhex(leaf)));
        assert_eq!((tree.root(), frontier.root()), (*root, *root));
    }
    let path = hashes(&CT_INCLUSION_0_OF_8);
    assert_eq!(tree.inclusion(0), Ok(path.clone()));
    assert_eq!(verify_inclusion(0, 8, &leaf_hash(b""), &path, &roots[7]), Ok(()));
    let check = |from: usize, to: usize, proof: &[&str]| {
        let proof = hashes(proof);
        let verified = verify_consistency(from as u64, &roots[from - 1], to as u64, &roots[to - 1], &proof);
        assert_eq!(verified, Ok(()), "{from} to {to}");
    };
    check(1, 8, &CT_INCLUSION_0_OF_8);
    check(6, 8, &CT_CONSISTENCY_6_TO_8);
    check(2, 5, &CT_CONSISTENCY_2_TO_5);
    assert_eq!(prove_consistency(6, 8, &tree), Ok(hashes(&CT_CONSISTENCY_6_TO_8)));
}

/// RFC 6962 section 2.1, read literally.
fn rfc_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            node_hash(&rfc_root(&leaves[..split]), &rfc_root(&leaves[split..]))
        }
    }
}

#[test]
fn all_small_trees_have_all_their_proofs() {
    let leaves: Vec<Hash> = (0..70).map(|n| leaf_hash(&record(n))).collect();
    let mut tree = Tree::new();
    for size in 0..=leaves.len() {
        let root = rfc_root(&leaves[..size]);
        assert_eq!(tree.root(), root);
        for from in 0..=size {
            let proof = prove_consistency(from as u64, size as u64, &tree).unwrap();
            let from_root = rfc_root(&leaves[..from]);
            let verified = verify_consistency(from as u64, &from_root, size as u64, &root, &proof);
            assert_eq!(verified, Ok(()), "{from} to {size}");
        }
        for (index, leaf) in leaves[..size].iter().enumerate() {
            let path = tree.inclusion(index as u64).unwrap();
            assert_eq!(verify_inclusion(index as u64, size as u64, leaf, &path, &root), Ok(()));
            assert_eq!(prove_inclusion(index as u64, size as u64, &tree), Ok(path));
        }
        leaves.get(size).into_iter().for_each(|leaf| tree.append(*leaf));
    }
}
