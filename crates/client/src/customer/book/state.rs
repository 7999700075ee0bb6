//! A book in memory: what its entries add up to.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{LinkName, PartnerName, SubjectHandle},
    key::PublicKey,
    statement::CustomerChange,
    time::Timestamp,
};
use countersign_proto::statement::v1::Envelope;
use prost::Message as _;

use super::{GrantRow, LinkRow, PreviewRow, Salts, Standing};
use crate::{customer::entry::Entry, error::LogForked};

/// The most previews of which the marks are kept: of the seven rows of each request of a busy month. An older grant's
/// first transfer is shown without a comparison.
const MAX_PREVIEWS: usize = 256;

#[derive(Default)]
pub(super) struct State {
    pub(super) links: HashMap<Digest, LinkRow>,
    /// In the order of approval, so that lists are steady.
    pub(super) grants: BTreeMap<usize, GrantRow>,
    by_name: HashMap<Digest, usize>,
    /// Oldest first.
    pub(super) previews: VecDeque<PreviewRow>,
    pub(super) checkpoint: Option<Bytes>,
    pub(super) fork: Option<LogForked>,
    /// The newest of the customer's own changes: its number, and its hash.
    pub(super) identity: Option<(u64, Digest)>,
    pub(super) pending_identity: Option<(Envelope, Vec<u8>)>,
    pub(super) labels: BTreeMap<Digest, ([u8; 32], String)>,
    /// The newest closing of the account that was signed.
    pub(super) closure: Option<Vec<u8>>,
    /// The index of its record, once proven.
    pub(super) closed: Option<u64>,
    /// The index of the record of a report of theft, once proven.
    pub(super) stolen: Option<u64>,
    counted: usize,
    pub(super) compacted: u64,
}

impl State {
    pub(super) fn grant(&self, terms: Digest) -> Option<&GrantRow> {
        self.grants.get(self.by_name.get(&terms)?)
    }

    fn link_mut(&mut self, link: [u8; 32]) -> Result<&mut LinkRow, String> {
        self.links.get_mut(&link.into()).ok_or_else(|| "the link is not in the book".to_owned())
    }

    fn grant_mut(&mut self, terms: [u8; 32]) -> Result<&mut GrantRow, String> {
        let place = self.by_name.get(&Digest::from(terms));
        place
            .and_then(|place| self.grants.get_mut(place))
            .ok_or_else(|| "the grant is not in the book".to_owned())
    }

    pub(super) fn apply(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Linked { link, partner, identity, subject, label, acceptance, code, expire_ms } => {
                let envelope = Envelope::decode(acceptance.as_slice()).map_err(|error| error.to_string())?;
                self.counted += 1;
                let row = LinkRow {
                    name: LinkName::of(link.into()),
                    partner: PartnerName::parse(&partner).map_err(|error| error.to_string())?,
                    identity: PublicKey::from_slice(&identity).map_err(|error| error.to_string())?,
                    subject: SubjectHandle::parse(&subject).map_err(|error| error.to_string())?,
                    label,
                    acceptance: envelope::digest(&envelope),
                    code,
                    expires: Timestamp::from_millis(expire_ms),
                    confirmed: false,
                    ended: false,
                    acceptance_envelope: envelope,
                    order: self.counted,
                };
                self.links.insert(link.into(), row);
            }
            Entry::Confirmed { link } => {
                let link = self.link_mut(link)?;
                (link.confirmed, link.ended) = (true, false);
            }
            Entry::Ended { link } => self.link_mut(link)?.ended = true,
            Entry::Granted { source_link, recipient_link, source_terms, recipient_terms } => {
                let row = GrantRow::read(source_link, recipient_link, &source_terms, &recipient_terms)?;
                self.counted += 1;
                self.by_name.insert(row.name.digest(), self.counted);
                self.grants.insert(self.counted, row);
            }
            Entry::Dropped { grant } => self.grant_mut(grant)?.refused = true,
            Entry::Shown { grant } => self.grant_mut(grant)?.refused = false,
            Entry::Salts { grant, source, recipient } => {
                self.grant_mut(grant)?.salts = Some(Salts { source, recipient });
            }
            Entry::Recorded { grant, index } => {
                let row = self.grant_mut(grant)?;
                (row.recorded, row.refused) = (Some(index), false);
                self.renewed(grant.into());
            }
            Entry::Changing { grant, source_change, recipient_change } => {
                let read = |bytes: &[u8]| Envelope::decode(bytes).map_err(|error| error.to_string());
                let change = (read(&source_change)?, read(&recipient_change)?);
                let row = self.grant_mut(grant)?;
                row.abandoned.extend(row.pending.replace(change));
                row.pending_refused = false;
            }
            Entry::ChangeDropped { grant } => self.grant_mut(grant)?.pending_refused = true,
            Entry::Changed { grant, change, index } => self.grant_mut(grant)?.change(change.into(), index)?,
            Entry::Acknowledged { grant, change, time_ms } => {
                let row = self.grant_mut(grant)?;
                if row.last.as_bytes() == &change {
                    row.acknowledged = Some(Timestamp::from_millis(time_ms));
                }
            }
            Entry::Identity { sequence, last } => {
                self.identity = Some((sequence, last.into()));
                // Another device may have had its number.
                let said = |(change, _): &(Envelope, Vec<u8>)| {
                    envelope::peek::<CustomerChange>(Some(change)).map_or(0, |said| said.sequence)
                };
                self.pending_identity.take_if(|pending| said(pending) <= sequence);
            }
            Entry::IdentityPending { change, wrapped } => {
                let change = Envelope::decode(change.as_slice()).map_err(|error| error.to_string())?;
                self.pending_identity = Some((change, wrapped));
            }
            Entry::AuthenticatorLabel { authenticator, salt, label } => {
                self.labels.insert(authenticator.into(), (salt, label));
            }
            Entry::Closing { closure } => self.closure = Some(closure),
            Entry::Closed { index } => self.closed = Some(index),
            Entry::Stolen { index } => self.stolen = Some(index),
            Entry::Checkpoint(bytes) => self.checkpoint = Some(bytes.into()),
            Entry::Forked { ours, theirs } => {
                self.fork = Some(LogForked { ours: ours.into(), theirs: theirs.into() });
            }
            Entry::Previewed { preview, request, offer, time_ms, marks } => {
                self.previews.push_back(PreviewRow::read((preview, request, offer), time_ms, marks)?);
                if self.previews.len() > MAX_PREVIEWS {
                    self.previews.pop_front();
                }
            }
        }
        Ok(())
    }

    /// A renewal that is proven ends what it renews. A narrowing does so by its change.
    fn renewed(&mut self, by: Digest) {
        let Some((new, previous)) = self.grant(by).and_then(|new| Some((&new.terms, new.terms.previous?)))
        else {
            return;
        };
        let request = new.request;
        if let Ok(old) = self.grant_mut(*previous.as_bytes())
            && old.terms.request != request
            && matches!(old.standing, Standing::Active | Standing::Paused)
        {
            old.standing = Standing::Superseded { by };
        }
    }

    /// Entries that add up to this state.
    pub(super) fn snapshot(&self) -> Vec<Vec<u8>> {
        let mut links: Vec<&LinkRow> = self.links.values().collect();
        links.sort_by_key(|link| link.order);
        let mut entries: Vec<Entry> = links.into_iter().flat_map(LinkRow::entries).collect();
        entries.extend(self.grants.values().flat_map(GrantRow::entries));
        entries.extend(self.previews.iter().map(PreviewRow::entry));
        entries.extend(self.labels.iter().map(|(id, (salt, label))| Entry::AuthenticatorLabel {
            authenticator: *id.as_bytes(),
            salt: *salt,
            label: label.clone(),
        }));
        let identity =
            self.identity.map(|(sequence, last)| Entry::Identity { sequence, last: *last.as_bytes() });
        entries.extend(identity);
        entries.extend(self.pending_identity.iter().map(|(change, wrapped)| Entry::IdentityPending {
            change: change.encode_to_vec(),
            wrapped: wrapped.clone(),
        }));
        entries.extend(self.closure.iter().map(|bytes| Entry::Closing { closure: bytes.clone() }));
        entries.extend(self.closed.map(|index| Entry::Closed { index }));
        entries.extend(self.stolen.map(|index| Entry::Stolen { index }));
        entries.extend(self.checkpoint.iter().map(|bytes| Entry::Checkpoint(bytes.to_vec())));
        entries.extend(
            self.fork
                .iter()
                .map(|fork| Entry::Forked { ours: fork.ours.to_vec(), theirs: fork.theirs.to_vec() }),
        );
        entries.iter().map(Entry::encode).collect()
    }
}
