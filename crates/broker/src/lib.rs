#![doc = "Countersign's broker: the gRPC services, the stack in front of them, and the one place that maps errors."]
//!
//! A library: `countersignd` starts it as a daemon, tests start it in-process. It knows no storage engine and reads no
//! clock of its own; [`Broker::open`] is given both.
//!
//! | module | what it holds |
//! |---|---|
//! | [`broker`] | the state that all services share, and how it is opened |
//! | [`service`] | one folder per service, one file per verb: authorize, parse, load, decide, commit |
//! | [`rows`] | the typed keys of every stored row |
//! | [`work`] | what one call commits: rows, records and expectations as one unit |
//! | [`stored`] | offers, links and grants read back into the types of the domain |
//! | [`record`] | from what happened to a draft record and its sealed private part |
//! | [`private`] | sealing and opening private parts |
//! | [`stack`] | the layers in front of the services, and every bound of the outer shell |
//! | [`surface`] | the ports, and what is behind them |
//! | [`caller`] | who calls, as the stack has verified it |
//! | [`error`] | every way a call can fail, and its gRPC status |

mod abandoned;
pub mod agenda;
pub mod asking;
pub mod broker;
pub mod caller;
pub mod catalogues;
#[doc(hidden)]
pub mod doors;
mod erasing;
pub mod error;
mod expiring;
mod heads;
mod pace;
pub mod private;
pub mod receipts;
pub mod record;
mod remembered;
pub mod removed;
pub mod rows;
pub mod service;
pub mod sources;
pub mod stack;
pub mod stored;
pub mod surface;
pub mod suspicion;
pub mod sweeper;
pub mod work;

/// The domain's types, for whoever wires a broker together.
pub use countersign_grants as grants;

pub use self::{
    broker::{Broker, BrokerParts, OpenError, Settings},
    caller::{Caller, Newcomer},
    error::Fault,
};
