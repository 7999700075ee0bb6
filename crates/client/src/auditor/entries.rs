//! Entries through the API: lists by filter, and single ones with their proof.

use std::sync::Arc;

use bytes::Bytes;
use countersign_grants::{
    id::{AuditorName, PartnerName, Principal},
    key::SigningKey,
    time::Timestamp,
};
use countersign_proto::{
    log::v1::{Kind, Record},
    v1::{GetLogEntryRequest, ListLogEntriesRequest, LogEntry, log_entry::PrivatePartState},
};
use countersign_tlog::{Hash, ProofFile};
use prost::Message as _;

use super::http::Authorization;
use crate::{
    channel::{Connection, call},
    checkpoint::{HeadKeeper, Monitor},
    error::{Error, Party},
    receipt::ProvenLeaf,
    system::System,
    trust::BrokerTrust,
};

/// The log of a broker that has one.
const LOG: &str = "logs/-";

/// Conditions that an entry must meet, all of them. What is `None` is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Source or recipient.
    pub partner: Option<PartnerName>,
    /// The purpose's code.
    pub purpose: Option<String>,
    /// What happened.
    pub kind: Option<Kind>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// The earliest time.
    pub since: Option<Timestamp>,
    /// The first time that is too late.
    pub until: Option<Timestamp>,
    /// The first index.
    pub from: Option<u64>,
    /// The first index that is too late.
    pub to: Option<u64>,
}

/// An entry as it was listed: read, not proven. [`Auditor::entry`] proves one, [`super::verify()`] all.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The index in the log.
    pub index: u64,
    /// The record, read.
    pub record: Record,
    /// The exact leaf.
    pub leaf: Bytes,
}

/// What became of the private part beside an entry.
#[derive(Clone, Debug)]
pub enum PrivatePart {
    /// By the broker's word it stands, and opens.
    Kept,
    /// Its customer was erased, and this entry says so: by a closure, or because the account was abandoned.
    Erased {
        /// The entry.
        by: Box<ProvenLeaf>,
    },
    /// It does not open, and nothing says why: the broker lost it.
    Missing,
}

/// A page of entries.
#[derive(Clone, Debug)]
pub struct Page {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<String>,
}

/// One auditor at one broker. Cloning shares it.
#[derive(Clone)]
pub struct Auditor {
    connection: Connection,
    monitor: Monitor,
}

impl Filter {
    /// The API's filter expression.
    pub fn expression(&self) -> String {
        let text = |name: &str, value: &str| {
            format!("{name} = \"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
        };
        let time = |operator: &str, time: Timestamp| {
            let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
            let moment = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
            format!("time {operator} \"{moment}\"")
        };
        let conditions = [
            self.partner.as_ref().map(|partner| text("partner", partner.as_str())),
            self.purpose.as_ref().map(|purpose| text("purpose", purpose)),
            self.kind.map(|kind| format!("kind = {}", kind.as_str_name())),
            self.reason.as_ref().map(|reason| text("reason", reason)),
            self.since.map(|since| time(">=", since)),
            self.until.map(|until| time("<", until)),
            self.from.map(|index| format!("index >= {index}")),
            self.to.map(|index| format!("index < {index}")),
        ];
        conditions.into_iter().flatten().collect::<Vec<_>>().join(" AND ")
    }
}

impl Auditor {
    /// Prepares to call as this auditor. Nothing is sent yet. Every read is a record of the log itself.
    pub fn open(
        trust: &BrokerTrust,
        name: AuditorName,
        key: &SigningKey,
        heads: Arc<dyn HeadKeeper>,
        system: &System,
    ) -> Result<Self, Error> {
        let connection = Connection::open(trust, Principal::Auditor(name), key, Arc::clone(&system.clock))?;
        Self::open_on(trust, heads, system, connection)
    }

    /// The same, on a connection that was prepared for this auditor.
    pub fn open_on(
        trust: &BrokerTrust,
        heads: Arc<dyn HeadKeeper>,
        system: &System,
        connection: Connection,
    ) -> Result<Self, Error> {
        let log = Arc::new(connection.clone());
        let monitor = Monitor::open(trust.log_key.clone(), log, heads, system)?;
        Ok(Self { connection, monitor })
    }

    /// A page of entries that meet the filter, oldest first.
    pub async fn list(&self, filter: &Filter, page_size: i32, page: Option<String>) -> Result<Page, Error> {
        let asked = ListLogEntriesRequest {
            parent: LOG.to_owned(),
            filter: filter.expression(),
            page_size,
            page_token: page.unwrap_or_default(),
        };
        let answer = self.connection.audit().list_log_entries(call(asked)).await?.into_inner();
        let entries = answer.log_entries.into_iter().map(|entry| {
            let receipt =
                entry.receipt.ok_or_else(|| wrong("receipt", "an entry comes without its record"))?;
            let record = Record::decode(receipt.record.clone())
                .map_err(|error| wrong("record", &error.to_string()))?;
            Ok(Entry { index: receipt.index, record, leaf: receipt.record })
        });
        let next = Some(answer.next_page_token).filter(|token| !token.is_empty());
        Ok(Page { entries: entries.collect::<Result<_, Error>>()?, next })
    }

    /// One entry, proven under a head that the log signed.
    pub async fn entry(&self, index: u64) -> Result<ProvenLeaf, Error> {
        self.read(index).await.map(|(proven, _)| proven)
    }

    /// One entry, proven, and what became of the private part beside it. That it was erased counts only with the entry that
    /// says so, proven too.
    pub async fn entry_and_private_part(&self, index: u64) -> Result<(ProvenLeaf, PrivatePart), Error> {
        let (proven, entry) = self.read(index).await?;
        let private_part = match entry.private_part() {
            PrivatePartState::Kept => PrivatePart::Kept,
            PrivatePartState::Erased => {
                let by = entry.erasure.strip_prefix(LOG).and_then(|rest| rest.strip_prefix("/entries/"));
                let by = by.and_then(|digits| digits.parse().ok()).filter(|by| *by > index);
                let by = by.ok_or_else(|| wrong("erasure", "it names no later entry that says so"))?;
                let (by, _) = self.read(by).await?;
                if by.record().kind() != Kind::CustomerErased {
                    return Err(wrong("erasure", "the entry that it names is no customer's erasure"));
                }
                PrivatePart::Erased { by: Box::new(by) }
            }
            PrivatePartState::Missing | PrivatePartState::Unspecified => PrivatePart::Missing,
        };
        Ok((proven, private_part))
    }

    async fn read(&self, index: u64) -> Result<(ProvenLeaf, LogEntry), Error> {
        let asked = GetLogEntryRequest { name: format!("{LOG}/entries/{index}") };
        let entry = self.connection.audit().get_log_entry(call(asked)).await?.into_inner();
        let proven = ProvenLeaf::prove(entry.receipt.as_ref(), &self.monitor)?;
        if proven.index() == index {
            Ok((proven, entry))
        } else {
            Err(wrong("index", &format!("asked for entry {index}, got {}", proven.index())))
        }
    }

    /// Proves the log's newest published head against the one that was kept, and every head that was met meanwhile.
    pub async fn settle(&self) -> Result<(), Error> {
        self.monitor.refresh().await.map(drop)
    }

    /// What [`super::HttpLog`] sends to be given entries.
    pub fn authorization(&self) -> Authorization {
        let connection = self.connection.clone();
        Arc::new(move || connection.authorization())
    }
}

/// A proof as a file that anybody verifies offline (C2SP tlog-proof), with the record as its extra data.
pub fn proof_file(proven: &ProvenLeaf) -> Result<ProofFile, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::malformed("proof", error);
    let path = proven.receipt().path.iter().map(|hash| Hash::from_slice(hash));
    let path = path.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
    let file = ProofFile::new(proven.index(), path, proven.checkpoint()).map_err(|error| failed(&error))?;
    file.with_extra(proven.leaf().clone()).map_err(|error| failed(&error))
}

fn wrong(check: &'static str, detail: &str) -> Error {
    Error::misbehaved(Party::Broker, "entry", check, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filter: &Filter, expected: &str) {
        assert_eq!(filter.expression(), expected);
    }

    #[test]
    fn filters_are_written_as_the_api_reads_them() {
        check(&Filter::default(), "");
        let partner = PartnerName::of_id("hopp").expect("an id");
        check(
            &Filter { partner: Some(partner), kind: Some(Kind::Transfer), ..Filter::default() },
            "partner = \"partners/hopp\" AND kind = KIND_TRANSFER",
        );
        check(
            &Filter {
                purpose: Some("a\"b".into()),
                since: Some(Timestamp::from_millis(1_362_700_800_000)),
                until: Some(Timestamp::from_millis(1_362_700_800_500)),
                from: Some(7),
                ..Filter::default()
            },
            "purpose = \"a\\\"b\" AND time >= \"2013-03-08T00:00:00Z\" AND time < \"2013-03-08T00:00:00.5Z\" \
             AND index >= 7",
        );
    }
}
