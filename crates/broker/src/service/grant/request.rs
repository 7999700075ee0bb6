//! `CreateGrantRequest`: puts offers to one customer.

use std::collections::BTreeSet;

use countersign_grants::{
    envelope::Signed,
    id::{CustomerName, OfferName, PartnerName, RequestName, SubjectHandle},
    lifecycle,
    statement::{GrantRequest, MAX_REQUEST_WORDS, Offer, WorkingKey},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{GrantRequestRow, PrivatePart, WaitingRow},
    v1::{self, CreateGrantRequestRequest, grant_request::State},
};

use super::{renew, view};
use crate::{
    Broker, Caller, Fault, agenda, asking,
    broker::damaged,
    caller::Party,
    record::{CustomerKey, Happening},
    rows,
    work::{Work, settle},
};

const WHAT: &str = "grant request";

pub(super) async fn create(
    broker: &Broker,
    caller: &Caller,
    request: CreateGrantRequestRequest,
) -> Result<v1::GrantRequest, Fault> {
    let partner = caller.partner()?;
    let (signed, key) = broker
        .signed_by_partner::<GrantRequest>(partner, WHAT, request.statement.as_ref(), |says| says.time)
        .await?;
    settle("grant request", || attempt(broker, partner, &signed, &key)).await
}

async fn attempt(
    broker: &Broker,
    partner: &PartnerName,
    signed: &Signed<GrantRequest>,
    key: &WorkingKey,
) -> Result<Option<v1::GrantRequest>, Fault> {
    let party = Party::Partner(partner.clone());
    let (name, request) = (RequestName::of(signed.digest()), signed.statement());
    // Whose it is comes first: what stands already is shown to its own requester alone.
    if request.requester != *partner {
        return Err(Fault::says(WHAT, "requester", "only the partner that signed it enters a request"));
    }
    if let Some(known) = broker.load(rows::grant_request(&name)).await? {
        return view::request(broker, &party, &name, &known.row).await.map(Some);
    }
    if request.expire_time <= broker.now() {
        return Err(Fault::says(WHAT, "expire_time_ms", "it has lapsed already"));
    }
    // Before anything about the offers: whoever probes for a handle learns one thing only.
    let customer = customer(broker, request).await?;
    may_ask(broker, &customer, &request.subject).await?;
    let offers = offers(broker, request).await?;
    readable(&offers)?;
    renew::renewable(broker, WHAT, request, &offers).await?;
    // By the handle, as all that a partner is told: counts of its other handles would say which are one person's.
    broker.requests().count(request.subject.clone(), broker.now()).map_err(|wait| Fault::QuotaExceeded {
        quota: "requests to one subject in a day",
        retry_after: Some(wait),
    })?;

    let now = broker.now().as_millis();
    let row = GrantRequestRow {
        statement: Some(signed.envelope().clone()),
        partner_key: Some(key.certificate().envelope().clone()),
        customer: customer.to_string(),
        state: State::Requested.into(),
        create_time_ms: now,
        grants: Vec::new(),
        shown_time_ms: 0,
    };
    let customer = broker.customer_key(&customer).await?;
    let mut work = Work::default();
    work.create(&rows::grant_request(&name), &row)?;
    work.index(&rows::grant_requests_of(&party).entry(now, signed.digest()), name.as_str())?;
    // Every request waits, for a moment at least, and whether for longer is nothing that this call looks at: its answer,
    // and the time that it takes, are the same whoever else asks this customer.
    let waiting = WaitingRow { request: name.to_string(), expire_time_ms: request.expire_time.as_millis() };
    work.create(&rows::waiting(&customer.name, partner, now, &name), &waiting)?;
    work.look_at(agenda::ASKED.entry(Timestamp::from_millis(now), signed.digest(), customer.name.as_str()));
    work.index(&rows::due().entry(request.expire_time.as_millis(), signed.digest()), name.as_str())?;
    broker.expect_open(&mut work, &customer).await?;
    let evidence = [signed.digest()];
    let created = happening(Kind::RequestCreated, &name, request, &customer, &evidence);
    work.record(broker.draft(Happening { unseen: true, ..created }));
    match broker.enter(work).await? {
        Some(_) => view::request(broker, &party, &name, &row).await.map(Some),
        None => Ok(None),
    }
}

/// Whom the handle stands for, if its link stands: else the one answer that everything unknown gets.
async fn customer(broker: &Broker, request: &GrantRequest) -> Result<CustomerName, Fault> {
    let subject = broker.load(rows::subject(&request.subject)).await?;
    let subject = subject.filter(|subject| !subject.row.customer.is_empty()).ok_or(Fault::GrantUnknown)?;
    CustomerName::parse(&subject.row.customer).map_err(|error| damaged("subject", &error))
}

/// A partner that was refused is silent for a while. It is told so by the handle by which it was refused, where it knows:
/// by another handle of the same person its request is taken, and waits.
async fn may_ask(broker: &Broker, customer: &CustomerName, subject: &SubjectHandle) -> Result<(), Fault> {
    let asker = asking::asker_by(broker, customer, subject).await?.0;
    asker.silent_for(broker.now()).map_or(Ok(()), |retry_after| Err(Fault::AskCooldown { retry_after }))
}

async fn offers(broker: &Broker, request: &GrantRequest) -> Result<Vec<Offer>, Fault> {
    let mut offers = Vec::with_capacity(request.rows.len());
    for row in &request.rows {
        let name = OfferName::of(row.offer);
        let unknown = || Fault::ResourceUnknown { name: name.to_string() };
        let stored = broker.offer(&name).await?.ok_or_else(unknown)?;
        if lifecycle::Offer::from_row(&stored.read.row) == lifecycle::Offer::Withdrawn {
            return Err(Fault::WrongState {
                name: name.to_string(),
                state: "WITHDRAWN".to_owned(),
                verb: "request",
            });
        }
        offers.push(stored.signed.statement().clone());
    }
    Ok(offers)
}

/// Whether a person can read it: there is a language that all rows are in, and in none of these are it too many words.
fn readable(offers: &[Offer]) -> Result<(), Fault> {
    let languages = |offer: &Offer| -> BTreeSet<String> {
        offer.texts.iter().map(|text| text.language.clone()).collect()
    };
    let common = offers.iter().map(languages).reduce(|all, one| all.intersection(&one).cloned().collect());
    let common = common.unwrap_or_default();
    if common.is_empty() {
        return Err(Fault::says(WHAT, "rows", "its offers have no language in common"));
    }
    for language in &common {
        let words: usize = offers.iter().map(|offer| offer.text(language).0.words()).sum();
        if words > MAX_REQUEST_WORDS {
            let problem = format!("it has {words} words in `{language}`; {MAX_REQUEST_WORDS} are allowed");
            return Err(Fault::says(WHAT, "words", problem));
        }
    }
    Ok(())
}

/// What a record says of a request: who asks, and nothing of what.
pub(super) fn happening<'a>(
    kind: Kind,
    name: &RequestName,
    request: &'a GrantRequest,
    customer: &'a CustomerKey,
    evidence: &'a [countersign_grants::digest::Digest],
) -> Happening<'a> {
    Happening {
        kind,
        source: Some(&request.requester),
        customer: Some(customer),
        evidence,
        private: PrivatePart {
            grant_request: name.to_string(),
            source_subject: request.subject.to_string(),
            ..PrivatePart::default()
        },
        ..Happening::default()
    }
}
