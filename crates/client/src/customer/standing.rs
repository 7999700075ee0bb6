//! What may stand of all that the customer signed. The broker's word that something ended, or that there is no such grant,
//! takes nothing out: it is the broker that a stop is not to depend on.

use std::collections::{HashMap, HashSet};

use countersign_grants::{id::GrantName, time::Timestamp};
use countersign_proto::{
    log::v1::Kind,
    v1::{Event, ListEventsRequest, ListProvenEventsRequest, grant::State},
};

use super::{Customer, GrantRow, GrantView, MAX_CLOCK_SKEW, PAGE_SIZE, Standing, grants::Listed};
use crate::{
    channel::call,
    error::{Error, Party},
    receipt::{ProvenLeaf, Saying},
};

/// The kinds of the records by which a grant ends that its customer did not stop.
const ENDS: [Kind; 3] = [Kind::GrantRevoked, Kind::GrantRevokedByOperator, Kind::GrantSuperseded];

/// Those that spend a use; a grant ends with its last.
const USES: [Kind; 2] = [Kind::Transfer, Kind::ProvidedNotReleased];

/// The most pages of events in which an end is looked for: of two hundred each, a million records of these kinds.
const MAX_PAGES: usize = 5_000;

/// All that may stand.
pub(super) struct MayStand {
    /// Oldest first; those of which the broker knows nothing are among them.
    pub(super) views: Vec<GrantView>,
    /// What a proven record has ended, and how.
    pub(super) ended: HashMap<GrantName, Kind>,
    /// Why the broker's list is no measure of what stands: it did not come, something in it does not hold, or it leaves out
    /// a grant that the broker has shown before.
    pub(super) fault: Option<Error>,
}

impl Customer {
    /// What may stand: all in the broker's list and all in the book, less what the customer ended herself, what is over by
    /// the terms and her own clock, and what a proven record has ended.
    pub(super) async fn may_stand(&self) -> MayStand {
        let Listed { views, omitted, mut fault } = self.listed().await;
        if let Err(error) = self.0.monitor.check() {
            fault.get_or_insert(error);
        }
        if let Some(name) = omitted {
            let detail = format!("`{name}` was shown before, and is left out");
            fault.get_or_insert(Error::misbehaved(Party::Broker, "grants", "omitted", detail));
        }
        let now = self.now();
        let mut views: Vec<_> = views.into_iter().filter(|view| view.row.is_open()).collect();
        // What another one took the place of before its time was over is that one's to order: see `MayStand::to_order`.
        let asked = |view: &&GrantView| view.row.may_stand(now) || view.state == Some(State::Superseded);
        let told: Vec<_> =
            views.iter().filter(asked).filter(|view| is_said_to_have_ended(view.state)).collect();
        let mut ended = HashMap::new();
        if let Err(error) = self.proven_ends(&told, &mut ended).await {
            fault.get_or_insert(error);
        }
        views.retain(|view| view.row.may_stand(now) && !ended.contains_key(&view.row.name));
        MayStand { views, ended, fault }
    }

    /// Enters those of these grants whose end is on record; the first that is not proven, though the broker says so, fails.
    async fn proven_ends(
        &self,
        told: &[&GrantView],
        ended: &mut HashMap<GrantName, Kind>,
    ) -> Result<(), Error> {
        // No end stands before its approval.
        let cursor = told.iter().map(|view| view.row.recorded.unwrap_or(0)).min().unwrap_or(0);
        let spent = told.iter().any(|view| view.state == Some(State::Consumed));
        let kinds = ENDS.iter().chain(USES.iter().filter(|_| spent)).map(|kind| (*kind).into());
        let mut asked = ListEventsRequest {
            parent: self.name().to_string(),
            cursor,
            kinds: kinds.collect(),
            page_size: PAGE_SIZE,
            page_token: String::new(),
        };
        let mut fault = None;
        for _ in 0..MAX_PAGES {
            if ended.len() == told.len() {
                break;
            }
            let page = self.0.connection.events().list_events(call(asked.clone())).await?.into_inner();
            for event in page.events {
                let row = told.iter().map(|view| &view.row).find(|row| row.name.as_str() == event.grant);
                let Some(row) = row.filter(|row| ends(row, &event) && !ended.contains_key(&row.name)) else {
                    continue;
                };
                match self.prove_end(row, event.index).await {
                    Ok(kind) => drop(ended.insert(row.name.clone(), kind)),
                    Err(error) => drop(fault.get_or_insert(error)),
                }
            }
            if page.next_page_token.is_empty() {
                break;
            }
            asked.page_token = page.next_page_token;
        }
        fault.map_or(Ok(()), Err)
    }

    /// Proves that the record at this index has ended the grant: how.
    async fn prove_end(&self, row: &GrantRow, index: u64) -> Result<Kind, Error> {
        let asked = ListProvenEventsRequest {
            parent: self.name().to_string(),
            cursor: index,
            page_size: 1,
            page_token: String::new(),
            with_statements: false,
        };
        let page = self.0.connection.events().list_proven_events(call(asked)).await?.into_inner();
        let receipt = page.events.into_iter().next().and_then(|event| event.receipt);
        let leaf = ProvenLeaf::prove(receipt.as_ref(), &self.0.monitor)?;
        let terms = &row.terms;
        leaf.says(&Saying {
            subject: Some(self.name()),
            ..Saying::of(
                terms,
                &[ENDS.as_slice(), &USES].concat(),
                (terms.time.minus(MAX_CLOCK_SKEW), self.now().plus(MAX_CLOCK_SKEW)),
            )
        })?;
        let record = leaf.record();
        if is_use(record.kind()) && record.use_number < u64::from(terms.uses) {
            let detail = format!("use {} of {} is not the last", record.use_number, terms.uses);
            return Err(Error::misbehaved(Party::Broker, "receipt", "use_number", detail));
        }
        Ok(record.kind())
    }
}

impl MayStand {
    /// Of all grants in the book, those under which something may have been received that an order to delete reaches: what
    /// may stand comes first, then what has ended, however it did; what is ordered already is among it.
    pub(super) fn to_order(&self, mut all: Vec<GrantRow>) -> Vec<GrantRow> {
        let may_stand: HashSet<&GrantName> = self.views.iter().map(|view| &view.row.name).collect();
        all.retain(|row| match row.standing {
            // What it gave goes by the order under the grant in its place.
            Standing::Superseded { .. } => false,
            Standing::Active if self.ended.get(&row.name) == Some(&Kind::GrantSuperseded) => false,
            // One that ended without ever being a grant: nothing was received under it.
            Standing::Active | Standing::Paused => row.was_shown() || may_stand.contains(&row.name),
            Standing::Stopped { .. } => true,
        });
        all.sort_by_key(|row| !may_stand.contains(&row.name));
        all
    }
}

impl GrantRow {
    /// Whether neither the customer's own word nor the terms and this time have ended it.
    pub(super) fn may_stand(&self, now: Timestamp) -> bool {
        self.is_open() && now < self.terms.expire_time
    }

    /// Whether the customer's own word has not ended it.
    fn is_open(&self) -> bool {
        match self.standing {
            Standing::Active | Standing::Paused => true,
            Standing::Stopped { .. } | Standing::Superseded { .. } => false,
        }
    }
}

fn is_said_to_have_ended(state: Option<State>) -> bool {
    matches!(state, Some(State::Revoked | State::Consumed | State::Superseded))
}

fn is_use(kind: Kind) -> bool {
    USES.contains(&kind)
}

/// Whether an event ends the grant by what it says: each but a use that is not the last.
fn ends(row: &GrantRow, event: &Event) -> bool {
    !is_use(event.kind()) || event.use_number >= u64::from(row.terms.uses)
}
