//! A hostile broker: the real one in the hands of an operator who lies.
//!
//! The operator has the log's key, the call key, the wrapping key and the database: [`Operator`] enters whatever records
//! it likes, with good proofs, and calls the source itself. It stands in front of the broker towards partners and
//! customers, and behind it towards the source: a [`Proxy`] on either side bends what passes. Each test names the error
//! that the honest side's SDK gives.

mod changes;
mod closings;
mod devices;
mod erasures;
mod exports;
mod grants;
mod kept;
mod keys;
mod logs;
mod operator;
mod previews;
mod proxy;
mod requests;
mod revisions;
mod stopping_all;
mod taps;
mod transfers;

use countersign_client::{Error, error::Misbehaved};

use self::{operator::Operator, proxy::Proxy};

/// Whose word the SDK says does not hold, of what, and why: `the broker: receipt: evidence`.
fn blamed(error: &Error) -> String {
    let Error::Misbehaved(one) = error else { panic!("nobody is blamed: {error}") };
    // Whatever goes wrong, the text says whose fault it is and what to do.
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("{} handed over", one.who)) && text.contains("Nothing of it was used"),
        "{text}"
    );
    let Misbehaved { who, what, check, .. } = one.as_ref();
    format!("{who}: {what}: {check}")
}
