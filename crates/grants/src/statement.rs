//! The signed statements: what each says once its bytes have verified, and the checks between them.

mod checks;
mod customer_change;
mod erasure;
mod grant;
mod link;
mod offer;
mod parse;
mod partner;
mod partner_change;
mod preview;
mod revision;
mod tap;
mod transfer;

pub use self::{
    checks::{FetchError, TermsError, open_party_commitment, party_commitment},
    customer_change::{Authenticator, CustomerChange, CustomerChanged, CustomerVerb},
    erasure::{AccountClosure, ErasureAttestation},
    grant::{GrantChange, GrantRequest, GrantTerms, MAX_REQUEST_LIFE, RequestedRow, Verb},
    link::{
        CODE_DIGITS, LinkAcceptance, LinkConfirmation, LinkInvitation, MAX_INVITATION_LIFE, ReturnAddress,
        SECRET_BYTES, code_mac, label_commitment, mac_opens,
    },
    offer::{BenefitKind, MAX_REQUEST_WORDS, MAX_ROWS, Offer, OfferText, words},
    parse::{Checkpoint, Malformed, Statement},
    partner::{Acknowledgement, KeyError, PartnerKey, WorkingKey},
    partner_change::{
        ChangeReason, MAX_PARTNER_CHANGES, PartnerChange, PartnerChangeError, PartnerVerb, reason_code,
    },
    preview::{Comparison, MARK_BYTES, Preview, PreviewError, PreviewProvision, check_previewed},
    revision::{MAX_NARROWINGS, Revision},
    tap::{LocationTap, MAX_TAP_LIFE, TapError},
    transfer::{Fetch, MAX_FETCH_AGE, Provision, SEALING_KEY_BYTES, check_asked},
};

#[cfg(test)]
mod tests;
