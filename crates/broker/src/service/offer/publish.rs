//! `PublishOffer`.

use countersign_grants::{
    envelope::Signed,
    id::{OfferName, PartnerName},
    statement::{Offer, WorkingKey},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::OfferRow,
    v1::{self, PublishOfferRequest},
};

use super::view;
use crate::{
    Broker, Caller, Fault,
    record::Happening,
    rows,
    work::{Work, settle},
};

const WHAT: &str = "offer";

pub(super) async fn publish(
    broker: &Broker,
    caller: &Caller,
    request: PublishOfferRequest,
) -> Result<v1::Offer, Fault> {
    let recipient = caller.partner()?;
    let (offer, key) = broker
        .signed_by_partner::<Offer>(recipient, WHAT, request.statement.as_ref(), |offer| offer.time)
        .await?;
    settle("offer", || attempt(broker, recipient, &offer, &key)).await
}

async fn attempt(
    broker: &Broker,
    recipient: &PartnerName,
    signed: &Signed<Offer>,
    key: &WorkingKey,
) -> Result<Option<v1::Offer>, Fault> {
    let (name, offer) = (OfferName::of(signed.digest()), signed.statement());
    if offer.recipient != *recipient {
        return Err(Fault::says(WHAT, "recipient", "only its recipient publishes an offer"));
    }
    if let Some(published) = broker.load(rows::offer(&name)).await? {
        return view(&name, &published.row).map(Some);
    }
    decide(broker, recipient, offer).await?;

    let now = broker.now().as_millis();
    let row = OfferRow {
        statement: Some(signed.envelope().clone()),
        partner_key: Some(key.certificate().envelope().clone()),
        withdrawn: false,
        publish_time_ms: now,
    };
    let mut work = Work::default();
    work.create(&rows::offer(&name), &row)?;
    work.index(&rows::offers_of(recipient).entry(now, signed.digest()), name.as_str())?;
    let evidence = [signed.digest()];
    work.record(broker.draft(Happening { evidence: &evidence, ..happening(Kind::OfferPublished, offer) }));
    match broker.enter(work).await? {
        Some(_) => view(&name, &row).map(Some),
        None => Ok(None),
    }
}

async fn decide(broker: &Broker, recipient: &PartnerName, offer: &Offer) -> Result<(), Fault> {
    if broker.partner(recipient).await?.row.identity_key != *offer.recipient_identity.as_bytes().as_slice() {
        return Err(Fault::says(
            WHAT,
            "recipient_identity",
            "it names another identity key than the partner's",
        ));
    }
    if broker.load(rows::partner(&offer.source)).await?.is_none() {
        let problem = format!("`{}` is no partner here", offer.source);
        return Err(Fault::OfferNotAllowed { field: "source", problem });
    }
    offer.within(broker.catalogues().current()).map_err(Fault::offer)
}

/// What a record says of an offer.
pub(super) fn happening(kind: Kind, offer: &Offer) -> Happening<'_> {
    Happening {
        kind,
        source: Some(&offer.source),
        recipient: Some(&offer.recipient),
        purpose: Some(&offer.purpose),
        catalogue_version: Some(offer.catalogue_version),
        ..Happening::default()
    }
}
