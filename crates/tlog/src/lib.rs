#![doc = r#"
A transparency log by the C2SP specifications: `tlog-tiles`, `tlog-checkpoint`, `signed-note` and `tlog-proof`.

Everything here is arithmetic on bytes that the caller supplies. There is no I/O, no clock and no randomness, so an
auditor can build on this crate alone, and the broker's log and the auditor's check of it share one definition.

| module | what it holds |
|---|---|
| [`hash`] | RFC 6962 leaf and node hashes |
| [`tile`] | coordinates, paths and bytes of hash tiles; which tiles a growth of the log writes |
| [`bundle`] | entry bundles: the records themselves |
| [`proof`] | inclusion and consistency proofs: verify them, produce them from tiles |
| [`tree`] | the writer's right edge of the tree, in memory |
| [`note`] | signed notes and their keys |
| [`checkpoint`] | the signed head of a log |
| [`proof_file`] | a record's proof as one text file that is verified offline |
| [`check`] | a streaming frontier for whoever replays a whole log |

Parsers refuse what the specifications do not allow, and say what is wrong; no bytes from outside can make them panic.

```
use countersign_tlog::{Hash, Tree, hash::leaf_hash, proof::verify_inclusion};

let mut tree = Tree::new();
for record in ["first", "second", "third"] {
    tree.append(leaf_hash(record.as_bytes()));
}
let path = tree.inclusion(1)?;
verify_inclusion(1, tree.size(), &leaf_hash(b"second"), &path, &tree.root())?;
# Ok::<(), Box<dyn std::error::Error>>(())
```
"#]

pub mod bundle;
pub mod check;
pub mod checkpoint;
pub mod hash;
pub mod note;
pub mod proof;
pub mod proof_file;
mod text;
pub mod tile;
pub mod tree;

pub use bundle::BundleCoord;
pub use check::{Frontier, TileStream};
pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use hash::Hash;
pub use note::{KeyName, SignedNote, SignerKey, VerifierKey};
pub use proof_file::{ProofFile, ProvenRecord};
pub use tile::{LogPath, Tile, TileCoord, TileSource};
pub use tree::Tree;
