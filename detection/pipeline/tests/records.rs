// SPDX-License-Identifier: Apache-2.0
//! What the audit record gives back: exactly what windows counted.

use proptest::prelude::*;
use sunbeam_features::{EventHash, Finished, Hashes, Window, WindowShape, event};
use sunbeam_tables::{HashKey, Moment};
use sunbeam_traffic::{AuditRecord, AuditScores, AuditTarget};

fn records() -> impl Strategy<Value = AuditRecord> {
    let texts = ("[a-z.]{1,12}", "/[a-zA-Z0-9./%]{0,24}", "\\PC{0,12}", "[a-z-]{0,6}", "\\PC{0,8}");
    let kinds = (
        prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("BREW")],
        prop_oneof![Just(""), Just("static"), Just("http://a:80")],
        prop_oneof![Just(200_u16), Just(404), Just(403), Just(429), Just(499), Just(500)],
    );
    let numbers = (any::<bool>(), 0_u64..100_000, 0_u64..1 << 40, 0_i64..50_000_000);
    (texts, kinds, numbers).prop_map(|(texts, kinds, numbers)| {
        let (host, path, user_agent, accept_language, referer) = texts;
        let (method, backend, status) = kinds;
        let (has_cookies, duration_ms, content_length, micros) = numbers;
        AuditRecord {
            target: AuditTarget::Audit,
            timestamp: jiff::Timestamp::from_microsecond(1_700_000_000_000_000 + micros).unwrap(),
            request_id: String::new(),
            method: method.into(),
            host,
            path,
            query: String::new(),
            client_ip: "203.0.113.42".into(),
            status,
            duration_ms,
            content_length,
            user_agent,
            referer,
            accept_language,
            accept: String::new(),
            has_cookies,
            cf_country: None,
            backend: backend.into(),
            error: None,
            response_bytes: 0,
            http_version: "HTTP/1.1".into(),
            header_count: 4,
            route: "a".into(),
            tls_version: String::new(),
            ja4: String::new(),
            identity_kind: "address".into(),
            decision: "pass".into(),
            layer: String::new(),
            reason: String::new(),
            scores: AuditScores::default(),
            rules: Vec::new(),
            added_us: 0,
            matches: Vec::new(),
            upstream_us: 0,
        }
    })
}

fn features(records: &[AuditRecord]) -> [u32; 14] {
    let (hash, shape) = (EventHash::new(HashKey::fixed(3)), WindowShape::new(60, 1000));
    let (mut window, mut canonical, mut last) = (Window::default(), Vec::new(), Moment::default());
    for record in records {
        let hashes =
            Hashes::of(record.path.as_bytes(), &record.host, &record.user_agent, &hash, &mut canonical);
        let micros = u64::try_from(record.timestamp.as_microsecond()).unwrap();
        last = Moment::from_micros(micros).max(last);
        window.add(&event(&Finished::of_record(record), &hashes, 10), last, &shape);
    }
    window.features(last, &shape)
}

proptest! {
    #[test]
    fn a_line_gives_every_feature_of_the_window_back(records in proptest::collection::vec(records(), 1..60)) {
        let read: Vec<AuditRecord> = records
            .iter()
            .map(|record| {
                let mut line = Vec::new();
                record.write_line(&mut line);
                AuditRecord::read_line(&String::from_utf8(line).unwrap()).unwrap()
            })
            .collect();
        prop_assert_eq!(features(&records), features(&read));
    }
}
