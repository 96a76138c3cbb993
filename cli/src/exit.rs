// SPDX-License-Identifier: Apache-2.0
//! How the program ends: five codes, and errors that are one clear line with a remedy.

use std::error::Error;
use std::io;
use std::process;

use crate::output::note;

/// The exit codes; scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// What was asked is done.
    Done = 0,
    /// Something was found or refused, or it failed.
    Findings = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The node cannot be reached.
    Unreachable = 3,
    /// A permission or the token is missing.
    NotPermitted = 4,
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct CliError {
    /// How the program ends.
    pub(crate) code: ExitCode,
    /// What is wrong; empty when nothing is left to say.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl CliError {
    /// It failed, or the node refused.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::with(ExitCode::Findings, message)
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::with(ExitCode::Usage, message)
    }

    /// The node cannot be reached.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::with(ExitCode::Unreachable, message)
    }

    /// A permission or the token is missing.
    pub(crate) fn not_permitted(message: impl Into<String>) -> Self {
        Self::with(ExitCode::NotPermitted, message)
    }

    /// Everything was said already.
    pub(crate) fn silent(code: ExitCode) -> Self {
        Self::with(code, "")
    }

    /// Adds the remedy.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Ours is `NotPermitted` when the system's word, somewhere below, is "permission denied".
    pub(crate) fn from_start(error: &(dyn Error + 'static)) -> Self {
        let told = told(error);
        match denied(error) {
            // A port's error names its remedy itself.
            true if told.contains("CAP_NET_BIND_SERVICE") => Self::not_permitted(told),
            true => Self::not_permitted(told).hint("run it as a user that may, or configure another place"),
            false => Self::failed(told),
        }
    }

    /// Prints it on standard error.
    pub(crate) fn report(&self) {
        if self.message.is_empty() {
            return;
        }
        note(format_args!("sunbeam: {}", self.message));
        if let Some(hint) = &self.hint {
            note(format_args!("  {hint}"));
        }
    }

    fn with(code: ExitCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }
}

/// An error and its causes in one line; a cause that the text names already is not repeated.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

fn denied(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        let kind = inner.downcast_ref::<io::Error>().map(io::Error::kind);
        // Some errors keep the system's word as text only.
        if kind == Some(io::ErrorKind::PermissionDenied) || inner.to_string().contains("(os error 13)") {
            return true;
        }
        cause = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_permission_is_found_below_other_errors() {
        let wrapped = |kind| io::Error::other(io::Error::from(kind));
        for (kind, want) in [
            (io::ErrorKind::PermissionDenied, ExitCode::NotPermitted),
            (io::ErrorKind::AddrInUse, ExitCode::Findings),
        ] {
            assert_eq!(CliError::from_start(&io::Error::from(kind)).code, want, "{kind}");
            let bind =
                sunbeam_listeners::BindError { address: ([127, 0, 0, 1], 1).into(), source: kind.into() };
            assert_eq!(CliError::from_start(&bind).code, want, "{kind}");
            assert!(!told(&wrapped(kind)).is_empty());
        }
    }
}
