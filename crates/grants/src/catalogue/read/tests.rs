use proptest::prelude::*;

use super::*;
use crate::catalogue::Denied;

/// A catalogue as small as one can be.
const SMALL: &str = r#"format = 3
languages = ["en", "ja"]
[[purpose]]
code = "ride_updates"
iri = "https://w3id.org/dpv#ServiceProvision"
titles = { en = "Ride updates", ja = "配車" }
fields = ["ride.status"]
[purpose.ceilings]
duration_seconds = 60
uses = 5
rate = { uses = 2, window_seconds = 30 }
retention_seconds = 10
[[field]]
path = "ride.status"
type = "ENUM"
values = ["WAITING", "ON_TRIP"]
category = "https://w3id.org/dpv/pd#ServiceConsumptionBehavior"
sensitivity = "LOW"
provenance = "PROVIDED"
max_bytes = 62
titles = { en = "Status", ja = "状況" }
"#;

/// The small catalogue with one piece replaced.
fn check(old: &str, new: &str, expected: &Result<(), CatalogueError>) {
    assert!(SMALL.contains(old), "{old}");
    let document = SMALL.replacen(old, new, 1);
    assert_eq!(&read(document.as_bytes()).map(|_| ()), expected, "{old} → {new}");
}

fn refused(old: &str, new: &str, expected: CatalogueError) {
    check(old, new, &Err(expected));
}

fn in_purpose() -> Place {
    Place::Purpose("ride_updates".to_owned())
}

fn in_field() -> Place {
    Place::Field("ride.status".to_owned())
}

#[test]
fn a_small_catalogue_is_read_whole() {
    let catalogue = read(SMALL.as_bytes()).expect("it meets every rule");
    let purpose = catalogue.purpose("ride_updates").expect("it is there");
    let rate = Some((2, Duration::from_secs(30)));
    let (duration, retention) = (Duration::from_secs(60), Duration::from_secs(10));
    assert_eq!(*purpose.ceilings(), Ceilings { duration, uses: 5, rate, retention });
    assert_eq!(purpose.iri(), "https://w3id.org/dpv#ServiceProvision");
    let field = catalogue.field("ride.status").expect("it is there");
    assert_eq!(field.value_type(), &ValueType::Enum(vec!["WAITING".to_owned(), "ON_TRIP".to_owned()]));
    assert_eq!(field.category(), "https://w3id.org/dpv/pd#ServiceConsumptionBehavior");
    assert_eq!(field.titles().iter().collect::<Vec<_>>(), [("en", "Status"), ("ja", "状況")]);
    assert_eq!((field.sensitivity(), field.max_bytes()), (Sensitivity::Low, 62));
    check("rate = { uses = 2, window_seconds = 30 }\n", "", &Ok(()));
    check("max_bytes = 62", "max_bytes = 4094", &Ok(()));
}

#[test]
fn the_size_is_bounded_before_anything_is_read() {
    let bytes = MAX_DOCUMENT_BYTES + 1;
    assert_eq!(read(&vec![b'#'; bytes]), Err(CatalogueError::TooLarge { bytes }));
    let largest = format!("{SMALL}{}", "#".repeat(MAX_DOCUMENT_BYTES - SMALL.len()));
    read(largest.as_bytes()).expect("as large as a document may be");
    assert_eq!(read(b"format = \xff"), Err(CatalogueError::NotText { valid_up_to: 9 }));
}

#[test]
fn every_key_is_known_and_there() {
    let malformed = |line, message: &str| CatalogueError::Malformed { line, message: message.to_owned() };
    let unknown = |document: String, key: &str| match read(document.as_bytes()) {
        Err(CatalogueError::Malformed { message, .. }) => assert!(message.contains(key), "{message}"),
        other => panic!("{key}: {other:?}"),
    };
    unknown(SMALL.replacen("format = 3", "format = 3\nhidden = 1", 1), "unknown field `hidden`");
    unknown(SMALL.replacen("code =", "notes = \"\"\ncode =", 1), "unknown field `notes`");
    unknown(SMALL.replacen("uses = 5", "uses = 5\nburst = 1", 1), "unknown field `burst`");
    unknown(
        SMALL.replacen("window_seconds", "window_minutes = 1, window_seconds", 1),
        "unknown field `window_minutes`",
    );
    unknown(SMALL.replacen("max_bytes", "default = \"\"\nmax_bytes", 1), "unknown field `default`");
    unknown(SMALL.replacen("uses = 5\n", "", 1), "missing field `uses`");
    unknown(SMALL.replacen("retention_seconds = 10\n", "", 1), "missing field `retention_seconds`");
    unknown(SMALL.replacen("uses = 5", "uses = 5\nuses = 6", 1), "duplicate key");
    unknown(SMALL.replacen("uses = 5", "uses = -5", 1), "-5");
    unknown(SMALL.replacen("\"LOW\"", "\"NONE\"", 1), "unknown variant `NONE`");
    assert!(matches!(read(b""), Err(CatalogueError::Malformed { line: 1, .. })));
    let broken = SMALL.replacen("uses = 5", "uses = 5\nhidden = 1", 1);
    let expected =
        "unknown field `hidden`, expected one of `duration_seconds`, `uses`, `rate`, `retention_seconds`";
    assert_eq!(read(broken.as_bytes()), Err(malformed(11, expected)));
    for format in [0, 4] {
        refused("format = 3", &format!("format = {format}"), CatalogueError::Format { format });
    }
}

#[test]
fn lists_are_neither_empty_nor_endless() {
    let count = |place, what, count, max| CatalogueError::Count { place, what, count, max };
    refused("[\"ride.status\"]", "[]", count(in_purpose(), "fields", 0, 32));
    let many = format!("[{}]", "\"ride.status\",".repeat(33));
    refused("[\"ride.status\"]", &many, count(in_purpose(), "fields", 33, 32));
    refused("[\"WAITING\", \"ON_TRIP\"]", "[]", count(in_field(), "values", 0, 64));
    refused("[\"en\", \"ja\"]", "[]", count(Place::Top, "languages", 0, 1_024));
    let (head, _) = SMALL.split_once("[[purpose]]").expect("it is there");
    let none = format!("{head}purpose = []\nfield = []\n");
    assert_eq!(read(none.as_bytes()), Err(count(Place::Top, "fields", 0, 1_024)));
}

#[test]
fn names_are_of_their_form_and_stand_once() {
    for (old, new) in [
        ("code = \"ride_updates\"", "code = \"Ride updates\""),
        ("path = \"ride.status\"", "path = \"status\""),
        ("[\"en\", \"ja\"]", "[\"en\", \"ja!\"]"),
    ] {
        let found = read(SMALL.replacen(old, new, 1).as_bytes());
        assert!(matches!(found, Err(CatalogueError::Name { place: Place::Top, .. })), "{new}: {found:?}");
    }
    let duplicate = |place, what: &str| CatalogueError::Duplicate { place, what: what.to_owned() };
    let (_, rest) = SMALL.split_once("[[purpose]]").expect("it is there");
    let (purpose, field) = rest.split_once("[[field]]").expect("it is there");
    let twice = |table: &str, body: &str| read(format!("{SMALL}[[{table}]]{body}").as_bytes());
    assert_eq!(twice("purpose", purpose), Err(duplicate(in_purpose(), "ride_updates")));
    assert_eq!(twice("field", field), Err(duplicate(in_field(), "ride.status")));
    refused(
        "[\"ride.status\"]",
        "[\"ride.status\", \"ride.status\"]",
        duplicate(in_purpose(), "ride.status"),
    );
    refused("\"ON_TRIP\"", "\"WAITING\"", duplicate(in_field(), "WAITING"));
    refused("[\"en\", \"ja\"]", "[\"en\", \"ja\", \"en\"]", duplicate(Place::Top, "en"));
}

#[test]
fn purposes_and_fields_refer_to_each_other() {
    let unknown = CatalogueError::UnknownField { place: in_purpose(), field: "ride.eta".to_owned() };
    refused("fields = [\"ride.status\"]", "fields = [\"ride.status\", \"ride.eta\"]", unknown);
    let (_, field) = SMALL.split_once("[[field]]").expect("it is there");
    let unused = format!("{SMALL}[[field]]{}", field.replacen("ride.status", "ride.eta", 1));
    let expected = CatalogueError::Unused { place: Place::Field("ride.eta".to_owned()) };
    assert_eq!(read(unused.as_bytes()), Err(expected));
}

#[test]
fn iris_are_terms_of_dpv() {
    let iri =
        |place, given: &str, namespace| CatalogueError::Iri { place, given: given.to_owned(), namespace };
    refused(
        "iri = \"https://w3id.org/dpv#ServiceProvision\"\n",
        "",
        iri(in_purpose(), "", PURPOSE_NAMESPACE),
    );
    let category = "category = \"https://w3id.org/dpv/pd#ServiceConsumptionBehavior\"\n";
    refused(category, "", iri(in_field(), "", CATEGORY_NAMESPACE));
    for given in [
        "https://w3id.org/dpv#",
        "http://w3id.org/dpv#X",
        "https://w3id.org/dpv#A B",
        "https://w3id.org/dpv/pd#Name",
    ] {
        let expected = iri(in_purpose(), given, PURPOSE_NAMESPACE);
        refused("https://w3id.org/dpv#ServiceProvision", given, expected);
    }
}

#[test]
fn no_ceiling_is_zero_or_endless() {
    let year = 31_622_400;
    for (key, old, max) in [
        ("duration_seconds", "duration_seconds = 60", year),
        ("uses", "uses = 5", u32::MAX.into()),
        ("retention_seconds", "retention_seconds = 10", year),
        ("rate.uses", "{ uses = 2", u32::MAX.into()),
        ("rate.window_seconds", "window_seconds = 30", year),
        ("max_bytes", "max_bytes = 62", 4_094),
    ] {
        let (name, _) = old.split_once(" = ").expect("a key and a value");
        let over = |given| CatalogueError::Ceiling {
            place: if key == "max_bytes" { in_field() } else { in_purpose() },
            ceiling: key,
            given,
            max,
        };
        refused(old, &format!("{name} = 0"), over(0));
        if max < u32::MAX.into() {
            refused(old, &format!("{name} = {}", max + 1), over(max + 1));
            refused(old, &format!("{name} = {}", i64::MAX), over(i64::MAX as u64));
        }
    }
}

#[test]
fn every_entry_has_a_short_title_in_every_language() {
    let title = |place, language: &str| CatalogueError::Title { place, language: language.to_owned() };
    refused(", ja = \"配車\"", "", title(in_purpose(), "ja"));
    refused("\"Status\"", "\" \"", title(in_field(), "en"));
    refused("\"Status\"", "\"a\\nb\"", title(in_field(), "en"));
    refused("\"Status\"", &format!("\"{}\"", "x".repeat(61)), title(in_field(), "en"));
    check("\"状況\"", &format!("\"{}\"", "状".repeat(60)), &Ok(()));
    refused("ja = \"状況\"", "ja = \"状況\", fr = \"État\"", title(in_field(), "fr"));
    refused("[\"en\", \"ja\"]", "[\"ja\"]", title(Place::Top, "en"));
}

#[test]
fn values_belong_to_enums() {
    let values = || CatalogueError::Values { place: in_field() };
    refused("values = [\"WAITING\", \"ON_TRIP\"]\n", "", values());
    refused("type = \"ENUM\"", "type = \"TEXT\"", values());
    refused("\"WAITING\"", "\"Waiting\"", values());
    refused("\"WAITING\"", "\"\"", values());
    refused("max_bytes = 62", "max_bytes = 6", values());
    check("max_bytes = 62", "max_bytes = 7", &Ok(()));
}

#[test]
fn what_is_never_brokered_is_refused_whoever_lists_it() {
    let denied = |place, class, sign: &str| CatalogueError::Denied { place, class, sign: sign.to_owned() };
    refused("\"PROVIDED\"", "\"INFERRED\"", CatalogueError::Inferred { place: in_field() });
    for (class, term) in [
        (Denied::Money, "Transaction"),
        (Denied::PaymentCard, "PaymentCard"),
        (Denied::IdentityNumber, "OfficialID"),
        (Denied::OtherPeople, "SocialNetwork"),
        (Denied::MessageContent, "Communication"),
        (Denied::Health, "Health"),
        (Denied::Biometric, "Fingerprint"),
        (Denied::Photo, "Picture"),
        (Denied::SensitiveTopic, "PoliticalOpinion"),
        (Denied::PreciseLocation, "GPSCoordinate"),
        (Denied::Credential, "Password"),
        (Denied::Trace, "BrowsingBehavior"),
        (Denied::TooBroad, "PersonalData"),
    ] {
        refused("ServiceConsumptionBehavior", term, denied(in_field(), class, term));
    }
    for (class, path, sign) in [
        (Denied::OtherPeople, "person.contactlist", "contactlist"),
        (Denied::Photo, "person.photos", "photos"),
        (Denied::Photo, "person.avatar", "avatar"),
        (Denied::Biometric, "person.fingerprint", "fingerprint"),
        (Denied::Biometric, "person.biometrics", "biometrics"),
        (Denied::Money, "person.bank_name", "bank"),
        (Denied::Money, "person.financial_standing", "financial"),
        (Denied::Money, "loyalty.account_no", "account"),
        (Denied::IdentityNumber, "person.national_no", "national"),
        (Denied::MessageContent, "thread.conversation", "conversation"),
        (Denied::SensitiveTopic, "person.religion", "religion"),
        (Denied::Address, "person.home_zip", "home"),
        (Denied::Trace, "person.search_terms", "search"),
        (Denied::Money, "ride.fare", "fare"),
        (Denied::PaymentCard, "ride.card_last4", "card"),
        (Denied::IdentityNumber, "trip.passport_no", "passport"),
        (Denied::OtherPeople, "person.contacts", "contacts"),
        (Denied::MessageContent, "thread.messages", "messages"),
        (Denied::Health, "person.health_note", "health"),
        (Denied::Biometric, "person.face", "face"),
    ] {
        let document = SMALL.replace("ride.status", path);
        let expected = denied(Place::Field(path.to_owned()), class, sign);
        assert_eq!(read(document.as_bytes()), Err(expected));
    }
    // Before a tap could let it go, a precise location was refused by any name.
    let old = SMALL.replace("format = 3", "format = 2").replace("ride.status", "ride.pickup_lat");
    let place = Place::Field("ride.pickup_lat".to_owned());
    assert_eq!(read(old.as_bytes()), Err(denied(place, Denied::PreciseLocation, "lat")));
    for (class, term) in [
        (Denied::Advertising, "PersonalisedAdvertising"),
        (Denied::Advertising, "Marketing"),
        (Denied::Scoring, "CreditChecking"),
        (Denied::TooBroad, "CommercialPurpose"),
    ] {
        refused("#ServiceProvision", &format!("#{term}"), denied(in_purpose(), class, term));
    }
    for (class, code, sign) in [
        (Denied::Advertising, "ride_ads", "ads"),
        (Denied::Advertising, "partner_marketing", "marketing"),
        (Denied::Scoring, "rider_profiling", "profiling"),
        (Denied::Outreach, "nearby_texts", "nearby"),
    ] {
        let document = SMALL.replace("code = \"ride_updates\"", &format!("code = \"{code}\""));
        let expected = denied(Place::Purpose(code.to_owned()), class, sign);
        assert_eq!(read(document.as_bytes()), Err(expected));
    }
}

#[test]
fn a_form_is_filled_in_once() {
    let registration = "https://w3id.org/dpv#ServiceRegistration";
    let by_term = SMALL.replace("https://w3id.org/dpv#ServiceProvision", registration);
    let by_word = SMALL.replace("code = \"ride_updates\"", "code = \"ride_prefill\"");
    for document in [by_term, by_word] {
        let found = read(document.as_bytes());
        assert!(matches!(found, Err(CatalogueError::NotOnce { uses: 5, .. })), "{found:?}");
        read(document.replace("uses = 5", "uses = 1").as_bytes()).expect("one use is what it is for");
    }
}

#[test]
fn an_older_format_is_read_and_not_put_to_use() {
    let old = SMALL.replace("format = 3", "format = 1").replace("\"ride_updates\"", "\"ride_prefill\"");
    read(old.as_bytes()).expect("its rules were those of its time");
    let refused = Catalogue::parse_for_use(old.as_bytes());
    assert_eq!(refused, Err(CatalogueError::Superseded { format: 1 }));
    Catalogue::parse_for_use(SMALL.as_bytes()).expect("the newest");
}

#[test]
fn a_precise_location_is_of_pick_ups_and_high() {
    let with = |code: &str, path: &str, sensitivity: &str| {
        let document = SMALL.replace("ride_updates", code).replace("ride.status", path);
        read(document.replace("\"LOW\"", sensitivity).as_bytes()).map(drop)
    };
    let tap = |place, problem| Err(CatalogueError::Tap { place, problem });
    assert_eq!(with("ride_pickup", "ride.location", "\"HIGH\""), Ok(()));
    let low = "it finds a person: its sensitivity is HIGH";
    assert_eq!(
        with("ride_pickup", "ride.location", "\"MEDIUM\""),
        tap(Place::Field("ride.location".into()), low)
    );
    let other = "a precise location serves a purpose that picks a person up, and no other";
    let found = with("ride_updates", "ride.location", "\"HIGH\"");
    assert_eq!(found, tap(Place::Purpose("ride_updates".into()), other));
}

#[test]
fn errors_name_the_place() {
    let error = read(SMALL.replacen("uses = 5", "uses = 0", 1).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "purpose `ride_updates`: uses is 0, where 1 to 4294967295 can stand");
    let error = read(SMALL.replace("ride.status", "person.photo").as_bytes()).unwrap_err();
    let expected = "field `person.photo`: pictures: never brokered, as `photo` shows: take it out of the catalogue, or \
                    name what is really meant";
    assert_eq!(error.to_string(), expected);
}

proptest! {
    #[test]
    fn no_document_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_damage_panics(at in 0..SMALL.len(), with in "\\PC{0,3}", cut in 0..8_usize) {
        let at = (0..=at).rev().find(|&at| SMALL.is_char_boundary(at)).unwrap_or(0);
        let end = (at + cut..=SMALL.len()).find(|&end| SMALL.is_char_boundary(end)).unwrap_or(SMALL.len());
        let _ = read(format!("{}{with}{}", &SMALL[..at], &SMALL[end..]).as_bytes());
    }
}
