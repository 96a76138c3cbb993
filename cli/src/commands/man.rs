// SPDX-License-Identifier: Apache-2.0
//! `sunbeam man`

use super::Run;
use crate::cli::{self, GlobalArgs};
use crate::exit::{CliError, ExitCode};

/// Print the manual page
///
/// To read it: `sunbeam man | man -l -`
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Man {}

impl Run for Man {
    const NAME: &'static str = "man";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let page = page().map_err(|error| CliError::failed(format!("failed to write the page: {error}")))?;
        global.printer().raw(&page)?;
        Ok(ExitCode::Done)
    }
}

/// One page: the program, then a section with the help of each command.
fn page() -> std::io::Result<String> {
    let mut roff = Vec::new();
    clap_mangen::Man::new(cli::command()).manual("Sunbeam").render(&mut roff)?;
    let mut page = String::from_utf8_lossy(&roff).into_owned();
    for mut command in leaves(&cli::command(), "sunbeam") {
        let name = command.get_bin_name().unwrap_or_default().to_owned();
        page.push_str(&format!(".SH \"{}\"\n.nf\n", name.to_uppercase()));
        for line in command.render_long_help().to_string().lines() {
            page.push_str(&literal(line));
            page.push('\n');
        }
        page.push_str(".fi\n");
    }
    Ok(page)
}

/// The commands that do something, `config show` among them, without the options that all have.
fn leaves(command: &clap::Command, path: &str) -> Vec<clap::Command> {
    let below = command.get_subcommands().flat_map(|below| {
        let path = format!("{path} {}", below.get_name());
        if below.has_subcommands() {
            leaves(below, &path)
        } else {
            vec![below.clone().bin_name(path).disable_help_flag(true)]
        }
    });
    below.collect()
}

/// A line that roff prints as it is.
fn literal(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command() {
        let page = page().unwrap();
        for name in ["SUNBEAM UP", "SUNBEAM CONFIG SHOW", "SUNBEAM CERT LS", "SUNBEAM VERSION"] {
            assert!(page.contains(&format!(".SH \"{name}\"")), "{name}");
        }
    }

    #[test]
    fn a_line_cannot_be_a_roff_request() {
        assert_eq!(literal(".TH a-b\\c"), "\\&.TH a\\-b\\ec");
    }
}
