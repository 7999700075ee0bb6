//! `WithdrawOffer`. Grants under it stand.

use countersign_grants::{
    id::{OfferName, PartnerName},
    lifecycle,
};
use countersign_proto::{
    log::v1::Kind,
    v1::{Offer, WithdrawOfferRequest},
};

use super::{publish::happening, read, view};
use crate::{
    Broker, Caller, Fault,
    record::Happening,
    rows,
    service::fields,
    work::{Work, settle},
};

pub(super) async fn withdraw(
    broker: &Broker,
    caller: &Caller,
    request: WithdrawOfferRequest,
) -> Result<Offer, Fault> {
    let partner = caller.partner()?;
    let name = fields::name("name", &request.name, OfferName::parse)?;
    settle("offer", || attempt(broker, partner, &name)).await
}

async fn attempt(broker: &Broker, partner: &PartnerName, name: &OfferName) -> Result<Option<Offer>, Fault> {
    let loaded = broker.load(rows::offer(name)).await?;
    let loaded = loaded.ok_or_else(|| Fault::ResourceUnknown { name: name.to_string() })?;
    let offer = read(&loaded.row)?;
    if offer.recipient != *partner {
        return Err(Fault::CallerNotAllowed { needs: "the offer's recipient" });
    }
    let state = lifecycle::Offer::from_row(&loaded.row)
        .withdraw()
        .map_err(|error| Fault::not_allowed(name, error))?;

    let mut row = loaded.row.clone();
    state.write_to(&mut row);
    let mut work = Work::default();
    work.update(&loaded, &row)?;
    let evidence = [name.digest()];
    work.record(broker.draft(Happening { evidence: &evidence, ..happening(Kind::OfferWithdrawn, &offer) }));
    match broker.enter(work).await? {
        Some(_) => view(name, &row).map(Some),
        None => Ok(None),
    }
}
