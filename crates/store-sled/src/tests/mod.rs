mod closed;
mod damage;
mod faults;
mod recovery;
mod scrub;
mod snapshots;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use countersign_store::{Batch, Head, Leaf, RequestRow, Store, conformance};
use tempfile::TempDir;

use self::faults::FaultyFiles;
use crate::{OpenError, Options, SledStore};

/// Small segments, so that every test crosses several; a small cache, which opens faster.
pub(crate) fn options() -> Options {
    Options { cache_bytes: 1 << 20, segment_bytes: 8_000, snapshot_bytes: u64::MAX }
}

/// The same, with a snapshot for every third segment.
fn snapshotting() -> Options {
    Options { snapshot_bytes: 20_000, ..options() }
}

struct Embedded {
    options: Options,
    folder: TempDir,
    store: Option<Arc<SledStore>>,
    /// Alternates: what is dropped must be found again as well as what is closed.
    closes: bool,
}

impl Embedded {
    async fn new(options: Options) -> Embedded {
        let folder = TempDir::new().unwrap();
        let mut engine = Embedded { options, folder, store: None, closes: false };
        engine.open().await;
        engine
    }

    async fn open(&mut self) {
        let files = Arc::new(FaultyFiles::sound());
        let store = SledStore::open_on(files, self.folder.path(), self.options.clone()).await.unwrap();
        self.store = Some(Arc::new(store));
    }
}

#[async_trait]
impl conformance::Engine for Embedded {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().unwrap()
    }

    async fn reopen(&mut self) -> bool {
        let store = self.store.take().unwrap();
        assert_eq!(Arc::strong_count(&store), 1, "the suite gave back its handles");
        if self.closes {
            store.close().await.unwrap();
        }
        self.closes = !self.closes;
        drop(store);
        self.open().await;
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_the_contract() {
    conformance::run(async || Embedded::new(options()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_the_contract_while_snapshots_are_made() {
    conformance::run(async || Embedded::new(snapshotting()).await).await;
}

async fn open(folder: &Path) -> Result<SledStore, OpenError> {
    SledStore::open(folder, options()).await
}

/// The batch of a step: two rows, one deleted again later, a request row, and some leaves.
fn batch(step: u64, leaves: u64) -> Batch {
    let text = |name: &str| Bytes::from(format!("{name} of step {step}"));
    Batch {
        puts: vec![
            (format!("row {}", step % 5).into(), text("row")),
            (format!("once {step}").into(), text("once")),
        ],
        deletes: vec![format!("once {}", step.saturating_sub(3)).into()],
        leaves: (0..leaves)
            .map(|leaf| Leaf {
                record: format!("record {step}/{leaf}").into(),
                private: format!("sealed {step}/{leaf}").into(),
            })
            .collect(),
        requests: vec![RequestRow {
            key: format!("request {step}").into(),
            hour: step / 8,
            value: text("answer"),
        }],
    }
}

pub(crate) async fn commit(store: &SledStore, step: u64, leaves: u64) -> Head {
    let head = store.head();
    assert_eq!(head.sequence, step);
    store.commit(head, batch(step, leaves)).await.unwrap()
}

/// A checkpoint as far as an engine reads it.
fn checkpoint(size: u64) -> String {
    format!("log.example\n{size}\nroot\n\n\u{2014} log.example c2lnbmVk\n")
}

/// Everything that reads give.
#[derive(Debug, PartialEq)]
pub(crate) struct Content {
    pub(crate) head: Head,
    rows: Vec<(Vec<u8>, countersign_store::Entry)>,
    records: Vec<Bytes>,
    private: Vec<Bytes>,
    requests: Vec<Option<Bytes>>,
}

pub(crate) async fn content(store: &dyn Store) -> Content {
    let head = store.head();
    let mut requests = Vec::new();
    for step in 0..=head.sequence {
        requests.push(store.request(format!("request {step}").as_bytes()).await.unwrap());
    }
    Content {
        head,
        rows: store.scan(Vec::new()..vec![255], usize::MAX).await.unwrap(),
        records: store.leaves(0..u64::MAX).await.unwrap(),
        private: store.private_parts(0..u64::MAX).await.unwrap(),
        requests,
    }
}

/// Copies a closed store's folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The files of the journal, in order.
fn segments(folder: &Path) -> Vec<std::path::PathBuf> {
    let names = std::fs::read_dir(folder.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
