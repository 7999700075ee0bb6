//! What goes to standard output: tables and words for the eye, or JSON.

use std::io::{IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use owo_colors::{OwoColorize as _, Style};
use serde_json::Value;

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        // https://no-color.org: set and not empty.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, colour: terminal && !refused }
    }

    /// Prints one document, or words. A pipe that closed is no error: whoever read has read enough.
    pub(crate) fn show(self, json: &Value, words: impl FnOnce(Self) -> String) {
        let text = if self.json { pretty(json) } else { words(self) };
        self.line(&text);
    }

    /// Prints one of many documents, one a line, or words.
    pub(crate) fn stream(self, json: &Value, words: impl FnOnce(Self) -> String) {
        let text = if self.json { json.to_string() } else { words(self) };
        self.line(&text);
    }

    #[expect(clippy::unused_self, reason = "what goes to standard output goes through here")]
    fn line(self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    #[expect(clippy::unused_self, reason = "what is printed is made here, coloured or not")]
    pub(crate) fn table<const N: usize>(self, header: [&str; N], rows: Vec<[String; N]>) -> String {
        if rows.is_empty() {
            return "none".to_owned();
        }
        let mut table = Table::new();
        // Never wrapped: names are there to be copied whole.
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(header.map(str::to_owned));
        for row in rows {
            table.add_row(row);
        }
        table.trim_fmt()
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(text, Style::new().bold())
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(text, Style::new().dimmed())
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.paint(text, Style::new().green().bold())
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(text, Style::new().red().bold())
    }

    fn paint(self, text: &str, style: Style) -> String {
        if self.colour { text.style(style).to_string() } else { text.to_owned() }
    }
}

pub(crate) fn pretty(json: &Value) -> String {
    serde_json::to_string_pretty(json).expect("a JSON value has a text")
}
