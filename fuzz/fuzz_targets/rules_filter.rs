// SPDX-License-Identifier: Apache-2.0
//! The filter: with it and without it rules find the same in any request. A rule for each operator and for each
//! transformation, alone and in chains, of request and answer.
#![no_main]

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use sunbeam_fuzz::{arrival, waf::ask};
use sunbeam_waf::compile::{ResourcesOf, RuleSet};
use sunbeam_waf::engine::Transaction;
use sunbeam_waf::operators::{OPERATORS, Resources};
use sunbeam_waf::seclang::{Files, load};
use sunbeam_waf::transformations::TRANSFORMATIONS;

thread_local! {
    static BOTH: RefCell<[Transaction; 2]> =
        RefCell::new([(); 2].map(|()| Transaction::new(Arc::clone(&RULES))));
}

fuzz_target!(|data: &[u8]| {
    let Some((ways, text)) = arrival(data) else { return };
    let kind = KINDS[usize::from(ways[0]) % KINDS.len()];
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (query, body) = text.split_at(end);
    BOTH.with_borrow_mut(|[with, without]| {
        for (transaction, filters) in [(&mut *with, true), (&mut *without, false)] {
            transaction.begin(&RULES);
            transaction.without_statistics();
            if !filters {
                transaction.without_filter();
            }
            ask(transaction, query, kind.as_bytes(), body.get(1..).unwrap_or_default());
        }
        let told = |transaction: &Transaction| {
            (
                transaction.findings().to_vec(),
                transaction.findings_more(),
                transaction.outcome(),
                transaction.score("sum"),
            )
        };
        assert_eq!(told(with), told(without), "the filter changes what is found");
        assert!(!with.is_spent() && !without.is_spent());
    });
});

const KINDS: [&str; 5] = [
    "application/x-www-form-urlencoded",
    "application/json",
    "application/xml",
    "multipart/form-data; boundary=b",
    "text/plain",
];

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let text = written();
    let directives = load(&Text(&text), &["rules"]).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let rules = RuleSet::new(&directives, &Text(&text)).unwrap_or_else(|errors| panic!("{}", errors[0]));
    Arc::new(rules)
});

/// An argument for each operator that has one.
const ARGUMENTS: &[(&str, &[&str])] = &[
    (
        "rx",
        &[
            "(?i)union.{0,20}select",
            "^a?b*c$",
            "<script|on[a-z]{3,}=",
            "[^a-z0-9 ]{4}",
            "(.)x(.)",
            "\\bor\\b",
        ],
    ),
    ("pm", &["select insert <a ../ and", "a bb ccc"]),
    ("pmFromFile", &["words"]),
    ("eq", &["3"]),
    ("ge", &["10"]),
    ("gt", &["0"]),
    ("le", &["-1"]),
    ("lt", &["2"]),
    ("streq", &["select"]),
    ("strmatch", &["or 1"]),
    ("contains", &["../"]),
    ("containsWord", &["or"]),
    ("beginsWith", &["<"]),
    ("endsWith", &["--"]),
    ("within", &["GET POST select or and"]),
    ("ipMatch", &["10.0.0.0/8"]),
    ("ipMatchFromFile", &["addresses"]),
    ("validateByteRange", &["32-126"]),
    // No rule has the client's address under it: it is never asked.
    ("rbl", &["blocked.example"]),
    ("verifyCC", &["\\d{13,16}"]),
    ("verifyCPF", &["\\d{11}"]),
    ("verifySSN", &["\\d{9}"]),
    ("verifySVNR", &["\\d{10}"]),
    ("validateNid", &["us \\d{9}"]),
];

const VALUES: &str = "ARGS|ARGS_NAMES|REQUEST_COOKIES|REQUEST_BODY|REQUEST_HEADERS|XML:/*|XML://@*|FILES";

fn written() -> String {
    let mut text = String::from(
        "SecRuleEngine DetectionOnly\nSecRequestBodyAccess On\nSecResponseBodyAccess On\n\
         SecResponseBodyMimeType text/html\n\
         SecRule REQUEST_HEADERS:Content-Type \"@contains json\" \"id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON\"\n\
         SecRule REQUEST_HEADERS:Content-Type \"@contains xml\" \"id:2,phase:1,pass,nolog,ctl:requestBodyProcessor=XML\"\n",
    );
    let mut id = 100;
    let mut add = |rule: String, text: &mut String| {
        id += 1;
        text.push_str(&rule.replace("ID", &id.to_string()));
        text.push('\n');
    };
    for operator in OPERATORS {
        let known = ARGUMENTS.iter().find(|(name, _)| *name == operator.name);
        for argument in known.map_or(&[""][..], |(_, arguments)| arguments) {
            let test = format!("@{} {argument}", operator.name).trim_end().replace('\\', "\\\\");
            for negation in ["", "!"] {
                for (phase, values) in [(2, VALUES), (4, "RESPONSE_BODY")] {
                    for actions in [
                        "t:none",
                        "t:none,t:urlDecodeUni,t:lowercase",
                        "t:none,t:removeWhitespace,multiMatch",
                        "t:none,capture",
                    ] {
                        let rule = format!(
                            "SecRule {values} \"{negation}{test}\" \"id:ID,phase:{phase},pass,log,{actions},setvar:tx.sum=+1\""
                        );
                        add(rule, &mut text);
                    }
                }
            }
        }
    }
    for transformation in TRANSFORMATIONS {
        let name = transformation.name;
        for test in ["@rx select|<|[^ -~]", "@pm or and ../ <a", "@detectXSS", "@contains 4"] {
            let rule = format!(
                "SecRule {VALUES} \"{test}\" \"id:ID,phase:2,pass,log,t:none,t:{name},setvar:tx.sum=+1\""
            );
            add(rule, &mut text);
        }
    }
    add(
        "SecRule ARGS \"@rx (se)(lect)\" \"id:ID,phase:2,pass,log,capture,chain\"\n\
         SecRule MATCHED_VARS|!ARGS:a \"@contains %{tx.1}\" \"t:none,chain\"\nSecRule TX:2 \"@streq lect\" \"t:none,setvar:tx.sum=+5\""
            .to_owned(),
        &mut text,
    );
    text
}

/// One text of rules, and what operators ask for.
struct Text<'a>(&'a str);

impl Files for Text<'_> {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.as_bytes().to_vec())
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(vec![pattern.to_owned()])
    }
}

impl ResourcesOf for Text<'_> {
    fn beside(&self, _: &str) -> Box<dyn Resources + '_> {
        Box::new(Named)
    }
}

struct Named;

impl Resources for Named {
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        Ok(if name == "words" {
            &b"union\ninto outfile\n/etc/\n"[..]
        } else {
            b"10.0.0.0/8\n2001:db8::/32\n"
        }
        .to_vec())
    }
}
