// SPDX-License-Identifier: Apache-2.0
//! What rule files say, as it stands there: nothing is resolved, every name is known.

use std::sync::Arc;

use crate::operators::OperatorKind;
use crate::transformations::Transformation;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Its first line, from 1.
    pub line: u32,
    /// Its last line.
    pub end_line: u32,
}

/// One directive, in the order of the files.
#[derive(Clone, Debug)]
pub struct Directive {
    /// Where.
    pub span: Span,
    /// What.
    pub kind: DirectiveKind,
}

/// What a directive says.
#[derive(Clone, Debug)]
pub enum DirectiveKind {
    /// `SecRule VARIABLES OPERATOR [ACTIONS]`
    Rule(Rule),
    /// `SecAction ACTIONS`: a rule that always matches.
    Action(Vec<Action>),
    /// `SecMarker NAME`
    Marker(String),
    /// `SecDefaultAction ACTIONS`
    DefaultAction(Vec<Action>),
    /// `SecRuleRemoveById`: numbers and ranges, both ends in it.
    RemoveById(Vec<(u64, u64)>),
    /// `SecRuleRemoveByTag` (an expression), `SecRuleRemoveByMsg`.
    RemoveByTag(String),
    /// See above.
    RemoveByMsg(String),
    /// `SecRuleUpdateTargetById ID VARIABLES`
    UpdateTargetById(Vec<(u64, u64)>, Vec<Target>),
    /// `SecRuleUpdateTargetByTag TAG VARIABLES`
    UpdateTargetByTag(String, Vec<Target>),
    /// `SecRuleUpdateTargetByMsg MSG VARIABLES`
    UpdateTargetByMsg(String, Vec<Target>),
    /// `SecRuleUpdateTargetById ID VARIABLES REPLACED`: the first take the place of the second.
    ReplaceTargetById(Vec<(u64, u64)>, Vec<Target>, Vec<Target>),
    /// `SecRuleUpdateTargetByTag TAG VARIABLES REPLACED`
    ReplaceTargetByTag(String, Vec<Target>, Vec<Target>),
    /// `SecRuleUpdateTargetByMsg MSG VARIABLES REPLACED`
    ReplaceTargetByMsg(String, Vec<Target>, Vec<Target>),
    /// `SecRuleUpdateActionById ID ACTIONS`
    UpdateActionById(u64, Vec<Action>),
    /// `SecComponentSignature TEXT`
    ComponentSignature(String),
    /// `SecRuleEngine On|Off|DetectionOnly`
    Engine(EngineMode),
    /// `SecRequestBodyAccess On|Off`
    RequestBodyAccess(bool),
    /// `SecResponseBodyAccess On|Off`
    ResponseBodyAccess(bool),
    /// `SecResponseBodyLimit BYTES`
    ResponseBodyLimit(u64),
    /// `SecResponseBodyLimitAction Reject|ProcessPartial`
    ResponseBodyLimitRejects(bool),
    /// `SecResponseBodyMimeType TYPES`
    ResponseBodyMimeTypes(Vec<String>),
    /// `SecResponseBodyMimeTypesClear`
    ResponseBodyMimeTypesClear,
    /// `SecRequestBodyJsonDepthLimit N`
    JsonDepthLimit(u64),
    /// `SecArgumentSeparator C`
    ArgumentSeparator(u8),
    /// `SecCookieFormat 0|1`
    CookieFormat(u8),
    /// `SecUnicodeMapFile FILE CODE_PAGE`: what the file says of that page, code point to byte.
    UnicodeMap(Vec<(u32, u8)>),
    /// `SecCollectionTimeout SECONDS`
    CollectionTimeout(u64),
    /// A directive that is known and has no effect here (audit log, debug log, temporary folders, uploads): its name, and
    /// why it has none. What it would have done is done by the configuration of the node, or not at all.
    Ignored(&'static str, &'static str),
}

/// `SecRuleEngine`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineMode {
    /// Rules run and may refuse.
    On,
    /// Nothing runs.
    Off,
    /// Rules run and refuse nothing.
    DetectionOnly,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it looks at.
    pub targets: Vec<Target>,
    /// How.
    pub operator: Operator,
    /// And then.
    pub actions: Vec<Action>,
}

/// One of what a rule looks at: `ARGS`, `&ARGS`, `!ARGS:name`, `ARGS:name`, `ARGS:/expression/`, `XML:/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Of which.
    pub variable: Variable,
    /// Which of them.
    pub selector: Selector,
    /// In which sense.
    pub sense: Sense,
}

/// In which sense something is a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sense {
    /// Its values.
    Value,
    /// `&`: how many there are.
    Count,
    /// `!`: not these.
    Except,
}

/// Which of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// All.
    All,
    /// That of this name, in whatever case (names are kept as written).
    Named(String),
    /// Those whose name an expression finds (as written, between its slashes or quotes).
    Matching(String),
}

macro_rules! variables {
    ($($name:ident = $text:literal $(| $alias:literal)*),* $(,)?) => {
        /// What a rule may look at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the names are those of the language")]
        #[repr(u8)]
        pub enum Variable { $($name),* }

        impl Variable {
            /// All, in order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As rules write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// As one of a set of bits.
            pub(crate) const fn bit(self) -> u128 {
                1 << self as u8
            }

            /// In whatever case.
            pub fn parse(text: &str) -> Option<Self> {
                const NAMES: &[(&str, Variable)] = &[$(($text, Variable::$name), $(($alias, Variable::$name),)*)*];
                NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, variable)| *variable)
            }
        }
    };
}

variables! {
    Args = "ARGS",
    ArgsNames = "ARGS_NAMES",
    ArgsGet = "ARGS_GET",
    ArgsGetNames = "ARGS_GET_NAMES",
    ArgsPost = "ARGS_POST",
    ArgsPostNames = "ARGS_POST_NAMES",
    ArgsCombinedSize = "ARGS_COMBINED_SIZE",
    RequestCookies = "REQUEST_COOKIES",
    RequestCookiesNames = "REQUEST_COOKIES_NAMES",
    RequestHeaders = "REQUEST_HEADERS",
    RequestHeadersNames = "REQUEST_HEADERS_NAMES",
    RequestMethod = "REQUEST_METHOD",
    RequestProtocol = "REQUEST_PROTOCOL",
    RequestUri = "REQUEST_URI",
    RequestUriRaw = "REQUEST_URI_RAW",
    RequestLine = "REQUEST_LINE",
    RequestFilename = "REQUEST_FILENAME",
    RequestBasename = "REQUEST_BASENAME",
    QueryString = "QUERY_STRING",
    RequestBody = "REQUEST_BODY",
    RequestBodyLength = "REQUEST_BODY_LENGTH",
    ReqbodyProcessor = "REQBODY_PROCESSOR",
    ReqbodyError = "REQBODY_ERROR" | "REQBODY_PROCESSOR_ERROR",
    ReqbodyErrorMsg = "REQBODY_ERROR_MSG" | "REQBODY_PROCESSOR_ERROR_MSG",
    InboundDataError = "INBOUND_DATA_ERROR",
    OutboundDataError = "OUTBOUND_DATA_ERROR",
    FullRequest = "FULL_REQUEST",
    FullRequestLength = "FULL_REQUEST_LENGTH",
    Files = "FILES",
    FilesNames = "FILES_NAMES",
    FilesSizes = "FILES_SIZES",
    FilesTmpnames = "FILES_TMPNAMES",
    FilesTmpContent = "FILES_TMP_CONTENT",
    FilesCombinedSize = "FILES_COMBINED_SIZE",
    MultipartFilename = "MULTIPART_FILENAME",
    MultipartName = "MULTIPART_NAME",
    MultipartPartHeaders = "MULTIPART_PART_HEADERS",
    MultipartStrictError = "MULTIPART_STRICT_ERROR",
    MultipartUnmatchedBoundary = "MULTIPART_UNMATCHED_BOUNDARY",
    MultipartBoundaryQuoted = "MULTIPART_BOUNDARY_QUOTED",
    MultipartBoundaryWhitespace = "MULTIPART_BOUNDARY_WHITESPACE",
    MultipartDataBefore = "MULTIPART_DATA_BEFORE",
    MultipartDataAfter = "MULTIPART_DATA_AFTER",
    MultipartHeaderFolding = "MULTIPART_HEADER_FOLDING",
    MultipartLfLine = "MULTIPART_LF_LINE",
    MultipartCrlfLfLines = "MULTIPART_CRLF_LF_LINES",
    MultipartMissingSemicolon = "MULTIPART_MISSING_SEMICOLON" | "MULTIPART_SEMICOLON_MISSING",
    MultipartInvalidQuoting = "MULTIPART_INVALID_QUOTING",
    MultipartInvalidPart = "MULTIPART_INVALID_PART",
    MultipartInvalidHeaderFolding = "MULTIPART_INVALID_HEADER_FOLDING",
    MultipartFileLimitExceeded = "MULTIPART_FILE_LIMIT_EXCEEDED",
    Xml = "XML",
    ResponseBody = "RESPONSE_BODY",
    ResponseContentLength = "RESPONSE_CONTENT_LENGTH",
    ResponseContentType = "RESPONSE_CONTENT_TYPE",
    ResponseHeaders = "RESPONSE_HEADERS",
    ResponseHeadersNames = "RESPONSE_HEADERS_NAMES",
    ResponseProtocol = "RESPONSE_PROTOCOL",
    ResponseStatus = "RESPONSE_STATUS",
    RemoteAddr = "REMOTE_ADDR",
    RemotePort = "REMOTE_PORT",
    ServerAddr = "SERVER_ADDR",
    ServerName = "SERVER_NAME",
    ServerPort = "SERVER_PORT",
    AuthType = "AUTH_TYPE",
    PathInfo = "PATH_INFO",
    UniqueId = "UNIQUE_ID",
    UrlencodedError = "URLENCODED_ERROR",
    MatchedVar = "MATCHED_VAR",
    MatchedVarName = "MATCHED_VAR_NAME",
    MatchedVars = "MATCHED_VARS",
    MatchedVarsNames = "MATCHED_VARS_NAMES",
    Rule = "RULE",
    HighestSeverity = "HIGHEST_SEVERITY",
    Duration = "DURATION",
    Env = "ENV",
    Time = "TIME",
    TimeDay = "TIME_DAY",
    TimeEpoch = "TIME_EPOCH",
    TimeHour = "TIME_HOUR",
    TimeMin = "TIME_MIN",
    TimeMon = "TIME_MON",
    TimeSec = "TIME_SEC",
    TimeWday = "TIME_WDAY",
    TimeYear = "TIME_YEAR",
    Tx = "TX",
    Global = "GLOBAL",
    Ip = "IP",
    Session = "SESSION",
    User = "USER",
    Resource = "RESOURCE",
    SessionId = "SESSIONID",
    UserId = "USERID",
    StatusLine = "STATUS_LINE",
    ModsecBuild = "MODSEC_BUILD",
    Geo = "GEO",
}

/// How a rule looks: `!@rx expression`.
#[derive(Clone)]
pub struct Operator {
    /// Which.
    pub kind: &'static OperatorKind,
    /// Whether it holds when the operator does not.
    pub is_negated: bool,
    /// What it is given.
    pub argument: Template,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{} {:?}", if self.is_negated { "!" } else { "" }, self.kind.name, self.argument)
    }
}

/// A text with variables in it: `Matched %{TX.0} in %{MATCHED_VAR_NAME}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Template(pub Vec<Piece>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// `%{VARIABLE}`, `%{VARIABLE.name}`: the first value there is.
    Variable(Variable, Option<String>),
}

impl Template {
    /// The text, if no variable is in it.
    pub fn as_text(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Action {
    /// `id:N`
    Id(u64),
    /// `phase:N`, `phase:request` …: 1 to 5
    Phase(u8),
    /// `msg:'…'`
    Msg(Template),
    /// `logdata:'…'`
    Logdata(Template),
    /// `tag:'…'`
    Tag(String),
    /// `ver:'…'`
    Ver(String),
    /// `rev:'…'`
    Rev(String),
    /// `maturity:N`, `accuracy:N`
    Told,
    /// `severity:CRITICAL`: 0 (emergency) to 7 (debug)
    Severity(u8),
    /// `block`: what the default action of the phase says
    Block,
    /// `deny`
    Deny,
    /// `drop`
    Drop,
    /// `pass`
    Pass,
    /// `allow`
    Allow(Allow),
    /// `redirect:URL`
    Redirect(Template),
    /// `proxy:URL`: refused at load
    Proxy(String),
    /// `status:N`
    Status(u16),
    /// `log`
    Log,
    /// `nolog`
    NoLog,
    /// `auditlog`
    AuditLog,
    /// `noauditlog`
    NoAuditLog,
    /// `capture`
    Capture,
    /// `chain`
    Chain,
    /// `multiMatch`
    MultiMatch,
    /// `skip:N`
    Skip(u32),
    /// `skipAfter:NAME`
    SkipAfter(String),
    /// `setvar:…`
    SetVar(SetVar),
    /// `setenv:NAME=VALUE`
    SetEnv(Template, Template),
    /// `setuid`, `setrsc`, `setsid`
    SetCollectionKey(Variable, Template),
    /// `expirevar:NAME=SECONDS`
    ExpireVar(Variable, Template, Template),
    /// `deprecatevar:NAME=AMOUNT/SECONDS`: so much less for each of so many seconds
    DeprecateVar(Variable, Template, i64, i64),
    /// `initcol:NAME=KEY`
    InitCol(Variable, Template),
    /// `t:NAME`
    Transformation(&'static Transformation),
    /// `t:none`
    TransformationNone,
    /// `ctl:…`
    Ctl(Ctl),
    /// `exec:…`, `append:…`, `prepend:…`, `pause:…`, `sanitise*`, `xmlns`: known, and without effect here.
    Ignored(&'static str),
}

/// How far `allow` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everything that is to come.
    All,
    /// The rest of this phase.
    Phase,
    /// The rest of the request's phases.
    Request,
}

/// `setvar:tx.score=+5`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVar {
    /// Of which collection.
    pub collection: Variable,
    /// Which.
    pub name: Template,
    /// What becomes of it.
    pub change: Change,
}

/// What becomes of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `=value`
    Set(Template),
    /// `=+value`
    Add(Template),
    /// `=-value`
    Subtract(Template),
    /// `!name`
    Remove,
}

/// `ctl:…`
#[derive(Clone, Debug)]
pub enum Ctl {
    /// `ruleEngine=`
    RuleEngine(EngineMode),
    /// `ruleRemoveById=`: both ends in it
    RuleRemoveById(u64, u64),
    /// `ruleRemoveByTag=`
    RuleRemoveByTag(String),
    /// `ruleRemoveByMsg=`
    RuleRemoveByMsg(String),
    /// `ruleRemoveTargetById=ID;TARGET`
    RuleRemoveTargetById(u64, u64, Target),
    /// `ruleRemoveTargetByTag=TAG;TARGET`
    RuleRemoveTargetByTag(String, Target),
    /// `ruleRemoveTargetByMsg=MSG;TARGET`
    RuleRemoveTargetByMsg(String, Target),
    /// `requestBodyProcessor=URLENCODED|MULTIPART|JSON|XML`
    RequestBodyProcessor(BodyProcessor),
    /// `forceRequestBodyVariable=On`
    ForceRequestBodyVariable(bool),
    /// `requestBodyAccess=`
    RequestBodyAccess(bool),
    /// `responseBodyAccess=`
    ResponseBodyAccess(bool),
    /// `auditEngine`, `auditLogParts`, `debugLogLevel`: of logs that the configuration of the node sets
    OfLogs,
    /// `hashEngine`, `requestBodyLimit` …: without effect here
    Ignored(&'static str),
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProcessor {
    /// `a=1&b=2`
    UrlEncoded,
    /// `multipart/form-data`
    Multipart,
    /// JSON
    Json,
    /// XML
    Xml,
}

impl BodyProcessor {
    /// As rules write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UrlEncoded => "URLENCODED",
            Self::Multipart => "MULTIPART",
            Self::Json => "JSON",
            Self::Xml => "XML",
        }
    }
}
