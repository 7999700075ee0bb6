//! The places that a call holds until its answer is taken, and not only made.

use std::sync::Arc;

use axum::response::Response;
use countersign_grants::id::Principal;
use tokio::sync::OwnedSemaphorePermit;

use super::slots::Slot;

/// On the answer of a call that streams on: it holds no place of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endless;

/// On every other answer: its call's places in the house and among its principal's, given back when this goes.
#[derive(Clone)]
pub(crate) struct Places(#[expect(dead_code, reason = "held, and given back when it goes")] Arc<Held>);

type Held = (OwnedSemaphorePermit, Option<Slot<Principal>>);

/// Has the answer hold its call's places, unless it streams on.
pub(super) fn hold(
    mut answer: Response,
    place: OwnedSemaphorePermit,
    slot: Option<Slot<Principal>>,
) -> Response {
    let extensions = answer.extensions_mut();
    if extensions.get::<Endless>().is_none() {
        extensions.insert(Places(Arc::new((place, slot))));
    }
    answer
}
