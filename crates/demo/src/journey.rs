//! Mei's airport trip: who takes part, and the five rows that are approved at once.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use countersign_client::{
    OfferDraft,
    grants::{
        id::PartnerName,
        statement::{BenefitKind, OfferText},
    },
};
use serde::{Deserialize, Serialize};

/// A partner that this program plays, each in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Brand {
    /// The airline.
    Skylark,
    /// The ride-hailing brand.
    Hopp,
    /// The messenger.
    Chirp,
    /// The bench's source.
    BenchSource,
    /// The bench's recipient.
    BenchRecipient,
}

/// The brands of the journey.
pub(crate) const BRANDS: [Brand; 3] = [Brand::Skylark, Brand::Hopp, Brand::Chirp];

impl Brand {
    /// The last segment of the partner's name, and the name of its folder.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Skylark => "skylark",
            Self::Hopp => "hopp",
            Self::Chirp => "chirp",
            Self::BenchSource => "bench-source",
            Self::BenchRecipient => "bench-recipient",
        }
    }

    /// The partner's name at the broker.
    pub(crate) fn partner(self) -> PartnerName {
        PartnerName::of_id(self.id()).expect("each id above has 2 to 32 of `a-z` and `-`")
    }

    /// What people read.
    pub(crate) fn display_name(self) -> &'static str {
        match self {
            Self::Skylark => "Skylark Air",
            Self::Hopp => "Hopp Rides",
            Self::Chirp => "Chirp",
            Self::BenchSource => "Bench source",
            Self::BenchRecipient => "Bench recipient",
        }
    }

    /// What it does, for the story.
    pub(crate) fn trade(self) -> &'static str {
        match self {
            Self::Skylark => "airline",
            Self::Hopp => "ride-hailing",
            Self::Chirp => "messenger",
            Self::BenchSource | Self::BenchRecipient => "bench",
        }
    }

    /// A staffed number, from the range that is kept for fiction.
    fn phone(self) -> &'static str {
        match self {
            Self::Skylark => "+1 212 555 0140",
            Self::Hopp => "+1 212 555 0141",
            Self::Chirp => "+1 212 555 0142",
            Self::BenchSource | Self::BenchRecipient => "+1 212 555 0199",
        }
    }

    fn controller(self) -> &'static str {
        match self {
            Self::Skylark => "Skylark Air Inc., 1 Apron Road, New York",
            Self::Hopp => "Hopp Rides Inc., 2 Kerb Street, New York",
            Self::Chirp => "Chirp Messaging Inc., 3 Wire Lane, New York",
            Self::BenchSource | Self::BenchRecipient => "Bench Inc., 4 Loop, New York",
        }
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that a width lines brands up.
        f.pad(match self {
            Self::Skylark => "Skylark",
            Self::Hopp => "Hopp",
            Self::Chirp => "Chirp",
            Self::BenchSource => "Source",
            Self::BenchRecipient => "Recipient",
        })
    }
}

/// An offer's words in one language: why, what for, until when.
type Words = (&'static str, &'static str, &'static str, &'static str);

/// One row of the request: the recipient's offer.
#[derive(Debug)]
pub(crate) struct Row {
    /// From 1, as the person counts.
    pub(crate) number: u8,
    /// Who holds the data.
    pub(crate) source: Brand,
    /// Who asks.
    pub(crate) recipient: Brand,
    /// The catalogue's code.
    pub(crate) purpose: &'static str,
    /// The fields, all of one resource.
    pub(crate) fields: &'static [&'static str],
    /// The fields that the person may add.
    optional_fields: &'static [&'static str],
    /// Starts switched off.
    pub(crate) optional: bool,
    /// How often data may be fetched in all.
    pub(crate) uses: u32,
    /// How often within a minute; none leaves it to the uses.
    rate: Option<u32>,
    /// How long it may stand.
    hours: u64,
    /// How long what was received may be kept after the end.
    kept: Duration,
    benefit: BenefitKind,
    texts: &'static [Words],
}

const HOUR: u64 = 3600;

/// Nothing is kept longer than a day after the end.
const RETENTION: Duration = Duration::from_secs(24 * HOUR);

/// The rows, in the order in which they are asked.
pub(crate) static ROWS: [Row; 5] = [
    Row {
        number: 1,
        source: Brand::Skylark,
        recipient: Brand::Hopp,
        purpose: "pickup_planning",
        fields: &["trip.flight_no", "trip.airport", "trip.terminal", "trip.eta"],
        optional_fields: &[],
        optional: false,
        uses: 12,
        rate: Some(12),
        hours: 48,
        kept: RETENTION,
        benefit: BenefitKind::Timely,
        texts: &[
            (
                "en",
                "So that your car comes when you land.",
                "Late flight? Your driver waits 45 minutes, free.",
                "landing + 24 h",
            ),
            ("zh-Hans", "让车辆在您落地时到达。", "航班晚点？司机免费等候45分钟。", "落地后24小时"),
            ("ja", "到着に合わせてお迎えするため。", "遅延時も45分まで無料でお待ちします。", "到着後24時間"),
        ],
    },
    Row {
        number: 2,
        source: Brand::Hopp,
        recipient: Brand::Chirp,
        purpose: "ride_updates",
        fields: &["ride.status", "ride.eta", "ride.plate_last3"],
        optional_fields: &[],
        optional: false,
        uses: 20,
        rate: Some(20),
        hours: 48,
        kept: RETENTION,
        benefit: BenefitKind::CrossPlatform,
        texts: &[
            ("en", "So that your chat knows your car.", "Ride updates in chat. No extra app.", "ride + 2 h"),
            ("zh-Hans", "让聊天知道您的车辆。", "聊天中接收行程动态，无需另装应用。", "行程后2小时"),
            ("ja", "チャットで配車をお伝えするため。", "配車状況をチャットで。アプリ不要。", "乗車後2時間"),
        ],
    },
    Row {
        number: 3,
        source: Brand::Chirp,
        recipient: Brand::Hopp,
        purpose: "driver_contact",
        fields: &["contact.reply_alias"],
        optional_fields: &[],
        optional: false,
        uses: 1,
        rate: Some(1),
        hours: 48,
        kept: RETENTION,
        benefit: BenefitKind::SpecialService,
        texts: &[
            (
                "en",
                "So that your driver can reach you.",
                "Your driver can message you without your number.",
                "ride end",
            ),
            ("zh-Hans", "让司机能联系到您。", "司机无需您的号码即可发消息。", "行程结束"),
            ("ja", "運転手からご連絡するため。", "電話番号を伝えずに連絡できます。", "乗車終了"),
        ],
    },
    Row {
        number: 4,
        source: Brand::Skylark,
        recipient: Brand::Chirp,
        purpose: "trip_updates",
        fields: &["trip.gate", "trip.boarding_time"],
        optional_fields: &[],
        optional: false,
        uses: 10,
        rate: Some(10),
        hours: 48,
        kept: Duration::ZERO,
        benefit: BenefitKind::Timely,
        texts: &[
            ("en", "So that your chat knows your gate.", "Gate changes reach you in chat.", "departure"),
            ("zh-Hans", "让聊天知道您的登机口。", "登机口变更会在聊天中通知您。", "起飞"),
            ("ja", "搭乗口をお伝えするため。", "搭乗口の変更をチャットで。", "出発"),
        ],
    },
    Row {
        number: 5,
        source: Brand::Hopp,
        recipient: Brand::Skylark,
        purpose: "missed_flight_help",
        fields: &["ride.status"],
        // What was observed starts switched off within the row as well.
        optional_fields: &["ride.dropoff_eta"],
        optional: true,
        uses: 6,
        rate: Some(6),
        hours: 48,
        kept: RETENTION,
        benefit: BenefitKind::Advice,
        texts: &[
            ("en", "So that we see you running late.", "Stuck in traffic? Free rebooking.", "gate close"),
            ("zh-Hans", "让我们知道您可能迟到。", "遇上堵车？免费改签。", "登机口关闭"),
            ("ja", "乗り遅れを早く知るため。", "渋滞でも無料で振替。", "搭乗締切"),
        ],
    },
];

/// The row of the bench, under a catalogue whose ceilings never bind.
pub(crate) static BENCH_ROW: Row = Row {
    number: 1,
    source: Brand::BenchSource,
    recipient: Brand::BenchRecipient,
    purpose: "pickup_planning",
    fields: &["trip.flight_no", "trip.airport", "trip.terminal", "trip.eta"],
    optional_fields: &[],
    optional: false,
    uses: 1_000_000_000,
    rate: None,
    hours: 48,
    kept: RETENTION,
    benefit: BenefitKind::Timely,
    texts: &[("en", "To measure transfers.", "You see how fast it is.", "the end of the bench")],
};

/// The row of this number.
pub(crate) fn row(number: u8) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.number == number)
}

impl Row {
    /// What the recipient's SDK needs to know.
    pub(crate) fn draft(&self) -> OfferDraft {
        let texts = self.texts.iter().map(|(language, reason, benefit, ends)| OfferText {
            language: (*language).to_owned(),
            reason: (*reason).to_owned(),
            benefit: (*benefit).to_owned(),
            ends: (*ends).to_owned(),
        });
        OfferDraft {
            source: self.source.partner(),
            purpose: self.purpose.to_owned(),
            required_fields: self.fields.iter().map(|field| (*field).to_owned()).collect(),
            optional_fields: self.optional_fields.iter().map(|field| (*field).to_owned()).collect(),
            duration: Duration::from_secs(self.hours * HOUR),
            uses: self.uses,
            rate: self.rate.map(|uses| (uses, Duration::from_secs(60))),
            retention: self.kept,
            texts: texts.collect(),
            benefit_kind: self.benefit,
            contact_phone: self.recipient.phone().to_owned(),
            law: "Consent: GDPR Art. 6(1)(a)".to_owned(),
            controller: self.recipient.controller().to_owned(),
            complaint_body: "Your data protection authority".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_client::grants::{
        catalogue::{Catalogue, Provenance},
        statement::MAX_REQUEST_WORDS,
    };

    use super::*;

    #[test]
    fn the_request_is_one_that_a_person_reads_to_the_end() {
        for language in ["en", "zh-Hans", "ja"] {
            let words: usize = ROWS
                .iter()
                .flat_map(|row| row.draft().texts)
                .filter(|text| text.language == language)
                .map(|text| text.words())
                .sum();
            assert!((1..=MAX_REQUEST_WORDS).contains(&words), "{language}: {words} words");
        }
    }

    #[test]
    fn every_row_lies_within_the_shipped_catalogue() {
        let catalogue = Catalogue::parse(countersign_client::grants::catalogue::SHIPPED).unwrap();
        for row in &ROWS {
            let purpose = catalogue.purpose(row.purpose).unwrap();
            for path in row.fields.iter().chain(row.optional_fields) {
                let field = catalogue.field(path).unwrap();
                assert!(purpose.allows(field.path()), "{path}");
                let observed = field.provenance() == Provenance::Observed;
                assert_eq!(observed, row.optional_fields.contains(path), "{path}");
            }
            let draft = row.draft();
            let asked = countersign_client::grants::catalogue::Ceilings {
                duration: draft.duration,
                uses: draft.uses,
                rate: draft.rate,
                retention: draft.retention,
            };
            assert_eq!(purpose.ceilings().check(&asked), Ok(()), "row {}", row.number);
        }
    }

    #[test]
    fn rows_are_numbered_as_a_person_counts() {
        let numbers: Vec<u8> = ROWS.iter().map(|row| row.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        assert!(ROWS.iter().all(|one| row(one.number).map(|row| row.purpose) == Some(one.purpose)));
        assert!(row(6).is_none());
    }
}
