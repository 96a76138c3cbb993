// SPDX-License-Identifier: Apache-2.0
//! What an answer of the site says about whom it knows: the sessions that it opens, the way to its log-in (`way.rs`).

use std::time::SystemTime;

use http::Response;
use http::header::{self, HeaderValue};
use sunbeam_rate_limit::cookie_claim;
use sunbeam_tables::HashKey;

use super::way::{Asked, leads_to_login};
use crate::context::{RequestContext, text};

/// What an answer of the site says about who its client is: sessions that it opens, a redirect to the log-in.
pub(crate) fn note_whom_the_site_knows(context: &mut RequestContext, response: &Response<impl Sized>) {
    /// Sessions that one answer may open; more are not remembered.
    const SESSIONS_MAX: usize = 4;
    let headers = response.headers();
    let pipeline = &context.snapshot.pipeline;
    if headers.contains_key(header::SET_COOKIE) {
        let values = headers.get_all(header::SET_COOKIE).iter().map(HeaderValue::as_bytes);
        let rules = pipeline.rules();
        let claim = |value| set_session(value, rules.session_cookies(), pipeline.memory().hash());
        let is_log_in = |name: &String| rules.login_cookies().contains(name);
        for (name, claim) in values.filter_map(claim).take(SESSIONS_MAX) {
            context.sessions_set.push(claim);
            context.log_ins_set.extend(is_log_in(name).then_some(claim));
        }
    }
    context.is_login_redirect = matches!(response.status().as_u16(), 302 | 303 | 307)
        && text(headers, &header::LOCATION).is_some_and(|location| {
            let (path, query) = context.target();
            leads_to_login(location, Asked { host: &context.host, path, query })
        });
}

/// The name and the claim of a `Set-Cookie` line, if it opens a session; one that ends a session opens none.
fn set_session<'a>(line: &[u8], names: &'a [String], hash: &HashKey) -> Option<(&'a String, u64)> {
    let mut parts = line.split(|byte| *byte == b';');
    let pair = parts.next()?;
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (pair.get(..at)?.trim_ascii(), pair.get(at + 1..)?);
    let name = names.iter().find(|known| known.as_bytes() == name)?;
    let ends = |part: &[u8]| {
        let part = String::from_utf8_lossy(part).to_ascii_lowercase();
        let (attribute, value) = part.split_once('=').unwrap_or((&part, ""));
        match (attribute.trim(), value.trim()) {
            ("max-age", age) => age.starts_with('-') || age.trim_start_matches('0').is_empty(),
            ("expires", date) => is_past(date),
            _ => false,
        }
    };
    if parts.any(ends) { None } else { Some((name, cookie_claim(name, value, hash)?)) }
}

/// Whether a cookie's date is over. Dates come with and without hyphens; one that cannot be read is not.
fn is_past(date: &str) -> bool {
    let words: Vec<String> = date
        .split([' ', '-', ','])
        .filter(|word| !word.is_empty())
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        })
        .collect();
    let [_, day, month, year, time, ..] = words.as_slice() else { return false };
    if year.len() > 2 && year.parse::<u32>().is_ok_and(|year| year < 1970) {
        return true;
    }
    let year = if year.len() == 2 {
        format!("{}{year}", if year.as_str() < "70" { "20" } else { "19" })
    } else {
        year.clone()
    };
    // The day of the week says nothing new, and is often wrong; any will do, but it must be the right one.
    let at = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].iter().find_map(|weekday| {
        httpdate::parse_http_date(&format!("{weekday}, {day:0>2} {month} {year} {time} GMT")).ok()
    });
    at.is_some_and(|at| at <= SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_the_site_deletes_opens_no_session() {
        let (names, hash) = (["session".to_owned()], HashKey::fixed(1));
        for (line, opens) in [
            ("session=a", true),
            ("session=a; Path=/; Max-Age=3600; HttpOnly", true),
            ("session=a; Expires=Fri, 01 Jan 2100 00:00:00 GMT", true),
            ("session=a; Max-Age=0", false),
            ("session=a; max-age = 0", false),
            ("session=a; Max-Age=-1", false),
            ("session=a; Expires=Thu, 01 Jan 1970 00:00:00 GMT", false),
            ("session=a; expires=Thu, 01-Jan-1970 00:00:00 GMT", false),
            ("session=a; Expires=Thursday, 01-Jan-70 00:00:00 GMT", false),
            ("session=a; Expires=Wed, 01-Jan-2020 10:00:00 GMT", false),
            ("session=a; Expires=Wed, 31 Dec 1969 23:59:59 GMT", false),
            ("session=", false),
            ("other=a", false),
        ] {
            assert_eq!(set_session(line.as_bytes(), &names, &hash).is_some(), opens, "{line}");
        }
    }
}
