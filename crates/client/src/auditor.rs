//! The auditor's side: entries and their proofs through the API, and the offline check of a whole log.
//!
//! [`verify()`] needs no broker: it checks a copy of the log's folder, or an address that serves one, under the log's key
//! alone.
//!
//! ```no_run
//! use countersign_client::{BrokerTrust, auditor::{FolderLog, verify}};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let trust = BrokerTrust::read("broker.json".as_ref())?;
//! let mut log = FolderLog::open("copy-of-the-log".as_ref())?;
//! let report = verify(&mut log, &trust.log_key, &[], &mut |_| {})?;
//! for finding in &report.findings {
//!     println!("{finding}");
//! }
//! # Ok(())
//! # }
//! ```

mod bundled;
mod departures;
mod entries;
mod heads;
mod http;
mod leaf;
mod report;
mod rules;
mod source;
mod tree;
#[path = "auditor/verify.rs"]
mod verifying;

#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use self::leaf::read_record;
pub use self::{
    entries::{Auditor, Entry, Filter, Page, PrivatePart, proof_file},
    heads::{HeadFolder, MemoryHeads},
    http::{Authorization, HttpLog},
    leaf::NotARecord,
    report::{Finding, MAX_FINDINGS, Problem, Report},
    source::{FolderLog, LogSource, SourceError},
    verifying::{Progress, verify},
};
