//! A log made up for the check to read: as many records as one likes, as large as real ones, in the layout of C2SP
//! tlog-tiles. Every grant is approved before any is used, so that the checker has to remember them all.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use countersign_client::{
    BrokerTrust,
    grants::{id::Origin, key::SigningKey},
    proto::log::v1::{Kind, Record, Result as Outcome},
    tlog::{BundleCoord, KeyName, SignedCheckpoint, SignerKey, TileStream, bundle, hash::leaf_hash},
};
use prost::Message as _;

/// The log's name.
const ORIGIN: &str = "bench.countersign.example/log";

/// Records in a full bundle.
const BUNDLE_RECORDS: u64 = 256;

/// 8 March 2013, 12:00 UTC: when the made-up log begins.
const BEGINS_MS: u64 = 1_362_744_000_000;

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) records: u64,
    pub(super) grants: u64,
    /// Of the bundles.
    pub(super) bytes: u64,
}

/// Writes a log of so many records into `folder/log`, and the broker file beside it. `done` is told after each bundle.
pub(super) fn make(folder: &Path, records: u64, mut done: impl FnMut(u64)) -> Result<Made> {
    let log = folder.join("log");
    let grants = records.div_ceil(2);
    let mut stream = TileStream::new();
    let mut bytes = 0;
    let mut bundle_records = Vec::with_capacity(BUNDLE_RECORDS as usize);
    for index in 0..records {
        let record = record(index, grants).encode_to_vec();
        for (coord, tile) in stream.append(leaf_hash(&record)) {
            put(&log.join(coord.path()), tile.as_bytes())?;
        }
        bundle_records.push(record);
        if bundle_records.len() as u64 == BUNDLE_RECORDS || index + 1 == records {
            let coord =
                BundleCoord::in_log(index / BUNDLE_RECORDS, index + 1).context("a bundle of the log")?;
            let encoded = bundle::encode(&bundle_records)?;
            bytes += encoded.len() as u64;
            put(&log.join(coord.path()), &encoded)?;
            bundle_records.clear();
            done(index + 1);
        }
    }
    for (coord, tile) in stream.partial_tiles() {
        put(&log.join(coord.path()), tile.as_bytes())?;
    }
    let key = SignerKey::from_seed(KeyName::parse(ORIGIN)?, &[7; 32]);
    let checkpoint =
        SignedCheckpoint::sign(&key, stream.size(), stream.root()).context("a log with records")?;
    put(&log.join("checkpoint"), checkpoint.as_bytes())?;
    let trust = BrokerTrust {
        origin: Origin::parse(ORIGIN)?,
        log_key: key.verifier().clone(),
        call_key: SigningKey::from_secret(&[8; 32]).public().clone(),
        // Nobody is called: a folder is checked offline.
        address: "http://127.0.0.1:1".to_owned(),
        ca_pem: None,
    };
    put(&folder.join("broker.json"), trust.to_json().as_bytes())?;
    Ok(Made { records, grants, bytes })
}

/// The record at an index: first all approvals, then one transfer a grant.
fn record(index: u64, grants: u64) -> Record {
    let (grant, transfer) = if index < grants { (index, false) } else { (index - grants, true) };
    Record {
        version: 1,
        kind: if transfer { Kind::Transfer } else { Kind::GrantApproved }.into(),
        time_ms: BEGINS_MS + index,
        source: "partners/skylark".to_owned(),
        recipient: "partners/hopp".to_owned(),
        purpose: "pickup_planning".to_owned(),
        catalogue_version: bytes_of::<32>(u64::MAX, 0),
        result: if transfer { Outcome::Released } else { Outcome::Unspecified }.into(),
        reason: String::new(),
        grant_tag: bytes_of::<32>(grant, 1),
        grant_sequence: if transfer { 2 } else { 1 },
        use_number: u64::from(transfer),
        record_id: bytes_of::<16>(index, 2),
        subject_commitment: bytes_of::<32>(index, 3),
        fields_commitment: bytes_of::<32>(index, 4),
        evidence_commitment: bytes_of::<32>(index, 5),
    }
}

/// Bytes that look random and are the same on every run: splitmix64 over what they are of.
fn bytes_of<const N: usize>(of: u64, what: u64) -> prost::bytes::Bytes {
    let mut state = of.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(what << 56 | 1);
    let mut bytes = Vec::with_capacity(N);
    while bytes.len() < N {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
    }
    bytes.truncate(N);
    bytes.into()
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file in a folder")?;
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use countersign_client::auditor::{FolderLog, verify};

    use super::*;

    #[test]
    fn what_is_made_up_verifies() {
        let folder = tempfile::tempdir().unwrap();
        let mut told = 0;
        let made = make(folder.path(), 1_001, |records| told = records).unwrap();
        assert_eq!((made.records, made.grants, told), (1_001, 501, 1_001));
        let trust = BrokerTrust::read(&folder.path().join("broker.json")).unwrap();
        let mut log = FolderLog::open(&folder.path().join("log")).unwrap();
        let report = verify(&mut log, &trust.log_key, &[], &mut |_| {}).unwrap();
        assert_eq!(report.findings, []);
        assert_eq!((report.records, report.grants), (1_001, 501));
    }

    #[test]
    fn records_are_as_large_as_real_ones() {
        let (approval, transfer) = (record(0, 1).encoded_len(), record(1, 1).encoded_len());
        assert!((250..400).contains(&approval) && (250..400).contains(&transfer), "{approval} {transfer}");
        assert_ne!(record(0, 2).grant_tag, record(1, 2).grant_tag);
        assert_eq!(record(0, 2).grant_tag, record(2, 2).grant_tag);
    }
}
