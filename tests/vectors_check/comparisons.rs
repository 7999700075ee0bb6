//! Previews: what their seal binds, what must come, and the marks by which values are compared.

use countersign_grants::{
    digest::Digest,
    sealing,
    statement::{Fetch, Preview, Provision, Statement, check_previewed},
};
use countersign_proto::statement::v1::{self as wire, SealedField, SealedFields};
use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, array, bytes, hex, list, text, texts},
    known::{self, STORY},
};

pub(crate) const COMPARISONS: File = File {
    name: "comparisons.json",
    about: "Cases with `key` give the mark of a value. Cases with `preview` give the `info` of its seal, and say whether these \
        sealed fields answer it: `sealed_fields`: not exactly its fields, in order, and `comparison_key` after them. Cases with `marks` \
        say whether a provision's are of exactly the fields of the fetch, in order: else `marks`.",
    make,
    run,
};

fn run(input: &Value) -> Outcome {
    if input.get("key").is_some() {
        let field = known::paths(&[text(input, "field").to_owned()]).remove(0);
        let mark = sealing::comparison_mark(&array(input, "key"), &field, &bytes(input, "value"));
        return Ok(json!({ "mark": hex(mark) }));
    }
    if input.get("preview").is_some() {
        let payload = bytes(input, "preview");
        let digest = Digest::of(&payload);
        let preview = Preview::parse(wire::Preview::decode(payload).unwrap()).unwrap();
        let field = |field: String| SealedField { field, ..SealedField::default() };
        let fields = texts(input, "sealed").into_iter().map(field).collect();
        let sealed = SealedFields { fields, ..SealedFields::default() };
        check_previewed(&preview, &sealed).map_err(|error| error.field.to_owned())?;
        return Ok(json!({ "info": hex(sealing::preview_info(digest, &preview.fields)) }));
    }
    let fetch = Fetch::parse(wire::Fetch::decode(bytes(input, "fetch")).unwrap()).unwrap();
    let marks = list(input, "marks").iter().map(|field| wire::ComparisonMark {
        field: field.as_str().unwrap().to_owned(),
        mac: vec![7; 32].into(),
    });
    let provision = STORY.envelope("compared-provision").payload.clone();
    let provision = wire::Provision { marks: marks.collect(), ..wire::Provision::decode(provision).unwrap() };
    let provision = Provision::parse(provision).unwrap();
    provision.check_comparison(&fetch).map_err(|error| error.field.to_owned())?;
    Ok(Value::Null)
}

fn make() -> Vec<Case> {
    let mark = |key: [u8; 32], field: &str, value: &str| json!({ "key": hex(key), "field": field, "value": hex(value) });
    let key = known::COMPARISON_KEY;
    let preview = hex(&STORY.envelope("preview").payload);
    let sealed = |fields: &[&str]| json!({ "preview": preview, "sealed": fields });
    let fetch = hex(&STORY.envelope("fetch").payload);
    let marks = |fields: &[&str]| json!({ "fetch": fetch, "marks": fields });
    let [one, other] = known::FIELDS;
    vec![
        Case::good("mark", "The first value of the story.", mark(key, one, known::VALUES[0])),
        Case::good(
            "mark-of-another-field",
            "The same value in another field.",
            mark(key, other, known::VALUES[0]),
        ),
        Case::good("mark-of-another-key", "Under another key.", mark([43; 32], one, known::VALUES[0])),
        Case::good("mark-of-nothing", "An empty value has a mark.", mark(key, one, "")),
        Case::good("shown", "The fields, and after them the key.", sealed(&[one, other, "comparison_key"])),
        Case::bad("no-key", "Without a comparison key.", "sealed_fields", sealed(&[one, other])),
        Case::bad(
            "key-first",
            "The key before the fields.",
            "sealed_fields",
            sealed(&["comparison_key", one, other]),
        ),
        Case::bad("swapped", "In another order.", "sealed_fields", sealed(&[other, one, "comparison_key"])),
        Case::bad("fewer", "A field is left out.", "sealed_fields", sealed(&[one, "comparison_key"])),
        Case::bad("two-keys", "Two keys.", "sealed_fields", {
            sealed(&[one, other, "comparison_key", "comparison_key"])
        }),
        Case::good("marks", "Of the fetch's fields, in order.", marks(&[one, other])),
        Case::bad("marks-swapped", "In another order.", "marks", marks(&[other, one])),
        Case::bad("marks-fewer", "One is left out.", "marks", marks(&[one])),
        Case::bad(
            "marks-more",
            "Of a field that was not fetched.",
            "marks",
            marks(&[one, other, "trip.eta"]),
        ),
    ]
}
