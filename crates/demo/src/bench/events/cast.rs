//! Who takes part: a source, recipients, and people who each approved one grant to every one of these. All of them stand in
//! this process, and none watches by its SDK: the streams that are opened are the ones that are measured.

use anyhow::{Context, Result, ensure};
use countersign_client::{
    Book, BrokerTrust, Connection, OfferDraft, Partner, PartnerConfig, System,
    customer::{Choice, Customer, CustomerBook, Wallet},
    grants::{
        id::{GrantName, OfferName, PartnerName, Principal, SubjectHandle},
        key::SigningKey,
    },
    operator::Operator,
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::{
    bench::load::{progress, unbounded},
    brand::keys::{self, Keys},
    journey::BENCH_ROW,
    stage::{self, Stage},
};

/// How many people link at a time.
const AT_A_TIME: usize = 8;

/// Notices a minute of one grant: as many as the broker can give.
const NOTICES: &str = "1000000";

/// How long a request waits for its answer.
const REQUEST_LIFE: std::time::Duration = std::time::Duration::from_secs(600);

/// The most streams of one principal, as the broker has it.
pub(super) const STREAMS_OF_ONE: usize = 64;

/// Streams that share a connection: a house's process watches once, and one process stands for several here.
pub(super) const STREAMS_ON_ONE: usize = 8;

/// Everybody, at one broker.
pub(super) struct Cast {
    pub(super) stage: Stage,
    pub(super) source: House,
    pub(super) recipients: Vec<House>,
    pub(super) people: Vec<Person>,
}

/// A partner.
pub(super) struct House {
    pub(super) partner: Partner,
    pub(super) party: Party,
}

/// A customer.
pub(super) struct Person {
    pub(super) customer: Customer,
    pub(super) party: Party,
    /// The source's handle.
    pub(super) subject: SubjectHandle,
    /// One for each recipient, in their order.
    pub(super) grants: Vec<GrantName>,
}

/// Who can watch: a principal's name, and its connections, which open when they are first used.
pub(super) struct Party {
    pub(super) name: String,
    pub(super) connections: Vec<Connection>,
}

impl Party {
    fn new(trust: &BrokerTrust, principal: &Principal, key: &SigningKey) -> Result<Self> {
        let connections = (0..STREAMS_OF_ONE / STREAMS_ON_ONE)
            .map(|_| Connection::open(trust, principal.clone(), key, System::real().clock));
        Ok(Self { name: principal.to_string(), connections: connections.collect::<Result<_, _>>()? })
    }
}

impl Cast {
    /// Sets everything up.
    pub(super) async fn set(recipients: usize, people: usize) -> Result<Self> {
        let stage = unbounded(&[], &[("QUOTAS__NOTICES", NOTICES)]).await?;
        let [operator, second] = stage.operators()?;
        let source = House::enter(&stage, [&operator, &second], "bench-source").await?;
        let mut houses = Vec::with_capacity(recipients);
        let mut offers = Vec::with_capacity(recipients);
        for nth in 0..recipients {
            let house = House::enter(&stage, [&operator, &second], &format!("bench-recipient-{nth}")).await?;
            let draft = OfferDraft { source: source.partner.name().clone(), ..BENCH_ROW.draft() };
            offers.push(house.partner.publish_offer(&draft).await?);
            houses.push(house);
        }
        let bar = progress(people as u64, "people linked and approved");
        let linked = stream::iter(0..people).map(|nth| {
            let (stage, source, houses, offers, bar) = (&stage, &source, &houses, &offers, &bar);
            async move {
                let person = Person::link(stage, source, houses, offers);
                let person = person.await.with_context(|| format!("person {nth}"))?;
                bar.inc(1);
                anyhow::Ok(person)
            }
        });
        let people = linked.buffer_unordered(AT_A_TIME).try_collect().await?;
        bar.finish_and_clear();
        Ok(Self { stage, source, recipients: houses, people })
    }

    /// All who can watch.
    pub(super) fn parties(&self) -> Vec<&Party> {
        let houses = std::iter::once(&self.source).chain(&self.recipients).map(|house| &house.party);
        houses.chain(self.people.iter().map(|person| &person.party)).collect()
    }
}

impl House {
    /// Draws its keys, and has the operators enter it.
    async fn enter(stage: &Stage, operators: [&Operator; 2], id: &str) -> Result<Self> {
        let (system, name) = (System::real(), PartnerName::of_id(id)?);
        let folder = stage.folder.path().join(id);
        std::fs::create_dir_all(&folder)?;
        let Keys { working, certificate } = keys::make(&folder, &name, &stage.trust, &system)?;
        let envelope = certificate.statement().clone();
        stage::enter(operators, (&name, id), (certificate.identity(), envelope.clone()), None).await?;
        let party = Party::new(&stage.trust, &Principal::Partner(name.clone()), &working)?;
        let config = PartnerConfig {
            trust: stage.trust.clone(),
            name,
            identity: certificate.identity().clone(),
            certificate: envelope,
            key: working,
            known_keys: Vec::new(),
        };
        Ok(Self { partner: Partner::open(config, Book::in_memory(), system)?, party })
    }
}

impl Person {
    /// A new customer, linked with everybody, who approves all rows of one request.
    async fn link(stage: &Stage, source: &House, houses: &[House], offers: &[OfferName]) -> Result<Self> {
        let system = System::real();
        let wallet = Wallet::draw(&system);
        let principal = Principal::Customer(wallet.customer().clone());
        let party = Party::new(&stage.trust, &principal, wallet.call_key())?;
        let customer = Customer::open(stage.trust.clone(), wallet, CustomerBook::in_memory(), system)?;
        customer.register().await?;
        let subject = link(&source.partner, &customer).await?;
        let mut handles = Vec::with_capacity(houses.len());
        for house in houses {
            handles.push(link(&house.partner, &customer).await?);
        }
        // The first recipient asks for all of them.
        let rows: Vec<(OfferName, bool)> = offers.iter().map(|offer| (offer.clone(), false)).collect();
        let asks = houses.first().zip(handles.first()).context("there is a recipient")?;
        let request = asks.0.partner.request(asks.1, &rows, REQUEST_LIFE).await?;
        let read = customer.read_request(&request).await?;
        let mut approved = customer.approve(&read, &Choice::required("en")).await?;
        approved.sort_by_key(|one| one.row);
        ensure!(approved.len() == houses.len(), "{} rows were approved", approved.len());
        let grants = approved.into_iter().map(|one| one.grant).collect();
        Ok(Self { customer, party, subject, grants })
    }
}

async fn link(partner: &Partner, customer: &Customer) -> Result<SubjectHandle> {
    let invited = partner.invite("a person of the bench").await?;
    let accepted = customer.accept(&invited.package).await?;
    partner.confirm(&invited.link, &accepted.code).await?;
    Ok(invited.subject)
}
