//! What the director and a brand's process say to each other: one JSON object a line, commands on the brand's standard
//! input, answers and events on its standard output. A brand ends when its input does.

use std::path::PathBuf;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::flights::UnixMs;

/// A command with the number under which it is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) id: u64,
    pub(crate) command: Command,
}

/// What a brand is told to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", rename_all_fields = "snake_case")]
pub(crate) enum Command {
    /// The operator has entered the brand and its key: start work.
    Open,
    /// Publish the offers of the rows that this brand receives.
    Publish,
    /// Publish the offer of one of these rows anew, with fields that the person may add.
    Offer { row: u8, optional: Vec<String> },
    /// Invite the person who is signed in; an airline knows the flight that they booked. Where the code comes back to, if it
    /// isn't typed.
    Invite {
        label: String,
        flight: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        return_address: Option<String>,
    },
    /// The person brought the code back.
    Confirm { link: String, code: String },
    /// Put offers to a linked person: each offer, and whether the row can be left out.
    Request { subject: String, rows: Vec<(String, bool)> },
    /// It is this late in the story.
    Clock { at: UnixMs },
    /// Do what the hour asks for, unasked: an airline announces, a driver sets out.
    Act,
    /// Fetch under a grant, whatever comes of it.
    Fetch { grant: String, purpose: String, fields: Vec<String> },
    /// Delete what was received under a grant, as its customer ordered, and say so.
    Delete { grant: String },
    /// Bench: fetch in a closed loop, so many at a time, for so long, into the figures or not; through the broker, or
    /// through a bare relay.
    Load {
        in_flight: usize,
        millis: u64,
        measured: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relay: Option<ViaRelay>,
    },
    /// Bench: how long the measured transfers of one width took.
    Figures { in_flight: usize },
}

/// A relay to fetch through, which proves nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ViaRelay {
    /// Where it serves.
    pub(crate) address: String,
    /// The recipient's own folder, for its key.
    pub(crate) folder: PathBuf,
    /// The broker file, whose address the relay's takes.
    pub(crate) broker: PathBuf,
}

/// What a brand says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// The first line: who it is, for the operator.
    Ready(Ready),
    /// The answer to a command.
    Answer { id: u64, answer: Answer },
    /// Something that happened by itself.
    Event(Event),
}

/// What an operator has to be told of a partner, outside the broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// The identity key: unpadded base64url.
    pub(crate) identity: String,
    /// The identity key's statement for the working key: an envelope in unpadded base64url.
    pub(crate) certificate: String,
    /// Where the brand serves as a source.
    pub(crate) endpoint: String,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", rename_all_fields = "snake_case")]
pub(crate) enum Answer {
    Done,
    /// The offers by the number of their row.
    Published {
        offers: Vec<(u8, String)>,
    },
    Invited {
        package: String,
        link: String,
        subject: String,
    },
    Requested {
        request: String,
    },
    /// Whose records changed, so that a notice went out: the brand's own handles.
    Told {
        subjects: Vec<String>,
    },
    Fetched(Moved),
    /// The broker, or through it the source, said no.
    Refused {
        reason: String,
        message: String,
    },
    /// Something else than a considered no.
    Failed {
        error: String,
    },
    Loaded(Loaded),
    Figures(Figures),
}

/// Something that happened at a brand by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", rename_all_fields = "snake_case")]
pub(crate) enum Event {
    /// A grant verified, stands in the book, and was acknowledged.
    Granted { grant: String, subject: String, row: u8, receives: bool },
    /// A notice, or a new grant, was followed up: data moved, or the brand had no use for it.
    Followed { subject: String, row: u8, moved: Option<Moved>, told: bool, says: Option<String> },
    /// The customer's stop stands in the book.
    Stopped { grant: String, subject: String, row: u8 },
    /// The customer ordered this brand to delete what it received under a grant; the order stands in the book.
    EraseDue { grant: String },
    /// The customer tapped: the next fetch of a place that they gave is by it.
    Tapped { grant: String },
    /// Something did not go as it should.
    Trouble { what: String },
}

/// Data that moved, verified with its proof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moved {
    pub(crate) grant: String,
    /// In the order in which they were asked for.
    pub(crate) values: Vec<(String, String)>,
    /// Which use of the grant, from 1.
    pub(crate) use_number: u64,
    /// The record's index in the log.
    pub(crate) index: u64,
    /// How late it was in the story.
    pub(crate) clock: UnixMs,
}

impl Moved {
    /// The value of a field.
    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.values.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str())
    }
}

/// What one slice of load came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loaded {
    pub(crate) transfers: u64,
    pub(crate) failures: u64,
    pub(crate) micros: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

/// How long transfers took, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) transfers: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

/// One line, with its end.
pub(crate) fn encode<T: Serialize>(message: &T) -> String {
    let mut line = serde_json::to_string(message).expect("names, numbers and texts have a JSON form");
    line.push('\n');
    line
}

/// Reads one line.
pub(crate) fn decode<T: DeserializeOwned>(line: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T, expected: &str) {
        let line = encode(message);
        assert_eq!(line, format!("{expected}\n"));
        assert_eq!(decode::<T>(line.trim_end()).unwrap(), *message);
    }

    #[test]
    fn commands_are_lines() {
        check(&Asked { id: 1, command: Command::Open }, r#"{"id":1,"command":"open"}"#);
        check(
            &Asked {
                id: 2,
                command: Command::Invite {
                    label: "Mei\n".into(),
                    flight: Some("B6 35".into()),
                    return_address: None,
                },
            },
            r#"{"id":2,"command":{"invite":{"label":"Mei\n","flight":"B6 35"}}}"#,
        );
        check(
            &Asked {
                id: 3,
                command: Command::Request { subject: "s".into(), rows: vec![("o".into(), true)] },
            },
            r#"{"id":3,"command":{"request":{"subject":"s","rows":[["o",true]]}}}"#,
        );
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        check(&Line::Answer { id: 1, answer: Answer::Done }, r#"{"answer":{"id":1,"answer":"done"}}"#);
        let refused = Answer::Refused { reason: "GRANT_ENDED".into(), message: "over".into() };
        check(
            &Line::Answer { id: 2, answer: refused },
            r#"{"answer":{"id":2,"answer":{"refused":{"reason":"GRANT_ENDED","message":"over"}}}}"#,
        );
        let stopped = Event::Stopped { grant: "g".into(), subject: "s".into(), row: 1 };
        check(&Line::Event(stopped), r#"{"event":{"stopped":{"grant":"g","subject":"s","row":1}}}"#);
    }

    #[test]
    fn a_value_is_found_by_its_field() {
        let values = vec![("trip.eta".to_owned(), "soon".to_owned())];
        let moved = Moved { grant: "g".into(), values, use_number: 1, index: 2, clock: 3 };
        assert_eq!((moved.get("trip.eta"), moved.get("trip.gate")), (Some("soon"), None));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(decode::<Line>("listening").is_err());
        assert!(decode::<Asked>(r#"{"id":1,"command":"dance"}"#).is_err());
    }
}
