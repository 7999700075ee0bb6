//! The manifest: that this folder is a store, of which version, in which epoch.

use std::path::Path;

use crate::errors::OpenError;
use crate::files::{Files, Placer};

const MAGIC: &[u8; 8] = b"CSGNSTOR";
const VERSION: u32 = 1;

/// magic(8) ‖ version(4) ‖ epoch(8) ‖ CRC-32C of those(4), little-endian.
const BYTES: usize = 24;

/// The epoch of a new store. It rises when a store is set up again from a copy; one process at a time writes here,
/// which the lock sees to.
const FIRST_EPOCH: u64 = 1;

/// The epoch of the store in `folder`; `None` if there is no manifest.
pub(crate) fn read(files: &dyn Files, path: &Path) -> Result<Option<u64>, OpenError> {
    let Some(bytes) = files.read(path).map_err(OpenError::io(path))? else { return Ok(None) };
    parse(&bytes, path).map(Some)
}

/// Writes the manifest of a new store and returns its epoch.
pub(crate) fn create(files: &dyn Files, placer: &Placer, path: &Path) -> Result<u64, OpenError> {
    placer.place(files, path, &encode(FIRST_EPOCH)).map_err(OpenError::io(path))?;
    let folder = path.parent().expect("the manifest is in the store's folder");
    files.sync_folder(folder).map_err(OpenError::io(folder))?;
    Ok(FIRST_EPOCH)
}

fn encode(epoch: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&epoch.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn parse(bytes: &[u8], path: &Path) -> Result<u64, OpenError> {
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
    let (epoch, checksum) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    if checksum != crc32c::crc32c(&bytes[..BYTES - 4]).to_le_bytes() {
        return Err(damaged());
    }
    Ok(u64::from_le_bytes(*epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_as_written_and_no_damaged_one_is() {
        let path = Path::new("MANIFEST");
        let bytes = encode(7);
        assert_eq!(bytes.len(), BYTES);
        assert_eq!(parse(&bytes, path).unwrap(), 7);
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
