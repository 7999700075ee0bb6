//! A record, read from its bytes without a copy, and held to its one canonical encoding on the way.
//!
//! A checker reads every record of a log, so this is a parser of its own, several times as fast as the generated one. A
//! record is canonical if its fields stand in order, each once, none with its default value, every integer as short as it
//! can be, and nothing unknown beside them: exactly when decoding and encoding it again yields the same bytes. A test
//! holds the two against each other.

use countersign_proto::log::v1::{Kind, Result as Outcome};

/// The version of records that this checker reads.
const VERSION: u64 = 1;

/// The length of a record's random id.
const ID_BYTES: usize = 16;

/// The length of a tag and of a commitment.
pub(super) const HASH_BYTES: usize = 32;

/// What the rules need of a record. Borrows the leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf<'a> {
    pub(super) kind: Kind,
    pub(super) time_ms: u64,
    pub(super) source: &'a str,
    pub(super) recipient: &'a str,
    pub(super) purpose: &'a str,
    /// Source, recipient, purpose and catalogue as they are encoded: equal exactly if all four are.
    pub(super) parties: &'a [u8],
    pub(super) result: Outcome,
    pub(super) reason: &'a str,
    pub(super) tag: Option<&'a [u8; HASH_BYTES]>,
    pub(super) sequence: u64,
    pub(super) use_number: u64,
    /// Whether it says that it rests on something.
    pub(super) has_evidence: bool,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARecord {
    /// They end within a field.
    #[error("it ends within a field")]
    Truncated,
    /// They are not the one encoding of what they say.
    #[error("it is not in canonical encoding")]
    NotCanonical,
    /// There is a field that records of this version don't have.
    #[error("it has a field that records don't have")]
    UnknownField,
    /// Another version.
    #[error("its version is not {VERSION}")]
    Version,
    /// No kind that is known.
    #[error("its kind is unknown")]
    Kind,
    /// No result that is known.
    #[error("its result is unknown")]
    Outcome,
    /// A text is not UTF-8.
    #[error("a text in it is not UTF-8")]
    NotText,
    /// A field has another length than it must have.
    #[error("its {0} has another length than it must have")]
    Length(&'static str),
}

/// Reads a record.
pub(super) fn read(bytes: &[u8]) -> Result<Leaf<'_>, NotARecord> {
    let mut reader = Reader { rest: bytes, next: reader_key(bytes)? };
    let version = reader.integer(1)?;
    let kind = reader.integer(2)?;
    let time_ms = reader.integer(3)?;
    let before = bytes.len() - reader.start();
    let source = reader.text(4)?;
    let recipient = reader.text(5)?;
    let purpose = reader.text(6)?;
    let catalogue = reader.bytes(7)?;
    let parties = &bytes[before..bytes.len() - reader.start()];
    let result = reader.integer(8)?;
    let reason = reader.text(9)?;
    let tag = reader.bytes(10)?;
    let sequence = reader.integer(11)?;
    let use_number = reader.integer(12)?;
    let id = reader.bytes(13)?;
    let commitments = [reader.bytes(14)?, reader.bytes(15)?, reader.bytes(16)?];
    match reader.next {
        None => {}
        // Known numbers that come late are out of order or came twice.
        Some(Key { number: 1..=16, .. }) => return Err(NotARecord::NotCanonical),
        Some(_) => return Err(NotARecord::UnknownField),
    }
    if version != VERSION {
        return Err(NotARecord::Version);
    }
    let kind = i32::try_from(kind).ok().and_then(|kind| Kind::try_from(kind).ok());
    let kind = kind.filter(|kind| *kind != Kind::Unspecified).ok_or(NotARecord::Kind)?;
    let result = i32::try_from(result).ok().and_then(|result| Outcome::try_from(result).ok());
    let result = result.ok_or(NotARecord::Outcome)?;
    let hash_or_nothing = |bytes: &[u8], what| match bytes.len() {
        0 | HASH_BYTES => Ok(()),
        _ => Err(NotARecord::Length(what)),
    };
    hash_or_nothing(catalogue, "catalogue version")?;
    hash_or_nothing(tag, "grant tag")?;
    for commitment in commitments {
        hash_or_nothing(commitment, "commitment")?;
    }
    if id.len() != ID_BYTES {
        return Err(NotARecord::Length("id"));
    }
    let tag = tag.try_into().ok();
    let has_evidence = !commitments[2].is_empty();
    Ok(Leaf {
        kind,
        time_ms,
        source,
        recipient,
        purpose,
        parties,
        result,
        reason,
        tag,
        sequence,
        use_number,
        has_evidence,
    })
}

/// Whether bytes are one record, in its one encoding. For the fuzz targets.
#[doc(hidden)]
pub fn read_record(bytes: &[u8]) -> Result<(), NotARecord> {
    read(bytes).map(drop)
}

/// A field's number and wire type, and how many bytes were left before them.
#[derive(Clone, Copy)]
struct Key {
    number: u64,
    wire_type: u64,
    before: usize,
}

const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;

struct Reader<'a> {
    rest: &'a [u8],
    /// The field that comes next; its key is read already.
    next: Option<Key>,
}

/// The first key, which [`Reader`] starts from without having moved past it.
fn reader_key(bytes: &[u8]) -> Result<Option<Key>, NotARecord> {
    let mut rest = bytes;
    key(&mut rest)
}

impl<'a> Reader<'a> {
    /// How many bytes are left from the next field's key on.
    fn start(&self) -> usize {
        self.next.map_or(0, |key| key.before)
    }

    /// Moves past the key if it is of this field.
    fn enter(&mut self, number: u64, wire_type: u64) -> Result<bool, NotARecord> {
        match self.next {
            Some(key) if key.number == number => {
                if key.wire_type != wire_type {
                    return Err(NotARecord::NotCanonical);
                }
                // Field 16 and above have keys of two bytes.
                self.rest = &self.rest[if number < 16 { 1 } else { 2 }..];
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn integer(&mut self, number: u64) -> Result<u64, NotARecord> {
        if !self.enter(number, VARINT)? {
            return Ok(0);
        }
        let value = varint(&mut self.rest)?;
        self.next = reader_key(self.rest)?;
        // A default value is left out.
        if value == 0 { Err(NotARecord::NotCanonical) } else { Ok(value) }
    }

    fn bytes(&mut self, number: u64) -> Result<&'a [u8], NotARecord> {
        if !self.enter(number, LENGTH_DELIMITED)? {
            return Ok(&[]);
        }
        let length = varint(&mut self.rest)?;
        let length = usize::try_from(length).map_err(|_| NotARecord::Truncated)?;
        let (value, rest) = self.rest.split_at_checked(length).ok_or(NotARecord::Truncated)?;
        self.rest = rest;
        self.next = reader_key(rest)?;
        if value.is_empty() { Err(NotARecord::NotCanonical) } else { Ok(value) }
    }

    fn text(&mut self, number: u64) -> Result<&'a str, NotARecord> {
        std::str::from_utf8(self.bytes(number)?).map_err(|_| NotARecord::NotText)
    }
}

fn key(rest: &mut &[u8]) -> Result<Option<Key>, NotARecord> {
    if rest.is_empty() {
        return Ok(None);
    }
    let before = rest.len();
    let value = varint(rest)?;
    Ok(Some(Key { number: value >> 3, wire_type: value & 7, before }))
}

/// A base-128 integer in as few bytes as it takes.
fn varint(rest: &mut &[u8]) -> Result<u64, NotARecord> {
    let mut value = 0_u64;
    for (at, byte) in rest.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && *byte > 1 {
            return Err(NotARecord::NotCanonical);
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            if at > 0 && *byte == 0 {
                return Err(NotARecord::NotCanonical);
            }
            *rest = &rest[at + 1..];
            return Ok(value);
        }
        if at == 9 {
            return Err(NotARecord::NotCanonical);
        }
    }
    Err(NotARecord::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_proto::log::v1::Record;
    use prost::Message as _;

    fn record() -> Record {
        Record {
            version: 1,
            kind: Kind::Transfer.into(),
            time_ms: 1_700_000_000_123,
            source: "partners/skylark".into(),
            recipient: "partners/hopp".into(),
            purpose: "pickup_planning".into(),
            catalogue_version: vec![3; 32].into(),
            result: Outcome::Released.into(),
            reason: String::new(),
            grant_tag: vec![4; 32].into(),
            grant_sequence: 300,
            use_number: 12,
            record_id: vec![5; 16].into(),
            subject_commitment: vec![6; 32].into(),
            fields_commitment: vec![7; 32].into(),
            evidence_commitment: vec![8; 32].into(),
        }
    }

    /// The generated parser's opinion: that it decodes, and that encoding it again gives the same bytes.
    fn is_canonical(bytes: &[u8]) -> bool {
        Record::decode(bytes).is_ok_and(|record| record.encode_to_vec() == bytes)
    }

    #[test]
    fn it_reads_what_the_generated_parser_reads() {
        let bytes = record().encode_to_vec();
        let leaf = read(&bytes).expect("reads");
        assert_eq!((leaf.kind, leaf.result), (Kind::Transfer, Outcome::Released));
        assert_eq!((leaf.source, leaf.recipient), ("partners/skylark", "partners/hopp"));
        assert_eq!((leaf.time_ms, leaf.sequence, leaf.use_number), (1_700_000_000_123, 300, 12));
        assert_eq!((leaf.tag, leaf.reason, leaf.has_evidence), (Some(&[4; 32]), "", true));
        let other = Record { purpose: String::new(), ..record() }.encode_to_vec();
        assert_ne!(read(&other).expect("reads").parties, leaf.parties);
        let least =
            Record { version: 1, kind: 1, time_ms: 1, record_id: vec![1; 16].into(), ..Record::default() };
        let bytes = least.encode_to_vec();
        let leaf = read(&bytes).expect("reads");
        assert_eq!((leaf.tag, leaf.has_evidence), (None, false));
    }

    #[test]
    fn every_flipped_bit_is_judged_as_the_generated_parser_judges_it() {
        let bytes = record().encode_to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if read(&damaged).is_ok() {
                assert!(is_canonical(&damaged), "bit {bit}");
            } else if is_canonical(&damaged) {
                // Canonical, and refused for what it says.
                let refused = read(&damaged).expect_err("refused");
                let said = matches!(
                    refused,
                    NotARecord::Version | NotARecord::Kind | NotARecord::Outcome | NotARecord::Length(_)
                );
                assert!(said, "bit {bit}: {refused}");
            }
        }
    }

    #[test]
    fn other_encodings_of_the_same_are_refused() {
        let check = |bytes: Vec<u8>, expected: NotARecord| {
            assert!(!is_canonical(&bytes));
            assert_eq!(read(&bytes), Err(expected));
        };
        let good = record().encode_to_vec();
        check([good.as_slice(), &[0xf8, 0x01, 1]].concat(), NotARecord::UnknownField);
        check([good.as_slice(), &good[..2]].concat(), NotARecord::NotCanonical);
        check([&[0x08, 0x81, 0x00], &good[2..]].concat(), NotARecord::NotCanonical);
        check([&good[..2], &[0x10, 0x00], &good[4..]].concat(), NotARecord::NotCanonical);
        check([&good[2..4], &good[..2], &good[4..]].concat(), NotARecord::NotCanonical);
        check(good[..good.len() - 1].to_vec(), NotARecord::Truncated);
        assert_eq!(read(&[]), Err(NotARecord::Version));
    }
}
