//! The stack in front of the services.
//!
//! Every gRPC call passes the layers of [`stack`], in that order; a service behind it sees calls that are bounded,
//! within their deadline, from a [`Caller`](crate::Caller) that is known and within its quota.

mod authenticate;
mod deadline;
mod gate;
pub mod limits;
mod methods;
mod quota;
mod refuse;
mod shed;
mod slots;
mod streams;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tokens;
mod trace;

use std::sync::Arc;

use axum::{Router, middleware::from_fn_with_state};
use tower::ServiceBuilder;

pub(crate) use self::{authenticate::bearer, quota::admit, shed::enter};
pub use self::{deadline::Deadline, gate::Gate, quota::Quotas};

/// Puts the stack in front of the services.
pub fn stack(services: Router, gate: &Arc<Gate>) -> Router {
    let gate = || Arc::clone(gate);
    services.layer(
        ServiceBuilder::new()
            // Outermost, so that it sees and counts what every other layer refuses; it also keeps a panic to its call.
            .layer(from_fn_with_state(gate(), trace::layer))
            // Before anything waits: the time that a call may take includes the time until it was let in.
            .layer(from_fn_with_state(gate(), deadline::layer))
            // Before the first work on a call: a full house must cost nothing, least of all a signature check.
            .layer(from_fn_with_state(gate(), shed::layer))
            // Who calls. Behind it nothing is anonymous but health, reflection and a newcomer.
            .layer(from_fn_with_state(gate(), authenticate::layer))
            // Needs to know whose quota it is.
            .layer(from_fn_with_state(gate(), quota::layer))
            // Innermost: what outlives its call, a stream, is counted by principal and ends with the broker.
            .layer(from_fn_with_state(gate(), streams::layer)),
    )
}
