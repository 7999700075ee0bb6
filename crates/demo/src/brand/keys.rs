//! A brand's keys, in files that are its owner's alone: the identity key, which in real life stays in a safe, and the
//! working key that it certifies.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use countersign_client::{
    BrokerTrust, System,
    grants::{
        envelope,
        id::PartnerName,
        key::{PublicKey, SigningKey},
        statement::PartnerKey,
    },
    keyfile,
    proto::statement::v1 as wire,
};

/// How long the working key signs.
const WORKING_KEY_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// A clock that runs a little behind must not find the key too young.
const BACKDATED: Duration = Duration::from_secs(300);

/// What a partner needs to sign as itself.
pub(super) struct Keys {
    pub(super) identity: PublicKey,
    pub(super) working: SigningKey,
    pub(super) certificate: wire::Envelope,
}

/// Draws both keys into a folder, and certifies the working key.
pub(super) fn make(folder: &Path, partner: &PartnerName, trust: &BrokerTrust, system: &System) -> Result<Keys> {
    let (identity, working) = (keyfile::draw(system), keyfile::draw(system));
    keyfile::write(&folder.join("identity.key"), &identity).context("the identity key")?;
    keyfile::write(&folder.join("working.key"), &working).context("the working key")?;
    let now = system.now();
    let statement = wire::PartnerKey {
        broker: trust.origin.to_string(),
        partner: partner.to_string(),
        public_key: working.public().as_bytes().to_vec().into(),
        sequence: 1,
        not_before_ms: now.minus(BACKDATED).as_millis(),
        not_after_ms: now.plus(WORKING_KEY_LIFE).as_millis(),
        previous: Vec::new().into(),
    };
    let certificate = envelope::sign::<PartnerKey>(&statement, &[&identity]);
    Ok(Keys { identity: identity.public().clone(), working, certificate })
}
