//! Looking at what would leave, before the answer: live values, sealed by the source to a key that is drawn here.

use std::time::Duration;

use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope::{self, Signed},
    sealing::{COMPARISON_KEY_BYTES, comparison_mark, preview_info},
    statement::{Preview, PreviewProvision, WorkingKey, check_previewed},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1::{self as wire, SealedFields},
    v1::{PreviewDataRequest, PreviewDataResponse},
};
use prost::Message as _;
use zeroize::Zeroizing;

use super::{Customer, LinkRow, MAX_CLOCK_SKEW, PreviewRow, ReadRequest, Row};
use crate::{
    channel::call,
    checkpoint::Met,
    error::{Error, Misuse, Party},
    receipt::ProvenLeaf,
    sealing::OpeningKey,
    value::Value,
};

/// How often one preview is sent: the person looks at the screen, and a connection that dropped is back by the second try.
const ATTEMPTS: u32 = 3;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(300);

/// What would leave, as the source holds it now.
#[derive(Clone, Debug)]
pub struct Previewed {
    /// Which row of the request, from 1.
    pub row: usize,
    /// SHA-256 of the preview, by which the first transfer is compared.
    pub preview: Digest,
    /// The values, in the order of the fields.
    pub values: Vec<(FieldPath, Value)>,
    /// The proof of its record.
    pub receipt: ProvenLeaf,
}

impl Customer {
    /// Shows the live values of fields of one row of a request, the row counted from 1. They go to nobody else: the source
    /// seals them to a key that is drawn here, for a statement that only the key of the link to it can sign. Verifies the
    /// source's signature under the pinned identity and the proof of the record, before anything is opened.
    pub async fn preview(
        &self,
        request: &ReadRequest,
        row: usize,
        fields: &[FieldPath],
    ) -> Result<Previewed, Error> {
        self.0.monitor.check()?;
        let found = row.checked_sub(1).and_then(|at| request.rows().get(at));
        let rows = request.rows().len();
        let row = found
            .ok_or_else(|| Error::malformed("row", format!("the request has rows 1 to {rows}, not {row}")))?;
        let Some(link) = &row.source_link else {
            let name = row.offer.statement().source.to_string();
            let problem = "the customer is not linked with the source of the row; link first";
            return Err(Error::Misuse(Misuse::NotNow { name, problem }));
        };
        let key = OpeningKey::draw(&self.0.system);
        let preview = self.sign_preview(request, row, link, fields, &key)?;
        let answer = self.ask_preview(link, &preview).await?;
        self.open_preview(row, link, &preview, &key, &answer).await
    }

    fn sign_preview(
        &self,
        request: &ReadRequest,
        row: &Row,
        link: &LinkRow,
        fields: &[FieldPath],
        key: &OpeningKey,
    ) -> Result<Signed<Preview>, Error> {
        let message = wire::Preview {
            broker: self.origin().to_string(),
            acceptance: link.acceptance.into(),
            request: request.name().digest().into(),
            offer: row.offer.digest().into(),
            fields: fields.iter().map(ToString::to_string).collect(),
            request_id: self.0.system.draw_uuid(),
            time_ms: self.now().as_millis(),
            sealing_key: key.public().to_vec().into(),
        };
        let link_key = self.0.wallet.link_key(link.name.digest());
        let signed = envelope::sign::<Preview>(&message, &[&link_key]);
        let signed = envelope::verify::<Preview>(Some(&signed), &[link_key.public()], self.origin())
            .map_err(|error| Error::malformed("fields", error))?;
        signed.statement().within(&row.offer).map_err(|error| Error::malformed("fields", error))?;
        Ok(signed)
    }

    /// Asks with the same bytes while nobody answers: they bring the same answer, and one record.
    async fn ask_preview(
        &self,
        link: &LinkRow,
        preview: &Signed<Preview>,
    ) -> Result<PreviewDataResponse, Error> {
        let mut left = ATTEMPTS;
        loop {
            let asked = PreviewDataRequest {
                source_link: link.name.to_string(),
                statement: Some(preview.envelope().clone()),
            };
            let error = match self.0.connection.transfers().preview_data(call(asked)).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => Error::from(status),
            };
            left -= 1;
            if !error.is_transient() || left == 0 {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn open_preview(
        &self,
        row: &Row,
        link: &LinkRow,
        preview: &Signed<Preview>,
        key: &OpeningKey,
        answer: &PreviewDataResponse,
    ) -> Result<Previewed, Error> {
        let (sealed, receipt) = self.verify_preview(row, link, preview, answer)?;
        let source = || Party::Partner(link.partner.clone());
        let wrong = |check, detail: String| Error::misbehaved(source(), "sealed_fields", check, detail);
        let fields = &preview.statement().fields;
        let mut opened = key
            .open(&sealed, &preview_info(preview.digest(), fields))
            .map_err(|error| wrong("open", error.to_string()))?;
        let last = opened.pop().unwrap_or_else(|| Value::from(Vec::new()));
        let comparison_key: Zeroizing<[u8; COMPARISON_KEY_BYTES]> = last
            .as_bytes()
            .try_into()
            .map(Zeroizing::new)
            .map_err(|_| wrong("comparison_key", format!("it has {} bytes", last.as_bytes().len())))?;
        let values: Vec<(FieldPath, Value)> = fields.iter().cloned().zip(opened).collect();
        let mark = |(field, value): &(FieldPath, Value)| {
            (field.clone(), comparison_mark(&comparison_key, field, value.as_bytes()))
        };
        let seen = PreviewRow {
            preview: preview.digest(),
            request: preview.statement().request,
            offer: preview.statement().offer,
            time: preview.statement().time,
            marks: values.iter().map(mark).collect(),
        };
        self.0.book.enter(seen.entry()).await?;
        Ok(Previewed { row: row.number, preview: preview.digest(), values, receipt })
    }

    /// Verifies, in this order: the source's key by its pinned identity, what it signed, the proof, and that the leaf says
    /// what happened.
    fn verify_preview(
        &self,
        row: &Row,
        link: &LinkRow,
        preview: &Signed<Preview>,
        answer: &PreviewDataResponse,
    ) -> Result<(SealedFields, ProvenLeaf), Error> {
        let source = Party::Partner(link.partner.clone());
        let provision =
            WorkingKey::certified(answer.source_key.as_ref(), &link.identity, &link.partner, self.origin())
                .and_then(|key| key.verify::<PreviewProvision>(answer.provision.as_ref(), |said| said.time))
                .map_err(|error| Error::bad_key(source.clone(), "preview_provision", &error))?;
        let wrong =
            |check, detail: String| Error::misbehaved(source.clone(), "preview_provision", check, detail);
        let (said, now) = (provision.statement(), self.now());
        if said.source != link.partner {
            return Err(wrong("source", format!("it is of `{}`", said.source)));
        }
        if said.preview != preview.digest() {
            return Err(wrong("preview", "it answers another preview".into()));
        }
        if said.sealed != Digest::of(&answer.sealed_fields) {
            return Err(wrong("sealed", "it is over other sealed fields".into()));
        }
        if said.time.distance(now) > MAX_CLOCK_SKEW {
            return Err(wrong("time_ms", format!("it says {}, and it is {now}", said.time)));
        }
        let sealed = SealedFields::decode(answer.sealed_fields.clone())
            .map_err(|error| wrong("sealed_fields", error.to_string()))?;
        check_previewed(preview.statement(), &sealed).map_err(|error| wrong("fields", error.to_string()))?;
        self.0.monitor.take(&said.checkpoint.0, Met::InStatement, &source)?;

        let leaf = ProvenLeaf::prove(answer.receipt.as_ref(), &self.0.monitor)?;
        self.says_previewed(&leaf, row)?;
        let asked = preview.statement();
        let evidence = [asked.request, asked.offer, preview.digest(), provision.digest()];
        leaf.opens(Some(self.name()), Some(&asked.fields), Some(&evidence))?;
        Ok((sealed, leaf))
    }

    /// What the record must say in clear; of the recipient, nothing.
    fn says_previewed(&self, leaf: &ProvenLeaf, row: &Row) -> Result<(), Error> {
        let (record, offer, now) = (leaf.record(), row.offer.statement(), self.now());
        let time = countersign_grants::time::Timestamp::from_millis(record.time_ms);
        let checks = [
            ("kind", record.kind() == Kind::Previewed),
            ("source", record.source == offer.source.as_str()),
            ("recipient", record.recipient.is_empty()),
            ("purpose", record.purpose == offer.purpose.as_str()),
            ("catalogue_version", record.catalogue_version.as_ref() == offer.catalogue_version.as_bytes()),
            ("grant_tag", record.grant_tag.is_empty()),
            ("time", time.distance(now) <= MAX_CLOCK_SKEW),
        ];
        match checks.into_iter().find(|(_, good)| !good) {
            Some((check, _)) => {
                let detail = "the record does not say what was previewed";
                Err(Error::misbehaved(Party::Broker, "receipt", check, detail))
            }
            None => Ok(()),
        }
    }
}
