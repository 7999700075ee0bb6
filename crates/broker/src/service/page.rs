//! Pages: how large, and where the next one begins.
//!
//! A page token is opaque, and bound to what was asked: with other arguments it is refused rather than answered with
//! something that looks right.

use countersign_grants::digest::Digest;
use data_encoding::BASE64URL_NOPAD;
use prost::Message;

use crate::{broker::Broker, error::Fault, rows::RowRange};

/// The size of a page when none is asked for.
const DEFAULT_SIZE: usize = 50;

/// The most items on a page; more is coerced.
pub(crate) const MAX_SIZE: usize = 200;

/// A page ends early when its items weigh this much: with one more item, of at most 128 KiB, it stays far below the
/// 4 MiB that gRPC clients take by default.
pub(crate) const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

const VERSION: u8 = 1;
const BINDING_BYTES: usize = 8;

/// The longest place: that of a key in the store.
const MAX_PLACE_BYTES: usize = countersign_store::MAX_KEY_BYTES;

/// What one list call asks for.
#[derive(Debug)]
pub(crate) struct Page {
    /// At most so many items.
    pub(crate) size: usize,
    /// After this place; none from the beginning.
    pub(crate) after: Option<Vec<u8>>,
    binding: [u8; BINDING_BYTES],
}

impl Page {
    /// Reads size and token of a call with these other arguments.
    pub(crate) fn parse(size: i32, token: &str, most: usize, arguments: &[&[u8]]) -> Result<Self, Fault> {
        let size = match usize::try_from(size) {
            Err(_) => return Err(Fault::field("page_size", "must not be negative")),
            Ok(0) => DEFAULT_SIZE,
            Ok(size) => size.min(most),
        };
        let binding = binding(arguments);
        let after = match token {
            "" => None,
            token => Some(place(token, binding)?),
        };
        Ok(Self { size, after, binding })
    }

    /// The token with which the next page begins after this place.
    pub(crate) fn token(&self, place: &[u8]) -> String {
        BASE64URL_NOPAD.encode(&[&[VERSION], self.binding.as_slice(), place].concat())
    }

    /// Where the page begins, for lists whose places are numbers.
    pub(crate) fn numbers<const N: usize>(&self) -> Result<Option<[u64; N]>, Fault> {
        let Some(after) = &self.after else { return Ok(None) };
        let (numbers, rest) = after.as_chunks::<8>();
        match <[[u8; 8]; N]>::try_from(numbers) {
            Ok(numbers) if rest.is_empty() => Ok(Some(numbers.map(u64::from_be_bytes))),
            _ => Err(not_ours()),
        }
    }

    /// The token of a place that is numbers.
    pub(crate) fn token_of(&self, numbers: &[u64]) -> String {
        let place: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.token(&place)
    }

    /// Begins one page of a range.
    pub(crate) async fn sheet<R, T>(
        &self,
        broker: &Broker,
        range: &RowRange<R>,
    ) -> Result<Sheet<'_, R, T>, Fault>
    where
        R: Message + Default,
        T: Message,
    {
        let mut rows = range.load(broker.store(), self.after.as_deref(), self.size + 1).await?;
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        Ok(Sheet { page: self, rows: rows.into_iter(), more, items: Vec::new(), bytes: 0, place: Vec::new() })
    }
}

/// One page in the making: take a row, make an item of it, add that.
pub(crate) struct Sheet<'a, R, T> {
    page: &'a Page,
    rows: std::vec::IntoIter<(Vec<u8>, R)>,
    more: bool,
    items: Vec<T>,
    bytes: usize,
    place: Vec<u8>,
}

impl<R, T: Message> Sheet<'_, R, T> {
    /// The next row, as long as the page has room.
    pub(crate) fn next(&mut self) -> Option<R> {
        if self.bytes >= MAX_PAGE_BYTES {
            return None;
        }
        let (place, row) = self.rows.next()?;
        self.place = place;
        Some(row)
    }

    /// Puts the item of the row that was taken on the page.
    pub(crate) fn add(&mut self, item: T) {
        self.bytes += item.encoded_len();
        self.items.push(item);
    }

    /// The items, and the token of the next page.
    pub(crate) fn finish(self) -> (Vec<T>, String) {
        let more = self.more || self.rows.len() > 0;
        let token = if more { self.page.token(&self.place) } else { String::new() };
        (self.items, token)
    }
}

fn binding(arguments: &[&[u8]]) -> [u8; BINDING_BYTES] {
    let mut bytes = Vec::new();
    for argument in arguments {
        bytes.extend_from_slice(&(argument.len() as u64).to_be_bytes());
        bytes.extend_from_slice(argument);
    }
    let digest = Digest::of(&bytes);
    let mut binding = [0; BINDING_BYTES];
    binding.copy_from_slice(&digest.as_bytes()[..BINDING_BYTES]);
    binding
}

fn place(token: &str, binding: [u8; BINDING_BYTES]) -> Result<Vec<u8>, Fault> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| not_ours())?;
    match bytes.split_first() {
        Some((&VERSION, rest)) if rest.len() <= BINDING_BYTES + MAX_PLACE_BYTES => {
            let place = rest.strip_prefix(binding.as_slice());
            place.map(<[u8]>::to_vec).ok_or_else(|| {
                Fault::field("page_token", "is of another list: ask with the arguments that it came with")
            })
        }
        _ => Err(not_ours()),
    }
}

fn not_ours() -> Fault {
    Fault::field("page_token", "is none that this broker gave out")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(size: i32, token: &str, arguments: &[&[u8]]) -> Result<Page, Fault> {
        Page::parse(size, token, MAX_SIZE, arguments)
    }

    #[test]
    fn sizes_are_coerced_and_never_negative() {
        for (asked, given) in [(0, 50), (1, 1), (200, 200), (i32::MAX, 200)] {
            assert_eq!(parse(asked, "", &[]).expect("a size").size, given);
        }
        assert!(parse(-1, "", &[]).is_err());
    }

    #[test]
    fn a_token_is_good_for_its_arguments_alone() {
        let token = parse(0, "", &[b"list", b"a"]).expect("a page").token(b"place");
        let page = parse(0, &token, &[b"list", b"a"]).expect("its own arguments");
        assert_eq!(page.after.as_deref(), Some(b"place".as_slice()));
        assert!(parse(0, &token, &[b"list", b"b"]).is_err());
        assert!(parse(0, &token, &[b"lista"]).is_err());
        for junk in ["x", "AA", "é", &"A".repeat(1000), &token[1..], &token[..token.len() - 1]] {
            assert!(parse(0, junk, &[b"list", b"b"]).is_err(), "{junk}");
        }
    }

    #[test]
    fn numbers_read_back() {
        let page = parse(0, "", &[]).expect("a page");
        assert!(matches!(page.numbers::<2>(), Ok(None)));
        let next = parse(0, &page.token_of(&[7, u64::MAX]), &[]).expect("our token");
        assert!(matches!(next.numbers::<2>(), Ok(Some([7, u64::MAX]))));
        assert!(next.numbers::<1>().is_err());
    }
}
