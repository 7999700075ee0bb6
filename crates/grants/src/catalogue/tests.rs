use std::time::Duration;

use super::*;

/// The rows of the airport journey: purpose, fields, uses.
const JOURNEY: [(&str, &[&str], u32); 5] = [
    ("pickup_planning", &["trip.flight_no", "trip.airport", "trip.terminal", "trip.eta"], 12),
    ("ride_updates", &["ride.status", "ride.eta", "ride.plate_last3"], 20),
    ("driver_contact", &["contact.reply_alias"], 1),
    ("trip_updates", &["trip.gate", "trip.boarding_time"], 10),
    ("missed_flight_help", &["ride.status", "ride.dropoff_eta"], 6),
];

/// What hotel and retail can ask for, of an airline, a ride-hailing brand, and each other.
const HOTEL_AND_RETAIL: [(&str, &[&str], u32); 6] = [
    ("arrival_planning", &["trip.eta", "ride.dropoff_eta"], 24),
    ("stay_updates", &["stay.hotel", "stay.status", "stay.check_in_time", "stay.check_out_time"], 20),
    ("stay_transfer", &["stay.hotel", "stay.check_out_time"], 8),
    ("order_updates", &["order.status", "order.ready_time"], 20),
    ("delivery_to_stay", &["stay.hotel", "stay.status", "person.given_name"], 4),
    ("collect_on_the_way", &["order.store", "order.parcels"], 8),
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
fn the_journey_can_be_asked_for_and_so_can_hotel_and_retail() {
    let catalogue = Catalogue::shipped();
    for (code, fields, uses) in JOURNEY.into_iter().chain(HOTEL_AND_RETAIL) {
        let purpose = catalogue.purpose(code).expect(code);
        for path in fields {
            let field = catalogue.field(path).expect(path);
            assert!(purpose.allows(field.path()), "{code} {path}");
            let observed = *path == "ride.dropoff_eta";
            assert_eq!(field.provenance() == Provenance::Observed, observed, "{path}");
        }
        let day = Duration::from_secs(86_400);
        let rate = purpose.ceilings().rate;
        let asked = Ceilings { duration: 2 * day, uses, rate, retention: day };
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
fn what_is_observed_is_little_and_a_form_is_filled_in_once() {
    let catalogue = Catalogue::shipped();
    let observed: Vec<&str> = catalogue
        .fields()
        .filter(|field| field.provenance() == Provenance::Observed)
        .map(|field| field.path().as_str())
        .collect();
    assert_eq!(observed, ["ride.dropoff_eta"]);
    assert_eq!(catalogue.purpose("prefill").expect("listed").ceilings().uses, 1);
}

#[test]
fn every_purpose_can_be_offered_without_anything_observed() {
    let catalogue = Catalogue::shipped();
    let provided = |path: &FieldPath| {
        catalogue.field(path.as_str()).is_some_and(|field| field.provenance() == Provenance::Provided)
    };
    for purpose in catalogue.purposes() {
        assert!(purpose.fields().iter().any(provided), "{}", purpose.code());
    }
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
