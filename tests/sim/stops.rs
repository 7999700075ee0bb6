//! What partners and the operator do to a grant by their own word: suspend, let go, revoke.

use std::{sync::Arc, time::Duration};

use countersign_client::{
    Error,
    book::{GrantRow, Side, Standing},
    operator::Operator,
    receipt::ProvenLeaf,
};
use countersign_grants::{id::GrantName, statement::ChangeReason};
use tokio::time::sleep;

use crate::{
    hosts::PAUSE,
    partner::{Desk, short},
    plan::OPERATOR_HOST,
    random::Random,
    world::{Phase, World},
};

/// Of a hundred looks of an operator, how many lead to something: some five in a run, among a hundred looks.
const OPERATOR_ACTS_PERCENT: u64 = 5;

/// A partner at work. In the end it lets go of all that it suspended, and the broker has what it revoked.
pub(crate) async fn stop(desk: Arc<Desk>) {
    let mut random = desk.random("stop");
    while desk.works() {
        sleep(Duration::from_millis(random.between(2_000, 9_000))).await;
        let mut rows = desk.partner.book().grants();
        rows.sort_by_key(GrantRow::digest);
        let Some(row) = random.pick(&rows) else { continue };
        let roll = random.below(100);
        match (row.side(), row.suspended()) {
            (_, _) if roll < 12 => drop(revoke(&desk, row).await),
            (Side::Source, None) if roll < 60 => drop(suspend(&desk, row).await),
            (Side::Source, Some(_)) if roll < 85 => drop(let_go(&desk, row).await),
            _ => {}
        }
    }
    loop {
        let all_told = told(&desk).await;
        desk.world.board.lock().let_go[desk.at] = all_told;
        sleep(PAUSE * 2).await;
    }
}

async fn suspend(desk: &Desk, row: &GrantRow) -> Result<ProvenLeaf, Error> {
    let came = desk.partner.suspend_grant(row.name(), ChangeReason::Security).await;
    said(desk, "suspend", row, came)
}

async fn let_go(desk: &Desk, row: &GrantRow) -> Result<ProvenLeaf, Error> {
    let came = desk.partner.unsuspend_grant(row.name()).await;
    said(desk, "let go", row, came)
}

async fn revoke(desk: &Desk, row: &GrantRow) -> Result<ProvenLeaf, Error> {
    let came = desk.partner.revoke_grant(row.name(), ChangeReason::NotNeeded).await;
    said(desk, "revoke", row, came)
}

fn said(
    desk: &Desk,
    what: &str,
    row: &GrantRow,
    came: Result<ProvenLeaf, Error>,
) -> Result<ProvenLeaf, Error> {
    let what = format!("{what} {}", short(row.name().as_str()));
    desk.outcome(&what, &came, |leaf| format!("record {}", leaf.index()));
    if let Ok(leaf) = &came {
        desk.world.checks.lock().acknowledged(desk.host, &desk.world.storage.current(), leaf);
    }
    came
}

/// Says again what the broker may lack. Whether all of it is said.
async fn told(desk: &Desk) -> bool {
    let mut rows = desk.partner.book().grants();
    rows.retain(|row| matches!(row.standing(), Standing::Active | Standing::Paused));
    rows.sort_by_key(GrantRow::digest);
    let mut all = true;
    for row in rows {
        let tag = &row.terms().log_tag;
        let open = desk.world.checks.lock().is_open(tag);
        let came = match row.revoked() {
            // The log says so, or it never heard of the grant.
            Some((side, _)) if side == row.side() && open => revoke(desk, &row).await,
            None if row.suspended().is_some() && row.side() == Side::Source => let_go(desk, &row).await,
            _ => continue,
        };
        all &= came.is_ok() || came.is_err_and(|error| !error.is_transient() && error.reason().is_some());
    }
    all
}

/// The operator's second task: some of the grants that stand are held, let go of, or ended.
pub(crate) async fn operate(world: &World, operator: &Operator, random: &mut Random) {
    let works = world.phase() == Phase::Works;
    if works && !random.chance(OPERATOR_ACTS_PERCENT) {
        return;
    }
    let held = world.board.lock().held.clone();
    if let Some(name) = random.pick(&held).filter(|_| !works || random.chance(60)) {
        let came = operator.unsuspend_grant(name).await;
        let all_said = answered(world, "let go", name, &came);
        if all_said {
            world.board.lock().held.retain(|one| one != name);
        }
        return;
    }
    if !works {
        return;
    }
    let Some(name) = approved(world, random) else { return };
    if random.chance(20) {
        let came = operator.revoke_grant(&name, ChangeReason::Law).await;
        answered(world, "revoke", &name, &came);
    } else {
        // Also if its answer is lost.
        world.board.lock().held.push(name.clone());
        let came = operator.suspend_grant(&name, ChangeReason::Dispute).await;
        answered(world, "suspend", &name, &came);
    }
}

/// One of the grants that the log knows.
fn approved(world: &World, random: &mut Random) -> Option<GrantName> {
    let (board, checks) = (world.board.lock(), world.checks.lock());
    let known = board.signed.iter().filter(|(_, (_, terms))| checks.is_approved(&terms.log_tag));
    let names: Vec<&GrantName> = known.map(|(name, _)| name).collect();
    random.pick(&names).map(|name| (*name).clone())
}

/// Whether the broker has said yes or no.
fn answered<T>(world: &World, what: &str, name: &GrantName, came: &Result<T, Error>) -> bool {
    world.outcome(OPERATOR_HOST, &format!("{what} {}", short(name.as_str())), came, |_| "ok".to_owned());
    match came {
        Ok(_) => true,
        Err(error) => !error.is_transient() && error.reason().is_some(),
    }
}
