// SPDX-License-Identifier: Apache-2.0
//! A list of backends at work: who is there, and whose turn it is.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sunbeam_routing::Balance;

use super::balance::{Candidate, Turns, by_address, least_connections, seed};
use super::health::BackendState;

/// See the module. Belongs to a snapshot; the states in it may be older.
#[derive(Debug)]
pub(crate) struct BackendGroup {
    pub(crate) config: Arc<sunbeam_routing::Group>,
    pub(crate) seats: Vec<Seat>,
}

/// A backend's place in a list.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) state: Arc<BackendState>,
    pub(crate) weight: u32,
    seed: u64,
}

/// Who gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) seat: usize,
    /// Whether it was left out, and an answer brings it back.
    pub(super) is_trial: bool,
}

impl BackendGroup {
    pub(crate) fn new(config: Arc<sunbeam_routing::Group>, states: Vec<Arc<BackendState>>) -> Self {
        let seat = |(state, member): (Arc<BackendState>, &sunbeam_routing::Member)| {
            let url = &state.backend.url;
            let seed = seed(&format!("{:?} {} {}", url.scheme, url.host, url.port));
            Seat { state, weight: member.weight, seed }
        };
        let seats = states.into_iter().zip(&config.members).map(seat).collect();
        Self { config, seats }
    }

    /// How long until one may be back, when none is there: whole seconds, at least one.
    pub(super) fn retry_after_secs(&self) -> u64 {
        let wait = self.seats.iter().map(|seat| seat.state.comes_back_in()).min().unwrap_or_default();
        u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
    }

    /// Whether somebody is there that has not been tried.
    pub(super) fn has_other(&self, tried: &[usize]) -> bool {
        let mut seats = self.seats.iter().enumerate();
        seats.any(|(index, seat)| !tried.contains(&index) && seat.state.is_in())
    }

    /// Who gets a request of `client`: a backend whose trial is due, or the next that is there, or,
    /// when all are left out, one that at least takes connections. `None`: nobody.
    fn pick(&self, turns: &mut Turns, tried: &[usize], client: IpAddr, may_repeat: bool) -> Option<Pick> {
        if let [seat] = self.seats.as_slice() {
            return (!seat.state.fails_its_check()).then_some(Pick { seat: 0, is_trial: false });
        }
        let somebody_is_in = self.has_other(&[]);
        if tried.is_empty()
            && let Some(seat) = self.due_trial(client, may_repeat, somebody_is_in)
        {
            return Some(Pick { seat, is_trial: true });
        }
        let choose = |turns: &mut Turns, may: fn(&BackendState) -> bool| {
            let candidates = self.candidates(move |index, state| !tried.contains(&index) && may(state));
            match self.config.balance {
                Balance::RoundRobin => turns.next(candidates.map(|one| (one.weight, one.eligible))),
                Balance::LeastConnections => least_connections(candidates, turns),
                Balance::IpHash => by_address(candidates, client),
            }
        };
        if let Some(seat) = choose(turns, BackendState::is_in) {
            return Some(Pick { seat, is_trial: false });
        }
        // A request that makes a backend fail must not be able to close the site: what was left out for
        // its answers serves on when there is nobody else.
        choose(turns, BackendState::is_reachable).map(|seat| Pick { seat, is_trial: true })
    }

    fn due_trial(&self, client: IpAddr, may_repeat: bool, somebody_is_in: bool) -> Option<usize> {
        let is_left_out = |seat: &Seat| !seat.state.is_in() && !seat.state.fails_its_check();
        if !self.seats.iter().any(is_left_out) {
            return None;
        }
        // With addresses, its own clients try it: the others stay where they are.
        let home = match self.config.balance {
            Balance::IpHash if somebody_is_in => {
                by_address(self.candidates(|_, state| !state.fails_its_check()), client)
            }
            _ => None,
        };
        let any_request = may_repeat || !somebody_is_in;
        let mut seats = self.seats.iter().enumerate();
        let is_claimed = |index: usize, seat: &Seat| {
            let is_home = home.is_none_or(|home| home == index);
            is_home && seat.state.claim_trial(any_request)
        };
        seats.find(|(index, seat)| is_claimed(*index, seat)).map(|(index, _)| index)
    }

    fn candidates<'a>(
        &'a self,
        may: impl Fn(usize, &BackendState) -> bool + Clone + 'a,
    ) -> impl Iterator<Item = Candidate> + Clone + 'a {
        self.seats.iter().enumerate().map(move |(index, seat)| Candidate {
            weight: seat.weight,
            seed: seat.seed,
            in_flight: u64::try_from(seat.state.counts.in_flight.get()).unwrap_or(0),
            eligible: may(index, &seat.state),
        })
    }
}

/// What a thread remembers of each list: whose turn it is, and how many retries it may still make.
#[derive(Debug)]
pub(crate) struct Rotation {
    thread: usize,
    started: Instant,
    of: RefCell<(u64, Vec<Option<OfGroup>>)>,
}

#[derive(Debug)]
struct OfGroup {
    turns: Turns,
    budget: RetryBudget,
}

impl Rotation {
    pub(crate) fn new(thread: usize) -> Self {
        Self { thread, started: Instant::now(), of: RefCell::default() }
    }

    /// See [`BackendGroup::pick`]. `generation` is the configuration's: another one has other lists.
    pub(super) fn pick(
        &self,
        generation: u64,
        group: &BackendGroup,
        tried: &[usize],
        client: IpAddr,
        may_repeat: bool,
    ) -> Option<Pick> {
        if group.seats.len() == 1 {
            return group.pick(&mut Turns::default(), tried, client, may_repeat);
        }
        self.with(generation, group, |of| {
            if tried.is_empty() {
                of.budget.request(self.started.elapsed());
            }
            group.pick(&mut of.turns, tried, client, may_repeat)
        })
    }

    /// Whether one more request may be sent to another backend.
    pub(super) fn may_retry(&self, generation: u64, group: &BackendGroup) -> bool {
        self.with(generation, group, |of| of.budget.retry(self.started.elapsed()))
    }

    fn with<T>(&self, generation: u64, group: &BackendGroup, work: impl FnOnce(&mut OfGroup) -> T) -> T {
        let (of_generation, groups) = &mut *self.of.borrow_mut();
        if *of_generation != generation {
            *of_generation = generation;
            groups.clear();
        }
        let index = group.config.index;
        if groups.len() <= index {
            groups.resize_with(index.saturating_add(1), || None);
        }
        let weights = || group.seats.iter().map(|seat| seat.weight).collect::<Vec<_>>();
        let fresh = || OfGroup { turns: Turns::new(&weights(), self.thread), budget: RetryBudget::default() };
        match groups.get_mut(index) {
            Some(of) => work(of.get_or_insert_with(fresh)),
            // The list was made long enough above.
            None => work(&mut fresh()),
        }
    }
}

/// Retries in a second: a fifth of its requests (or the second's before), and a few. When a list is in
/// trouble, sending everything three times would finish it. A thread counts for itself.
#[derive(Debug, Default)]
struct RetryBudget {
    second: u64,
    requests: u32,
    before: u32,
    retries: u32,
}

/// Retries that are always allowed, a second, thread and list.
const RETRIES_MIN: u32 = 3;

impl RetryBudget {
    fn request(&mut self, now: Duration) {
        self.turn(now);
        self.requests = self.requests.saturating_add(1);
    }

    fn retry(&mut self, now: Duration) -> bool {
        self.turn(now);
        let allowed = RETRIES_MIN.saturating_add(self.requests.max(self.before) / 5);
        let may = self.retries < allowed;
        self.retries = self.retries.saturating_add(u32::from(may));
        may
    }

    fn turn(&mut self, now: Duration) {
        let second = now.as_secs();
        if second == self.second {
            return;
        }
        let is_next = second == self.second.saturating_add(1);
        *self = Self { second, before: if is_next { self.requests } else { 0 }, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_fifth_of_the_requests_and_a_few() {
        let mut budget = RetryBudget::default();
        let at = Duration::from_secs;
        let count = |budget: &mut RetryBudget, now| (0..1000).filter(|_| budget.retry(now)).count();
        assert_eq!(count(&mut budget, at(1)), 3);
        assert_eq!(count(&mut budget, at(1)), 0);
        for _ in 0..100 {
            budget.request(at(2));
        }
        assert_eq!(count(&mut budget, at(2)), 23);
        assert_eq!(count(&mut budget, at(3)), 23, "the second's before");
        assert_eq!(count(&mut budget, at(9)), 3);
    }
}
