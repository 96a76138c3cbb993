// SPDX-License-Identifier: Apache-2.0
//! Whether a redirect leads to where one logs in. That is one of the things by which a page shows that it knows somebody
//! (`detection/rate-limit/src/evidence.rs`), so nobody must be able to bring it about by how he asks: sites redirect for
//! much else (a language, a consent, a slash), and repeat in `Location` what they were asked. Only its path counts, by
//! whole segments, and no word of it that stands in the request.

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// Lower case, without port.
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
}

/// Segments of paths to a log-in; `-` stands for `_` too.
const WORDS: [&str; 29] = [
    "login",
    "log-in",
    "logon",
    "log-on",
    "signin",
    "sign-in",
    "signon",
    "sign-on",
    "user-login",
    "customer-login",
    "member-login",
    "admin-login",
    "login-form",
    "loginform",
    "wp-login",
    "servicelogin",
    "auth",
    "authenticate",
    "authentication",
    "authorize",
    "sso",
    "oauth",
    "oauth2",
    "oidc",
    "openid",
    "openid-connect",
    "saml",
    "saml2",
    "adfs",
];

/// Besides those: first labels of hosts where one logs in for others.
const HOSTS: [&str; 3] = ["accounts", "idp", "identity"];

/// Whether it does, for whoever asked for this.
pub(super) fn leads_to_login(location: &str, asked: Asked<'_>) -> bool {
    /// Longer ones are looked at no further.
    const BYTES_MAX: usize = 512;
    let location = location.get(..BYTES_MAX).unwrap_or(location).to_ascii_lowercase();
    let location = location.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = host_and_path(location);
    if repeats(path, &asked.path.to_ascii_lowercase()) {
        return false;
    }
    let mut own = None;
    let mut is_own = |word: &str| own.get_or_insert_with(|| words_of(asked)).contains(word);
    let segments: Vec<String> = path.split('/').map(segment).collect();
    let is_pair = |pair: &[String]| matches!(pair, [one, two] if matches!(&**one, "session" | "sessions") && two == "new");
    segments.iter().any(|segment| WORDS.contains(&segment.as_str()) && !is_own(segment))
        || (segments.windows(2).any(is_pair) && !is_own("session"))
        || host.filter(|host| *host != asked.host).is_some_and(|host| {
            let label = host.split('.').next().unwrap_or_default();
            (WORDS.contains(&label) || HOSTS.contains(&label)) && !is_own(label)
        })
}

/// The host, if it names one, and the path.
fn host_and_path(location: &str) -> (Option<&str>, &str) {
    let behind_scheme = location.split_once(':').filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
    let rest = behind_scheme.map_or(location, |(_, rest)| rest);
    let Some(rest) = rest.strip_prefix("//") else { return (None, rest) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    (Some(host.split(':').next().unwrap_or_default()), path)
}

/// Whether it ends with the path that was asked for: the same page, somewhere else.
fn repeats(path: &str, asked: &str) -> bool {
    let asked = asked.trim_end_matches('/');
    !asked.is_empty() && path.trim_end_matches('/').ends_with(asked)
}

/// `login` of `login.php` and of `login;jsessionid=1`.
fn segment(segment: &str) -> String {
    const ENDING_MAX: usize = 5;
    let segment = segment.split(';').next().unwrap_or_default();
    let name = match segment.rsplit_once('.') {
        Some((name, ending)) if ending.len() <= ENDING_MAX => name,
        _ => segment,
    };
    name.replace('_', "-")
}

/// What stands in a request, in whatever encoding, in lower case, with `-` for what is no letter or digit.
fn words_of(asked: Asked<'_>) -> String {
    /// A site decodes once; what stands in front of it may have done so before.
    const TIMES: usize = 3;
    let mut bytes = [asked.path, asked.query].join(" ").into_bytes();
    let mut all = String::new();
    for _ in 0..=TIMES {
        all.extend(bytes.iter().map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte.to_ascii_lowercase()),
            _ => '-',
        }));
        all.push('-');
        if !bytes.contains(&b'%') {
            break;
        }
        bytes = decoded(&bytes);
    }
    all
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        let byte = digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        let (byte, skipped) = byte.filter(|_| *first == b'%').map_or((*first, 0), |byte| (byte, 2));
        out.push(byte);
        rest = behind.get(skipped..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(location: &str, target: &str) -> bool {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        leads_to_login(location, Asked { host: "shop.example", path, query })
    }

    #[test]
    fn paths_to_a_log_in_are_known_by_whole_segments() {
        for (location, want) in [
            ("/login", true),
            ("/Login/", true),
            ("login?next=/account", true),
            ("../login", true),
            ("/de/login", true),
            ("/login/step", true),
            ("/login.php", true),
            ("/wp-login.php?redirect_to=x", true),
            ("/Account/Login.aspx", true),
            ("/login;jsessionid=77", true),
            ("/users/sign_in", true),
            ("/log-in", true),
            ("/session/new", true),
            ("/sessions/new/", true),
            ("/sso", true),
            ("/auth/realms/shop/protocol/x", true),
            ("/oauth2/start", true),
            ("https://shop.example/login", true),
            ("https://shop.example:8443/login", true),
            ("//shop.example/login", true),
            ("https://login.vendor.example/", true),
            ("https://login.vendor.example?x=y", true),
            ("https://accounts.vendor.example/o/x", true),
            ("https://vendor.example/common/oauth2/v2.0/authorize?client_id=x", true),
            ("https://vendor.example/saml2/idp", true),
            ("/authors/ann", false),
            ("/ssoftware", false),
            ("/blogin", false),
            ("/how-to-login-safely", false),
            ("/session", false),
            ("/new/session", false),
            ("/de/p/77?x=login", false),
            ("/de/p/77#/login", false),
            ("/?next=/login", false),
            ("https://www.shop.example/?x=/login", false),
            ("https://user:login@www.shop.example/", false),
            ("https://www.login.example/", false),
            ("mailto:login", false),
            ("", false),
            ("/", false),
        ] {
            assert_eq!(leads(location, "/account"), want, "{location}");
        }
    }

    #[test]
    fn what_stands_in_the_request_leads_nowhere() {
        for (name, target, location, want) in [
            ("the site's front page", "/", "/login", true),
            ("its pages below", "/admin/", "/admin/login/?next=/admin/", true),
            ("a part of a longer word", "/blog/index", "/login", true),
            ("a language", "/login-x", "/de/login-x", false),
            ("a path below", "/login/x", "/de/login/x", false),
            ("the same page under a prefix", "/p/77", "/login/p/77", false),
            ("the same page with a slash", "/p/77", "/login/p/77/", false),
            ("a way back", "/set-language?next=/login", "/login", false),
            ("another word of it", "/x?next=/login", "/sign-in", true),
            ("in other letters", "/x?next=/LogIn", "/LogIn", false),
            ("encoded", "/x?next=%2F%6C%6Fgin", "/login", false),
            ("encoded twice", "/x?next=%252F%256Cogin", "/login", false),
            ("made a word", "/search?q=Sign+In", "/search/sign-in", false),
            ("another site", "/out?to=https://login.vendor.example/", "https://login.vendor.example/", false),
            ("a new session", "/session", "/session/new", false),
            ("where one is already", "/login", "/login", false),
        ] {
            assert_eq!(leads(location, target), want, "{name}");
        }
        let hosts =
            |host| leads_to_login("https://login.shop.example/", Asked { host, path: "/", query: "" });
        assert!(!hosts("login.shop.example"), "it is there already");
        assert!(hosts("shop.example"));
        let long = format!("/{}/login", "a".repeat(600));
        assert!(!leads(&long, "/account"));
    }
}
