// SPDX-License-Identifier: Apache-2.0
//! Rewrites of the path by regular expressions.

use regex::Regex;

/// A compiled rewrite.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// What is searched in the normalised path.
    pub pattern: Regex,
    /// What the match becomes.
    pub target: String,
}

/// The path and query after the first rewrite that matches; `None` when none does.
///
/// A target may carry a query of its own; the request's follows it.
pub fn rewrite(rewrites: &[Rewrite], path: &str, query: Option<&str>) -> Option<(String, Option<String>)> {
    let rule = rewrites.iter().find(|rule| rule.pattern.is_match(path))?;
    let rewritten = rule.pattern.replace(path, rule.target.as_str()).into_owned();
    let (path, own_query) = match rewritten.split_once('?') {
        Some((path, own)) => (path.to_owned(), Some(own.to_owned())),
        None => (rewritten, None),
    };
    let query = match (own_query, query) {
        (Some(own), Some(query)) => Some(format!("{own}&{query}")),
        (Some(own), None) => Some(own),
        (None, query) => query.map(str::to_owned),
    };
    Some((path, query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_match_wins_and_captures_work() {
        let rules = [
            ("^/docs/[0-9a-f-]{36}/?$", "/docs/[id]/index.html"),
            ("^/u/(?P<name>[a-z]+)$", "/users/${name}"),
            ("^/s/(.*)$", "/search?q=$1"),
            ("^/", "/never/"),
        ]
        .map(|(pattern, target)| Rewrite { pattern: Regex::new(pattern).unwrap(), target: target.into() });
        for (path, query, want, want_query) in [
            ("/docs/550e8400-e29b-41d4-a716-446655440000", None, "/docs/[id]/index.html", None),
            ("/u/ann", Some("a=1"), "/users/ann", Some("a=1")),
            ("/s/x", Some("p=2"), "/search", Some("q=x&p=2")),
            ("/other", None, "/never/other", None),
        ] {
            let got = rewrite(&rules, path, query);
            assert_eq!(got, Some((want.to_owned(), want_query.map(str::to_owned))), "{path}");
        }
        assert_eq!(rewrite(&rules[..3], "/other", None), None);
    }
}
