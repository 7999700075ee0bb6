//! The catalogue: what data can be asked for, and for what.
//!
//! A reviewed document with *purposes* and *fields*. Its version is the SHA-256 of its bytes, so a broker can't
//! change what a customer agreed to; every version that ever counted is kept. What is not in it can't be asked for,
//! and some things can stand in none: [`Denied`].

mod denied;
mod error;
mod field;
mod name;
mod purpose;
mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bytes::Bytes;

use crate::digest::Digest;

pub use denied::Denied;
pub use error::{CatalogueError, Place};
pub use field::{Field, MAX_VALUE_BYTES, NotAValue, Provenance, Sensitivity, ValueType};
pub use name::{FieldPath, PurposeCode};
pub use purpose::{Ceilings, OverCeiling, Purpose, Titles};
pub use read::MAX_DOCUMENT_BYTES;

/// The document that is shipped with the product: airline, ride-hailing, messenger, hotel, retail.
pub const SHIPPED: &[u8] = include_bytes!("../catalogue/catalogue.toml");

/// The language that every catalogue has, and that titles fall back to.
pub const ENGLISH: &str = "en";

/// A catalogue that has met every rule.
#[derive(Clone, PartialEq, Eq)]
pub struct Catalogue {
    version: Digest,
    format: u32,
    document: Bytes,
    languages: BTreeSet<String>,
    purposes: BTreeMap<PurposeCode, Purpose>,
    fields: BTreeMap<FieldPath, Field>,
}

impl Catalogue {
    /// Reads a document and holds it to every rule of its format, which may be an older one: grants are judged under the
    /// catalogue that they were signed under.
    pub fn parse(document: &[u8]) -> Result<Self, CatalogueError> {
        read::read(document)
    }

    /// Reads a document that shall count for new offers: it has to be of the newest format, so that no rule is passed by
    /// in an old one.
    pub fn parse_for_use(document: &[u8]) -> Result<Self, CatalogueError> {
        let catalogue = Self::parse(document)?;
        if catalogue.format == read::FORMAT {
            Ok(catalogue)
        } else {
            Err(CatalogueError::Superseded { format: catalogue.format })
        }
    }

    /// The catalogue that is shipped with the product.
    pub fn shipped() -> Self {
        Self::parse_for_use(SHIPPED).expect("the shipped document meets every rule: a test reads it")
    }

    /// SHA-256 of the document.
    pub fn version(&self) -> Digest {
        self.version
    }

    /// The document, byte for byte.
    pub fn document(&self) -> &Bytes {
        &self.document
    }

    /// The languages that every title is in.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.languages.iter().map(String::as_str)
    }

    /// The purpose with a code.
    pub fn purpose(&self, code: &str) -> Option<&Purpose> {
        self.purposes.get(code)
    }

    /// The field with a path.
    pub fn field(&self, path: &str) -> Option<&Field> {
        self.fields.get(path)
    }

    /// All purposes, by code.
    pub fn purposes(&self) -> impl ExactSizeIterator<Item = &Purpose> {
        self.purposes.values()
    }

    /// All fields, by path.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &Field> {
        self.fields.values()
    }
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("version", &self.version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
