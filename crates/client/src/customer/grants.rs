//! The customer's grants: what was signed, beside what the broker says of it.

use std::collections::HashMap;

use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::GrantName,
    key::KeyId,
    statement::{GrantChange, GrantTerms, open_party_commitment},
};
use countersign_proto::v1::{GetGrantRequest, Grant, ListGrantsRequest, grant::State};
use prost::Message as _;
use tonic::Code;

use super::{Customer, ErasureView, GrantRow, LinkRow, PAGE_SIZE, Standing, all_pages, entry::Entry};
use crate::{
    channel::call,
    error::{Error, Misbehaved, Party},
};

/// A grant that the customer signed.
#[derive(Clone, Debug)]
pub struct GrantView {
    /// The book's word: terms, changes, what was proven and acknowledged.
    pub row: GrantRow,
    /// Where it stands: the end or the pause that the customer signed, or else the broker's word. `None` if the broker does not know
    /// the grant: the approval may never have arrived, or was refused.
    pub state: Option<State>,
    /// How many uses are spent, by the broker's word.
    pub use_count: u32,
    /// Why its source or an operator suspends it, or who but the customer ended it, by the broker's word: a code such as
    /// `SECURITY`; empty if nobody does.
    pub reason: String,
    /// Where the order to the recipient stands to delete what it received, by what was signed; nothing without one.
    pub erasure: Option<ErasureView>,
    /// A word of a partner's on this grant that does not verify. It counts as absent, and harms no other grant.
    pub fault: Option<Misbehaved>,
}

/// The broker's list of grants, held against the book.
pub(super) struct Listed {
    /// All that the book has by now, oldest first.
    pub(super) views: Vec<GrantView>,
    /// One that the broker had shown before, and leaves out.
    pub(super) omitted: Option<GrantName>,
    /// Why the list is no measure of what there is: it did not come, or something in it does not hold.
    pub(super) fault: Option<Error>,
}

/// What the broker says of one grant, as far as it holds.
struct Told {
    state: State,
    use_count: u32,
    reason: String,
    erasure: Option<ErasureView>,
    fault: Option<Misbehaved>,
}

impl Customer {
    /// All grants, oldest first. Takes into the book what the customer signed elsewhere with the same wallet; a grant that
    /// nobody signed for the customer is the broker's misbehaviour.
    pub async fn grants(&self) -> Result<Vec<GrantView>, Error> {
        self.0.monitor.check()?;
        let Listed { views, fault, .. } = self.listed().await;
        fault.map_or(Ok(views), Err)
    }

    /// The same, with whatever of the list holds: one bad line keeps no other from the book.
    pub(super) async fn listed(&self) -> Listed {
        // As it stood before the broker was asked: what is changed meanwhile it need not show yet.
        let before = self.0.book.grants();
        let known: HashMap<_, _> = before.iter().map(|row| (row.name.to_string(), row.sequence)).collect();
        let mut fault = None;
        let listed = self.list_grants().await.unwrap_or_else(|error| {
            fault = Some(error);
            Vec::new()
        });
        // A grant of another device may hang on a link of another device.
        if listed.iter().any(|grant| !known.contains_key(&grant.name))
            && let Err(error) = self.learn_links().await
        {
            fault.get_or_insert(error);
        }
        let mut told = HashMap::with_capacity(listed.len());
        for grant in listed {
            match self.hear(&grant, &known).await {
                Ok((name, heard)) => drop(told.insert(name, heard)),
                Err(error) => drop(fault.get_or_insert(error)),
            }
        }
        let mut left_out = before.into_iter().filter(|row| row.was_shown() && !told.contains_key(&row.name));
        let omitted = left_out.next().map(|row| row.name).filter(|_| fault.is_none());
        let mut views = Vec::new();
        for row in self.0.book.grants() {
            let told = told.remove(&row.name);
            match self.view(row, told) {
                Ok(view) => views.push(view),
                Err(error) => drop(fault.get_or_insert(error)),
            }
        }
        Listed { views, omitted, fault }
    }

    async fn list_grants(&self) -> Result<Vec<Grant>, Error> {
        all_pages(|page_token| async {
            let asked =
                ListGrantsRequest { parent: self.name().to_string(), page_size: PAGE_SIZE, page_token };
            let page = self.0.connection.grants().list_grants(call(asked)).await?.into_inner();
            Ok((page.grants, page.next_page_token))
        })
        .await
    }

    async fn hear(&self, grant: &Grant, known: &HashMap<String, u64>) -> Result<(GrantName, Told), Error> {
        let row = self.reconcile(grant, |name| known.get(name.as_str()).copied()).await?;
        let (erasure, fault) = self.erasure(&row, Some(grant))?;
        let (use_count, reason) = (grant.use_count, grant.reason.clone());
        Ok((row.name, Told { state: grant.state(), use_count, reason, erasure, fault }))
    }

    fn view(&self, row: GrantRow, told: Option<Told>) -> Result<GrantView, Error> {
        let Some(told) = told else {
            // An order holds whatever the broker shows.
            let (erasure, fault) = self.erasure(&row, None)?;
            return Ok(GrantView { row, state: None, use_count: 0, reason: String::new(), erasure, fault });
        };
        let state = match (row.standing, told.state) {
            (Standing::Superseded { .. }, _) => State::Superseded,
            // However it ended; and that it did outweighs a word that it stands.
            (Standing::Stopped { .. }, State::Active | State::Paused | State::Suspended) => State::Withdrawn,
            // A pause that the log has proven outweighs a word that all is well.
            (Standing::Paused, State::Active) => State::Paused,
            (Standing::Active | Standing::Paused | Standing::Stopped { .. }, state) => state,
        };
        let Told { use_count, reason, erasure, fault, .. } = told;
        Ok(GrantView { row, state: Some(state), use_count, reason, erasure, fault })
    }

    /// Asks the broker for a grant, and holds what it shows against the book; `None` if it says that there is none.
    pub(super) async fn look_up(&self, name: &GrantName) -> Result<Option<GrantRow>, Error> {
        let known = self.0.book.grant(name).map(|row| row.sequence);
        let asked = GetGrantRequest { name: name.to_string() };
        match self.0.connection.grants().get_grant(call(asked)).await {
            Ok(shown) => {
                let shown = shown.into_inner();
                if known.is_none() {
                    self.learn_links().await?;
                }
                if shown.name != name.as_str() {
                    let detail = format!("asked for `{name}`, got `{}`", shown.name);
                    return Err(Error::misbehaved(Party::Broker, "grant", "name", detail));
                }
                self.reconcile(&shown, |_| known).await.map(Some)
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// Holds what the broker says of a grant against the book. `known` is the number of the newest change that the book
    /// had when the broker was asked: one that shows fewer goes back to an older state.
    pub(super) async fn reconcile(
        &self,
        grant: &Grant,
        known: impl FnOnce(&GrantName) -> Option<u64>,
    ) -> Result<GrantRow, Error> {
        let wrong = |check, detail: String| Error::misbehaved(Party::Broker, "grant", check, detail);
        let name = GrantName::parse(&grant.name).map_err(|error| wrong("name", error.to_string()))?;
        let (shown, known) = (grant.changes.len() as u64, known(&name).unwrap_or_default());
        if shown < known {
            let detail = format!("{shown} changes of `{name}` are shown, and the book has {known}");
            return Err(wrong("sequence", detail));
        }
        let mut row = match self.0.book.grant(&name) {
            Some(row) => {
                self.verify_terms(&name, grant, row.source_link)?;
                row
            }
            None => self.adopt(&name, grant).await?,
        };
        if row.refused {
            self.0.book.enter(Entry::Shown { grant: *name.digest().as_bytes() }).await?;
            row.refused = false;
        }
        let key = self.0.wallet.link_key(row.source_link);
        for change in &grant.changes {
            let signed = envelope::verify::<GrantChange>(Some(change), &[key.public()], self.origin())
                .map_err(|error| Error::bad_statement(Party::Broker, "change", &error))?;
            let said = signed.statement();
            if said.terms != name.digest() {
                return Err(wrong("changes", format!("a change of another grant under `{name}`")));
            }
            if said.sequence != row.sequence + 1 || said.previous != row.last {
                continue;
            }
            let grant = *name.digest().as_bytes();
            self.0.book.enter(Entry::Changed { grant, change: change.encode_to_vec(), index: None }).await?;
            row = self.0.book.grant(&name).unwrap_or(row);
        }
        Ok(row)
    }

    /// Takes a grant into the book that was approved with the same wallet elsewhere. The signature vouches for it, and says
    /// on which link to the source it hangs; on which to the recipient says the commitment that was signed.
    async fn adopt(&self, name: &GrantName, grant: &Grant) -> Result<GrantRow, Error> {
        let wrong = |check, detail: String| Error::misbehaved(Party::Broker, "grant", check, detail);
        let claimed = envelope::peek::<GrantTerms>(grant.terms.as_ref())
            .map_err(|error| Error::bad_statement(Party::Broker, "terms", &error))?;
        let signers: Vec<KeyId> = grant.terms.iter().flat_map(envelope::claimed_signers).collect();
        let links = self.0.book.links();
        let source_link = links.iter().find(|link| {
            link.partner == claimed.source
                && signers.contains(self.0.wallet.link_key(link.name.digest()).id())
        });
        let Some(source_link) = source_link else {
            return Err(wrong("terms", format!("`{name}` is not signed by this customer")));
        };
        let terms = self.verify_terms(name, grant, source_link.name.digest())?;
        let (said, salt) = (terms.statement(), &grant.recipient_salt);
        let recipient_link = links.iter().find(|link| {
            link.partner == said.recipient
                && open_party_commitment(said.recipient_commitment, salt, link.acceptance)
        });
        let Some(recipient_link) = recipient_link else {
            let detail = format!("of `{name}`, opens the recipient's commitment to none of her links");
            return Err(wrong("recipient_salt", detail));
        };
        let entry = Entry::Granted {
            source_link: *source_link.name.digest().as_bytes(),
            recipient_link: *recipient_link.name.digest().as_bytes(),
            source_terms: terms.envelope().encode_to_vec(),
            recipient_terms: Vec::new(),
        };
        self.0.book.enter(entry).await?;
        self.0.book.grant(name).ok_or_else(|| wrong("terms", format!("`{name}` did not enter the book")))
    }

    /// The terms that the broker shows, if the customer signed these for the source, and the grant is theirs.
    fn verify_terms(
        &self,
        name: &GrantName,
        grant: &Grant,
        source_link: Digest,
    ) -> Result<Signed<GrantTerms>, Error> {
        let key = self.0.wallet.link_key(source_link);
        let terms = envelope::verify::<GrantTerms>(grant.terms.as_ref(), &[key.public()], self.origin())
            .map_err(|error| Error::bad_statement(Party::Broker, "terms", &error))?;
        if terms.digest() == name.digest() {
            Ok(terms)
        } else {
            let detail = format!("`{name}` is shown with other terms");
            Err(Error::misbehaved(Party::Broker, "grant", "terms", detail))
        }
    }

    pub(super) fn link_by(&self, invitation: Digest) -> Option<LinkRow> {
        self.0.book.link(&countersign_grants::id::LinkName::of(invitation))
    }
}
