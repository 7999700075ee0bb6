//! How the fuzz targets and the vectors of `tests/` reach the parsers and the sealing of this crate. Nothing else calls
//! these.

use countersign_grants::{statement::SEALING_KEY_BYTES, time::Entropy};
use countersign_proto::statement::v1::SealedFields;

use crate::{sealing, value::Value};

pub use crate::{auditor::read_record, book::read_frames};

/// The public key of the opening key that is derived from this material.
pub fn sealing_key(material: &[u8; 32]) -> [u8; SEALING_KEY_BYTES] {
    *sealing::OpeningKey::derive(material).public()
}

/// Pads and seals values to a key, in order; says why not.
pub fn seal(
    entropy: &dyn Entropy,
    public: &[u8; SEALING_KEY_BYTES],
    info: &[u8],
    values: &[(String, Value)],
) -> Result<SealedFields, String> {
    let values: Vec<_> = values.iter().map(|(field, value)| (field.as_str(), value)).collect();
    sealing::seal(entropy, public, info, values.into_iter()).map_err(|error| error.to_string())
}

/// Opens sealed fields with the key derived from this material; says why not.
pub fn open(material: &[u8; 32], sealed: &SealedFields, info: &[u8]) -> Result<Vec<Value>, String> {
    sealing::OpeningKey::derive(material).open(sealed, info).map_err(|error| error.to_string())
}
