#![doc = "The files of the companion, the customer's web app."]
//!
//! `app/` is TypeScript; `cargo xtask companion` builds it into `app/dist`, and what is there when this crate is compiled
//! is what [`files`] returns. Where nothing is there, that is one page that says how to build it, so that compiling needs
//! no Node.

/// A file of the app.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Its path below the app's address, with `/` between the parts and none before the first.
    pub path: &'static str,
    /// What is in it.
    pub bytes: &'static [u8],
    /// The same, compressed with brotli, if that was worth it.
    pub brotli: Option<&'static [u8]>,
}

static BUILT: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

static NOT_BUILT: &[File] =
    &[File { path: "index.html", bytes: include_bytes!("not-built.html"), brotli: None }];

/// All files of the app, sorted by path, `index.html` among them.
pub fn files() -> &'static [File] {
    if is_built() { BUILT } else { NOT_BUILT }
}

/// Whether the app was built when this was compiled.
pub fn is_built() -> bool {
    !BUILT.is_empty()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn there_is_an_index_and_every_path_is_plain() {
        assert!(files().iter().any(|file| file.path == "index.html" && !file.bytes.is_empty()));
        for file in files() {
            let plain = |part: &str| {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed)
            };
            assert!(file.path.split('/').all(plain), "{}", file.path);
        }
        assert!(files().is_sorted_by_key(|file| file.path));
    }

    #[test]
    fn the_page_of_an_app_that_is_not_built_says_how_to_build_it() {
        let page = std::str::from_utf8(NOT_BUILT[0].bytes).expect("text");
        assert!(page.contains("cargo xtask companion") && page.contains("Node 20.19"), "{page}");
    }

    #[test]
    fn what_is_embedded_is_what_its_listing_names() {
        let embedded: Vec<String> = files()
            .iter()
            .filter(|file| file.path != "listing.txt")
            .map(|file| format!("{}  {}", HEXLOWER.encode(&Sha256::digest(file.bytes)), file.path))
            .collect();
        if let Some(listing) = files().iter().find(|file| file.path == "listing.txt") {
            assert_eq!(embedded.join("\n") + "\n", String::from_utf8_lossy(listing.bytes));
        } else {
            assert!(!is_built(), "a build has a listing");
        }
    }
}
