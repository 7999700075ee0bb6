//! How the fuzz targets of `tests/fuzz` reach the parsers of this crate. Nothing else calls these.

use bytes::Bytes;
use countersign_store::{Batch, Head};

use crate::journal::frame::{self, Found};

/// The frame that stands at the beginning of these bytes: what it says, and the bytes that writing the same again gives.
pub fn journal_frame(segment: &Bytes) -> Option<(Head, Batch, Vec<u8>)> {
    let Found::Body(body) = frame::look(segment, 0) else { return None };
    let (head, rest) = frame::head(body)?;
    let batch = frame::batch(rest)?;
    let mut again = Vec::new();
    frame::encode(head, &batch, &mut again);
    Some((head, batch, again))
}

/// A frame around these bytes, with checksums that hold: so that a fuzzer gets past them.
pub fn journal_framed(body: &[u8]) -> Bytes {
    let mut framed = (body.len() as u32).to_le_bytes().to_vec(); // a fuzzer's inputs are far below 4 GiB
    framed.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    framed.extend_from_slice(&crc32c::crc32c(&framed).to_le_bytes());
    framed.extend_from_slice(body);
    framed.into()
}

/// Whether a whole frame stands anywhere after a place.
pub fn journal_any_after(segment: &Bytes, at: usize) -> bool {
    frame::any_after(segment, at)
}
