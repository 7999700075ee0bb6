use std::{collections::BTreeSet, fs, path::Path};

use bytes::Bytes;
use countersign_grants::time::Timestamp;
use countersign_proto::log::v1::{Kind, Record, Result as Outcome};
use countersign_tlog::{
    BundleCoord, Hash, KeyName, SignedCheckpoint, SignerKey, TileStream, bundle, hash::leaf_hash,
};
use prost::Message as _;

use super::*;

const START: u64 = 1_700_000_000_000;

fn key() -> SignerKey {
    SignerKey::from_seed(KeyName::parse("broker.example/log").expect("a name"), &[1; 32])
}

/// A record of grant `tag`, or of none.
fn record(at: u64, kind: Kind, tag: Option<u8>, sequence: u64) -> Record {
    Record {
        version: 1,
        kind: kind.into(),
        time_ms: START + at,
        source: "partners/skylark".into(),
        recipient: "partners/hopp".into(),
        purpose: "pickup_planning".into(),
        catalogue_version: vec![3; 32].into(),
        grant_tag: tag.map_or_else(Bytes::new, |tag| vec![tag; 32].into()),
        grant_sequence: sequence,
        record_id: [at.to_be_bytes(), at.to_be_bytes()].concat().into(),
        evidence_commitment: vec![8; 32].into(),
        ..Record::default()
    }
}

fn transfer(at: u64, tag: u8, sequence: u64, use_number: u64) -> Record {
    let result = Outcome::Released.into();
    Record { result, use_number, ..record(at, Kind::Transfer, Some(tag), sequence) }
}

/// One grant: approved, then used without end.
fn of_one_grant(size: u64) -> Vec<Record> {
    let approved = (size > 0).then(|| record(0, Kind::GrantApproved, Some(4), 1));
    approved.into_iter().chain((1..size).map(|at| transfer(at, 4, at + 1, at))).collect()
}

fn encoded(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(Record::encode_to_vec).collect()
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("below the folder")).expect("makes");
    fs::write(path, bytes).expect("writes");
}

/// Publishes a log as a broker does, and returns its checkpoint.
fn publish(folder: &Path, leaves: &[Vec<u8>]) -> Bytes {
    let mut stream = TileStream::new();
    for leaf in leaves {
        for (coord, tile) in stream.append(leaf_hash(leaf)) {
            write(folder, &coord.path(), tile.as_bytes());
        }
    }
    for (coord, tile) in stream.partial_tiles() {
        write(folder, &coord.path(), tile.as_bytes());
    }
    for (index, records) in leaves.chunks(256).enumerate() {
        let coord = BundleCoord::new(index as u64, records.len() as u16).expect("a width");
        write(folder, &coord.path(), &bundle::encode(records).expect("encodes"));
    }
    let head = SignedCheckpoint::sign(&key(), stream.size(), stream.root()).expect("a root of its size");
    write(folder, "checkpoint", head.as_bytes());
    head.as_bytes().clone()
}

fn check(folder: &Path, older: &[Bytes]) -> Report {
    let mut log = FolderLog::open(folder).expect("opens");
    verify(&mut log, key().verifier(), older, &mut |_| {}).expect("reads")
}

/// A good log of this many records, then one bit of one file flipped: the first finding is at `index` and is `what`.
fn check_flip(folder: &Path, path: &str, bit: usize, index: u64, what: &str) {
    let file = folder.join(path);
    let good = fs::read(&file).expect("is there");
    let mut bad = good.clone();
    bad[bit / 8] ^= 1 << (bit % 8);
    fs::write(&file, &bad).expect("writes");
    let report = check(folder, &[]);
    let first = report.findings.first().unwrap_or_else(|| panic!("bit {bit} of {path} went unseen"));
    assert_eq!((first.index, first.problem.check()), (index, what), "bit {bit} of {path}: {first}");
    fs::write(&file, &good).expect("writes");
}

#[test]
fn a_good_log_of_any_size_is_sound() {
    for size in [0, 1, 2, 255, 256, 257, 700] {
        let folder = tempfile::tempdir().expect("a folder");
        publish(folder.path(), &encoded(&of_one_grant(size)));
        let report = check(folder.path(), &[]);
        assert!(report.is_sound(), "{size}: {:?}", report.findings);
        assert_eq!((report.records, report.grants), (size, u64::from(size > 0)));
        assert_eq!(report.count(Kind::Transfer), size.saturating_sub(1));
        assert_eq!(report.last_time, size.checked_sub(1).map(|at| Timestamp::from_millis(START + at)));
    }
}

#[test]
fn every_flipped_bit_of_a_small_log_is_found_where_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let leaves = encoded(&of_one_grant(3));
    publish(folder.path(), &leaves);
    let lengths: Vec<usize> = leaves.iter().map(|leaf| leaf.len() + 2).collect();
    let bytes: usize = lengths.iter().sum();
    // Every byte, and every place of a bit in turn: seven and eight have no common divisor.
    for bit in (0..bytes * 8).step_by(7) {
        let mut at = bit / 8;
        let index = lengths
            .iter()
            .position(|length| {
                at < *length || {
                    at -= length;
                    false
                }
            })
            .expect("within");
        let report = {
            let file = folder.path().join("tile/entries/000.p/3");
            let good = fs::read(&file).expect("is there");
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &bad).expect("writes");
            let report = check(folder.path(), &[]);
            fs::write(&file, &good).expect("writes");
            report
        };
        assert_eq!(report.findings.first().map(|first| first.index), Some(index as u64), "bit {bit}");
    }
    for bit in (0..3 * 32 * 8).step_by(7) {
        check_flip(folder.path(), "tile/0/000.p/3", bit, (bit / 256) as u64, "tile");
    }
    let checkpoint = fs::read(folder.path().join("checkpoint")).expect("is there").len();
    for bit in (0..checkpoint * 8).step_by(7) {
        check_flip(folder.path(), "checkpoint", bit, 0, "checkpoint");
    }
}

#[test]
fn damage_in_a_log_of_three_levels_is_found_where_it_is() {
    const SIZE: u64 = 66_000;
    let folder = tempfile::tempdir().expect("a folder");
    publish(folder.path(), &encoded(&of_one_grant(SIZE)));
    assert!(check(folder.path(), &[]).is_sound());
    let check = |path: &str, bit, index, what| check_flip(folder.path(), path, bit, index, what);
    check("tile/0/001", 8 * (32 * 7 + 3), 256 + 7, "tile");
    check("tile/0/257.p/208", 8 * (32 * 207), SIZE - 1, "tile");
    check("tile/1/000", 8 * 32 * 5, 5 * 256, "tile");
    check("tile/1/001.p/1", 0, 256 * 256, "tile");
    check("tile/2/000.p/1", 0, 0, "tile");
    check("tile/entries/100", 8 * 10, 25_600, "altered");
    check("tile/entries/257.p/208", 8 * 10, 256 * 257, "altered");
}

#[test]
fn one_altered_record_is_one_finding() {
    let folder = tempfile::tempdir().expect("a folder");
    let leaves = encoded(&of_one_grant(600));
    publish(folder.path(), &leaves);
    let at = 300 - 256;
    let mut altered = leaves[256..512].to_vec();
    altered[at][9] ^= 1;
    write(folder.path(), "tile/entries/001", &bundle::encode(&altered).expect("encodes"));
    let report = check(folder.path(), &[]);
    assert_eq!((report.finding_count, report.findings[0].index), (1, 300), "{:?}", report.findings);
    assert_eq!(report.findings[0].problem, Problem::Altered { path: "tile/entries/001".into() });
}

#[test]
fn what_is_missing_is_named() {
    let check = |path: &str, index: u64| {
        let folder = tempfile::tempdir().expect("a folder");
        publish(folder.path(), &encoded(&of_one_grant(600)));
        fs::remove_file(folder.path().join(path)).expect("removes");
        let report = check(folder.path(), &[]);
        let first = report.findings.first().expect("a finding");
        assert_eq!(first, &Finding { index, problem: Problem::Missing { path: path.into() } });
    };
    check("checkpoint", 0);
    check("tile/0/001", 256);
    check("tile/0/002.p/88", 512);
    check("tile/1/000.p/2", 0);
    check("tile/entries/001", 256);
    check("tile/entries/002.p/88", 512);
}

#[test]
fn files_from_before_are_checked_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let leaves = encoded(&of_one_grant(600));
    for size in [5, 300, 600] {
        publish(folder.path(), &leaves[..size]);
    }
    assert!(check(folder.path(), &[]).is_sound());
    check_flip(folder.path(), "tile/0/000.p/5", 8 * (32 * 3), 3, "tile");
    check_flip(folder.path(), "tile/entries/000.p/5", 8 * 10, 0, "altered");
    check_flip(folder.path(), "tile/0/001.p/44", 0, 256, "tile");
    // The records that stand are held against the tree, not against each other.
    let full = folder.path().join("tile/entries/001");
    let good = fs::read(&full).expect("is there");
    let mut bad = good.clone();
    bad[10] ^= 1;
    fs::write(&full, &bad).expect("writes");
    assert_eq!(check(folder.path(), &[]).finding_count, 1);
    fs::write(&full, &good).expect("writes");
    // What was written for a size that was never published is nobody's promise.
    write(folder.path(), "tile/0/002.p/200", b"junk");
    assert!(check(folder.path(), &[]).is_sound());
}

#[test]
fn partial_files_may_go_once_the_full_one_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let leaves = encoded(&of_one_grant(600));
    let older = publish(folder.path(), &leaves[..300]);
    publish(folder.path(), &leaves);
    fs::write(folder.path().join("checkpoint"), &older).expect("writes");
    fs::remove_dir_all(folder.path().join("tile/0/001.p")).expect("removes");
    fs::remove_dir_all(folder.path().join("tile/entries/001.p")).expect("removes");
    let report = check(folder.path(), &[]);
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.records, 300);
}

#[test]
fn an_older_checkpoint_must_be_continued() {
    let leaves = encoded(&of_one_grant(600));
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let heads = [0, 1, 256, 300].map(|size| publish(folder.path(), &leaves[..size]));
    let newest = publish(folder.path(), &leaves);
    let report = check(folder.path(), &heads);
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.continues, [0, 1, 256, 300]);

    let mut rewritten = leaves[..400].to_vec();
    rewritten[7] = record(7, Kind::OfferPublished, None, 0).encode_to_vec();
    publish(other.path(), &rewritten);
    let report = check(other.path(), &[heads[3].clone(), newest]);
    let sizes: BTreeSet<u64> = report
        .findings
        .iter()
        .filter_map(|finding| match finding.problem {
            Problem::Inconsistent { size, .. } => Some(size),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, BTreeSet::from([300, 600]));
}

#[test]
fn a_log_rewritten_from_the_bundles_up_does_not_meet_its_root() {
    let folder = tempfile::tempdir().expect("a folder");
    let leaves = encoded(&of_one_grant(600));
    let head = publish(folder.path(), &leaves);
    let mut rewritten = leaves.clone();
    rewritten[9] = transfer(9, 4, 10, 9).encode_to_vec();
    rewritten[9][6] ^= 1;
    publish(folder.path(), &rewritten);
    fs::write(folder.path().join("checkpoint"), &head).expect("writes");
    assert!(check(folder.path(), &[]).findings.iter().any(|finding| finding.problem == Problem::Root));
}

#[test]
fn another_logs_key_proves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    publish(folder.path(), &encoded(&of_one_grant(3)));
    let other = SignerKey::from_seed(KeyName::parse("broker.example/log").expect("a name"), &[2; 32]);
    let mut log = FolderLog::open(folder.path()).expect("opens");
    let report = verify(&mut log, other.verifier(), &[], &mut |_| {}).expect("reads");
    assert!(report.checkpoint.is_none());
    assert_eq!(report.findings[0].problem.check(), "checkpoint");
}

/// What the rules say of these records, each as `(index, check)`.
fn check_rules(records: &[Record], expected: &[(u64, &str)]) {
    let folder = tempfile::tempdir().expect("a folder");
    publish(folder.path(), &encoded(records));
    let report = check(folder.path(), &[]);
    let found: Vec<(u64, &str)> =
        report.findings.iter().map(|finding| (finding.index, finding.problem.check())).collect();
    assert_eq!(found, expected, "{:?}", report.findings);
}

#[test]
fn grants_follow_their_rules() {
    let approved = record(0, Kind::GrantApproved, Some(4), 1);
    let of = |at, kind, sequence| record(at, kind, Some(4), sequence);
    let refused = |at, sequence| {
        let result = Outcome::Refused.into();
        Record { result, reason: "GRANT_ENDED".into(), ..of(at, Kind::TransferRefused, sequence) }
    };
    let with = |more: &[Record]| [std::slice::from_ref(&approved), more].concat();
    let stop = of(2, Kind::GrantWithdrawn, 3);
    check_rules(
        &with(&[transfer(1, 4, 2, 1), stop.clone(), refused(3, 4), of(4, Kind::Acknowledged, 5)]),
        &[],
    );
    check_rules(&with(&[transfer(1, 4, 2, 1), stop.clone(), transfer(3, 4, 4, 2)]), &[(3, "stop")]);
    check_rules(&with(&[transfer(1, 4, 2, 1), stop, of(3, Kind::GrantResumed, 4)]), &[(3, "stop")]);
    check_rules(&with(&[transfer(1, 4, 3, 1)]), &[(1, "sequence")]);
    check_rules(&with(&[transfer(1, 4, 2, 1), transfer(2, 4, 2, 2)]), &[(2, "sequence")]);
    check_rules(&with(&[transfer(1, 4, 2, 2)]), &[(1, "use_number")]);
    check_rules(&with(&[transfer(1, 4, 2, 1), transfer(2, 4, 3, 1)]), &[(2, "use_number")]);
    check_rules(&[transfer(0, 4, 1, 1)], &[(0, "approval")]);
    check_rules(&with(&[of(1, Kind::GrantApproved, 2)]), &[(1, "approval")]);
    check_rules(&with(&[of(1, Kind::GrantPaused, 2), transfer(2, 4, 3, 1)]), &[(2, "pause")]);
    let resumed = [of(1, Kind::GrantPaused, 2), of(2, Kind::GrantResumed, 3), transfer(3, 4, 4, 1)];
    check_rules(&with(&resumed), &[]);
    for (stop, end) in [
        (Kind::GrantSuspended, Kind::GrantUnsuspended),
        (Kind::GrantSuspendedByOperator, Kind::GrantUnsuspendedByOperator),
    ] {
        check_rules(&with(&[of(1, stop, 2), transfer(2, 4, 3, 1)]), &[(2, "suspension")]);
        check_rules(&with(&[of(1, stop, 2), of(2, end, 3), transfer(3, 4, 4, 1)]), &[]);
        check_rules(&with(&[record(1, stop, None, 0)]), &[(1, "tag")]);
    }
    // Two suspensions are two stops: the end of one leaves the other.
    let both = [
        of(1, Kind::GrantSuspended, 2),
        of(2, Kind::GrantSuspendedByOperator, 3),
        of(3, Kind::GrantUnsuspended, 4),
        transfer(4, 4, 5, 1),
    ];
    check_rules(&with(&both), &[(4, "suspension")]);
    for revoked in [Kind::GrantRevoked, Kind::GrantRevokedByOperator] {
        check_rules(&with(&[of(1, revoked, 2), transfer(2, 4, 3, 1)]), &[(2, "stop")]);
        check_rules(&with(&[of(1, revoked, 2), of(2, Kind::GrantExpiring, 3)]), &[(2, "stop")]);
        check_rules(&with(&[of(1, revoked, 2), of(2, Kind::GrantUnsuspended, 3)]), &[(2, "stop")]);
    }
    let other = Record { purpose: "ride_updates".into(), ..transfer(1, 4, 2, 1) };
    check_rules(&with(&[other]), &[(1, "terms")]);
    check_rules(&with(&[record(1, Kind::Transfer, None, 0)]), &[(1, "tag")]);
    check_rules(&with(&[record(1, Kind::OfferPublished, None, 2)]), &[(1, "tag")]);
    let silent = Record { result: 0, ..transfer(1, 4, 2, 1) };
    check_rules(&with(&[silent]), &[(1, "result")]);
}

#[test]
fn what_ends_for_a_newer_revision_is_followed_by_it() {
    let approved = record(0, Kind::GrantApproved, Some(4), 1);
    let superseded = record(1, Kind::GrantSuperseded, Some(4), 2);
    let successor = record(2, Kind::GrantApproved, Some(5), 1);
    let with = |rest: &[Record]| {
        let before = [approved.clone(), superseded.clone()];
        before.into_iter().chain(rest.iter().cloned()).collect::<Vec<_>>()
    };
    check_rules(&with(&[successor.clone(), transfer(3, 5, 2, 1)]), &[]);
    check_rules(&with(&[successor.clone(), transfer(3, 4, 3, 1)]), &[(3, "stop")]);
    check_rules(&with(&[successor.clone(), record(3, Kind::GrantPaused, Some(4), 3)]), &[(3, "stop")]);
    check_rules(&with(&[record(2, Kind::Acknowledged, Some(4), 3)]), &[(1, "successor")]);
    for bend in [
        (|it: &mut Record| it.source = "partners/chirp".into()) as fn(&mut Record),
        |it| it.recipient = "partners/chirp".into(),
        |it| it.purpose = "ride_updates".into(),
    ] {
        let mut other = successor.clone();
        bend(&mut other);
        check_rules(&with(&[other]), &[(1, "successor")]);
    }
    let untagged = record(1, Kind::GrantSuperseded, None, 0);
    check_rules(&[approved.clone(), untagged, successor], &[(1, "tag")]);
}

#[test]
fn repeats_carry_the_number_of_a_use_that_was_spent() {
    let repeat = |at, sequence, use_number| {
        let result = Outcome::Repeated.into();
        Record { result, ..transfer(at, 4, sequence, use_number) }
    };
    let base = [record(0, Kind::GrantApproved, Some(4), 1), transfer(1, 4, 2, 1)];
    check_rules(&[base.as_slice(), &[repeat(2, 3, 1), transfer(3, 4, 4, 2), repeat(4, 5, 1)]].concat(), &[]);
    check_rules(&[base.as_slice(), &[repeat(2, 3, 2)]].concat(), &[(2, "use_number")]);
    check_rules(&[base.as_slice(), &[repeat(2, 3, 0)]].concat(), &[(2, "use_number")]);
}

#[test]
fn time_never_runs_backwards_and_leaves_are_records() {
    let first = record(5, Kind::CustomerCreated, None, 0);
    check_rules(&[first.clone(), record(4, Kind::CustomerCreated, None, 0)], &[(1, "time")]);
    check_rules(&[first.clone(), first.clone()], &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let padded = [first.encode_to_vec(), vec![0xf8, 0x01, 1]].concat();
    publish(folder.path(), &[first.encode_to_vec(), padded]);
    let report = check(folder.path(), &[]);
    assert_eq!(
        report.findings,
        [Finding { index: 1, problem: Problem::NotARecord(NotARecord::UnknownField) }]
    );
}

#[test]
fn nothing_moves_while_a_partner_is_suspended() {
    let about = |at, kind, partner: &str| Record {
        source: partner.into(),
        recipient: String::new(),
        purpose: String::new(),
        catalogue_version: Bytes::new(),
        ..record(at, kind, None, 0)
    };
    let approved = record(0, Kind::GrantApproved, Some(4), 1);
    let suspended = about(1, Kind::PartnerSuspended, "partners/hopp");
    let others = about(1, Kind::PartnerSuspended, "partners/chirp");
    let resumed = about(2, Kind::PartnerResumed, "partners/hopp");
    let by_rule = about(1, Kind::PartnerSuspendedAutomatically, "partners/hopp");
    check_rules(&[approved.clone(), by_rule, transfer(2, 4, 2, 1)], &[(2, "suspension")]);
    check_rules(&[approved.clone(), suspended.clone(), transfer(2, 4, 2, 1)], &[(2, "suspension")]);
    check_rules(&[approved.clone(), others, transfer(2, 4, 2, 1)], &[]);
    check_rules(&[approved, suspended, resumed, transfer(3, 4, 2, 1)], &[]);
    // A preview has a source alone, and comes before there is a grant.
    let previewed = about(3, Kind::Previewed, "partners/skylark");
    let stopped = about(1, Kind::PartnerSuspended, "partners/skylark");
    check_rules(std::slice::from_ref(&previewed), &[]);
    check_rules(&[stopped, previewed.clone()], &[(1, "suspension")]);
    let tag = Bytes::from_static(&[4; 32]);
    check_rules(&[Record { grant_tag: tag, ..previewed }], &[(0, "tag")]);
}

#[test]
fn two_operators_let_a_partner_in_before_it_takes_part() {
    let about = |at, kind| Record {
        source: "partners/hopp".into(),
        recipient: String::new(),
        purpose: String::new(),
        catalogue_version: Bytes::new(),
        ..record(at, kind, None, 0)
    };
    let way =
        [about(0, Kind::PartnerCreated), about(1, Kind::PartnerVetted), about(2, Kind::PartnerApproved)];
    let then = |way: &[Record], rest: &[Record]| [way, rest].concat();
    let works = [
        about(3, Kind::LinkInvited),
        about(4, Kind::RequestCreated),
        record(5, Kind::GrantApproved, Some(4), 1),
        transfer(6, 4, 2, 1),
    ];
    check_rules(&then(&way, &works), &[]);
    let too_early = [(2, "vetting"), (3, "vetting"), (4, "vetting"), (5, "vetting")];
    check_rules(&then(&way[..2], &works), &too_early);
    check_rules(&[way[0].clone(), about(1, Kind::PartnerApproved)], &[(1, "vetting")]);
    let changed = about(1, Kind::SourceEndpointSet);
    check_rules(&[way[0].clone(), way[1].clone(), changed, way[2].clone()], &[(3, "vetting")]);
}

#[test]
fn whose_turn_it_was_stands_in_no_clear_text() {
    for kind in [Kind::RequestShown, Kind::RequestDeferred] {
        let of = |source: &str| Record {
            source: source.into(),
            recipient: String::new(),
            ..record(0, kind, None, 0)
        };
        check_rules(&[of("")], &[]);
        check_rules(&[of("partners/hopp")], &[(0, "turn")]);
    }
}

#[test]
fn a_customer_is_erased_by_a_closure_or_long_after_a_link_or_the_keys_were_gone() {
    let days = |days: u64| days * 24 * 3_600_000;
    let of =
        |at, kind| Record { source: String::new(), recipient: String::new(), ..record(at, kind, None, 0) };
    let closed = |at| of(at, Kind::CustomerErased);
    let abandoned = |at| Record {
        reason: "ABANDONED".into(),
        evidence_commitment: Bytes::new(),
        ..of(at, Kind::CustomerErased)
    };
    check_rules(&[closed(0), closed(1)], &[]);
    for end in [Kind::LinkStolen, Kind::LinkReplaced, Kind::CustomerStolen] {
        check_rules(&[of(0, end), abandoned(days(30))], &[]);
        check_rules(&[of(0, end), abandoned(days(30) - 1)], &[(1, "erasure")]);
    }
    // One end is no reason for two of them, and a closure needs none.
    let stolen = of(0, Kind::LinkStolen);
    let late = [abandoned(days(30)), closed(days(31)), abandoned(days(32))];
    check_rules(&[stolen.clone(), late[0].clone(), late[1].clone(), late[2].clone()], &[(3, "erasure")]);
    check_rules(&[stolen.clone(), stolen.clone(), late[0].clone(), late[2].clone()], &[]);
    check_rules(&[of(0, Kind::LinkConfirmed), abandoned(days(40))], &[(1, "erasure")]);
    // What it rests on must be what it says.
    let without = Record { evidence_commitment: Bytes::new(), ..closed(0) };
    let with = Record { reason: "ABANDONED".into(), ..closed(days(30)) };
    let other = Record { reason: "LAW".into(), ..closed(0) };
    check_rules(&[without], &[(0, "erasure")]);
    check_rules(&[stolen, with], &[(1, "erasure")]);
    check_rules(&[other], &[(0, "erasure")]);
}

#[test]
fn a_proof_file_carries_its_record() {
    // The proof file is what an auditor hands on; it must verify with the log's key and the record alone.
    let leaves = encoded(&of_one_grant(3));
    let mut tree = countersign_tlog::Tree::new();
    for leaf in &leaves {
        tree.append(leaf_hash(leaf));
    }
    let head = SignedCheckpoint::sign(&key(), tree.size(), tree.root()).expect("a root of its size");
    let path: Vec<Hash> = tree.inclusion(1).expect("is held");
    let file = countersign_tlog::ProofFile::new(1, path, &head).expect("fits");
    let file = file.with_extra(leaves[1].clone()).expect("fits").to_string();
    let read = countersign_tlog::ProofFile::parse(file.as_bytes()).expect("reads");
    let record = read.extra().expect("carries the record").clone();
    assert_eq!(read.verify(&record, key().verifier()).expect("verifies").index(), 1);
    assert!(read.verify(&leaves[0], key().verifier()).is_err());
}
