// SPDX-License-Identifier: Apache-2.0
//! What the command line looks like: the options that every command has, and the parser made from
//! [`COMMANDS`].

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args as _, FromArgMatches as _};

use crate::commands::{COMMANDS, DEFAULT_COMMAND, Entry};
use crate::exit::{CliError, ExitCode};
use crate::output::{Format, Printer};

/// Options that stand before or after any command.
// A plain comment would be the help of the program: the doc comment above is overwritten in `command`.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true,
        help = "table, json or jsonl"
    )]
    pub(crate) output: Format,
    /// Configuration file [env: SUNBEAM_CONFIG] [default: /etc/sunbeam/config.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Layer config.NAME.toml over config.toml
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Management API of the node to talk to, http://127.0.0.1:9999 [env: SUNBEAM_NODE]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) node: Option<String>,
    /// File with the API's token; the token itself may stand in SUNBEAM_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// No colour, as with NO_COLOR in the environment
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

impl GlobalArgs {
    /// Prints as these options ask.
    pub(crate) fn printer(&self) -> Printer {
        Printer::new(self.output, self.no_color)
    }
}

/// The whole command line, with every command. What is not in it does not exist.
pub fn command() -> clap::Command {
    let root = GlobalArgs::augment_args(clap::Command::new("sunbeam"));
    COMMANDS.iter().fold(root, |root, entry| root.subcommand((entry.build)())).version(env!("CARGO_PKG_VERSION"))
        .about("A security reverse proxy. Without a command it does what `serve` does.")
        .long_about(None)
        .after_help("Exit codes: 0 done, 1 findings or refusal, 2 usage or configuration, 3 cannot reach the node, 4 not permitted.")
        .disable_help_subcommand(true)
}

/// Parses the arguments, runs the command, reports its error.
pub(crate) fn dispatch(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let result = match command().try_get_matches_from(arguments) {
        Ok(matches) => run(&matches),
        Err(error) => Err(usage(&error)),
    };
    result.unwrap_or_else(|error| {
        error.report();
        error.code
    })
}

/// The entry of a command by its name.
pub(crate) fn entry(name: &str) -> Option<&'static Entry> {
    COMMANDS.iter().find(|entry| entry.name == name)
}

fn run(matches: &clap::ArgMatches) -> Result<ExitCode, CliError> {
    let global = GlobalArgs::from_arg_matches(matches).map_err(|error| usage(&error))?;
    let (name, own) = matches.subcommand().unwrap_or((DEFAULT_COMMAND, matches));
    let entry = entry(name).ok_or_else(|| CliError::usage(format!("no command `{name}`")))?;
    (entry.run)(&global, own)
}

/// Prints what the parser says: help and version go to standard output and are no error.
fn usage(error: &clap::Error) -> CliError {
    drop(error.print());
    CliError::silent(code_of(error))
}

fn code_of(error: &clap::Error) -> ExitCode {
    let was_asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if was_asked { ExitCode::Done } else { ExitCode::Usage }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_parser_is_sound_and_lists_exactly_the_commands() {
        let root = command();
        root.clone().debug_assert();
        let listed: Vec<&str> = root.get_subcommands().map(clap::Command::get_name).collect();
        let names: Vec<&str> = COMMANDS.iter().map(|entry| entry.name).collect();
        assert_eq!(listed, names);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name stands twice");
        assert!(root.get_subcommands().all(|command| command.get_about().is_some()), "a command has no help");
    }

    #[test]
    fn what_is_not_built_is_not_listed() {
        let help = command().render_long_help().to_string();
        for name in ["orchestrate", "help", "import"] {
            assert!(
                !help.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))),
                "{name}\n{help}"
            );
        }
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for arguments in [["sunbeam", "-o", "json", "status"], ["sunbeam", "status", "-o", "json"]] {
            let matches = command().try_get_matches_from(arguments).unwrap();
            assert_eq!(GlobalArgs::from_arg_matches(&matches).unwrap().output, Format::Json);
        }
        let matches = command().try_get_matches_from(["sunbeam", "--config", "a.toml"]).unwrap();
        assert!(matches.subcommand().is_none());
        assert_eq!(GlobalArgs::from_arg_matches(&matches).unwrap().config, Some("a.toml".into()));
    }

    #[test]
    fn a_wrong_command_line_is_a_usage_error_and_help_is_none() {
        for (arguments, want) in [
            (&["sunbeam", "frobnicate"][..], ExitCode::Usage),
            (&["sunbeam", "status", "--frobnicate"], ExitCode::Usage),
            (&["sunbeam", "--help"], ExitCode::Done),
            (&["sunbeam", "--version"], ExitCode::Done),
            (&["sunbeam", "config", "--help"], ExitCode::Done),
            (&["sunbeam", "config"], ExitCode::Usage),
        ] {
            let error = command().try_get_matches_from(arguments).unwrap_err();
            assert_eq!(code_of(&error), want, "{arguments:?}");
        }
    }
}
