//! The house rules: who may depend on whom, that the generated code is what the protos say, and that nothing asks for a
//! password.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

/// One crate of the workspace, by its folder under `crates/`.
struct Member {
    folder: &'static str,
    package: &'static str,
    /// The packages of ours that it names itself: these, and no others.
    arrows: &'static [&'static str],
    /// What must not be linked into it by any way. Most of the architecture is what is absent.
    never: &'static [&'static str],
}

const MEMBERS: &[Member] = &[
    Member { folder: "proto", package: "countersign-proto", arrows: &[], never: GRPC },
    Member { folder: "grants", package: "countersign-grants", arrows: &["countersign-proto"], never: PURE },
    Member { folder: "tlog", package: "countersign-tlog", arrows: &[], never: PURE },
    Member { folder: "store", package: "countersign-store", arrows: &[], never: GRPC },
    Member {
        folder: "store-sled",
        package: "countersign-store-sled",
        arrows: &["countersign-store"],
        never: GRPC,
    },
    Member {
        folder: "ledger",
        package: "countersign-ledger",
        arrows: &["countersign-proto", "countersign-store", "countersign-tlog"],
        never: &["tonic", "hyper", "sled"],
    },
    Member {
        folder: "broker",
        package: "countersign-broker",
        arrows: &[
            "countersign-grants",
            "countersign-ledger",
            "countersign-proto",
            "countersign-store",
            "countersign-tlog",
        ],
        never: ENGINE,
    },
    Member {
        folder: "countersignd",
        package: "countersignd",
        arrows: &[
            "countersign-broker",
            "countersign-companion",
            "countersign-ledger",
            "countersign-store",
            "countersign-store-sled",
        ],
        never: &[],
    },
    Member {
        folder: "client",
        package: "countersign-client",
        arrows: &["countersign-grants", "countersign-proto", "countersign-tlog"],
        never: ENGINE,
    },
    Member { folder: "cli", package: "countersign-cli", arrows: &["countersign-client"], never: ENGINE },
    Member { folder: "companion", package: "countersign-companion", arrows: &[], never: PURE },
    Member { folder: "demo", package: "countersign-demo", arrows: &["countersign-client"], never: ENGINE },
    Member { folder: "xtask", package: "xtask", arrows: &[], never: &["tonic", "tokio"] },
];

/// Neither gRPC nor the HTTP below it.
const GRPC: &[&str] = &["tonic", "hyper"];
/// No gRPC, no runtime, no sockets, no engine: an auditor builds on these alone.
const PURE: &[&str] = &["tonic", "hyper", "tokio", "mio", "sled"];
/// No storage engine.
const ENGINE: &[&str] = &["sled"];

#[test]
fn every_crate_is_in_the_table() {
    let crates = xtask::workspace_root().join("crates");
    let found: BTreeSet<String> = fs::read_dir(&crates)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<String> = MEMBERS.iter().map(|member| member.folder.to_owned()).collect();
    assert_eq!(
        found, listed,
        "the folders under crates/ (left) are not those of the table in house.rs (right)"
    );
}

#[test]
fn dependency_arrows() {
    let mut wrong = Vec::new();
    for member in MEMBERS {
        let direct = match tree(member.package, &["--depth", "1"]) {
            Ok(direct) => direct,
            Err(error) => {
                wrong.push(format!("{}: {error}", member.package));
                continue;
            }
        };
        let ours: BTreeSet<&str> = MEMBERS.iter().map(|member| member.package).collect();
        let found: BTreeSet<&str> = direct
            .iter()
            .map(String::as_str)
            .filter(|name| ours.contains(name) && *name != member.package)
            .collect();
        let allowed: BTreeSet<&str> = member.arrows.iter().copied().collect();
        for name in found.difference(&allowed) {
            wrong.push(format!("{} must not depend on {name}", member.package));
        }
        for name in allowed.difference(&found) {
            wrong.push(format!(
                "{} no longer depends on {name}: take the arrow out of the table",
                member.package
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_must_be_absent_is_absent() {
    let mut wrong = Vec::new();
    for member in MEMBERS {
        match tree(member.package, &[]) {
            Ok(linked) => {
                let found = member.never.iter().filter(|name| linked.contains(**name));
                wrong.extend(found.map(|name| {
                    format!("{0} links {name}: see `cargo tree -e normal -p {0} -i {name}`", member.package)
                }));
            }
            Err(error) => wrong.push(format!("{}: {error}", member.package)),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn generated_code_is_current() {
    let fresh = tempfile::tempdir().unwrap();
    xtask::codegen::generate(fresh.path()).unwrap();
    let committed = xtask::workspace_root().join(xtask::codegen::COMMITTED);
    let fresh = contents(fresh.path());
    let committed = contents(&committed);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&fresh), "the generated files: run `cargo xtask codegen`");
    for (name, bytes) in &fresh {
        // Not assert_eq: nobody reads 300 KB of bytes.
        assert!(committed[name] == *bytes, "{name} is not what the protos say: run `cargo xtask codegen`");
    }
}

/// Nobody is ever asked for a password: not by the app, by a command, or by a message of the API.
#[test]
fn nothing_asks_for_a_password() {
    const WORDS: [&str; 3] = ["password", "passphrase", "passcode"];
    let root = xtask::workspace_root();
    let mut looked_at = 0;
    for part in ["proto", "crates/cli/src", "crates/companion/app/src", "crates/companion/app/public"] {
        for file in below(&root.join(part)) {
            // What is said to people may say that there is none, and a list of what is never brokered names it.
            if file.parent().is_some_and(|folder| folder.ends_with("ui/messages"))
                || file.ends_with("core/denied.ts")
            {
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).to_lowercase();
            let found = WORDS.iter().find(|word| text.contains(**word));
            assert_eq!(found, None, "{}", file.display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 100, "{looked_at} files");
    // As built, all of it in a few lines: no field of that kind, whatever else the libraries in it can do.
    let built = below(&root.join("crates/companion/app/dist"));
    for file in built.into_iter().chain([root.join("crates/companion/app/index.html")]) {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).replace([' ', '\''], "").to_lowercase();
        for field in
            ["type=\"password", "type=password", "type:\"password", "current-password", "new-password"]
        {
            assert!(!text.contains(field), "{}: {field}", file.display());
        }
    }
}

/// All files below a folder.
fn below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

fn contents(dir: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let files = xtask::codegen::files_in(dir).unwrap();
    let named = files.iter().map(|file| (file.file_name().unwrap().to_str().unwrap().to_owned(), file));
    named.map(|(name, file)| (name, fs::read(file).unwrap())).collect()
}

/// The names of the packages that are linked into `package` when it is built by itself.
fn tree(package: &str, arguments: &[&str]) -> Result<BTreeSet<String>, String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package"])
        .arg(package)
        .args(arguments)
        .current_dir(xtask::workspace_root())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}
