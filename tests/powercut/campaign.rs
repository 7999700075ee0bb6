//! From a recording to its images, one after the other, each opened and checked.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use countersign_store_sled::files::Files;

use crate::{
    check::{Known, Opened, check},
    disk::{Disk, Unsynced},
    files::{LinkedFiles, copy_folder},
    image::{Builder, Index},
    random::Random,
    record::{Event, Lie, Mark, Recorder},
    report::Report,
    scenario::{Places, Recording},
    worldcheck::Finding,
};

/// Of images that open, one in so many has its power cut again while it is opened.
const AGAIN_ONE_IN: usize = 8;

/// What the mark of a closed store is called.
const MARK: &str = "CLOSED";

/// Syncs after a mark is gone at which the power is cut too: the first is of that name.
const SYNCS_AFTER_MARK: usize = 2;

/// After so many faults the rest isn't looked at.
const MAX_FAULTS: usize = 5;

/// What is recorded between two syncs: images of one such stretch differ in what they keep of it.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Its number among all.
    number: usize,
    /// How many events had happened.
    events: usize,
    strict: bool,
    /// The store was closed then, or was on its way there or back.
    closed: bool,
}

/// Which images are looked at.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How many of all images; `None` is all.
    pub(crate) drawn: Option<usize>,
    pub(crate) stop_at_first: bool,
    /// Where images with faults are kept; nowhere if they are expected.
    pub(crate) kept: Option<PathBuf>,
}

/// Goes through a recording.
pub(crate) struct Campaign<'a> {
    recording: &'a Recording,
    places: &'a Places,
    plan: &'a Plan,
    builder: Builder,
    disk: Disk,
    known: Known,
    submitted: HashSet<usize>,
    /// Copies of the index that had been taken.
    copies: usize,
    /// Nothing was handed in since the last of them was.
    copied: bool,
    /// The first of them that can still be what the disk holds.
    first_copy: usize,
}

impl<'a> Campaign<'a> {
    pub(crate) fn new(
        recording: &'a Recording,
        places: &'a Places,
        pool: PathBuf,
        plan: &'a Plan,
    ) -> Result<Self> {
        let builder = Builder::new(places, pool)?;
        builder.clear()?;
        Ok(Campaign {
            recording,
            places,
            plan,
            builder,
            disk: Disk::new(),
            known: Known::default(),
            submitted: HashSet::new(),
            copies: 0,
            copied: false,
            first_copy: 0,
        })
    }

    /// Looks at the images of the plan; `each` is told of every one.
    pub(crate) async fn run(mut self, mut each: impl FnMut(usize, usize)) -> Result<Report> {
        let cuts = cuts(&self.recording.events, self.plan);
        let mut report = Report::new(self.plan.seed, &self.recording.events);
        let mut done = 0;
        for (place, cut) in cuts.iter().enumerate() {
            while done < cut.events {
                self.happened(&self.recording.events[done]);
                done += 1;
            }
            self.look(*cut, &mut report).await?;
            each(place + 1, cuts.len());
            if report.faults.len() >= if self.plan.stop_at_first { 1 } else { MAX_FAULTS } {
                break;
            }
        }
        Ok(report)
    }

    fn happened(&mut self, event: &Event) {
        self.disk.apply(event);
        let Event::Mark(mark) = event else { return };
        match mark {
            Mark::Submitted(number) => {
                self.copied = false;
                self.submitted.insert(*number);
                let commits = &self.recording.model.commits;
                while let Some(next) = commits.get(self.known.submitted as usize)
                    && next.iter().all(|done| self.submitted.contains(&done.number))
                {
                    self.known.submitted += 1;
                }
            }
            Mark::Acknowledged(sequence) => self.known.acknowledged = self.known.acknowledged.max(*sequence),
            Mark::HandedOut(head) => self.known.heads.push(head.clone()),
            Mark::Published(size) => self.known.published = self.known.published.max(*size),
            Mark::Scrubbing => {
                self.copied = false;
                self.known.scrubbing = true;
            }
            Mark::Scrubbed { sequence, copies } => {
                (self.known.scrubbed, self.first_copy) = (*sequence, *copies);
            }
            Mark::Copied(number) => (self.copies, self.copied) = (number + 1, true),
            Mark::Checked => {}
        }
    }

    async fn look(&mut self, cut: Cut, report: &mut Report) -> Result<()> {
        let mut random = Random::of(self.plan.seed, 1_000 + cut.number as u64);
        let unsynced = match (cut.strict, random.below(4)) {
            (true, _) => Unsynced::Lost,
            (false, 0) => Unsynced::Kept,
            (false, _) => Unsynced::Torn,
        };
        let index = match (random.below(3), self.copies - self.first_copy) {
            (0, _) | (_, 0) => Index::Empty,
            // While the store is closed the copy is what lies there, and by that the mark holds.
            (1, copies) if copies > 1 && !self.copied => {
                Index::Older(self.first_copy + random.below(copies - 1))
            }
            (_, copies) => Index::Newest(self.first_copy + copies - 1),
        };
        let again = random.one_in(AGAIN_ONE_IN);
        let before = random.clone();
        self.build(unsynced, index, &mut random)?;
        // What lies there after the cut is on the disk: a second cut takes none of it.
        let mut second =
            if again { Some(Disk::load(&self.places.disk, &self.places.store.join("sled"))?) } else { None };
        let recorder = Recorder::over(
            Arc::new(LinkedFiles),
            &self.places.disk,
            &self.places.store.join("sled"),
            Lie::None,
        );
        let found = self.check(Arc::new(recorder.clone()), Some(&recorder), &mut random).await;
        report.looked_at(unsynced, index, false, found.as_ref().ok());
        if let Err(finding) = found {
            let kept = self.keep(cut, unsynced, index, before)?;
            report.fault(cut.number, unsynced, index, false, &finding, kept);
            return Ok(());
        }
        let Some(second) = &mut second else { return Ok(()) };
        let events = recorder.take();
        let opening = events.iter().position(|event| matches!(event, Event::Mark(Mark::Checked)));
        let cut_at = random.below(opening.unwrap_or(events.len()) + 1);
        for event in &events[..cut_at] {
            second.apply(event);
        }
        let unsynced = if random.one_in(2) { Unsynced::Lost } else { Unsynced::Torn };
        let copy = self.copy(index).map(Path::to_owned);
        let mut apart = Builder::new(self.places, self.builder.pool().join("again"))?;
        apart.build(second, unsynced, &mut random, copy.as_deref())?;
        let found = self.check(Arc::new(LinkedFiles), None, &mut random).await;
        report.looked_at(unsynced, index, true, found.as_ref().ok());
        if let Err(finding) = found {
            report.fault(cut.number, unsynced, index, true, &finding, None);
        }
        Ok(())
    }

    async fn check(
        &self,
        files: Arc<dyn Files>,
        recorder: Option<&Recorder>,
        random: &mut Random,
    ) -> Result<Opened, Finding> {
        check(&self.places.store, files, recorder, self.recording, &self.known, random).await
    }

    fn build(&mut self, unsynced: Unsynced, index: Index, random: &mut Random) -> Result<()> {
        let copy = self.copy(index).map(Path::to_owned);
        self.builder.build(&self.disk, unsynced, random, copy.as_deref())
    }

    fn copy(&self, index: Index) -> Option<&Path> {
        match index {
            Index::Empty => None,
            Index::Older(copy) | Index::Newest(copy) => Some(&self.recording.copies[copy]),
        }
    }

    /// Lays an image out once more, and keeps it as it was before it was opened.
    fn keep(
        &mut self,
        cut: Cut,
        unsynced: Unsynced,
        index: Index,
        mut random: Random,
    ) -> Result<Option<PathBuf>> {
        let Some(kept) = &self.plan.kept else { return Ok(None) };
        let kept = kept.join(format!("image-{}", cut.number));
        self.build(unsynced, index, &mut random)?;
        copy_folder(&self.places.disk, &kept)?;
        Ok(Some(kept))
    }
}

/// All moments, or those of them that are drawn, in their order. After each sync, until the next, nothing more is
/// durable: so what is durable then is held against all that is known just before the next; and at some moment in
/// between, an image is made that keeps some of what isn't. Those moments are never left out at which a store is closed,
/// since they are few.
fn cuts(events: &[Event], plan: &Plan) -> Vec<Cut> {
    let mut random = Random::of(plan.seed, 3);
    let syncs = events.iter().enumerate().filter(|(_, event)| event.is_sync()).map(|(place, _)| place);
    let mut begin = 0;
    let mut all = Vec::new();
    let closed = closed(events);
    for next in syncs.chain([events.len()]) {
        let within = begin + random.below(next - begin + 1);
        for (events, strict) in [(within, false), (next, true)] {
            all.push(Cut { number: all.len(), events, strict, closed: closed.contains(&events) });
        }
        begin = next;
    }
    if let Some(drawn) = plan.drawn {
        let closed = all.iter().filter(|cut| cut.closed).count();
        while all.len() > drawn.max(closed) {
            // The order of what is left over stays.
            let place = random.below(all.len());
            if !all[place].closed {
                all.remove(place);
            }
        }
    }
    all
}

/// The moments from a mark's being named until the next sync but one after the mark is gone.
fn closed(events: &[Event]) -> HashSet<usize> {
    let mut closed = HashSet::new();
    let mut syncs_left = None;
    for (place, event) in events.iter().enumerate() {
        match event {
            Event::Rename { to, .. } if to.ends_with(MARK) => syncs_left = Some(usize::MAX),
            Event::Remove { path } if path.ends_with(MARK) => syncs_left = Some(SYNCS_AFTER_MARK),
            event if event.is_sync() => syncs_left = syncs_left.and_then(|left| left.checked_sub(1)),
            _ => {}
        }
        if syncs_left.is_some() {
            closed.insert(place + 1);
        }
    }
    closed
}

/// How long something took, for people.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
