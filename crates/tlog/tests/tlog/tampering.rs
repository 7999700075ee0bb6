//! Bytes from outside: what parses is written back the same, what was changed is refused, nothing panics.

use bytes::Bytes;
use countersign_tlog::{
    Checkpoint, Frontier, Hash, KeyName, LogPath, ProofFile, SignedCheckpoint, SignedNote, SignerKey, Tile,
    TileCoord, Tree, VerifierKey,
    bundle::{self, BundleCoord},
    hash::leaf_hash,
    proof::{prove_consistency, verify_consistency, verify_inclusion},
};
use proptest::prelude::*;

fn key() -> SignerKey {
    SignerKey::from_seed(KeyName::parse("log.example/a").unwrap(), &[9; 32])
}

fn grown(size: u64) -> Tree {
    let mut tree = Tree::new();
    (0..size).for_each(|n| tree.append(leaf_hash(&n.to_le_bytes())));
    tree
}

fn root(size: u64) -> Hash {
    let mut frontier = Frontier::new();
    (0..size).for_each(|n| frontier.append(leaf_hash(&n.to_le_bytes())));
    frontier.root()
}

fn flip(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}

fn any_hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

/// Text made of the pieces that our formats are made of, so that parsers get past their first lines.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("— ".to_owned()),
        Just("c2sp.org/tlog-proof@v1\n".to_owned()),
        Just("extra ".to_owned()),
        Just("index ".to_owned()),
        Just("log.example/a".to_owned()),
        Just("AAAAAAA=".to_owned()),
        Just("PRIVATE+KEY+".to_owned()),
        Just("tile/entries/".to_owned()),
        Just("x001/".to_owned()),
        Just(".p/".to_owned()),
        Just("+".to_owned()),
        any_hash().prop_map(|hash| hash.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        "\\PC{0,6}",
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

fn check_parsers(bytes: &[u8]) {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        let _ = note.verify(&[key().verifier().clone()]);
    }
    if let Ok(file) = ProofFile::parse(bytes) {
        assert_eq!(file.to_string().as_bytes(), bytes);
        assert!(file.verify(b"", key().verifier()).is_err());
    }
    assert!(SignedCheckpoint::verify(bytes.to_vec(), key().verifier()).is_err());
    let _ = bundle::parse(&Bytes::copy_from_slice(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), text);
    }
    if let Ok(path) = LogPath::parse(text) {
        assert_eq!(path.to_string(), text);
    }
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(key) = SignerKey::parse(text) {
        assert_eq!(*key.encode(), text);
    }
    if let Ok(hash) = Hash::parse(text) {
        assert_eq!(hash.to_string(), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check_parsers(&bytes);
    }

    #[test]
    fn random_pieces_never_panic(text in pieces()) {
        check_parsers(text.as_bytes());
    }

    #[test]
    fn paths_round_trip(level in 0..64_u8, index in any::<u64>(), width in 1..=256_u16) {
        let tile = LogPath::Tile(TileCoord::new(level, index, width).unwrap());
        prop_assert_eq!(LogPath::parse(&tile.to_string()), Ok(tile));
        let bundle = LogPath::Bundle(BundleCoord::new(index, width).unwrap());
        prop_assert_eq!(LogPath::parse(&bundle.to_string()), Ok(bundle));
    }

    #[test]
    fn tiles_round_trip(hashes in prop::collection::vec(any_hash(), 1..=256)) {
        let tile = Tile::from_hashes(&hashes).unwrap();
        let coord = TileCoord::new(0, 0, tile.width()).unwrap();
        let parsed = Tile::parse(coord, tile.as_bytes().clone()).unwrap();
        prop_assert_eq!(parsed.hashes().collect::<Vec<_>>(), hashes);
    }

    #[test]
    fn keys_round_trip(seed in any::<[u8; 32]>(), name in "[^\\s+\\pC]{1,20}") {
        let key = SignerKey::from_seed(KeyName::parse(&name).unwrap(), &seed);
        prop_assert_eq!(&VerifierKey::parse(&key.verifier().to_string()).unwrap(), key.verifier());
        let again = SignerKey::parse(&key.encode()).ok().unwrap();
        prop_assert_eq!(again.encode(), key.encode());
    }

    #[test]
    fn notes_round_trip_and_bind_their_text(text in "(\\PC{0,20}\n){1,5}", other in "(\\PC{0,20}\n){1,5}") {
        let key = key();
        let note = SignedNote::sign(&text, &[&key]).unwrap();
        let parsed = SignedNote::parse(note.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&parsed, &note);
        prop_assert_eq!(parsed.verify(&[key.verifier().clone()]).unwrap().text(), &text);
        if other != text {
            let moved = format!("{other}\n{}\n", note.signatures()[0]);
            let moved = SignedNote::parse(moved.as_bytes()).unwrap();
            prop_assert!(moved.verify(&[key.verifier().clone()]).is_err());
        }
    }

    #[test]
    fn a_changed_inclusion_proof_is_refused(size in 1..600_u64, at in any::<prop::sample::Index>(), bit in 0..256_usize,
                                            other_index in 0..700_u64, other_size in 0..700_u64) {
        let tree = grown(size);
        let (root, index) = (tree.root(), at.index(size as usize) as u64);
        let leaf = leaf_hash(&index.to_le_bytes());
        let path = tree.inclusion(index).unwrap();
        let verify = |index, size, leaf, path: &[Hash], root| verify_inclusion(index, size, &leaf, path, &root).is_ok();
        prop_assert!(verify(index, size, leaf, &path, root));
        prop_assert!(!verify(index, size, flip(&leaf, bit), &path, root));
        prop_assert!(!verify(index, size, leaf, &path, flip(&root, bit)));
        for position in 0..path.len() {
            let mut bent = path.clone();
            bent[position] = flip(&bent[position], bit);
            prop_assert!(!verify(index, size, leaf, &bent, root));
        }
        for length in 0..path.len() {
            prop_assert!(!verify(index, size, leaf, &path[..length], root));
        }
        let longer = [path.as_slice(), &[root]].concat();
        prop_assert!(!verify(index, size, leaf, &longer, root));
        if other_index != index {
            prop_assert!(!verify(other_index, size, leaf, &path, root));
        }
        // Another size may give a leaf the same path (the size is bound by the checkpoint), but never another leaf's.
        if other_index != index && other_size != size {
            let other = leaf_hash(&other_index.to_le_bytes());
            prop_assert!(!verify(other_index, other_size, other, &path, root));
        }
    }

    #[test]
    fn a_changed_consistency_proof_is_refused(to in 2..600_u64, at in any::<prop::sample::Index>(), bit in 0..256_usize) {
        let from = 1 + at.index(to as usize - 1) as u64;
        let (from_root, to_root) = (root(from), root(to));
        let proof = prove_consistency(from, to, &grown(to)).unwrap();
        let verify = |from_root, to_root, proof: &[Hash]| verify_consistency(from, &from_root, to, &to_root, proof).is_ok();
        prop_assert!(verify(from_root, to_root, &proof));
        prop_assert!(!verify(flip(&from_root, bit), to_root, &proof));
        prop_assert!(!verify(from_root, flip(&to_root, bit), &proof));
        for position in 0..proof.len() {
            let mut bent = proof.clone();
            bent[position] = flip(&bent[position], bit);
            prop_assert!(!verify(from_root, to_root, &bent));
        }
        for length in 0..proof.len() {
            prop_assert!(!verify(from_root, to_root, &proof[..length]));
        }
        prop_assert!(!verify(from_root, to_root, &[proof.as_slice(), &[to_root]].concat()));
    }

    #[test]
    fn verifiers_take_any_numbers(index in any::<u64>(), size in any::<u64>(), proof in prop::collection::vec(any_hash(), 0..70)) {
        let hash = leaf_hash(b"");
        let _ = verify_inclusion(index, size, &hash, &proof, &hash);
        let _ = verify_consistency(index, &hash, size, &hash, &proof);
        // Of exactly the length that the numbers ask for, so that the arithmetic runs to its end.
        for length in 0..=65 {
            let proof = vec![hash; length];
            let _ = verify_inclusion(index.min(size), index.max(size), &hash, &proof, &hash);
            let _ = verify_consistency(index.min(size), &hash, index.max(size), &hash, &proof);
        }
    }
}
