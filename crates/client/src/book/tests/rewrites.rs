//! A rewrite of the file, with what comes meanwhile.

use super::*;

/// A book's file that has grown, and into which somebody writes while it is rewritten.
struct Busy {
    storage: MemoryBook,
    grown: std::sync::atomic::AtomicBool,
    book: Arc<std::sync::OnceLock<Book>>,
}

impl BookStorage for Busy {
    fn load(&self) -> Result<Vec<Vec<u8>>, BookError> {
        self.storage.load()
    }

    fn append(&self, entry: &[u8], sync: bool) -> Result<(), BookError> {
        self.storage.append(entry, sync)
    }

    fn sync(&self) -> Result<(), BookError> {
        self.grown.store(true, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }

    fn rewrite(&self, entries: &[Vec<u8>]) -> Result<(), BookError> {
        self.storage.rewrite(entries)
    }

    fn rewrite_beside(
        &self,
        entries: &[Vec<u8>],
        last: &mut dyn FnMut() -> Vec<Vec<u8>>,
    ) -> Result<(), BookError> {
        self.book.get().expect("is open").note(Entry::Cursor(99))?;
        let mut all = entries.to_vec();
        all.extend(last());
        self.rewrite(&all)
    }

    fn size(&self) -> u64 {
        if self.grown.load(std::sync::atomic::Ordering::SeqCst) { 1 << 40 } else { 0 }
    }
}

#[test]
fn a_rewrite_loses_nothing_of_what_comes_meanwhile_and_holds_nobody_up() {
    let filled = filled();
    let itself = Arc::new(std::sync::OnceLock::new());
    let busy = Busy {
        storage: filled.storage.clone(),
        grown: std::sync::atomic::AtomicBool::new(false),
        book: Arc::clone(&itself),
    };
    let book = Book::open(busy, filled.world.now()).expect("opens");
    assert!(itself.set(book.clone()).is_ok());
    book.tidy(filled.world.now(), filled.world.clock.elapsed()).expect("tidies");
    let again = Book::open(filled.storage.clone(), filled.world.now()).expect("opens");
    assert_eq!((book.cursor(), again.cursor()), (99, 99));
    assert_eq!(again.receipts_owed(), 2);
}
