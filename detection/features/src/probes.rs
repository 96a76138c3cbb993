// SPDX-License-Identifier: Apache-2.0
//! Paths that scanners ask every site for.

/// How much a path is one that probes ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// Not known as one.
    #[default]
    No,
    /// Scanners ask every site for it; some sites have it.
    Common,
    /// No site means to serve it: keys, histories, settings, the insides of a repository.
    Never,
}

/// Whether a canonical path is one that probes ask for and visitors do not. Suspicion, no proof: a site may
/// have any of them.
pub fn is_probe(path: &[u8]) -> bool {
    probe(path) > Probe::No
}

/// What a canonical path is. What is never served counts only near the root: a site that shows source code has such
/// names deep inside, and serves them.
pub fn probe(path: &[u8]) -> Probe {
    const NEAR: usize = 3;
    let mut worst = Probe::No;
    let mut previous: &[u8] = b"";
    for (depth, segment) in path.split(|byte| *byte == b'/').enumerate() {
        let found = match probe_segment(previous, segment) {
            Probe::Never if depth > NEAR => Probe::Common,
            found => found,
        };
        worst = worst.max(found);
        previous = segment;
    }
    worst
}

fn probe_segment(previous: &[u8], segment: &[u8]) -> Probe {
    match segment {
        [] => Probe::No,
        [b'.', rest @ ..] if is_secret(rest) => Probe::Never,
        [b'.', rest @ ..] if rest != b"well-known" && !rest.is_empty() => Probe::Common,
        b"passwd" | b"shadow" if previous == b"etc" => Probe::Never,
        _ if is_never_name(segment) => Probe::Never,
        _ if is_probe_name(segment) || has_probe_extension(segment) => Probe::Common,
        _ => Probe::No,
    }
}

/// What follows the dot of a hidden file that holds secrets.
fn is_secret(name: &[u8]) -> bool {
    let is_family = |family: &[u8]| {
        name.strip_prefix(family)
            .is_some_and(|rest| rest.first().is_none_or(|next| !next.is_ascii_alphanumeric()))
    };
    is_family(b"env")
        || matches!(
            name,
            b"git"
                | b"gitignore"
                | b"gitconfig"
                | b"git-credentials"
                | b"gitmodules"
                | b"svn"
                | b"hg"
                | b"bzr"
                | b"cvs"
                | b"aws"
                | b"ssh"
                | b"gnupg"
                | b"kube"
                | b"docker"
                | b"dockerenv"
                | b"htaccess"
                | b"htpasswd"
                | b"ds_store"
                | b"bash_history"
                | b"bashrc"
                | b"bash_profile"
                | b"profile"
                | b"zsh_history"
                | b"history"
                | b"mysql_history"
                | b"psql_history"
                | b"sh_history"
                | b"npmrc"
                | b"netrc"
                | b"pgpass"
                | b"s3cfg"
                | b"ftpconfig"
                | b"boto"
                | b"vscode"
                | b"idea"
                | b"rhosts"
                | b"forward"
                | b"subversion"
                | b"pypirc"
                | b"dbshell"
                | b"viminfo"
                | b"yarnrc"
                | b"terraform"
                | b"htaccess.bak"
                | b"git.zip"
                | b"travis.yml"
        )
}

fn is_never_name(segment: &[u8]) -> bool {
    matches!(
        segment,
        b"wp-config.php"
            | b"wp-config.php.bak"
            | b"wp-config.php~"
            | b"wp-config.bak"
            | b"wp-config.txt"
            | b"wp-config.old"
            | b"eval-stdin.php"
            | b"boaform"
            | b"hnap1"
            | b"gponform"
            | b"_ignition"
            | b"win.ini"
            | b"boot.ini"
            | b"id_rsa"
            | b"id_dsa"
            | b"id_ed25519"
            | b"authorized_keys"
            | b"c99.php"
            | b"r57.php"
            | b"wso.php"
            | b"jmx-console"
            | b"invoker"
            | b"proc_self_environ"
    )
}

fn is_probe_name(segment: &[u8]) -> bool {
    matches!(
        segment,
        b"wp-login.php"
            | b"xmlrpc.php"
            | b"wlwmanifest.xml"
            | b"phpmyadmin"
            | b"pma"
            | b"myadmin"
            | b"phpinfo.php"
            | b"info.php"
            | b"shell.php"
            | b"adminer.php"
            | b"cgi-bin"
            | b"actuator"
            | b"manager"
            | b"server-status"
            | b"telescope"
            | b"phpunit"
            | b"solr"
            | b"owa"
            | b"autodiscover"
            | b"etc"
            | b"passwd"
            | b"web.config"
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

    #[test]
    fn what_no_site_serves_is_told_from_what_some_do() {
        for (path, want) in [
            ("/.env", Probe::Never),
            ("/.env.production", Probe::Never),
            ("/api/.git/config", Probe::Never),
            ("/.environment", Probe::Common),
            ("/.netlify/functions/x", Probe::Common),
            ("/owner/repo/src/main/.gitignore", Probe::Common),
            ("/etc/passwd", Probe::Never),
            ("/docs/passwd", Probe::Common),
            ("/wp-config.php.bak", Probe::Never),
            ("/wp-login.php", Probe::Common),
            ("/gitignore", Probe::No),
        ] {
            assert_eq!(probe(path.as_bytes()), want, "{path}");
        }
    }
}
