//! The manifest: that this folder is a store, which one, of which version, in which epoch.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use crate::errors::OpenError;
use crate::files::Files;
use crate::placer::Placer;

const MAGIC: &[u8; 8] = b"CSGNSTOR";
const VERSION: u32 = 1;

/// magic(8) ‖ version(4) ‖ id(16) ‖ epoch(8) ‖ CRC-32C of those(4), little-endian.
const BYTES: usize = 40;

/// The epoch of a new store. It rises when a store is set up again from a copy; one process at a time writes here,
/// which the lock sees to.
const FIRST_EPOCH: u64 = 1;

/// Tells one store from another: snapshots and the index carry it, so that a copy of another store's is known for what
/// it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreId(pub(crate) [u8; 16]);

impl StoreId {
    /// One that no other store has. It has to differ and needs no secrecy, so what the standard library seeds its hash
    /// tables with will do.
    fn new() -> StoreId {
        let mut id = [0; 16];
        for half in id.chunks_exact_mut(8) {
            half.copy_from_slice(&RandomState::new().hash_one("store").to_le_bytes());
        }
        StoreId(id)
    }
}

/// What a manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) id: StoreId,
    pub(crate) epoch: u64,
}

/// The manifest at `path`; `None` if there is none.
pub(crate) fn read(files: &dyn Files, path: &Path) -> Result<Option<Manifest>, OpenError> {
    let Some(bytes) = files.read(path).map_err(OpenError::io(path))? else { return Ok(None) };
    parse(&bytes, path).map(Some)
}

/// Writes the manifest of a new store.
pub(crate) fn create(files: &dyn Files, placer: &Placer, path: &Path) -> Result<Manifest, OpenError> {
    let manifest = Manifest { id: StoreId::new(), epoch: FIRST_EPOCH };
    placer.place(files, path, &encode(manifest)).map_err(OpenError::io(path))?;
    let folder = path.parent().expect("the manifest is in the store's folder");
    files.sync_folder(folder).map_err(OpenError::io(folder))?;
    Ok(manifest)
}

fn encode(manifest: Manifest) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&manifest.id.0);
    bytes.extend_from_slice(&manifest.epoch.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn parse(bytes: &[u8], path: &Path) -> Result<Manifest, OpenError> {
    let damaged = || OpenError::Manifest { path: path.to_owned() };
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    if magic != MAGIC {
        return Err(damaged());
    }
    // The version comes before the checksum: what follows it may have any shape in another version.
    let found = u32::from_le_bytes(*version);
    if found != VERSION {
        return Err(OpenError::Version { path: path.to_owned(), found, known: VERSION });
    }
    let (id, rest) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
    let (epoch, checksum) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    if checksum != crc32c::crc32c(&bytes[..BYTES - 4]).to_le_bytes() {
        return Err(damaged());
    }
    Ok(Manifest { id: StoreId(*id), epoch: u64::from_le_bytes(*epoch) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_stores_have_the_same_id() {
        assert_ne!(StoreId::new(), StoreId::new());
    }

    #[test]
    fn a_manifest_is_read_as_written_and_no_damaged_one_is() {
        let path = Path::new("MANIFEST");
        let manifest = Manifest { id: StoreId::new(), epoch: 7 };
        let bytes = encode(manifest);
        assert_eq!(bytes.len(), BYTES);
        assert_eq!(parse(&bytes, path).unwrap(), manifest);
        for at in 0..BYTES {
            assert!(matches!(parse(&bytes[..at], path), Err(OpenError::Manifest { .. })), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let refused = parse(&flipped, path);
            if (8..12).contains(&at) {
                assert!(matches!(refused, Err(OpenError::Version { known: 1, .. })), "flipped at {at}");
            } else {
                assert!(matches!(refused, Err(OpenError::Manifest { .. })), "flipped at {at}");
            }
        }
    }
}
