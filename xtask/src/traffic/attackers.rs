// SPDX-License-Identifier: Apache-2.0
//! Attackers of our own, for what no tool at hand does: lists of probes as botnets carry them, in disguises
//! from none to a whole browser, and guessers of passwords.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::actor::Actor;
use super::chance::Chance;
use super::client::{Client, Headers};
use super::profiles::{CHROME_WINDOWS, Came, FIREFOX_LINUX, SAFARI_IPHONE};
use super::{Generator, How, Label, Run, SECS_MAX, SLOW_SECS_MAX};

pub(super) const GENERATORS: &[Generator] = &[
    Generator {
        name: "probes",
        label: Label::Attack,
        version: &[],
        runs: &[
            Run { intensity: "full", secs_max: SECS_MAX, how: How::Actors(QUICK_PROBES) },
            Run { intensity: "4-a-second", secs_max: SECS_MAX, how: How::Actors(PROBES) },
            Run { intensity: "1-a-second", secs_max: SLOW_SECS_MAX, how: How::Actors(SLOW_PROBES) },
        ],
    },
    Generator {
        name: "guesser",
        label: Label::Attack,
        version: &[],
        runs: &[
            Run { intensity: "10-a-second", secs_max: SECS_MAX, how: How::Actors(QUICK_GUESSERS) },
            Run { intensity: "1-a-second", secs_max: SLOW_SECS_MAX, how: How::Actors(SLOW_GUESSERS) },
        ],
    },
];

const QUICK_PROBES: &[Actor] = &[
    Actor { name: "bare", act: |client, chance| Box::pin(probe(client, chance, bare, 0)) },
    Actor { name: "curl", act: |client, chance| Box::pin(probe(client, chance, curl, 0)) },
    Actor { name: "python", act: |client, chance| Box::pin(probe(client, chance, python, 0)) },
    Actor { name: "browser", act: |client, chance| Box::pin(probe(client, chance, browser, 0)) },
    Actor { name: "agent-only", act: |client, chance| Box::pin(probe(client, chance, agent_only, 0)) },
];

const PROBES: &[Actor] = &[
    Actor { name: "bare", act: |client, chance| Box::pin(probe(client, chance, bare, 250)) },
    Actor { name: "go", act: |client, chance| Box::pin(probe(client, chance, go, 250)) },
    Actor { name: "crawler", act: |client, chance| Box::pin(probe(client, chance, false_crawler, 250)) },
    Actor { name: "browser", act: |client, chance| Box::pin(probe(client, chance, browser, 250)) },
    Actor {
        name: "browser-with-cookie",
        act: |client, chance| Box::pin(probe(visited(client), chance, phone, 250)),
    },
    Actor { name: "changing-agents", act: |client, chance| Box::pin(probe(client, chance, changing, 250)) },
];

const SLOW_PROBES: &[Actor] = &[
    Actor { name: "bare", act: |client, chance| Box::pin(probe(client, chance, bare, 1000)) },
    Actor { name: "python", act: |client, chance| Box::pin(probe(client, chance, python, 1000)) },
    Actor { name: "agent-only", act: |client, chance| Box::pin(probe(client, chance, agent_only, 900)) },
    Actor { name: "browser", act: |client, chance| Box::pin(probe(client, chance, browser, 1100)) },
    Actor {
        name: "browser-with-cookie",
        act: |client, chance| Box::pin(probe(visited(client), chance, firefox, 1000)),
    },
    Actor {
        name: "between-pages",
        act: |client, chance| Box::pin(probe_between_pages(visited(client), chance)),
    },
];

const QUICK_GUESSERS: &[Actor] = &[
    Actor { name: "python", act: |client, chance| Box::pin(guess(client, chance, python, 100)) },
    Actor { name: "browser", act: |client, chance| Box::pin(guess(client, chance, browser, 100)) },
    Actor { name: "agent-only", act: |client, chance| Box::pin(guess(client, chance, agent_only, 80)) },
];

const SLOW_GUESSERS: &[Actor] = &[
    Actor { name: "go", act: |client, chance| Box::pin(guess(client, chance, go, 800)) },
    Actor {
        name: "browser-with-cookie",
        act: |client, chance| Box::pin(guess(visited(client), chance, firefox, 900)),
    },
];

/// What botnets ask every site for.
const PATHS: &[&str] = &[
    "/.env",
    "/.git/config",
    "/.git/HEAD",
    "/wp-login.php",
    "/wp-admin/setup-config.php",
    "/xmlrpc.php",
    "/wp-content/plugins/wp-file-manager/readme.txt",
    "/wp-includes/wlwmanifest.xml",
    "/phpmyadmin/index.php",
    "/pma/",
    "/adminer.php",
    "/phpinfo.php",
    "/info.php",
    "/test.php",
    "/shell.php",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
    "/cgi-bin/luci/;stok=/locale",
    "/cgi-bin/test-cgi",
    "/boaform/admin/formLogin",
    "/HNAP1/",
    "/GponForm/diag_Form",
    "/actuator/env",
    "/actuator/health",
    "/actuator/heapdump",
    "/jmx-console/",
    "/manager/html",
    "/server-status",
    "/telescope/requests",
    "/_ignition/execute-solution",
    "/solr/admin/info/system",
    "/owa/auth/logon.aspx",
    "/ecp/Current/exporttool/microsoft.exchange.ediscovery.exporttool.application",
    "/autodiscover/autodiscover.json",
    "/remote/fgt_lang",
    "/dana-na/auth/url_default/welcome.cgi",
    "/vpn/index.html",
    "/+CSCOE+/logon.html",
    "/geoserver/web/",
    "/api/jsonws/invoke",
    "/console/",
    "/login.action",
    "/struts2-showcase/index.action",
    "/druid/index.html",
    "/nacos/v1/auth/users",
    "/v2/_catalog",
    "/containers/json",
    "/api/v1/pods",
    "/.aws/credentials",
    "/.ssh/id_rsa",
    "/.DS_Store",
    "/.svn/entries",
    "/.vscode/sftp.json",
    "/config.json",
    "/web.config",
    "/backup.zip",
    "/backup/dump.sql",
    "/db.sql",
    "/site.tar.gz",
    "/debug/default/view",
    "/admin/",
    "/admin/login.php",
    "/administrator/index.php",
    "/user/login",
    "/robots.txt",
    "/static/../../../../etc/passwd",
    "/..%2f..%2f..%2fetc%2fpasswd",
    "/index.php",
    "/",
];

/// What is tried as a password.
const GUESSES: &[&str] = &[
    "123456",
    "password",
    "admin",
    "letmein",
    "qwerty",
    "welcome1",
    "summer2026",
    "iloveyou",
    "dragon",
    "monkey",
    "abc123",
    "passw0rd",
    "football",
    "shadow",
    "master",
    "sunshine",
    "princess",
    "trustno1",
    "starwars",
    "secret",
];

/// How it dresses.
type Disguise = fn(&mut Chance) -> Headers;

/// The list, in an order of its own, on a new connection each.
async fn probe(mut client: Client, mut chance: Chance, disguise: Disguise, every_ms: u64) -> Result<()> {
    let first = usize::try_from(chance.below(PATHS.len() as u64)).unwrap_or(0);
    for path in PATHS.iter().cycle().skip(first).take(PATHS.len()) {
        let headers = disguise(&mut chance);
        client.get(path, headers).await?;
        client.hang_up();
        sleep(chance.millis(every_ms * 8 / 10, every_ms * 12 / 10)).await;
    }
    Ok(())
}

/// Every second request is for a page that is there.
async fn probe_between_pages(mut client: Client, mut chance: Chance) -> Result<()> {
    let pages = ["/", "/about", "/articles/", "/articles/baskets", "/contact", "/gallery"];
    for (probe, page) in PATHS.iter().zip(pages.iter().cycle()) {
        for path in [page, probe] {
            let headers = browser(&mut chance);
            client.get(path, headers).await?;
            sleep(chance.millis(400, 900)).await;
        }
    }
    Ok(())
}

async fn guess(mut client: Client, mut chance: Chance, disguise: Disguise, every_ms: u64) -> Result<()> {
    for number in 0..200_u32 {
        let mut headers = disguise(&mut chance);
        headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
        let body = format!("name=user{}&password={}", number / 5, chance.pick(GUESSES));
        client.send("POST", "/login", headers, body).await?;
        sleep(Duration::from_millis(every_ms)).await;
    }
    Ok(())
}

fn visited(client: Client) -> Client {
    client.with_cookie("visitor", "b71c")
}

fn bare(_: &mut Chance) -> Headers {
    Vec::new()
}

fn curl(_: &mut Chance) -> Headers {
    vec![("user-agent", "curl/7.88.1".to_owned()), ("accept", "*/*".to_owned())]
}

fn go(_: &mut Chance) -> Headers {
    vec![("user-agent", "Go-http-client/1.1".to_owned()), ("accept-encoding", "gzip".to_owned())]
}

fn python(_: &mut Chance) -> Headers {
    vec![
        ("user-agent", "python-requests/2.31.0".to_owned()),
        ("accept-encoding", "gzip, deflate".to_owned()),
        ("accept", "*/*".to_owned()),
        ("connection", "keep-alive".to_owned()),
    ]
}

/// The commonest disguise of all.
fn agent_only(_: &mut Chance) -> Headers {
    let agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";
    vec![
        ("user-agent", agent.to_owned()),
        ("accept", "*/*".to_owned()),
        ("accept-encoding", "gzip".to_owned()),
    ]
}

fn false_crawler(_: &mut Chance) -> Headers {
    let agent = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    vec![("user-agent", agent.to_owned()), ("accept", "*/*".to_owned())]
}

fn browser(_: &mut Chance) -> Headers {
    CHROME_WINDOWS.document(Came::Nowhere)
}

fn phone(_: &mut Chance) -> Headers {
    SAFARI_IPHONE.document(Came::Nowhere)
}

fn firefox(_: &mut Chance) -> Headers {
    FIREFOX_LINUX.document(Came::Nowhere)
}

/// Another version each time, and little else.
fn changing(chance: &mut Chance) -> Headers {
    let version = 60 + chance.below(80);
    let agent = format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0");
    vec![("user-agent", agent), ("accept", "*/*".to_owned())]
}
