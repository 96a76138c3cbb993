// SPDX-License-Identifier: Apache-2.0
//! `sunbeam why`

use std::net::IpAddr;

use clap::ValueEnum;
use serde_json::json;

use super::Run;
use super::block::print_change;
use super::explain::{features, rules, scores};
use crate::api::{Decision, DecisionTold, Decisions, Suspicion};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, duration, escape};

/// Show why a request was blocked, or what a client met
///
/// The id is on the block page and in the `X-Request-Id` of every answer; its first eight digits will do. Shown are the
/// layer and its reason, the scores, the rules with what they found, the features that weighed most, and whether it looks
/// like a mistake. With an address: what is kept about it, newest first.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Why {
    /// The id of a request, or an address
    #[arg(value_name = "ID|IP", value_parser = meant)]
    what: What,
    /// Say what it was: it goes into the training data, and counts as evidence
    #[arg(long, value_name = "human|attack", hide_possible_values = true)]
    label: Option<Label>,
    /// Decisions about an address that are shown
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// What a request was, by somebody who knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Label {
    Human,
    Attack,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Id(String),
    Address(IpAddr),
}

fn meant(text: &str) -> Result<What, String> {
    if let Ok(address) = text.parse() {
        return Ok(What::Address(address));
    }
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let is_id = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_id && (8..=32).contains(&digits) {
        return Ok(What::Id(text.to_ascii_lowercase()));
    }
    Err("an id has eight hexadecimal digits at least, as on the block page; an address is written in full"
        .to_owned())
}

impl Run for Why {
    const NAME: &'static str = "why";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let client = Client::connect(global)?;
        let printer = global.printer();
        match (&self.what, self.label) {
            (What::Id(id), Some(label)) => {
                let label = if label == Label::Human { "human" } else { "attack" };
                let answer =
                    client.post_json(&format!("/api/v1/decisions/{id}/label"), &json!({"label": label}))?;
                print_change(printer, &answer, false)
            }
            (What::Address(_), Some(_)) => Err(CliError::usage("a label is for one request: name its id")),
            (What::Id(id), None) => {
                let answer = client.get(&format!("/api/v1/decisions/{id}"))?;
                if printer.is_json() {
                    printer.json(&answer)?;
                } else {
                    print(printer, &typed(&answer)?)?;
                }
                Ok(ExitCode::Done)
            }
            (What::Address(address), None) => {
                let answer = client.get(&format!("/api/v1/decisions?ip={address}&limit={}", self.limit))?;
                if printer.is_json() {
                    printer.json(&answer)?;
                    return Ok(ExitCode::Done);
                }
                list(printer, &typed(&answer)?)
            }
        }
    }
}

fn print(printer: Printer, told: &DecisionTold) -> Result<(), CliError> {
    let decision = &told.decision;
    printer.pairs(&about(printer, decision))?;
    let why = &decision.why;
    if let Some(found) = why.rules.as_ref().filter(|found| !found.is_empty()) {
        printer.line("")?;
        printer.table(&["RULE", "SAYS", "OF", "WHICH IS", "STANDS IN"], &rules(found))?;
    }
    if let Some(models) = &why.models {
        for (heading, listed) in [
            ("FEATURE OF THE CLIENT", why.window.as_deref()),
            ("FEATURE OF THE REQUEST", Some(&*models.scanner.features)),
        ] {
            let heaviest = heaviest(listed.unwrap_or_default());
            if !heaviest.is_empty() {
                printer.line("")?;
                printer.table(&[heading, "VALUE", "WEIGHS"], &features(&heaviest))?;
            }
        }
        printer.line("")?;
        printer.pairs(&scores(models))?;
    }
    printer.line("")?;
    printer.line(looks(printer, &told.suspicion))?;
    for sentence in &told.suspicion.because {
        printer.line(format_args!("  · {}", escape(sentence)))?;
    }
    let like_it = &told.like_it;
    printer.line(format_args!(
        "  · {}{} like it {} kept, of {} {}, {} of whom the site knows",
        if like_it.is_cut { "more than " } else { "" },
        like_it.decisions,
        if like_it.decisions == 1 { "is" } else { "are" },
        like_it.clients,
        if like_it.clients == 1 { "client" } else { "clients" },
        like_it.authenticated,
    ))?;
    if let Some(remedy) = &told.remedy {
        printer.line("")?;
        printer.pairs(&[("to let it pass", escape(remedy)), ("which means", escape(&told.remedy_means))])?;
    } else if decision.decision != "pass" && !told.remedy_means.is_empty() {
        printer.line("")?;
        printer.pairs(&[("no exception", escape(&told.remedy_means))])?;
    }
    Ok(())
}

/// What adds or takes most, five of them.
fn heaviest(listed: &[crate::api::ExplainedFeature]) -> Vec<crate::api::ExplainedFeature> {
    const SHOWN: usize = 5;
    let mut sorted: Vec<_> = listed.iter().filter(|feature| feature.share.abs() >= 0.005).cloned().collect();
    sorted.sort_by(|one, other| other.share.abs().total_cmp(&one.share.abs()));
    sorted.truncate(SHOWN);
    sorted
}

fn about(printer: Printer, decision: &Decision) -> Vec<(&'static str, String)> {
    let query = if decision.query.is_empty() { String::new() } else { format!("?{}", decision.query) };
    let known = if decision.why.authenticated { ", known to the site" } else { "" };
    let mut pairs = vec![
        ("request", escape(&format!("{} {}{}{query}", decision.method, decision.host, decision.path))),
        ("id", escape(&decision.request_id)),
        ("at", escape(&decision.timestamp)),
        ("client", format!("{} ({}{known})", escape(&decision.client_ip), escape(&decision.identity_kind))),
        ("agent", escape(&decision.user_agent)),
        ("route", escape(&decision.route)),
        ("decision", verdict(printer, decision)),
    ];
    let is_judged = !matches!(decision.layer.as_str(), "protocol" | "limits" | "challenge");
    if let Some(error) = decision.error.as_ref().filter(|_| !is_judged) {
        pairs.push(("because", escape(error)));
    }
    if decision.why.stands_for > 1 {
        pairs.push((
            "stands for",
            format!("{} requests like it, which were not all kept", decision.why.stands_for),
        ));
    }
    if let Some(secs) = decision.why.banned_secs {
        pairs.push(("blocked for", duration(secs)));
    }
    pairs
}

fn verdict(printer: Printer, decision: &Decision) -> String {
    let (word, colour) = match decision.decision.as_str() {
        "block" => ("✗ blocked", Colour::Red),
        "observe" => ("? would be blocked", Colour::Yellow),
        "challenge" => ("? challenged", Colour::Yellow),
        _ => ("✓ passed", Colour::Green),
    };
    let mut text = printer.paint(colour, word);
    if !decision.layer.is_empty() {
        text.push_str(&format!(" by {}: {}", escape(&decision.layer), escape(&decision.reason)));
    }
    format!("{text} (answered {})", decision.status)
}

fn looks(printer: Printer, suspicion: &Suspicion) -> String {
    match suspicion.looks.as_str() {
        "like_a_mistake" => printer.paint(Colour::Yellow, "it looks like a mistake:"),
        "like_an_attack" => printer.paint(Colour::Red, "it looks like an attack:"),
        _ => "it is not clear whether it is a mistake:".to_owned(),
    }
}

fn list(printer: Printer, found: &Decisions) -> Result<ExitCode, CliError> {
    if found.decisions.is_empty() {
        printer.line("nothing is kept about it")?;
        return Ok(ExitCode::Findings);
    }
    let row = |decision: &Decision| {
        vec![
            escape(&decision.timestamp),
            verdict(printer, decision),
            escape(&format!("{} {}{}", decision.method, decision.host, decision.path)),
            decision.rules.iter().take(4).map(ToString::to_string).collect::<Vec<_>>().join(" "),
            escape(&decision.request_id),
        ]
    };
    let rows: Vec<Vec<String>> = found.decisions.iter().map(row).collect();
    printer.table(&["AT", "DECISION", "REQUEST", "RULES", "ID"], &rows)?;
    if found.next.is_some() {
        printer.line("there are more: `--limit`")?;
    }
    Ok(ExitCode::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_or_an_address_is_meant() {
        let id = "0B5C3D7E-1111-4222-8333-444455556666";
        assert_eq!(meant(id), Ok(What::Id(id.to_lowercase())));
        assert_eq!(meant("0b5c3d7e"), Ok(What::Id("0b5c3d7e".to_owned())));
        assert_eq!(meant("2001:db8::1"), Ok(What::Address("2001:db8::1".parse().unwrap())));
        for wrong in ["", "0b5c3d7", "hello", "0b5c3d7e/..", "192.0.2.0/24"] {
            assert!(meant(wrong).is_err(), "{wrong}");
        }
    }
}
