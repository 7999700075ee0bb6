//! What was answered, looked at and used: for how long a book keeps it.

use super::*;

#[test]
fn a_book_says_the_same_after_it_was_opened_again_and_after_it_was_rewritten() {
    let filled = filled();
    check(&filled, &filled.book, 3, 2);
    let again = Book::open(filled.storage.clone(), filled.world.now()).expect("opens");
    check(&filled, &again, 3, 2);
    filled.storage.rewrite(&again.read(State::snapshot)).expect("rewrites");
    check(&filled, &Book::open(filled.storage.clone(), filled.world.now()).expect("opens"), 3, 2);
}

#[test]
fn opening_drops_what_can_no_longer_be_asked_for_and_keeps_what_is_owed() {
    let filled = filled();
    filled.world.clock.pass(121_000);
    let before = filled.storage.load().expect("reads").len();
    let book = Book::open(filled.storage.clone(), filled.world.now()).expect("opens");
    check(&filled, &book, 0, 2);
    assert!(filled.storage.load().expect("reads").len() < before);
    let again = Book::open(filled.storage.clone(), filled.world.now()).expect("opens");
    check(&filled, &again, 0, 2);
}

#[test]
fn an_answer_is_kept_for_as_long_as_its_fetch_is_fresh() {
    let filled = filled();
    let (world, book) = (&filled.world, &filled.book);
    let ahead = world.fetch(filled.granted.digest(), |fetch| fetch.time_ms += 30_000);
    let one = answer_to(world, &filled.granted, &ahead);
    book.note_answer(one.clone(), |_, _| Ok::<_, ()>(())).expect("is written").expect("is allowed");
    let keeps = |millis| {
        world.clock.pass(millis);
        book.tidy(world.now(), world.clock.elapsed()).expect("tidies");
        book.read(|state| state.answers.contains_key(&one.key))
    };
    assert!(keeps(121_000), "it is fresh for 150 seconds");
    assert!(keeps(29_000));
    assert!(!keeps(1));
}

#[test]
fn a_clock_that_is_set_forward_and_back_forgets_no_answer() {
    let filled = filled();
    let (world, book) = (&filled.world, &filled.book);
    let fetch = world.fetch(filled.granted.digest(), |_| ());
    let one = answer_to(world, &filled.granted, &fetch);
    book.note_answer(one.clone(), |_, _| Ok::<_, ()>(())).expect("is written").expect("is allowed");
    let keeps = |ahead: u64, elapsed: u64| {
        let now = world.now().plus(Duration::from_secs(ahead + elapsed));
        book.tidy(now, Duration::from_secs(1000 + elapsed)).expect("tidies");
        book.read(|state| state.answers.contains_key(&one.key))
    };
    assert!(keeps(0, 1));
    assert!(keeps(600, 2), "set forward");
    assert!(keeps(0, 3), "and back");
    assert!(keeps(600, 120), "set forward again");
    assert!(!keeps(600, 125), "two minutes by every look");
}

#[test]
fn a_comparison_key_waits_for_the_first_transfer_and_a_bound_holds() {
    let filled = filled();
    let (world, granted, book) = (&filled.world, &filled.granted, &filled.book);
    let key = |book: &Book| {
        let row = book.grant_by(granted.digest()).expect("stands");
        let of = (row.terms().request, row.terms().offer);
        book.read(|state| state.previews.comparison(row.link(), of).map(|(_, key)| key[0]))
    };
    assert_eq!(key(book), None);
    let two = [previewed(world, granted, 1), previewed(world, granted, 2)];
    for one in &two {
        book.note_preview(one.clone()).expect("is written").unwrap_or_else(|_| panic!("is allowed"));
    }
    assert_eq!(key(book), Some(2), "the newest");
    // The same request id again: the first answer stands.
    let again = Previewed::read(two[0].link, world.now(), vec![], (vec![], vec![]), [0; 32]);
    assert!(again.is_err(), "no statement, no preview");
    let stood = book.note_preview(previewed(world, granted, 1)).expect("is written");
    assert!(stood.is_ok_and(|first| first.answer.is_some()));

    let reopened = || Book::open(filled.storage.clone(), world.now()).expect("opens");
    let has_answer = |book: &Book| {
        book.read(|state| state.previews.find(two[1].link, two[1].key).map(|one| one.answer.is_some()))
    };
    assert_eq!((key(&reopened()), has_answer(&reopened())), (Some(2), Some(true)));
    world.clock.pass(121_000);
    assert_eq!((key(&reopened()), has_answer(&reopened())), (Some(2), Some(false)), "the key waits on");
    filled.storage.rewrite(&reopened().read(State::snapshot)).expect("rewrites");
    assert_eq!((key(&reopened()), has_answer(&reopened())), (Some(2), Some(false)));

    let book = reopened();
    let row = book.grant_by(granted.digest()).expect("stands");
    let taken = book.take_comparison(&row).expect("is written").map(|(preview, key)| (preview, key[0]));
    assert_eq!(taken, Some((two[1].preview, 2)));
    assert!(book.take_comparison(&row).expect("is read").is_none(), "in one provision alone");
    assert_eq!((key(&book), key(&reopened())), (None, None), "compared once");
    filled.storage.rewrite(&reopened().read(State::snapshot)).expect("rewrites");
    assert_eq!(key(&reopened()), None);

    let book = reopened();
    for number in 3..99 {
        match book.note_preview(previewed(world, granted, number)).expect("is written") {
            Ok(_) => assert!(usize::from(number) <= MAX_PREVIEWS),
            Err(refused) => assert!(matches!(refused, NotShown::TooMany { lately: MAX_PREVIEWS })),
        }
    }
    world.clock.pass(24 * 3_600_000);
    book.note_preview(previewed(world, granted, 99))
        .expect("is written")
        .unwrap_or_else(|_| panic!("the next day"));
    world.clock.pass(30 * 24 * 3_600_000 + 1);
    assert_eq!(key(&reopened()), None, "it waited long enough");
}

#[test]
fn a_tap_that_was_used_is_remembered_until_it_is_over() {
    let filled = filled();
    let (world, granted) = (&filled.world, &filled.granted);
    let tap = Digest::of(b"tap");
    let fetch = world.fetch(granted.digest(), |fetch| fetch.tap = tap.into());
    let used = answer_to(world, granted, &fetch);
    filled.book.note_answer(used, |_, _| Ok::<_, ()>(())).expect("is written").expect("is allowed");
    let knows = |book: &Book| book.read(|state| state.taps.contains_key(&tap));
    let reopened = || Book::open(filled.storage.clone(), world.now()).expect("opens");
    assert!(knows(&filled.book) && knows(&reopened()));
    // The answer goes with its receipt and its time; the tap stays.
    world.clock.pass(121_000);
    let fetch =
        filled.book.read(|state| state.owed.values().find(|one| one.tap.is_some()).map(|one| one.fetch));
    let fetch = *fetch.expect("is owed").as_bytes();
    filled.book.note(Entry::ReceiptTaken { fetch }).expect("is written");
    filled.storage.rewrite(&reopened().read(State::snapshot)).expect("rewrites");
    assert!(knows(&reopened()));
    world.clock.pass(299_000);
    assert!(knows(&reopened()), "seven minutes");
    world.clock.pass(1_000);
    assert!(!knows(&reopened()));
}
