//! Approving a request: one set of terms a row, bound whole and signed twice.

use std::collections::{BTreeMap, BTreeSet};

use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope::{self, Signed},
    id::{GrantName, LinkName, Origin, PartnerName, RequestName},
    key::{PublicKey, SigningKey},
    statement::{GrantTerms, party_commitment},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{
        ApproveGrantRequestRequest, ApproveGrantRequestResponse, approve_grant_request_request::ApprovedRow,
    },
};
use prost::Message as _;

use super::{Customer, LinkRow, MAX_CLOCK_SKEW, ReadRequest, Row, entry::Entry};
use crate::{
    channel::call,
    error::{Error, Misuse, Party},
    receipt::{ProvenLeaf, Saying},
    system::System,
};

/// What the person chose. Optional rows and optional fields start switched off: silence is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    language: String,
    rows: BTreeSet<usize>,
    fields: BTreeMap<usize, BTreeSet<FieldPath>>,
    until: Option<Timestamp>,
}

/// An approved row, recorded and proven.
#[derive(Clone, Debug)]
pub struct Approved {
    /// Which row, from 1.
    pub row: usize,
    /// `grants/{grant}`.
    pub grant: GrantName,
    /// What the customer signed.
    pub terms: GrantTerms,
    /// The proof of its record.
    pub receipt: ProvenLeaf,
}

impl Choice {
    /// The required rows with their required fields, read in this language (BCP 47).
    pub fn required(language: impl Into<String>) -> Self {
        Self { language: language.into(), rows: BTreeSet::new(), fields: BTreeMap::new(), until: None }
    }

    /// Switches an optional row on, by its number from 1. A required row is on already.
    pub fn with_row(mut self, number: usize) -> Self {
        self.rows.insert(number);
        self
    }

    /// Switches an optional field of a row on.
    pub fn with_field(mut self, number: usize, field: FieldPath) -> Self {
        self.fields.entry(number).or_default().insert(field);
        self
    }

    /// Ends every grant at this moment, if the offer does not end it earlier.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    fn takes(&self, row: &Row) -> bool {
        !row.optional || self.rows.contains(&row.number)
    }

    /// Whether it chooses only what there is.
    fn fits(&self, rows: &[Row]) -> Result<(), Error> {
        for number in self.rows.iter().chain(self.fields.keys()) {
            let Some(row) = number.checked_sub(1).and_then(|at| rows.get(at)) else {
                return Err(Error::malformed(
                    "row",
                    format!("the request has rows 1 to {}, not {number}", rows.len()),
                ));
            };
            let Some(fields) = self.fields.get(number) else { continue };
            if !self.takes(row) {
                return Err(Error::malformed("field", format!("row {number} is optional and not chosen")));
            }
            let offer = row.offer.statement();
            if let Some(field) = fields.iter().find(|field| !offer.fields().any(|offered| offered == *field))
            {
                return Err(Error::malformed("field", format!("`{field}` is not offered in row {number}")));
            }
        }
        Ok(())
    }
}

/// One row's terms, ready to leave.
pub(super) struct Draft<'a> {
    row: &'a Row,
    pub(super) source_terms: Signed<GrantTerms>,
    pub(super) recipient_terms: Signed<GrantTerms>,
    pub(super) source_salt: [u8; 32],
    pub(super) recipient_salt: [u8; 32],
    source_link: &'a LinkRow,
    recipient_link: &'a LinkRow,
}

impl Customer {
    /// Approves the chosen rows of a request, all together, and verifies the proof of each. What was signed stands in the
    /// book before it leaves, so that it is known even if no answer comes.
    pub async fn approve(&self, request: &ReadRequest, choice: &Choice) -> Result<Vec<Approved>, Error> {
        self.0.monitor.check()?;
        choice.fits(request.rows())?;
        let _signing = self.0.signing.lock().await;
        let signer = Signer {
            origin: self.origin(),
            request: request.name(),
            system: &self.0.system,
            key: &|invitation| self.0.wallet.link_key(invitation),
        };
        let chosen = request.rows().iter().filter(|row| choice.takes(row));
        let chosen = chosen.map(|row| self.linked_now(request, row)).collect::<Result<Vec<_>, _>>()?;
        if chosen.is_empty() {
            return Err(Error::malformed(
                "rows",
                "every row is optional and none is chosen: refuse the request instead",
            ));
        }
        let drafts = chosen.iter().map(|row| signer.draft(row, choice)).collect::<Result<Vec<_>, _>>()?;
        for draft in &drafts {
            self.0.book.enter(draft.entry()).await?;
        }
        let rows = drafts.iter().map(Draft::to_wire).collect();
        let asked = ApproveGrantRequestRequest { name: request.name().to_string(), rows };
        match self.0.connection.grants().approve_grant_request(call(asked)).await.map_err(Error::from) {
            Ok(answer) => self.take_approval(&drafts, &answer.into_inner()).await,
            Err(error) if error.is_no() => Err(self.doubt_refusal(&drafts, error).await?),
            // Without an answer the grants may stand.
            Err(error) => Err(error),
        }
    }

    /// A row with the book's word on links, not the request's: a link may stand by now that did not when it was read.
    fn linked_now(&self, request: &ReadRequest, row: &Row) -> Result<Row, Error> {
        let asking = request.link();
        let link_with = |partner: &PartnerName| {
            if asking.partner == *partner {
                self.0.book.link(&asking.name).filter(LinkRow::stands)
            } else {
                self.0.book.link_with(partner)
            }
        };
        let offer = row.offer.statement();
        let (mut source_link, mut recipient_link) = (link_with(&offer.source), link_with(&offer.recipient));
        // A renewal hangs on the accounts on which the grant hangs that it renews.
        if let Some(old) = row.renews.as_ref().and_then(|renews| self.0.book.grant(renews)) {
            (source_link, recipient_link) = (self.link_by(old.source_link), self.link_by(old.recipient_link));
        }
        // An offer of a partner that was not linked yet was read under the identity that it names itself.
        if recipient_link.as_ref().is_some_and(|link| link.identity != offer.recipient_identity) {
            let who = Party::Partner(offer.recipient.clone());
            return Err(Error::misbehaved(who, "offer", "recipient_identity", "is not the pinned one"));
        }
        Ok(Row { source_link, recipient_link, ..row.clone() })
    }

    /// What was signed and sent stays in the book whatever the broker says: the terms are in its hands. Marks as refused
    /// those of which it says, asked once more, that there is no such grant.
    async fn doubt_refusal(&self, drafts: &[Draft<'_>], refusal: Error) -> Result<Error, Error> {
        for draft in drafts {
            let name = GrantName::of(draft.source_terms.digest());
            match self.look_up(&name).await {
                Ok(Some(_)) => {
                    let detail = format!("says no ({refusal}), and shows that `{name}` stands");
                    return Err(Error::misbehaved(Party::Broker, "approval", "refusal", detail));
                }
                Ok(None) => self.0.book.enter(Entry::Dropped { grant: *name.digest().as_bytes() }).await?,
                // No word: it stays like one without an answer.
                Err(Error::Book(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(grant = %name, %error, "what became of a refused approval is not known");
                }
            }
        }
        Ok(refusal)
    }

    async fn take_approval(
        &self,
        drafts: &[Draft<'_>],
        answer: &ApproveGrantRequestResponse,
    ) -> Result<Vec<Approved>, Error> {
        if answer.receipts.len() != drafts.len() {
            let detail = format!("{} receipts for {} grants", answer.receipts.len(), drafts.len());
            return Err(Error::misbehaved(Party::Broker, "approval", "receipts", detail));
        }
        let mut approved = Vec::with_capacity(drafts.len());
        for (draft, receipt) in drafts.iter().zip(&answer.receipts) {
            let terms = draft.source_terms.statement();
            let receipt = ProvenLeaf::prove(Some(receipt), &self.0.monitor)?;
            receipt.says(&Saying {
                subject: Some(self.name()),
                fields: Some(&terms.fields),
                evidence: Some(&[draft.source_terms.digest()]),
                ..Saying::of(
                    terms,
                    &[Kind::GrantApproved],
                    (terms.time.minus(MAX_CLOCK_SKEW), self.now().plus(MAX_CLOCK_SKEW)),
                )
            })?;
            let grant = GrantName::of(draft.source_terms.digest());
            let recorded = Entry::Recorded { grant: *grant.digest().as_bytes(), index: receipt.index() };
            self.0.book.enter(recorded).await?;
            approved.push(Approved { row: draft.row.number, grant, terms: terms.clone(), receipt });
        }
        Ok(approved)
    }
}

/// What signs terms: everything of the customer that it takes.
pub(super) struct Signer<'a> {
    pub(super) origin: &'a Origin,
    pub(super) request: &'a RequestName,
    pub(super) system: &'a System,
    /// The key of the link that came of an invitation.
    pub(super) key: &'a (dyn Fn(Digest) -> SigningKey + Sync),
}

impl Signer<'_> {
    pub(super) fn draft<'a>(&self, row: &'a Row, choice: &Choice) -> Result<Draft<'a>, Error> {
        let (Some(source_link), Some(recipient_link)) = (&row.source_link, &row.recipient_link) else {
            let name = row.missing().first().map_or_else(String::new, ToString::to_string);
            let problem = "the customer is not linked with this side of the row; link first";
            return Err(Error::Misuse(Misuse::NotNow { name, problem }));
        };
        let (source_salt, recipient_salt) = (self.system.draw(), self.system.draw());
        let commit =
            |salt: &[u8; 32], link: &LinkRow| party_commitment(salt, link.acceptance).as_bytes().to_vec();
        let offer = row.offer.statement();
        let chosen = choice.fields.get(&row.number);
        let optional =
            offer.optional_fields.iter().filter(|field| chosen.is_some_and(|chosen| chosen.contains(*field)));
        let now = self.system.now();
        let latest = now.plus(offer.duration);
        let message = wire::GrantTerms {
            broker: self.origin.to_string(),
            source: offer.source.to_string(),
            source_identity: source_link.identity.as_bytes().to_vec().into(),
            recipient: offer.recipient.to_string(),
            recipient_identity: recipient_link.identity.as_bytes().to_vec().into(),
            source_commitment: commit(&source_salt, source_link).into(),
            recipient_commitment: commit(&recipient_salt, recipient_link).into(),
            request: self.request.digest().as_bytes().to_vec().into(),
            offer: row.offer.digest().as_bytes().to_vec().into(),
            catalogue_version: offer.catalogue_version.as_bytes().to_vec().into(),
            language: offer.text(&choice.language).0.language.clone(),
            purpose: offer.purpose.to_string(),
            fields: offer.required_fields.iter().chain(optional).map(ToString::to_string).collect(),
            uses: offer.uses,
            rate: offer.rate.map(|(uses, window)| wire::Rate { uses, window_seconds: window.as_secs() }),
            retention_seconds: offer.retention.as_secs(),
            expire_time_ms: choice.until.map_or(latest, |until| until.min(latest)).as_millis(),
            log_tag: self.system.draw::<32>().to_vec().into(),
            time_ms: now.as_millis(),
            previous: row.renews.as_ref().map(|renews| renews.digest().into()).unwrap_or_default(),
        };
        let source_terms = self.sign(&message, source_link)?;
        let recipient_terms = self.sign(&message, recipient_link)?;
        // What a partner would refuse must not leave: an offer that contradicts itself shows here.
        source_terms.statement().within(&row.offer).map_err(|error| Error::malformed("terms", error))?;
        Ok(Draft {
            row,
            source_terms,
            recipient_terms,
            source_salt,
            recipient_salt,
            source_link,
            recipient_link,
        })
    }

    fn sign(&self, message: &wire::GrantTerms, link: &LinkRow) -> Result<Signed<GrantTerms>, Error> {
        let key = (self.key)(link.name.digest());
        let envelope = envelope::sign::<GrantTerms>(message, &[&key]);
        let public: &PublicKey = key.public();
        envelope::verify(Some(&envelope), &[public], self.origin)
            .map_err(|error| Error::malformed("terms", error))
    }
}

impl Draft<'_> {
    fn entry(&self) -> Entry {
        Entry::Granted {
            source_link: *self.source_link.name.digest().as_bytes(),
            recipient_link: *self.recipient_link.name.digest().as_bytes(),
            source_terms: self.source_terms.envelope().encode_to_vec(),
            recipient_terms: self.recipient_terms.envelope().encode_to_vec(),
        }
    }

    fn to_wire(&self) -> ApprovedRow {
        let name = |link: &LinkName| link.to_string();
        ApprovedRow {
            source_link: name(&self.source_link.name),
            recipient_link: name(&self.recipient_link.name),
            source_terms: Some(self.source_terms.envelope().clone()),
            recipient_terms: Some(self.recipient_terms.envelope().clone()),
            source_salt: self.source_salt.to_vec().into(),
            recipient_salt: self.recipient_salt.to_vec().into(),
        }
    }
}
