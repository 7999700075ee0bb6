//! The messages of Countersign, generated from `/proto`, and the descriptor set.
//!
//! Nothing here decides anything. The stubs stand behind the features `client` and `server`, so that a crate
//! which only needs the messages never sees the gRPC library.
//!
//! `cargo xtask codegen` makes `src/gen` again; a test compares it with what is committed.

/// The API: `countersign.v1`.
pub mod v1 {
    include!("gen/countersign.v1.rs");
}

/// What parties sign: `countersign.statement.v1`.
pub mod statement {
    /// Version 1.
    pub mod v1 {
        include!("gen/countersign.statement.v1.rs");
    }
}

/// The leaves of the log: `countersign.log.v1`.
pub mod log {
    /// Version 1.
    pub mod v1 {
        include!("gen/countersign.log.v1.rs");
    }
}

/// What the broker stores: `countersign.row.v1`. Nothing outside the broker reads these.
pub mod row {
    /// Version 1.
    pub mod v1 {
        include!("gen/countersign.row.v1.rs");
    }
}

/// The encoded `FileDescriptorSet` of the packages that the API serves by reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor.bin");
