//! A case, and how its parts are written in JSON: bytes in lower-case hex, numbers above 2^53 as text.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

/// What comes of an input: an output, or the name of the check that refuses it.
pub(crate) type Outcome = Result<Value, String>;

/// A case in the making.
pub(crate) struct Case {
    name: String,
    comment: &'static str,
    input: Value,
    expected: &'static str,
}

impl Case {
    /// A case that is taken.
    pub(crate) fn good(name: &str, comment: &'static str, input: Value) -> Self {
        Self::bad(name, comment, "ok", input)
    }

    /// A case that is refused for this reason.
    pub(crate) fn bad(name: &str, comment: &'static str, expected: &'static str, input: Value) -> Self {
        Self { name: name.to_owned(), comment, input, expected }
    }

    /// The case as it stands in its file. The expectation is the author's; what a case that is taken gives is computed.
    pub(crate) fn finish(self, run: fn(&Value) -> Outcome) -> Value {
        let mut case = json!({
            "name": self.name, "comment": self.comment, "input": self.input, "expected": self.expected,
        });
        if self.expected == "ok" {
            match run(&case["input"]) {
                Ok(Value::Null) => {}
                Ok(output) => case["output"] = output,
                Err(reason) => panic!("{} is refused: {reason}", case["name"]),
            }
        }
        case
    }
}

/// Bytes as text.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(HEXLOWER.encode(bytes.as_ref()))
}

/// A number as a number, or as text where some languages would round it.
pub(crate) fn number(number: u64) -> Value {
    const EXACT_EVERYWHERE: u64 = 1 << 53;
    if number <= EXACT_EVERYWHERE { json!(number) } else { json!(number.to_string()) }
}

/// The bytes under a key.
pub(crate) fn bytes(input: &Value, key: &str) -> Bytes {
    read_hex(&input[key])
}

/// The bytes of a text.
pub(crate) fn read_hex(value: &Value) -> Bytes {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is not hex"));
    HEXLOWER.decode(text.as_bytes()).unwrap_or_else(|_| panic!("{text} is not hex")).into()
}

/// The bytes under a key, which are so many.
pub(crate) fn array<const N: usize>(input: &Value, key: &str) -> [u8; N] {
    bytes(input, key).as_ref().try_into().unwrap_or_else(|_| panic!("`{key}` is not {N} bytes"))
}

/// The text under a key.
pub(crate) fn text<'a>(input: &'a Value, key: &str) -> &'a str {
    input[key].as_str().unwrap_or_else(|| panic!("`{key}` is not text in {input}"))
}

/// The number under a key.
pub(crate) fn count(input: &Value, key: &str) -> u64 {
    let value = &input[key];
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("`{key}` is no number"))
}

/// The list under a key.
pub(crate) fn list<'a>(input: &'a Value, key: &str) -> &'a [Value] {
    input[key].as_array().unwrap_or_else(|| panic!("`{key}` is no list"))
}

/// The texts under a key.
pub(crate) fn texts(input: &Value, key: &str) -> Vec<String> {
    list(input, key).iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}
