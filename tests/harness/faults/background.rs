//! The steps behind a commit that nobody waits for: full bundles, snapshots and what goes behind them, checkpoints that
//! are made public. What fails there is said in the log. Either the broker goes on and makes up for it, or it takes
//! nothing more and ends; and whatever was acknowledged is there when it is opened again.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use countersign_broker::{rows, surface::Ended};
use countersign_grants::{id::PartnerName, key::SigningKey};
use countersign_ledger::Ledger;
use countersign_proto::v1;
use countersign_store::{Store, layout::WIDTH};
use countersign_store_sled::{Options, SledStore};
use parking_lot::Mutex;
use tempfile::TempDir;
use tonic::{Code, Status};

use super::{
    BROKEN, DISK_FULL, FailingFiles, Failure, SEGMENT_BYTES, Step, Within, Writer, close_failed, keys,
    says_that_it_does_not_serve, watch_health,
};
use crate::{
    restart::{close, open},
    world::{PATIENCE, World},
    worldcheck::{self, Keys},
};

/// How often it is looked whether something has come about.
const LOOK: Duration = Duration::from_millis(20);

/// Far more commits than any of this takes.
const MOST: usize = 1_000;

/// All that was said in this process, at the levels that an operator reads.
static SAID: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(|| {
    let said = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&said);
    let lines = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN);
    lines.with_writer(move || Lines(Arc::clone(&into))).init();
    said
});

struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A broker on a disk that fails when it is told to, and the partners that were entered there.
struct House {
    folder: PathBuf,
    files: FailingFiles,
    store: Arc<SledStore>,
    world: World,
    keys: Keys,
    partners: Partners,
    _parent: TempDir,
}

#[derive(Default)]
struct Partners {
    tried: usize,
    entered: Vec<String>,
}

impl Partners {
    /// Enters a partner, when the quota allows: one commit with one record.
    async fn enter(&mut self, world: &World) -> Result<(), Status> {
        self.tried += 1;
        assert!(self.tried < MOST, "it does not come about");
        let partner = v1::Partner {
            display_name: "A brand".to_owned(),
            identity_key: SigningKey::from_secret(&world.system().draw()).public().as_bytes().to_vec().into(),
            ..v1::Partner::default()
        };
        let request = v1::CreatePartnerRequest {
            partner_id: format!("brand-{}", self.tried),
            partner: Some(partner),
            ..Default::default()
        };
        let entered = loop {
            match world.operator.partners().create_partner(request.clone()).await {
                Err(status) if status.code() == Code::ResourceExhausted => tokio::time::sleep(LOOK).await,
                entered => break entered?.into_inner(),
            }
        };
        self.entered.push(entered.name);
        Ok(())
    }
}

impl House {
    async fn on(options: Options) -> Self {
        LazyLock::force(&SAID);
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("store");
        let files = FailingFiles::default();
        let store = SledStore::open_on(Arc::new(files.clone()), &folder, options).await.expect("opens");
        let store = Arc::new(store);
        let world = World::on(Arc::clone(&store) as Arc<dyn Store>).await;
        let keys = keys(&world);
        Self { folder, files, store, world, keys, partners: Partners::default(), _parent: parent }
    }

    fn ledger(&self) -> Ledger {
        self.world.broker.ledger().clone()
    }

    async fn enters(&mut self) {
        self.partners.enter(&self.world).await.expect("commits go on");
    }

    /// How many lines of the log name this cause and a file of this store.
    fn said(&self, cause: &str) -> usize {
        let said = SAID.lock();
        let said = String::from_utf8_lossy(&said);
        let folder = self.folder.to_str().expect("text");
        said.lines().filter(|line| line.contains(cause) && line.contains(folder)).count()
    }

    /// Opens the store again on a sound disk, goes on, and judges what is there.
    async fn opens_again(mut self, ended: Ended) {
        let ledger = self.ledger();
        let records = ledger.leaves(0..u64::MAX).await.expect("reads go on");
        drop(ledger);
        let Self { world, store, folder, keys, .. } = self;
        if ended == Ended::LogUnavailable {
            assert_eq!(world.ends().await, ended);
            close_failed(store).await;
        } else {
            world.end().await;
            close(store).await;
        }
        let store = open(&folder).await;
        let world = World::on(Arc::clone(&store) as Arc<dyn Store>).await;
        self.partners.enter(&world).await.expect("it takes commits again");
        for name in &self.partners.entered {
            let key = rows::partner(&PartnerName::parse(name).expect("a name"));
            let row = store.get(key.as_bytes()).await.expect("reads");
            assert!(row.is_some(), "{name} was acknowledged and is not there");
        }
        world.end().await;
        close(store).await;
        let summary = worldcheck::disk(&folder, &keys).await.unwrap_or_else(|found| panic!("{found}"));
        assert_eq!(summary.records[..records.len()], records);
        assert_eq!(summary.published, summary.head.size);
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let looking = async {
        while !holds() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("it never came about: {what}"));
}

/// Each step, once and for good, and either error at each.
fn each_way(writer: Writer, steps: &[(Step, Within)]) -> Vec<Failure> {
    let ways = [(DISK_FULL, true), (BROKEN, false)];
    let both = steps.iter().enumerate().flat_map(|(turn, (step, within))| {
        ways.map(|(error, for_good)| {
            let for_good = for_good ^ (turn % 2 == 1);
            Failure { writer, step: *step, within: *within, error, for_good }
        })
    });
    both.collect()
}

/// A bundle that can't be written: commits end, without waiting for the next one to find out.
async fn check_bundle(failure: Failure) {
    let mut house = House::on(Options::default()).await;
    let (ledger, health) = (house.ledger(), watch_health(&house.world).await);
    house.files.fail(failure);
    while ledger.latest().size() < WIDTH {
        house.enters().await;
    }
    until("a bundle is written", || ledger.failure().is_some()).await;
    let why = ledger.failure().expect("seen above");
    assert!(house.files.struck() && why.contains(&failure.cause()), "{failure:?}: {why}");
    assert!(house.said(&failure.cause()) > 0, "{failure:?} is not in the log");
    assert!(!ledger.is_available(), "{failure:?}: it is noticed before anybody is refused");
    let refused = house.partners.enter(&house.world).await.expect_err("nothing is taken");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    says_that_it_does_not_serve(health).await;
    drop(ledger);
    house.opens_again(Ended::LogUnavailable).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_cant_be_written_ends_the_broker_with_its_cause() {
    let steps = [
        (Step::Open, Within::Scratch),
        (Step::Write, Within::Scratch),
        (Step::Sync, Within::Scratch),
        (Step::Rename, Within::Private),
        (Step::Rename, Within::Log),
    ];
    for failure in each_way(Writer::Bundles, &steps) {
        check_bundle(failure).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cant_be_made_public_is_tried_again_and_keeps_no_commit_waiting() {
    let steps = [
        (Step::Open, Within::Scratch),
        (Step::Write, Within::Scratch),
        (Step::Sync, Within::Scratch),
        (Step::Rename, Within::Log),
        (Step::SyncFolder, Within::Log),
        (Step::Rename, Within::Checkpoint),
    ];
    let mut house = House::on(Options::default()).await;
    let ledger = house.ledger();
    for failure in each_way(Writer::Publication, &steps) {
        until("all is public", || ledger.published().size() == ledger.latest().size()).await;
        let (before, said) = (ledger.published().size(), house.said(&failure.cause()));
        house.files.fail(failure);
        house.enters().await;
        until("it fails", || ledger.publishing_failure().is_some_and(|why| why.contains(&failure.cause())))
            .await;
        assert!(house.files.struck() && house.said(&failure.cause()) > said, "{failure:?}");
        house.enters().await;
        assert!(ledger.is_available() && ledger.failure().is_none(), "{failure:?}");
        if failure.for_good {
            assert_eq!(ledger.published().size(), before, "{failure:?}");
            house.files.mend();
        }
        until("it is made up for", || ledger.publishing_failure().is_none()).await;
        assert!(ledger.published().size() >= before + 2, "{failure:?}");
    }
    // At the end for good: what could not be made public is when it is opened again.
    let step = (Step::Rename, Within::Checkpoint);
    house.files.fail(each_way(Writer::Publication, &[step])[0]);
    house.enters().await;
    until("it fails", || ledger.publishing_failure().is_some()).await;
    drop(ledger);
    house.opens_again(Ended::Stopped).await;
}

/// The newest snapshot that stands, by its name.
fn newest(folder: &Path) -> Option<String> {
    let names = fs::read_dir(folder.join("snapshots")).expect("a folder");
    names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).max()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cant_be_made_is_tried_again_and_keeps_no_commit_waiting() {
    let steps = [
        (Step::Open, Within::Scratch),
        (Step::Write, Within::Scratch),
        (Step::Sync, Within::Scratch),
        (Step::Rename, Within::Snapshots),
        (Step::SyncFolder, Within::Snapshots),
        (Step::Remove, Within::Snapshots),
        (Step::Remove, Within::Journal),
    ];
    let options = Options { segment_bytes: SEGMENT_BYTES, snapshot_bytes: 1, ..Options::default() };
    let mut house = House::on(options).await;
    let ledger = house.ledger();
    for failure in each_way(Writer::Snapshots, &steps) {
        let said = house.said(&failure.cause());
        house.files.fail(failure);
        while !house.files.struck() {
            house.enters().await;
        }
        until("it is said", || house.said(&failure.cause()) > said).await;
        assert!(ledger.is_available() && ledger.failure().is_none(), "{failure:?}");
        house.enters().await;
        house.files.mend();
        let before = newest(&house.folder);
        while newest(&house.folder) <= before {
            house.enters().await;
        }
    }
    let step = (Step::Write, Within::Scratch);
    house.files.fail(each_way(Writer::Snapshots, &[step])[0]);
    while !house.files.struck() {
        house.enters().await;
    }
    drop(ledger);
    house.opens_again(Ended::Stopped).await;
}
