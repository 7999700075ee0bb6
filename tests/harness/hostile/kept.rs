//! What stands beside records in an export, bent: each statement is the very one, and by whom it says.

use std::fs;

use countersign_grants::statement::{Fetch, Preview, Provision};
use countersign_proto::{
    log::v1::Kind,
    v1::{KeptStatement, ListGrantsResponse, ListProvenEventsResponse},
};
use data_encoding::HEXLOWER;

use super::{Operator, exports::ends};
use crate::{previews::paths, world::TRIP};

impl Operator {
    /// Bends what stands beside the records of this kind, for what is left of the test.
    fn bend_kept(&self, kind: Kind, bend: impl Fn(&mut Vec<KeptStatement>) + Send + Sync + 'static) {
        self.front.bend::<ListProvenEventsResponse>("ListProvenEvents", move |list| {
            let of_kind = |kept: &&mut countersign_proto::v1::ProvenEvent| {
                kept.event.as_ref().is_some_and(|event| event.kind() == kind)
            };
            for event in list.events.iter_mut().filter(of_kind) {
                bend(&mut event.statements);
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_the_very_statements_by_whom_they_are() {
    let operator = Operator::start().await;
    for _ in 0..2 {
        operator.fetch().await.expect("flows");
    }
    let request = operator.put().await;
    operator.mei.preview(&request, 1, &paths(&TRIP)).await.expect("shows");

    // Nothing is kept back, and nothing stands where it does not belong.
    for kind in [Kind::Transfer, Kind::Previewed] {
        operator.bend_kept(kind, Vec::clear);
        assert_eq!(ends(&operator).await, "the broker: event: statements");
        operator.bend_kept(kind, |kept| kept.truncate(1));
        assert_eq!(ends(&operator).await, "the broker: event: statements");
        operator.bend_kept(kind, |kept| kept.reverse());
        assert_eq!(ends(&operator).await, "the broker: event: statements");
        operator.bend_kept(kind, |kept| {
            let statement = kept[1].statement.as_mut().expect("there");
            let mut payload = statement.payload.to_vec();
            payload[0] ^= 1;
            statement.payload = payload.into();
        });
        assert_eq!(ends(&operator).await, "the broker: event: statements");
    }
    operator.bend_kept(Kind::GrantApproved, |kept| kept.push(KeptStatement::default()));
    assert_eq!(ends(&operator).await, "the broker: event: statements");

    // The very bytes, and nobody's signature who could sign them.
    let unsigned = |at: usize| {
        move |kept: &mut Vec<KeptStatement>| {
            let signature = &mut kept[at].statement.as_mut().expect("there").signatures[0].signature;
            let mut bent = signature.to_vec();
            bent[40] ^= 1;
            *signature = bent.into();
        }
    };
    for (kind, at, expected) in [
        (Kind::Transfer, 0, "partners/hopp: fetch: signature"),
        (Kind::Transfer, 1, "partners/skylark: provision: signature"),
        (Kind::Previewed, 0, "the broker: preview: signature"),
        (Kind::Previewed, 1, "partners/skylark: preview_provision: signature"),
    ] {
        operator.bend_kept(kind, unsigned(at));
        assert_eq!(ends(&operator).await, expected);
    }
    operator.bend_kept(Kind::Transfer, |kept| {
        kept[0].statement = Some(Operator::forged::<Fetch>(kept[0].statement.as_ref(), |_| {}));
    });
    assert_eq!(ends(&operator).await, "partners/hopp: fetch: key");
    operator.bend_kept(Kind::Previewed, |kept| {
        kept[0].statement = Some(Operator::forged::<Preview>(kept[0].statement.as_ref(), |_| {}));
    });
    assert_eq!(ends(&operator).await, "the broker: preview: key");
    // Under a certificate of the operator's own, in the source's name: the customer's terms name another identity.
    let own = operator.own_certificate(operator.skylark.name());
    operator.bend_kept(Kind::Transfer, move |kept| {
        kept[1].statement = Some(Operator::forged::<Provision>(kept[1].statement.as_ref(), |_| {}));
        kept[1].partner_key = Some(own.clone());
    });
    assert_eq!(ends(&operator).await, "partners/skylark: provision: partner_key");
    operator.bend_kept(Kind::Transfer, |kept| kept[0].partner_key = kept[1].partner_key.clone());
    assert_eq!(ends(&operator).await, "partners/hopp: fetch: partner_key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_kept_back_is_named_as_absent() {
    let operator = Operator::start().await;
    let absent = async || {
        let folder = tempfile::tempdir().expect("a folder");
        operator.mei.export(folder.path()).await.expect("exports");
        let text = fs::read_to_string(folder.path().join("absent.json")).expect("reads");
        serde_json::from_str::<Vec<serde_json::Value>>(&text).expect("JSON")
    };
    assert_eq!(absent().await, Vec::<serde_json::Value>::new());
    // Who acknowledged the terms is nobody's to prove, so the list may be short; and then the folder says so.
    operator.front.bend::<ListGrantsResponse>("ListGrants", |list| {
        for grant in &mut list.grants {
            grant.acknowledgements.clear();
        }
    });
    let absent = absent().await;
    let records = operator.world.records().await;
    let acknowledged: Vec<u64> = (0..)
        .zip(&records)
        .filter(|(_, record)| record.kind() == Kind::Acknowledged)
        .map(|(index, _)| index)
        .collect();
    assert_eq!(acknowledged.len(), 2);
    let named: Vec<u64> = absent.iter().map(|one| one["index"].as_u64().expect("an index")).collect();
    assert_eq!(named, acknowledged);
    let hash = HEXLOWER.decode(absent[0]["evidence"].as_str().expect("hex").as_bytes()).expect("hex");
    assert_eq!(hash.len(), 32);
}
