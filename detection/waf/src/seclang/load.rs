// SPDX-License-Identifier: Apache-2.0
//! Reads files of rules, and the files that they include.

use std::sync::Arc;

use super::ast::{Directive, DirectiveKind, Span};
use super::directives::{self, Reading};
use super::disk::{is_pattern, literal};
use super::error::{Fault, RuleError, shown};
use super::lines::{self, Line, Word};
use super::unicode_map;

/// Where rule files come from. Rules themselves reach for nothing: what they may read is what this gives.
pub trait Files {
    /// The bytes of a file.
    ///
    /// # Errors
    /// Why there are none, for the operator to read.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// The files that a path names which may have `*`, `?` and `[…]` in it, in order of their names; none, if there are
    /// none.
    ///
    /// # Errors
    /// Why nobody can tell, for the operator to read.
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String>;
}

/// What the files say, in their order; each root is a path or a pattern.
///
/// # Errors
/// All that is wrong in all of them, up to a hundred. Nothing of the rules is to be used then.
pub fn load(files: &dyn Files, roots: &[&str]) -> Result<Vec<Directive>, Vec<RuleError>> {
    let mut loader = Loader {
        files,
        directives: Vec::new(),
        errors: Vec::new(),
        open: Vec::new(),
        files_read: 0,
        bytes_read: 0,
    };
    for root in roots {
        let nowhere = Span { file: Arc::from(*root), line: 0, end_line: 0 };
        if let Err(message) = loader.include(root, false) {
            loader.error(nowhere, message);
        }
    }
    if loader.errors.is_empty() { Ok(loader.directives) } else { Err(loader.errors) }
}

struct Loader<'a> {
    files: &'a dyn Files,
    directives: Vec<Directive>,
    errors: Vec<RuleError>,
    /// The files that are being read, each included by the one before.
    open: Vec<Arc<str>>,
    files_read: usize,
    bytes_read: usize,
}

impl Loader<'_> {
    /// Reads the files of a path or a pattern.
    fn include(&mut self, path: &str, is_optional: bool) -> Result<(), String> {
        let paths = if is_optional || is_pattern(path) {
            self.files
                .matching(path)
                .map_err(|error| format!("failed to look for `{}`: {error}", shown(path)))?
        } else {
            vec![path.to_owned()]
        };
        if paths.is_empty() && !is_optional {
            return Err(format!("no file fits `{}`", shown(path)));
        }
        paths.iter().try_for_each(|path| self.file(path))
    }

    fn file(&mut self, path: &str) -> Result<(), String> {
        let path = Arc::<str>::from(plain(path));
        if self.open.contains(&path) {
            return Err(format!("`{}` includes itself", shown(&path)));
        }
        if self.open.len() > DEPTH_MAX {
            return Err(format!("files include each other more than {DEPTH_MAX} deep"));
        }
        let bytes = self.read(&path)?;
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let before = bytes.iter().take(error.valid_up_to());
                let line = number_of_lines(before.filter(|byte| **byte == b'\n').count());
                self.fault(&path, Fault::new(line, "it is not UTF-8"));
                return Ok(());
            }
        };
        self.open.push(Arc::clone(&path));
        for line in lines::lines(text) {
            if self.errors.len() >= ERRORS_MAX {
                break;
            }
            self.line(&path, &line);
        }
        self.open.pop();
        Ok(())
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        if self.files_read == FILES_MAX {
            return Err(format!("more than {FILES_MAX} files are read"));
        }
        self.files_read += 1;
        let bytes =
            self.files.read(path).map_err(|error| format!("failed to read `{}`: {error}", shown(path)))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(format!("`{}` is larger than {FILE_BYTES_MAX} bytes", shown(path)));
        }
        self.bytes_read = self.bytes_read.saturating_add(bytes.len());
        if self.bytes_read > TOTAL_BYTES_MAX {
            return Err(format!("the files are larger than {TOTAL_BYTES_MAX} bytes together"));
        }
        Ok(bytes)
    }

    fn line(&mut self, file: &Arc<str>, line: &Line) {
        if line.is_blank() {
            return;
        }
        if line.is_comment() {
            if let Some(fault) = swallowed(line) {
                self.fault(file, fault);
            }
            return;
        }
        let words = match line.words() {
            Ok(words) => words,
            Err(fault) => return self.fault(file, fault),
        };
        let Some((name, arguments)) = words.split_first() else {
            return;
        };
        match self.directive(file, name, arguments) {
            Ok(None) => {}
            Ok(Some(kind)) => {
                let span =
                    Span { file: Arc::clone(file), line: line.place.first, end_line: line.place.last() };
                self.directives.push(Directive { span, kind });
            }
            Err(faults) => faults.into_iter().for_each(|fault| self.fault(file, fault)),
        }
    }

    /// What a directive says. `None`: it was an `Include`, and is done.
    fn directive(
        &mut self,
        file: &str,
        name: &Word,
        arguments: &[Word],
    ) -> Result<Option<DirectiveKind>, Vec<Fault>> {
        let at_name = |message: String| vec![name.fault(message)];
        let row = directives::find(&name.text).map_err(at_name)?;
        row.check_count(arguments.len()).map_err(at_name)?;
        match &row.reading {
            Reading::Kind(read) => read(arguments).map(Some),
            Reading::Include { is_optional } => {
                // Its own folder's name is no pattern.
                self.include(&beside(&literal(file), arguments), *is_optional).map_err(at_name)?;
                Ok(None)
            }
            Reading::UnicodeMap => self.unicode_map(file, arguments).map(Some).map_err(at_name),
            Reading::Ignored(check, why) => {
                check.check(arguments).map_err(|fault| vec![fault])?;
                Ok(Some(DirectiveKind::Ignored(row.name, why)))
            }
            Reading::Refused => Err(at_name(format!("`{}` is not supported", row.name))),
        }
    }

    fn unicode_map(&mut self, file: &str, arguments: &[Word]) -> Result<DirectiveKind, String> {
        let page = arguments.get(1).map_or("", |word| word.text.as_str());
        let page = page.parse().map_err(|_| format!("`{}` is not the number of a code page", shown(page)))?;
        let path = beside(file, arguments);
        let bytes = self.read(&path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| format!("`{}` is not UTF-8", shown(&path)))?;
        let pairs =
            unicode_map::parse(text, page).map_err(|message| format!("`{}`: {message}", shown(&path)))?;
        Ok(DirectiveKind::UnicodeMap(pairs))
    }

    fn fault(&mut self, file: &Arc<str>, fault: Fault) {
        self.error(Span { file: Arc::clone(file), line: fault.line, end_line: fault.line }, fault.message);
    }

    fn error(&mut self, span: Span, message: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(RuleError { span, message });
        }
    }
}

/// A comment that ends in a backslash goes on in the next line, as all lines do. Where that would hide a directive,
/// nobody can have meant it.
fn swallowed(line: &Line) -> Option<Fault> {
    let (number, name) = line.parts().skip(1).find_map(|(number, part)| {
        let name = part.split_ascii_whitespace().next()?;
        directives::known(name).map(|row| (number, row.name))
    })?;
    let message = format!("the comment above ends in a backslash, and would hide this `{name}`");
    Some(Fault::new(number, message))
}

/// The path that the first argument names, beside the file that names it.
fn beside(file: &str, arguments: &[Word]) -> String {
    let path = arguments.first().map_or("", |word| word.text.as_str());
    match file.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}

/// Without the parts that change nothing, so that a file has one name.
fn plain(path: &str) -> String {
    let root = if path.starts_with('/') { "/" } else { "" };
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("{root}{}", parts.join("/"))
}

fn number_of_lines(ends: usize) -> u32 {
    u32::try_from(ends).unwrap_or(u32::MAX).saturating_add(1)
}

/// Of one file: the largest of the Core Rule Set has a quarter of a megabyte.
pub(super) const FILE_BYTES_MAX: usize = 8 << 20;

/// Of all files together, each time that one is read.
const TOTAL_BYTES_MAX: usize = 32 << 20;

/// Each time that one is read: files that include each other twice would be many.
const FILES_MAX: usize = 4096;

/// How deep a file may be included.
const DEPTH_MAX: usize = 16;

/// Who has so many errors reads no further.
const ERRORS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::ast::{Action, EngineMode, Selector, Sense, Variable};
    use super::*;
    use proptest::prelude::*;

    /// Files that a test makes up. A pattern fits those that begin as it does.
    struct Made(BTreeMap<String, Vec<u8>>);

    impl Files for Made {
        fn read(&self, path: &str) -> Result<Vec<u8>, String> {
            self.0.get(path).cloned().ok_or_else(|| "no such file".to_owned())
        }

        fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
            let fits = |path: &&String| match pattern.split_once('*') {
                Some((start, end)) => path.starts_with(start) && path.ends_with(end),
                None => *path == pattern,
            };
            Ok(self.0.keys().filter(fits).cloned().collect())
        }
    }

    fn load_all(files: &[(&str, &str)]) -> Result<Vec<Directive>, Vec<String>> {
        let made =
            Made(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect());
        let told = |errors: Vec<RuleError>| errors.iter().map(RuleError::to_string).collect();
        load(&made, &[files[0].0]).map_err(told)
    }

    fn load_one(text: &str) -> Result<Vec<Directive>, Vec<String>> {
        load_all(&[("a.conf", text)])
    }

    fn kinds(text: &str) -> String {
        match load_one(text) {
            Ok(directives) => {
                directives.iter().map(|one| format!("{:?}", one.kind)).collect::<Vec<_>>().join(" ")
            }
            Err(errors) => errors.join("; "),
        }
    }

    fn errors(files: &[(&str, &str)]) -> Vec<String> {
        load_all(files).map(|directives| format!("{directives:?}")).expect_err("it must not load")
    }

    #[test]
    fn directives_say_what_they_say() {
        for (from, want) in [
            ("SecRuleEngine DetectionOnly", "Engine(DetectionOnly)"),
            ("secruleengine \"on\"", "Engine(On)"),
            ("SecMarker \"END-A\"\nSecMarker END-B", "Marker(\"END-A\") Marker(\"END-B\")"),
            (
                "SecRequestBodyAccess On\nSecResponseBodyAccess Off",
                "RequestBodyAccess(true) ResponseBodyAccess(false)",
            ),
            (
                "SecResponseBodyLimit 5\nSecResponseBodyLimitAction ProcessPartial",
                "ResponseBodyLimit(5) ResponseBodyLimitRejects(false)",
            ),
            (
                "SecResponseBodyMimeType text/plain \"text/html text/xml\"",
                "ResponseBodyMimeTypes([\"text/plain\", \"text/html\", \"text/xml\"])",
            ),
            ("SecResponseBodyMimeTypesClear", "ResponseBodyMimeTypesClear"),
            (
                "SecRequestBodyJsonDepthLimit 512\nSecArgumentSeparator &\nSecCookieFormat 0\nSecCollectionTimeout 600",
                "JsonDepthLimit(512) ArgumentSeparator(38) CookieFormat(0) CollectionTimeout(600)",
            ),
            ("SecComponentSignature \"OWASP_CRS/4.28.0\"", "ComponentSignature(\"OWASP_CRS/4.28.0\")"),
            (
                "SecRuleRemoveById 1 2 \"9000-9010\" 5,6",
                "RemoveById([(1, 1), (2, 2), (9000, 9010), (5, 5), (6, 6)])",
            ),
            (
                "SecRuleRemoveByTag attack-.*\nSecRuleRemoveByMsg \"a b\"",
                "RemoveByTag(\"attack-.*\") RemoveByMsg(\"a b\")",
            ),
            (
                "SecRuleUpdateTargetById 942100 \"!ARGS:x\"",
                "UpdateTargetById([(942100, 942100)], [Target { variable: Args, selector: Named(\"x\"), sense: Except }])",
            ),
            (
                "SecRuleUpdateTargetById 1-2 ARGS:y ARGS",
                "ReplaceTargetById([(1, 2)], [Target { variable: Args, selector: Named(\"y\"), sense: Value }], [Target { variable: Args, selector: All, sense: Value }])",
            ),
            (
                "SecRuleUpdateTargetByTag a !ARGS",
                "UpdateTargetByTag(\"a\", [Target { variable: Args, selector: All, sense: Except }])",
            ),
            (
                "SecRuleUpdateTargetByMsg 'a b' !ARGS",
                "UpdateTargetByMsg(\"a b\", [Target { variable: Args, selector: All, sense: Except }])",
            ),
            ("SecRuleUpdateActionById 1 nolog,pass", "UpdateActionById(1, [NoLog, Pass])"),
            ("SecDefaultAction \"phase:1,log,pass\"", "DefaultAction([Phase(1), Log, Pass])"),
            ("SecAction id:1,nolog", "Action([Id(1), NoLog])"),
            (
                "SecUploadDir /tmp\nSecStatusEngine off",
                "Ignored(\"SecUploadDir\", \"no body is written to a file\") Ignored(\"SecStatusEngine\", \"nothing is reported to anybody\")",
            ),
        ] {
            assert_eq!(kinds(from), want, "{from}");
        }
    }

    #[test]
    fn rules_are_read_with_their_lines() {
        let text = "# one\n\nSecRule ARGS|!ARGS:x \\\n  \"!@rx a\\\"b\" \\\r\n    \"id:'1',\\\n    chain\"\n  SecRule &TX:y \"@eq 0\"\n";
        let directives = load_one(text).unwrap();
        let [head, link] = directives.as_slice() else { panic!("{directives:?}") };
        assert_eq!((head.span.line, head.span.end_line, &*head.span.file), (3, 6, "a.conf"));
        assert_eq!((link.span.line, link.span.end_line), (7, 7));
        let DirectiveKind::Rule(rule) = &head.kind else { panic!("{head:?}") };
        assert_eq!(rule.targets[1].sense, Sense::Except);
        assert_eq!((rule.operator.kind.name, rule.operator.is_negated), ("rx", true));
        assert_eq!(rule.operator.argument.as_text(), Some("a\"b"));
        assert!(matches!(rule.actions.as_slice(), [Action::Id(1), Action::Chain]), "{:?}", rule.actions);
        let DirectiveKind::Rule(rule) = &link.kind else { panic!("{link:?}") };
        assert_eq!(
            (rule.targets[0].variable, &rule.targets[0].selector),
            (Variable::Tx, &Selector::Named("y".into()))
        );
        assert!(rule.actions.is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        for (from, want) in [
            (
                "\nSecRuleEngin On",
                "a.conf:2: unknown directive `SecRuleEngin`; did you mean `SecRuleEngine`?",
            ),
            ("SecRuleEngine", "a.conf:1: `SecRuleEngine` takes On|Off|DetectionOnly, and was given nothing"),
            (
                "SecRule ARGS",
                "a.conf:1: `SecRule` takes VARIABLES OPERATOR [ACTIONS], and was given 1 argument",
            ),
            (
                "SecRuleEngine On # why",
                "a.conf:1: `SecRuleEngine` takes On|Off|DetectionOnly, and was given 3 arguments",
            ),
            ("SecStatusEngine 1", "a.conf:1: `1` is not one of `On`, `Off`"),
            ("SecPcreMatchLimit many", "a.conf:1: `many` is not a whole number"),
            ("SecArgumentSeparator &&", "a.conf:1: `&&` is not one character of ASCII"),
            ("SecMarker \"\"", "a.conf:1: the argument is empty"),
            ("SecRuleScript a.lua", "a.conf:1: `SecRuleScript` is not supported"),
            (
                "<IfModule x>",
                "a.conf:1: sections of Apache's configuration, as `<IfModule`, are not supported",
            ),
            ("SecRuleUpdateActionById 1:2 pass", "a.conf:1: `1:2` is not a whole number"),
            (
                "SecRule ARG \\\n \"@xr a\" \\\n \"id:1,\\\n  dent\"",
                "a.conf:1: unknown variable `ARG`; did you mean `ARGS`?; a.conf:2: unknown operator `xr`; did you mean `rx`?; a.conf:4: unknown action `dent`; did you mean `deny`?",
            ),
            ("SecRule ARGS \"a\" \"id:1,pass", "a.conf:1: \" is not closed"),
            (
                "# a \\\nSecRuleEngine On",
                "a.conf:2: the comment above ends in a backslash, and would hide this `SecRuleEngine`",
            ),
        ] {
            assert_eq!(kinds(from), want, "{from}");
        }
        assert_eq!(
            kinds("# SecRule ARGS \"a\" \\\n  \"id:1\"\n  # b \\\n# c\nSecRuleEngine On"),
            "Engine(On)"
        );
    }

    #[test]
    fn all_errors_are_told_up_to_a_bound() {
        assert_eq!(errors(&[("a.conf", &"Sec\n".repeat(3))]).len(), 3);
        assert_eq!(errors(&[("a.conf", &"Sec\n".repeat(3 * ERRORS_MAX))]).len(), ERRORS_MAX);
    }

    #[test]
    fn files_include_files() {
        let files = [
            (
                "etc/main.conf",
                "SecMarker a\nInclude rules/*.conf\nIncludeOptional none/*.conf\nIncludeOptional none.conf\nSecMarker d",
            ),
            ("etc/rules/1.conf", "SecMarker b\nInclude ./../rules/extra"),
            ("etc/rules/../rules/extra", "SecMarker x"),
            ("etc/rules/2.conf", "SecMarker c\nInclude /abs"),
            ("/abs", "SecMarker y"),
        ];
        let directives = load_all(&files).unwrap();
        let found: Vec<_> = directives
            .iter()
            .map(|one| format!("{}:{} {:?}", one.span.file, one.span.line, one.kind))
            .collect();
        let want = [
            "etc/main.conf:1 Marker(\"a\")",
            "etc/rules/1.conf:1 Marker(\"b\")",
            "etc/rules/../rules/extra:1 Marker(\"x\")",
            "etc/rules/2.conf:1 Marker(\"c\")",
            "/abs:1 Marker(\"y\")",
            "etc/main.conf:5 Marker(\"d\")",
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn includes_that_cannot_be_are_refused() {
        assert_eq!(
            errors(&[("d/a.conf", "\nInclude b.conf\nInclude *.data\nInclude ./a.conf\nSecNone")]),
            [
                "d/a.conf:2: failed to read `d/b.conf`: no such file",
                "d/a.conf:3: no file fits `d/*.data`",
                "d/a.conf:4: `d/a.conf` includes itself",
                "d/a.conf:5: unknown directive `SecNone`",
            ]
        );
        assert_eq!(
            errors(&[("a", "Include b"), ("b", "SecMarker x\nInclude a")]),
            ["b:2: `a` includes itself"]
        );
        let made = Made(BTreeMap::new());
        let error = load(&made, &["no.conf"]).map(|found| found.len()).unwrap_err().remove(0);
        assert_eq!(error.to_string(), "no.conf: failed to read `no.conf`: no such file");
    }

    #[test]
    fn includes_have_bounds() {
        let chain = |depth: usize| {
            Made(
                (0..=depth)
                    .map(|at| {
                        let text = if at == depth {
                            "SecMarker end".to_owned()
                        } else {
                            format!("Include {}", at + 1)
                        };
                        (at.to_string(), text.into_bytes())
                    })
                    .collect(),
            )
        };
        assert_eq!(load(&chain(DEPTH_MAX), &["0"]).unwrap().len(), 1);
        let error = load(&chain(DEPTH_MAX + 1), &["0"]).map(|found| found.len()).unwrap_err().remove(0);
        assert_eq!(error.to_string(), "16:1: files include each other more than 16 deep");

        let doubling = Made(
            (0..16)
                .map(|at| (at.to_string(), format!("Include {}\n", at + 1).repeat(2).into_bytes()))
                .chain([("16".to_owned(), Vec::new())])
                .collect(),
        );
        let found = load(&doubling, &["0"]).map(|found| found.len()).unwrap_err();
        assert!(found[0].message.starts_with("more than 4096 files"), "{}", found[0]);

        let large = Made([("a".to_owned(), vec![b' '; FILE_BYTES_MAX + 1])].into());
        let found = load(&large, &["a"]).map(|found| found.len()).unwrap_err();
        assert_eq!(found[0].message, format!("`a` is larger than {FILE_BYTES_MAX} bytes"));
    }

    #[test]
    fn other_encodings_are_refused_with_their_line() {
        let made = Made([("a".to_owned(), b"SecRuleEngine On\n# \xe4\n".to_vec())].into());
        let error = load(&made, &["a"]).map(|found| found.len()).unwrap_err().remove(0);
        assert_eq!(error.to_string(), "a:2: it is not UTF-8");
    }

    #[test]
    fn a_unicode_map_is_read() {
        let map = ("d/unicode.mapping", "1250 (x)\n00a1:21\n20127 (US-ASCII)\n00a1:22 ff01:21\n");
        let directives = load_all(&[("d/a.conf", "SecUnicodeMapFile unicode.mapping 20127"), map]).unwrap();
        let DirectiveKind::UnicodeMap(pairs) = &directives[0].kind else { panic!("{directives:?}") };
        assert_eq!(pairs.as_slice(), [(0xa1, 0x22), (0xff01, 0x21)]);
        assert_eq!(
            errors(&[
                (
                    "d/a.conf",
                    "SecUnicodeMapFile unicode.mapping 1\nSecUnicodeMapFile no 1\nSecUnicodeMapFile no x"
                ),
                map
            ]),
            [
                "d/a.conf:1: `d/unicode.mapping`: it has no code page 1",
                "d/a.conf:2: failed to read `d/no`: no such file",
                "d/a.conf:3: `x` is not the number of a code page",
            ]
        );
    }

    #[test]
    fn the_recommended_configurations_traps_are_read() {
        let text = "SecRule REQUEST_HEADERS:Content-Type \"^(?:application(?:/soap\\+|/)|text/)xml\" \\\n\
            \x20    \"id:'200000',phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML\"\n\
            SecRule MULTIPART_STRICT_ERROR \"!@eq 0\" \\\n\
            \"id:'200003',phase:2,t:none,log,deny,status:400, \\\n\
            msg:'Strict: \\\nPE %{REQBODY_PROCESSOR_ERROR}, \\\nSM %{MULTIPART_MISSING_SEMICOLON}'\"\n\
            SecRule TX:/^MSC_/ \"!@streq 0\" \"id:'200005',phase:2,t:none,deny\"\n\
            SecRule REQBODY_ERROR \"!@eq 0\" \"id:'200002', phase:2,msg:'not closed.\"\n\
            SecRuleEngine DetectionOnly\n";
        let directives = load_one(text).unwrap();
        assert_eq!(directives.len(), 5);
        assert_eq!((directives[1].span.line, directives[1].span.end_line), (3, 7));
        assert!(matches!(directives[4].kind, DirectiveKind::Engine(EngineMode::DetectionOnly)));
    }

    #[test]
    fn hostile_texts_take_no_more_than_linear_time() {
        let size = 1 << 16;
        for piece in [
            "\\\n",
            "\"\\\" ",
            "%{tx.a",
            "%{2",
            "ARGS:/a|",
            "ARGS:'",
            "a:',",
            "'",
            ",",
            "|",
            "!",
            "#\\\n",
            "\"\" ",
            "=%{ARGS.=}",
            "\u{e9}",
        ] {
            let many = piece.repeat(size / piece.len());
            for text in [
                many.clone(),
                format!("SecRule \"{many}\" \"@rx {many}\" \"{many}\""),
                format!("SecRule ARGS:/{many} \"{many}\" \"msg:'{many}',setvar:tx.{many}\""),
                format!("SecRuleRemoveById \"{many}\""),
            ] {
                drop(load_one(&text));
            }
        }
    }

    const REAL: &[&str] = &[
        r#"SecRule REQUEST_COOKIES|!REQUEST_COOKIES:/__utm/|XML:/*|ARGS:'/a|b/' "@rx (?i)\b\"a\x5c" "id:1,phase:2,block,capture,t:none,t:urlDecodeUni,msg:'a, b: %{TX.0}',logdata:'it\'s',severity:'CRITICAL',setvar:'tx.x_%{MATCHED_VAR_NAME}=+%{tx.y}'""#,
        r#"SecAction "id:2,phase:1,nolog,ctl:ruleRemoveTargetById=1-5;ARGS:x,initcol:ip=%{remote_addr},setvar:!tx.x""#,
        "SecRuleUpdateTargetById 942100 \"!ARGS:/^a$/\" ARGS",
        "SecRule ARGS \\\n \"!@within %{tx.allowed_methods}\" \\\n \"id:3,\\\n deny\"",
        "SecRuleRemoveById 1 \"2-3\"\nSecUnicodeMapFile a.conf 20127\nInclude a.conf\nIncludeOptional *",
    ];

    proptest! {
        #[test]
        fn no_file_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let made = Made([("a.conf".to_owned(), bytes)].into());
            drop(load(&made, &["a.conf"]));
        }

        #[test]
        fn changed_rules_are_read_or_refused_with_a_line_of_the_file(
            text in proptest::sample::select(REAL),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), "[\"'\\\\|/:,%{}!@&=\n #a-z]{0,3}", 0..3usize), 1..6),
        ) {
            let mut chars: Vec<char> = text.chars().collect();
            for (index, new, removed) in changes {
                let at = index.index(chars.len() + 1);
                let end = (at + removed).min(chars.len());
                chars.splice(at..end, new.chars());
            }
            let text: String = chars.into_iter().collect();
            let made = Made([("a.conf".to_owned(), text.clone().into_bytes())].into());
            let last = u32::try_from(text.lines().count()).unwrap();
            match load(&made, &["a.conf"]) {
                Ok(directives) => for one in directives {
                    prop_assert!(one.span.line >= 1 && one.span.line <= one.span.end_line && one.span.end_line <= last);
                },
                Err(errors) => for one in errors {
                    prop_assert!(one.span.line >= 1 && one.span.line <= last, "{}", one);
                    prop_assert!(one.message.len() < 500, "{}", one);
                },
            }
        }
    }
}
