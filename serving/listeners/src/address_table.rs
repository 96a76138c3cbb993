// SPDX-License-Identifier: Apache-2.0
//! What the connection guard knows about each client address: open connections, TLS handshakes, requests, how
//! fast new connections come, stream resets.
//!
//! The table has a fixed number of places, in sets of eight, found by a hash with a random key, so that
//! nobody can aim at a set. An IPv6 /64 is one address: a host may choose any within it. A newcomer takes
//! the place of whoever has no open connection and matters for the shortest time. Addresses with open
//! connections, and those that wait for their minute's end, keep their places; where all eight are such,
//! the newcomer goes on without limits of its own, because to refuse it would punish it for its neighbours.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError, RwLock};

/// Nanoseconds since the guard began.
pub(crate) type Nanos = u64;

const SECOND: Nanos = 1_000_000_000;
const MINUTE: Nanos = 60 * SECOND;

/// Places of a set: looking through them stays within eight cache lines.
const WAYS: usize = 8;

/// Places for each connection that there may be: with every connection from another address, one set in
/// several hundred is full.
const PLACES_PER_CONNECTION: usize = 3;

/// Bounds of the number of sets: 32 KiB and 64 MiB.
const SETS_MIN: usize = 64;
const SETS_MAX: usize = 131_072;

/// An IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressKey(u128);

impl AddressKey {
    /// The address, or the /64 that it lies in.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl From<IpAddr> for AddressKey {
    /// IPv4 is kept as its mapped form, whose lower half is never zero: it cannot meet a /64.
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u128::from(address.to_ipv6_mapped())),
            IpAddr::V6(address) => Self(u128::from(address) & (u128::MAX << 64)),
        }
    }
}

/// What one address may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressBounds {
    /// Connections at the same time.
    pub(crate) open: u32,
    /// New connections in a second; as many may come at once.
    pub(crate) new_per_second: u32,
    /// TLS handshakes at the same time.
    pub(crate) handshakes: u32,
    /// Requests at the same time.
    pub(crate) requests: u32,
    /// Stream resets in a minute.
    pub(crate) resets_per_minute: u32,
}

/// The bound that an address has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    Open,
    New,
    Resets,
}

impl Excess {
    /// Its key in `[limits]`.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Open => "max_connections_per_ip",
            Self::New => "new_connections_per_ip",
            Self::Resets => "max_stream_resets_per_minute",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct AddressTable {
    hasher: RandomState,
    /// A power of two of them. Written only when the table grows.
    sets: RwLock<Vec<Mutex<Set>>>,
}

#[derive(Debug, Default)]
struct Set([Place; WAYS]);

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    address: Option<AddressKey>,
    open: u32,
    handshakes: u32,
    requests: u32,
    /// When the connections that came would have come at exactly the permitted pace.
    paced_until: Nanos,
    resets: u32,
    /// When `resets` begins anew.
    minute_ends: Nanos,
}

impl AddressTable {
    /// A table for so many connections.
    pub(crate) fn new(max_connections: usize) -> Self {
        Self { hasher: RandomState::new(), sets: RwLock::new(empty_sets(sets_for(max_connections))) }
    }

    /// Makes room for more connections; what is known stays. It never shrinks.
    pub(crate) fn grow(&self, max_connections: usize) {
        let wanted = sets_for(max_connections);
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if sets.len() >= wanted {
            return;
        }
        let old = std::mem::replace(&mut *sets, empty_sets(wanted));
        for set in old {
            let set = set.into_inner().unwrap_or_else(PoisonError::into_inner);
            for place in set.0 {
                let Some(address) = place.address else { continue };
                // A new set gets addresses of one old set only: there is room for all.
                let index = self.index(address, wanted);
                let Some(set) = sets.get_mut(index) else { continue };
                let set = set.get_mut().unwrap_or_else(PoisonError::into_inner);
                if let Some(free) = set.0.iter_mut().find(|place| place.address.is_none()) {
                    *free = place;
                }
            }
        }
    }

    /// Counts a connection in. `false`: it has no place in the table, and nothing to give back.
    ///
    /// # Errors
    /// The bound that the address has reached; then nothing was counted.
    pub(crate) fn open(
        &self,
        address: AddressKey,
        now: Nanos,
        bounds: &AddressBounds,
    ) -> Result<bool, Excess> {
        let opened = self.with_set(address, |set| match set.find_or_make(address, now, bounds) {
            Some(place) => place.open(now, bounds).map(|()| true),
            None => Ok(false),
        });
        opened.unwrap_or(Ok(false))
    }

    /// Gives a place back that [`AddressTable::open`] had counted.
    pub(crate) fn close(&self, address: AddressKey) {
        self.change(address, |place| place.open = place.open.saturating_sub(1));
    }

    /// Counts a handshake of an address with an open connection, unless it has too many.
    pub(crate) fn begin_handshake(&self, address: AddressKey, bounds: &AddressBounds) -> bool {
        let begun = self.change(address, |place| {
            let may = place.handshakes < bounds.handshakes;
            place.handshakes += u32::from(may);
            may
        });
        begun.unwrap_or(true)
    }

    /// Gives a handshake back.
    pub(crate) fn end_handshake(&self, address: AddressKey) {
        self.change(address, |place| place.handshakes = place.handshakes.saturating_sub(1));
    }

    /// Begins a request of an address with an open connection.
    pub(crate) fn begin_request(&self, address: AddressKey, bounds: &AddressBounds) -> bool {
        let begun = self.change(address, |place| {
            let may = place.requests < bounds.requests;
            place.requests += u32::from(may);
            may
        });
        begun.unwrap_or(true)
    }

    /// Its end.
    pub(crate) fn end_request(&self, address: AddressKey) {
        self.change(address, |place| place.requests = place.requests.saturating_sub(1));
    }

    /// Counts stream resets of an address with an open connection. `false` once there are too many.
    pub(crate) fn note_resets(
        &self,
        address: AddressKey,
        count: u32,
        now: Nanos,
        bounds: &AddressBounds,
    ) -> bool {
        let noted = self.change(address, |place| {
            if place.minute_ends <= now {
                (place.resets, place.minute_ends) = (0, now + MINUTE);
            }
            place.resets = place.resets.saturating_add(count);
            place.resets <= bounds.resets_per_minute
        });
        noted.unwrap_or(true)
    }

    fn change<R>(&self, address: AddressKey, change: impl FnOnce(&mut Place) -> R) -> Option<R> {
        self.with_set(address, |set| set.find(address).map(change)).flatten()
    }

    fn with_set<R>(&self, address: AddressKey, look: impl FnOnce(&mut Set) -> R) -> Option<R> {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        let set = sets.get(self.index(address, sets.len()))?;
        Some(look(&mut set.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn index(&self, address: AddressKey, sets: usize) -> usize {
        let hash = self.hasher.hash_one(address);
        usize::try_from(hash % sets.max(1) as u64).unwrap_or(0)
    }
}

impl Set {
    fn find(&mut self, address: AddressKey) -> Option<&mut Place> {
        self.0.iter_mut().find(|place| place.address == Some(address))
    }

    fn find_or_make(
        &mut self,
        address: AddressKey,
        now: Nanos,
        bounds: &AddressBounds,
    ) -> Option<&mut Place> {
        let known = self.0.iter().position(|place| place.address == Some(address));
        if let Some(at) = known {
            return self.0.get_mut(at);
        }
        let free = self.0.iter_mut().filter(|place| place.open == 0 && !place.is_barred(now, bounds));
        let place = free.min_by_key(|place| place.matters_until())?;
        *place = Place { address: Some(address), ..Place::default() };
        Some(place)
    }
}

impl Place {
    fn open(&mut self, now: Nanos, bounds: &AddressBounds) -> Result<(), Excess> {
        if self.is_barred(now, bounds) {
            return Err(Excess::Resets);
        }
        if self.open >= bounds.open {
            return Err(Excess::Open);
        }
        let paced_until = self.paced_until.max(now) + SECOND / Nanos::from(bounds.new_per_second.max(1));
        if paced_until > now + SECOND {
            return Err(Excess::New);
        }
        self.paced_until = paced_until;
        self.open += 1;
        Ok(())
    }

    /// Whether it has reset too many streams in the minute that still runs.
    const fn is_barred(&self, now: Nanos, bounds: &AddressBounds) -> bool {
        self.resets > bounds.resets_per_minute && now < self.minute_ends
    }

    /// When nothing of it counts any more, connections apart.
    fn matters_until(&self) -> Nanos {
        let resets = if self.resets > 0 { self.minute_ends } else { 0 };
        self.paced_until.max(resets)
    }
}

fn sets_for(max_connections: usize) -> usize {
    let sets = max_connections.saturating_mul(PLACES_PER_CONNECTION).div_ceil(WAYS);
    sets.clamp(SETS_MIN, SETS_MAX).next_power_of_two()
}

fn empty_sets(count: usize) -> Vec<Mutex<Set>> {
    std::iter::repeat_with(Mutex::default).take(count).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const BOUNDS: AddressBounds =
        AddressBounds { open: 3, new_per_second: 10, handshakes: 2, requests: 4, resets_per_minute: 5 };

    fn key(text: &str) -> AddressKey {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn numbered(number: u32) -> AddressKey {
        IpAddr::from(number.to_be_bytes()).into()
    }

    #[test]
    fn a_64_is_one_address_and_mapped_ipv4_is_ipv4() {
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_ne!(key("::1"), key("127.0.0.1"));
    }

    #[test]
    fn open_connections_are_bounded_and_come_back() {
        let (table, address) = (AddressTable::new(100), key("192.0.2.1"));
        for _ in 0..3 {
            assert_eq!(table.open(address, 0, &BOUNDS), Ok(true));
        }
        assert_eq!(table.open(address, 0, &BOUNDS), Err(Excess::Open));
        assert_eq!(table.open(key("192.0.2.2"), 0, &BOUNDS), Ok(true));
        table.close(address);
        assert_eq!(table.open(address, 0, &BOUNDS), Ok(true));
        let more = AddressBounds { open: 4, ..BOUNDS };
        assert_eq!(table.open(address, 0, &more), Ok(true), "a changed bound counts at once");
    }

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_the_pace_holds() {
        let (table, address) = (AddressTable::new(100), key("192.0.2.1"));
        let try_at = |now| {
            let result = table.open(address, now, &BOUNDS);
            if result.is_ok() {
                table.close(address);
            }
            result
        };
        for _ in 0..10 {
            assert_eq!(try_at(SECOND), Ok(true));
        }
        assert_eq!(try_at(SECOND), Err(Excess::New));
        assert_eq!(try_at(SECOND + SECOND / 10 - 1), Err(Excess::New));
        assert_eq!(try_at(SECOND + SECOND / 10), Ok(true));
        assert_eq!(try_at(SECOND + SECOND / 10), Err(Excess::New));
    }

    #[test]
    fn too_many_resets_bar_the_address_until_its_minute_ends() {
        let (table, address) = (AddressTable::new(100), key("192.0.2.1"));
        table.open(address, 0, &BOUNDS).unwrap();
        assert!(table.note_resets(address, 5, 7, &BOUNDS));
        assert!(!table.note_resets(address, 1, 8, &BOUNDS));
        table.close(address);
        assert_eq!(table.open(address, MINUTE + 6, &BOUNDS), Err(Excess::Resets));
        assert_eq!(table.open(address, MINUTE + 7, &BOUNDS), Ok(true));
        assert!(table.note_resets(address, 5, MINUTE + 7, &BOUNDS), "a new minute, a new budget");
        assert!(table.note_resets(address, 5, 3 * MINUTE, &BOUNDS));
    }

    #[test]
    fn an_address_holds_its_share_of_handshakes() {
        let (table, address) = (AddressTable::new(100), key("192.0.2.1"));
        table.open(address, 0, &BOUNDS).unwrap();
        assert!(table.begin_handshake(address, &BOUNDS));
        assert!(table.begin_handshake(address, &BOUNDS));
        assert!(!table.begin_handshake(address, &BOUNDS));
        table.end_handshake(address);
        assert!(table.begin_handshake(address, &BOUNDS));
    }

    #[test]
    fn strangers_never_push_out_whoever_is_connected_or_barred() {
        let (table, barred) = (AddressTable::new(1), key("192.0.2.1"));
        table.open(barred, 0, &BOUNDS).unwrap();
        table.note_resets(barred, 6, 0, &BOUNDS);
        table.close(barred);
        // Far more than there are places; each stays connected.
        let placed = (0..10_000).filter(|number| table.open(numbered(*number), 0, &BOUNDS) == Ok(true));
        let placed: Vec<u32> = placed.collect();
        assert_eq!(placed.len(), SETS_MIN * WAYS - 1, "every place but the barred one's");
        assert_eq!(table.open(barred, 1, &BOUNDS), Err(Excess::Resets));
        for number in &placed {
            assert_eq!(table.open(numbered(*number), 0, &BOUNDS), Ok(true));
            assert_eq!(table.open(numbered(*number), 0, &BOUNDS), Ok(true));
            assert_eq!(table.open(numbered(*number), 0, &BOUNDS), Err(Excess::Open));
        }
    }

    #[test]
    fn whoever_left_makes_room_first_those_who_matter_least() {
        let mut set = Set::default();
        for number in 0..8 {
            let now = u64::from(number) * 10;
            set.find_or_make(numbered(number), now, &BOUNDS).unwrap().open(now, &BOUNDS).unwrap();
        }
        assert!(set.find_or_make(numbered(8), 80, &BOUNDS).is_none());
        for number in 2..5 {
            set.find(numbered(number)).unwrap().open = 0;
        }
        assert!(set.find_or_make(numbered(8), 80, &BOUNDS).is_some());
        assert!(set.find(numbered(2)).is_none(), "the one that came first");
        assert!(set.find(numbered(3)).is_some());
    }

    #[test]
    fn a_table_that_grows_forgets_nothing() {
        let table = AddressTable::new(1);
        let placed: Vec<u32> =
            (0..600).filter(|number| table.open(numbered(*number), 0, &BOUNDS) == Ok(true)).collect();
        table.grow(100_000);
        assert!(table.sets.read().unwrap().len() > SETS_MIN);
        for number in &placed {
            assert_eq!(table.open(numbered(*number), 0, &BOUNDS), Ok(true));
            assert_eq!(table.open(numbered(*number), 0, &BOUNDS), Ok(true));
            assert_eq!(table.open(numbered(*number), 0, &BOUNDS), Err(Excess::Open), "{number}");
        }
        table.grow(1);
        assert!(table.sets.read().unwrap().len() > SETS_MIN);
    }

    #[test]
    fn its_size_has_a_bound() {
        assert_eq!(sets_for(0), SETS_MIN);
        assert_eq!(sets_for(10_000), 4096);
        assert_eq!(sets_for(usize::MAX), SETS_MAX);
        assert!(size_of::<Place>() <= 64, "{}", size_of::<Place>());
    }

    proptest! {
        #[test]
        fn no_address_ever_gets_more_than_its_bounds(
            steps in proptest::collection::vec((0u32..40, 0u64..300_000_000, any::<bool>()), 1..600),
        ) {
            let table = AddressTable::new(1000);
            let (mut now, mut open, mut came) = (0, BTreeMap::new(), Vec::new());
            for (number, pause, opens) in steps {
                now += pause;
                let mine: &mut u32 = open.entry(number).or_default();
                if !opens {
                    if *mine > 0 {
                        *mine -= 1;
                        table.close(numbered(number));
                    }
                    continue;
                }
                match table.open(numbered(number), now, &BOUNDS) {
                    Ok(placed) => {
                        prop_assert!(placed, "40 addresses fit");
                        *mine += 1;
                        came.push((number, now));
                    }
                    Err(Excess::Open) => prop_assert_eq!(*mine, BOUNDS.open),
                    Err(Excess::New) => {
                        let of_second = |&&(other, at): &&(u32, u64)| other == number && at + 2 * SECOND > now;
                        prop_assert!(came.iter().filter(of_second).count() >= 10);
                    }
                    Err(Excess::Resets) => prop_assert!(false, "nobody reset a stream"),
                }
                prop_assert!(*mine <= BOUNDS.open);
                let of_second = |&&(other, at): &&(u32, u64)| other == number && at + SECOND > now;
                // A second's worth at once, and what one more second permits.
                prop_assert!(came.iter().filter(of_second).count() <= 20);
            }
        }
    }
}
