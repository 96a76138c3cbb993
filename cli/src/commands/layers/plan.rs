// SPDX-License-Identifier: Apache-2.0
//! `sunbeam enforce --plan`

use serde::Deserialize;

use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::commands::blocks::print_json;
use crate::exit::{CliError, ExitCode};
use crate::output::{Printer, escape};

/// `GET /api/v1/layers/plan`
#[derive(Debug, Deserialize)]
struct Plan {
    budget: f64,
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
struct Layer {
    layer: String,
    mode: String,
    acts_on_doubt: bool,
    routes: Vec<Route>,
    proof: Option<Proof>,
    doubted: Option<Doubted>,
}

#[derive(Debug, Deserialize)]
struct Route {
    route: String,
    mode: String,
}

#[derive(Debug, Deserialize)]
struct Proof {
    state: String,
    known: Count,
    solvers: Count,
    rate: Rate,
    people_missing: u64,
    newcomers: u64,
}

#[derive(Debug, Deserialize)]
struct Count {
    people: u64,
    hurt: u64,
}

#[derive(Debug, Deserialize)]
struct Rate {
    lower: f64,
    seen: f64,
    upper: f64,
}

#[derive(Debug, Deserialize)]
struct Doubted {
    kept: u64,
    requests: u64,
    is_cut: bool,
    look_human: Vec<Human>,
}

#[derive(Debug, Deserialize)]
struct Human {
    id: String,
    client: String,
    method: String,
    host: String,
    path: String,
    reason: String,
    decision: String,
    because: String,
}

pub(super) fn show(global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let answer = Client::connect(global)?.get("/api/v1/layers/plan")?;
    let printer = global.printer();
    if printer.is_json() {
        print_json(global, &answer, "layers")?;
        return Ok(ExitCode::Done);
    }
    let plan: Plan = typed(&answer)?;
    let rows: Vec<Vec<String>> = plan.layers.iter().map(row).collect();
    printer.table(&["LAYER", "MODE", "DOUBTS", "DOUBTED", "PEOPLE", "HURT", "RATE (95 %)"], &rows)?;
    for layer in &plan.layers {
        for route in &layer.routes {
            printer.line(format!("{}@{} is in mode {}", layer.layer, escape(&route.route), route.mode))?;
        }
    }
    for layer in &plan.layers {
        case(printer, layer, plan.budget)?;
    }
    Ok(ExitCode::Done)
}

fn row(layer: &Layer) -> Vec<String> {
    let doubts = match (&layer.proof, layer.acts_on_doubt) {
        (None, _) => "never",
        (Some(_), true) => "blocked",
        (Some(_), false) => "watched",
    };
    let doubted = layer.doubted.as_ref().map_or_else(
        || "-".to_owned(),
        |doubted| format!("{}{}", doubted.requests, if doubted.is_cut { "+" } else { "" }),
    );
    let mut row = vec![layer.layer.clone(), layer.mode.clone(), doubts.to_owned(), doubted];
    match &layer.proof {
        Some(proof) => row.extend([
            (proof.known.people + proof.solvers.people).to_string(),
            (proof.known.hurt + proof.solvers.hurt).to_string(),
            rate(&proof.rate),
        ]),
        None => row.extend(["-", "-", "-"].map(str::to_owned)),
    }
    row
}

fn rate(rate: &Rate) -> String {
    let percent = |share: f64| format!("{:.3}", share * 100.0);
    format!("{} % ({} to {})", percent(rate.seen), percent(rate.lower), percent(rate.upper))
}

fn case(printer: Printer, layer: &Layer, budget: f64) -> Result<(), CliError> {
    let Some(proof) = &layer.proof else { return Ok(()) };
    let may = budget * 100.0;
    let name = &layer.layer;
    let sentence = match proof.state.as_str() {
        "proven" => format!(
            "{name}: proven: at most {:.3} % of people are hurt, {may} % may be",
            proof.rate.upper * 100.0
        ),
        "over_budget" => format!(
            "{name}: hurts too many: up to {:.3} % of people, {may} % may be; `sunbeam allow` mends what is wrong, and it \
             takes {} more people without a hit",
            proof.rate.upper * 100.0,
            proof.people_missing
        ),
        _ => format!(
            "{name}: not proven yet: it takes {} more people whom it does not doubt (known by their log-in, or by a \
             challenge, and back on another day); {} came on one day only so far",
            proof.people_missing, proof.newcomers
        ),
    };
    printer.line(sentence)?;
    let Some(doubted) = &layer.doubted else { return Ok(()) };
    if doubted.look_human.is_empty() && doubted.kept > 0 {
        printer.line(format!("  of {} doubted requests that are kept none looks human", doubted.kept))?;
    }
    for human in &doubted.look_human {
        printer.line(format!(
            "  {} {} {} {}{} from {}: {}; {}",
            escape(&human.id),
            escape(&human.decision),
            escape(&human.method),
            escape(&human.host),
            escape(&human.path),
            escape(&human.client),
            escape(&human.reason),
            escape(&human.because)
        ))?;
    }
    Ok(())
}
