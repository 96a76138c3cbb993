// SPDX-License-Identifier: Apache-2.0
//! Rules at work on one request and its answer.

mod body;
mod effects;
mod evaluate;
mod excepted;
mod gather;
mod kept;
mod made;
mod moment;
mod request;
mod state;
pub mod statistics;
mod texts;

use std::sync::Arc;

use crate::collections::Collections;
use crate::compile::{RuleSet, Side};
use crate::seclang::ast::{EngineMode, Variable};
use evaluate::{Budget, Run};
use state::State;
use statistics::{Clock, Sampling};

pub use excepted::{TargetException, is_field, is_score_rule};
pub use moment::Moment;
pub use request::{Ends, RequestHead, ResponseHead};
pub(crate) use state::number;
pub use state::{Finding, Interruption, InterruptionKind};

/// One request and its answer, as rules see them. Phases run in order, each once: what is not there is empty.
pub struct Transaction {
    rules: Arc<RuleSet>,
    state: State,
    budget: Option<Budget>,
    clock: Option<Clock>,
    /// By that clock.
    begun: u64,
    sampling: Option<Sampling>,
    filters: bool,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("findings", &self.state.findings).finish_non_exhaustive()
    }
}

/// Rules that hold a score against its threshold, in the Core Rule Set and in the project's own.
const SCORE_RULES: [u64; 6] = [949_110, 949_111, 959_100, 959_101, 980_130, 7_390_110];

/// What rules say of a request, all in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What rules that matched add up to.
    pub score: i64,
    /// From where on that is too much.
    pub threshold: i64,
    /// Whether a rule wants the request stopped.
    pub is_interrupted: bool,
    /// Whether that rule only looked at the score. One that did not is the operator's own word.
    pub is_by_score: bool,
}

impl Transaction {
    /// For these rules.
    pub fn new(rules: Arc<RuleSet>) -> Self {
        let state = State::new(&rules);
        Self { rules, state, budget: None, clock: None, begun: 0, sampling: None, filters: true }
    }

    /// The next request, in the memory of the last.
    pub fn begin(&mut self, rules: &Arc<RuleSet>) {
        if !Arc::ptr_eq(&self.rules, rules) {
            self.rules = Arc::clone(rules);
        }
        self.state.begin(rules);
        self.budget = None;
        self.begun = self.clock.map_or(0, |clock| clock());
    }

    /// What outlives this transaction and those after it in its memory: collections that rules begin. Without it each
    /// lasts for one request.
    pub fn set_collections(&mut self, collections: &Arc<Collections>) {
        if !self.state.collections.as_ref().is_some_and(|known| Arc::ptr_eq(known, collections)) {
            self.state.collections = Some(Arc::clone(collections));
        }
    }

    /// When this request came; after [`Self::begin`].
    pub const fn set_moment(&mut self, now: Moment) {
        self.state.now = now;
    }

    /// So many nanoseconds by that clock rules may run, all phases together: from time to time (every 64 KiB of looking,
    /// changing and filtering) they ask it, stop when they have, and [`Self::is_spent`] says so. A phase over little text
    /// counts from when it asks first, so that most never do. Nothing is stopped half-way: what a budget may be overrun
    /// by is one operator, or one transformation and the filter, on one value.
    pub const fn set_budget(&mut self, clock: Clock, nanoseconds: u64) {
        self.budget = Some(Budget { clock, nanoseconds });
    }

    /// What the times of rules are measured with, of this transaction and those after it in its memory. Without it
    /// [`statistics`] know none.
    pub const fn set_clock(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// Counts nothing of this request: nobody sent it.
    pub const fn without_statistics(&mut self) {
        self.state.is_counted = false;
    }

    /// Lets every rule look at every value. For tests: the result must be the same.
    pub const fn without_filter(&mut self) {
        self.filters = false;
    }

    /// Another mode than that of the rules.
    pub const fn set_mode(&mut self, mode: EngineMode) {
        self.state.mode = mode;
    }

    /// The rules.
    pub const fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// What matched and is told, in order; bounded, see [`Self::findings_more`].
    pub fn findings(&self) -> &[Finding] {
        &self.state.findings
    }

    /// What request and answer consist of: arguments, cookies, fields, files, bodies, each by its variable and name.
    pub fn values(&self) -> impl Iterator<Item = (Variable, &[u8], &[u8])> {
        use Variable::{
            Args, ArgsGet, ArgsPost, FilesTmpContent, MultipartPartHeaders, RequestBody, RequestCookies,
            RequestHeaders, ResponseBody, ResponseHeaders, Xml,
        };
        const ALL: [Variable; 11] = [
            Args,
            ArgsGet,
            ArgsPost,
            FilesTmpContent,
            MultipartPartHeaders,
            RequestBody,
            RequestCookies,
            RequestHeaders,
            ResponseBody,
            ResponseHeaders,
            Xml,
        ];
        let texts = &self.state.texts;
        ALL.into_iter().flat_map(move |variable| {
            let entries = self.state.of(variable).iter();
            entries.map(move |entry| (variable, texts.get(entry.name), texts.get(entry.value)))
        })
    }

    /// Whether anything was found in what the request says: its path, arguments, cookies, body and files' names. What is
    /// odd in how it is sent is none of that.
    pub fn finds_in_texts(&self) -> bool {
        self.findings().iter().any(|finding| {
            let variable = finding.target.split(':').next().and_then(Variable::parse);
            variable.is_some_and(is_text)
        })
    }

    /// What rules add up to that matched where no model of texts reads: in headers but cookies, in names of files. Of
    /// those rules that are meant, by their tags; each adds what its severity is worth.
    pub fn score_outside_texts<'a>(
        &'a self,
        is_meant: impl Fn(&mut dyn Iterator<Item = &'a str>) -> bool,
    ) -> i64 {
        let outside = self.findings().iter().filter(|finding| finding.is_outside_texts);
        let rules = outside.filter_map(|finding| self.rules.rules.get(finding.rule as usize));
        let meant = rules.filter(|rule| is_meant(&mut rule.tags.iter().map(|tag| &**tag)));
        meant.fold(0, |sum, rule| sum.saturating_add(self.worth(rule.severity)))
    }

    /// As both rule sets set it, or as they do where nobody set it.
    fn worth(&self, severity: Option<u8>) -> i64 {
        let (name, default) = match severity {
            Some(0..=2) => ("critical_anomaly_score", 5),
            Some(3) => ("error_anomaly_score", 4),
            Some(4) => ("warning_anomaly_score", 3),
            Some(5) => ("notice_anomaly_score", 2),
            Some(6..) | None => return 0,
        };
        let slot = self.rules.slots.numbers.get(name.as_bytes());
        slot.and_then(|slot| self.state.slot(*slot)).map_or(default, |value| self.state.number_of(value))
    }

    /// Whether rules run, and are acted on, by `SecRuleEngine` and by rules that changed it for this request.
    pub const fn mode(&self) -> EngineMode {
        self.state.mode
    }

    /// Findings that were only counted.
    pub const fn findings_more(&self) -> usize {
        self.state.findings_more
    }

    /// What a rule wants done with the request. Later phases but the last do nothing then, unless it is forgiven.
    pub const fn interruption(&self) -> Option<&Interruption> {
        self.state.interruption.as_ref()
    }

    /// Nobody acts on what interrupted the request: the rest of that phase runs, and those after it will. What was found
    /// and added up stays. What interrupts now, if another rule of the rest does; no rule does it twice in a phase.
    pub fn forgive(&mut self) -> Option<&Interruption> {
        self.state.interruption.take()?;
        let (phase, from) = self.state.broken_off.take()?;
        self.run(phase, from)
    }

    /// Whether rules were stopped before they had seen everything, by the budget or by a bound of memory.
    pub const fn is_spent(&self) -> bool {
        self.state.is_spent || self.state.texts.is_full()
    }

    /// Whether the request has more arguments, parts or leaves than are read.
    pub const fn has_too_many_arguments(&self) -> bool {
        self.state.has_too_many
    }

    /// A number of TX, such as a score. 0 when there is none.
    pub fn score(&self, name: &str) -> i64 {
        let slot = self.rules.slots.numbers.get(name.to_ascii_lowercase().as_bytes());
        slot.and_then(|slot| self.state.slot(*slot)).map_or(0, |value| self.state.number_of(value))
    }

    /// What the rules say of the request, all in all.
    pub fn outcome(&self) -> Outcome {
        let interruption = self.state.interruption.as_ref();
        let rule = interruption.and_then(|interruption| self.rules.rules.get(interruption.rule as usize));
        Outcome {
            score: self.score("blocking_inbound_anomaly_score").max(self.score("anomaly_score")),
            threshold: self.score("inbound_anomaly_score_threshold"),
            is_interrupted: rule.is_some(),
            is_by_score: rule.is_some_and(|rule| SCORE_RULES.contains(&rule.id)),
        }
    }

    fn phase(&mut self, phase: u8) -> Option<&Interruption> {
        if phase == 1 {
            let counted = self.state.is_counted;
            self.sampling = if counted { self.rules.statistics.begin(self.clock) } else { None };
        }
        if self.rules.reads(Variable::Duration) {
            let now = self.clock.map_or(0, |clock| clock());
            let microseconds = now.saturating_sub(self.begun) / 1_000;
            self.state.put_number(Variable::Duration, usize::try_from(microseconds).unwrap_or(usize::MAX));
        }
        self.run(phase, 0)
    }

    fn run(&mut self, phase: u8, from: usize) -> Option<&Interruption> {
        let run = Run {
            rules: &self.rules,
            side: Side::of(phase),
            budget: self.budget,
            sampling: self.sampling,
            filters: self.filters,
        };
        self.state.begin_to_spend(run);
        self.state.phase(run, phase, from);
        self.state.end_spending(run);
        self.state.interruption.as_ref()
    }
}

const fn is_text(variable: Variable) -> bool {
    use Variable::{
        Args, ArgsGet, ArgsGetNames, ArgsNames, ArgsPost, ArgsPostNames, Files, FilesNames, MatchedVar,
        MatchedVars, MultipartFilename, MultipartName, QueryString, RequestBasename, RequestBody,
        RequestCookies, RequestCookiesNames, RequestFilename, RequestUri, RequestUriRaw, Xml,
    };
    matches!(
        variable,
        Args | ArgsNames
            | ArgsGet
            | ArgsGetNames
            | ArgsPost
            | ArgsPostNames
            | RequestCookies
            | RequestCookiesNames
            | RequestUri
            | RequestUriRaw
            | RequestFilename
            | RequestBasename
            | QueryString
            | RequestBody
            | Files
            | FilesNames
            | MultipartFilename
            | MultipartName
            | Xml
            | MatchedVar
            | MatchedVars
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::statistics::tests::Text;
    use super::*;
    use crate::seclang::load;

    static ASKED: AtomicU64 = AtomicU64::new(0);

    fn ticks() -> u64 {
        ASKED.fetch_add(1, Ordering::Relaxed)
    }

    #[test]
    fn rules_stop_when_their_time_is_over_and_over_little_text_ask_no_clock() {
        let text = Text(
            "SecRule ARGS \"@rx a.b\" \"id:1,phase:1,pass,log\"\nSecRule ARGS \"@rx a.c\" \"id:2,phase:1,pass,log\"\n",
        );
        let rules = Arc::new(RuleSet::new(&load(&text, &["x.conf"]).unwrap(), &text).unwrap());
        let mut transaction = Transaction::new(Arc::clone(&rules));
        let long = format!("/?x={}aabaac", "a".repeat(70_000));
        for (name, target, nanoseconds, asked, is_spent, findings) in [
            ("little text", "/?x=aabaac", 0, 0, false, 2),
            ("time enough", long.as_str(), 100, 5, false, 2),
            ("no time", long.as_str(), 0, 3, true, 0),
        ] {
            ASKED.store(0, Ordering::Relaxed);
            transaction.begin(&rules);
            transaction.set_budget(ticks, nanoseconds);
            let (target, headers) = (target.as_bytes(), &[]);
            let head = RequestHead { method: b"GET", target, protocol: b"", headers, id: "1" };
            transaction.request_head(&head);
            assert_eq!(ASKED.load(Ordering::Relaxed), asked, "{name}");
            assert_eq!(
                (transaction.is_spent(), transaction.findings().len()),
                (is_spent, findings),
                "{name}"
            );
        }
    }
}
