// SPDX-License-Identifier: Apache-2.0
//! Whether a decision looks like a mistake: what speaks for it and what against, from what is independent of the layer
//! that decided. Nobody acts on it by itself; a person reads it.

use std::collections::HashSet;

use serde::Serialize;

use super::kept::{Glimpse, Kept};

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Looks {
    /// More speaks for a person than for an attack.
    LikeAMistake,
    /// Neither says much.
    Unclear,
    /// More speaks for an attack.
    LikeAnAttack,
}

/// What was found, and why.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Suspicion {
    pub(crate) looks: Looks,
    /// One sentence each.
    pub(crate) because: Vec<String>,
}

/// Decisions like one: the same layer for the same reason on the same route.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LikeIt {
    /// How many are kept, the one itself among them.
    pub(crate) decisions: usize,
    /// Different clients among them.
    pub(crate) clients: usize,
    /// Those whom the site knows.
    pub(crate) authenticated: usize,
    /// There are more than were looked at.
    pub(crate) is_cut: bool,
}

impl LikeIt {
    pub(crate) fn of<'a>(decisions: impl Iterator<Item = Glimpse<'a>>, is_cut: bool) -> Self {
        let (mut found, mut clients, mut known) = (0, HashSet::new(), HashSet::new());
        for decision in decisions {
            found += 1;
            if decision.why.authenticated {
                known.insert(decision.client_ip.clone());
            }
            clients.insert(decision.client_ip);
        }
        Self { decisions: found, clients: clients.len(), authenticated: known.len(), is_cut }
    }
}

/// Half of a threshold: a score below says that its model sees nothing.
const LOW: u16 = 200;
const DOUBT: u16 = 500;

impl Suspicion {
    /// `same_client`: other decisions about this client.
    pub(crate) fn of(kept: &Kept, like_it: &LikeIt, same_client: &[Kept]) -> Self {
        let (mut balance, mut because) = (0_i32, Vec::new());
        let mut weigh = |weight: i32, sentence: String| {
            balance += weight;
            because.push(sentence);
        };
        let scores = &kept.record.scores;
        if kept.why.authenticated {
            weigh(3, "the site knows who asks: the session or token is one that it answers to".to_owned());
        }
        if like_it.authenticated >= 3 {
            weigh(
                2,
                format!("{} clients whom the site knows met the same on this route", like_it.authenticated),
            );
        }
        // How many others met the same says nothing: a scan from many addresses looks like that, too.
        let is_content = matches!(kept.record.layer.as_str(), "scanner" | "waf");
        if let Some(payload) = scores.payload.filter(|_| is_content) {
            if payload.0 < LOW {
                weigh(
                    1,
                    format!(
                        "the model of texts sees nothing in it ({:.3}; doubt begins at 0.5)",
                        share(payload.0)
                    ),
                );
            } else if payload.0 >= DOUBT {
                weigh(-2, format!("the model of texts sees an attack in it ({:.3})", share(payload.0)));
            }
        }
        if kept.why.has_sign() {
            weigh(-2, "a text in it has a sign of an attack that no model has to say".to_owned());
        }
        let rules: HashSet<u64> = kept.why.rules.iter().map(|found| found.rule).collect();
        if rules.len() >= 5 {
            weigh(-1, format!("{} rules matched", rules.len()));
        }
        // Where that of texts sees an attack, it told the model of path and headers.
        let is_doubted = scores.payload.is_some_and(|score| score.0 >= DOUBT);
        let is_told_apart = kept.record.layer == "waf" && !is_doubted;
        if let Some(scanner) = scores.scanner.filter(|score| score.0 >= DOUBT && is_told_apart) {
            weigh(-1, format!("its path and headers are a scanner's as well ({:.3})", share(scanner.0)));
        }
        let others: HashSet<&str> = same_client
            .iter()
            .filter(|other| other.record.request_id != kept.record.request_id)
            .map(|other| other.record.path.as_str())
            .collect();
        if others.len() >= 5 {
            weigh(-2, format!("this client met something on {} other paths, too", others.len()));
        }
        let looks = match balance {
            2.. => Looks::LikeAMistake,
            ..=-2 => Looks::LikeAnAttack,
            _ => Looks::Unclear,
        };
        Self { looks, because }
    }
}

fn share(thousandths: u16) -> f64 {
    f64::from(thousandths) / 1000.0
}
