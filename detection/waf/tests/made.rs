// SPDX-License-Identifier: Apache-2.0
//! Rules that a test makes up, and requests for them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sunbeam_waf::compile::{ResourcesOf, RuleSet};
use sunbeam_waf::engine::{Ends, RequestHead, Transaction};
use sunbeam_waf::operators::Resources;
use sunbeam_waf::seclang::{Files, load};

/// One file, `own.conf`.
struct Text<'a>(&'a str);

impl Files for Text<'_> {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.as_bytes().to_vec())
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(vec![pattern.to_owned()])
    }
}

impl Resources for Text<'_> {
    fn read(&self, _name: &str) -> Result<Vec<u8>, String> {
        Err("there are no other files".to_owned())
    }
}

impl ResourcesOf for Text<'_> {
    fn beside(&self, _file: &str) -> Box<dyn Resources + '_> {
        Box::new(Text(self.0))
    }
}

/// What is wrong with rules; nothing, where they load.
pub(crate) fn errors(text: &str) -> Vec<String> {
    let directives = load(&Text(text), &["own.conf"]);
    let loaded = directives.and_then(|directives| RuleSet::new(&directives, &Text(text)));
    loaded.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

pub(crate) fn rules(text: &str) -> Arc<RuleSet> {
    let directives = load(&Text(text), &["own.conf"]);
    let loaded = directives.and_then(|directives| RuleSet::new(&directives, &Text(text)));
    Arc::new(loaded.unwrap_or_else(|errors| panic!("{}", errors[0])))
}

/// As the operator reads them.
pub(crate) fn warnings(rules: &RuleSet) -> Vec<String> {
    rules.warnings().map(|(span, text)| format!("{}:{}: {text}", span.file, span.line)).collect()
}

/// The connection and the head of a request.
pub(crate) fn ask(
    transaction: &mut Transaction,
    client: IpAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) {
    let server = Ipv4Addr::new(192, 0, 2, 1).into();
    transaction.connection(&Ends { client, client_port: 40_000, server, server_port: 443 });
    let headers: Vec<(&[u8], &[u8])> =
        headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    transaction.request_head(&RequestHead {
        method: method.as_bytes(),
        target: target.as_bytes(),
        protocol: b"HTTP/1.1",
        headers: &headers,
        id: "unique",
    });
}

/// The messages of what was found.
pub(crate) fn messages(transaction: &Transaction) -> Vec<&str> {
    transaction.findings().iter().map(|finding| finding.message.as_str()).collect()
}
