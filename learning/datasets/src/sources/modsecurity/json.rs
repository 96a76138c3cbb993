// SPDX-License-Identifier: Apache-2.0
//! The form in JSON: version 3 has everything in `transaction`, version 2 has `request` and `audit_data` beside it.

use serde_json::Value;

use super::messages::Fired;
use super::settle;
use crate::Record;
use crate::sources::Sink;
use crate::sources::lenient::fault;
use crate::sources::request::{request_line, set_body, set_header, set_target};
use crate::sources::time::micros;

/// Whether a line is an entry.
pub(super) fn is_entry(line: &[u8]) -> bool {
    line.starts_with(b"{") && memchr::memmem::find(line, b"\"transaction\"").is_some()
}

/// Reads an entry. serde_json bounds the depth.
pub(super) fn take(number: u64, line: &[u8], sink: &mut Sink<'_>) {
    let entry: Value = match serde_json::from_slice(line) {
        Ok(entry) => entry,
        Err(error) => return sink.fault(number, fault(&error)),
    };
    let mut record = sink.blank();
    set_transaction(&mut record, &entry);
    settle(record, &fired(&entry), number, sink);
}

/// The first of these places that holds a text or a number.
fn text(entry: &Value, places: &[&str]) -> String {
    let found = places.iter().filter_map(|place| entry.pointer(place)).find_map(|value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    found.unwrap_or_default()
}

fn set_transaction(record: &mut Record, entry: &Value) {
    let line = text(entry, &["/request/request_line"]);
    if let Some((method, target)) = request_line(line.as_bytes()) {
        String::from_utf8_lossy(method).into_owned().clone_into(&mut record.method);
        set_target(record, target);
    } else {
        record.method = text(entry, &["/transaction/request/method"]);
        set_target(record, text(entry, &["/transaction/request/uri"]).as_bytes());
    }
    record.at_micros = micros(&text(entry, &["/transaction/time", "/transaction/time_stamp"]));
    record.client = text(entry, &["/transaction/client_ip", "/transaction/remote_address"]);
    let status =
        text(entry, &["/transaction/response/http_code", "/response/status", "/transaction/response/status"]);
    record.status = status.parse().unwrap_or(0);
    let headers = [entry.pointer("/transaction/request/headers"), entry.pointer("/request/headers")];
    for (name, value) in headers.into_iter().flatten().filter_map(Value::as_object).flatten() {
        set_header(record, name, value.as_str().unwrap_or_default());
    }
    set_body(record, body(entry));
}

/// A text in version 3, a list of texts in version 2.
fn body(entry: &Value) -> Vec<u8> {
    match entry.pointer("/request/body") {
        Some(Value::Array(pieces)) => {
            pieces.iter().filter_map(Value::as_str).collect::<String>().into_bytes()
        }
        _ => text(entry, &["/transaction/request/body", "/request/body"]).into_bytes(),
    }
}

fn fired(entry: &Value) -> Fired {
    let mut fired = Fired::default();
    let list = |place: &str| entry.pointer(place).and_then(Value::as_array).into_iter().flatten();
    for message in list("/audit_data/messages").filter_map(Value::as_str) {
        fired.note_message(message);
    }
    for message in list("/transaction/messages").chain(list("/messages")) {
        let tags = message.pointer("/details/tags").and_then(Value::as_array).into_iter().flatten();
        let tags: Vec<&str> = tags.filter_map(Value::as_str).collect();
        fired.note(&text(message, &["/details/ruleId"]), &text(message, &["/details/severity"]), &tags);
    }
    fired
}
