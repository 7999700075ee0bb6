//! What a recipient verifies of an answer before it opens anything.

use countersign_grants::{
    digest::Digest,
    statement::{MAX_FETCH_AGE, Provision, check_asked},
};
use countersign_proto::{log::v1::Kind, statement::v1::SealedFields, v1::FetchDataResponse};
use prost::Message as _;

use super::fetch::OwnFetch;
use crate::{
    book::GrantRow,
    checkpoint::Met,
    error::Error,
    partner::{Partner, Shared},
    receipt::{CLOCK_SKEW, ProvenLeaf, Saying},
};

impl Shared {
    /// Verifies, in this order: the source's key by the identity that *the customer* named, the provision, the proof, and
    /// that the leaf says what happened. Data without proof is an error.
    pub(super) fn verify_answer(
        &self,
        row: &GrantRow,
        fetch: &OwnFetch,
        answer: &FetchDataResponse,
    ) -> Result<(SealedFields, ProvenLeaf), Error> {
        let terms = row.terms();
        let source = Partner::source_of(row);
        let key = self
            .keys
            .certified(answer.source_key.as_ref(), &terms.source_identity, &terms.source, &self.trust.origin)
            .map_err(|error| Error::bad_key(source.clone(), "provision", &error))?;
        let provision = key
            .verify::<Provision>(answer.provision.as_ref(), |provision| provision.time)
            .map_err(|error| Error::bad_key(source.clone(), "provision", &error))?;
        let wrong = |check, detail: String| Error::misbehaved(source.clone(), "provision", check, detail);
        let said = provision.statement();
        if said.source != terms.source {
            return Err(wrong("source", format!("it is of `{}`", said.source)));
        }
        if said.fetch != fetch.digest {
            return Err(wrong("fetch", "it answers another fetch".into()));
        }
        if said.sealed != Digest::of(&answer.sealed_fields) {
            return Err(wrong("sealed", "it is over other sealed fields".into()));
        }
        let now = self.system.now();
        let slack = MAX_FETCH_AGE + CLOCK_SKEW;
        if said.time.distance(now) > slack {
            return Err(wrong("time_ms", format!("it says {}, and it is {now}", said.time)));
        }
        let sealed = SealedFields::decode(answer.sealed_fields.clone())
            .map_err(|error| wrong("sealed_fields", error.to_string()))?;
        check_asked(&fetch.statement, &sealed).map_err(|error| wrong("fields", error.to_string()))?;
        self.monitor.take(&said.checkpoint.0, Met::InStatement, &source)?;

        let leaf = ProvenLeaf::prove(answer.receipt.as_ref(), &self.monitor)?;
        leaf.says(&Saying {
            fields: Some(&fetch.statement.fields),
            evidence: Some(&[row.digest(), fetch.digest, provision.digest()]),
            use_limit: Some(terms.uses),
            ..Saying::of(terms, &[Kind::Transfer], (now.minus(slack), now.plus(slack)))
        })?;
        Ok((sealed, leaf))
    }
}
