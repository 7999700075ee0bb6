//! What a check of a log found.

use std::fmt;

use countersign_grants::time::Timestamp;
use countersign_proto::log::v1::Kind;
use countersign_tlog::{SignedCheckpoint, bundle::ParseBundleError};

use super::leaf::NotARecord;

/// The most findings that a report keeps; the rest are counted. The first ones say what happened.
pub const MAX_FINDINGS: usize = 1000;

/// What a check of a log found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The head that was checked; absent if it did not verify, and then nothing else was checked.
    pub checkpoint: Option<SignedCheckpoint>,
    /// How many records were read.
    pub records: u64,
    /// How many grants they speak of.
    pub grants: u64,
    /// How many grants' recipients have not attested in time that they deleted what they received, and not since.
    pub overdue_erasures: u64,
    /// How many customers were erased because their accounts were abandoned, and not by a closure of theirs.
    pub abandoned: u64,
    /// How many records there are of each kind.
    pub kinds: Vec<(Kind, u64)>,
    /// The time of the first record.
    pub first_time: Option<Timestamp>,
    /// The time of the last record.
    pub last_time: Option<Timestamp>,
    /// The sizes of older checkpoints that this log was shown to continue.
    pub continues: Vec<u64>,
    /// What does not hold, by the index that it hits first; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many findings there were in all.
    pub finding_count: u64,
}

/// One thing that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The first record that it hits.
    pub index: u64,
    /// What it is.
    pub problem: Problem,
}

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The checkpoint is missing or not signed by the log: nothing under it is proven.
    #[error("the checkpoint does not verify, so nothing is proven: {detail}")]
    Checkpoint {
        /// Why not.
        detail: String,
    },
    /// A file that must be there is not.
    #[error("{path} is missing")]
    Missing {
        /// Which.
        path: String,
    },
    /// A bundle does not come apart into records.
    #[error("{path} is damaged: {error}")]
    Bundle {
        /// Which.
        path: String,
        /// What is wrong with it.
        error: ParseBundleError,
    },
    /// A record is not the one that the log signed.
    #[error("the record is not the one that was logged: its hash is not in the tree ({path})")]
    Altered {
        /// The bundle that holds it.
        path: String,
    },
    /// A tile's hash is not that of its records.
    #[error("hash {position} of {path} is not that of the records below it")]
    Tile {
        /// Which tile.
        path: String,
        /// Which of its hashes, from 0.
        position: usize,
    },
    /// A tile has another length than its name says.
    #[error("{path} has {found} bytes, not {expected}")]
    TileLength {
        /// Which tile.
        path: String,
        /// How long it must be.
        expected: usize,
        /// How long it is.
        found: usize,
    },
    /// The records do not add up to the signed root.
    #[error("the records do not add up to the root that the log signed")]
    Root,
    /// The log does not continue an older checkpoint.
    #[error("the log does not continue the older checkpoint of {size} records: {detail}")]
    Inconsistent {
        /// The older checkpoint's size.
        size: u64,
        /// How it differs.
        detail: &'static str,
    },
    /// A leaf is no record.
    #[error("the leaf is no record: {0}")]
    NotARecord(NotARecord),
    /// Time runs backwards.
    #[error("its time is {}, after one of {}", Moment(*found), Moment(*before))]
    Time {
        /// The time of the record before, in Unix milliseconds.
        before: u64,
        /// Its time.
        found: u64,
    },
    /// A record of a grant carries no tag, or one that is of none does.
    #[error("a {} record {}", name(*kind), if *tagged { "carries a grant's number without its tag" } else { "carries no grant's tag" })]
    Tag {
        /// What it records.
        kind: Kind,
        /// Whether there is a number without a tag.
        tagged: bool,
    },
    /// A grant's numbers have a gap, or one comes twice.
    #[error("it is number {found} of its grant; {expected} is next: a record is missing or was put in")]
    Sequence {
        /// The number that would be next.
        expected: u64,
        /// The number it has.
        found: u64,
    },
    /// Something happened under a grant before it was approved.
    #[error("a {} record comes before its grant's approval", name(*kind))]
    NotApproved {
        /// What.
        kind: Kind,
    },
    /// A grant was approved twice.
    #[error("its grant was approved before")]
    ApprovedTwice,
    /// Data moved under a stopped grant.
    #[error("data moved after its grant was stopped")]
    AfterStop,
    /// A stopped grant changed.
    #[error("a {} record comes after its grant was stopped", name(*kind))]
    ChangeAfterStop {
        /// How.
        kind: Kind,
    },
    /// A grant ended for a newer revision, and no approval between the same parties for the same purpose follows it.
    #[error(
        "its grant ended for a newer revision, and the next record approves none between the same parties"
    )]
    NoSuccessor,
    /// An order to delete comes twice, or what follows one without it.
    #[error("a {} record has no place here: an order to delete is given once, and met once", name(*kind))]
    Erasure {
        /// What it records.
        kind: Kind,
    },
    /// An erasure rests on a closure and has no reason, or on nothing and says that the account was abandoned.
    #[error("a customer was erased, and it is neither by a closure nor of an account that was abandoned")]
    Cause,
    /// An account was erased as abandoned for which there was no reason.
    #[error(
        "it is erasure {abandoned} of an account that was abandoned, and {ended} links and thefts were over for so long"
    )]
    NotAbandoned {
        /// How many there are with it.
        abandoned: u64,
        /// How many ends and reports had come that much earlier.
        ended: u64,
    },
    /// Data moved under a paused grant.
    #[error("data moved while its grant was paused")]
    WhilePaused,
    /// Data moved under a suspended grant.
    #[error("data moved while its grant was suspended")]
    WhileGrantSuspended,
    /// A partner was suspended, and data moved to or from it.
    #[error("data moved while {partner} was suspended")]
    WhileSuspended {
        /// Who.
        partner: String,
    },
    /// A partner takes part that two operators have not let in.
    #[error("a {} record of {partner}, which was not approved", name(*kind))]
    NotLive {
        /// What.
        kind: Kind,
        /// Who.
        partner: String,
    },
    /// A partner was approved that nobody had vetted as it was.
    #[error("{partner} was approved without being vetted as it is")]
    NotVetted {
        /// Who.
        partner: String,
    },
    /// A transfer is between others, for another purpose or under another catalogue than its approval.
    #[error("parties, purpose or catalogue are not those of the grant's approval")]
    OtherTerms,
    /// Use numbers do not count up.
    #[error("it spends use {found}; {expected} is next")]
    Use {
        /// The number that would be next.
        expected: u64,
        /// The number it has.
        found: u64,
    },
    /// A repeat carries the number of a use that was never spent.
    #[error("it repeats use {found} of {spent}")]
    Repeat {
        /// How many uses were spent.
        spent: u64,
        /// The number it has.
        found: u64,
    },
    /// A record says in clear whose request was put before its customer, or put off by her.
    #[error("it says whose request was shown or put off, which tells of the others that waited")]
    Turn,
    /// A transfer does not say how it went.
    #[error("a transfer that says neither released nor repeated")]
    Result,
}

/// Names the check for machines.
impl Problem {
    /// A stable word for the check that failed.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Checkpoint { .. } => "checkpoint",
            Self::Missing { .. } => "missing",
            Self::Bundle { .. } => "bundle",
            Self::Altered { .. } => "altered",
            Self::Tile { .. } | Self::TileLength { .. } => "tile",
            Self::Root => "root",
            Self::Inconsistent { .. } => "consistency",
            Self::NotARecord(_) => "record",
            Self::Time { .. } => "time",
            Self::Tag { .. } => "tag",
            Self::Sequence { .. } => "sequence",
            Self::NotApproved { .. } | Self::ApprovedTwice => "approval",
            Self::AfterStop | Self::ChangeAfterStop { .. } => "stop",
            Self::NoSuccessor => "successor",
            Self::Erasure { .. } | Self::Cause | Self::NotAbandoned { .. } => "erasure",
            Self::WhilePaused => "pause",
            Self::WhileSuspended { .. } | Self::WhileGrantSuspended => "suspension",
            Self::NotLive { .. } | Self::NotVetted { .. } => "vetting",
            Self::OtherTerms => "terms",
            Self::Use { .. } | Self::Repeat { .. } => "use_number",
            Self::Turn => "turn",
            Self::Result => "result",
        }
    }
}

impl Report {
    /// Whether everything holds.
    pub fn is_sound(&self) -> bool {
        self.finding_count == 0
    }

    /// How many records there are of one kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.kinds.iter().find(|(other, _)| *other == kind).map_or(0, |(_, count)| *count)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {}", self.index, self.problem)
    }
}

/// Collects findings, bounded.
#[derive(Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    count: u64,
}

impl Findings {
    pub(super) fn add(&mut self, index: u64, problem: Problem) {
        self.count += 1;
        if self.kept.len() < MAX_FINDINGS {
            self.kept.push(Finding { index, problem });
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// By the index that each hits; where several hit the same, the one that was found first comes first.
    pub(super) fn into_sorted(mut self) -> Vec<Finding> {
        self.kept.sort_by_key(|finding| finding.index);
        self.kept
    }
}

/// Unix milliseconds as people read them.
struct Moment(u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()) {
            Some(time) => time.fmt(f),
            None => write!(f, "{} ms", self.0),
        }
    }
}

fn name(kind: Kind) -> &'static str {
    kind.as_str_name().trim_start_matches("KIND_")
}
