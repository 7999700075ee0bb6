//! Private parts: what stands beside a record, sealed under a data key.
//!
//! A record about a customer is sealed under that customer's data key, which stands wrapped in a row; the sealed bytes
//! name the key by an id that says nothing. When the row goes, so does every private part under it, and nothing that
//! stays points to the person. A record about no customer is sealed under a house key.
//!
//! Bytes: `CSPP`, version 1, key kind (0 house, 1 customer, 2 erased), 16 bytes of key id (zero for the house), 12 of
//! nonce, ciphertext. Each record has its own key, derived from data key and record id, so no nonce can meet another.
//! Of an erased one all after the key id is zero: it is as long as it was, since places in a bundle go by lengths.

use bytes::Bytes;
use chacha20poly1305::{
    ChaCha20Poly1305, Nonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use countersign_grants::{
    id::Origin,
    time::{Entropy, draw},
};
use countersign_proto::{log::v1::Record, row::v1::PrivatePart};
use hkdf::Hkdf;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The length of every symmetric key in bytes.
pub const KEY_BYTES: usize = 32;

/// The length of a data key's id in bytes.
pub const DATA_KEY_ID_BYTES: usize = 16;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const MAGIC: &[u8; 4] = b"CSPP";
const VERSION: u8 = 1;
const HOUSE: u8 = 0;
const CUSTOMER: u8 = 1;
const ERASED: u8 = 2;
const HEADER_BYTES: usize = MAGIC.len() + 2 + DATA_KEY_ID_BYTES + NONCE_BYTES;

/// Nonce, key and tag.
const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// The broker's key-encryption key. No `Debug`; wipes itself.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Kek {
    secret: [u8; KEY_BYTES],
    /// What data keys are wrapped under, which follows from the secret.
    wrapping: [u8; KEY_BYTES],
}

/// The key of one customer's private parts, or of the house's. No `Debug`; wipes itself.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; KEY_BYTES]);

/// Names a data key, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataKeyId(pub [u8; DATA_KEY_ID_BYTES]);

/// Under which key a private part is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedUnder {
    /// The house's.
    House,
    /// A customer's.
    Customer(DataKeyId),
    /// A customer's that was destroyed, and the bytes with it.
    Erased(DataKeyId),
}

/// Why sealed bytes don't open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenPrivateError {
    /// Not of this form or version.
    #[error("not a private part of version {VERSION}")]
    Form,
    /// Another key, another record, or damage.
    #[error("the private part does not open for this record")]
    Sealed,
    /// What opened does not parse.
    #[error("what was sealed does not parse")]
    Content,
}

impl Kek {
    /// The key of 32 secret bytes.
    pub fn new(secret: [u8; KEY_BYTES]) -> Self {
        let wrapping = derive(&secret, &[], b"countersign/v1 data key");
        Self { secret, wrapping }
    }

    /// The key for records without a customer.
    pub fn house_key(&self) -> DataKey {
        DataKey(derive(&self.secret, &[], b"countersign/v1 house private parts"))
    }

    /// Draws a customer's data key, and wraps it.
    pub fn draw_data_key(&self, entropy: &dyn Entropy) -> (DataKey, Bytes) {
        let key = DataKey(draw(entropy));
        let nonce: [u8; NONCE_BYTES] = draw(entropy);
        let sealed = cipher(&self.wrapping)
            .encrypt(&Nonce::from(nonce), key.0.as_slice())
            .expect("32 bytes are far below the cipher's limit");
        (key, [nonce.as_slice(), &sealed].concat().into())
    }

    /// Opens a wrapped data key.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<DataKey, OpenPrivateError> {
        if wrapped.len() != WRAPPED_BYTES {
            return Err(OpenPrivateError::Form);
        }
        let (nonce, sealed) = wrapped.split_at(NONCE_BYTES);
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| OpenPrivateError::Form)?;
        let key = cipher(&self.wrapping)
            .decrypt(&Nonce::from(nonce), sealed)
            .map(Zeroizing::new)
            .map_err(|_| OpenPrivateError::Sealed)?;
        key.as_slice().try_into().map(DataKey).map_err(|_| OpenPrivateError::Form)
    }
}

impl DataKeyId {
    /// The id of a wrapped data key.
    pub fn of(wrapped: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(wrapped).into();
        let mut id = [0; DATA_KEY_ID_BYTES];
        id.copy_from_slice(&digest[..DATA_KEY_ID_BYTES]);
        Self(id)
    }
}

/// Seals what stands beside `record`, and binds it to that record of that log.
pub fn seal(
    key: &DataKey,
    under: SealedUnder,
    origin: &Origin,
    record: &Record,
    part: &PrivatePart,
    entropy: &dyn Entropy,
) -> Vec<u8> {
    let nonce: [u8; NONCE_BYTES] = draw(entropy);
    let plain = Zeroizing::new(part.encode_to_vec());
    let sealed = cipher(&record_key(key, record))
        .encrypt(&Nonce::from(nonce), Payload { msg: &plain, aad: &associated_data(origin, record) })
        .expect("a private part is far below the cipher's limit of 256 GiB");
    let (kind, id) = match under {
        SealedUnder::House => (HOUSE, [0; DATA_KEY_ID_BYTES]),
        SealedUnder::Customer(id) => (CUSTOMER, id.0),
        SealedUnder::Erased(id) => (ERASED, id.0),
    };
    [MAGIC.as_slice(), &[VERSION, kind], &id, &nonce, &sealed].concat()
}

/// Under which key these bytes are sealed.
pub fn sealed_under(sealed: &[u8]) -> Result<SealedUnder, OpenPrivateError> {
    let header = sealed.get(..HEADER_BYTES).ok_or(OpenPrivateError::Form)?;
    if !header.starts_with(MAGIC) || header[4] != VERSION {
        return Err(OpenPrivateError::Form);
    }
    let mut id = [0; DATA_KEY_ID_BYTES];
    id.copy_from_slice(&header[6..6 + DATA_KEY_ID_BYTES]);
    match header[5] {
        HOUSE => Ok(SealedUnder::House),
        CUSTOMER => Ok(SealedUnder::Customer(DataKeyId(id))),
        ERASED => Ok(SealedUnder::Erased(DataKeyId(id))),
        _ => Err(OpenPrivateError::Form),
    }
}

/// What is left of a customer's private part once the key is gone: as long, and empty. Nothing for one that is not sealed
/// under a customer's key.
pub fn blanked(sealed: &[u8]) -> Option<Vec<u8>> {
    let Ok(SealedUnder::Customer(_)) = sealed_under(sealed) else { return None };
    let mut blank = vec![0; sealed.len()];
    let kept = HEADER_BYTES - NONCE_BYTES;
    blank[..kept].copy_from_slice(&sealed[..kept]);
    blank[MAGIC.len() + 1] = ERASED;
    Some(blank)
}

/// What is to be left of a private part on disk, if that is less than stands there: of one whose data key is gone, the
/// [blank](blanked). `stands` tells whether a row of this key stands.
pub fn left_of<E>(
    sealed: &[u8],
    stands: impl FnOnce(&[u8]) -> Result<bool, E>,
) -> Result<Option<Vec<u8>>, E> {
    let Ok(SealedUnder::Customer(id)) = sealed_under(sealed) else { return Ok(None) };
    Ok(if stands(crate::rows::data_key(id).as_bytes())? { None } else { blanked(sealed) })
}

/// Opens what stands beside `record`.
pub fn open(
    key: &DataKey,
    origin: &Origin,
    record: &Record,
    sealed: &[u8],
) -> Result<PrivatePart, OpenPrivateError> {
    sealed_under(sealed)?;
    let (header, sealed) = sealed.split_at(HEADER_BYTES);
    let nonce: [u8; NONCE_BYTES] =
        header[HEADER_BYTES - NONCE_BYTES..].try_into().map_err(|_| OpenPrivateError::Form)?;
    let plain = cipher(&record_key(key, record))
        .decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: &associated_data(origin, record) })
        .map(Zeroizing::new)
        .map_err(|_| OpenPrivateError::Sealed)?;
    PrivatePart::decode(plain.as_slice()).map_err(|_| OpenPrivateError::Content)
}

/// Origin ‖ 00 ‖ record id ‖ the three commitments, each after its length, since one can be absent.
fn associated_data(origin: &Origin, record: &Record) -> Vec<u8> {
    let mut data = origin.as_str().as_bytes().to_vec();
    data.push(0);
    for piece in [
        &record.record_id,
        &record.subject_commitment,
        &record.fields_commitment,
        &record.evidence_commitment,
    ] {
        data.push(
            u8::try_from(piece.len())
                .expect("ids and commitments are at most 32 bytes, drawn or hashed here"),
        );
        data.extend_from_slice(piece);
    }
    data
}

fn record_key(key: &DataKey, record: &Record) -> Zeroizing<[u8; KEY_BYTES]> {
    Zeroizing::new(derive(&key.0, &record.record_id, b"countersign/v1 private part"))
}

fn cipher(key: &[u8; KEY_BYTES]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&(*key).into())
}

fn derive(secret: &[u8; KEY_BYTES], salt: &[u8], info: &[u8]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand(info, &mut key)
        .expect("HKDF-SHA256 gives up to 8,160 bytes");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    fn setting() -> (Kek, Counting, Origin, Record, PrivatePart) {
        let record = Record {
            record_id: Bytes::from_static(&[1; 16]),
            subject_commitment: Bytes::from_static(&[2; 32]),
            ..Record::default()
        };
        let part = PrivatePart { customer: "customers/x".into(), ..PrivatePart::default() };
        let origin = Origin::parse("broker.example/log").expect("an origin");
        (Kek::new([9; 32]), Counting(1.into()), origin, record, part)
    }

    #[test]
    fn opens_for_its_record_and_key_alone() {
        let (kek, entropy, origin, record, part) = setting();
        let (key, wrapped) = kek.draw_data_key(&entropy);
        let under = SealedUnder::Customer(DataKeyId::of(&wrapped));
        let sealed = seal(&key, under, &origin, &record, &part, &entropy);

        assert_eq!(sealed_under(&sealed), Ok(under));
        let unwrapped = kek.unwrap(&wrapped).expect("wrapped here");
        assert_eq!(open(&unwrapped, &origin, &record, &sealed), Ok(part.clone()));

        let other = Record { record_id: Bytes::from_static(&[3; 16]), ..record.clone() };
        assert_eq!(open(&key, &origin, &other, &sealed), Err(OpenPrivateError::Sealed));
        let other = Record { subject_commitment: Bytes::new(), ..record.clone() };
        assert_eq!(open(&key, &origin, &other, &sealed), Err(OpenPrivateError::Sealed));
        let elsewhere = Origin::parse("other.example/log").expect("an origin");
        assert_eq!(open(&key, &elsewhere, &record, &sealed), Err(OpenPrivateError::Sealed));
        assert_eq!(open(&kek.house_key(), &origin, &record, &sealed), Err(OpenPrivateError::Sealed));
    }

    #[test]
    fn damage_is_refused_wherever_it_is() {
        let (kek, entropy, origin, record, part) = setting();
        let key = kek.house_key();
        let sealed = seal(&key, SealedUnder::House, &origin, &record, &part, &entropy);
        assert_eq!(open(&key, &origin, &record, &sealed), Ok(part));
        for at in (0..6).chain(HEADER_BYTES - NONCE_BYTES..sealed.len()) {
            let mut damaged = sealed.clone();
            damaged[at] ^= 0x80;
            assert!(open(&key, &origin, &record, &damaged).is_err(), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert!(open(&key, &origin, &record, &sealed[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_blank_keeps_length_and_key_id_alone() {
        let (kek, entropy, origin, record, part) = setting();
        let (key, wrapped) = kek.draw_data_key(&entropy);
        let id = DataKeyId::of(&wrapped);
        let sealed = seal(&key, SealedUnder::Customer(id), &origin, &record, &part, &entropy);
        let blank = blanked(&sealed).expect("a customer's");
        assert_eq!(sealed_under(&blank), Ok(SealedUnder::Erased(id)));
        assert_eq!(blank.len(), sealed.len());
        assert!(blank[HEADER_BYTES - NONCE_BYTES..].iter().all(|byte| *byte == 0));
        assert_eq!(open(&key, &origin, &record, &blank), Err(OpenPrivateError::Sealed));
        assert_eq!(blanked(&blank), None, "once is enough");
        let house = seal(&kek.house_key(), SealedUnder::House, &origin, &record, &part, &entropy);
        assert_eq!(blanked(&house), None);
    }

    #[test]
    fn another_kek_unwraps_nothing() {
        let (kek, entropy, ..) = setting();
        let (_, wrapped) = kek.draw_data_key(&entropy);
        assert!(Kek::new([8; 32]).unwrap(&wrapped).is_err());
        assert!(kek.unwrap(&wrapped[1..]).is_err());
    }
}
