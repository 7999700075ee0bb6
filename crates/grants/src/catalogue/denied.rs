//! What no catalogue may hold, whoever supplies it.
//!
//! Some data is never brokered, and some purposes are no exchange of value. A catalogue that names such a thing, by
//! its DPV term or by a word in its path or code, is refused as a whole. The lists are of DPV 2; a term is compared
//! without regard to case, since IRIs differ by case and people don't.

use std::fmt;

use super::read::OLDEST_FORMAT;

/// A kind of thing that is never brokered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denied {
    /// Fares, prices, payments, income, bank accounts, credit.
    Money,
    /// Payment cards.
    PaymentCard,
    /// Passports and other numbers by which a state knows a person.
    IdentityNumber,
    /// Address books, friends, family: other people.
    OtherPeople,
    /// What people write and say to each other.
    MessageContent,
    /// Health, of body and mind.
    Health,
    /// Face, fingerprint, voice, genes.
    Biometric,
    /// Pictures.
    Photo,
    /// Belief, politics, origin, sexuality, unions, crime.
    SensitiveTopic,
    /// Where somebody is, to the street. From format 3 on a catalogue can have it as a field that leaves by the person's own
    /// tap alone; under a path that does not show it, never.
    PreciseLocation,
    /// Where somebody lives or was born.
    Address,
    /// Passwords and the like.
    Credential,
    /// What somebody browses, searches, posts or calls, and the traces of devices.
    Trace,
    /// A category so wide that it holds the others.
    TooBroad,
    /// Purposes: advertising, marketing, selling.
    Advertising,
    /// Purposes: contact that nobody asked for, set off by a place, a search or a post.
    Outreach,
    /// Purposes: judging people's credit or character.
    Scoring,
}

/// One kind, and how it shows.
struct Class {
    denied: Denied,
    /// DPV terms, of personal data or of purposes: the part after `#`, with spaces between.
    terms: &'static str,
    /// Words of a path or a code, between dots and underscores.
    words: &'static str,
}

/// Refused as categories of fields. Terms that DPV 2 misspells stand in both spellings.
const DATA: &[Class] = &[
    Class {
        denied: Denied::Money,
        terms: "Financial FinancialAccount FinancialAccountNumber FinancialStatus AccountIdentifier \
            BankAccount Transactional Transaction Credit CreditCapacity CreditRecord CreditScore \
            CreditStanding CreditWorthiness Income IncomeBracket Insurance LoanRecord Ownership \
            ApartmentOwned HouseOwned CarOwned PersonalPossession Purchase PurchasesAndSpendingHabit \
            Sale Salary Tax",
        words: "fare fares price prices payment payments pay paid cost amount bank iban account salary \
            income credit invoice receipt tip tax wallet",
    },
    Class {
        denied: Denied::PaymentCard,
        terms: "PaymentCard PaymentCardNumber PaymentCardExpiry CreditCardNumber",
        words: "card cards cvv cvc pan",
    },
    Class {
        denied: Denied::IdentityNumber,
        terms: "OfficialID Passport UID VehicleLicense VehicalLicenseNumber VehicleLicenseNumber \
            VehicalLicenseRegistration VehicleLicenseRegistration",
        words: "passport passports visa ssn identity licence license national nric resident",
    },
    Class {
        denied: Denied::OtherPeople,
        terms: "SocialNetwork Acquantaince Acquaintance Association Connection Friend GroupMembership \
            Family FamilyStructure Relationship Offspring Parent Sibling Marriage Divorce MaritalStatus \
            GroupProfile",
        words: "contacts friend friends followers family relatives companions addressbook phonebook",
    },
    Class {
        denied: Denied::MessageContent,
        terms: "Communication EmailContent SocialMedia SocialMediaCommunication \
            PubliclyAvailableSocialMedia VoiceMail VoiceCommunicationRecording PersonalDocuments",
        words: "message messages chat chats inbox mail mails voicemail post posts transcript",
    },
    Class {
        denied: Denied::Health,
        terms: "MedicalHealth Health HealthHistory HealthRecord FamilyHealthHistory \
            IndividualHealthHistory MentalHealth PhysicalHealth BloodType Disability DrugTestResult \
            Prescription",
        words: "health medical disability wheelchair allergy pregnancy medication diet",
    },
    Class {
        denied: Denied::Biometric,
        terms: "Biometric FacialPrint Fingerprint Retina Genetic DNACode PhysicalCharacteristic \
            PhysicalTrait Height Weight HairColor SkinTone Tattoo Piercing Accent Dialect",
        words: "biometric biometrics face facial fingerprint iris retina voiceprint dna",
    },
    Class {
        denied: Denied::Photo,
        terms: "Picture",
        words: "photo photos picture pictures image images selfie video videos camera",
    },
    Class {
        denied: Denied::SensitiveTopic,
        terms: "Religion ReligiousBelief PhilosophicalBelief KnowledgeBelief Thought PoliticalAffiliation \
            PoliticalOpinion Opinion Race Ethnicity EthnicOrigin Nationality Citizenship Sexual \
            SexualHistory SexualPreference Fetish Proclivity TradeUnionMembership Criminal \
            CriminalCharge CriminalConviction CriminalOffense CriminalPardon Gender",
        words: "religion politics political race ethnicity nationality citizenship sexuality gender union \
            criminal",
    },
    Class {
        denied: Denied::PreciseLocation,
        terms: "GPSCoordinate",
        words: "gps latitude longitude lat lon lng coordinate coordinates position",
    },
    Class {
        denied: Denied::Address,
        terms: "PhysicalAddress Street HouseNumber RoomNumber PostalCode BirthPlace PlaceOfBirth Domicile \
            Residency",
        words: "address street home",
    },
    Class {
        denied: Denied::Credential,
        terms: "Authenticating AuthenticationHistory Password PINCode SecretText",
        words: "password passwords pin passkey secret token otp credential credentials",
    },
    Class {
        denied: Denied::Trace,
        terms: "Behavioral BrowserHistory BrowsingBehavior BrowsingReferral BrowserFingerprint \
            DigitalFingerprint CallLog CommunicationsMetadata LinkClicked TVViewingBehavior \
            DeviceBased DeviceApplications DeviceOperatingSystem DeviceSoftware IPAddress MACAddress \
            UserAgent Demeanor Personality Attitude Reliability VehicleUsage Interest Like Dislike",
        words: "browsing browser search searches history clicks calls device ip mac imei interests likes",
    },
    Class {
        denied: Denied::TooBroad,
        terms: "PersonalData External Internal Social Historical Household Tracking Profile \
            IndividualProfile Identifying Demographic Geographic Professional PublicLife LifeHistory \
            Character GeneralReputation SocialStatus",
        words: "all any everything other data raw",
    },
];

/// Refused as purposes.
const PURPOSES: &[Class] = &[
    Class {
        denied: Denied::Advertising,
        terms: "Marketing Advertising DirectMarketing PersonalisedAdvertising TargetedAdvertising \
            SocialMediaMarketing PublicRelations SellProducts SellProductsToDataSubject \
            SellDataToThirdParties SellInsightsFromData ProvideProductRecommendations \
            ProvideEventRecommendations ProvidePersonalisedRecommendations",
        words: "ad ads advert adverts advertising marketing promo promotion promotions retargeting upsell \
            sales campaign recommendations newsletter",
    },
    Class {
        denied: Denied::Scoring,
        terms: "CreditChecking CustomerSolvencyMonitoring MaintainCreditCheckingDatabase \
            MaintainCreditRatingDatabase PersonnelHiring PersonnelManagement",
        words: "scoring score rating profiling profile credit solvency",
    },
    Class {
        denied: Denied::TooBroad,
        terms: "Purpose CommercialPurpose NonCommercialPurpose Personalisation CustomerManagement \
            CustomerRelationshipManagement",
        words: "all any anything other general",
    },
];

/// Refused as categories of fields from format 2 on, beside those above.
const DATA_SINCE_2: &[Class] = &[
    Class { denied: Denied::Money, terms: "", words: "accounts banking financial finance swift receipts" },
    Class { denied: Denied::IdentityNumber, terms: "", words: "passportno idcard aadhaar curp nin tin" },
    Class { denied: Denied::OtherPeople, terms: "", words: "contactlist following" },
    Class {
        denied: Denied::MessageContent,
        terms: "",
        words: "messaging conversation conversations dm dms sms transcripts",
    },
    Class {
        denied: Denied::Health,
        terms: "",
        words: "allergies diagnosis illness symptoms vaccination blood",
    },
    Class { denied: Denied::Biometric, terms: "", words: "faceprint faceid fingerprints" },
    Class { denied: Denied::Photo, terms: "", words: "selfies avatar" },
    Class { denied: Denied::PreciseLocation, terms: "", words: "location whereabouts" },
    Class { denied: Denied::Address, terms: "", words: "postcode zip birthplace room" },
];

/// Refused as categories of fields from format 3 on, beside those above. `Location` holds the coordinates as well as the country:
/// what is coarse has a term of its own (`Country`, `TravelHistory`), and what is not shows by its path.
const DATA_SINCE_3: &[Class] = &[Class { denied: Denied::PreciseLocation, terms: "Location", words: "" }];

/// The words of a path that show a precise location: all that the lists above have for it.
pub(super) const LOCATION_WORDS: &[&str] = &[
    "gps",
    "latitude",
    "longitude",
    "lat",
    "lon",
    "lng",
    "coordinate",
    "coordinates",
    "position",
    "location",
    "whereabouts",
];

/// The format from which a precise location can be in a catalogue, to leave by a tap.
pub(super) const TAPS_SINCE: u32 = 3;

/// Refused as purposes from format 2 on, beside those above.
const PURPOSES_SINCE_2: &[Class] = &[
    Class {
        denied: Denied::Advertising,
        terms: "",
        words: "advertisement advertisements advertiser advertisers remarketing promotional upselling campaigns \
            newsletters lookalike audience audiences mirroring",
    },
    Class {
        denied: Denied::Outreach,
        terms: "",
        words: "outreach geofence geofencing nearby proximity winback reengagement prospecting leads cold \
            unsolicited",
    },
    Class { denied: Denied::Scoring, terms: "", words: "profiles inference inferences prediction" },
];

/// The format from which the longer lists count. A catalogue of an older one is read as it always was.
const LONGER_SINCE: u32 = 2;

/// Why a field is refused: its category's term, or a word in its path.
pub(super) fn field(path: &str, term: &str, format: u32) -> Option<(Denied, String)> {
    let by_tap = format >= TAPS_SINCE && path.split(['.', '_']).any(|word| LOCATION_WORDS.contains(&word));
    let lists = [(OLDEST_FORMAT, DATA), (LONGER_SINCE, DATA_SINCE_2), (TAPS_SINCE, DATA_SINCE_3)];
    find(&lists, path, term, format, |class| by_tap && class == Denied::PreciseLocation)
}

/// Why a purpose is refused: its term, or a word in its code.
pub(super) fn purpose(code: &str, term: &str, format: u32) -> Option<(Denied, String)> {
    find(&[(OLDEST_FORMAT, PURPOSES), (LONGER_SINCE, PURPOSES_SINCE_2)], code, term, format, |_| false)
}

/// By the lists that count for a catalogue of this format: each with the format from which it does.
fn find(
    lists: &[(u32, &[Class])],
    name: &str,
    term: &str,
    format: u32,
    passed_over: impl Fn(Denied) -> bool,
) -> Option<(Denied, String)> {
    let counting = lists.iter().filter(|(since, _)| format >= *since).flat_map(|(_, classes)| *classes);
    counting.filter(|class| !passed_over(class.denied)).find_map(|class| {
        let by_term = class.terms.split_whitespace().find(|denied| denied.eq_ignore_ascii_case(term));
        let by_word = || {
            name.split(['.', '_']).find(|word| class.words.split_whitespace().any(|denied| denied == *word))
        };
        let sign = by_term.or_else(by_word)?;
        Some((class.denied, sign.to_owned()))
    })
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Money => "money",
            Self::PaymentCard => "payment cards",
            Self::IdentityNumber => "identity numbers",
            Self::OtherPeople => "other people",
            Self::MessageContent => "message content",
            Self::Health => "health",
            Self::Biometric => "biometrics",
            Self::Photo => "pictures",
            Self::SensitiveTopic => "sensitive topics",
            Self::PreciseLocation => "precise location",
            Self::Address => "where somebody lives",
            Self::Credential => "credentials",
            Self::Trace => "traces of behaviour and devices",
            Self::TooBroad => "a category that holds anything",
            Self::Advertising => "advertising",
            Self::Outreach => "contact that nobody asked for",
            Self::Scoring => "scoring people",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_field(path: &str, term: &str, expected: Option<Denied>) {
        assert_eq!(field(path, term, LONGER_SINCE).map(|(denied, _)| denied), expected, "{path} {term}");
    }

    fn check_purpose(code: &str, term: &str, expected: Option<Denied>) {
        assert_eq!(purpose(code, term, LONGER_SINCE).map(|(denied, _)| denied), expected, "{code} {term}");
    }

    #[test]
    fn each_class_of_data_is_refused_by_term_and_by_word() {
        for (denied, term, path) in [
            (Denied::Money, "BankAccount", "trip.fare"),
            (Denied::Money, "Transactional", "ride.price_total"),
            (Denied::PaymentCard, "PaymentCardNumber", "wallets.card_last4"),
            (Denied::IdentityNumber, "Passport", "trip.passport_no"),
            (Denied::IdentityNumber, "OfficialID", "person.ssn"),
            (Denied::OtherPeople, "Friend", "contacts.names"),
            (Denied::MessageContent, "EmailContent", "thread.messages"),
            (Denied::Health, "Disability", "assist.wheelchair"),
            (Denied::Biometric, "FacialPrint", "person.face_template"),
            (Denied::Photo, "Picture", "person.photo"),
            (Denied::SensitiveTopic, "Religion", "person.religion"),
            (Denied::PreciseLocation, "GPSCoordinate", "ride.pickup_lat"),
            (Denied::Address, "PhysicalAddress", "stay.home_street"),
            (Denied::Credential, "Password", "login.password"),
            (Denied::Trace, "BrowserHistory", "person.search_terms"),
            (Denied::TooBroad, "PersonalData", "trip.everything"),
        ] {
            check_field("trip.eta", term, Some(denied));
            check_field("trip.eta", &term.to_uppercase(), Some(denied));
            check_field(path, "TravelHistory", Some(denied));
        }
    }

    #[test]
    fn each_class_of_purposes_is_refused_by_term_and_by_word() {
        for (denied, term, code) in [
            (Denied::Advertising, "TargetedAdvertising", "partner_ads"),
            (Denied::Advertising, "DirectMarketing", "marketing_mail"),
            (Denied::Scoring, "CreditChecking", "rider_scoring"),
            (Denied::Scoring, "CustomerSolvencyMonitoring", "guest_profiling"),
            (Denied::TooBroad, "CommercialPurpose", "any_purpose"),
        ] {
            check_purpose("ride_updates", term, Some(denied));
            check_purpose(code, "ServiceProvision", Some(denied));
        }
    }

    #[test]
    fn contact_that_nobody_asked_for_is_no_purpose() {
        for code in ["nearby_texts", "geofence_hello", "cold_calls", "guest_winback", "partner_outreach"] {
            check_purpose(code, "ServiceProvision", Some(Denied::Outreach));
        }
        for code in ["search_ads", "post_mirroring", "lookalike_audience"] {
            check_purpose(code, "ServiceProvision", Some(Denied::Advertising));
        }
    }

    #[test]
    fn an_older_format_has_the_shorter_lists() {
        assert_eq!(field("stay.room", "TravelHistory", 1), None);
        assert_eq!(purpose("nearby_texts", "ServiceProvision", 1), None);
        check_field("stay.room", "TravelHistory", Some(Denied::Address));
        for (classes, later) in [(DATA, DATA_SINCE_2), (PURPOSES, PURPOSES_SINCE_2)] {
            let known: Vec<&str> = classes.iter().flat_map(|class| class.words.split_whitespace()).collect();
            for word in later.iter().flat_map(|class| class.words.split_whitespace()) {
                assert!(!known.contains(&word), "{word} stands twice");
            }
        }
    }

    #[test]
    fn a_precise_location_shows_by_its_path_or_is_refused() {
        for path in ["pickup.location", "ride.pickup_lat", "person.position", "ride.gps"] {
            check_field(path, "GPSCoordinate", Some(Denied::PreciseLocation));
            assert_eq!(field(path, "GPSCoordinate", TAPS_SINCE), None, "{path} leaves by a tap");
        }
        let refused = |path, term| field(path, term, TAPS_SINCE).map(|(denied, _)| denied);
        assert_eq!(refused("pickup.spot", "GPSCoordinate"), Some(Denied::PreciseLocation), "by another name");
        // Wide enough to hold a coordinate, and so no way round the path.
        assert_eq!(refused("pickup.spot", "Location"), Some(Denied::PreciseLocation));
        assert_eq!(refused("pickup.spot", "LOCATION"), Some(Denied::PreciseLocation));
        assert_eq!(refused("pickup.location", "Location"), None, "by a tap");
        assert_eq!(field("pickup.spot", "Location", LONGER_SINCE), None, "as it was read before");
        for coarse in ["TravelHistory", "Country"] {
            assert_eq!(refused("trip.airport", coarse), None);
        }
        assert_eq!(refused("home.location", "GPSCoordinate"), Some(Denied::Address), "where she lives");
        assert_eq!(refused("friend.location", "GPSCoordinate"), Some(Denied::OtherPeople));
        let words = DATA.iter().chain(DATA_SINCE_2).filter(|class| class.denied == Denied::PreciseLocation);
        let words: Vec<&str> = words.flat_map(|class| class.words.split_whitespace()).collect();
        assert_eq!(words, LOCATION_WORDS);
    }

    #[test]
    fn words_count_whole() {
        check_field("contact.reply_alias", "Contact", None);
        check_field("trip.farewell_gate", "TravelHistory", None);
        check_field("ride.plate_last3", "Vehicle", None);
        check_purpose("ride_updates", "ServiceProvision", None);
        check_purpose("boarding_headsup", "ServiceProvision", None);
    }
}
