use std::time::Duration;

use super::*;

/// The rows of the airport journey: purpose, fields, uses.
const JOURNEY: [(&str, &[&str], u32); 5] = [
    ("pickup_planning", &["trip.flight_no", "trip.airport", "trip.terminal", "trip.eta"], 12),
    ("ride_updates", &["ride.status", "ride.eta", "ride.plate_last3"], 20),
    ("driver_contact", &["contact.reply_alias"], 1),
    ("trip_updates", &["trip.gate", "trip.boarding_time"], 10),
    ("missed_flight_help", &["ride.dropoff_eta"], 6),
];

#[test]
fn the_shipped_document_meets_every_rule() {
    let catalogue = Catalogue::parse(SHIPPED).expect("the shipped catalogue");
    assert_eq!(catalogue.version(), Digest::of(SHIPPED));
    assert_eq!(catalogue.document(), SHIPPED);
    assert_eq!(catalogue, Catalogue::shipped());
    assert_eq!(catalogue.languages().collect::<Vec<_>>(), ["en", "ja", "zh-Hans"]);
}

#[test]
fn the_journey_can_be_asked_for() {
    let catalogue = Catalogue::shipped();
    for (code, fields, uses) in JOURNEY {
        let purpose = catalogue.purpose(code).expect(code);
        for path in fields {
            let field = catalogue.field(path).expect(path);
            assert!(purpose.allows(field.path()), "{code} {path}");
            let observed = *path == "ride.dropoff_eta";
            assert_eq!(field.provenance() == Provenance::Observed, observed, "{path}");
        }
        let day = Duration::from_secs(86_400);
        let asked = Ceilings { duration: 2 * day, uses, rate: None, retention: day };
        assert_eq!(purpose.ceilings().check(&asked), Ok(()), "{code}");
    }
}

#[test]
fn what_is_never_shared_stands_nowhere() {
    let catalogue = Catalogue::shipped();
    for path in ["trip.fare", "trip.passport", "ride.card", "contact.contacts", "contact.messages"] {
        assert_eq!(catalogue.field(path), None);
    }
    for code in ["advertising", "marketing", "pickup", ""] {
        assert_eq!(catalogue.purpose(code), None);
    }
    let eta = FieldPath::parse("trip.eta").expect("a path");
    assert!(!catalogue.purpose("ride_updates").expect("listed").allows(&eta));
}

#[test]
fn nothing_is_kept_longer_than_a_day() {
    for purpose in Catalogue::shipped().purposes() {
        assert!(purpose.ceilings().retention <= Duration::from_secs(86_400), "{}", purpose.code());
    }
}

#[test]
fn titles_fall_back_to_english() {
    let catalogue = Catalogue::shipped();
    let titles = catalogue.purpose("pickup_planning").expect("listed").titles();
    assert_eq!(titles.or_english("ja"), "お迎えの手配");
    assert_eq!(titles.or_english("fr"), "Planning your pick-up");
    assert_eq!(titles.get("fr"), None);
    assert_eq!(titles.iter().count(), 3);
}
