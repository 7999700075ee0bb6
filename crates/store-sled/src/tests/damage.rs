//! The disk isn't what it was: sled, bundles, segments.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_store::{Publication, Store};
use tempfile::TempDir;

use super::snapshots::{cleaned, first_segment, grow, open};
use super::{content, copy, segments};
use crate::OpenError;
use crate::errors::Damage;

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

pub(super) fn put_back(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy(from, to);
}

/// Bytes that mean nothing, the same each time.
fn rubbish(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}

#[tokio::test]
async fn whatever_happens_to_sled_nothing_is_lost() {
    let (folder, expected) = cleaned().await;
    let sled = folder.path().join("sled");
    let saved = TempDir::new().unwrap();
    copy(&sled, saved.path());
    let mark = folder.path().join("CLOSED");
    let marked = fs::read(&mark).unwrap();
    let harm = async |name: &str, harm: &dyn Fn()| {
        put_back(saved.path(), &sled);
        harm();
        // Where a mark is, it is this store's own; a copy has other times.
        fs::write(&mark, &marked).unwrap();
        for closes in [false, true] {
            let store = open(folder.path()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(content(&store).await, expected, "{name}");
            assert!(!mark.exists(), "a store that is open isn't closed");
            if closes {
                store.close().await.unwrap();
                assert!(mark.exists());
            }
        }
    };
    harm("deleted", &|| fs::remove_dir_all(&sled).unwrap()).await;
    harm("emptied", &|| {
        fs::remove_dir_all(&sled).unwrap();
        fs::create_dir(&sled).unwrap();
    })
    .await;
    for file in files(saved.path()) {
        let file = sled.join(file.strip_prefix(saved.path()).unwrap());
        let name = file.display().to_string();
        let length = fs::metadata(&file).unwrap().len();
        let cut = |to: u64| fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(to).unwrap();
        harm(&format!("without {name}"), &|| fs::remove_file(&file).unwrap()).await;
        for to in [0, 1, length / 3, length / 2, length - 1] {
            harm(&format!("{name} cut to {to}"), &|| cut(to)).await;
        }
        harm(&format!("{name} of rubbish"), &|| fs::write(&file, rubbish(length as usize)).unwrap()).await;
        harm(&format!("{name} of zeros"), &|| fs::write(&file, vec![0; length as usize]).unwrap()).await;
        for part in 0..8 {
            harm(&format!("an eighth of {name}, rubbish"), &|| {
                let mut bytes = fs::read(&file).unwrap();
                let eighth = bytes.len() / 8;
                bytes[part * eighth..][..eighth].copy_from_slice(&rubbish(eighth));
                fs::write(&file, bytes).unwrap();
            })
            .await;
        }
    }
    harm("with a half-written snapshot", &|| {
        fs::write(sled.join("1/snap.FFFFFFFFFFFFFFFF.generating"), rubbish(99)).unwrap();
    })
    .await;
    harm("with a snapshot of rubbish", &|| {
        fs::write(sled.join("1/snap.FFFFFFFFFFFFFFFF"), rubbish(99)).unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_older_copy_of_sled_is_brought_up() {
    let (folder, _) = cleaned().await;
    let sled = folder.path().join("sled");
    let older = TempDir::new().unwrap();
    copy(&sled, older.path());
    let mark = folder.path().join("CLOSED");
    let marked = fs::read(&mark).unwrap();
    // So far that the journal no longer has what came right after the copy.
    for to in [95, 130, 200] {
        let store = open(folder.path()).await.unwrap();
        grow(&store, to).await;
        let expected = content(&store).await;
        store.close().await.unwrap();
        drop(store);
        put_back(older.path(), &sled);
        drop(open(folder.path()).await.unwrap());
        put_back(older.path(), &sled);
        fs::write(&mark, &marked).unwrap();
        assert_eq!(content(&open(folder.path()).await.unwrap()).await, expected, "at {to}");
    }
}

#[tokio::test]
async fn another_stores_sled_is_known_for_what_it_is() {
    let (folder, expected) = cleaned().await;
    let (other, _) = cleaned().await;
    let store = open(other.path()).await.unwrap();
    // It is ahead, so it would pass for a sign that our journal has lost something.
    grow(&store, 120).await;
    store.close().await.unwrap();
    drop(store);
    put_back(&other.path().join("sled"), &folder.path().join("sled"));
    assert_eq!(content(&open(folder.path()).await.unwrap()).await, expected);
}

#[tokio::test]
async fn a_sled_that_is_ahead_of_the_journal_is_a_journal_that_lost_commits() {
    let (folder, _) = cleaned().await;
    let last = segments(folder.path()).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 1]).unwrap();
    match open(folder.path()).await.err().unwrap() {
        OpenError::Corrupt { what: Damage::Short { journal: 89, beyond: 90 }, .. } => {}
        other => panic!("{other}"),
    }
    fs::write(&last, bytes).unwrap();
    open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_segment_that_is_missing_or_damaged_behind_the_older_snapshot_is_refused() {
    let (folder, expected) = cleaned().await;
    let first = first_segment(folder.path());
    let all = segments(folder.path());
    for (number, path) in (first..).zip(&all[..all.len() - 1]) {
        let sound = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        match open(folder.path()).await.err().unwrap() {
            OpenError::Corrupt { segment, offset: 0, what: Damage::Missing } => assert_eq!(segment, number),
            other => panic!("{other}"),
        }
        let mut flipped = sound.clone();
        flipped[200] ^= 1;
        fs::write(path, flipped).unwrap();
        match open(folder.path()).await.err().unwrap() {
            OpenError::Corrupt { segment, offset: 32, what: Damage::Checksum } => assert_eq!(segment, number),
            other => panic!("{other}"),
        }
        fs::write(path, sound).unwrap();
    }
    assert_eq!(content(&open(folder.path()).await.unwrap()).await, expected);
}

#[tokio::test]
async fn a_bundle_is_made_again_or_the_first_leaf_that_is_gone_is_named() {
    let (folder, expected) = cleaned().await;
    let store = open(folder.path()).await.unwrap();
    let published = expected.head.size;
    assert!(!published.is_multiple_of(256));
    let checkpoint = super::checkpoint(published).into();
    store.publish(Publication { size: published, files: Vec::new(), checkpoint }).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let (mut made, mut gone) = (0, 0);
    for half in ["log/tile/entries", "private/entries"] {
        for file in files(&folder.path().join(half)) {
            let sound = fs::read(&file).unwrap();
            let harms: [&dyn Fn(); 4] = [
                &|| fs::remove_file(&file).unwrap(),
                &|| fs::write(&file, &sound[..sound.len() / 2]).unwrap(),
                &|| fs::write(&file, &sound[..sound.len() - 1]).unwrap(),
                &|| fs::write(&file, b"").unwrap(),
            ];
            for harm in harms {
                harm();
                match open(folder.path()).await {
                    Ok(store) => {
                        assert_eq!(content(&store).await, expected, "{}", file.display());
                        assert_eq!(fs::read(&file).unwrap(), sound);
                        made += 1;
                    }
                    Err(OpenError::Leaves { index, path }) => {
                        let number: u64 = file.file_name().unwrap().to_str().unwrap().parse().unwrap();
                        assert_eq!(index, number * 256);
                        assert!(path.ends_with(file.file_name().unwrap()));
                        fs::write(&file, &sound).unwrap();
                        gone += 1;
                    }
                    Err(error) => panic!("{}: {error}", file.display()),
                }
            }
        }
    }
    assert!(made >= 12 && gone >= 16, "{made} made, {gone} gone");
    assert_eq!(content(&open(folder.path()).await.unwrap()).await, expected);
}
