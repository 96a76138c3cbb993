// SPDX-License-Identifier: Apache-2.0
//! A week of a site, in virtual time, through the very pipeline that a node judges by and with its calls: a layer earns
//! that its doubts are acted on, a bad model is installed, it falls back, and hardly anybody was hurt by all that.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]
#![expect(clippy::print_stdout, reason = "the numbers of the week are what a reader wants")]

mod log;
mod street;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use sunbeam_config::{ConfigFiles, Loaded, load};
use sunbeam_ensemble::{Card, Model, ModelFile};
use sunbeam_pipeline::{Decision, Scratch, Standing, Why};
use sunbeam_proxy::{Config, Offline};
use sunbeam_replay::Replay;
use sunbeam_tables::Moment;
use sunbeam_testkit::TestFolder;
use sunbeam_traffic::Layer;

use log::Log;
use street::{
    ATTACKS_A_DAY, Client, DAY, DOUBTED, Errand, HOST, HOUR, PEOPLE, STRANGERS_A_DAY, Street, attack, page,
};

/// When the node was started: time does not begin with the week.
const BEGIN_SECS: u64 = 10_000;

/// A node looks so often whether layers are proven.
const LOOK_SECS: u64 = 10;
/// Here, where nobody was stopped meanwhile: then a later look only makes a proof later.
const CALM_LOOK_SECS: u64 = 1_800;

/// As it is without a word in the configuration.
const BUDGET: f64 = 0.001;

/// When the bad model comes, and when it goes.
const BAD_FROM: u64 = 5 * DAY + 11 * HOUR;
const BAD_UNTIL: u64 = 6 * DAY + 12 * HOUR;

struct Week {
    folder: TestFolder,
    offline: Offline,
    street: Street,
    /// Of those who come: who is next.
    next: usize,
    now: u64,
    next_look: u64,
    scratch: Scratch,
    seen: Seen,
    log: Log,
}

/// What became of whom.
#[derive(Debug, Default)]
struct Seen {
    requests: u64,
    /// People by their number: each is one, however much they ask for.
    known: BTreeSet<u32>,
    doubted: BTreeSet<u32>,
    stopped: BTreeSet<u32>,
    /// What the model said of the texts of people's requests.
    texts: Vec<i32>,
    /// When, and what was decided.
    strangers: Vec<(u64, Decision)>,
    attacks: Vec<(u64, Decision)>,
    visitors: Vec<(u64, Decision)>,
    scan: Vec<(u64, Decision)>,
    /// Of visitors who were stopped: why.
    reasons: BTreeMap<&'static str, u64>,
    /// And what they asked for.
    examples: BTreeSet<String>,
    /// When the scanner's proof came or went.
    turns: Vec<(u64, bool)>,
}

impl Week {
    fn new(log: Log) -> Self {
        let folder = TestFolder::new();
        let offline = Offline::without_rules(&configuration(&folder, "")).unwrap();
        let street = Street::new();
        Self {
            folder,
            offline,
            street,
            next: 0,
            now: 0,
            next_look: CALM_LOOK_SECS,
            scratch: Scratch::default(),
            seen: Seen::default(),
            log,
        }
    }

    /// Everybody who comes before `end`, and every look that is due.
    fn run(&mut self, end: u64) {
        let Self { offline, street, next, next_look, scratch, seen, .. } = self;
        let pipeline = offline.pipeline();
        let route_of = |host: &str| offline.route_of(host);
        let mut replay = Replay::new(pipeline, &route_of);
        let look = |at: u64, seen: &mut Seen| {
            offline.prove(moment(at));
            let is_proven = pipeline.memory().proof.is_proven(Layer::Scanner);
            if seen.turns.last().is_some_and(|turn| turn.1) != is_proven {
                seen.turns.push((at, is_proven));
            }
        };
        while let Some(&(at, errand)) = street.comings.get(*next).filter(|(at, _)| *at < end) {
            while *next_look <= at {
                look(*next_look, seen);
                *next_look = (*next_look / CALM_LOOK_SECS + 1) * CALM_LOOK_SECS;
            }
            *next += 1;
            seen.requests += 1;
            let when = moment(at);
            match errand {
                Errand::Person(number, _) | Errand::Odd(number) => {
                    let (path, query) = match errand {
                        Errand::Person(_, turn) => page(number, turn),
                        _ => (DOUBTED.0, DOUBTED.1.to_owned()),
                    };
                    let opens = matches!(errand, Errand::Person(_, 0));
                    let client = Client::person(number);
                    let judged = client.ask(pipeline, (path, &query), opens, (when, scratch));
                    assert!(opens || judged.identity.is_logged_in, "the site knows {number}");
                    seen.texts.extend(judged.scores.payload);
                    seen.known.extend(judged.identity.is_logged_in.then_some(number));
                    seen.doubted.extend((judged.decision != Decision::Passed).then_some(number));
                    if judged.decision == Decision::Blocked {
                        seen.stopped.insert(number);
                        *next_look = (*next_look).min((at / LOOK_SECS + 1) * LOOK_SECS);
                    }
                }
                Errand::Stranger(number) => {
                    let judged = Client::stranger(number).ask(pipeline, DOUBTED, false, (when, scratch));
                    seen.strangers.push((at, judged.decision));
                }
                Errand::Attack(number) => {
                    let judged =
                        Client::attacker(number).ask(pipeline, attack(number), false, (when, scratch));
                    seen.attacks.push((at, judged.decision));
                }
                Errand::Visitor(index) => {
                    let replayed = replay.play_at(&street.visitors[index], when);
                    seen.visitors.push((at, replayed.verdict.decision));
                    if replayed.verdict.decision == Decision::Blocked {
                        *seen.reasons.entry(replayed.verdict.reason).or_default() += 1;
                        let record = &street.visitors[index];
                        seen.examples.insert(format!("{}?{}", record.path, record.query));
                    }
                }
                Errand::Scan(index) => {
                    let replayed = replay.play_at(&street.scan[index], when);
                    seen.scan.push((at, replayed.verdict.decision));
                }
            }
        }
        while *next_look <= end {
            look(*next_look, seen);
            *next_look = (*next_look / CALM_LOOK_SECS + 1) * CALM_LOOK_SECS;
        }
        self.now = end;
    }

    fn standing(&self) -> Standing {
        let pipeline = self.offline.pipeline();
        let budget = pipeline.rules().false_positive_budget;
        let standings = pipeline.memory().proof.standings(budget, moment(self.now));
        standings.into_iter().find(|standing| standing.layer == Layer::Scanner).unwrap()
    }

    fn metric(&self, name: &str, more: &[(&str, &str)]) -> f64 {
        let labels: Vec<_> = [("layer", "scanner")].iter().chain(more).copied().collect();
        self.offline.registry().sum(name, &labels)
    }

    /// Uses the model of a file from now on, as a reload does.
    fn install(&mut self, bytes: &[u8]) -> Result<(), String> {
        let path = self.folder.join("scanner.model");
        fs::write(&path, bytes).unwrap();
        let more = format!("[scanner]\nmodel = {:?}\n", path.display().to_string());
        // What the configuration itself says of the file is what a node would say.
        let loaded = try_configuration(&self.folder, &more)?;
        self.offline.reload(&loaded)
    }

    /// A model that doubts what people ordinarily ask for: about one request in ten.
    fn bad_model(&self) -> (Vec<u8>, f64) {
        let mut texts = self.seen.texts.clone();
        texts.sort_unstable();
        let (least, tenth) = (texts[0], texts[texts.len() * 9 / 10]);
        let above = texts.iter().copied().find(|text| *text > least).expect("texts differ");
        let cut = tenth.max(above);
        let share = texts.iter().filter(|text| **text >= cut).count() as f64 / texts.len() as f64;
        let mut model = self.offline.pipeline().rules().models().scanner.as_ref().clone();
        model.payload.doubtful += cut;
        let card = Card(vec![("version".to_owned(), "bad".to_owned())]);
        (ModelFile::bytes(&Model::Scanner(Box::new(model)), &card), share)
    }
}

fn moment(secs: u64) -> Moment {
    Moment::from_secs(BEGIN_SECS + secs)
}

fn configuration(folder: &TestFolder, more: &str) -> Loaded<Config> {
    try_configuration(folder, more).unwrap()
}

fn try_configuration(folder: &TestFolder, more: &str) -> Result<Loaded<Config>, String> {
    let text = format!(
        "rate_limit.login_cookies = [\"session\"]\n{more}[state]\npath = {:?}\n[[routes]]\nhost = {HOST:?}\nbackend = \"http://127.0.0.1:9\"\n",
        folder.join("state.redb").display().to_string()
    );
    let path = folder.write("config.toml", text);
    load(&ConfigFiles { path, profile: None }, Config::check).map_err(|error| error.to_string())
}

fn between(seen: &[(u64, Decision)], from: u64, until: u64) -> Vec<Decision> {
    seen.iter().filter(|(at, _)| (from..until).contains(at)).map(|(_, decision)| *decision).collect()
}

fn share_blocked(decisions: &[Decision]) -> f64 {
    let blocked = decisions.iter().filter(|decision| **decision == Decision::Blocked).count();
    blocked as f64 / decisions.len().max(1) as f64
}

#[test]
fn a_layer_earns_its_proof_loses_it_to_a_bad_model_and_hardly_anybody_is_hurt() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || sink.clone());
    tracing::subscriber::with_default(subscriber.finish(), || the_week(Week::new(log)));
}

fn the_week(mut week: Week) {
    // Day 0: what is doubtful is watched, what is certain is stopped.
    week.run(DAY);
    let standing = week.standing();
    assert_eq!((standing.why, standing.known.hurt), (Why::TooFew, 0), "{standing:?}");
    assert_eq!(standing.known.people, 0, "nobody has come back yet");
    assert_eq!(standing.newcomers, week.seen.known.len() as u64, "each is counted once");
    let strangers = between(&week.seen.strangers, 0, DAY);
    assert_eq!(strangers, vec![Decision::Observed; STRANGERS_A_DAY as usize]);
    assert_eq!(between(&week.seen.attacks, 0, DAY), vec![Decision::Blocked; ATTACKS_A_DAY as usize]);
    assert!(week.metric("sunbeam_layer_proven", &[]) < 0.5 && week.seen.turns.is_empty());
    println!(
        "day 0: {} people, {} more are missing; upper bound {:.5}",
        standing.known.people,
        standing.people_missing(),
        standing.rate[2]
    );

    // Enough people have logged in and come back, and none was doubted: it begins to enforce, not one person too early.
    while week.seen.turns.is_empty() {
        assert!(week.now < 4 * DAY, "never proven: {:?}", week.standing());
        week.run(week.now + CALM_LOOK_SECS);
    }
    let proven_at = week.now;
    let standing = week.standing();
    assert_eq!(standing.why, Why::Proven);
    assert!(standing.rate[2] <= BUDGET && standing.known.people >= 2_995, "{standing:?}");
    assert!(standing.known.people < 2_995 + 100, "the look before was too early: {standing:?}");
    assert!(week.metric("sunbeam_layer_proven", &[]) > 0.5);
    let upper = [("bound", "upper")];
    assert!((0.000_1..=BUDGET).contains(&week.metric("sunbeam_false_positive_rate", &upper)));
    let said = week.log.lines("INFO", "a layer has proven itself");
    assert_eq!(said.iter().filter(|line| line["fields"]["layer"] == "scanner").count(), 1, "{said:?}");
    println!("{:.1} days: proven by {} people", days(proven_at), standing.known.people);

    // From then on what it doubts is stopped; of 5,000 one person is stopped by mistake, which is within the budget.
    let odd_at = 4 * DAY + 20 * HOUR;
    week.run(odd_at);
    let strangers = between(&week.seen.strangers, proven_at, odd_at);
    assert!(strangers.len() > 20);
    assert_eq!(strangers, vec![Decision::Blocked; strangers.len()]);
    assert_eq!(week.seen.stopped.len(), 0);
    let somebody = *week.seen.known.first().unwrap();
    week.street.comings.insert(week.next, (odd_at, Errand::Odd(somebody)));
    week.run(odd_at + HOUR);
    let standing = week.standing();
    assert_eq!(week.seen.stopped, BTreeSet::from([somebody]));
    assert_eq!((standing.why, standing.known.hurt), (Why::Proven, 1), "{standing:?}");
    println!("{:.1} days: one of {} people is stopped", days(week.now), standing.known.people);

    // A damaged file is never used; a bad model whose file is whole is.
    week.run(BAD_FROM);
    assert_eq!(week.seen.known.len(), PEOPLE as usize);
    assert_eq!((week.seen.stopped.len(), week.seen.turns.len()), (1, 1));
    let (bad, share) = week.bad_model();
    let mut damaged = bad.clone();
    damaged[1_000] ^= 1;
    let refused = week.install(&damaged).unwrap_err();
    assert!(refused.contains("its checksum is wrong"), "{refused}");
    week.install(&bad).unwrap();
    println!("{:.1} days: a model that doubts {:.1} % of people's requests", days(BAD_FROM), share * 100.0);
    assert!((0.02..0.5).contains(&share), "{share}");

    // It hurts people; the layer falls back, and says so.
    while week.seen.turns.len() < 2 {
        assert!(week.now < BAD_FROM + 2 * HOUR, "never fell back: {:?}", week.standing());
        week.run(week.now + LOOK_SECS);
    }
    let (fell_at, stopped) = (week.now, week.seen.stopped.len());
    let standing = week.standing();
    assert_eq!(standing.why, Why::OverBudget);
    assert!(standing.rate[2] > BUDGET, "{standing:?}");
    assert!(week.metric("sunbeam_layer_proven", &[]) < 0.5);
    assert!((week.metric("sunbeam_layer_fallbacks_total", &[]) - 1.0).abs() < 1e-9);
    assert!(week.metric("sunbeam_false_positive_rate", &upper) > BUDGET);
    let alert = week.log.lines("ERROR", "a layer hurts more people than it may");
    assert_eq!((alert.len(), &alert[0]["fields"]["layer"]), (1, &Value::from("scanner")), "{alert:?}");
    assert_eq!(alert[0]["fields"]["hurt"], standing.known.hurt, "{alert:?}");
    println!(
        "{:.1} days: it fell back {} s later, {} people hurt of {}, upper bound {:.5}",
        days(fell_at),
        fell_at - BAD_FROM,
        standing.known.hurt,
        standing.known.people,
        standing.rate[2]
    );

    // As long as the bad model is in use it doubts more and more people, and stops none of them.
    week.run(BAD_UNTIL);
    assert!(week.seen.doubted.len() > 100, "{}", week.seen.doubted.len());
    assert_eq!(week.seen.stopped.len(), stopped);
    let strangers = between(&week.seen.strangers, fell_at, BAD_UNTIL);
    assert!(strangers.len() > 20);
    assert_eq!(strangers, vec![Decision::Observed; strangers.len()]);

    // Without it nobody is doubted any more; the proof does not come back by that alone.
    week.offline.reload(&configuration(&week.folder, "")).unwrap();
    let doubted = week.seen.doubted.len();
    week.run(7 * DAY);
    assert_eq!((week.seen.doubted.len(), week.seen.turns.len()), (doubted, 2));

    // All the time every attack was stopped, and the share of people who were hurt stayed within the budget.
    assert_eq!(week.seen.attacks.len(), 7 * ATTACKS_A_DAY as usize);
    assert!(week.seen.attacks.iter().all(|(_, decision)| *decision == Decision::Blocked));
    let hurt = week.seen.stopped.len() as f64 / week.seen.known.len() as f64;
    println!(
        "the week: {} requests, {} people, {} doubted, {} stopped: {:.5} of them, {BUDGET} may be; {} attacks, all stopped",
        week.seen.requests,
        week.seen.known.len(),
        week.seen.doubted.len(),
        week.seen.stopped.len(),
        hurt,
        week.seen.attacks.len()
    );
    assert!(hurt > 0.0 && hurt <= BUDGET, "{hurt}");
    assert_eq!(week.seen.known.len(), PEOPLE as usize);
    if !week.seen.scan.is_empty() {
        the_logs(&week.seen, proven_at, fell_at);
    }
}

/// What became of real visitors and of a real scan.
fn the_logs(seen: &Seen, proven_at: u64, fell_at: u64) {
    for (when, from, until) in
        [("watched", 0, proven_at), ("enforced", proven_at, fell_at), ("after", fell_at, 7 * DAY)]
    {
        let visitors = between(&seen.visitors, from, until);
        println!("{when}: {} visitors' requests, {:.4} stopped", visitors.len(), share_blocked(&visitors));
        assert!(visitors.len() > 1_000, "{when}");
    }
    println!("why visitors were stopped: {:?}; for {:?}", seen.reasons, seen.examples);
    // Most of a scan looks like nothing in a log, which has no bodies. What is certain of it is stopped before and after.
    let [watched, after] = [(0, 2 * DAY), (fell_at, 7 * DAY)].map(|(from, until)| {
        let scan = between(&seen.scan, from, until);
        println!("a scan of {} requests: {:.4} stopped", scan.len(), share_blocked(&scan));
        share_blocked(&scan)
    });
    assert!(watched > 0.02 && after >= watched * 0.9, "{watched} {after}");
}

fn days(secs: u64) -> f64 {
    secs as f64 / DAY as f64
}
