//! A consent receipt of one grant: ISO/IEC TS 27560:2023 in the terms of the W3C Data Privacy Vocabulary, as JSON-LD.
//!
//! The structure is that of the DPV's own profile of the standard: a `dpv:ConsentReceipt` around a `dpv:ConsentRecord` with
//! parties, process and events. The context stands in the file, so that nothing has to be fetched to read it. What an offer
//! does not say (postal addresses, places of storage) is not made up.

use countersign_grants::{
    catalogue::{Catalogue, Field, Provenance},
    id::{CatalogueName, CustomerName, GrantName, OfferName, Origin},
    statement::Offer,
    time::Timestamp,
};
use countersign_proto::log::v1::Kind;
use serde_json::{Value, json};

use super::{GrantRow, events::Happened, json::moment};

/// The profile's version of a receipt, and of the record within.
const RECEIPT_SCHEMA: &str = "https://w3id.org/dpv/schema/dpv-27560#receipt";
const RECORD_SCHEMA: &str = "https://w3id.org/dpv/schema/dpv-27560#record";

/// What a receipt is made of.
pub(super) struct Consent<'a> {
    pub(super) origin: &'a Origin,
    pub(super) customer: &'a CustomerName,
    pub(super) row: &'a GrantRow,
    pub(super) offer: &'a Offer,
    pub(super) catalogue: &'a Catalogue,
    pub(super) happened: Vec<Happened>,
    pub(super) now: Timestamp,
}

impl Consent<'_> {
    /// The document.
    pub(super) fn receipt(&self) -> Value {
        let grant = self.row.name.as_str();
        json!({
            "@context": {
                "dpv": "https://w3id.org/dpv#",
                "dct": "http://purl.org/dc/terms/",
                "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
                "schema": "https://schema.org/",
                "skos": "http://www.w3.org/2004/02/skos/core#",
                "xsd": "http://www.w3.org/2001/XMLSchema#",
            },
            "@id": format!("{}#receipt", self.iri(grant)),
            "@type": "dpv:ConsentReceipt",
            "dct:conformsTo": { "@id": RECEIPT_SCHEMA },
            "dpv:hasIdentifier": format!("{grant}#receipt"),
            "dct:created": time(self.now),
            "dct:creator": { "@id": self.iri(self.customer.as_str()) },
            "dpv:hasRecordOfActivity": self.record(),
        })
    }

    fn record(&self) -> Value {
        let (grant, terms, offer) = (self.row.name.as_str(), &self.row.terms, self.offer);
        let (text, _) = offer.text(&terms.language);
        json!({
            "@id": self.iri(grant),
            "@type": "dpv:ConsentRecord",
            "dct:conformsTo": { "@id": RECORD_SCHEMA },
            "dct:identifier": grant,
            "dct:replaces": terms.previous.map(|previous| {
                json!({ "@id": self.iri(GrantName::of(previous).as_str()) })
            }),
            "dpv:hasDataSubject": { "@id": self.iri(self.customer.as_str()), "@type": "dpv:DataSubject" },
            "dpv:hasDataController": {
                "@id": self.iri(terms.recipient.as_str()),
                "@type": "dpv:DataController",
                "dpv:hasIdentifier": terms.recipient.as_str(),
                "dpv:hasName": offer.controller,
                "schema:contactPoint": {
                    "@type": "schema:ContactPoint",
                    "schema:telephone": offer.contact_phone,
                },
            },
            "dpv:hasAuthority": { "@type": "dpv:Authority", "dpv:hasName": offer.complaint_body },
            "dpv:hasLegalBasis": { "@id": "dpv:ExplicitlyExpressedConsent" },
            "dpv:hasApplicableLaw": { "@type": "dpv:Law", "dct:title": offer.law },
            "dpv:hasNotice": {
                "@id": self.iri(OfferName::of(terms.offer).as_str()),
                "@type": "dpv:ConsentNotice",
                "dct:date": time(offer.time),
                "dct:language": text.language,
                "dct:description": [text.reason, text.benefit, text.ends],
            },
            "dpv:hasProcess": self.process(),
            "dpv:hasConsentStatus": self.events(),
        })
    }

    fn process(&self) -> Value {
        let terms = &self.row.terms;
        let catalogue = self.iri(CatalogueName::of(terms.catalogue_version).as_str());
        let purpose = self.catalogue.purpose(terms.purpose.as_str());
        let fields = terms.fields.iter().map(|path| {
            let field = self.catalogue.field(path.as_str());
            let optional = self.offer.optional_fields.contains(path);
            json!({
                "@id": format!("{catalogue}#{path}"),
                "@type": "dpv:PersonalData",
                "skos:broader": field.map(|field| json!({ "@id": field.category() })),
                "dct:identifier": path.as_str(),
                "dct:title": field.map(|field| field.titles().or_english(&terms.language)),
                "dpv:hasNecessity": { "@id": if optional { "dpv:Optional" } else { "dpv:Required" } },
                "dpv:hasDataSource": {
                    "@type": "dpv:DataControllerDataSource",
                    "dpv:hasEntity": { "@id": self.iri(terms.source.as_str()) },
                    "dpv:hasProcessing": { "@id": match field.map(Field::provenance) {
                        Some(Provenance::Observed) => "dpv:Observe",
                        _ => "dpv:Obtain",
                    } },
                },
            })
        });
        json!({
            "@type": "dpv:Process",
            "dpv:hasPurpose": {
                "@id": format!("{catalogue}#{}", terms.purpose),
                "@type": "dpv:Purpose",
                "skos:broader": purpose.map(|purpose| json!({ "@id": purpose.iri() })),
                "dct:identifier": terms.purpose.as_str(),
                "dct:title": purpose.map(|purpose| purpose.titles().or_english(&terms.language)),
            },
            "dpv:hasPersonalData": fields.collect::<Value>(),
            "dpv:hasProcessing": { "@id": "dpv:Transfer" },
            "dpv:hasRecipient": { "@id": self.iri(terms.recipient.as_str()) },
            "dpv:hasStorageCondition": {
                "@type": "dpv:StorageDuration",
                "dpv:hasDuration": seconds(terms.retention.as_secs()),
            },
            "dpv:hasFrequency": {
                "@type": "dpv:Frequency",
                "rdf:value": terms.uses,
                "dct:description": match terms.rate {
                    Some((uses, window)) => format!("{} uses in all, {uses} in {} s", terms.uses, window.as_secs()),
                    None => format!("{} uses in all", terms.uses),
                },
            },
        })
    }

    /// What was indicated, by whom and when: the approval as it was signed, what the log says came after, and the end that
    /// follows from the terms alone.
    fn events(&self) -> Value {
        let terms = &self.row.terms;
        let subject = self.iri(self.customer.as_str());
        let mut events = vec![json!({
            "@type": ["dpv:ConsentGiven", "dpv:ExplicitlyExpressedConsent"],
            "dpv:isIndicatedAtTime": time(terms.time),
            "dpv:isIndicatedBy": { "@id": subject },
            "dpv:hasIndicationMethod": "Signed terms",
            "dpv:hasDuration": { "@type": "dpv:UntilTimeDuration", "rdf:value": time(terms.expire_time) },
        })];
        let mut ended = false;
        for one in &self.happened {
            ended |= ends(one.kind);
            let (status, title, by) = match one.kind {
                Kind::GrantPaused => {
                    ("dpv:ConsentStatusInvalidForProcessing", "Paused", Some(subject.clone()))
                }
                Kind::GrantResumed => {
                    ("dpv:ConsentStatusValidForProcessing", "Resumed", Some(subject.clone()))
                }
                Kind::GrantWithdrawn => ("dpv:ConsentWithdrawn", "Stopped", Some(subject.clone())),
                // Narrowing and renewing are hers alone. Her consent goes on in the receipt of the newer revision.
                Kind::GrantSuperseded => {
                    let title = "A newer revision stands in its place";
                    ("dpv:ConsentStatusInvalidForProcessing", title, Some(subject.clone()))
                }
                Kind::GrantSuspended | Kind::GrantSuspendedByOperator => {
                    ("dpv:ConsentStatusInvalidForProcessing", "Suspended", self.by(one.kind))
                }
                Kind::GrantUnsuspended | Kind::GrantUnsuspendedByOperator => {
                    ("dpv:ConsentStatusValidForProcessing", "Suspension ended", self.by(one.kind))
                }
                Kind::GrantRevoked | Kind::GrantRevokedByOperator => {
                    ("dpv:ConsentRevoked", "Revoked", self.by(one.kind))
                }
                // Of the transfers, the one that spent the last use.
                Kind::Transfer => ("dpv:ConsentExpired", "All uses are spent", None),
                _ => continue,
            };
            events.push(json!({
                "@type": status,
                "dct:title": title,
                "dpv:isIndicatedAtTime": time(one.time),
                "dpv:isIndicatedBy": by.map(|by| json!({ "@id": by })),
                "dct:source": { "@id": self.iri(&format!("logs/-/entries/{}", one.index)) },
            }));
        }
        if !ended && self.now >= terms.expire_time {
            events.push(json!({
                "@type": "dpv:ConsentExpired",
                "dct:title": "Its time is over",
                "dpv:isIndicatedAtTime": time(terms.expire_time),
                "dpv:isIndicatedBy": { "@id": subject },
            }));
        }
        Value::Array(events)
    }

    /// Whose stop it was, as far as its record says so: a suspension is the source's, or an operator's; a revocation is of
    /// either side.
    fn by(&self, kind: Kind) -> Option<String> {
        match kind {
            Kind::GrantSuspended | Kind::GrantUnsuspended => Some(self.iri(self.row.terms.source.as_str())),
            Kind::GrantSuspendedByOperator
            | Kind::GrantUnsuspendedByOperator
            | Kind::GrantRevokedByOperator => Some(self.iri(&format!("brokers/{}", self.origin))),
            _ => None,
        }
    }

    /// The IRI of a resource: its name under the log's origin, which is a URL without its scheme.
    fn iri(&self, name: &str) -> String {
        format!("https://{}/{name}", plain(self.origin.as_str()))
    }
}

/// Whether nothing changes a grant's standing after this.
fn ends(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::GrantWithdrawn
            | Kind::GrantSuperseded
            | Kind::GrantRevoked
            | Kind::GrantRevokedByOperator
            | Kind::Transfer
    )
}

/// An origin with what no IRI may hold written as percent and hex.
fn plain(origin: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]@!$&'()*,;=".contains(c);
    let plain =
        origin.chars().map(|c| if keep(c) { c.to_string() } else { format!("%{:02X}", u32::from(c)) });
    plain.collect()
}

fn time(time: Timestamp) -> Value {
    json!({ "@type": "xsd:dateTime", "@value": moment(time) })
}

fn seconds(seconds: u64) -> Value {
    json!({
        "@type": "dpv:TemporalDuration",
        "rdf:value": { "@type": "xsd:duration", "@value": format!("PT{seconds}S") },
    })
}
