//! From what happened to a draft record and its sealed private part.
//!
//! What a record rests on, and whom it concerns:
//!
//! | kind | evidence, in order | streams |
//! |---|---|---|
//! | `PARTNER_SUSPENDED_AUTOMATICALLY` | nothing | the partner |
//! | partner's and operators' acts | the key statement, where there is one | the partner |
//! | `OFFER_*` | the offer | source, recipient |
//! | `LINK_INVITED` | the invitation | the partner |
//! | `LINK_ACCEPTED`, `LINK_CONFIRMED` | the acceptance; the confirmation | the partner, the customer |
//! | `REQUEST_CREATED` | the request | the requester |
//! | `REQUEST_SHOWN`, `_DEFERRED` | the request | the customer: they name no partner, so that none learns when its turn came |
//! | `REQUEST_*` else | the request | the requester; the customer, if it was shown |
//! | `PREVIEWED` | the request, the offer, the preview, its provision | the source, the customer |
//! | `GRANT_APPROVED` | the terms | source, recipient, customer, grant; the requester, unless the terms narrow others |
//! | `GRANT_PAUSED`, `_RESUMED`, `_WITHDRAWN` | the change | source, recipient, customer, grant |
//! | `GRANT_SUPERSEDED` | the change that narrows, or the terms that renew | source, recipient, customer, grant |
//! | `GRANT_SUSPENDED`, `_UNSUSPENDED`, `_REVOKED` | the partner's change | source, recipient, customer, grant |
//! | the same `_BY_OPERATOR` | nothing | source, recipient, customer, grant |
//! | `GRANT_EXPIRING` | the terms | source, recipient, customer, grant |
//! | `LOCATION_TAPPED` | the tap | source, recipient, customer, grant |
//! | `ACKNOWLEDGED` | the acknowledgement | source, recipient, customer, grant |
//! | `ERASURE_ORDERED` | the change | source, recipient, customer, grant |
//! | `ERASURE_ATTESTED`, `ERASURE_OVERDUE` | the attestation; nothing | source, recipient, customer (unless erased), grant |
//! | `CUSTOMER_ERASED` | the closure; nothing of an account that was abandoned | the customer, the key that was destroyed |
//! | `SCRUB_ORDERED` | nothing | none |
//! | `CHANGE_NOTICE` | nothing | source, recipient, customer, grant |
//! | `TRANSFER`, `PROVIDED_NOT_RELEASED` | terms, fetch, provision | source, recipient, customer, grant |
//! | `TRANSFER_REFUSED` | terms, fetch | source, recipient, customer, grant |
//! | `AUDITOR_*`, `CUSTOMER_CREATED`, `ASKING_CHANGED` | nothing | the customer, where there is one |

use bytes::Bytes;
use countersign_grants::{
    catalogue::{FieldPath, PurposeCode},
    commitment::{self, SALT_BYTES},
    digest::Digest,
    id::{CustomerName, GrantName, PartnerName},
    lifecycle::ABANDONED,
    time::{Entropy, draw},
};
use countersign_ledger::{Draft, StreamKey};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Outcome},
    row::v1::PrivatePart,
    v1,
};
use prost::Message as _;

use crate::{
    broker::{Broker, damaged},
    caller::Party,
    error::Fault,
    private::{self, DataKey, DataKeyId, OpenPrivateError, SealedUnder},
    rows,
};

/// The version of the record message.
const RECORD_VERSION: u32 = 1;

/// What happened, before it has a place in the log. Set what applies, and leave the rest to `Default`.
#[derive(Default)]
pub struct Happening<'a> {
    /// What happened.
    pub kind: Kind,
    /// Who gives, or the partner that the record is about.
    pub source: Option<&'a PartnerName>,
    /// Who receives.
    pub recipient: Option<&'a PartnerName>,
    /// A partner that is neither, and is told: the requester of a grant between two others.
    pub also: Option<&'a PartnerName>,
    /// The customer, with the key of their private parts.
    pub customer: Option<&'a CustomerKey>,
    /// The customer, where the record can come when the account is closed: told of it, and nothing of them stands in it.
    pub told: Option<&'a CustomerName>,
    /// The purpose.
    pub purpose: Option<&'a PurposeCode>,
    /// The catalogue that applied.
    pub catalogue_version: Option<Digest>,
    /// How it went.
    pub result: Outcome,
    /// Why it was refused, or why an operator or a partner acted.
    pub reason: &'a str,
    /// The customer is not told of it: of a request that is not shown, or not yet.
    pub unseen: bool,
    /// The grant, and the bytes by which the log knows it.
    pub grant: Option<(&'a GrantName, [u8; 32])>,
    /// The fields, in order.
    pub fields: &'a [FieldPath],
    /// The statements on which the record rests, in order.
    pub evidence: &'a [Digest],
    /// With a repeated release: the number of the use that the first one spent. Else the ledger numbers it.
    pub use_number: u64,
    /// What else stands beside the record. Salts, customer, fields, evidence and grant are filled in here.
    pub private: PrivatePart,
}

/// A customer with the key of their private parts.
#[derive(Clone)]
pub struct CustomerKey {
    /// The customer.
    pub name: CustomerName,
    /// What names the key in sealed bytes.
    pub id: DataKeyId,
    /// The key.
    pub key: DataKey,
    /// Whether the customer reported the root secret stolen: then no data flows.
    pub stolen: bool,
}

/// A draft record, and what opens its commitments.
pub struct Drafted {
    /// What the ledger gives its place.
    pub draft: Draft,
    /// What opens its commitments.
    pub salts: Salts,
}

/// What opens a record's commitments; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salts {
    /// Opens the commitment to the customer.
    pub subject: Bytes,
    /// Opens the commitment to the fields.
    pub fields: Bytes,
    /// Opens the commitment to the evidence.
    pub evidence: Bytes,
}

/// A record that stands in the log, with its proof.
#[derive(Clone, Debug)]
pub struct Entered {
    /// The proof.
    pub receipt: countersign_ledger::Receipt,
    /// What opens its commitments.
    pub salts: Salts,
}

impl Salts {
    /// As they stand in a private part.
    pub fn of(part: &PrivatePart) -> Self {
        Self {
            subject: part.subject_salt.clone(),
            fields: part.fields_salt.clone(),
            evidence: part.evidence_salt.clone(),
        }
    }
}

impl Entered {
    /// The receipt as this party gets it: what opens the customer's commitment is the customer's alone.
    pub fn for_party(&self, party: &Party) -> v1::Receipt {
        let mut receipt = bare(&self.receipt);
        receipt.fields_salt = self.salts.fields.clone();
        receipt.evidence_salt = self.salts.evidence.clone();
        if matches!(party, Party::Customer(_)) {
            receipt.subject_salt = self.salts.subject.clone();
        }
        receipt
    }
}

/// The receipt without anything that opens it: what auditors get.
pub fn bare(receipt: &countersign_ledger::Receipt) -> v1::Receipt {
    v1::Receipt {
        record: receipt.record.clone(),
        index: receipt.index,
        path: receipt.path.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect(),
        checkpoint: receipt.checkpoint.clone(),
        ..v1::Receipt::default()
    }
}

/// What became of a private part.
pub enum Kept {
    /// It opens.
    Opened(Box<PrivatePart>),
    /// Its customer was erased, and the record at this index says so.
    Erased {
        /// The record's index.
        index: u64,
    },
    /// Its key is gone, and no record says why.
    Missing,
}

/// The stream of the record that says that a data key was destroyed: the one way from what is left to that record.
pub fn erased_stream(id: DataKeyId) -> StreamKey {
    StreamKey::from([b"erased/".as_slice(), &id.0].concat().as_slice())
}

/// The stream of a partner, a customer or a grant: its resource name.
pub fn stream(name: &str) -> StreamKey {
    StreamKey::from(name)
}

impl Broker {
    /// Drafts the record of what happened, and seals its private part.
    pub fn draft(&self, happening: Happening<'_>) -> Drafted {
        let entropy = self.entropy();
        let streams = streams(&happening);
        let grant = happening.grant.map(|(name, _)| stream(name.as_str()));
        let mut part = happening.private;
        let mut record = Record {
            version: RECORD_VERSION,
            source: happening.source.map(PartnerName::to_string).unwrap_or_default(),
            recipient: happening.recipient.map(PartnerName::to_string).unwrap_or_default(),
            purpose: happening.purpose.map(PurposeCode::to_string).unwrap_or_default(),
            catalogue_version: happening.catalogue_version.map(Bytes::from).unwrap_or_default(),
            reason: happening.reason.to_owned(),
            use_number: happening.use_number,
            record_id: Bytes::copy_from_slice(&draw::<16>(entropy)),
            ..Record::default()
        };
        record.set_kind(happening.kind);
        record.set_result(happening.result);
        if let Some((name, tag)) = happening.grant {
            record.grant_tag = Bytes::copy_from_slice(&tag);
            part.grant = name.to_string();
        }
        if let Some(customer) = happening.customer {
            let salt = salt(entropy);
            record.subject_commitment = commitment::subject(&salt, &customer.name).into();
            part.subject_salt = Bytes::copy_from_slice(&salt);
            part.customer = customer.name.to_string();
        }
        if !happening.fields.is_empty() {
            let salt = salt(entropy);
            record.fields_commitment = commitment::fields(&salt, happening.fields).into();
            part.fields_salt = Bytes::copy_from_slice(&salt);
            part.fields = happening.fields.iter().map(FieldPath::to_string).collect();
        }
        if !happening.evidence.is_empty() {
            let salt = salt(entropy);
            record.evidence_commitment = commitment::evidence(&salt, happening.evidence).into();
            part.evidence_salt = Bytes::copy_from_slice(&salt);
            part.evidence = happening.evidence.iter().map(|digest| Bytes::from(*digest)).collect();
        }
        let salts = Salts::of(&part);
        let private = match happening.customer {
            Some(customer) => {
                let under = SealedUnder::Customer(customer.id);
                private::seal(&customer.key, under, self.origin(), &record, &part, entropy)
            }
            None => {
                private::seal(self.house_key(), SealedUnder::House, self.origin(), &record, &part, entropy)
            }
        };
        Drafted { draft: Draft { record, private: private.into(), streams, grant }, salts }
    }
}

impl Broker {
    /// Drafts the record of a customer's erasure, and what opens its commitments. Neither customer nor salts stand beside
    /// it: they go to the customer with the answer, and to nobody else. What stands there names the destroyed key. Without
    /// a closure it is the erasure of an account that was abandoned: it rests on nothing, and says so in clear.
    pub fn draft_erased(&self, customer: &CustomerName, id: DataKeyId, closure: Option<Digest>) -> Drafted {
        let entropy = self.entropy();
        let subject = salt(entropy);
        let mut record = Record {
            version: RECORD_VERSION,
            record_id: Bytes::copy_from_slice(&draw::<16>(entropy)),
            subject_commitment: commitment::subject(&subject, customer).into(),
            ..Record::default()
        };
        record.set_kind(Kind::CustomerErased);
        let mut salts = Salts { subject: Bytes::copy_from_slice(&subject), ..Salts::default() };
        match closure {
            Some(closure) => {
                let salt = salt(entropy);
                record.evidence_commitment = commitment::evidence(&salt, &[closure]).into();
                salts.evidence = Bytes::copy_from_slice(&salt);
            }
            None => ABANDONED.clone_into(&mut record.reason),
        }
        let part = PrivatePart { erased_data_key: Bytes::copy_from_slice(&id.0), ..PrivatePart::default() };
        let private =
            private::seal(self.house_key(), SealedUnder::House, self.origin(), &record, &part, entropy);
        let streams = vec![stream(customer.as_str()), erased_stream(id)];
        Drafted { draft: Draft { record, private: private.into(), streams, grant: None }, salts }
    }

    /// The index of the record that says that this data key was destroyed.
    pub async fn erasure_of(&self, id: DataKeyId) -> Result<Option<u64>, Fault> {
        let found = self.ledger().stream(&erased_stream(id), 0, 1).await?;
        Ok(found.first().map(|item| item.index))
    }

    /// Opens what stands beside a record.
    pub async fn open_private(&self, record: &Record, sealed: &[u8]) -> Result<Kept, Fault> {
        let broken = |error: OpenPrivateError| damaged("private part", &error);
        let opened = match private::sealed_under(sealed).map_err(broken)? {
            SealedUnder::House => private::open(self.house_key(), self.origin(), record, sealed),
            SealedUnder::Customer(id) => {
                let Some(wrapped) = self.load(rows::data_key(id)).await? else { return self.gone(id).await };
                let key = self.kek().unwrap(&wrapped.row).map_err(broken)?;
                private::open(&key, self.origin(), record, sealed)
            }
            SealedUnder::Erased(id) => return self.gone(id).await,
        };
        opened.map(|part| Kept::Opened(Box::new(part))).map_err(broken)
    }

    async fn gone(&self, id: DataKeyId) -> Result<Kept, Fault> {
        Ok(self.erasure_of(id).await?.map_or(Kept::Missing, |index| Kept::Erased { index }))
    }

    /// A record that stands already, with its proof at the newest head and what opens it.
    pub async fn entered(&self, index: u64) -> Result<Entered, Fault> {
        let receipt = self.ledger().proof(index).await?;
        let part = self.private_part(index, &receipt.record).await?;
        Ok(Entered { receipt, salts: part.map(|part| Salts::of(&part)).unwrap_or_default() })
    }

    /// What stands beside the record at this index; nothing if the customer was erased.
    pub async fn private_part(&self, index: u64, leaf: &Bytes) -> Result<Option<PrivatePart>, Fault> {
        match self.kept(index, leaf).await? {
            Kept::Opened(part) => Ok(Some(*part)),
            Kept::Erased { .. } => Ok(None),
            Kept::Missing => Err(damaged("private part", &"its key is missing, and no record says why")),
        }
    }

    /// What became of the private part of the record at this index.
    pub async fn kept(&self, index: u64, leaf: &Bytes) -> Result<Kept, Fault> {
        let record = Record::decode(leaf.clone()).map_err(|error| damaged("record", &error))?;
        let parts = self.ledger().private_parts(index..index + 1).await?;
        let sealed = parts.first().ok_or_else(|| damaged("record", &"its private part is missing"))?;
        self.open_private(&record, sealed).await
    }
}

fn streams(happening: &Happening<'_>) -> Vec<StreamKey> {
    let mut names: Vec<&str> = [happening.source, happening.recipient, happening.also]
        .into_iter()
        .flatten()
        .map(PartnerName::as_str)
        .chain(happening.customer.filter(|_| !happening.unseen).map(|customer| customer.name.as_str()))
        .chain(happening.told.map(CustomerName::as_str))
        .collect();
    // A requester is often a side too; one record stands once in one stream.
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(stream).collect()
}

fn salt(entropy: &dyn Entropy) -> [u8; SALT_BYTES] {
    draw(entropy)
}
