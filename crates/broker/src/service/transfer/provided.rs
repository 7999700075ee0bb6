//! What a source provided, held against what it was asked.

use std::sync::Arc;

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope::Signed,
    id::PartnerName,
    statement::{Provision, Statement, WorkingKey, check_asked},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::{Kind, Result as Went},
    statement::v1::{Envelope, SealedFields},
    v1::ProvideDataResponse,
};
use prost::Message as _;

use super::{
    TransferService,
    fetch::{Asked, Read},
};
use crate::{error::Fault, record::Happening, work::Work};

/// Sealed fields that their source signed for this very fetch.
pub(super) struct Provided {
    pub sealed_fields: Bytes,
    pub provision: Signed<Provision>,
    pub key: Arc<WorkingKey>,
}

impl Provided {
    /// What is kept with the request id: repeats are held to it.
    pub(super) fn answer(&self) -> Bytes {
        self.provision.digest().into()
    }

    /// Whether these are the bytes of which this was kept.
    pub(super) fn is(&self, answer: &Bytes) -> bool {
        self.answer() == *answer
    }
}

impl TransferService {
    /// Verifies the provision, and that exactly the asked fields came.
    pub(super) async fn provided(
        &self,
        asked: &Asked,
        source: &PartnerName,
        answer: ProvideDataResponse,
    ) -> Result<Provided, Fault> {
        let wrong = |check: &'static str| Fault::SourceMisbehaved { source_name: source.clone(), check };
        let (provision, key) =
            self.signed_by_source::<Provision>(source, answer.provision.as_ref(), |says| says.time).await?;
        let says = provision.statement();
        if &says.source != source {
            return Err(wrong("source"));
        }
        if says.fetch != asked.fetch.digest() {
            return Err(wrong("fetch"));
        }
        if says.sealed != Digest::of(&answer.sealed_fields) {
            return Err(wrong("sealed"));
        }
        let sealed =
            SealedFields::decode(answer.sealed_fields.clone()).map_err(|_| wrong("sealed_fields"))?;
        check_asked(asked.fetch.statement(), &sealed).map_err(|_| wrong("fields"))?;
        says.check_comparison(asked.fetch.statement()).map_err(|_| wrong("marks"))?;
        Ok(Provided { sealed_fields: answer.sealed_fields, provision, key })
    }

    /// Verifies what a source signed; where it does not hold, that is the source's misbehaviour.
    pub(super) async fn signed_by_source<S: Statement>(
        &self,
        source: &PartnerName,
        statement: Option<&Envelope>,
        at: impl Fn(&S) -> Timestamp + Send + Sync,
    ) -> Result<(Signed<S>, Arc<WorkingKey>), Fault> {
        let wrong = |check: &'static str| Fault::SourceMisbehaved { source_name: source.clone(), check };
        match self.broker.signed_by_partner::<S>(source, "provision", statement, at).await {
            Err(Fault::StatementInvalid { check, .. }) => Err(wrong(check)),
            Err(Fault::FieldInvalid { .. }) => Err(wrong("present")),
            signed => signed,
        }
    }

    /// Enters that data was drawn and dropped, so that its source isn't left waiting. If this fails the source claims.
    pub(super) async fn not_released(&self, asked: &Asked, read: &Read, provided: &Provided, reason: &str) {
        let terms = read.standing.terms.statement();
        let mut work = Work::default();
        work.record(self.broker.draft(Happening {
            kind: Kind::ProvidedNotReleased,
            source: Some(&terms.source),
            recipient: Some(&terms.recipient),
            customer: Some(&read.customer),
            purpose: Some(&terms.purpose),
            catalogue_version: Some(terms.catalogue_version),
            result: Went::Refused,
            reason,
            grant: Some((&asked.name, terms.log_tag)),
            fields: &asked.fetch.statement().fields,
            evidence: &[read.standing.terms.digest(), asked.fetch.digest(), provided.provision.digest()],
            private: asked.private(read, Some(provided)),
            ..Happening::default()
        }));
        let entered = match self.broker.expect_open(&mut work, &read.customer).await {
            Ok(()) => self.broker.enter(work).await,
            Err(fault) => Err(fault),
        };
        match entered {
            Ok(Some(mut entered)) => {
                let party = crate::caller::Party::Partner(terms.source.clone());
                if let Some(entered) = entered.pop() {
                    self.deliveries.deliver(&terms.source, asked.fetch.digest(), entered.for_party(&party));
                }
            }
            Ok(None) => tracing::info!("data was dropped whose customer closed the account"),
            Err(fault) => {
                tracing::warn!(reason = fault.reason(), "data that was dropped is not in the log yet");
            }
        }
    }
}
