// SPDX-License-Identifier: Apache-2.0
//! Paths that scanners ask every site for.

/// Whether a canonical path is one that probes ask for and visitors do not. Suspicion, no proof: a site may
/// have any of them.
pub fn is_probe(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(is_probe_segment)
}

fn is_probe_segment(segment: &[u8]) -> bool {
    match segment {
        [] => false,
        [b'.', rest @ ..] => rest != b"well-known" && !rest.is_empty(),
        _ => is_probe_name(segment) || has_probe_extension(segment),
    }
}

fn is_probe_name(segment: &[u8]) -> bool {
    matches!(
        segment,
        b"wp-login.php"
            | b"xmlrpc.php"
            | b"wp-config.php"
            | b"wlwmanifest.xml"
            | b"phpmyadmin"
            | b"pma"
            | b"myadmin"
            | b"phpinfo.php"
            | b"info.php"
            | b"eval-stdin.php"
            | b"shell.php"
            | b"adminer.php"
            | b"cgi-bin"
            | b"boaform"
            | b"hnap1"
            | b"gponform"
            | b"actuator"
            | b"jmx-console"
            | b"manager"
            | b"server-status"
            | b"telescope"
            | b"_ignition"
            | b"phpunit"
            | b"solr"
            | b"owa"
            | b"autodiscover"
            | b"etc"
            | b"passwd"
            | b"win.ini"
            | b"web.config"
            | b"id_rsa"
            | b"credentials"
            | b"docker-compose.yml"
            | b"backup"
            | b"dump"
    )
}

fn has_probe_extension(segment: &[u8]) -> bool {
    let Some(dot) = segment.iter().rposition(|byte| *byte == b'.') else { return false };
    matches!(
        segment.get(dot..).unwrap_or_default(),
        b".sql"
            | b".bak"
            | b".old"
            | b".orig"
            | b".swp"
            | b".env"
            | b".ini"
            | b".cfg"
            | b".conf"
            | b".log"
            | b".pem"
            | b".key"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_told_from_pages() {
        for (path, want) in [
            ("/.env", true),
            ("/app/.git/config", true),
            ("/.well-known/acme-challenge/x", false),
            ("/wp-login.php", true),
            ("/db/dump.sql", true),
            ("/index.php", false),
            ("/", false),
            ("/docs/environment", false),
            ("/a.b/c", false),
        ] {
            assert_eq!(is_probe(path.as_bytes()), want, "{path}");
        }
    }
}
