// SPDX-License-Identifier: Apache-2.0
//! `sunbeam waf rules`

use serde_json::{Value, json};
use sunbeam_waf::compile::Rule;
use sunbeam_waf::rules::source;

use super::message;
use super::settings::{Loaded, RuleArgs};
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, escape};

/// List the rules that a configuration means, search them, show one with its source
///
/// Rules are read from the files now, whether a node runs or not. What is wrong with them is told with file and line, all
/// of it; exit code 2 then. Exit code 1 when no rule fits.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Rules {
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// List them, as without a word
    List(List),
    /// Show one: what it looks for, its tags, and its lines in the file
    Show {
        /// Its number
        #[arg(value_name = "ID")]
        id: u64,
        #[command(flatten)]
        rules: RuleArgs,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct List {
    #[command(flatten)]
    rules: RuleArgs,
    /// Only those with this in number, message, tags or file, in whatever case
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those with this tag: `attack-sqli`
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Only those of this phase: 1 request head, 2 request body, 3 answer's head, 4 answer's body, 5 afterwards
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    phase: Option<u8>,
}

impl Rules {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        match self.action {
            None => self.list.run(global),
            Some(Action::List(list)) => list.run(global),
            Some(Action::Show { id, rules }) => show(global.printer(), &rules.load(global)?, id),
        }
    }
}

impl List {
    fn run(&self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let loaded = self.rules.load(global)?;
        let found: Vec<&Rule> = loaded.rules.rules().iter().filter(|rule| self.takes(rule)).collect();
        let printer = global.printer();
        if printer.is_json() {
            printer.json(&found.iter().map(|rule| as_json(rule)).collect())?;
        } else if !found.is_empty() {
            let rows: Vec<Vec<String>> = found.iter().map(|rule| row(printer, rule)).collect();
            printer.table(&HEADER, &rows)?;
            let (shown, all) = (found.len(), loaded.rules.rules().len());
            printer.line(printer.paint(Colour::Dim, &format!("{shown} of {all} rules")))?;
        } else {
            printer.line("no rule fits")?;
        }
        Ok(if found.is_empty() { ExitCode::Findings } else { ExitCode::Done })
    }

    fn takes(&self, rule: &Rule) -> bool {
        let has_tag = |tag: &String| rule.tags.iter().any(|known| known.eq_ignore_ascii_case(tag));
        let has_text = |text: &String| {
            let text = text.to_lowercase();
            let mut parts = rule.tags.iter().map(ToString::to_string).chain([
                rule.id.to_string(),
                rule.message(),
                rule.span.file.to_string(),
            ]);
            parts.any(|part| part.to_lowercase().contains(&text))
        };
        self.phase.is_none_or(|phase| rule.phase == phase)
            && self.tag.as_ref().is_none_or(has_tag)
            && self.search.as_ref().is_none_or(has_text)
    }
}

const HEADER: [&str; 6] = ["ID", "PHASE", "SEVERITY", "PARANOIA", "MESSAGE", "TAGS"];
/// A row stays a line; `show` and `-o json` have all of them.
const TAGS_SHOWN: usize = 2;

fn row(printer: Printer, rule: &Rule) -> Vec<String> {
    vec![
        id(rule),
        rule.phase.to_string(),
        painted(printer, rule),
        paranoia_level(rule).map(|level| level.to_string()).unwrap_or_default(),
        message(&rule.message()),
        tags(rule),
    ]
}

/// What kind of attack it is comes first.
fn tags(rule: &Rule) -> String {
    let mut tags: Vec<&str> =
        rule.tags.iter().map(|tag| &**tag).filter(|tag| !tag.starts_with(PARANOIA)).collect();
    tags.sort_by_key(|tag| !tag.starts_with("attack-"));
    let more = tags.len().saturating_sub(TAGS_SHOWN);
    tags.truncate(TAGS_SHOWN);
    let shown = escape(&tags.join(", "));
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn painted(printer: Printer, rule: &Rule) -> String {
    let text = severity(rule).unwrap_or_default();
    match rule.severity {
        Some(0..=2) => printer.paint(Colour::Red, text),
        Some(3 | 4) => printer.paint(Colour::Yellow, text),
        _ => text.to_owned(),
    }
}

/// A rule need not have a number.
fn id(rule: &Rule) -> String {
    if rule.id == 0 { "none".to_owned() } else { rule.id.to_string() }
}

fn severity(rule: &Rule) -> Option<&'static str> {
    SEVERITIES.get(usize::from(rule.severity?)).copied()
}

const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];

/// Of the rule's tag, as the Core Rule Set writes it.
fn paranoia_level(rule: &Rule) -> Option<u8> {
    rule.tags.iter().find_map(|tag| tag.strip_prefix(PARANOIA)?.parse().ok())
}

const PARANOIA: &str = "paranoia-level/";

fn as_json(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "phase": rule.phase,
        "severity": severity(rule),
        "paranoia_level": paranoia_level(rule),
        "message": rule.message(),
        "tags": rule.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(),
        "version": rule.version,
        "file": &*rule.span.file,
        "line": rule.span.line,
        "end_line": rule.span.end_line,
    })
}

fn show(printer: Printer, loaded: &Loaded, id: u64) -> Result<ExitCode, CliError> {
    let Some(rule) = loaded.rules.rules().iter().find(|rule| rule.id == id) else {
        return Err(CliError::failed(format!("there is no rule {id} among those that were read"))
            .hint("`sunbeam waf rules --search TEXT` finds rules; `--crs-path DIR` names another rule set"));
    };
    let text = lines_of(loaded, rule)?;
    if printer.is_json() {
        let mut answer = as_json(rule);
        if let Some(object) = answer.as_object_mut() {
            object.insert("source".to_owned(), text.into());
        }
        printer.json(&answer)?;
        return Ok(ExitCode::Done);
    }
    let span = &rule.span;
    let mut pairs = vec![
        ("rule", id.to_string()),
        ("message", escape(&rule.message())),
        ("phase", rule.phase.to_string()),
        ("severity", painted(printer, rule)),
        ("tags", escape(&rule.tags.join(", "))),
        ("version", escape(&rule.version)),
        ("stands in", format!("{}:{} to {}", escape(&span.file), span.line, span.end_line)),
    ];
    pairs.retain(|(_, value)| !value.is_empty());
    printer.pairs(&pairs)?;
    printer.line("")?;
    text.lines().try_for_each(|line| printer.line(escape(line)))?;
    Ok(ExitCode::Done)
}

/// The rule as it was written, with its chain.
fn lines_of(loaded: &Loaded, rule: &Rule) -> Result<String, CliError> {
    let span = &rule.span;
    let text = source(&loaded.options, &span.file).map_err(|why| {
        CliError::failed(format!("failed to read `{}`: {}", escape(&span.file), escape(&why)))
    })?;
    let first = usize::try_from(span.line.saturating_sub(1)).unwrap_or(usize::MAX);
    let count = usize::try_from(span.end_line.saturating_sub(span.line)).unwrap_or(0) + 1;
    let mut lines = String::new();
    for line in text.lines().skip(first).take(count) {
        lines.push_str(line);
        lines.push('\n');
    }
    Ok(lines)
}
