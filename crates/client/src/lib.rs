#![doc = r#"
Countersign's SDK: a partner writes a handler or a call, and no cryptography.

Every check that a party owes itself is made here, against its own [book](book), by its own clock: identities, the link
ceremony with its secret and code, terms within offers, fetches within terms, uses, the numbers of changes, receipts, and
what the log's leaves say. The broker is asked for everything and believed nothing.

# A source

A source answers for its own data. The handler is asked once per fetch, after everything has verified; the SDK pads,
seals and signs what it gives, and sees to it that a proof of what became of it comes back.

```no_run
use countersign_client::{
    Book, BrokerTrust, FileBook, Partner, PartnerConfig, ProvideError, SourceHandler, SourceServer, System, Value,
    keyfile,
};
use countersign_grants::{catalogue::FieldPath, id::{PartnerName, SubjectHandle}, key::PublicKey};
use countersign_proto::statement::v1::Envelope;

struct Flights;

#[async_trait::async_trait]
impl SourceHandler for Flights {
    async fn provide(&self, subject: &SubjectHandle, fields: &[FieldPath]) -> Result<Vec<Value>, ProvideError> {
        let trip = find_trip(subject).ok_or(ProvideError::NotFound)?;
        Ok(fields.iter().map(|field| Value::from(trip.field(field.as_str()))).collect())
    }
}

# struct Trip;
# impl Trip { fn field(&self, _: &str) -> String { String::new() } }
# fn find_trip(_: &SubjectHandle) -> Option<Trip> { None }
# async fn source(identity: PublicKey, certificate: Envelope) -> Result<(), Box<dyn std::error::Error>> {
let system = System::real();
let config = PartnerConfig {
    trust: BrokerTrust::read("broker.json".as_ref())?,
    name: PartnerName::parse("partners/skylark")?,
    identity,
    certificate,
    key: keyfile::read("skylark.key".as_ref())?,
    known_keys: vec![],
};
let book = Book::open(FileBook::open("skylark.book".as_ref())?, system.now())?;
let skylark = Partner::open(config, book, system)?;

let events = skylark.clone();
tokio::spawn(async move { events.run(|noted| async move { println!("{:?}", noted.event) }).await });

let listener = tokio::net::TcpListener::bind("127.0.0.1:7001").await?;
SourceServer::new(skylark, Flights).serve(listener, None, std::future::pending()).await?;
# Ok(())
# }
```

# A recipient

A recipient hears that a grant stands, and fetches under it. What comes back has verified in every part, and carries the
proof that the transfer stands in the log.

```no_run
# use countersign_client::{Error, Partner, PartnerEvent};
# async fn recipient(hopp: Partner) -> Result<(), Error> {
let mut events = hopp.watch_events();
loop {
    match events.next().await?.event {
        PartnerEvent::Approved { grant, .. } => {
            let trip = hopp.fetch(grant.name(), "pickup_planning", &["trip.flight_no", "trip.terminal"]).await?;
            println!("use {}, record {}", trip.use_number(), trip.receipt.index());
            println!("{:?}", trip.get("trip.flight_no").and_then(|value| value.as_str()));
        }
        PartnerEvent::Stopped { grant, erase } => println!("{} has ended; erase: {erase}", grant.name()),
        PartnerEvent::EraseDue { grant, subject, .. } => {
            println!("deleting what came under {grant} of {subject}");
            hopp.attest_erasure(&grant).await?;
        }
        _ => {}
    }
}
# }
```

Before that, the recipient [publishes an offer](Partner::publish_offer), [invites](Partner::invite) the person who is
signed in to link, [confirms](Partner::confirm) the link with the code that they bring back, and puts a
[request](Partner::request).
"#]

pub mod auditor;
pub mod book;
pub mod certificate;
pub mod channel;
pub mod checkpoint;
pub mod customer;
#[doc(hidden)]
pub mod doors;
pub mod error;
mod files;
#[cfg(test)]
mod fixtures;
pub mod invitation;
pub mod keyfile;
pub mod operator;
pub mod partner;
pub mod receipt;
pub mod recipient;
/// Sealing and opening as the protocol has it, for measurements and vectors. A partner has no need of it.
#[doc(hidden)]
pub mod sealing;
pub mod source;
pub mod system;
pub mod trust;
mod value;

/// Ids, statements, the catalogue: what the SDK speaks of.
pub use countersign_grants as grants;
/// The messages of the API.
pub use countersign_proto as proto;
/// The log's formats.
pub use countersign_tlog as tlog;

pub use self::{
    book::{Book, BookStorage, FileBook, MemoryBook},
    certificate::KeyCertificate,
    channel::Connection,
    checkpoint::Monitor,
    error::{Error, Misuse, Refused},
    invitation::InvitationPackage,
    partner::{OfferDraft, Partner, PartnerConfig, PartnerEvent},
    recipient::Fetched,
    source::{ProvideError, SourceHandler, SourceServer},
    system::System,
    trust::BrokerTrust,
    value::Value,
};
