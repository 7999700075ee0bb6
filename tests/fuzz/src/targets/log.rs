//! Notes, checkpoints, proofs, tiles, bundles, paths, records.

use bytes::Bytes;
use countersign_client::{auditor::NotARecord, doors};
use countersign_proto::log::v1::Record;
use countersign_store::layout;
use countersign_tlog::{
    Checkpoint, Hash, LogPath, ProofFile, SignedCheckpoint, SignedNote, SignerKey, Tile, TileCoord,
    VerifierKey, bundle as bundles,
    hash::leaf_hash,
    note::MAX_NOTE_BYTES,
    proof::{prove_consistency, root_of_inclusion, verify_consistency, verify_inclusion},
};
use prost::Message as _;

use super::{super::known::STORY, number};

/// The heads that the log of the story has signed.
fn signed(bytes: &[u8]) -> bool {
    (0..=STORY.log.records.len()).any(|size| STORY.log.checkpoint(size).as_bytes() == bytes)
}

/// A note. What reads is shown as the same bytes; what verifies has the text of a head that was signed.
pub(super) fn note(data: &[u8]) {
    let Ok(note) = SignedNote::parse(data) else { return };
    assert!(data.len() <= MAX_NOTE_BYTES);
    assert_eq!(note.to_string().as_bytes(), data);
    if let Ok(verified) = note.verify(std::slice::from_ref(STORY.log.key.verifier())) {
        let known = (0..=STORY.log.records.len())
            .any(|size| STORY.log.checkpoint(size).checkpoint().to_string() == verified.text());
        assert!(known, "forged: {}", verified.text());
    }
}

/// A verifier's or a signer's key. What reads is shown as the same text.
pub(super) fn note_key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(key) = SignerKey::parse(text) {
        assert_eq!(*key.encode(), text);
    }
}

/// A checkpoint. What reads is shown as the same text; what verifies was signed, down to size and root.
pub(super) fn checkpoint(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(checkpoint) = Checkpoint::parse(text)
    {
        assert_eq!(checkpoint.to_string(), text);
    }
    let verified = SignedCheckpoint::verify(Bytes::copy_from_slice(data), STORY.log.key.verifier());
    if let Ok(verified) = verified {
        let size = usize::try_from(verified.size()).expect("a size of the story");
        let known = STORY.log.checkpoint(size);
        assert_eq!((known.root(), known.origin()), (verified.root(), verified.origin()));
        assert_eq!(verified.as_bytes(), data);
    }
}

/// A proof file. What reads is shown as the same bytes; what verifies proves a record of the log.
pub(super) fn proof_file(data: &[u8]) {
    let Ok(file) = ProofFile::parse(data) else { return };
    assert_eq!(file.to_string().as_bytes(), data);
    for (index, record) in (0_u64..).zip(&STORY.log.records) {
        if let Ok(proven) = file.verify(record, STORY.log.key.verifier()) {
            assert_eq!((proven.index(), file.index()), (index, index));
            assert!(
                signed(proven.checkpoint().as_bytes()) || file.unverified_checkpoint().lines().count() > 5
            );
        }
    }
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    let (hashes, _) = bytes.as_chunks::<32>();
    hashes.iter().map(|hash| Hash::from_bytes(*hash)).collect()
}

/// Index, size and path. A path is good exactly if it is the one that the tree gives.
pub(super) fn inclusion(data: &[u8]) {
    let Some((index, rest)) = number(data) else { return };
    let Some((size, rest)) = number(rest) else { return };
    let path = hashes(rest);
    let found = root_of_inclusion(index, size, &leaf_hash(data), &path);
    assert_eq!(found.is_ok(), index < size && path.len() == length_of_path(index, size));
    let Ok(at) = usize::try_from(index) else { return };
    let known = usize::try_from(size).ok().filter(|size| *size <= STORY.log.records.len());
    if let (Some(size), Some(record)) = (known, STORY.log.records.get(at)) {
        let tree = STORY.log.tree(size);
        let good = verify_inclusion(index, tree.size(), &leaf_hash(record), &path, &tree.root()).is_ok();
        assert_eq!(good, tree.inclusion(index).is_ok_and(|true_path| true_path == path));
    }
}

/// By the definition of RFC 6962: the depth of a leaf in a tree that splits at the largest power of two.
fn length_of_path(mut index: u64, mut size: u64) -> usize {
    let mut depth = 0;
    while size > 1 {
        let left = 1 << (size - 1).ilog2();
        if index < left {
            size = left;
        } else {
            (index, size) = (index - left, size - left);
        }
        depth += 1;
    }
    depth
}

/// Two sizes and a proof. A proof is good exactly if it is the one that the trees give.
pub(super) fn consistency(data: &[u8]) {
    let Some((from, rest)) = number(data) else { return };
    let Some((to, rest)) = number(rest) else { return };
    let proof = hashes(rest);
    let (one, two) = (leaf_hash(b"one"), leaf_hash(b"two"));
    let made_up = verify_consistency(from, &one, to, &two, &proof);
    assert!(made_up.is_err(), "no proof of 32-byte hashes leads to two roots that were drawn before it");
    let known = |size: u64| usize::try_from(size).ok().filter(|size| *size <= STORY.log.records.len());
    if let (Some(old), Some(new)) = (known(from), known(to)) {
        let (old, new) = (STORY.log.tree(old), STORY.log.tree(new));
        let good = verify_consistency(from, &old.root(), to, &new.root(), &proof).is_ok();
        assert_eq!(good, prove_consistency(from, to, &new).is_ok_and(|true_proof| true_proof == proof));
    }
}

/// A bundle. Both readers agree, and what reads is written as the same bytes.
pub(super) fn bundle(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let split = layout::split_bundle(&bytes);
    match bundles::parse(&bytes) {
        Ok(records) => {
            assert_eq!(split.as_ref(), Some(&records));
            assert_eq!(bundles::encode(&records).expect("it was read"), data);
            assert_eq!(layout::bundle(&records), data);
        }
        Err(bundles::ParseBundleError::Empty) => assert_eq!(split, Some(vec![])),
        Err(bundles::ParseBundleError::TooManyRecords { .. }) => {
            assert!(split.is_none_or(|records| records.len() > bundles::MAX_RECORDS));
        }
        Err(_) => assert_eq!(split, None),
    }
}

/// A tile's bytes, after its width less one. What reads has that width, and is made of its hashes again.
pub(super) fn tile(data: &[u8]) {
    let Some((width, bytes)) = data.split_first() else { return };
    let coord = TileCoord::new(0, 0, u16::from(*width) + 1).expect("a width from 1 to 256");
    let Ok(tile) = Tile::parse(coord, Bytes::copy_from_slice(bytes)) else {
        assert_ne!(bytes.len(), 32 * (usize::from(*width) + 1));
        return;
    };
    let hashes: Vec<Hash> = tile.hashes().collect();
    assert_eq!(Tile::from_hashes(&hashes).as_ref(), Some(&tile));
    let mut frontier = countersign_tlog::Frontier::new();
    for hash in &hashes {
        frontier.append(*hash);
    }
    assert_eq!(tile.root(), frontier.root());
}

/// A path of the log. Both readers agree, and what reads is shown as the same text.
pub(super) fn log_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let ours = LogPath::parse(text);
    let engines = layout::LogPath::parse(text);
    assert_eq!(ours.is_ok(), engines.is_some(), "{text}");
    if let (Ok(ours), Some(engines)) = (ours, engines) {
        assert_eq!((ours.to_string(), engines.to_string()), (text.to_owned(), text.to_owned()));
    }
}

/// A record. The auditor's parser takes exactly what the generated one encodes again as the same bytes, but for what it
/// refuses for what it says.
pub(super) fn record(data: &[u8]) {
    let decoded = Record::decode(data);
    let canonical = decoded.is_ok_and(|record| record.encode_to_vec() == data);
    match doors::read_record(data) {
        Ok(()) => assert!(canonical),
        Err(NotARecord::Version | NotARecord::Kind | NotARecord::Outcome | NotARecord::Length(_)) => {}
        Err(refused) => assert!(!canonical, "{refused}"),
    }
}
