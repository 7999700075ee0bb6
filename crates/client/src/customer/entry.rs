//! What stands in a customer's book: one change of its state an entry.

use serde::{Deserialize, Serialize};

/// One change. Variants and fields are only ever added at the end: postcard knows them by their place.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// An invitation was accepted. Entered before the acceptance leaves, so that it can be sent again byte for byte.
    Linked {
        link: [u8; 32],
        partner: String,
        identity: [u8; 32],
        subject: String,
        label: String,
        acceptance: Vec<u8>,
        code: String,
        expire_ms: u64,
    },
    /// The partner has pinned the link's key; and if the link was said to have ended, it stands.
    Confirmed { link: [u8; 32] },
    /// Terms were signed, once for each side. Entered before they leave: what the customer signed is never forgotten.
    Granted {
        source_link: [u8; 32],
        recipient_link: [u8; 32],
        source_terms: Vec<u8>,
        recipient_terms: Vec<u8>,
    },
    /// The broker refused the terms, and says that no grant came of them. They were signed and sent, so they stay.
    Dropped { grant: [u8; 32] },
    /// The proof of the grant's record verified.
    Recorded { grant: [u8; 32], index: u64 },
    /// A change was signed, and is on its way.
    Changing { grant: [u8; 32], source_change: Vec<u8>, recipient_change: Vec<u8> },
    /// The broker refused the change that is on its way. It was signed and sent, so it stays.
    ChangeDropped { grant: [u8; 32] },
    /// The change stands in the log; the index where it was proven.
    Changed { grant: [u8; 32], change: Vec<u8>, index: Option<u64> },
    /// The source has acknowledged this change.
    Acknowledged { grant: [u8; 32], change: [u8; 32], time_ms: u64 },
    /// The newest published checkpoint.
    Checkpoint(Vec<u8>),
    /// The log showed two faces.
    Forked { ours: Vec<u8>, theirs: Vec<u8> },
    /// The broker shows a grant that it had said there is not.
    Shown { grant: [u8; 32] },
    /// What opens the commitments of terms that narrow others, so that they can be sent again byte for byte.
    Salts { grant: [u8; 32], source: [u8; 32], recipient: [u8; 32] },
    /// The customer looked at what would leave. Of the values stands here what tells whether they change, and no more.
    Previewed {
        preview: [u8; 32],
        request: [u8; 32],
        offer: [u8; 32],
        time_ms: u64,
        marks: Vec<(String, [u8; 32])>,
    },
    /// The newest of the customer's own changes that was seen and verified.
    Identity { sequence: u64, last: [u8; 32] },
    /// A change of one's own was signed, and is on its way, with the copy that goes with it.
    IdentityPending { change: Vec<u8>, wrapped: Vec<u8> },
    /// What the person calls an authenticator.
    AuthenticatorLabel { authenticator: [u8; 32], salt: [u8; 32], label: String },
    /// The closing of the account was signed, and is on its way.
    Closing { closure: Vec<u8> },
    /// The proof of the closing's record verified.
    Closed { index: u64 },
    /// The proof of a report of theft verified.
    Stolen { index: u64 },
    /// By the broker's word the link has ended: it gave way to a newer one, or its key was reported stolen.
    Ended { link: [u8; 32] },
}

impl Entry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("integers, strings and bytes have an encoding, and memory grows")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        match postcard::take_from_bytes(bytes) {
            Ok((entry, [])) => Ok(entry),
            Ok(_) => Err("has bytes after its end".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}
