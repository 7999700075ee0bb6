//! Reading a configuration: the file, the environment over it, then the checks that concern more than one key.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::Table;

use super::{
    Config, Erasure, JournalFiles, Surface,
    environment::{self, SetBy},
};

/// Why a configuration is refused. Each names the file or the variable, and the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: {source}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}: {source}", file.display())]
    Syntax {
        /// Which file.
        file: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A variable that sets nothing.
    #[error("{name}: no key of the configuration has this name")]
    UnknownVariable {
        /// The variable.
        name: String,
    },
    /// A variable whose key has no place in this file.
    #[error("{name}: its entry lies beyond the end of the list, or the file has something else in its place")]
    Misplaced {
        /// The variable.
        name: String,
    },
    /// A key is unknown, missing or wrong.
    #[error("{whence}: {key}: {wrong}")]
    Key {
        /// The file or the variable.
        whence: String,
        /// The key, as `listeners[0].address`.
        key: String,
        /// What is wrong.
        wrong: String,
    },
}

/// Reads the file, and the variables over it. Relative paths in either are meant from the file's folder.
pub fn read(
    file: &Path,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let text =
        fs::read_to_string(file).map_err(|source| ConfigError::File { file: file.to_owned(), source })?;
    let mut table: Table = toml::from_str(&text)
        .map_err(|source| ConfigError::Syntax { file: file.to_owned(), source: Box::new(source) })?;
    let set_by = environment::apply(&mut table, variables)?;
    let refused =
        |key: String, wrong: String| ConfigError::Key { whence: whence(file, &set_by, &key), key, wrong };

    let mut config: Config = serde_path_to_error::deserialize(table).map_err(|error| {
        let key = error.path().to_string();
        refused(key, error.inner().message().to_owned())
    })?;
    check(&config).map_err(|(key, wrong)| refused(key, wrong))?;

    // `parent` of a bare file name is the empty path, which joins as the current folder.
    let folder = file.parent().unwrap_or(Path::new(""));
    // Collected from its components, so that `data = "."` leaves no `/./` in messages.
    config.data = folder.join(&config.data).components().collect();
    config.catalogue = config.catalogue.map(|path| folder.join(path));
    for tls in config.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut()) {
        tls.certificate = folder.join(&tls.certificate);
        tls.key = folder.join(&tls.key);
    }
    Ok(config)
}

/// The variable that set the key, or else the file.
fn whence(file: &Path, set_by: &SetBy, key: &str) -> String {
    let inside =
        |set: &str| key.strip_prefix(set).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let variable = set_by.iter().find(|(set, _)| inside(set)).map(|(_, variable)| variable.clone());
    variable.unwrap_or_else(|| file.display().to_string())
}

/// What no single key can tell: the key, and what is wrong.
fn check(config: &Config) -> Result<(), (String, String)> {
    let refuse = |key: String, wrong: &str| Err((key, wrong.to_owned()));
    if config.listeners.is_empty() {
        return refuse("listeners".to_owned(), "a broker that listens nowhere serves nobody");
    }
    for (number, listener) in config.listeners.iter().enumerate() {
        let surfaces = format!("listeners[{number}].surfaces");
        if listener.surfaces.is_empty() {
            return refuse(surfaces, "name at least one of \"api\", \"web\", \"log\" and \"admin\"");
        }
        let mut sorted = listener.surfaces.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != listener.surfaces.len() {
            return refuse(surfaces, "names a surface twice");
        }
        let serves = |surface: Surface| listener.surfaces.contains(&surface);
        if serves(Surface::Web) && !serves(Surface::Api) && config.companion.address.is_none() {
            return refuse(
                surfaces,
                "\"web\" without \"api\": say in `companion.address` where the app calls",
            );
        }
        if listener.tls.is_none() && !listener.address.ip().is_loopback() {
            let wrong = format!(
                "{} is not a loopback address, so it needs a certificate and a key",
                listener.address
            );
            return Err((format!("listeners[{number}].tls"), wrong));
        }
    }
    let serves_web = config.listeners.iter().any(|listener| listener.surfaces.contains(&Surface::Web));
    if config.companion.address.is_some() && !serves_web {
        return refuse("companion.address".to_owned(), "no listener serves \"web\": nobody would read it");
    }
    if let Some(bytes) = config.journal.segment_bytes {
        let (least, most) = (JournalFiles::MIN_SEGMENT_BYTES, JournalFiles::MAX_SEGMENT_BYTES);
        if !(least..=most).contains(&bytes) {
            let wrong = format!("{bytes} bytes; a segment has {least} to {most}");
            return Err(("journal.segment_bytes".to_owned(), wrong));
        }
    }
    config.asking.defaults().map_err(|(key, wrong)| (key.to_owned(), wrong))?;
    let most = Erasure::MAX_SCRUB_AFTER_SECONDS;
    if let Some(seconds) = config.erasure.scrub_after_seconds.filter(|seconds| *seconds > most) {
        let wrong = format!("{seconds} seconds; at most {most}");
        return Err(("erasure.scrub_after_seconds".to_owned(), wrong));
    }
    for (number, operator) in config.operators.iter().enumerate() {
        if config.operators[..number].iter().any(|other| other.name == operator.name) {
            return refuse(format!("operators[{number}].name"), "names an operator twice");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Engine, LogFormat, environment::KEYS};

    const FULL: &str = r#"
        origin = "broker.example/log"
        data = "."
        engine = "memory"
        journal = { segment_bytes = 65536, snapshot_bytes = 131072 }
        catalogue = "own.toml"
        reflection = false
        max_connections = 10
        logging = { format = "json", filter = "debug" }
        quotas = { partner = 1, customer = 2, auditor = 3, operator = 4, newcomers = 5, notices = 6 }
        asking = { per_day = 2, per_week = 5, silence_days = 30 }
        erasure = { scrub_after_seconds = 60 }
        companion = { address = "https://api.example", origins = ["https://app.example"] }
        operators = [{ name = "operators/root", public_key = "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw" }]
        [[listeners]]
        address = "0.0.0.0:7443"
        surfaces = ["api", "web", "log"]
        tls = { certificate = "certificate.pem", key = "/keys/key.pem" }
    "#;

    const SMALL: &str = r#"
        origin = "broker.example/log"
        data = "."
        [[listeners]]
        address = "127.0.0.1:0"
        surfaces = ["api", "log"]
    "#;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("countersign.toml");
        fs::write(&file, text).expect("writes");
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let folder = folder.path().display().to_string();
        read(&file, variables).map_err(|error| error.to_string().replace(&folder, ""))
    }

    fn check(text: &str, variables: &[(&str, &str)], error: &str) {
        let found = load(text, variables).expect_err(error);
        assert!(found.starts_with(error), "{found}\nshould begin with\n{error}");
    }

    #[test]
    fn every_key_is_read_and_paths_are_meant_from_the_file() {
        let config = load(FULL, &[]).expect("good");
        assert_eq!(config.engine, Engine::Memory);
        assert_eq!(config.logging.format, LogFormat::Json);
        assert!(config.catalogue.expect("set").parent().expect("has one").is_absolute());
        assert!(config.listeners[0].tls.as_ref().expect("set").certificate.ends_with("certificate.pem"));
        assert_eq!(config.listeners[0].tls.as_ref().expect("set").key, Path::new("/keys/key.pem"));
        assert_eq!(load(SMALL, &[]).expect("good").engine, Engine::Embedded);
    }

    #[test]
    fn every_key_that_a_variable_can_set_is_in_the_full_file() {
        let table: Table = toml::from_str(FULL).expect("TOML");
        let mut keys = Vec::new();
        flatten("", &toml::Value::Table(table), &mut keys);
        let mut known: Vec<_> = KEYS.map(str::to_owned).into();
        keys.sort();
        known.sort();
        assert_eq!(keys, known);
    }

    fn flatten(at: &str, value: &toml::Value, into: &mut Vec<String>) {
        let below = |part: &str| if at.is_empty() { part.to_owned() } else { format!("{at}.{part}") };
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    flatten(&below(key), value, into);
                }
            }
            toml::Value::Array(list) if list[0].is_table() => flatten(&below("#"), &list[0], into),
            _ => into.push(at.to_owned()),
        }
    }

    #[test]
    fn an_error_names_the_file_and_the_key() {
        check(&format!("orign = \"x\"\n{SMALL}"), &[], "/countersign.toml: orign: unknown field `orign`");
        check(
            &SMALL.replace("surfaces", "surface"),
            &[],
            "/countersign.toml: listeners[0].surface: unknown field",
        );
        check(
            &SMALL.replace("\"log\"", "\"page\""),
            &[],
            "/countersign.toml: listeners[0].surfaces[1]: unknown variant `page`",
        );
        check(
            &SMALL.replace("\"api\"", "\"web\""),
            &[],
            "/countersign.toml: listeners[0].surfaces: \"web\" without \"api\"",
        );
        check(
            &FULL.replace("\"web\", ", ""),
            &[],
            "/countersign.toml: companion.address: no listener serves",
        );
        check(
            &FULL.replace("https://api.example", "http://api.example"),
            &[],
            "/countersign.toml: companion.address: not an origin as browsers write it",
        );
        check(
            &FULL.replace("https://app.example", "https://app.example/"),
            &[],
            "/countersign.toml: companion.origins: `https://app.example/`: not an origin",
        );
        check(&SMALL.replace("127.0.0.1:0", "localhost"), &[], "/countersign.toml: listeners[0].address: ");
        check(&SMALL.replace("broker.example/log", "a b"), &[], "/countersign.toml: origin: `a b`");
        check(&SMALL.replace("[\"api\", \"log\"]", "[]"), &[], "/countersign.toml: listeners[0].surfaces: ");
        check(
            &SMALL.replace("\"log\"", "\"api\""),
            &[],
            "/countersign.toml: listeners[0].surfaces: names a surface twice",
        );
        check(
            &SMALL.replace("127.0.0.1", "0.0.0.0"),
            &[],
            "/countersign.toml: listeners[0].tls: 0.0.0.0:0 is not a loopback",
        );
        check(
            &FULL.replace("65536", "65535"),
            &[],
            "/countersign.toml: journal.segment_bytes: 65535 bytes; a segment has 65536 to",
        );
        check(
            &FULL.replace("per_day = 2", "per_day = 11"),
            &[],
            "/countersign.toml: asking.per_day: must be 1 to 10 a day",
        );
        check(
            &FULL.replace("per_week = 5", "per_week = 0"),
            &[],
            "/countersign.toml: asking.per_week: must be 1 to 30 a week",
        );
        check(
            &FULL.replace("silence_days = 30", "silence_days = 367"),
            &[],
            "/countersign.toml: asking.silence_days: must be at most 366",
        );
        check(
            &FULL.replace("scrub_after_seconds = 60", "scrub_after_seconds = 2419201"),
            &[],
            "/countersign.toml: erasure.scrub_after_seconds: 2419201 seconds; at most 2419200",
        );
        check("origin = ", &[], "/countersign.toml: TOML parse error at line 1");
        check("origin = \"x\"\ndata = \".\"", &[], "/countersign.toml: ");
        check("origin = \"x\"\ndata = \".\"\nlisteners = []", &[], "/countersign.toml: listeners: ");
        check(&FULL.replace("6kps", ""), &[], "/countersign.toml: operators[0].public_key: not the");
    }

    #[test]
    fn a_variable_stands_over_the_file() {
        let config = load(
            SMALL,
            &[
                ("COUNTERSIGN_ENGINE", "memory"),
                ("COUNTERSIGN_REFLECTION", "false"),
                ("COUNTERSIGN_LOGGING__FILTER", "warn,hyper=error"),
                ("COUNTERSIGN_LISTENERS__0__ADDRESS", "[::1]:5"),
                ("COUNTERSIGN_LISTENERS__1__ADDRESS", "127.0.0.1:6"),
                ("COUNTERSIGN_LISTENERS__1__SURFACES", "[\"admin\"]"),
                ("HOME", "/home"),
            ],
        )
        .expect("good");
        assert_eq!(config.engine, Engine::Memory);
        assert!(!config.reflection);
        assert_eq!(config.logging.filter, "warn,hyper=error");
        assert_eq!(config.listeners[0].address.to_string(), "[::1]:5");
        assert_eq!(config.listeners[1].surfaces, [Surface::Admin]);
    }

    #[test]
    fn an_error_names_the_variable() {
        check(SMALL, &[("COUNTERSIGN_ENGIN", "memory")], "COUNTERSIGN_ENGIN: no key");
        check(
            SMALL,
            &[("COUNTERSIGN_LISTENERS__X__ADDRESS", "")],
            "COUNTERSIGN_LISTENERS__X__ADDRESS: no key",
        );
        check(SMALL, &[("COUNTERSIGN_", "")], "COUNTERSIGN_: no key");
        check(SMALL, &[("COUNTERSIGN_ENGINE", "sled")], "COUNTERSIGN_ENGINE: engine: unknown variant `sled`");
        check(
            SMALL,
            &[("COUNTERSIGN_LISTENERS__2__ADDRESS", "127.0.0.1:1")],
            "COUNTERSIGN_LISTENERS__2__ADDRESS: its entry",
        );
        check(
            SMALL,
            &[("COUNTERSIGN_LISTENERS__0__SURFACES", "[\"page\"]")],
            "COUNTERSIGN_LISTENERS__0__SURFACES: listeners[0].surfaces[0]: unknown variant `page`",
        );
    }
}
