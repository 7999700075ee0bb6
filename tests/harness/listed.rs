//! The list by which a source's notices find the grants of a handle: the world check knows each row of it, those that a
//! notice took along too.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use countersign_broker::{private::Kek, rows};
use countersign_grants::id::SubjectHandle;
use countersign_store::{Batch, Key, Store};

use crate::{
    faults::copy,
    restart::{close, open},
    world::{Granted, World},
    worldcheck::{self, Keys},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// The rows of the list of a handle.
async fn rows_of(store: &dyn Store, subject: &SubjectHandle) -> Vec<(Key, Bytes)> {
    let name = rows::grants_from(subject).name().to_vec();
    let end = [name.as_slice(), &[0xff; 41]].concat();
    let found = store.scan(name..end, usize::MAX).await.expect("reads");
    found.into_iter().map(|(key, entry)| (key, entry.value)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_world_check_knows_which_grants_are_listed_for_notices() {
    let folders = tempfile::tempdir().expect("a folder");
    let sound = folders.path().join("sound");
    let store = open(&sound).await;
    // One ends by its time, one stands, one is stopped.
    let granted = World::on(Arc::clone(&store) as Arc<dyn Store>).await.with_grant().await;
    let at_skylark = granted.at_skylark.clone();
    granted.world.clock.advance(23 * HOUR);
    granted.approve_one().await;
    // The list goes by time.
    granted.world.clock.advance(MINUTE);
    let stopped = granted.approve_one().await;
    granted.world.clock.advance(2 * HOUR);
    let all = rows_of(&*store, &at_skylark).await;
    assert_eq!(all.len(), 3, "what has ended by its time is listed until a notice");
    granted.mei.stop(&stopped, false).await.expect("stops");
    granted.skylark.partner.notify_change(&at_skylark, "trip").await.expect("notifies");
    let left = rows_of(&*store, &at_skylark).await;
    assert_eq!(left, all[1..2].to_vec(), "a notice takes along what has ended");
    let Granted { world, .. } = granted;
    let keys = Keys { log: world.trust.log_key.clone(), broker: Some(Kek::new([4; 32])) };
    world.end().await;
    close(store).await;

    let check = async |name: &str, batch: Batch| {
        let folder = folders.path().join(name);
        copy(&sound, &folder);
        change(&folder, batch).await;
        worldcheck::disk(&folder, &keys).await.map(drop)
    };
    let put = |row: &(Key, Bytes)| Batch { puts: vec![row.clone()], ..Batch::default() };
    check("again", put(&left[0])).await.expect("all of it holds");
    let deletes = vec![left[0].0.clone()];
    let gone = Batch { deletes, ..Batch::default() };
    let mut another = left[0].clone();
    another.0.push(7);
    let harmed = [
        ("missing", gone, "is listed for its source's notices: false"),
        ("ended", put(&all[0]), "is listed for its source's notices: true"),
        ("stopped", put(&all[2]), "is listed for its source's notices: true"),
        ("another", put(&another), "which nobody approved"),
        ("misnamed", put(&(left[0].0.clone(), all[0].1.clone())), "the list of grants names"),
    ];
    for (name, batch, said) in harmed {
        let found = check(name, batch).await.expect_err("it is found");
        assert!(found.0.contains(said), "{name}: {found}");
    }
}

/// Commits this to a store that nobody else has open.
async fn change(folder: &Path, batch: Batch) {
    let store = open(folder).await;
    store.commit(store.head(), batch).await.expect("commits");
    close(store).await;
}
