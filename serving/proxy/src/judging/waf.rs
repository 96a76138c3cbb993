// SPDX-License-Identifier: Apache-2.0
//! The WAF's rules of a node: read when a configuration is, and shared with the one before where nothing changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sunbeam_config::Reader;
use sunbeam_pipeline::{LayerOverride, WafRuleset, WafSection};
use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::engine::Moment;
use sunbeam_waf::rules::{self, RuleOptions, RuleSetKind};
use sunbeam_waf::seclang::RuleError;

use super::added_rules::{PREFIX, RulesAdded};
use crate::config::Config;

/// Files of rules that are looked at to see whether any changed.
const FILES_MAX: usize = 4_096;

/// Folders in folders.
const DEPTH_MAX: usize = 8;

/// Rules, and how they came to be.
#[derive(Debug)]
pub(crate) struct RulesInUse {
    pub(crate) set: Arc<RuleSet>,
    /// Whether answers are looked at: somebody wants that, and there are rules about them.
    pub(crate) looks_at_answers: bool,
    /// Their statistics begin then.
    pub(crate) read_at: Timestamp,
    options: RuleOptions,
    files: Vec<(PathBuf, Stamp)>,
}

/// When a file was changed, its length and its number; nothing where there is none.
type Stamp = Option<(SystemTime, u64, u64)>;

/// What is wrong with rules, and the key that names them.
#[derive(Debug)]
pub(crate) struct RuleProblem {
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

/// The rules of a configuration; nothing where no route asks them. Those of `before`, or what was read last, are taken
/// where neither options nor files have changed since.
///
/// # Errors
/// All that is wrong with them.
pub(crate) fn load(
    config: &Config,
    added: &RulesAdded,
    before: Option<&Arc<RulesInUse>>,
) -> Result<Option<Arc<RulesInUse>>, Vec<RuleProblem>> {
    /// The check of a configuration reads what its use needs a moment later.
    static LAST: Mutex<Option<Arc<RulesInUse>>> = Mutex::new(None);
    if !is_asked(config) {
        return Ok(None);
    }
    let options = RuleOptions { added: Arc::clone(added.texts()), ..options(config)? };
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let known = before.into_iter().chain(&last).find(|known| known.is_of(&options));
    let found = match known {
        Some(known) => Arc::clone(known),
        None => Arc::new(RulesInUse::read(&options, &config.waf)?),
    };
    // A check knows no added rules, and is not to find them in place of what it read.
    if added.iter().len() == 0 {
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&found));
    }
    Ok(Some(found))
}

/// Reports what is wrong with the rules of a configuration.
pub(crate) fn check(config: &Config, reader: &mut Reader) {
    match load(config, &RulesAdded::default(), None) {
        Ok(None) => {}
        Ok(Some(rules)) => {
            for (span, text) in rules.set.warnings() {
                let key = key_of(&config.waf, &span.file);
                reader.warning(key, format!("{}:{}: {text}", span.file, span.line));
            }
        }
        Err(problems) => {
            for problem in problems {
                reader.error(problem.key, problem.message);
            }
        }
    }
}

/// Whether any route asks for rules.
fn is_asked(config: &Config) -> bool {
    let is_on = |mode: Option<LayerOverride>| mode.map(|mode| mode != LayerOverride::Off);
    let everywhere = is_on(config.waf.mode).unwrap_or(true);
    config.waf.enabled
        && (everywhere || config.routes.iter().any(|route| is_on(route.protect.waf) == Some(true)))
}

impl RulesInUse {
    fn read(options: &RuleOptions, section: &WafSection) -> Result<Self, Vec<RuleProblem>> {
        // Before the rules: what changes while they are read is read again the next time.
        let begun = SystemTime::now();
        let mut files = Vec::new();
        for folder in folders(options) {
            collect(folder, 0, &mut files);
        }
        let set = rules::load(options).map_err(|errors| problems(&errors, section))?;
        // What was read elsewhere, data as well as rules. Of one that is newer than that, nobody knows which was read.
        for file in set.files() {
            if !files.iter().any(|(known, _)| known == file) {
                let before = stamp(file).filter(|(changed, ..)| *changed < begun);
                files.push((file.clone(), before));
            }
        }
        let has_rules_of_answers = set.rules().iter().any(|rule| matches!(rule.phase, 3 | 4));
        Ok(Self {
            looks_at_answers: options.responses && has_rules_of_answers,
            set: Arc::new(set),
            read_at: Timestamp::now(),
            options: options.clone(),
            files,
        })
    }

    /// A time as rules see it: that of the node's clock on the wall.
    pub(crate) fn moment(&self, now: Timestamp) -> Moment {
        // Few rules ask for the hour, and where the node stands takes a look-up.
        let ahead = if self.set.asks_the_time() { TimeZone::system().to_offset(now).seconds() } else { 0 };
        Moment { seconds: now.as_second(), ahead }
    }

    fn is_of(&self, options: &RuleOptions) -> bool {
        if self.options != *options {
            return false;
        }
        let mut now = Vec::new();
        for folder in folders(options) {
            collect(folder, 0, &mut now);
        }
        let are_known = now.iter().all(|file| self.files.contains(file));
        are_known && self.files.iter().all(|(path, before)| stamp(path) == *before)
    }
}

/// How the rules of a configuration are read, whether they are there or not.
pub fn rule_options(config: &Config) -> RuleOptions {
    let section = &config.waf;
    let ruleset = match section.ruleset {
        WafRuleset::BuiltIn => RuleSetKind::BuiltIn,
        WafRuleset::Crs => RuleSetKind::Crs(PathBuf::from(&section.crs_path)),
        WafRuleset::None => RuleSetKind::Nothing,
    };
    RuleOptions {
        ruleset,
        rules_dir: Some(PathBuf::from(&section.rules_dir)).filter(|folder| !folder.as_os_str().is_empty()),
        paranoia_level: section.paranoia_level,
        inbound_threshold: section.inbound_threshold,
        outbound_threshold: section.outbound_threshold,
        left_out: left_out(section),
        arguments_max: section.max_parameters,
        body_max: section.max_inspected_body_bytes,
        responses: section.inspect_responses,
        ..RuleOptions::default()
    }
}

/// The same, where the folders are there.
fn options(config: &Config) -> Result<RuleOptions, Vec<RuleProblem>> {
    let options = rule_options(config);
    let folder = |key, path: &Path, remedy: &str| {
        if path.is_dir() {
            return Ok(());
        }
        let message = format!("`{}` is not a folder{remedy}", path.display());
        Err(vec![RuleProblem { key, message }])
    };
    if let RuleSetKind::Crs(path) = &options.ruleset {
        let remedy = ": `sunbeam waf install-crs ARCHIVE --sha256 …` puts the Core Rule Set there \
                      (or use `ruleset = \"builtin\"`)";
        folder("waf.crs_path", path, remedy)?;
    }
    if let Some(path) = &options.rules_dir {
        folder("waf.rules_dir", path, "")?;
    }
    Ok(options)
}

/// The tags of the classes that are switched off.
fn left_out(section: &WafSection) -> Vec<&'static str> {
    let classes: [(bool, &[&'static str]); 8] = [
        (section.block_sql_injection, &["attack-sqli"]),
        (section.block_xss, &["attack-xss"]),
        (section.block_path_traversal, &["attack-lfi", "attack-rfi"]),
        (section.block_command_injection, &["attack-rce"]),
        (section.block_ldap_injection, &["attack-ldap"]),
        (section.block_xxe, &["attack-xxe"]),
        (section.block_session_fixation, &["attack-fixation"]),
        (section.block_template_injection, &["attack-injection-template", "attack-ssti", "attack-log4j"]),
    ];
    classes.into_iter().filter(|(is_on, _)| !is_on).flat_map(|(_, tags)| tags.iter().copied()).collect()
}

fn problems(errors: &[RuleError], section: &WafSection) -> Vec<RuleProblem> {
    if errors.is_empty() {
        return vec![RuleProblem { key: "waf.ruleset", message: "the rules cannot be loaded".to_owned() }];
    }
    let problem = |error: &RuleError| RuleProblem {
        key: key_of(section, &error.span.file),
        message: error.to_string(),
    };
    errors.iter().map(problem).collect()
}

/// What stands in a key's place for rules that came over the API.
pub(crate) const ADDED_KEY: &str = "added rules";

/// The key that a file of rules is read by.
fn key_of(section: &WafSection, file: &str) -> &'static str {
    let is_in = |folder: &str| !folder.is_empty() && Path::new(file).starts_with(folder);
    if file.starts_with(PREFIX) {
        ADDED_KEY
    } else if is_in(&section.rules_dir) {
        "waf.rules_dir"
    } else if section.ruleset == WafRuleset::Crs && is_in(&section.crs_path) {
        "waf.crs_path"
    } else {
        "waf.ruleset"
    }
}

fn folders(options: &RuleOptions) -> impl Iterator<Item = &Path> {
    let crs = match &options.ruleset {
        RuleSetKind::Crs(path) => Some(path.as_path()),
        RuleSetKind::BuiltIn | RuleSetKind::Nothing => None,
    };
    crs.into_iter().chain(options.rules_dir.as_deref())
}

/// Every file in a folder and those in it.
fn collect(folder: &Path, depth: usize, files: &mut Vec<(PathBuf, Stamp)>) {
    // A folder that cannot be read has no files that could have changed; reading the rules says why.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if files.len() >= FILES_MAX {
            return;
        }
        if !path.is_dir() {
            files.push((path.clone(), stamp(&path)));
        } else if depth < DEPTH_MAX {
            collect(&path, depth + 1, files);
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_are_switched_off_are_left_out() {
        assert_eq!(left_out(&WafSection::default()), [""; 0]);
        let section = WafSection { block_xss: false, block_path_traversal: false, ..WafSection::default() };
        assert_eq!(left_out(&section), ["attack-xss", "attack-lfi", "attack-rfi"]);
    }

    #[test]
    fn what_is_not_there_is_told_with_its_key_and_a_remedy() {
        let crs_path = "/nonexistent/crs".to_owned();
        let crs = WafSection { ruleset: WafRuleset::Crs, crs_path, ..WafSection::default() };
        let own = WafSection { rules_dir: "/nonexistent/rules".to_owned(), ..WafSection::default() };
        for (section, key, says) in
            [(crs, "waf.crs_path", "sunbeam waf install-crs"), (own, "waf.rules_dir", "is not a folder")]
        {
            let problems = options(&Config { waf: section, ..Config::default() }).unwrap_err();
            assert_eq!((problems.len(), problems[0].key), (1, key));
            assert!(problems[0].message.contains(says), "{}", problems[0].message);
        }
    }

    #[test]
    fn nothing_is_read_where_nobody_asks() {
        let waf = |enabled, mode| Config {
            waf: WafSection { enabled, mode, ..WafSection::default() },
            ..Config::default()
        };
        assert!(is_asked(&waf(true, None)));
        assert!(!is_asked(&waf(false, Some(LayerOverride::Enforce))));
        let mut config = waf(true, Some(LayerOverride::Off));
        assert!(!is_asked(&config));
        config.routes.push(Default::default());
        config.routes[0].protect.waf = Some(LayerOverride::Observe);
        assert!(is_asked(&config));
    }
}
