//! Receipts that a source claims: of what was released, and of what its broker drew and never entered.

use countersign_broker::{rows, stored::Side};
use countersign_grants::{
    envelope,
    id::{GrantName, OfferName, Principal},
    statement::Fetch,
    time::Clock as _,
    token::Issuer,
};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1::{self as wire, Envelope},
    v1::{
        ClaimReceiptRequest, DeliverReceiptsRequest, ProvideDataRequest, ProvideDataResponse, Receipt,
        deliver_receipts_request::TransferReceipt, source_service_client::SourceServiceClient,
    },
};
use prost::Message as _;
use tonic::{Request, Status, transport::Channel};

use crate::world::{Granted, bare_fetch, reason_of, sign_as};

impl Granted {
    pub(crate) fn signed(&self, fetch: &wire::Fetch) -> Envelope {
        sign_as::<Fetch>(&self.hopp.working, fetch)
    }

    /// Skylark's server, and a call to it as its broker makes it.
    pub(crate) async fn at_source<T>(&self, message: T) -> (SourceServiceClient<Channel>, Request<T>) {
        let partner = self.world.broker.partner(self.skylark.name()).await.expect("reads").row;
        let channel = Channel::from_shared(partner.source_endpoint).expect("an address").connect_lazy();
        let issuer = Issuer::new(Principal::Broker(self.world.trust.origin.clone()), &self.world.call_key);
        let token = issuer.issue(self.skylark.name().as_str(), self.world.clock.now());
        let mut request = Request::new(message);
        let bearer = format!("Bearer {token}").parse().expect("ASCII");
        request.metadata_mut().insert("authorization", bearer);
        (SourceServiceClient::new(channel), request)
    }

    /// Draws data as the broker does, and enters nothing.
    pub(crate) async fn draw(&self, fetch: &Envelope) -> ProvideDataResponse {
        let message = self.papers(&self.grant, fetch).await;
        self.provide(message).await.expect("provides")
    }

    /// Asks Skylark's server as its broker does.
    pub(crate) async fn provide(&self, message: ProvideDataRequest) -> Result<ProvideDataResponse, Status> {
        let (mut source, request) = self.at_source(message).await;
        source.provide_data(request).await.map(tonic::Response::into_inner)
    }

    /// What the broker hands Skylark with a fetch under this grant.
    pub(crate) async fn papers(&self, grant: &GrantName, fetch: &Envelope) -> ProvideDataRequest {
        let broker = &self.world.broker;
        let grant = broker.grant(grant).await.expect("reads").expect("stands");
        let offer = broker.offer(&OfferName::of(grant.terms.offer)).await.expect("reads").expect("published");
        let key = rows::partner_key(self.hopp.name(), self.hopp.working.id());
        ProvideDataRequest {
            subject: self.at_skylark.to_string(),
            fetch: Some(fetch.clone()),
            fetch_key: broker.load(key).await.expect("reads").expect("published").row.statement,
            terms: Some(grant.terms_for(Side::Source)),
            party_salt: grant.read.row.source_salt.clone(),
            offer: offer.read.row.statement,
            offer_key: offer.read.row.partner_key,
            ..ProvideDataRequest::default()
        }
    }

    pub(crate) async fn claim(
        &self,
        fetch: &Envelope,
        provision: Option<Envelope>,
    ) -> Result<Receipt, Status> {
        let request = ClaimReceiptRequest { fetch: Some(fetch.clone()), provision };
        let claimed = self.skylark.partner.connection().transfers().claim_receipt(request).await?;
        Ok(claimed.into_inner().receipt.expect("set"))
    }
}

fn record(receipt: &Receipt) -> Record {
    Record::decode(receipt.record.clone()).expect("a record")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_drew_and_never_entered_is_entered_by_the_claim() {
    let granted = Granted::start().await;
    let fetch = bare_fetch(&granted).await;
    let signed = granted.signed(&fetch);
    let provided = granted.draw(&signed).await;
    assert_eq!(granted.skylark.partner.book().receipts_owed(), 1);
    assert_eq!(granted.world.count(Kind::Transfer).await, 0);

    let receipt = granted.claim(&signed, provided.provision.clone()).await.expect("a receipt");
    assert_eq!(record(&receipt).kind(), Kind::ProvidedNotReleased);
    let again = granted.claim(&signed, provided.provision).await.expect("the same");
    assert_eq!(receipt.index, again.index);
    assert_eq!(granted.world.count(Kind::ProvidedNotReleased).await, 1);

    // It says that nothing was released, so nothing ever is.
    let late = reason_of(granted.send(&fetch).await);
    assert_eq!(late.reason, "REQUEST_ID_REUSED");
    assert_eq!(granted.world.count(Kind::Transfer).await, 0);

    // The source's own checks take it for what it was owed.
    let fetch = bytes::Bytes::from(envelope::digest(&signed));
    let receipts = vec![TransferReceipt { fetch, receipt: Some(receipt) }];
    let (mut source, request) = granted.at_source(DeliverReceiptsRequest { receipts }).await;
    source.deliver_receipts(request).await.expect("verifies");
    assert_eq!(granted.skylark.partner.book().receipts_owed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_what_was_released_brings_that_receipt() {
    let granted = Granted::start().await;
    let fetch = bare_fetch(&granted).await;
    let released = granted.send(&fetch).await.expect("released");
    granted.send(&fetch).await.expect("repeated");
    let signed = granted.signed(&fetch);
    let claimed = granted.claim(&signed, released.provision.clone()).await.expect("a receipt");
    let receipt = released.receipt.expect("set");
    assert_eq!((claimed.index, &claimed.record), (receipt.index, &receipt.record));
    assert_eq!(record(&claimed).kind(), Kind::Transfer);
    assert_eq!(claimed.evidence_salt, receipt.evidence_salt);
    assert_eq!(granted.world.count(Kind::ProvidedNotReleased).await, 0);

    // Nobody claims for another, and nothing that answers another fetch.
    let request = ClaimReceiptRequest { fetch: Some(signed), provision: released.provision.clone() };
    let foreign = granted.hopp.partner.connection().transfers().claim_receipt(request).await;
    assert_eq!(reason_of(foreign).check, "key");
    let other = granted.signed(&bare_fetch(&granted).await);
    let crossed = reason_of(granted.claim(&other, released.provision).await);
    assert_eq!((crossed.reason.as_str(), crossed.check.as_str()), ("STATEMENT_INVALID", "fetch"));
}
