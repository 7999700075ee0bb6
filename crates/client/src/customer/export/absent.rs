//! What records rest on and an export has not: each statement is in one of its files, or is named as absent.

use std::collections::HashMap;

use countersign_grants::{digest::Digest, envelope};
use countersign_proto::statement::v1::Envelope;
use serde_json::json;

use super::{ExportError, folder::Folder, hex};

/// The statements on which records rest, and of which no envelope is written yet; each with the first record that rests on it.
#[derive(Default)]
pub(super) struct Absent(HashMap<Digest, u64>);

impl Absent {
    /// The record at this index rests on a statement.
    pub(super) fn rests(&mut self, index: u64, on: Digest) {
        self.0.entry(on).or_insert(index);
    }

    /// An envelope is written.
    pub(super) fn written(&mut self, envelope: Option<&Envelope>) {
        if let Some(envelope) = envelope {
            self.0.remove(&envelope::digest(envelope));
        }
    }

    /// Writes what is left, in the order of the log.
    pub(super) async fn write(self, folder: &mut Folder) -> Result<(), ExportError> {
        let mut left: Vec<_> = self.0.into_iter().map(|(digest, index)| (index, hex(digest))).collect();
        left.sort();
        let mut list = Folder::list("absent.json");
        for (index, evidence) in left {
            list.add(folder, &json!({ "index": index, "evidence": evidence })).await?;
        }
        list.end(folder).await.map(drop)
    }
}
