// SPDX-License-Identifier: Apache-2.0
//! What operators do not want held against requests: a text, a part, a path, a limit, each for one route, and one
//! method and path where they said so. Whatever else is found in the same request counts as ever.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;
use sunbeam_features::application::PartKind;
use sunbeam_features::canonical::UnitKind;
use sunbeam_rate_limit::Exempt;
use sunbeam_traffic::{IdentityKind, RequestFacts};

/// Exceptions that a node may have: somebody has to look through them now and then.
pub const EXCEPTIONS_MAX: usize = 1_024;

/// Exceptions whose use is told of one request; of more it is not.
const USED_MAX: usize = 8;

/// What is not held against a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excepted {
    /// The model of texts does not read what stands there.
    Unit {
        /// What it is.
        kind: UnitKind,
        /// As the client writes it.
        name: Vec<u8>,
    },
    /// The model of the application does not read it.
    Part {
        /// What it is.
        kind: PartKind,
        /// As the client writes it.
        name: Vec<u8>,
    },
    /// What path and headers look like.
    Probe,
    /// Limits do not hold.
    Limit {
        /// Which.
        exempt: Exempt,
        /// For whom; `None`: for everybody.
        who: Option<(IpNet, IdentityKind)>,
    },
}

/// An exception, ready to be applied.
#[derive(Clone, Debug)]
pub struct Exception {
    /// Names it in [`Used`].
    pub number: u16,
    /// `POST`; empty: any.
    pub method: String,
    /// As the client writes it; `None`: any.
    pub path: Option<String>,
    /// What of it.
    pub what: Vec<Excepted>,
    /// Its time is over.
    pub is_over: Arc<AtomicBool>,
}

/// Those of all routes.
#[derive(Debug, Default)]
pub struct Exceptions {
    /// In the order of the table, as far as there are any.
    routes: Vec<OfRoute>,
}

#[derive(Debug, Default)]
struct OfRoute {
    of_path: HashMap<String, Vec<Exception>>,
    of_all: Vec<Exception>,
}

impl Exceptions {
    /// One more for a route, by its place in the table.
    pub fn add(&mut self, route: usize, exception: Exception) {
        if self.routes.len() <= route {
            self.routes.resize_with(route + 1, OfRoute::default);
        }
        let Some(known) = self.routes.get_mut(route) else { return };
        match &exception.path {
            Some(path) => known.of_path.entry(path.clone()).or_default().push(exception),
            None => known.of_all.push(exception),
        }
    }

    /// Those that a request may be meant by. Where a route has none this is all that they cost.
    pub(crate) fn of<'a>(&'a self, facts: &'a RequestFacts<'_>) -> Applied<'a> {
        const MULTIPART: &[u8] = b"multipart/";
        let Some(known) = self.routes.get(facts.route) else { return Applied::default() };
        let kind = facts.content_type.trim_ascii_start().get(..MULTIPART.len()).unwrap_or_default();
        Applied {
            of_path: known.of_path.get(facts.path).map_or(&[], Vec::as_slice),
            of_all: &known.of_all,
            method: facts.method,
            is_multipart: kind.eq_ignore_ascii_case(MULTIPART),
        }
    }
}

/// What may be excepted of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Applied<'a> {
    of_path: &'a [Exception],
    of_all: &'a [Exception],
    method: &'a str,
    is_multipart: bool,
}

impl<'a> Applied<'a> {
    /// Whether the model of texts is not to read a unit, by which exception.
    pub(crate) fn unit(&self, kind: UnitKind, name: &[u8]) -> Option<u16> {
        // The parts of a form have no names for the model: what is said of one of them would hold for all.
        if self.is_multipart && kind == UnitKind::Body {
            return None;
        }
        self.find(|what| {
            matches!(what, Excepted::Unit { kind: known, name: wanted } if *known == kind && wanted == name)
        })
    }

    /// Whether the application's model is not to read a part.
    pub(crate) fn part(&self, kind: PartKind, name: &[u8]) -> Option<u16> {
        self.find(|what| {
            matches!(what, Excepted::Part { kind: known, name: wanted } if *known == kind && wanted == name)
        })
    }

    /// Whether path and headers are not to count.
    pub(crate) fn probe(&self) -> Option<u16> {
        self.find(|what| matches!(what, Excepted::Probe))
    }

    /// The limits that do not hold for somebody, with the exception that says so.
    pub(crate) fn limits(
        &self,
        client: IpAddr,
        kind: IdentityKind,
    ) -> impl Iterator<Item = (u16, Exempt)> + use<'a> {
        let client = client.to_canonical();
        self.all().flat_map(move |exception| {
            exception.what.iter().filter_map(move |what| match what {
                Excepted::Limit { exempt, who } => {
                    let is_meant =
                        who.is_none_or(|(network, known)| network.contains(&client) && known == kind);
                    is_meant.then_some((exception.number, *exempt))
                }
                _ => None,
            })
        })
    }

    fn all(&self) -> impl Iterator<Item = &'a Exception> + use<'a> {
        let method = self.method;
        let is_meant = move |exception: &&Exception| {
            (exception.method.is_empty() || exception.method == method)
                && !exception.is_over.load(Ordering::Relaxed)
        };
        self.of_path.iter().chain(self.of_all).filter(is_meant)
    }

    fn find(&self, is_meant: impl Fn(&Excepted) -> bool) -> Option<u16> {
        self.all().find(|exception| exception.what.iter().any(&is_meant)).map(|exception| exception.number)
    }
}

/// The exceptions without which a request would have been thought of otherwise, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    numbers: [u16; USED_MAX],
    count: u8,
}

impl Used {
    /// One more, if it is not known.
    pub fn note(&mut self, number: u16) {
        if self.iter().any(|known| known == number) {
            return;
        }
        if let Some(place) = self.numbers.get_mut(usize::from(self.count)) {
            *place = number;
            self.count += 1;
        }
    }

    pub(crate) fn join(&mut self, other: Self) {
        other.iter().for_each(|number| self.note(number));
    }

    /// Each once.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.numbers.into_iter().take(usize::from(self.count))
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(number: u16, method: &str, path: Option<&str>, what: Excepted) -> Exception {
        let path = path.map(str::to_owned);
        Exception { number, method: method.to_owned(), path, what: vec![what], is_over: Arc::default() }
    }

    fn parameter(name: &str) -> Excepted {
        Excepted::Unit { kind: UnitKind::Parameter, name: name.into() }
    }

    #[test]
    fn an_exception_is_for_its_route_method_path_kind_and_name_alone() {
        let mut exceptions = Exceptions::default();
        exceptions.add(1, exception(0, "POST", Some("/edit"), parameter("q")));
        exceptions.add(1, exception(1, "GET", None, parameter("w")));
        exceptions.add(1, exception(2, "GET", Some("/x"), Excepted::Probe));
        let find = |route, method, path, kind, name: &str| {
            let facts = RequestFacts { route, method, path, ..RequestFacts::EMPTY };
            exceptions.of(&facts).unit(kind, name.as_bytes())
        };
        let kind = UnitKind::Parameter;
        for (name, found, want) in [
            ("meant", find(1, "POST", "/edit", kind, "q"), Some(0)),
            ("another route", find(0, "POST", "/edit", kind, "q"), None),
            ("a route behind", find(7, "POST", "/edit", kind, "q"), None),
            ("another method", find(1, "GET", "/edit", kind, "q"), None),
            ("another path", find(1, "POST", "/edit/", kind, "q"), None),
            ("another name", find(1, "POST", "/edit", kind, "Q"), None),
            ("another kind", find(1, "POST", "/edit", UnitKind::Cookie, "q"), None),
            ("the whole route", find(1, "GET", "/any", kind, "w"), Some(1)),
            ("the path's own beside it", find(1, "GET", "/x", kind, "w"), Some(1)),
        ] {
            assert_eq!(found, want, "{name}");
        }
        let facts = RequestFacts { route: 1, path: "/x", ..RequestFacts::EMPTY };
        assert_eq!(exceptions.of(&facts).probe(), Some(2));
        assert_eq!(exceptions.of(&RequestFacts { path: "/y", ..facts }).probe(), None);
    }

    #[test]
    fn one_that_is_over_or_of_a_form_holds_no_more() {
        let mut exceptions = Exceptions::default();
        let body = Excepted::Unit { kind: UnitKind::Body, name: Vec::new() };
        let one = exception(3, "", None, body);
        let is_over = Arc::clone(&one.is_over);
        exceptions.add(0, one);
        let plain = RequestFacts { content_type: b"text/plain", ..RequestFacts::EMPTY };
        let form = RequestFacts { content_type: b" Multipart/form-data; boundary=x", ..plain };
        assert_eq!(exceptions.of(&plain).unit(UnitKind::Body, b""), Some(3));
        assert_eq!(exceptions.of(&form).unit(UnitKind::Body, b""), None);
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(exceptions.of(&plain).unit(UnitKind::Body, b""), None);
    }

    #[test]
    fn limits_are_lifted_for_whom_they_are() {
        let mut exceptions = Exceptions::default();
        let exempt = Exempt { identity: true, ..Exempt::default() };
        let who = Some(("192.0.2.0/24".parse().unwrap(), IdentityKind::Address));
        exceptions.add(0, exception(4, "", None, Excepted::Limit { exempt, who }));
        let facts = RequestFacts::EMPTY;
        let lifted = |client: &str, kind| {
            exceptions.of(&facts).limits(client.parse().unwrap(), kind).collect::<Vec<_>>()
        };
        assert_eq!(lifted("192.0.2.9", IdentityKind::Address), [(4, exempt)]);
        assert_eq!(lifted("::ffff:192.0.2.9", IdentityKind::Address), [(4, exempt)]);
        assert!(lifted("192.0.3.9", IdentityKind::Address).is_empty());
        assert!(lifted("192.0.2.9", IdentityKind::Session).is_empty());
    }

    #[test]
    fn uses_are_told_once_and_bounded() {
        let mut used = Used::default();
        assert!(used.is_empty());
        for number in (0..20).chain(0..20) {
            used.note(number);
        }
        assert_eq!(used.iter().collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    }
}
