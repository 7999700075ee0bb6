//! Whether what left is what was previewed: by the source's own word, which the broker can neither read nor make.

use std::collections::HashMap;

use countersign_grants::{
    catalogue::FieldPath,
    commitment::{self, SALT_BYTES},
    id::GrantName,
    statement::{Provision, WorkingKey},
};
use countersign_proto::{
    log::v1::{Kind, Record},
    v1::Event,
};

use super::Customer;
use crate::error::{Error, Party};

/// What a transfer moved, held against what the customer saw before approving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// By field, in the order in which they were moved.
    pub fields: Vec<(FieldPath, SincePreview)>,
}

/// One value, held against the one that was previewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SincePreview {
    /// The same.
    AsPreviewed,
    /// Another one.
    Changed,
    /// The customer did not look at this field.
    NotPreviewed,
}

impl Compared {
    /// Whether all of it is as previewed.
    pub fn as_previewed(&self) -> bool {
        self.fields.iter().all(|(_, since)| *since == SincePreview::AsPreviewed)
    }

    /// The fields that stand so.
    pub fn fields_that(&self, stand: SincePreview) -> impl Iterator<Item = &FieldPath> {
        self.fields.iter().filter(move |(_, since)| *since == stand).map(|(field, _)| field)
    }
}

impl Customer {
    /// For each grant of which a preview is in the book: what its first transfer moved, held against that preview. A grant
    /// without one, or without a transfer, is absent; so is one of which broker or source show nothing to compare.
    pub async fn comparisons(&self) -> Result<HashMap<GrantName, Compared>, Error> {
        let (previews, grants) = (self.0.book.previews(), self.0.book.grants());
        let previewed = grants.iter().filter(|row| {
            previews.iter().any(|seen| seen.request == row.terms.request && seen.offer == row.terms.offer)
        });
        // No transfer stands before the approval of its grant.
        let Some(first) = previewed.filter_map(|row| row.recorded).min() else { return Ok(HashMap::new()) };
        let (mut compared, mut timeline) = (HashMap::new(), self.timeline(first, &[Kind::Transfer]));
        loop {
            let page = timeline.next().await?;
            if page.is_empty() {
                return Ok(compared);
            }
            for activity in page {
                if let (Ok(grant), Some(found)) = (GrantName::parse(&activity.event.grant), activity.compared)
                {
                    compared.entry(grant).or_insert(found);
                }
            }
        }
    }

    /// Compares one transfer, if the source said what by, and the book has that preview.
    pub(super) fn compare(&self, event: &Event, record: &Record) -> Result<Option<Compared>, Error> {
        if record.kind() != Kind::Transfer || event.statement.is_none() {
            return Ok(None);
        }
        let Some(row) = GrantName::parse(&event.grant).ok().and_then(|grant| self.0.book.grant(&grant))
        else {
            return Ok(None);
        };
        let terms = &row.terms;
        let source = Party::Partner(terms.source.clone());
        let provision = WorkingKey::certified(
            event.statement_key.as_ref(),
            &terms.source_identity,
            &terms.source,
            self.origin(),
        )
        .and_then(|key| key.verify::<Provision>(event.statement.as_ref(), |said| said.time))
        .map_err(|error| Error::bad_key(source.clone(), "provision", &error))?;
        let said = provision.statement();
        // The record commits to the provision, so no other transfer's can stand in its place.
        let opens = <&[u8; SALT_BYTES]>::try_from(event.evidence_salt.as_ref()).is_ok_and(|salt| {
            let evidence = [row.name.digest(), said.fetch, provision.digest()];
            commitment::evidence(salt, &evidence).as_bytes() == record.evidence_commitment.as_ref()
        });
        if said.source != terms.source || !opens {
            let detail = format!("event {} shows another provision than its record rests on", event.index);
            return Err(Error::misbehaved(Party::Broker, "event", "evidence", detail));
        }
        let Some(comparison) = &said.comparison else { return Ok(None) };
        let Some(seen) = self.0.book.preview(comparison.preview) else { return Ok(None) };
        if (seen.request, seen.offer) != (terms.request, terms.offer) {
            let detail = "it compares with the preview of another row";
            return Err(Error::misbehaved(source, "provision", "preview", detail));
        }
        let since = |field: &FieldPath, mark: &[u8; 32]| match seen.marks.iter().find(|(of, _)| of == field) {
            None => SincePreview::NotPreviewed,
            Some((_, before)) if before == mark => SincePreview::AsPreviewed,
            Some(_) => SincePreview::Changed,
        };
        let fields = comparison.marks.iter().map(|(field, mark)| (field.clone(), since(field, mark)));
        Ok(Some(Compared { fields: fields.collect() }))
    }
}
