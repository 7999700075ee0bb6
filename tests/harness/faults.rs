//! A disk that fails under a whole broker.

use std::{fs, path::Path, sync::Arc};

use countersign_broker::private::Kek;
use countersign_client::PartnerEvent;
use countersign_proto::v1::Receipt;
use countersign_store::Store;
use countersign_tlog::{Hash, KeyName, SignedCheckpoint, SignerKey};

use crate::{
    restart::{close, open},
    world::{Granted, ORIGIN, World, bare_fetch},
    worldcheck::{self, Keys},
};

/// What checks the disk of every [`World`].
fn keys(world: &World) -> Keys {
    Keys { log: world.trust.log_key.clone(), broker: Some(Kek::new([4; 32])) }
}

/// Makes the folder of a broker that ended, after one of nearly everything. Returns the keys that check it, and a receipt
/// that was handed out on the way.
async fn lived_in(folder: &Path) -> (Keys, Receipt) {
    let store = open(folder).await;
    let granted = World::on(Arc::clone(&store) as Arc<dyn Store>).await.with_grant().await;
    let Granted { skylark, mei, grant, .. } = &granted;
    for _ in 0..3 {
        granted.fetch().await.expect("flows");
    }
    mei.pause(grant).await.expect("pauses");
    granted.fetch().await.expect_err("paused");
    mei.resume(grant).await.expect("resumes");
    skylark.hears(|event| matches!(event, PartnerEvent::Resumed { .. }).then_some(())).await;
    let fetch = bare_fetch(&granted).await;
    let released = granted.send(&fetch).await.expect("released");
    granted.send(&fetch).await.expect("repeated");
    mei.stop(grant, false).await.expect("stops");
    granted.approve_one().await;
    granted.world.suspend(&granted.hopp).await;
    let keys = keys(&granted.world);
    granted.world.end().await;
    close(store).await;
    (keys, released.receipt.expect("set"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copies");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_world_check_passes_a_sound_disk_and_finds_what_is_harmed() {
    let folders = tempfile::tempdir().expect("a folder");
    let sound = folders.path().join("sound");
    let (keys, receipt) = lived_in(&sound).await;
    let check = async |name: &str, harm: &dyn Fn(&Path)| {
        let folder = folders.path().join(name);
        copy(&sound, &folder);
        harm(&folder);
        worldcheck::disk(&folder, &keys).await
    };
    let summary = check("copy", &|_| {}).await.expect("all of it holds");
    assert!(summary.published == summary.head.size && summary.head.size > 20);
    assert_eq!(summary.records[usize::try_from(receipt.index).expect("small")], receipt.record);
    let handed_out = SignedCheckpoint::verify(receipt.checkpoint, &keys.log).expect("signed");
    summary.contains(&handed_out).expect("it is consistent with the log now");
    let log_key = SignerKey::from_seed(KeyName::parse(ORIGIN).expect("a name"), &[1; 32]);
    let forked = SignedCheckpoint::sign(&log_key, handed_out.size(), Hash::from_bytes([7; 32]));
    summary.contains(&forked.expect("not empty")).expect_err("another root");

    let flip = |path: &Path| {
        let mut bytes = fs::read(path).expect("it is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).expect("writes");
    };
    let size = summary.head.size;
    let (tile, bundle) = (format!("log/tile/0/000.p/{size}"), format!("log/tile/entries/000.p/{size}"));
    for (name, said) in [("log/checkpoint", "checkpoint"), (&tile, "tile/0"), (&bundle, "entries")] {
        let found = check(name, &|folder| flip(&folder.join(name))).await.err().expect("found");
        assert!(found.0.contains(said), "{name}: {found}");
    }
    let missing = check("missing", &|folder| fs::remove_file(folder.join(&tile)).expect("removes")).await;
    assert!(missing.err().expect("found").0.contains("is missing"));
    let stray = |folder: &Path| fs::write(folder.join("log/tile/0/000"), [0; 8_192]).expect("writes");
    assert!(check("stray", &stray).await.err().expect("found").0.contains("is beyond"));
}
