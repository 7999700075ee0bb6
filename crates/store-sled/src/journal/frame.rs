//! One commit as a frame of the journal.
//!
//! ```text
//! frame  = length of body u32 ‖ CRC-32C of body u32 ‖ CRC-32C of those eight bytes u32 ‖ body
//! body   = size after u64 ‖ epoch u64 ‖ sequence after u64
//!          ‖ count u32 ‖ puts      (key length u16 ‖ value length u16 ‖ key ‖ value)
//!          ‖ count u32 ‖ deletes   (key length u16 ‖ key)
//!          ‖ count u32 ‖ leaves    (record length u16 ‖ private length u16 ‖ record ‖ private part)
//!          ‖ count u32 ‖ requests  (hour u64 ‖ key length u16 ‖ value length u16 ‖ key ‖ value)
//! ```
//!
//! All numbers are little-endian. The length has a checksum of its own: with a flipped bit in it, acknowledged frames
//! would otherwise look like the torn end of the journal.

use bytes::{Buf as _, Bytes};
use countersign_store::{Batch, Head, Leaf, RequestRow};

/// The bytes before a body.
pub(crate) const PREFIX_BYTES: usize = 12;

/// Writes the frame of a batch that was [checked](Batch::check) into `frame`, in place of what is there. Every
/// length fits its number then: the longest item is 65,535 bytes, and a whole batch is far below 4 GiB.
pub(crate) fn encode(after: Head, batch: &Batch, frame: &mut Vec<u8>) {
    frame.clear();
    frame.resize(PREFIX_BYTES, 0);
    for number in [after.size, after.epoch, after.sequence] {
        frame.extend_from_slice(&number.to_le_bytes());
    }
    put_count(frame, batch.puts.len());
    for (key, value) in &batch.puts {
        put_pair(frame, key, value);
    }
    put_count(frame, batch.deletes.len());
    for key in &batch.deletes {
        frame.extend_from_slice(&(key.len() as u16).to_le_bytes());
        frame.extend_from_slice(key);
    }
    put_count(frame, batch.leaves.len());
    for leaf in &batch.leaves {
        put_pair(frame, &leaf.record, &leaf.private);
    }
    put_count(frame, batch.requests.len());
    for row in &batch.requests {
        frame.extend_from_slice(&row.hour.to_le_bytes());
        put_pair(frame, &row.key, &row.value);
    }
    let body = &frame[PREFIX_BYTES..];
    let (length, checksum) = (body.len() as u32, crc32c::crc32c(body));
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32c::crc32c(&frame[..8]);
    frame[8..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

fn put_count(frame: &mut Vec<u8>, count: usize) {
    frame.extend_from_slice(&(count as u32).to_le_bytes());
}

fn put_pair(frame: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    frame.extend_from_slice(&(first.len() as u16).to_le_bytes());
    frame.extend_from_slice(&(second.len() as u16).to_le_bytes());
    frame.extend_from_slice(first);
    frame.extend_from_slice(second);
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame's body; the next frame follows it.
    Body(Bytes),
    /// The segment ends exactly here.
    End,
    /// A sound prefix, and the segment ends before the body does: a write that was cut short.
    CutShort,
    /// Anything else.
    Bad,
}

/// Looks at what stands `at` a place of a segment.
pub(crate) fn look(segment: &Bytes, at: usize) -> Found {
    let rest = &segment[at..];
    if rest.is_empty() {
        return Found::End;
    }
    let Some((length, body_checksum)) = prefix(rest) else { return Found::Bad };
    match rest.get(PREFIX_BYTES..PREFIX_BYTES + length) {
        None => Found::CutShort,
        Some(body) if crc32c::crc32c(body) != body_checksum => Found::Bad,
        Some(_) => Found::Body(segment.slice(at + PREFIX_BYTES..at + PREFIX_BYTES + length)),
    }
}

/// Whether a whole frame stands anywhere after a place: then what is bad at that place was once whole too, for a
/// frame is written only when the one before it is synced.
pub(crate) fn any_after(segment: &Bytes, at: usize) -> bool {
    (at + 1..segment.len())
        .any(|at| prefix(&segment[at..]).is_some() && matches!(look(segment, at), Found::Body(_)))
}

/// The length of the body that a prefix stands before; `None` if it is none.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    prefix(bytes).map(|(length, _)| length)
}

fn prefix(bytes: &[u8]) -> Option<(usize, u32)> {
    let prefix: &[u8; PREFIX_BYTES] = bytes.first_chunk()?;
    let number = |at: usize| u32::from_le_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]]);
    (crc32c::crc32c(&prefix[..8]) == number(8)).then(|| (number(0) as usize, number(4)))
}

/// The head that a body reaches, and the body after it; `None` if it is no body.
pub(crate) fn head(mut body: Bytes) -> Option<(Head, Bytes)> {
    let size = body.try_get_u64_le().ok()?;
    let epoch = body.try_get_u64_le().ok()?;
    let sequence = body.try_get_u64_le().ok()?;
    Some((Head { size, epoch, sequence }, body))
}

/// The batch of a body after its head; `None` if it is none. Records and values share the segment's memory.
pub(crate) fn batch(mut body: Bytes) -> Option<Batch> {
    let mut batch = Batch::default();
    for _ in 0..body.try_get_u32_le().ok()? {
        let (key, value) = take_pair(&mut body)?;
        batch.puts.push((key.to_vec(), value));
    }
    for _ in 0..body.try_get_u32_le().ok()? {
        let length = body.try_get_u16_le().ok()?;
        batch.deletes.push(take(&mut body, length)?.to_vec());
    }
    for _ in 0..body.try_get_u32_le().ok()? {
        let (record, private) = take_pair(&mut body)?;
        batch.leaves.push(Leaf { record, private });
    }
    for _ in 0..body.try_get_u32_le().ok()? {
        let hour = body.try_get_u64_le().ok()?;
        let (key, value) = take_pair(&mut body)?;
        batch.requests.push(RequestRow { key: key.to_vec(), hour, value });
    }
    body.is_empty().then_some(batch)
}

/// How many leaves a body after its head has; each of them is given to `each` as the lengths of its record and its
/// private part. `None` if it is no body. Copies nothing: the whole journal is looked through when the store is opened.
pub(crate) fn leaf_lengths(mut body: &[u8], mut each: impl FnMut(usize, usize)) -> Option<u64> {
    for _ in 0..body.try_get_u32_le().ok()? {
        skip_pair(&mut body)?;
    }
    for _ in 0..body.try_get_u32_le().ok()? {
        let length = body.try_get_u16_le().ok()?;
        body = body.get(usize::from(length)..)?;
    }
    let leaves = body.try_get_u32_le().ok()?;
    for _ in 0..leaves {
        let (record, private) = skip_pair(&mut body)?;
        each(record, private);
    }
    for _ in 0..body.try_get_u32_le().ok()? {
        body.try_get_u64_le().ok()?;
        skip_pair(&mut body)?;
    }
    body.is_empty().then_some(u64::from(leaves))
}

fn skip_pair(body: &mut &[u8]) -> Option<(usize, usize)> {
    let (first, second) = (body.try_get_u16_le().ok()?, body.try_get_u16_le().ok()?);
    let lengths = (usize::from(first), usize::from(second));
    *body = body.get(lengths.0 + lengths.1..)?;
    Some(lengths)
}

fn take_pair(body: &mut Bytes) -> Option<(Bytes, Bytes)> {
    let (first, second) = (body.try_get_u16_le().ok()?, body.try_get_u16_le().ok()?);
    Some((take(body, first)?, take(body, second)?))
}

fn take(body: &mut Bytes, length: u16) -> Option<Bytes> {
    let length = usize::from(length);
    (length <= body.len()).then(|| body.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Head, Batch) {
        let batch = Batch {
            puts: vec![(b"key".to_vec(), "value".into()), (vec![0xff; 256], vec![1; 4_000].into())],
            deletes: vec![b"gone".to_vec()],
            leaves: vec![
                Leaf { record: "record".into(), private: "sealed".into() },
                Leaf { record: Bytes::new(), private: vec![2; 65_535].into() },
            ],
            requests: vec![RequestRow { key: b"request".to_vec(), hour: u64::MAX, value: "answer".into() }],
        };
        (Head { size: 2, epoch: 3, sequence: 1 }, batch)
    }

    fn check(after: Head, expected: &Batch) {
        let mut frame = vec![9; 100];
        encode(after, expected, &mut frame);
        let Found::Body(body) = look(&frame.into(), 0) else { panic!("a frame is found") };
        let (found, body) = head(body).unwrap();
        assert_eq!(found, after);
        assert_eq!(batch(body.clone()).as_ref(), Some(expected));
        let mut lengths = Vec::new();
        assert_eq!(
            leaf_lengths(&body, |record, private| lengths.push((record, private))),
            Some(expected.leaves.len() as u64)
        );
        let leaves = expected.leaves.iter().map(|leaf| (leaf.record.len(), leaf.private.len()));
        assert!(leaves.eq(lengths));
        for cut in (0..body.len()).step_by(1_009).chain(0..body.len().min(99)) {
            assert_eq!(batch(body.slice(..cut)), None, "cut at {cut}");
            assert_eq!(leaf_lengths(&body[..cut], |_, _| ()), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_is_read_as_written() {
        let (after, batch) = sample();
        check(after, &batch);
        check(Head::default(), &Batch::default());
    }

    #[test]
    fn a_flipped_bit_is_never_a_frame_nor_an_end() {
        let mut frame = Vec::new();
        let batch = Batch { deletes: vec![b"key".to_vec()], ..Batch::default() };
        encode(Head::default(), &batch, &mut frame);
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(look(&flipped.into(), 0), Found::Bad, "bit {bit}");
        }
    }
}
