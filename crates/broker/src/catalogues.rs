//! The catalogues that count here, and when each was put to use.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use countersign_grants::{
    catalogue::{Catalogue, CatalogueError},
    digest::Digest,
    id::{CatalogueName, NotAName},
};
use countersign_proto::{log::v1::Kind, row::v1::CatalogueRow};

use crate::{
    broker::Broker,
    error::Fault,
    record::Happening,
    rows,
    work::{Work, settle},
};

/// The most catalogues that a broker ever put to use: one a week for forty years.
pub const MAX_CATALOGUES: usize = 2_048;

/// Why a broker can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log's name is no origin.
    #[error("the log's name is no origin: {0}")]
    Origin(#[from] NotAName),
    /// A catalogue breaks a rule.
    #[error("the catalogue is refused: {0}")]
    Catalogue(#[from] CatalogueError),
    /// A catalogue was put to use and is not at hand: grants under it could not be judged.
    #[error("the catalogue `{version}` was put to use here, and its document is missing")]
    CatalogueMissing {
        /// Which.
        version: Digest,
    },
    /// The log or the store does not answer.
    #[error("the log can't be used: {0}")]
    Log(#[from] Fault),
}

/// The catalogues that count here, by version.
pub struct Catalogues {
    current: Arc<Catalogue>,
    by_version: HashMap<Digest, Arc<Catalogue>>,
}

impl Catalogues {
    /// Reads the documents.
    pub fn parse(current: &[u8], older: &[Bytes]) -> Result<Self, CatalogueError> {
        let current = Arc::new(Catalogue::parse_for_use(current)?);
        let mut by_version = HashMap::from([(current.version(), Arc::clone(&current))]);
        for document in older {
            let catalogue = Catalogue::parse(document)?;
            by_version.insert(catalogue.version(), Arc::new(catalogue));
        }
        Ok(Self { current, by_version })
    }

    /// The catalogue that counts for new offers.
    pub fn current(&self) -> &Arc<Catalogue> {
        &self.current
    }

    /// The catalogue of this version, which may be an older one.
    pub fn version(&self, version: Digest) -> Option<&Arc<Catalogue>> {
        self.by_version.get(&version)
    }
}

impl Broker {
    /// The catalogue of a version under which something was stored: kept for good.
    pub fn kept_catalogue(&self, version: Digest) -> Result<&Arc<Catalogue>, Fault> {
        let missing = || Fault::Damaged { what: format!("no document of the catalogue {version}") };
        self.catalogues().version(version).ok_or_else(missing)
    }

    /// Enters the current catalogue in the log, once per version, and makes sure that none that counted is missing.
    pub(crate) async fn put_catalogue_to_use(&self) -> Result<(), OpenError> {
        for (_, version) in
            rows::catalogues().load(self.store(), None, MAX_CATALOGUES).await.map_err(OpenError::Log)?
        {
            let version = CatalogueName::parse(&version)?.digest();
            if self.catalogues().version(version).is_none() {
                return Err(OpenError::CatalogueMissing { version });
            }
        }
        settle("catalogue", || self.enter_catalogue()).await?;
        Ok(())
    }

    async fn enter_catalogue(&self) -> Result<Option<()>, Fault> {
        let version = self.catalogues().current().version();
        let name = CatalogueName::of(version);
        let key = rows::catalogue(&name);
        if self.load(key.clone()).await?.is_some() {
            return Ok(Some(()));
        }
        let now = self.now().as_millis();
        let mut work = Work::default();
        work.create(&key, &CatalogueRow { publish_time_ms: now })?;
        work.index(&rows::catalogues().entry(now, version), name.as_str())?;
        work.record(self.draft(Happening {
            kind: Kind::CataloguePublished,
            catalogue_version: Some(version),
            ..Happening::default()
        }));
        Ok(self.enter(work).await?.map(|_| ()))
    }
}
