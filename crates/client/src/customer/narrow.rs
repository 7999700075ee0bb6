//! Narrowing: less of what was approved, by the customer alone. New terms and the change that names them leave together,
//! and count together.

use std::{collections::BTreeSet, time::Duration};

use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope::{self, Signed},
    id::GrantName,
    statement::{GrantChange, GrantTerms, Offer, Verb, party_commitment},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{GetGrantRequest, Grant, NarrowGrantRequest},
};
use prost::Message as _;

use super::{
    Customer, GrantRow, LinkRow, MAX_CLOCK_SKEW, Recorded, Standing,
    book::Salts,
    change::{MAX_SIGNINGS, changing, check_standing},
    entry::Entry,
};
use crate::{
    channel::call,
    error::{Error, Misuse, Party, Refused},
    receipt::{ProvenLeaf, Saying},
};

/// What is to be less. What is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    without: BTreeSet<FieldPath>,
    until: Option<Timestamp>,
    uses: Option<u32>,
    rate: Option<(u32, Duration)>,
    retention: Option<Duration>,
}

/// A grant that was narrowed, recorded and proven.
#[derive(Debug)]
pub struct Narrowed {
    /// The end of the old grant: its source acknowledges it as it does a stop.
    pub recorded: Recorded,
    /// The grant that stands now.
    pub grant: GrantName,
    /// Its terms.
    pub terms: GrantTerms,
    /// The index of its record.
    pub record: u64,
}

impl Narrowing {
    /// Leaves a field out. One that the offer requires can't be: stop the grant instead.
    pub fn without_field(mut self, field: FieldPath) -> Self {
        self.without.insert(field);
        self
    }

    /// Ends it at this moment.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Leaves so many uses from now on; without it, all that are left.
    pub fn uses(mut self, uses: u32) -> Self {
        self.uses = Some(uses);
        self
    }

    /// Allows so many uses in a window of this length.
    pub fn rate(mut self, uses: u32, window: Duration) -> Self {
        self.rate = Some((uses, window));
        self
    }

    /// Has what was received kept for so long after the end.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Whether terms are no more than this.
    fn is_met_by(&self, terms: &GrantTerms) -> bool {
        let rate = |(uses, window)| terms.rate.is_some_and(|(most, least)| most <= uses && least >= window);
        terms.fields.iter().all(|field| !self.without.contains(field))
            && self.until.is_none_or(|until| terms.expire_time <= until)
            && self.uses.is_none_or(|uses| terms.uses <= uses)
            && self.rate.is_none_or(rate)
            && self.retention.is_none_or(|retention| terms.retention <= retention)
    }

    /// Whether it only ever takes away.
    fn fits(&self, terms: &GrantTerms, offer: &Offer) -> Result<(), Error> {
        for field in &self.without {
            if !terms.fields.contains(field) {
                return Err(Error::malformed("field", format!("`{field}` is not granted")));
            }
            if offer.required_fields.contains(field) {
                let problem = format!("the offer can't do without `{field}`: stop the grant instead");
                return Err(Error::malformed("field", problem));
            }
        }
        if self.until.is_some_and(|until| until > terms.expire_time) {
            return Err(Error::malformed("until", format!("it ends {} already", terms.expire_time)));
        }
        if self.retention.is_some_and(|retention| retention > terms.retention) {
            return Err(Error::malformed("retention", "is longer than what was approved"));
        }
        let faster = |(uses, window)| terms.rate.is_some_and(|(most, least)| uses > most || window < least);
        if self.rate.is_some_and(faster) {
            return Err(Error::malformed("rate", "is faster than what was approved"));
        }
        Ok(())
    }
}

/// New terms, ready to leave.
struct Draft {
    source_terms: Signed<GrantTerms>,
    recipient_terms: wire::Envelope,
    salts: Salts,
}

impl Customer {
    /// Puts narrower terms in the place of a grant: one call, one commit. The grant must be active. A pause or a stop of the
    /// old name is one of the newest revision from then on.
    pub async fn narrow(&self, grant: &GrantName, narrowing: &Narrowing) -> Result<Narrowed, Error> {
        // New terms are signed: not in the face of a log that has two.
        self.0.monitor.check()?;
        let _signing = self.0.signing.lock().await;
        let mut tries = MAX_SIGNINGS;
        loop {
            let row = self.newest(grant)?;
            match Box::pin(self.settle_pending(&row.name, &self.meets(narrowing))).await {
                Ok(Some(recorded)) => return self.narrowed(recorded),
                Ok(None) => {}
                // What was signed before grants more than is left by now. It is marked as refused, so it is not sent again.
                Err(Error::Refused(refused)) if tries > 0 && is_spent(&refused) => {
                    tries -= 1;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let row = self.newest(grant)?;
            check_standing(&row, Verb::Narrow, false)?;
            let shown = self.show(&row).await?;
            let left = row.terms.uses.saturating_sub(shown.use_count);
            let draft = self.draft_narrowing(&row, narrowing, &offer_of(&row, &shown)?, left)?;
            let successor = draft.source_terms.digest();
            let (said, source, recipient) = self.sign_change(&row, (Verb::Narrow, false), Some(successor))?;
            for entry in draft.entries(&row) {
                self.0.book.enter(entry).await?;
            }
            self.0.book.enter(changing(&row, &source, &recipient)).await?;
            tries -= 1;
            // Boxed, since whoever narrows holds this future.
            match Box::pin(self.send(&row, &said, &source, &recipient)).await {
                Ok(recorded) => return self.narrowed(recorded),
                // The number went to another change of the same wallet, or a use was spent meanwhile.
                Err(Error::Refused(refused))
                    if tries > 0 && (self.row(&row.name)?.sequence > row.sequence || is_spent(&refused)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a narrowing that was signed before, and of which nothing is known, is what is asked for.
    fn meets<'a>(&'a self, narrowing: &'a Narrowing) -> impl Fn(&GrantChange) -> bool + Sync + 'a {
        move |said| {
            let successor = said.successor.and_then(|terms| self.0.book.grant(&GrantName::of(terms)));
            let refused =
                self.0.book.grant(&GrantName::of(said.terms)).is_some_and(|row| row.pending_refused);
            !refused && successor.is_some_and(|row| narrowing.is_met_by(&row.terms))
        }
    }

    fn narrowed(&self, recorded: Recorded) -> Result<Narrowed, Error> {
        let unknown = || Error::Misuse(Misuse::Unknown { name: recorded.grant().to_string() });
        let Standing::Superseded { by } = self.row(recorded.grant())?.standing else { return Err(unknown()) };
        let row = self.row(&GrantName::of(by))?;
        let record = row.recorded.ok_or_else(unknown)?;
        Ok(Narrowed { recorded, grant: row.name, terms: row.terms, record })
    }

    async fn show(&self, row: &GrantRow) -> Result<Grant, Error> {
        let asked = GetGrantRequest { name: row.name.to_string() };
        Ok(self.0.connection.grants().get_grant(call(asked)).await?.into_inner())
    }

    fn draft_narrowing(
        &self,
        row: &GrantRow,
        narrowing: &Narrowing,
        offer: &Offer,
        left: u32,
    ) -> Result<Draft, Error> {
        let old = &row.terms;
        narrowing.fits(old, offer)?;
        let not_now = |problem| Error::Misuse(Misuse::NotNow { name: row.name.to_string(), problem });
        if left == 0 {
            return Err(not_now("its uses are spent"));
        }
        if narrowing.uses == Some(0) {
            return Err(Error::malformed("uses", "must be at least 1: to allow none is to stop it"));
        }
        let link = |digest| self.link_by(digest).ok_or_else(|| not_now("its link is not in the book"));
        let (source_link, recipient_link) = (link(row.source_link)?, link(row.recipient_link)?);
        let system = &self.0.system;
        let salts = Salts { source: system.draw(), recipient: system.draw() };
        let commit = |salt: &[u8; 32], link: &LinkRow| party_commitment(salt, link.acceptance).into();
        let fields = old.fields.iter().filter(|field| !narrowing.without.contains(*field));
        let rate = narrowing.rate.or(old.rate);
        let message = wire::GrantTerms {
            broker: self.origin().to_string(),
            source: old.source.to_string(),
            source_identity: old.source_identity.as_bytes().to_vec().into(),
            recipient: old.recipient.to_string(),
            recipient_identity: old.recipient_identity.as_bytes().to_vec().into(),
            source_commitment: commit(&salts.source, &source_link),
            recipient_commitment: commit(&salts.recipient, &recipient_link),
            request: old.request.into(),
            offer: old.offer.into(),
            catalogue_version: old.catalogue_version.into(),
            language: old.language.clone(),
            purpose: old.purpose.to_string(),
            fields: fields.map(ToString::to_string).collect(),
            uses: narrowing.uses.map_or(left, |uses| uses.min(left)),
            rate: rate.map(|(uses, window)| wire::Rate { uses, window_seconds: window.as_secs() }),
            retention_seconds: narrowing.retention.unwrap_or(old.retention).as_secs(),
            expire_time_ms: narrowing.until.unwrap_or(old.expire_time).as_millis(),
            log_tag: system.draw::<32>().to_vec().into(),
            time_ms: self.now().as_millis(),
            previous: row.name.digest().into(),
        };
        let key = self.0.wallet.link_key(row.source_link);
        let source_terms = envelope::sign::<GrantTerms>(&message, &[&key]);
        let source_terms =
            envelope::verify::<GrantTerms>(Some(&source_terms), &[key.public()], self.origin())
                .map_err(|error| Error::malformed("narrowing", error))?;
        if !source_terms.statement().is_less_than(old, left) {
            return Err(Error::malformed("narrowing", "takes nothing away"));
        }
        let key = self.0.wallet.link_key(row.recipient_link);
        let recipient_terms = envelope::sign::<GrantTerms>(&message, &[&key]);
        Ok(Draft { source_terms, recipient_terms, salts })
    }

    /// Sends a narrowing that stands in the book, with its terms, and verifies the proofs of both records.
    pub(super) async fn send_narrowing(
        &self,
        row: &GrantRow,
        (said, successor): (&GrantChange, Digest),
        source: &wire::Envelope,
        recipient: &wire::Envelope,
    ) -> Result<Recorded, Error> {
        let new = self.row(&GrantName::of(successor))?;
        let salts = new.salts.ok_or_else(|| Error::malformed("book", "the salts of a narrowing are gone"))?;
        let asked = NarrowGrantRequest {
            name: row.name.to_string(),
            source_change: Some(source.clone()),
            recipient_change: Some(recipient.clone()),
            source_terms: Some(new.source_terms.clone()),
            recipient_terms: Some(new.recipient_terms.clone()),
            source_salt: salts.source.to_vec().into(),
            recipient_salt: salts.recipient.to_vec().into(),
        };
        let answer = match self.0.connection.grants().narrow_grant(call(asked)).await.map_err(Error::from) {
            Ok(answer) => answer.into_inner(),
            Err(error) if error.is_no() => {
                let error = self.doubt_refused_change(row, envelope::digest(source), error).await?;
                return Err(self.doubt_refused_terms(&new, error).await?);
            }
            Err(error) => return Err(error),
        };
        self.0.monitor.check()?;
        let receipt = ProvenLeaf::prove(answer.receipt.as_ref(), &self.0.monitor)?;
        let terms = &new.terms;
        receipt.says(&Saying {
            subject: Some(self.name()),
            fields: Some(&terms.fields),
            evidence: Some(&[successor]),
            ..Saying::of(
                terms,
                &[Kind::GrantApproved],
                (terms.time.minus(MAX_CLOCK_SKEW), self.now().plus(MAX_CLOCK_SKEW)),
            )
        })?;
        let recorded = self.recorded(row, said, source, answer.superseded_receipt.as_ref()).await?;
        let grant = *successor.as_bytes();
        self.0.book.enter(Entry::Recorded { grant, index: receipt.index() }).await?;
        Ok(recorded)
    }

    /// Terms of a narrowing that was refused stay, as those of a refused approval do. If the broker shows them, they stand.
    async fn doubt_refused_terms(&self, new: &GrantRow, refusal: Error) -> Result<Error, Error> {
        match self.look_up(&new.name).await {
            Ok(Some(_)) => {
                let detail = format!("says no ({refusal}), and shows that `{}` stands", new.name);
                Err(Error::misbehaved(Party::Broker, "narrowing", "refusal", detail))
            }
            Ok(None) => {
                self.0.book.enter(Entry::Dropped { grant: *new.name.digest().as_bytes() }).await?;
                Ok(refusal)
            }
            Err(error @ Error::Book(_)) => Err(error),
            Err(error) => {
                tracing::warn!(grant = %new.name, %error, "what became of a refused narrowing is not known");
                Ok(refusal)
            }
        }
    }
}

impl Draft {
    fn entries(&self, row: &GrantRow) -> [Entry; 2] {
        let grant = *self.source_terms.digest().as_bytes();
        [
            Entry::Granted {
                source_link: *row.source_link.as_bytes(),
                recipient_link: *row.recipient_link.as_bytes(),
                source_terms: self.source_terms.envelope().encode_to_vec(),
                recipient_terms: self.recipient_terms.encode_to_vec(),
            },
            Entry::Salts { grant, source: self.salts.source, recipient: self.salts.recipient },
        ]
    }
}

/// Whether the new terms grant more than is left of the old ones.
fn is_spent(refused: &Refused) -> bool {
    refused.metadata.get("check").is_some_and(|check| check == "uses")
}

/// The offer under which a grant stands. The customer's own signature names it, so the broker can't show another.
fn offer_of(row: &GrantRow, shown: &Grant) -> Result<Offer, Error> {
    if shown.offer.as_ref().map(envelope::digest) != Some(row.terms.offer) {
        let detail = "is another offer than the one that the terms name";
        return Err(Error::misbehaved(Party::Broker, "grant", "offer", detail));
    }
    envelope::peek::<Offer>(shown.offer.as_ref())
        .map_err(|error| Error::bad_statement(Party::Broker, "offer", &error))
}
