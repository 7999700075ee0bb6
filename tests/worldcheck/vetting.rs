//! How partners came in: each was vetted by one operator and approved by another, before it took part.

use std::collections::HashMap;

use countersign_proto::{
    log::v1::{Kind, Record},
    row::v1::PrivatePart,
};

use super::{Finding, ensure};

/// How far one came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage<'a> {
    Applied,
    Vetted(&'a str),
    Live,
}

pub(super) fn check(records: &[Record], parts: &[PrivatePart]) -> Result<(), Finding> {
    let mut partners = HashMap::<&str, Stage<'_>>::new();
    for (index, (record, part)) in records.iter().zip(parts).enumerate() {
        let (source, recipient) = (record.source.as_str(), record.recipient.as_str());
        let stage = partners.get(source).copied();
        match record.kind() {
            Kind::PartnerCreated => {
                ensure(partners.insert(source, Stage::Applied).is_none(), || {
                    format!("record {index} enters {source} again")
                })?;
            }
            Kind::PartnerVetted => {
                ensure(stage == Some(Stage::Applied), || {
                    format!("record {index} vets {source} out of turn")
                })?;
                partners.insert(source, Stage::Vetted(&part.actor));
            }
            Kind::SourceEndpointSet | Kind::PartnerContactSet if stage != Some(Stage::Live) => {
                partners.insert(source, Stage::Applied);
            }
            Kind::PartnerApproved => {
                let by_two = matches!(stage, Some(Stage::Vetted(vetter)) if vetter != part.actor);
                ensure(by_two, || {
                    format!("record {index} approves {source}, which no other operator vetted")
                })?;
                partners.insert(source, Stage::Live);
            }
            kind => {
                let sides: &[&str] = match kind {
                    Kind::LinkInvited | Kind::LinkConfirmed | Kind::RequestCreated => &[source],
                    Kind::OfferPublished => &[recipient],
                    Kind::GrantApproved | Kind::Transfer | Kind::ChangeNotice => &[source, recipient],
                    _ => &[],
                };
                for side in sides {
                    ensure(partners.get(side) == Some(&Stage::Live), || {
                        format!("record {index} is a {} of {side}, which is not live", kind.as_str_name())
                    })?;
                }
            }
        }
    }
    Ok(())
}
