//! A brand: a process of its own with its own keys and its own book, which does what a partner's developer would write
//! around the SDK, and no cryptography.

mod bench;
mod chirp;
mod desk;
mod hopp;
pub(crate) mod keys;
mod process;
mod relayed;
mod skylark;

use anyhow::Result;
use async_trait::async_trait;
use countersign_client::{
    ProvideError, Value,
    grants::{catalogue::FieldPath, id::SubjectHandle},
};

use self::desk::Desk;
pub(crate) use self::process::{Arguments, run};
use crate::{
    control::{Figures, Loaded, Moved, ViaRelay},
    journey::{Brand, Row},
};

/// What came of following a notice up.
#[derive(Debug, Default)]
struct FollowUp {
    /// What was fetched; nothing if the brand had no use for it.
    moved: Option<Moved>,
    /// A notice of the brand's own went out because of it.
    told: bool,
    /// What the brand made of it, for the story.
    says: Option<String>,
}

/// What one brand does that the others don't.
#[async_trait]
trait Role: Send + Sync + 'static {
    /// Somebody was invited under this handle; an airline knows the flight that they booked.
    fn know(&self, _subject: &SubjectHandle, _flight: Option<&str>) {}

    /// What was received of this person is to go.
    fn forget(&self, _subject: &SubjectHandle) {}

    /// A grant under which this brand receives stands.
    async fn granted(&self, _desk: &Desk, _row: &'static Row, _grant: &Receiving) -> Result<FollowUp> {
        Ok(FollowUp::default())
    }

    /// A source says that something changed.
    async fn noticed(&self, _desk: &Desk, _row: &'static Row, _grant: &Receiving) -> Result<FollowUp> {
        Ok(FollowUp::default())
    }

    /// What the hour asks for, unasked: the handles whose records changed.
    async fn act(&self, _desk: &Desk) -> Result<Vec<SubjectHandle>> {
        Ok(Vec::new())
    }

    /// The values of these fields of this person, now.
    async fn provide(
        &self,
        desk: &Desk,
        subject: &SubjectHandle,
        fields: &[FieldPath],
    ) -> Result<Vec<Value>, ProvideError>;

    /// Bench: a slice of load.
    async fn load(&self, _desk: &Desk, _slice: Slice) -> Result<Loaded> {
        anyhow::bail!("this brand carries no load")
    }

    /// Bench: the figures of one width.
    fn figures(&self, _in_flight: usize) -> Result<Figures> {
        anyhow::bail!("this brand carries no load")
    }
}

/// A grant under which a brand receives.
struct Receiving {
    name: countersign_client::grants::id::GrantName,
    subject: SubjectHandle,
}

/// A slice of load.
struct Slice {
    in_flight: usize,
    millis: u64,
    measured: bool,
    relay: Option<ViaRelay>,
}

fn role(brand: Brand) -> Result<Box<dyn Role>> {
    Ok(match brand {
        Brand::Skylark => Box::new(skylark::Skylark::open()?),
        Brand::Hopp => Box::new(hopp::Hopp::open()?),
        Brand::Chirp => Box::new(chirp::Chirp::default()),
        Brand::BenchSource => Box::new(bench::Source),
        Brand::BenchRecipient => Box::new(bench::Recipient::default()),
    })
}
