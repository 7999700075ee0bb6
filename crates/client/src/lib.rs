#![doc = r#"
Countersign's SDK.
"#]

pub mod book;
pub mod channel;
pub mod checkpoint;
pub mod error;
mod files;
pub mod invitation;
pub mod keyfile;
pub mod receipt;
pub mod system;
pub mod trust;

pub use self::{
    book::{Book, BookStorage, FileBook, MemoryBook},
    channel::Connection,
    checkpoint::Monitor,
    error::{Error, Misuse, Refused},
    invitation::InvitationPackage,
    system::System,
    trust::BrokerTrust,
};
