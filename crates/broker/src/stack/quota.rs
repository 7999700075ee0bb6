//! How often each principal may call, and how much it may have in progress.

use std::num::NonZeroU32;

use axum::extract::Request;
use countersign_grants::id::Principal;
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use super::{Gate, limits, slots::Slot};
use crate::{Caller, Fault, Newcomer};

/// Calls a second. Each may also come in a burst of twice as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Each partner: three times what one partner can make a broker on two cores do.
    pub partner: NonZeroU32,
    /// Each customer: an app that opens makes some twenty calls.
    pub customer: NonZeroU32,
    /// Each auditor: in full bundles of 256 records this is more records than one core verifies.
    pub auditor: NonZeroU32,
    /// Each operator: scripts over all partners.
    pub operator: NonZeroU32,
    /// All who have no key here yet, together: a record each, so this bounds how fast strangers can grow the log.
    pub newcomers: NonZeroU32,
}

impl Default for Quotas {
    fn default() -> Self {
        let calls = |number| NonZeroU32::new(number).expect("the numbers below are not zero");
        Self {
            partner: calls(5_000),
            customer: calls(50),
            auditor: calls(2_000),
            operator: calls(200),
            newcomers: calls(200),
        }
    }
}

/// The rates at which principals called.
pub(super) struct Rates {
    partners: DefaultKeyedRateLimiter<Principal>,
    customers: DefaultKeyedRateLimiter<Principal>,
    auditors: DefaultKeyedRateLimiter<Principal>,
    operators: DefaultKeyedRateLimiter<Principal>,
    newcomers: DefaultDirectRateLimiter,
}

impl Rates {
    pub(super) fn new(quotas: Quotas) -> Self {
        Self {
            partners: RateLimiter::keyed(twice(quotas.partner)),
            customers: RateLimiter::keyed(twice(quotas.customer)),
            auditors: RateLimiter::keyed(twice(quotas.auditor)),
            operators: RateLimiter::keyed(twice(quotas.operator)),
            newcomers: RateLimiter::direct(twice(quotas.newcomers)),
        }
    }

    /// Forgets those that went quiet, which are within any quota.
    pub(super) fn tidy(&self) {
        for rates in [&self.partners, &self.customers, &self.auditors, &self.operators] {
            rates.retain_recent();
        }
    }

    fn of(&self, principal: &Principal) -> &DefaultKeyedRateLimiter<Principal> {
        match principal {
            // A broker has no key here, so none gets this far.
            Principal::Partner(_) | Principal::Broker(_) => &self.partners,
            Principal::Customer(_) => &self.customers,
            Principal::Auditor(_) => &self.auditors,
            Principal::Operator(_) => &self.operators,
        }
    }
}

/// A rate that may be met in bursts of two seconds' worth.
fn twice(a_second: NonZeroU32) -> Quota {
    Quota::per_second(a_second).allow_burst(a_second.saturating_mul(NonZeroU32::MIN.saturating_add(1)))
}

/// Counts a call of whoever makes it; what comes is held as long as the call takes.
pub(super) fn count(gate: &Gate, request: &Request) -> Result<Option<Slot<Principal>>, Fault> {
    if let Some(caller) = request.extensions().get::<Caller>() {
        slot(gate, caller).map(Some)
    } else if request.extensions().get::<Newcomer>().is_some() {
        gate.rates.newcomers.check().map(|()| None).map_err(|until| exceeded("calls by newcomers", &until))
    } else {
        // Health and reflection, whose streams are counted by themselves.
        Ok(None)
    }
}

/// Counts a call of this caller, whatever it is for; what comes is held as long as it takes.
pub(crate) fn admit(gate: &Gate, caller: &Caller) -> Result<impl Drop + Send + use<>, Fault> {
    slot(gate, caller)
}

/// Counts a call of this caller; its slot is held as long as the call takes.
pub(super) fn slot(gate: &Gate, caller: &Caller) -> Result<Slot<Principal>, Fault> {
    let principal = &caller.principal;
    gate.rates.of(principal).check_key(principal).map_err(|until| exceeded("calls a second", &until))?;
    let slot: Option<Slot<Principal>> = gate.calls.take(principal.clone(), limits::MAX_CALLS_PER_PRINCIPAL);
    slot.ok_or(Fault::QuotaExceeded { quota: "calls in progress", retry_after: Some(limits::COME_AGAIN) })
}

fn exceeded(
    quota: &'static str,
    until: &NotUntil<<DefaultClock as governor::clock::Clock>::Instant>,
) -> Fault {
    let retry_after = Some(until.wait_time_from(DefaultClock::default().now()));
    Fault::QuotaExceeded { quota, retry_after }
}
