//! The targets by name.

mod api;
mod log;
pub mod statements;
mod storage;

/// A target: it must not panic, whatever the bytes are.
pub type Target = fn(&[u8]);

/// Every target. A name is that of its binary under `fuzz_targets/` and of its folder under `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("book", storage::book),
    ("bundle", log::bundle),
    ("catalogue", api::catalogue),
    ("checkpoint", log::checkpoint),
    ("consistency", log::consistency),
    ("envelope", statements::envelope),
    ("filter", api::filter),
    ("inclusion", log::inclusion),
    ("invitation", statements::invitation),
    ("journal", storage::journal),
    ("log_path", log::log_path),
    ("name", api::name),
    ("note", log::note),
    ("note_key", log::note_key),
    ("page_token", api::page_token),
    ("proof_file", log::proof_file),
    ("record", log::record),
    ("sealed", statements::sealed),
    ("snapshot", storage::snapshot),
    ("statement", statements::statement),
    ("tile", log::tile),
    ("token", statements::token),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// Takes a little-endian number off the front.
fn number(data: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = data.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), rest))
}
