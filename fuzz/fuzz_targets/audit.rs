// SPDX-License-Identifier: Apache-2.0
//! The audit log: a secret's value never gets into it, one record is one line, and a line reads back as written.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sunbeam_traffic::{AuditRecord, Redaction};

const SECRET: &str = "HUNTER2HUNTER2";

static REDACTION: LazyLock<Redaction> =
    LazyLock::new(|| Redaction::new(&["token".into(), "password".into()]));

fuzz_target!(|text: &str| {
    if text.contains(SECRET) {
        return;
    }
    for key in ["token", "TOKEN", "%74oken", "user[password]", "user%5Bpassword%5D", "a.token"] {
        for query in [format!("{text}&{key}={SECRET}"), format!("{key}={SECRET}&{text}")] {
            let kept = REDACTION.query(&query).into_owned();
            assert!(!kept.contains(SECRET), "{kept}");
            assert_eq!(&*REDACTION.query(&kept), &*kept, "redacting again changes it");
            if !text.contains('?') {
                let url = format!("https://name:{SECRET}@host.example/path?{query}");
                let kept = REDACTION.url(&url);
                assert!(!kept.contains(SECRET), "{kept}");
            }
        }
    }
    let Ok(record) = AuditRecord::read_line(text) else { return };
    let mut line = Vec::new();
    record.write_line(&mut line);
    let written = String::from_utf8(line).expect("text");
    assert_eq!(written.matches('\n').count(), 1, "one record, one line");
    assert_eq!(AuditRecord::read_line(&written).expect("our own line"), record);
});
