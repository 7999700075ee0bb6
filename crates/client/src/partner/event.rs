//! What a partner hears of.

use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    id::{GrantName, LinkName, RequestName, SubjectHandle},
    key::KeyId,
    statement::{ChangeReason, Revision},
    time::Timestamp,
};
use countersign_proto::log::v1::Kind;

use crate::{
    book::{GrantRow, Side},
    error::Error,
};

/// What a partner hears of. Transfers are left out: their sides know of them by themselves.
pub(super) const KINDS: [Kind; 28] = [
    Kind::PartnerApproved,
    Kind::PartnerKeyPublished,
    Kind::PartnerSuspended,
    Kind::PartnerSuspendedAutomatically,
    Kind::PartnerResumed,
    Kind::LinkAccepted,
    Kind::LinkStolen,
    Kind::RequestRefused,
    Kind::RequestCancelled,
    Kind::RequestLapsed,
    Kind::GrantApproved,
    Kind::GrantPaused,
    Kind::GrantResumed,
    Kind::GrantWithdrawn,
    Kind::GrantSuperseded,
    Kind::GrantSuspended,
    Kind::GrantUnsuspended,
    Kind::GrantRevoked,
    Kind::GrantSuspendedByOperator,
    Kind::GrantUnsuspendedByOperator,
    Kind::GrantRevokedByOperator,
    Kind::GrantExpiring,
    Kind::Acknowledged,
    Kind::ChangeNotice,
    Kind::ErasureOrdered,
    Kind::ErasureAttested,
    Kind::ErasureOverdue,
    Kind::LocationTapped,
];

/// Something that concerns this partner.
#[derive(Debug)]
#[non_exhaustive]
pub enum PartnerEvent {
    /// A customer accepted an invitation: ask for the code.
    LinkAccepted {
        /// The link.
        link: LinkName,
    },
    /// By the broker's word, the customer of a link reported its keys stolen. What hangs on it is held; invite the person
    /// [anew](super::Partner::invite_anew).
    LinkStolen {
        /// The link.
        link: LinkName,
        /// The handle that it ties.
        subject: SubjectHandle,
    },
    /// A row was approved. The grant verified and stands in the book.
    Approved {
        /// The grant.
        grant: Box<GrantRow>,
        /// The request it came of, if this partner made it.
        request: Option<RequestName>,
    },
    /// A row of this partner's request was approved between two others. It learns that the row stands, and no more.
    ApprovedBetweenOthers {
        /// The request.
        request: RequestName,
    },
    /// The customer refused a request.
    Refused {
        /// The request.
        request: RequestName,
    },
    /// A request was taken back.
    Cancelled {
        /// The request.
        request: RequestName,
    },
    /// Nobody answered a request in time.
    Lapsed {
        /// The request.
        request: RequestName,
    },
    /// The customer paused a grant. The change stands in the book.
    Paused {
        /// The grant.
        grant: Box<GrantRow>,
    },
    /// The customer ended a pause. The change stands in the book.
    Resumed {
        /// The grant.
        grant: Box<GrantRow>,
    },
    /// The customer stopped a grant. The stop stands in the book.
    Stopped {
        /// The grant.
        grant: Box<GrantRow>,
        /// Delete what was received.
        erase: bool,
    },
    /// A newer revision stands in the place of a grant, with less or by a new approval. It verified and stands in the book;
    /// what is fetched under the old name is fetched under the new one.
    Superseded {
        /// The grant that ended.
        grant: Box<GrantRow>,
        /// The grant that stands now.
        successor: Box<GrantRow>,
        /// How it came.
        why: Revision,
    },
    /// The customer tapped: [`Partner::fetch_tapped`](super::Partner::fetch_tapped) can fetch the precise location once. The tap verified under the key of
    /// this side's link.
    LocationTapped {
        /// The grant.
        grant: Box<GrantRow>,
        /// What the fetch names.
        tap: Digest,
        /// The fields that may leave by it.
        fields: Vec<FieldPath>,
        /// Until when.
        expires: Timestamp,
    },
    /// A grant's source suspended it: nothing flows until it says otherwise. Its signed change stands in the book.
    GrantSuspended {
        /// The grant; [`GrantRow::suspended`] says why, unless the suspension is over by now.
        grant: Box<GrantRow>,
    },
    /// A grant's source ended its suspension. Its signed change stands in the book.
    GrantUnsuspended {
        /// The grant.
        grant: Box<GrantRow>,
    },
    /// A side ended a grant for good. Its signed change stands in the book.
    GrantRevoked {
        /// The grant.
        grant: Box<GrantRow>,
        /// Which side.
        by: Side,
        /// Why.
        reason: ChangeReason,
    },
    /// By the broker's word, an operator suspended a grant: the broker lets nothing through.
    GrantSuspendedByOperator {
        /// The grant.
        grant: GrantName,
        /// The reason's code, such as `SECURITY`.
        reason: String,
    },
    /// By the broker's word, the operators' suspension of a grant ended.
    GrantUnsuspendedByOperator {
        /// The grant.
        grant: GrantName,
    },
    /// By the broker's word, an operator ended a grant for good. The grant is [held](GrantRow::held).
    GrantRevokedByOperator {
        /// The grant.
        grant: GrantName,
        /// The reason's code, such as `SECURITY`.
        reason: String,
    },
    /// A grant ends before long. That it is told now is the broker's word; when it ends stands in its terms.
    Expiring {
        /// The grant.
        grant: Box<GrantRow>,
    },
    /// Delete what was received under a grant, and under those in whose place it stands, as the customer ordered, and then say so with [`Partner::attest_erasure`](super::Partner::attest_erasure). The
    /// order stands in the book. It comes again when this side is late, and with each new watch until it is met.
    EraseDue {
        /// The grant.
        grant: GrantName,
        /// This partner's handle for the customer.
        subject: SubjectHandle,
        /// Until when, by what the customer signed.
        due: Timestamp,
        /// Whether the customer's signed order stands in the book. If not, the customer has closed the account since, and the
        /// order is the broker's word, which a record in the log stands for.
        signed: bool,
    },
    /// The recipient of a grant of which this partner is the source signed that it has deleted what it received. Its
    /// statement verified.
    ErasureAttested {
        /// The grant.
        grant: GrantName,
        /// When, by the recipient's word.
        time: Timestamp,
    },
    /// By the broker's word, the recipient of a grant of which this partner is the source has not attested in time.
    ErasureOverdue {
        /// The grant.
        grant: GrantName,
    },
    /// By the broker's word, the customer stopped a grant, or put a revision in its place, and has closed the account since:
    /// what was signed is gone with it. The grant is [held](GrantRow::held), and what was received is to go by what its terms say, unless an order
    /// to delete it comes as well.
    AccountClosed {
        /// The grant.
        grant: GrantName,
        /// This partner's handle for the customer.
        subject: SubjectHandle,
    },
    /// A side acknowledged terms or a change.
    Acknowledged {
        /// The grant.
        grant: GrantName,
    },
    /// A source says that a resource changed: fetch it.
    ChangeNotice {
        /// The grant.
        grant: GrantName,
        /// This partner's handle for the customer.
        subject: SubjectHandle,
        /// What changed, such as `trip`.
        resource: String,
    },
    /// Keys were published for this partner that it does not know. If nobody in the house made them, tell the operator and
    /// change the identity key.
    UnknownKeys {
        /// The keys.
        keys: Vec<KeyId>,
    },
    /// Two operators let this partner in: it is live.
    Live,
    /// An operator suspended this partner, or the broker did by a rule.
    Suspended,
    /// The suspension ended.
    Unsuspended,
    /// What the event led to failed a check, or was refused, each time that it was heard. Nothing of it counts for this
    /// side; only, of a stop or a pause, that the grant is [held](GrantRow::held).
    Failed {
        /// What happened by the event.
        kind: Kind,
        /// The grant that it names.
        grant: Option<GrantName>,
        /// What failed.
        error: Error,
    },
}

/// An event, and where it stands in the log.
#[derive(Debug)]
pub struct Noted {
    /// The record's index.
    pub index: u64,
    /// When, by the log.
    pub time: Timestamp,
    /// What happened.
    pub event: PartnerEvent,
}
