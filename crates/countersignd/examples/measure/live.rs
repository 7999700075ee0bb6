//! What a store holds that is live: every row once, every record and every private part.

use std::path::PathBuf;

use countersign_store::Store as _;
use countersign_store_sled::{Options, SledStore};
use countersignd::folder::DataFolder;

use crate::Result;

/// Rows or leaves read at a time.
const PAGE: usize = 4096;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The data folder.
    #[arg(long)]
    data: PathBuf,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let store = SledStore::open(DataFolder::at(&arguments.data).store(), Options::default()).await?;
    let (mut rows, mut row_bytes) = (0_u64, 0);
    let mut start = Vec::new();
    loop {
        let page = store.scan(start..vec![0xff; 64], PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        start = [last.as_slice(), &[0]].concat();
        rows += page.len() as u64;
        row_bytes += page.iter().map(|(key, entry)| (key.len() + entry.value.len()) as u64).sum::<u64>();
    }
    let size = store.head().size;
    let (mut record_bytes, mut private_bytes) = (0, 0);
    for start in (0..size).step_by(PAGE) {
        let range = start..size.min(start + PAGE as u64);
        let bytes = |leaves: Vec<bytes::Bytes>| leaves.iter().map(|leaf| leaf.len() as u64).sum::<u64>();
        record_bytes += bytes(store.leaves(range.clone()).await?);
        private_bytes += bytes(store.private_parts(range).await?);
    }
    store.close().await?;
    let live = serde_json::json!({
        "records": size,
        "rows": rows,
        "row_bytes": row_bytes,
        "record_bytes": record_bytes,
        "private_bytes": private_bytes,
    });
    println!("{live}");
    Ok(())
}
