//! Who calls.
//!
//! The signature of a token is checked once and remembered; everything that can change is looked at on every call.
//! No text of a token reaches a log or an answer.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{HeaderMap, header::AUTHORIZATION},
};
use countersign_grants::{
    id::Principal,
    token::{MAX_TOKEN_BYTES, TokenError, Unverified},
};
use countersign_ledger::work::Part;

use super::{Gate, methods};
use crate::{Caller, Fault, Newcomer, broker::stranger};

/// What stands before the token. The scheme's name is compared without case (RFC 9110, section 11.1).
const SCHEME: &str = "Bearer ";

/// Finding out who calls.
static TOKEN: Part = Part::new("token");

/// Finds out who calls, and lets the service know.
pub(super) async fn authenticate(gate: &Gate, request: &mut Request) -> Result<(), Fault> {
    let path = request.uri().path();
    if methods::is_public(path) {
        return Ok(());
    }
    if methods::opens_copy(path) {
        // Whatever token it carries says nothing; it counts among the newcomers.
        request.extensions_mut().insert(Newcomer(String::new()));
        return Ok(());
    }
    let text = text(request.headers())?;
    if methods::enters_customer(path) {
        // Its key comes with the request, so the service verifies it.
        let newcomer = Newcomer(text.to_owned());
        request.extensions_mut().insert(newcomer);
        return Ok(());
    }
    let caller = known(gate, text, methods::takes_newcomers(path)).await?;
    tracing::Span::current().record("principal", shown(&caller.principal));
    request.extensions_mut().insert(caller);
    Ok(())
}

/// The caller of a request that is no gRPC call.
pub(crate) async fn bearer(gate: &Gate, headers: &HeaderMap) -> Result<Caller, Fault> {
    known(gate, text(headers)?, false).await
}

/// The principal whose token this is, by the keys and states of this moment. The state comes last: it is told to
/// those alone who proved to be that principal, to this broker, now.
async fn known(gate: &Gate, text: &str, takes_newcomers: bool) -> Result<Caller, Fault> {
    TOKEN.drive(known_now(gate, text, takes_newcomers)).await
}

async fn known_now(gate: &Gate, text: &str, takes_newcomers: bool) -> Result<Caller, Fault> {
    let (token, known) = if let Some(token) = gate.tokens.get(text) {
        let known = gate.broker.call_key(token.issuer(), token.key_id()).await?;
        (token, known)
    } else {
        let claimed = Unverified::read(text).map_err(|error| Fault::token(&error))?;
        let known = gate.broker.call_key(claimed.issuer(), claimed.key_id()).await?;
        let token = claimed.verify(&known.key).map(Arc::new).map_err(|error| unverified(&error))?;
        gate.tokens.insert(text, Arc::clone(&token));
        (token, known)
    };
    token.check(&gate.audience, gate.broker.now()).map_err(|error| Fault::token(&error))?;
    known.may_call?;
    if !takes_newcomers {
        known.is_live?;
    }
    Ok(Caller { principal: token.issuer().clone() })
}

/// A wrong signature answers like an unknown key.
fn unverified(error: &TokenError) -> Fault {
    if matches!(error, TokenError::Signature) { stranger() } else { Fault::token(error) }
}

/// The token's text.
fn text(headers: &HeaderMap) -> Result<&str, Fault> {
    let refuse = |problem: &str| Fault::TokenInvalid { check: "form", problem: problem.to_owned() };
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = lines.next().ok_or_else(|| refuse("a token is missing: `authorization: Bearer <token>`"))?;
    if lines.next().is_some() {
        return Err(refuse("there are two `authorization` lines"));
    }
    let line = line.to_str().map_err(|_| refuse("`authorization` is not ASCII"))?;
    let (scheme, text) = line.split_at_checked(SCHEME.len()).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(refuse("`authorization` is not `Bearer <token>`"));
    }
    if text.len() > MAX_TOKEN_BYTES {
        return Err(refuse("the token is longer than any token"));
    }
    Ok(text)
}

/// How a principal is shown in traces. A customer is not: traces outlive an erasure.
fn shown(principal: &Principal) -> &str {
    match principal {
        Principal::Customer(_) => "a customer",
        Principal::Partner(name) => name.as_str(),
        Principal::Auditor(name) => name.as_str(),
        Principal::Operator(name) => name.as_str(),
        Principal::Broker(_) => "a broker",
    }
}
