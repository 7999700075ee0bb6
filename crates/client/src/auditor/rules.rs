//! What the records must say of each other: the rules that a broker keeps, checked by somebody else.

use std::collections::{HashMap, HashSet};

use countersign_grants::time::Timestamp;
use countersign_proto::log::v1::{Kind, Result as Outcome};

use super::{
    departures::Departures,
    leaf::{HASH_BYTES, Leaf},
    report::{Findings, Problem},
};

/// Kinds are numbered from 1, and there are fewer than this.
const KINDS: usize = 128;

/// What is known of one grant: 16 bytes beside its tag, so that a million grants take 100 MiB.
#[derive(Clone, Copy, Default)]
struct Grant {
    /// The newest record's number.
    sequence: u32,
    /// How many uses are spent.
    uses: u32,
    /// Which parties, purpose and catalogue the approval named: a place in [`Rules::parties`], from 1.
    parties: u32,
    /// [`PAUSED`], [`STOPPED`], [`SUSPENDED`], [`SUSPENDED_BY_OPERATOR`], [`ORDERED`], [`ATTESTED`], [`OVERDUE`].
    flags: u8,
}

/// The grants for which there is room from the start, as far as the log has as many records: the most that a table of
/// 2^21 places takes. The room is memory that is touched only as grants come, and it spares a million of them the moves
/// from table to table, which cost a third of the check and half as much memory again.
const EXPECTED_GRANTS: usize = (1 << 21) / 8 * 7;

const PAUSED: u8 = 1;
const STOPPED: u8 = 2;
const SUSPENDED: u8 = 4;
const SUSPENDED_BY_OPERATOR: u8 = 8;
const ORDERED: u8 = 16;
const ATTESTED: u8 = 32;
const OVERDUE: u8 = 64;

/// Takes records in the log's order.
pub(super) struct Rules {
    grants: HashMap<[u8; HASH_BYTES], Grant>,
    /// Each combination of source, recipient, purpose and catalogue once.
    parties: HashMap<Box<[u8]>, u32>,
    suspended: HashSet<String>,
    /// A grant ended for another between these parties, for this purpose, whose approval is the next record.
    superseded: Option<(u64, [String; 3])>,
    /// Partners that were entered and not approved yet, each with whether it was vetted.
    waiting: HashMap<String, bool>,
    departures: Departures,
    kinds: [u64; KINDS],
    first_time: Option<u64>,
    time_ms: u64,
    /// How many records could not be read, so that what is missing after them is their fault and no finding of its own.
    unread: u64,
}

impl Rules {
    /// The rules for a log of this many records.
    pub(super) fn new(size: u64) -> Self {
        let grants = usize::try_from(size).unwrap_or(usize::MAX).min(EXPECTED_GRANTS);
        Self {
            grants: HashMap::with_capacity(grants),
            parties: HashMap::new(),
            suspended: HashSet::new(),
            superseded: None,
            waiting: HashMap::new(),
            departures: Departures::default(),
            kinds: [0; KINDS],
            first_time: None,
            time_ms: 0,
            unread: 0,
        }
    }

    /// Looks up the grants of records that will be taken next. Of a million grants none is near the processor; asked for
    /// together, they come together.
    pub(super) fn foresee<'a>(&self, leaves: impl Iterator<Item = &'a Leaf<'a>>) {
        let known = leaves.filter_map(|leaf| leaf.tag).filter(|tag| self.grants.contains_key(*tag)).count();
        std::hint::black_box(known);
    }

    /// A record that can't be trusted to say anything.
    pub(super) fn skip(&mut self) {
        self.unread += 1;
        self.superseded = None;
    }

    pub(super) fn take(&mut self, index: u64, leaf: &Leaf<'_>, findings: &mut Findings) {
        if let Some(count) = self.kinds.get_mut(leaf.kind as usize) {
            *count += 1;
        }
        if leaf.time_ms < self.time_ms {
            findings.add(index, Problem::Time { before: self.time_ms, found: leaf.time_ms });
        }
        self.time_ms = leaf.time_ms;
        self.first_time.get_or_insert(leaf.time_ms);
        if let Some((superseded, parties)) = self.superseded.take()
            && (leaf.kind != Kind::GrantApproved || parties != [leaf.source, leaf.recipient, leaf.purpose])
        {
            findings.add(superseded, Problem::NoSuccessor);
        }
        match leaf.tag {
            // It comes before there is a grant.
            Some(_) if leaf.kind == Kind::Previewed => {
                findings.add(index, Problem::Tag { kind: leaf.kind, tagged: true });
            }
            Some(tag) => self.take_of_grant(index, tag, leaf, findings),
            None if is_of_grant(leaf.kind) => {
                findings.add(index, Problem::Tag { kind: leaf.kind, tagged: false });
            }
            None if leaf.sequence != 0 => findings.add(index, Problem::Tag { kind: leaf.kind, tagged: true }),
            None => {}
        }
        if !self.waiting.is_empty() {
            self.take_of_newcomers(index, leaf, findings);
        }
        self.departures.take(index, leaf, self.unread, findings);
        match leaf.kind {
            Kind::PartnerCreated => {
                self.waiting.insert(leaf.source.to_owned(), false);
            }
            Kind::PartnerSuspended | Kind::PartnerSuspendedAutomatically => {
                self.suspended.insert(leaf.source.to_owned());
            }
            Kind::PartnerResumed => {
                self.suspended.remove(leaf.source);
            }
            Kind::RequestShown | Kind::RequestDeferred
                if !leaf.source.is_empty() || !leaf.recipient.is_empty() =>
            {
                findings.add(index, Problem::Turn);
            }
            Kind::GrantSuperseded => {
                let parties = [leaf.source, leaf.recipient, leaf.purpose].map(str::to_owned);
                self.superseded = Some((index, parties));
            }
            Kind::Previewed if self.suspended.contains(leaf.source) => {
                findings.add(index, Problem::WhileSuspended { partner: leaf.source.to_owned() });
            }
            _ => {}
        }
    }

    /// What is about partners that two operators have not let in yet. Of one that was entered before the log begins,
    /// nothing is known.
    fn take_of_newcomers(&mut self, index: u64, leaf: &Leaf<'_>, findings: &mut Findings) {
        let sides: &[&str] = match leaf.kind {
            Kind::PartnerVetted => {
                return self.note_vetting(leaf.source, true);
            }
            // What was vetted is another, so it is to be vetted again.
            Kind::SourceEndpointSet | Kind::PartnerContactSet => {
                return self.note_vetting(leaf.source, false);
            }
            Kind::PartnerApproved => {
                if self.waiting.remove(leaf.source) == Some(false) {
                    findings.add(index, Problem::NotVetted { partner: leaf.source.to_owned() });
                }
                return;
            }
            Kind::LinkInvited | Kind::LinkConfirmed | Kind::RequestCreated => &[leaf.source],
            Kind::OfferPublished => &[leaf.recipient],
            Kind::GrantApproved | Kind::Transfer | Kind::ChangeNotice => &[leaf.source, leaf.recipient],
            _ => return,
        };
        if let Some(partner) = sides.iter().find(|side| self.waiting.contains_key(**side)) {
            findings.add(index, Problem::NotLive { kind: leaf.kind, partner: (*partner).to_owned() });
        }
    }

    fn note_vetting(&mut self, partner: &str, is_vetted: bool) {
        if let Some(vetted) = self.waiting.get_mut(partner) {
            *vetted = is_vetted;
        }
    }

    fn take_of_grant(
        &mut self,
        index: u64,
        tag: &[u8; HASH_BYTES],
        leaf: &Leaf<'_>,
        findings: &mut Findings,
    ) {
        let grant = self.grants.entry(*tag).or_default();
        let expected = u64::from(grant.sequence) + 1;
        // As many as could not be read may be of this grant.
        let excused = leaf.sequence > expected && leaf.sequence - expected <= self.unread;
        if leaf.sequence != expected && !excused {
            findings.add(index, Problem::Sequence { expected, found: leaf.sequence });
        }
        match (grant.parties, leaf.kind) {
            (0, Kind::GrantApproved) => grant.parties = place(&mut self.parties, leaf.parties),
            (0, kind) => {
                if !excused {
                    findings.add(index, Problem::NotApproved { kind });
                }
                grant.parties = place(&mut self.parties, leaf.parties);
            }
            (_, Kind::GrantApproved) => findings.add(index, Problem::ApprovedTwice),
            (_, Kind::Transfer) if self.parties.get(leaf.parties) != Some(&grant.parties) => {
                findings.add(index, Problem::OtherTerms);
            }
            _ => {}
        }
        grant.sequence = u32::try_from(leaf.sequence).unwrap_or(u32::MAX);
        match leaf.kind {
            kind if grant.flags & STOPPED != 0 && (changes(kind) || kind == Kind::GrantExpiring) => {
                findings.add(index, Problem::ChangeAfterStop { kind: leaf.kind });
            }
            Kind::GrantPaused => grant.flags |= PAUSED,
            Kind::GrantResumed => grant.flags &= !PAUSED,
            Kind::GrantWithdrawn
            | Kind::GrantSuperseded
            | Kind::GrantRevoked
            | Kind::GrantRevokedByOperator => {
                grant.flags |= STOPPED;
            }
            Kind::ErasureOrdered | Kind::ErasureAttested | Kind::ErasureOverdue => {
                erasure(index, grant, leaf.kind, self.unread, findings);
            }
            Kind::GrantSuspended => grant.flags |= SUSPENDED,
            Kind::GrantUnsuspended => grant.flags &= !SUSPENDED,
            Kind::GrantSuspendedByOperator => grant.flags |= SUSPENDED_BY_OPERATOR,
            Kind::GrantUnsuspendedByOperator => grant.flags &= !SUSPENDED_BY_OPERATOR,
            Kind::Transfer => {
                transfer(index, grant, leaf, self.unread, findings);
                if !self.suspended.is_empty() {
                    let sides = [leaf.source, leaf.recipient];
                    if let Some(partner) = sides.into_iter().find(|side| self.suspended.contains(*side)) {
                        findings.add(index, Problem::WhileSuspended { partner: partner.to_owned() });
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn grants(&self) -> u64 {
        self.grants.len() as u64
    }

    /// How many grants' recipients are late, and have not attested since.
    pub(super) fn overdue(&self) -> u64 {
        let late = |grant: &&Grant| grant.flags & (OVERDUE | ATTESTED) == OVERDUE;
        self.grants.values().filter(late).count() as u64
    }

    pub(super) fn abandoned(&self) -> u64 {
        self.departures.abandoned()
    }

    pub(super) fn times(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let first = self.first_time.map(Timestamp::from_millis);
        (first, first.map(|_| Timestamp::from_millis(self.time_ms)))
    }

    pub(super) fn kinds(&self) -> Vec<(Kind, u64)> {
        let counted = self.kinds.iter().enumerate().filter(|(_, count)| **count > 0);
        counted
            .filter_map(|(kind, count)| Some((Kind::try_from(i32::try_from(kind).ok()?).ok()?, *count)))
            .collect()
    }
}

/// An order to delete is given once, and is the end of its grant; what says that it was met, or is late, follows it.
fn erasure(index: u64, grant: &mut Grant, kind: Kind, unread: u64, findings: &mut Findings) {
    let (ordered, attested) = (grant.flags & ORDERED != 0, grant.flags & ATTESTED != 0);
    let sound = match kind {
        Kind::ErasureOrdered => !ordered,
        Kind::ErasureAttested => (ordered || unread > 0) && !attested,
        _ => (ordered || unread > 0) && !attested && grant.flags & OVERDUE == 0,
    };
    if !sound {
        findings.add(index, Problem::Erasure { kind });
    }
    grant.flags |= match kind {
        Kind::ErasureOrdered => ORDERED | STOPPED,
        Kind::ErasureAttested => ATTESTED,
        _ => OVERDUE,
    };
}

fn transfer(index: u64, grant: &mut Grant, leaf: &Leaf<'_>, unread: u64, findings: &mut Findings) {
    if grant.flags & STOPPED != 0 {
        findings.add(index, Problem::AfterStop);
    } else if grant.flags & PAUSED != 0 {
        findings.add(index, Problem::WhilePaused);
    } else if grant.flags & (SUSPENDED | SUSPENDED_BY_OPERATOR) != 0 {
        findings.add(index, Problem::WhileGrantSuspended);
    }
    let (spent, found) = (u64::from(grant.uses), leaf.use_number);
    match leaf.result {
        Outcome::Released => {
            let expected = spent + 1;
            if found < expected || found - expected > unread {
                findings.add(index, Problem::Use { expected, found });
            }
            grant.uses = u32::try_from(found).unwrap_or(u32::MAX);
        }
        Outcome::Repeated => {
            if found == 0 || found > spent + unread {
                findings.add(index, Problem::Repeat { spent, found });
            }
        }
        Outcome::Unspecified | Outcome::Refused => findings.add(index, Problem::Result),
    }
}

fn place(parties: &mut HashMap<Box<[u8]>, u32>, named: &[u8]) -> u32 {
    if let Some(place) = parties.get(named) {
        return *place;
    }
    // Past four billion combinations memory ended long ago.
    let place = u32::try_from(parties.len() + 1).unwrap_or(u32::MAX);
    parties.insert(named.into(), place);
    place
}

/// Kinds that speak of one grant, and so must carry its tag.
fn is_of_grant(kind: Kind) -> bool {
    changes(kind)
        || matches!(
            kind,
            Kind::GrantApproved
                | Kind::GrantExpiring
                | Kind::Acknowledged
                | Kind::ErasureOrdered
                | Kind::ErasureAttested
                | Kind::ErasureOverdue
                | Kind::ChangeNotice
                | Kind::LocationTapped
                | Kind::Transfer
                | Kind::TransferRefused
                | Kind::ProvidedNotReleased
        )
}

/// Kinds by which somebody changes where a grant stands.
fn changes(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::GrantPaused
            | Kind::GrantResumed
            | Kind::GrantWithdrawn
            | Kind::GrantSuperseded
            | Kind::GrantSuspended
            | Kind::GrantUnsuspended
            | Kind::GrantRevoked
            | Kind::GrantSuspendedByOperator
            | Kind::GrantUnsuspendedByOperator
            | Kind::GrantRevokedByOperator
    )
}
