// SPDX-License-Identifier: Apache-2.0
//! The compiled table of routes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use regex::RegexBuilder;
use sunbeam_encoding::BodyRewrite;
use sunbeam_rate_limit::ROUTE_LIMITS_MAX;

use crate::backends::{BackendEntry, BackendList};
use crate::config::{Balance, HealthSection, Http2Mode, PathSection, RouteSection};
use crate::group::{Backend, Group, Health, Member};
use crate::path::{match_prefix, normalise};
use crate::rewrite::Rewrite;
use crate::url::{BackendUrl, Scheme};

/// Bytes that a compiled rewrite may take: bounds what a pattern like `(a{999}){999}` costs.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// All routes, looked up by host.
#[derive(Debug, Default)]
pub struct Table {
    routes: Vec<Arc<Route>>,
    exact: HashMap<String, usize>,
    prefixes: HashMap<String, usize>,
    wildcards: HashMap<String, usize>,
    any: Option<usize>,
    groups: Vec<Arc<Group>>,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// The configured host or prefix: the metric label.
    pub name: String,
    /// Its place in the table.
    pub index: usize,
    /// Where requests go that no sub-route and no file takes.
    pub backend: Option<Arc<Group>>,
    /// Whether plain HTTP is served.
    pub plain_http: bool,
    /// Forward WebSocket upgrades.
    pub websocket: bool,
    /// Send the client's Host on.
    pub preserve_host: bool,
    /// Compress answers.
    pub compress: bool,
    /// 0: the node's bound.
    pub max_body_bytes: u64,
    /// Directory of files, and the fallback in it.
    pub static_root: Option<(String, Option<String>)>,
    /// Longest prefix first.
    pub paths: Vec<PathRoute>,
    /// Whether some path asks an auth server. Then backends get the path that was matched, not the one
    /// that was sent: nobody shall read it another way than the guard did.
    pub is_guarded: bool,
    /// In order.
    pub rewrites: Vec<Rewrite>,
    /// In order.
    pub body_rewrites: Vec<BodyRewrite>,
    /// Set on each answer.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
}

/// A sub-route.
#[derive(Debug)]
pub struct PathRoute {
    /// Normalised.
    pub prefix: String,
    /// Where these requests go.
    pub backend: Arc<Group>,
    /// Cut the prefix off.
    pub strip_prefix: bool,
    /// Put in front; empty or beginning with a slash, without one at its end.
    pub upstream_path_prefix: String,
    /// Forward WebSocket upgrades.
    pub websocket: bool,
    /// Ask first.
    pub auth: Option<AuthRequest>,
}

/// An auth subrequest.
#[derive(Debug)]
pub struct AuthRequest {
    /// Who is asked: one.
    pub backend: Arc<Group>,
    /// What is asked: the URL's path and query.
    pub path_and_query: String,
    /// Headers that go from the answer to the backend.
    pub capture: Vec<HeaderName>,
    /// How long the answer may take.
    pub timeout: Duration,
}

impl Table {
    /// Compiles the routes. What is wrong goes to `report` with the key's path; the table is usable
    /// only if nothing was reported.
    pub fn compile(sections: &[RouteSection], report: &mut dyn FnMut(&str, String)) -> Self {
        let mut table = Self::default();
        for (index, section) in sections.iter().enumerate() {
            let at = format!("routes[{index}]");
            let before = table.routes.len();
            let route = compile_route(section, index, &at, &mut table.groups, report);
            table.routes.push(Arc::new(route));
            table.enter(section, before, &at, report);
        }
        table
    }

    /// The route of a host name (lower case, without port), the most exact match first.
    pub fn find(&self, host: &str) -> Option<&Arc<Route>> {
        let by_prefix = || self.prefixes.get(host.split_once('.').map_or(host, |(label, _)| label));
        let index = self.exact.get(host).or_else(by_prefix).or_else(|| self.find_wildcard(host));
        self.routes.get(*index.or(self.any.as_ref())?)
    }

    /// All routes, in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Every group of backends, auth servers among them, by its index.
    pub fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    /// Every full host name that a route names.
    pub fn host_names(&self) -> impl Iterator<Item = &str> {
        self.exact.keys().map(String::as_str)
    }

    fn find_wildcard(&self, host: &str) -> Option<&usize> {
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(index) = self.wildcards.get(parent) {
                return Some(index);
            }
            rest = parent;
        }
        None
    }

    fn enter(
        &mut self,
        section: &RouteSection,
        index: usize,
        at: &str,
        report: &mut dyn FnMut(&str, String),
    ) {
        let (host, prefix) = (section.host.to_ascii_lowercase(), section.host_prefix.to_ascii_lowercase());
        let taken = match (host.as_str(), prefix.as_str()) {
            ("", "") => {
                report(at, "a route needs `host_prefix` or `host`".to_owned());
                return;
            }
            ("", prefix) => {
                if prefix.contains('.') || !is_host(prefix) {
                    let message = format!("`{prefix}` is not one label; use `host` for a full name");
                    report(&format!("{at}.host_prefix"), message);
                    return;
                }
                self.prefixes.insert(prefix.to_owned(), index).is_some()
            }
            ("*", "") => self.any.replace(index).is_some(),
            (host, "") => {
                let suffix = host.strip_prefix("*.");
                if !is_host(suffix.unwrap_or(host)) {
                    let message = format!("`{host}` is not a host name, `*.name` or `*`");
                    report(&format!("{at}.host"), message);
                    return;
                }
                match suffix {
                    Some(suffix) => self.wildcards.insert(suffix.to_owned(), index).is_some(),
                    None => self.exact.insert(host.to_owned(), index).is_some(),
                }
            }
            _ => {
                report(&format!("{at}.host_prefix"), "give `host_prefix` or `host`, not both".to_owned());
                return;
            }
        };
        if taken {
            report(at, "another route has this host already".to_owned());
        }
    }
}

/// The host of an authority: lower case, without port, brackets and the final dot.
pub fn host_of(authority: &str) -> String {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Letters, digits, hyphens, underscores (which real hosts have), colons of IPv6.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte))
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

/// What could never match, or not all of them.
fn check_rate_limits(section: &RouteSection, at: &str, report: &mut dyn FnMut(&str, String)) {
    if section.rate_limits.len() > ROUTE_LIMITS_MAX {
        report(&format!("{at}.rate_limits"), format!("holds more than {ROUTE_LIMITS_MAX}"));
    }
    for (index, limit) in section.rate_limits.iter().enumerate() {
        let at = format!("{at}.rate_limits[{index}]");
        let is_odd = ["//", "/.", "\\", "%", "?", "#", ";", "*"].iter().any(|odd| limit.path.contains(odd));
        if !limit.path.starts_with('/') || is_odd {
            report(
                &format!("{at}.path"),
                format!("`{}` is not a path as it reads decoded, `/login`", limit.path),
            );
        }
        let is_method =
            |method: &String| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if let Some(wrong) = limit.methods.iter().find(|method| !is_method(method)) {
            report(&format!("{at}.methods"), format!("`{wrong}` is not a method in capitals, `POST`"));
        }
    }
}

fn compile_route(
    section: &RouteSection,
    index: usize,
    at: &str,
    groups: &mut Vec<Arc<Group>>,
    report: &mut dyn FnMut(&str, String),
) -> Route {
    let name =
        if section.host.is_empty() { &section.host_prefix } else { &section.host }.to_ascii_lowercase();
    let has_files = !section.static_root.is_empty();
    if section.backend.is_none() && !has_files && section.paths.is_empty() {
        report(at, "a route needs `backend`, `static_root` or `paths`".to_owned());
    }
    if !section.fallback.is_empty() && !has_files {
        report(&format!("{at}.fallback"), "needs `static_root`".to_owned());
    }
    if section.backend.is_some() && section.backend_http2 == Http2Mode::Always && section.websocket {
        report(
            &format!("{at}.websocket"),
            "a backend with `backend_http2 = \"always\"` takes no WebSocket".to_owned(),
        );
    }
    check_health(section, at, report);
    check_rate_limits(section, at, report);
    let key = format!("{at}.backend");
    let own = section.backend.as_ref().map(|list| add_group(list, section, name.clone(), key, groups));
    let mut paths: Vec<PathRoute> = section
        .paths
        .iter()
        .enumerate()
        .filter_map(|(n, path)| {
            compile_path(path, section, own.as_ref(), &format!("{at}.paths[{n}]"), groups, report)
        })
        .collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.prefix.len()));
    for pair in paths.windows(2) {
        if let [one, two] = pair
            && one.prefix == two.prefix
        {
            report(&format!("{at}.paths"), format!("the prefix `{}` stands twice", one.prefix));
        }
    }
    Route {
        name,
        index,
        backend: own,
        plain_http: section.disable_secure_redirection,
        websocket: section.websocket,
        preserve_host: section.preserve_host,
        compress: section.compress,
        max_body_bytes: section.max_body_bytes,
        static_root: has_files.then(|| {
            (section.static_root.clone(), Some(section.fallback.clone()).filter(|text| !text.is_empty()))
        }),
        is_guarded: paths.iter().any(|path| path.auth.is_some()),
        paths,
        rewrites: compile_rewrites(section, at, report),
        body_rewrites: compile_body_rewrites(section, at, report),
        response_headers: compile_headers(section, at, report),
    }
}

fn compile_path(
    path: &PathSection,
    route: &RouteSection,
    inherited: Option<&Arc<Group>>,
    at: &str,
    groups: &mut Vec<Arc<Group>>,
    report: &mut dyn FnMut(&str, String),
) -> Option<PathRoute> {
    let before = &format!("{at}.prefix");
    let prefix = match normalise(&path.prefix) {
        Ok(prefix) => prefix.into_owned(),
        Err(_) => {
            report(before, format!("`{}` is not a path that begins with `/`", path.prefix));
            return None;
        }
    };
    if !prefix.is_ascii() || prefix.contains(['?', '#', ' ']) {
        // Requests carry such letters percent-encoded: the prefix would never match, and guard nothing.
        report(before, format!("`{}` must be written as a URL's path: percent-encode it", path.prefix));
        return None;
    }
    let front = path.upstream_path_prefix.trim_end_matches('/');
    if !front.is_empty() && !front.starts_with('/') {
        report(&format!("{at}.upstream_path_prefix"), "must begin with `/`".to_owned());
    }
    if path.auth_request.is_none() && !path.auth_capture_headers.is_empty() {
        report(&format!("{at}.auth_capture_headers"), "needs `auth_request`".to_owned());
    }
    let name = if route.host.is_empty() { &route.host_prefix } else { &route.host }.to_ascii_lowercase();
    let backend = match (&path.backend, inherited) {
        (Some(list), _) => add_group(list, route, format!("{name}{prefix}"), format!("{at}.backend"), groups),
        (None, Some(group)) => Arc::clone(group),
        (None, None) => {
            report(at, "a path needs `backend`, its own or the route's".to_owned());
            return None;
        }
    };
    let capture = path.auth_capture_headers.iter().enumerate();
    let capture = capture
        .filter_map(|(n, name)| header_name(name, &format!("{at}.auth_capture_headers[{n}]"), report))
        .collect();
    let auth = path.auth_request.as_ref().map(|auth| AuthRequest {
        backend: add_auth_server(
            auth,
            route,
            format!("{name}{prefix} auth"),
            format!("{at}.auth_request"),
            groups,
        ),
        path_and_query: auth.path_and_query.clone(),
        capture,
        timeout: Duration::from_secs(path.auth_timeout_secs),
    });
    Some(PathRoute {
        prefix,
        backend,
        strip_prefix: path.strip_prefix,
        upstream_path_prefix: front.to_owned(),
        websocket: path.websocket,
        auth,
    })
}

fn backend(url: &BackendUrl, route: &RouteSection) -> Arc<Backend> {
    let is_tls = url.scheme == Scheme::Https;
    Arc::new(Backend {
        url: url.clone(),
        http2: route.backend_http2,
        ca_path: if is_tls { route.backend_ca_path.clone() } else { String::new() },
        verify: !is_tls || route.backend_verify,
    })
}

/// Makes the group of a `backend` key.
fn add_group(
    list: &BackendList,
    route: &RouteSection,
    name: String,
    key: String,
    groups: &mut Vec<Arc<Group>>,
) -> Arc<Group> {
    let member = |entry: &BackendEntry| Member { backend: backend(&entry.url, route), weight: entry.weight };
    let is_one_host = route.preserve_host && !route.host.is_empty() && !route.host.contains('*');
    let group = Arc::new(Group {
        index: groups.len(),
        name,
        key,
        members: list.entries().iter().map(member).collect(),
        balance: route.balance,
        health: Health::new(&route.health, is_one_host.then(|| route.host.clone())),
    });
    groups.push(Arc::clone(&group));
    group
}

/// An auth server is one, and not checked: without its answer nobody passes anyway.
fn add_auth_server(
    url: &BackendUrl,
    route: &RouteSection,
    name: String,
    key: String,
    groups: &mut Vec<Arc<Group>>,
) -> Arc<Group> {
    let backend = Arc::new(Backend { http2: Http2Mode::Auto, ..(*backend(url, route)).clone() });
    let group = Arc::new(Group {
        index: groups.len(),
        name,
        key,
        members: vec![Member { backend, weight: 1 }],
        balance: Balance::RoundRobin,
        health: Health::new(&HealthSection::default(), None),
    });
    groups.push(Arc::clone(&group));
    group
}

fn check_health(section: &RouteSection, at: &str, report: &mut dyn FnMut(&str, String)) {
    let path = &section.health.path;
    let at = format!("{at}.health.path");
    if path.is_empty() {
        return;
    }
    if !path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err() || path.contains('#') {
        report(&at, format!("`{path}` is not a path that begins with `/`"));
    }
    if section.backend.is_none() && section.paths.iter().all(|path| path.backend.is_none()) {
        report(&at, "needs `backend`".to_owned());
    }
}

fn compile_rewrites(section: &RouteSection, at: &str, report: &mut dyn FnMut(&str, String)) -> Vec<Rewrite> {
    let mut rewrites = Vec::new();
    for (n, rule) in section.rewrites.iter().enumerate() {
        let at = format!("{at}.rewrites[{n}]");
        if rule.pattern.0.is_empty() {
            report(&at, "a rewrite needs `pattern`".to_owned());
            continue;
        }
        match RegexBuilder::new(&rule.pattern.0).size_limit(REGEX_BYTES_MAX).build() {
            Ok(pattern) => rewrites.push(Rewrite { pattern, target: rule.target.0.clone() }),
            Err(error) => {
                // The regex crate draws the pattern over several lines; its last one says what is wrong.
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                report(&format!("{at}.pattern"), format!("not a regular expression: {last}"));
            }
        }
    }
    rewrites
}

fn compile_body_rewrites(
    section: &RouteSection,
    at: &str,
    report: &mut dyn FnMut(&str, String),
) -> Vec<BodyRewrite> {
    let mut rewrites = Vec::new();
    for (n, rule) in section.body_rewrites.iter().enumerate() {
        let replace = Bytes::from(rule.replace.clone());
        match BodyRewrite::new(rule.find.as_bytes(), replace, rule.types.clone(), rule.max_bytes) {
            Ok(rewrite) => rewrites.push(rewrite),
            Err(error) => report(&format!("{at}.body_rewrites[{n}]"), error.to_string()),
        }
    }
    rewrites
}

fn compile_headers(
    section: &RouteSection,
    at: &str,
    report: &mut dyn FnMut(&str, String),
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (n, rule) in section.response_headers.iter().enumerate() {
        let at = format!("{at}.response_headers[{n}]");
        let name = header_name(&rule.name, &format!("{at}.name"), report);
        let value = HeaderValue::from_str(&rule.value).ok();
        if value.is_none() {
            report(&format!("{at}.value"), "not a header value".to_owned());
        }
        headers.extend(name.zip(value));
    }
    headers
}

/// A header that may be set or captured: those that frame the message or belong to the connection may not.
fn header_name(name: &str, at: &str, report: &mut dyn FnMut(&str, String)) -> Option<HeaderName> {
    const FRAMING: [HeaderName; 8] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::CONTENT_ENCODING,
    ];
    match name.parse::<HeaderName>() {
        Ok(name) if FRAMING.contains(&name) => {
            report(at, format!("`{name}` frames the message and cannot be set"));
            None
        }
        Ok(name) => Some(name),
        Err(_) => {
            report(at, format!("`{name}` is not a header name"));
            None
        }
    }
}

impl Route {
    /// The sub-route of a normalised path and where the path's rest begins.
    pub fn path_route(&self, path: &str) -> Option<(&PathRoute, usize)> {
        self.paths.iter().find_map(|route| Some((route, match_prefix(path, &route.prefix)?)))
    }
}

impl PathRoute {
    /// The path that the backend gets; `None` when it stays as the client sent it. `rest` is where
    /// the normalised path goes on behind the prefix.
    pub fn upstream_path(&self, path: &str, rest: usize) -> Option<String> {
        if !self.strip_prefix && self.upstream_path_prefix.is_empty() {
            return None;
        }
        let kept = if self.strip_prefix { path.get(rest..).unwrap_or_default() } else { path };
        let slash = if kept.starts_with('/') { "" } else { "/" };
        Some(format!("{}{slash}{kept}", self.upstream_path_prefix))
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_config::{LoadError, Source, Sources, load_sources, section};

    use super::*;

    section! {
        /// Only routes.
        pub struct Only {
            /// Routes.
            routes: Vec<RouteSection> = Vec::new(),
        }
    }

    fn compile(text: &str) -> Result<Table, Vec<String>> {
        let source = Source { name: "c".into(), path: None, text: text.into() };
        let mut table = None;
        load_sources(Sources(vec![source]), |only: &Only, reader| {
            table = Some(Table::compile(&only.routes, &mut |at, message| reader.error(at, message)));
        })
        .map(|_| table.unwrap_or_default())
        .map_err(|error| match error {
            LoadError::Problems { problems } => problems.iter().map(ToString::to_string).collect(),
            error => vec![error.to_string()],
        })
    }

    #[test]
    fn the_most_exact_host_wins() {
        let table = compile(
            "[[routes]]\nhost = \"*\"\nbackend = \"http://any\"\n[[routes]]\nhost = \"*.example.org\"\nbackend = \"http://w\"\n\
             [[routes]]\nhost_prefix = \"docs\"\nbackend = \"http://p\"\n[[routes]]\nhost = \"docs.example.org\"\nbackend = \"http://e\"\n\
             [[routes]]\nhost = \"*.deep.example.org\"\nbackend = \"http://d\"\n",
        )
        .unwrap();
        for (host, want) in [
            ("docs.example.org", "docs.example.org"),
            ("docs.other.net", "docs"),
            ("docs", "docs"),
            ("x.example.org", "*.example.org"),
            ("x.deep.example.org", "*.deep.example.org"),
            ("x.y.example.org", "*.example.org"),
            ("example.org", "*"),
            ("", "*"),
        ] {
            assert_eq!(table.find(host).map(|route| route.name.as_str()), Some(want), "{host}");
        }
        assert!(compile("[[routes]]\nhost=\"a.b\"\nbackend=\"http://x\"").unwrap().find("c.d").is_none());
    }

    #[test]
    fn authorities_are_reduced_to_the_host() {
        for (authority, want) in
            [("A.b:80", "a.b"), ("a.b.", "a.b"), ("[::1]:443", "::1"), ("[::1]", "::1"), ("", "")]
        {
            assert_eq!(host_of(authority), want);
        }
    }

    #[test]
    fn the_longest_prefix_wins_and_paths_are_rebuilt() {
        let table = compile(
            "[[routes]]\nhost = \"a.b\"\nbackend = \"http://x\"\n[[routes.paths]]\nprefix = \"/api\"\nstrip_prefix = true\n\
             [[routes.paths]]\nprefix = \"/api/v2\"\nbackend = \"http://y\"\nupstream_path_prefix = \"/new/\"\n\
             [[routes.paths]]\nprefix = \"/m\"\nstrip_prefix = true\nupstream_path_prefix = \"/files\"\n",
        )
        .unwrap();
        let route = table.find("a.b").unwrap();
        for (path, want) in [
            ("/api/users", Some(("/api", Some("/users")))),
            ("/api", Some(("/api", Some("/")))),
            ("/api/v2/x", Some(("/api/v2", Some("/new/api/v2/x")))),
            ("/m/a%2Fb", Some(("/m", Some("/files/a%2Fb")))),
            ("/other", None),
        ] {
            let got = route
                .path_route(path)
                .map(|(sub, rest)| (sub.prefix.as_str(), sub.upstream_path(path, rest)));
            assert_eq!(got, want.map(|(prefix, path)| (prefix, path.map(str::to_owned))), "{path}");
        }
    }

    #[test]
    fn each_mistake_is_told_with_its_key() {
        let told = compile(
            "[[routes]]\nbackend = \"http://x\"\n\
             [[routes]]\nhost = \"a b\"\nbackend = \"http://x/path\"\n\
             [[routes]]\nhost = \"a.b\"\nhost_prefix = \"a\"\nfallback = \"i\"\n\
             [[routes]]\nhost = \"c.d\"\nbackend = []\nbalance = \"ip\"\n\
             [routes.health]\npath = \"healthz\"\ninterval_secs = 0\nafter = 1\n\
             [[routes.rewrites]]\npattern = \"(\"\n[[routes.response_headers]]\nname = \"Content-Length\"\nvalue = \"1\"\n\
             [[routes.paths]]\nprefix = \"/été\"\n[[routes.paths]]\nprefix = \"api\"\n[[routes]]\nhost = \"c.d\"\nbackend = \"http://x\"\n",
        )
        .unwrap_err();
        for want in [
            "c:1:1: `routes[0]`: a route needs `host_prefix` or `host`",
            "`routes[1].host`: `a b` is not a host name",
            "`routes[1].backend`: a backend's URL has no path",
            "`routes[2].host_prefix`: give `host_prefix` or `host`, not both",
            "`routes[2]`: a route needs `backend`",
            "`routes[2].fallback`: needs `static_root`",
            "`routes[3].backend`: the list is empty",
            "`routes[3].balance`: `ip` is not one of `round_robin`, `least_connections`, `ip_hash`",
            "`routes[3].health.path`: `healthz` is not a path",
            "`routes[3].health.path`: needs `backend`",
            "`routes[3].health.interval_secs`: 0 is out of range",
            "`routes[3].health.after`: unknown key",
            "`routes[3].rewrites[0].pattern`: not a regular expression: unclosed group",
            "`routes[3].response_headers[0].name`: `content-length` frames the message",
            "`routes[3].paths[0].prefix`: `/été` must be written as a URL's path",
            "`routes[3].paths[1].prefix`: `api` is not a path",
            "`routes[4]`: another route has this host already",
        ] {
            assert!(told.iter().any(|line| line.contains(want)), "missing {want} in {told:#?}");
        }
    }

    #[test]
    fn each_entry_of_a_list_is_read_and_each_mistake_told_at_its_place() {
        let told = compile(
            "[[routes]]\nhost = \"a.b\"\nbackend = [\n\"http://x\",\n\"http://X:80/\",\n\"ftp://y\",\n{ url = \"http://w\", weight = 0 },\n\
             { weight = 1001 },\n{ url = \"http://v\", wait = 1 },\n\"http://z/p\",\n7,\n{ url = \"z\" },\n]\n\
             [[routes.paths]]\nprefix = \"/x\"\nbackend = [\"http://x\", { url = \"https://x\" }, \"http://x\"]\n",
        )
        .unwrap_err();
        for want in [
            "c:5:1: `routes[0].backend[1]`: `http://X:80/` stands in this list already",
            "c:6:1: `routes[0].backend[2]`: `ftp://y` must begin with",
            "c:7:21: `routes[0].backend[3].weight`: 0 is out of range: 1 to 1000",
            "`routes[0].backend[4].weight`: 1001 is out of range",
            "c:8:1: `routes[0].backend[4]`: needs `url`",
            "`routes[0].backend[5].wait`: unknown key",
            "c:10:1: `routes[0].backend[6]`: a backend's URL has no path",
            "c:11:1: `routes[0].backend[7]`: expected a URL or {",
            "`routes[0].backend[8].url`: `z` must begin with",
            "`routes[0].paths[0].backend[2]`: `http://x` stands in this list already",
        ] {
            assert!(told.iter().any(|line| line.contains(want)), "missing {want} in {told:#?}");
        }
        let many: Vec<String> = (0..257).map(|n| format!("\"http://h{n}\"")).collect();
        let text = format!("[[routes]]\nhost = \"a.b\"\nbackend = [{}]\n", many.join(","));
        let told = compile(&text).unwrap_err();
        assert!(told.iter().any(|line| line.contains("257 backends; at most 256")), "{told:?}");
    }

    #[test]
    fn groups_carry_weights_and_health_and_a_path_without_its_own_shares_the_routes() {
        let table = compile(
            "[[routes]]\nhost = \"a.b\"\nbalance = \"least_connections\"\n\
             backend = [\"http://x\", { url = \"http://y\", weight = 3 }]\n[routes.health]\npath = \"/up?q=1\"\n\
             [[routes.paths]]\nprefix = \"/api\"\n[[routes.paths]]\nprefix = \"/own\"\nbackend = \"http://z\"\n\
             auth_request = \"http://auth/check\"\n[[routes]]\nhost_prefix = \"p\"\nbackend = \"http://x\"\n[routes.health]\npath = \"/\"\n",
        )
        .unwrap();
        let told: Vec<_> = table
            .groups()
            .iter()
            .map(|group| {
                let weights: Vec<u32> = group.members.iter().map(|member| member.weight).collect();
                let host = group.health.check.as_ref().map(|check| check.host.as_deref());
                (group.name.as_str(), group.key.as_str(), weights, group.balance, host)
            })
            .collect();
        let least = Balance::LeastConnections;
        assert_eq!(
            told,
            [
                ("a.b", "routes[0].backend", vec![1, 3], least, Some(Some("a.b"))),
                ("a.b/own", "routes[0].paths[1].backend", vec![1], least, Some(Some("a.b"))),
                ("a.b/own auth", "routes[0].paths[1].auth_request", vec![1], Balance::RoundRobin, None),
                ("p", "routes[1].backend", vec![1], Balance::RoundRobin, Some(None)),
            ]
        );
        let route = table.find("a.b").unwrap();
        let shared = &route.path_route("/api/x").unwrap().0.backend;
        assert!(Arc::ptr_eq(shared, route.backend.as_ref().unwrap()));
        assert!(table.groups().iter().enumerate().all(|(index, group)| group.index == index));
    }
}
