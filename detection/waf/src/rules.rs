// SPDX-License-Identifier: Apache-2.0
//! The rules of a node: a rule set, what the configuration says of it, and the operator's own files behind it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compile::{ResourcesOf, RuleSet};
use crate::operators::Resources;
use crate::seclang::ast::{DirectiveKind, Span};
use crate::seclang::{self, DiskFiles, Files, RuleError, literal};

/// What is loaded, and how strict it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleOptions {
    /// Which rules.
    pub ruleset: RuleSetKind,
    /// Rules that stand between the set-up and the rule set, as text: what a rule set's own tests ask for.
    pub before: String,
    /// Further files (`*.conf`), read after the rule set, in order of their names.
    pub rules_dir: Option<PathBuf>,
    /// Rules that came as text, read last. They read no files: whoever sends them is not on this machine.
    pub added: Arc<[AddedRules]>,
    /// 1 to 4.
    pub paranoia_level: u8,
    /// The score from which on a request is stopped.
    pub inbound_threshold: u32,
    /// The score from which on an answer is stopped.
    pub outbound_threshold: u32,
    /// Classes of attacks that are not looked for: the tags of their rules (`attack-sqli`).
    pub left_out: Vec<&'static str>,
    /// Arguments, parts and leaves that are read.
    pub arguments_max: usize,
    /// Bytes of a request's body that are looked at.
    pub body_max: usize,
    /// Whether answers' bodies are looked at.
    pub responses: bool,
}

impl Default for RuleOptions {
    fn default() -> Self {
        Self {
            ruleset: RuleSetKind::BuiltIn,
            before: String::new(),
            rules_dir: None,
            added: Arc::default(),
            paranoia_level: 1,
            inbound_threshold: 5,
            outbound_threshold: 4,
            left_out: Vec::new(),
            arguments_max: 10_000,
            body_max: 131_072,
            responses: false,
        }
    }
}

/// Rules that came as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedRules {
    /// What their places are told with, as a file's name.
    pub name: String,
    /// What a file would hold.
    pub text: String,
}

/// Which rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleSetKind {
    /// The project's own.
    BuiltIn,
    /// Those of the OWASP Core Rule Set in a folder.
    Crs(PathBuf),
    /// None but those of `rules_dir`.
    Nothing,
}

/// Reads rules.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load(options: &RuleOptions) -> Result<RuleSet, Vec<RuleError>> {
    for added in options.added.iter() {
        seclang::load(&Alone(added), &[&added.name])?;
    }
    let sources = Sources::new(options)?;
    let roots: Vec<&str> = sources.roots.iter().map(String::as_str).collect();
    let directives = seclang::load(&sources, &roots)?;
    let mut rules = RuleSet::new(&directives, &sources)?;
    rules.files = sources.files.take();
    rules.files.sort_unstable();
    rules.files.dedup();
    rules.settings.arguments_max = options.arguments_max;
    rules.settings.request_body_max = options.body_max;
    if !options.responses {
        rules.warnings.extend(directives.into_iter().filter_map(|directive| {
            let asks = matches!(directive.kind, DirectiveKind::ResponseBodyAccess(true));
            let text = "`SecResponseBodyAccess On` has no effect here: `waf.inspect_responses` is false";
            asks.then(|| (directive.span, text.to_owned()))
        }));
    }
    Ok(rules)
}

/// The text of a file that a rule's place names, whether it is compiled in, made up of the options, or on disk.
///
/// # Errors
/// Why there is none, for the operator to read.
pub fn source(options: &RuleOptions, file: &str) -> Result<String, String> {
    let told = |errors: Vec<RuleError>| errors.first().map(ToString::to_string).unwrap_or_default();
    let bytes = Sources::new(options).map_err(told)?.read(file)?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// What is compiled in, by the names that rules' places are told with.
const BASE: (&str, &str) = ("builtin:base.conf", include_str!("rules/base.conf"));
/// In the order of their reading: the scores first, the rule that looks at them last.
const BUILT_IN: &[(&str, &str)] = &[
    ("builtin:setup.conf", include_str!("rules/builtin/setup.conf")),
    ("builtin:sql-injection.conf", include_str!("rules/builtin/sql-injection.conf")),
    ("builtin:cross-site-scripting.conf", include_str!("rules/builtin/cross-site-scripting.conf")),
    ("builtin:path-traversal.conf", include_str!("rules/builtin/path-traversal.conf")),
    ("builtin:command-injection.conf", include_str!("rules/builtin/command-injection.conf")),
    ("builtin:ldap-injection.conf", include_str!("rules/builtin/ldap-injection.conf")),
    ("builtin:template-injection.conf", include_str!("rules/builtin/template-injection.conf")),
    ("builtin:xml-external-entities.conf", include_str!("rules/builtin/xml-external-entities.conf")),
    ("builtin:session-fixation.conf", include_str!("rules/builtin/session-fixation.conf")),
    ("builtin:protocol.conf", include_str!("rules/builtin/protocol.conf")),
    ("builtin:score.conf", include_str!("rules/builtin/score.conf")),
];
/// What the configuration says, as rules.
const SETTINGS: &str = "builtin:configuration.conf";
const LEFT_OUT: &str = "builtin:left-out.conf";

/// Where the Core Rule Set of Debian keeps its set-up.
const DEBIAN_SETUP: &str = "/etc/modsecurity/crs/crs-setup.conf";

/// Files of rules: those that are compiled in, those that are made up of the configuration, those on disk.
struct Sources {
    roots: Vec<String>,
    made_up: Vec<(&'static str, String)>,
    added: Arc<[AddedRules]>,
    /// Those on disk that were read.
    files: RefCell<Vec<PathBuf>>,
}

impl Sources {
    fn new(options: &RuleOptions) -> Result<Self, Vec<RuleError>> {
        let mut sources = Self {
            roots: vec![BASE.0.to_owned()],
            made_up: Vec::new(),
            added: Arc::clone(&options.added),
            files: RefCell::default(),
        };
        match &options.ruleset {
            RuleSetKind::BuiltIn => {
                sources.roots.push(SETTINGS.to_owned());
                sources.roots.extend(BUILT_IN.iter().map(|(name, _)| (*name).to_owned()));
            }
            RuleSetKind::Crs(folder) => sources.core_rule_set(folder)?,
            RuleSetKind::Nothing => sources.roots.push(SETTINGS.to_owned()),
        }
        sources.made_up.push((SETTINGS, settings(options)));
        sources.made_up.push((LEFT_OUT, left_out(options)));
        sources.roots.push(LEFT_OUT.to_owned());
        if let Some(folder) = &options.rules_dir {
            let pattern = format!("{}/*.conf", literal(text(folder)?));
            // An empty folder is what a new one is.
            let files = DiskFiles.matching(&pattern).map_err(|message| vec![error(&pattern, message)])?;
            sources.roots.extend(files.iter().map(|file| literal(file)));
        }
        sources.roots.extend(options.added.iter().map(|added| added.name.clone()));
        Ok(sources)
    }

    fn core_rule_set(&mut self, folder: &Path) -> Result<(), Vec<RuleError>> {
        let folder = text(folder)?;
        let rules = format!("{}/rules/*.conf", literal(folder));
        let found = DiskFiles.matching(&rules).map_err(|message| vec![error(&rules, message)])?;
        if found.is_empty() {
            let message = format!(
                "the OWASP Core Rule Set is not there (`{folder}/rules` has no rules): unpack a release with \
                 `sunbeam waf install-crs ARCHIVE --sha256 HASH`"
            );
            return Err(vec![error(folder, message)]);
        }
        let setups = [
            format!("{folder}/crs-setup.conf"),
            DEBIAN_SETUP.to_owned(),
            format!("{folder}/crs-setup.conf.example"),
        ];
        let is_own =
            |setup: &String| setup != DEBIAN_SETUP || folder.starts_with("/usr/share/modsecurity-crs");
        let setup = setups.into_iter().find(|setup| is_own(setup) && Path::new(setup).is_file());
        let setup = setup.ok_or_else(|| vec![error(folder, "there is no `crs-setup.conf`".to_owned())])?;
        self.roots.push(literal(&setup));
        // What the configuration says is stronger than what the set-up says.
        self.roots.push(SETTINGS.to_owned());
        self.roots.extend(found.iter().map(|file| literal(file)));
        Ok(())
    }

    fn known(&self, name: &str) -> Option<&str> {
        let made_up = self.made_up.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str());
        let built_in =
            BUILT_IN.iter().chain([&BASE]).find(|(known, _)| *known == name).map(|(_, text)| *text);
        let added = || self.added(name).map(|added| added.text.as_str());
        made_up.or(built_in).or_else(added)
    }

    fn added(&self, name: &str) -> Option<&AddedRules> {
        self.added.iter().find(|added| added.name == name)
    }
}

impl Files for Sources {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match self.known(path) {
            Some(text) => Ok(text.as_bytes().to_vec()),
            None => {
                self.files.borrow_mut().push(PathBuf::from(path));
                DiskFiles.read(path)
            }
        }
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        if self.known(pattern).is_some() {
            return Ok(vec![pattern.to_owned()]);
        }
        DiskFiles.matching(pattern)
    }
}

/// Added rules with nothing around them: they include nothing.
struct Alone<'a>(&'a AddedRules);

impl Files for Alone<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == self.0.name { Ok(self.0.text.clone().into_bytes()) } else { Err(NO_FILES.to_owned()) }
    }

    fn matching(&self, _: &str) -> Result<Vec<String>, String> {
        Err(NO_FILES.to_owned())
    }
}

impl Resources for Alone<'_> {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Err(NO_FILES.to_owned())
    }
}

const NO_FILES: &str = "rules that are added while the node runs read no files";

impl ResourcesOf for Sources {
    fn beside(&self, file: &str) -> Box<dyn Resources + '_> {
        if let Some(added) = self.added(file) {
            return Box::new(Alone(added));
        }
        let folder = Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default();
        Box::new(Beside { folder, files: &self.files })
    }
}

struct Beside<'a> {
    folder: PathBuf,
    /// Where what is read is noted.
    files: &'a RefCell<Vec<PathBuf>>,
}

impl Resources for Beside<'_> {
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        // An absolute name replaces the folder.
        let path = self.folder.join(name);
        self.files.borrow_mut().push(path.clone());
        let path = path.to_str().ok_or_else(|| "its name is no text".to_owned())?;
        DiskFiles.read(path).map_err(|message| format!("`{path}`: {message}"))
    }
}

fn text(path: &Path) -> Result<&str, Vec<RuleError>> {
    let shown = path.to_string_lossy().into_owned();
    path.to_str().ok_or_else(|| vec![error(&shown, "the path is no text".to_owned())])
}

fn error(file: &str, message: String) -> RuleError {
    RuleError { span: Span { file: file.into(), line: 0, end_line: 0 }, message }
}

fn settings(options: &RuleOptions) -> String {
    let RuleOptions { paranoia_level, inbound_threshold, outbound_threshold, .. } = options;
    let mut text = format!(
        "SecAction \"id:7300100,phase:1,pass,nolog,t:none,\
         setvar:tx.blocking_paranoia_level={paranoia_level},setvar:tx.detection_paranoia_level={paranoia_level},\
         setvar:tx.paranoia_level={paranoia_level},setvar:tx.executing_paranoia_level={paranoia_level},\
         setvar:tx.inbound_anomaly_score_threshold={inbound_threshold},\
         setvar:tx.outbound_anomaly_score_threshold={outbound_threshold}\"\n"
    );
    if options.responses {
        text.push_str("SecResponseBodyAccess On\n");
    }
    text.push_str(&options.before);
    text
}

fn left_out(options: &RuleOptions) -> String {
    options.left_out.iter().map(|tag| format!("SecRuleRemoveByTag \"^{tag}$\"\n")).collect()
}
