// SPDX-License-Identifier: Apache-2.0
//! `loadgen attack`: what people do who want a node down. On this host only ([`Target`] refuses all others).

mod connections;
mod frames;
mod http2;
mod report;
mod requests;

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::target::{Target, TargetArguments};
use report::Report;

/// One kind of attack at full speed from --source
///
/// Prints what became of it: connections made and refused, closings, GOAWAYs, frames sent.
#[derive(Debug, clap::Args)]
pub(crate) struct Attack {
    kind: Kind,
    #[command(flatten)]
    target: TargetArguments,
    #[arg(long)]
    seconds: u64,
    /// Connections at the same time; by default what the kind needs
    #[arg(long)]
    connections: Option<usize>,
}

/// The kinds; each with the connections that it needs to hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Connect, and say nothing
    ConnectionHold,
    /// Connect, and reset
    ConnectionChurn,
    /// A ClientHello, then silence
    HelloSilence,
    /// Whole handshakes, one after the other
    Handshakes,
    /// A header line every half second (slowloris)
    SlowHeaders,
    /// A body byte every second (R-U-Dead-Yet)
    SlowBody,
    /// A large answer that nobody reads
    SlowRead,
    /// Legal HTTP/1 requests, pipelined, at full speed
    Requests,
    /// Legal HTTP/2 requests at full speed
    RequestsHttp2,
    /// Streams opened and reset, as fast as they can be written (CVE-2023-44487)
    RapidReset,
    /// Streams opened and reset, eight a millisecond on each connection
    PacedReset,
    /// Streams that the server is made to reset (CVE-2025-8671)
    MadeYouReset,
    /// A head that never ends (CVE-2024-27316)
    Continuation,
    /// PING frames
    Ping,
    /// SETTINGS frames
    Settings,
    /// DATA frames without data
    EmptyData,
    /// Large answers into a window of nothing, opened a byte at a time
    ZeroWindow,
    /// WINDOW_UPDATE frames
    WindowUpdates,
    /// ALPN says h2, and nothing follows
    NoPreface,
    /// PRIORITY frames
    Priority,
}

impl Kind {
    const fn connections(self) -> usize {
        match self {
            // More than a node takes from everybody together by default (limits.max_connections).
            Self::ConnectionHold
            | Self::HelloSilence
            | Self::SlowHeaders
            | Self::SlowBody
            | Self::NoPreface => 12_000,
            Self::SlowRead => 2_000,
            Self::ConnectionChurn | Self::Handshakes | Self::Requests => 64,
            Self::RequestsHttp2
            | Self::RapidReset
            | Self::PacedReset
            | Self::MadeYouReset
            | Self::Continuation
            | Self::Ping
            | Self::Settings
            | Self::EmptyData
            | Self::WindowUpdates
            | Self::Priority => 16,
            Self::ZeroWindow => 64,
        }
    }

    const fn speaks_http2(self) -> bool {
        matches!(
            self,
            Self::RequestsHttp2
                | Self::RapidReset
                | Self::PacedReset
                | Self::MadeYouReset
                | Self::Continuation
                | Self::Ping
                | Self::Settings
                | Self::EmptyData
                | Self::ZeroWindow
                | Self::WindowUpdates
                | Self::NoPreface
                | Self::Priority
        )
    }

    const fn needs_tls(self) -> bool {
        self.speaks_http2() || matches!(self, Self::HelloSilence | Self::Handshakes)
    }
}

/// Between the first connections: thousands of handshakes begun at once would hold up this side, not the other.
const STAGGER: Duration = Duration::from_micros(250);

impl Attack {
    pub(crate) async fn run(self) -> Result<Report> {
        let target = Target::new(&self.target, self.kind.speaks_http2())?;
        if self.kind.needs_tls() && !target.is_tls() {
            bail!("this kind needs https://");
        }
        let target = Rc::new(target);
        let report = Rc::new(Report::default());
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let count = self.connections.unwrap_or_else(|| self.kind.connections());
        let attackers = (0..count).map(|index| {
            let (target, report) = (Rc::clone(&target), Rc::clone(&report));
            let turn = STAGGER.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
            tokio::task::spawn_local(async move {
                tokio::time::sleep(turn).await;
                until(end, self.kind, target, report).await;
            })
        });
        for attacker in attackers.collect::<Vec<_>>() {
            attacker.await?;
        }
        Ok(Rc::try_unwrap(report).unwrap_or_default())
    }
}

/// One connection after the other.
async fn until(end: Instant, kind: Kind, target: Rc<Target>, report: Rc<Report>) {
    while Instant::now() < end {
        let life = tokio::time::timeout_at(end.into(), one(kind, &target, &report));
        // A life that ends badly is what an attacker expects; the report has counted it.
        if matches!(life.await, Ok(Err(_))) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The life of one connection.
async fn one(kind: Kind, target: &Target, report: &Report) -> io::Result<()> {
    use {connections as bare, http2, requests};
    match kind {
        Kind::ConnectionHold => bare::hold(target, report).await,
        Kind::ConnectionChurn => bare::churn(target, report).await,
        Kind::HelloSilence => bare::hello_silence(target, report).await,
        Kind::Handshakes => bare::handshake(target, report).await,
        Kind::NoPreface => bare::no_preface(target, report).await,
        Kind::SlowHeaders => requests::slow_headers(target, report).await,
        Kind::SlowBody => requests::slow_body(target, report).await,
        Kind::SlowRead => requests::slow_read(target, report).await,
        Kind::Requests => requests::flood(target, report).await,
        Kind::RequestsHttp2 => requests::flood_http2(target, report).await,
        Kind::RapidReset => http2::resets(target, report, Duration::ZERO).await,
        Kind::PacedReset => http2::resets(target, report, Duration::from_millis(1)).await,
        Kind::MadeYouReset => http2::made_you_reset(target, report).await,
        Kind::Continuation => http2::continuation(target, report).await,
        Kind::Ping => http2::repeat(target, report, frames::ping).await,
        Kind::Settings => http2::repeat(target, report, frames::settings).await,
        Kind::WindowUpdates => http2::repeat(target, report, frames::window_update).await,
        Kind::Priority => http2::repeat(target, report, frames::priority).await,
        Kind::EmptyData => http2::empty_data(target, report).await,
        Kind::ZeroWindow => http2::zero_window(target, report).await,
    }
}

/// Runs `work` beside what reads the answers; the first to end ends both.
async fn beside<T>(
    work: impl Future<Output = io::Result<T>>,
    watch: impl Future<Output = ()>,
    report: &Report,
) -> io::Result<()> {
    tokio::pin!(watch);
    tokio::select! {
        () = &mut watch => {
            Report::count(&report.closed_by_server);
            Ok(())
        }
        result = work => {
            if result.is_err() {
                // The last words of the server may still be under way.
                drop(tokio::time::timeout(Duration::from_millis(50), watch).await);
                Report::count(&report.closed_by_server);
            }
            result.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_testkit::{TestProxy, TestUpstream};

    use super::*;
    use crate::target::tests::arguments;

    fn attack(kind: Kind, url: &str) -> Result<Report> {
        let attack = Attack { kind, target: arguments(url), seconds: 1, connections: Some(4) };
        crate::on_one_thread(attack.run())
    }

    #[test]
    fn no_other_host_is_attacked() {
        for kind in Kind::value_variants() {
            for url in ["https://192.0.2.1/", "https://example.org/", "https://10.1.2.3:8443/"] {
                let refused = attack(*kind, url).unwrap_err().to_string();
                assert!(refused.contains("its own host only"), "{kind:?} {url}: {refused}");
            }
        }
    }

    #[test]
    fn every_kind_reaches_a_node_and_the_node_goes_on() {
        let upstream = TestUpstream::echo();
        let proxy = TestProxy::builder().route("shop", &upstream.url()).start();
        let url = format!("https://{}/", proxy.https());
        let attack = |index: usize, kind: Kind| {
            let mut target = arguments(&url);
            // From an address of its own: what one kind does to its address is not to hinder the others.
            target.set("shop.example.test", [127, 0, 1, u8::try_from(index).unwrap()].into());
            let attack = Attack { kind, target, seconds: 2, connections: Some(4) };
            let report = crate::on_one_thread(attack.run()).unwrap();
            assert!(report.connected.get() > 0, "{kind:?}: {report}");
            let was_said = report.frames_sent.get() + report.bytes_sent.get() > 0;
            let is_silent = matches!(
                kind,
                Kind::ConnectionHold
                    | Kind::ConnectionChurn
                    | Kind::Handshakes
                    | Kind::NoPreface
                    | Kind::RequestsHttp2
            );
            assert!(was_said || is_silent, "{kind:?}: {report}");
        };
        std::thread::scope(|scope| {
            for (index, kind) in Kind::value_variants().iter().enumerate() {
                let attack = &attack;
                scope.spawn(move || attack(index + 1, *kind));
            }
        });
        assert_eq!(proxy.client().get("shop.example.test", "/").status, 200);
        assert!(proxy.metric("sunbeam_panics_total", &[]) < 0.5);
    }
}
