//! Messages as JSON: the mapping of protobuf with the fields' own names, by the descriptors, so that no field is forgotten.
//!
//! An envelope is written as DSSE writes it (`payloadType`, `payload`, `signatures`), and what it says stands beside it as
//! `said`. Bytes are base64, 64-bit numbers are strings, and what is absent has its default value.

use std::sync::LazyLock;

use countersign_grants::time::Timestamp;
use countersign_proto::statement::v1::Envelope;
use data_encoding::BASE64;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, ReflectMessage as _, Value as Field};
use serde_json::{Map, Value, json};

/// The messages that the API and the statements are made of.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(countersign_proto::FILE_DESCRIPTOR_SET)
        .expect("the generated descriptor set decodes; a test compares it with its source")
});

/// The first and the last part of every statement's payload type.
const PAYLOAD_TYPE: (&str, &str) = ("application/vnd.countersign.", ".v1+protobuf");

/// A message of `countersign.{name}`.
pub(super) fn message<M: Message>(name: &str, message: &M) -> Value {
    read(&format!("countersign.{name}"), &message.encode_to_vec()).unwrap_or_default()
}

/// What the members of a message of `countersign.{name}` are called.
#[cfg(test)]
pub(super) fn members(name: &str) -> Vec<String> {
    let message = POOL.get_message_by_name(&format!("countersign.{name}")).expect("a message");
    message.fields().map(|field| field.name().to_owned()).collect()
}

fn read(name: &str, bytes: &[u8]) -> Option<Value> {
    let message = DynamicMessage::decode(POOL.get_message_by_name(name)?, bytes).ok()?;
    Some(object(&message))
}

fn object(message: &DynamicMessage) -> Value {
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => {
            let part = |name: &str| message.get_field_by_name(name);
            let seconds = part("seconds").and_then(|value| value.as_i64()).unwrap_or_default();
            let nanos = part("nanos").and_then(|value| value.as_i32()).unwrap_or_default();
            jiff::Timestamp::new(seconds, nanos).map_or(Value::Null, |time| json!(time.to_string()))
        }
        "countersign.statement.v1.Envelope" => {
            message.transcode_to().map_or(Value::Null, |envelope| dsse(&envelope))
        }
        _ => {
            let fields = message.fields();
            Value::Object(
                fields.map(|(of, value)| (of.name().to_owned(), field(&of.kind(), value))).collect(),
            )
        }
    }
}

fn field(kind: &Kind, value: &Field) -> Value {
    match value {
        Field::Bool(value) => json!(value),
        Field::I32(value) => json!(value),
        Field::U32(value) => json!(value),
        Field::I64(value) => json!(value.to_string()),
        Field::U64(value) => json!(value.to_string()),
        Field::String(value) => json!(value),
        Field::Bytes(value) => json!(BASE64.encode(value)),
        Field::EnumNumber(number) => match kind {
            Kind::Enum(of) => of.get_value(*number).map_or(json!(number), |value| json!(value.name())),
            _ => json!(number),
        },
        Field::Message(value) => object(value),
        Field::List(values) => values.iter().map(|value| field(kind, value)).collect(),
        // The protocol has neither floats nor maps.
        Field::F32(_) | Field::F64(_) | Field::Map(_) => Value::Null,
    }
}

/// A moment as JSON has it: RFC 3339 in UTC.
pub(super) fn moment(time: Timestamp) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// A moment as a message has it.
pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let millis = time.as_millis();
    prost_types::Timestamp {
        seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis % 1000).expect("below 1,000") * 1_000_000,
    }
}

/// Whether a message says this moment.
pub(super) fn is_at(shown: Option<&prost_types::Timestamp>, time: Timestamp) -> bool {
    shown == Some(&timestamp(time))
}

/// An envelope as DSSE writes it in JSON, with what it says.
pub(super) fn dsse(envelope: &Envelope) -> Value {
    let signatures = envelope.signatures.iter();
    let signatures =
        signatures.map(|one| json!({ "keyid": one.key_id, "sig": BASE64.encode(&one.signature) }));
    let mut json = Map::new();
    json.insert("payloadType".to_owned(), json!(envelope.payload_type));
    json.insert("payload".to_owned(), json!(BASE64.encode(&envelope.payload)));
    json.insert("signatures".to_owned(), signatures.collect());
    let said = message_name(&envelope.payload_type).and_then(|name| read(&name, &envelope.payload));
    json.extend(said.map(|said| ("said".to_owned(), said)));
    Value::Object(json)
}

/// `…link-invitation…` is a `LinkInvitation`.
fn message_name(payload_type: &str) -> Option<String> {
    let (first, last) = PAYLOAD_TYPE;
    let kind = payload_type.strip_prefix(first)?.strip_suffix(last)?;
    let mut name = "countersign.statement.v1.".to_owned();
    for word in kind.split('-') {
        let (initial, rest) = word.split_at_checked(1)?;
        name.push_str(&initial.to_ascii_uppercase());
        name.push_str(rest);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use countersign_proto::{statement::v1::Signature, v1};

    use super::*;

    #[test]
    fn an_envelope_says_what_it_signs() {
        let said = countersign_proto::statement::v1::GrantChange {
            broker: "broker.test/log".to_owned(),
            sequence: 3,
            verb: 3,
            erase: true,
            previous: vec![0xff].into(),
            ..Default::default()
        };
        let envelope = Envelope {
            payload_type: "application/vnd.countersign.grant-change.v1+protobuf".to_owned(),
            payload: said.encode_to_vec().into(),
            signatures: vec![Signature { key_id: "k".to_owned(), signature: vec![0].into() }],
        };
        let grant = v1::Grant { changes: vec![envelope.clone()], ..Default::default() };
        let change = &message("v1.Grant", &grant)["changes"][0];
        assert_eq!(
            change["said"],
            json!({
                "broker": "broker.test/log", "sequence": "3", "verb": "VERB_STOP", "erase": true, "previous": "/w==",
            })
        );
        assert_eq!(change["payload"], json!(BASE64.encode(&envelope.payload)));
        assert_eq!(change["signatures"], json!([{ "keyid": "k", "sig": "AA==" }]));
        let unknown = Envelope { payload_type: "text/plain".to_owned(), ..envelope };
        assert!(dsse(&unknown).get("said").is_none());
    }

    #[test]
    fn times_and_states_are_words() {
        let customer = v1::Customer {
            name: "customers/x".to_owned(),
            create_time: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 5_000_000 }),
            ..Default::default()
        };
        let json = message("v1.Customer", &customer);
        assert_eq!(json, json!({ "name": "customers/x", "create_time": "2026-09-21T14:13:20.005Z" }));
    }
}
