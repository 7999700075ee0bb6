//! Grants in the place of others.

use super::*;

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
