//! What a person reads: aligned lines, colours on a terminal alone.

use std::io::{IsTerminal as _, Write as _, stdout};

use owo_colors::{OwoColorize as _, Style};

/// How wide the column of who speaks to whom is: two brands and the arrow.
const WHO: usize = 18;

/// How wide what happens is, before the small print.
const WHAT: usize = 62;

/// Tells the story on the standard output.
pub(crate) struct Story {
    colours: bool,
    chapters: u32,
}

impl Story {
    /// With colours if a person watches, and has not asked for none (<https://no-color.org>).
    pub(crate) fn new() -> Self {
        let colours =
            stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colours, chapters: 0 }
    }

    /// The title of everything.
    pub(crate) fn title(&self, text: &str) {
        say(&format!("\n{}", self.paint(text, Style::new().bold())));
    }

    /// A new chapter.
    pub(crate) fn chapter(&mut self, text: &str) {
        self.chapters += 1;
        let heading = format!("{}  {text}", self.chapters);
        say(&format!("\n{}", self.paint(&heading, Style::new().bold().cyan())));
    }

    /// A line of explanation.
    pub(crate) fn note(&self, text: &str) {
        say(&format!("   {}", self.paint(text, Style::new())));
    }

    /// The same, for what matters less.
    pub(crate) fn aside(&self, text: &str) {
        say(&format!("   {}", self.paint(text, Style::new().dimmed())));
    }

    /// Something that happens at a moment of the day.
    pub(crate) fn line(&self, time: &str, who: &str, what: &str, small: &str) {
        let time = self.paint(time, Style::new().yellow());
        let small = self.paint(small, Style::new().dimmed());
        say(format!("   {time}  {}{}{small}", pad(who, WHO), pad(what, WHAT)).trim_end());
    }

    /// A beat, and whether it holds.
    pub(crate) fn beat(&self, holds: bool, what: &str, small: &str) {
        let mark = if holds {
            self.paint("\u{2713}", Style::new().green().bold())
        } else {
            self.paint("\u{2717} DOES NOT HOLD:", Style::new().red().bold())
        };
        let small = self.paint(small, Style::new().dimmed());
        say(format!("   {mark} {}{small}", pad(what, WHAT)).trim_end());
    }

    /// Something that is late, in red.
    pub(crate) fn late(&self, time: &str, who: &str, what: &str, small: &str) {
        let time = self.paint(time, Style::new().yellow());
        let what = self.paint(&pad(what, WHAT), Style::new().red().bold());
        let small = self.paint(small, Style::new().dimmed());
        say(format!("   {time}  {}{what}{small}", pad(who, WHO)).trim_end());
    }

    /// A command to try.
    pub(crate) fn command(&self, text: &str) {
        say(&format!("     {}", self.paint(text, Style::new().bold())));
    }

    fn paint(&self, text: &str, style: Style) -> String {
        if self.colours && !text.is_empty() { text.style(style).to_string() } else { text.to_owned() }
    }
}

/// Fills up to a width, and keeps two spaces if the text is wider.
fn pad(text: &str, width: usize) -> String {
    let fill = width.saturating_sub(columns(text)).max(2);
    format!("{text}{}", " ".repeat(fill))
}

/// How many columns a terminal takes for a text: two for a sign of East Asia.
fn columns(text: &str) -> usize {
    let wide = |sign: char| matches!(sign, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ff60}');
    text.chars().map(|sign| if wide(sign) { 2 } else { 1 }).sum()
}

/// A reader that has gone is no reason to stop: what is checked is checked all the same.
fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// `1 traveller`, `2 travellers`.
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {one}s", grouped(number)) }
}

/// Digits in groups of three: `2,000,000`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        for text in ["Skylark \u{2192} Hopp", "Hopp \u{2192} Chirp", ""] {
            assert_eq!(columns(&pad(text, WHO)), WHO, "{text}");
        }
        assert_eq!(columns(&pad("到着", 6)), 6);
        assert_eq!(pad("too wide", 3), "too wide  ");
    }

    #[test]
    fn numbers_are_read_in_groups() {
        let check = |number, expected: &str| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(2_000_000, "2,000,000");
        assert_eq!(count(1, "traveller"), "1 traveller");
        assert_eq!(count(1_200, "record"), "1,200 records");
    }

    #[test]
    fn without_a_terminal_there_are_no_colours() {
        let story = Story { colours: false, chapters: 0 };
        assert_eq!(story.paint("Hopp", Style::new().bold()), "Hopp");
        let story = Story { colours: true, chapters: 0 };
        assert_ne!(story.paint("Hopp", Style::new().bold()), "Hopp");
        assert_eq!(story.paint("", Style::new().bold()), "");
    }
}
