//! Keys that are not whose they seem: the broker's own, logged as a partner's, or put in the customer's place.

use bytes::Bytes;
use countersign_broker::{record::Happening, rows, work::Work};
use countersign_client::{Error, Misuse, PartnerEvent};
use countersign_grants::{
    envelope,
    statement::{LinkAcceptance, LinkConfirmation},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::PartnerKeyRow,
    statement::v1 as wire,
    v1::{Link, ListLinksResponse},
};

use super::{Operator, blamed};
use crate::world::sign_as;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_broker_logs_for_a_partner_is_seen_by_that_partner() {
    let operator = Operator::start().await;
    let (skylark, own) = (operator.skylark.name(), Operator::own_key());
    let certificate = operator.own_certificate(skylark);
    let digest = envelope::digest(&certificate);
    let row = PartnerKeyRow { statement: Some(certificate), publish_time_ms: 1 };
    let mut work = Work::default();
    work.create(&rows::partner_key(skylark, own.id()), &row).expect("fits");
    work.index(&rows::keys_of(skylark).entry(2, digest), own.id().as_str()).expect("fits");
    let broker = &operator.world.broker;
    work.record(broker.draft(Happening {
        kind: Kind::PartnerKeyPublished,
        source: Some(skylark),
        evidence: &[digest],
        ..Happening::default()
    }));
    broker.enter(work).await.expect("enters").expect("expects nothing else");

    let unknown = operator
        .skylark
        .hears(|event| match event {
            PartnerEvent::UnknownKeys { keys } => Some(keys),
            _ => None,
        })
        .await;
    assert_eq!(unknown, [own.id().clone()]);
    // The broker itself takes the key for Skylark's now. Nobody who verifies does: the customer's terms name an identity,
    // and it did not sign this (a_dropped_or_forged_signature_of_the_source_is_refused).
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_of_the_brokers_own_opens_with_no_code() {
    let operator = Operator::start().await;
    let (skylark, mei) = (&operator.skylark, &operator.mei);
    let invited = skylark.partner.invite("Mei, gold card").await.expect("invites");
    let accepted = mei.accept(&invited.package).await.expect("accepts");
    // The customer's own acceptance went out; the operator shows the partner another, signed with a key that it holds.
    let own = Operator::own_key();
    let before = skylark.partner.book().links().len();
    let shows = |key: Bytes, mac: Option<Bytes>| {
        let own = Operator::own_key();
        operator.front.bend::<Link>("GetLink", move |link| {
            let said = link.acceptance.as_ref().expect("accepted");
            let mut said: wire::LinkAcceptance =
                prost::Message::decode(said.payload.clone()).expect("an acceptance");
            said.link_key.clone_from(&key);
            if let Some(mac) = &mac {
                said.code_mac.clone_from(mac);
            }
            link.acceptance = Some(sign_as::<LinkAcceptance>(&own, &said));
        });
    };
    let key = Bytes::copy_from_slice(own.public().as_bytes());
    shows(key.clone(), None);
    match skylark.partner.confirm(&invited.link, &accepted.code).await {
        Err(error @ Error::Misuse(Misuse::WrongCode { tries_left: 2 })) => {
            assert_eq!(error.to_string(), "the code does not open the acceptance; 2 tries are left");
        }
        other => panic!("{other:?}"),
    }
    // With the right code and no secret: the MAC is over the secret.
    let guessed = countersign_grants::statement::code_mac(
        &[0; 32],
        invited.link.digest(),
        own.public(),
        &accepted.code,
    );
    shows(key, Some(Bytes::copy_from_slice(&guessed)));
    let refused = skylark.partner.confirm(&invited.link, &accepted.code).await;
    assert!(matches!(refused, Err(Error::Misuse(Misuse::WrongCode { tries_left: 1 }))), "{refused:?}");
    assert_eq!(skylark.partner.book().links().len(), before, "no key was pinned");
    // The customer's own acceptance opens with the last try.
    operator.front.be_honest("GetLink");
    skylark.partner.confirm(&invited.link, &accepted.code).await.expect("opens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_the_partner_did_not_confirm_is_not_believed() {
    let operator = Operator::start().await;
    let chirp = operator.world.brand("chirp").await;
    let invited = chirp.partner.invite("Mei").await.expect("invites");
    operator.mei.accept(&invited.package).await.expect("accepts");
    let (certificate, name) = (operator.own_certificate(chirp.name()), invited.link.to_string());
    let (partner, now) = (chirp.name().to_string(), operator.world.system().now().as_millis());
    operator.front.bend::<ListLinksResponse>("ListLinks", move |list| {
        let link = list.links.iter_mut().find(|link| link.name == name).expect("listed");
        let acceptance = envelope::digest(link.acceptance.as_ref().expect("accepted"));
        let said = wire::LinkConfirmation {
            broker: crate::world::ORIGIN.into(),
            partner: partner.clone(),
            acceptance: acceptance.into(),
            time_ms: now,
            checkpoint: Bytes::from_static(b"some"),
        };
        link.confirmation = Some(sign_as::<LinkConfirmation>(&Operator::own_key(), &said));
        link.partner_keys.push(certificate.clone());
    });
    let error = operator.mei.links().await.expect_err("nobody confirmed it");
    assert!(blamed(&error).starts_with("partners/chirp: confirmation: "), "{error}");
    let link = operator.mei.book().link(&invited.link).expect("accepted");
    assert!(!link.confirmed);
}
