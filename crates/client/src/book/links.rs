//! Links that stand, and invitations that wait.

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    id::{LinkName, SubjectHandle},
    key::PublicKey,
    statement::SECRET_BYTES,
    time::Timestamp,
};
use countersign_proto::statement::v1::Envelope;
use zeroize::Zeroizing;

use super::envelopes::envelope_of;

/// A link that stands: whose key speaks for a subject.
#[derive(Clone, Debug)]
pub struct LinkRow {
    pub(super) name: LinkName,
    pub(super) subject: SubjectHandle,
    pub(super) key: PublicKey,
    pub(super) acceptance: Digest,
    pub(super) acceptance_bytes: Bytes,
    pub(super) confirmation: Bytes,
    /// The link whose place it takes.
    pub(super) replaces: Option<Digest>,
    /// When another took its place.
    pub(super) replaced: Option<Timestamp>,
}

impl LinkRow {
    /// The link.
    pub fn name(&self) -> &LinkName {
        &self.name
    }

    /// The handle that it ties.
    pub fn subject(&self) -> &SubjectHandle {
        &self.subject
    }

    /// The customer's key for this link, pinned.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// SHA-256 of the acceptance: what party commitments are made of.
    pub fn acceptance(&self) -> Digest {
        self.acceptance
    }

    /// When another link of the same account took its place; nothing new is entered under it since.
    pub fn replaced(&self) -> Option<Timestamp> {
        self.replaced
    }

    /// The link whose place it takes.
    pub(crate) fn replaces(&self) -> Option<Digest> {
        self.replaces
    }

    /// The confirmation, as it was signed.
    pub(crate) fn confirmation(&self) -> Envelope {
        envelope_of(&self.confirmation)
    }
}

/// An invitation that waits for its code.
#[derive(Clone)]
pub(crate) struct Invitation {
    pub(crate) subject: SubjectHandle,
    pub(crate) secret: Zeroizing<[u8; SECRET_BYTES]>,
    pub(crate) expires: Timestamp,
    pub(crate) tries_left: u8,
    pub(crate) replaces: Option<Digest>,
}
