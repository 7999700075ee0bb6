//! Offers within the catalogue, terms within the offer, changes one upon the other, and permits.

use countersign_client::doors;
use countersign_grants::{
    catalogue::{Catalogue, FieldPath},
    envelope::{self, Signed},
    id::PartnerName,
    lifecycle::Partner,
    permit::{Case as Judged, Spent, Tapped, judge},
    statement::{Fetch, GrantChange, GrantTerms, LocationTap, Offer, Statement},
    time::Timestamp,
};
use countersign_proto::{
    statement::v1::{self as wire, Envelope, grant_change::Verb},
    v1::grant::State,
};
use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, bytes, count, hex, list, text},
    known::{self, STORY},
    statements::{envelope_json, read_envelope},
};

pub(crate) const OFFERS: File = File {
    name: "offers.json",
    about: "Offers, and the catalogue that they must lie within. The reason is the offer's field.",
    make: offers,
    run: run_offer,
};

pub(crate) const TERMS: File = File {
    name: "terms.json",
    about: "Terms, and the offer that they must lie within. The reason is the terms' field.",
    make: terms,
    run: run_terms,
};

pub(crate) const CHANGES: File = File {
    name: "changes.json",
    about: "Terms in an empty book, and the changes that come, each rightly signed. `terms`: of another grant; `sequence`: not \
        the next number; `previous`: does not build on the one before it; `stopped`: nothing follows a stop or a narrowing. `at` is the \
        first change that is not entered.",
    make: changes,
    run: run_changes,
};

pub(crate) const PERMITS: File = File {
    name: "permits.json",
    about: "One fetch, judged: who calls, what was signed, how the grant and both partners stand, what was spent, and when; \
        `erasure_ordered` if the customer has ordered to delete, `tap` the payload of a tap that waits to be used. The reason is \
        that of the API's ErrorInfo.",
    make: permits,
    run: run_permit,
};

/// A payload as a statement that somebody signed: who is not what these files are about.
pub(crate) fn signed<S: Statement>(payload: bytes::Bytes) -> Signed<S> {
    let key = known::key(known::HOPP);
    let message = S::Message::decode(payload).unwrap();
    let envelope = envelope::sign::<S>(&message, &[&key]);
    envelope::verify::<S>(Some(&envelope), &[key.public()], &known::origin()).unwrap()
}

fn run_offer(input: &Value) -> Outcome {
    let catalogue = Catalogue::parse(text(input, "catalogue").as_bytes()).unwrap();
    let offer = signed::<Offer>(bytes(input, "offer"));
    offer.statement().within(&catalogue).map(|()| Value::Null).map_err(|error| error.field.to_owned())
}

fn offers() -> Vec<Case> {
    let input = |bend: &dyn Fn(&mut wire::Offer)| {
        let mut offer = known::offer();
        bend(&mut offer);
        json!({ "catalogue": known::CATALOGUE, "offer": hex(offer.encode_to_vec()) })
    };
    let bad = |name: &str, comment, expected, bend: &dyn Fn(&mut wire::Offer)| {
        Case::bad(name, comment, expected, input(bend))
    };
    vec![
        Case::good("good", "The story's offer.", input(&|_| ())),
        Case::good("at-the-ceilings", "All that the purpose allows.", {
            input(&|offer| {
                (offer.duration_seconds, offer.uses, offer.retention_seconds) = (2_592_000, 24, 86_400);
                offer.rate = Some(wire::Rate { uses: 12, window_seconds: 60 });
            })
        }),
        Case::good(
            "no-retention",
            "Nothing is kept after the end.",
            input(&|offer| offer.retention_seconds = 0),
        ),
        bad("another-catalogue", "Written under another version.", "catalogue_version", &|offer| {
            offer.catalogue_version = vec![1; 32].into();
        }),
        bad("unknown-purpose", "Not in the catalogue.", "purpose", &|offer| {
            offer.purpose = "advertising".into();
        }),
        bad("unknown-field", "Not in the catalogue.", "fields", &|offer| {
            offer.optional_fields.push("trip.fare".into());
        }),
        bad("field-of-another-purpose", "In the catalogue, for another purpose.", "fields", &|offer| {
            (offer.purpose, offer.duration_seconds) = ("trip_updates".into(), 60);
        }),
        bad("observed-and-required", "What was observed starts switched off.", "required_fields", &|offer| {
            offer.required_fields.append(&mut offer.optional_fields);
        }),
        bad("longer", "A second over the ceiling.", "duration_seconds", &|offer| {
            offer.duration_seconds = 2_592_001;
        }),
        bad("more-uses", "One over.", "uses", &|offer| offer.uses = 25),
        bad("faster", "13 in a minute.", "rate", &|offer| {
            offer.rate = Some(wire::Rate { uses: 13, window_seconds: 60 });
        }),
        bad("shorter-window", "12 in 59 s.", "rate", &|offer| {
            offer.rate = Some(wire::Rate { uses: 12, window_seconds: 59 });
        }),
        bad("no-rate", "13 at any speed, where the purpose has a rate of 12.", "rate", &|offer| {
            (offer.uses, offer.rate) = (13, None);
        }),
        Case::good("no-rate-needed", "Twelve in all are never more than twelve in a minute.", {
            input(&|offer| offer.rate = None)
        }),
        bad("kept-longer", "A second over.", "retention_seconds", &|offer| offer.retention_seconds = 86_401),
    ]
}

fn run_terms(input: &Value) -> Outcome {
    let offer = signed::<Offer>(bytes(input, "offer"));
    let terms = signed::<GrantTerms>(bytes(input, "terms"));
    terms.statement().within(&offer).map(|()| Value::Null).map_err(|error| error.field.to_owned())
}

fn story_terms() -> wire::GrantTerms {
    wire::GrantTerms::decode(STORY.envelope("source-terms").payload.clone()).unwrap()
}

fn terms() -> Vec<Case> {
    let input = |bend: &dyn Fn(&mut wire::GrantTerms)| {
        let mut terms = story_terms();
        bend(&mut terms);
        json!({ "offer": hex(&STORY.envelope("offer").payload), "terms": hex(terms.encode_to_vec()) })
    };
    let bad = |name: &str, comment, expected, bend: &dyn Fn(&mut wire::GrantTerms)| {
        Case::bad(name, comment, expected, input(bend))
    };
    let fields = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>();
    vec![
        Case::good("good", "The story's terms.", input(&|_| ())),
        Case::good("required-alone", "Without what is optional.", {
            input(&|terms| terms.fields = fields(&["trip.flight_no"]))
        }),
        Case::good("less", "Shorter, rarer, kept for less time.", {
            input(&|terms| {
                (terms.uses, terms.retention_seconds, terms.expire_time_ms) = (1, 0, terms.time_ms + 1);
                terms.rate = Some(wire::Rate { uses: 1, window_seconds: 61 });
            })
        }),
        bad("another-offer", "Under another offer.", "offer", &|terms| terms.offer = vec![1; 32].into()),
        bad("another-source", "From another source.", "source", &|terms| {
            terms.source = "partners/chirp".into();
        }),
        bad("another-recipient", "To another recipient.", "recipient", &|terms| {
            terms.recipient = "partners/chirp".into();
        }),
        bad("another-identity", "To a recipient with another identity key.", "recipient", &|terms| {
            terms.recipient_identity = terms.source_identity.clone();
        }),
        bad("another-purpose", "For another purpose.", "purpose", &|terms| {
            terms.purpose = "trip_updates".into();
        }),
        bad("another-catalogue", "Under another catalogue.", "catalogue_version", &|terms| {
            terms.catalogue_version = vec![1; 32].into();
        }),
        bad("required-left-out", "Without what the offer can't do without.", "fields", &|terms| {
            terms.fields = fields(&["trip.airport"]);
        }),
        bad("field-added", "A field that the offer does not name.", "fields", &|terms| {
            terms.fields.push("trip.gate".into());
        }),
        bad(
            "other-order",
            "The offer's fields in another order: one choice has one encoding.",
            "fields",
            &|terms| {
                terms.fields.reverse();
            },
        ),
        bad("more-uses", "One more.", "uses", &|terms| terms.uses += 1),
        bad("faster", "One more in a window.", "rate", &|terms| {
            terms.rate = Some(wire::Rate { uses: 4, window_seconds: 60 });
        }),
        bad("no-rate", "Without the offer's rate.", "rate", &|terms| terms.rate = None),
        bad("kept-longer", "A second more.", "retention_seconds", &|terms| terms.retention_seconds += 1),
        bad("longer", "A millisecond more.", "expire_time_ms", &|terms| terms.expire_time_ms += 1),
    ]
}

fn run_changes(input: &Value) -> Outcome {
    let envelope = |key: &str| read_envelope(&input[key]).unwrap();
    let changes: Vec<Envelope> =
        list(input, "changes").iter().map(|change| read_envelope(change).unwrap()).collect();
    let entered = doors::enter_changes(&envelope("acceptance"), &envelope("terms"), &changes);
    match entered {
        Ok(()) => Ok(Value::Null),
        Err((at, reason)) => {
            assert_eq!(at as u64, count(input, "at"), "{reason}");
            Err(reason.to_owned())
        }
    }
}

fn changes() -> Vec<Case> {
    let key = known::key(known::SOURCE_LINK);
    let told = |name: &str| STORY.envelope(name).clone();
    let input = |changes: &[Envelope], at: Option<usize>| {
        json!({
            "acceptance": envelope_json(STORY.envelope("source-acceptance")),
            "terms": envelope_json(STORY.envelope("source-terms")),
            "changes": changes.iter().map(envelope_json).collect::<Vec<_>>(),
            "at": at,
        })
    };
    let bent = |name: &str, bend: &dyn Fn(&mut wire::GrantChange)| {
        let mut change = wire::GrantChange::decode(told(name).payload).unwrap();
        bend(&mut change);
        envelope::sign::<GrantChange>(&change, &[&key])
    };
    let bad = |name: &str, comment, expected, at, changes: &[Envelope]| {
        Case::bad(name, comment, expected, input(changes, Some(at)))
    };
    let (pause, resume, stop) = (told("pause"), told("resume"), told("stop"));
    let stop_first = bent("stop", &|change| {
        change.sequence = 1;
        change.previous = STORY.digest("source-terms").into();
    });
    let after_stop = bent("resume", &|change| change.previous = envelope::digest(&stop_first).into());
    let narrow = told("narrow");
    let after_narrowing = bent("resume", &|change| change.previous = envelope::digest(&narrow).into());
    vec![
        Case::good(
            "story",
            "Pause, resume, stop.",
            input(&[pause.clone(), resume.clone(), stop.clone()], None),
        ),
        Case::good(
            "stop-at-once",
            "A stop as the first change.",
            input(std::slice::from_ref(&stop_first), None),
        ),
        Case::good(
            "narrowed",
            "A narrowing as the first change: it ends the grant.",
            input(std::slice::from_ref(&narrow), None),
        ),
        bad(
            "after-a-narrowing",
            "A resume that builds on a narrowing: its successor stands in its place.",
            "stopped",
            1,
            &[narrow.clone(), after_narrowing],
        ),
        bad("again", "The pause twice.", "sequence", 1, &[pause.clone(), pause.clone()]),
        bad(
            "left-out",
            "The resume without the pause: a change was withheld.",
            "sequence",
            0,
            std::slice::from_ref(&resume),
        ),
        bad(
            "older",
            "The pause after the resume.",
            "sequence",
            2,
            &[pause.clone(), resume.clone(), pause.clone()],
        ),
        bad(
            "parent-of-another-history",
            "Number 2, which builds on a pause that nobody has seen.",
            "previous",
            1,
            &[bent("pause", &|change| change.time_ms += 1), resume.clone()],
        ),
        bad(
            "parents-mixed-up",
            "Number 2 builds on the terms in the place of number 1.",
            "previous",
            1,
            &[pause.clone(), bent("resume", &|change| change.previous = STORY.digest("source-terms").into())],
        ),
        bad(
            "after-a-stop",
            "A resume that builds on a stop: a stop is for good.",
            "stopped",
            1,
            &[stop_first.clone(), after_stop],
        ),
        bad(
            "another-grant",
            "A change of another grant.",
            "terms",
            0,
            &[bent("pause", &|change| change.terms = vec![1; 32].into())],
        ),
    ]
}

fn run_permit(input: &Value) -> Outcome {
    let catalogue = Catalogue::parse(text(input, "catalogue").as_bytes()).unwrap();
    let (fetch, terms) =
        (signed::<Fetch>(bytes(input, "fetch")), signed::<GrantTerms>(bytes(input, "terms")));
    let state = State::from_str_name(text(input, "state")).unwrap();
    let partner = |key: &str| match text(input, key) {
        "ACTIVE" => Partner::Active,
        "SUSPENDED" => Partner::Suspended,
        other => panic!("`{other}` is no state"),
    };
    let spent = &input["spent"];
    let window = spent.get("window").map(|window| {
        (Timestamp::from_millis(count(window, "start_ms")), u32::try_from(count(window, "uses")).unwrap())
    });
    let tap = input.get("tap").map(|_| signed::<LocationTap>(bytes(input, "tap")));
    let judged = judge(&Judged {
        caller: &PartnerName::parse(text(input, "caller")).unwrap(),
        fetch: &fetch,
        terms: &terms,
        state,
        erasure_ordered: input["erasure_ordered"] == json!(true),
        spent: Spent { uses: u32::try_from(count(spent, "uses")).unwrap(), window },
        catalogue: &catalogue,
        tap: tap.as_ref().map_or(Tapped::No, |tap| Tapped::By(tap.statement(), tap.digest())),
        source: partner("source"),
        recipient: partner("recipient"),
        now: Timestamp::from_millis(count(input, "now_ms")),
    });
    let permit = judged.map_err(|refusal| refusal.reason().to_owned())?;
    Ok(json!({
        "grant": permit.grant().as_str(),
        "fields": permit.fields().iter().map(FieldPath::as_str).collect::<Vec<_>>(),
        "log_tag": hex(permit.log_tag()),
    }))
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn permits() -> Vec<Case> {
    let terms = STORY.envelope("source-terms");
    let good = json!({
        "catalogue": known::CATALOGUE,
        "terms": hex(&terms.payload),
        "fetch": hex(&STORY.envelope("fetch").payload),
        "caller": "partners/hopp",
        "state": "STATE_ACTIVE",
        "spent": { "uses": 0 },
        "source": "ACTIVE",
        "recipient": "ACTIVE",
        "now_ms": known::NOW_MS,
    });
    let with = |key: &str, value: Value| {
        let mut input = good.clone();
        input[key] = value;
        input
    };
    let fetch = |bend: &dyn Fn(&mut wire::Fetch)| {
        let mut fetch = known::fetch(envelope::digest(terms));
        bend(&mut fetch);
        with("fetch", hex(fetch.encode_to_vec()))
    };
    let window = |uses: u32, age_ms: u64| {
        with("spent", json!({ "uses": uses, "window": { "start_ms": known::NOW_MS - age_ms, "uses": uses } }))
    };
    let smaller_catalogue = known::CATALOGUE.replace(
        "fields = [\"trip.flight_no\", \"trip.airport\", \"trip.eta\"]",
        "fields = [\"trip.airport\", \"trip.eta\"]",
    );
    let other_catalogue = known::CATALOGUE.replace("pickup_planning", "dropoff_planning");
    let bad = |name: &str, comment, expected, input| Case::bad(name, comment, expected, input);
    vec![
        Case::good("good", "The story's fetch.", good.clone()),
        Case::good(
            "one-field",
            "Less than what was granted.",
            fetch(&|it| it.fields = vec!["trip.airport".into()]),
        ),
        Case::good("last-use", "The last of twelve.", with("spent", json!({ "uses": 11 }))),
        Case::good("new-window", "A minute after the window began.", window(3, 60_000)),
        Case::good(
            "old-enough",
            "120 s after it was signed.",
            with("now_ms", json!(known::NOW_MS + 120_000)),
        ),
        bad(
            "another-caller",
            "The token says another partner.",
            "GRANT_UNKNOWN",
            with("caller", json!("partners/chirp")),
        ),
        bad(
            "of-another",
            "A fetch in another's name.",
            "GRANT_UNKNOWN",
            fetch(&|it| it.recipient = "partners/chirp".into()),
        ),
        bad("other-terms", "Under other terms.", "GRANT_UNKNOWN", fetch(&|it| it.terms = vec![1; 32].into())),
        bad(
            "recipient-suspended",
            "The caller is suspended.",
            "PARTNER_SUSPENDED",
            with("recipient", json!("SUSPENDED")),
        ),
        bad("source-suspended", "The source is.", "SOURCE_UNAVAILABLE", with("source", json!("SUSPENDED"))),
        bad(
            "stale",
            "121 s after it was signed.",
            "STATEMENT_INVALID",
            with("now_ms", json!(known::NOW_MS + 120_001)),
        ),
        bad("early", "From the future.", "STATEMENT_INVALID", with("now_ms", json!(known::NOW_MS - 120_001))),
        bad("paused", "The customer has paused it.", "GRANT_PAUSED", with("state", json!("STATE_PAUSED"))),
        bad(
            "suspended",
            "The source or an operator has.",
            "GRANT_SUSPENDED",
            with("state", json!("STATE_SUSPENDED")),
        ),
        bad(
            "withdrawn",
            "The customer has stopped it.",
            "GRANT_ENDED",
            with("state", json!("STATE_WITHDRAWN")),
        ),
        bad("revoked", "Somebody else has.", "GRANT_ENDED", with("state", json!("STATE_REVOKED"))),
        bad("expired", "Its time is over.", "GRANT_ENDED", with("state", json!("STATE_EXPIRED"))),
        bad("superseded", "A newer one stands.", "GRANT_ENDED", with("state", json!("STATE_SUPERSEDED"))),
        bad(
            "another-purpose",
            "For what was not granted.",
            "PURPOSE_NOT_ALLOWED",
            fetch(&|it| it.purpose = "trip_updates".into()),
        ),
        bad(
            "another-field",
            "Of the offer, and not of the terms.",
            "FIELD_NOT_GRANTED",
            fetch(&|it| it.fields.push("trip.eta".into())),
        ),
        bad(
            "purpose-not-in-catalogue",
            "The customer's signature alone is not enough.",
            "PURPOSE_NOT_ALLOWED",
            with("catalogue", json!(other_catalogue)),
        ),
        bad(
            "field-not-in-catalogue",
            "Nor for a field.",
            "FIELD_NOT_GRANTED",
            with("catalogue", json!(smaller_catalogue)),
        ),
        bad("spent", "Twelve of twelve.", "FREQUENCY_EXCEEDED", with("spent", json!({ "uses": 12 }))),
        bad("consumed", "As the broker says it of the same.", "FREQUENCY_EXCEEDED", {
            let mut input = with("spent", json!({ "uses": 12 }));
            input["state"] = json!("STATE_CONSUMED");
            input
        }),
        bad("too-fast", "A fourth within the minute.", "FREQUENCY_EXCEEDED", window(3, 59_999)),
        bad(
            "stale-and-paused",
            "What is asked too late is told nothing of the grant.",
            "STATEMENT_INVALID",
            {
                let mut input = with("now_ms", json!(known::NOW_MS + 200_000));
                input["state"] = json!("STATE_PAUSED");
                input
            },
        ),
        bad("deleted", "The customer has ordered to delete what its last use brought.", "GRANT_ENDED", {
            let mut input = with("spent", json!({ "uses": 0 }));
            input["state"] = json!("STATE_CONSUMED");
            input["erasure_ordered"] = json!(true);
            input
        }),
        bad(
            "stale-and-deleted",
            "What is asked too late is told nothing of that either.",
            "STATEMENT_INVALID",
            {
                let mut input = with("now_ms", json!(known::NOW_MS + 200_000));
                input["erasure_ordered"] = json!(true);
                input
            },
        ),
        bad("paused-and-another-field", "The grant comes before what is asked.", "GRANT_PAUSED", {
            let mut input = fetch(&|it| it.fields.push("trip.eta".into()));
            input["state"] = json!("STATE_PAUSED");
            input
        }),
    ]
    .into_iter()
    .chain(taps(&good))
    .collect()
}

/// Fetches of a precise location, with a tap and without.
fn taps(good: &Value) -> Vec<Case> {
    const PLACE: &str = "pickup.location";
    let field = "[[field]]\npath = \"pickup.location\"\ntype = \"TEXT\"\n\
        category = \"https://w3id.org/dpv/pd#GPSCoordinate\"\nsensitivity = \"HIGH\"\nprovenance = \"PROVIDED\"\n\
        max_bytes = 62\ntitles = { en = \"Where you stand\" }\n";
    let fields = "fields = [\"trip.flight_no\", \"trip.airport\"";
    let catalogue = known::CATALOGUE.replace(fields, &format!("{fields}, \"{PLACE}\""));
    // Catalogues from format 3 on can have such a field.
    let catalogue = format!("{catalogue}\n{field}").replace("format = 1", "format = 3");
    let mut granted = wire::GrantTerms::decode(STORY.envelope("source-terms").payload.clone()).unwrap();
    granted.fields.push(PLACE.into());
    let terms = signed::<GrantTerms>(granted.encode_to_vec().into()).digest();
    let tap = |bend: &dyn Fn(&mut wire::LocationTap)| {
        let mut tap = wire::LocationTap {
            broker: known::origin().to_string(),
            terms: terms.into(),
            fields: vec![PLACE.into()],
            request_id: "3b0f5d5a-0f7e-4a53-8a4e-0f4f3c9a7e21".into(),
            time_ms: known::NOW_MS,
            expire_time_ms: known::NOW_MS + 300_000,
        };
        bend(&mut tap);
        tap.encode_to_vec()
    };
    let asked = |tap: Option<&[u8]>, of: &[u8]| {
        let named = signed::<LocationTap>(of.to_vec().into()).digest();
        let fetch = wire::Fetch { fields: vec![PLACE.into()], tap: named.into(), ..known::fetch(terms) };
        let mut input = good.clone();
        input["catalogue"] = json!(catalogue);
        input["terms"] = json!(hex(granted.encode_to_vec()));
        input["fetch"] = json!(hex(fetch.encode_to_vec()));
        if let Some(tap) = tap {
            input["tap"] = json!(hex(tap));
        }
        input
    };
    let by = |tap: &[u8]| asked(Some(tap), tap);
    let (right, required) = (tap(&|_| {}), "TAP_REQUIRED");
    let late = |millis: u64| {
        let mut input = by(&tap(&|it| {
            (it.time_ms, it.expire_time_ms) = (it.time_ms - millis, it.expire_time_ms - millis);
        }));
        input["now_ms"] = json!(known::NOW_MS);
        input
    };
    vec![
        Case::good("tapped", "A precise location, by the customer's own tap.", by(&right)),
        Case::bad("not-tapped", "Without one.", required, asked(None, &right)),
        Case::bad("another-tap", "It names another than the one that waits.", required, {
            asked(Some(&right), &tap(&|it| it.time_ms += 1))
        }),
        Case::bad(
            "tap-of-another-grant",
            "She tapped under another.",
            required,
            by(&tap(&|it| it.terms = vec![1; 32].into())),
        ),
        Case::bad(
            "tap-for-another-field",
            "For a field that she did not tap for.",
            required,
            by(&tap(&|it| it.fields = vec!["ride.location".into()])),
        ),
        Case::good("tap-at-its-end", "In its last millisecond.", late(299_999)),
        Case::bad("tap-over", "A millisecond later.", required, late(300_000)),
        Case::bad(
            "tap-of-the-future",
            "More than 120 s ahead.",
            required,
            by(&tap(&|it| {
                (it.time_ms, it.expire_time_ms) = (it.time_ms + 120_001, it.expire_time_ms + 120_001);
            })),
        ),
    ]
}

#[test]
fn every_verb_stands_in_the_story() {
    let verbs = ["pause", "resume", "stop", "narrow"]
        .map(|name| wire::GrantChange::decode(STORY.envelope(name).payload.clone()).unwrap().verb());
    assert_eq!(verbs, [Verb::Pause, Verb::Resume, Verb::Stop, Verb::Narrow]);
}
