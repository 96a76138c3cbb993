// SPDX-License-Identifier: Apache-2.0
//! `sunbeam waf stats`

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sunbeam_waf::compile::{Rule, RuleSet};

use super::message;
use super::settings::RuleArgs;
use crate::api::{WafRuleStats, WafStats};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, escape};

/// What the running node's rules did: hits, time per rule, rules that never ran
///
/// Hits are counted for each request; runs, matches and times of one request in 64. Everything counts from when the rules
/// were read: a reload that changes them begins anew. With `--offline` no node is asked: how many rules there are, by the
/// kind of attack.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Stats {
    /// Only so many rules, in each of the lists
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Count the rules themselves, without a node
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    rules: RuleArgs,
}

impl Stats {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let printer = global.printer();
        if self.offline {
            let loaded = self.rules.load(global)?;
            return offline(printer, &loaded.rules);
        }
        if self.rules.ruleset.is_some()
            || self.rules.crs_path.is_some()
            || self.rules.paranoia_level.is_some()
        {
            return Err(CliError::usage("the node's rules are what it was configured with")
                .hint("`--offline` counts other rules"));
        }
        let answer = Client::connect(global)?.get("/api/v1/waf/stats")?;
        if printer.is_json() {
            printer.json(&answer)?;
        } else {
            print(printer, &typed(&answer)?, self.top)?;
        }
        Ok(ExitCode::Done)
    }
}

fn print(printer: Printer, stats: &WafStats, top: usize) -> Result<(), CliError> {
    let Some(since) = &stats.since else {
        return printer.line("the node asks no rules: `waf` is off, everywhere");
    };
    let asked = stats.rules.iter().filter(|rule| rule.is_asked).count();
    printer.pairs(&[
        ("since", escape(since)),
        ("requests", stats.transactions.to_string()),
        ("looked at closely", format!("{} (1 of {})", stats.sampled, stats.sampled_of)),
        (
            "rules",
            format!("{asked}, and {} above the level of paranoia", stats.rules.len().saturating_sub(asked)),
        ),
    ])?;
    let mut hits: Vec<&WafRuleStats> = stats.rules.iter().filter(|rule| rule.hits > 0).collect();
    hits.sort_by_key(|rule| std::cmp::Reverse(rule.hits));
    section(printer, "RULES THAT MATCHED", hits.len(), top)?;
    if !hits.is_empty() {
        let row = |rule: &&WafRuleStats| {
            vec![
                rule.id.to_string(),
                rule.hits.to_string(),
                share(rule.hits, stats.transactions),
                message(&rule.message),
            ]
        };
        printer.table(
            &["ID", "HITS", "OF REQUESTS", "MESSAGE"],
            &hits.iter().take(top).map(row).collect::<Vec<_>>(),
        )?;
    }
    let mut slow: Vec<&WafRuleStats> = stats.rules.iter().filter(|rule| rule.nanoseconds > 0).collect();
    slow.sort_by_key(|rule| std::cmp::Reverse(rule.nanoseconds));
    section(printer, "RULES THAT TAKE TIME", slow.len(), top)?;
    if !slow.is_empty() {
        let all = slow.iter().map(|rule| rule.nanoseconds).sum();
        let row = |rule: &&WafRuleStats| {
            vec![
                rule.id.to_string(),
                rule.runs.to_string(),
                rule.matches.to_string(),
                microseconds(rule.nanoseconds, rule.runs),
                microseconds(rule.nanoseconds, stats.timed),
                share(rule.nanoseconds, all),
                message(&rule.message),
            ]
        };
        let header = ["ID", "RUNS", "MATCHES", "US A RUN", "US A REQUEST", "OF ALL TIME", "MESSAGE"];
        printer.table(&header, &slow.iter().take(top).map(row).collect::<Vec<_>>())?;
    }
    let never: Vec<&WafRuleStats> =
        stats.rules.iter().filter(|rule| rule.is_asked && rule.runs == 0 && rule.hits == 0).collect();
    section(printer, "RULES THAT NEVER RAN", never.len(), top)?;
    if !never.is_empty() {
        let row =
            |rule: &&WafRuleStats| vec![rule.id.to_string(), rule.phase.to_string(), message(&rule.message)];
        printer.table(&["ID", "PHASE", "MESSAGE"], &never.iter().take(top).map(row).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn section(printer: Printer, heading: &str, count: usize, top: usize) -> Result<(), CliError> {
    printer.line("")?;
    let told = match count.saturating_sub(top) {
        0 => format!("{heading}: {count}"),
        _ => format!("{heading}: {count}, of which {top}"),
    };
    printer.line(printer.paint(Colour::Bold, &told))
}

#[expect(clippy::cast_precision_loss, reason = "told roughly")]
fn share(part: u64, all: u64) -> String {
    if all == 0 { String::new() } else { format!("{:.2} %", part as f64 * 100.0 / all as f64) }
}

#[expect(clippy::cast_precision_loss, reason = "told roughly")]
fn microseconds(nanoseconds: u64, times: u64) -> String {
    if times == 0 { String::new() } else { format!("{:.2}", nanoseconds as f64 / times as f64 / 1000.0) }
}

/// How many rules look for one kind of attack.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    rules: usize,
    conditions: usize,
    expressions: usize,
    phrases: usize,
}

impl Count {
    fn add(&mut self, rule: &Rule) {
        self.rules += 1;
        for operator in rule.operators() {
            self.conditions += 1;
            match operator {
                "rx" => self.expressions += 1,
                "pm" | "pmf" | "pmFromFile" => self.phrases += 1,
                _ => {}
            }
        }
    }
}

/// Of rules that look for no attack: they set, count and skip.
const NO_ATTACK: &str = "none";

/// `attack-sqli`
fn kind(rule: &Rule) -> &str {
    rule.tags.iter().find_map(|tag| tag.strip_prefix("attack-")).unwrap_or(NO_ATTACK)
}

fn offline(printer: Printer, rules: &RuleSet) -> Result<ExitCode, CliError> {
    let (mut kinds, mut all) = (BTreeMap::<&str, Count>::new(), Count::default());
    for rule in rules.rules() {
        kinds.entry(kind(rule)).or_default().add(rule);
        all.add(rule);
    }
    if printer.is_json() {
        let as_json = |count: &Count| -> Value {
            json!({
                "rules": count.rules, "conditions": count.conditions, "expressions": count.expressions,
                "phrase_lists": count.phrases,
            })
        };
        let kinds: serde_json::Map<String, Value> =
            kinds.iter().map(|(kind, count)| ((*kind).to_owned(), as_json(count))).collect();
        printer.json(&json!({"kinds": kinds, "all": as_json(&all)}))?;
        return Ok(ExitCode::Done);
    }
    let row = |kind: &str, count: &Count| {
        let Count { rules, conditions, expressions, phrases } = count;
        let mut row = vec![escape(kind)];
        row.extend([rules, conditions, expressions, phrases].map(ToString::to_string));
        row
    };
    let mut rows: Vec<Vec<String>> = kinds.iter().map(|(kind, count)| row(kind, count)).collect();
    rows.push(row("all", &all));
    printer.table(&["ATTACK", "RULES", "CONDITIONS", "EXPRESSIONS", "PHRASE LISTS"], &rows)?;
    Ok(ExitCode::Done)
}
