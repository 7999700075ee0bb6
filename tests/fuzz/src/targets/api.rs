//! What callers of the API write in texts: names, filters, page tokens; and the catalogue.

use countersign_broker::doors as broker;
use countersign_grants::{
    catalogue::{Catalogue, FieldPath, MAX_DOCUMENT_BYTES, PurposeCode},
    digest::Digest,
    id::{
        AuditorName, CatalogueName, CustomerName, GrantName, LinkName, OfferName, OperatorName, Origin,
        PartnerName, Principal, RequestName, SubjectHandle,
    },
    key::{KeyId, PublicKey},
};
use countersign_proto::log::v1::Record;
use prost::Message as _;

use super::super::known::STORY;

/// The longest that a message about a bad text may be: what came is cut before it is repeated.
const MAX_MESSAGE_CHARS: usize = 400;

/// `brokers/` and the longest origin.
const MAX_NAME_BYTES: usize = "brokers/".len() + Origin::MAX_CHARS;

/// A filter of the log's entries. It takes or leaves every record, and an error repeats little of what came.
pub(super) fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for record in &STORY.log.records {
        let record = Record::decode(record.as_slice()).expect("a record");
        if let Err(problem) = broker::filter(text, &record) {
            assert!(problem.chars().count() <= MAX_MESSAGE_CHARS, "{problem}");
        }
    }
}

/// A page token. What reads is given out as the same text, and to nobody who asks otherwise.
pub(super) fn page_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let arguments: [&[u8]; 2] = [b"entries", b"kind = TRANSFER"];
    if let Some(again) = broker::page_token(text, &arguments) {
        assert_eq!(again, text);
        assert_eq!(broker::page_token(text, &[b"entries", b"kind = TRANSFER_REFUSED"]), None);
    }
}

/// A resource name, a key's id, a code. What reads is shown as the same text.
pub(super) fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        let _ = PublicKey::from_slice(data);
        return;
    };
    macro_rules! same {
        ($($name:ident),*) => {
            $(if let Ok(name) = $name::parse(text) {
                assert_eq!(name.to_string(), text);
                assert!(text.len() <= MAX_NAME_BYTES);
            })*
        };
    }
    same!(AuditorName, CatalogueName, CustomerName, FieldPath, GrantName, KeyId, LinkName, OfferName);
    same!(OperatorName, Origin, PartnerName, Principal, PurposeCode, RequestName, SubjectHandle);
    if let Ok(name) = GrantName::parse(text) {
        assert_eq!(GrantName::of(name.digest()), name);
    }
    if let Some(index) = broker::log_entry(text) {
        assert_eq!(format!("logs/-/entries/{index}"), text);
    }
    if let Ok(key) = PublicKey::from_slice(data) {
        assert_eq!(KeyId::parse(key.id().as_str()).as_ref(), Ok(key.id()));
    }
}

/// A catalogue. Its version is that of its bytes, and every purpose names fields that stand in it.
pub(super) fn catalogue(data: &[u8]) {
    let Ok(catalogue) = Catalogue::parse(data) else { return };
    assert!(data.len() <= MAX_DOCUMENT_BYTES);
    assert_eq!((catalogue.version(), catalogue.document().as_ref()), (Digest::of(data), data));
    for field in catalogue.fields() {
        assert!(catalogue.purposes().any(|purpose| purpose.allows(field.path())));
    }
}
