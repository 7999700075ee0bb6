//! The journal: every commit, in order, framed and checksummed, in segments.
//!
//! A segment is a header and frames. The header is magic(8) ‖ version(4) ‖ the segment's number(8) ‖ the sequence of
//! its first frame(8) ‖ CRC-32C of those(4), little-endian; frames are described in [`frame`]. By its magic a segment
//! says whether it is whole, or was [stripped](strip) to its leaves.

pub(crate) mod frame;
pub(crate) mod replay;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_store::Batch;

use crate::errors::{Damage, OpenError};
use crate::files::{AppendFile, Files};
use crate::placer::Placer;
use crate::scrub::{LeftOf, ScrubError};

/// How a segment begins that has all of its commits.
const WHOLE: [u8; 8] = *b"CSGNJRNL";
/// How one begins of which the leaves alone are left.
const STRIPPED: [u8; 8] = *b"CSGNLEAF";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;

/// When a segment has this much, the next frame starts a new one. Large enough that the syncs of a new segment don't
/// show (one in 60,000 records of 1 KiB), small enough to be read at once when the store is opened.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// A place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Place {
    /// Where a segment that isn't there would start.
    pub(crate) fn start(segment: u64) -> Place {
        Place { segment, offset: 0 }
    }

    /// The error that names this place.
    pub(crate) fn is(self, what: Damage) -> OpenError {
        OpenError::Corrupt { segment: self.segment, offset: self.offset, what }
    }
}

/// The open end of the journal.
pub(crate) struct Journal {
    files: Arc<dyn Files>,
    placer: Arc<Placer>,
    folder: PathBuf,
    segment_bytes: u64,
    segment: u64,
    file: Box<dyn AppendFile>,
    length: u64,
}

impl Journal {
    /// Opens the journal's end, where replay found it. What stands behind it is a torn frame, and is cut off.
    ///
    /// The last segment is written anew: its last frame may have been read from the page cache without being on disk, since
    /// the process before ended between write and sync, or after a sync that failed, which the system doesn't report twice.
    pub(crate) fn resume(
        files: &Arc<dyn Files>,
        placer: &Arc<Placer>,
        folder: &Path,
        segment_bytes: u64,
        end: Place,
    ) -> Result<Journal, OpenError> {
        let path = segment_path(folder, end.segment);
        let anew = || {
            let segment = files.read(&path)?.unwrap_or_default();
            // Memory holds a whole segment already while it is replayed.
            let end = usize::try_from(end.offset).unwrap_or(usize::MAX).min(segment.len());
            placer.place(&**files, &path, &segment[..end])?;
            files.sync_folder(folder)?;
            files.append(&path, end as u64)
        };
        Ok(Journal {
            file: anew().map_err(OpenError::io(&path))?,
            files: Arc::clone(files),
            placer: Arc::clone(placer),
            folder: folder.to_owned(),
            segment_bytes,
            segment: end.segment,
            length: end.offset,
        })
    }

    /// Starts a new segment for the frame that will reach `sequence`, unless there is no frame in this one. Returns the
    /// segment that this closed, if it did, with its length.
    ///
    /// After an error the journal must not be used any more.
    pub(crate) fn roll(&mut self, sequence: u64) -> io::Result<Option<(u64, u64)>> {
        if self.length <= HEADER_BYTES as u64 {
            return Ok(None);
        }
        let (closed, segment) = ((self.segment, self.length), self.segment + 1);
        self.file = create_segment(&*self.files, &self.placer, &self.folder, segment, sequence)?;
        (self.segment, self.length) = (segment, HEADER_BYTES as u64);
        Ok(Some(closed))
    }

    /// The segment that is open.
    pub(crate) fn segment(&self) -> u64 {
        self.segment
    }

    /// Appends a frame (of [`frame::encode`]) that reaches `sequence`, durably. Returns the segment that this closed, if
    /// it did, with its length.
    ///
    /// After an error nothing is known about the frame, and the journal must not be used any more.
    pub(crate) fn append(&mut self, sequence: u64, frame: &[u8]) -> io::Result<Option<(u64, u64)>> {
        let closed = if self.length >= self.segment_bytes { self.roll(sequence)? } else { None };
        self.file.write(frame)?;
        self.file.sync()?;
        self.length += frame.len() as u64;
        Ok(closed)
    }
}

/// Makes the first segment of a new store.
pub(crate) fn create(files: &dyn Files, placer: &Placer, folder: &Path) -> io::Result<()> {
    create_segment(files, placer, folder, 1, 1).map(drop)
}

/// A segment gets its name with its header in it, so that a header is never torn, and the name is durable before a
/// frame is: else the frames of a whole segment could go with the name.
fn create_segment(
    files: &dyn Files,
    placer: &Placer,
    folder: &Path,
    segment: u64,
    first_sequence: u64,
) -> io::Result<Box<dyn AppendFile>> {
    let path = segment_path(folder, segment);
    placer.place(files, &path, &header(WHOLE, segment, first_sequence))?;
    files.sync_folder(folder)?;
    files.append(&path, HEADER_BYTES as u64)
}

fn header(magic: [u8; 8], segment: u64, first_sequence: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&magic);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&segment.to_le_bytes());
    header.extend_from_slice(&first_sequence.to_le_bytes());
    header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
    header
}

/// Takes out of a segment that a snapshot covers all but its leaves, and of their private parts what `left` leaves. The
/// same heads, the same lengths: whatever reads it for its leaves finds it as it was, and whatever needs more of it is told
/// that it isn't there.
pub(crate) fn strip(
    files: &dyn Files,
    placer: &Placer,
    folder: &Path,
    segment: u64,
    left: &LeftOf<'_>,
) -> Result<(), ScrubError> {
    let path = segment_path(folder, segment);
    let (mut stripped, mut frame) = (Vec::new(), Vec::new());
    let mut failed = None;
    replay::read_segment(files, folder, segment, None, false, |commit| {
        if stripped.is_empty() {
            stripped = header(STRIPPED, segment, commit.after.sequence);
        }
        let batch = frame::batch(commit.body).ok_or_else(|| commit.place.is(Damage::Content))?;
        let mut leaves = Batch { leaves: batch.leaves, ..Batch::default() };
        for leaf in &mut leaves.leaves {
            match left(&leaf.private) {
                // Of another length it would not be what the heads count.
                Ok(Some(private)) if private.len() == leaf.private.len() => leaf.private = private.into(),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        frame::encode(commit.after, &leaves, &mut frame);
        stripped.extend_from_slice(&frame);
        Ok(())
    })
    .map_err(ScrubError::from)?;
    if let Some(error) = failed {
        return Err(ScrubError::Read(error));
    }
    placer.place(files, &path, &stripped)?;
    Ok(files.sync_folder(folder)?)
}

fn segment_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:012}.seg"))
}

fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}
