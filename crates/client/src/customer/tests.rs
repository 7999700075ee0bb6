use bytes::Bytes;
use countersign_grants::{
    catalogue::{Catalogue, FieldPath},
    digest::Digest,
    envelope,
    id::{RequestName, SubjectHandle},
    key::SigningKey,
    statement::{
        GrantRequest, LinkAcceptance, LinkInvitation, label_commitment, mac_opens, open_party_commitment,
    },
};
use countersign_proto::{
    statement::v1::{self as wire, Envelope},
    v1,
};

use super::{approve::Signer, entry::Entry, *};
use crate::{
    book::MemoryBook,
    checkpoint::Met,
    error::Misuse,
    fixtures::{Brand, ORIGIN, START, World},
    invitation::InvitationPackage,
};

const SECRET: [u8; 32] = [3; 32];
const SALT: [u8; 32] = [4; 32];

fn customer(world: &World) -> Customer {
    let wallet = Wallet::from_secret(&[77; 32]);
    Customer::open(world.trust(), wallet, CustomerBook::in_memory(), world.system()).expect("opens")
}

fn package(
    world: &World,
    brand: &Brand,
    number: u8,
    change: impl FnOnce(&mut wire::LinkInvitation),
) -> InvitationPackage {
    labelled(world, brand, number, "mei@example", change)
}

fn labelled(
    world: &World,
    brand: &Brand,
    number: u8,
    label: &str,
    change: impl FnOnce(&mut wire::LinkInvitation),
) -> InvitationPackage {
    let mut message = wire::LinkInvitation {
        broker: ORIGIN.into(),
        partner: brand.name.to_string(),
        identity_key: brand.identity.public().as_bytes().to_vec().into(),
        subject: format!("{}/subjects/{number:032x}", brand.name),
        label_commitment: label_commitment(&SALT, "mei@example").as_bytes().to_vec().into(),
        expire_time_ms: START + 300_000,
        time_ms: START,
        checkpoint: world.checkpoint(),
        ..Default::default()
    };
    change(&mut message);
    let invitation = envelope::sign::<LinkInvitation>(&message, &[&brand.working()]);
    InvitationPackage::new(invitation, brand.certificate(), &SECRET, &SALT, label)
}

/// Links the customer with a brand, as if both sides had finished the ceremony.
pub(super) async fn link(world: &World, customer: &Customer, brand: &Brand, number: u8) -> LinkRow {
    let row = customer.sign_acceptance(&package(world, brand, number, |_| {})).await.expect("accepts");
    customer.0.book.enter(Entry::Confirmed { link: *row.name.digest().as_bytes() }).await.expect("enters");
    customer.0.book.link(&row.name).expect("is there")
}

pub(super) fn offer(world: &World, change: impl FnOnce(&mut wire::Offer)) -> Envelope {
    world.offer(|message| {
        message.purpose = "pickup_planning".into();
        message.required_fields = vec!["trip.flight_no".into(), "trip.eta".into()];
        message.optional_fields = vec!["trip.airport".into(), "trip.terminal".into()];
        message.catalogue_version = Catalogue::shipped().version().as_bytes().to_vec().into();
        change(message);
    })
}

pub(super) fn request(
    world: &World,
    link: &LinkRow,
    offers: &[(Envelope, bool)],
) -> (RequestName, v1::GrantRequest) {
    let rows = offers.iter().map(|(offer, optional)| wire::RequestedRow {
        offer: envelope::digest(offer).as_bytes().to_vec().into(),
        optional: *optional,
        renews: vec![].into(),
    });
    let message = wire::GrantRequest {
        broker: ORIGIN.into(),
        requester: world.hopp.name.to_string(),
        subject: link.subject.to_string(),
        rows: rows.collect(),
        expire_time_ms: START + 86_400_000,
        time_ms: START,
        nonce: vec![1; 16].into(),
        checkpoint: world.checkpoint(),
    };
    let statement = envelope::sign::<GrantRequest>(&message, &[&world.hopp.working()]);
    let name = RequestName::of(envelope::digest(&statement));
    let offers = offers.iter().map(|(offer, _)| v1::grant_request::Offer {
        statement: Some(offer.clone()),
        partner_key: Some(world.hopp.certificate()),
        ..v1::grant_request::Offer::default()
    });
    let request = v1::GrantRequest {
        name: name.to_string(),
        statement: Some(statement),
        partner_key: Some(world.hopp.certificate()),
        offers: offers.collect(),
        ..v1::GrantRequest::default()
    };
    (name, request)
}

/// The customer's view of a request whose parts verified, less the catalogue call.
pub(super) fn read(
    customer: &Customer,
    name: &RequestName,
    request: &v1::GrantRequest,
) -> Result<ReadRequest, Error> {
    let catalogue = Arc::new(Catalogue::shipped());
    let (statement, link) = customer.verify_statement(name, request, Met::InStatement)?;
    let mut rows = Vec::new();
    for (at, (asked, shown)) in statement.statement().rows.iter().zip(&request.offers).enumerate() {
        let (offer, source_link, recipient_link) =
            customer.verify_offer(asked.offer, shown, &link, Met::InStatement)?;
        rows.push(Row {
            number: at + 1,
            optional: asked.optional,
            renews: None,
            offer,
            catalogue: Arc::clone(&catalogue),
            source_display_name: String::new(),
            recipient_display_name: String::new(),
            source_link,
            recipient_link,
        });
    }
    Ok(ReadRequest::for_test(name.clone(), statement, link, rows))
}

pub(super) fn failed_check(result: Result<impl Sized, Error>) -> &'static str {
    match result.map(|_| ()) {
        Err(Error::Misbehaved(misbehaved)) => misbehaved.check,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_acceptance_is_signed_by_a_key_of_its_own_and_opens_with_the_code() {
    let world = World::new();
    let customer = customer(&world);
    let package = package(&world, &world.skylark, 1, |_| {});
    let shown = customer.read_invitation(&package).expect("verifies");
    assert_eq!((shown.partner, shown.label.as_str()), (world.skylark.name.clone(), "mei@example"));

    let row = customer.sign_acceptance(&package).await.expect("accepts");
    assert_eq!(row.code.len(), 6);
    let key = customer.0.wallet.link_key(row.name.digest());
    let origin = World::origin();
    let signed = envelope::verify::<LinkAcceptance>(Some(&row.acceptance_envelope), &[key.public()], &origin)
        .expect("is signed by the link's key");
    assert_eq!(signed.digest(), row.acceptance);
    assert!(mac_opens(&SECRET, signed.statement(), &row.code));
    let wrong = format!("{:06}", (row.code.parse::<u32>().expect("digits") + 1) % 1_000_000);
    assert!(!mac_opens(&SECRET, signed.statement(), &wrong));
    assert_ne!(customer.0.wallet.call_key().id(), key.id());
    assert_eq!(customer.book().link_with(&world.skylark.name), None, "the link stands once it is confirmed");
}

#[tokio::test]
async fn a_bent_invitation_is_refused() {
    let world = World::new();
    let customer = customer(&world);
    let bent = labelled(&world, &world.skylark, 1, "somebody else", |_| {});
    assert_eq!(failed_check(customer.read_invitation(&bent)), "label");
    let elsewhere = package(&world, &world.skylark, 1, |message| message.broker = "other.example".into());
    assert_eq!(failed_check(customer.read_invitation(&elsewhere)), "broker");
    let posing = package(&world, &world.skylark, 1, |message| {
        message.identity_key = world.hopp.identity.public().as_bytes().to_vec().into();
    });
    assert_eq!(failed_check(customer.read_invitation(&posing)), "partner_key");
    let good = package(&world, &world.skylark, 1, |_| {});
    world.clock.pass(300_000);
    assert_eq!(failed_check(customer.read_invitation(&good)), "expire_time");
}

#[tokio::test]
async fn a_partner_does_not_change_its_identity() {
    let mut world = World::new();
    let customer = customer(&world);
    link(&world, &customer, &world.skylark, 1).await;
    world.skylark.identity = SigningKey::from_secret(&[99; 32]);
    let posing = package(&world, &world.skylark, 2, |_| {});
    assert_eq!(failed_check(customer.read_invitation(&posing)), "identity");
}

#[tokio::test]
async fn a_request_is_shown_only_if_no_part_of_it_was_twisted() {
    let world = World::new();
    let customer = customer(&world);
    let hopp = link(&world, &customer, &world.hopp, 2).await;
    let (first, second) = (offer(&world, |_| {}), offer(&world, |message| message.uses = 2));
    let (name, good) = request(&world, &hopp, &[(first.clone(), false), (second.clone(), true)]);

    let unlinked = read(&customer, &name, &good).expect("verifies");
    assert_eq!(unlinked.rows()[0].missing(), [&world.skylark.name]);
    link(&world, &customer, &world.skylark, 1).await;
    let linked = read(&customer, &name, &good).expect("verifies");
    assert!(linked.rows().iter().all(|row| row.missing().is_empty()));
    assert_eq!(linked.rows()[0].source_label(), Some("mei@example"));

    let check = |expected: &str, twist: &dyn Fn(&mut v1::GrantRequest)| {
        let mut twisted = good.clone();
        twist(&mut twisted);
        assert_eq!(failed_check(read(&customer, &name, &twisted)), expected);
    };
    check("offers", &|twisted| twisted.offers.swap(0, 1));
    check("partner_key", &|twisted| twisted.partner_key = Some(world.skylark.certificate()));
    check("present", &|twisted| twisted.statement = None);
    check("signature", &|twisted| {
        let statement = twisted.statement.as_mut().expect("is there");
        let mut signature = statement.signatures[0].signature.to_vec();
        signature[0] ^= 1;
        statement.signatures[0].signature = signature.into();
    });
    check("partner_key", &|twisted| twisted.offers[0].partner_key = Some(world.skylark.certificate()));
    let other = request(&world, &hopp, &[(second.clone(), false)]).1;
    check("name", &|twisted| *twisted = other.clone());
    let mut strangers = hopp.clone();
    strangers.subject = SubjectHandle::of(&world.hopp.name, [9; 16]);
    let (name, for_stranger) = request(&world, &strangers, &[(first, false)]);
    assert_eq!(failed_check(read(&customer, &name, &for_stranger)), "subject");
}

#[tokio::test]
async fn an_offer_under_another_identity_than_the_pinned_one_is_refused() {
    let world = World::new();
    let customer = customer(&world);
    let hopp = link(&world, &customer, &world.hopp, 2).await;
    let posing = offer(&world, |message| {
        message.recipient_identity = world.skylark.identity.public().as_bytes().to_vec().into();
    });
    let (name, request) = request(&world, &hopp, &[(posing, false)]);
    assert_eq!(failed_check(read(&customer, &name, &request)), "recipient_identity");
}

#[tokio::test]
async fn terms_bind_the_choice_and_nothing_more() {
    let world = World::new();
    let customer = customer(&world);
    let skylark = link(&world, &customer, &world.skylark, 1).await;
    let hopp = link(&world, &customer, &world.hopp, 2).await;
    let offers = [(offer(&world, |_| {}), false), (offer(&world, |message| message.uses = 2), true)];
    let (name, request) = request(&world, &hopp, &offers);
    let request = read(&customer, &name, &request).expect("verifies");
    let (origin, system) = (World::origin(), world.system());
    let key = |invitation: Digest| customer.0.wallet.link_key(invitation);
    let signer = Signer { origin: &origin, request: &name, system: &system, key: &key };
    let path = |path: &str| FieldPath::parse(path).expect("a path");

    let draft = signer.draft(&request.rows()[0], &Choice::required("fr")).expect("drafts");
    let terms = draft.source_terms.statement();
    let fields = |terms: &countersign_grants::statement::GrantTerms| {
        terms.fields.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(fields(terms), ["trip.flight_no", "trip.eta"], "optional fields start switched off");
    assert_eq!(
        (terms.language.as_str(), terms.uses),
        ("en", 3),
        "the language that was read, not the one asked for"
    );
    assert_eq!(terms.expire_time.as_millis(), START + 86_400_000);
    assert_eq!(terms.request, name.digest());
    assert_eq!(&terms.source_identity, world.skylark.identity.public());
    assert_eq!(draft.source_terms.envelope().payload, draft.recipient_terms.envelope().payload);
    assert_eq!(draft.source_terms.signer(), key(skylark.name.digest()).id());
    assert_eq!(draft.recipient_terms.signer(), key(hopp.name.digest()).id());
    assert!(open_party_commitment(terms.source_commitment, &draft.source_salt, skylark.acceptance));
    assert!(open_party_commitment(terms.recipient_commitment, &draft.recipient_salt, hopp.acceptance));
    assert_ne!(draft.source_salt, draft.recipient_salt);

    let chosen = Choice::required("en")
        .with_field(1, path("trip.terminal"))
        .with_field(1, path("trip.airport"))
        .until(Timestamp::from_millis(START + 1000));
    let again = signer.draft(&request.rows()[0], &chosen).expect("drafts");
    let again = again.source_terms.statement();
    assert_eq!(
        fields(again),
        ["trip.flight_no", "trip.eta", "trip.airport", "trip.terminal"],
        "in the offer's order"
    );
    assert_eq!(again.expire_time.as_millis(), START + 1000);
    assert_ne!(again.log_tag, terms.log_tag);
}

#[tokio::test]
async fn a_choice_of_what_is_not_offered_sends_nothing() {
    let world = World::new();
    let customer = customer(&world);
    let hopp = link(&world, &customer, &world.hopp, 2).await;
    let offers = [(offer(&world, |_| {}), false), (offer(&world, |message| message.uses = 2), true)];
    let (name, request) = request(&world, &hopp, &offers);
    let request = read(&customer, &name, &request).expect("verifies");
    let path = |path: &str| FieldPath::parse(path).expect("a path");
    let mut choices = vec![
        (Choice::required("en").with_row(3), "row"),
        (Choice::required("en").with_row(0), "row"),
        (Choice::required("en").with_field(1, path("trip.fare")), "field"),
        (Choice::required("en").with_field(2, path("trip.airport")), "field"),
    ];
    while let Some((choice, expected)) = choices.pop() {
        match customer.approve(&request, &choice).await {
            Err(Error::Misuse(Misuse::Malformed { what, .. })) => assert_eq!(what, expected),
            other => panic!("{other:?}"),
        }
    }
    // The source is not linked, so no key could sign the source's copy.
    let unlinked = customer.approve(&request, &Choice::required("en")).await;
    assert!(matches!(unlinked, Err(Error::Misuse(Misuse::NotNow { .. }))), "{unlinked:?}");
    assert!(customer.book().grants().is_empty());
    // The book's word counts, not that of the moment when the request was read.
    link(&world, &customer, &world.skylark, 1).await;
    let sent = customer.approve(&request, &Choice::required("en")).await;
    assert!(matches!(sent, Err(Error::Unreachable { .. })), "{sent:?}");
    assert_eq!(customer.book().grants().len(), 1);
}

#[tokio::test]
async fn what_was_signed_is_in_the_book_even_if_no_answer_comes() {
    let world = World::new();
    let wallet = Wallet::from_secret(&[77; 32]);
    let storage = MemoryBook::new();
    let book = CustomerBook::open(storage.clone()).expect("opens");
    let customer = Customer::open(world.trust(), wallet, book, world.system()).expect("opens");
    link(&world, &customer, &world.skylark, 1).await;
    let hopp = link(&world, &customer, &world.hopp, 2).await;
    let (name, request) = request(&world, &hopp, &[(offer(&world, |_| {}), false)]);
    let request = read(&customer, &name, &request).expect("verifies");
    let sent = customer.approve(&request, &Choice::required("en")).await;
    assert!(matches!(sent, Err(Error::Unreachable { .. })), "{sent:?}");

    let grant = customer.book().grants().remove(0).name;
    let stopped = customer.stop(&grant, true).await;
    assert!(matches!(stopped, Err(Error::Unreachable { .. })), "{stopped:?}");
    let again = CustomerBook::open(storage.clone()).expect("opens");
    let row = again.grant(&grant).expect("is there");
    assert_eq!(
        (row.recorded, row.sequence, row.standing),
        (None, 0, Standing::Active),
        "nothing is recorded yet"
    );
    let (pending, for_recipient) =
        row.pending.clone().expect("the change waits to be sent again, byte for byte");
    assert_eq!(again.links(), customer.book().links());

    let entry = Entry::Changed {
        grant: *grant.digest().as_bytes(),
        change: prost::Message::encode_to_vec(&pending),
        index: None,
    };
    again.enter(entry.clone()).await.expect("enters");
    // Another task takes the same one, with the place of its record.
    let Entry::Changed { grant: digest, change, .. } = entry else { unreachable!("as above") };
    let entry = Entry::Changed { grant: digest, change, index: Some(9) };
    again.enter(entry).await.expect("it is the same");
    let row = again.grant(&grant).expect("is there");
    assert_eq!((row.sequence, row.standing), (1, Standing::Stopped { erase: true }));
    assert_eq!((row.changes().len(), row.change_recorded), (1, Some(9)));
    assert_eq!(row.last, envelope::digest(&pending));
    assert!(row.pending.is_none() && !row.is_settled());
    assert_eq!(row.changes()[0].recipient, Some(for_recipient.clone()));
    let acknowledged = Entry::Acknowledged {
        grant: *grant.digest().as_bytes(),
        change: *row.last.as_bytes(),
        time_ms: START,
    };
    again.enter(acknowledged).await.expect("enters");
    assert!(again.grant(&grant).expect("is there").is_settled());
    // What was signed for the recipient stays when the file is rewritten.
    again.compact().expect("rewrites");
    let row = CustomerBook::open(storage).expect("opens").grant(&grant).expect("is there");
    assert_eq!(row.changes()[0].recipient, Some(for_recipient));
    assert!(row.terms_for_recipient().is_some() && row.abandoned().is_empty() && row.is_settled());
}

#[tokio::test]
async fn the_book_keeps_the_logs_head_and_a_proven_report() {
    use crate::checkpoint::HeadKeeper as _;
    let storage = MemoryBook::new();
    let book = CustomerBook::open(storage.clone()).expect("opens");
    for head in ["one", "two"] {
        book.keep_newest(&Bytes::from_static(head.as_bytes())).expect("keeps");
    }
    book.enter(Entry::Stolen { index: 7 }).await.expect("enters");
    book.compact().expect("rewrites");
    let again = CustomerBook::open(storage).expect("opens");
    assert_eq!(again.newest(), Some(Bytes::from_static(b"two")));
    assert_eq!(again.reported_stolen(), Some(7));
}

#[tokio::test]
async fn no_code_is_printed() {
    let world = World::new();
    let customer = customer(&world);
    let row = link(&world, &customer, &world.hopp, 2).await;
    let (name, request) = request(&world, &row, &[(offer(&world, |_| {}), false)]);
    let request = read(&customer, &name, &request).expect("verifies");
    let LinkRow { name: link, partner, label, code, .. } = row.clone();
    let accepted = Accepted { link, partner, label, code: code.clone() };
    // Six digits may stand in a hash by chance; as a string they do not.
    let code = format!("\"{code}\"");
    for printed in [format!("{row:?}"), format!("{request:?}"), format!("{accepted:?}")] {
        assert!(printed.contains("mei@example") && !printed.contains(&code), "{printed}");
    }
}

#[tokio::test]
async fn a_link_that_ended_takes_nothing_new_however_often_the_book_is_opened() {
    let (world, storage) = (World::new(), MemoryBook::new());
    let book = CustomerBook::open(storage.clone()).expect("opens");
    let wallet = Wallet::from_secret(&[77; 32]);
    let customer = Customer::open(world.trust(), wallet, book, world.system()).expect("opens");
    let (older, newer) =
        (link(&world, &customer, &world.hopp, 1).await, link(&world, &customer, &world.hopp, 2).await);
    let taken = |book: &CustomerBook| book.link_with(&world.hopp.name).map(|link| link.name);
    assert_eq!(taken(customer.book()), Some(newer.name.clone()));
    let ended = *newer.name.digest().as_bytes();
    customer.book().enter(Entry::Ended { link: ended }).await.expect("enters");
    // As it is, and rewritten.
    for _ in 0..2 {
        let again = CustomerBook::open(storage.clone()).expect("opens");
        assert_eq!(taken(&again), Some(older.name.clone()));
        assert!(again.link(&newer.name).expect("stays").ended);
        again.compact().expect("rewrites");
    }
    // The broker takes its word back, with the confirmation.
    customer.book().enter(Entry::Confirmed { link: ended }).await.expect("enters");
    assert_eq!(taken(customer.book()), Some(newer.name));
}
