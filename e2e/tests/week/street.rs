// SPDX-License-Identifier: Apache-2.0
//! Who comes in a week: people who log in, strangers, attackers, and the visitors and scanners of real logs.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::path::PathBuf;

use sunbeam_datasets::Record;
use sunbeam_datasets::sources::{ReadOptions, read};
use sunbeam_features::Finished;
use sunbeam_pipeline::{Answer, Decision, Judged, Pipeline, Scratch};
use sunbeam_rate_limit::cookie_claim;
use sunbeam_tables::Moment;
use sunbeam_traffic::RequestFacts;

pub(super) const HOST: &str = "shop.example.test";
pub(super) const DAY: u64 = 86_400;
pub(super) const HOUR: u64 = 3_600;

/// People who have an account: each has a network of their own, and one of twelve browsers.
pub(super) const PEOPLE: u32 = 6_000;
const BROWSERS: u32 = 12;

/// The last of them logs in for the first time when this day is over.
const LAST_NEWCOMER_DAY: u64 = 3;

/// Half of an SQL comment: doubtful, and not certain.
pub(super) const DOUBTED: (&str, &str) = ("/list", "q=x+--+y");

/// Doubted strangers, and attacks that are certain, of a day.
pub(super) const STRANGERS_A_DAY: u32 = 24;
pub(super) const ATTACKS_A_DAY: u32 = 48;

const ATTACKS: [(&str, &str); 6] = [
    ("/.env", ""),
    ("/app/.git/config", ""),
    ("/wp-config.php.bak", ""),
    ("/item", "id=1%27%20union%20select%20password%20from%20users--%20"),
    ("/view", "file=../../../../etc/passwd"),
    ("/search", "q=%3Cscript%3Ealert(1)%3C/script%3E"),
];

/// Why somebody comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Errand {
    /// A person, and which request of theirs: the first is the log-in.
    Person(u32, u32),
    /// A person who asks what the layer doubts, and means nothing by it.
    Odd(u32),
    /// Nobody knows them, and the layer doubts them.
    Stranger(u32),
    /// It is certain what they want.
    Attack(u32),
    /// A line of a real site's log.
    Visitor(usize),
    /// A line of a scanner's log.
    Scan(usize),
}

/// All that come, in order of time (seconds), and the lines of the logs among them.
#[derive(Debug, Default)]
pub(super) struct Street {
    pub(super) comings: Vec<(u64, Errand)>,
    pub(super) visitors: Vec<Record>,
    pub(super) scan: Vec<Record>,
}

impl Street {
    pub(super) fn new() -> Self {
        let mut street = Self::default();
        street.comings.extend((0..PEOPLE).flat_map(visits));
        for day in 0..7_u32 {
            let at = |count: u32, number: u32| {
                u64::from(day) * DAY + u64::from(number * 2 + 1) * DAY / u64::from(2 * count)
            };
            street.comings.extend((0..STRANGERS_A_DAY).map(|number| {
                (at(STRANGERS_A_DAY, number), Errand::Stranger(day * STRANGERS_A_DAY + number))
            }));
            street.comings.extend(
                (0..ATTACKS_A_DAY)
                    .map(|number| (at(ATTACKS_A_DAY, number), Errand::Attack(day * ATTACKS_A_DAY + number))),
            );
        }
        street.logs();
        street.comings.sort_unstable();
        street
    }

    /// With `$SUNBEAM_SHARED`: half a week of a real site's visitors, twice, and a scan on the second and the last day.
    fn logs(&mut self) {
        let Some(shared) = std::env::var_os("SUNBEAM_SHARED").map(PathBuf::from) else {
            println!("SUNBEAM_SHARED is not set: the week has no real logs in it");
            return;
        };
        self.visitors = lines(&shared.join("data/orig/logs/semicomplete_apache_logs.zst"));
        self.scan = lines(&shared.join("data/orig/ocatak/acunetix.txt.zst"));
        // It was made within a private network, which is not judged.
        self.scan.iter_mut().for_each(|record| record.client = "203.0.113.66".to_owned());
        for half in [0, 7 * DAY / 2] {
            let first = self.visitors.first().and_then(|record| record.at_micros).unwrap_or(0);
            self.comings.extend(self.visitors.iter().enumerate().map(|(index, record)| {
                let passed = u64::try_from(record.at_micros.unwrap_or(0) - first).unwrap_or(0) / 1_000_000;
                (half + passed.min(7 * DAY / 2 - 1), Errand::Visitor(index))
            }));
        }
        for day in [1, 6] {
            let begin = day * DAY + 3 * HOUR;
            self.comings
                .extend((0..self.scan.len()).map(|index| (begin + index as u64 / 5, Errand::Scan(index))));
        }
    }
}

/// Three visits: one with a log-in, and two later ones, all by day; each a day or more after the one before.
fn visits(number: u32) -> impl Iterator<Item = (u64, Errand)> {
    let number_long = u64::from(number);
    let by_day = move |day: u64, turn: u64| {
        let of_day = number_long * 7_919 % (14 * HOUR) + turn * HOUR;
        day * DAY + 6 * HOUR + of_day
    };
    let first_day = number_long * LAST_NEWCOMER_DAY / u64::from(PEOPLE);
    let days =
        [first_day, (first_day + 1 + number_long % 2).min(6), (first_day + 3 + number_long % 3).min(6)];
    let [first, second, third] = [0, 1, 2].map(|turn| by_day(days[turn], turn as u64));
    let of = move |begin: u64, requests: std::ops::Range<u32>| {
        requests.zip(0_u64..).map(move |(turn, place)| (begin + place * 7, Errand::Person(number, turn)))
    };
    of(first, 0..4).chain(of(second, 4..7)).chain(of(third, 7..10))
}

fn lines(path: &std::path::Path) -> Vec<Record> {
    let mut records = Vec::new();
    read(path, &ReadOptions::default(), &mut |mut record| {
        record.host = HOST.to_owned();
        records.push(record);
        ControlFlow::Continue(())
    })
    .unwrap();
    records
}

/// Whom a request is of.
#[derive(Clone, Debug)]
pub(super) struct Client {
    address: IpAddr,
    cookie: String,
    look: String,
}

impl Client {
    /// Somebody with an account.
    pub(super) fn person(number: u32) -> Self {
        Self {
            cookie: format!("session=real-{number}"),
            ..Self::of_network([23, 0], number, number % BROWSERS)
        }
    }

    pub(super) fn stranger(number: u32) -> Self {
        Self::of_network([46, 0], number, number % BROWSERS)
    }

    pub(super) fn attacker(number: u32) -> Self {
        Self::of_network([91, 0], number, BROWSERS)
    }

    fn of_network([first, second]: [u8; 2], number: u32, look: u32) -> Self {
        let [.., third, fourth] = number.to_be_bytes();
        Self {
            // A /24 for each.
            address: Ipv4Addr::new(first, second + third, fourth, 7).into(),
            cookie: String::new(),
            look: format!("t13d1516h2_browser_{look:04}"),
        }
    }

    /// Asks, and tells the pipeline what the site answered, with the calls that the node makes. `opens`: the site sets the
    /// client's cookie.
    pub(super) fn ask(
        &self,
        pipeline: &Pipeline,
        (path, query): (&str, &str),
        opens: bool,
        (now, scratch): (Moment, &mut Scratch),
    ) -> Judged {
        let cookies = [self.cookie.as_bytes()];
        let is_known = !self.cookie.is_empty() && !opens;
        let facts = RequestFacts {
            client: self.address,
            host: HOST,
            path,
            query,
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            accept: b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            accept_language: b"de,en;q=0.5",
            cookies: if is_known { &cookies } else { &[] },
            ja4: &self.look,
            ..RequestFacts::EMPTY
        };
        let judged = pipeline.judge(&facts, now, scratch);
        let finished = Finished {
            method: "GET",
            has_cookies: is_known,
            has_referer: false,
            has_language: true,
            status: 200,
            is_ours: judged.decision == Decision::Blocked,
            is_cheap: false,
            duration_ms: 20,
            content_length: 0,
        };
        let claim = self.cookie.strip_prefix("session=").filter(|_| opens);
        let sessions: Vec<u64> = claim
            .and_then(|value| cookie_claim("session", value.as_bytes(), pipeline.memory().hash()))
            .into_iter()
            .collect();
        let answer = Answer {
            finished,
            site_status: None,
            is_login_redirect: false,
            gate: None,
            sessions_set: &sessions,
            log_ins_set: &sessions,
        };
        pipeline.answered(&judged, &answer, now);
        pipeline.observe(&judged, &finished, now);
        judged
    }
}

/// What a person asks for: the log-in first, then what is in a shop.
pub(super) fn page(number: u32, turn: u32) -> (&'static str, String) {
    const WORDS: [&str; 8] =
        ["tea", "rock+%27n%27+roll", "caf%C3%A9", "size+42", "a%26b", "50%25+off", "salt", "c%2B%2B"];
    if turn == 0 {
        return ("/login", String::new());
    }
    let pick = number.wrapping_mul(2_654_435_761).wrapping_add(turn.wrapping_mul(40_503)) >> 7;
    match pick % 8 {
        0 => ("/", String::new()),
        1 => ("/cart", String::new()),
        2 => ("/account", "tab=orders".to_owned()),
        3 => ("/item", format!("id={}", pick % 5_000)),
        4 => ("/list", format!("page={}&sort=price", pick % 40)),
        5 => ("/search", format!("q={}", WORDS[pick as usize / 8 % WORDS.len()])),
        6 => ("/login", "next=%2Faccount%3Ftab%3D2".to_owned()),
        _ => ("/img/logo.png", format!("v={}", pick % 9)),
    }
}

/// An attack that nobody could mistake.
pub(super) fn attack(number: u32) -> (&'static str, &'static str) {
    ATTACKS[number as usize % ATTACKS.len()]
}
