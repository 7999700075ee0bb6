//! The log on disk against what everybody was told of it.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use countersign_client::auditor::{FolderLog, verify};
use countersign_proto::log::v1::{Kind, Record, Result as Went};
use countersign_tlog::{Frontier, Hash, VerifierKey, bundle, hash::leaf_hash, tile::TILE_WIDTH};
use prost::Message as _;

use super::journal;
use crate::notes::{Book, Tag};

/// What was seen of one log, check after check: nothing of it may ever change.
pub(crate) struct Log {
    key: VerifierKey,
    hashes: Vec<Hash>,
    frontier: Frontier,
    /// The root of each size, from 0.
    roots: Vec<Hash>,
    /// First releases by grant.
    released: HashMap<Tag, u64>,
    stopped: HashMap<Tag, u64>,
    kinds: HashMap<Kind, u64>,
    /// Change notices: the index, and to whom.
    pub(crate) notices: Vec<(u64, String)>,
    /// By the partner that they name: the index of each record.
    pub(crate) of_partner: HashMap<String, Vec<u64>>,
    /// Of the notes: how many receipts were compared.
    receipts: usize,
}

impl Log {
    pub(crate) fn new(key: VerifierKey) -> Self {
        let frontier = Frontier::new();
        Self {
            key,
            hashes: Vec::new(),
            roots: vec![frontier.root()],
            frontier,
            released: HashMap::new(),
            stopped: HashMap::new(),
            kinds: HashMap::new(),
            notices: Vec::new(),
            of_partner: HashMap::new(),
            receipts: 0,
        }
    }

    /// How many records were seen.
    pub(crate) fn size(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// The hash of the record at an index.
    pub(crate) fn hash(&self, index: u64) -> Option<Hash> {
        self.hashes.get(usize::try_from(index).ok()?).copied()
    }

    /// First releases under a grant.
    pub(crate) fn released(&self, tag: &Tag) -> u64 {
        self.released.get(tag).copied().unwrap_or(0)
    }

    /// Checks the log of a dead daemon's store, which is not opened for it.
    pub(crate) fn check(&mut self, store: &Path, book: &Book) -> Result<()> {
        self.take(&leaves(store)?)?;
        self.compare(book)?;
        self.counts(book)?;
        self.audit(&store.join("log"))
    }

    /// What an auditor with a copy of the folder would find, by the SDK's own checker.
    fn audit(&self, folder: &Path) -> Result<()> {
        if !folder.join("checkpoint").exists() {
            // A log that never got as far as its first publication.
            return Ok(());
        }
        let mut log = FolderLog::open(folder)?;
        let report = verify(&mut log, &self.key, &[], &mut |_| {})?;
        if let Some(finding) = report.findings.first() {
            bail!("an auditor finds {} faults, the first: {finding}", report.finding_count);
        }
        Ok(())
    }

    /// All leaves: those that were seen before must be the same, and in their places.
    fn take(&mut self, leaves: &[Bytes]) -> Result<()> {
        let before = self.hashes.len();
        ensure!(leaves.len() >= before, "the disk has {} records, and had {before}", leaves.len());
        for (index, (leaf, seen)) in leaves.iter().zip(&self.hashes).enumerate() {
            ensure!(leaf_hash(leaf) == *seen, "record {index} is not what it was");
        }
        for (index, leaf) in leaves.iter().enumerate().skip(before) {
            let hash = leaf_hash(leaf);
            self.hashes.push(hash);
            self.frontier.append(hash);
            self.roots.push(self.frontier.root());
            let record = Record::decode(leaf.clone()).with_context(|| format!("record {index}"))?;
            self.order(index as u64, &record)?;
        }
        Ok(())
    }

    /// Of the order of the records this keeps what the notes are held against; the rest is the auditor's.
    fn order(&mut self, index: u64, record: &Record) -> Result<()> {
        *self.kinds.entry(record.kind()).or_default() += 1;
        let mut sides = vec![&record.source, &record.recipient];
        sides.dedup();
        for side in sides.into_iter().filter(|side| !side.is_empty()) {
            self.of_partner.entry(side.clone()).or_default().push(index);
        }
        let Ok(tag) = Tag::try_from(record.grant_tag.as_ref()) else { return Ok(()) };
        match record.kind() {
            Kind::Transfer => {
                if let Some(stop) = self.stopped.get(&tag) {
                    bail!("record {index} is a transfer, and record {stop} stopped its grant");
                }
                if record.result() == Went::Released {
                    *self.released.entry(tag).or_default() += 1;
                }
            }
            Kind::GrantWithdrawn
            | Kind::GrantSuperseded
            | Kind::GrantRevoked
            | Kind::GrantRevokedByOperator => {
                self.stopped.insert(tag, index);
            }
            Kind::ChangeNotice => self.notices.push((index, record.recipient.clone())),
            _ => {}
        }
        Ok(())
    }

    /// Every record that somebody was given stands at its index; every stop; every tree that was signed.
    fn compare(&mut self, book: &Book) -> Result<()> {
        for noted in book.receipts.iter().skip(self.receipts) {
            let (index, kind) = (noted.index, noted.kind);
            match self.hash(index) {
                None => bail!("record {index} ({kind:?}) was acknowledged, and the disk has {}", self.size()),
                Some(hash) if hash != leaf_hash(&noted.leaf) => {
                    bail!("record {index} ({kind:?}) was acknowledged, and the disk has another");
                }
                Some(_) => {}
            }
        }
        self.receipts = book.receipts.len();
        for (tag, stop) in &book.stops {
            let stands = self.stopped.get(tag) == Some(stop);
            ensure!(stands, "record {stop} was acknowledged as a stop, and is none of that grant");
        }
        for (size, root) in &book.heads {
            match usize::try_from(*size).ok().and_then(|size| self.roots.get(size)) {
                None => bail!("a tree of {size} records was signed, and the disk has {}", self.size()),
                Some(own) if own != root => {
                    bail!("a tree of {size} records was signed as {root}, and is {own}")
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// What was answered was done once; what was not, once or not at all.
    fn counts(&self, book: &Book) -> Result<()> {
        for (kind, calls) in &book.calls {
            let found = self.kinds.get(kind).copied().unwrap_or(0);
            let (least, most) = (calls.answered, calls.answered + calls.open);
            ensure!(
                (least..=most).contains(&found),
                "{least} calls for {kind:?} were answered and {} are open, and there are {found} records",
                calls.open
            );
        }
        for (tag, uses) in &book.uses {
            let found = self.released(tag);
            let (least, most) = (uses.released, uses.released + uses.open);
            ensure!(
                (least..=most).contains(&found),
                "{least} uses of a grant were released to somebody and {} are open, and {found} were spent (tag {})",
                uses.open,
                data_encoding::HEXLOWER.encode(tag)
            );
        }
        Ok(())
    }
}

/// All leaves as they lie there: full bundles, and beyond them the journal. Where both have a leaf they must agree.
fn leaves(store: &Path) -> Result<Vec<Bytes>> {
    let mut leaves = Vec::new();
    let width = usize::from(TILE_WIDTH);
    loop {
        let number = (leaves.len() / width) as u64;
        let path = store
            .join("log")
            .join(countersign_store::layout::LogPath::Entries { number, partial: None }.to_string());
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let bundle = bundle::parse(&bytes).with_context(|| path.display().to_string())?;
        ensure!(bundle.len() == width, "{} has {} records", path.display(), bundle.len());
        leaves.extend(bundle);
    }
    for segment in journal::read(&store.join("journal"))? {
        for frame in segment.frames {
            let first = usize::try_from(frame.size)?.checked_sub(frame.records.len());
            let first = first.context("a commit adds more records than there are")?;
            for (index, record) in (first..).zip(frame.records) {
                if let Some(leaf) = leaves.get(index) {
                    ensure!(*leaf == record, "bundle and journal have other records at {index}");
                    continue;
                }
                let end = leaves.len();
                ensure!(index == end, "the journal goes on at {index}, and the bundles end at {end}");
                leaves.push(record);
            }
        }
    }
    Ok(leaves)
}
