//! A new grant's rows and its record: how it comes to stand, be it approved, renewed or narrowed.

use countersign_grants::{
    id::{PartnerName, SubjectHandle},
    lifecycle,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{GrantRow, PrivatePart},
};

use super::signed_terms::SignedTerms;
use crate::{
    Broker, Fault, agenda,
    broker::damaged,
    caller::Party,
    record::{CustomerKey, Happening},
    rows,
    work::Work,
};

/// What a grant answers, if it answers a request.
#[derive(Clone, Copy)]
pub(super) struct Answered<'a> {
    /// `grantRequests/{request}`.
    pub(super) request: &'a str,
    /// Who made it, and waits for the answer, be it a side of this row or not.
    pub(super) requester: &'a PartnerName,
}

/// Enters the grant with its record.
pub(super) fn stand(
    broker: &Broker,
    work: &mut Work,
    signed: &SignedTerms,
    row: &GrantRow,
    (customer, answered): (&CustomerKey, Option<Answered<'_>>),
) -> Result<(), Fault> {
    let (terms, digest) = (signed.terms.statement(), signed.terms.digest());
    // A link that ends at this very moment takes no new grant with it.
    work.expect(&signed.links.0.read);
    work.expect(&signed.links.1.read);
    work.create(&rows::grant(&signed.name), row)?;
    work.create(&rows::log_tag(&terms.log_tag), &signed.name.to_string())?;
    let from = SubjectHandle::parse(&row.source_subject).map_err(|error| damaged("link", &error))?;
    let indexes = [
        rows::grants_of(&Party::Partner(terms.source.clone())),
        rows::grants_of(&Party::Partner(terms.recipient.clone())),
        rows::grants_of(&Party::Customer(customer.name.clone())),
        rows::grants_from(&from),
    ];
    for index in indexes {
        work.index(&index.entry(row.create_time_ms, digest), signed.name.as_str())?;
    }
    let told = lifecycle::announced_at(terms.time, terms.expire_time);
    work.look_at(agenda::EXPIRING.entry(told, digest, signed.name.as_str()));
    let evidence = [digest];
    work.record(broker.draft(Happening {
        kind: Kind::GrantApproved,
        source: Some(&terms.source),
        recipient: Some(&terms.recipient),
        also: answered.map(|answered| answered.requester),
        customer: Some(customer),
        purpose: Some(&terms.purpose),
        catalogue_version: Some(terms.catalogue_version),
        grant: Some((&signed.name, terms.log_tag)),
        fields: &terms.fields,
        evidence: &evidence,
        private: PrivatePart {
            grant_request: answered.map_or(String::new(), |answered| answered.request.to_owned()),
            source_subject: row.source_subject.clone(),
            recipient_subject: row.recipient_subject.clone(),
            ..PrivatePart::default()
        },
        ..Happening::default()
    }));
    Ok(())
}
