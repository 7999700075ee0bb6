//! Tells the parties of a grant that it ends before long. It decides nothing: the end follows from the signed terms.
//!
//! The record and the end of its entry in the agenda are one unit, so it is told once, if the machine stops in between
//! or not; and the unit expects the grant as it was read, so nothing is told of a grant that was stopped.

use countersign_grants::id::GrantName;
use countersign_proto::{log::v1::Kind, v1::grant::State};

use crate::{
    agenda,
    broker::{Broker, damaged},
    error::Fault,
    record::Happening,
    work::Work,
};

/// Tells of one grant that is due; whether it did. A conflict leaves the entry to the next sweep.
pub(crate) async fn announce(broker: &Broker, entry: &agenda::Entry) -> Result<bool, Fault> {
    let name = GrantName::parse(&entry.name).map_err(|error| damaged("agenda", &error))?;
    let Some(grant) = broker.grant(&name).await? else {
        return agenda::EXPIRING.done(broker, entry, None).await.map(|()| false);
    };
    match grant.state(broker.now())?.state() {
        State::Active | State::Paused | State::Suspended => {}
        // What has ended already ends no more.
        State::Unspecified
        | State::Withdrawn
        | State::Revoked
        | State::Expired
        | State::Consumed
        | State::Superseded => return agenda::EXPIRING.done(broker, entry, None).await.map(|()| false),
    }
    let terms = &grant.terms;
    let customer = broker.customer_key(&grant.customer()?).await?;
    let mut work = Work::default();
    work.expect(&grant.read);
    broker.expect_open(&mut work, &customer).await?;
    work.looked_at(agenda::EXPIRING.keys_of(entry));
    work.record(broker.draft(Happening {
        kind: Kind::GrantExpiring,
        source: Some(&terms.source),
        recipient: Some(&terms.recipient),
        customer: Some(&customer),
        purpose: Some(&terms.purpose),
        catalogue_version: Some(terms.catalogue_version),
        grant: Some((&grant.name, terms.log_tag)),
        evidence: &[grant.name.digest()],
        private: grant.private_part(),
        ..Happening::default()
    }));
    Ok(broker.enter(work).await?.is_some())
}
