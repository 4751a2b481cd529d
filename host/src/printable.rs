//! Foreign text for a terminal or a log.
//!
//! Names, messages and reasons come from SLS, receivers, plugins, file names and certificates. Their authors
//! must not be able to move the cursor, to turn the direction of the text or to add lines that look like ours.
//! Everything that is printed or logged passes here: log lines in [`PrintableWriter`], what commands print in
//! [`printable_lines`], and a foreign name inside a line in [`printable`].

use std::borrow::Cow;
use std::io::{self, Write};

use forwarder_record::json::{is_unseen, push_string};
use tracing_subscriber::fmt::MakeWriter;

/// The text on one line, with characters that are not seen escaped as in JSON (`\u009b`, `\n`).
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |_| 0)
}

/// The same for what has lines of its own: line breaks stay.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |rest| usize::from(rest.starts_with('\n')))
}

/// The sequences by which the log's formatter sets colours.
const COLOURS: [&str; 10] = [
    "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m",
    "\x1b[35m", "\x1b[36m",
];

fn printable_log_line(line: &str, colours: bool) -> Cow<'_, str> {
    escaped(line, |rest| match rest {
        "\n" => 1,
        _ if colours => {
            let colour = COLOURS.iter().find(|colour| rest.starts_with(**colour));
            colour.map_or(0, |colour| colour.len())
        }
        _ => 0,
    })
}

/// Escapes what is not seen. `kept` is asked, with the text from there on, how many bytes stay as they are.
fn escaped(text: &str, kept: impl Fn(&str) -> usize) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((run, tail)) = rest.find(is_unseen).and_then(|at| rest.split_at_checked(at)) {
        clean.push_str(run);
        let length = match kept(tail) {
            0 => {
                let length = tail.chars().next().map_or(0, char::len_utf8);
                push_escape(&mut clean, tail.get(..length).unwrap_or_default());
                length
            }
            length => {
                clean.push_str(tail.get(..length).unwrap_or_default());
                length
            }
        };
        rest = tail.get(length..).unwrap_or_default();
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

fn push_escape(clean: &mut String, character: &str) {
    let mut quoted = String::new();
    push_string(&mut quoted, character);
    clean.push_str(quoted.trim_matches('"'));
}

/// Cleans log lines, one line a write, as the log's formatter hands them over.
#[derive(Debug, Clone)]
pub struct PrintableWriter<W> {
    to: W,
    colours: bool,
}

impl<W> PrintableWriter<W> {
    /// Cleans what is written to `to`; with `colours`, those of the formatter stay.
    pub const fn new(to: W, colours: bool) -> Self {
        Self { to, colours }
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for PrintableWriter<W> {
    type Writer = PrintableWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        PrintableWriter::new(self.to.make_writer(), self.colours)
    }
}

impl<W: Write> Write for PrintableWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.to.write_all(printable_log_line(&text, self.colours).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_the_text_is_shown_and_not_done() {
        let hostile = "a\x1b[2J\u{9b}31m\x7f\u{202e}gpj\u{2066}\u{2028}\r\nerror: b\tc 杭州 “é” 👍";
        let shown =
            "a\\u001b[2J\\u009b31m\\u007f\\u202egpj\\u2066\\u2028\\r\\nerror: b\\tc 杭州 “é” 👍";
        assert_eq!(printable(hostile), shown);
        assert_eq!(printable_lines(hostile), shown.replace("\\n", "\n"));
        assert!(matches!(printable("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn a_log_line_is_one_line_and_keeps_the_colours_of_its_format_only() {
        let line = "\x1b[2mtime\x1b[0m a\nb \x1b[5m \x1b]0;title\x07\n";
        let write = |colours| {
            let mut out = Vec::new();
            PrintableWriter::new(&mut out, colours).write_all(line.as_bytes()).unwrap();
            String::from_utf8(out).unwrap()
        };
        let rest = " a\\nb \\u001b[5m \\u001b]0;title\\u0007\n";
        assert_eq!(write(true), format!("\x1b[2mtime\x1b[0m{rest}"));
        assert_eq!(write(false), format!("\\u001b[2mtime\\u001b[0m{rest}"));
    }
}
