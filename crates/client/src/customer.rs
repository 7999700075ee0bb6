//! The customer's side: links, requests, approvals, stops.
//!
//! The customer trusts the broker with nothing. A request counts only if the partner signed it under the identity that
//! the customer pinned when linking; an approval, a pause or a stop counts as *recorded* only when its proof has verified,
//! and as *stopped* only on the source's own signed word. Once the log has shown two faces every call says so; a refusal, a pause
//! and a stop are still sent, and not called recorded.
//!
//! ```no_run
//! use countersign_client::{
//!     BrokerTrust, FileBook, InvitationPackage, System,
//!     customer::{Choice, Customer, CustomerBook, Wallet},
//! };
//!
//! # async fn example(package: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let trust = BrokerTrust::read("broker.json".as_ref())?;
//! let wallet = Wallet::read("mei/wallet".as_ref())?;
//! let book = CustomerBook::open(FileBook::open("mei/book".as_ref())?)?;
//! let customer = Customer::open(trust, wallet, book, System::real())?;
//! customer.register().await?;
//!
//! // In the partner's app the person was handed an invitation; the code goes back there.
//! let accepted = customer.accept(&InvitationPackage::parse(package)?).await?;
//! println!("{}: {} — type {}", accepted.partner, accepted.label, accepted.code);
//!
//! for waiting in customer.requests().await? {
//!     let request = customer.read_request(&waiting.name).await?;
//!     // What would leave, live: shown to nobody but her.
//!     let fields: Vec<_> = request.rows()[0].offer.statement().fields().cloned().collect();
//!     let previewed = customer.preview(&request, 1, &fields).await?;
//!     println!("{} = {:?}", previewed.values[0].0, previewed.values[0].1.as_str());
//!     // Required rows alone: what is optional starts switched off.
//!     let approved = customer.approve(&request, &Choice::required("en")).await?;
//!     let stopping = customer.stop(&approved[0].grant, false).await?; // recorded
//!     stopping.wait_until_acknowledged(std::time::Duration::from_secs(60)).await?; // stopped
//! }
//! # Ok(())
//! # }
//! ```

mod activity;
mod answer;
mod approve;
mod asking;
mod authenticator;
mod book;
mod change;
mod change_all;
mod close;
mod compare;
mod devices;
mod entry;
mod erasure;
mod export;
mod grants;
mod heard;
mod link;
mod narrow;
mod preview;
mod read;
mod standing;
mod stolen;
mod tap;
mod wallet;

#[cfg(test)]
mod lying_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timeline_tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use countersign_grants::{
    catalogue::Catalogue,
    digest::Digest,
    id::{CustomerName, Origin, Principal},
    time::Timestamp,
};
use countersign_proto::v1::{self, CreateCustomerRequest};
use parking_lot::Mutex;

pub use self::{
    activity::{Activity, Timeline, Watch},
    approve::{Approved, Choice},
    authenticator::{AuthenticatorSecret, UnwrapError, WRAPPED_BYTES},
    book::{CustomerBook, GrantRow, LinkRow, PreviewRow, Standing},
    change::{Acknowledged, LaterChange, Recorded},
    change_all::{All, Each},
    close::{Closing, Unheard},
    compare::{Compared, SincePreview},
    devices::{Device, fetch_wallet},
    erasure::ErasureView,
    export::{ExportError, Exported},
    grants::GrantView,
    link::{Accepted, Invited},
    narrow::{Narrowed, Narrowing},
    preview::Previewed,
    read::{ReadRequest, Row, Waiting},
    stolen::{Report, Stolen},
    tap::Tapped,
    wallet::{Wallet, WalletError},
};
use crate::{
    channel::{Connection, call},
    checkpoint::Monitor,
    error::{Error, Party},
    system::System,
    trust::BrokerTrust,
};

/// How far the broker's clock may lie from the customer's: as far as a fetch's time from a source's.
pub(crate) const MAX_CLOCK_SKEW: Duration = Duration::from_secs(120);

/// The most entries of one list that are read: far more than a person ever has, and a bound on what a broker can make
/// an app hold.
const MAX_LISTED: usize = 20_000;

/// The largest page that the API gives.
const PAGE_SIZE: i32 = 200;

/// One customer at one broker. Cloning shares it.
#[derive(Clone)]
pub struct Customer(Arc<Inner>);

struct Inner {
    trust: BrokerTrust,
    wallet: Wallet,
    book: CustomerBook,
    connection: Connection,
    monitor: Monitor,
    system: System,
    /// Catalogues never change, so each is fetched once.
    catalogues: Mutex<HashMap<Digest, Arc<Catalogue>>>,
    /// Held over an approval or a change, so that two of one app never get the same number.
    signing: tokio::sync::Mutex<()>,
}

impl Customer {
    /// Takes up where the book left off, and starts to prove the log's heads in the background. Nothing is sent yet. Must
    /// be called within a tokio runtime.
    pub fn open(
        trust: BrokerTrust,
        wallet: Wallet,
        book: CustomerBook,
        system: System,
    ) -> Result<Self, Error> {
        let principal = Principal::Customer(wallet.customer().clone());
        let connection = Connection::open(&trust, principal, wallet.call_key(), Arc::clone(&system.clock))?;
        Self::open_on(trust, wallet, book, system, connection)
    }

    /// The same, on a connection that was prepared for this customer.
    pub fn open_on(
        trust: BrokerTrust,
        wallet: Wallet,
        book: CustomerBook,
        system: System,
        connection: Connection,
    ) -> Result<Self, Error> {
        let monitor = Monitor::open(
            trust.log_key.clone(),
            Arc::new(connection.clone()),
            Arc::new(book.clone()),
            &system,
        )?;
        monitor.spawn();
        Ok(Self(Arc::new(Inner {
            trust,
            wallet,
            book,
            connection,
            monitor,
            system,
            catalogues: Mutex::default(),
            signing: tokio::sync::Mutex::default(),
        })))
    }

    /// Who the customer is at the broker.
    pub fn name(&self) -> &CustomerName {
        self.0.wallet.customer()
    }

    /// What the customer keeps.
    pub fn book(&self) -> &CustomerBook {
        &self.0.book
    }

    /// Enters the customer at the broker. Again, it changes nothing.
    pub async fn register(&self) -> Result<v1::Customer, Error> {
        let customer = v1::Customer {
            name: self.name().to_string(),
            public_key: self.0.wallet.call_key().public().as_bytes().to_vec().into(),
            ..v1::Customer::default()
        };
        let asked = CreateCustomerRequest { customer: Some(customer) };
        let entered = self.0.connection.customers().create_customer(call(asked)).await?.into_inner();
        self.own(entered)
    }

    /// Proves the log's newest published head against the one in the book, and every head that was met meanwhile. The
    /// background does the same each second; who opens a customer for one call only calls this before leaving.
    pub async fn settle(&self) -> Result<(), Error> {
        self.0.monitor.refresh().await.map(drop)
    }

    fn origin(&self) -> &Origin {
        &self.0.trust.origin
    }

    fn now(&self) -> Timestamp {
        self.0.system.now()
    }
}

/// Collects pages until the empty token, or fails where a broker never ends.
async fn all_pages<T, F>(mut page: impl FnMut(String) -> F) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<(Vec<T>, String), Error>>,
{
    let mut all = Vec::new();
    let mut token = String::new();
    // An empty page counts as an entry, so that a broker that hands out nothing else ends as well.
    let mut empty = 0;
    loop {
        let (items, next) = page(token).await?;
        empty += usize::from(items.is_empty());
        all.extend(items);
        if next.is_empty() {
            return Ok(all);
        }
        if all.len() + empty > MAX_LISTED {
            let detail = format!("more than {MAX_LISTED} entries");
            return Err(Error::misbehaved(Party::Broker, "list", "length", detail));
        }
        token = next;
    }
}
