//! Receipts: that a record stands in the log, and that it says what happened.

use std::{ops::RangeInclusive, time::Duration};

use bytes::Bytes;
use countersign_grants::{
    catalogue::{FieldPath, PurposeCode},
    commitment::{self, SALT_BYTES},
    digest::Digest,
    id::{CustomerName, PartnerName},
    statement::GrantTerms,
    time::Timestamp,
    token::MAX_CLOCK_AHEAD,
};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Outcome},
    v1::Receipt,
};
use countersign_tlog::{Hash, ProvenRecord, SignedCheckpoint, proof::MAX_INCLUSION_HASHES};
use prost::Message as _;

use crate::{
    checkpoint::{Met, Monitor},
    error::{Error, Party},
};

/// How far apart the clocks of two honest parties may run.
pub const CLOCK_SKEW: Duration = MAX_CLOCK_AHEAD;

/// The version of records that this SDK reads.
const RECORD_VERSION: u32 = 1;

/// A record that stands in the log, verified, with what opens its commitments.
#[derive(Clone, Debug)]
pub struct ProvenLeaf {
    record: Record,
    bytes: Bytes,
    proven: ProvenRecord,
    receipt: Receipt,
}

/// What a record must say. What is `None` is not checked.
#[derive(Clone, Debug)]
pub struct Saying<'a> {
    /// One of these kinds.
    pub kinds: &'a [Kind],
    /// Who gives.
    pub source: &'a PartnerName,
    /// Who receives.
    pub recipient: &'a PartnerName,
    /// The purpose.
    pub purpose: &'a PurposeCode,
    /// The catalogue.
    pub catalogue_version: Digest,
    /// The grant's tag.
    pub log_tag: &'a [u8; 32],
    /// The customer, under the subject commitment.
    pub subject: Option<&'a CustomerName>,
    /// The fields, in order, under the fields commitment.
    pub fields: Option<&'a [FieldPath]>,
    /// The statements on which the record rests, in order, under the evidence commitment.
    pub evidence: Option<&'a [Digest]>,
    /// A transfer's use number lies from 1 to this.
    pub use_limit: Option<u32>,
    /// The earliest time.
    pub not_before: Timestamp,
    /// The latest time.
    pub not_after: Timestamp,
}

impl<'a> Saying<'a> {
    /// What every record of a grant with these terms says, of one of some kinds, from one time to another.
    pub fn of(
        terms: &'a GrantTerms,
        kinds: &'a [Kind],
        (not_before, not_after): (Timestamp, Timestamp),
    ) -> Self {
        Self {
            kinds,
            source: &terms.source,
            recipient: &terms.recipient,
            purpose: &terms.purpose,
            catalogue_version: terms.catalogue_version,
            log_tag: &terms.log_tag,
            subject: None,
            fields: None,
            evidence: None,
            use_limit: None,
            not_before,
            not_after,
        }
    }
}

impl ProvenLeaf {
    /// Verifies that the log signed the receipt's checkpoint and that the record stands under it.
    pub fn prove(receipt: Option<&Receipt>, monitor: &Monitor) -> Result<Self, Error> {
        let receipt = receipt.ok_or_else(|| wrong("present", "there is no receipt"))?;
        let checkpoint = monitor.take(&receipt.checkpoint, Met::InReceipt, &Party::Broker)?;
        Self::under(receipt, checkpoint)
    }

    /// Verifies that the record stands under a checkpoint that is verified already.
    pub fn under(receipt: &Receipt, checkpoint: SignedCheckpoint) -> Result<Self, Error> {
        let mut path = Vec::with_capacity(receipt.path.len().min(MAX_INCLUSION_HASHES));
        for hash in receipt.path.iter().take(MAX_INCLUSION_HASHES + 1) {
            path.push(Hash::from_slice(hash).map_err(|error| wrong("path", error.to_string()))?);
        }
        let proven = ProvenRecord::verify(&receipt.record, receipt.index, &path, checkpoint)
            .map_err(|error| wrong("inclusion", error.to_string()))?;
        let record =
            Record::decode(receipt.record.clone()).map_err(|error| wrong("record", error.to_string()))?;
        if record.version != RECORD_VERSION {
            return Err(wrong("version", format!("the record is of version {}", record.version)));
        }
        Ok(Self { record, bytes: receipt.record.clone(), proven, receipt: receipt.clone() })
    }

    /// Whether the record says this.
    pub fn says(&self, saying: &Saying<'_>) -> Result<(), Error> {
        let record = &self.record;
        // What it says is written out only where it is wrong: that costs more than the comparisons.
        let same = |good: bool, check: &'static str, found: &dyn Fn() -> String| {
            if good { Ok(()) } else { Err(wrong(check, format!("the record says {}", found()))) }
        };
        let kind = record.kind();
        same(saying.kinds.contains(&kind), "kind", &|| kind.as_str_name().to_owned())?;
        same(record.source == saying.source.as_str(), "source", &|| record.source.clone())?;
        same(record.recipient == saying.recipient.as_str(), "recipient", &|| record.recipient.clone())?;
        same(record.purpose == saying.purpose.as_str(), "purpose", &|| record.purpose.clone())?;
        let version = record.catalogue_version.as_ref();
        same(version == saying.catalogue_version.as_bytes(), "catalogue_version", &|| {
            format!("{version:x?}")
        })?;
        let tag = record.grant_tag.as_ref();
        same(tag == saying.log_tag, "grant_tag", &|| format!("{tag:x?}"))?;
        let time = Timestamp::from_millis(record.time_ms);
        same((saying.not_before..=saying.not_after).contains(&time), "time", &|| time.to_string())?;
        if kind == Kind::Transfer {
            let released = matches!(record.result(), Outcome::Released | Outcome::Repeated);
            same(released, "result", &|| record.result().as_str_name().to_owned())?;
            let uses = saying.use_limit.map_or(u64::MAX, u64::from);
            same((1..=uses).contains(&record.use_number), "use_number", &|| record.use_number.to_string())?;
        }
        self.opens(saying.subject, saying.fields, saying.evidence)
    }

    /// Whether its commitments open to these, with the salts that came along. What is `None` is not checked.
    pub(crate) fn opens(
        &self,
        subject: Option<&CustomerName>,
        fields: Option<&[FieldPath]>,
        evidence: Option<&[Digest]>,
    ) -> Result<(), Error> {
        let check = |check: &'static str,
                     salt: &Bytes,
                     found: &Bytes,
                     commit: &dyn Fn(&[u8; SALT_BYTES]) -> Digest| {
            let salt: &[u8; SALT_BYTES] =
                salt.as_ref().try_into().map_err(|_| wrong(check, "its salt is not 32 bytes"))?;
            if commit(salt).as_bytes().as_slice() == found.as_ref() {
                Ok(())
            } else {
                Err(wrong(check, "the commitment does not open to what happened"))
            }
        };
        let (record, receipt) = (&self.record, &self.receipt);
        if let Some(fields) = fields {
            check("fields", &receipt.fields_salt, &record.fields_commitment, &|salt| {
                commitment::fields(salt, fields)
            })?;
        }
        if let Some(evidence) = evidence {
            check("evidence", &receipt.evidence_salt, &record.evidence_commitment, &|salt| {
                commitment::evidence(salt, evidence)
            })?;
        }
        if let Some(subject) = subject {
            check("subject", &receipt.subject_salt, &record.subject_commitment, &|salt| {
                commitment::subject(salt, subject)
            })?;
        }
        Ok(())
    }

    /// Whether the record says this of a customer alone: the kind, whom, and the statement on which it rests.
    pub(crate) fn says_of_customer(
        &self,
        kind: Kind,
        (customer, statement): (&CustomerName, Digest),
        time: RangeInclusive<Timestamp>,
    ) -> Result<(), Error> {
        let record = &self.record;
        if record.kind() != kind {
            return Err(wrong("kind", format!("the record says {}", record.kind().as_str_name())));
        }
        let at = Timestamp::from_millis(record.time_ms);
        if !time.contains(&at) {
            return Err(wrong("time", format!("the record says {at}")));
        }
        self.opens(Some(customer), None, Some(&[statement]))
    }

    /// What the record says.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The exact leaf.
    pub fn leaf(&self) -> &Bytes {
        &self.bytes
    }

    /// The record's index.
    pub fn index(&self) -> u64 {
        self.proven.index()
    }

    /// The checkpoint under which it stands.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        self.proven.checkpoint()
    }

    /// The receipt as it came, to be kept.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

fn wrong(check: &'static str, detail: impl Into<String>) -> Error {
    Error::misbehaved(Party::Broker, "receipt", check, detail)
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;
