//! Standard output and standard error: data on one, everything else on the other.

use std::io::{BufWriter, IsTerminal as _, StdoutLock, Write as _};

use crate::cli::{Color, Global, Progress};

/// Writes an answer to standard output. A reader that has gone away (`| head`) is no error.
pub fn answer(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') && !text.is_empty() {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// Writes an answer to standard output as it is made, and ends its line.
///
/// # Errors
/// If it cannot be made; a reader that has gone away is no error.
pub fn answering(
    write: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    match write(&mut out) {
        Ok(()) => {
            let _ = out.write_all(b"\n").and_then(|()| out.flush());
            Ok(())
        }
        Err(error) if error.is_io() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Says something to the person at the terminal, on standard error, unless `--quiet`.
pub fn say(global: &Global, text: &str) {
    if !global.quiet {
        event(global, "note", text);
    }
}

/// Writes a line to standard error: as it is, or as one JSON event where a program reads along.
pub fn event(global: &Global, kind: &str, text: &str) {
    let line = match global.progress {
        Progress::Jsonl => serde_json::json!({"event": kind, "message": text}).to_string(),
        _ => text.to_owned(),
    };
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether the answer is coloured.
pub fn colour(global: &Global) -> bool {
    coloured(global, std::io::stdout().is_terminal())
}

/// Whether errors are coloured.
pub fn colour_errors(global: &Global) -> bool {
    coloured(global, std::io::stderr().is_terminal())
}

fn coloured(global: &Global, terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
        Color::Auto => terminal || set("CLICOLOR_FORCE"),
    }
}

/// Whether somebody can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks on the terminal whether to go on. Without a terminal nobody can answer: `None`.
pub fn confirmed(question: &str) -> Option<bool> {
    if !can_ask() {
        return None;
    }
    let mut error = std::io::stderr().lock();
    let _ = write!(error, "{question} [y/N] ");
    let _ = error.flush();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).ok()?;
    Some(matches!(line.trim(), "y" | "Y" | "yes"))
}
