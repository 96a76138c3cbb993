// SPDX-License-Identifier: Apache-2.0
//! `sunbeam unblock`

use sunbeam_config::Cidr;

use super::Run;
use super::block::print_change;
use crate::cli::GlobalArgs;
use crate::client::Client;
use crate::exit::{CliError, ExitCode};

/// Let an address, or a range of addresses, in again
///
/// For a day afterwards the node does not block it by itself.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Unblock {
    /// The address or the range, or the id of a block, as `sunbeam blocks` shows it
    #[arg(value_name = "CIDR|ID", value_parser = meant)]
    what: String,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Run for Unblock {
    const NAME: &'static str = "unblock";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let answer = Client::connect(global)?.delete(&self.path())?;
        print_change(global.printer(), &answer, self.dry_run)
    }
}

impl Unblock {
    fn path(&self) -> String {
        // One segment: the slash of a range is a character like any other.
        let cidr = self.what.replace('/', "%2F");
        let query = if self.dry_run { "?dry_run=true" } else { "" };
        format!("/api/v1/blocklist/{cidr}{query}")
    }
}

/// A range in full, or an id.
fn meant(text: &str) -> Result<String, String> {
    let is_number = text.len() < 16 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number || (text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Ok(text.to_owned());
    }
    text.parse::<Cidr>().map(|cidr| cidr.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_segment_of_the_path() {
        for (name, cidr, dry_run, want) in [
            ("address", "192.0.2.1", false, "/api/v1/blocklist/192.0.2.1%2F32"),
            ("range", "192.0.2.0/24", false, "/api/v1/blocklist/192.0.2.0%2F24"),
            ("id", "00ff00ff00ff00ff", false, "/api/v1/blocklist/00ff00ff00ff00ff"),
            ("number", "1289", false, "/api/v1/blocklist/1289"),
            ("dry run", "2001:db8::/32", true, "/api/v1/blocklist/2001:db8::%2F32?dry_run=true"),
        ] {
            let path = Unblock { what: meant(cidr).unwrap(), dry_run }.path();
            assert_eq!(path, want, "{name}");
            assert!(path.parse::<http::Uri>().is_ok(), "{name}");
        }
    }
}
