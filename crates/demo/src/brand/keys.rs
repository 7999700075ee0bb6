//! A brand's keys, in files that are its owner's alone: the identity key, which in real life stays in a safe, and the
//! working key that it certifies.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use countersign_client::{
    BrokerTrust, KeyCertificate, System,
    grants::{id::PartnerName, key::SigningKey},
    keyfile,
};

/// Reads what [`make`] wrote into the folder.
pub(super) fn read(folder: &Path) -> Result<Keys> {
    let working = keyfile::read(&folder.join("key")).context("the working key")?;
    Ok(Keys { working, certificate: KeyCertificate::read(&folder.join("certificate"))? })
}

/// How long the working key signs.
const WORKING_KEY_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// A clock that runs a little behind must not find the key too young.
const BACKDATED: Duration = Duration::from_secs(300);

/// What a partner needs to sign as itself.
pub(crate) struct Keys {
    pub(crate) working: SigningKey,
    pub(crate) certificate: KeyCertificate,
}

/// Draws both keys into a folder, and certifies the working key. The files have the names that `countersign --home` looks
/// for.
pub(crate) fn make(
    folder: &Path,
    partner: &PartnerName,
    trust: &BrokerTrust,
    system: &System,
) -> Result<Keys> {
    let (identity, working) = (keyfile::draw(system), keyfile::draw(system));
    keyfile::write(&folder.join("identity.key"), &identity).context("the identity key")?;
    keyfile::write(&folder.join("key"), &working).context("the working key")?;
    let now = system.now();
    let times = (now.minus(BACKDATED), now.plus(WORKING_KEY_LIFE));
    let certificate =
        KeyCertificate::certify(&identity, &trust.origin, partner, working.public(), times, None)?;
    certificate.write(&folder.join("certificate"))?;
    Ok(Keys { working, certificate })
}
