//! `ChangeCustomer`, `ListCustomerChanges`: what opens the root secret, as a chain that the customer signed.

use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::{CustomerName, LinkName, PartnerName, SubjectHandle},
    lifecycle::{Identity, Link},
    statement::{CustomerChange, CustomerChanged},
    time::Timestamp,
    token::MAX_CLOCK_AHEAD,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{CustomerChangeRow, CustomerRow, LinkRow, PrivatePart, SubjectRow, WrappedCopyRow},
    v1::{
        ChangeCustomerRequest, ChangeCustomerResponse, ListCustomerChangesRequest,
        ListCustomerChangesResponse, link::State,
    },
};

use crate::{
    Broker, Caller, Fault, agenda,
    broker::{damaged, stored_key},
    caller::Party,
    record::{CustomerKey, Happening},
    rows::{self, Loaded},
    service::{fields, grant::proof, page},
    work::{Work, settle},
};

const WHAT: &str = "customer change";

/// The longest wrapped copy. Ours has 61 bytes; how it is wrapped is the devices' affair.
const MAX_WRAPPED_BYTES: usize = 256;

/// How many links a report of theft ends in one unit, which may expect 64 rows: two of each link, and the customer's.
const ENDED_AT_ONCE: usize = 24;

/// The kinds of the record of a change.
const KINDS: [Kind; 3] = [Kind::AuthenticatorAdded, Kind::AuthenticatorRemoved, Kind::CustomerStolen];

pub(super) async fn change(
    broker: &Broker,
    caller: &Caller,
    request: ChangeCustomerRequest,
) -> Result<ChangeCustomerResponse, Fault> {
    let customer = itself(caller, "name", &request.name)?;
    let statement = fields::required("statement", request.statement)?;
    let key = stored_key(&read(broker, &customer).await?.row.public_key)?;
    let signed = envelope::verify::<CustomerChange>(Some(&statement), &[&key], broker.origin())
        .map_err(|error| Fault::statement(WHAT, &error))?;
    let says = signed.statement();
    if says.customer != customer {
        return Err(Fault::says(WHAT, "customer", "only the customer itself enters a change"));
    }
    if says.time > broker.now().plus(MAX_CLOCK_AHEAD) {
        return Err(Fault::says(WHAT, "time", "it is from the future: set the clock"));
    }
    settle("customer", || attempt(broker, &customer, &signed, &request.wrapped)).await
}

pub(super) async fn list(
    broker: &Broker,
    caller: &Caller,
    request: ListCustomerChangesRequest,
) -> Result<ListCustomerChangesResponse, Fault> {
    let customer = itself(caller, "parent", &request.parent)?;
    let range = rows::customer_changes(&customer);
    let page = page::Page::parse(request.page_size, &request.page_token, page::MAX_SIZE, &[range.name()])?;
    let mut sheet = page.sheet(broker, &range).await?;
    while let Some(row) = sheet.next() {
        sheet.add(row.statement.ok_or_else(|| damaged("customer change", &"it has no statement"))?);
    }
    let (changes, next_page_token) = sheet.finish();
    Ok(ListCustomerChangesResponse { changes, next_page_token })
}

fn itself(caller: &Caller, field: &'static str, name: &str) -> Result<CustomerName, Fault> {
    let customer = caller.customer()?;
    let name = fields::name(field, name, CustomerName::parse)?;
    if name == *customer { Ok(name) } else { Err(Fault::CallerNotAllowed { needs: "the customer itself" }) }
}

async fn read(broker: &Broker, customer: &CustomerName) -> Result<Loaded<CustomerRow>, Fault> {
    let read = broker.load(rows::customer(customer)).await?;
    read.ok_or(Fault::Bug { what: "a customer called and is not there" })
}

async fn attempt(
    broker: &Broker,
    customer: &CustomerName,
    signed: &Signed<CustomerChange>,
    wrapped: &bytes::Bytes,
) -> Result<Option<ChangeCustomerResponse>, Fault> {
    let says = signed.statement();
    let party = Party::Customer(customer.clone());
    let place = rows::customer_change(customer, says.sequence);
    if let Some(stored) = broker.load(place.clone()).await?
        && stored.row.statement.as_ref().is_some_and(|one| one.payload == signed.envelope().payload)
    {
        let receipt = proof::nth(broker, &party, customer.as_str(), &KINDS, says.sequence).await?;
        return Ok(Some(ChangeCustomerResponse { receipt: Some(receipt) }));
    }
    let read = read(broker, customer).await?;
    let now = broker.now().as_millis();
    let identity = identity(broker, customer, &read.row).await?;
    let next = identity.clone().follow(signed);
    next.map_err(|error| Fault::says(WHAT, error.check(), error.to_string()))?;
    if says.what == CustomerChanged::Stolen {
        // Before the report: with it, every call of this customer ends, and the same again could not go on. A link that is
        // confirmed meanwhile has written the customer's row anew: then the report is a conflict, and this is done again.
        end_links(broker, customer, signed.digest()).await?;
    }

    let mut work = Work::default();
    let mut row = CustomerRow { change_sequence: says.sequence, ..read.row.clone() };
    let kind = match &says.what {
        CustomerChanged::Added(one) => {
            check_copy(wrapped, one.wrapped)?;
            let copy = WrappedCopyRow { customer: customer.to_string(), wrapped: wrapped.clone() };
            work.create(&rows::wrapped_copy(one.id), &copy)?;
            Kind::AuthenticatorAdded
        }
        CustomerChanged::Removed { authenticator } => {
            work.delete(&rows::wrapped_copy(*authenticator));
            Kind::AuthenticatorRemoved
        }
        CustomerChanged::Stolen => {
            for one in identity.authenticators() {
                work.delete(&rows::wrapped_copy(one.id));
            }
            row.stolen_time_ms = now;
            Kind::CustomerStolen
        }
    };
    if !matches!(kind, Kind::AuthenticatorAdded) {
        work.look_at(agenda::REMOVED.entry(Timestamp::from_millis(now), signed.digest(), ""));
    }
    work.update(&read, &row)?;
    work.create(&place, &CustomerChangeRow { statement: Some(signed.envelope().clone()) })?;
    let evidence = [signed.digest()];
    work.record(broker.draft(Happening {
        kind,
        customer: Some(&broker.customer_key(customer).await?),
        evidence: &evidence,
        ..Happening::default()
    }));
    let Some(entered) = broker.enter(work).await? else { return Ok(None) };
    let entered = entered.first().ok_or(Fault::Bug { what: "a change was entered without a record" })?;
    Ok(Some(ChangeCustomerResponse { receipt: Some(entered.for_party(&party)) }))
}

fn check_copy(wrapped: &[u8], named: Digest) -> Result<(), Fault> {
    if wrapped.is_empty() || wrapped.len() > MAX_WRAPPED_BYTES {
        return Err(Fault::field("wrapped", format!("must be 1 to {MAX_WRAPPED_BYTES} bytes")));
    }
    if Digest::of(wrapped) != named {
        return Err(Fault::field("wrapped", "is not the copy whose hash the statement names"));
    }
    Ok(())
}

/// What the changes so far add up to. They were verified when they were entered.
async fn identity(broker: &Broker, customer: &CustomerName, row: &CustomerRow) -> Result<Identity, Fault> {
    let key = stored_key(&row.public_key)?;
    let most = usize::try_from(row.change_sequence).unwrap_or(usize::MAX).saturating_add(1);
    let changes = rows::customer_changes(customer).load(broker.store(), None, most).await?;
    changes.into_iter().try_fold(Identity::default(), |identity, (_, change)| {
        let signed = envelope::verify::<CustomerChange>(change.statement.as_ref(), &[&key], broker.origin())
            .map_err(|error| damaged("customer change", &error))?;
        identity.follow(&signed).map_err(|error| damaged("customer change", &error))
    })
}

/// Ends the links that stand, unit by unit, so that each partner hears of it. What stands at a stop of the machine is ended
/// when the same report comes again.
async fn end_links(broker: &Broker, customer: &CustomerName, evidence: Digest) -> Result<(), Fault> {
    let key = broker.customer_key(customer).await?;
    let (index, mut after) = (rows::links_of(&Party::Customer(customer.clone())), None::<Vec<u8>>);
    loop {
        let names = index.load(broker.store(), after.as_deref(), ENDED_AT_ONCE).await?;
        let Some((last, _)) = names.last() else { return Ok(()) };
        after = Some(last.clone());
        let names: Vec<String> = names.into_iter().map(|(_, name)| name).collect();
        settle("link", || end_some(broker, &key, &names, evidence)).await?;
    }
}

async fn end_some(
    broker: &Broker,
    customer: &CustomerKey,
    names: &[String],
    evidence: Digest,
) -> Result<Option<()>, Fault> {
    let mut work = Work::default();
    let mut any = false;
    for name in names {
        let name = LinkName::parse(name).map_err(|error| damaged("link index", &error))?;
        let read = broker.load(rows::link(&name)).await?;
        let read = read.ok_or_else(|| damaged("link index", &"a link of it is missing"))?;
        if !matches!(Link::from_row(&read.row)?, Link::Confirmed { .. }) {
            continue;
        }
        any = true;
        end_link(broker, &mut work, &read, (Kind::LinkStolen, State::Stolen), customer, &name, &[evidence])
            .await?;
    }
    if !any {
        return Ok(Some(()));
    }
    broker.expect_open(&mut work, customer).await?;
    Ok(broker.enter(work).await?.map(drop))
}

/// Ends one link that stands: its handle stands for nobody any more.
pub(crate) async fn end_link(
    broker: &Broker,
    work: &mut Work,
    read: &Loaded<LinkRow>,
    (kind, state): (Kind, State),
    customer: &CustomerKey,
    name: &LinkName,
    evidence: &[Digest],
) -> Result<(), Fault> {
    let unreadable = |error| damaged("link", &error);
    let partner = PartnerName::parse(&read.row.partner).map_err(unreadable)?;
    let handle = SubjectHandle::parse(&read.row.subject).map_err(unreadable)?;
    let stands = broker.load(rows::subject(&handle)).await?;
    let stands = stands.ok_or_else(|| damaged("link", &"its subject is missing"))?;
    work.update(read, &LinkRow { ended: state.into(), ..read.row.clone() })?;
    work.update(&stands, &SubjectRow { customer: String::new(), ..stands.row.clone() })?;
    work.record(broker.draft(Happening {
        kind,
        source: Some(&partner),
        customer: Some(customer),
        evidence,
        private: PrivatePart {
            link: name.to_string(),
            source_subject: read.row.subject.clone(),
            ..PrivatePart::default()
        },
        ..Happening::default()
    }));
    Ok(())
}
