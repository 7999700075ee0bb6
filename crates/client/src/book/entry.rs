//! What stands in a book's file: one change of its state an entry.

use serde::{Deserialize, Serialize};

use super::grants::Side;

/// One change. Variants and fields are only ever added at the end: postcard knows them by their place.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// An invitation went out.
    Invited { link: [u8; 32], subject: String, secret: [u8; 32], expire_ms: u64, tries_left: u8 },
    /// A code did not open; with no tries left, the invitation is gone.
    TryFailed { link: [u8; 32], left: u8 },
    /// The key is pinned, and the link whose place it takes gives way. The confirmation is kept, so that it can be sent again
    /// byte for byte.
    Linked { link: [u8; 32], subject: String, acceptance: Vec<u8>, confirmation: Vec<u8> },
    /// Terms that verified.
    Granted { side: Side, link: [u8; 32], terms: Vec<u8>, salt: [u8; 32], offer: Vec<u8>, offer_key: Vec<u8> },
    /// A change that verified and is the next in its grant.
    Changed { grant: [u8; 32], change: Vec<u8> },
    /// Stopped by this side, without any broker; be it before its terms came.
    StoppedHere { grant: [u8; 32], at_ms: u64 },
    /// A fetch was answered: a use is spent, the answer can be repeated, and a receipt is owed.
    Provided { grant: [u8; 32], at_ms: u64, fetch: Vec<u8>, sealed: Vec<u8>, provision: Vec<u8> },
    /// The receipt for a provision came and verified.
    ReceiptTaken { fetch: [u8; 32] },
    /// The uses of a grant, in place of the answers that spent them.
    Spent { grant: [u8; 32], uses: u32, window: Option<(u64, u32)> },
    /// Events before this log index were handled.
    Cursor(u64),
    /// The newest published checkpoint.
    Checkpoint(Vec<u8>),
    /// The log showed two faces.
    Forked { ours: Vec<u8>, theirs: Vec<u8> },
    /// A working key of one's own.
    OwnKey { key: String },
    /// The broker says that the grant was stopped or paused, and no signed change came.
    Held { grant: [u8; 32] },
    /// A change by the source or the recipient of a grant that verified and is the next of that partner.
    PartnerChanged { grant: [u8; 32], change: Vec<u8> },
    /// A preview was answered; without sealed fields and provision, too long ago for the same to be asked again.
    Previewed {
        link: [u8; 32],
        at_ms: u64,
        preview: Vec<u8>,
        sealed: Vec<u8>,
        provision: Vec<u8>,
        comparison_key: [u8; 32],
    },
    /// A provision carries the marks by which it is compared with this preview, so its key is done with.
    Compared { link: [u8; 32], preview: [u8; 32] },
    /// The link that comes of an invitation takes another's place.
    Replaces { link: [u8; 32], replaced: [u8; 32] },
    /// A link gave way: its grants are stopped on this side, and so is what is entered under it since.
    Replaced { link: [u8; 32], at_ms: u64 },
    /// This side's application says that it has deleted what it received under a grant, as the customer ordered.
    Deleted { grant: [u8; 32] },
    /// The attestation of that, signed.
    Attested { grant: [u8; 32], attestation: Vec<u8> },
    /// The proof of the attestation's record came and verified.
    AttestationTold { grant: [u8; 32] },
    /// Something left by this tap of a customer's, in place of the answer that used it.
    TapUsed { tap: [u8; 32], until_ms: u64 },
    /// The customer ordered to delete what was received, by the log's proven record alone: the account is closed, and the
    /// signed change is nowhere.
    OrderRecorded { grant: [u8; 32], change: [u8; 32], at_ms: u64 },
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
