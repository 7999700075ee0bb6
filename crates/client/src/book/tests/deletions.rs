//! Orders to delete what was received.

use super::*;

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
    assert_eq!(
        enter(&book, Entry::AttestationTold { grant }),
        Err(Unadmitted::NotOrdered),
        "not of this one"
    );
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
