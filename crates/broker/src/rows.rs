//! The typed keys of every stored row, and the ordered indexes.
//!
//! A key says which message stands at it, so that no row is read as another. All rows of the broker begin with `b/`;
//! the ledger's stand elsewhere. Names inside keys can't hold a `/` too many: they were parsed.

use std::{marker::PhantomData, ops::Range};

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    id::{
        AuditorName, CatalogueName, CustomerName, GrantName, LinkName, OfferName, PartnerName, RequestName,
        SubjectHandle,
    },
    key::KeyId,
    time::Timestamp,
};
use countersign_ledger::work::Part;
use countersign_proto::row::v1::{
    AskerRow, AskingRow, CatalogueRow, CustomerChangeRow, CustomerRow, ErasureRow, GrantRequestRow, GrantRow,
    GrantStatementRow, LinkRow, OfferRow, PartnerKeyRow, PartnerRow, PrincipalRow, SubjectRow, WaitingRow,
    WrappedCopyRow,
};
use countersign_store::{Entry, Key, MAX_VALUE_BYTES, Store};
use prost::Message;

use crate::{caller::Party, error::Fault, private::DataKeyId};

/// Looking rows up.
static READS: Part = Part::new("reads");

/// The key of a row that holds an `R`.
pub struct RowKey<R> {
    key: Key,
    kind: &'static str,
    row: PhantomData<fn() -> R>,
}

impl<R> Clone for RowKey<R> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), kind: self.kind, row: PhantomData }
    }
}

/// A row as it was read: its key and version go with it, so that a commit can expect exactly what was read.
pub struct Loaded<R> {
    /// Where it stands.
    pub key: RowKey<R>,
    /// What stands there.
    pub row: R,
    /// The commit that wrote it.
    pub version: u64,
}

impl<R: Message + Default> RowKey<R> {
    fn new(kind: &'static str, parts: &[&[u8]]) -> Self {
        let mut key = format!("b/{kind}").into_bytes();
        for part in parts {
            key.push(b'/');
            key.extend_from_slice(part);
        }
        Self { key, kind, row: PhantomData }
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.key
    }

    /// What kind of row it is, for messages.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Reads the row.
    pub async fn load(self, store: &dyn Store) -> Result<Option<Loaded<R>>, Fault> {
        let found = READS.drive(store.get(&self.key)).await?;
        let Some(Entry { value, version }) = found else { return Ok(None) };
        let row = self.decode(value)?;
        Ok(Some(Loaded { key: self, row, version }))
    }

    /// The row's bytes. One too large for the store is refused here, with the statement that makes it so.
    pub fn encode(&self, row: &R) -> Result<Bytes, Fault> {
        let bytes = row.encode_to_vec();
        if bytes.len() > MAX_VALUE_BYTES {
            let problem = format!(
                "makes a {} of {} bytes with its signatures; {MAX_VALUE_BYTES} can be kept: write less, or in fewer languages",
                self.kind,
                bytes.len()
            );
            return Err(Fault::field("statement", problem));
        }
        Ok(bytes.into())
    }

    fn decode(&self, value: Bytes) -> Result<R, Fault> {
        R::decode(value).map_err(|error| Fault::Damaged { what: format!("a {} row: {error}", self.kind) })
    }
}

/// A partner.
pub fn partner(name: &PartnerName) -> RowKey<PartnerRow> {
    RowKey::new("partner", &[name.id().as_bytes()])
}

/// A published working key of a partner.
pub fn partner_key(partner: &PartnerName, key: &KeyId) -> RowKey<PartnerKeyRow> {
    RowKey::new("partner-key", &[partner.id().as_bytes(), key.as_str().as_bytes()])
}

/// An offer.
pub fn offer(name: &OfferName) -> RowKey<OfferRow> {
    RowKey::new("offer", &[name.digest().as_bytes()])
}

/// A link.
pub fn link(name: &LinkName) -> RowKey<LinkRow> {
    RowKey::new("link", &[name.digest().as_bytes()])
}

/// Which link a subject handle stands for.
pub fn subject(handle: &SubjectHandle) -> RowKey<SubjectRow> {
    RowKey::new("subject", &[handle.as_str().as_bytes()])
}

/// A customer.
pub fn customer(name: &CustomerName) -> RowKey<CustomerRow> {
    RowKey::new("customer", &[name.as_str().as_bytes()])
}

/// How a customer is asked.
pub fn asking(customer: &CustomerName) -> RowKey<AskingRow> {
    RowKey::new("asking", &[customer.as_str().as_bytes()])
}

/// How a partner stands with a customer as an asker.
pub fn asker(customer: &CustomerName, partner: &PartnerName) -> RowKey<AskerRow> {
    RowKey::new("asker", &[customer.as_str().as_bytes(), partner.id().as_bytes()])
}

/// How a partner stands with a customer as an asker by one of its handles.
pub fn asker_by(customer: &CustomerName, subject: &SubjectHandle) -> RowKey<AskerRow> {
    RowKey::new("asker-by", &[customer.as_str().as_bytes(), subject.as_str().as_bytes()])
}

/// A request that waits to be put before its customer: each partner's in the order in which they were put.
pub fn waiting(
    customer: &CustomerName,
    partner: &PartnerName,
    create_time_ms: u64,
    request: &RequestName,
) -> RowKey<WaitingRow> {
    let mut place = create_time_ms.to_be_bytes().to_vec();
    place.extend_from_slice(request.digest().as_bytes());
    RowKey::new("waiting", &[customer.as_str().as_bytes(), partner.id().as_bytes(), &place])
}

/// The customer's own change of this number.
pub fn customer_change(name: &CustomerName, sequence: u64) -> RowKey<CustomerChangeRow> {
    RowKey::new("customer-change", &[name.as_str().as_bytes(), &sequence.to_be_bytes()])
}

/// The wrapped copy of a root secret, by its authenticator.
pub fn wrapped_copy(authenticator: Digest) -> RowKey<WrappedCopyRow> {
    RowKey::new("wrapped-copy", &[authenticator.as_bytes()])
}

/// A customer's wrapped data key, by the id that private parts name it by.
pub fn data_key(id: DataKeyId) -> RowKey<Bytes> {
    RowKey::new("data-key", &[&id.0])
}

/// An auditor. Operators stand in the configuration.
pub fn auditor(name: &AuditorName) -> RowKey<PrincipalRow> {
    RowKey::new("auditor", &[name.id().as_bytes()])
}

/// A catalogue that was put to use.
pub fn catalogue(name: &CatalogueName) -> RowKey<CatalogueRow> {
    RowKey::new("catalogue", &[name.digest().as_bytes()])
}

/// A grant request.
pub fn grant_request(name: &RequestName) -> RowKey<GrantRequestRow> {
    RowKey::new("request", &[name.digest().as_bytes()])
}

/// A grant.
pub fn grant(name: &GrantName) -> RowKey<GrantRow> {
    RowKey::new("grant", &[name.digest().as_bytes()])
}

/// A log tag that was used: tags are never used twice.
pub fn log_tag(tag: &[u8; 32]) -> RowKey<String> {
    RowKey::new("log-tag", &[tag])
}

/// The customer's change of this number.
pub fn grant_change(grant: &GrantName, sequence: u64) -> RowKey<GrantStatementRow> {
    RowKey::new("grant-statement", &[grant.digest().as_bytes(), b"c", &sequence.to_be_bytes()])
}

/// A partner's acknowledgement of the change of this number; 0 stands for the terms.
pub fn acknowledgement(grant: &GrantName, sequence: u64, partner: &PartnerName) -> RowKey<GrantStatementRow> {
    let (grant, partner) = (grant.digest(), partner.id());
    RowKey::new("grant-statement", &[grant.as_bytes(), b"a", &sequence.to_be_bytes(), partner.as_bytes()])
}

/// A partner's own change of this number.
pub fn partner_change(grant: &GrantName, partner: &PartnerName, sequence: u64) -> RowKey<GrantStatementRow> {
    let (grant, partner) = (grant.digest(), partner.id());
    RowKey::new("grant-statement", &[grant.as_bytes(), b"p", partner.as_bytes(), &sequence.to_be_bytes()])
}

/// The order to a grant's recipient to delete what it received. It stays when the customer's rows go.
pub fn erasure(grant: &GrantName) -> RowKey<ErasureRow> {
    RowKey::new("erasure", &[grant.digest().as_bytes()])
}

/// A range of rows of one kind, read in the order of their keys.
pub struct RowRange<R> {
    prefix: RowKey<R>,
}

/// All partners, by name.
pub fn partners() -> RowRange<PartnerRow> {
    RowRange::new("partner", &[])
}

/// The partners that asked a customer, by id: the place of each ends its key.
pub fn askers(customer: &CustomerName) -> RowRange<AskerRow> {
    RowRange::new("asker", &[customer.as_str().as_bytes()])
}

/// How the partners that asked a customer stand by their handles.
pub fn askers_by_subject(customer: &CustomerName) -> RowRange<AskerRow> {
    RowRange::new("asker-by", &[customer.as_str().as_bytes()])
}

/// How one partner stands by its handles of a customer.
pub fn asker_by_subjects(customer: &CustomerName, partner: &PartnerName) -> RowRange<AskerRow> {
    let (customer, partner) = (customer.as_str().as_bytes(), partner.as_str().as_bytes());
    RowRange::new("asker-by", &[customer, partner, b"subjects"])
}

/// The requests that wait to be put before a customer, by partner: a place begins with the partner's id and `/`.
pub fn all_waiting(customer: &CustomerName) -> RowRange<WaitingRow> {
    RowRange::new("waiting", &[customer.as_str().as_bytes()])
}

/// A customer's own changes, oldest first.
pub fn customer_changes(name: &CustomerName) -> RowRange<CustomerChangeRow> {
    RowRange::new("customer-change", &[name.as_str().as_bytes()])
}

/// The customer's changes of a grant, oldest first.
pub fn grant_changes(grant: &GrantName) -> RowRange<GrantStatementRow> {
    RowRange::new("grant-statement", &[grant.digest().as_bytes(), b"c"])
}

/// The acknowledgements of a grant's statements, in the order of what they acknowledge.
pub fn acknowledgements(grant: &GrantName) -> RowRange<GrantStatementRow> {
    RowRange::new("grant-statement", &[grant.digest().as_bytes(), b"a"])
}

/// The changes of a grant by its source and its recipient, each partner's oldest first.
pub fn partner_changes(grant: &GrantName) -> RowRange<GrantStatementRow> {
    RowRange::new("grant-statement", &[grant.digest().as_bytes(), b"p"])
}

/// All that was signed of a grant after its terms.
pub fn grant_statements(grant: &GrantName) -> RowRange<GrantStatementRow> {
    RowRange::new("grant-statement", &[grant.digest().as_bytes()])
}

/// Names of resources, ordered by a time; the row is the resource's name.
pub type Index = RowRange<String>;

/// A partner's keys; the names are key ids, and the order is their sequence.
pub fn keys_of(partner: &PartnerName) -> Index {
    RowRange::new("keys-of", &[partner.id().as_bytes()])
}

/// All catalogues, oldest first.
pub fn catalogues() -> Index {
    RowRange::new("catalogues", &[])
}

/// A recipient's offers.
pub fn offers_of(recipient: &PartnerName) -> Index {
    RowRange::new("offers-of", &[recipient.id().as_bytes()])
}

/// A partner's or a customer's links.
pub fn links_of(party: &Party) -> Index {
    RowRange::new("links-of", &[party.as_str().as_bytes()])
}

/// The requests that a partner made, or that were put before a customer.
pub fn grant_requests_of(party: &Party) -> Index {
    RowRange::new("requests-of", &[party.as_str().as_bytes()])
}

/// The requests to a customer that ended before they were shown. The customer alone can list them, and an erasure finds them
/// here.
pub fn unseen_requests_of(customer: &CustomerName) -> Index {
    RowRange::new("unseen-requests-of", &[customer.as_str().as_bytes()])
}

/// The grants to which a partner is a side, or that a customer gave.
pub fn grants_of(party: &Party) -> Index {
    RowRange::new("grants-of", &[party.as_str().as_bytes()])
}

/// The grants that give data of this handle of their source, as long as the customer has not stopped them.
pub fn grants_from(source_subject: &SubjectHandle) -> Index {
    RowRange::new("grants-from", &[source_subject.as_str().as_bytes()])
}

/// The requests that wait for an answer, by when they lapse.
pub fn due() -> Index {
    RowRange::new("due", &[])
}

/// The grants whose recipients still have to delete what they received, by when that is due.
pub fn erasures_due() -> Index {
    RowRange::new("erasures-due", &[])
}

/// The customers who closed their accounts and whose rows are not all gone, by when they did.
pub fn closed_customers() -> Index {
    RowRange::new("closed-customers", &[])
}

impl Index {
    /// The key of an entry at this place, as [`RowRange::load`] gave it.
    pub fn at(&self, place: &[u8]) -> Key {
        [self.prefix.key.as_slice(), place].concat()
    }

    /// The entry of the resource with this digest, placed by this time or number.
    pub fn entry(&self, at: u64, digest: Digest) -> RowKey<String> {
        let mut key = self.prefix.clone();
        key.key.extend_from_slice(&at.to_be_bytes());
        key.key.extend_from_slice(digest.as_bytes());
        key
    }

    /// The first entries placed at this moment or before it.
    pub async fn until(&self, store: &dyn Store, at: Timestamp, limit: usize) -> Result<Vec<String>, Fault> {
        let mut end = self.prefix.key.clone();
        end.extend_from_slice(&at.as_millis().saturating_add(1).to_be_bytes());
        let entries = store.scan(self.prefix.key.clone()..end, limit).await?;
        entries.into_iter().map(|(_, entry)| self.prefix.decode(entry.value)).collect()
    }
}

impl<R: Message + Default> RowRange<R> {
    fn new(kind: &'static str, parts: &[&[u8]]) -> Self {
        let mut prefix = RowKey::new(kind, parts);
        prefix.key.push(b'/');
        Self { prefix }
    }

    /// The range's name, to which page tokens are bound.
    pub fn name(&self) -> &[u8] {
        &self.prefix.key
    }

    /// The keys of the first rows.
    pub async fn keys(&self, store: &dyn Store, limit: usize) -> Result<Vec<Key>, Fault> {
        let prefix = &self.prefix.key;
        let entries = store.scan(prefix.clone()..end_of(prefix), limit).await?;
        Ok(entries.into_iter().map(|(key, _)| key).collect())
    }

    /// The first rows after this place (the end of a key, as [`RowRange::load`] gave it), at most `limit`.
    pub async fn load(
        &self,
        store: &dyn Store,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, R)>, Fault> {
        let prefix = &self.prefix.key;
        let start = match after {
            // The next key after a key is that key with a zero byte.
            Some(place) => [prefix.as_slice(), place, &[0]].concat(),
            None => prefix.clone(),
        };
        let entries = store.scan(Range { start, end: end_of(prefix) }, limit).await?;
        let read =
            |(key, entry): (Key, Entry)| Ok((key[prefix.len()..].to_vec(), self.prefix.decode(entry.value)?));
        entries.into_iter().map(read).collect()
    }
}

/// The first key after all those with this prefix, which ends in `/`.
fn end_of(prefix: &[u8]) -> Key {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_within_the_store() {
        let partner = PartnerName::of_id(&"p".repeat(32)).expect("an id");
        let handle = SubjectHandle::of(&partner, [0xff; 16]);
        let longest = grants_from(&handle).entry(u64::MAX, Digest::of(b"x"));
        assert!(longest.as_bytes().len() <= countersign_store::MAX_KEY_BYTES);
        let customer = CustomerName::parse(&format!("customers/{}", "k".repeat(43))).expect("a name");
        assert!(asker_by(&customer, &handle).as_bytes().len() <= countersign_store::MAX_KEY_BYTES);
        let longest = waiting(&customer, &partner, u64::MAX, &RequestName::of(Digest::of(b"x")));
        assert!(longest.as_bytes().len() <= countersign_store::MAX_KEY_BYTES);
    }

    #[test]
    fn entries_lie_in_their_range_in_the_order_of_time() {
        let one = PartnerName::of_id("skylark").expect("an id");
        let index = offers_of(&one);
        let (early, late) = (index.entry(1, Digest::of(b"z")), index.entry(256, Digest::of(b"a")));
        assert!(index.name() < early.as_bytes() && early.as_bytes() < late.as_bytes());
        assert!(late.as_bytes() < end_of(index.name()).as_slice());
        let other = offers_of(&PartnerName::of_id("skylark-2").expect("an id"));
        assert!(!other.entry(1, Digest::of(b"z")).as_bytes().starts_with(index.name()));
    }

    #[test]
    fn a_row_too_large_says_so() {
        let key = data_key(DataKeyId([1; 16]));
        assert!(key.encode(&Bytes::from(vec![0; MAX_VALUE_BYTES - 8])).is_ok());
        let fault = key.encode(&Bytes::from(vec![0; MAX_VALUE_BYTES])).expect_err("too large");
        assert_eq!(fault.reason(), "FIELD_INVALID");
    }
}
