// SPDX-License-Identifier: Apache-2.0
//! What rules remember of those who come again.

use std::net::IpAddr;
use std::sync::Arc;

use sunbeam_waf::collections::{Bounds, Collections};
use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::engine::{Interruption, InterruptionKind, Moment, Transaction};

use crate::made::{ask, messages, rules, warnings};

/// Whoever tries to log in a fourth time within a minute after the try before is refused.
const TRIES: &str = r#"
SecAction "id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR}"
SecRule REQUEST_METHOD "@streq POST" "id:2,phase:1,pass,nolog,chain"
    SecRule REQUEST_FILENAME "@streq /login" "setvar:ip.tries=+1,expirevar:ip.tries=60"
SecRule IP:tries "@gt 3" "id:3,phase:1,deny,status:429,log,msg:'try %{ip.tries} of %{ip.key}'"
"#;

fn collections() -> Arc<Collections> {
    Arc::new(Collections::new(Bounds::default(), || panic!("nothing here is full")))
}

/// A thread's transaction.
struct Thread(Transaction);

impl Thread {
    fn new(rules: &Arc<RuleSet>, collections: &Arc<Collections>) -> Self {
        let mut transaction = Transaction::new(Arc::clone(rules));
        transaction.set_collections(collections);
        Self(transaction)
    }

    fn ask(&mut self, rules: &Arc<RuleSet>, seconds: i64, client: &str, line: &str) -> Option<u16> {
        self.0.begin(rules);
        self.0.set_moment(Moment { seconds, ahead: 0 });
        let (method, target) = line.split_once(' ').unwrap();
        ask(
            &mut self.0,
            client.parse::<IpAddr>().unwrap(),
            method,
            target,
            &[("Host", "a"), ("Cookie", "sid=7")],
        );
        self.0.interruption().map(|interruption| match interruption {
            Interruption { kind: InterruptionKind::Deny(status), .. } => *status,
            other => panic!("{other:?}"),
        })
    }
}

#[test]
fn the_fourth_try_of_an_address_is_refused() {
    let rules_of_now = rules(TRIES);
    assert_eq!(warnings(&rules_of_now), [""; 0]);
    let all = collections();
    let mut threads = [Thread::new(&rules_of_now, &all), Thread::new(&rules_of_now, &all)];
    for (number, second) in (0..3).zip([100, 130, 160]) {
        let thread = &mut threads[number % 2];
        assert_eq!(thread.ask(&rules_of_now, second, "198.51.100.7", "POST /login"), None, "{number}");
        assert_eq!(thread.ask(&rules_of_now, second, "198.51.100.7", "GET /login"), None, "{number}");
    }
    let [one, other] = &mut threads;
    assert_eq!(one.ask(&rules_of_now, 161, "198.51.100.7", "POST /login"), Some(429));
    assert_eq!(messages(&one.0), ["try 4 of 198.51.100.7"]);
    assert_eq!(other.ask(&rules_of_now, 162, "198.51.100.7", "GET /"), Some(429));
    assert_eq!(other.ask(&rules_of_now, 162, "198.51.100.8", "POST /login"), None, "a neighbour");

    // Rules that are read anew know what was before.
    let read_again = rules(TRIES);
    assert_eq!(one.ask(&read_again, 163, "198.51.100.7", "POST /login"), Some(429));
    assert_eq!(messages(&one.0), ["try 5 of 198.51.100.7"]);
    // A minute after the last try.
    assert_eq!(other.ask(&read_again, 222, "198.51.100.7", "GET /"), Some(429));
    assert_eq!(other.ask(&read_again, 223, "198.51.100.7", "POST /login"), None);
}

#[test]
fn nothing_is_remembered_where_nobody_gives_a_memory() {
    let rules = rules(TRIES);
    let mut transaction = Transaction::new(Arc::clone(&rules));
    for _ in 0..9 {
        transaction.begin(&rules);
        ask(&mut transaction, "198.51.100.7".parse().unwrap(), "POST", "/login", &[]);
        assert_eq!(transaction.interruption(), None);
    }
}

#[test]
fn each_kind_of_collection_is_kept_by_its_key() {
    let rules = rules(
        r#"
SecCollectionTimeout 600
SecAction "id:1,phase:1,pass,nolog,initcol:global=all,initcol:ip=%{REMOTE_ADDR}_%{REQUEST_HEADERS.Host}"
SecRule REQUEST_COOKIES:sid "@rx ." "id:2,phase:1,pass,nolog,setsid:%{MATCHED_VAR}"
SecRule ARGS:user "@rx ." "id:3,phase:1,pass,nolog,setuid:%{MATCHED_VAR},setrsc:%{REQUEST_FILENAME}"
SecAction "id:4,phase:1,pass,nolog,setvar:global.n=+1,setvar:ip.n=+2,setvar:session.n=+3,setvar:user.n=+4,\
    setvar:resource.n=+5"
SecAction "id:5,phase:1,pass,log,msg:'%{global.n} %{ip.n} %{session.n} %{user.n} %{resource.n} \
%{SESSIONID} %{USERID} %{ip.key} %{ip.is_new}'"
SecRule &IP "@eq 1" "id:6,phase:1,pass,log,msg:'%{ip.timeout} %{ip.create_time} %{ip.last_update_time}'"
SecRule IP:/^N$/ "@eq 4" "id:7,phase:1,pass,log,msg:'%{MATCHED_VAR_NAME}'"
"#,
    );
    assert_eq!(warnings(&rules), [""; 0]);
    let mut thread = Thread::new(&rules, &collections());
    thread.ask(&rules, 50, "192.0.2.7", "GET /a?user=eve");
    assert_eq!(messages(&thread.0), ["1 2 3 4 5 7 eve 192.0.2.7_a 1", "600 50 50"]);
    thread.ask(&rules, 60, "192.0.2.7", "GET /a?user=eve");
    assert_eq!(messages(&thread.0), ["2 4 6 8 10 7 eve 192.0.2.7_a 0", "600 50 60", "IP:n"]);
    thread.ask(&rules, 61, "192.0.2.8", "GET /b?user=bob");
    assert_eq!(messages(&thread.0), ["3 2 9 4 5 7 bob 192.0.2.8_a 1", "600 61 61"]);
    thread.ask(&rules, 661, "192.0.2.7", "GET /a?user=eve");
    assert_eq!(messages(&thread.0)[0], "4 2 12 4 5 7 eve 192.0.2.7_a 1", "its own is gone");
}

#[test]
fn a_score_gets_less_with_time() {
    let rules = rules(
        r#"
SecAction "id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR},deprecatevar:ip.score=10/60"
SecRule ARGS:bad "@rx ." "id:2,phase:1,pass,nolog,setvar:ip.score=+25,setvar:ip.why=%{MATCHED_VAR}"
SecRule ARGS:forgive "@rx ." "id:3,phase:1,pass,nolog,setvar:!ip.score"
SecAction "id:4,phase:1,pass,log,msg:'%{ip.score} %{ip.why}'"
"#,
    );
    let mut thread = Thread::new(&rules, &collections());
    for (second, target, want) in [
        (0, "/", " "),
        (0, "/?bad=a", "25 a"),
        (59, "/", "25 a"),
        (60, "/?bad=b", "40 b"),
        (130, "/", "30 b"),
        (900, "/", "0 b"),
        (901, "/?bad=c&forgive=1", " c"),
    ] {
        thread.ask(&rules, second, "192.0.2.7", &format!("GET {target}"));
        assert_eq!(messages(&thread.0), [want], "{second}");
    }
}

#[test]
fn what_cannot_last_is_told_where_it_is_loaded() {
    let rules = rules(
        "SecAction \"id:1,phase:1,pass,setvar:session.a=1,expirevar:tx.b=60\"\n\
         SecRule USER:x \"@eq 1\" \"id:2,phase:1,pass,msg:'%{SESSIONID}'\"\n",
    );
    let lasts = "lasts for one request: no `initcol`, `setsid`, `setuid` or `setrsc` begins that collection";
    let want = [
        "own.conf:1: `expirevar` and `deprecatevar` have no effect on `TX`, which lasts for one request"
            .to_owned(),
        format!("own.conf:1: `SESSION:a` {lasts}"),
        format!("own.conf:2: `USER:x` {lasts}"),
        "own.conf:2: `SESSIONID` is always empty here: no `setsid` sets it".to_owned(),
    ];
    assert_eq!(warnings(&rules), want);
}
