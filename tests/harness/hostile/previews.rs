//! What the broker can do with a preview: ask for one itself, show another, misreport what changed since.

use std::sync::Arc;

use bytes::Bytes;
use countersign_client::customer::SincePreview;
use countersign_grants::{
    catalogue::FieldPath,
    envelope,
    statement::{Preview, PreviewProvision, Provision},
};
use countersign_proto::{
    log::v1::Kind,
    v1::{ListEventsResponse, PreviewDataResponse, ProvidePreviewRequest},
};
use parking_lot::Mutex;
use tonic::Code;

use super::{Operator, blamed};
use crate::{
    previews::paths,
    world::{PICKUP, Said, TRIP, bare_fetch, reason_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn no_broker_looks_for_itself() {
    let operator = Operator::start().await;
    let request = operator.put().await;
    let fails = async |check: &str| {
        let error = operator.mei.preview(&request, 1, &paths(&TRIP)).await.expect_err("refused");
        assert_eq!(error.reason(), Some("SOURCE_REFUSED"), "{error}");
        let said = operator.behind.last_refusal("ProvidePreview").expect("the source refused");
        let invalid =
            Said { code: Code::InvalidArgument, reason: "STATEMENT_INVALID".into(), check: check.into() };
        assert_eq!(reason_of::<()>(Err(said)), invalid);
        assert_eq!(operator.skylark.shelf.asked(), 0, "the handler was never asked");
    };
    let swap = |preview: &mut countersign_proto::statement::v1::Preview| {
        preview.sealing_key = Bytes::from_static(&[8; 32]);
    };
    operator.behind.bend_ask::<ProvidePreviewRequest>("ProvidePreview", move |asked| {
        asked.preview = Some(Operator::bent::<Preview>(asked.preview.as_ref(), swap));
    });
    fails("signature").await;
    operator.behind.bend_ask::<ProvidePreviewRequest>("ProvidePreview", move |asked| {
        asked.preview = Some(Operator::forged::<Preview>(asked.preview.as_ref(), swap));
    });
    fails("key").await;
    // By a person who works with it: her own key is good for her own account alone.
    let accomplice = operator.accomplice().await;
    let key = accomplice.skylark_key.to_secret();
    operator.behind.bend_ask::<ProvidePreviewRequest>("ProvidePreview", move |asked| {
        let key = countersign_grants::key::SigningKey::from_secret(&key);
        asked.preview = Some(Operator::signed_by::<Preview>(&key, asked.preview.as_ref(), swap));
    });
    fails("key").await;
    operator.behind.be_honest("ProvidePreview");
    operator.mei.preview(&request, 1, &paths(&TRIP)).await.expect("shows when nobody bends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_is_the_sources_and_has_a_record() {
    let operator = Operator::start().await;
    let request = operator.put().await;
    let fails = async |expected: &str| {
        let error = operator.mei.preview(&request, 1, &paths(&TRIP)).await.expect_err("refused");
        assert_eq!(blamed(&error), expected);
        assert!(operator.mei.book().previews().is_empty(), "nothing of it was opened");
    };
    let lies = |bend: fn(&mut PreviewDataResponse)| operator.front.bend("PreviewData", bend);
    lies(|answer| answer.receipt = None);
    fails("the broker: receipt: present").await;
    lies(|answer| answer.sealed_fields = Bytes::from_static(b"other"));
    fails("partners/skylark: preview_provision: sealed").await;
    lies(|answer| {
        let provision = Operator::forged::<PreviewProvision>(answer.provision.as_ref(), |_| {});
        answer.provision = Some(provision);
    });
    fails("partners/skylark: preview_provision: key").await;
    lies(|answer| answer.receipt.as_mut().expect("proven").evidence_salt = Bytes::from_static(&[0; 32]));
    fails("the broker: receipt: evidence").await;

    // The answer to an earlier look, whole, and then its record alone.
    let earlier = Arc::new(Mutex::new(None::<PreviewDataResponse>));
    let keeps = Arc::clone(&earlier);
    operator.front.bend::<PreviewDataResponse>("PreviewData", move |answer| {
        let first = keeps.lock().get_or_insert_with(|| answer.clone()).clone();
        *answer = PreviewDataResponse { receipt: None, ..first };
    });
    fails("the broker: receipt: present").await;
    fails("partners/skylark: preview_provision: preview").await;
    operator.front.bend::<PreviewDataResponse>("PreviewData", move |answer| {
        answer.receipt = earlier.lock().as_ref().expect("kept").receipt.clone();
    });
    fails("the broker: receipt: evidence").await;
    operator.front.be_honest("PreviewData");
    operator.mei.preview(&request, 1, &paths(&TRIP)).await.expect("shows when nobody bends it");
    // Each look that came to an answer is in the log, whatever the broker made of it.
    assert_eq!(operator.world.count(Kind::Previewed).await, operator.skylark.shelf.asked() as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_is_the_sources_word() {
    let operator = Operator::start().await;
    let request = operator.put().await;
    operator.mei.preview(&request, 1, &paths(&TRIP)).await.expect("shows");
    let grant = operator.approve(&request).await;
    operator.skylark.shelf.put("trip.terminal", "7");
    operator.hopp.partner.fetch(&grant, PICKUP, &TRIP).await.expect("flows");

    let says = |bend: fn(&mut countersign_proto::v1::Event)| {
        operator.front.bend::<ListEventsResponse>("ListEvents", move |page| {
            page.events.iter_mut().filter(|event| event.statement.is_some()).for_each(bend);
        });
    };
    let fails = async |expected: &str| {
        assert_eq!(blamed(&operator.mei.comparisons().await.expect_err("refused")), expected);
    };
    says(|event| {
        event.statement = Some(Operator::bent::<Provision>(event.statement.as_ref(), |said| {
            said.marks[2].mac = said.marks[1].mac.clone();
        }));
    });
    fails("partners/skylark: provision: signature").await;
    says(|event| event.statement = Some(Operator::forged::<Provision>(event.statement.as_ref(), |_| {})));
    fails("partners/skylark: provision: key").await;
    says(|event| event.evidence_salt = Bytes::from_static(&[0; 32]));
    fails("the broker: event: evidence").await;
    // To keep it back is to say nothing, and never that all is as previewed.
    says(|event| event.statement = None);
    assert!(operator.mei.comparisons().await.expect("lists").is_empty());
    operator.front.be_honest("ListEvents");
    let compared = operator.mei.comparisons().await.expect("lists").remove(&grant).expect("is compared");
    let changed: Vec<&str> = compared.fields_that(SincePreview::Changed).map(FieldPath::as_str).collect();
    assert_eq!(changed, ["trip.terminal"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_proves_no_release_is_not_told_which_values_change() {
    let operator = Operator::start().await;
    let request = operator.put().await;
    operator.mei.preview(&request, 1, &paths(&TRIP)).await.expect("shows");
    let grant = operator.approve(&request).await;
    // It draws as a recipient's fetches come, and lets the source see no receipt.
    let mut marked = Vec::new();
    for _ in 0..3 {
        let mut fetch = bare_fetch(&operator).await;
        fetch.terms = grant.digest().into();
        let fetch = operator.signed(&fetch);
        let provided = operator.provide(operator.papers(&grant, &fetch).await).await.expect("provides");
        let said = envelope::peek::<Provision>(provided.provision.as_ref()).expect("signed");
        marked.push(said.comparison.is_some());
    }
    assert_eq!(marked, [true, false, false]);
}
