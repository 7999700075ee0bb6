//! `ApproveGrantRequest`: the chosen rows, once and all together.

use std::collections::BTreeSet;

use countersign_grants::{
    budget::Asker,
    id::{CustomerName, OfferName, RequestName},
    lifecycle,
    statement::{GrantRequest, MAX_ROWS},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::GrantRequestRow,
    v1::{ApproveGrantRequestRequest, ApproveGrantRequestResponse, grant_request::State},
};

use super::{
    answer::{customer, load},
    approved_row::{VerifiedRow, verify},
    get,
    open::open,
    proof,
    signed_terms::WHAT,
    stand::{Answered, stand},
    view,
};
use crate::{
    Broker, Caller, Fault, asking,
    broker::damaged,
    caller::Party,
    record::{CustomerKey, Entered},
    rows::{self, Loaded},
    service::fields,
    work::{Work, settle},
};

pub(super) async fn approve(
    broker: &Broker,
    caller: &Caller,
    request: ApproveGrantRequestRequest,
) -> Result<ApproveGrantRequestResponse, Fault> {
    let customer = caller.customer()?;
    let name = fields::name("name", &request.name, RequestName::parse)?;
    if request.rows.is_empty() || request.rows.len() > MAX_ROWS {
        return Err(Fault::field("rows", format!("must be 1 to {MAX_ROWS}; to approve none is to refuse")));
    }
    open(broker, customer, &name).await?;
    settle("grant request", || attempt(broker, customer, &name, &request)).await
}

async fn attempt(
    broker: &Broker,
    approver: &CustomerName,
    name: &RequestName,
    request: &ApproveGrantRequestRequest,
) -> Result<Option<ApproveGrantRequestResponse>, Fault> {
    let party = Party::Customer(approver.clone());
    let (read, says) = load(broker, &party, name).await?;
    if let Some(first) = again(broker, &party, (name, &read.row), request).await? {
        return Ok(Some(first));
    }
    // The state first: whoever answers twice learns that, not that some signature is old by now.
    let state = lifecycle::GrantRequest::from_row(&read.row, says.expire_time)?;
    state.clone().approve(Vec::new(), broker.now()).map_err(|error| Fault::not_allowed(name, error))?;
    let mut verified = Vec::with_capacity(request.rows.len());
    for row in &request.rows {
        verified.push(verify(broker, approver, (&says, name.digest()), row).await?);
    }
    chosen(&says, &verified)?;
    let grants = verified.iter().map(|row| row.signed.name.clone()).collect();
    let state = state.approve(grants, broker.now()).map_err(|error| Fault::not_allowed(name, error))?;

    let mut row = read.row.clone();
    state.write_to(&mut row);
    let key = customer(broker, &row).await?;
    let mut work = unit(broker, (name, &says), (&read, &row), &verified, &key)?;
    still_offered(broker, &mut work, &verified).await?;
    let (before, asker) = asking::asker(broker, approver, &says.requester).await?;
    let sides = (approver, &says.requester);
    asking::stands(broker, &mut work, sides, (before, asker.as_ref()), before.approved())?;
    asking::answered(broker, &mut work, (approver, &says.subject), Asker::approved).await?;
    // Written anew, so that a closing of the account, or a link's giving way, that saw no grant stand conflicts with this one.
    let account = broker.load(rows::customer(approver)).await?;
    let account = account.filter(|account| account.row.close_time_ms == 0).ok_or(Fault::GrantUnknown)?;
    work.update(&account, &account.row)?;
    let Some(entered) = broker.enter(work).await? else { return Ok(None) };
    answer(broker, &party, (name, &row), &approvals(&verified, &entered)).await.map(Some)
}

/// Whether each row's offer still stands, and its sides are live: a request waits for days. A grant under an offer that is
/// withdrawn later stands, and is narrowed like any other; so this is of approvals alone.
async fn still_offered(broker: &Broker, work: &mut Work, rows: &[VerifiedRow]) -> Result<(), Fault> {
    let mut sides = BTreeSet::new();
    for row in rows {
        let says = row.signed.terms.statement();
        let name = OfferName::of(says.offer);
        let offer = broker.offer(&name).await?.ok_or_else(|| damaged("offer", &"it is not there"))?;
        if lifecycle::Offer::from_row(&offer.read.row) == lifecycle::Offer::Withdrawn {
            let state = "WITHDRAWN".to_owned();
            return Err(Fault::WrongState { name: name.to_string(), state, verb: "approve" });
        }
        work.expect(&offer.read);
        sides.extend([&says.source, &says.recipient]);
    }
    for side in sides {
        let partner = broker.partner(side).await?;
        if !lifecycle::Partner::from_row(&partner.row).is_live() {
            return Err(Fault::PartnerSuspended { partner: side.to_string() });
        }
        work.expect(&partner);
    }
    Ok(())
}

/// Rows in the request's order, none twice, none missing that can't be left out, no log tag twice.
fn chosen(request: &GrantRequest, rows: &[VerifiedRow]) -> Result<(), Fault> {
    if !rows.windows(2).all(|pair| pair[0].position < pair[1].position) {
        return Err(Fault::field("rows", "must be in the order of the request, none twice"));
    }
    for (position, asked) in request.rows.iter().enumerate() {
        if !asked.optional && !rows.iter().any(|row| row.position == position) {
            return Err(Fault::field("rows", format!("row {} can't be left out", position + 1)));
        }
    }
    let tags: BTreeSet<_> = rows.iter().map(|row| row.signed.terms.statement().log_tag).collect();
    if tags.len() != rows.len() {
        return Err(Fault::says(WHAT, "log_tag", "two rows have the same"));
    }
    Ok(())
}

fn unit(
    broker: &Broker,
    (name, request): (&RequestName, &GrantRequest),
    (read, row): (&Loaded<GrantRequestRow>, &GrantRequestRow),
    verified: &[VerifiedRow],
    customer: &CustomerKey,
) -> Result<Work, Fault> {
    let now = broker.now().as_millis();
    let mut work = Work::default();
    work.update(read, row)?;
    work.delete(&rows::due().entry(request.expire_time.as_millis(), name.digest()));
    for VerifiedRow { signed, renews, .. } in verified {
        if let Some(superseding) = renews {
            superseding.enter(broker, &mut work, (&signed.name, signed.terms.digest()), customer)?;
        }
        let row = signed.grant_row(name.as_str(), &request.requester, now);
        let answered = Answered { request: name.as_str(), requester: &request.requester };
        stand(broker, &mut work, signed, &row, (customer, Some(answered)))?;
    }
    Ok(work)
}

/// Of what was entered, the record of each row's grant: a renewal has the end of the old grant before it.
fn approvals<'a>(verified: &[VerifiedRow], entered: &'a [Entered]) -> Vec<&'a Entered> {
    let mut entered = entered.iter();
    verified.iter().filter_map(|row| entered.nth(usize::from(row.renews.is_some()))).collect()
}

async fn answer(
    broker: &Broker,
    party: &Party,
    (name, row): (&RequestName, &GrantRequestRow),
    entered: &[&Entered],
) -> Result<ApproveGrantRequestResponse, Fault> {
    Ok(ApproveGrantRequestResponse {
        grant_request: Some(view::request(broker, party, name, row).await?),
        grants: grants(broker, party, row).await?,
        receipts: entered.iter().map(|entered| entered.for_party(party)).collect(),
    })
}

async fn grants(
    broker: &Broker,
    party: &Party,
    row: &GrantRequestRow,
) -> Result<Vec<countersign_proto::v1::Grant>, Fault> {
    let mut grants = Vec::with_capacity(row.grants.len());
    for name in names(row)? {
        let (grant, side) = get::load(broker, party, &name).await?;
        grants.push(view::grant(broker, party, &grant, side).await?);
    }
    Ok(grants)
}

/// The first answer, if this very approval stands already: the same terms in the same order.
async fn again(
    broker: &Broker,
    party: &Party,
    (name, row): (&RequestName, &GrantRequestRow),
    request: &ApproveGrantRequestRequest,
) -> Result<Option<ApproveGrantRequestResponse>, Fault> {
    let asked =
        request.rows.iter().map(|row| row.source_terms.as_ref().map(countersign_grants::envelope::digest));
    let stand = names(row)?;
    if row.state != i32::from(State::Approved) || !asked.eq(stand.iter().map(|name| Some(name.digest()))) {
        return Ok(None);
    }
    let mut receipts = Vec::with_capacity(stand.len());
    for grant in &stand {
        receipts.push(proof::of_grant(broker, party, grant, &[Kind::GrantApproved], 1).await?);
    }
    Ok(Some(ApproveGrantRequestResponse {
        grant_request: Some(view::request(broker, party, name, row).await?),
        grants: grants(broker, party, row).await?,
        receipts,
    }))
}

fn names(row: &GrantRequestRow) -> Result<Vec<countersign_grants::id::GrantName>, Fault> {
    let parse = |name: &String| countersign_grants::id::GrantName::parse(name);
    row.grants.iter().map(parse).collect::<Result<_, _>>().map_err(|error| damaged("grant request", &error))
}
