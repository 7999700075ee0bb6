//! Padding, sealing, and what an answer must hold.

use countersign_client::{Value as FieldValue, doors};
use countersign_grants::{
    digest::Digest,
    sealing,
    statement::{Fetch, Provision, Statement, check_asked},
};
use countersign_proto::statement::v1::{self as wire, SealedField, SealedFields};
use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, array, bytes, hex, list, texts},
    known::{self, Fixed, STORY},
};

pub(crate) const PADDING: File = File {
    name: "padding.json",
    about: "Length in two bytes, big-endian, the value, zeros up to 64, 256, 1,024 or 4,096 bytes. `too_long`: over 4,094 \
        bytes; `padding`: not the one padding of a value.",
    make: padding,
    run: run_padding,
};

pub(crate) const SEALING: File = File {
    name: "sealing.json",
    about: "HPKE (RFC 9180), base mode: DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, ChaCha20Poly1305 0x0003. One \
        context per answer, the fields in order, `aad` empty. Cases with `values` seal: the sender's ephemeral key is \
        DeriveKeyPair(`ephemeral_material`). Cases with `encapsulated_key` open: the recipient's key is \
        DeriveKeyPair(`material`), whose serialized (clamped) secret key is `secret_key`. `info` is put together of terms, fetch and fields. \
        `open`: it does not open; `seal`: it can't be sealed.",
    make: seals,
    run: run_seal,
};

pub(crate) const ANSWERS: File = File {
    name: "answers.json",
    about: "The sealed fields of an answer, against the fetch that asked and the provision that the source signed. In the \
        order of the checks: `fetch`: the provision is for another fetch; `sealed`: it is of other sealed fields; \
        `sealed_fields`: they are not exactly the fields that were asked for, in order.",
    make: answers,
    run: run_answer,
};

fn run_padding(input: &Value) -> Outcome {
    if input.get("value").is_some() {
        let padded = sealing::pad(&bytes(input, "value")).map_err(|_| "too_long".to_owned())?;
        return Ok(json!({ "padded": hex(padded) }));
    }
    let value = sealing::unpad(&bytes(input, "padded")).map_err(|_| "padding".to_owned())?;
    Ok(json!({ "value": hex(value) }))
}

fn padding() -> Vec<Case> {
    let pad = |length: usize| json!({ "value": hex(vec![0x61; length]) });
    let unpad = |padded: &[u8]| json!({ "padded": hex(padded) });
    let padded = sealing::pad(b"SK 17").unwrap();
    let with = |at: usize, byte: u8| {
        let mut padded = padded.clone();
        padded[at] = byte;
        padded
    };
    vec![
        Case::good("empty", "No bytes: 64.", pad(0)),
        Case::good("62", "The longest that is padded to 64.", pad(62)),
        Case::good("63", "One more: 256.", pad(63)),
        Case::good("255", "One more than 256 takes: 1,024.", pad(255)),
        Case::bad("4095", "One more than 4,096 takes.", "too_long", pad(4_095)),
        Case::good("unpad", "A value in its padding.", unpad(&padded)),
        Case::bad("last-byte", "The last byte is not zero.", "padding", unpad(&with(63, 1))),
        Case::bad(
            "first-zero",
            "The first byte behind the value is not zero.",
            "padding",
            unpad(&with(7, 1)),
        ),
        Case::bad("long-length", "A length beyond the padding.", "padding", unpad(&with(1, 63))),
        Case::bad("length-of-next", "A length whose padding would be 256.", "padding", unpad(&with(0, 1))),
        Case::bad("63-bytes", "No padded size.", "padding", unpad(&padded[..63])),
        Case::bad("larger-class", "A short value padded to 256.", "padding", {
            unpad(&[padded.as_slice(), &[0; 192]].concat())
        }),
        Case::bad("one-byte", "No length.", "padding", unpad(&[0])),
        Case::bad("nothing", "No bytes.", "padding", unpad(&[])),
    ]
}

fn info(input: &Value) -> Vec<u8> {
    let fields = known::paths(&texts(input, "fields"));
    sealing::info(Digest::from(array(input, "terms")), Digest::from(array(input, "fetch")), &fields)
}

fn run_seal(input: &Value) -> Outcome {
    let info = info(input);
    let shown =
        |sealed: &SealedFields| sealed.fields.iter().map(|field| hex(&field.ciphertext)).collect::<Vec<_>>();
    if input.get("values").is_some() {
        let values: Vec<(String, FieldValue)> = texts(input, "fields")
            .into_iter()
            .zip(list(input, "values"))
            .map(|(field, value)| (field, FieldValue::from(crate::case::read_hex(value).to_vec())))
            .collect();
        let entropy = Fixed(array::<32>(input, "ephemeral_material")[0]);
        let sealed = doors::seal(&entropy, &array(input, "public_key"), &info, &values);
        let sealed = sealed.map_err(|_| "seal".to_owned())?;
        return Ok(json!({
            "info": hex(info),
            "encapsulated_key": hex(&sealed.encapsulated_key),
            "ciphertexts": shown(&sealed),
            "sealed_fields": hex(sealed.encode_to_vec()),
            "sealed_digest": Digest::of(&sealed.encode_to_vec()).to_hex(),
        }));
    }
    assert_eq!(doors::sealing_secret(&array(input, "material")), array::<32>(input, "secret_key"));
    let fields = texts(input, "fields").into_iter().zip(list(input, "ciphertexts"));
    let sealed = SealedFields {
        encapsulated_key: bytes(input, "encapsulated_key"),
        fields: fields
            .map(|(field, ciphertext)| SealedField { field, ciphertext: crate::case::read_hex(ciphertext) })
            .collect(),
    };
    let values = doors::open(&array(input, "material"), &sealed, &info).map_err(|_| "open".to_owned())?;
    Ok(json!({ "values": values.iter().map(|value| hex(value.as_bytes())).collect::<Vec<_>>() }))
}

fn seals() -> Vec<Case> {
    let (terms, fetch) = (STORY.digest("source-terms"), STORY.digest("fetch"));
    let public = doors::sealing_key(&known::OPENING);
    let seal = |public: [u8; 32], fields: &[&str], values: &[&[u8]]| {
        json!({
            "terms": terms.to_hex(), "fetch": fetch.to_hex(), "fields": fields,
            "public_key": hex(public),
            "ephemeral_material": hex([known::EPHEMERAL; 32]),
            "values": values.iter().map(hex).collect::<Vec<_>>(),
        })
    };
    let open = json!({
        "terms": terms.to_hex(), "fetch": fetch.to_hex(), "fields": known::FIELDS,
        "material": hex(known::OPENING),
        "secret_key": hex(doors::sealing_secret(&known::OPENING)),
        "encapsulated_key": hex(&STORY.sealed.encapsulated_key),
        "ciphertexts": STORY.sealed.fields.iter().map(|field| hex(&field.ciphertext)).collect::<Vec<_>>(),
    });
    let with = |key: &str, value: Value| {
        let mut input = open.clone();
        input[key] = value;
        input
    };
    let ciphertexts = |bend: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut all = STORY.sealed.fields.iter().map(|field| field.ciphertext.to_vec()).collect();
        bend(&mut all);
        with("ciphertexts", json!(all.iter().map(hex).collect::<Vec<_>>()))
    };
    let [one, two] = known::FIELDS;
    let [flight, airport] = known::VALUES;
    let bad = |name: &str, comment, input| Case::bad(name, comment, "open", input);
    vec![
        Case::good(
            "seal",
            "The story's two values.",
            seal(public, &[one, two], &[flight.as_bytes(), airport.as_bytes()]),
        ),
        Case::good("seal-empty", "An empty value.", seal(public, &[one], &[b""])),
        Case::good("seal-classes", "Values of 62 and 63 bytes: ciphertexts of 80 and 272.", {
            seal(public, &[one, two], &[&[0x61; 62], &[0x62; 63]])
        }),
        Case::bad(
            "seal-to-zero",
            "A sealing key of small order: the shared secret would be zero.",
            "seal",
            seal([0; 32], &[one], &[b"x"]),
        ),
        Case::bad("seal-long", "4,095 bytes.", "seal", seal(public, &[one], &[&[0; 4_095]])),
        Case::good("open", "The story's answer.", open.clone()),
        bad("other-terms", "Sealed under other terms.", with("terms", json!(Digest::of(b"other").to_hex()))),
        bad("other-fetch", "Sealed for another fetch.", with("fetch", json!(Digest::of(b"other").to_hex()))),
        bad("other-order", "The same fields asked for in another order.", with("fields", json!([two, one]))),
        bad("other-fields", "Other fields.", with("fields", json!([one, "trip.eta"]))),
        bad("swapped", "The ciphertexts in each other's place.", ciphertexts(&|all| all.swap(0, 1))),
        bad("second-alone", "The second ciphertext as the first: one context, in order.", {
            ciphertexts(&|all| drop(all.remove(0)))
        }),
        bad("bent", "One bit of a ciphertext.", ciphertexts(&|all| all[1][0] ^= 1)),
        bad("bent-tag", "One bit of a tag.", ciphertexts(&|all| *all[0].last_mut().unwrap() ^= 1)),
        bad("cut", "A ciphertext without its last byte.", ciphertexts(&|all| all[0].truncate(79))),
        bad("short-key", "An encapsulated key of 31 bytes.", {
            with("encapsulated_key", hex(&STORY.sealed.encapsulated_key[1..]))
        }),
        bad("zero-key", "An encapsulated key of small order.", with("encapsulated_key", hex([0; 32]))),
        bad("another-recipient", "Somebody else's key.", {
            let mut input = with("material", hex([99; 32]));
            input["secret_key"] = hex(doors::sealing_secret(&[99; 32]));
            input
        }),
    ]
}

fn run_answer(input: &Value) -> Outcome {
    let (fetch, provision) = (bytes(input, "fetch"), bytes(input, "provision"));
    let sealed = bytes(input, "sealed_fields");
    let asked = Fetch::parse(wire::Fetch::decode(fetch.clone()).unwrap()).unwrap();
    let said = Provision::parse(wire::Provision::decode(provision).unwrap()).unwrap();
    if said.fetch != Digest::of(&fetch) {
        return Err("fetch".to_owned());
    }
    if said.sealed != Digest::of(&sealed) {
        return Err("sealed".to_owned());
    }
    let fields = SealedFields::decode(sealed).map_err(|_| "sealed_fields".to_owned())?;
    check_asked(&asked, &fields).map(|()| Value::Null).map_err(|error| error.field.to_owned())
}

fn answers() -> Vec<Case> {
    let provision = &STORY.envelope("provision").payload;
    let good = json!({
        "fetch": hex(&STORY.envelope("fetch").payload),
        "provision": hex(provision),
        "sealed_fields": hex(STORY.sealed.encode_to_vec()),
    });
    // What a source signs of other sealed fields.
    let resealed = |bend: &dyn Fn(&mut SealedFields), bytes: Option<Vec<u8>>| {
        let mut sealed = STORY.sealed.clone();
        bend(&mut sealed);
        let sealed = bytes.unwrap_or_else(|| sealed.encode_to_vec());
        let mut said = wire::Provision::decode(provision.clone()).unwrap();
        said.sealed = Digest::of(&sealed).into();
        let mut input = good.clone();
        input["provision"] = hex(said.encode_to_vec());
        input["sealed_fields"] = hex(sealed);
        input
    };
    let with = |key: &str, value: Value| {
        let mut input = good.clone();
        input[key] = value;
        input
    };
    let mut other = known::fetch(STORY.digest("source-terms"));
    other.request_id = "0f2d6c1e-7a54-4a3b-9a57-2f8f6f0c9d12".into();
    let mut bent = STORY.sealed.clone();
    bent.fields.pop();
    vec![
        Case::good("good", "The story's answer.", good.clone()),
        Case::bad(
            "another-fetch",
            "The answer to another request.",
            "fetch",
            with("fetch", hex(other.encode_to_vec())),
        ),
        Case::bad("other-fields-sealed", "Not what the source signed.", "sealed", {
            with("sealed_fields", hex(bent.encode_to_vec()))
        }),
        Case::bad("field-left-out", "Signed, and a field is missing.", "sealed_fields", {
            resealed(&|sealed| drop(sealed.fields.pop()), None)
        }),
        Case::bad("field-added", "Signed, and nobody asked for it.", "sealed_fields", {
            resealed(&|sealed| sealed.fields.push(sealed.fields[0].clone()), None)
        }),
        Case::bad("other-order", "Signed, in another order.", "sealed_fields", {
            resealed(&|sealed| sealed.fields.reverse(), None)
        }),
        Case::bad(
            "not-protobuf",
            "Signed, and no sealed fields.",
            "sealed_fields",
            resealed(&|_| (), Some(vec![0x0a, 9])),
        ),
    ]
}
