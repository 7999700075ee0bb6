//! What a book says after it was opened again.

use std::time::Duration;

use countersign_grants::{
    envelope,
    statement::{ChangeReason, LinkConfirmation, PartnerChange, PartnerVerb, Preview, Verb},
    time::Clock as _,
};
use countersign_proto::statement::v1 as wire;

use super::*;
use crate::fixtures::{Granted, START, World};

fn granted_entry(granted: &Granted) -> Entry {
    Entry::Granted {
        side: Side::Source,
        link: match &granted.source.entry {
            Entry::Linked { link, .. } => *link,
            _ => unreachable!("the fixture links"),
        },
        terms: envelope_bytes(&granted.signed_for(&granted.source)),
        salt: crate::fixtures::SALT,
        offer: envelope_bytes(&granted.offer),
        offer_key: vec![],
    }
}

fn answer(world: &World, granted: &Granted) -> Answer {
    answer_to(world, granted, &world.fetch(granted.digest(), |_| {}))
}

fn answer_to(world: &World, granted: &Granted, fetch: &countersign_proto::statement::v1::Fetch) -> Answer {
    use countersign_grants::statement::{Fetch, Provision};
    let fetch = envelope::sign::<Fetch>(fetch, &[&world.hopp.working()]);
    let provision = envelope::sign::<Provision>(
        &wire::Provision {
            broker: crate::fixtures::ORIGIN.into(),
            source: world.skylark.name.to_string(),
            fetch: envelope::digest(&fetch).into(),
            sealed: Digest::of(b"sealed").into(),
            time_ms: world.now().as_millis(),
            checkpoint: world.checkpoint(),
            ..wire::Provision::default()
        },
        &[&world.skylark.working()],
    );
    let asked = envelope::peek::<Fetch>(Some(&fetch)).expect("a fetch");
    Answer {
        key: answer_key(&asked),
        grant: granted.digest(),
        at: world.now(),
        fetch: envelope::digest(&fetch),
        asked: asked.time,
        fields: asked.fields,
        fetch_bytes: envelope_bytes(&fetch).into(),
        sealed: Bytes::from_static(b"sealed"),
        provision: envelope::digest(&provision),
        provision_bytes: envelope_bytes(&provision).into(),
        tap: asked.tap,
    }
}

struct Filled {
    world: World,
    granted: Granted,
    storage: MemoryBook,
    book: Book,
    answers: Vec<Answer>,
}

impl Filled {
    /// As if one use had been spent, of three.
    fn leave_uses(&self) {
        let grant = *self.granted.digest().as_bytes();
        self.book.note(Entry::Spent { grant, uses: 1, window: None }).expect("is written");
    }
}

/// A book with a link, a grant, a pause and its end, three answers, one receipt taken.
fn filled() -> Filled {
    let world = World::new();
    let granted = world.grant();
    let storage = MemoryBook::new();
    let book = Book::open(storage.clone(), world.now()).expect("opens");
    let enter = |entry: Entry| book.enter(entry).expect("is written").expect("fits");
    enter(granted.source.entry.clone());
    enter(granted_entry(&granted));
    let pause = world.change(&granted.source, granted.digest(), 1, Verb::Pause, granted.digest());
    let paused = countersign_grants::envelope::digest(&pause);
    let resume = world.change(&granted.source, granted.digest(), 2, Verb::Resume, paused);
    for change in [pause, resume] {
        enter(Entry::Changed { grant: *granted.digest().as_bytes(), change: envelope_bytes(&change) });
    }
    let mut answers = Vec::new();
    for _ in 0..3 {
        let one = answer(&world, &granted);
        book.note_answer(one.clone(), |_, _| Ok::<_, ()>(())).expect("is written").expect("is allowed");
        answers.push(one);
        world.clock.pass(1000);
    }
    book.note(Entry::ReceiptTaken { fetch: *answers[0].fetch.as_bytes() }).expect("is written");
    book.note(Entry::Cursor(17)).expect("is written");
    book.keep_newest(&world.checkpoint()).expect("is written");
    Filled { world, granted, storage, book, answers }
}

fn check(filled: &Filled, book: &Book, answers: usize, owed: usize) {
    let row = book.grant_by(filled.granted.digest()).expect("stands");
    assert_eq!((row.standing(), row.sequence(), row.side()), (Standing::Active, 2, Side::Source));
    assert_eq!(row.spent().uses, 3);
    assert_eq!(row.spent().window, Some((Timestamp::from_millis(START), 3)));
    assert_eq!(row.owed_since().map(|(_, fetch)| fetch), Some(filled.answers[1].fetch));
    assert_eq!((book.receipts_owed(), book.cursor()), (owed, 17));
    assert_eq!(book.newest(), Some(filled.world.checkpoint()));
    assert_eq!(book.read(|state| state.answers.len()), answers);
    assert_eq!(
        book.link_of(&filled.granted.source.subject).expect("stands").key(),
        filled.granted.source.key.public()
    );
    assert_eq!(book.grants_of(&filled.granted.source.subject).len(), 1);
    assert_eq!(book.grants_of(&filled.granted.recipient.subject).len(), 0);
}

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

/// A preview of the row of which the grant came, as its source enters it.
fn previewed(world: &World, granted: &Granted, number: u8) -> Previewed {
    let link = &granted.source;
    let Entry::Linked { link: name, .. } = &link.entry else { unreachable!("the fixture links") };
    let preview = wire::Preview {
        broker: crate::fixtures::ORIGIN.into(),
        acceptance: link.acceptance.into(),
        request: granted.terms.request.clone(),
        offer: granted.terms.offer.clone(),
        fields: vec!["trip.flight_no".into()],
        request_id: format!("00000000-0000-4000-8000-0000000000{number:02}"),
        time_ms: world.now().as_millis(),
        sealing_key: vec![9; 32].into(),
    };
    let preview = envelope::sign::<Preview>(&preview, &[&link.key]);
    let answer = (b"sealed".to_vec(), b"provision".to_vec());
    Previewed::read((*name).into(), world.now(), envelope_bytes(&preview), answer, [number; 32])
        .expect("reads")
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

/// A change of the world's grant by its source.
fn partner_change(
    world: &World,
    granted: &Granted,
    (sequence, previous): (u64, Digest),
    verb: PartnerVerb,
) -> Entry {
    change_by_source(world, granted.digest(), (sequence, previous), verb)
}

fn change_by_source(
    world: &World,
    grant: Digest,
    (sequence, previous): (u64, Digest),
    verb: PartnerVerb,
) -> Entry {
    let reason =
        if verb == PartnerVerb::Unsuspend { ChangeReason::Unspecified } else { ChangeReason::Dispute };
    let message = wire::PartnerChange {
        broker: crate::fixtures::ORIGIN.into(),
        partner: world.skylark.name.to_string(),
        terms: grant.into(),
        sequence,
        verb: verb.into(),
        reason: reason.into(),
        previous: previous.into(),
        time_ms: world.now().as_millis(),
        checkpoint: world.checkpoint(),
    };
    let signed = envelope::sign::<PartnerChange>(&message, &[&world.skylark.working()]);
    Entry::PartnerChanged { grant: *grant.as_bytes(), change: envelope_bytes(&signed) }
}

/// The digest of the change in an entry.
fn changed(entry: &Entry) -> Digest {
    let (Entry::PartnerChanged { change, .. } | Entry::Changed { change, .. }) = entry else {
        unreachable!("a change")
    };
    envelope::digest(&envelope_of(&change.clone().into()))
}

/// A recipient's book with a grant, and no change yet.
fn receiving() -> (World, Granted, MemoryBook, Book) {
    let world = World::new();
    let granted = world.grant();
    let storage = MemoryBook::new();
    let book = Book::open(storage.clone(), world.now()).expect("opens");
    let entry = granted.recipient.entry.clone();
    let link = match &entry {
        Entry::Linked { link, .. } => *link,
        _ => unreachable!("the fixture links"),
    };
    book.enter(entry).expect("is written").expect("fits");
    let terms = envelope_bytes(&granted.signed_for(&granted.recipient));
    let (offer, offer_key) = (envelope_bytes(&granted.offer), vec![]);
    let salt = crate::fixtures::SALT;
    let entry = Entry::Granted { side: Side::Recipient, link, terms, salt, offer, offer_key };
    book.enter(entry).expect("is written").expect("fits");
    (world, granted, storage, book)
}

#[test]
fn what_is_to_be_deleted_stands_until_the_log_has_the_attestation() {
    let (world, granted, storage, book) = receiving();
    let (grant, name) = (*granted.digest().as_bytes(), GrantName::of(granted.digest()));
    let enter = |book: &Book, entry| book.enter(entry).expect("can be written");
    assert_eq!(enter(&book, Entry::Deleted { grant }), Err(Unadmitted::NotOrdered));
    let stop = world.erasing_stop(&granted.recipient, granted.digest(), 1, granted.digest());
    let order = countersign_grants::envelope::digest(&stop);
    enter(&book, Entry::Changed { grant, change: envelope_bytes(&stop) }).expect("fits");

    let reopen = || Book::open(storage.clone(), world.now()).expect("opens");
    let book = reopen();
    let row = book.erasures_due().remove(0);
    assert_eq!((row.name(), row.erase_order().map(|order| order.change)), (&name, Some(order)));
    let retention = row.terms().retention;
    assert_eq!(row.erase_due(), Some(world.now().plus(retention)));
    assert!(book.erasures_to_attest().is_empty());
    let unsigned = Entry::Attested { grant, attestation: vec![1] };
    assert_eq!(enter(&book, unsigned), Err(Unadmitted::NotOrdered), "nothing was deleted yet");

    enter(&book, Entry::Deleted { grant }).expect("fits");
    let book = reopen();
    assert!(book.erasures_due().is_empty() && book.grant(&name).expect("stands").deleted());
    assert!(book.erasures_to_attest()[0].attestation().is_none());
    let attestation = envelope_bytes(&stop);
    enter(&book, Entry::Attested { grant, attestation: attestation.clone() }).expect("fits");
    let other = Entry::Attested { grant, attestation: vec![2] };
    assert_eq!(enter(&book, other), Err(Unadmitted::NotOrdered), "what was signed once stays");

    let book = reopen();
    let row = book.erasures_to_attest().remove(0);
    assert_eq!(row.attestation().map(|signed| envelope_bytes(&signed)), Some(attestation));
    book.note(Entry::AttestationTold { grant }).expect("is written");
    // Twice: what was rewritten adds up to the same.
    for _ in 0..2 {
        let book = reopen();
        assert!(book.erasures_to_attest().is_empty() && book.grant(&name).expect("stands").attested());
    }
}

#[test]
fn an_order_by_the_logs_word_stands_until_the_customers_own_takes_its_place() {
    let (world, granted, storage, book) = receiving();
    let (grant, name) = (*granted.digest().as_bytes(), GrantName::of(granted.digest()));
    let enter = |book: &Book, entry| book.enter(entry).expect("can be written");
    let recorded = |change: [u8; 32]| Entry::OrderRecorded { grant, change, at_ms: world.now().as_millis() };
    enter(&book, recorded([7; 32])).expect("fits");
    assert_eq!(enter(&book, recorded([8; 32])), Err(Unadmitted::Ordered), "one is enough");
    enter(&book, Entry::Deleted { grant }).expect("fits");
    enter(&book, Entry::Attested { grant, attestation: vec![1] }).expect("fits");
    enter(&book, Entry::AttestationTold { grant }).expect("fits");
    // Twice: what was rewritten adds up to the same.
    for _ in 0..2 {
        let row = Book::open(storage.clone(), world.now()).expect("opens").grant(&name).expect("stands");
        let order = row.erase_order().expect("stands");
        assert_eq!((order.change, order.recorded), ([7; 32].into(), Some(world.now())));
        assert_eq!(order.due, world.now().plus(row.terms().retention));
        assert!(row.attested());
    }

    let stop = world.erasing_stop(&granted.recipient, granted.digest(), 1, granted.digest());
    enter(&book, Entry::Changed { grant, change: envelope_bytes(&stop) }).expect("fits");
    assert_eq!(enter(&book, Entry::AttestationTold { grant }), Err(Unadmitted::NotOrdered), "not of this one");
    assert_eq!(enter(&book, recorded([7; 32])), Err(Unadmitted::Ordered), "what is signed stays");
    for _ in 0..2 {
        let book = Book::open(storage.clone(), world.now()).expect("opens");
        let row = book.erasures_due().remove(0);
        let order = row.erase_order().expect("stands");
        assert_eq!((order.change, order.recorded), (countersign_grants::envelope::digest(&stop), None));
        assert!(row.attestation().is_none() && book.erasures_to_attest().is_empty());
    }
}

#[test]
fn a_recorded_order_that_the_customer_signed_is_not_to_be_met_twice() {
    let (world, granted, _, book) = receiving();
    let grant = *granted.digest().as_bytes();
    let enter = |entry| book.enter(entry).expect("can be written");
    let stop = world.erasing_stop(&granted.recipient, granted.digest(), 1, granted.digest());
    let change = *countersign_grants::envelope::digest(&stop).as_bytes();
    enter(Entry::OrderRecorded { grant, change, at_ms: world.now().as_millis() }).expect("fits");
    enter(Entry::Deleted { grant }).expect("fits");
    enter(Entry::Changed { grant, change: envelope_bytes(&stop) }).expect("fits");
    let row = book.grant(&GrantName::of(granted.digest())).expect("stands");
    assert!(row.deleted() && book.erasures_due().is_empty());
    assert_eq!(book.erasures_to_attest().len(), 1);
}

#[test]
fn a_source_has_nothing_to_delete() {
    let filled = filled();
    let grant = *filled.granted.digest().as_bytes();
    let entered = filled.book.enter(Entry::OrderRecorded { grant, change: [7; 32], at_ms: 1 });
    assert_eq!(entered.expect("can be written"), Err(Unadmitted::Ordered));
}

#[test]
fn only_an_order_to_delete_follows_a_stop() {
    let (world, granted, _, book) = receiving();
    let grant = *granted.digest().as_bytes();
    let enter = |change: &countersign_proto::statement::v1::Envelope| {
        book.enter(Entry::Changed { grant, change: envelope_bytes(change) }).expect("can be written")
    };
    let digest = |change| countersign_grants::envelope::digest(change);
    let stop = world.change(&granted.recipient, granted.digest(), 1, Verb::Stop, granted.digest());
    enter(&stop).expect("fits");
    let resume = world.change(&granted.recipient, granted.digest(), 2, Verb::Resume, digest(&stop));
    assert_eq!(enter(&resume), Err(Unadmitted::Stopped));
    let order = world.erasing_stop(&granted.recipient, granted.digest(), 2, digest(&stop));
    enter(&order).expect("fits");
    assert_eq!(book.erasures_due().len(), 1);
    let again = world.erasing_stop(&granted.recipient, granted.digest(), 3, digest(&order));
    assert_eq!(enter(&again), Err(Unadmitted::Stopped), "once is enough");
}

#[test]
fn a_handle_has_one_link_for_ever() {
    let filled = filled();
    let Entry::Linked { subject, acceptance, confirmation, .. } = filled.granted.source.entry.clone() else {
        unreachable!("the fixture links")
    };
    let other = Entry::Linked { link: [9; 32], subject, acceptance, confirmation };
    assert_eq!(filled.book.enter(other).expect("can be written"), Err(Unadmitted::Linked));
}

#[test]
fn an_invitation_has_three_tries_and_they_survive() {
    let world = World::new();
    let storage = MemoryBook::new();
    let book = Book::open(storage.clone(), world.now()).expect("opens");
    let subject = World::link(&world.skylark, 1).subject.as_str().to_owned();
    let expire_ms = START + 600_000;
    book.enter(Entry::Invited { link: [1; 32], subject, secret: [2; 32], expire_ms, tries_left: 3 })
        .expect("is written")
        .expect("fits");
    book.enter(Entry::TryFailed { link: [1; 32], left: 2 }).expect("is written").expect("fits");
    let again = Book::open(storage.clone(), world.now()).expect("opens");
    let left =
        |book: &Book| book.read(|state| state.invitations.get(&[1; 32].into()).map(|one| one.tries_left));
    assert_eq!(left(&again), Some(2));
    again.enter(Entry::TryFailed { link: [1; 32], left: 0 }).expect("is written").expect("fits");
    assert_eq!(left(&again), None);
    assert_eq!(left(&Book::open(storage, world.now()).expect("opens")), None);
}

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

/// Terms that the customer signs for the source, in the place of the world's grant.
fn revised(
    filled: &Filled,
    bend: impl FnOnce(&mut countersign_proto::statement::v1::GrantTerms),
) -> (Digest, Entry) {
    use countersign_grants::{envelope, statement::GrantTerms};
    let Filled { world, granted, .. } = filled;
    let mut message = world.terms(&granted.offer, (&granted.source, &granted.recipient), |_| {});
    message.previous = granted.digest().into();
    message.log_tag = vec![6; 32].into();
    bend(&mut message);
    let terms = envelope::sign::<GrantTerms>(&message, &[&granted.source.key]);
    let Entry::Granted { side, link, salt, offer, offer_key, .. } = granted_entry(granted) else {
        unreachable!("a grant's entry")
    };
    let entry = Entry::Granted { side, link, terms: envelope_bytes(&terms), salt, offer, offer_key };
    (envelope::digest(&terms), entry)
}

/// The change that narrows the world's grant to these terms.
fn narrowing(filled: &Filled, successor: Digest) -> Entry {
    use countersign_grants::{envelope, statement::GrantChange};
    let granted = &filled.granted;
    let row = filled.book.grant_by(granted.digest()).expect("stands");
    let message = countersign_proto::statement::v1::GrantChange {
        broker: crate::fixtures::ORIGIN.into(),
        terms: granted.digest().into(),
        sequence: row.sequence() + 1,
        verb: Verb::Narrow.into(),
        erase: false,
        previous: row.last().into(),
        time_ms: START,
        successor: successor.into(),
    };
    let change = envelope::sign::<GrantChange>(&message, &[&granted.source.key]);
    Entry::Changed { grant: *granted.digest().as_bytes(), change: envelope_bytes(&change) }
}

#[test]
fn narrower_terms_come_after_the_change_that_names_them_and_go_on_where_the_old_ones_were() {
    let filled = filled();
    let old = filled.granted.digest();
    // By the broker's count one use was left; by this book's none is.
    let (new, entry) = revised(&filled, |terms| terms.uses = 1);
    let early = filled.book.enter(entry.clone()).expect("is read");
    assert_eq!(early, Err(Unadmitted::NoPrevious), "without the change they are nothing");
    let (other, not_named) = revised(&filled, |terms| terms.uses = 2);
    let two = narrowing(&filled, other);
    filled.book.enter(narrowing(&filled, new)).expect("is written").expect("fits");
    assert_eq!(filled.book.enter(not_named).expect("is read"), Err(Unadmitted::NoPrevious));
    assert!(matches!(filled.book.enter(two).expect("is read"), Err(Unadmitted::Sequence { .. })));
    filled.book.enter(entry).expect("is written").expect("fits");
    let stopped = narrowing(&filled, other);
    assert_eq!(filled.book.enter(stopped).expect("is read"), Err(Unadmitted::Stopped), "an end is an end");

    let check = |book: &Book| {
        let (old, new) = (book.grant_by(old).expect("stands"), book.grant_by(new).expect("stands"));
        assert_eq!(old.standing(), Standing::Superseded { by: new.digest() });
        assert!(!old.stands(filled.world.now()));
        assert_eq!((new.standing(), new.spent().uses), (Standing::Active, 1), "three of three were served");
        assert_eq!(new.spent().window, Some((Timestamp::from_millis(START), 3)), "the window goes on");
        assert_eq!(book.newest_revision(old.name()).expect("stands").digest(), new.digest());
    };
    check(&filled.book);
    // As the file tells it, and as it is after it was rewritten: each revision after the one before it.
    check(&Book::open(filled.storage.clone(), filled.world.now()).expect("opens"));
    let rewritten = MemoryBook::new();
    rewritten.rewrite(&filled.book.read(State::snapshot)).expect("takes it");
    check(&Book::open(rewritten, filled.world.now()).expect("opens"));
}

#[test]
fn a_renewal_ends_what_it_renews_and_starts_afresh() {
    let filled = filled();
    let (new, entry) = revised(&filled, |terms| terms.request = vec![9; 32].into());
    filled.book.enter(entry).expect("is written").expect("fits");
    let check = |book: &Book| {
        let old = book.grant_by(filled.granted.digest()).expect("stands");
        assert_eq!(old.standing(), Standing::Superseded { by: new });
        let new = book.grant_by(new).expect("stands");
        assert_eq!((new.standing(), new.spent().uses), (Standing::Active, 0));
    };
    check(&filled.book);
    check(&Book::open(filled.storage.clone(), filled.world.now()).expect("opens"));
    let rewritten = MemoryBook::new();
    rewritten.rewrite(&filled.book.read(State::snapshot)).expect("takes it");
    check(&Book::open(rewritten, filled.world.now()).expect("opens"));
}

#[test]
fn terms_stand_in_the_place_of_none_but_their_like() {
    use countersign_grants::statement::TermsError;
    let filled = filled();
    let refused = |bend: fn(&mut countersign_proto::statement::v1::GrantTerms)| {
        let (_, entry) = revised(&filled, bend);
        filled.book.enter(entry).expect("is read").expect_err("refused")
    };
    assert_eq!(refused(|terms| terms.previous = vec![3; 32].into()), Unadmitted::NoPrevious);
    let field = |error| match error {
        Unadmitted::Revision(TermsError { field, .. }) => field,
        other => panic!("{other}"),
    };
    assert_eq!(field(refused(|terms| terms.uses += 1)), "uses");
    assert_eq!(field(refused(|terms| terms.purpose = "trip_updates".into())), "purpose");
    assert_eq!(field(refused(|terms| terms.log_tag = vec![5; 32].into())), "log_tag");
}

/// What a broker may keep back and bring out again: terms that the customer signed to renew a grant.
#[test]
fn a_renewal_comes_in_the_place_of_what_is_active_and_of_nothing_else() {
    let filled = filled();
    let granted = &filled.granted;
    let (renewed, renewal) = revised(&filled, |terms| terms.request = vec![9; 32].into());
    let grant = *granted.digest().as_bytes();
    let with = |entries: Vec<Entry>| {
        let storage = MemoryBook::new();
        storage.rewrite(&filled.book.read(State::snapshot)).expect("takes it");
        let book = Book::open(storage, filled.world.now()).expect("opens");
        for entry in entries {
            book.enter(entry).expect("is written").expect("fits");
        }
        let entered = book.enter(renewal.clone()).expect("is read");
        entered.map(|()| book.grant_by(renewed).expect("stands"))
    };
    let last = filled.book.grant_by(granted.digest()).expect("stands").last();
    let change = |verb| {
        let change = filled.world.change(&granted.source, granted.digest(), 3, verb, last);
        vec![Entry::Changed { grant, change: envelope_bytes(&change) }]
    };
    assert_eq!(with(change(Verb::Pause)).err(), Some(Unadmitted::NotActive));
    assert_eq!(with(change(Verb::Stop)).err(), Some(Unadmitted::NotActive));
    let (other, _) = revised(&filled, |terms| terms.uses = 1);
    assert_eq!(with(vec![narrowing(&filled, other)]).err(), Some(Unadmitted::NotActive));
    // What the broker said without a signature holds on, and so does what this side did by itself.
    let held = with(vec![Entry::Held { grant }]).expect("fits");
    assert!(held.held() && !held.stands(filled.world.now()));
    let by_source = |verb| vec![partner_change(&filled.world, granted, (1, granted.digest()), verb)];
    let suspended = with(by_source(PartnerVerb::Suspend)).expect("fits");
    assert_eq!(suspended.suspended(), Some(ChangeReason::Dispute));
    assert_eq!(suspended.unsaid(), Some((PartnerVerb::Suspend, ChangeReason::Dispute)));
    let revoked = with(by_source(PartnerVerb::Revoke)).expect("fits");
    assert_eq!(revoked.revoked(), Some((Side::Source, ChangeReason::Dispute)));
    assert_eq!(revoked.unsaid(), Some((PartnerVerb::Revoke, ChangeReason::Dispute)));
}

#[test]
fn what_a_side_did_goes_on_to_the_narrower_grant_and_comes_too_late_for_the_old_one() {
    let filled = filled();
    let (world, old) = (&filled.world, filled.granted.digest());
    let (new, entry) = revised(&filled, |terms| terms.uses = 1);
    let enter = |book: &Book, entry: Entry| book.enter(entry).expect("is written");
    enter(&filled.book, narrowing(&filled, new)).expect("fits");
    // Between the change and the terms that it names, it is still the old grant's.
    let suspend = partner_change(world, &filled.granted, (1, old), PartnerVerb::Suspend);
    enter(&filled.book, suspend.clone()).expect("fits");
    enter(&filled.book, entry).expect("fits");
    let late = partner_change(world, &filled.granted, (2, changed(&suspend)), PartnerVerb::Unsuspend);
    assert_eq!(enter(&filled.book, late), Err(Unadmitted::Superseded));
    for _ in 0..2 {
        let book = Book::open(filled.storage.clone(), world.now()).expect("opens");
        let row = book.grant_by(new).expect("stands");
        assert!(row.suspended().is_some() && row.unsaid().is_some() && !row.stands(world.now()));
        filled.storage.rewrite(&book.read(State::snapshot)).expect("rewrites");
    }
    let said = change_by_source(world, new, (1, new), PartnerVerb::Suspend);
    enter(&filled.book, said.clone()).expect("fits");
    assert_eq!(filled.book.grant_by(new).expect("stands").unsaid(), None);
    let over = change_by_source(world, new, (2, changed(&said)), PartnerVerb::Unsuspend);
    enter(&filled.book, over).expect("fits");
    let row = filled.book.grant_by(new).expect("stands");
    assert!(row.suspended().is_none() && row.unsaid().is_none());
    filled.book.reads_back().expect("reads back");
}

/// Another link of the same account takes the place of the filled book's: what stands of it stands after every rewrite.
#[test]
fn a_book_opens_again_after_a_link_gave_way_whatever_hung_on_it() {
    let filled = filled();
    let (world, granted, book) = (&filled.world, &filled.granted, &filled.book);
    let enter = |entry: Entry| book.enter(entry).expect("is written").expect("fits");
    book.note_preview(previewed(world, granted, 1)).expect("is written").expect("is allowed");
    let (new, narrower) = revised(&filled, |terms| terms.uses = 1);
    enter(narrowing(&filled, new));
    enter(partner_change(world, granted, (1, granted.digest()), PartnerVerb::Suspend));
    enter(narrower.clone());
    let said = change_by_source(world, new, (1, new), PartnerVerb::Suspend);
    let over = change_by_source(world, new, (2, changed(&said)), PartnerVerb::Unsuspend);
    [said, over].into_iter().for_each(enter);

    let Entry::Linked { link, subject: old_subject, acceptance, .. } = granted.source.entry.clone() else {
        unreachable!("the fixture links")
    };
    let anew = [8; 32];
    let subject = old_subject.replace(|of: char| of.is_ascii_digit(), "7");
    enter(Entry::Invited {
        link: anew,
        subject: subject.clone(),
        secret: [2; 32],
        expire_ms: START,
        tries_left: 3,
    });
    enter(Entry::Replaces { link: anew, replaced: link });
    let confirmation = wire::LinkConfirmation {
        broker: crate::fixtures::ORIGIN.into(),
        partner: world.skylark.name.to_string(),
        acceptance: granted.source.acceptance.into(),
        time_ms: world.now().as_millis(),
        checkpoint: world.checkpoint(),
    };
    let signed = envelope::sign::<LinkConfirmation>(&confirmation, &[&world.skylark.working()]);
    // In the one entry that pins the new key: a stop of the machine leaves both or none.
    enter(Entry::Linked { link: anew, subject, acceptance, confirmation: envelope_bytes(&signed) });

    let after = revised(&filled, |terms| {
        terms.previous = Bytes::new();
        terms.request = vec![4; 32].into();
    });
    enter(after.1);
    let check = |book: &Book| {
        let row = |digest| book.grant_by(digest).expect("stands");
        assert!(row(new).stopped_here().is_some() && row(granted.digest()).stopped_here().is_some());
        assert!(row(after.0).stopped_here().is_some(), "what is entered under it since is stopped");
        assert!(row(new).suspended().is_none() && row(granted.digest()).suspended().is_some());
        assert_eq!(book.link(&LinkName::of(link.into())).expect("stands").replaced(), Some(world.now()));
        let shown = book.note_preview(previewed(world, granted, 2)).expect("is read");
        assert!(matches!(shown, Err(NotShown::Replaced)), "what was under way is not shown");
        let kept = book.read(|state| state.previews.since(link.into(), Timestamp::default()));
        assert_eq!(kept, 0, "nothing is kept of its previews");
    };
    check(book);
    // An answer that was written while the link gave way.
    book.note(previewed(world, granted, 3).to_entry()).expect("is written");
    for _ in 0..3 {
        let again = Book::open(filled.storage.clone(), world.now()).expect("opens");
        check(&again);
        again.reads_back().expect("reads back");
        filled.storage.rewrite(&again.read(State::snapshot)).expect("rewrites");
    }
}

#[test]
fn a_receipt_stays_owed_across_revisions() {
    let filled = filled();
    let (new, narrower) = revised(&filled, |terms| terms.uses = 1);
    filled.book.enter(narrowing(&filled, new)).expect("is written").expect("fits");
    filled.book.enter(narrower).expect("is written").expect("fits");
    let owed = |book: &Book| book.read(|state| state.owed_since(&state.grants[&new])).map(|(_, fetch)| fetch);
    assert_eq!(owed(&filled.book), Some(filled.answers[1].fetch), "the oldest of the old grant");
    filled.book.note(Entry::ReceiptTaken { fetch: *filled.answers[1].fetch.as_bytes() }).expect("is written");
    let again = Book::open(filled.storage.clone(), filled.world.now()).expect("opens");
    assert_eq!(owed(&again), Some(filled.answers[2].fetch));
    again.note(Entry::ReceiptTaken { fetch: *filled.answers[2].fetch.as_bytes() }).expect("is written");
    assert_eq!(owed(&again), None);
}
