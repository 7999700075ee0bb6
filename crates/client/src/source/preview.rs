//! Answering a preview: the customer sees the values that would leave, before any grant stands.
//!
//! There are no terms yet, so the source does not know by the customer's word who the recipient is: the offer counts
//! under the identity that it names itself. That is enough, since nothing goes to the recipient: the customer signed the
//! hash of the offer with the key of her link, and the values are sealed to a key of hers alone.

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::SubjectHandle,
    sealing::{COMPARISON_KEY, COMPARISON_KEY_BYTES, preview_info},
    statement::{Offer, Preview, PreviewProvision, WorkingKey},
    time::Timestamp,
};
use countersign_proto::{
    statement::v1 as wire,
    v1::{ProvidePreviewRequest, ProvidePreviewResponse},
};
use prost::Message as _;
use zeroize::Zeroizing;

use super::{Inner, SourceHandler, provide::not_sealed, refusal::Refusal};
use crate::{
    book::{
        LinkRow, MAX_PREVIEWS, NotShown, PREVIEW_WINDOW, Previewed, envelope_bytes, envelope_of, preview_key,
    },
    checkpoint::Met,
    error::{Error, Party},
    sealing,
    value::Value,
};

/// A preview that verified under the key of its link.
struct Case {
    link: LinkRow,
    preview: Signed<Preview>,
}

impl<H: SourceHandler> Inner<H> {
    pub(super) async fn preview(
        &self,
        request: &ProvidePreviewRequest,
    ) -> Result<ProvidePreviewResponse, Refusal> {
        let shared = &self.partner.0;
        shared.monitor.check().map_err(Refusal::Halted)?;
        let case = self.check_preview(request, shared.system.now())?;
        let (link, key) = (case.link.name().digest(), preview_key(case.preview.statement()));
        let turn = self.turn(key);
        let _held = turn.lock.lock().await;
        if let Some(first) = shared.book.read(|state| state.previews.find(link, key).cloned()) {
            return repeat(&first, case.preview.digest());
        }
        let since = shared.system.now().minus(PREVIEW_WINDOW);
        let lately = shared.book.read(|state| state.previews.since(link, since));
        if lately >= MAX_PREVIEWS {
            return Err(Refusal::TooManyPreviews { lately });
        }
        let values = self.values(case.link.subject(), &case.preview.statement().fields).await?;
        let shown = self.show(&case, &values).await?;
        // The handler took its time: what held before it is asked again, in one step with the entry.
        let entered = shared.book.note_preview(shown)?.map_err(|refused| match refused {
            NotShown::Replaced => gave_way(),
            NotShown::TooMany { lately } => Refusal::TooManyPreviews { lately },
        })?;
        repeat(&entered, case.preview.digest())
    }

    fn check_preview(&self, request: &ProvidePreviewRequest, now: Timestamp) -> Result<Case, Refusal> {
        let shared = &self.partner.0;
        let subject = SubjectHandle::parse(&request.subject)
            .map_err(|error| wrong("subject", "subject", &error.to_string()))?;
        let Some(link) = shared.book.link_of(&subject) else {
            return Err(wrong("preview", "link", "the subject has no link in the book"));
        };
        if link.replaced().is_some() {
            return Err(gave_way());
        }
        let preview =
            envelope::verify::<Preview>(request.preview.as_ref(), &[link.key()], &shared.trust.origin)
                .map_err(|error| Error::bad_statement(Party::Customer, "preview", &error))?;
        let said = preview.statement();
        if said.acceptance != link.acceptance() {
            return Err(wrong("preview", "acceptance", "it names another link than the subject's"));
        }
        if !said.is_fresh(now) {
            return Err(wrong("preview", "time_ms", &format!("it says {}, and it is {now}", said.time)));
        }
        let offer = self.offer_of(request)?;
        said.within(&offer).map_err(|error| wrong("preview", error.check(), &error.to_string()))?;
        Ok(Case { link, preview })
    }

    /// The offer, under the identity that it names itself, if it is for data of this source.
    fn offer_of(&self, request: &ProvidePreviewRequest) -> Result<Signed<Offer>, Refusal> {
        let shared = &self.partner.0;
        let claimed = envelope::peek::<Offer>(request.offer.as_ref())
            .map_err(|error| Error::bad_statement(Party::Broker, "offer", &error))?;
        let recipient = Party::Partner(claimed.recipient.clone());
        // Not remembered among the keys of partners: nobody but the offer itself vouches for this identity.
        let key = WorkingKey::certified(
            request.offer_key.as_ref(),
            &claimed.recipient_identity,
            &claimed.recipient,
            &shared.trust.origin,
        )
        .map_err(|error| Error::bad_key(recipient.clone(), "offer", &error))?;
        let offer = key
            .verify::<Offer>(request.offer.as_ref(), |offer| offer.time)
            .map_err(|error| Error::bad_key(recipient.clone(), "offer", &error))?;
        let said = offer.statement();
        if said.source != shared.name {
            return Err(wrong("offer", "source", "it is for data of another source"));
        }
        shared.monitor.take(&said.checkpoint.0, Met::InStatement, &recipient)?;
        Ok(offer)
    }

    /// Pads, seals and signs the values, and after them a key drawn for this preview alone.
    async fn show(&self, case: &Case, values: &[Value]) -> Result<Previewed, Refusal> {
        let shared = &self.partner.0;
        let (asked, preview) = (case.preview.statement(), case.preview.digest());
        let comparison_key = Zeroizing::new(shared.system.draw::<COMPARISON_KEY_BYTES>());
        let key_value = Value::from(comparison_key.to_vec());
        let mut named: Vec<(&str, &Value)> =
            asked.fields.iter().zip(values).map(|(field, value)| (field.as_str(), value)).collect();
        named.push((COMPARISON_KEY, &key_value));
        let info = preview_info(preview, &asked.fields);
        let entropy = shared.system.entropy.as_ref();
        let sealed = sealing::seal(entropy, &asked.sealing_key, &info, named.into_iter())
            .map_err(|error| not_sealed("preview", error))?;
        let sealed = sealed.encode_to_vec();
        let checkpoint = shared.monitor.for_signing().await?;
        let at = shared.system.now();
        let provision = shared.sign::<PreviewProvision>(&wire::PreviewProvision {
            broker: shared.trust.origin.to_string(),
            source: shared.name.to_string(),
            preview: preview.into(),
            sealed: Digest::of(&sealed).into(),
            time_ms: at.as_millis(),
            checkpoint,
        });
        let statement = envelope_bytes(case.preview.envelope());
        let answer = (sealed, envelope_bytes(&provision));
        let link = case.link.name().digest();
        Previewed::read(link, at, statement, answer, *comparison_key).map_err(Refusal::Ours)
    }
}

fn gave_way() -> Refusal {
    wrong("preview", "link", "another link has taken the place of the subject's")
}

/// The same bytes for the same preview, and nothing for another one under its request id.
fn repeat(first: &Previewed, preview: Digest) -> Result<ProvidePreviewResponse, Refusal> {
    if first.preview != preview {
        return Err(Refusal::RequestIdReused);
    }
    let Some((sealed, provision)) = &first.answer else {
        return Err(wrong("preview", "time_ms", "it was answered, too long ago to be answered again"));
    };
    Ok(ProvidePreviewResponse {
        sealed_fields: Bytes::clone(sealed),
        provision: Some(envelope_of(provision)),
    })
}

fn wrong(statement: &'static str, check: &'static str, detail: &str) -> Refusal {
    Refusal::Statement { statement, check, detail: detail.to_owned() }
}
