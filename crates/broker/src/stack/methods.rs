//! What is known of a method by its path alone.

use std::{collections::HashSet, sync::LazyLock};

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// The one call that is signed by the key that it enters.
const ENTERS_CUSTOMER: &str = "/countersign.v1.CustomerService/CreateCustomer";

/// The one call of somebody who has no key yet, and shows a secret instead.
const OPENS_COPY: &str = "/countersign.v1.CustomerService/GetWrappedCopy";

/// The services that need no token: they tell nothing but whether the broker is up and what its API looks like.
const PUBLIC: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// What a partner that is not live may call: what leads it there, what is public, and its own events. All else is denied
/// by being absent here.
const FOR_NEWCOMERS: [&str; 5] = [
    "/countersign.v1.PartnerService/",
    "/countersign.v1.CatalogueService/",
    "/countersign.v1.EventService/",
    "/countersign.v1.AuditService/GetCheckpoint",
    "/countersign.v1.AuditService/GetConsistencyProof",
];

/// The methods of those services.
const PUBLIC_METHODS: [&str; 5] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The public methods whose answers are streams.
const PUBLIC_STREAMS: [&str; 3] = [
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// All methods of the API, and those of them that stream, as its descriptors say.
struct Methods {
    all: HashSet<String>,
    streaming: HashSet<String>,
}

static METHODS: LazyLock<Methods> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(countersign_proto::FILE_DESCRIPTOR_SET)
        .expect("the generated descriptor set decodes; a test compares it with its source");
    let mut methods = Methods {
        all: PUBLIC_METHODS.map(str::to_owned).into(),
        streaming: PUBLIC_STREAMS.map(str::to_owned).into(),
    };
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                if method.server_streaming() {
                    methods.streaming.insert(path.clone());
                }
                methods.all.insert(path);
            }
        }
    }
    methods
});

/// Whether the method is open to everybody.
pub(super) fn is_public(path: &str) -> bool {
    PUBLIC.iter().any(|service| path.starts_with(service))
}

/// Whether the method enters the very key that signs its token.
pub(super) fn enters_customer(path: &str) -> bool {
    path == ENTERS_CUSTOMER
}

/// Whether partners may call the method that are not live.
pub(super) fn takes_newcomers(path: &str) -> bool {
    FOR_NEWCOMERS.iter().any(|one| path.starts_with(one))
}

/// Whether the method is for a device that comes for its key.
pub(super) fn opens_copy(path: &str) -> bool {
    path == OPENS_COPY
}

/// Whether the answer goes on after the call returned.
pub(super) fn is_streaming(path: &str) -> bool {
    METHODS.streaming.contains(path)
}

/// The method's name for metrics and traces. Callers choose paths, so unknown ones share one name.
pub(super) fn label(path: &str) -> &'static str {
    METHODS.all.get(path).map_or("unknown", |path| path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_tell_which_methods_there_are_and_stream() {
        assert_eq!(
            label("/countersign.v1.TransferService/FetchData"),
            "countersign.v1.TransferService/FetchData"
        );
        assert_eq!(label("/countersign.v1.TransferService/Other"), "unknown");
        assert_eq!(label(ENTERS_CUSTOMER), &ENTERS_CUSTOMER[1..]);
        assert_eq!(label(OPENS_COPY), &OPENS_COPY[1..]);
        assert!(is_streaming("/countersign.v1.EventService/WatchEvents"));
        assert!(!is_streaming("/countersign.v1.EventService/ListEvents"));
        assert!(is_public("/grpc.health.v1.Health/Check"));
        assert!(!is_public("/countersign.v1.EventService/ListEvents"));
        for open in FOR_NEWCOMERS {
            assert!(METHODS.all.iter().any(|method| method.starts_with(open)), "{open} is there");
        }
        for service in ["GrantService", "LinkService", "OfferService", "TransferService", "CustomerService"] {
            assert!(!takes_newcomers(&format!("/countersign.v1.{service}/X")), "{service}");
        }
    }
}
