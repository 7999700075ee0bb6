//! Before anything is measured: a broker with grants, and from transfers that go by, what the broker sends beside a fetch,
//! so that the relay sends the same.

use std::{ops::Deref, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use countersign_client::{
    Connection, KeyCertificate, System,
    channel::call,
    grants::id::{GrantName, Principal},
    keyfile,
    proto::v1::{FetchDataResponse, GetCheckpointRequest},
};

use super::{made::Maker, relay::Papers, source::Stub};
use crate::{
    bench::load,
    control::{Answer, Command},
    journey::Brand,
    stage::Stage,
};

/// How long one try to see everything takes.
const TRY_MILLIS: u64 = 700;

/// How many there are at most: a try passes a few hundred transfers.
const MAX_TRIES: usize = 60;

/// The source that costs nothing, and where it serves.
pub(in crate::bench) struct Served {
    stub: Stub,
    address: String,
}

impl Served {
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Deref for Served {
    type Target = Stub;

    fn deref(&self) -> &Stub {
        &self.stub
    }
}

/// Everything that a measurement needs.
pub(in crate::bench) struct Setup {
    pub(in crate::bench) stage: Stage,
    pub(in crate::bench) stub: Served,
    pub(in crate::bench) maker: Maker,
    pub(super) papers: Papers,
    /// The source's folder as it stood before any transfer.
    pub(super) fresh_source: PathBuf,
}

/// Sets the stage with a broker's settings; in the end the broker calls the stub.
pub(in crate::bench) async fn set_on(grants: u16, environment: &[(&str, &str)]) -> Result<Setup> {
    learned(load::stage(grants, environment).await?, false).await
}

/// Sets the stage. In the end the broker calls the stub, or the source's own process again.
pub(super) async fn set(grants: u16, back_to_the_source: bool) -> Result<Setup> {
    learned(load::stage(grants, &[]).await?, back_to_the_source).await
}

async fn learned((stage, names): (Stage, Vec<String>), back_to_the_source: bool) -> Result<Setup> {
    let source = stage.brand(Brand::BenchSource)?;
    let real = source.endpoint().to_owned();
    let fresh_source = stage.folder.path().join("fresh-source");
    copy(&stage.folder.brand(Brand::BenchSource), &fresh_source)?;

    let (stub, address) = Stub::serve(&real).await?;
    let ([operator, _], name) = (stage.operators()?, Brand::BenchSource.partner());
    operator.set_endpoint(&name, &address).await?;
    let mut tries = 0;
    while stub.has_seen() != (names.len(), true) {
        tries += 1;
        ensure!(tries <= MAX_TRIES, "not every grant's papers went by: {:?}", stub.has_seen());
        let load = Command::Load { in_flight: 16, millis: TRY_MILLIS, measured: false, relay: None };
        let Answer::Loaded(loaded) = stage.brand(Brand::BenchRecipient)?.ask(load).await? else {
            bail!("the recipient carries no load");
        };
        ensure!(loaded.failures == 0, "{} transfers failed", loaded.failures);
    }
    // The receipts of the last transfers are on their way to the real source.
    tokio::time::sleep(Duration::from_millis(TRY_MILLIS)).await;
    let seen = stub.take_seen();
    if back_to_the_source {
        operator.set_endpoint(&name, &real).await?;
    }

    let folder = |brand| stage.folder.brand(brand);
    let key = |brand| keyfile::read(&folder(brand).join("key")).map(Arc::new).context("a brand's key");
    let recipient_key = key(Brand::BenchRecipient)?;
    let recipient = Brand::BenchRecipient.partner();
    let principal = Principal::Partner(recipient.clone());
    let connection = Connection::open(&stage.trust, principal, &recipient_key, System::real().clock)?;
    let checkpoint = connection.audit().get_checkpoint(call(GetCheckpointRequest {})).await?.into_inner();
    let grants = names.iter().map(|name| GrantName::parse(name).map(|name| name.digest()));
    let maker = Maker {
        origin: stage.trust.origin.clone(),
        recipient,
        recipient_key,
        source: name,
        source_key: key(Brand::BenchSource)?,
        grants: Arc::new(grants.collect::<Result<_, _>>()?),
        checkpoint: checkpoint.checkpoint,
    };
    let certificate = KeyCertificate::read(&folder(Brand::BenchSource).join("certificate"))?;
    let answer = FetchDataResponse {
        source_key: Some(certificate.statement().clone()),
        receipt: seen.receipt,
        ..FetchDataResponse::default()
    };
    let papers = Papers { requests: seen.requests, answer };
    Ok(Setup { stage, stub: Served { stub, address }, maker, papers, fresh_source })
}

/// Copies the files of a folder, and of those in it.
pub(super) fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
