//! `CreateLinkInvitation`.

use countersign_grants::{
    envelope::Signed,
    id::{LinkName, PartnerName},
    statement::{LinkInvitation, WorkingKey},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{LinkRow, SubjectRow},
    v1::{CreateLinkInvitationRequest, Link},
};

use super::{happening, replace, view};
use crate::{
    Broker, Caller, Fault,
    caller::Party,
    rows,
    work::{Work, settle},
};

const WHAT: &str = "link invitation";

pub(super) async fn invite(
    broker: &Broker,
    caller: &Caller,
    request: CreateLinkInvitationRequest,
) -> Result<Link, Fault> {
    let partner = caller.partner()?;
    let (signed, key) = broker
        .signed_by_partner::<LinkInvitation>(partner, WHAT, request.statement.as_ref(), |says| says.time)
        .await?;
    settle("link", || attempt(broker, partner, &signed, &key)).await
}

async fn attempt(
    broker: &Broker,
    partner: &PartnerName,
    signed: &Signed<LinkInvitation>,
    key: &WorkingKey,
) -> Result<Option<Link>, Fault> {
    let (name, invitation) = (LinkName::of(signed.digest()), signed.statement());
    // Whose it is comes first: what stands already is shown to its own partner alone.
    if invitation.partner != *partner {
        return Err(Fault::says(WHAT, "partner", "only the partner that signed it enters an invitation"));
    }
    if let Some(known) = broker.load(rows::link(&name)).await? {
        return view(broker, &name, &known.row).map(Some);
    }
    decide(broker, partner, invitation).await?;
    if let Some(replaced) = invitation.replaces {
        replace::may_give_way(broker, partner, &LinkName::of(replaced)).await?;
    }

    let subject = rows::subject(&invitation.subject);
    if broker.load(subject.clone()).await?.is_some() {
        // A handle stands for one link for ever: else an old grant could come to hang on a new person.
        return Err(Fault::AlreadyExists { name: invitation.subject.to_string() });
    }
    let now = broker.now().as_millis();
    let row = LinkRow {
        create_time_ms: now,
        partner: partner.to_string(),
        subject: invitation.subject.to_string(),
        invitation: Some(signed.envelope().clone()),
        invitation_key: Some(key.certificate().envelope().clone()),
        expire_time_ms: invitation.expire_time.as_millis(),
        ..LinkRow::default()
    };
    let mut work = Work::default();
    work.create(&rows::link(&name), &row)?;
    work.create(&subject, &SubjectRow { link: name.to_string(), customer: String::new() })?;
    let links = rows::links_of(&Party::Partner(partner.clone()));
    work.index(&links.entry(now, name.digest()), name.as_str())?;
    let evidence = [signed.digest()];
    let parties = (partner, row.subject.as_str());
    work.record(broker.draft(happening(Kind::LinkInvited, &name, parties, None, &evidence)));
    match broker.enter(work).await? {
        Some(_) => view(broker, &name, &row).map(Some),
        None => Ok(None),
    }
}

async fn decide(broker: &Broker, partner: &PartnerName, invitation: &LinkInvitation) -> Result<(), Fault> {
    if broker.partner(partner).await?.row.identity_key != *invitation.identity.as_bytes().as_slice() {
        return Err(Fault::says(WHAT, "identity_key", "it names another identity key than the partner's"));
    }
    if invitation.expire_time <= broker.now() {
        return Err(Fault::says(WHAT, "expire_time_ms", "it has lapsed already"));
    }
    Ok(())
}
