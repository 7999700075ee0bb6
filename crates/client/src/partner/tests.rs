//! The ceremony and the events, against a broker that says what the test makes it say.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use async_trait::async_trait;
use countersign_grants::{
    digest::Digest,
    id::LinkName,
    statement::{
        Acknowledgement, ChangeReason, LinkAcceptance, LinkConfirmation, PartnerChange, PartnerVerb, Verb,
        code_mac,
    },
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{
        AcceptLinkInvitationRequest, AcknowledgeGrantRequest, ApproveGrantRequestRequest,
        ApproveGrantRequestResponse, AttestErasureRequest, AttestErasureResponse, CancelGrantRequestRequest,
        ChangeGrantRequest, ChangeGrantResponse, ChangeGrantsRequest, ChangeGrantsResponse,
        ConfirmLinkRequest, CreateGrantRequestRequest, CreateLinkInvitationRequest, DeferGrantRequestRequest,
        Event, GetGrantRequest, GetGrantRequestRequest, GetLinkRequest, Grant, GrantRequest, Link,
        ListEventsRequest, ListEventsResponse, ListGrantRequestsRequest, ListGrantRequestsResponse,
        ListGrantsRequest, ListGrantsResponse, ListLinksRequest, ListLinksResponse, ListProvenEventsRequest,
        ListProvenEventsResponse, NarrowGrantRequest, NarrowGrantResponse, RefuseGrantRequestRequest,
        RevokeGrantRequest, SuspendGrantRequest, UnsuspendGrantRequest, WatchEventsRequest,
        WatchEventsResponse,
        event_service_server::{EventService, EventServiceServer},
        grant_service_server::{GrantService, GrantServiceServer},
        link_service_server::{LinkService, LinkServiceServer},
    },
};
use futures_util::{Stream, StreamExt as _, stream};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Notify;
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

use super::*;
use crate::{
    book::{MemoryBook, Side, Standing},
    fixtures::{Granted, Linked, ORIGIN, SALT, START, World, not_asked},
    invitation::{InvitationPackage, VerifiedInvitation},
};

#[derive(Clone, Default)]
struct FakeBroker(Arc<Mutex<Said>>, Arc<Notify>);

#[derive(Default)]
struct Said {
    links: HashMap<String, Link>,
    grants: HashMap<String, Grant>,
    events: Vec<Event>,
    confirmations: Vec<Envelope>,
    acknowledged: Vec<Digest>,
    /// Changes that are shown from the second time on.
    later: HashMap<String, Vec<Envelope>>,
    /// After each event, so that the watch has to come again.
    breaks_off: bool,
}

#[async_trait]
impl LinkService for FakeBroker {
    async fn create_link_invitation(
        &self,
        request: Request<CreateLinkInvitationRequest>,
    ) -> Result<Response<Link>, Status> {
        let invitation = request.into_inner().statement.expect("there is one");
        let name = LinkName::of(envelope::digest(&invitation)).to_string();
        let link = Link { name: name.clone(), invitation: Some(invitation), ..Link::default() };
        self.0.lock().links.insert(name, link.clone());
        Ok(Response::new(link))
    }

    async fn get_link(&self, request: Request<GetLinkRequest>) -> Result<Response<Link>, Status> {
        let link = self.0.lock().links.get(&request.into_inner().name).cloned();
        link.map(Response::new).ok_or_else(|| Status::not_found("no link"))
    }

    async fn confirm_link(&self, request: Request<ConfirmLinkRequest>) -> Result<Response<Link>, Status> {
        self.0.lock().confirmations.push(request.into_inner().statement.expect("there is one"));
        Ok(Response::new(Link::default()))
    }

    not_asked! {
        accept_link_invitation(AcceptLinkInvitationRequest) -> Link;
        list_links(ListLinksRequest) -> ListLinksResponse;
    }
}

#[async_trait]
impl GrantService for FakeBroker {
    async fn get_grant(&self, request: Request<GetGrantRequest>) -> Result<Response<Grant>, Status> {
        let name = request.into_inner().name;
        let mut said = self.0.lock();
        let grant = said.grants.get(&name).cloned();
        if let (Some(changes), Some(grant)) = (said.later.remove(&name), said.grants.get_mut(&name)) {
            grant.changes = changes;
        }
        grant.map(Response::new).ok_or_else(|| Status::not_found("no grant"))
    }

    async fn acknowledge_grant(
        &self,
        request: Request<AcknowledgeGrantRequest>,
    ) -> Result<Response<Grant>, Status> {
        let said = envelope::peek::<Acknowledgement>(request.into_inner().statement.as_ref());
        self.0.lock().acknowledged.push(said.expect("an acknowledgement").statement);
        Ok(Response::new(Grant::default()))
    }

    not_asked! {
        create_grant_request(CreateGrantRequestRequest) -> GrantRequest;
        get_grant_request(GetGrantRequestRequest) -> GrantRequest;
        list_grant_requests(ListGrantRequestsRequest) -> ListGrantRequestsResponse;
        defer_grant_request(DeferGrantRequestRequest) -> GrantRequest;
        approve_grant_request(ApproveGrantRequestRequest) -> ApproveGrantRequestResponse;
        refuse_grant_request(RefuseGrantRequestRequest) -> GrantRequest;
        cancel_grant_request(CancelGrantRequestRequest) -> GrantRequest;
        list_grants(ListGrantsRequest) -> ListGrantsResponse;
        change_grant(ChangeGrantRequest) -> ChangeGrantResponse;
        change_grants(ChangeGrantsRequest) -> ChangeGrantsResponse;
        narrow_grant(NarrowGrantRequest) -> NarrowGrantResponse;
        suspend_grant(SuspendGrantRequest) -> ChangeGrantResponse;
        unsuspend_grant(UnsuspendGrantRequest) -> ChangeGrantResponse;
        revoke_grant(RevokeGrantRequest) -> ChangeGrantResponse;
        attest_erasure(AttestErasureRequest) -> AttestErasureResponse;
    }
}

#[async_trait]
impl EventService for FakeBroker {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<WatchEventsResponse, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let start = (self.clone(), request.into_inner().cursor);
        let events = stream::unfold(start, |(broker, cursor)| async move {
            loop {
                let next = broker.0.lock().events.iter().find(|event| event.index >= cursor).cloned();
                if let Some(event) = next {
                    let cursor = event.index.saturating_add(1);
                    return Some((Ok(WatchEventsResponse { event: Some(event) }), (broker, cursor)));
                }
                broker.1.notified().await;
            }
        });
        if self.0.lock().breaks_off {
            let end = stream::once(async { Err(Status::unavailable("broken off")) });
            return Ok(Response::new(events.take(1).chain(end).boxed()));
        }
        Ok(Response::new(events.boxed()))
    }

    not_asked! {
        list_events(ListEventsRequest) -> ListEventsResponse;
        list_proven_events(ListProvenEventsRequest) -> ListProvenEventsResponse;
    }
}

impl FakeBroker {
    async fn start(world: &mut World) -> Self {
        let broker = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        world.address = format!("http://{}", listener.local_addr().expect("bound"));
        let served = tonic::transport::Server::builder()
            .add_service(LinkServiceServer::new(broker.clone()))
            .add_service(GrantServiceServer::new(broker.clone()))
            .add_service(EventServiceServer::new(broker.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(served);
        broker
    }

    fn say(&self, kind: Kind, granted: &Granted) {
        let mut said = self.0.lock();
        let index = 10 * (said.events.len() as u64 + 1);
        let grant = GrantName::of(granted.digest()).to_string();
        said.events.push(Event { index, kind: kind.into(), grant, ..Event::default() });
        self.1.notify_one();
    }

    fn put(&self, granted: &Granted, link: &Linked, changes: Vec<Envelope>) {
        let name = GrantName::of(granted.digest()).to_string();
        let grant = Grant {
            name: name.clone(),
            subject: link.subject.to_string(),
            terms: Some(granted.signed_for(link)),
            party_salt: SALT.to_vec().into(),
            offer: Some(granted.offer.clone()),
            offer_key: Some(World::new().hopp.certificate()),
            changes,
            ..Grant::default()
        };
        self.0.lock().grants.insert(name, grant);
    }

    /// Accepts as the customer would, or as somebody who poses as the customer.
    fn accept(&self, link: &LinkName, verified: &VerifiedInvitation, code: &str, signer: &SigningKey) {
        let key = SigningKey::from_secret(&[99; 32]);
        let invitation = link.digest();
        let message = wire::LinkAcceptance {
            broker: ORIGIN.into(),
            invitation: invitation.into(),
            link_key: key.public().as_bytes().to_vec().into(),
            code_mac: code_mac(&verified.secret, invitation, key.public(), code).to_vec().into(),
            time_ms: START,
        };
        let acceptance = envelope::sign::<LinkAcceptance>(&message, &[signer]);
        let mut said = self.0.lock();
        said.links.get_mut(link.as_str()).expect("it was made").acceptance = Some(acceptance);
    }
}

async fn invited(world: &World, partner: &Partner) -> (Invited, VerifiedInvitation) {
    let invited = partner.invite("Maya, gold card").await.expect("invites");
    let fragment = format!("https://app.example/link#{}", invited.package.to_fragment());
    let package = InvitationPackage::parse(&fragment).expect("reads");
    let verified = package.verify(&World::origin(), world.now()).expect("verifies");
    assert_eq!((verified.label.as_str(), package.link()), ("Maya, gold card", invited.link.clone()));
    (invited, verified)
}

fn link_key() -> SigningKey {
    SigningKey::from_secret(&[99; 32])
}

#[tokio::test]
async fn a_code_that_opens_the_acceptance_pins_the_key() {
    let mut world = World::new();
    let broker = FakeBroker::start(&mut world).await;
    let storage = MemoryBook::new();
    let partner = world.partner(&world.hopp, Book::open(storage.clone(), world.now()).expect("opens"));
    let (invited, verified) = invited(&world, &partner).await;
    let early = partner.confirm(&invited.link, "123456").await;
    assert!(matches!(early, Err(Error::Misuse(Misuse::NotNow { .. }))), "{early:?}");
    broker.accept(&invited.link, &verified, "123456", &link_key());
    let malformed = partner.confirm(&invited.link, "12345").await;
    assert!(matches!(malformed, Err(Error::Misuse(Misuse::Malformed { .. }))), "{malformed:?}");
    let wrong = partner.confirm(&invited.link, "123457").await;
    assert!(matches!(wrong, Err(Error::Misuse(Misuse::WrongCode { tries_left: 2 }))), "{wrong:?}");
    let row = partner.confirm(&invited.link, "123456").await.expect("opens");
    assert_eq!((row.key(), row.subject()), (link_key().public(), &invited.subject));

    // Once more, after a restart: the same bytes, and no code needed.
    let again = world.partner(&world.hopp, Book::open(storage, world.now()).expect("opens"));
    again.confirm(&invited.link, "").await.expect("is confirmed already");
    let confirmations = broker.0.lock().confirmations.clone();
    assert_eq!((confirmations.len(), &confirmations[0]), (2, &confirmations[1]));
    let said = envelope::peek::<LinkConfirmation>(Some(&confirmations[0])).expect("a confirmation");
    assert_eq!(said.acceptance, row.acceptance());
}

#[tokio::test]
async fn three_wrong_codes_a_lapsed_invitation_and_a_forged_acceptance_pin_nothing() {
    let mut world = World::new();
    let broker = FakeBroker::start(&mut world).await;
    let partner = world.partner(&world.hopp, Book::in_memory());
    let (invited_once, verified) = invited(&world, &partner).await;
    broker.accept(&invited_once.link, &verified, "123456", &link_key());
    for left in [2, 1, 0] {
        match partner.confirm(&invited_once.link, "000000").await {
            Err(Error::Misuse(Misuse::WrongCode { tries_left })) => assert_eq!(tries_left, left),
            other => panic!("{other:?}"),
        }
    }
    let burnt = partner.confirm(&invited_once.link, "123456").await;
    assert!(matches!(burnt, Err(Error::Misuse(Misuse::Unknown { .. }))), "{burnt:?}");

    let (forged, verified) = invited(&world, &partner).await;
    broker.accept(&forged.link, &verified, "123456", &SigningKey::from_secret(&[98; 32]));
    match partner.confirm(&forged.link, "123456").await {
        Err(Error::Misbehaved(one)) => assert_eq!((one.what, one.check), ("acceptance", "key")),
        other => panic!("{other:?}"),
    }
    // A broker without the secret can't make a MAC that any code opens.
    let guessed = VerifiedInvitation { secret: [0; 32], ..verified.clone() };
    broker.accept(&forged.link, &guessed, "123456", &link_key());
    let wrong = partner.confirm(&forged.link, "123456").await;
    assert!(matches!(wrong, Err(Error::Misuse(Misuse::WrongCode { .. }))), "{wrong:?}");

    broker.accept(&forged.link, &verified, "123456", &link_key());
    world.clock.pass(600_000);
    let lapsed = partner.confirm(&forged.link, "123456").await;
    assert!(matches!(lapsed, Err(Error::Misuse(Misuse::NotNow { .. }))), "{lapsed:?}");
    assert!(partner.book().links().is_empty() && broker.0.lock().confirmations.is_empty());
    assert!(
        InvitationPackage::parse(&forged.package.to_text())
            .expect("reads")
            .verify(&World::origin(), world.now())
            .is_err()
    );
}

#[tokio::test]
async fn approvals_and_stops_are_entered_acknowledged_and_resumed_from_the_cursor() {
    let mut world = World::new();
    let broker = FakeBroker::start(&mut world).await;
    let granted = world.grant();
    let storage = MemoryBook::new();
    let book = Book::open(storage.clone(), world.now()).expect("opens");
    book.enter(granted.recipient.entry.clone()).expect("is written").expect("fits");
    let hopp = world.partner(&world.hopp, book);
    broker.0.lock().breaks_off = true;

    broker.put(&granted, &granted.recipient, vec![]);
    broker.say(Kind::GrantApproved, &granted);
    let mut events = hopp.watch_events();
    let noted = events.next().await.expect("hears");
    let PartnerEvent::Approved { grant, .. } = noted.event else { panic!("{noted:?}") };
    assert_eq!((noted.index, grant.digest(), grant.standing()), (10, granted.digest(), Standing::Active));
    assert_eq!(broker.0.lock().acknowledged, [granted.digest()]);
    // Handed out and not yet handled: the cursor waits.
    assert_eq!(hopp.book().cursor(), 0);

    let stop = world.change(&granted.recipient, granted.digest(), 1, Verb::Stop, granted.digest());
    let stopped = envelope::digest(&stop);
    broker.put(&granted, &granted.recipient, vec![stop]);
    broker.say(Kind::GrantWithdrawn, &granted);
    let noted = events.next().await.expect("hears");
    assert!(matches!(noted.event, PartnerEvent::Stopped { erase: false, .. }), "{noted:?}");
    assert_eq!(hopp.book().cursor(), 11);
    assert_eq!(broker.0.lock().acknowledged, [granted.digest(), stopped]);

    // After a restart the event that was in hand comes again; the book is not changed by it.
    let again = world.partner(&world.hopp, Book::open(storage, world.now()).expect("opens"));
    let noted = again.watch_events().next().await.expect("hears");
    assert_eq!(noted.index, 20);
    assert_eq!(again.book().grants().remove(0).sequence(), 1);
}

/// The loop of events and a call of the application's own take one grant at once.
#[tokio::test]
async fn what_another_task_entered_meanwhile_is_held_against_nobody() {
    let mut world = World::new();
    let broker = FakeBroker::start(&mut world).await;
    let granted = world.grant();
    let book = Book::in_memory();
    book.enter(granted.recipient.entry.clone()).expect("is written").expect("fits");
    let hopp = world.partner(&world.hopp, book);
    let (shared, name) = (&hopp.0, GrantName::of(granted.digest()));
    broker.put(&granted, &granted.recipient, vec![]);
    let approved = shared.take_grant(&name).await.expect("verifies");

    let pause = world.change(&granted.recipient, granted.digest(), 1, Verb::Pause, granted.digest());
    let before = shared.show(&name).await.expect("is shown");
    broker.put(&granted, &granted.recipient, vec![pause.clone()]);
    let suspend = wire::PartnerChange {
        broker: ORIGIN.into(),
        partner: world.skylark.name.to_string(),
        terms: granted.digest().into(),
        sequence: 1,
        verb: PartnerVerb::Suspend.into(),
        reason: ChangeReason::Security.into(),
        previous: granted.digest().into(),
        time_ms: START,
        checkpoint: world.checkpoint(),
    };
    let suspended = countersign_proto::v1::PartnerChange {
        partner: world.skylark.name.to_string(),
        statement: Some(envelope::sign::<PartnerChange>(&suspend, &[&world.skylark.working()])),
        partner_key: Some(world.skylark.certificate()),
    };
    let shown = broker
        .0
        .lock()
        .grants
        .get_mut(name.as_str())
        .map(|one| one.partner_changes = vec![suspended.clone()]);
    assert!(shown.is_some());
    shared.take_grant(&name).await.expect("verifies");
    // What was shown before that is no broker that forgets.
    let now = shared.take_shown(&name, &before).await.expect("is older, and true");
    assert_eq!((now.standing(), now.suspended()), (Standing::Paused, Some(ChangeReason::Security)));
    // Nor is what was read from the book before it.
    let now = shared.enter_change(approved.clone(), &pause).await.expect("is the same");
    assert_eq!(now.sequence(), 1);
    let now =
        shared.enter_partner_change(approved.clone(), Side::Source, 1, &suspended).await.expect("the same");
    assert_eq!(now.partner_sequence(Side::Source), 1);
    // Another one under that number is.
    let stop = world.change(&granted.recipient, granted.digest(), 1, Verb::Stop, granted.digest());
    let other = shared.enter_change(approved, &stop).await.expect_err("two under one number");
    assert!(matches!(&other, Error::Misbehaved(one) if one.check == "sequence"), "{other}");
}

#[tokio::test]
async fn of_an_erased_customer_the_leaf_is_left_and_an_end_that_was_missed_holds_the_grant() {
    for end in [Kind::GrantWithdrawn, Kind::GrantSuperseded] {
        check_missed(end).await;
    }
}

async fn check_missed(end: Kind) {
    let mut world = World::new();
    let broker = FakeBroker::start(&mut world).await;
    let granted = world.grant();
    let book = Book::in_memory();
    book.enter(granted.recipient.entry.clone()).expect("is written").expect("fits");
    let hopp = world.partner(&world.hopp, book);
    broker.put(&granted, &granted.recipient, vec![]);
    broker.say(Kind::GrantApproved, &granted);
    let mut events = hopp.watch_events();
    events.next().await.expect("hears");
    let row = hopp.book().grants().remove(0);
    assert!(row.stands(world.now()));

    // The account was closed while this side was away: the grant, and what was signed, are nowhere.
    broker.0.lock().grants.clear();
    let erased = |kind: Kind, tag: &[u8]| {
        let mut record = countersign_proto::log::v1::Record { version: 1, ..Default::default() };
        record.set_kind(kind);
        record.grant_tag = tag.to_vec().into();
        let record = record.encode_to_vec().into();
        let mut said = broker.0.lock();
        let index = 10 * (said.events.len() as u64 + 1);
        said.events.push(Event { index, kind: kind.into(), record, erased: true, ..Event::default() });
        broker.1.notify_one();
    };
    let tag = row.terms().log_tag;
    erased(Kind::GrantApproved, &tag);
    erased(Kind::LinkAccepted, &[]);
    erased(end, &[7; 32]);
    erased(end, &tag);
    let noted = events.next().await.expect("hears");
    let PartnerEvent::AccountClosed { grant, subject } = &noted.event else { panic!("{noted:?}") };
    assert_eq!((grant, subject, noted.index), (row.name(), row.subject(), 50));
    assert!(hopp.book().grants().remove(0).held());
    // Once is enough.
    erased(Kind::ErasureOrdered, &tag);
    broker.say(Kind::PartnerResumed, &granted);
    let noted = events.next().await.expect("hears");
    assert!(matches!(noted.event, PartnerEvent::Unsuspended), "{noted:?}");
}

#[tokio::test]
async fn what_does_not_verify_is_handed_on_as_failed_and_not_entered() {
    let mut world = World::new();
    let broker = FakeBroker::start(&mut world).await;
    let granted = world.grant();
    let book = Book::in_memory();
    book.enter(granted.recipient.entry.clone()).expect("is written").expect("fits");
    let other = World::link(&world.hopp, 7);
    book.enter(other.entry.clone()).expect("is written").expect("fits");
    let hopp = world.partner(&world.hopp, book);
    let mut events = hopp.watch_events();
    let mut fails = async |kind: Kind, check: &str| {
        broker.say(kind, &granted);
        let noted = events.next().await.expect("hears");
        let PartnerEvent::Failed { error: Error::Misbehaved(one), .. } = &noted.event else {
            panic!("{noted:?}")
        };
        assert_eq!(one.check, check, "{one}");
    };
    // Signed by another person's key, and then hung on the account of somebody else who did sign.
    broker.put(&granted, &Linked { subject: other.subject.clone(), ..World::link(&world.hopp, 2) }, vec![]);
    fails(Kind::GrantApproved, "key").await;
    broker.put(&granted, &other, vec![]);
    fails(Kind::GrantApproved, "party_commitment").await;
    assert!(broker.0.lock().acknowledged.is_empty());
    broker.put(&granted, &granted.recipient, vec![]);
    fails(Kind::GrantWithdrawn, "present").await;

    let change =
        |sequence, verb| world.change(&granted.recipient, granted.digest(), sequence, verb, granted.digest());
    broker.put(&granted, &granted.recipient, vec![change(2, Verb::Stop)]);
    fails(Kind::GrantWithdrawn, "sequence").await;
    let foreign = world.change(&other, granted.digest(), 1, Verb::Stop, granted.digest());
    broker.put(&granted, &granted.recipient, vec![foreign]);
    fails(Kind::GrantWithdrawn, "key").await;
    // No stop came signed. That the broker said so is enough to refuse until something signed comes.
    let row = hopp.book().grants().remove(0);
    assert!(row.held() && !row.stands(world.now()));
    assert!(matches!(
        hopp.fetch(row.name(), "pickup_planning", &["trip.flight_no"]).await,
        Err(Error::Misuse(Misuse::NotNow { .. }))
    ));
    broker.put(&granted, &granted.recipient, vec![change(1, Verb::Pause), change(1, Verb::Stop)]);
    fails(Kind::GrantPaused, "sequence").await;
    // The pause had come first and stands; a broker that forgets it is caught.
    let row = hopp.book().grants().remove(0);
    assert_eq!((row.standing(), row.held()), (Standing::Paused, false));
    broker.put(&granted, &granted.recipient, vec![]);
    fails(Kind::GrantResumed, "sequence").await;
}

#[tokio::test]
async fn an_event_that_leads_to_what_it_says_only_later_is_heard_again() {
    let mut world = World::new();
    let broker = FakeBroker::start(&mut world).await;
    let granted = world.grant();
    let book = Book::in_memory();
    book.enter(granted.recipient.entry.clone()).expect("is written").expect("fits");
    let hopp = world.partner(&world.hopp, book);
    let stop = world.change(&granted.recipient, granted.digest(), 1, Verb::Stop, granted.digest());
    broker.put(&granted, &granted.recipient, vec![]);
    broker.say(Kind::GrantWithdrawn, &granted);
    *broker.0.lock().later.entry(GrantName::of(granted.digest()).to_string()).or_default() = vec![stop];
    let noted = hopp.watch_events().next().await.expect("hears");
    assert!(matches!(noted.event, PartnerEvent::Stopped { .. }), "{noted:?}");
}

#[tokio::test]
async fn an_event_from_beyond_the_log_moves_no_cursor() {
    let mut world = World::new();
    let broker = FakeBroker::start(&mut world).await;
    let hopp = world.partner(&world.hopp, Book::in_memory());
    for index in [u64::MAX, 1 << 40] {
        let event = Event { index, kind: Kind::PartnerSuspended.into(), ..Event::default() };
        broker.0.lock().events = vec![event];
        let error = hopp.watch_events().next().await.expect_err("is made up");
        assert!(matches!(&error, Error::Misbehaved(one) if one.check == "index"), "{error}");
    }
    assert_eq!(hopp.book().cursor(), 0);
}

#[tokio::test]
async fn a_stop_by_this_side_holds_whatever_the_broker_says_and_is_told_again() {
    let mut world = World::new();
    let broker = FakeBroker::start(&mut world).await;
    let granted = world.grant();
    let storage = MemoryBook::new();
    let book = Book::open(storage.clone(), world.now()).expect("opens");
    for entry in [&granted.source.entry, &granted.recipient.entry] {
        book.enter(entry.clone()).expect("is written").expect("fits");
    }
    let skylark = world.partner(&world.skylark, book);
    broker.put(&granted, &granted.source, vec![]);
    broker.say(Kind::GrantApproved, &granted);
    skylark.watch_events().next().await.expect("hears");
    let name = GrantName::of(granted.digest());
    assert_eq!(skylark.standing_grants(&granted.source.subject).len(), 1);

    // This broker takes no change.
    skylark.suspend_grant(&name, ChangeReason::Security).await.expect_err("is not recorded");
    let row = skylark.book().grant(&name).expect("stands");
    assert_eq!((row.suspended(), row.partner_sequence(Side::Source)), (Some(ChangeReason::Security), 1));
    let listed = skylark.standing_grants(&granted.source.subject);
    assert!(listed.len() == 1 && !listed[0].stands(world.now()), "suspended, and not ended");
    let signed = row.partner_changes(Side::Source);
    skylark.suspend_grant(&name, ChangeReason::Law).await.expect_err("is not recorded");
    let again = Book::open(storage, world.now()).expect("opens").grant(&name).expect("stands");
    assert_eq!(again.partner_changes(Side::Source), signed, "the same bytes, after a restart too");

    skylark.unsuspend_grant(&name).await.expect_err("is not recorded");
    assert_eq!(skylark.standing_grants(&granted.source.subject).len(), 1);
    skylark.revoke_grant(&name, ChangeReason::Closed).await.expect_err("is not recorded");
    let row = skylark.book().grant(&name).expect("stands");
    assert_eq!(row.revoked(), Some((Side::Source, ChangeReason::Closed)));
    assert!(skylark.standing_grants(&granted.source.subject).is_empty());
    let late = skylark.suspend_grant(&name, ChangeReason::Law).await;
    assert!(matches!(late, Err(Error::Misuse(Misuse::NotNow { .. }))), "{late:?}");
}

#[tokio::test]
async fn a_stop_by_the_other_side_counts_under_the_identity_that_the_customer_named() {
    let mut world = World::new();
    let broker = FakeBroker::start(&mut world).await;
    let granted = world.grant();
    let book = Book::in_memory();
    book.enter(granted.recipient.entry.clone()).expect("is written").expect("fits");
    let hopp = world.partner(&world.hopp, book);
    let mut events = hopp.watch_events();
    let name = GrantName::of(granted.digest());
    broker.put(&granted, &granted.recipient, vec![]);
    broker.say(Kind::GrantApproved, &granted);
    events.next().await.expect("hears");

    let says = |sequence, verb: PartnerVerb, previous: Digest| wire::PartnerChange {
        broker: ORIGIN.into(),
        partner: world.skylark.name.to_string(),
        terms: granted.digest().into(),
        sequence,
        verb: verb.into(),
        reason: i32::from(verb != PartnerVerb::Unsuspend),
        previous: previous.into(),
        time_ms: START,
        checkpoint: world.checkpoint(),
    };
    let shows = |shown: Vec<(Envelope, Envelope)>| {
        let changes = shown.into_iter().map(|(statement, key)| countersign_proto::v1::PartnerChange {
            partner: world.skylark.name.to_string(),
            statement: Some(statement),
            partner_key: Some(key),
        });
        let mut said = broker.0.lock();
        said.grants.get_mut(name.as_str()).expect("stands").partner_changes = changes.collect();
    };
    let sign = |message: &wire::PartnerChange, brand: &crate::fixtures::Brand| {
        (envelope::sign::<PartnerChange>(message, &[&brand.working()]), brand.certificate())
    };
    let suspend = says(1, PartnerVerb::Suspend, granted.digest());
    let mut fails = async |kind: Kind, check: &str| {
        broker.say(kind, &granted);
        let noted = events.next().await.expect("hears");
        let PartnerEvent::Failed { error: Error::Misbehaved(one), .. } = &noted.event else {
            panic!("{noted:?}")
        };
        assert_eq!(one.check, check, "{one}");
    };
    fails(Kind::GrantSuspended, "present").await;
    shows(vec![sign(&suspend, &world.hopp)]);
    fails(Kind::GrantSuspended, "partner_key").await;
    shows(vec![sign(
        &wire::PartnerChange { partner: world.hopp.name.to_string(), ..suspend.clone() },
        &world.hopp,
    )]);
    fails(Kind::GrantSuspended, "verb").await;
    shows(vec![sign(&says(2, PartnerVerb::Suspend, granted.digest()), &world.skylark)]);
    fails(Kind::GrantSuspended, "sequence").await;
    let row = hopp.book().grant(&name).expect("stands");
    assert!(row.suspended().is_none() && !row.held() && row.stands(world.now()));

    let revoke = says(2, PartnerVerb::Revoke, Digest::of(&suspend.encode_to_vec()));
    let good = vec![sign(&suspend, &world.skylark), sign(&revoke, &world.skylark)];
    shows(good[..1].to_vec());
    broker.say(Kind::GrantSuspended, &granted);
    let noted = events.next().await.expect("hears");
    let PartnerEvent::GrantSuspended { grant } = noted.event else { panic!("{noted:?}") };
    assert_eq!(grant.suspended(), Some(ChangeReason::Security));
    shows(good);
    broker.say(Kind::GrantRevoked, &granted);
    let noted = events.next().await.expect("hears");
    let PartnerEvent::GrantRevoked { by, reason, .. } = noted.event else { panic!("{noted:?}") };
    assert_eq!((by, reason), (Side::Source, ChangeReason::Security));
    let fetched = hopp.fetch(&name, "pickup_planning", &["trip.flight_no"]).await;
    assert!(matches!(fetched, Err(Error::Misuse(Misuse::NotNow { .. }))), "{:?}", fetched.err());

    // A broker that forgets what the other side signed is caught; an operator's end is held, and rests on nobody's word.
    shows(vec![]);
    broker.say(Kind::GrantSuspended, &granted);
    let noted = events.next().await.expect("hears");
    assert!(matches!(noted.event, PartnerEvent::Failed { .. }), "{noted:?}");
    broker.say(Kind::GrantRevokedByOperator, &granted);
    let noted = events.next().await.expect("hears");
    assert!(matches!(noted.event, PartnerEvent::GrantRevokedByOperator { .. }), "{noted:?}");
    assert!(hopp.book().grant(&name).expect("stands").held());
}
