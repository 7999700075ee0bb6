//! Envelopes and certificates that must not be taken.

use bytes::Bytes;
use countersign_grants::{
    envelope::{self, pre_authentication_encoding},
    id::{Origin, PartnerName},
    key::PublicKey,
    statement::{
        Acknowledgement, Fetch, GrantChange, GrantTerms, Offer, PartnerKey, Provision, Statement, WorkingKey,
    },
};
use countersign_proto::statement::v1::{self as wire, Envelope, Signature};
use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, hex, list, text},
    keys::public_key,
    known::{self, STORY},
    statements::{envelope_json, read_envelope, verify},
};

pub(crate) const ENVELOPES: File = File {
    name: "envelopes.json",
    about: "Envelopes, the type that a place asks for, and the keys that may sign there. The reasons, in the order of the \
        checks: `present`, `payload_type`, `size`, `signature_count`, `signature_form`, `signature` or `key`, `parse`, \
        `canonical`, then the name of the field that is not of its form, then `broker`. They are the `check` in the \
        metadata of STATEMENT_INVALID.",
    make: envelopes,
    run: run_envelope,
};

pub(crate) const PARTNER_KEYS: File = File {
    name: "partner_keys.json",
    about: "A working key's certificate by an identity key, and a statement under it. `partner_key`: the certificate does not \
        verify; `partner_key_partner`: it is another partner's; `partner_key_time`: the statement's time lies outside the \
        key's; else the statement's own check.",
    make: partner_keys,
    run: run_partner_key,
};

fn run_envelope(input: &Value) -> Outcome {
    let keys: Vec<PublicKey> = list(input, "keys").iter().map(public_key).collect();
    let keys: Vec<&PublicKey> = keys.iter().collect();
    let broker = Origin::parse(text(input, "broker")).unwrap();
    let envelope = read_envelope(&input["envelope"]);
    match verify(text(input, "payload_type"), envelope.as_ref(), &keys, &broker) {
        Ok(verified) => Ok(json!({ "digest": verified.digest, "key_id": verified.signer })),
        Err(error) => Err(error.check().to_owned()),
    }
}

fn public(secret: u8) -> Value {
    hex(known::key(secret).public().as_bytes())
}

pub(crate) fn input(payload_type: &str, envelope: Option<&Envelope>, signers: &[u8]) -> Value {
    json!({
        "broker": known::ORIGIN,
        "payload_type": payload_type,
        "keys": signers.iter().map(|secret| public(*secret)).collect::<Vec<_>>(),
        "envelope": envelope.map(envelope_json),
    })
}

/// An envelope around any payload, signed by the recipient's working key.
pub(crate) fn signed(payload_type: &str, payload: impl Into<Bytes>) -> Envelope {
    let payload = payload.into();
    let key = known::key(known::HOPP);
    let signature = key.sign(&pre_authentication_encoding(payload_type, &payload));
    Envelope {
        payload_type: payload_type.to_owned(),
        payload,
        signatures: vec![Signature {
            key_id: key.id().to_string(),
            signature: Bytes::copy_from_slice(&signature),
        }],
    }
}

/// A field of bytes or text.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(number < 16 && bytes.len() < 128, "a key and a length of one byte each");
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn envelopes() -> Vec<Case> {
    let mut cases = of_envelopes();
    cases.extend(of_signatures());
    cases.extend(of_encodings());
    cases.extend(crate::fields::cases());
    cases
}

fn of_envelopes() -> Vec<Case> {
    const TYPE: &str = Fetch::PAYLOAD_TYPE;
    let good = STORY.envelope("fetch");
    let by = |envelope: &Envelope| input(TYPE, Some(envelope), &[known::HOPP]);
    let of_type = |payload_type: &str| signed(payload_type, good.payload.clone());
    let with = |signatures: Vec<Signature>| Envelope { signatures, ..good.clone() };
    let own = good.signatures[0].clone();
    let other = STORY.envelope("acknowledgement").signatures[0].clone();
    vec![
        Case::good("good", "As it is made.", by(good)),
        Case::bad("absent", "No envelope.", "present", input(TYPE, None, &[known::HOPP])),
        Case::bad(
            "another-type",
            "A provision's type, rightly signed, where a fetch belongs.",
            "payload_type",
            by(&of_type(Provision::PAYLOAD_TYPE)),
        ),
        Case::bad(
            "another-version",
            "Version 2 is another type.",
            "payload_type",
            by(&of_type("application/vnd.countersign.fetch.v2+protobuf")),
        ),
        Case::bad(
            "type-in-capitals",
            "Types are compared byte by byte.",
            "payload_type",
            by(&of_type("application/vnd.countersign.Fetch.v1+protobuf")),
        ),
        Case::bad(
            "too-large",
            "16,385 bytes of payload: one more than any statement has.",
            "size",
            by(&signed(TYPE, vec![0x0a; 16 * 1024 + 1])),
        ),
        Case::bad("no-signature", "Nobody signed.", "signature_count", by(&with(vec![]))),
        Case::bad(
            "five-signatures",
            "Four are allowed, known or not.",
            "signature_count",
            by(&with(vec![own.clone(), other.clone(), other.clone(), other.clone(), other.clone()])),
        ),
        Case::good(
            "four-signatures",
            "Three of them by keys that may not sign here: these are ignored.",
            by(&with(vec![other.clone(), other.clone(), own.clone(), other.clone()])),
        ),
        Case::bad(
            "short-signature",
            "63 bytes, under a key that nobody asked for: what is ignored is no place to hide bytes in.",
            "signature_form",
            by(&with(vec![
                own.clone(),
                Signature { signature: other.signature.slice(1..), ..other.clone() },
            ])),
        ),
        Case::bad(
            "bad-key-id",
            "A key id that is no thumbprint.",
            "signature_form",
            by(&with(vec![own.clone(), Signature { key_id: "key-1".into(), ..other.clone() }])),
        ),
        Case::bad("unknown-key", "Rightly signed, by a key that may not sign here.", "key", {
            input(TYPE, Some(good), &[known::SKYLARK])
        }),
        Case::bad(
            "another-key-id",
            "The right signature under another key's id: the id chooses the key.",
            "key",
            by(&with(vec![Signature { key_id: other.key_id, ..own.clone() }])),
        ),
        Case::bad("another-broker", "Signed for `broker.test/log`, and met at another broker.", "broker", {
            let mut input = by(good);
            input["broker"] = json!("other.test/log");
            input
        }),
    ]
}

fn of_signatures() -> Vec<Case> {
    const TYPE: &str = Fetch::PAYLOAD_TYPE;
    let good = STORY.envelope("fetch");
    let key_id = good.signatures[0].key_id.clone();
    let signature = |bytes: Vec<u8>| {
        let signatures = vec![Signature { key_id: key_id.clone(), signature: bytes.into() }];
        input(TYPE, Some(&Envelope { signatures, ..good.clone() }), &[known::HOPP])
    };
    let own = good.signatures[0].signature.to_vec();
    let bent = |at: usize| {
        let mut bytes = own.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut payload = good.payload.to_vec();
    payload[2] ^= 1;
    let source = known::key(known::SOURCE_LINK);
    let terms = STORY.envelope("source-terms");
    let second = known::key(known::RECIPIENT_LINK);
    let wrong_second = Signature {
        key_id: second.id().to_string(),
        signature: STORY.envelope("source-terms").signatures[0].signature.clone(),
    };
    let both = Envelope { signatures: vec![terms.signatures[0].clone(), wrong_second], ..terms.clone() };
    assert_eq!(terms.signatures[0].key_id, source.id().as_str());
    vec![
        Case::bad("bent-r", "One bit of the signature's first half.", "signature", signature(bent(0))),
        Case::bad("bent-s", "One bit of its second half.", "signature", signature(bent(32))),
        Case::bad("bent-payload", "One bit of the payload.", "signature", {
            let envelope = Envelope { payload: payload.into(), ..good.clone() };
            input(TYPE, Some(&envelope), &[known::HOPP])
        }),
        Case::bad(
            "s-plus-l",
            "S + L in the place of S: a second signature for one that was made.",
            "signature",
            signature([&own[..32], &plus_group_order(&own[32..])].concat()),
        ),
        Case::bad("all-zero", "R of order 4, and S = 0.", "signature", signature(vec![0; 64])),
        Case::bad(
            "small-r",
            "R is the neutral element and S = k·a: holds by the equation alone; RFC 8032 lets a verifier take it, strict ones \
             don't.",
            "signature",
            signature(small_r(&pre_authentication_encoding(TYPE, &good.payload))),
        ),
        Case::bad(
            "without-pae",
            "A signature over the payload alone.",
            "signature",
            signature(known::key(known::HOPP).sign(&good.payload).to_vec()),
        ),
        Case::bad(
            "of-another-type",
            "A signature over the same payload as an acknowledgement.",
            "signature",
            signature(
                known::key(known::HOPP)
                    .sign(&pre_authentication_encoding(Acknowledgement::PAYLOAD_TYPE, &good.payload))
                    .to_vec(),
            ),
        ),
        Case::bad(
            "one-good-one-bad",
            "Two keys may sign; one did, and what stands under the other is wrong: refused, not ignored.",
            "signature",
            input(GrantTerms::PAYLOAD_TYPE, Some(&both), &[known::SOURCE_LINK, known::RECIPIENT_LINK]),
        ),
    ]
}

/// Adds the order of the group to a little-endian scalar.
fn plus_group_order(scalar: &[u8]) -> Vec<u8> {
    let mut order = [0; 32];
    order[..16].copy_from_slice(&0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes());
    order[31] = 0x10;
    let mut carry = 0;
    let sum = scalar.iter().zip(order).map(|(one, two)| {
        let sum = u16::from(*one) + u16::from(two) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    });
    sum.collect()
}

/// The signature of the recipient's working key with r = 0.
fn small_r(encoding: &[u8]) -> Vec<u8> {
    use curve25519_dalek::scalar::{Scalar, clamp_integer};
    use sha2::{Digest as _, Sha512};
    let key = known::key(known::HOPP);
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let secret: [u8; 64] = Sha512::digest(key.to_secret().as_slice()).into();
    let secret = Scalar::from_bytes_mod_order(clamp_integer(*secret.first_chunk().unwrap()));
    let hash =
        Sha512::new().chain_update(neutral).chain_update(key.public().as_bytes()).chain_update(encoding);
    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let made = [neutral, (k * secret).to_bytes()].concat();
    let lax = ed25519_dalek::VerifyingKey::from_bytes(key.public().as_bytes()).unwrap();
    let lax = ed25519_dalek::Verifier::verify(
        &lax,
        encoding,
        &ed25519_dalek::Signature::from_slice(&made).unwrap(),
    );
    assert!(lax.is_ok(), "it is refused for its strictness alone");
    made
}

fn of_encodings() -> Vec<Case> {
    const TYPE: &str = GrantChange::PAYLOAD_TYPE;
    let good = &STORY.envelope("pause").payload;
    let case = |name: &str, comment, expected, payload: Vec<u8>| {
        Case::bad(name, comment, expected, input(TYPE, Some(&signed(TYPE, payload)), &[known::HOPP]))
    };
    let broker = field(1, known::ORIGIN.as_bytes());
    assert!(good.starts_with(&broker));
    let rest = &good[broker.len()..];
    let terms = &rest[..34];
    let after_terms = &rest[34..];
    assert_eq!(after_terms[..4], [0x18, 1, 0x20, 1], "sequence 1, PAUSE");
    vec![
        case(
            "not-protobuf",
            "A field that ends before its length.",
            "parse",
            good[..good.len() - 1].to_vec(),
        ),
        case("no-payload", "No bytes: every field is missing, the verb first.", "verb", vec![]),
        case(
            "group",
            "A field of a wire type that protobuf gave up.",
            "parse",
            [good, [0x7b].as_slice()].concat(),
        ),
        case("not-text", "A name that is not UTF-8.", "parse", [field(1, &[0xff]), rest.to_vec()].concat()),
        case(
            "unknown-field",
            "Field 15, which a change does not have: hidden terms must not verify.",
            "canonical",
            [good.as_ref(), &[0x78, 1]].concat(),
        ),
        case(
            "field-of-another-message",
            "Field 9 as text: known to other statements, not to this one.",
            "canonical",
            [good.as_ref(), &field(9, b"hidden")].concat(),
        ),
        case(
            "other-order",
            "The same fields in another order.",
            "canonical",
            [terms, &broker, after_terms].concat(),
        ),
        case(
            "field-twice",
            "The sequence twice; parsers take the last.",
            "canonical",
            [&broker, terms, &[0x18, 1, 0x18, 1], &after_terms[2..]].concat(),
        ),
        case(
            "default-value",
            "`erase` false, which is left out.",
            "canonical",
            [&broker, terms, &after_terms[..4], &[0x28, 0], &after_terms[4..]].concat(),
        ),
        case(
            "long-number",
            "The sequence 1 in two bytes.",
            "canonical",
            [&broker, terms, &[0x18, 0x81, 0x00], &after_terms[2..]].concat(),
        ),
        case(
            "long-bool",
            "A stop's `erase` as 2.",
            "canonical",
            [&broker, terms, &[0x18, 1, 0x20, 3, 0x28, 2], &after_terms[4..]].concat(),
        ),
    ]
}

fn run_partner_key(input: &Value) -> Outcome {
    let partner = PartnerName::parse(text(input, "partner")).unwrap();
    let broker = Origin::parse(text(input, "broker")).unwrap();
    let certificate = read_envelope(&input["certificate"]);
    let identity = public_key(&input["identity"]);
    let check = |error: countersign_grants::statement::KeyError| error.check().to_owned();
    let key = WorkingKey::certified(certificate.as_ref(), &identity, &partner, &broker).map_err(check)?;
    let offer = read_envelope(&input["offer"]);
    let offer = key.verify::<Offer>(offer.as_ref(), |offer| offer.time).map_err(check)?;
    Ok(json!({ "key_id": offer.signer().as_str(), "digest": offer.digest().to_hex() }))
}

fn partner_keys() -> Vec<Case> {
    let input = |certificate: Option<&Envelope>, offer: Option<&Envelope>| {
        json!({
            "broker": known::ORIGIN,
            "partner": "partners/hopp",
            "identity": public(known::HOPP_IDENTITY),
            "certificate": certificate.map(envelope_json),
            "offer": offer.map(envelope_json),
        })
    };
    let (certificate, offer) = (STORY.envelope("hopp-key"), STORY.envelope("offer"));
    let recertified = |bend: &dyn Fn(&mut wire::PartnerKey), secret: u8| {
        let mut message = wire::PartnerKey::decode(certificate.payload.clone()).unwrap();
        bend(&mut message);
        envelope::sign::<PartnerKey>(&message, &[&known::key(secret)])
    };
    let as_signed = |bend: &dyn Fn(&mut wire::PartnerKey)| recertified(bend, known::HOPP_IDENTITY);
    let elsewhere = as_signed(&|key| key.broker = "other.test/log".into());
    let of_skylark = as_signed(&|key| key.partner = "partners/skylark".into());
    let early = as_signed(&|key| key.not_after_ms = known::NOW_MS - 1);
    let late = as_signed(&|key| key.not_before_ms = known::NOW_MS + 1);
    let exact = as_signed(&|key| (key.not_before_ms, key.not_after_ms) = (known::NOW_MS, known::NOW_MS + 1));
    let by_itself = recertified(&|_| (), known::HOPP);
    vec![
        Case::good("good", "Certified, and signed within its time.", input(Some(certificate), Some(offer))),
        Case::good("first-moment", "The first millisecond is the key's.", input(Some(&exact), Some(offer))),
        Case::bad("no-certificate", "None.", "partner_key", input(None, Some(offer))),
        Case::bad(
            "by-itself",
            "The working key certifies itself.",
            "partner_key",
            input(Some(&by_itself), Some(offer)),
        ),
        Case::bad("elsewhere", "For another broker.", "partner_key", input(Some(&elsewhere), Some(offer))),
        Case::bad(
            "another-partner",
            "The same identity for another name.",
            "partner_key_partner",
            input(Some(&of_skylark), Some(offer)),
        ),
        Case::bad(
            "after-its-time",
            "Signed after the key's last moment.",
            "partner_key_time",
            input(Some(&early), Some(offer)),
        ),
        Case::bad(
            "before-its-time",
            "Signed before its first.",
            "partner_key_time",
            input(Some(&late), Some(offer)),
        ),
        Case::bad(
            "another-type",
            "A fetch where the offer belongs.",
            "payload_type",
            input(Some(certificate), Some(STORY.envelope("fetch"))),
        ),
        Case::bad(
            "another-key",
            "The offer under a key that is not the certified one.",
            "key",
            input(
                Some(&as_signed(&|key| {
                    key.public_key = Bytes::copy_from_slice(known::key(99).public().as_bytes());
                })),
                Some(offer),
            ),
        ),
    ]
}
