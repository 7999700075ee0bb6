//! Invitations, links, and links that give way.

use super::*;

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
