//! Live values before the answer: shown to the customer alone, in the log, and held against the first transfer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use countersign_client::customer::{Choice, Compared, ReadRequest, SincePreview, Wallet};
use countersign_grants::{
    catalogue::FieldPath,
    envelope,
    id::GrantName,
    key::SigningKey,
    statement::{MAX_FETCH_AGE, Offer, Preview},
    time::Clock as _,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1::{self as wire, Envelope},
    v1::{self, PreviewDataRequest, PreviewDataResponse},
};
use tonic::{Code, Status};

use crate::{
    devices::relinked,
    journey::check_world,
    world::{Granted, MEI, ORIGIN, PICKUP, Said, TRIP, own_connection, reason_of, sign_as, trip_offer},
};

impl Granted {
    /// One more request of row 1, read by Mei.
    pub(crate) async fn put(&self) -> ReadRequest {
        let offer = self.hopp.offer_trip(&self.skylark, 12).await;
        let rows = [(offer, false)];
        let lifetime = Duration::from_secs(3600);
        let request =
            self.skylark.partner.request(&self.at_skylark, &rows, lifetime).await.expect("requests");
        self.mei.read_request(&request).await.expect("verifies")
    }

    /// One that has the place of the pick-up too.
    pub(crate) async fn put_with_place(&self) -> ReadRequest {
        let mut offer = trip_offer(self.skylark.name(), 12);
        offer.optional_fields = vec!["pickup.location".to_owned()];
        let offer = self.hopp.partner.publish_offer(&offer).await.expect("publishes");
        let (rows, lifetime) = ([(offer, false)], Duration::from_secs(3600));
        let request = self.skylark.partner.request(&self.at_skylark, &rows, lifetime).await;
        self.mei.read_request(&request.expect("requests")).await.expect("verifies")
    }

    /// Approves its required fields.
    pub(crate) async fn approve(&self, request: &ReadRequest) -> GrantName {
        let approved = self.mei.approve(request, &Choice::required("en")).await.expect("approves");
        let grant = approved[0].grant.clone();
        self.skylark.until_in_book(&grant).await;
        self.hopp.until_in_book(&grant).await;
        grant
    }

    /// A preview of row 1 as Mei's SDK would make it, for a test to spoil.
    pub(crate) fn own_preview(&self, request: &ReadRequest) -> wire::Preview {
        wire::Preview {
            broker: ORIGIN.to_owned(),
            acceptance: self.mei_link().acceptance.into(),
            request: request.name().digest().into(),
            offer: request.rows()[0].offer.digest().into(),
            fields: TRIP.map(str::to_owned).to_vec(),
            request_id: self.world.system().draw_uuid(),
            time_ms: self.world.clock.now().as_millis(),
            sealing_key: Bytes::from_static(&[9; 32]),
        }
    }

    fn mei_link(&self) -> countersign_client::customer::LinkRow {
        self.mei.book().link_with(self.skylark.name()).expect("linked")
    }

    /// The key of Mei's link with a brand.
    pub(crate) fn link_key(&self, brand: &crate::world::Brand) -> SigningKey {
        let link = self.mei.book().link_with(brand.name()).expect("linked");
        Wallet::from_secret(&MEI).link_key(link.name.digest())
    }

    /// Sends this envelope as Mei.
    async fn send_preview(&self, statement: Envelope) -> Result<PreviewDataResponse, Status> {
        let source_link = self.mei_link().name.to_string();
        let asked = PreviewDataRequest { source_link, statement: Some(statement) };
        own_connection(self).transfers().preview_data(asked).await.map(tonic::Response::into_inner)
    }

    /// Asks Skylark itself, by the broker's token, as a broker that forwards what it likes.
    async fn ask_source(
        &self,
        preview: &wire::Preview,
        offer: &Envelope,
    ) -> Result<tonic::Response<v1::ProvidePreviewResponse>, Status> {
        let broker = &self.world.broker;
        let row = countersign_broker::rows::partner(self.skylark.name());
        let row = broker.load(row).await.expect("reads").expect("there").row;
        let key = countersign_broker::rows::partner_key(self.hopp.name(), self.hopp.working.id());
        let key = broker.load(key).await.expect("reads").expect("published").row.statement;
        let token = countersign_grants::token::Issuer::new(
            countersign_grants::id::Principal::Broker(self.world.trust.origin.clone()),
            &self.world.call_key,
        );
        let token = token.issue(self.skylark.name().as_str(), self.world.clock.now());
        let mut asked = tonic::Request::new(v1::ProvidePreviewRequest {
            subject: self.at_skylark.to_string(),
            preview: Some(sign_as::<Preview>(&self.link_key(&self.skylark), preview)),
            offer: Some(offer.clone()),
            offer_key: key,
        });
        asked.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
        let channel = tonic::transport::Endpoint::from_shared(row.source_endpoint).expect("an address");
        v1::source_service_client::SourceServiceClient::new(channel.connect_lazy())
            .provide_preview(asked)
            .await
    }

    async fn send_own_preview(&self, preview: &wire::Preview) -> Result<PreviewDataResponse, Status> {
        self.send_preview(sign_as::<Preview>(&self.link_key(&self.skylark), preview)).await
    }
}

pub(crate) fn paths(fields: &[&str]) -> Vec<FieldPath> {
    fields.iter().map(|field| FieldPath::parse(field).expect("a path")).collect()
}

fn stands(compared: &Compared, stand: SincePreview) -> Vec<&str> {
    compared.fields_that(stand).map(FieldPath::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_previewed_is_what_leaves_if_nothing_changed() {
    let granted = Granted::start().await;
    granted.skylark.shelf.put("trip.terminal", "5");
    let request = granted.put().await;
    let seen = granted.mei.preview(&request, 1, &paths(&TRIP)).await.expect("shows");
    let values: Vec<_> = seen.values.iter().map(|(field, value)| (field.as_str(), value.as_str())).collect();
    let expected = [("trip.flight_no", "B6 35"), ("trip.airport", "B6 35"), ("trip.terminal", "5")];
    assert_eq!(values, expected.map(|(field, value)| (field, Some(value))));
    let record = seen.receipt.record();
    assert_eq!((record.kind(), record.source.as_str()), (Kind::Previewed, granted.skylark.name().as_str()));
    // The asker learns nothing of it: neither its events nor the record name it.
    assert!(record.recipient.is_empty());
    let parent = granted.hopp.name().to_string();
    let asked = v1::ListEventsRequest { parent, ..Default::default() };
    let told = granted.hopp.partner.connection().events().list_events(asked).await.expect("lists");
    assert!(told.into_inner().events.iter().all(|event| event.kind() != Kind::Previewed));

    let grant = granted.approve(&request).await;
    assert!(granted.mei.comparisons().await.expect("lists").is_empty(), "nothing left yet");
    granted.hopp.partner.fetch(&grant, PICKUP, &TRIP).await.expect("flows");
    let compared = granted.mei.comparisons().await.expect("lists");
    assert!(compared[&grant].as_previewed());
    assert_eq!(stands(&compared[&grant], SincePreview::AsPreviewed), TRIP);
    // The grant without a preview is compared with nothing.
    granted.fetch().await.expect("flows");
    let compared = granted.mei.comparisons().await.expect("lists");
    assert_eq!(compared.keys().collect::<Vec<_>>(), [&grant]);
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_changed_since_the_preview_is_named() {
    let granted = Granted::start().await;
    let request = granted.put().await;
    granted.mei.preview(&request, 1, &paths(&TRIP[..2])).await.expect("shows");
    let grant = granted.approve(&request).await;
    granted.skylark.shelf.put("trip.airport", "EWR");
    granted.hopp.partner.fetch(&grant, PICKUP, &TRIP).await.expect("flows");
    let compared = granted.mei.comparisons().await.expect("lists").remove(&grant).expect("is compared");
    assert!(!compared.as_previewed());
    assert_eq!(stands(&compared, SincePreview::Changed), ["trip.airport"]);
    assert_eq!(stands(&compared, SincePreview::AsPreviewed), ["trip.flight_no"]);
    assert_eq!(stands(&compared, SincePreview::NotPreviewed), ["trip.terminal"]);

    // The first transfer is the one that counts: what changes later is news, and no broken promise.
    let owed = || granted.skylark.partner.book().receipts_owed();
    while owed() > 0 {
        tokio::task::yield_now().await;
    }
    granted.skylark.shelf.put("trip.flight_no", "B6 36");
    granted.hopp.partner.fetch(&grant, PICKUP, &TRIP).await.expect("flows");
    let shown = granted.mei.activity(0, &[Kind::Transfer]).await.expect("lists");
    let compared: Vec<bool> = shown.iter().map(|one| one.compared.is_some()).collect();
    assert_eq!(compared, [true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_look_counts_and_the_same_look_is_one_record() {
    let granted = Granted::start().await;
    let request = granted.put().await;
    let own = granted.own_preview(&request);
    let first = granted.send_own_preview(&own).await.expect("shows");
    let again = granted.send_own_preview(&own).await.expect("shows the same");
    assert_eq!((&first.sealed_fields, &first.provision), (&again.sealed_fields, &again.provision));
    let index = |answer: &PreviewDataResponse| answer.receipt.as_ref().expect("proven").index;
    assert_eq!(index(&first), index(&again));
    assert_eq!((granted.world.count(Kind::Previewed).await, granted.skylark.shelf.asked()), (1, 1));
    let other = wire::Preview { sealing_key: Bytes::from_static(&[8; 32]), ..own };
    let said = reason_of(granted.send_own_preview(&other).await);
    assert_eq!((said.code, said.reason.as_str()), (Code::InvalidArgument, "REQUEST_ID_REUSED"));

    // An older look was at another value; what is compared is what she saw last.
    granted.mei.preview(&request, 1, &paths(&TRIP)).await.expect("shows");
    granted.skylark.shelf.put("trip.terminal", "7");
    granted.mei.preview(&request, 1, &paths(&TRIP)).await.expect("shows");
    let grant = granted.approve(&request).await;
    granted.hopp.partner.fetch(&grant, PICKUP, &TRIP).await.expect("flows");
    assert!(granted.mei.comparisons().await.expect("lists")[&grant].as_previewed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_of_her_own_request_and_of_no_more_than_it_offers() {
    let granted = Granted::start().await;
    let request = granted.put().await;
    let own = granted.own_preview(&request);
    let says = async |spoil: fn(&mut wire::Preview)| {
        let mut preview = own.clone();
        preview.request_id = granted.world.system().draw_uuid();
        spoil(&mut preview);
        reason_of(granted.send_own_preview(&preview).await)
    };
    let invalid = |check: &str| Said {
        code: Code::InvalidArgument,
        reason: "STATEMENT_INVALID".to_owned(),
        check: check.to_owned(),
    };
    assert_eq!(says(|preview| preview.acceptance = vec![1; 32].into()).await, invalid("acceptance"));
    assert_eq!(says(|preview| preview.time_ms -= 121_000).await, invalid("time_ms"));
    assert_eq!(says(|preview| preview.time_ms += 121_000).await, invalid("time_ms"));
    assert_eq!(says(|preview| preview.offer = vec![1; 32].into()).await, invalid("offer"));
    assert_eq!(says(|preview| preview.fields.push("trip.pnr".into())).await, invalid("fields"));
    assert_eq!(says(|preview| preview.fields.swap(0, 1)).await, invalid("fields"));
    assert_eq!(says(|preview| preview.fields.clear()).await, invalid("fields"));
    assert_eq!(says(|preview| preview.request_id.clear()).await, invalid("request_id"));
    assert_eq!(says(|preview| preview.sealing_key = Bytes::new()).await, invalid("sealing_key"));
    assert_eq!(says(|preview| preview.broker = "other.test/log".into()).await, invalid("broker"));
    assert_eq!(says(|preview| preview.request = vec![1; 32].into()).await.reason, "RESOURCE_UNKNOWN");
    // A key that opens nothing: the source says so.
    assert_eq!(says(|preview| preview.sealing_key = vec![0; 32].into()).await.reason, "SOURCE_REFUSED");

    // Signed with the key of another link, or by a partner; asked by somebody else.
    let by = async |key: &SigningKey| reason_of(granted.send_preview(sign_as::<Preview>(key, &own)).await);
    assert_eq!(by(&granted.link_key(&granted.hopp)).await, invalid("key"));
    assert_eq!(by(&granted.skylark.working).await, invalid("key"));
    let statement = sign_as::<Preview>(&granted.link_key(&granted.skylark), &own);
    let asked = PreviewDataRequest {
        source_link: granted.mei_link().name.to_string(),
        statement: Some(statement.clone()),
    };
    let partner = granted.hopp.partner.connection().transfers().preview_data(asked.clone()).await;
    assert_eq!(reason_of(partner).reason, "CALLER_NOT_ALLOWED");
    let other = PreviewDataRequest { source_link: format!("links/{}", "0".repeat(64)), ..asked };
    assert_eq!(
        reason_of(own_connection(&granted).transfers().preview_data(other).await).reason,
        "LINK_MISSING"
    );
    // The handler was asked once: for the key that opens nothing.
    assert_eq!((granted.world.count(Kind::Previewed).await, granted.skylark.shelf.asked()), (0, 1));

    // Once it is answered nobody looks any more.
    granted.approve(&request).await;
    assert_eq!(reason_of(granted.send_preview(statement).await).reason, "WRONG_STATE");
    assert_eq!(granted.world.count(Kind::Previewed).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_preview_shows_where_she_is() {
    let granted = Granted::start().await;
    granted.skylark.shelf.put("pickup.location", "40.6413,-73.7781");
    let request = granted.put_with_place().await;
    let place = paths(&["pickup.location"]);
    let error = granted.mei.preview(&request, 1, &place).await.expect_err("her app asks for no such thing");
    assert!(error.to_string().contains("leaves by a tap alone"), "{error}");
    // By hand, as whoever holds her keys would.
    let mut own = granted.own_preview(&request);
    let invalid = ("STATEMENT_INVALID", "fields");
    for fields in [["trip.airport", "pickup.location"].as_slice(), &["pickup.location"]] {
        own.fields = fields.iter().map(|field| (*field).to_owned()).collect();
        let said = reason_of(granted.send_own_preview(&own).await);
        assert_eq!((said.reason.as_str(), said.check.as_str()), invalid, "{fields:?} at the broker");
        let said = reason_of(granted.ask_source(&own, request.rows()[0].offer.envelope()).await);
        assert_eq!((said.reason.as_str(), said.check.as_str()), invalid, "{fields:?} at the source");
    }
    assert_eq!(granted.skylark.shelf.asked(), 0, "nobody looked where she is");
    assert_eq!(granted.world.count(Kind::Previewed).await, 0);
    // What else the row has is shown as ever.
    granted.mei.preview(&request, 1, &paths(&TRIP)).await.expect("shows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_under_way_shows_nothing_once_the_keys_are_in_other_hands() {
    for reports in [true, false] {
        let granted = Arc::new(Granted::start().await);
        let request = granted.put().await;
        let held = granted.hold().await;
        // By the thief, at the last moment.
        let looking = tokio::spawn({
            let (granted, own) = (Arc::clone(&granted), granted.own_preview(&request));
            async move { granted.send_own_preview(&own).await }
        });
        held.provided.notified().await;
        if reports {
            granted.mei.report_stolen(true).await.expect("recorded");
        } else {
            relinked(&granted).await;
        }
        held.go.notify_one();
        let said = reason_of(looking.await.expect("no panic"));
        assert_eq!(said.reason, "LINK_MISSING", "reported: {reports}");
        assert_eq!(granted.world.count(Kind::Previewed).await, 0);
        assert_eq!(granted.skylark.shelf.asked(), 1, "what the source gave was dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_away_or_suspended_shows_nothing() {
    let granted = Granted::start().await;
    let request = granted.put().await;
    granted.endpoint("http://127.0.0.1:9".to_owned()).await;
    let error = granted.mei.preview(&request, 1, &paths(&TRIP)).await.expect_err("nobody is there");
    assert_eq!(error.reason(), Some("SOURCE_UNAVAILABLE"), "{error}");
    granted.world.suspend(&granted.skylark).await;
    let error = granted.mei.preview(&request, 1, &paths(&TRIP)).await.expect_err("it is suspended");
    assert_eq!(error.reason(), Some("SOURCE_UNAVAILABLE"), "{error}");
    assert_eq!(granted.world.count(Kind::Previewed).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_answers_so_many_looks_a_day_and_no_more() {
    const MOST: u32 = 64;
    let granted = Granted::start().await;
    let request = granted.put().await;
    let preview = async || {
        // The broker's own quota counts by the real clock.
        let own = granted.own_preview(&request);
        loop {
            match granted.send_own_preview(&own).await {
                Err(status) if status.code() == Code::ResourceExhausted => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    };
    for _ in 0..MOST {
        preview().await.expect("shows");
    }
    let said = preview().await.expect_err("too many");
    let info = tonic_types::StatusExt::get_details_error_info(&said).expect("says why");
    assert_eq!(info.metadata.get("source_reason").map(String::as_str), Some("QUOTA_EXCEEDED"));
    assert_eq!(granted.skylark.shelf.asked(), MOST);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_another_source_shows_nothing_of_this_one() {
    // What the source itself holds against a broker that forwards what it likes.
    let granted = Granted::start().await;
    let request = granted.put().await;
    let row = &request.rows()[0].offer;
    let mut offer =
        <wire::Offer as prost::Message>::decode(row.envelope().payload.clone()).expect("an offer");
    offer.source = "partners/elsewhere".to_owned();
    let offer = sign_as::<Offer>(&granted.hopp.working, &offer);
    let mut own = granted.own_preview(&request);
    own.offer = envelope::digest(&offer).into();
    let ask = async |preview: &wire::Preview, offer: &Envelope| granted.ask_source(preview, offer).await;
    assert_eq!(reason_of(ask(&own, &offer).await).check, "source");
    // Another offer than the one that she signed for.
    assert_eq!(reason_of(ask(&granted.own_preview(&request), &offer).await).check, "source");
    own.offer = vec![7; 32].into();
    assert_eq!(reason_of(ask(&own, row.envelope()).await).check, "offer");
    // Kept, and sent again when it is old.
    let kept = granted.own_preview(&request);
    ask(&kept, row.envelope()).await.expect("shows");
    granted.world.clock.advance(MAX_FETCH_AGE + Duration::from_secs(1));
    assert_eq!(reason_of(ask(&kept, row.envelope()).await).check, "time_ms");
    assert_eq!(granted.skylark.shelf.asked(), 1);
}
