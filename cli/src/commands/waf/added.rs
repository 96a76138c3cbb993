// SPDX-License-Identifier: Apache-2.0
//! `sunbeam waf add`, `added` and `remove`: rules of a running node that no file of its configuration has.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::commands::block::print_change;
use crate::commands::blocks::print_json;
use crate::exit::{CliError, ExitCode};
use crate::output::escape;
use crate::placed_file::refused;

/// More than a node takes: it says what is too much.
const BYTES_MAX: u64 = 4 << 20;

/// Give the running node further rules, without a reload and without a restart
///
/// They are read after all others, are asked from the next request on, and live through reloads and restarts until they
/// are removed. Wrong ones are refused with file and line, and the rules in use go on. They may name no other file.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Add {
    /// What they are known by; those of this name are replaced
    #[arg(value_name = "NAME")]
    name: String,
    /// Their file, `SecLang`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say what would be done, do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Take rules away that were added
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Remove {
    /// What they are known by
    #[arg(value_name = "NAME")]
    name: String,
    /// Say what would be done, do nothing
    #[arg(long)]
    dry_run: bool,
}

/// List the rules that were added to the running node
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Added {}

/// `GET /api/v1/rules`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct AllAdded {
    is_asked: bool,
    rules: Vec<One>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct One {
    name: String,
    ids: Vec<u64>,
    rules: String,
}

impl Add {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let request = json!({"name": self.name, "rules": text_of(&self.file)?, "dry_run": self.dry_run});
        let answer = Client::connect(global)?.post_json("/api/v1/rules", &request)?;
        print_change(global.printer(), &answer, self.dry_run)
    }
}

impl Remove {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let page = format!("/api/v1/rules/{}?dry_run={}", in_path(&self.name)?, self.dry_run);
        let answer = Client::connect(global)?.delete(&page)?;
        print_change(global.printer(), &answer, self.dry_run)
    }
}

impl Added {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let answer = Client::connect(global)?.get("/api/v1/rules")?;
        let printer = global.printer();
        if printer.is_json() {
            print_json(global, &answer, "rules")?;
            return Ok(ExitCode::Done);
        }
        let all: AllAdded = typed(&answer)?;
        if all.rules.is_empty() {
            printer.line("no rules were added")?;
            return Ok(ExitCode::Done);
        }
        let rows: Vec<Vec<String>> = all.rules.iter().map(row).collect();
        printer.table(&["NAME", "RULES", "BYTES"], &rows)?;
        if !all.is_asked {
            printer.line("no route asks the WAF's rules")?;
        }
        Ok(ExitCode::Done)
    }
}

fn row(one: &One) -> Vec<String> {
    let ids: Vec<String> = one.ids.iter().map(ToString::to_string).collect();
    vec![escape(&one.name), ids.join(", "), one.rules.len().to_string()]
}

/// A name of rules is a word; anything else would ask for another page.
fn in_path(name: &str) -> Result<&str, CliError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.is_empty() && name.bytes().all(is_word) && !name.starts_with('.') {
        return Ok(name);
    }
    Err(CliError::usage(format!("`{}` is no name of rules", escape(name))))
}

fn text_of(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| refused("read", path, &error))?;
    Ok(text)
}
