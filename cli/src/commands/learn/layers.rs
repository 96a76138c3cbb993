// SPDX-License-Identifier: Apache-2.0
//! What the layers of a node would do with the site's log, by the models in use and by the candidates: path and headers,
//! texts, windows and all, by the very calls that a node makes. What learning measures of texts alone says nothing of a
//! page that is doubted for its path.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use sunbeam_config::Loaded;
use sunbeam_datasets::{Label, Record};
use sunbeam_ensemble::{DRIFT_ROWS_MIN, DdosModel, Detector, Histograms, Reference, ScannerModel};
use sunbeam_proxy::Config;
use sunbeam_replay::{Replay, Replayed};
use sunbeam_trainer::learn::{BENIGN_ONE_OF, Learned, is_judged};

use super::InUse;
use super::read::Logs;
use crate::commands::replay::{of_last_host, offline};
use crate::exit::CliError;

/// By the models in use, and by the candidates.
pub(super) struct Layers {
    pub(super) in_use: Played,
    pub(super) candidate: Played,
}

/// What came of the log by some models.
#[derive(Default)]
pub(super) struct Played {
    /// Benign requests of the stretch that judges.
    pub(super) benign: u64,
    /// Of them, what the scanner's layer and that of windows did.
    scanner: Stopped,
    ddos: Stopped,
    /// Pages of the whole log.
    mistakes: Mistakes,
    sights: [Histograms; 2],
}

/// Requests that a layer had something against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stopped {
    /// Doubtful or certain.
    pub(super) doubted: u64,
    /// Blocked by the configuration.
    pub(super) blocked: u64,
}

impl Layers {
    /// Plays the log twice. Lists and limits are left out: what they stop, no model was asked about.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub(super) fn play(logs: &Logs, in_use: &InUse, learned: &Learned) -> Result<Self, CliError> {
        let is_judged = is_judged(&logs.records, learned.judged_from_micros);
        let candidate = (Arc::new(learned.scanner.clone()), Arc::new(learned.ddos.clone()));
        let of = |scanner: &Arc<ScannerModel>, ddos: &Arc<DdosModel>| {
            play(&in_use.loaded, &logs.records, &is_judged, (scanner, ddos))
        };
        Ok(Self { in_use: of(&in_use.scanner, &in_use.ddos)?, candidate: of(&candidate.0, &candidate.1)? })
    }

    /// The layer of a detector does not doubt more of what is benign, but for what is within chance: one of
    /// [`BENIGN_ONE_OF`], as for texts.
    pub(super) fn allow(&self, detector: Detector) -> bool {
        let [old, new] = self.doubted(detector);
        new <= old.max(self.in_use.benign / BENIGN_ONE_OF + 1)
    }

    /// Benign requests that a layer doubts, by the models in use and by the candidates.
    pub(super) fn doubted(&self, detector: Detector) -> [u64; 2] {
        [&self.in_use, &self.candidate].map(|played| played.stopped(detector).doubted)
    }

    /// Pages that the site answers to several clients and that the candidates doubt, those of most requests first.
    pub(super) fn mistakes(&self) -> Vec<(&str, &Page)> {
        self.candidate.mistakes.several()
    }

    /// Requests for such pages, by the models in use and by the candidates.
    pub(super) fn mistaken_requests(&self) -> [u64; 2] {
        [&self.in_use, &self.candidate]
            .map(|played| played.mistakes.several().iter().map(|(_, page)| page.requests).sum())
    }

    /// Gives the candidates the log as what they are at home in. A log that tells too little of what a node would read
    /// leaves what was there: measured by such a log, all traffic would be another.
    pub(super) fn settle(&self, logs: &Logs, learned: &mut Learned) {
        if !logs.tells_headers() {
            return;
        }
        let [scanner, ddos] = &self.candidate.sights;
        if scanner.rows() >= DRIFT_ROWS_MIN {
            learned.scanner.reference = scanner.reference(&learned.scanner.reference);
        }
        if ddos.rows() >= DRIFT_ROWS_MIN {
            learned.ddos.reference = ddos.reference(&learned.ddos.reference);
        }
    }
}

impl Played {
    /// What a detector's layer did with benign requests.
    pub(super) const fn stopped(&self, detector: Detector) -> Stopped {
        match detector {
            Detector::Scanner => self.scanner,
            Detector::Ddos => self.ddos,
        }
    }

    /// How far the log is from what a detector's model is at home in, as a node would tell it: how often the model was
    /// asked, and the index of each feature; none where that was too seldom to say something.
    pub(super) fn drift(&self, detector: Detector, reference: &Reference) -> (u64, Vec<(&'static str, f64)>) {
        let [scanner, ddos] = &self.sights;
        let sight = match detector {
            Detector::Scanner => scanner,
            Detector::Ddos => ddos,
        };
        let is_enough = sight.rows() >= DRIFT_ROWS_MIN;
        (sight.rows(), if is_enough { sight.indices(detector, reference) } else { Vec::new() })
    }

    fn note(&mut self, record: &Record, is_judged: bool, replayed: &Replayed) {
        let verdict = replayed.verdict;
        let layer = verdict.layer.map_or("", |layer| layer.as_str());
        let (is_stopped, is_blocked) = match verdict.decision.as_str() {
            "block" => (true, true),
            "observe" => (true, false),
            _ => (false, false),
        };
        if is_stopped && layer == "scanner" && BY_MODELS.contains(&verdict.reason) {
            self.mistakes.note(record, verdict.reason, is_blocked);
        }
        if !is_judged || record.label != Some(Label::Benign) {
            return;
        }
        self.benign += 1;
        let stopped = match layer {
            "scanner" => &mut self.scanner,
            "ddos" => &mut self.ddos,
            _ => return,
        };
        stopped.doubted += u64::from(is_stopped);
        stopped.blocked += u64::from(is_blocked);
    }
}

/// What the scanner's models say; the rest are rules about crawlers.
const BY_MODELS: [&str; 4] = ["probe", "payload", "application", "too_many_parameters"];

fn play(
    loaded: &Loaded<Config>,
    records: &[Record],
    is_judged: &[bool],
    (scanner, ddos): (&Arc<ScannerModel>, &Arc<DdosModel>),
) -> Result<Played, CliError> {
    let mut loaded = loaded.clone();
    loaded.config.lists = Default::default();
    loaded.config.rate_limit.enabled = false;
    let offline = offline(&loaded)?.with_models(|models| {
        (models.scanner, models.ddos) = (Arc::clone(scanner), Arc::clone(ddos));
        (models.scanner_sight, models.ddos_sight) = Default::default();
        // Nobody waits for an answer here.
        models.sight_every = 1;
    });
    let route_of = of_last_host(|host| offline.route_of(host));
    let mut replay = Replay::new(offline.pipeline(), &route_of);
    let mut played = Played::default();
    for (record, is_judged) in records.iter().zip(is_judged) {
        let replayed = replay.play(record);
        played.note(record, *is_judged, &replayed);
    }
    let models = offline.pipeline().rules().models();
    played.sights = [models.scanner_sight.take(), models.ddos_sight.take()];
    Ok(played)
}

/// Pages that the site answered and a model doubts.
#[derive(Default)]
struct Mistakes {
    pages: HashMap<String, Page>,
    hash: RandomState,
}

/// One of them.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// That were doubted.
    pub(super) requests: u64,
    /// Of them, blocked.
    pub(super) blocked: u64,
    /// By reason.
    pub(super) reasons: BTreeMap<&'static str, u64>,
    clients: Vec<u64>,
}

impl Page {
    /// Of them, as far as they are told apart.
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }
}

/// Pages that are kept: whoever asks for made-up ones that are answered does not take all memory.
const PAGES_MAX: usize = 10_000;
/// Clients of a page that are told apart.
pub(super) const CLIENTS_MAX: usize = 16;
/// Fewer may be one visitor and who looks for holes.
const CLIENTS_MIN: usize = 3;

impl Mistakes {
    fn note(&mut self, record: &Record, reason: &'static str, is_blocked: bool) {
        let is_answered = (200..400).contains(&record.status);
        if !is_answered || record.client.is_empty() {
            return;
        }
        let is_full = self.pages.len() >= PAGES_MAX;
        let page = match self.pages.entry(record.path.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full => return,
            Entry::Vacant(new) => new.insert(Page::default()),
        };
        page.requests += 1;
        page.blocked += u64::from(is_blocked);
        *page.reasons.entry(reason).or_default() += 1;
        let client = self.hash.hash_one(record.client_group());
        if page.clients.len() < CLIENTS_MAX && !page.clients.contains(&client) {
            page.clients.push(client);
        }
    }

    fn several(&self) -> Vec<(&str, &Page)> {
        let several = |(_, page): &(&String, &Page)| page.clients.len() >= CLIENTS_MIN;
        let mut pages: Vec<(&str, &Page)> =
            self.pages.iter().filter(several).map(|(path, page)| (path.as_str(), page)).collect();
        pages.sort_by(|(path, page), (other, of)| of.requests.cmp(&page.requests).then(path.cmp(other)));
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_likely_mistake_where_the_site_answers_several_clients() {
        let mut mistakes = Mistakes::default();
        let mut note = |path: &str, client: &str, status: u16| {
            let record =
                Record { path: path.to_owned(), client: client.to_owned(), status, ..Record::default() };
            mistakes.note(&record, "probe", false);
        };
        for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            note("/sample.log", client, 200);
            note("/missing.log", client, 404);
            note("/one.log", "192.0.2.9", 200);
            note("/nobody.log", "", 200);
        }
        for client in ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"] {
            // One customer's network.
            note("/changed-address.log", client, 200);
        }
        note("/sample.log", "192.0.2.3", 301);
        for at in 0..2 * PAGES_MAX {
            note(&format!("/made-up/{at}"), "192.0.2.9", 200);
        }
        let several = mistakes.several();
        assert_eq!(several.iter().map(|(path, _)| *path).collect::<Vec<_>>(), ["/sample.log"]);
        assert_eq!((several[0].1.requests, several[0].1.clients()), (4, 3));
        assert_eq!(mistakes.pages.len(), PAGES_MAX);
    }
}
