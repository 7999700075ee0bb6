//! `countersignd scrub`: what was erased leaves the disk at once, and not with time.

use std::sync::Arc;

use countersign_broker::private;
use countersign_store::ReadError;
use countersign_store_sled::{ScrubError, Scrubbed, scrub};

use crate::{
    config::{Config, Engine},
    folder::DataFolder,
    serve::store_options,
};

/// Scrubs the store of a broker that is not running. Nothing to do for one in memory.
pub async fn run(config: &Config) -> Result<Scrubbed, ScrubError> {
    match config.engine {
        Engine::Memory => Ok(Scrubbed::default()),
        Engine::Embedded => {
            let folder = DataFolder::at(&config.data).store();
            let left = |sealed: &[u8], stands: &dyn Fn(&[u8]) -> Result<bool, ReadError>| {
                private::left_of(sealed, stands)
            };
            scrub(folder, store_options(config), Arc::new(left)).await
        }
    }
}
