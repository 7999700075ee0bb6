//! Messages as JSON, read from their bytes by the descriptors alone: so that a reader of the vectors sees what the bytes
//! say, and encodes it again in a language of their own.

use std::{collections::HashMap, sync::LazyLock};

use countersign_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use serde_json::{Map, Value, json};

use crate::case::{hex, number};

struct Descriptors {
    messages: HashMap<String, DescriptorProto>,
    enums: HashMap<String, EnumDescriptorProto>,
}

static DESCRIPTORS: LazyLock<Descriptors> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut all = Descriptors { messages: HashMap::new(), enums: HashMap::new() };
    for file in set.file {
        let package = format!(".{}", file.package());
        for descriptor in file.enum_type {
            all.enums.insert(format!("{package}.{}", descriptor.name()), descriptor);
        }
        for message in file.message_type {
            let name = format!("{package}.{}", message.name());
            for descriptor in &message.enum_type {
                all.enums.insert(format!("{name}.{}", descriptor.name()), descriptor.clone());
            }
            all.messages.insert(name, message);
        }
    }
    all
});

/// What the bytes of a message say. `name` is qualified: `.countersign.log.v1.Record`.
pub(crate) fn message(name: &str, mut bytes: &[u8]) -> Value {
    let descriptor = &DESCRIPTORS.messages[name];
    let mut map = Map::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = descriptor.field.iter().find(|field| field.number() as u64 == key >> 3).unwrap();
        let value = match key & 7 {
            0 => {
                let value = varint(&mut bytes);
                match field.r#type() {
                    Type::Bool => json!(value == 1),
                    Type::Enum => {
                        let values = &DESCRIPTORS.enums[field.type_name()].value;
                        json!(values.iter().find(|known| known.number() as u64 == value).unwrap().name())
                    }
                    _ => number(value),
                }
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (inside, rest) = bytes.split_at(length);
                bytes = rest;
                match field.r#type() {
                    Type::String => json!(std::str::from_utf8(inside).unwrap()),
                    Type::Bytes => hex(inside),
                    _ => message(field.type_name(), inside),
                }
            }
            other => panic!("the protocol has no fields of wire type {other}"),
        };
        if field.label() == Label::Repeated {
            let list = map.entry(field.name()).or_insert_with(|| json!([]));
            list.as_array_mut().unwrap().push(value);
        } else {
            map.insert(field.name().to_owned(), value);
        }
    }
    Value::Object(map)
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for at in 0.. {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
