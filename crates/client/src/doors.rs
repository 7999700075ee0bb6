//! How the fuzz targets and the vectors of `tests/` reach the parsers and the sealing of this crate. Nothing else calls
//! these.

use countersign_grants::{
    envelope,
    id::SubjectHandle,
    statement::{GrantChange, GrantTerms, SEALING_KEY_BYTES},
    time::Entropy,
};
use countersign_proto::statement::v1::{Envelope, SealedFields};

use crate::{
    book::{Entry, Side, State, Unadmitted, envelope_bytes},
    sealing,
    value::Value,
};

pub use crate::{auditor::read_record, book::read_frames};

/// The public key of the opening key that is derived from this material.
pub fn sealing_key(material: &[u8; 32]) -> [u8; SEALING_KEY_BYTES] {
    *sealing::OpeningKey::derive(material).public()
}

/// The secret key that is derived from this material.
pub fn sealing_secret(material: &[u8; 32]) -> [u8; SEALING_KEY_BYTES] {
    sealing::OpeningKey::derive(material).secret()
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

/// Enters terms into an empty book, and then changes, as if each signature had verified; says which change does not fit,
/// and why.
pub fn enter_changes(
    acceptance: &Envelope,
    terms: &Envelope,
    changes: &[Envelope],
) -> Result<(), (usize, &'static str)> {
    let readable = "the vectors hold readable statements";
    let partner = envelope::peek::<GrantTerms>(Some(terms)).expect(readable).source;
    let (link, grant) = (*envelope::digest(acceptance).as_bytes(), envelope::digest(terms));
    let mut book = State::default();
    let opening = [
        Entry::Linked {
            link,
            subject: SubjectHandle::of(&partner, [0; 16]).to_string(),
            acceptance: envelope_bytes(acceptance),
            confirmation: Vec::new(),
        },
        Entry::Granted {
            side: Side::Source,
            link,
            terms: envelope_bytes(terms),
            salt: [0; 32],
            offer: Vec::new(),
            offer_key: Vec::new(),
        },
    ];
    for entry in opening {
        book.apply(entry).expect(readable);
    }
    for (at, change) in changes.iter().enumerate() {
        if envelope::peek::<GrantChange>(Some(change)).expect(readable).terms != grant {
            return Err((at, "terms"));
        }
        let entry = Entry::Changed { grant: *grant.as_bytes(), change: envelope_bytes(change) };
        book.admits(&entry).map_err(|unadmitted| match unadmitted {
            Unadmitted::Sequence { .. } => (at, "sequence"),
            Unadmitted::Previous => (at, "previous"),
            Unadmitted::Stopped => (at, "stopped"),
            other => panic!("a change is not refused for this: {other}"),
        })?;
        book.apply(entry).expect(readable);
    }
    Ok(())
}
