//! Errors as people and machines read them: what happened, whose fault it is, what to do, and the reason.

use std::process::ExitCode;

use countersign_client::{
    Error, Misuse,
    auditor::SourceError,
    book::BookError,
    error::{Misbehaved, Refused},
};
use owo_colors::OwoColorize as _;
use serde_json::json;

use crate::{output::pretty, words};

/// Refused, or failed.
const FAILED: u8 = 1;

/// A check found damage.
const DAMAGED: u8 = 3;

/// A check found damage; what, the report has said.
#[derive(Debug)]
pub(crate) struct Damaged(pub(crate) String);

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damaged {}

/// An error, explained.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explained {
    message: String,
    fault: String,
    remedy: String,
    reason: String,
    code: u8,
}

impl Explained {
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if let Some(Damaged(message)) = error.downcast_ref() {
            let remedy = "keep this copy, and hold it against another one";
            return Self::new(message.clone(), "whoever changed it", remedy, "DAMAGED", DAMAGED);
        }
        match error.downcast_ref::<Error>() {
            Some(known) => Self::of_client(known),
            None => Self::of_other(error),
        }
    }

    fn of_client(error: &Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Refused(refused) => Self {
                message,
                fault: "the request, as the broker judges it".to_owned(),
                remedy: remedy(refused),
                reason: refused.reason.clone(),
                code: FAILED,
            },
            Error::Misbehaved(misbehaved) => {
                let Misbehaved { who, check, .. } = misbehaved.as_ref();
                let remedy = "nothing of it was used; keep the message, and ask them about it";
                Self::new(message, &who.to_string(), remedy, &format!("UNVERIFIED_{check}"), FAILED)
            }
            Error::Unreachable { .. } => {
                let remedy = "is the broker running, and is its address in the broker file right? The same command again is safe";
                Self::new(message, "the network, or the broker", remedy, "UNREACHABLE", FAILED)
            }
            Error::Misuse(Misuse::Unknown { .. }) => {
                Self::new(message, "the call", "look at the list, and copy the whole name", "UNKNOWN", FAILED)
            }
            Error::Misuse(Misuse::WrongCode { tries_left: 0 }) => {
                Self::new(message, "the code", "make a new invitation", "WRONG_CODE", FAILED)
            }
            Error::Misuse(Misuse::WrongCode { .. }) => {
                let remedy = "ask the person who is signed in to read the code again";
                Self::new(message, "the code", remedy, "WRONG_CODE", FAILED)
            }
            Error::Misuse(_) => {
                Self::new(message, "the call", "change what the message names", "MISUSE", FAILED)
            }
            Error::LogForked(_) => {
                let remedy = "stop; show both checkpoints to the other partners and to an auditor";
                Self::new(message, "the broker", remedy, "LOG_FORKED", DAMAGED)
            }
            Error::Book(book) => Self::of_book(message, book),
        }
    }

    fn of_book(message: String, error: &BookError) -> Self {
        let remedy = match error {
            BookError::InUse { .. } => "end the other process that works with this folder, or wait for it",
            BookError::Loose { .. } => "chmod 600",
            BookError::Io { .. } => "look at the folder's permissions and at the free space",
            _ => "restore the book from a backup",
        };
        Self::new(message, "this machine", remedy, "BOOK", FAILED)
    }

    fn of_other(error: &anyhow::Error) -> Self {
        let message = format!("{error:#}");
        if let Some(book) = error.downcast_ref::<BookError>() {
            return Self::of_book(message, book);
        }
        match error.downcast_ref::<SourceError>() {
            Some(SourceError::Denied { .. }) => Self::new(
                message,
                "the call",
                "name an auditor with --name and --auditor-key",
                "DENIED",
                FAILED,
            ),
            Some(SourceError::Unreachable { .. }) => {
                Self::new(message, "the network, or the server", "try again later", "UNREACHABLE", FAILED)
            }
            _ => Self::new(
                message,
                "the call, or this machine",
                "change what the message names",
                "FAILED",
                FAILED,
            ),
        }
    }

    fn new(message: String, fault: &str, remedy: &str, reason: &str, code: u8) -> Self {
        let [fault, remedy, reason] = [fault, remedy, reason].map(str::to_owned);
        Self { message, fault, remedy, reason, code }
    }

    /// To standard error; the exit code says the rest.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let Self { message, fault, remedy, reason, code } = self;
        if json {
            let error = json!({ "message": message, "fault": fault, "remedy": remedy, "reason": reason });
            eprintln!("{}", pretty(&json!({ "error": error })));
        } else {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let word = if colour { "error".red().bold().to_string() } else { "error".to_owned() };
            eprintln!("{word}: {message}\n  fault:  {fault}\n  remedy: {remedy}\n  reason: {reason}");
        }
        ExitCode::from(*code)
    }
}

/// What the developer or the person does about a refusal.
fn remedy(refused: &Refused) -> String {
    let remedy = match refused.reason.as_str() {
        "GRANT_PENDING" | "GRANT_PAUSED" | "GRANT_SUSPENDED" => "wait for the event that says it stands",
        "GRANT_ENDED" => "delete the data, and don't ask again",
        "GRANT_UNKNOWN" => "there is no such grant for this subject and this caller",
        "FIELD_NOT_GRANTED" | "PURPOSE_NOT_ALLOWED" | "OFFER_NOT_ALLOWED" => "ask for less",
        "FREQUENCY_EXCEEDED" | "ASK_COOLDOWN" | "QUOTA_EXCEEDED" => {
            "wait; with no time named, the uses are spent"
        }
        "REQUEST_ID_REUSED" => "use a new id",
        "STATEMENT_INVALID" => "`check` in the message names what did not hold",
        "SOURCE_UNAVAILABLE" | "LOG_UNAVAILABLE" | "OVERLOADED" | "DEADLINE_EXCEEDED" => {
            "try again a little later"
        }
        "SOURCE_MISBEHAVED" => "tell the source",
        "TOKEN_INVALID" => "set this machine's clock; else the key is not the one that the broker knows",
        "CALLER_NOT_ALLOWED" => "this command is for another principal",
        "PARTNER_SUSPENDED" => "ask the operator why",
        "PARTNER_NOT_LIVE" => "ask the operators: one vets a partner, another approves it",
        "CONTACT_MISSING" => "set the number under which its people are reached",
        "WRONG_STATE" => "look at where it stands now",
        "ALREADY_EXISTS" => "there is one already; look at the list",
        "INVITATION_USED" | "INVITATION_EXPIRED" => "ask the partner for a new invitation",
        "LINK_MISSING" => "link first",
        _ => "change what the message names",
    };
    match refused.retry_after {
        Some(after) => format!("{remedy}; again in {}", words::duration(after)),
        None => remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: impl Into<anyhow::Error>, reason: &str, code: u8) {
        let explained = Explained::of(&error.into());
        assert_eq!((explained.reason.as_str(), explained.code), (reason, code));
        assert!(!explained.message.is_empty() && !explained.remedy.is_empty() && !explained.fault.is_empty());
    }

    #[test]
    fn every_fault_has_a_remedy() {
        check(Error::Unreachable { detail: "x".into() }, "UNREACHABLE", 1);
        check(Error::Misuse(Misuse::Unknown { name: "x".into() }), "UNKNOWN", 1);
        check(Error::Misuse(Misuse::WrongCode { tries_left: 0 }), "WRONG_CODE", 1);
        check(Damaged("3 findings".into()), "DAMAGED", 3);
        check(anyhow::anyhow!("x"), "FAILED", 1);
        check(BookError::Poisoned, "BOOK", 1);
    }
}
