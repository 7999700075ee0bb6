//! Leaves on their way from memory to their bundles.
//!
//! A leaf stays in memory until its bundle is full and stands in its file. A private bundle is magic(8) ‖ version(4),
//! then what an entry bundle is; an entry bundle is what C2SP says and nothing else.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use countersign_store::layout::{LogPath, WIDTH, bundle, push_records, split_bundle};
use countersign_store::{Leaf, ReadError};

use crate::files::Files;
use crate::placer::Placer;
use crate::scrub::{LeftOf, ScrubError};

const PRIVATE_MAGIC: &[u8; 8] = b"CSGNPRIV";
const PRIVATE_VERSION: u32 = 1;
const PRIVATE_HEADER_BYTES: usize = 12;

/// Bundles that are written side by side, when so many wait.
pub(crate) const BUNDLES_AT_ONCE: usize = 8;

/// Which half of the leaves is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Record,
    Private,
}

/// The leaves of one bundle, or of its beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaves {
    records: Vec<Bytes>,
    private: Vec<Bytes>,
}

impl Leaves {
    fn part(&self, part: Part) -> &[Bytes] {
        match part {
            Part::Record => &self.records,
            Part::Private => &self.private,
        }
    }
}

/// How long the files of bundles must be: by this a torn one is found without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// Of each full bundle, the bytes of its records and of its private parts, with their own lengths.
    full: Vec<[u32; 2]>,
    growing: [u32; 2],
    /// Leaves in the growing bundle.
    leaves: u64,
}

impl Lengths {
    /// Those of a log of `size` leaves, the growing bundle's last, if there is one.
    pub(crate) fn resume(size: u64, mut all: Vec<[u32; 2]>) -> Lengths {
        let leaves = size % WIDTH;
        let growing = if leaves == 0 { None } else { all.pop() };
        Lengths { full: all, growing: growing.unwrap_or_default(), leaves }
    }

    /// Adds a leaf. A whole bundle of the longest is 17 MB.
    pub(crate) fn push(&mut self, record: usize, private: usize) {
        self.growing[0] += 2 + record as u32;
        self.growing[1] += 2 + private as u32;
        self.leaves += 1;
        if self.leaves == WIDTH {
            self.full.push(std::mem::take(&mut self.growing));
            self.leaves = 0;
        }
    }

    /// All of them, the growing bundle's last, if there is one.
    pub(crate) fn all(&self) -> impl Iterator<Item = [u32; 2]> {
        let growing = (self.leaves > 0).then_some(self.growing);
        self.full.iter().copied().chain(growing)
    }
}

/// The leaves in memory: full bundles that don't stand in their files yet, and the one that is growing.
pub(crate) struct RecentLeaves {
    /// The number of the first bundle in memory: all before it stand.
    first: u64,
    full: VecDeque<Arc<Leaves>>,
    growing: Leaves,
}

impl RecentLeaves {
    pub(crate) fn after(standing: u64) -> RecentLeaves {
        RecentLeaves { first: standing, full: VecDeque::new(), growing: Leaves::default() }
    }

    pub(crate) fn push(&mut self, leaf: Leaf) {
        self.growing.records.push(leaf.record);
        self.growing.private.push(leaf.private);
        if self.growing.records.len() as u64 == WIDTH {
            self.full.push_back(Arc::new(std::mem::take(&mut self.growing)));
        }
    }

    /// How many bundles are full, in files and in memory.
    pub(crate) fn full(&self) -> u64 {
        self.first + self.full.len() as u64
    }

    /// The index of the first leaf in memory.
    pub(crate) fn start(&self) -> u64 {
        self.first * WIDTH
    }

    /// The first full bundles that are to stand in their files, with their numbers.
    pub(crate) fn first_full(&self, at_most: usize) -> Vec<(u64, Arc<Leaves>)> {
        (self.first..).zip(self.full.iter().take(at_most).cloned()).collect()
    }

    /// Lets go of the first full bundles, which stand in their files now.
    pub(crate) fn forget_first(&mut self, count: usize) {
        self.full.drain(..count);
        self.first += count as u64;
    }

    /// Puts another private part, of the same length, in the place of one that is in memory still.
    pub(crate) fn replace_private(&mut self, index: u64, private: Bytes) {
        let Some(bundle) = (index / WIDTH).checked_sub(self.first) else { return };
        // Both are less than what is in memory.
        let leaves = match self.full.get_mut(bundle as usize) {
            Some(full) => Arc::make_mut(full),
            None => &mut self.growing,
        };
        if let Some(part) = leaves.private.get_mut((index % WIDTH) as usize) {
            *part = private;
        }
    }

    /// The leaves of `range` that are in memory.
    pub(crate) fn read(&self, range: Range<u64>, part: Part) -> Vec<Bytes> {
        let bundles = self.full.iter().map(|leaves| &**leaves).chain([&self.growing]);
        let mut found = Vec::new();
        for (number, leaves) in (self.first..).zip(bundles) {
            found.extend_from_slice(clip(leaves.part(part), number, &range));
        }
        found
    }
}

/// The bundle files below the store's folder.
pub(crate) struct BundleFiles {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) placer: Arc<Placer>,
    pub(crate) log: PathBuf,
    pub(crate) private: PathBuf,
}

impl BundleFiles {
    /// How many of the full bundles stand in order, both halves of each with the length that they must have. All after
    /// the first that doesn't are to be written again.
    pub(crate) fn standing(&self, lengths: &Lengths) -> io::Result<u64> {
        for (number, [records, private]) in (0..).zip(&lengths.full) {
            let private = u64::from(*private) + PRIVATE_HEADER_BYTES as u64;
            if self.files.length(&self.path(number, Part::Record))? != Some(u64::from(*records))
                || self.files.length(&self.path(number, Part::Private))? != Some(private)
            {
                return Ok(number);
            }
        }
        Ok(lengths.full.len() as u64)
    }

    /// Whether there is a full bundle of this number, both halves of it.
    pub(crate) fn exists(&self, number: u64) -> io::Result<bool> {
        Ok(self.files.exists(&self.path(number, Part::Record))?
            && self.files.exists(&self.path(number, Part::Private))?)
    }

    /// The folders that have the names of these bundles in them.
    pub(crate) fn folders(&self, bundles: Range<u64>) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        for number in bundles {
            add_folders(&mut folders, &self.path(number, Part::Record), &self.log);
            add_folders(&mut folders, &self.path(number, Part::Private), &self.private);
        }
        folders
    }

    /// Writes full bundles, and adds the folders whose names are to be synced to `unsynced`.
    ///
    /// Several at once go side by side: a file system takes together the syncs that come together.
    pub(crate) fn write_all(
        &self,
        bundles: &[(u64, Arc<Leaves>)],
        unsynced: &mut BTreeSet<PathBuf>,
    ) -> io::Result<()> {
        let Some(((number, leaves), others)) = bundles.split_first() else { return Ok(()) };
        std::thread::scope(|scope| {
            let others: Vec<_> =
                others.iter().map(|(number, leaves)| scope.spawn(|| self.write(*number, leaves))).collect();
            let mut written = self.write(*number, leaves).map(|mut folders| unsynced.append(&mut folders));
            for other in others {
                let other =
                    other.join().unwrap_or_else(|_| Err(io::Error::other("a thread that wrote died")));
                written = written.and(other.map(|mut folders| unsynced.append(&mut folders)));
            }
            written
        })
    }

    /// Writes both halves of a full bundle, and returns the folders whose names are to be synced.
    fn write(&self, number: u64, leaves: &Leaves) -> io::Result<BTreeSet<PathBuf>> {
        let mut unsynced = BTreeSet::new();
        let path = self.path(number, Part::Private);
        self.placer.place(&*self.files, &path, &private_bundle(&leaves.private))?;
        add_folders(&mut unsynced, &path, &self.private);

        let path = self.path(number, Part::Record);
        self.placer.place(&*self.files, &path, &bundle(&leaves.records))?;
        add_folders(&mut unsynced, &path, &self.log);
        Ok(unsynced)
    }

    /// Writes a private bundle anew with what `left` leaves of each part, if that is less than stands there. Says how many
    /// parts it took something from. A part keeps its length, for the lengths of bundles are known elsewhere.
    pub(crate) fn blank(&self, number: u64, left: &LeftOf<'_>) -> Result<u64, ScrubError> {
        let mut parts = self.read(&(number * WIDTH..(number + 1) * WIDTH), Part::Private)?;
        let mut blanked = 0;
        for part in &mut parts {
            if let Some(less) = left(part)?.filter(|less| less.len() == part.len()) {
                *part = less.into();
                blanked += 1;
            }
        }
        if blanked > 0 {
            let path = self.path(number, Part::Private);
            self.placer.place(&*self.files, &path, &private_bundle(&parts))?;
            path.parent().map_or(Ok(()), |folder| self.files.sync_folder(folder))?;
        }
        Ok(blanked)
    }

    /// The leaves of `range`, all of which stand in bundle files.
    pub(crate) fn read(&self, range: &Range<u64>, part: Part) -> Result<Vec<Bytes>, ReadError> {
        let mut found = Vec::new();
        for number in range.start / WIDTH..range.end.div_ceil(WIDTH) {
            let path = self.path(number, part);
            let damaged = || ReadError::Damaged { place: path.display().to_string() };
            let bytes = self.files.read(&path).map_err(|error| unavailable(&path, &error))?;
            let bytes = Bytes::from(bytes.ok_or_else(damaged)?);
            let bytes = match part {
                Part::Record => bytes,
                Part::Private => without_header(&bytes).ok_or_else(damaged)?,
            };
            let leaves =
                split_bundle(&bytes).filter(|leaves| leaves.len() as u64 == WIDTH).ok_or_else(damaged)?;
            found.extend_from_slice(clip(&leaves, number, range));
        }
        Ok(found)
    }

    /// A file of the log.
    pub(crate) fn log_file(&self, path: LogPath) -> Result<Option<Bytes>, ReadError> {
        let path = self.log.join(path.to_string());
        let bytes = self.files.read(&path).map_err(|error| unavailable(&path, &error))?;
        Ok(bytes.map(Bytes::from))
    }

    /// The length of a file of the log.
    pub(crate) fn log_file_length(&self, path: LogPath) -> Result<Option<u64>, ReadError> {
        let path = self.log.join(path.to_string());
        self.files.length(&path).map_err(|error| unavailable(&path, &error))
    }

    pub(crate) fn path(&self, number: u64, part: Part) -> PathBuf {
        let path = LogPath::Entries { number, partial: None }.to_string();
        match part {
            Part::Record => self.log.join(path),
            Part::Private => self.private.join(path.strip_prefix("tile/").expect("so entry paths begin")),
        }
    }
}

/// Adds the folders from a file's own up to `root`: each may have got a new name in it.
pub(crate) fn add_folders(unsynced: &mut BTreeSet<PathBuf>, file: &Path, root: &Path) {
    for folder in file.ancestors().skip(1).take_while(|folder| folder.starts_with(root)) {
        if !unsynced.contains(folder) {
            unsynced.insert(folder.to_owned());
        }
    }
}

/// The leaves of bundle `number` that `range` names.
fn clip<'a>(leaves: &'a [Bytes], number: u64, range: &Range<u64>) -> &'a [Bytes] {
    let start = number * WIDTH;
    // Both are at most the number of leaves in the bundle.
    let to = range.end.saturating_sub(start).min(leaves.len() as u64) as usize;
    let from = (range.start.saturating_sub(start) as usize).min(to);
    &leaves[from..to]
}

fn private_bundle(parts: &[Bytes]) -> Vec<u8> {
    let mut bundle = Vec::new();
    bundle.extend_from_slice(PRIVATE_MAGIC);
    bundle.extend_from_slice(&PRIVATE_VERSION.to_le_bytes());
    push_records(&mut bundle, parts);
    bundle
}

fn without_header(bytes: &Bytes) -> Option<Bytes> {
    let header = bytes.get(..PRIVATE_HEADER_BYTES)?;
    let sound = header.starts_with(PRIVATE_MAGIC) && header.ends_with(&PRIVATE_VERSION.to_le_bytes());
    sound.then(|| bytes.slice(PRIVATE_HEADER_BYTES..))
}

fn unavailable(path: &Path, error: &io::Error) -> ReadError {
    ReadError::Unavailable { reason: format!("{}: {error}", path.display()) }
}
