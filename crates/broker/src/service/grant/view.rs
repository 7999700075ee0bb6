//! Requests and grants as each side sees them: no partner sees another's handle, link key or salt.

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, OfferName, PartnerName, RequestName},
    lifecycle::{self, Erasure},
    statement::{self, GrantChange, MAX_PARTNER_CHANGES},
    time::Timestamp,
};
use countersign_proto::{
    row::v1::{ErasureRow, GrantRequestRow, GrantRow, GrantStatementRow},
    v1::{Acknowledgement, Grant, GrantRequest, PartnerChange, grant::State, grant_request},
};

use super::signed_change::{MAX_CHANGES, MAX_STOPS};
use crate::{
    Broker, Fault,
    broker::damaged,
    caller::Party,
    rows,
    service::timestamp,
    stored::{Side, StoredGrant, one_of_two},
};

/// Terms, every change, and the stops after them; each acknowledged by two.
const MAX_ACKNOWLEDGEMENTS: usize = 2 * (1 + MAX_CHANGES as usize + MAX_STOPS);

/// Every change of either side, and one revocation.
const MAX_LISTED_PARTNER_CHANGES: usize = 2 * MAX_PARTNER_CHANGES as usize + 2;

/// A request as this party sees it.
pub(super) async fn request(
    broker: &Broker,
    party: &Party,
    name: &RequestName,
    row: &GrantRequestRow,
) -> Result<GrantRequest, Fault> {
    let says = envelope::peek::<statement::GrantRequest>(row.statement.as_ref())
        .map_err(|error| damaged("grant request", &error))?;
    let state = lifecycle::GrantRequest::from_row(row, says.expire_time)?.at(broker.now()).state();
    let state = match (party, state) {
        // Who puts it off has seen it.
        (Party::Partner(_), grant_request::State::Deferred) => grant_request::State::Requested,
        (_, state) => state,
    };
    let mut offers = Vec::with_capacity(says.rows.len());
    for row in &says.rows {
        offers.push(offer(broker, &OfferName::of(row.offer)).await?);
    }
    let mut grants = Vec::with_capacity(row.grants.len());
    for grant in &row.grants {
        let name = GrantName::parse(grant).map_err(|error| damaged("grant request", &error))?;
        // Of a customer whose account is closed, grants go before requests.
        let stored = broker.grant(&name).await?;
        if stored.is_some_and(|stored| stored.side(party).is_some()) {
            grants.push(name.to_string());
        }
    }
    Ok(GrantRequest {
        name: name.to_string(),
        requester: says.requester.to_string(),
        statement: row.statement.clone(),
        partner_key: row.partner_key.clone(),
        offers,
        state: state.into(),
        create_time: timestamp(row.create_time_ms),
        expire_time: timestamp(says.expire_time.as_millis()),
        grants,
        // When its turn came would tell a partner of the others that ask.
        shown_time: match party {
            Party::Customer(_) if row.shown_time_ms > 0 => timestamp(row.shown_time_ms),
            Party::Customer(_) | Party::Partner(_) => None,
        },
    })
}

async fn offer(broker: &Broker, name: &OfferName) -> Result<grant_request::Offer, Fault> {
    let read = broker.load(rows::offer(name)).await?;
    let row = read.ok_or_else(|| damaged("grant request", &"an offer is missing"))?.row;
    let says = envelope::peek::<statement::Offer>(row.statement.as_ref())
        .map_err(|error| damaged("offer", &error))?;
    Ok(grant_request::Offer {
        source_display_name: display_name(broker, &says.source).await?,
        recipient_display_name: display_name(broker, &says.recipient).await?,
        statement: row.statement,
        partner_key: row.partner_key,
    })
}

async fn display_name(broker: &Broker, partner: &PartnerName) -> Result<String, Fault> {
    Ok(broker.partner(partner).await?.row.display_name)
}

/// A grant as this side sees it.
pub(super) async fn grant(
    broker: &Broker,
    party: &Party,
    grant: &StoredGrant,
    side: Side,
) -> Result<Grant, Fault> {
    let (row, terms) = (&grant.read.row, &grant.terms);
    let (subject, party_salt) = match side {
        Side::Source => (row.source_subject.clone(), row.source_salt.clone()),
        Side::Recipient => (row.recipient_subject.clone(), row.recipient_salt.clone()),
        Side::Customer => (String::new(), Bytes::new()),
    };
    let recipient_salt = match side {
        Side::Customer => row.recipient_salt.clone(),
        Side::Source | Side::Recipient => Bytes::new(),
    };
    let knows_request = side == Side::Customer || row.requester == party.as_str();
    let offer = broker.offer_of(grant).await?.row;
    let erasure = erasure(broker, grant).await?;
    let state = erasure.as_ref().map(|(state, _)| state.at(broker.now()));
    let (erasure_attestation, erasure_attestation_key) =
        erasure.map_or((None, None), |(_, row)| (row.attestation, row.attestation_key));
    let stands = grant.state(broker.now())?.state();
    let [suspended_by_source, suspended_by_operator] = suspended(row, stands);
    Ok(Grant {
        name: grant.name.to_string(),
        source: terms.source.to_string(),
        recipient: terms.recipient.to_string(),
        subject,
        purpose: terms.purpose.to_string(),
        fields: terms.fields.iter().map(ToString::to_string).collect(),
        state: stands.into(),
        use_count: grant.spent.uses,
        use_limit: terms.uses,
        create_time: timestamp(row.create_time_ms),
        expire_time: timestamp(terms.expire_time.as_millis()),
        request: if knows_request { row.request.clone() } else { String::new() },
        terms: Some(grant.terms_for(side)),
        party_salt,
        offer: offer.statement,
        offer_key: offer.partner_key,
        changes: changes(broker, grant, side).await?,
        acknowledgements: acknowledgements(broker, grant).await?,
        partner_changes: partner_changes(broker, grant).await?,
        suspended_by_source,
        suspended_by_operator,
        reason: reason(row, stands),
        previous: terms.previous.map_or(String::new(), |previous| GrantName::of(previous).to_string()),
        successor: Digest::from_slice(&row.successor)
            .map_or(String::new(), |successor| GrantName::of(successor).to_string()),
        erasure_state: state.map(Erasure::state).unwrap_or_default().into(),
        erase_due_time: state.and_then(|state| timestamp(state.due().as_millis())),
        erasure_attestation,
        erasure_attestation_key,
        recipient_salt,
    })
}

/// Whether the source and an operator suspend it. An end clears that, one too that nobody has written into the row.
fn suspended(row: &GrantRow, state: State) -> [bool; 2] {
    let open = matches!(state, State::Paused | State::Suspended);
    [row.suspended_by_source, row.suspended_by_operator].map(|by| by && open)
}

/// Why it is as it is, where somebody gave a reason for that: of two suspensions, the one that the source has signed.
fn reason(row: &GrantRow, state: State) -> String {
    match state {
        State::Suspended if !row.suspended_by_source => row.operator_reason.clone(),
        State::Suspended | State::Revoked => row.reason.clone(),
        _ => String::new(),
    }
}

async fn erasure(broker: &Broker, grant: &StoredGrant) -> Result<Option<(Erasure, ErasureRow)>, Fault> {
    if !grant.read.row.erasure_ordered {
        return Ok(None);
    }
    let read = broker.load(rows::erasure(&grant.name)).await?;
    let row = read.ok_or_else(|| damaged("grant", &"its erasure order is missing"))?.row;
    Ok(Some((Erasure::from_row(&row)?, row)))
}

/// A grant as an operator sees it: between whom, what for, and where it stands; nothing that its parties signed.
pub(super) fn outline(grant: &StoredGrant, now: Timestamp) -> Result<Grant, Fault> {
    let (row, terms, state) = (&grant.read.row, &grant.terms, grant.state(now)?.state());
    let [suspended_by_source, suspended_by_operator] = suspended(row, state);
    Ok(Grant {
        name: grant.name.to_string(),
        source: terms.source.to_string(),
        recipient: terms.recipient.to_string(),
        purpose: terms.purpose.to_string(),
        state: state.into(),
        use_count: grant.spent.uses,
        use_limit: terms.uses,
        create_time: timestamp(row.create_time_ms),
        expire_time: timestamp(terms.expire_time.as_millis()),
        suspended_by_source,
        suspended_by_operator,
        reason: reason(row, state),
        ..Grant::default()
    })
}

async fn partner_changes(broker: &Broker, grant: &StoredGrant) -> Result<Vec<PartnerChange>, Fault> {
    let row = &grant.read.row;
    if row.source_sequence == 0 && row.recipient_sequence == 0 {
        return Ok(Vec::new());
    }
    let rows =
        rows::partner_changes(&grant.name).load(broker.store(), None, MAX_LISTED_PARTNER_CHANGES).await?;
    let read = |(_, row): (Vec<u8>, GrantStatementRow)| {
        let says = envelope::peek::<statement::PartnerChange>(row.partner_change.as_ref())
            .map_err(|error| damaged("partner change", &error))?;
        let partner = says.partner.to_string();
        Ok(PartnerChange { partner, statement: row.partner_change, partner_key: row.partner_key })
    };
    rows.into_iter().map(read).collect()
}

async fn changes(
    broker: &Broker,
    grant: &StoredGrant,
    side: Side,
) -> Result<Vec<countersign_proto::statement::v1::Envelope>, Fault> {
    if grant.read.row.change_sequence == 0 {
        return Ok(Vec::new());
    }
    let most = MAX_CHANGES as usize + MAX_STOPS;
    let rows = rows::grant_changes(&grant.name).load(broker.store(), None, most).await?;
    let signed_for = |row: &GrantStatementRow| {
        one_of_two::<GrantChange>(&row.change, (&row.source_signature, &row.recipient_signature), side)
    };
    Ok(rows.iter().map(|(_, row)| signed_for(row)).collect())
}

async fn acknowledgements(broker: &Broker, grant: &StoredGrant) -> Result<Vec<Acknowledgement>, Fault> {
    let rows = rows::acknowledgements(&grant.name).load(broker.store(), None, MAX_ACKNOWLEDGEMENTS).await?;
    let read = |(_, row): (Vec<u8>, GrantStatementRow)| {
        let says = envelope::peek::<statement::Acknowledgement>(row.acknowledgement.as_ref())
            .map_err(|error| damaged("acknowledgement", &error))?;
        let partner = says.partner.to_string();
        Ok(Acknowledgement { partner, statement: row.acknowledgement, partner_key: row.partner_key })
    };
    rows.into_iter().map(read).collect()
}
