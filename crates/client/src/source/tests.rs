//! One transfer from end to end without a broker in between, and every refusal of a source.

use std::sync::atomic::{AtomicU32, Ordering};

use countersign_grants::{
    envelope,
    id::Principal,
    key::SigningKey,
    statement::{Fetch, Offer, Verb},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{FetchDataResponse, deliver_receipts_request::TransferReceipt},
};
use prost::Message as _;
use tonic_types::StatusExt as _;

use super::*;
use crate::{
    book::{Book, Entry, Side, envelope_bytes},
    error::Error,
    fixtures::{FIELDS, Granted, PURPOSE, SALT, World, paths, read_provision},
    recipient::OwnFetch,
    sealing::OpeningKey,
};

/// Gives what it was asked for as its value, and counts how often.
#[derive(Default)]
struct Echo {
    asked: AtomicU32,
    /// Leaves out the last value.
    short: bool,
    missing: bool,
    /// Never answers.
    hangs: bool,
}

#[async_trait]
impl SourceHandler for Arc<Echo> {
    async fn provide(&self, _: &SubjectHandle, fields: &[FieldPath]) -> Result<Vec<Value>, ProvideError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if self.missing {
            return Err(ProvideError::NotFound);
        }
        let given = fields.len() - usize::from(self.short);
        Ok(fields[..given].iter().map(|field| Value::from(field.as_str())).collect())
    }
}

struct Bench {
    world: World,
    granted: Granted,
    server: SourceServer<Arc<Echo>>,
    echo: Arc<Echo>,
    skylark: Partner,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {}, Echo::default())
    }

    fn with(change: impl FnOnce(&mut wire::GrantTerms), echo: Echo) -> Self {
        let world = World::new();
        let granted = world.grant_with(change);
        let book = Book::in_memory();
        book.enter(granted.source.entry.clone()).expect("is written").expect("fits");
        let skylark = world.partner(&world.skylark, book);
        let echo = Arc::new(echo);
        let server = SourceServer::new(skylark.clone(), Arc::clone(&echo));
        Self { world, granted, server, echo, skylark }
    }

    fn fetch(&self) -> wire::Fetch {
        self.world.fetch(self.granted.digest(), |_| {})
    }

    fn request(&self) -> ProvideDataRequest {
        self.world.request(&self.granted, &self.fetch())
    }

    fn token(&self) -> String {
        let broker = Principal::Broker(World::origin());
        self.world.token(self.world.skylark.name.as_str(), &self.world.call_key, broker)
    }

    async fn ask(&self, request: ProvideDataRequest) -> Result<ProvideDataResponse, Status> {
        self.ask_as(request, &self.token()).await
    }

    async fn ask_as(&self, request: ProvideDataRequest, token: &str) -> Result<ProvideDataResponse, Status> {
        let mut request = Request::new(request);
        request.metadata_mut().insert("authorization", token.parse().expect("a header"));
        self.server.provide_data(request).await.map(Response::into_inner)
    }

    async fn deliver(&self, fetch: Digest, receipt: countersign_proto::v1::Receipt) -> Result<(), Status> {
        let receipts = vec![TransferReceipt { fetch: fetch.into(), receipt: Some(receipt) }];
        let mut request = Request::new(DeliverReceiptsRequest { receipts });
        request.metadata_mut().insert("authorization", self.token().parse().expect("a header"));
        self.server.deliver_receipts(request).await.map(drop)
    }

    /// Asks, and expects this reason, and this failed check if the reason is a statement's.
    async fn refuses(&self, request: ProvideDataRequest, reason: &str, check: &str) {
        let asked = self.echo.asked.load(Ordering::SeqCst);
        let status = self.ask(request).await.expect_err(reason);
        expect(&status, reason, check);
        assert_eq!(self.echo.asked.load(Ordering::SeqCst), asked, "{reason} {check}: the handler was asked");
    }

    fn enter_change(&self, sequence: u64, verb: Verb, previous: Digest) -> Digest {
        let change = self.world.change(&self.granted.source, self.granted.digest(), sequence, verb, previous);
        let entry =
            Entry::Changed { grant: *self.granted.digest().as_bytes(), change: envelope_bytes(&change) };
        self.skylark.book().enter(entry).expect("is written").expect("fits");
        envelope::digest(&change)
    }
}

fn expect(status: &Status, reason: &str, check: &str) {
    let info = status.get_details_error_info().expect("every refusal carries its reason");
    assert_eq!(info.domain, "countersign");
    assert_eq!(info.reason, reason, "{status:?}");
    assert_eq!(info.metadata.get("check").map_or("", String::as_str), check, "{status:?}");
}

#[tokio::test]
async fn a_transfer_goes_through_and_is_proven_to_both_sides() {
    let bench = Bench::new();
    let (world, granted) = (&bench.world, &bench.granted);
    let book = Book::in_memory();
    book.enter(granted.recipient.entry.clone()).expect("is written").expect("fits");
    let Entry::Linked { link, .. } = granted.recipient.entry else { unreachable!("the fixture links") };
    let entry = Entry::Granted {
        side: Side::Recipient,
        link,
        terms: envelope_bytes(&granted.signed_for(&granted.recipient)),
        salt: SALT,
        offer: envelope_bytes(&granted.offer),
        offer_key: vec![],
    };
    book.enter(entry).expect("is written").expect("fits");
    let hopp = world.partner(&world.hopp, book);

    let key = OpeningKey::draw(&world.system());
    let message = world.fetch(granted.digest(), |fetch| fetch.sealing_key = key.public().to_vec().into());
    let request = world.request(granted, &message);
    let signed = request.fetch.clone().expect("there is a fetch");
    let fetch = envelope::digest(&signed);
    let provided = bench.ask(request).await.expect("provides");
    let (_, provision) = read_provision(provided.provision.as_ref());
    let statements = [granted.digest(), fetch, provision];
    let receipt = world.receipt(granted, statements, &paths(&FIELDS), |_| {});
    let answer = FetchDataResponse {
        sealed_fields: provided.sealed_fields,
        provision: provided.provision,
        source_key: Some(world.skylark.certificate()),
        receipt: Some(receipt.clone()),
    };

    let own = OwnFetch {
        digest: fetch,
        statement: envelope::peek::<Fetch>(Some(&signed)).expect("a fetch"),
        envelope: signed,
    };
    let row = hopp.book().grant_by(granted.digest()).expect("stands");
    let open = |answer: &FetchDataResponse| hopp.open_answer(&row, &own, &key, answer);
    let fetched = open(&answer).expect("verifies");
    assert_eq!(fetched.get("trip.flight_no").and_then(Value::as_str), Some("trip.flight_no"));
    assert_eq!((fetched.values.len(), fetched.use_number()), (2, 1));

    // Each part, bent or missing, is refused before anything is opened.
    let bent = |check: &str, bend: &dyn Fn(&mut FetchDataResponse)| {
        let mut answer = answer.clone();
        bend(&mut answer);
        match open(&answer) {
            Err(Error::Misbehaved(one)) => assert_eq!(one.check, check, "{one}"),
            other => panic!("{check}: {:?}", other.map(|_| ())),
        }
    };
    bent("present", &|answer| answer.receipt = None);
    bent("present", &|answer| answer.provision = None);
    bent("partner_key", &|answer| answer.source_key = None);
    bent("partner_key", &|answer| answer.source_key = Some(world.hopp.certificate()));
    bent("sealed", &|answer| answer.sealed_fields = vec![1].into());
    bent("signature", &|answer| {
        let provision = answer.provision.as_mut().expect("there is one");
        let mut bytes = provision.signatures[0].signature.to_vec();
        bytes[0] ^= 1;
        provision.signatures[0].signature = bytes.into();
    });
    bent("evidence", &|answer| {
        let statements = [granted.digest(), fetch, Digest::of(b"another provision")];
        answer.receipt = Some(world.receipt(granted, statements, &paths(&FIELDS), |_| {}));
    });
    bent("fields", &|answer| {
        answer.receipt = Some(world.receipt(granted, statements, &paths(&FIELDS[..1]), |_| {}));
    });
    bent("kind", &|answer| {
        let refused =
            |record: &mut countersign_proto::log::v1::Record| record.set_kind(Kind::TransferRefused);
        answer.receipt = Some(world.receipt(granted, statements, &paths(&FIELDS), refused));
    });

    // The source takes the same receipt, and is owed nothing any more.
    assert_eq!(bench.skylark.book().receipts_owed(), 1);
    let wrong = world.receipt(granted, [granted.digest(), fetch, fetch], &paths(&FIELDS), |_| {});
    expect(&bench.deliver(fetch, wrong).await.expect_err("is another's"), "STATEMENT_INVALID", "evidence");
    assert_eq!(bench.skylark.book().receipts_owed(), 1);
    bench.deliver(fetch, receipt.clone()).await.expect("is taken");
    assert_eq!(bench.skylark.book().receipts_owed(), 0);
    bench.deliver(fetch, receipt).await.expect("comes at least once");
}

#[tokio::test]
async fn the_same_fetch_gets_the_same_bytes_and_spends_no_second_use() {
    let bench = Bench::new();
    let request = bench.request();
    let first = bench.ask(request.clone()).await.expect("provides");
    bench.world.clock.pass(60_000);
    let again = bench.ask(request.clone()).await.expect("repeats");
    assert_eq!((&first.sealed_fields, &first.provision), (&again.sealed_fields, &again.provision));
    assert_eq!(bench.echo.asked.load(Ordering::SeqCst), 1);
    let row = bench.skylark.book().grants().remove(0);
    assert_eq!(row.spent().uses, 1);

    let mut other = bench.fetch();
    let asked = envelope::peek::<Fetch>(request.fetch.as_ref()).expect("a fetch");
    other.request_id = asked.request_id;
    bench.refuses(bench.world.request(&bench.granted, &other), "REQUEST_ID_REUSED", "").await;
    bench.world.clock.pass(61_000);
    bench.refuses(request, "STATEMENT_INVALID", "time_ms").await;
}

#[tokio::test]
async fn two_calls_at_once_spend_one_use() {
    let bench = Bench::new();
    let request = bench.request();
    let (one, two) = tokio::join!(bench.ask(request.clone()), bench.ask(request));
    assert_eq!(one.expect("provides").sealed_fields, two.expect("provides").sealed_fields);
    assert_eq!(bench.echo.asked.load(Ordering::SeqCst), 1);
    assert!(bench.server.0.turns.lock().is_empty());
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_its_queue() {
    let bench = Bench::with(|_| {}, Echo { hangs: true, ..Echo::default() });
    let request = bench.request();
    {
        let mut first = Box::pin(bench.ask(request.clone()));
        while bench.echo.asked.load(Ordering::SeqCst) == 0 {
            tokio::select! {
                biased;
                _ = &mut first => panic!("the handler hangs"),
                () = tokio::task::yield_now() => {}
            }
        }
        let mut second = Box::pin(bench.ask(request));
        for _ in 0..100 {
            tokio::select! {
                biased;
                _ = &mut second => panic!("it waits for the first"),
                () = tokio::task::yield_now() => {}
            }
        }
        drop(second);
        assert_eq!(bench.server.0.turns.lock().len(), 1);
    }
    assert!(bench.server.0.turns.lock().is_empty());
}

#[tokio::test]
async fn only_this_broker_may_ask() {
    let bench = Bench::new();
    let broker = || Principal::Broker(World::origin());
    let (name, key) = (bench.world.skylark.name.as_str(), &bench.world.call_key);
    let other = SigningKey::from_secret(&[77; 32]);
    let check = async |token: String, reason: &str| {
        let status = bench.ask_as(bench.request(), &token).await.expect_err(reason);
        expect(&status, reason, "");
    };
    check(String::new(), "TOKEN_INVALID").await;
    check("Bearer x.y.z".into(), "TOKEN_INVALID").await;
    check(bench.world.token(name, &other, broker()), "TOKEN_INVALID").await;
    check(bench.world.token("partners/hopp", key, broker()), "TOKEN_INVALID").await;
    let hopp = Principal::Partner(bench.world.hopp.name.clone());
    check(bench.world.token(name, &bench.world.hopp.working(), hopp), "CALLER_NOT_ALLOWED").await;
    let good = bench.token();
    bench.ask_as(bench.request(), &good).await.expect("the broker may");
    bench.world.clock.pass(301_000);
    check(good, "TOKEN_INVALID").await;
}

#[tokio::test]
async fn a_fetch_that_does_not_verify_is_refused_by_the_name_of_its_check() {
    let bench = Bench::new();
    let fetch = |change: &dyn Fn(&mut wire::Fetch)| {
        let mut fetch = bench.fetch();
        change(&mut fetch);
        bench.world.request(&bench.granted, &fetch)
    };
    let invalid = async |request, check| bench.refuses(request, "STATEMENT_INVALID", check).await;
    invalid(fetch(&|fetch| fetch.broker = "other.example".into()), "broker").await;
    invalid(fetch(&|fetch| fetch.terms = vec![1; 32].into()), "terms").await;
    invalid(fetch(&|fetch| fetch.recipient = "partners/chirp".into()), "recipient").await;
    invalid(fetch(&|fetch| fetch.time_ms -= 121_000), "time_ms").await;
    invalid(fetch(&|fetch| fetch.time_ms += 121_000), "time_ms").await;
    invalid(fetch(&|fetch| fetch.fields.push(FIELDS[0].into())), "fields").await;
    invalid(fetch(&|fetch| fetch.fields.clear()), "fields").await;
    invalid(fetch(&|fetch| fetch.checkpoint = b"no note".to_vec().into()), "signature").await;
    bench.refuses(fetch(&|fetch| fetch.purpose = "other".into()), "PURPOSE_NOT_ALLOWED", "").await;
    bench.refuses(fetch(&|fetch| fetch.fields = vec!["trip.gate".into()]), "FIELD_NOT_GRANTED", "").await;

    let bent = |bend: &dyn Fn(&mut ProvideDataRequest)| {
        let mut request = bench.request();
        bend(&mut request);
        request
    };
    invalid(bent(&|request| request.fetch = None), "present").await;
    invalid(bent(&|request| request.fetch_key = None), "partner_key").await;
    invalid(bent(&|request| request.fetch_key = Some(bench.world.skylark.certificate())), "partner_key")
        .await;
    invalid(bent(&|request| request.subject = "partners/skylark/subjects/1".into()), "subject").await;
    let signed = |key: &SigningKey| envelope::sign::<Fetch>(&bench.fetch(), &[key]);
    invalid(bent(&|request| request.fetch = Some(signed(&bench.world.hopp.identity))), "key").await;
    invalid(
        bent(&|request| {
            let fetch = request.fetch.as_mut().expect("there is one");
            let mut bytes = fetch.payload.to_vec();
            // A field that no version of the message has.
            bytes.extend_from_slice(&[0xf8, 0x07, 1]);
            fetch.payload = bytes.into();
        }),
        "signature",
    )
    .await;
}

#[tokio::test]
async fn terms_that_do_not_verify_are_refused_and_not_entered() {
    let check = async |check: &str, bench: &Bench, request: ProvideDataRequest| {
        bench.refuses(request, "STATEMENT_INVALID", check).await;
        assert!(bench.skylark.book().grants().is_empty(), "{check}");
    };
    let terms = async |expected: &str, change: &dyn Fn(&mut wire::GrantTerms)| {
        let bench = Bench::with(change, Echo::default());
        let mut request = bench.request();
        request.fetch = Some(envelope::sign::<Fetch>(&bench.fetch(), &[&bench.world.hopp.working()]));
        check(expected, &bench, request).await;
    };
    terms("broker", &|terms| terms.broker = "other.example".into()).await;
    terms("party", &|terms| terms.source = "partners/other".into()).await;
    terms("identity", &|terms| terms.source_identity = terms.recipient_identity.clone()).await;
    // Hung on another account: the commitment opens to another link's acceptance.
    terms("party_commitment", &|terms| terms.source_commitment = terms.recipient_commitment.clone()).await;
    terms("partner_key", &|terms| terms.recipient_identity = terms.source_identity.clone()).await;
    terms("offer", &|terms| terms.offer = vec![1; 32].into()).await;
    terms("uses", &|terms| terms.uses = 4).await;
    terms("fields", &|terms| terms.fields.push("fare.price".into())).await;
    terms("expire_time_ms", &|terms| terms.expire_time_ms += 80_000_000).await;

    let bench = Bench::new();
    let (world, granted) = (&bench.world, &bench.granted);
    let bent = |bend: &dyn Fn(&mut ProvideDataRequest)| {
        let mut request = bench.request();
        bend(&mut request);
        request
    };
    check("key", &bench, bent(&|request| request.terms = Some(granted.signed_for(&granted.recipient)))).await;
    check("present", &bench, bent(&|request| request.terms = None)).await;
    check("party_commitment", &bench, bent(&|request| request.party_salt = vec![4; 32].into())).await;
    check(
        "link",
        &bench,
        bent(&|request| request.subject = World::link(&world.skylark, 9).subject.to_string()),
    )
    .await;
    check("present", &bench, bent(&|request| request.offer = None)).await;
    check("partner_key", &bench, bent(&|request| request.offer_key = None)).await;
    let forged = wire::Offer::decode(granted.offer.payload.clone()).expect("an offer");
    let forged = envelope::sign::<Offer>(&forged, &[&world.hopp.identity]);
    check("key", &bench, bent(&|request| request.offer = Some(forged.clone()))).await;
}

#[tokio::test]
async fn a_grant_in_the_book_is_for_its_subject_alone() {
    let bench = Bench::new();
    bench.ask(bench.request()).await.expect("provides");
    let mut request = bench.request();
    request.subject = World::link(&bench.world.skylark, 9).subject.to_string();
    bench.refuses(request, "STATEMENT_INVALID", "subject").await;
}

#[tokio::test]
async fn changes_count_from_the_moment_they_are_in_the_book() {
    let bench = Bench::new();
    let first = bench.request();
    bench.ask(first.clone()).await.expect("provides");
    let paused = bench.enter_change(1, Verb::Pause, bench.granted.digest());
    bench.refuses(bench.request(), "GRANT_PAUSED", "").await;
    let resumed = bench.enter_change(2, Verb::Resume, paused);
    bench.ask(bench.request()).await.expect("provides");
    bench.enter_change(3, Verb::Stop, resumed);
    bench.refuses(bench.request(), "GRANT_ENDED", "").await;
    // Not even what was answered before is repeated.
    bench.refuses(first, "GRANT_ENDED", "").await;
}

#[tokio::test]
async fn a_local_stop_and_the_end_of_time_end_a_grant() {
    let bench = Bench::new();
    bench.ask(bench.request()).await.expect("provides");
    let grant = bench.skylark.standing_grants(&bench.granted.source.subject).remove(0);
    bench.skylark.stop_locally(grant.name()).await.expect("stops");
    assert!(bench.skylark.standing_grants(&bench.granted.source.subject).is_empty());
    bench.refuses(bench.request(), "GRANT_ENDED", "").await;

    let bench = Bench::with(|terms| terms.expire_time_ms = terms.time_ms + 1000, Echo::default());
    bench.ask(bench.request()).await.expect("provides");
    bench.world.clock.pass(1000);
    bench.refuses(bench.request(), "GRANT_ENDED", "").await;
}

#[tokio::test]
async fn a_receipt_that_the_log_dates_wrongly_is_taken_soon_and_not_later() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.ask(bench.request()).await.expect("provides");
    }
    let owed: Vec<_> = bench.skylark.book().read(|state| state.owed.values().cloned().collect());
    let receipts = owed.iter().map(|answer| {
        let statements = [answer.grant, answer.fetch, answer.provision];
        let ahead = |record: &mut countersign_proto::log::v1::Record| record.time_ms += 600_000;
        (answer.fetch, bench.world.receipt(&bench.granted, statements, &paths(&FIELDS), ahead))
    });
    let [(soon, first), (later, second)] = receipts.collect::<Vec<_>>().try_into().expect("two are owed");
    bench.deliver(soon, first).await.expect("the log has the release");
    bench.world.clock.pass(901_000);
    bench.deliver(later, second).await.expect_err("who knows when that was released");
    assert_eq!(bench.skylark.book().receipts_owed(), 1);
}

#[tokio::test]
async fn a_source_counts_for_itself_and_waits_for_no_receipt_longer_than_a_minute() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.ask(bench.request()).await.expect("provides");
    }
    bench.refuses(bench.request(), "FREQUENCY_EXCEEDED", "").await;
    let owed: Vec<_> = bench.skylark.book().read(|state| state.owed.values().cloned().collect());
    bench.world.clock.pass(61_000);
    bench.refuses(bench.request(), "RECEIPT_MISSING", "").await;
    for answer in owed {
        let statements = [answer.grant, answer.fetch, answer.provision];
        let not_released = |record: &mut countersign_proto::log::v1::Record| {
            record.set_kind(Kind::ProvidedNotReleased);
            record.set_result(countersign_proto::log::v1::Result::Unspecified);
            record.use_number = 0;
        };
        let receipt = bench.world.receipt(&bench.granted, statements, &paths(&FIELDS), not_released);
        bench.deliver(answer.fetch, receipt).await.expect("is taken");
    }
    // The window of the rate is still open, and the uses are spent whatever became of the data.
    bench.refuses(bench.request(), "FREQUENCY_EXCEEDED", "").await;
    bench.world.clock.pass(3_600_000);
    bench.ask(bench.request()).await.expect("a new window");
    bench.refuses(bench.request(), "FREQUENCY_EXCEEDED", "").await;
}

#[tokio::test]
async fn a_handler_that_fails_spends_nothing() {
    for (echo, reason) in [
        (Echo { short: true, ..Echo::default() }, "SOURCE_UNAVAILABLE"),
        (Echo { missing: true, ..Echo::default() }, "RESOURCE_UNKNOWN"),
    ] {
        let bench = Bench::with(|_| {}, echo);
        let status = bench.ask(bench.request()).await.expect_err(reason);
        expect(&status, reason, "");
        let row = bench.skylark.book().grants().remove(0);
        assert_eq!((row.spent().uses, bench.skylark.book().receipts_owed()), (0, 0));
    }
}

#[tokio::test]
async fn a_forked_log_halts_the_source() {
    let bench = Bench::new();
    bench.ask(bench.request()).await.expect("provides");
    let size = bench.world.log.checkpoint().size();
    let forged = bench.world.log.forged(size).as_bytes().clone();
    let fetch = bench.world.fetch(bench.granted.digest(), |fetch| fetch.checkpoint = forged);
    let status = bench.ask(bench.world.request(&bench.granted, &fetch)).await.expect_err("a fork");
    expect(&status, "LOG_FORKED", "");
    bench.refuses(bench.request(), "LOG_FORKED", "").await;
    assert!(matches!(bench.skylark.monitor().check(), Err(Error::LogForked(_))));
    assert!(matches!(
        bench.skylark.fetch(bench.skylark.book().grants()[0].name(), PURPOSE, &FIELDS).await,
        Err(Error::LogForked(_))
    ));
}
