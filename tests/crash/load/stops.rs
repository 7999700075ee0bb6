//! Suspensions and revocations of grants by their sources, their recipients and an operator.
//!
//! Of each who suspends there is one client, so that nobody else ends its suspension: until it does, nothing may come.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use countersign_client::{Error, receipt::ProvenLeaf};
use countersign_grants::statement::ChangeReason;
use countersign_proto::log::v1::Kind;
use tokio::time::sleep;

use super::{changes::TRIES_AFTER_STOP, insist, refused, rest, transfers, wrong_state};
use crate::{
    notes::Named,
    random::Random,
    world::{Granted, World},
};

const REASON: ChangeReason = ChangeReason::Dispute;

/// Partners, one grant after the other.
pub(crate) async fn partners(world: Arc<World>, mut random: Random) {
    loop {
        rest(&mut random, 80, 400).await;
        world.may_begin().await;
        let Some(granted) = world.one(&mut random, |granted| !granted.steady) else { continue };
        let held = Duration::from_millis(random.below(40));
        match random.below(12) {
            0 => revoke(&world, &granted, granted.source).await,
            1 => revoke(&world, &granted, granted.recipient).await,
            2 => suspend(&world, &granted, None).await,
            _ => suspend(&world, &granted, Some(held)).await,
        }
    }
}

async fn revoke(world: &World, granted: &Granted, side: usize) {
    let partner = &world.brands[side].partner;
    let revoked =
        said(world, granted, Kind::GrantRevoked, || partner.revoke_grant(&granted.name, REASON)).await;
    if let Some(true) = revoked {
        world.notes.named(Named::RevokedGrant(granted.name.clone()));
        ended(world, granted).await;
    }
}

/// Suspends a grant so long, or for good.
async fn suspend(world: &World, granted: &Granted, held: Option<Duration>) {
    let source = &world.brands[granted.source].partner;
    let suspended =
        said(world, granted, Kind::GrantSuspended, || source.suspend_grant(&granted.name, REASON)).await;
    match (suspended, held) {
        (Some(true), None) => {
            world.notes.named(Named::SuspendedGrant(granted.name.clone()));
            return ended(world, granted).await;
        }
        (Some(true), Some(held)) => while_suspended(world, granted, held).await,
        (Some(false), _) => {}
        (None, _) => return,
    }
    said(world, granted, Kind::GrantUnsuspended, || source.unsuspend_grant(&granted.name)).await;
}

/// A change by a partner's own word; whether it is of this very grant, if it stands.
///
/// Where a newer revision takes the grant's place meanwhile, what was said of the one is said of the other too: by this
/// call, or by the partner's own events, which makes a record that no call is answered with.
async fn said<F>(world: &World, granted: &Granted, kind: Kind, attempt: impl FnMut() -> F) -> Option<bool>
where
    F: Future<Output = Result<ProvenLeaf, Error>>,
{
    let notes = &world.notes;
    let of_the_newer = granted.revisable.then(|| notes.sending(kind));
    let mut sending = notes.sending(kind);
    let came = insist(&mut sending, attempt).await;
    // Given up: it stays open.
    drop(of_the_newer);
    match came {
        Ok(leaf) => {
            notes.proven(&leaf);
            sending.done(Some(leaf.index()));
            Some(leaf.record().grant_tag.as_ref() == granted.tag)
        }
        Err(error) => {
            refused(notes, "a partner's stop", sending, &error);
            None
        }
    }
}

/// An operator, one grant after the other.
pub(crate) async fn operators(world: Arc<World>, mut random: Random) {
    loop {
        rest(&mut random, 80, 400).await;
        world.may_begin().await;
        let Some(granted) = world.one(&mut random, |granted| !granted.steady) else { continue };
        let held = Duration::from_millis(random.below(40));
        match random.below(10) {
            0 => revoke_as_operator(&world, &granted).await,
            1 => suspend_as_operator(&world, &granted, None).await,
            _ => suspend_as_operator(&world, &granted, Some(held)).await,
        }
    }
}

/// One without an answer is followed by a refusal whoever ended the grant: then it stays open.
async fn revoke_as_operator(world: &World, granted: &Granted) {
    let (notes, operator) = (&world.notes, &world.operators[0]);
    let mut sending = notes.sending(Kind::GrantRevokedByOperator);
    match insist(&mut sending, || operator.revoke_grant(&granted.name, REASON)).await {
        Ok(_) => sending.done(None),
        Err(error) => return refused(notes, "an operator's revocation", sending, &error),
    }
    notes.named(Named::RevokedGrant(granted.name.clone()));
    ended(world, granted).await;
}

async fn suspend_as_operator(world: &World, granted: &Granted, held: Option<Duration>) {
    let (notes, operator) = (&world.notes, &world.operators[0]);
    let mut sending = notes.sending(Kind::GrantSuspendedByOperator);
    match insist(&mut sending, || operator.suspend_grant(&granted.name, REASON)).await {
        Ok(_) => sending.done(None),
        // No other client suspends as an operator: a try before was not answered, and had been done.
        Err(error) if sending.is_in_doubt() && stands(&error) => sending.found(),
        Err(error) => return refused(notes, "an operator's suspension", sending, &error),
    }
    let Some(held) = held else {
        notes.named(Named::SuspendedGrant(granted.name.clone()));
        return ended(world, granted).await;
    };
    while_suspended(world, granted, held).await;
    let mut sending = notes.sending(Kind::GrantUnsuspendedByOperator);
    match insist(&mut sending, || operator.unsuspend_grant(&granted.name)).await {
        Ok(_) => sending.done(None),
        Err(error) => refused(notes, "the end of an operator's suspension", sending, &error),
    }
}

/// Whether a grant that is refused for its state has not ended.
fn stands(error: &Error) -> bool {
    matches!(wrong_state(error), Some("SUSPENDED" | "PAUSED"))
}

async fn while_suspended(world: &World, granted: &Granted, held: Duration) {
    for _ in 0..TRIES_AFTER_STOP {
        transfers::in_vain(world, granted, "its suspension was acknowledged").await;
    }
    sleep(held).await;
}

/// For good: nobody fetches under it any more, and nothing would come.
async fn ended(world: &World, granted: &Granted) {
    granted.stopped.store(true, Ordering::SeqCst);
    world.retire(&granted.name);
    for _ in 0..TRIES_AFTER_STOP {
        transfers::by_hand(world, granted, false).await;
    }
}
