//! The world check: after each death, the disk against everything that was acknowledged; after each restart, what the
//! broker says.

pub(crate) mod api;
pub(crate) mod copy;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod rows;
