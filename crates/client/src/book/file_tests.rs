//! Files that were torn, damaged, or never a book.

use super::*;

fn entries(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|n| vec![n as u8 + 1; 10 * (n + 1)]).collect()
}

/// A book of three entries, bent by `bend` while it was closed.
fn reopened(bend: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<Vec<u8>>, BookError> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("book");
    let book = FileBook::open(&path).expect("opens");
    assert!(book.load().expect("reads").is_empty());
    for entry in entries(3) {
        book.append(&entry, true).expect("takes it");
    }
    drop(book);
    let mut bytes = std::fs::read(&path).expect("reads");
    bend(&mut bytes);
    std::fs::write(&path, &bytes).expect("writes");
    let book = FileBook::open(&path)?;
    let loaded = book.load()?;
    // Whatever was cut off, what comes next stands right behind what was kept.
    book.append(b"next", true).expect("takes it");
    drop(book);
    let mut expected = loaded.clone();
    expected.push(b"next".to_vec());
    assert_eq!(FileBook::open(&path).expect("opens").load().expect("reads"), expected);
    Ok(loaded)
}

#[test]
fn entries_come_back_in_order() {
    assert_eq!(reopened(|_| {}).expect("reads"), entries(3));
}

#[test]
fn a_torn_last_entry_is_cut_off_at_any_byte() {
    let last = HEADER_BYTES + 30;
    for cut in 1..=last {
        let loaded = reopened(|bytes| bytes.truncate(bytes.len() - cut)).expect("reads");
        assert_eq!(loaded, entries(2), "cut by {cut}");
    }
    let zeroed = |bytes: &mut Vec<u8>| {
        let at = bytes.len() - 30;
        bytes[at..].fill(0);
    };
    assert_eq!(reopened(zeroed).expect("reads"), entries(2));
    assert_eq!(reopened(|bytes| bytes.extend([0; 4096])).expect("reads"), entries(3));
}

#[test]
fn damage_elsewhere_is_refused_with_its_place() {
    let first = MAGIC.len();
    for (at, place) in [
        (first, first),
        (first + 5, first),
        (first + 9, first),
        (first + 15, first),
        (first + 22, first + 22),
    ] {
        match reopened(|bytes| bytes[at] ^= 1) {
            Err(BookError::Damaged { offset, .. }) => assert_eq!(offset, place as u64, "byte {at}"),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(matches!(reopened(|bytes| bytes[0] ^= 1), Err(BookError::NotABook { .. })));
    assert!(matches!(reopened(|bytes| bytes[17] = b'2'), Err(BookError::NotABook { .. })));
}

#[test]
fn a_rewrite_replaces_all_and_a_half_done_one_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("book");
    let book = FileBook::open(&path).expect("opens");
    book.load().expect("reads");
    for entry in entries(3) {
        book.append(&entry, false).expect("takes it");
    }
    let before = book.size();
    book.rewrite(&entries(1)).expect("rewrites");
    assert!(book.size() < before);
    book.append(b"more", true).expect("takes it");
    drop(book);
    std::fs::write(beside(&path, "new"), b"half").expect("writes");
    let book = FileBook::open(&path).expect("opens");
    assert_eq!(book.load().expect("reads"), [entries(1).remove(0), b"more".to_vec()]);
}

#[test]
fn what_is_appended_during_a_rewrite_is_carried_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("book");
    let book = FileBook::open(&path).expect("opens");
    book.load().expect("reads");
    book.append(b"old", true).expect("takes it");
    let mut meanwhile = || {
        book.append(b"meanwhile", false).expect("no lock is held while the new file is written");
        vec![b"meanwhile".to_vec()]
    };
    book.rewrite_beside(&entries(2), &mut meanwhile).expect("rewrites");
    book.append(b"after", true).expect("takes it");
    let size = book.size();
    drop(book);
    assert_eq!(size, std::fs::metadata(&path).expect("is there").len());
    let mut expected = entries(2);
    expected.extend([b"meanwhile".to_vec(), b"after".to_vec()]);
    assert_eq!(FileBook::open(&path).expect("opens").load().expect("reads"), expected);
}

#[test]
fn a_book_is_for_one_process_and_its_owner() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("book");
    let book = FileBook::open(&path).expect("opens");
    assert!(matches!(FileBook::open(&path), Err(BookError::InUse { .. })));
    assert!(matches!(book.append(&vec![0; MAX_ENTRY_BYTES + 1], false), Err(BookError::TooLong { .. })));
    drop(book);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("sets the mode");
        assert!(matches!(FileBook::open(&path), Err(BookError::Loose { mode: 0o644, .. })));
    }
}

#[test]
#[cfg(unix)]
fn after_a_failed_sync_nothing_is_taken_and_nothing_is_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("book");
    // Takes every write, and no sync.
    let cannot_sync = || {
        let book = FileBook::open(&path).expect("opens");
        let null = OpenOptions::new().append(true).open("/dev/null").expect("opens");
        book.writer.lock().file = Arc::new(null);
        book
    };
    let book = cannot_sync();
    assert!(matches!(book.append(b"one", true), Err(BookError::Io { .. })));
    assert!(matches!(book.append(b"two", true), Err(BookError::Poisoned)));
    assert!(matches!(book.sync(), Err(BookError::Poisoned)));
    assert!(matches!(book.rewrite(&[]), Err(BookError::Poisoned)));
    drop(book);
    let book = cannot_sync();
    assert!(matches!(book.load(), Err(BookError::Io { .. })), "what is not durable is not replayed");
    assert!(matches!(book.append(b"three", false), Err(BookError::Poisoned)));
    drop(book);
    assert!(FileBook::open(&path).expect("opens").load().expect("reads").is_empty());
}
