//! What ends, pauses or holds a grant.

use super::*;

#[test]
fn a_held_grant_stays_held_until_a_change_verifies() {
    let filled = filled();
    let (world, granted, book) = (&filled.world, &filled.granted, &filled.book);
    let grant = *granted.digest().as_bytes();
    let unknown = Digest::of(b"unknown");
    for grant in [grant, *unknown.as_bytes()] {
        book.enter(Entry::Held { grant }).expect("is written").expect("fits");
    }
    let reopened = || Book::open(filled.storage.clone(), world.now()).expect("opens");
    let row = |book: &Book| book.grant_by(granted.digest()).expect("stands");
    for _ in 0..2 {
        let again = reopened();
        assert!(row(&again).held() && !row(&again).stands(world.now()));
        filled.storage.rewrite(&again.read(State::snapshot)).expect("rewrites");
    }
    let pause = world.change(&granted.source, granted.digest(), 3, Verb::Pause, row(book).last());
    book.enter(Entry::Changed { grant, change: envelope_bytes(&pause) }).expect("is written").expect("fits");
    assert!(!row(&reopened()).held());

    // A stop that comes before the terms holds them when they come.
    let early = Book::in_memory();
    early.enter(Entry::Held { grant }).expect("is written").expect("fits");
    early.enter(granted.source.entry.clone()).expect("is written").expect("fits");
    early.enter(granted_entry(granted)).expect("is written").expect("fits");
    assert!(row(&early).held());
}

#[test]
fn changes_come_in_order_and_nothing_comes_after_a_stop() {
    let filled = filled();
    let (world, granted, book) = (&filled.world, &filled.granted, &filled.book);
    let last = book.grant_by(granted.digest()).expect("stands").last();
    let change = |sequence, verb, previous| {
        let change = world.change(&granted.source, granted.digest(), sequence, verb, previous);
        let entry = Entry::Changed { grant: *granted.digest().as_bytes(), change: envelope_bytes(&change) };
        let done = book.enter(entry).expect("the book can be written");
        (done, countersign_grants::envelope::digest(&change))
    };
    assert_eq!(change(2, Verb::Stop, last).0, Err(Unadmitted::Sequence { expected: 3, found: 2 }));
    assert_eq!(change(4, Verb::Stop, last).0, Err(Unadmitted::Sequence { expected: 3, found: 4 }));
    assert_eq!(change(3, Verb::Stop, granted.digest()).0, Err(Unadmitted::Previous));
    let (done, stop) = change(3, Verb::Stop, last);
    done.expect("is the next");
    assert_eq!(change(4, Verb::Resume, stop).0, Err(Unadmitted::Stopped));
    let row = book.grant_by(granted.digest()).expect("is kept");
    assert!(matches!(row.standing(), Standing::Stopped { .. }) && !row.stands(world.now()));
}

#[test]
fn a_local_stop_needs_no_broker_and_stays() {
    let filled = filled();
    let name = GrantName::of(filled.granted.digest());
    assert!(filled.book.grant(&name).expect("stands").stopped_here().is_none());
    filled.book.stop_locally(&name, filled.world.now()).expect("is written").expect("is known");
    let again = Book::open(filled.storage.clone(), filled.world.now()).expect("opens");
    assert!(again.grant(&name).expect("stands").stopped_here().is_some());
}

#[test]
fn a_local_stop_holds_for_what_the_book_has_not_heard_of_and_for_what_comes_in_its_place() {
    let filled = filled();
    filled.leave_uses();
    let old = GrantName::of(filled.granted.digest());
    let (renewed, renewal) = revised(&filled, |terms| terms.request = vec![9; 32].into());
    let (less, narrower) = revised(&filled, |terms| terms.uses = 1);
    let now = filled.world.now();
    let reopened = |storage: &MemoryBook| Book::open(storage.clone(), now).expect("opens");
    let stopped = |book: &Book, grant| book.grant_by(grant).expect("stands").stopped_here().is_some();
    let copy = || {
        let storage = MemoryBook::new();
        storage.rewrite(&filled.book.read(State::snapshot)).expect("takes it");
        storage
    };

    // By its own name, before it comes: nothing lifts that.
    let ahead = copy();
    let name = GrantName::of(renewed);
    let meant = reopened(&ahead).stop_locally(&name, now).expect("is written");
    assert_eq!(meant.as_ref(), Some(&name));
    ahead.rewrite(&reopened(&ahead).read(State::snapshot)).expect("rewrites");
    let book = reopened(&ahead);
    book.enter(renewal.clone()).expect("is written").expect("fits");
    assert!(stopped(&book, renewed) && stopped(&reopened(&ahead), renewed));

    // By the name of the one in whose place it comes, renewed or narrowed.
    let before = copy();
    reopened(&before).stop_locally(&old, now).expect("is written").expect("is known");
    reopened(&before).enter(renewal.clone()).expect("is written").expect("fits");
    assert!(stopped(&reopened(&before), renewed));
    let between = copy();
    reopened(&between).enter(narrowing(&filled, less)).expect("is written").expect("fits");
    let standing = reopened(&between).standing_of(&filled.granted.source.subject, now);
    assert_eq!(standing.len(), 1, "its successor has not come");
    reopened(&between).stop_locally(&old, now).expect("is written").expect("is known");
    reopened(&between).enter(narrower).expect("is written").expect("fits");
    assert!(stopped(&reopened(&between), less));
    // And of one that was renewed, the newer one is meant.
    let after = copy();
    reopened(&after).enter(renewal).expect("is written").expect("fits");
    let meant = reopened(&after).stop_locally(&old, now).expect("is written");
    assert_eq!(meant, Some(GrantName::of(renewed)));
    assert!(stopped(&reopened(&after), renewed));
    reopened(&after).reads_back().expect("reads back");
}

#[test]
fn so_many_grants_are_stopped_before_they_come_and_no_more() {
    let book = Book::in_memory();
    let stop = |number: u32| {
        let name = GrantName::of(Digest::of(&number.to_be_bytes()));
        book.stop_locally(&name, Timestamp::from_millis(START)).expect("is written").is_some()
    };
    assert!((0..4096).all(&stop));
    assert!(!stop(4096));
    assert!(stop(17), "one that waits already is stopped");
}

#[test]
fn what_has_not_ended_is_listed_whatever_holds_it() {
    let filled = filled();
    filled.leave_uses();
    let (world, granted, book) = (&filled.world, &filled.granted, &filled.book);
    let listed = || book.standing_of(&granted.source.subject, world.now()).len();
    let grant = *granted.digest().as_bytes();
    let enter = |entry: Entry| book.enter(entry).expect("is written").expect("fits");
    let last = book.grant_by(granted.digest()).expect("stands").last();
    let pause = world.change(&granted.source, granted.digest(), 3, Verb::Pause, last);
    enter(Entry::Changed { grant, change: envelope_bytes(&pause) });
    assert_eq!(listed(), 1, "paused");
    enter(Entry::Held { grant });
    enter(partner_change(world, granted, (1, granted.digest()), PartnerVerb::Suspend));
    assert_eq!(listed(), 1, "held and suspended");
    assert!(!book.grant_by(granted.digest()).expect("stands").stands(world.now()));
    let stop = world.change(&granted.source, granted.digest(), 4, Verb::Stop, envelope::digest(&pause));
    enter(Entry::Changed { grant, change: envelope_bytes(&stop) });
    assert_eq!(listed(), 0);
}
