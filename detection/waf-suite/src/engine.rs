// SPDX-License-Identifier: Apache-2.0
//! A suite, asked of the engine in this process.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::engine::{Ends, RequestHead, ResponseHead, Transaction};

use crate::backend;
use crate::expectation::{Outcome, Scope, Verdict, judge, log_line};
use crate::format::Stage;
use crate::load::{Case, Suite};
use crate::raw::{RawRequest, Refusal};
use crate::request::{self, BuildError};
use crate::summary::Summary;

/// Bytes of a body that are looked at then.
pub const BODY_BYTES_MAX: usize = 13_107_200;

/// The rules by which the Core Rule Set's tests are meant to be run, between its set-up and its rules: nothing is
/// refused, everything is looked for.
pub const SETTINGS: &str = "\
SecRuleEngine DetectionOnly
SecResponseBodyMimeType text/plain text/html text/xml application/json
SecAction \"id:900005,phase:1,nolog,pass,ctl:ruleEngine=DetectionOnly,\
setvar:tx.blocking_paranoia_level=4,setvar:tx.detection_paranoia_level=4,setvar:tx.crs_validate_utf8_encoding=1,\
setvar:tx.arg_name_length=100,setvar:tx.arg_length=400,setvar:tx.total_arg_length=64000,setvar:tx.max_num_args=255,\
setvar:tx.max_file_size=64100,setvar:tx.combined_file_sizes=65535\"
";

/// The same, with another level of paranoia.
pub fn settings(paranoia_level: u8) -> String {
    SETTINGS.replace("paranoia_level=4", &format!("paranoia_level={paranoia_level}"))
}

/// Asks about a request and the answer that the suite's backend gives to it. The transaction has what was found.
pub fn ask(transaction: &mut Transaction, rules: &Arc<RuleSet>, request: &RawRequest) {
    transaction.begin(rules);
    let [client, server] = [Ipv4Addr::LOCALHOST; 2].map(IpAddr::V4);
    transaction.connection(&Ends { client, client_port: 40_000, server, server_port: 80 });
    let headers = borrowed(&request.headers);
    let (method, target, protocol) = (&request.method, &request.uri, &request.version);
    transaction.request_head(&RequestHead { method, target, protocol, headers: &headers, id: "1" });
    transaction.request_body(&request.body, false);
    let answer = backend::answer(method, target, &request.body);
    let owned: Vec<(Vec<u8>, Vec<u8>)> =
        answer.headers.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect();
    let headers = borrowed(&owned);
    transaction.response_head(&ResponseHead {
        status: answer.status,
        protocol: b"HTTP/1.1",
        headers: &headers,
    });
    transaction.response_body(&answer.body, false);
    transaction.end();
}

fn borrowed(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
}

/// What the engine found in the last request, as the suite judges it.
pub fn outcome(transaction: &Transaction) -> Outcome {
    let rules = transaction.rules().rules();
    let of = |rule: u32| rules.get(rule as usize).map_or(0, |rule| rule.id);
    let findings = transaction.findings();
    let lines = findings.iter().map(|finding| {
        let id = of(finding.rule);
        let tags = rules.get(finding.rule as usize).map(|rule| &*rule.tags).unwrap_or_default();
        log_line(id, &finding.message, &finding.data, tags)
    });
    Outcome {
        rules: findings.iter().map(|finding| of(finding.rule)).collect(),
        log: Some(lines.collect()),
        ..Outcome::default()
    }
}

/// A type that is said twice reaches an engine as one field, as the reference server hands it over.
fn join_types(request: &mut RawRequest) {
    let is_type = |name: &[u8]| name.eq_ignore_ascii_case(b"content-type");
    let mut types =
        request.headers.iter().filter(|(name, _)| is_type(name)).map(|(_, value)| value.as_slice());
    let (Some(first), Some(second)) = (types.next(), types.next()) else { return };
    let joined = [first, second].into_iter().chain(types).collect::<Vec<_>>().join(&b", "[..]);
    let mut is_first = true;
    request.headers.retain(|(name, _)| !is_type(name) || std::mem::take(&mut is_first));
    if let Some((_, value)) = request.headers.iter_mut().find(|(name, _)| is_type(name)) {
        *value = joined;
    }
}

/// Runs a stage.
///
/// # Errors
/// When its request cannot be built.
pub fn stage(
    transaction: &mut Transaction,
    rules: &Arc<RuleSet>,
    stage: &Stage,
) -> Result<Verdict, BuildError> {
    let mut request = request::delivered(&stage.input)?;
    if request.refusal == Some(Refusal::BareCr) {
        // Every server refuses it; no engine hears of it.
        transaction.begin(rules);
        return Ok(judge(&stage.output, &Outcome::default(), Scope::Engine));
    }
    join_types(&mut request);
    ask(transaction, rules, &request);
    Ok(judge(&stage.output, &outcome(transaction), Scope::Engine))
}

/// Runs a test.
///
/// # Errors
/// When a request cannot be built.
pub fn case(transaction: &mut Transaction, rules: &Arc<RuleSet>, case: &Case) -> Result<Verdict, BuildError> {
    let mut all = Verdict::NotJudged;
    for one in &case.test.stages {
        all = all.and(stage(transaction, rules, one)?);
    }
    Ok(all)
}

/// Runs everything.
///
/// # Errors
/// When a request cannot be built.
pub fn run(rules: &Arc<RuleSet>, suite: &Suite) -> Result<Summary, BuildError> {
    let mut transaction = Transaction::new(Arc::clone(rules));
    let mut summary = Summary::default();
    for one in &suite.cases {
        let verdict = case(&mut transaction, rules, one)?;
        summary.add(one, &verdict);
    }
    Ok(summary)
}
