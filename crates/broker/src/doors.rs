//! How the fuzz targets of `tests/fuzz` reach the parsers of this crate. Nothing else calls these.

use countersign_proto::log::v1::Record;

use crate::service::{audit, page::Page};

/// Reads the filter of `ListLogEntries`: whether it takes a record, or what is wrong with it.
pub fn filter(text: &str, record: &Record) -> Result<bool, String> {
    audit::Filter::parse(text).map(|filter| filter.takes(record))
}

/// Reads a page token of a call with these other arguments: the token that is given out for the same place.
pub fn page_token(token: &str, arguments: &[&[u8]]) -> Option<String> {
    let page = Page::parse(0, token, 1, arguments).ok()?;
    // A place is a key, or one or two numbers: whichever it is, reading it as the other must not panic.
    let _ = (page.numbers::<1>(), page.numbers::<2>());
    page.after.as_ref().map(|place| page.token(place))
}

/// The page token for a place in the answer to a call with these other arguments.
pub fn token_of_place(place: &[u8], arguments: &[&[u8]]) -> Option<String> {
    Page::parse(0, "", 1, arguments).ok().map(|page| page.token(place))
}

/// Reads the name of a log's entry.
pub fn log_entry(name: &str) -> Option<u64> {
    audit::log_entry(name)
}
