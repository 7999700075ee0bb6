//! What a source keeps of previews: answers that it repeats, and the keys by which a grant's first transfer is compared.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    sealing::COMPARISON_KEY_BYTES,
    statement::{MAX_FETCH_AGE, Preview},
    time::Timestamp,
};
use zeroize::Zeroizing;

use super::{entry::Entry, envelopes::peek};

/// The most previews of one link that are kept, and so the most in [`PREVIEW_WINDOW`]: a request of seven rows, each
/// looked at nine times.
pub(crate) const MAX_PREVIEWS: usize = 64;

/// The time in which at most [`MAX_PREVIEWS`] are answered.
pub(crate) const PREVIEW_WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// How long a comparison key waits for the first transfer: a trip is planned some weeks ahead. Without it nothing is lost
/// but the word whether something changed.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Which preview a transfer is compared with, and by which key.
pub(crate) type Comparing = (Digest, Zeroizing<[u8; COMPARISON_KEY_BYTES]>);

/// Why the answer to a preview does not leave.
#[derive(Debug)]
pub(crate) enum NotShown {
    /// Its link gave way.
    Replaced,
    /// So many of its link were answered lately.
    TooMany { lately: usize },
}

/// A preview that was answered.
#[derive(Clone)]
pub(crate) struct Previewed {
    pub(crate) link: Digest,
    /// The preview's request id, under its link.
    pub(crate) key: Digest,
    pub(crate) at: Timestamp,
    pub(crate) preview: Digest,
    asked: Timestamp,
    request: Digest,
    offer: Digest,
    preview_bytes: Bytes,
    /// Sealed fields and provision, for as long as they can be asked for again.
    pub(crate) answer: Option<(Bytes, Bytes)>,
    /// Until a provision carried its marks.
    comparison_key: Option<Zeroizing<[u8; COMPARISON_KEY_BYTES]>>,
}

impl Previewed {
    /// Reads one as it stands in an entry. An empty answer is one that can't be asked for again.
    pub(crate) fn read(
        link: Digest,
        at: Timestamp,
        preview: Vec<u8>,
        (sealed, provision): (Vec<u8>, Vec<u8>),
        comparison_key: [u8; COMPARISON_KEY_BYTES],
    ) -> Result<Self, String> {
        let (said, digest) = peek::<Preview>(&preview)?;
        Ok(Self {
            link,
            key: preview_key(&said),
            at,
            preview: digest,
            asked: said.time,
            request: said.request,
            offer: said.offer,
            preview_bytes: preview.into(),
            answer: (!provision.is_empty()).then(|| (sealed.into(), provision.into())),
            comparison_key: Some(Zeroizing::new(comparison_key)),
        })
    }

    pub(crate) fn to_entry(&self) -> Entry {
        let (sealed, provision) = self.answer.clone().unwrap_or_default();
        Entry::Previewed {
            link: *self.link.as_bytes(),
            at_ms: self.at.as_millis(),
            preview: self.preview_bytes.to_vec(),
            sealed: sealed.to_vec(),
            provision: provision.to_vec(),
            comparison_key: self.comparison_key.as_deref().copied().unwrap_or_default(),
        }
    }

    fn compared_entry(&self) -> Entry {
        Entry::Compared { link: *self.link.as_bytes(), preview: *self.preview.as_bytes() }
    }
}

/// The key under which the answer to a preview is kept: its link and its request id.
pub(crate) fn preview_key(preview: &Preview) -> Digest {
    Digest::of_parts(&[preview.acceptance.as_bytes(), preview.request_id.as_bytes()])
}

/// The previews of a book, by link, oldest first.
#[derive(Default)]
pub(crate) struct Previews {
    by_link: HashMap<Digest, Vec<Previewed>>,
    /// Whose answers are kept, by the time that the preview says.
    answered: BTreeSet<(Timestamp, Digest, Digest)>,
    /// All, by the time of their answer.
    kept: BTreeSet<(Timestamp, Digest, Digest)>,
}

impl Previews {
    /// The one under this request id.
    pub(crate) fn find(&self, link: Digest, key: Digest) -> Option<&Previewed> {
        self.by_link.get(&link)?.iter().find(|one| one.key == key)
    }

    /// How many of a link were answered since.
    pub(crate) fn since(&self, link: Digest, since: Timestamp) -> usize {
        self.by_link.get(&link).map_or(0, |all| all.iter().filter(|one| one.at > since).count())
    }

    /// What the newest preview of this row of a request is compared by, until it was.
    pub(crate) fn comparison(
        &self,
        link: Digest,
        (request, offer): (Digest, Digest),
    ) -> Option<(Digest, &[u8; COMPARISON_KEY_BYTES])> {
        // Most sources have none, and every transfer asks.
        if self.by_link.is_empty() {
            return None;
        }
        let mut newest = self.by_link.get(&link)?.iter().rev();
        let one = newest.find(|one| one.request == request && one.offer == offer)?;
        Some((one.preview, one.comparison_key.as_deref()?))
    }

    pub(super) fn insert(&mut self, one: Previewed) {
        self.kept.insert((one.at, one.link, one.preview));
        if one.answer.is_some() {
            self.answered.insert((one.asked, one.link, one.preview));
        }
        let of_link = self.by_link.entry(one.link).or_default();
        of_link.push(one);
        if of_link.len() > MAX_PREVIEWS {
            of_link.remove(0);
        }
    }

    pub(super) fn compared(&mut self, link: Digest, preview: Digest) {
        if let Some(one) = self.one_mut(link, preview) {
            one.comparison_key = None;
        }
    }

    /// Forgets all of a link: it gave way, and nothing is served or compared under it any more.
    pub(super) fn forget(&mut self, link: Digest) {
        self.by_link.remove(&link);
        self.answered.retain(|(_, of, _)| *of != link);
        self.kept.retain(|(_, of, _)| *of != link);
    }

    /// Forgets answers that can't be asked for again, and keys that waited long enough.
    pub(super) fn prune(&mut self, now: Timestamp) {
        while let Some((asked, link, preview)) = self.answered.first().copied()
            && now.since(asked) > MAX_FETCH_AGE
        {
            self.answered.pop_first();
            if let Some(one) = self.one_mut(link, preview) {
                one.answer = None;
            }
        }
        while let Some((at, link, preview)) = self.kept.first().copied()
            && now.since(at) > KEPT
        {
            self.kept.pop_first();
            if let Some(of_link) = self.by_link.get_mut(&link) {
                of_link.retain(|one| one.preview != preview);
                if of_link.is_empty() {
                    self.by_link.remove(&link);
                }
            }
        }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for one in self.by_link.values().flatten() {
            entries.push(one.to_entry());
            entries.extend(one.comparison_key.is_none().then(|| one.compared_entry()));
        }
        entries
    }

    fn one_mut(&mut self, link: Digest, preview: Digest) -> Option<&mut Previewed> {
        self.by_link.get_mut(&link)?.iter_mut().find(|one| one.preview == preview)
    }
}
