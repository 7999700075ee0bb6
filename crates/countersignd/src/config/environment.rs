//! Environment variables over the file.
//!
//! `COUNTERSIGN_` and the key in capitals, with `__` between the parts: `COUNTERSIGN_DATA`,
//! `COUNTERSIGN_LOGGING__FORMAT`, `COUNTERSIGN_LISTENERS__0__ADDRESS`, `COUNTERSIGN_LISTENERS__0__SURFACES`. A value
//! is read as TOML if it is a boolean, an integer or an array, and is text otherwise. A list's entries are numbered
//! from 0; the number after its last makes a new entry.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::ConfigError;

/// What every variable begins with.
pub const PREFIX: &str = "COUNTERSIGN_";

/// The keys that a variable can set; `#` is an entry's number.
pub(super) const KEYS: [&str; 28] = [
    "origin",
    "data",
    "engine",
    "journal.segment_bytes",
    "journal.snapshot_bytes",
    "catalogue",
    "reflection",
    "max_connections",
    "logging.format",
    "logging.filter",
    "quotas.partner",
    "quotas.customer",
    "quotas.auditor",
    "quotas.operator",
    "quotas.newcomers",
    "quotas.notices",
    "asking.per_day",
    "asking.per_week",
    "asking.silence_days",
    "erasure.scrub_after_seconds",
    "companion.address",
    "companion.origins",
    "operators.#.name",
    "operators.#.public_key",
    "listeners.#.address",
    "listeners.#.surfaces",
    "listeners.#.tls.certificate",
    "listeners.#.tls.key",
];

/// Which variable set which key: `listeners[0].address` → `COUNTERSIGN_LISTENERS__0__ADDRESS`.
pub(super) type SetBy = BTreeMap<String, String>;

/// Sets in `file` what the variables say, in the order of their names.
pub(super) fn apply(
    file: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<SetBy, ConfigError> {
    let mut set_by = SetBy::new();
    let ours: BTreeMap<_, _> = variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    for (name, text) in ours {
        let key = name[PREFIX.len()..].to_lowercase();
        let parts: Vec<_> = key.split("__").collect();
        if !is_known(&parts) {
            return Err(ConfigError::UnknownVariable { name });
        }
        let Some(shown) = set(file, &parts, value(&text)) else {
            return Err(ConfigError::Misplaced { name });
        };
        set_by.insert(shown, name);
    }
    Ok(set_by)
}

fn is_known(parts: &[&str]) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    KEYS.iter().any(|known| {
        let known: Vec<_> = known.split('.').collect();
        known.len() == parts.len()
            && known.iter().zip(parts).all(|(known, part)| known == part || (*known == "#" && number(part)))
    })
}

fn value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    match parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value")) {
        Some(value @ (Value::Boolean(_) | Value::Integer(_) | Value::Array(_) | Value::String(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Sets a key and returns its path as errors show it; nothing if a part of the path is no table or no list, or if the
/// number lies beyond the list's end.
fn set(table: &mut Table, parts: &[&str], value: Value) -> Option<String> {
    match parts {
        [] => None,
        [key] => {
            table.insert((*key).to_owned(), value);
            Some((*key).to_owned())
        }
        [key, number, rest @ ..] if number.as_bytes()[0].is_ascii_digit() => {
            let list = table.entry(*key).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?;
            let number: usize = number.parse().ok()?;
            if number == list.len() {
                list.push(Value::Table(Table::new()));
            }
            let inner = set(list.get_mut(number)?.as_table_mut()?, rest, value)?;
            Some(format!("{key}[{number}].{inner}"))
        }
        [key, rest @ ..] => {
            let table = table.entry(*key).or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
            Some(format!("{key}.{}", set(table, rest, value)?))
        }
    }
}
