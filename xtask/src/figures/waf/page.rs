// SPDX-License-Identifier: Apache-2.0
//! What the comparison found, to read: `docs/waf-verdicts.md` with counts and rules' numbers, and under `target/` every
//! request that is told of in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Result;
use sunbeam_report::measures::wilson;

use super::causes::{CAUSES, Cause, StoppedBy};
use super::engines::{Said, Word};
use super::verdicts::{Comparison, ENGINES, STRICT, Tally, WEB_TRAFFIC};
use crate::docs::line;

/// Lines of a table of rules; what is rarer is added up.
const LINES_MAX: usize = 25;

pub(super) fn write(root: &Path, work: &Path, comparison: &Comparison) -> Result<()> {
    fs::write(work.join("differences.tsv"), differing(comparison))?;
    fs::write(work.join("benign-blocks.tsv"), benign_blocks(comparison))?;
    fs::write(work.join("missed-by-both.tsv"), missed(comparison))?;
    Ok(fs::write(root.join("docs/waf-verdicts.md"), page(comparison))?)
}

fn page(comparison: &Comparison) -> String {
    let mut page = String::from(HEAD);
    totals(&mut page, comparison);
    sources(&mut page, comparison);
    causes(&mut page, comparison);
    blocks(&mut page, comparison);
    page
}

const HEAD: &str = "# The WAF's verdicts beside ModSecurity's\n\n\
<!-- Written by `cargo xtask figures waf --measure verdicts`; measure, do not edit. -->\n\n\
The same bytes of labelled requests go to libmodsecurity 3.0.9 and to the code that a node runs, both with the OWASP Core\n\
Rule Set 4.28 at paranoia level 1 and thresholds 5 and 4. `xtask/src/figures/waf/corpus.rs` says which corpora, and which\n\
are left out and why; labels are the corpora's own. *Rules alone* is `waf.verdict = \"rules\"`, *rules and model* the\n\
default, `\"combined\"`, *own rules and model* the same with `waf.ruleset = \"builtin\"`. Stopped is what a WAF in mode\n\
`auto` blocks; in mode `enforce` it also blocks what is doubtful. Every request that is told of here stands in\n\
`target/waf-verdicts/` after a run.\n";

fn totals(page: &mut String, comparison: &Comparison) {
    page.push_str(
        "\n## In all\n\nOf requests that no model has learned from (a fifth of each corpus, split by groups of alike \
         requests), with Wilson\n95 % intervals.\n\n\
         | engine | attacks stopped | missed | benign stopped | passed | true positives | true negatives | ordinary web \
         traffic stopped |\n|---|---:|---:|---:|---:|---|---|---|\n",
    );
    let of = |is_it: &dyn Fn(&str, bool) -> bool| {
        Tally::of(
            comparison.unseen().filter(|(row, _)| is_it(&row.source, row.is_attack)).map(|(_, said)| said),
        )
    };
    let attacks = of(&|_, is_attack| is_attack);
    let benign = of(&|_, is_attack| !is_attack);
    let web = of(&|source, is_attack| !is_attack && WEB_TRAFFIC.contains(&source));
    for (number, (name, _)) in ENGINES.iter().chain(&STRICT).enumerate() {
        let stopped = |tally: &Tally| tally.stopped.get(number).copied().unwrap_or(0);
        let (caught, blocked) = (stopped(&attacks), stopped(&benign));
        line(
            page,
            &format!(
                "| {name} | {caught} | {} | {blocked} | {} | {} | {} | {} |",
                attacks.rows - caught,
                benign.rows - blocked,
                rate(caught, attacks.rows),
                rate(benign.rows - blocked, benign.rows),
                rate(stopped(&web), web.rows),
            ),
        );
    }
}

fn sources(page: &mut String, comparison: &Comparison) {
    page.push_str("\n## By corpus\n\nRequests stopped, of those that no model has learned from. In CSIC 2010 most of what rules stop is how a request\nis sent or named (920250, 920440, 911100), attack or not: with clean texts that is doubtful, and mode `auto` lets it pass.\n\n| corpus | label | rows |");
    for (name, _) in ENGINES.iter().chain(&STRICT) {
        page.push_str(&format!(" {name} |"));
    }
    page.push_str("\n|---|---|---:|---|---|---|---|---|---|\n");
    let mut tallies: BTreeMap<(bool, &str), Vec<&Said>> = BTreeMap::new();
    for (row, said) in comparison.unseen() {
        tallies.entry((row.is_attack, &row.source)).or_default().push(said);
    }
    for ((is_attack, source), said) in tallies {
        let tally = Tally::of(said.into_iter());
        let label = if is_attack { "attack" } else { "benign" };
        let cells: Vec<String> = tally.stopped.iter().map(|stopped| rate(*stopped, tally.rows)).collect();
        line(page, &format!("| {source} | {label} | {} | {} |", tally.rows, cells.join(" | ")));
    }
}

fn causes(page: &mut String, comparison: &Comparison) {
    let all = comparison.corpus.rows.len();
    let ours = comparison.said.iter().filter(|said| said.differs() && !said.peer).count();
    let impossible = comparison.corpus.impossible;
    page.push_str(&format!(
        "\n## Where rules alone differ from libmodsecurity\n\nOf all {all} requests ({impossible} more are none that a client sends) the \
         verdicts differ on {}: {ours} are stopped by ours alone, {} by\nlibmodsecurity alone. A cause counts where both \
         say the same once it is taken out of the request and all else is left\n(`xtask/src/figures/waf/causes.rs`).\n\n\
         | cause | requests | attacks | stopped by | rules | |\n|---|---:|---:|---|---|---|\n",
        comparison.differences.len(),
        comparison.differences.len() - ours,
    ));
    let known = CAUSES.iter().map(Some).chain([None]);
    for cause in known {
        let of_cause: Vec<usize> = comparison
            .differences
            .iter()
            .filter(|difference| is_same(difference.cause, cause))
            .map(|difference| difference.row)
            .collect();
        if of_cause.is_empty() && cause.is_some() {
            continue;
        }
        let mut rules: BTreeSet<u64> = BTreeSet::new();
        let mut attacks = 0;
        for (row, said) in of_cause
            .iter()
            .filter_map(|row| Some((comparison.corpus.rows.get(*row)?, comparison.said.get(*row)?)))
        {
            rules.extend(said.rules.symmetric_difference(&said.peer_rules));
            attacks += u32::from(row.is_attack);
        }
        let (name, by, text) = match cause {
            Some(Cause { name, stopped_by: StoppedBy::Us, text, .. }) => (*name, "ours", *text),
            Some(Cause { name, stopped_by: StoppedBy::Peer, text, .. }) => (*name, "libmodsecurity", *text),
            None => ("not known", "", ""),
        };
        line(
            page,
            &format!("| {name} | {} | {attacks} | {by} | {} | {text} |", of_cause.len(), numbers(&rules)),
        );
    }
}

fn is_same(one: Option<&Cause>, other: Option<&Cause>) -> bool {
    one.map(|cause| cause.name) == other.map(|cause| cause.name)
}

fn blocks(page: &mut String, comparison: &Comparison) {
    page.push_str(
        "\n## Benign requests that rules and model stop\n\nOf all requests, those that models have learned from among \
         them. A score of 10 is twice the threshold, which no word of the\nmodel's outweighs.\n\n\
         | requests | corpora | reason | rules |\n|---:|---|---|---|\n",
    );
    let mut kinds: BTreeMap<(&str, &BTreeSet<u64>), BTreeMap<&str, u32>> = BTreeMap::new();
    for (row, said) in comparison.corpus.rows.iter().zip(&comparison.said) {
        if !row.is_attack && said.together.word == Word::Block {
            let corpora = kinds.entry((&said.together.reason, &said.rules)).or_default();
            *corpora.entry(&row.source).or_default() += 1;
        }
    }
    let mut kinds: Vec<_> =
        kinds.into_iter().map(|(kind, corpora)| (corpora.values().sum::<u32>(), kind, corpora)).collect();
    kinds.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    for (count, (reason, rules), corpora) in kinds.iter().take(LINES_MAX) {
        let corpora: Vec<&str> = corpora.keys().copied().collect();
        line(page, &format!("| {count} | {} | {reason} | {} |", corpora.join(", "), numbers(rules)));
    }
    let rest: u32 = kinds.iter().skip(LINES_MAX).map(|(count, ..)| count).sum();
    if rest > 0 {
        line(page, &format!("| {rest} | | | others, each rarer |"));
    }
}

fn rate(hits: u32, rows: u32) -> String {
    let interval = wilson(f64::from(hits), f64::from(rows));
    let percent = 100.0 * f64::from(hits) / f64::from(rows.max(1));
    format!("{percent:.2} % ({:.2}–{:.2})", 100.0 * interval.low, 100.0 * interval.high)
}

fn numbers(rules: &BTreeSet<u64>) -> String {
    rules.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

/// The beginning of a request, on one line.
fn shown(request: &[u8]) -> String {
    const SHOWN: usize = 2_000;
    let text = String::from_utf8_lossy(request.get(..request.len().min(SHOWN)).unwrap_or_default());
    text.escape_debug().to_string()
}

fn differing(comparison: &Comparison) -> String {
    let mut text =
        String::from("cause\tcorpus\tattack\tlibmodsecurity\tits rules\tours\tour rules\trequest\n");
    for difference in &comparison.differences {
        let (Some(row), Some(said)) =
            (comparison.corpus.rows.get(difference.row), comparison.said.get(difference.row))
        else {
            continue;
        };
        let cause = difference.cause.map_or("not known", |cause| cause.name);
        let (theirs, ours) = (numbers(&said.peer_rules), numbers(&said.rules));
        let (source, is_attack, request) = (&row.source, row.is_attack, shown(&row.request));
        let (peer, alone) = (said.peer, said.alone_stops());
        let told = format!("{cause}\t{source}\t{is_attack}\t{peer}\t{theirs}\t{alone}\t{ours}\t{request}");
        line(&mut text, &told);
    }
    text
}

fn benign_blocks(comparison: &Comparison) -> String {
    told(comparison, |said, is_attack| !is_attack && said.together.word == Word::Block)
}

fn missed(comparison: &Comparison) -> String {
    told(comparison, |said, is_attack| is_attack && !said.peer && said.together.word != Word::Block)
}

fn told(comparison: &Comparison, is_told: impl Fn(&Said, bool) -> bool) -> String {
    let mut text =
        String::from("corpus\tword\treason\tscore\tmodel above doubt\trules\town rules\trequest\n");
    for (row, said) in comparison.corpus.rows.iter().zip(&comparison.said) {
        if is_told(said, row.is_attack) {
            let told = format!(
                "{}\t{:?}\t{}\t{}\t{:.2}\t{}\t{}\t{}",
                row.source,
                said.together.word,
                said.together.reason,
                said.score,
                f64::from(said.model) / 256.0,
                numbers(&said.rules),
                numbers(&said.own_rules),
                shown(&row.request)
            );
            line(&mut text, &told);
        }
    }
    text
}
