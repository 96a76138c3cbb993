// SPDX-License-Identifier: Apache-2.0
//! Entries of both versions in both forms.

use crate::sources::report::Fault;
use crate::sources::tests::{Read, read_text};
use crate::{BodyKind, Label, LabelSource};

const NATIVE: &str = r#"--1a2b3c4d-A--
[17/May/2015:10:05:03 +0000] VVh 192.0.2.1 5555 10.0.0.1 80
--1a2b3c4d-B--
POST /login?a=1 HTTP/1.1
Host: a.test:8080
User-Agent: sqlmap
Content-Type: application/x-www-form-urlencoded

--1a2b3c4d-C--
user=1' or 1=1
--1a2b3c4d-F--
HTTP/1.1 403 Forbidden
Content-Length: 9

--1a2b3c4d-H--
Message: Warning. detected SQLi [file "/x.conf"] [line "45"] [id "942100"] [severity "CRITICAL"] [tag "attack-sqli"]
Message: Warning. [id "920350"] [severity "WARNING"]
Action: Intercepted (phase 2)
--1a2b3c4d-Z--

"#;

#[test]
fn a_native_entry_becomes_a_record() {
    let three = NATIVE.replace("--1a2b3c4d-", "---AbCdEf12---").replace("---AbCdEf12---", "---AbCdEf12-");
    for (name, text) in [("version 2", NATIVE), ("version 3", &three)] {
        let Read { records, report } = read_text("modsecurity", text).unwrap();
        let record = records.first().unwrap_or_else(|| panic!("{name}: {report:?}"));
        assert_eq!(record.label, Some(Label::Attack), "{name}");
        assert_eq!(record.label_source, LabelSource::WafRule("942100".into()), "{name}");
        assert_eq!((&*record.class, &*record.method, &*record.path), ("sqli", "POST", "/login"), "{name}");
        assert_eq!((&*record.host, &*record.client, record.status), ("a.test", "192.0.2.1", 403), "{name}");
        assert_eq!((&*record.body, record.body_kind), (&b"user=1' or 1=1"[..], BodyKind::Form), "{name}");
        assert_eq!(record.at_micros, Some(1_431_857_103_000_000), "{name}");
        assert_eq!(report.broken(), 0, "{name}");
    }
}

#[test]
fn an_entry_that_breaks_off_is_counted_at_its_first_line() {
    let cut = NATIVE.split_once("--1a2b3c4d-F").unwrap().0;
    let harmless = NATIVE.replace("CRITICAL", "NOTICE");
    let text = [NATIVE, cut, &harmless, NATIVE, cut].concat();
    let Read { records, report } = read_text("modsecurity", &text).unwrap();
    let labels: Vec<_> = records.iter().map(|record| record.label).collect();
    assert_eq!(labels, [Some(Label::Attack), None, Some(Label::Attack)]);
    let (fault, found) = report.commonest().unwrap();
    assert_eq!((fault, &*found.first_lines), (Fault::Cut, &[21, 71][..]));
}

#[test]
fn entries_in_json_become_records() {
    let three = r#"{"transaction":{"client_ip":"192.0.2.1","time_stamp":"Sun May 17 10:05:03 2015","request":{"method":"GET","uri":"/?q=<script>","headers":{"Host":"a.test","User-Agent":"x"}},"response":{"http_code":403},"messages":[{"message":"XSS","details":{"ruleId":"941100","severity":"2","tags":["attack-xss"]}}]}}"#;
    let two = r#"{"transaction":{"time":"17/May/2015:10:05:03 +0000","remote_address":"192.0.2.2"},"request":{"request_line":"POST /a HTTP/1.1","headers":{"Host":"a.test"},"body":["a=","1"]},"response":{"status":200},"audit_data":{"messages":["Warning. [id \"942100\"] [severity \"CRITICAL\"] [tag \"attack-sqli\"]"]}}"#;
    let cut = three.get(..80).unwrap();
    let Read { records, report } = read_text("modsecurity", &[three, two, cut].join("\n")).unwrap();
    let got: Vec<_> = records
        .iter()
        .map(|record| {
            (&*record.class, &*record.client, &*record.path, record.status, record.at_micros.is_some())
        })
        .collect();
    assert_eq!(got, [("xss", "192.0.2.1", "/", 403, true), ("sqli", "192.0.2.2", "/a", 200, true)]);
    assert_eq!(records.get(1).unwrap().body, b"a=1");
    assert_eq!(report.faults.get(&Fault::Cut).map(|found| found.count), Some(1));
}
