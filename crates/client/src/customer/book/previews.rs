//! What the customer looked at before answering: marks, by which a transfer is compared.

use countersign_grants::{
    catalogue::FieldPath, digest::Digest, id::NotAName, statement::MARK_BYTES, time::Timestamp,
};

use crate::customer::entry::Entry;

/// A look at what would leave. The values themselves are not kept: a mark for each tells whether it is another one later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewRow {
    /// SHA-256 of the preview.
    pub preview: Digest,
    /// SHA-256 of the grant request.
    pub request: Digest,
    /// SHA-256 of the offer.
    pub offer: Digest,
    /// When the customer looked.
    pub time: Timestamp,
    /// By field, what its value came to under the preview's comparison key.
    pub(crate) marks: Vec<(FieldPath, [u8; MARK_BYTES])>,
}

impl PreviewRow {
    pub(super) fn read(
        (preview, request, offer): ([u8; 32], [u8; 32], [u8; 32]),
        time_ms: u64,
        marks: Vec<(String, [u8; MARK_BYTES])>,
    ) -> Result<Self, String> {
        let marks = marks.into_iter().map(|(field, mark)| Ok((FieldPath::parse(&field)?, mark)));
        let marks = marks.collect::<Result<_, NotAName>>().map_err(|error| error.to_string())?;
        let time = Timestamp::from_millis(time_ms);
        Ok(Self { preview: preview.into(), request: request.into(), offer: offer.into(), time, marks })
    }

    pub(crate) fn entry(&self) -> Entry {
        Entry::Previewed {
            preview: *self.preview.as_bytes(),
            request: *self.request.as_bytes(),
            offer: *self.offer.as_bytes(),
            time_ms: self.time.as_millis(),
            marks: self.marks.iter().map(|(field, mark)| (field.to_string(), *mark)).collect(),
        }
    }
}
