//! The end of a stream, where it grows; and how items are packed.

use bytes::{BufMut, Bytes};
use prost::encoding::{decode_varint, encode_varint};

use countersign_proto::log::v1::Kind;

use crate::stream::StreamItem;

/// Items in a full block. With a row for each item the index grew to six times its live data; a block of 128 is 300
/// to 500 bytes, and at the bound (see [`MAX_ITEM_BYTES`](crate::unit::MAX_ITEM_BYTES)) 1,920 of the 4,000 of a row.
pub(crate) const BLOCK_ITEMS: u64 = 128;

/// How many items a stream has, and those of them that fill no block yet.
///
/// An item is the distance from the item before it, and its kind, as varints. The first of a block is the distance
/// from zero, so that each block is read alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    length: u64,
    last_index: u64,
    items: Vec<u8>,
}

impl Tail {
    /// How many items the stream has.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Adds an item, whose index is beyond all others'. Gives the block that it completes, which is keyed by it.
    pub(crate) fn push(&mut self, index: u64, kind: i32) -> Option<Bytes> {
        let before = if self.items.is_empty() { 0 } else { self.last_index };
        encode_varint(index - before, &mut self.items);
        encode_varint(u64::from(kind.unsigned_abs()), &mut self.items);
        self.last_index = index;
        self.length += 1;
        self.length.is_multiple_of(BLOCK_ITEMS).then(|| std::mem::take(&mut self.items).into())
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Vec::with_capacity(20 + self.items.len());
        encode_varint(self.length, &mut value);
        encode_varint(self.last_index, &mut value);
        value.put_slice(&self.items);
        value.into()
    }

    pub(crate) fn decode(mut value: &[u8]) -> Option<Tail> {
        let length = decode_varint(&mut value).ok()?;
        let last_index = decode_varint(&mut value).ok()?;
        Some(Tail { length, last_index, items: value.to_vec() })
    }

    /// The items that fill no block yet.
    pub(crate) fn items(&self) -> Option<Vec<StreamItem>> {
        unpack(&self.items)
    }
}

/// The items of a block. `None` if it isn't one.
pub(crate) fn unpack(mut block: &[u8]) -> Option<Vec<StreamItem>> {
    let mut items = Vec::with_capacity(BLOCK_ITEMS as usize);
    let mut index = 0_u64;
    while !block.is_empty() {
        index = index.checked_add(decode_varint(&mut block).ok()?)?;
        let kind = i32::try_from(decode_varint(&mut block).ok()?).ok()?;
        items.push(StreamItem { index, kind: Kind::try_from(kind).unwrap_or_default() });
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_packed_into_blocks_and_found_again() {
        let mut tail = Tail::default();
        let mut blocks = Vec::new();
        let item = |n: u64| StreamItem { index: n * n, kind: Kind::try_from((n % 29) as i32).unwrap() };
        for n in 0..300 {
            assert_eq!(tail.length(), n);
            let StreamItem { index, kind } = item(n);
            blocks.extend(tail.push(index, kind as i32));
            let read = Tail::decode(&tail.encode()).unwrap();
            assert_eq!(read, tail);
        }
        let mut items: Vec<StreamItem> = blocks.iter().flat_map(|block| unpack(block).unwrap()).collect();
        assert_eq!((blocks.len(), items.len()), (2, 256));
        items.extend(tail.items().unwrap());
        assert_eq!(items, (0..300).map(item).collect::<Vec<_>>());
    }

    #[test]
    fn the_longest_block_fits_a_row() {
        let mut tail = Tail::default();
        let block = (0..BLOCK_ITEMS).find_map(|n| tail.push(n << 56, i32::MAX)).unwrap();
        assert!(block.len() <= BLOCK_ITEMS as usize * crate::unit::MAX_ITEM_BYTES, "{}", block.len());
        assert!(block.len() < countersign_store::MAX_VALUE_BYTES);
        assert_eq!(unpack(&block).unwrap()[127].index, 127 << 56);
        assert_eq!(unpack(&block[..block.len() - 1]), None);
    }
}
