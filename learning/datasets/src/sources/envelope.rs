// SPDX-License-Identifier: Apache-2.0
//! Audit lines in the envelope that `tracing-subscriber` writes:
//! `{"timestamp":"…","level":"INFO","fields":{…},"target":"audit"}`, with the fields inside or beside it.
//! The time is the envelope's: older versions have none in their fields.

use std::io;

use memchr::memmem;
use serde::Deserialize;

use super::audit::{Fields, note, says_audit};
use super::lenient::{Text, fault};
use super::lines::Lines;
use super::report::Fault;
use super::time::micros;
use super::{Sink, Source, each_line};
use crate::Record;

/// See the module.
pub(super) struct Envelope;

impl Source for Envelope {
    fn name(&self) -> &'static str {
        "envelope"
    }

    fn recognises(&self, head: &[&[u8]]) -> bool {
        head.iter().any(|line| says_audit(line) && memmem::find(line, b"\"level\"").is_some())
    }

    fn read(&self, lines: &mut Lines<'_>, sink: &mut Sink<'_>) -> io::Result<()> {
        each_line(lines, sink, |number, line, sink| note(number, line, sink, record))
    }
}

#[derive(Deserialize)]
struct Outside {
    #[serde(default)]
    timestamp: Text,
    fields: Option<Fields>,
}

fn record(object: &[u8], blank: Record) -> Result<Record, Fault> {
    let outside: Outside = serde_json::from_slice(object).map_err(|error| fault(&error))?;
    let fields = match outside.fields {
        Some(fields) => fields,
        None => serde_json::from_slice(object).map_err(|error| fault(&error))?,
    };
    let at_micros = micros(&outside.timestamp.0).or_else(|| micros(&fields.timestamp.0));
    fields.record(at_micros, blank)
}

#[cfg(test)]
mod tests {
    use crate::sources::tests::{Read, read_text};

    #[test]
    fn fields_stand_inside_or_beside_and_the_time_is_the_envelope_s() {
        let fields = r#""method":"GET","host":"a.test","path":"/x","query":"","client_ip":"192.0.2.1","status":200,"duration_ms":3,"content_length":0,"user_agent":"curl/8","referer":"","accept_language":"","accept":"*/*","has_cookies":false,"cf_country":null,"backend":"http://b","error":null"#;
        let time = r#""timestamp":"2025-11-23T10:30:00Z","level":"INFO""#;
        let text = format!(
            "{{{time},\"fields\":{{\"message\":\"request\",{fields}}},\"target\":\"audit\"}}\n\
             {{{time},\"message\":\"request\",{fields},\"target\":\"audit\"}}\n\
             {{\"level\":\"INFO\",{fields},\"target\":\"audit\"}}\n"
        );
        let Read { records, report } = read_text("envelope", &text).unwrap();
        let times: Vec<_> = records.iter().map(|record| record.at_micros).collect();
        assert_eq!(times, [Some(1_763_893_800_000_000), Some(1_763_893_800_000_000), None]);
        assert_eq!((report.broken(), report.without_time), (0, 1));
        assert!(records.iter().all(|record| record.user_agent == "curl/8" && record.error.is_none()));
    }
}
