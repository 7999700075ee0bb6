//! `ConfirmLink`: the code has opened the acceptance, in the partner's own session.

use countersign_grants::{
    envelope::{self, Signed},
    id::{LinkName, PartnerName, SubjectHandle},
    lifecycle,
    statement::{LinkConfirmation, LinkInvitation, WorkingKey},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{LinkRow, SubjectRow},
    v1::{ConfirmLinkRequest, Link},
};

use super::{happening, load, replace, view};
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    rows::{self, Loaded},
    service::fields,
    work::{Work, settle},
};

const WHAT: &str = "link confirmation";

pub(super) async fn confirm(
    broker: &Broker,
    caller: &Caller,
    request: ConfirmLinkRequest,
) -> Result<Link, Fault> {
    let partner = caller.partner()?;
    let name = fields::name("name", &request.name, LinkName::parse)?;
    let (signed, key) = broker
        .signed_by_partner::<LinkConfirmation>(partner, WHAT, request.statement.as_ref(), |says| says.time)
        .await?;
    settle("link", || attempt(broker, partner, &name, (&signed, &key))).await
}

async fn attempt(
    broker: &Broker,
    partner: &PartnerName,
    name: &LinkName,
    (signed, key): (&Signed<LinkConfirmation>, &WorkingKey),
) -> Result<Option<Link>, Fault> {
    let read = load(broker, name).await?;
    if read.row.partner != partner.as_str() {
        // To another partner this link does not exist.
        return Err(Fault::ResourceUnknown { name: name.to_string() });
    }
    if signed.statement().partner != *partner {
        return Err(Fault::says(WHAT, "partner", "only the partner that signed it enters a confirmation"));
    }
    let same =
        read.row.confirmation.as_ref().is_some_and(|stored| stored.payload == signed.envelope().payload);
    if same {
        return view(broker, name, &read.row).map(Some);
    }
    let customer = decide(broker, name, &read, signed)?;

    let row = LinkRow {
        confirmation: Some(signed.envelope().clone()),
        confirmation_key: Some(key.certificate().envelope().clone()),
        ..read.row.clone()
    };
    let subject = SubjectHandle::parse(&row.subject).map_err(|error| damaged("link", &error))?;
    let subject = broker.load(rows::subject(&subject)).await?;
    let subject = subject.ok_or_else(|| damaged("link", &"its subject is missing"))?;
    let account = broker.load(rows::customer(&customer)).await?.ok_or(Fault::GrantUnknown)?;
    if account.row.stolen_time_ms != 0 {
        return Err(Fault::CustomerStolen);
    }
    let customer = broker.customer_key(&customer).await?;
    let mut work = Work::default();
    // Written anew, so that a report of theft that saw no such link stand conflicts with this one.
    work.update(&account, &account.row)?;
    work.update(&read, &row)?;
    work.update(&subject, &SubjectRow { customer: customer.name.to_string(), ..subject.row.clone() })?;
    let invitation =
        envelope::peek::<LinkInvitation>(row.invitation.as_ref()).map_err(|error| damaged("link", &error))?;
    if let Some(replaced) = invitation.replaces {
        let evidence = [name.digest(), signed.digest()];
        replace::give_way(broker, &mut work, &LinkName::of(replaced), &evidence).await?;
    }
    let evidence = [signed.digest()];
    let parties = (partner, row.subject.as_str());
    work.record(broker.draft(happening(Kind::LinkConfirmed, name, parties, Some(&customer), &evidence)));
    match broker.enter(work).await? {
        Some(_) => view(broker, name, &row).map(Some),
        None => Ok(None),
    }
}

fn decide(
    broker: &Broker,
    name: &LinkName,
    read: &Loaded<LinkRow>,
    signed: &Signed<LinkConfirmation>,
) -> Result<countersign_grants::id::CustomerName, Fault> {
    let state = lifecycle::Link::from_row(&read.row)?.at(broker.now());
    if state == lifecycle::Link::Lapsed {
        let expire_time_ms = read.row.expire_time_ms;
        return Err(Fault::InvitationExpired { name: name.to_string(), expire_time_ms });
    }
    let confirmed = state.confirm(broker.now()).map_err(|error| Fault::not_allowed(name, error))?;
    let accepted = read.row.acceptance.as_ref().map(envelope::digest);
    if accepted != Some(signed.statement().acceptance) {
        return Err(Fault::says(WHAT, "acceptance", "it confirms another acceptance"));
    }
    match confirmed {
        lifecycle::Link::Confirmed { customer } => Ok(customer),
        _ => Err(Fault::Bug { what: "a confirmed link is not confirmed" }),
    }
}
