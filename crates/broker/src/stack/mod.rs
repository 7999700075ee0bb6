//! The stack in front of the services.
//!
//! Every gRPC call passes the layers of [`stack`], in that order; a service behind it sees calls that are bounded,
//! within their deadline, from a [`Caller`](crate::Caller) that is known and within its quota.

mod authenticate;
mod deadline;
mod gate;
pub mod limits;
mod methods;
mod places;
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

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};

pub(crate) use self::{
    authenticate::bearer,
    places::{Endless, Places},
    quota::admit,
    refuse::refusal,
    shed::enter,
};
pub use self::{deadline::Deadline, gate::Gate, quota::Quotas};
use crate::Fault;

/// Puts the stack in front of the services.
pub fn stack(services: Router, gate: &Arc<Gate>) -> Router {
    services.layer(from_fn_with_state(Arc::clone(gate), call))
}

/// One call through all layers. They stand in one function, since a chain of services is boxed and cloned at each link for
/// each call.
async fn call(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    trace::traced(methods::label(request.uri().path()), async move {
        let answer = match Deadline::set(&mut request) {
            // Before anything waits: the time that a call may take includes the time until it was let in.
            Ok(deadline) => deadline.hold(admitted(&gate, request, next)).await,
            Err(fault) => Err(fault),
        };
        answer.unwrap_or_else(refusal)
    })
    .await
}

async fn admitted(gate: &Gate, mut request: Request, next: Next) -> Result<Response, Fault> {
    // Before the first work on a call: a full house must cost nothing, least of all a signature check. Held until the
    // answer is taken.
    let place = enter(gate)?;
    // Who calls. From here on nothing is anonymous but health, reflection and a newcomer.
    authenticate::authenticate(gate, &mut request).await?;
    // Needs to know whose quota it is.
    let slot = quota::count(gate, &request)?;
    // Innermost: what outlives its call, a stream, is counted by principal and ends with the broker.
    let answer = streams::run(gate, request, next).await?;
    Ok(places::hold(answer, place, slot))
}
