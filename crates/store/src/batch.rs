//! What goes into a store and comes out of it, and the bounds that every engine holds.

use bytes::Bytes;

use crate::errors::{Limit, PublishError};
use crate::layout::LogPath;

/// The longest key. Our keys are a prefix, two or three ids of at most 64 bytes, and a number.
pub const MAX_KEY_BYTES: usize = 256;

/// The longest value of a row. The embedded engine's index keeps values over 4 KiB in files that it never syncs, so
/// the contract stays below that with room for an engine's own prefix (a version and a length).
pub const MAX_VALUE_BYTES: usize = 4_000;

/// The longest record: a bundle gives its length in a `u16` (C2SP tlog-tiles).
pub const MAX_RECORD_BYTES: usize = u16::MAX as usize;

/// The longest private part: private bundles have the shape of entry bundles.
pub const MAX_PRIVATE_BYTES: usize = u16::MAX as usize;

/// The most that one batch may weigh (see [`Batch::weight`]). 256 units at once, each with the longest private part
/// and as much again in rows, are 32 MiB; an engine holds about three copies of a batch while it commits.
pub const MAX_BATCH_BYTES: usize = 32 << 20;

/// How many hours of request rows an engine keeps, the newest included. A fetch is stale after 120 seconds, so a row
/// that is at least a whole hour old can't be asked for any more; hours go whole, and two are always there.
pub const REQUEST_HOURS: u64 = 2;

/// What one item weighs in a batch beside its bytes: its lengths in a journal frame and its place in memory.
const ITEM_BYTES: usize = 16;

/// A row's key: 1 to [`MAX_KEY_BYTES`] bytes, ordered as bytes. The empty key belongs to the engine.
pub type Key = Vec<u8>;

/// A row as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was put.
    pub value: Bytes,
    /// The [`Head::sequence`] that the commit which put it reached. A key that is put again, with the same value
    /// even, gets a new version.
    pub version: u64,
}

/// Where the store stands. It is the only condition of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Head {
    /// Leaves in the log.
    pub size: u64,
    /// The writer's term: an engine raises it when the right to write passes on, so that a former writer's commits
    /// are raced and refused.
    pub epoch: u64,
    /// Commits so far.
    pub sequence: u64,
}

/// One record of the log with its private part. Its index is the size of the log before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The exact bytes that are hashed and published; at most [`MAX_RECORD_BYTES`].
    pub record: Bytes,
    /// Ciphertext that is kept beside the record and never published; at most [`MAX_PRIVATE_BYTES`].
    pub private: Bytes,
}

/// A row that makes a repeated request harmless. It can't be deleted: an hour's rows are dropped whole once a row
/// [`REQUEST_HOURS`] hours newer was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// What [`Store::request`](crate::Store::request) asks for; its own space, apart from the rows'.
    pub key: Key,
    /// The Unix hour of the request: seconds since 1970 divided by 3,600.
    pub hour: u64,
    /// At most [`MAX_VALUE_BYTES`].
    pub value: Bytes,
}

/// What one commit does, all or nothing: first the deletes, then the puts in their order (the last of a key stands),
/// then the leaves are appended, and the request rows put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Rows to write.
    pub puts: Vec<(Key, Bytes)>,
    /// Rows to remove; a key that isn't there is no error.
    pub deletes: Vec<Key>,
    /// Leaves to append.
    pub leaves: Vec<Leaf>,
    /// Request rows to write.
    pub requests: Vec<RequestRow>,
}

impl Batch {
    /// Holds the batch against the bounds of the contract. Every engine calls this first in `commit`.
    pub fn check(&self) -> Result<(), Limit> {
        let values = self.puts.iter().map(|(key, value)| (key, value));
        for (key, value) in values.chain(self.requests.iter().map(|row| (&row.key, &row.value))) {
            check_key(key)?;
            if value.len() > MAX_VALUE_BYTES {
                return Err(Limit::Value { bytes: value.len() });
            }
        }
        for key in &self.deletes {
            check_key(key)?;
        }
        for leaf in &self.leaves {
            if leaf.record.len() > MAX_RECORD_BYTES {
                return Err(Limit::Record { bytes: leaf.record.len() });
            }
            if leaf.private.len() > MAX_PRIVATE_BYTES {
                return Err(Limit::Private { bytes: leaf.private.len() });
            }
        }
        match self.weight() {
            bytes if bytes > MAX_BATCH_BYTES => Err(Limit::Batch { bytes }),
            _ => Ok(()),
        }
    }

    /// The bytes of everything in the batch, and sixteen for each item.
    pub fn weight(&self) -> usize {
        let puts: usize = self.puts.iter().map(|(key, value)| key.len() + value.len()).sum();
        let deletes: usize = self.deletes.iter().map(Vec::len).sum();
        let leaves: usize = self.leaves.iter().map(|leaf| leaf.record.len() + leaf.private.len()).sum();
        let requests: usize = self.requests.iter().map(|row| row.key.len() + row.value.len()).sum();
        let items = self.puts.len() + self.deletes.len() + self.leaves.len() + self.requests.len();
        puts + deletes + leaves + requests + items * ITEM_BYTES
    }

    /// The head that this batch makes of `head`.
    pub fn after(&self, head: Head) -> Head {
        Head { size: head.size + self.leaves.len() as u64, epoch: head.epoch, sequence: head.sequence + 1 }
    }
}

fn check_key(key: &Key) -> Result<(), Limit> {
    if (1..=MAX_KEY_BYTES).contains(&key.len()) { Ok(()) } else { Err(Limit::Key { bytes: key.len() }) }
}

/// What [`Store::publish`](crate::Store::publish) makes public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The size that the checkpoint states.
    pub size: u64,
    /// Hash tiles by their path (`tile/0/000.p/5`). Entry bundles are not among them: the engine owns those.
    pub files: Vec<(String, Bytes)>,
    /// The signed checkpoint, as it is served.
    pub checkpoint: Bytes,
}

impl Publication {
    /// Holds the publication against the contract: paths of hash tiles alone, no size beyond `head`, none below
    /// `published`. Returns the paths, parsed, in the order of `files`.
    pub fn check(&self, head: u64, published: u64) -> Result<Vec<LogPath>, PublishError> {
        if self.size > head {
            return Err(PublishError::Beyond { size: self.size, head });
        }
        if self.size < published {
            return Err(PublishError::Backwards { size: self.size, published });
        }
        let tile = |path: &String| match LogPath::parse(path) {
            Some(tile @ LogPath::Tile { .. }) => Ok(tile),
            _ => Err(PublishError::Path { path: path.clone() }),
        };
        self.files.iter().map(|(path, _)| tile(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(batch: &Batch, expected: Result<(), Limit>) {
        assert_eq!(batch.check(), expected);
    }

    #[test]
    fn each_bound_is_held_to_the_byte() {
        let put = |key: usize, value: usize| Batch {
            puts: vec![(vec![1; key], vec![2; value].into())],
            ..Batch::default()
        };
        check(&Batch::default(), Ok(()));
        check(&put(MAX_KEY_BYTES, MAX_VALUE_BYTES), Ok(()));
        check(&put(0, 1), Err(Limit::Key { bytes: 0 }));
        check(&put(MAX_KEY_BYTES + 1, 1), Err(Limit::Key { bytes: MAX_KEY_BYTES + 1 }));
        check(&put(1, MAX_VALUE_BYTES + 1), Err(Limit::Value { bytes: MAX_VALUE_BYTES + 1 }));
        check(&Batch { deletes: vec![Vec::new()], ..Batch::default() }, Err(Limit::Key { bytes: 0 }));

        let leaf = |record: usize, private: usize| Leaf {
            record: vec![0; record].into(),
            private: vec![0; private].into(),
        };
        let leaves = |leaves: Vec<Leaf>| Batch { leaves, ..Batch::default() };
        check(&leaves(vec![leaf(MAX_RECORD_BYTES, MAX_PRIVATE_BYTES)]), Ok(()));
        check(
            &leaves(vec![leaf(MAX_RECORD_BYTES + 1, 0)]),
            Err(Limit::Record { bytes: MAX_RECORD_BYTES + 1 }),
        );
        check(
            &leaves(vec![leaf(0, MAX_PRIVATE_BYTES + 1)]),
            Err(Limit::Private { bytes: MAX_PRIVATE_BYTES + 1 }),
        );

        let heavy = leaves(vec![leaf(MAX_RECORD_BYTES, MAX_PRIVATE_BYTES); 256]);
        let bytes = heavy.weight();
        assert_eq!(bytes, 256 * (2 * 65_535 + 16));
        check(&heavy, Err(Limit::Batch { bytes }));
    }

    #[test]
    fn a_publication_names_hash_tiles_alone() {
        let publication = |size, path: &str| Publication {
            size,
            files: vec![(path.to_owned(), Bytes::from_static(b"hashes"))],
            checkpoint: Bytes::new(),
        };
        assert_eq!(
            publication(5, "tile/0/000.p/5").check(5, 5),
            Ok(vec![LogPath::parse("tile/0/000.p/5").unwrap()])
        );
        for path in ["checkpoint", "tile/entries/000.p/5", "tile/0/../000", "/tile/0/000", ""] {
            assert_eq!(publication(5, path).check(5, 0), Err(PublishError::Path { path: path.to_owned() }));
        }
        assert_eq!(publication(6, "tile/0/000").check(5, 0), Err(PublishError::Beyond { size: 6, head: 5 }));
        assert_eq!(
            publication(4, "tile/0/000").check(5, 5),
            Err(PublishError::Backwards { size: 4, published: 5 })
        );
    }
}
