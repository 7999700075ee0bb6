//! Keys and names.

use countersign_broker::doors as broker;
use countersign_grants::{
    catalogue::{FieldPath, PurposeCode},
    id::{
        AuditorName, CatalogueName, CustomerName, GrantName, LinkName, OfferName, OperatorName, Origin,
        PartnerName, Principal, RequestName, SubjectHandle,
    },
    key::{KeyId, PublicKey},
};
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, bytes, hex, read_hex, text},
    known,
};

pub(crate) const KEYS: File = File {
    name: "keys.json",
    about: "Ed25519 public keys and their ids: RFC 7638 thumbprints of the JWK of RFC 8037. `key`: not 32 bytes, no point, \
        a point of small order, or not the canonical encoding of its point.",
    make: keys,
    run: run_key,
};

pub(crate) const NAMES: File = File {
    name: "names.json",
    about: "Resource names and other identifiers, by kind. `name`: not of the kind's form. A name has one way of writing it.",
    make: names,
    run: run_name,
};

fn run_key(input: &Value) -> Outcome {
    let key = PublicKey::from_slice(&bytes(input, "public_key")).map_err(|_| "key".to_owned())?;
    Ok(json!({ "key_id": key.id().as_str() }))
}

fn keys() -> Vec<Case> {
    let good = |name: &str, comment, key: Value| Case::good(name, comment, json!({ "public_key": key }));
    let bad = |name: &str, comment, key: &str| Case::bad(name, comment, "key", json!({ "public_key": key }));
    let of = |secret| hex(known::key(secret).public().as_bytes());
    vec![
        good(
            "rfc-8037",
            "The key of RFC 8037, appendix A, and its thumbprint there.",
            json!("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
        ),
        good("recipient", "The working key of `partners/hopp`: secret 32 times 0x15.", of(known::HOPP)),
        good("source", "The working key of `partners/skylark`: secret 32 times 0x14.", of(known::SKYLARK)),
        good("customer", "The customer's call key: secret 32 times 0x1e.", of(known::CUSTOMER)),
        good(
            "small-y",
            "A point with y = 3: nobody knows its secret, and its form is good.",
            json!(format!("03{}", "00".repeat(31))),
        ),
        bad(
            "small-y-again",
            "The same point with y = p + 3: a second encoding.",
            &format!("f0{}7f", "ff".repeat(30)),
        ),
        bad("neutral", "The neutral element, of order 1.", &format!("01{}", "00".repeat(31))),
        bad("neutral-again", "The neutral element with y = p + 1.", &format!("ee{}7f", "ff".repeat(30))),
        bad("order-2", "y = -1, of order 2.", &format!("ec{}7f", "ff".repeat(30))),
        bad("order-4", "y = 0, of order 4.", &"00".repeat(32)),
        bad(
            "order-8",
            "A point of order 8.",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        ),
        bad(
            "order-8-other",
            "Another point of order 8.",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        ),
        bad("no-point", "y = 2 is on no point of the curve.", &format!("02{}", "00".repeat(31))),
        bad("short", "31 bytes.", &"11".repeat(31)),
        bad("long", "33 bytes.", &"11".repeat(33)),
        bad("empty", "No bytes.", ""),
    ]
}

fn run_name(input: &Value) -> Outcome {
    let name = text(input, "name");
    let good = match text(input, "kind") {
        "partner" => PartnerName::parse(name).is_ok(),
        "subject" => SubjectHandle::parse(name).is_ok(),
        "customer" => CustomerName::parse(name).is_ok(),
        "auditor" => AuditorName::parse(name).is_ok(),
        "operator" => OperatorName::parse(name).is_ok(),
        "principal" => Principal::parse(name).is_ok(),
        "offer" => OfferName::parse(name).is_ok(),
        "link" => LinkName::parse(name).is_ok(),
        "grant_request" => RequestName::parse(name).is_ok(),
        "grant" => GrantName::parse(name).is_ok(),
        "catalogue" => CatalogueName::parse(name).is_ok(),
        "log_entry" => broker::log_entry(name).is_some(),
        "origin" => Origin::parse(name).is_ok(),
        "key_id" => KeyId::parse(name).is_ok(),
        "purpose" => PurposeCode::parse(name).is_ok(),
        "field" => FieldPath::parse(name).is_ok(),
        other => panic!("`{other}` is no kind"),
    };
    if good { Ok(Value::Null) } else { Err("name".to_owned()) }
}

fn names() -> Vec<Case> {
    let hex64 = "0f".repeat(32);
    let thumbprint = known::key(known::CUSTOMER).id().to_string();
    let mut cases = Vec::new();
    let mut add = |kind: &str, name: &str, good: bool, comment| {
        let input = json!({ "kind": kind, "name": name });
        let title = format!("{kind}-{}", cases.len());
        cases.push(if good {
            Case::good(&title, comment, input)
        } else {
            Case::bad(&title, comment, "name", input)
        });
    };
    add("partner", "partners/skylark", true, "2 to 32 of a-z, 0-9 and inner `-`.");
    add("partner", "partners/a-1", true, "A hyphen within.");
    add("partner", &format!("partners/{}", "a".repeat(32)), true, "32 characters.");
    add("partner", &format!("partners/{}", "a".repeat(33)), false, "33 characters.");
    add("partner", "partners/a", false, "One character.");
    add("partner", "partners/Skylark", false, "A capital letter.");
    add("partner", "partners/-a", false, "A hyphen at the beginning.");
    add("partner", "partners/a-", false, "A hyphen at the end.");
    add("partner", "partners/skylark/", false, "A slash at the end.");
    add("partner", "skylark", false, "The id alone.");
    let subject = "02".repeat(16);
    add("subject", &format!("partners/hopp/subjects/{subject}"), true, "16 bytes in lower-case hex.");
    add("subject", &format!("partners/hopp/subjects/{}", "0A".repeat(16)), false, "Upper-case hex.");
    add("subject", "partners/hopp/subjects/02", false, "One byte.");
    add("subject", &format!("partners/H/subjects/{subject}"), false, "Of no partner.");
    add("customer", &format!("customers/{thumbprint}"), true, "The thumbprint of the customer's key.");
    add("customer", &format!("customers/{}", &thumbprint[1..]), false, "42 characters.");
    add("customer", &format!("customers/{thumbprint}="), false, "Padded base64url.");
    add("auditor", "auditors/ministry", true, "As partners.");
    add("operator", "operators/root", true, "As partners.");
    add("operator", "operators/", false, "Without an id.");
    add("principal", &format!("brokers/{}", known::ORIGIN), true, "A broker, by its log's origin.");
    add("principal", "partners/hopp", true, "A partner.");
    add("principal", &format!("partners/hopp/subjects/{subject}"), false, "A subject calls nobody.");
    add("principal", "witnesses/w1", false, "An unknown collection.");
    add("offer", &format!("offers/{hex64}"), true, "SHA-256 of the offer's payload.");
    add("offer", &format!("offers/{}", hex64.to_uppercase()), false, "Upper-case hex.");
    add("link", &format!("links/{hex64}"), true, "SHA-256 of the invitation's payload.");
    add("link", &format!("links/{}", &hex64[2..]), false, "31 bytes.");
    add("grant_request", &format!("grantRequests/{hex64}"), true, "SHA-256 of the request's payload.");
    add("grant_request", &format!("grantrequests/{hex64}"), false, "The collection in other letters.");
    add("grant", &format!("grants/{hex64}"), true, "SHA-256 of the terms' payload.");
    add("grant", &format!("grants/{hex64} "), false, "A space at the end.");
    add("catalogue", &format!("catalogues/{hex64}"), true, "SHA-256 of the document.");
    add("log_entry", "logs/-/entries/0", true, "The first record.");
    add("log_entry", "logs/-/entries/18446744073709551615", true, "The largest index.");
    add("log_entry", "logs/-/entries/18446744073709551616", false, "Over 64 bits.");
    add("log_entry", "logs/-/entries/01", false, "A leading zero.");
    add("log_entry", "logs/-/entries/+1", false, "A sign.");
    add("log_entry", "logs/a/entries/1", false, "A broker has one log, `-`.");
    add("origin", known::ORIGIN, true, "A URL without a scheme.");
    add("origin", &"o".repeat(128), true, "128 characters.");
    add("origin", &"o".repeat(129), false, "129 characters.");
    add("origin", "broker test", false, "A space.");
    add("origin", "broker+test", false, "A plus sign, which separates in signed notes.");
    add("origin", "br\u{f6}ker.test", false, "Not ASCII.");
    add("origin", "", false, "Nothing.");
    add("key_id", &thumbprint, true, "43 characters of unpadded base64url.");
    add(
        "key_id",
        &format!("{}-", &thumbprint[..42]),
        false,
        "Unused bits of the last character that are not zero.",
    );
    add("purpose", "pickup_planning", true, "2 to 48 of a-z, 0-9 and single inner `_`, from a letter on.");
    add("purpose", "pickup__planning", false, "Two underscores.");
    add("purpose", "1pickup", false, "A digit at the beginning.");
    add("field", "trip.flight_no", true, "A resource and a field.");
    add("field", "trip", false, "A resource alone.");
    add("field", "trip.flight.no", false, "Three parts.");
    cases
}

/// Keys under a key of the input.
pub(crate) fn public_key(value: &Value) -> PublicKey {
    PublicKey::from_slice(&read_hex(value)).unwrap_or_else(|_| panic!("{value} is no public key"))
}
