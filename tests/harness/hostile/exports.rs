//! An export that is made from bent answers: nothing is signed for the broker, and what nobody signed is not written.

use std::{fs, path::Path};

use countersign_client::customer::ExportError;
use countersign_grants::statement::{
    Acknowledgement, ChangeReason, ErasureAttestation, GrantTerms, LinkInvitation, PartnerChange, PartnerVerb,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{self, Customer, ListGrantRequestsResponse, ListGrantsResponse, ListLinksResponse, grant::State},
};

use super::{Operator, blamed};
use crate::world::sign_as;

/// Who is blamed for an export that ends without a manifest.
pub(super) async fn ends(operator: &Operator) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let error = operator.mei.export(folder.path()).await.expect_err("bent");
    assert!(!folder.path().join("manifest.json").exists());
    let ExportError::Call(error) = error else { panic!("{error}") };
    blamed(&error)
}

impl Operator {
    /// Bends the first grant of Mei's list, for what is left of the test.
    fn bend_grant(&self, bend: impl Fn(&mut v1::Grant) + Send + Sync + 'static) {
        self.front.bend::<ListGrantsResponse>("ListGrants", move |list| {
            bend(list.grants.first_mut().expect("listed"));
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_signs_no_terms_of_the_brokers_choosing() {
    let operator = Operator::start().await;
    operator.mei.pause(&operator.grant).await.expect("recorded");
    // Lists are in the order of time.
    operator.world.clock.advance(std::time::Duration::from_secs(1));
    let other = operator.one_more().await;
    let other = operator.mei.book().grant(&other).expect("stands").name;
    // Hopp is the recipient of the grant: by what the broker shows, its link's key would sign as a source's.
    let turned = |grant: &v1::Grant| {
        Operator::bent::<GrantTerms>(grant.terms.as_ref(), |terms| {
            std::mem::swap(&mut terms.source, &mut terms.recipient);
            std::mem::swap(&mut terms.source_identity, &mut terms.recipient_identity);
            terms.fields.push("ride.status".to_owned());
        })
    };
    operator.bend_grant(move |grant| grant.terms = Some(turned(grant)));
    assert_eq!(ends(&operator).await, "the broker: terms: signature");
    let error = operator.mei.grants().await.expect_err("bent");
    assert_eq!(blamed(&error), "the broker: terms: signature");
    operator.bend_grant(move |grant| {
        grant.terms = Some(Operator::forged::<GrantTerms>(Some(&turned(grant)), |_| {}));
    });
    assert_eq!(ends(&operator).await, "the broker: terms: key");
    // Her own terms, and of another grant.
    operator.front.bend::<ListGrantsResponse>("ListGrants", move |list| {
        let terms =
            list.grants.iter().find(|grant| grant.name == other.as_str()).expect("listed").terms.clone();
        list.grants[0].terms = terms;
    });
    assert_eq!(ends(&operator).await, "the broker: grant: terms");
    // Her own change, of this grant, and in another's place.
    operator.bend_grant(|grant| grant.changes.push(grant.changes[0].clone()));
    assert_eq!(ends(&operator).await, "the broker: grant: changes");

    // In what an honest answer gives, each signature of Hopp's link key is over the terms and changes of her own book.
    operator.front.be_honest("ListGrants");
    let folder = tempfile::tempdir().expect("a folder");
    operator.mei.export(folder.path()).await.expect("exports");
    let read = |name: &str| fs::read_to_string(Path::new(folder.path()).join(name)).expect("reads");
    let grants: serde_json::Value = serde_json::from_str(&read("grants.json")).expect("JSON");
    for grant in grants.as_array().expect("a list") {
        assert_eq!(grant["recipient_terms"]["payload"], grant["grant"]["terms"]["payload"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_no_word_that_nobody_signed() {
    let operator = Operator::start().await;
    let (hopp, grant) = (operator.hopp.name().to_string(), operator.grant.digest());
    let checkpoint =
        operator.hopp.partner.connection().audit().get_checkpoint(v1::GetCheckpointRequest {}).await;
    let checkpoint = checkpoint.expect("answers").into_inner().checkpoint;
    let now = operator.world.system().now().as_millis();
    let (working, own) = (&operator.hopp.working, &Operator::own_key());
    let certificate = move |grant: &v1::Grant| {
        let of_hopp = grant.acknowledgements.iter().find(|word| word.partner == hopp);
        (hopp.clone(), of_hopp.expect("acknowledged").partner_key.clone())
    };

    let said = |statement: &[u8], hopp: &str| wire::Acknowledgement {
        broker: crate::world::ORIGIN.into(),
        partner: hopp.to_owned(),
        statement: bytes::Bytes::copy_from_slice(statement),
        time_ms: now,
        checkpoint: checkpoint.clone(),
    };
    for (key, statement, expected) in [
        (own, grant.as_bytes().to_vec(), "partners/hopp: acknowledgement: key"),
        (working, vec![7; 32], "the broker: acknowledgement: statement"),
    ] {
        let word = sign_as::<Acknowledgement>(key, &said(&statement, operator.hopp.name().as_str()));
        let certificate = certificate.clone();
        operator.bend_grant(move |grant| {
            let (partner, partner_key) = certificate(grant);
            grant.acknowledgements.push(v1::Acknowledgement {
                partner,
                statement: Some(word.clone()),
                partner_key,
            });
        });
        assert_eq!(ends(&operator).await, expected);
    }

    let revokes = |sequence: u64| wire::PartnerChange {
        broker: crate::world::ORIGIN.into(),
        partner: operator.hopp.name().to_string(),
        terms: grant.into(),
        sequence,
        verb: PartnerVerb::Revoke.into(),
        reason: ChangeReason::NotNeeded.into(),
        previous: grant.into(),
        time_ms: now,
        checkpoint: checkpoint.clone(),
    };
    for (key, sequence, expected) in
        [(own, 1, "partners/hopp: partner_change: key"), (working, 2, "the broker: partner_change: sequence")]
    {
        let change = sign_as::<PartnerChange>(key, &revokes(sequence));
        let certificate = certificate.clone();
        operator.bend_grant(move |grant| {
            let (partner, partner_key) = certificate(grant);
            grant.partner_changes.push(v1::PartnerChange {
                partner,
                statement: Some(change.clone()),
                partner_key,
            });
        });
        assert_eq!(ends(&operator).await, expected);
    }

    // A good word that it was deleted, of an order that nobody gave.
    let deleted = wire::ErasureAttestation {
        broker: crate::world::ORIGIN.into(),
        partner: operator.hopp.name().to_string(),
        terms: grant.into(),
        change: grant.into(),
        time_ms: now,
        checkpoint: checkpoint.clone(),
    };
    let deleted = sign_as::<ErasureAttestation>(working, &deleted);
    let of_hopp = certificate.clone();
    operator.bend_grant(move |grant| {
        grant.erasure_attestation_key = of_hopp(grant).1;
        grant.erasure_attestation = Some(deleted.clone());
    });
    assert_eq!(ends(&operator).await, "the broker: grant: erasure_attestation");
    operator.bend_grant(|grant| grant.use_limit += 1);
    assert_eq!(ends(&operator).await, "the broker: grant: use_limit");
    operator.front.be_honest("ListGrants");

    let bend_link = |bend: fn(&mut v1::Link)| {
        let skylark = operator.skylark.name().to_string();
        operator.front.bend::<ListLinksResponse>("ListLinks", move |list| {
            bend(list.links.iter_mut().find(|link| link.partner == skylark).expect("listed"));
        });
    };
    bend_link(|link| {
        let bent = Operator::bent::<LinkInvitation>(link.invitation.as_ref(), |said| said.time_ms += 1);
        link.invitation = Some(bent);
    });
    assert_eq!(ends(&operator).await, "partners/skylark: invitation: signature");
    bend_link(|link| link.subject.push('0'));
    assert_eq!(ends(&operator).await, "the broker: link: subject");
    operator.front.be_honest("ListLinks");
    operator.front.bend::<Customer>("GetCustomer", |customer| customer.public_key = vec![1; 32].into());
    assert_eq!(ends(&operator).await, "the broker: customer: public_key");
    operator.front.be_honest("GetCustomer");
    operator.front.bend::<ListGrantRequestsResponse>("ListGrantRequests", |list| {
        list.grant_requests.iter_mut().map(|request| &mut request.offers).for_each(Vec::clear);
    });
    assert_eq!(ends(&operator).await, "the broker: request: offers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_receipt_follows_what_was_signed_and_not_the_brokers_word() {
    let operator = Operator::start().await;
    operator.bend_grant(|grant| grant.set_state(State::Expired));
    let folder = tempfile::tempdir().expect("a folder");
    operator.mei.export(folder.path()).await.expect("exports");
    let digest = data_encoding::HEXLOWER.encode(operator.grant.digest().as_bytes());
    let receipt = fs::read_to_string(folder.path().join(format!("consents/{digest}.jsonld"))).expect("reads");
    assert!(receipt.contains("dpv:ConsentGiven") && !receipt.contains("dpv:ConsentExpired"), "{receipt}");
    operator.front.be_honest("ListGrants");
    // A record with a good proof, of a pause that she did not sign.
    operator.claims(Kind::GrantPaused).await;
    assert_eq!(ends(&operator).await, "the broker: event: evidence");
}
