//! Results on standard output, for people or for programs.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// How a command prints its result.
#[derive(Debug, Clone, Copy)]
pub enum Output {
    /// Aligned text.
    Text,
    /// One indented JSON value.
    Json,
}

impl Output {
    /// The form chosen by `--json`.
    pub fn from_flag(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Prints one result, followed by a line feed. A reader that closed the pipe early got what it wanted.
    ///
    /// # Errors
    /// Standard output cannot be written (a full disk behind a redirection).
    pub fn print<T: Serialize + Display>(self, result: &T) -> anyhow::Result<()> {
        self.print_as(result, || result.to_string())
    }

    /// The same for a value that says itself as JSON alone; `text` says it for people.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub fn print_as<T: Serialize + ?Sized>(self, value: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let text = match self {
            Self::Text => text(),
            Self::Json => serde_json::to_string_pretty(value).context("cannot write JSON")?,
        };
        let mut stdout = io::stdout().lock();
        match stdout
            .write_all(text.trim_end().as_bytes())
            .and_then(|()| stdout.write_all(b"\n"))
            .and_then(|()| stdout.flush())
        {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("cannot write to standard output")
            }
            _ => Ok(()),
        }
    }
}
