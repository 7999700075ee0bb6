//! Proofs, checkpoints, proof files, bundles, paths.

use bytes::Bytes;
use countersign_tlog::{
    Hash, LogPath, ProofFile, SignedCheckpoint, SignedNote, SignerKey, VerifierKey,
    bundle::{self, ParseBundleError},
    checkpoint::VerifyCheckpointError,
    hash::leaf_hash,
    note::KeyName,
    proof::{ConsistencyError, InclusionError, prove_consistency, verify_consistency, verify_inclusion},
    proof_file::VerifyProofError,
    tile::ParsePathError,
};
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, array, bytes, count, hex, list, number, read_hex, text},
    known::{self, STORY},
};

pub(crate) const INCLUSION: File = File {
    name: "inclusion.json",
    about: "RFC 9162 inclusion proofs. `index`: no leaf of that tree; `length`: not the length that index and size give; \
        `root`: it leads to another root.",
    make: inclusion,
    run: run_inclusion,
};

pub(crate) const CONSISTENCY: File = File {
    name: "consistency.json",
    about: "RFC 9162 consistency proofs. `sizes`: a log never shrinks; `length`: not the length that the sizes give; \
        `old_root`, `new_root`: it leads to other roots.",
    make: consistency,
    run: run_consistency,
};

pub(crate) const CHECKPOINTS: File = File {
    name: "checkpoints.json",
    about: "C2SP tlog-checkpoint in signed notes. `note`: no signed note; `signature`: not signed by that key; `text`: no \
        checkpoint of ours; `origin`: of another log.",
    make: checkpoints,
    run: run_checkpoint,
};

pub(crate) const PROOF_FILES: File = File {
    name: "proof_files.json",
    about: "C2SP tlog-proof files and the record that they prove. `file`: no proof file; `checkpoint`: not the log's; \
        `inclusion`: the record does not stand there.",
    make: proof_files,
    run: run_proof_file,
};

pub(crate) const BUNDLES: File = File {
    name: "bundles.json",
    about: "C2SP tlog-tiles entry bundles. `empty`, `records`: over 256; `length`: ends within a length; `record`: ends within \
        a record.",
    make: bundles,
    run: run_bundle,
};

pub(crate) const LOG_PATHS: File = File {
    name: "log_paths.json",
    about: "Paths of a log, below its prefix. The reasons: `path`, `level`, `index`, `width`.",
    make: log_paths,
    run: run_log_path,
};

fn hash(input: &Value, key: &str) -> Hash {
    Hash::from_bytes(array(input, key))
}

fn hashes(input: &Value, key: &str) -> Vec<Hash> {
    list(input, key).iter().map(|hash| Hash::from_slice(&read_hex(hash)).unwrap()).collect()
}

fn shown(hashes: &[Hash]) -> Value {
    Value::Array(hashes.iter().map(|hash| hex(hash.as_bytes())).collect())
}

fn run_inclusion(input: &Value) -> Outcome {
    let (leaf, root) = (hash(input, "leaf"), hash(input, "root"));
    let path = hashes(input, "path");
    let verified = verify_inclusion(count(input, "index"), count(input, "size"), &leaf, &path, &root);
    verified.map(|()| Value::Null).map_err(|error| {
        match error {
            InclusionError::Index { .. } => "index",
            InclusionError::Length { .. } => "length",
            InclusionError::Root { .. } => "root",
        }
        .to_owned()
    })
}

fn inclusion() -> Vec<Case> {
    let log = &STORY.log;
    let of = |index: u64, size: usize| {
        let tree = log.tree(size);
        json!({
            "index": index, "size": size,
            "leaf": hex(leaf_hash(&log.records[index as usize]).as_bytes()),
            "path": shown(&tree.inclusion(index).unwrap()),
            "root": hex(tree.root().as_bytes()),
        })
    };
    let mut cases = Vec::new();
    for (index, size) in [(0, 1), (0, 2), (1, 2), (2, 3), (0, 7), (3, 7), (4, 7), (6, 7)] {
        let name = format!("{index}-of-{size}");
        cases.push(Case::good(&name, "A leaf of the story's log.", of(index, size)));
    }
    let with = |key: &str, value: Value| {
        let mut input = of(4, 7);
        input[key] = value;
        input
    };
    let path = |bend: &dyn Fn(&mut Vec<Value>)| {
        let mut input = of(4, 7);
        bend(input["path"].as_array_mut().unwrap());
        input
    };
    cases.extend([
        Case::bad("no-leaf", "Index 7 of 7.", "index", with("index", json!(7))),
        Case::bad("empty-tree", "A tree without leaves.", "index", with("size", json!(0))),
        Case::bad("short", "A path without its last hash.", "length", path(&|path| drop(path.pop()))),
        Case::bad("long", "A path with one more.", "length", path(&|path| path.push(hex([0; 32])))),
        Case::bad("shallower", "Leaf 6 has a shorter path.", "length", with("index", json!(6))),
        Case::bad("far", "A leaf at the end of the largest tree.", "length", {
            let mut input = with("index", number(u64::MAX - 1));
            input["size"] = number(u64::MAX);
            input
        }),
        Case::bad("another-index", "The sibling's index.", "root", with("index", json!(5))),
        Case::bad("another-leaf", "Another leaf.", "root", with("leaf", hex([1; 32]))),
        Case::bad("another-root", "Another root.", "root", with("root", hex([1; 32]))),
        Case::bad("bent", "One bit of a hash.", "root", {
            path(&|path| {
                let mut bytes = read_hex(&path[1]).to_vec();
                bytes[31] ^= 0x80;
                path[1] = hex(bytes);
            })
        }),
        Case::bad("other-order", "Two hashes swapped.", "root", path(&|path| path.swap(0, 1))),
    ]);
    cases
}

fn run_consistency(input: &Value) -> Outcome {
    let (from_root, to_root) = (hash(input, "from_root"), hash(input, "to_root"));
    let proof = hashes(input, "proof");
    let verified = verify_consistency(count(input, "from"), &from_root, count(input, "to"), &to_root, &proof);
    verified.map(|()| Value::Null).map_err(|error| {
        match error {
            ConsistencyError::Sizes { .. } => "sizes",
            ConsistencyError::Length { .. } => "length",
            ConsistencyError::OldRoot { .. } => "old_root",
            ConsistencyError::NewRoot { .. } => "new_root",
        }
        .to_owned()
    })
}

fn consistency() -> Vec<Case> {
    let log = &STORY.log;
    let of = |from: usize, to: usize| {
        let (old, new) = (log.tree(from), log.tree(to));
        json!({
            "from": from, "from_root": hex(old.root().as_bytes()),
            "to": to, "to_root": hex(new.root().as_bytes()),
            "proof": shown(&prove_consistency(from as u64, to as u64, &new).unwrap()),
        })
    };
    let mut cases = Vec::new();
    for (from, to) in [(0, 0), (0, 7), (1, 2), (1, 7), (3, 7), (4, 7), (6, 7), (7, 7)] {
        cases.push(Case::good(&format!("{from}-to-{to}"), "Two sizes of the story's log.", of(from, to)));
    }
    let with = |key: &str, value: Value| {
        let mut input = of(3, 7);
        input[key] = value;
        input
    };
    let proof = |from: usize, bend: &dyn Fn(&mut Vec<Value>)| {
        let mut input = of(from, 7);
        bend(input["proof"].as_array_mut().unwrap());
        input
    };
    cases.extend([
        Case::bad("shrunk", "From 7 to 3.", "sizes", {
            let mut input = of(3, 7);
            input["from"] = json!(7);
            input["to"] = json!(3);
            input
        }),
        Case::bad("short", "Without its last hash.", "length", proof(3, &|proof| drop(proof.pop()))),
        Case::bad("long", "With one more.", "length", proof(3, &|proof| proof.push(hex([0; 32])))),
        Case::bad("empty-with-proof", "From nothing there is nothing to prove.", "length", {
            proof(0, &|proof| proof.push(hex([0; 32])))
        }),
        Case::bad(
            "equal-with-proof",
            "Nor from a tree to itself.",
            "length",
            proof(7, &|proof| proof.push(hex([0; 32]))),
        ),
        Case::bad("two-faces", "One size, two roots: the log has forked.", "old_root", {
            let mut input = of(7, 7);
            input["from_root"] = hex([1; 32]);
            input
        }),
        Case::bad(
            "another-old-root",
            "A history that was never shown.",
            "old_root",
            with("from_root", hex([1; 32])),
        ),
        Case::bad("old-root-of-nothing", "The empty tree has one root.", "old_root", {
            let mut input = of(0, 7);
            input["from_root"] = hex([1; 32]);
            input
        }),
        Case::bad(
            "another-new-root",
            "A future that does not continue it.",
            "new_root",
            with("to_root", hex([1; 32])),
        ),
        Case::bad(
            "power-of-two",
            "From 4 the old root is not in the proof, but in the caller's hand.",
            "new_root",
            {
                let mut input = of(4, 7);
                input["from_root"] = hex([1; 32]);
                input
            },
        ),
        Case::bad("bent-last", "One bit of the last hash.", "old_root", {
            proof(6, &|proof| {
                let last = proof.len() - 1;
                let mut bytes = read_hex(&proof[last]).to_vec();
                bytes[0] ^= 1;
                proof[last] = hex(bytes);
            })
        }),
    ]);
    cases
}

fn run_checkpoint(input: &Value) -> Outcome {
    let key = VerifierKey::parse(text(input, "log_key")).unwrap();
    let verified = SignedCheckpoint::verify(text(input, "checkpoint").to_owned(), &key).map_err(|error| {
        match error {
            VerifyCheckpointError::Note(_) => "note",
            VerifyCheckpointError::Signature(_) => "signature",
            VerifyCheckpointError::Text(_) => "text",
            VerifyCheckpointError::Origin { .. } => "origin",
        }
        .to_owned()
    })?;
    Ok(json!({
        "origin": verified.origin().as_str(),
        "size": number(verified.size()),
        "root": hex(verified.root().as_bytes()),
    }))
}

fn checkpoints() -> Vec<Case> {
    let log = &STORY.log;
    let size = log.records.len();
    let of = |text: &str| json!({ "log_key": log.key.verifier().to_string(), "checkpoint": text });
    let head = |size: usize| String::from_utf8(log.checkpoint(size).as_bytes().to_vec()).unwrap();
    let good = head(size);
    let signed = |text: &str| SignedNote::sign(text, &[&log.key]).unwrap().to_string();
    let other = SignerKey::from_seed(KeyName::parse("witness.test").unwrap(), &[9; 32]);
    let body = log.checkpoint(size).checkpoint().to_string();
    let (origin, root) = (known::ORIGIN, body.lines().nth(2).unwrap());
    vec![
        Case::good("seven", "The story's newest head.", of(&good)),
        Case::good("empty", "A log without leaves.", of(&head(0))),
        Case::good("cosigned", "A signature of a key that nobody asked for is ignored.", {
            of(&SignedNote::sign(&body, &[&other, &log.key]).unwrap().to_string())
        }),
        Case::bad("nothing", "No bytes.", "note", of("")),
        Case::bad("unsigned", "The text alone.", "note", of(&body)),
        Case::bad("no-newline", "Without its last newline.", "note", of(good.trim_end())),
        Case::bad(
            "hyphen",
            "A hyphen in the place of the em dash.",
            "note",
            of(&good.replace('\u{2014}', "-")),
        ),
        Case::bad("tab", "A tab in the text.", "note", of(&good.replacen('\n', "\t\n", 1))),
        Case::bad("loose-base64", "A signature without padding.", "note", of(&good.replace("=\n", "\n"))),
        Case::bad("another-key", "Signed by another key alone.", "signature", {
            of(&SignedNote::sign(&body, &[&other]).unwrap().to_string())
        }),
        Case::bad("bent-size", "Another size.", "signature", of(&good.replace("\n7\n", "\n8\n"))),
        Case::bad("bent-signature", "Another head's signature.", "signature", {
            let line = head(1).lines().last().unwrap().to_owned();
            of(&format!("{body}\n{line}\n"))
        }),
        Case::bad("one-good-one-bad", "A right and a wrong signature of the same key.", "signature", {
            let line = head(1).lines().last().unwrap().to_owned();
            of(&format!("{good}{line}\n"))
        }),
        Case::bad("leading-zero", "A size of 07.", "text", of(&signed(&format!("{origin}\n07\n{root}\n")))),
        Case::bad("extension", "A line after the root.", "text", of(&signed(&format!("{body}more\n")))),
        Case::bad(
            "short-root",
            "A root of three bytes.",
            "text",
            of(&signed(&format!("{origin}\n7\nAAAA\n"))),
        ),
        Case::bad("empty-with-root", "No leaves, and a root of some.", "text", {
            of(&signed(&format!("{origin}\n0\n{root}\n")))
        }),
        Case::bad("two-lines", "No root.", "text", of(&signed(&format!("{origin}\n7\n")))),
        Case::bad("another-origin", "Signed by this log's key, of another origin.", "origin", {
            of(&signed(&format!("other.test/log\n7\n{root}\n")))
        }),
    ]
}

fn run_proof_file(input: &Value) -> Outcome {
    let key = VerifierKey::parse(text(input, "log_key")).unwrap();
    let file = ProofFile::parse(text(input, "file").as_bytes()).map_err(|_| "file".to_owned())?;
    let proven = file.verify(&bytes(input, "record"), &key).map_err(|error| {
        match error {
            VerifyProofError::Checkpoint(_) => "checkpoint",
            VerifyProofError::Inclusion(_) => "inclusion",
        }
        .to_owned()
    })?;
    Ok(json!({ "index": proven.index(), "leaf_hash": hex(proven.leaf().as_bytes()) }))
}

fn proof_files() -> Vec<Case> {
    let log = &STORY.log;
    let of = |file: &str| {
        json!({
            "log_key": log.key.verifier().to_string(), "record": hex(&log.records[4]), "file": file,
        })
    };
    let good = log.proof(4).to_string();
    let with_extra = log.proof(4).with_extra("salts").unwrap().to_string();
    let lines: Vec<&str> = good.lines().collect();
    let other = SignerKey::from_seed(KeyName::parse(known::ORIGIN).unwrap(), &[9; 32]);
    let other = SignedCheckpoint::sign(&other, 7, *log.checkpoint(7).root()).unwrap();
    let other = ProofFile::new(4, log.tree(7).inclusion(4).unwrap(), &other).unwrap().to_string();
    vec![
        Case::good("good", "The story's first transfer.", of(&good)),
        Case::good("extra", "With data beside it, for which nothing vouches.", of(&with_extra)),
        Case::bad("nothing", "No bytes.", "file", of("")),
        Case::bad("version-2", "Another version.", "file", of(&good.replace("@v1", "@v2"))),
        Case::bad("leading-zero", "Index 04.", "file", of(&good.replace("index 4", "index 04"))),
        Case::bad("no-index", "No index.", "file", of(&good.replace("index 4\n", ""))),
        Case::bad("short-hash", "A hash of three bytes.", "file", of(&good.replace(lines[2], "AAAA"))),
        Case::bad("extra-after-index", "Extra data in another place.", "file", {
            of(&good.replace("index 4\n", "index 4\nextra c2FsdHM=\n"))
        }),
        Case::bad("no-checkpoint", "No empty line.", "file", of(&lines[..5].join("\n"))),
        Case::bad("another-log", "A checkpoint of the same name by another key.", "checkpoint", of(&other)),
        Case::bad("no-signature", "An unsigned checkpoint.", "checkpoint", {
            of(good.split_once("\n\u{2014}").unwrap().0)
        }),
        Case::bad("another-index", "Index 5.", "inclusion", of(&good.replace("index 4", "index 5"))),
        Case::bad(
            "short-path",
            "A path without its last hash.",
            "inclusion",
            of(&good.replace(&format!("{}\n\n", lines[4]), "\n")),
        ),
        Case::bad("another-record", "Another record.", "inclusion", {
            let mut input = of(&good);
            input["record"] = hex(&log.records[3]);
            input
        }),
    ]
}

fn run_bundle(input: &Value) -> Outcome {
    let records = bundle::parse(&bytes(input, "bundle")).map_err(|error| {
        match error {
            ParseBundleError::Empty => "empty",
            ParseBundleError::TooManyRecords { .. } => "records",
            ParseBundleError::TruncatedLength { .. } => "length",
            ParseBundleError::TruncatedRecord { .. } => "record",
            ParseBundleError::Records { .. } => panic!("no number of records is asked for"),
        }
        .to_owned()
    })?;
    Ok(json!({ "records": records.iter().map(|record: &Bytes| hex(record)).collect::<Vec<_>>() }))
}

fn bundles() -> Vec<Case> {
    let of = |bytes: &[u8]| json!({ "bundle": hex(bytes) });
    vec![
        Case::good("two", "A record and an empty one.", of(b"\x00\x03abc\x00\x00")),
        Case::good(
            "story",
            "The story's first two records.",
            of(&bundle::encode(&STORY.log.records[..2]).unwrap()),
        ),
        Case::bad("nothing", "No bytes.", "empty", of(b"")),
        Case::bad("half-length", "One byte of a length.", "length", of(b"\x00\x01a\x00")),
        Case::bad("half-record", "A record that is not whole.", "record", of(b"\x00\x01a\x00\x02b")),
        Case::bad("little-endian", "A length the other way round.", "record", of(b"\x03\x00abc")),
        Case::bad("257-records", "One more than a bundle has.", "records", of(&[0; 514])),
    ]
}

fn run_log_path(input: &Value) -> Outcome {
    let path = LogPath::parse(text(input, "path")).map_err(|error| {
        match error {
            ParsePathError::TooLong { .. } | ParsePathError::Unknown { .. } => "path",
            ParsePathError::Level { .. } => "level",
            ParsePathError::Index { .. } => "index",
            ParsePathError::Width { .. } => "width",
        }
        .to_owned()
    })?;
    Ok(match path {
        LogPath::Checkpoint => json!({ "kind": "checkpoint" }),
        LogPath::Tile(at) => {
            json!({ "kind": "tile", "level": at.level(), "index": number(at.index()), "width": at.width() })
        }
        LogPath::Bundle(at) => json!({ "kind": "entries", "index": number(at.index()), "width": at.width() }),
    })
}

fn log_paths() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "checkpoint",
        "tile/0/000",
        "tile/0/x001/x234/067",
        "tile/1/255.p/255",
        "tile/63/x018/x446/x744/x073/x709/x551/615.p/1",
        "tile/entries/999",
        "tile/entries/x001/000.p/7",
    ] {
        cases.push(Case::good(path, "A path of a log.", json!({ "path": path })));
    }
    for (path, reason, comment) in [
        ("/checkpoint", "path", "A leading slash."),
        ("tiles/0/000", "path", "Another folder."),
        ("tile/0", "path", "No index."),
        ("tile/64/000", "level", "Levels end at 63."),
        ("tile/00/000", "level", "A leading zero."),
        ("tile/data/000", "level", "No level."),
        ("tile/0/00", "index", "Two digits."),
        ("tile/0/x000/001", "index", "A leading group of zeros."),
        ("tile/0/001/000", "index", "A group without its x."),
        ("tile/0/../000", "index", "Another folder's way."),
        ("tile/0/x018/x446/x744/x073/x709/x551/616", "index", "Over 64 bits."),
        ("tile/0/000.p/0", "width", "An empty tile is never served."),
        ("tile/0/000.p/256", "width", "A full tile has no width."),
        ("tile/0/000.p/01", "width", "A leading zero."),
    ] {
        cases.push(Case::bad(path, comment, reason, json!({ "path": path })));
    }
    cases
}
