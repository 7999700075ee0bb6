//! What the restarted broker says, against the disk as it was and what was acknowledged before.

use anyhow::{Context as _, Result, bail, ensure};
use countersign_client::{Connection, Error, channel::call};
use countersign_proto::v1::{
    GetCheckpointRequest, GetConsistencyProofRequest, GetGrantRequest, GetGrantRequestRequest,
    GetLinkRequest, GetOfferRequest, GetPartnerRequest, ListEventsRequest, grant, grant_request, link, offer,
    partner,
};
use countersign_tlog::{Hash, SignedCheckpoint, hash::leaf_hash, proof::verify_consistency};

use super::log::Log;
use crate::{
    load::ask,
    notes::{Book, Named},
    random::Random,
    world::World,
};

/// Names that are asked for in one check: some of the newest, where a loss would show, and some of all.
const NAMES: usize = 6;

/// Trees whose consistency with the newest one is proven in one check.
const HEADS: usize = 4;

/// Events that are read of each partner: one page.
const EVENTS: i32 = 100;

/// Asks, while the clients go on, for what no call after it can have changed. `since` is where the check before ended.
pub(crate) async fn check(
    world: &World,
    log: &Log,
    book: &Book,
    (since, names): (u64, usize),
    random: &mut Random,
) -> Result<()> {
    for brand in &world.brands {
        let name = brand.name().as_str();
        events(brand.partner.connection(), name, since, log)
            .await
            .with_context(|| format!("events of {name}"))?;
    }
    let mut asked: Vec<&Named> = book.names.iter().skip(names).rev().take(NAMES).collect();
    asked.extend((0..NAMES).filter_map(|_| random.pick(&book.names)));
    for name in asked {
        let found = named(world, name).await;
        // The broker serves meanwhile, and who asks is not alone: somebody may have left.
        if !world.notes.is_gone(name) {
            found.with_context(|| format!("{name:?} was acknowledged"))?;
        }
    }
    heads(world, book, random).await
}

/// The page of events from there on has every record that names the partner, in order, with its very bytes.
async fn events(connection: &Connection, name: &str, from: u64, log: &Log) -> Result<()> {
    let page = ask(|| async {
        let asked = ListEventsRequest {
            parent: name.to_owned(),
            cursor: from,
            kinds: vec![],
            page_size: EVENTS,
            page_token: String::new(),
        };
        Ok(connection.events().list_events(call(asked)).await?.into_inner())
    });
    let page = page.await?;
    let none = Vec::new();
    let own = log.of_partner.get(name).unwrap_or(&none);
    let mut expected = own.iter().copied().filter(|index| *index >= from);
    for event in page.events {
        // What is newer than the disk that was looked at comes after all that was seen there.
        let Some(seen) = log.hash(event.index) else { break };
        ensure!(leaf_hash(&event.record) == seen, "event {} has another record than the disk", event.index);
        let due = expected.next();
        ensure!(due == Some(event.index), "event {} comes where {due:?} is due", event.index);
    }
    if page.next_page_token.is_empty() {
        let left = expected.next();
        ensure!(left.is_none(), "the events end, and {left:?} is due");
    }
    Ok(())
}

async fn named(world: &World, name: &Named) -> Result<()> {
    match name {
        // Only the customer may ask.
        Named::Customer(_) | Named::StolenCustomer(_) | Named::Device(_) | Named::RemovedDevice(_) => Ok(()),
        Named::Partner(partner) | Named::LivePartner(partner) | Named::SuspendedPartner(partner) => {
            let connection = world.brands[0].partner.connection();
            let asked = || async {
                let asked = GetPartnerRequest { name: partner.to_string() };
                Ok(connection.partners().get_partner(call(asked)).await?.into_inner())
            };
            let state = ask(asked).await?.state();
            let stands = match name {
                Named::LivePartner(_) => [partner::State::Active, partner::State::Suspended].contains(&state),
                Named::SuspendedPartner(_) => state == partner::State::Suspended,
                _ => true,
            };
            ensure!(stands, "it is {state:?}");
            Ok(())
        }
        Named::Offer(offer) | Named::WithdrawnOffer(offer) => {
            let connection = world.brands[0].partner.connection();
            let asked = || async {
                let asked = GetOfferRequest { name: offer.to_string() };
                Ok(connection.offers().get_offer(call(asked)).await?.into_inner())
            };
            let withdrawn = ask(asked).await?.state() == offer::State::Withdrawn;
            ensure!(withdrawn || matches!(name, Named::Offer(_)), "it is not withdrawn");
            Ok(())
        }
        Named::InvitedLink(link)
        | Named::AcceptedLink(link)
        | Named::ConfirmedLink(link)
        | Named::StolenLink(link) => {
            let found = anyone(world, async |connection: &Connection| {
                let asked = GetLinkRequest { name: link.to_string() };
                Ok(connection.links().get_link(call(asked)).await?.into_inner())
            });
            let found = found.await?;
            ensure!(
                found.acceptance.is_some() || matches!(name, Named::InvitedLink(_)),
                "it is not accepted"
            );
            ensure!(
                found.confirmation.is_some()
                    || !matches!(name, Named::ConfirmedLink(_) | Named::StolenLink(_)),
                "it is not confirmed"
            );
            let state = found.state();
            let ended = matches!(state, link::State::Stolen | link::State::Replaced);
            ensure!(ended || !matches!(name, Named::StolenLink(_)), "it is {state:?}");
            Ok(())
        }
        Named::Request(request) | Named::RefusedRequest(request) | Named::CancelledRequest(request) => {
            let found = anyone(world, async |connection: &Connection| {
                let asked = GetGrantRequestRequest { name: request.to_string() };
                Ok(connection.grants().get_grant_request(call(asked)).await?.into_inner())
            });
            let state = found.await?.state();
            match name {
                Named::RefusedRequest(_) => {
                    ensure!(state == grant_request::State::Refused, "it is {state:?}");
                }
                Named::CancelledRequest(_) => {
                    ensure!(state == grant_request::State::Cancelled, "it is {state:?}");
                }
                _ => {}
            }
            Ok(())
        }
        Named::Grant(grant)
        | Named::StoppedGrant(grant)
        | Named::SupersededGrant(grant)
        | Named::RevokedGrant(grant)
        | Named::SuspendedGrant(grant) => {
            let found = anyone(world, async |connection: &Connection| {
                let asked = GetGrantRequest { name: grant.to_string() };
                Ok(connection.grants().get_grant(call(asked)).await?.into_inner())
            });
            let state = found.await?.state();
            let stands = match (name, state) {
                (Named::StoppedGrant(_), grant::State::Withdrawn)
                | (Named::SupersededGrant(_), grant::State::Superseded)
                | (Named::RevokedGrant(_), grant::State::Revoked)
                | (
                    Named::SuspendedGrant(_),
                    grant::State::Suspended
                    | grant::State::Paused
                    | grant::State::Withdrawn
                    | grant::State::Revoked,
                ) => true,
                (name, _) => matches!(name, Named::Grant(_)),
            };
            ensure!(stands, "it is {state:?}");
            Ok(())
        }
    }
}

/// The answer of the first partner that may ask: to the others the thing does not exist.
async fn anyone<T>(world: &World, asked: impl AsyncFn(&Connection) -> Result<T, Error>) -> Result<T> {
    let mut last = None;
    for brand in &world.brands {
        match ask(|| asked(brand.partner.connection())).await {
            Ok(found) => return Ok(found),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).context("nobody is shown it"),
        None => bail!("there is nobody to ask"),
    }
}

/// Trees that were signed at any time are of the log as it is now: by the broker's own proofs.
async fn heads(world: &World, book: &Book, random: &mut Random) -> Result<()> {
    let connection = world.brands[0].partner.connection();
    let newest = ask(|| async {
        Ok(connection.audit().get_checkpoint(call(GetCheckpointRequest {})).await?.into_inner().checkpoint)
    })
    .await?;
    let newest = SignedCheckpoint::verify(newest, &world.trust.log_key)?;
    let older: Vec<(u64, Hash)> =
        book.heads.range(1..newest.size()).map(|(size, root)| (*size, *root)).collect();
    let drawn: Vec<(u64, Hash)> = (0..HEADS).filter_map(|_| random.pick(&older).copied()).collect();
    for (size, root) in drawn {
        let hashes = ask(|| async {
            let asked = GetConsistencyProofRequest { from_size: size, to_size: newest.size() };
            Ok(connection.audit().get_consistency_proof(call(asked)).await?.into_inner().hashes)
        })
        .await?;
        let hashes = hashes.iter().map(|hash| Hash::from_slice(hash)).collect::<Result<Vec<_>, _>>()?;
        verify_consistency(size, &root, newest.size(), newest.root(), &hashes)
            .with_context(|| format!("the trees of {size} and {} records", newest.size()))?;
    }
    Ok(())
}
