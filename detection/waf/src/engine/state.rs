// SPDX-License-Identifier: Apache-2.0
//! What is known of one request while rules run over it.

use std::collections::HashMap;
use std::sync::Arc;

use super::Moment;
use super::gather::Views;
use super::made::Made;
use super::texts::{EMPTY, NONE, TextId, Texts};
use crate::collections::{Collections, Key};
use crate::compile::{Exception, RuleSet};
use crate::seclang::ast::{BodyProcessor, EngineMode, Variable};

/// Names that rules make up while they run (`setvar:tx.x_%{MATCHED_VAR_NAME}`): at most so many.
const MADE_UP_MAX: usize = 4_096;
/// Findings that are kept; the rest is counted.
const FINDINGS_MAX: usize = 256;

/// A value that rules look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: TextId,
    pub(crate) value: TextId,
}

/// With the variable it is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) variable: Variable,
    pub(crate) name: TextId,
    pub(crate) value: TextId,
}

/// What stands in TX.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scalar {
    Number(i64),
    Text(TextId),
}

/// A collection that a rule began.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) collection: Variable,
    pub(crate) key: Key,
    /// Whether there was nothing in it.
    pub(crate) is_new: bool,
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its place in [`RuleSet::rules`].
    pub rule: u32,
    /// Where it matched: `ARGS:name`.
    pub target: String,
    /// What stood there, cut.
    pub value: Vec<u8>,
    /// Whether there was more of it.
    pub is_cut: bool,
    /// `msg`, its variables filled in.
    pub message: String,
    /// `logdata`, its variables filled in.
    pub data: String,
    /// Whether it matched, or one condition of its chain, in what no model of texts reads: a header but cookies, or the
    /// name or content of a file.
    pub is_outside_texts: bool,
}

/// What a rule wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// The place of the rule in [`RuleSet::rules`].
    pub rule: u32,
    /// How.
    pub kind: InterruptionKind,
}

/// How a request is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterruptionKind {
    /// With this status.
    Deny(u16),
    /// Without an answer.
    Drop,
    /// With a redirect.
    Redirect(u16, String),
}

/// Everything that one transaction knows. Its memory serves the next.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) texts: Texts,
    pub(crate) entries: Vec<Vec<Entry>>,
    pub(crate) slots: Vec<Option<Scalar>>,
    /// Of other collections, and of TX what was not known at start: `tx`, `ip` and a name.
    pub(crate) made_up: Vec<(Variable, TextId, Option<Scalar>)>,
    pub(crate) made_up_places: HashMap<(Variable, TextId), usize, foldhash::fast::RandomState>,
    /// What outlives requests. `None`: nothing does.
    pub(crate) collections: Option<Arc<Collections>>,
    /// The collections that were begun.
    pub(crate) begun: Vec<Begun>,
    pub(crate) now: Moment,
    /// The rule at hand.
    pub(crate) rule: u32,
    /// What the conditions of this chain matched.
    pub(crate) matched: Vec<Item>,
    pub(crate) matched_of: u32,
    pub(crate) last_matched: Option<Item>,
    pub(crate) views: Views,
    pub(crate) made: Made,
    pub(crate) removed: Vec<u64>,
    pub(crate) exceptions: Vec<Arc<Exception>>,
    /// What whoever asks rules does not want looked at, each with its number there,
    pub(crate) granted: Vec<(Arc<Exception>, u16)>,
    /// and those of them without which a condition would have held.
    pub(crate) used: Vec<u16>,
    pub(crate) items: Vec<Item>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) findings_more: usize,
    pub(crate) interruption: Option<Interruption>,
    /// The phase that it broke off, and where that goes on if nobody acts on it.
    pub(crate) broken_off: Option<(u8, usize)>,
    pub(crate) mode: EngineMode,
    pub(crate) processor: Option<BodyProcessor>,
    pub(crate) forces_request_body: bool,
    pub(crate) request_body: bool,
    pub(crate) response_body: bool,
    pub(crate) allowed: Option<u8>,
    pub(crate) highest_severity: u8,
    pub(crate) is_spent: bool,
    /// Whether statistics are kept of it.
    pub(crate) is_counted: bool,
    /// Whether the rule at hand got past the filter.
    pub(crate) has_looked: bool,
    pub(crate) has_too_many: bool,
    /// Bytes that operators looked at, a fixed share for each run on top.
    pub(crate) work: u64,
    /// How many shares of work the clock was last looked at.
    pub(crate) asked: u64,
    /// When the phase at hand began, by the budget's clock; `None` before that is of interest.
    pub(crate) begun_at: Option<u64>,
    /// What the phases before took.
    pub(crate) spent: u64,
}

impl State {
    pub(crate) fn new(rules: &RuleSet) -> Self {
        let mut state = Self {
            texts: Texts::default(),
            entries: vec![Vec::new(); Variable::ALL.len()],
            slots: Vec::new(),
            made_up: Vec::new(),
            made_up_places: HashMap::default(),
            collections: None,
            begun: Vec::new(),
            now: Moment::default(),
            rule: u32::MAX,
            matched: Vec::new(),
            matched_of: u32::MAX,
            last_matched: None,
            views: Views::default(),
            made: Made::default(),
            removed: Vec::new(),
            exceptions: Vec::new(),
            granted: Vec::new(),
            used: Vec::new(),
            items: Vec::new(),
            findings: Vec::new(),
            findings_more: 0,
            interruption: None,
            broken_off: None,
            mode: EngineMode::On,
            processor: None,
            forces_request_body: false,
            request_body: true,
            response_body: false,
            allowed: None,
            highest_severity: u8::MAX,
            is_spent: false,
            is_counted: true,
            has_looked: false,
            has_too_many: false,
            work: 0,
            asked: 0,
            begun_at: None,
            spent: 0,
        };
        state.begin(rules);
        state
    }

    /// Forgets the last request.
    pub(crate) fn begin(&mut self, rules: &RuleSet) {
        self.texts.clear();
        self.entries.iter_mut().for_each(Vec::clear);
        self.slots.clear();
        self.slots.resize(rules.slots.names.len(), None);
        self.made_up.clear();
        self.made_up_places.clear();
        self.begun.clear();
        self.now = Moment::default();
        self.rule = u32::MAX;
        self.matched.clear();
        self.matched_of = u32::MAX;
        self.last_matched = None;
        self.removed.clear();
        self.exceptions.clear();
        self.granted.clear();
        self.used.clear();
        self.findings.clear();
        self.findings_more = 0;
        self.interruption = None;
        self.broken_off = None;
        self.mode = rules.settings.mode;
        self.processor = None;
        self.forces_request_body = false;
        self.request_body = rules.settings.request_body;
        self.response_body = rules.settings.response_body;
        self.allowed = None;
        self.highest_severity = u8::MAX;
        self.is_spent = false;
        self.is_counted = true;
        self.has_too_many = false;
        self.work = 0;
        self.asked = 0;
        self.begun_at = None;
        self.spent = 0;
    }

    /// Adds a value to a variable.
    pub(crate) fn add(&mut self, variable: Variable, name: &[u8], value: &[u8]) {
        let (name, value) = (self.texts.intern(name), self.texts.intern(value));
        self.push(variable, Entry { name, value });
    }

    pub(crate) fn push(&mut self, variable: Variable, entry: Entry) {
        if let Some(entries) = self.entries.get_mut(variable as usize) {
            entries.push(entry);
        }
    }

    /// Gives a variable its one value.
    pub(crate) fn put(&mut self, variable: Variable, value: &[u8]) {
        let value = self.texts.intern(value);
        if let Some(entries) = self.entries.get_mut(variable as usize) {
            entries.clear();
            entries.push(Entry { name: NONE, value });
        }
    }

    pub(crate) fn put_number(&mut self, variable: Variable, number: usize) {
        let mut digits = [0; 20];
        self.put(variable, written(i64::try_from(number).unwrap_or(i64::MAX), &mut digits));
    }

    pub(crate) fn of(&self, variable: Variable) -> &[Entry] {
        self.entries.get(variable as usize).map_or(&[], Vec::as_slice)
    }

    /// A number is told as a text when somebody looks at it.
    pub(crate) fn text_of(&mut self, scalar: Scalar) -> TextId {
        match scalar {
            Scalar::Text(text) => text,
            Scalar::Number(number) => {
                let mut digits = [0; 20];
                let written = written(number, &mut digits);
                self.texts.intern(written)
            }
        }
    }

    pub(crate) fn number_of(&self, scalar: Scalar) -> i64 {
        match scalar {
            Scalar::Number(number) => number,
            Scalar::Text(text) => number(self.texts.get(text)),
        }
    }

    pub(crate) fn slot(&self, slot: u32) -> Option<Scalar> {
        self.slots.get(slot as usize).copied().flatten()
    }

    pub(crate) fn set_slot(&mut self, slot: u32, value: Option<Scalar>) {
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = value;
        }
    }

    /// Of a name that a rule made up.
    pub(crate) fn made_up(&self, collection: Variable, name: TextId) -> Option<Scalar> {
        let place = self.made_up_places.get(&(collection, name))?;
        self.made_up.get(*place).and_then(|(_, _, value)| *value)
    }

    pub(crate) fn set_made_up(&mut self, collection: Variable, name: TextId, value: Option<Scalar>) {
        match self.made_up_places.get(&(collection, name)) {
            Some(place) => {
                if let Some((_, _, known)) = self.made_up.get_mut(*place) {
                    *known = value;
                }
            }
            None if self.made_up.len() < MADE_UP_MAX => {
                self.made_up_places.insert((collection, name), self.made_up.len());
                self.made_up.push((collection, name, value));
            }
            None => self.is_spent = true,
        }
    }

    pub(crate) fn find(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_more += 1;
        }
    }

    /// Whether this stands where no model of texts reads.
    pub(crate) fn is_outside_texts(&self, item: Item) -> bool {
        use Variable::{
            AuthType, Files, FilesTmpContent, FullRequest, MultipartFilename, MultipartPartHeaders,
            RequestHeaders, RequestHeadersNames, RequestMethod, RequestProtocol, ServerName,
        };
        match item.variable {
            // How many there are says nothing of what stands in them: a missing `Referer` is no attack.
            Files | FilesTmpContent | MultipartFilename | MultipartPartHeaders | RequestHeaders
            | RequestHeadersNames
                if item.name == NONE =>
            {
                false
            }
            // Cookies are read, as cookies.
            RequestHeaders => !self.texts.get(item.name).eq_ignore_ascii_case(b"cookie"),
            AuthType | Files | FilesTmpContent | FullRequest | MultipartFilename | MultipartPartHeaders
            | RequestHeadersNames | RequestMethod | RequestProtocol | ServerName => true,
            _ => false,
        }
    }

    /// `ARGS:name`
    pub(crate) fn target(&self, item: Item) -> String {
        let variable = item.variable.as_str();
        let name = self.texts.get(item.name);
        if item.name == NONE || item.name == EMPTY && name.is_empty() && !is_collection(item.variable) {
            return variable.to_owned();
        }
        format!("{variable}:{}", String::from_utf8_lossy(name))
    }
}

const fn is_collection(variable: Variable) -> bool {
    matches!(variable, Variable::Args | Variable::ArgsGet | Variable::ArgsPost | Variable::RequestCookies)
}

/// Like C's `atoi`, but it stops at the largest number: leading space, a sign, digits; else 0.
pub(crate) fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (is_negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut number: i64 = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = number.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    if is_negative { -number } else { number }
}

/// A number in decimal.
pub(crate) fn written(number: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut left = number.unsigned_abs();
    let mut at = digits.len();
    loop {
        at -= 1;
        let digit = (left % 10) as u8;
        digits[at] = b'0' + digit;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}
