//! A brand's process: keys, book, source server, events; and the commands of the director.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use countersign_client::{
    Book, BrokerTrust, Error, FileBook, InvitationPackage, OfferDraft, Partner, PartnerConfig, PartnerEvent,
    ProvideError, SourceHandler, SourceServer, System, Value,
    book::{GrantRow, Side},
    grants::{
        catalogue::FieldPath,
        id::{GrantName, LinkName, OfferName, SubjectHandle},
        statement::ReturnAddress,
    },
    partner::{InviteOptions, Noted},
};
use data_encoding::BASE64URL_NOPAD;
use prost::Message as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin, stdout},
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{
    Desk, FollowUp, Receiving, Role, Slice,
    keys::{self, Keys},
    role,
};
use crate::{
    control::{Answer, Asked, Command, Event, Line, Ready, decode, encode},
    journey::{BENCH_ROW, Brand, ROWS, Row, row},
};

/// How long the demo's requests wait for an answer.
const REQUEST_LIFE: std::time::Duration = std::time::Duration::from_secs(3600);

/// Which brand, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which brand.
    #[arg(long)]
    name: Brand,
    /// The brand's own folder, for its keys and its book.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// The broker file.
    #[arg(long, value_name = "FILE")]
    broker: PathBuf,
    /// Serve with the keys and the book that stand in the folder, and hear no events: a stand-in for the bench.
    #[arg(long)]
    detached: bool,
}

/// A brand at work.
struct House {
    brand: Brand,
    desk: Desk,
    role: Box<dyn Role>,
}

/// Plays a brand until the director hangs up.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let system = System::real();
    let trust = BrokerTrust::read(&arguments.broker)?;
    let keys = if arguments.detached {
        keys::read(&arguments.folder)?
    } else {
        keys::make(&arguments.folder, &arguments.name.partner(), &trust, &system)?
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port for the source")?;
    let (lines, outbox) = unbounded_channel();
    tokio::spawn(write_lines(outbox));
    lines.send(Line::Ready(Ready {
        identity: BASE64URL_NOPAD.encode(keys.certificate.identity().as_bytes()),
        certificate: BASE64URL_NOPAD.encode(&keys.certificate.statement().encode_to_vec()),
        endpoint: format!("http://{}", listener.local_addr()?),
    }))?;

    let mut unopened = Some((trust, keys, listener));
    let mut opened: Option<Arc<House>> = None;
    let mut input = BufReader::new(stdin()).lines();
    while let Some(line) = input.next_line().await? {
        let Asked { id, command } = decode(&line).with_context(|| format!("the command `{line}`"))?;
        if command == Command::Open {
            let (trust, keys, listener) = unopened.take().context("a brand opens once")?;
            opened = Some(open(arguments, trust, keys, listener, system.clone(), lines.clone())?);
            lines.send(Line::Answer { id, answer: Answer::Done })?;
            continue;
        }
        let house = Arc::clone(opened.as_ref().context("the first command is `open`")?);
        let lines = lines.clone();
        tokio::spawn(async move {
            let answer = house.answer(command).await.unwrap_or_else(|error| answer_to(&error));
            // Without a director there is nobody to answer.
            let _ = lines.send(Line::Answer { id, answer });
        });
    }
    Ok(())
}

async fn write_lines(mut outbox: UnboundedReceiver<Line>) -> std::io::Result<()> {
    let mut out = stdout();
    while let Some(line) = outbox.recv().await {
        out.write_all(encode(&line).as_bytes()).await?;
        out.flush().await?;
    }
    Ok(())
}

fn open(
    arguments: &Arguments,
    trust: BrokerTrust,
    keys: Keys,
    listener: TcpListener,
    system: System,
    lines: UnboundedSender<Line>,
) -> Result<Arc<House>> {
    let Keys { working, certificate } = keys;
    let config = PartnerConfig {
        trust,
        name: arguments.name.partner(),
        identity: certificate.identity().clone(),
        certificate: certificate.statement().clone(),
        key: working,
        known_keys: Vec::new(),
    };
    let book = Book::open(FileBook::open(&arguments.folder.join("book"))?, system.now())?;
    let partner = Partner::open(config, book, system)?;
    let desk = Desk::new(partner.clone(), lines);
    let house = Arc::new(House { brand: arguments.name, desk, role: role(arguments.name)? });

    let handler = Handler(Arc::clone(&house));
    let source = partner.clone();
    let served = Arc::clone(&house);
    tokio::spawn(async move {
        if let Err(error) =
            SourceServer::new(source, handler).serve(listener, None, std::future::pending()).await
        {
            served.trouble(&format!("the source server ended: {error}"));
        }
    });
    if arguments.detached {
        return Ok(house);
    }
    let watching = Arc::clone(&house);
    tokio::spawn(async move {
        let heeding = Arc::clone(&watching);
        let heed = move |noted| {
            heeding.heed(noted);
            std::future::ready(())
        };
        let halted = partner.run(heed).await;
        watching.trouble(&format!("the events ended: {halted}"));
    });
    Ok(house)
}

/// The SDK asks the brand's handler once everything has verified.
struct Handler(Arc<House>);

#[async_trait]
impl SourceHandler for Handler {
    async fn provide(
        &self,
        subject: &SubjectHandle,
        fields: &[FieldPath],
    ) -> Result<Vec<Value>, ProvideError> {
        self.0.role.provide(&self.0.desk, subject, fields).await
    }
}

impl House {
    /// The row that a purpose stands for.
    fn row(&self, purpose: &str) -> Option<&'static Row> {
        match self.brand {
            Brand::BenchSource | Brand::BenchRecipient => Some(&BENCH_ROW),
            Brand::Skylark | Brand::Hopp | Brand::Chirp => ROWS.iter().find(|row| row.purpose == purpose),
        }
    }

    async fn answer(&self, command: Command) -> Result<Answer> {
        let (desk, partner) = (&self.desk, &self.desk.partner);
        match command {
            Command::Open => bail!("a brand opens once"),
            Command::Publish => self.publish().await,
            Command::Offer { row: number, optional } => {
                let row =
                    row(number).filter(|row| row.recipient == self.brand).context("no row of this brand")?;
                let draft = OfferDraft { optional_fields: optional, ..row.draft() };
                let offer = partner.publish_offer(&draft).await?;
                Ok(Answer::Published { offers: vec![(number, offer.to_string())] })
            }
            Command::Invite { label, flight, return_address } => {
                let return_address = return_address.as_deref().map(ReturnAddress::parse).transpose()?;
                let options = InviteOptions { return_address, ..InviteOptions::default() };
                let invited = partner.invite_with(&label, &options).await?;
                self.role.know(&invited.subject, flight.as_deref());
                Ok(Answer::Invited {
                    package: InvitationPackage::to_text(&invited.package),
                    link: invited.link.to_string(),
                    subject: invited.subject.as_str().to_owned(),
                })
            }
            Command::Confirm { link, code } => {
                partner.confirm(&LinkName::parse(&link)?, &code).await?;
                Ok(Answer::Done)
            }
            Command::Request { subject, rows } => {
                let named = rows.iter().map(|(offer, optional)| Ok((OfferName::parse(offer)?, *optional)));
                let rows = named.collect::<Result<Vec<_>>>()?;
                let request = partner.request(&SubjectHandle::parse(&subject)?, &rows, REQUEST_LIFE).await?;
                Ok(Answer::Requested { request: request.to_string() })
            }
            Command::Clock { at } => {
                desk.set_clock(at);
                Ok(Answer::Done)
            }
            Command::Act => {
                let told = self.role.act(desk).await?;
                Ok(Answer::Told { subjects: told.iter().map(|one| one.as_str().to_owned()).collect() })
            }
            Command::Fetch { grant, purpose, fields } => {
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                Ok(Answer::Fetched(desk.fetch(&GrantName::parse(&grant)?, &purpose, &fields).await?))
            }
            Command::Delete { grant } => {
                let grant = GrantName::parse(&grant)?;
                let row = partner.book().grant(&grant).context("a grant that the book does not have")?;
                self.role.forget(row.subject());
                partner.attest_erasure(&grant).await?;
                Ok(Answer::Done)
            }
            Command::Load { in_flight, millis, measured, relay } => {
                let slice = Slice { in_flight, millis, measured, relay };
                Ok(Answer::Loaded(self.role.load(desk, slice).await?))
            }
            Command::Figures { in_flight } => Ok(Answer::Figures(self.role.figures(in_flight)?)),
        }
    }

    async fn publish(&self) -> Result<Answer> {
        let rows: Vec<&'static Row> = match self.brand {
            Brand::BenchSource => Vec::new(),
            Brand::BenchRecipient => vec![&BENCH_ROW],
            brand => ROWS.iter().filter(|row| row.recipient == brand).collect(),
        };
        let mut offers = Vec::with_capacity(rows.len());
        for row in rows {
            offers.push((row.number, self.desk.partner.publish_offer(&row.draft()).await?.to_string()));
        }
        Ok(Answer::Published { offers })
    }

    /// An event: what takes time is done beside the stream, so that one person's news never waits for another's.
    fn heed(self: &Arc<Self>, noted: Noted) {
        match noted.event {
            PartnerEvent::Approved { grant, .. } => {
                let Some(row) = self.row(grant.terms().purpose.as_str()) else { return };
                let receives = grant.side() == Side::Recipient;
                self.desk.tell(Event::Granted {
                    grant: grant.name().to_string(),
                    subject: grant.subject().as_str().to_owned(),
                    row: row.number,
                    receives,
                });
                if receives {
                    self.follow(row, &grant, true);
                }
            }
            PartnerEvent::ChangeNotice { grant, .. } => {
                let Some(grant) = self.desk.partner.book().grant(&grant) else {
                    return self.trouble(&format!("a notice for {grant}, which is not in the book"));
                };
                if let Some(row) = self.row(grant.terms().purpose.as_str()) {
                    self.follow(row, &grant, false);
                }
            }
            PartnerEvent::Stopped { grant, .. } => {
                let row = self.row(grant.terms().purpose.as_str()).map_or(0, |row| row.number);
                let subject = grant.subject().as_str().to_owned();
                self.desk.tell(Event::Stopped { grant: grant.name().to_string(), subject, row });
            }
            // What to do about it the director says: one brand is quick, and one is late.
            PartnerEvent::LocationTapped { grant, tap, fields, .. } => {
                self.desk.tapped(grant.name(), tap, fields);
            }
            PartnerEvent::EraseDue { grant, .. } => {
                self.desk.tell(Event::EraseDue { grant: grant.to_string() });
            }
            PartnerEvent::Failed { kind, error, .. } => {
                self.trouble(&format!("record {} ({}): {error}", noted.index, kind.as_str_name()));
            }
            PartnerEvent::UnknownKeys { keys } => {
                self.trouble(&format!("keys that nobody here made: {keys:?}"));
            }
            _ => {}
        }
    }

    fn follow(self: &Arc<Self>, row: &'static Row, grant: &GrantRow, new: bool) {
        let house = Arc::clone(self);
        let grant = Receiving { name: grant.name().clone(), subject: grant.subject().clone() };
        tokio::spawn(async move {
            let done = if new {
                house.role.granted(&house.desk, row, &grant).await
            } else {
                house.role.noticed(&house.desk, row, &grant).await
            };
            match done {
                Ok(FollowUp { moved, told, says }) => {
                    let subject = grant.subject.as_str().to_owned();
                    house.desk.tell(Event::Followed { subject, row: row.number, moved, told, says });
                }
                Err(error) => house.trouble(&format!("{error:#}")),
            }
        });
    }

    fn trouble(&self, what: &str) {
        tracing::warn!(brand = self.brand.id(), what);
        self.desk.tell(Event::Trouble { what: what.to_owned() });
    }
}

/// A considered no is told apart from everything else.
fn answer_to(error: &anyhow::Error) -> Answer {
    match error.downcast_ref::<Error>() {
        Some(Error::Refused(refused)) => {
            Answer::Refused { reason: refused.reason.clone(), message: refused.message.clone() }
        }
        _ => Answer::Failed { error: format!("{error:#}") },
    }
}
