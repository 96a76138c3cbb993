// SPDX-License-Identifier: Apache-2.0
//! A site without sockets: requests are judged, answered by a rule, and observed.

use std::net::IpAddr;
use std::sync::Arc;

use sunbeam_features::Finished;
use sunbeam_metrics::Registry;
use sunbeam_pipeline::{
    Answer, DdosSection, Decision, DetectionMetrics, DetectionSection, Judged, Memory, MemoryOptions, Models,
    Pipeline, ProtectSection, RouteRules, Rules, ScannerSection, Scratch, Sections, WafSection,
};
use sunbeam_rate_limit::{RateLimitSection, cookie_claim};
use sunbeam_reputation::BotsSection;
use sunbeam_tables::{HashKey, Moment};
use sunbeam_traffic::RequestFacts;

/// The site.
pub(crate) struct World {
    pub(crate) pipeline: Pipeline,
    scratch: Scratch,
    pub(crate) now_micros: u64,
}

/// The TLS fingerprint of everybody's browser.
pub(crate) const LOOK: &str = "t13d1516h2_browser";

/// A request and what the site does with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visit<'a> {
    pub(crate) path: &'a str,
    pub(crate) session: Option<&'a str>,
    pub(crate) status: u16,
    pub(crate) opens_session: Option<&'a str>,
    /// The session is one that the site gives at a log-in.
    pub(crate) is_log_in: bool,
    pub(crate) is_file: bool,
}

impl World {
    /// With the defaults of an empty configuration.
    pub(crate) fn new() -> Self {
        Self::with(&DdosSection::default(), &RateLimitSection::default())
    }

    pub(crate) fn with(ddos: &DdosSection, rate_limit: &RateLimitSection) -> Self {
        Self::of(&DetectionSection::default(), ddos, rate_limit)
    }

    /// With another section that all layers have in common.
    pub(crate) fn detecting(detection: &DetectionSection) -> Self {
        Self::of(detection, &DdosSection::default(), &RateLimitSection::default())
    }

    fn of(detection: &DetectionSection, ddos: &DdosSection, rate_limit: &RateLimitSection) -> Self {
        let memory = Memory::new(MemoryOptions {
            window_bytes: 4 << 20,
            identities: 16_384,
            hash: HashKey::fixed(1),
            ask: Box::new(|_| false),
        });
        let protect = ProtectSection::default();
        let routes = [RouteRules { name: "shop", protect: &protect, rate_limits: &[] }];
        let sections = Sections {
            detection,
            ddos,
            scanner: &ScannerSection::default(),
            rate_limit,
            bots: &BotsSection::default(),
            waf: &WafSection::default(),
        };
        let rules = Rules::new(&sections, &routes, Models::default());
        let metrics = DetectionMetrics::register(&Registry::new());
        Self {
            pipeline: Pipeline::new(rules, Arc::new(memory), metrics),
            scratch: Scratch::default(),
            now_micros: 1_000_000_000,
        }
    }

    /// The same site, judged by other models.
    pub(crate) fn judged_by(self, models: Models) -> Self {
        Self { pipeline: self.pipeline.with_models(models), ..self }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::from_micros(self.now_micros)
    }

    /// What is decided about a request.
    pub(crate) fn judge(&mut self, facts: &RequestFacts<'_>) -> Judged {
        let now = self.now();
        self.pipeline.judge(facts, now, &mut self.scratch)
    }

    /// Its end.
    pub(crate) fn finish(&self, judged: &Judged, finished: &Finished<'_>) {
        self.pipeline.observe(judged, finished, self.now());
    }

    /// One request, its answer, and what judging said.
    pub(crate) fn visit(&mut self, client: IpAddr, visit: &Visit<'_>) -> Judged {
        let cookie = visit.session.map(|session| format!("session={session}"));
        let cookies: Vec<&[u8]> = cookie.iter().map(String::as_bytes).collect();
        let facts = RequestFacts {
            client,
            host: "shop.example",
            path: visit.path,
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            accept: b"text/html",
            accept_language: b"de",
            referer: b"https://shop.example/",
            cookies: &cookies,
            ja4: LOOK,
            ..RequestFacts::EMPTY
        };
        let now = self.now();
        let judged = self.pipeline.judge(&facts, now, &mut self.scratch);
        let is_blocked = judged.decision == Decision::Blocked;
        if visit.is_file && !is_blocked {
            self.pipeline.was_cheap(&judged);
        }
        let hash = *self.pipeline.memory().hash();
        let claim = |session: &str| cookie_claim("session", session.as_bytes(), &hash);
        let opened: Vec<u64> = visit.opens_session.and_then(claim).into_iter().collect();
        let answer = Answer {
            finished: Finished {
                method: facts.method,
                has_cookies: !cookies.is_empty(),
                has_referer: true,
                has_language: true,
                status: if is_blocked { judged.status } else { visit.status },
                is_ours: is_blocked,
                is_cheap: visit.is_file,
                duration_ms: 20,
                content_length: 0,
            },
            site_status: None,
            is_login_redirect: false,
            gate: None,
            sessions_set: &opened,
            log_ins_set: if visit.is_log_in { &opened } else { &[] },
        };
        self.pipeline.answered(&judged, &answer, now);
        self.pipeline.observe(&judged, &answer.finished, now);
        judged
    }
}
