//! Harm done to the disk between kill and restart, and what the broker must make of it: nothing that was acknowledged is
//! lost; what follows from something else is made again; and where neither is possible it does not start, and says where.

mod files;
mod index;
mod journal;

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{check::copy, daemon::Started, notes::Book, random::Random, rounds::Life};

pub(crate) use self::journal::cut_below;

/// The exit code of a broker that another start may help.
const FAILED: i32 = 1;

/// A hundred records, with their rows and private parts, are a quarter of a megabyte: so a round or two fill segments, make
/// a snapshot, and let older segments go.
const SEGMENT_BYTES: u64 = 64 << 10;
const SNAPSHOT_BYTES: u64 = 192 << 10;

/// One way to harm a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// The journal is cut at any byte of its last frame, of which nobody was told.
    CutEnd,
    /// The journal is cut below what somebody was told. A disk that does this lies about its syncs; all that is left is
    /// that somebody notices. On a copy, since those who notice stop for good.
    RollBack,
    /// A bit is flipped in a frame before the last.
    FlipJournal,
    IndexDeleted,
    IndexTruncated,
    IndexRubbish,
    IndexOlder,
    SnapshotTorn,
    CheckpointTorn,
    TileMissing,
    TileTorn,
    BundleMissing,
    BundleTorn,
    PrivateMissing,
    PrivateTorn,
}

/// All of them.
const ALL: [Harm; 15] = [
    Harm::CutEnd,
    Harm::RollBack,
    Harm::FlipJournal,
    Harm::IndexDeleted,
    Harm::IndexTruncated,
    Harm::IndexRubbish,
    Harm::IndexOlder,
    Harm::SnapshotTorn,
    Harm::CheckpointTorn,
    Harm::TileMissing,
    Harm::TileTorn,
    Harm::BundleMissing,
    Harm::BundleTorn,
    Harm::PrivateMissing,
    Harm::PrivateTorn,
];

/// What the next start must come to.
pub(crate) enum Expected {
    /// It listens, and nothing is lost.
    Listens,
    /// It refuses with these words.
    Refuses(Vec<String>),
    /// It listens and nothing is lost, or it refuses with these words.
    Either(Vec<String>),
}

/// What was done.
pub(crate) struct Done {
    /// For the line of the round.
    pub(crate) detail: String,
    pub(crate) expected: Expected,
}

/// Harms in an order that the seed drew, each once before any comes twice.
pub(crate) struct Deck {
    harms: Vec<Harm>,
    next: usize,
}

impl Harm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CutEnd => "cut-end",
            Self::RollBack => "roll-back",
            Self::FlipJournal => "flip-journal",
            Self::IndexDeleted => "index-deleted",
            Self::IndexTruncated => "index-truncated",
            Self::IndexRubbish => "index-rubbish",
            Self::IndexOlder => "index-older",
            Self::SnapshotTorn => "snapshot-torn",
            Self::CheckpointTorn => "checkpoint-torn",
            Self::TileMissing => "tile-missing",
            Self::TileTorn => "tile-torn",
            Self::BundleMissing => "bundle-missing",
            Self::BundleTorn => "bundle-torn",
            Self::PrivateMissing => "private-missing",
            Self::PrivateTorn => "private-torn",
        }
    }
}

impl Harm {
    fn finds_something(self, store: &Path) -> bool {
        let any = |folder: &str| {
            std::fs::read_dir(store.join(folder)).is_ok_and(|mut entries| entries.next().is_some())
        };
        match self {
            Self::SnapshotTorn => any("snapshots"),
            Self::TileMissing | Self::TileTorn => any("log/tile/0"),
            Self::BundleMissing | Self::BundleTorn => any("log/tile/entries"),
            Self::PrivateMissing | Self::PrivateTorn => any("private/entries"),
            _ => true,
        }
    }
}

impl Deck {
    pub(crate) fn shuffle(seed: u64, only: Option<&str>) -> Result<Self> {
        let mut harms: Vec<Harm> =
            ALL.into_iter().filter(|harm| only.is_none_or(|only| harm.name() == only)).collect();
        let names: Vec<&str> = ALL.into_iter().map(Harm::name).collect();
        ensure!(!harms.is_empty(), "there is no such harm; there are {}", names.join(", "));
        let mut random = Random::part(seed, "harms", 0);
        for place in (1..harms.len()).rev() {
            harms.swap(place, usize::try_from(random.below(place as u64 + 1))?);
        }
        Ok(Self { harms, next: 0 })
    }

    /// The next one for which there is something to harm.
    pub(crate) fn draw(&mut self, store: &Path) -> Harm {
        loop {
            let harm = self.harms[self.next % self.harms.len()];
            self.next += 1;
            // With all others left out it is drawn again and again, and says that there was nothing to harm.
            if self.harms.len() == 1 || harm.finds_something(store) {
                return harm;
            }
        }
    }
}

/// Settings under which a short life sees all that a long one does.
pub(crate) fn environment() -> Vec<(String, String)> {
    let set = |name: &str, bytes: u64| (format!("COUNTERSIGN_JOURNAL__{name}"), bytes.to_string());
    vec![set("SEGMENT_BYTES", SEGMENT_BYTES), set("SNAPSHOT_BYTES", SNAPSHOT_BYTES)]
}

/// Harms the store of a dead broker, and sees to it that its next start comes to what it must. Afterwards the store is
/// one from which a broker starts. Returns what was done, for the line of the round.
pub(crate) async fn apply(life: &mut Life, harm: Harm, book: &Book, random: &mut Random) -> Result<String> {
    let (store, saved) = (life.store(), life.beside("saved"));
    copy::remove(&saved)?;
    copy::store(&store, &saved)?;
    let done = match harm {
        Harm::CutEnd => journal::cut_end(life, random).await?,
        Harm::RollBack => journal::roll_back(life, book, random).await?,
        Harm::FlipJournal => journal::flip(&store, random)?,
        Harm::IndexDeleted => index::delete(&store)?,
        Harm::IndexTruncated => index::truncate(&store, random)?,
        Harm::IndexRubbish => index::rubbish(&store, random)?,
        Harm::IndexOlder => index::older(&store, &life.beside("older"))?,
        Harm::SnapshotTorn => files::tear_snapshot(&store, random)?,
        Harm::CheckpointTorn => files::tear_checkpoint(&store, random)?,
        Harm::TileMissing => files::tile(&store, files::How::Removed, random)?,
        Harm::TileTorn => files::tile(&store, files::How::Torn, random)?,
        Harm::BundleMissing => files::bundle(&store, "log/tile/entries", files::How::Removed, random)?,
        Harm::BundleTorn => files::bundle(&store, "log/tile/entries", files::How::Torn, random)?,
        Harm::PrivateMissing => files::bundle(&store, "private/entries", files::How::Removed, random)?,
        Harm::PrivateTorn => files::bundle(&store, "private/entries", files::How::Torn, random)?,
    };
    index::keep(&life.beside("copy"), &life.beside("older"))?;
    let words = match done.expected {
        // The round's own start will show it.
        Expected::Listens => return Ok(format!("{}: {}", harm.name(), done.detail)),
        Expected::Refuses(words) => {
            let refusal = refused(life, &done.detail, &words, true).await?;
            refusal.context("it starts, and must not")?
        }
        Expected::Either(words) => match refused(life, &done.detail, &words, false).await? {
            Some(refusal) => refusal,
            None => return Ok(format!("{}: {}: made again", harm.name(), done.detail)),
        },
    };
    restore(&store, &saved)?;
    Ok(format!("{}: {}: refused ({words})", harm.name(), done.detail))
}

/// Starts the broker on the harmed store. If it listens it is killed again, which a store that recovers must survive too.
async fn refused(life: &Life, detail: &str, words: &[String], must: bool) -> Result<Option<String>> {
    match life.setting.start().await? {
        Started::Listening(mut daemon, _) => {
            daemon.kill()?;
            ensure!(!must, "{detail}: the broker starts as if nothing had happened");
            Ok(None)
        }
        Started::Ended { code, words: said } => {
            ensure!(code == Some(FAILED), "{detail}: the broker ended with {code:?}: {said}");
            if let Some(missing) = words.iter().find(|word| !said.contains(word.as_str())) {
                bail!("{detail}: the broker does not say `{missing}`: {said}");
            }
            Ok(Some(words.join(", ")))
        }
    }
}

/// Puts back what was saved.
fn restore(store: &Path, saved: &Path) -> Result<()> {
    copy::remove(store)?;
    std::fs::rename(saved, store).with_context(|| store.display().to_string())
}
