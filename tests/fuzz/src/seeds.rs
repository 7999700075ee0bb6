//! What each corpus begins with: bytes as the parties of the story make them, and a few that are nearly so.

use bytes::Bytes;
use countersign_broker::doors as broker;
use countersign_client::{doors, grants::sealing};
use countersign_store::layout;
use countersign_store_sled::doors as engine;
use countersign_tlog::{
    SignedNote, SignerKey, note::KeyName, proof::prove_consistency, tile::TileSource as _,
};
use prost::Message as _;

use super::{
    known::{self, STORY},
    targets::statements::{KINDS, TOKENS},
};

/// One file of a corpus.
pub struct Seed {
    /// The target.
    pub target: &'static str,
    /// The file's name, which begins with `seed-`.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Every seed of every target.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Seeds(Vec::new());
    statements(&mut seeds);
    log(&mut seeds);
    storage(&mut seeds);
    texts(&mut seeds);
    seeds.0
}

struct Seeds(Vec<Seed>);

impl Seeds {
    fn add(&mut self, target: &'static str, name: &str, bytes: impl AsRef<[u8]>) {
        self.0.push(Seed { target, name: format!("seed-{name}"), bytes: bytes.as_ref().to_vec() });
    }
}

fn statements(seeds: &mut Seeds) {
    for told in &STORY.statements {
        let kind = KINDS.iter().position(|kind| *kind == told.envelope.payload_type).expect("a known kind");
        let kind = u8::try_from(kind).expect("there are fifteen");
        seeds.add("statement", told.name, [&[kind], told.envelope.payload.as_ref()].concat());
        seeds.add("envelope", told.name, told.envelope.encode_to_vec());
    }
    let mut both = STORY.envelope("source-terms").clone();
    both.signatures.extend(STORY.envelope("recipient-terms").signatures.clone());
    seeds.add("envelope", "two-signatures", both.encode_to_vec());
    for (text, who) in TOKENS.iter().zip(["hopp", "skylark", "customer", "broker"]) {
        seeds.add("token", who, text);
    }
    let package = data_encoding_of(&STORY.package.encode_to_vec());
    seeds.add("invitation", "text", &package);
    seeds.add("invitation", "url", format!("https://app.example/#countersign-invitation={package}"));
    seeds.add("sealed", "fields", [&[1], STORY.sealed.encode_to_vec().as_slice()].concat());
    for length in [0, 62, 63, 255] {
        let padded = sealing::pad(&vec![7; length]).expect("short");
        seeds.add("sealed", &format!("padded-{length}"), [&[0], padded.as_slice()].concat());
    }
}

/// Unpadded base64url, by the package's own text form.
fn data_encoding_of(package: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in package.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * at) & 63) as usize]));
        }
    }
    text
}

fn log(seeds: &mut Seeds) {
    let log = &STORY.log;
    let size = log.records.len();
    for size in [0, 1, size] {
        seeds.add("checkpoint", &format!("{size}"), log.checkpoint(size).as_bytes());
        seeds.add("note", &format!("checkpoint-{size}"), log.checkpoint(size).as_bytes());
    }
    seeds.add("checkpoint", "text", log.checkpoint(size).checkpoint().to_string());
    let witness = SignerKey::from_seed(KeyName::parse("witness.test").expect("a name"), &[9; 32]);
    let text = log.checkpoint(size).checkpoint().to_string();
    let cosigned = SignedNote::sign(&text, &[&log.key, &witness]).expect("a note");
    seeds.add("note", "two-signatures", cosigned.to_string());
    seeds.add(
        "note",
        "inner-empty-line",
        SignedNote::sign("a\n\nb\n", &[&witness]).expect("a note").to_string(),
    );
    seeds.add("note_key", "verifier", log.key.verifier().to_string());
    seeds.add("note_key", "signer", log.key.encode().as_bytes());
    let file = log.proof(4);
    seeds.add("proof_file", "plain", file.to_string());
    seeds.add("proof_file", "extra", file.clone().with_extra("salts").expect("short").to_string());
    let tree = log.tree(size);
    let shape = |first: u64, second: usize, hashes: &[countersign_tlog::Hash]| {
        let mut bytes = [first.to_le_bytes(), (second as u64).to_le_bytes()].concat();
        for hash in hashes {
            bytes.extend_from_slice(hash.as_bytes());
        }
        bytes
    };
    for index in [0, 4, 6] {
        let path = tree.inclusion(index).expect("a leaf");
        seeds.add("inclusion", &format!("{index}"), shape(index, size, &path));
    }
    seeds.add("inclusion", "far", shape(u64::MAX - 1, usize::MAX, &[]));
    for from in [0, 1, 3, 4, 7] {
        let proof = prove_consistency(from, tree.size(), &tree).expect("a smaller tree");
        seeds.add("consistency", &format!("{from}"), shape(from, size, &proof));
    }
    let records: Vec<Bytes> = log.records.iter().cloned().map(Bytes::from).collect();
    seeds.add("bundle", "records", layout::bundle(&records));
    seeds.add("bundle", "empty-records", [0; 8]);
    let coord = countersign_tlog::TileCoord::in_log(0, 0, tree.size()).expect("the first tile");
    let tile = tree.tile(coord).expect("the tree holds it");
    seeds.add("tile", "partial", [&[6], tile.as_bytes().as_ref()].concat());
    let wide = countersign_tlog::Tile::from_hashes(&vec![tree.root(); 256]).expect("a full tile");
    seeds.add("tile", "full", [&[255], wide.as_bytes().as_ref()].concat());
    let paths = [
        "checkpoint",
        "tile/0/000.p/7",
        "tile/1/x001/x234/067",
        "tile/63/255.p/255",
        "tile/entries/000",
        "tile/entries/x018/x446/x744/x073/x709/x551/615.p/255",
    ];
    for (n, path) in paths.into_iter().enumerate() {
        seeds.add("log_path", &format!("{n}"), path);
    }
    for (n, record) in log.records.iter().enumerate() {
        seeds.add("record", &format!("{n}"), record);
    }
}

fn storage(seeds: &mut Seeds) {
    // Heads of three numbers, then puts, deletes, leaves and requests as `store-sled` frames them.
    let pair = |first: &[u8], second: &[u8]| {
        let lengths = [(first.len() as u16).to_le_bytes(), (second.len() as u16).to_le_bytes()].concat();
        [&lengths, first, second].concat()
    };
    let head: Vec<u8> = [1_u64, 2, 3].iter().flat_map(|number| number.to_le_bytes()).collect();
    let (none, one) = (0_u32.to_le_bytes(), 1_u32.to_le_bytes());
    let empty = [head.as_slice(), &none, &none, &none, &none].concat();
    let record = &STORY.log.records[4];
    let full = [
        head.as_slice(),
        &one,
        &pair(b"grants/1", b"active"),
        &one,
        &[4, 0],
        b"gone",
        &one,
        &pair(record, b"sealed"),
        &one,
        &9_u64.to_le_bytes(),
        &pair(b"request", b"answer"),
    ]
    .concat();
    for (name, body) in [("empty", empty), ("full", full)] {
        let framed = engine::journal_framed(&body);
        assert!(engine::journal_frame(&framed).is_some(), "a frame of the journal");
        seeds.add("journal", &format!("{name}-frame"), [&[0], framed.as_ref()].concat());
        seeds.add("journal", &format!("{name}-body"), [&[1], body.as_slice()].concat());
    }
    let sized = |kind: u8, numbers: &[u8], first: &[u8], second: &[u8]| {
        [&[kind], numbers, &[first.len() as u8, 0, second.len() as u8, 0], first, second].concat()
    };
    let bundle = [&[0][..], &7_u32.to_le_bytes(), &9_u32.to_le_bytes()].concat();
    let mut row = sized(1, &[], b"grants/1", b"active");
    row.splice(5..5, 3_u64.to_le_bytes());
    let request = sized(2, &9_u64.to_le_bytes(), b"request", b"answer");
    let items = [bundle, row, request].concat();
    let framed = engine::snapshot_framed(3, 3, &items);
    assert_eq!(engine::snapshot(&framed), Some((1, 2)), "a snapshot");
    seeds.add("snapshot", "items", [&[1, 3, 3], items.as_slice()].concat());
    seeds.add("snapshot", "empty", [1, 0, 0]);
    seeds.add("snapshot", "file", [&[0], framed.as_slice()].concat());
    let magic = b"countersign-book v1\n".as_slice();
    let framed = |entry: &[u8]| {
        let length = (entry.len() as u32).to_le_bytes();
        [&length, &crc32c(&length), &crc32c(entry), entry].concat()
    };
    let entries = [framed(b"\x0a\x05cursor"), framed(b"")].concat();
    let whole = [magic, &entries].concat();
    assert_eq!(doors::read_frames(&whole).map(|(good, _)| good), Some(whole.len()), "a book");
    seeds.add("book", "empty", magic);
    seeds.add("book", "torn", &whole[..whole.len() - 1]);
    seeds.add("book", "zeros", [whole.as_slice(), &[0; 40]].concat());
    seeds.add("book", "whole", whole);
}

/// CRC-32C, bit by bit: no more of a dependency is needed for a seed.
fn crc32c(bytes: &[u8]) -> [u8; 4] {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    (!crc).to_le_bytes()
}

fn texts(seeds: &mut Seeds) {
    let filters = [
        "",
        r#"partner = "partners/hopp" AND kind = TRANSFER"#,
        r#"reason = "GRANT_PAUSED" AND index >= 5 AND index < 9"#,
        r#"time >= "2026-09-21T14:13:20Z" AND time < "2026-09-21T15:13:20+01:00""#,
        r#"purpose = "pickup_planning" AND kind=KIND_TRANSFER_REFUSED"#,
    ];
    for (n, filter) in filters.into_iter().enumerate() {
        seeds.add("filter", &format!("{n}"), filter);
    }
    let arguments: [&[u8]; 2] = [b"entries", b"kind = TRANSFER"];
    let numbers: Vec<u8> = [7_u64, 300].iter().flat_map(|number| number.to_be_bytes()).collect();
    for (name, place) in [("key", b"grants/".as_slice()), ("numbers", &numbers), ("empty", b"")] {
        let token = broker::token_of_place(place, &arguments).expect("good arguments");
        seeds.add("page_token", name, token);
    }
    let digest = STORY.digest("source-terms");
    let names = [
        "partners/skylark".to_owned(),
        "partners/hopp/subjects/02020202020202020202020202020202".to_owned(),
        known::customer().to_string(),
        "auditors/ministry".to_owned(),
        "operators/root".to_owned(),
        format!("brokers/{}", known::ORIGIN),
        format!("offers/{digest}"),
        format!("links/{digest}"),
        format!("grantRequests/{digest}"),
        format!("grants/{digest}"),
        format!("catalogues/{digest}"),
        "logs/-/entries/18446744073709551615".to_owned(),
        "trip.flight_no".to_owned(),
        "pickup_planning".to_owned(),
        known::key(known::HOPP).id().to_string(),
    ];
    for (n, name) in names.iter().enumerate() {
        seeds.add("name", &format!("{n:02}"), name);
    }
    seeds.add("name", "key", known::key(known::HOPP).public().as_bytes());
    seeds.add("catalogue", "story", known::CATALOGUE);
}
