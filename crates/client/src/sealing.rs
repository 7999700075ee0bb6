//! HPKE (RFC 9180): base mode, X25519, HKDF-SHA256, ChaCha20-Poly1305. All that a seal binds stands in `info`; `aad` is
//! empty, and one context seals the fields of one answer in their order.

mod x25519;

use std::convert::Infallible;

use countersign_grants::{
    sealing::{self, NotPadded, TooLong},
    statement::SEALING_KEY_BYTES,
    time::Entropy,
};
use countersign_proto::statement::v1::{SealedField, SealedFields};
use hpke::{
    Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _,
    aead::ChaCha20Poly1305,
    kdf::HkdfSha256,
    rand_core::{TryCryptoRng, TryRng},
};
use zeroize::Zeroizing;

use self::x25519::X25519Kem as Kem;
use crate::{system::System, value::Value};

/// A key for the answer to one fetch. It wipes itself.
pub struct OpeningKey {
    secret: <Kem as hpke::Kem>::PrivateKey,
    public: [u8; SEALING_KEY_BYTES],
}

/// Why sealed fields don't open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The encapsulated key is none.
    #[error("the encapsulated key is no X25519 key")]
    Key,
    /// A ciphertext is of another seal, or in another place.
    #[error("field {index} was not sealed for this fetch")]
    Ciphertext {
        /// Which field.
        index: usize,
    },
    /// What was sealed is not padded as it must be.
    #[error("field {index}: {source}")]
    Padding {
        /// Which field.
        index: usize,
        /// What is wrong.
        source: NotPadded,
    },
}

/// Why values can't be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("the sealing key is no X25519 key")]
    Key,
    #[error(transparent)]
    TooLong(TooLong),
}

impl OpeningKey {
    /// Draws one.
    pub fn draw(system: &System) -> Self {
        Self::derive(&Zeroizing::new(system.draw::<32>()))
    }

    /// RFC 9180's `DeriveKeyPair`.
    pub(crate) fn derive(material: &[u8; 32]) -> Self {
        let (secret, public) = Kem::derive_keypair(material);
        Self { secret, public: public.to_bytes().into() }
    }

    /// The secret half, for vectors.
    pub(crate) fn secret(&self) -> [u8; SEALING_KEY_BYTES] {
        self.secret.to_bytes().into()
    }

    /// The public half, which the fetch carries.
    pub fn public(&self) -> &[u8; SEALING_KEY_BYTES] {
        &self.public
    }

    /// Opens the fields in their order. Call it after everything else has verified.
    pub fn open(&self, sealed: &SealedFields, info: &[u8]) -> Result<Vec<Value>, OpenError> {
        let key = <Kem as hpke::Kem>::EncappedKey::from_bytes(&sealed.encapsulated_key);
        let key = key.map_err(|_| OpenError::Key)?;
        let mut context = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &self.secret,
            &key,
            info,
        )
        .map_err(|_| OpenError::Key)?;
        let mut values = Vec::with_capacity(sealed.fields.len());
        for (index, field) in sealed.fields.iter().enumerate() {
            let padded = context.open(&field.ciphertext, &[]).map_err(|_| OpenError::Ciphertext { index })?;
            let padded = Zeroizing::new(padded);
            let value = sealing::unpad(&padded).map_err(|source| OpenError::Padding { index, source })?;
            values.push(Value::from(value));
        }
        Ok(values)
    }
}

/// Pads and seals the values, in order.
pub(crate) fn seal<'a>(
    entropy: &dyn Entropy,
    public: &[u8; SEALING_KEY_BYTES],
    info: &[u8],
    values: impl ExactSizeIterator<Item = (&'a str, &'a Value)>,
) -> Result<SealedFields, SealError> {
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(public).map_err(|_| SealError::Key)?;
    let (key, mut context) = hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &public,
        info,
        &mut Draws(entropy),
    )
    .map_err(|_| SealError::Key)?;
    let mut fields = Vec::with_capacity(values.len());
    for (field, value) in values {
        let padded = Zeroizing::new(sealing::pad(value.as_bytes()).map_err(SealError::TooLong)?);
        let ciphertext =
            context.seal(&padded, &[]).expect("a context seals 2^64 messages, and an answer has at most 32");
        fields.push(SealedField { field: field.to_owned(), ciphertext: ciphertext.into() });
    }
    Ok(SealedFields { encapsulated_key: key.to_bytes().to_vec().into(), fields })
}

/// Randomness in the form that `hpke` takes.
struct Draws<'a>(&'a dyn Entropy);

impl TryRng for Draws<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Draws<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(info: &[u8], key: &OpeningKey) -> SealedFields {
        let values = [("trip.flight_no", Value::from("SK 17")), ("trip.terminal", Value::from("B"))];
        let values = values.iter().map(|(field, value)| (*field, value)).collect::<Vec<_>>();
        seal(System::real().entropy.as_ref(), key.public(), info, values.into_iter()).expect("seals")
    }

    #[test]
    fn what_is_sealed_opens_for_its_key_and_info_alone() {
        let (key, other) = (OpeningKey::draw(&System::real()), OpeningKey::draw(&System::real()));
        let fields = sealed(b"info", &key);
        let opened = key.open(&fields, b"info").expect("opens");
        assert_eq!(opened.iter().map(|value| value.as_str()).collect::<Vec<_>>(), [Some("SK 17"), Some("B")]);
        assert_eq!(key.open(&fields, b"infos"), Err(OpenError::Ciphertext { index: 0 }));
        assert_eq!(other.open(&fields, b"info"), Err(OpenError::Ciphertext { index: 0 }));
        let mut swapped = fields.clone();
        swapped.fields.swap(0, 1);
        assert_eq!(key.open(&swapped, b"info"), Err(OpenError::Ciphertext { index: 0 }));
        let mut short = fields;
        short.encapsulated_key = short.encapsulated_key.slice(1..);
        assert_eq!(key.open(&short, b"info"), Err(OpenError::Key));
    }

    #[test]
    fn a_long_value_and_a_weak_key_are_refused() {
        let key = OpeningKey::draw(&System::real());
        let long = Value::from(vec![0; Value::MAX_BYTES + 1]);
        let entropy = System::real().entropy;
        let done = seal(entropy.as_ref(), key.public(), b"", [("a.b", &long)].into_iter());
        assert_eq!(done, Err(SealError::TooLong(TooLong { bytes: Value::MAX_BYTES + 1 })));
        assert_eq!(seal(entropy.as_ref(), &[0; 32], b"", [].into_iter()), Err(SealError::Key));
    }
}
