//! Terms in the place of others.

use countersign_grants::statement::GrantTerms;
use countersign_proto::statement::v1 as wire;
use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, bytes, hex},
    grants::signed,
    known::STORY,
};

pub(crate) const REVISIONS: File = File {
    name: "revisions.json",
    about: "Terms, and those that are to stand in their place: NARROWED, if under the same request, or RENEWED. The reason is \
        the new terms' field.",
    make,
    run,
};

fn run(input: &Value) -> Outcome {
    let old = signed::<GrantTerms>(bytes(input, "old"));
    let new = signed::<GrantTerms>(bytes(input, "new"));
    let revision = new.statement().revises(&old).map_err(|error| error.field.to_owned())?;
    Ok(json!(revision.code()))
}

fn make() -> Vec<Case> {
    let input = |bend: &dyn Fn(&mut wire::GrantTerms)| {
        let mut new = wire::GrantTerms::decode(STORY.envelope("narrower-terms").payload.clone()).unwrap();
        bend(&mut new);
        json!({ "old": hex(&STORY.envelope("source-terms").payload), "new": hex(new.encode_to_vec()) })
    };
    let old = wire::GrantTerms::decode(STORY.envelope("source-terms").payload.clone()).unwrap();
    let bad = |name: &str, comment, expected, bend: &dyn Fn(&mut wire::GrantTerms)| {
        Case::bad(name, comment, expected, input(bend))
    };
    vec![
        Case::good("narrowed", "The story's: a field, six uses and a minute less.", input(&|_| ())),
        Case::good("the-same-again", "No more in any respect: how much is left, the counts say.", {
            input(&|new| {
                (new.fields, new.uses) = (old.fields.clone(), old.uses);
                new.expire_time_ms = old.expire_time_ms;
            })
        }),
        Case::good("rarer", "Two in a minute, kept for a second less.", {
            input(&|new| {
                new.rate = Some(wire::Rate { uses: 2, window_seconds: 60 });
                new.retention_seconds = old.retention_seconds - 1;
            })
        }),
        Case::good("renewed", "Under another request: more is a new approval's to say.", {
            input(&|new| {
                (new.request, new.offer) = (vec![1; 32].into(), vec![2; 32].into());
                (new.uses, new.expire_time_ms) = (24, old.expire_time_ms + 1);
                new.fields = vec!["trip.gate".into()];
            })
        }),
        bad("no-previous", "In the place of nothing.", "previous", &|new| new.previous = vec![].into()),
        bad("of-others", "In the place of other terms.", "previous", &|new| {
            new.previous = vec![1; 32].into();
        }),
        bad("another-source", "From another source.", "source", &|new| new.source = "partners/chirp".into()),
        bad("another-source-key", "A source with another identity key.", "source", &|new| {
            new.source_identity = new.recipient_identity.clone();
        }),
        bad("another-recipient", "To another recipient.", "recipient", &|new| {
            new.recipient = "partners/chirp".into();
        }),
        bad("another-recipient-key", "A recipient with another identity key.", "recipient", &|new| {
            new.recipient_identity = new.source_identity.clone();
        }),
        bad("another-purpose", "For another purpose.", "purpose", &|new| new.purpose = "trip_updates".into()),
        bad("renewed-for-another-purpose", "Not even by a new approval.", "purpose", &|new| {
            (new.request, new.purpose) = (vec![1; 32].into(), "trip_updates".into());
        }),
        bad("same-tag", "Under the old tag, which has ended in the log.", "log_tag", &|new| {
            new.log_tag = old.log_tag.clone();
        }),
        bad("another-offer", "Under another offer of the same request.", "offer", &|new| {
            new.offer = vec![1; 32].into();
        }),
        bad("another-catalogue", "Under another catalogue.", "catalogue_version", &|new| {
            new.catalogue_version = vec![1; 32].into();
        }),
        bad("another-language", "Nobody read it in that one.", "language", &|new| new.language = "de".into()),
        bad("another-field", "In the place of one that was granted.", "fields", &|new| {
            new.fields = vec!["trip.gate".into()];
        }),
        bad("more-uses", "One more.", "uses", &|new| new.uses = old.uses + 1),
        bad("no-rate", "Without the rate.", "rate", &|new| new.rate = None),
        bad("shorter-window", "As many in 59 s.", "rate", &|new| {
            new.rate = Some(wire::Rate { uses: 3, window_seconds: 59 });
        }),
        bad("kept-longer", "A second more.", "retention_seconds", &|new| {
            new.retention_seconds = old.retention_seconds + 1;
        }),
        bad("later", "A millisecond more.", "expire_time_ms", &|new| {
            new.expire_time_ms = old.expire_time_ms + 1;
        }),
    ]
}
