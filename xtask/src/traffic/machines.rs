// SPDX-License-Identifier: Apache-2.0
//! Programs that are welcome: pollers, monitoring, phones' applications, uploads, mounted folders, players.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::actor::Actor;
use super::chance::Chance;
use super::client::{Client, Headers};
use super::{Generator, How, Label, Run, SECS_MAX};

pub(super) const GENERATORS: &[Generator] = &[
    Generator {
        name: "api-poller",
        label: Label::Benign,
        version: &[],
        runs: &[
            Run { intensity: "every-second", secs_max: SECS_MAX, how: How::Actors(SLOW_POLLERS) },
            Run { intensity: "4-a-second", secs_max: SECS_MAX, how: How::Actors(QUICK_POLLERS) },
        ],
    },
    Generator {
        name: "monitoring",
        label: Label::Benign,
        version: &[],
        runs: &[Run { intensity: "steady", secs_max: SECS_MAX, how: How::Actors(MONITORS) }],
    },
    Generator {
        name: "api-client",
        label: Label::Benign,
        version: &[],
        runs: &[
            Run { intensity: "mobile", secs_max: SECS_MAX, how: How::Actors(MOBILE) },
            Run { intensity: "batch", secs_max: SECS_MAX, how: How::Actors(BATCH) },
        ],
    },
    Generator {
        name: "file-client",
        label: Label::Benign,
        version: &[],
        runs: &[Run { intensity: "steady", secs_max: SECS_MAX, how: How::Actors(FILES) }],
    },
];

pub(super) const SLOW_POLLERS: &[Actor] = &[
    Actor {
        name: "own-agent",
        act: |client, _| Box::pin(poll(client, "StockSync/2.3 (+ops@example.org)", 1000)),
    },
    Actor { name: "go", act: |client, _| Box::pin(poll(client, "Go-http-client/1.1", 1000)) },
    Actor { name: "java", act: |client, _| Box::pin(poll(client, "okhttp/4.12.0", 1500)) },
    Actor { name: "without-agent", act: |client, _| Box::pin(poll(client, "", 900)) },
];

pub(super) const QUICK_POLLERS: &[Actor] = &[
    Actor { name: "own-agent", act: |client, _| Box::pin(poll(client, "PriceBoard/1.0", 250)) },
    Actor { name: "python", act: |client, _| Box::pin(poll(client, "python-requests/2.32.3", 250)) },
    Actor { name: "node", act: |client, _| Box::pin(poll(client, "axios/1.7.9", 250)) },
];

pub(super) const MONITORS: &[Actor] = &[
    Actor {
        name: "load-balancer",
        act: |client, _| Box::pin(check(client, "GET", "/healthz", "ELB-HealthChecker/2.0")),
    },
    Actor {
        name: "uptime",
        act: |client, _| {
            Box::pin(check(
                client,
                "HEAD",
                "/",
                "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
            ))
        },
    },
    Actor { name: "kubelet", act: |client, _| Box::pin(check(client, "GET", "/healthz", "kube-probe/1.31")) },
    Actor {
        name: "prometheus",
        act: |client, _| Box::pin(check(client, "GET", "/api/v1/status", "Blackbox Exporter/0.25.0")),
    },
    // Whoever moved the page forgot the check.
    Actor {
        name: "forgotten",
        act: |client, _| {
            Box::pin(check(client, "GET", "/old-status", "check_http/v2.3.3 (nagios-plugins 2.3.3)"))
        },
    },
];

pub(super) const MOBILE: &[Actor] = &[
    Actor {
        name: "iphone",
        act: |client, chance| {
            Box::pin(use_app(client, chance, "HouseAndHand/7.4 CFNetwork/1568.200.51 Darwin/24.1.0"))
        },
    },
    Actor {
        name: "android",
        act: |client, chance| {
            Box::pin(use_app(client, chance, "HouseAndHand/7.4.1 (Android 15; Pixel 8) okhttp/4.12.0"))
        },
    },
    Actor { name: "flutter", act: |client, chance| Box::pin(use_app(client, chance, "Dart/3.5 (dart:io)")) },
    Actor { name: "graphql", act: |client, chance| Box::pin(query(client, chance)) },
];

const BATCH: &[Actor] = &[
    Actor { name: "uploader", act: |client, chance| Box::pin(upload(client, chance)) },
    Actor { name: "page-through", act: |client, _| Box::pin(page_through(client)) },
    Actor { name: "event-sender", act: |client, _| Box::pin(send_events(client)) },
];

pub(super) const FILES: &[Actor] = &[
    Actor { name: "webdav", act: |client, _| Box::pin(mount(client, "gvfs/1.54.0")) },
    Actor {
        name: "sync",
        act: |client, _| Box::pin(mount(client, "Mozilla/5.0 (Linux) mirall/3.14.1 (Nextcloud)")),
    },
    Actor { name: "player", act: |client, _| Box::pin(play(client, "VLC/3.0.21 LibVLC/3.0.21")) },
    Actor { name: "downloader", act: |client, _| Box::pin(play(client, "Wget/1.24.5")) },
    Actor { name: "packages", act: |client, chance| Box::pin(update(client, chance)) },
];

/// Who the API's clients say they are.
const KEY: &str = "Bearer pk_live_0d9f6c2e";

fn agent(user_agent: &str) -> Headers {
    let mut headers: Headers =
        vec![("accept", "*/*".to_owned()), ("accept-encoding", "gzip, deflate".to_owned())];
    if !user_agent.is_empty() {
        headers.push(("user-agent", user_agent.to_owned()));
    }
    headers
}

fn json(user_agent: &str) -> Headers {
    let mut headers = agent(user_agent);
    headers.push(("authorization", KEY.to_owned()));
    headers.push(("content-type", "application/json".to_owned()));
    headers
}

/// One page again and again; one thing in twelve is gone, and its key is asked for now and then.
async fn poll(mut client: Client, user_agent: &'static str, every_ms: u64) -> Result<()> {
    for number in 0..400_u32 {
        let path = match number % 12 {
            5 => "/api/v1/items/9001",
            9 => "/api/v1/me",
            _ => "/api/v1/items?page=1",
        };
        client.get(path, agent(user_agent)).await?;
        sleep(Duration::from_millis(every_ms)).await;
    }
    Ok(())
}

/// On a new connection each time.
async fn check(
    mut client: Client,
    method: &'static str,
    path: &'static str,
    user_agent: &'static str,
) -> Result<()> {
    loop {
        client
            .send(method, path, vec![("user-agent", user_agent.to_owned()), ("accept", "*/*".to_owned())], "")
            .await?;
        client.hang_up();
        sleep(Duration::from_millis(950)).await;
    }
}

/// Screens: a list, its things, an event each.
async fn use_app(mut client: Client, mut chance: Chance, user_agent: &'static str) -> Result<()> {
    client.get("/api/v1/me", json(user_agent)).await?;
    for page in 1..7 {
        client.get(&format!("/api/v1/items?page={page}"), json(user_agent)).await?;
        for _ in 0..5 {
            let item = chance.below(410);
            client.get(&format!("/api/v1/items/{item}"), json(user_agent)).await?;
        }
        client.send("POST", "/api/v1/events", json(user_agent), "{\"screen\":\"list\"}").await?;
        sleep(chance.millis(1200, 3400)).await;
    }
    Ok(())
}

async fn query(mut client: Client, mut chance: Chance) -> Result<()> {
    for number in 0..40 {
        let body = format!("{{\"query\":\"query Items {{ items(first: {number}) {{ id name }} }}\"}}");
        client.send("POST", "/graphql", json("apollo-ios/1.15.0"), body).await?;
        sleep(chance.millis(100, 800)).await;
    }
    Ok(())
}

async fn upload(mut client: Client, mut chance: Chance) -> Result<()> {
    for _ in 0..50 {
        let length = usize::try_from(20_000 + chance.below(180_000)).unwrap_or(20_000);
        let mut headers = json("PhotoUploader/3.1");
        headers.retain(|(name, _)| *name != "content-type");
        headers.push(("content-type", "image/jpeg".to_owned()));
        client.send("POST", "/api/v1/uploads", headers, vec![0x5a; length]).await?;
        sleep(chance.millis(100, 400)).await;
    }
    Ok(())
}

/// A nightly export: everything, as quickly as it comes, then some things changed.
async fn page_through(mut client: Client) -> Result<()> {
    for page in 1..=20 {
        client.get(&format!("/api/v1/items?page={page}"), json("python-httpx/0.27.2")).await?;
    }
    for item in 1..=120 {
        let path = format!("/api/v1/items/{item}");
        let method = if item % 3 == 0 { "PUT" } else { "GET" };
        client.send(method, &path, json("python-httpx/0.27.2"), "{}").await?;
        sleep(Duration::from_millis(40)).await;
    }
    Ok(())
}

async fn send_events(mut client: Client) -> Result<()> {
    for number in 0..60 {
        let body = format!("{{\"reading\":{number}}}");
        client.send("POST", "/api/v1/events", json("ESP32 HTTP Client/1.0"), body).await?;
        sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

async fn mount(mut client: Client, user_agent: &'static str) -> Result<()> {
    client.send("OPTIONS", "/files/", agent(user_agent), "").await?;
    for number in 0..30 {
        let path = format!("/files/notes/{number}.odt");
        for (method, path) in [
            ("PROPFIND", "/files/notes/"),
            ("GET", &path),
            ("LOCK", &path),
            ("PUT", &path),
            ("UNLOCK", &path),
        ] {
            let body = if method == "PUT" { "a".repeat(9000) } else { String::new() };
            client.send(method, path, agent(user_agent), body).await?;
        }
        sleep(Duration::from_millis(550)).await;
    }
    Ok(())
}

async fn play(mut client: Client, user_agent: &'static str) -> Result<()> {
    client.send("HEAD", "/media/film.mp4", agent(user_agent), "").await?;
    for piece in 0..24_u64 {
        let first = piece * 131_072;
        let mut headers = agent(user_agent);
        headers.push(("range", format!("bytes={first}-{}", first + 131_071)));
        client.get("/media/film.mp4", headers).await?;
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// A package manager: many names, of which the newest are not there yet.
async fn update(mut client: Client, mut chance: Chance) -> Result<()> {
    for number in 0..60 {
        let path = if chance.percent(12) {
            format!("/api/v1/items/{}", 900 + number)
        } else {
            format!("/api/v1/items/{number}")
        };
        client.get(&path, agent("Debian APT-HTTP/1.3 (2.6.1)")).await?;
        sleep(chance.millis(20, 300)).await;
    }
    Ok(())
}
