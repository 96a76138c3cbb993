// SPDX-License-Identifier: Apache-2.0
//! One condition of a rule, `requests > 100` or `path contains ["/.git/", "/.env"]`, and the fields that there are.

use std::borrow::Cow;

use serde::Deserialize;
use sunbeam_features::canonical::{Form, canonical_path, canonical_text};

use super::window::Totals;
use crate::Record;

/// Texts that one condition compares with.
const TEXTS_MAX: usize = 256;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    field: &'static Field,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Number(Order, f64),
    /// Any of the texts, in lower case.
    Text(Place, Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Above,
    AtLeast,
    Below,
    AtMost,
    Equal,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Contains,
    Starts,
    Ends,
    Is,
}

/// Why a condition is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Not three parts.
    #[error("`{text}` is no condition: write `field operator value`")]
    Shape {
        /// The condition.
        text: String,
    },
    /// A field that there is not.
    #[error("there is no field `{name}`; there are {}", field_names().collect::<Vec<_>>().join(", "))]
    Field {
        /// What was asked for.
        name: String,
    },
    /// An operator that there is not, or not for this field.
    #[error("`{operator}` does not go with `{field}`: write {known}")]
    Operator {
        /// The field.
        field: &'static str,
        /// What was asked for.
        operator: String,
        /// What there is.
        known: &'static str,
    },
    /// A value of the wrong kind.
    #[error("`{value}` does not go with `{field}`: write {known}")]
    Value {
        /// The field.
        field: &'static str,
        /// What was written.
        value: String,
        /// What there may be.
        known: &'static str,
    },
}

/// The fields that conditions may name.
pub fn field_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|field| field.name)
}

/// A record, and what its client did around it.
pub(super) struct Seen<'a> {
    record: &'a Record,
    totals: Option<Totals>,
}

impl<'a> Seen<'a> {
    pub(super) fn new(record: &'a Record, totals: Option<Totals>) -> Self {
        Self { record, totals }
    }
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    read: Read,
    /// What models have that says the same, or nearly.
    features: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
enum Read {
    /// Of the client's window.
    Window(fn(&Totals) -> f64),
    Number(fn(&Record) -> f64),
    /// In lower case.
    Text(fn(&Record) -> Cow<'_, str>),
}

/// Every field.
const FIELDS: &[Field] = &[
    window("requests", |t| t.requests(), &["request_rate", "burst_score"]),
    window("requests_per_second", |t| t.per_second(), &["request_rate", "burst_score"]),
    window("different_paths", |t| t.paths(), &["unique_paths", "path_repetition"]),
    window("different_hosts", |t| t.hosts(), &["unique_hosts"]),
    window("different_agents", |t| t.agents(), &["unique_user_agents"]),
    window("path_repetition", |t| t.repetition(), &["path_repetition", "unique_paths"]),
    window("status_ratio_4xx", |t| t.of_answers(t.client_errors), &["error_rate"]),
    window("status_ratio_5xx", |t| t.of_answers(t.server_errors), &["error_rate", "mean_duration"]),
    window("cookie_ratio", |t| t.of_requests(t.cookies), &["cookie_ratio"]),
    window("referer_ratio", |t| t.of_requests(t.referers), &["referer_ratio"]),
    window("language_ratio", |t| t.of_requests(t.languages), &["accept_language_ratio"]),
    window("post_ratio", |t| t.of_requests(t.posts), &["method_entropy"]),
    window("probe_ratio", |t| t.of_requests(t.probes), &["suspicious_path_ratio"]),
    window("mean_duration_ms", |t| t.mean(t.duration_ms), &["mean_duration"]),
    window("mean_content_length", |t| t.mean(t.content_bytes), &["mean_content_length"]),
    number("status", |r| f64::from(r.status), &["error_rate", "status"]),
    number("duration_ms", |r| about(r.duration_ms), &["mean_duration", "duration_ms"]),
    number("content_length", |r| about(r.content_length), &["mean_content_length", "content_length"]),
    number("has_cookies", |r| f64::from(u8::from(r.has_cookies)), &["cookie_ratio", "has_cookies"]),
    text("method", |r| lower(&r.method), &["method_entropy", "method"]),
    text("host", |r| lower(&r.host), &["unique_hosts", "host"]),
    text("path", path, &["suspicious_path_ratio", "path"]),
    text("query", query, &["query"]),
    text("user_agent", |r| lower(&r.user_agent), &["unique_user_agents", "user_agent"]),
    text("referer", |r| lower(&r.referer), &["referer_ratio", "referer"]),
    text("accept", |r| lower(&r.accept), &["accept"]),
    text("accept_language", |r| lower(&r.accept_language), &["accept_language_ratio", "accept_language"]),
    text("backend", |r| lower(&r.backend), &["backend"]),
    text("error", |r| r.error.as_deref().map_or(Cow::Borrowed(""), lower), &["error_rate", "error"]),
];

const fn window(name: &'static str, read: fn(&Totals) -> f64, features: &'static [&'static str]) -> Field {
    Field { name, read: Read::Window(read), features }
}

const fn number(name: &'static str, read: fn(&Record) -> f64, features: &'static [&'static str]) -> Field {
    Field { name, read: Read::Number(read), features }
}

const fn text(
    name: &'static str,
    read: fn(&Record) -> Cow<'_, str>,
    features: &'static [&'static str],
) -> Field {
    Field { name, read: Read::Text(read), features }
}

impl Condition {
    pub(super) fn parse(text: &str) -> Result<Self, ConditionError> {
        let mut words = text.trim().splitn(3, ' ').map(str::trim).filter(|word| !word.is_empty());
        let (Some(name), Some(operator), Some(value)) = (words.next(), words.next(), words.next()) else {
            return Err(ConditionError::Shape { text: text.to_owned() });
        };
        let field = FIELDS.iter().find(|field| field.name == name);
        let field = field.ok_or_else(|| ConditionError::Field { name: name.to_owned() })?;
        let test = match field.read {
            Read::Text(_) => text_test(field, operator, value)?,
            Read::Window(_) | Read::Number(_) => number_test(field, operator, value)?,
        };
        Ok(Self { field, test })
    }

    pub(super) fn features(&self) -> &'static [&'static str] {
        self.field.features
    }

    /// False where the record has not what the field is read from.
    pub(super) fn holds(&self, seen: &Seen<'_>) -> bool {
        match (&self.test, self.field.read) {
            (Test::Number(order, than), Read::Number(read)) => order.holds(read(seen.record), *than),
            (Test::Number(order, than), Read::Window(read)) => {
                seen.totals.is_some_and(|totals| order.holds(read(&totals), *than))
            }
            (Test::Text(place, texts), Read::Text(read)) => {
                let value = read(seen.record);
                texts.iter().any(|text| place.holds(&value, text))
            }
            _ => false,
        }
    }
}

impl Order {
    fn holds(self, value: f64, than: f64) -> bool {
        match self {
            Self::Above => value > than,
            Self::AtLeast => value >= than,
            Self::Below => value < than,
            Self::AtMost => value <= than,
            Self::Equal => (value - than).abs() < f64::EPSILON,
            Self::Other => (value - than).abs() >= f64::EPSILON,
        }
    }
}

impl Place {
    fn holds(self, value: &str, text: &str) -> bool {
        match self {
            Self::Contains => value.contains(text),
            Self::Starts => value.starts_with(text),
            Self::Ends => value.ends_with(text),
            Self::Is => value == text,
        }
    }
}

/// A value is written as in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    value: toml::Value,
}

fn value_of(text: &str) -> Option<toml::Value> {
    toml::from_str::<Value>(&format!("value = {text}")).ok().map(|value| value.value)
}

fn number_test(field: &'static Field, operator: &str, value: &str) -> Result<Test, ConditionError> {
    let order = match operator {
        ">" => Order::Above,
        ">=" => Order::AtLeast,
        "<" => Order::Below,
        "<=" => Order::AtMost,
        "==" => Order::Equal,
        "!=" => Order::Other,
        _ => {
            let known = "`>`, `>=`, `<`, `<=`, `==` or `!=`";
            return Err(ConditionError::Operator { field: field.name, operator: operator.to_owned(), known });
        }
    };
    let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
    let refused = || ConditionError::Value { field: field.name, value: value.to_owned(), known: "a number" };
    Ok(Test::Number(order, number.ok_or_else(refused)?))
}

fn text_test(field: &'static Field, operator: &str, value: &str) -> Result<Test, ConditionError> {
    let place = match operator {
        "contains" => Place::Contains,
        "starts" => Place::Starts,
        "ends" => Place::Ends,
        "is" => Place::Is,
        _ => {
            let known = "`contains`, `starts`, `ends` or `is`";
            return Err(ConditionError::Operator { field: field.name, operator: operator.to_owned(), known });
        }
    };
    let texts = match value_of(value) {
        Some(toml::Value::String(text)) => Some(vec![text]),
        Some(toml::Value::Array(values)) => {
            values.into_iter().map(|value| value.as_str().map(str::to_owned)).collect()
        }
        _ => None,
    };
    let texts: Option<Vec<String>> =
        texts.filter(|texts: &Vec<String>| (1..=TEXTS_MAX).contains(&texts.len()));
    let known = "a text or a list of up to 256, each in quotes";
    let refused = || ConditionError::Value { field: field.name, value: value.to_owned(), known };
    let texts = texts.ok_or_else(refused)?;
    Ok(Test::Text(place, texts.into_iter().map(|text| text.to_lowercase()).collect()))
}

/// As a backend would take it, in lower case.
fn path(record: &Record) -> Cow<'_, str> {
    let mut canonical = Vec::new();
    canonical_path(record.path.as_bytes(), &mut canonical);
    Cow::Owned(String::from_utf8_lossy(&canonical).into_owned())
}

fn query(record: &Record) -> Cow<'_, str> {
    let mut canonical = Vec::new();
    canonical_text(record.query.as_bytes(), Form::Query, &mut canonical);
    Cow::Owned(String::from_utf8_lossy(&canonical).into_owned())
}

fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        Cow::Owned(text.to_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "thresholds are far below")]
pub(super) fn about(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn window_fields_name_features_that_there_are() {
        let names: Vec<&str> = sunbeam_features::ddos::TABLE.iter().map(|feature| feature.name).collect();
        for field in FIELDS {
            let known = field.features.iter().filter(|feature| names.contains(feature)).count();
            match field.read {
                Read::Window(_) => assert_eq!(known, field.features.len(), "{}", field.name),
                Read::Number(_) | Read::Text(_) => {
                    assert!(field.features.contains(&field.name), "{}", field.name)
                }
            }
        }
        for name in names {
            assert!(FIELDS.iter().any(|field| field.features.contains(&name)), "no field names `{name}`");
        }
    }

    #[test]
    fn conditions_hold_or_not() {
        let record = Record {
            status: 404,
            method: "GET".into(),
            path: "/a/%2e%2e/.GIT/config".into(),
            user_agent: "SQLMap/1.0".into(),
            ..Record::default()
        };
        for (condition, want) in [
            ("status >= 400", true),
            ("status > 404", false),
            ("status < 404.5", true),
            ("status == 404", true),
            ("status != 404", false),
            ("status <= 404", true),
            ("path starts \"/.git/\"", true),
            ("path ends ['.php', '/config']", true),
            ("user_agent contains \"sqlmap\"", true),
            ("user_agent contains \"NIKTO\"", false),
            ("method is \"get\"", true),
            ("error is \"\"", true),
            ("requests > 0", false),
            ("requests == 0", false),
        ] {
            let parsed = Condition::parse(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
            assert_eq!(parsed.holds(&Seen::new(&record, None)), want, "{condition}");
        }
    }

    #[test]
    fn what_is_no_condition_says_why() {
        for (condition, want) in [
            ("requests >", "`requests >` is no condition"),
            ("requets > 5", "there is no field `requets`; there are requests, "),
            ("requests contains 5", "`contains` does not go with `requests`: write `>`"),
            ("requests > many", "`many` does not go with `requests`: write a number"),
            ("requests > NaN", "`NaN` does not go with `requests`"),
            ("path > 5", "`>` does not go with `path`: write `contains`"),
            ("path contains .git", "`.git` does not go with `path`: write a text"),
            ("path contains [1]", "`[1]` does not go with `path`"),
            ("path contains []", "`[]` does not go with `path`"),
            ("path is 'a'\nother = 1", "`'a'\nother = 1` does not go with `path`"),
        ] {
            let error = Condition::parse(condition).unwrap_err().to_string();
            assert!(error.starts_with(want), "{condition}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_condition_or_none(text in "\\PC{0,40}", value in "\\PC{0,20}") {
            drop(Condition::parse(&text));
            drop(Condition::parse(&format!("path contains {value}")));
            drop(Condition::parse(&format!("requests > {value}")));
        }
    }
}
