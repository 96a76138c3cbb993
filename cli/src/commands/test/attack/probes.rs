// SPDX-License-Identifier: Apache-2.0
//! What is sent: attacks that would do no harm if they came through, and requests that people make every day.
//!
//! All but the first few come with the header fields of a browser: what stops them is what they ask for. An attack reads
//! what nobody would miss or runs `id`; none writes, waits or calls anybody but the host itself.

/// What should come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// An attack, whatever the site is.
    Stopped,
    /// Suspicious, and on some sites ordinary: some layer has to see it, and may let it pass.
    Noticed,
    /// What people do.
    Passes,
}

impl Want {
    /// `stopped`
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Noticed => "noticed",
            Self::Passes => "passes",
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// What it is, in a few words.
    pub(super) name: &'static str,
    /// What should come of it.
    pub(super) want: Want,
    method: &'static str,
    target: &'static str,
    /// Fields besides the browser's; one of the same name replaces the browser's.
    fields: &'static [(&'static str, &'static str)],
    body: &'static str,
    /// Bytes of one more field.
    padding: usize,
}

const fn attack(name: &'static str, target: &'static str) -> Probe {
    Probe { name, want: Want::Stopped, method: "GET", target, fields: &[], body: "", padding: 0 }
}

const fn ordinary(name: &'static str, target: &'static str) -> Probe {
    Probe { want: Want::Passes, ..attack(name, target) }
}

const fn suspicion(name: &'static str, target: &'static str) -> Probe {
    Probe { want: Want::Noticed, ..attack(name, target) }
}

impl Probe {
    const fn post(self, body: &'static str, fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { method: "POST", body, fields, ..self }
    }

    const fn with(self, fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { fields, ..self }
    }

    const fn padded(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// The bytes of the request, for a connection of its own.
    pub(super) fn bytes(&self, host: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        let has = |name: &str| self.fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let browsers = BROWSER.iter().filter(|(name, _)| !has(name));
        for (name, value) in browsers.chain(self.fields).filter(|(_, value)| !value.is_empty()) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.padding > 0 {
            text.push_str(&format!("X-Padding: {}\r\n", "a".repeat(self.padding)));
        }
        if !self.body.is_empty() && !has("Content-Length") {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("Connection: close\r\n\r\n");
        text.push_str(self.body);
        text.into_bytes()
    }
}

/// What a browser sends; a field that a probe sets to nothing is left out.
const BROWSER: [(&str, &str); 8] = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "none"),
    ("Upgrade-Insecure-Requests", "1"),
];

/// A tool's fields: it says what it is and sends little.
const SCANNER: &[(&str, &str)] = &[
    ("User-Agent", "sqlmap/1.8.4#stable (https://sqlmap.org)"),
    ("Accept", "*/*"),
    ("Accept-Language", ""),
    ("Sec-Fetch-Dest", ""),
    ("Sec-Fetch-Mode", ""),
    ("Sec-Fetch-Site", ""),
    ("Upgrade-Insecure-Requests", ""),
];

const FORM: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json"), ("Accept", "application/json")];

/// The first request: a page that everybody may see. Whether the target is ours is told by it.
pub(super) const HELLO: Probe = ordinary("a first page", "/");

/// All of them, in the order in which they are sent: among attacks there is always somebody who means no harm.
pub(super) const PROBES: &[Probe] = &[
    ordinary("a browser's page", "/"),
    attack("scanner: environment file", "/.env"),
    attack("scanner: git repository", "/.git/config"),
    attack("scanner: cloud credentials", "/.aws/credentials"),
    suspicion("scanner: WordPress log-in", "/wp-login.php"),
    suspicion("scanner: says what it is", "/sunbeam-test?id=1").with(SCANNER),
    ordinary("a search with an apostrophe", "/sunbeam-test?q=O%27Reilly+Ireland%27s+best"),
    attack("traversal", "/sunbeam-test?file=../../../../etc/passwd"),
    attack("traversal, encoded twice", "/sunbeam-test?file=%252e%252e%252f%252e%252e%252f%252e%252e%252fetc%252fpasswd"),
    attack("SQL injection: always true", "/sunbeam-test?id=1%27+OR+%271%27%3D%271%27+--+"),
    attack("SQL injection: union", "/sunbeam-test?id=-1+UNION+SELECT+username%2Cpassword+FROM+users--"),
    ordinary(
        "prose with words of SQL",
        "/sunbeam-test?q=select+a+table+from+the+menu+and+drop+your+order+where+you+like",
    ),
    attack("XSS: script", "/sunbeam-test?q=%3Cscript%3Ealert%28document.cookie%29%3C%2Fscript%3E"),
    attack("XSS: event handler", "/sunbeam-test?q=%3Cimg+src%3Dx+onerror%3Dalert%281%29%3E"),
    attack("command injection", "/sunbeam-test?host=127.0.0.1%3Bcat+/etc/passwd"),
    attack("command injection: in a form", "/sunbeam-test").post("name=%24%28id%29%60id%60%7Cid&x=%3B+cat+%2Fetc%2Fpasswd", FORM),
    ordinary("a form", "/sunbeam-test").post("name=Anna+Mc%27Kay&comment=See+you+at+8%3A30+--+thanks%21&total=%2415", FORM),
    attack("log4shell", "/sunbeam-test?q=%24%7Bjndi%3Aldap%3A%2F%2F127.0.0.1%3A9%2Fsunbeam-test%7D"),
    attack("log4shell: in a field", "/sunbeam-test").with(&[("X-Api-Version", "${jndi:ldap://127.0.0.1:9/sunbeam-test}")]),
    attack("SSRF: a cloud's metadata", "/sunbeam-test?url=http%3A%2F%2F169.254.169.254%2Flatest%2Fmeta-data%2F"),
    attack("PHP injection", "/sunbeam-test?page=php%3A%2F%2Ffilter%2Fconvert.base64-encode%2Fresource%3Dindex.php"),
    ordinary("JSON of an application", "/sunbeam-test")
        .post("{\"order\":{\"sku\":\"A-12/b\",\"count\":3,\"price\":19.9},\"note\":\"it's a gift: 50% off, see you\"}", JSON),
    attack("template injection", "/sunbeam-test?name=%7B%7B7%2A7%7D%7D%7B%7Bconfig.__class__.__init__.__globals__%7D%7D"),
    attack("SQL injection: in JSON", "/sunbeam-test").post("{\"user\":\"admin' OR 1=1 -- -\",\"password\":\"x\"}", JSON),
    attack("XXE", "/sunbeam-test").post(
        "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/hostname\">]><a>&b;</a>",
        &[("Content-Type", "application/xml")],
    ),
    ordinary("a link with a URL in it", "/sunbeam-test?next=%2Faccount%3Ftab%3Dorders&utm_source=newsletter"),
    attack("too large a field", "/sunbeam-test").padded(192 * 1024),
    attack("smuggling: two lengths", "/sunbeam-test").post(
        "0\r\n\r\n",
        &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
    ),
    ordinary("a script of a page", "/sunbeam-test/app.js?v=3.2.1").with(&[
        ("Accept", "*/*"),
        ("Sec-Fetch-Dest", "script"),
        ("Sec-Fetch-Mode", "no-cors"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Upgrade-Insecure-Requests", ""),
    ]),
    ordinary("text of another language", "/sunbeam-test?q=Stra%C3%9Fe+%C3%BCber+%26+%E6%9D%B1%E4%BA%AC+%28Tokio%29"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_some_twenty_attacks_and_eight_people_each_with_a_name_of_its_own() {
        let attacks = PROBES.iter().filter(|probe| probe.want != Want::Passes).count();
        assert!((18..=24).contains(&attacks), "{attacks}");
        assert!(PROBES.len() - attacks >= 8);
        let names: BTreeSet<&str> = PROBES.iter().map(|probe| probe.name).collect();
        assert_eq!(names.len(), PROBES.len());
    }

    #[test]
    fn a_probe_is_a_whole_request_for_a_connection_of_its_own() {
        for probe in PROBES {
            let bytes = probe.bytes("shop.example");
            let text = String::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains("\r\nHost: shop.example\r\n") && head.ends_with("Connection: close"),
                "{head}"
            );
            let lines: Vec<&str> = head.split("\r\n").skip(1).collect();
            let names: BTreeSet<String> =
                lines.iter().map(|line| line.split(':').next().unwrap().to_lowercase()).collect();
            assert_eq!(names.len(), lines.len(), "a field stands twice: {head}");
            assert!(!lines.iter().any(|line| line.ends_with(": ")), "{head}");
            let length = lines.iter().find_map(|line| line.strip_prefix("Content-Length: "));
            assert_eq!(
                length.map_or(0, |length| length.parse::<usize>().unwrap()),
                body.len(),
                "{}",
                probe.name
            );
        }
    }
}
