//! The journal as it lies on disk, read by a reader of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, Bytes};

/// The header of a segment.
pub(crate) const HEADER_BYTES: usize = 32;

/// Before a frame's body: its length, its checksum, and the checksum of those two.
pub(crate) const PREFIX_BYTES: usize = 12;

const MAGIC: &[u8] = b"CSGNJRNL";

/// How one begins whose rows were scrubbed.
const STRIPPED: &[u8] = b"CSGNLEAF";

/// A segment with its whole frames; what follows them is a write that was cut short.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) frames: Vec<Frame>,
}

/// One commit.
pub(crate) struct Frame {
    /// Where it begins in its segment.
    pub(crate) offset: usize,
    /// How long it is, its prefix included.
    pub(crate) length: usize,
    /// The log's size after it.
    pub(crate) size: u64,
    /// The number of commits with it.
    pub(crate) sequence: u64,
    /// The records that it adds.
    pub(crate) records: Vec<Bytes>,
}

/// Reads all segments, oldest first. What is not a whole frame ends a segment.
pub(crate) fn read(folder: &Path) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for (number, path) in segments_in(folder)? {
        let bytes = Bytes::from(fs::read(&path).with_context(|| path.display().to_string())?);
        let known = bytes.starts_with(MAGIC) || bytes.starts_with(STRIPPED);
        ensure!(known && bytes.len() >= HEADER_BYTES, "{} is no segment", path.display());
        let (mut frames, mut end) = (Vec::new(), HEADER_BYTES);
        while let Some(body) = whole(&bytes, end) {
            let length = PREFIX_BYTES + body.len();
            let frame = frame(end, length, body);
            frames.push(frame.with_context(|| format!("{} at byte {end}", path.display()))?);
            end += length;
        }
        segments.push(Segment { number, path, frames });
    }
    ensure!(!segments.is_empty(), "{} holds no segment", folder.display());
    Ok(segments)
}

/// The files of the segments by their numbers, oldest first.
pub(crate) fn segments_in(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            segments.push((name.parse().with_context(|| path.display().to_string())?, path));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// A frame that adds one record and nothing else, as the engine writes it.
pub(crate) fn encode(size: u64, sequence: u64, record: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    for number in [size, 1, sequence] {
        body.extend_from_slice(&number.to_le_bytes());
    }
    // No puts, no deletes, one leaf without a private part, no requests.
    for count in [0_u32, 0, 1] {
        body.extend_from_slice(&count.to_le_bytes());
    }
    body.extend_from_slice(&u16::try_from(record.len())?.to_le_bytes());
    body.extend_from_slice(&0_u16.to_le_bytes());
    body.extend_from_slice(record);
    body.extend_from_slice(&0_u32.to_le_bytes());
    let mut frame = Vec::new();
    frame.extend_from_slice(&u32::try_from(body.len())?.to_le_bytes());
    frame.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    frame.extend_from_slice(&crc32c::crc32c(&frame).to_le_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The body of the whole and sound frame that begins here.
fn whole(segment: &Bytes, at: usize) -> Option<Bytes> {
    let mut prefix = segment.get(at..at + PREFIX_BYTES)?;
    let (length, body_sum, sum) = (prefix.get_u32_le(), prefix.get_u32_le(), prefix.get_u32_le());
    if crc32c::crc32c(&segment[at..at + 8]) != sum {
        return None;
    }
    let start = at + PREFIX_BYTES;
    let end = start + usize::try_from(length).ok()?;
    let body = segment.get(start..end)?;
    (crc32c::crc32c(body) == body_sum).then(|| segment.slice(start..end))
}

fn frame(offset: usize, length: usize, mut body: Bytes) -> Result<Frame> {
    let (size, _epoch, sequence) = (body.try_get_u64_le()?, body.try_get_u64_le()?, body.try_get_u64_le()?);
    for _ in 0..body.try_get_u32_le()? {
        pair(&mut body)?;
    }
    for _ in 0..body.try_get_u32_le()? {
        let key = body.try_get_u16_le()?;
        take(&mut body, key)?;
    }
    let mut records = Vec::new();
    for _ in 0..body.try_get_u32_le()? {
        records.push(pair(&mut body)?);
    }
    for _ in 0..body.try_get_u32_le()? {
        body.try_get_u64_le()?;
        pair(&mut body)?;
    }
    ensure!(body.is_empty(), "a frame goes on after its end");
    Ok(Frame { offset, length, size, sequence, records })
}

/// Two lengths, two strings of bytes: the first.
fn pair(body: &mut Bytes) -> Result<Bytes> {
    let (first, second) = (body.try_get_u16_le()?, body.try_get_u16_le()?);
    let first = take(body, first)?;
    take(body, second)?;
    Ok(first)
}

fn take(body: &mut Bytes, length: u16) -> Result<Bytes> {
    let length = usize::from(length);
    if length > body.len() {
        bail!("a length points beyond the frame's end");
    }
    Ok(body.split_to(length))
}
