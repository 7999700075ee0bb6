//! How one partner stands with one customer as an asker.

use std::time::Duration;

use countersign_proto::row::v1::AskerRow;

use crate::time::Timestamp;

/// So many refusals, without an approval between them, make a partner silent.
pub const REFUSALS: u32 = 2;

/// What is kept of one partner's requests to one customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    /// When a request of it was last put before the customer.
    pub shown: Option<Timestamp>,
    /// Refusals since the last approval or the last silence.
    pub refusals: u32,
    /// Until when it is silent.
    pub silent_until: Option<Timestamp>,
}

impl Asker {
    /// A request of it is put before the customer.
    pub fn shown(self, at: Timestamp) -> Self {
        Self { shown: Some(at), ..self }
    }

    /// The customer refuses a request of it. With enough of them it is silent for as long as `silence`.
    pub fn refused(self, at: Timestamp, silence: Duration) -> Self {
        match self.refusals + 1 {
            REFUSALS.. => Self { refusals: 0, silent_until: Some(at.plus(silence)), ..self },
            refusals => Self { refusals, ..self },
        }
    }

    /// The customer approves a request of it: who is welcome begins anew.
    pub fn approved(self) -> Self {
        Self { refusals: 0, silent_until: None, ..self }
    }

    /// The customer lets it ask again.
    pub fn heard(self) -> Self {
        self.approved()
    }

    /// How long it may not ask yet, if it may not.
    pub fn silent_for(self, now: Timestamp) -> Option<Duration> {
        self.silent_until.filter(|until| *until > now).map(|until| until.since(now))
    }

    /// The first moment from `now` on at which it may be shown.
    pub(super) fn speaks_from(self, now: Timestamp) -> Timestamp {
        self.silent_until.map_or(now, |until| until.max(now))
    }

    /// What a row says.
    pub fn from_row(row: &AskerRow) -> Self {
        let set = |millis: u64| (millis > 0).then(|| Timestamp::from_millis(millis));
        Self { shown: set(row.shown_time_ms), refusals: row.refusals, silent_until: set(row.silent_until_ms) }
    }

    /// As its row.
    pub fn to_row(self) -> AskerRow {
        AskerRow {
            shown_time_ms: self.shown.map_or(0, Timestamp::as_millis),
            refusals: self.refusals,
            silent_until_ms: self.silent_until.map_or(0, Timestamp::as_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(90 * 24 * 3600);

    #[test]
    fn two_refusals_silence_and_an_approval_between_them_does_not() {
        let at = Timestamp::from_millis(1_000);
        let once = Asker::default().refused(at, SILENCE);
        assert_eq!((once.refusals, once.silent_for(at)), (1, None));
        let twice = once.refused(at, SILENCE);
        assert_eq!((twice.refusals, twice.silent_for(at)), (0, Some(SILENCE)));
        assert_eq!(twice.silent_for(at.plus(SILENCE)), None);
        assert_eq!(twice.refused(at.plus(SILENCE), SILENCE).refusals, 1, "it begins anew");
        let liked = once.approved().refused(at, SILENCE);
        assert_eq!((liked.refusals, liked.silent_until), (1, None));
        assert_eq!(twice.heard().silent_for(at), None);
        assert_eq!(twice.shown(at).heard(), Asker::default().shown(at), "its turn is kept");
    }

    #[test]
    fn rows_keep_it() {
        let at = Timestamp::from_millis(7);
        for asker in [
            Asker::default(),
            Asker::default().shown(at),
            Asker::default().shown(at).refused(at, SILENCE).refused(at, SILENCE),
        ] {
            assert_eq!(Asker::from_row(&asker.to_row()), asker);
        }
    }
}
