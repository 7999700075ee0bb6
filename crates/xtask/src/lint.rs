//! The lint of the protos: the part of the API conventions that a machine can hold.
//!
//! Every element has a comment; services end in `Service`, one a file, in the API package alone; an enum's zero
//! value says that nothing was said; request fields say who must fill them; times end in `_time`. Signed
//! statements hold no maps and no floats, since both have more than one encoding for one meaning.

use std::{collections::HashMap, path::Path};

use anyhow::Result;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto, field_descriptor_proto::Type,
};

/// The package whose files may hold services, and whose request fields say who fills them.
const API: &str = "countersign.v1";
/// The package of what is signed.
const STATEMENTS: &str = "countersign.statement.v1";
/// What the comment on a request's field must hold one of.
const BEHAVIOURS: [&str; 3] = ["REQUIRED", "OPTIONAL", "OUTPUT_ONLY"];

// Field numbers of descriptor.proto, by which a comment's path names its element.
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const MESSAGE_FIELD: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUM: i32 = 4;
const MESSAGE_ONEOF: i32 = 8;
const ENUM_VALUE: i32 = 2;
const SERVICE_METHOD: i32 = 2;

/// Lints every proto below `root`; each finding names file, line, element and what is wrong.
pub fn lint(root: &Path) -> Result<Vec<String>> {
    Ok(lint_set(&crate::codegen::compile(root)?))
}

fn lint_set(set: &FileDescriptorSet) -> Vec<String> {
    let ours = set.file.iter().filter(|file| file.package().starts_with("countersign."));
    let requests: Vec<&str> = ours
        .clone()
        .filter(|file| file.package() == API)
        .flat_map(|file| &file.service)
        .flat_map(|service| &service.method)
        .map(prost_types::MethodDescriptorProto::input_type)
        .collect();
    ours.flat_map(|file| FileLint::new(file, &requests).run()).collect()
}

struct FileLint<'a> {
    file: &'a FileDescriptorProto,
    /// Full names (with the leading dot) of the messages that some method takes.
    requests: &'a [&'a str],
    places: HashMap<&'a [i32], Place<'a>>,
    findings: Vec<String>,
}

struct Place<'a> {
    line: i32,
    comment: &'a str,
}

impl<'a> FileLint<'a> {
    fn new(file: &'a FileDescriptorProto, requests: &'a [&'a str]) -> Self {
        let places = file
            .source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .map(|at| {
                let line = at.span.first().map_or(0, |line| line + 1);
                (at.path.as_slice(), Place { line, comment: at.leading_comments().trim() })
            })
            .collect();
        Self { file, requests, places, findings: Vec::new() }
    }

    fn run(mut self) -> Vec<String> {
        let file = self.file;
        let folder = file.package().replace('.', "/");
        if Path::new(file.name()).parent() != Some(Path::new(&folder)) {
            self.find(&[], file.package(), &format!("must stand in the folder {folder}"));
        }
        if file.service.len() > 1 {
            self.find(&[FILE_SERVICE, 1], file.package(), "holds more than one service");
        }
        for (index, service) in numbered(&file.service) {
            self.service(&[FILE_SERVICE, index], service);
        }
        for (index, message) in numbered(&file.message_type) {
            self.message(&[FILE_MESSAGE, index], &format!(".{}", file.package()), message);
        }
        for (index, enumeration) in numbered(&file.enum_type) {
            self.enumeration(&[FILE_ENUM, index], enumeration);
        }
        self.findings
    }

    fn service(&mut self, path: &[i32], service: &ServiceDescriptorProto) {
        self.needs_comment(path, service.name());
        if !service.name().ends_with("Service") {
            self.find(path, service.name(), "a service's name ends in Service");
        }
        if self.file.package() != API {
            self.find(path, service.name(), &format!("services belong to the package {API}"));
        }
        for (index, method) in numbered(&service.method) {
            self.needs_comment(&[path, &[SERVICE_METHOD, index]].concat(), method.name());
        }
    }

    fn message(&mut self, path: &[i32], scope: &str, message: &DescriptorProto) {
        let full_name = format!("{scope}.{}", message.name());
        self.needs_comment(path, message.name());
        let is_request = self.requests.contains(&full_name.as_str());
        for (index, field) in numbered(&message.field) {
            let path = [path, &[MESSAGE_FIELD, index]].concat();
            self.field(&path, message.name(), is_request, field);
        }
        for (index, oneof) in numbered(&message.oneof_decl) {
            // The compiler makes a oneof of its own for each `optional`; nobody wrote it.
            let written = message
                .field
                .iter()
                .any(|field| field.oneof_index == Some(index) && !field.proto3_optional());
            if written {
                self.needs_comment(&[path, &[MESSAGE_ONEOF, index]].concat(), oneof.name());
            }
        }
        for (index, nested) in numbered(&message.nested_type) {
            // Likewise the entry message of a map.
            if nested.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry) {
                if self.file.package() == STATEMENTS {
                    self.find(path, message.name(), "a signed statement holds no map");
                }
                continue;
            }
            self.message(&[path, &[MESSAGE_NESTED, index]].concat(), &full_name, nested);
        }
        for (index, enumeration) in numbered(&message.enum_type) {
            self.enumeration(&[path, &[MESSAGE_ENUM, index]].concat(), enumeration);
        }
    }

    fn field(&mut self, path: &[i32], message: &str, is_request: bool, field: &FieldDescriptorProto) {
        let name = format!("{message}.{}", field.name());
        self.needs_comment(path, &name);
        if !field.name().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            self.find(path, &name, "a field's name is lower_snake_case");
        }
        if is_request && !BEHAVIOURS.iter().any(|behaviour| self.comment(path).contains(behaviour)) {
            self.find(path, &name, "a request's field says REQUIRED, OPTIONAL or OUTPUT_ONLY");
        }
        if field.type_name() == ".google.protobuf.Timestamp" && !field.name().ends_with("_time") {
            self.find(path, &name, "a time's name ends in _time");
        }
        if self.file.package() == STATEMENTS && matches!(field.r#type(), Type::Float | Type::Double) {
            self.find(path, &name, "a signed statement holds no float");
        }
    }

    fn enumeration(&mut self, path: &[i32], enumeration: &EnumDescriptorProto) {
        self.needs_comment(path, enumeration.name());
        for (index, value) in numbered(&enumeration.value) {
            let path = [path, &[ENUM_VALUE, index]].concat();
            self.needs_comment(&path, value.name());
            if value.number() == 0 && !value.name().ends_with("UNSPECIFIED") {
                self.find(&path, value.name(), "an enum's zero value ends in UNSPECIFIED");
            }
        }
    }

    fn needs_comment(&mut self, path: &[i32], name: &str) {
        if self.comment(path).is_empty() {
            self.find(path, name, "has no comment");
        }
    }

    fn comment(&self, path: &[i32]) -> &'a str {
        self.places.get(path).map_or("", |place| place.comment)
    }

    fn find(&mut self, path: &[i32], name: &str, what: &str) {
        let line = self.places.get(path).map_or(1, |place| place.line);
        self.findings.push(format!("proto/{}:{line}: {name}: {what}", self.file.name()));
    }
}

/// Elements with the numbers by which descriptor.proto's paths name them.
fn numbered<T>(elements: &[T]) -> impl Iterator<Item = (i32, &T)> {
    (0..).zip(elements)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(package: &str, body: &str, expected: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(package.replace('.', "/"));
        fs::create_dir_all(&folder).unwrap();
        let text = format!("syntax = \"proto3\";\npackage {package};\n{body}\n");
        fs::write(folder.join("case.proto"), text).unwrap();
        let findings = lint(root.path()).unwrap();
        let found: Vec<&str> =
            findings.iter().map(|finding| finding.split_once(".proto:").unwrap().1).collect();
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn what_is_well_written_passes() {
        check(
            API,
            "// Says hello.\nservice HelloService {\n// Greets.\nrpc Greet(GreetRequest) returns (GreetRequest); }\n\
             // Asks.\nmessage GreetRequest {\n// REQUIRED. Whom.\nstring name = 1; }\n\
             // Moods.\nenum Mood {\n// None was given.\nMOOD_UNSPECIFIED = 0; }",
            &[],
        );
    }

    #[test]
    fn comments_are_missed_with_their_line() {
        check(
            API,
            "message Bare {\nstring name = 1; }",
            &["3: Bare: has no comment", "4: Bare.name: has no comment"],
        );
        check(
            API,
            "// An enum.\nenum Bare {\nBARE_UNSPECIFIED = 0; }",
            &["5: BARE_UNSPECIFIED: has no comment"],
        );
        check(
            API,
            "// A choice.\nmessage Choice { oneof which {\n// One.\nstring one = 1; } }",
            &["4: which: has no comment"],
        );
    }

    #[test]
    fn services_keep_to_their_rules() {
        check(
            API,
            "// One.\nservice OneService {}\n// Two.\nservice Two {}",
            &["6: countersign.v1: holds more than one service", "6: Two: a service's name ends in Service"],
        );
        check(
            "countersign.log.v1",
            "// One.\nservice OneService {}",
            &["4: OneService: services belong to the package countersign.v1"],
        );
    }

    #[test]
    fn request_fields_say_who_fills_them() {
        check(
            API,
            "// S.\nservice AService {\n// M.\nrpc Get(GetRequest) returns (GetRequest); }\n\
             // R.\nmessage GetRequest {\n// The name.\nstring name = 1; }",
            &["10: GetRequest.name: a request's field says REQUIRED, OPTIONAL or OUTPUT_ONLY"],
        );
    }

    #[test]
    fn zero_says_nothing() {
        check(
            API,
            "// E.\nenum E {\n// Z.\nE_ZERO = 0; }",
            &["6: E_ZERO: an enum's zero value ends in UNSPECIFIED"],
        );
    }

    #[test]
    fn statements_have_one_encoding() {
        check(
            STATEMENTS,
            "// S.\nmessage S {\n// M.\nmap<string, string> m = 1;\n// F.\ndouble f = 2; }",
            &["8: S.f: a signed statement holds no float", "4: S: a signed statement holds no map"],
        );
    }
}
