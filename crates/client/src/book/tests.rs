//! What a book says after it was opened again. What is filled here, each subject has its own tests for.

mod answers;
mod deletions;
mod links;
mod revisions;
mod rewrites;
mod stops;

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
