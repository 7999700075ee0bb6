//! `SetAsking`, `EndSilence`: how the caller is asked, and by whom again.
//!
//! What is set is the broker's to keep, like an alarm clock: nobody else acts on it, so it is a call and no statement.
//! The record says that it was changed, which the person's other devices hear, and not to what.

use countersign_grants::{
    budget::{Asker, Asking as Parsed, Budget, QuietHours as Hours, Zone},
    id::{CustomerName, PartnerName, SubjectHandle},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::AskingRow,
    v1::{Asking, Customer, EndSilenceRequest, SetAskingRequest},
};

use super::{itself, view};
use crate::{
    Broker, Caller, Fault, abandoned, asking,
    broker::damaged,
    record::Happening,
    rows,
    service::fields,
    work::{Work, settle},
};

/// The reason in the record of a silence that was ended.
const HEARD: &str = "HEARD";

/// The most handles of one partner that are let ask again together: far more accounts than one person has at a brand, and
/// within what one unit expects. With more, the next call goes on.
const MAX_SUBJECTS: usize = 48;

pub(super) async fn set(
    broker: &Broker,
    caller: &Caller,
    request: SetAskingRequest,
) -> Result<Customer, Fault> {
    let name = itself(caller, &request.name)?;
    let wanted = fields::required("asking", request.asking)?;
    let row = parse(broker, &wanted)?;
    settle("asking", || attempt(broker, &name, &row)).await?;
    view::customer(broker, &name).await
}

/// Holds each setting to its form. Of the row it makes, what was spent is another's to fill in.
fn parse(broker: &Broker, wanted: &Asking) -> Result<AskingRow, Fault> {
    let zone = Zone::parse(&wanted.time_zone).map_err(|error| Fault::field("asking.time_zone", error))?;
    let mut row = AskingRow {
        time_zone: wanted.time_zone.clone(),
        per_day: wanted.per_day,
        per_week: wanted.per_week,
        paused: wanted.paused,
        ..AskingRow::default()
    };
    if let Some(hours) = &wanted.quiet_hours {
        Hours::new(zone, hours.from_minute, hours.until_minute)
            .map_err(|error| Fault::field("asking.quiet_hours", error))?;
        (row.quiet_from_minute, row.quiet_until_minute) = (hours.from_minute, hours.until_minute);
    }
    Budget::new(wanted.per_day.max(1), 1).map_err(|error| Fault::field("asking.per_day", error))?;
    Budget::new(1, wanted.per_week.max(1)).map_err(|error| Fault::field("asking.per_week", error))?;
    Parsed::from_row(&row, broker.settings().asking).map_err(|error| Fault::field("asking", error))?;
    Ok(row)
}

async fn attempt(broker: &Broker, name: &CustomerName, wanted: &AskingRow) -> Result<Option<()>, Fault> {
    let key = rows::asking(name);
    let read = broker.load(key.clone()).await?;
    let spent_times_ms = read.as_ref().map(|read| read.row.spent_times_ms.clone()).unwrap_or_default();
    let row = AskingRow { spent_times_ms, ..wanted.clone() };
    if row == read.as_ref().map(|read| read.row.clone()).unwrap_or_default() {
        return Ok(Some(()));
    }
    let mut work = Work::default();
    work.write(&key, read.as_ref(), &row)?;
    changed(broker, work, name, "").await
}

pub(super) async fn end_silence(
    broker: &Broker,
    caller: &Caller,
    request: EndSilenceRequest,
) -> Result<Customer, Fault> {
    let name = itself(caller, &request.name)?;
    let partner = fields::name("partner", &request.partner, PartnerName::parse)?;
    settle("asker", || hear(broker, &name, &partner)).await?;
    view::customer(broker, &name).await
}

/// One that is not silent is heard already.
async fn hear(broker: &Broker, name: &CustomerName, partner: &PartnerName) -> Result<Option<()>, Fault> {
    let (now, range) = (broker.now(), rows::asker_by_subjects(name, partner));
    let mut work = Work::default();
    let (before, asker) = asking::asker(broker, name, partner).await?;
    let mut silent = before.silent_for(now).is_some();
    if silent {
        asking::stands(broker, &mut work, (name, partner), (before, asker.as_ref()), before.heard())?;
    }
    for (place, row) in range.load(broker.store(), None, MAX_SUBJECTS).await? {
        if Asker::from_row(&row).silent_for(now).is_some() {
            let subject = [partner.as_str().as_bytes(), b"/subjects/", &place].concat();
            let subject = String::from_utf8(subject).map_err(|error| damaged("asker", &error))?;
            let subject = SubjectHandle::parse(&subject).map_err(|error| damaged("asker", &error))?;
            asking::answered(broker, &mut work, (name, &subject), Asker::heard).await?;
            silent = true;
        }
    }
    if silent { changed(broker, work, name, HEARD).await } else { Ok(Some(())) }
}

async fn changed(
    broker: &Broker,
    mut work: Work,
    name: &CustomerName,
    reason: &str,
) -> Result<Option<()>, Fault> {
    asking::look_soon(broker, &mut work, name);
    let customer = broker.customer_key(name).await?;
    broker.expect_open(&mut work, &customer).await?;
    abandoned::keep(broker, &mut work, name).await?;
    work.record(broker.draft(Happening {
        kind: Kind::AskingChanged,
        customer: Some(&customer),
        reason,
        ..Happening::default()
    }));
    Ok(broker.enter(work).await?.map(|_| ()))
}
