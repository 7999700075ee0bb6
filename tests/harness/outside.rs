//! What stands outside gRPC clients of ours: plain HTTP, and a client that knows only reflection.

use countersign_tlog::SignedCheckpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::world::{Granted, World};

/// A GET by hand, over HTTP/1.1.
async fn get(world: &World, path: &str, token: Option<&str>) -> (u16, String, Vec<u8>) {
    let address = world.trust.address.strip_prefix("http://").expect("plain, on loopback");
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("connects");
    let token = token.map_or(String::new(), |token| format!("Authorization: {token}\r\n"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{token}Connection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("reads");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).expect("ASCII").to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head, answer[end + 4..].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoint_and_tiles_are_public_and_entries_are_not() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    let world = &granted.world;
    let published = async {
        loop {
            let (status, head, body) = get(world, "/checkpoint", None).await;
            assert_eq!(status, 200);
            assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
            let checkpoint = SignedCheckpoint::verify(body, &world.trust.log_key).expect("signed");
            if checkpoint.size() as usize == world.records().await.len() {
                return checkpoint;
            }
            tokio::task::yield_now().await;
        }
    };
    let checkpoint = tokio::time::timeout(crate::world::PATIENCE, published).await.expect("published");

    let size = checkpoint.size();
    let tile = format!("/tile/0/000.p/{size}");
    let (status, head, body) = get(world, &tile, None).await;
    assert_eq!((status, body.len() as u64), (200, 32 * size));
    assert!(head.contains("application/octet-stream") && head.contains("immutable"), "{head}");

    let entries = format!("/tile/entries/000.p/{size}");
    assert_eq!(get(world, &entries, None).await.0, 401);
    let partner = granted.hopp.partner.connection().authorization();
    assert_eq!(get(world, &entries, Some(&partner)).await.0, 403);
    for bad in ["/tile/0/0", "/tile/64/000", "/tile/0/000.p/256", "/tile/0/../../checkpoint", "/nothing"] {
        assert!(matches!(get(world, bad, None).await.0, 400 | 404), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_only_reflection_finds_the_services() {
    let world = World::start().await;
    let channel = tonic::transport::Endpoint::from_shared(world.trust.address.clone()).expect("an address");
    let channel = channel.connect().await.expect("connects");
    let mut client = ServerReflectionClient::new(channel);
    let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let asked = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("countersign.v1.TransferService".into())),
    ]);
    let mut answers = client.server_reflection_info(asked).await.expect("answers").into_inner();
    let listed = answers.message().await.expect("a message").expect("a list").message_response;
    let Some(MessageResponse::ListServicesResponse(services)) = listed else { panic!("{listed:?}") };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    for service in
        ["Partner", "Catalogue", "Offer", "Link", "Grant", "Transfer", "Customer", "Event", "Audit"]
    {
        assert!(names.contains(&format!("countersign.v1.{service}Service").as_str()), "{service}: {names:?}");
    }
    let described = answers.message().await.expect("a message").expect("a file").message_response;
    assert!(matches!(described, Some(MessageResponse::FileDescriptorResponse(_))), "{described:?}");
}
