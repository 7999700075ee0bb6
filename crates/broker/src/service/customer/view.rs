//! A customer as they see themselves.

use bytes::Bytes;
use countersign_grants::{
    budget::Asker,
    id::{CustomerName, PartnerName},
};
use countersign_proto::{
    row::v1::{AskerRow, AskingRow},
    v1::{Asking, Customer, QuietHours, Silence},
};

use crate::{
    Broker, Fault,
    broker::{damaged, stranger},
    rows,
    service::timestamp,
};

/// The most partners that are looked at for being silent: far more than ask one person.
const MAX_ASKERS: usize = 1_024;

/// The most silent ones that are told.
const MAX_SILENCES: usize = 200;

/// A customer that is there.
pub(super) async fn customer(broker: &Broker, name: &CustomerName) -> Result<Customer, Fault> {
    let read = broker.load(rows::customer(name)).await?;
    let row = read.ok_or_else(stranger)?.row;
    let asking = broker.load(rows::asking(name)).await?.map(|read| read.row).unwrap_or_default();
    Ok(Customer {
        name: name.to_string(),
        public_key: Bytes::copy_from_slice(&row.public_key),
        create_time: timestamp(row.create_time_ms),
        asking: Some(told(&asking)),
        silences: silences(broker, name).await?,
    })
}

fn told(row: &AskingRow) -> Asking {
    let (from_minute, until_minute) = (row.quiet_from_minute, row.quiet_until_minute);
    Asking {
        time_zone: row.time_zone.clone(),
        quiet_hours: (from_minute != until_minute).then_some(QuietHours { from_minute, until_minute }),
        per_day: row.per_day,
        per_week: row.per_week,
        paused: row.paused,
    }
}

async fn silences(broker: &Broker, name: &CustomerName) -> Result<Vec<Silence>, Fault> {
    let askers = rows::askers(name).load(broker.store(), None, MAX_ASKERS).await?;
    let now = broker.now();
    let silent = |(_, row): &(Vec<u8>, AskerRow)| Asker::from_row(row).silent_for(now).is_some();
    let told = |(place, row): (Vec<u8>, AskerRow)| {
        let id = String::from_utf8(place).map_err(|error| damaged("asker", &error))?;
        let partner = PartnerName::of_id(&id).map_err(|error| damaged("asker", &error))?;
        Ok(Silence { partner: partner.to_string(), end_time: timestamp(row.silent_until_ms) })
    };
    askers.into_iter().filter(silent).take(MAX_SILENCES).map(told).collect()
}
