// SPDX-License-Identifier: Apache-2.0
//! What rules become: everything that has a name has a number.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::statistics::Statistics;
use crate::filter::index::Index;
use crate::operators::rx::Expression;
use crate::operators::{Operator, OperatorKind};
use crate::seclang::ast::{Allow, BodyProcessor, EngineMode, Span, Template, Variable};
use crate::transformations::{self, Transformation};

/// Phases: request headers, request body, response headers, response body, logging.
pub const PHASES: usize = 5;

/// Rules, ready to run.
#[derive(Debug)]
pub struct RuleSet {
    pub(crate) rules: Vec<Rule>,
    /// The rules of each phase, in order.
    pub(crate) phases: [Vec<u32>; PHASES],
    /// Of each of them what its first condition asks of the filter: most rules are done with that, and need not be
    /// fetched from memory.
    pub(crate) gates: [Vec<Gate>; PHASES],
    pub(crate) sources: Vec<Source>,
    pub(crate) feeds: Vec<Feed>,
    /// How many pairs of a source and a node feeds have.
    pub(crate) forms: usize,
    pub(crate) nodes: Vec<Node>,
    pub(crate) matchers: Vec<Box<dyn Operator>>,
    /// Of requests and of answers.
    pub(crate) indexes: [Index; 2],
    pub(crate) slots: Slots,
    pub(crate) settings: EngineSettings,
    pub(crate) transformations: transformations::Settings,
    /// What loaded and does not do all that it says.
    pub(crate) warnings: Vec<(Span, String)>,
    pub(crate) statistics: Statistics,
    /// The variables that any rule reads, as a set of bits.
    pub(crate) read: u128,
    /// Those on disk that they come from.
    pub(crate) files: Vec<PathBuf>,
}

const _: () = assert!(Variable::ALL.len() <= 128, "a set of variables has 128 bits");

impl RuleSet {
    /// Whether any rule looks at a variable, or tells it.
    pub(crate) const fn reads(&self, variable: Variable) -> bool {
        self.read & variable.bit() != 0
    }

    pub(crate) const fn index(&self, side: Side) -> &Index {
        &self.indexes[side as usize]
    }
}

/// What rules look at: most words are those that errors in answers are known by, and no request is to pay for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request = 0,
    Response = 1,
}

impl Side {
    pub(crate) const fn of(phase: u8) -> Self {
        if phase <= 2 { Self::Request } else { Self::Response }
    }
}

/// A rule with its chain.
#[derive(Debug)]
pub struct Rule {
    /// Its number in the files.
    pub id: u64,
    /// 1 to 5.
    pub phase: u8,
    /// Where it stands, with its chain.
    pub span: Span,
    /// `msg`, as written.
    pub msg: Template,
    pub(crate) msg_pieces: Pieces,
    pub(crate) logdata: Pieces,
    /// `tag`
    pub tags: Vec<Arc<str>>,
    /// `ver`
    pub version: String,
    /// `rev`
    pub revision: String,
    /// `severity`: 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// Whether a match is told.
    pub logs: bool,
    pub(crate) links: Vec<Link>,
    /// One condition, and nobody asks what it matched.
    pub(crate) is_plain: bool,
    pub(crate) disruption: Disruption,
    /// After a match: to this place of the phase.
    pub(crate) jump: Option<u32>,
    /// After a match: past so many rules.
    pub(crate) skip: u32,
}

/// What a rule does to the request when it matches.
#[derive(Debug, Clone)]
pub(crate) enum Disruption {
    Pass,
    Deny { status: u16 },
    Drop,
    Allow(Allow),
    Redirect { status: u16, to: Pieces },
}

/// What must name an operator, or a rule cannot match: as in [`Link`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    pub(crate) feed: Option<u32>,
    pub(crate) place: u32,
}

/// One condition of a rule.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) targets: Vec<LinkTarget>,
    pub(crate) exclusions: Vec<Except>,
    /// After the last transformation.
    pub(crate) node: u32,
    /// With `multiMatch`: every step, the untransformed value first.
    pub(crate) steps: Vec<u32>,
    /// The name of its operator; empty where there is none.
    pub(crate) operator: &'static str,
    pub(crate) test: Test,
    /// It must name the operator, or nothing can match. `None`: nothing is known.
    pub(crate) feed: Option<u32>,
    /// By this number: that of the operator in the filter's index.
    pub(crate) place: u32,
    pub(crate) captures: bool,
    pub(crate) on_match: Vec<Deed>,
    pub(crate) effects: Vec<Effect>,
}

impl Rule {
    /// Whether it has several conditions.
    pub const fn is_chain(&self) -> bool {
        self.links.len() > 1
    }

    /// Whether nothing that is done asks what was matched.
    pub(crate) fn is_plain(&self) -> bool {
        let asks = |pieces: &Pieces| pieces.iter().any(|piece| !matches!(piece, PieceOf::Text(_)));
        let [link] = self.links.as_slice() else { return false };
        let is_plain = |deed: &Deed| {
            let Deed::Set(SetVariable { name: Name::Slot(_), change, .. }) = deed else { return false };
            match change {
                Changed::Text(pieces)
                | Changed::Add(Amount::Text(pieces))
                | Changed::Subtract(Amount::Text(pieces)) => !asks(pieces),
                _ => true,
            }
        };
        !self.logs && !link.captures && link.on_match.iter().all(is_plain)
    }

    /// Whether it does nothing but jump.
    pub(crate) fn only_jumps(&self) -> bool {
        let is_idle = |link: &Link| link.on_match.is_empty() && link.effects.is_empty() && !link.captures;
        !self.logs
            && self.severity.is_none()
            && matches!(self.disruption, Disruption::Pass)
            && self.links.iter().all(is_idle)
    }
}

impl Link {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            targets: Vec::new(),
            exclusions: Vec::new(),
            node: 0,
            steps: Vec::new(),
            operator: "",
            test: Test::Always,
            feed: None,
            place: u32::MAX,
            captures: false,
            on_match: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// The variables that it sets.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &SetVariable> {
        self.on_match.iter().filter_map(|deed| if let Deed::Set(set) = deed { Some(set) } else { None })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkTarget {
    Values(u32),
    Count(u32),
}

/// How a condition looks at a value.
#[derive(Debug)]
pub(crate) enum Test {
    /// `SecAction`
    Always,
    /// By an operator that is ready.
    Fixed { matcher: u32, is_negated: bool },
    /// By a number against a number.
    Compared { comparison: Comparison, with: Number, is_negated: bool },
    /// By an operator whose argument is another each time.
    Templated { kind: &'static OperatorKind, argument: Pieces, is_negated: bool },
}

/// What a number is compared with.
#[derive(Debug)]
pub(crate) enum Number {
    Fixed(i64),
    Templated(Pieces),
}

/// `@eq` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Self::Equal,
            "gt" => Self::Greater,
            "ge" => Self::GreaterOrEqual,
            "lt" => Self::Less,
            "le" => Self::LessOrEqual,
            _ => return None,
        })
    }

    pub(crate) const fn holds(self, value: i64, with: i64) -> bool {
        match self {
            Self::Equal => value == with,
            Self::Greater => value > with,
            Self::GreaterOrEqual => value >= with,
            Self::Less => value < with,
            Self::LessOrEqual => value <= with,
        }
    }
}

/// Values that rules look at: a variable, or what a selector takes of it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) variable: Variable,
    pub(crate) picks: Picks,
    /// Of TX: the numbers of those names that it picks. Not where it picks one by its number.
    pub(crate) slots: Box<[u32]>,
}

/// What is not looked at.
#[derive(Debug, Clone)]
pub(crate) struct Except {
    pub(crate) variable: Variable,
    pub(crate) picks: Picks,
}

/// What some rules do not look at.
#[derive(Debug)]
pub(crate) struct Exception {
    /// As a set of bits.
    pub(crate) rules: Box<[u64]>,
    pub(crate) except: Except,
}

/// Which of a collection.
#[derive(Debug, Clone)]
pub(crate) enum Picks {
    All,
    /// In lower case.
    Named(Box<[u8]>),
    /// Of TX: by its number.
    Slot(u32),
    /// Those that begin so, in lower case: an expression that says nothing else.
    Beginning(Box<[u8]>),
    Matching(Arc<Expression>),
}

impl Picks {
    /// Whether a name is meant.
    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Named(wanted) => wanted.eq_ignore_ascii_case(name),
            Self::Slot(_) => false,
            Self::Beginning(prefix) => {
                name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            }
            Self::Matching(expression) => expression.is_match(name),
        }
    }
}

/// What an operator looks at, all in all: these sources in order, each in each of these forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Feed {
    pub(crate) sources: Box<[u32]>,
    pub(crate) nodes: Box<[u32]>,
    /// Numbers of a source in a form, which feeds have in common: for each source as many as there are nodes.
    pub(crate) forms: Box<[u32]>,
}

impl Feed {
    /// Sources with their forms.
    pub(crate) fn by_source(&self) -> impl Iterator<Item = (u32, &[u32])> {
        self.sources.iter().copied().zip(self.forms.chunks_exact(self.nodes.len().max(1)))
    }
}

/// A step of a chain of transformations. The first is none.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) parent: u32,
    pub(crate) step: Option<&'static Transformation>,
    /// The node of this step alone: what it makes of a text is the same, whatever was before.
    pub(crate) alone: u32,
    /// A value without any of these is as it was after all steps up to this one. `None`: it may be another.
    pub(crate) changes: Option<crate::byte_set::ByteSet>,
}

/// Names of TX and their numbers.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pub(crate) names: Vec<Box<[u8]>>,
    pub(crate) numbers: std::collections::HashMap<Box<[u8]>, u32>,
}

impl Slots {
    /// The number of a name, in whatever case; a new one for a new name.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        let name: Box<[u8]> = name.to_ascii_lowercase().into_bytes().into();
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}

/// A text with variables in it.
pub(crate) type Pieces = Box<[PieceOf]>;

/// A piece of it.
#[derive(Debug, Clone)]
pub(crate) enum PieceOf {
    Text(Box<[u8]>),
    Slot(u32),
    Variable(Variable, Option<Box<[u8]>>),
}

/// What a condition does as soon as it holds, in the order of its actions.
#[derive(Debug)]
pub(crate) enum Deed {
    /// `setvar`
    Set(SetVariable),
    /// `initcol`, `setsid`, `setuid`, `setrsc`: a collection begins; its key, and the variable that tells it.
    Begin { collection: Variable, key: Pieces, told: Option<Variable> },
    /// `expirevar`
    Expire { collection: Variable, name: Pieces, after: Amount },
    /// `deprecatevar`
    Deprecate { collection: Variable, name: Pieces, by: i64, every: i64 },
    /// `setenv`
    Environment { name: Pieces, value: Pieces },
}

/// `setvar`
#[derive(Debug)]
pub(crate) struct SetVariable {
    pub(crate) collection: Variable,
    pub(crate) name: Name,
    pub(crate) change: Changed,
}

/// Of a variable that is set.
#[derive(Debug)]
pub(crate) enum Name {
    Slot(u32),
    Templated(Pieces),
}

/// What becomes of it.
#[derive(Debug)]
pub(crate) enum Changed {
    Number(i64),
    Text(Pieces),
    Add(Amount),
    Subtract(Amount),
    Remove,
}

/// By how much.
#[derive(Debug)]
pub(crate) enum Amount {
    Number(i64),
    Slot(u32),
    Text(Pieces),
}

/// What a rule does once it has matched as a whole.
#[derive(Debug)]
pub(crate) enum Effect {
    Engine(EngineMode),
    /// Rules as a set of bits.
    RemoveRules(Box<[u64]>),
    RemoveTarget(Arc<Exception>),
    Processor(BodyProcessor),
    ForceRequestBody(bool),
    RequestBodyAccess(bool),
    ResponseBodyAccess(bool),
}

/// What the directives beside the rules say.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// `SecRuleEngine`
    pub mode: EngineMode,
    /// `SecRequestBodyAccess`
    pub request_body: bool,
    /// `SecResponseBodyAccess`
    pub response_body: bool,
    /// `SecResponseBodyMimeType`
    pub response_types: Vec<String>,
    /// Bytes of a request's body.
    pub request_body_max: usize,
    /// `SecResponseBodyLimit`
    pub response_body_max: usize,
    /// `SecRequestBodyJsonDepthLimit`
    pub json_depth_max: usize,
    /// Arguments, parts and leaves.
    pub arguments_max: usize,
    /// `SecCollectionTimeout`: seconds.
    pub collection_timeout: i64,
    /// `SecArgumentSeparator`
    pub separator: u8,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            mode: EngineMode::On,
            request_body: true,
            response_body: false,
            response_types: ["text/plain", "text/html", "text/xml"].map(str::to_owned).to_vec(),
            request_body_max: 131_072,
            response_body_max: 524_288,
            json_depth_max: 64,
            arguments_max: 10_000,
            collection_timeout: 3_600,
            separator: b'&',
        }
    }
}
