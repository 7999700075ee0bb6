//! One link in another's place: the person has new keys, and what hung on the old ones is over.
//!
//! The partner revokes each grant by its own signed word before it confirms; so the other side learns of each end from a
//! statement, and not from the broker. A link gives way only when nothing hangs on it.

use countersign_grants::{
    digest::Digest,
    id::{CustomerName, GrantName, LinkName, PartnerName},
    lifecycle::{self, LinkEnd},
};
use countersign_proto::{log::v1::Kind, v1::grant::State};

use crate::{
    Broker, Fault, broker::damaged, caller::Party, rows, service::customer::change::end_link, work::Work,
};

/// How many of a customer's grants are read at once.
const CHUNK: usize = 128;

/// Whether an invitation may name this link: one of the same partner that stood, and that no other has replaced.
pub(super) async fn may_give_way(
    broker: &Broker,
    partner: &PartnerName,
    old: &LinkName,
) -> Result<(), Fault> {
    let read = broker.load(rows::link(old)).await?.filter(|read| read.row.partner == partner.as_str());
    // To another partner this link does not exist.
    let read = read.ok_or_else(|| Fault::ResourceUnknown { name: old.to_string() })?;
    let state = lifecycle::Link::from_row(&read.row)?.at(broker.now());
    state.end(LinkEnd::Replaced).map(drop).map_err(|error| Fault::not_allowed(old, error))
}

/// Ends the link in the unit that confirms the new one. Nothing is left to end of a link whose customer was erased.
pub(super) async fn give_way(
    broker: &Broker,
    work: &mut Work,
    old: &LinkName,
    evidence: &[Digest],
) -> Result<(), Fault> {
    let Some(read) = broker.load(rows::link(old)).await? else { return Ok(()) };
    let state = lifecycle::Link::from_row(&read.row)?.at(broker.now());
    let ended = state.end(LinkEnd::Replaced).map_err(|error| Fault::not_allowed(old, error))?;
    let lifecycle::Link::Ended { customer, how } = ended else {
        return Err(Fault::Bug { what: "a link that ended has not" });
    };
    // Read before the grants are looked at: what makes one stand writes this row anew, so one that comes since is a conflict.
    let account = broker.load(rows::customer(&customer)).await?.ok_or(Fault::GrantUnknown)?;
    work.expect(&account);
    if let Some(grant) = standing_on(broker, &customer, old).await? {
        return Err(Fault::GrantsStand { link: old.to_string(), grant: grant.to_string() });
    }
    let customer = broker.customer_key(&customer).await?;
    end_link(broker, work, &read, (Kind::LinkReplaced, how.state()), &customer, old, evidence).await
}

/// A grant that hangs on the link and is not over.
async fn standing_on(
    broker: &Broker,
    customer: &CustomerName,
    link: &LinkName,
) -> Result<Option<GrantName>, Fault> {
    let (index, mut after) = (rows::grants_of(&Party::Customer(customer.clone())), None::<Vec<u8>>);
    loop {
        let names = index.load(broker.store(), after.as_deref(), CHUNK).await?;
        let Some((last, _)) = names.last() else { return Ok(None) };
        after = Some(last.clone());
        for (_, name) in &names {
            let name = GrantName::parse(name).map_err(|error| damaged("grant index", &error))?;
            let grant = broker.grant(&name).await?;
            let grant = grant.ok_or_else(|| damaged("grant index", &"a grant of it is missing"))?;
            let row = &grant.read.row;
            if ![&row.source_link, &row.recipient_link].contains(&&link.to_string()) {
                continue;
            }
            if matches!(grant.state(broker.now())?.state(), State::Active | State::Paused | State::Suspended)
            {
                return Ok(Some(name));
            }
        }
    }
}
